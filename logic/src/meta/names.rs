//! Which names a topic may have: Kafka's rules, in Kafka's words.

/// The longest name: with "-", a partition number and a suffix it must still be a file name.
pub const MAX_NAME_LENGTH: usize = 249;

/// Kafka's own topics whose records the broker interprets; clients do not write them.
pub const INTERNAL_TOPICS: [&str; 3] = [CONSUMER_OFFSETS_TOPIC, "__transaction_state", "__share_group_state"];

/// The topic that holds what the coordinators of groups decide.
pub const CONSUMER_OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The topic of the metadata log itself; never created by request.
pub const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// What is wrong with a name. `INVALID_TOPIC_EXCEPTION` (17).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    /// It means a directory.
    #[error("Topic name is invalid: '{0}' is not allowed")]
    Dots(String),
    /// It is too long.
    #[error("Topic name is invalid: the length of '{0}' is longer than the max allowed length {max}", max = MAX_NAME_LENGTH)]
    TooLong(String),
    /// It has characters that are not allowed.
    #[error(
        "Topic name is invalid: '{0}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    )]
    Characters(String),
}

/// Checks a topic's name.
pub fn check_topic_name(name: &str) -> Result<(), NameError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match name {
        "" => Err(NameError::Empty),
        "." | ".." => Err(NameError::Dots(name.to_owned())),
        // Kafka counts UTF-16 units; beyond ASCII the name is wrong anyway, only the message differs.
        _ if name.len() > MAX_NAME_LENGTH => Err(NameError::TooLong(shortened(name))),
        _ if !name.bytes().all(allowed) => Err(NameError::Characters(name.to_owned())),
        _ => Ok(()),
    }
}

/// Whether only the broker writes to the topic of this name.
pub fn is_internal(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

/// What names that collide have in common: metric names turn '.' into '_'. `None` for names with neither, which collide with nothing.
pub fn collision_key(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

/// As much of an overlong name as a message needs: the answer must not carry a stranger's megabytes back.
fn shortened(name: &str) -> String {
    let mut end = MAX_NAME_LENGTH + 1;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    match end == name.len() {
        true => name.to_owned(),
        false => format!("{}...", &name[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafka() {
        for good in ["a", "orders", "a.b_c-D9", "...", "__consumer_offsets", &"x".repeat(249)] {
            assert_eq!(check_topic_name(good), Ok(()), "{good}");
        }
        for (bad, message) in [
            ("", "Topic name is invalid: the empty string is not allowed"),
            (".", "Topic name is invalid: '.' is not allowed"),
            ("..", "Topic name is invalid: '..' is not allowed"),
            (
                "a b",
                "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            ),
            (
                "größe",
                "Topic name is invalid: 'größe' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            ),
        ] {
            assert_eq!(check_topic_name(bad).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_long_name_is_named_but_not_echoed_whole() {
        let just_over = "x".repeat(250);
        let message = check_topic_name(&just_over).unwrap_err().to_string();
        assert_eq!(
            message,
            format!(
                "Topic name is invalid: the length of '{just_over}' is longer than the max allowed length 249"
            )
        );
        let huge = "ü".repeat(30_000);
        assert!(check_topic_name(&huge).unwrap_err().to_string().len() < 400);
    }

    #[test]
    fn only_dots_and_underscores_collide() {
        assert_eq!(collision_key("a.b_c"), collision_key("a_b.c"));
        assert_ne!(collision_key("a.b"), collision_key("a.c"));
        assert_eq!(collision_key("a-b"), None);
    }
}
