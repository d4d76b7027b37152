//! `.kafka_cleanshutdown`: one line of JSON that a clean stop leaves and a start removes (KIP-966).

use super::FormatError;

/// The marker of a clean stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanShutdown {
    /// The broker's epoch when it stopped, or -1.
    pub broker_epoch: i64,
}

impl CleanShutdown {
    const VERSION: i64 = 0;

    /// The text of the file.
    pub fn encode(&self) -> String {
        format!(r#"{{"version":{},"brokerEpoch":{}}}"#, Self::VERSION, self.broker_epoch)
    }

    /// Reads the file: an object of integers, in any order; other keys are ignored.
    ///
    /// # Errors
    /// Anything else; Kafka then still takes the stop for clean, only without an epoch.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let text = str::from_utf8(bytes).map_err(|_| FormatError::NotText)?;
        let body = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let body = body.ok_or(FormatError::Line(1))?;
        let found = integer(body, "version")?;
        if found != Self::VERSION {
            return Err(FormatError::Version { found, supported: Self::VERSION });
        }
        Ok(CleanShutdown { broker_epoch: integer(body, "brokerEpoch")? })
    }
}

/// The value of a key among `"key": integer` members.
fn integer(body: &str, key: &'static str) -> Result<i64, FormatError> {
    for member in body.split(',') {
        let (name, value) = member.split_once(':').ok_or(FormatError::Line(1))?;
        let name = name.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        if name.ok_or(FormatError::Line(1))? == key {
            return value.trim().parse().map_err(|_| FormatError::Value(key));
        }
    }
    Err(FormatError::Missing(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_kafkas_text() {
        let marker = CleanShutdown { broker_epoch: 3038 };
        assert_eq!(marker.encode(), r#"{"version":0,"brokerEpoch":3038}"#);
        assert_eq!(CleanShutdown::parse(marker.encode().as_bytes()), Ok(marker));
    }

    #[test]
    fn spaces_order_and_other_keys_do_not_matter() {
        let text = b" { \"brokerEpoch\" : -1,\n \"more\": 5, \"version\":0 }\n";
        assert_eq!(CleanShutdown::parse(text), Ok(CleanShutdown { broker_epoch: -1 }));
    }

    #[test]
    fn damage_is_named() {
        for (text, error) in [
            ("", FormatError::Line(1)),
            ("{}", FormatError::Line(1)),
            ("{", FormatError::Line(1)),
            (r#"{"version":0}"#, FormatError::Missing("brokerEpoch")),
            (r#"{"version":1,"brokerEpoch":1}"#, FormatError::Version { found: 1, supported: 0 }),
            (r#"{"version":0,"brokerEpoch":"1"}"#, FormatError::Value("brokerEpoch")),
            (r#"{"version":0,"brokerEpoch":9223372036854775808}"#, FormatError::Value("brokerEpoch")),
            (r#"{version:0}"#, FormatError::Line(1)),
        ] {
            assert_eq!(CleanShutdown::parse(text.as_bytes()), Err(error), "{text:?}");
        }
        assert_eq!(CleanShutdown::parse(&[0xff]), Err(FormatError::NotText));
    }
}
