//! What members subscribe to: topics by name, and by a regular expression that is looked up among the names of all topics.
//!
//! Expressions are those of RE2, as Kafka has them: matched in linear time, without look-around and back-references, and of bounded size. One
//! matches a name as a whole. What it stands for is looked up when it comes, and again when the metadata has changed, by the heartbeat of a
//! member that subscribes by it, but not more often than every ten seconds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};
use uuid::Uuid;

use super::{ConsumerGroup, Member, Step};
use crate::group::GroupRecord;
use crate::meta::Image;

/// The least time between two looks at what an expression stands for.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The most bytes that an expression may take when it is compiled.
const COMPILED_BYTES: usize = 128 << 10;

/// An expression that members subscribe by.
#[derive(Debug)]
pub(super) struct Pattern {
    /// `None` when it was read from the log and cannot be understood.
    compiled: Option<Regex>,
    /// What it stands for.
    topics: BTreeSet<Arc<str>>,
    /// How many members subscribe by it.
    members: usize,
    /// The image that it was looked up in, and when; 0 if it was not yet.
    seen: u64,
    at: Duration,
}

impl Pattern {
    /// One that was read from the log.
    pub(super) fn restored(regex: &str, topics: BTreeSet<Arc<str>>) -> Self {
        Self { compiled: compile(regex).ok(), topics, members: 0, seen: 0, at: Duration::ZERO }
    }

    fn find(&self, image: &Image) -> BTreeSet<Arc<str>> {
        let Some(compiled) = &self.compiled else { return BTreeSet::new() };
        let found = image.topics().filter(|topic| compiled.is_match(topic.name.as_bytes()));
        found.map(|topic| topic.name.clone()).collect()
    }
}

/// Compiles an expression that is to match whole names; the error is for whoever sent it.
pub(super) fn compile(regex: &str) -> Result<Regex, String> {
    let build = |regex: &str, unicode| {
        let mut builder = RegexBuilder::new(regex);
        builder.unicode(unicode).size_limit(COMPILED_BYTES).dfa_size_limit(COMPILED_BYTES).build()
    };
    // Alone first: what is around it must not make sense of what has none, such as "a)(b".
    let alone = build(regex, false).or_else(|_| build(regex, true));
    let whole = format!(r"\A(?:{regex})\z");
    // Names of topics are ASCII, and classes without Unicode are small. An expression may insist on it, as by \p{L}.
    alone
        .and_then(|_| build(&whole, false).or_else(|_| build(&whole, true)))
        .map_err(|error| error.to_string())
}

impl ConsumerGroup {
    /// Whether members subscribe by this expression already.
    pub(super) fn knows_pattern(&self, regex: &str) -> bool {
        self.patterns.contains_key(regex)
    }

    /// An expression that was compiled, for a member that is about to subscribe by it.
    pub(super) fn add_pattern(&mut self, regex: &Arc<str>, compiled: Regex, step: &mut Step<'_>) {
        let mut pattern = Pattern {
            compiled: Some(compiled),
            topics: BTreeSet::new(),
            members: 0,
            seen: step.version,
            at: step.now.mono,
        };
        pattern.topics = pattern.find(step.image);
        step.records.push(GroupRecord::consumer_regex(
            &self.id,
            regex,
            &pattern.topics,
            step.image.end().get(),
            step.now.wall_ms,
        ));
        self.patterns.insert(regex.clone(), pattern);
    }

    /// An expression of the log; its members come behind it, or came before it.
    pub(super) fn restore_pattern(&mut self, regex: &str, topics: BTreeSet<Arc<str>>) {
        self.patterns.insert(regex.into(), Pattern::restored(regex, topics));
    }

    /// Those of which the log has kept nothing but themselves.
    pub(super) fn drop_unused_patterns(&mut self) {
        self.patterns.retain(|_, pattern| pattern.members > 0);
    }

    pub(super) fn forget_pattern(&mut self, regex: &str) {
        self.patterns.remove(regex);
    }

    /// All expressions, for records of them.
    pub(super) fn pattern_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.patterns.keys()
    }

    fn count(subscribed: &mut std::collections::BTreeMap<Arc<str>, usize>, topic: &Arc<str>, comes: bool) {
        if comes {
            *subscribed.entry(topic.clone()).or_default() += 1;
        } else if let Some(count) = subscribed.get_mut(topic) {
            *count -= 1;
            if *count == 0 {
                subscribed.remove(topic);
            }
        }
    }

    /// A member says this of itself from now on.
    pub(super) fn count_in(&mut self, member: &Member) {
        self.bytes += member.bytes();
        self.classics += usize::from(member.classic.is_some());
        member.topics.iter().for_each(|topic| Self::count(&mut self.subscribed, topic, true));
        let Some(regex) = &member.regex else { return };
        let pattern =
            self.patterns.entry(regex.clone()).or_insert_with(|| Pattern::restored(regex, BTreeSet::new()));
        pattern.members += 1;
        if pattern.members == 1 {
            pattern.topics.iter().for_each(|topic| Self::count(&mut self.subscribed, topic, true));
        }
    }

    /// A member does not say this any more. An expression that nobody subscribes by is gone.
    pub(super) fn count_out(&mut self, member: &Member, step: &mut Step<'_>) {
        self.bytes -= member.bytes();
        self.classics -= usize::from(member.classic.is_some());
        member.topics.iter().for_each(|topic| Self::count(&mut self.subscribed, topic, false));
        let Some(pattern) = member.regex.as_ref().and_then(|regex| self.patterns.get_mut(regex)) else {
            return;
        };
        pattern.members -= 1;
        if pattern.members == 0 {
            pattern.topics.iter().for_each(|topic| Self::count(&mut self.subscribed, topic, false));
            if let Some(regex) = &member.regex {
                self.patterns.remove(regex);
                step.records.push(GroupRecord::no_consumer_regex(&self.id, regex));
            }
        }
    }

    /// Looks again for what a member's expression stands for, if it may have changed.
    pub(super) fn refresh_pattern(&mut self, regex: &Arc<str>, step: &mut Step<'_>) {
        let Some(pattern) = self.patterns.get_mut(regex) else { return };
        let early = pattern.seen != 0 && step.now.mono < pattern.at + LOOK_AGAIN_AFTER;
        if pattern.seen == step.version || early {
            return;
        }
        (pattern.seen, pattern.at) = (step.version, step.now.mono);
        let found = pattern.find(step.image);
        if found == pattern.topics {
            return;
        }
        let before = std::mem::replace(&mut pattern.topics, found);
        pattern.topics.difference(&before).for_each(|topic| Self::count(&mut self.subscribed, topic, true));
        before.difference(&pattern.topics).for_each(|topic| Self::count(&mut self.subscribed, topic, false));
        step.records.push(GroupRecord::consumer_regex(
            &self.id,
            regex,
            &pattern.topics,
            step.image.end().get(),
            step.now.wall_ms,
        ));
        // What the group subscribes to is another thing now.
        self.seen = 0;
    }

    /// The topics that a member subscribes to, of those that exist, ascending by id.
    pub(super) fn topics_of(&self, member: &Member, image: &Image) -> Vec<Uuid> {
        let pattern = member.regex.as_ref().and_then(|regex| self.patterns.get(regex));
        let names = member.topics.iter().chain(pattern.into_iter().flat_map(|pattern| &pattern.topics));
        let ids: BTreeSet<Uuid> = names.filter_map(|name| image.topic(name)).map(|topic| topic.id).collect();
        ids.into_iter().collect()
    }

    /// Whether a member subscribes to this topic.
    pub(super) fn subscribes(&self, member: &Member, topic: &str) -> bool {
        let pattern = member.regex.as_ref().and_then(|regex| self.patterns.get(regex));
        member.topics.contains(topic) || pattern.is_some_and(|pattern| pattern.topics.contains(topic))
    }

    /// Bytes of what the members say of themselves.
    pub(super) fn said(&self) -> usize {
        self.bytes
    }

    /// Stands for the topics that the group subscribes to and how many partitions each has: different ones have different numbers, but for
    /// one case in 2^64. 0 when there are none.
    fn hash_of_metadata(&self, image: &Image) -> i64 {
        let topics = self.subscribed.keys().filter_map(|name| image.topic(name));
        let sum = topics.fold(0u64, |sum, topic| {
            let (high, low) = topic.id.as_u64_pair();
            let partitions = topic.partitions.len() as u64;
            sum.wrapping_add(mix(high ^ mix(low ^ mix(partitions.wrapping_add(1)))))
        });
        sum.cast_signed()
    }

    /// The metadata may have changed: whether what the group subscribes to did.
    pub(super) fn has_new_metadata(&mut self, step: &Step<'_>) -> bool {
        if self.seen == step.version {
            return false;
        }
        self.seen = step.version;
        let hash = self.hash_of_metadata(step.image);
        std::mem::replace(&mut self.metadata_hash, hash) != hash
    }
}

/// Spreads what differs in one bit over all of them.
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_names_as_a_whole() {
        let matches =
            |regex: &str, name: &str| compile(regex).expect("an expression").is_match(name.as_bytes());
        assert!(matches("a|ab", "ab"));
        assert!(!matches("a", "ab"));
        assert!(matches("^logs-.*", "logs-1"));
        assert!(matches("(?i)LOGS", "logs"));
        assert!(matches(r"\p{L}+", "logs"));
        assert!(matches(r"[[:alpha:]]\w{0,200}", "logs_7"));
        assert!(!matches("", "a"));
    }

    #[test]
    fn what_is_no_expression_or_too_large_is_refused() {
        for bad in [
            "[",
            "(?=a)",
            r"(a)\1",
            "a)(b",
            "(?x)a # )",
            "*",
            r"(\pL{1000}){1000}",
            "((((a{1000}){1000}){1000}))",
        ] {
            assert!(compile(bad).is_err(), "{bad}");
        }
    }
}
