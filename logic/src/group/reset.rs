//! Where a group goes on when somebody says so: Kafka's rules of `kafka-consumer-groups --reset-offsets`.
//!
//! Whatever is asked for, the answer lies in the log: an offset before its start becomes its start, one behind its end its end.

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The log's start.
    Earliest,
    /// The log's end.
    Latest,
    /// This offset.
    Offset(i64),
    /// So many offsets from what is committed.
    Shift(i64),
    /// The first record that is young enough, or the log's end when none is.
    Found(Option<i64>),
}

/// The offset to commit in a log that reaches from `start` to `end`; `None` when there is nothing to move from.
pub fn resolve(target: Target, committed: Option<i64>, start: i64, end: i64) -> Option<i64> {
    let wanted = match target {
        Target::Earliest => start,
        Target::Latest => end,
        Target::Offset(offset) => offset,
        Target::Shift(distance) => committed?.saturating_add(distance),
        Target::Found(offset) => offset.unwrap_or(end),
    };
    // Not `clamp`, which panics where the ends are the wrong way round: they were asked for one after the other.
    Some(wanted.min(end).max(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_log_is_taken_as_it_is() {
        for (target, offset) in [
            (Target::Earliest, 10),
            (Target::Latest, 20),
            (Target::Offset(13), 13),
            (Target::Offset(20), 20),
            (Target::Shift(3), 15),
            (Target::Shift(-2), 10),
            (Target::Found(Some(17)), 17),
            (Target::Found(None), 20),
        ] {
            assert_eq!(resolve(target, Some(12), 10, 20), Some(offset), "{target:?}");
        }
    }

    #[test]
    fn what_does_not_becomes_the_nearest_that_does() {
        for (target, offset) in [
            (Target::Offset(0), 10),
            (Target::Offset(i64::MIN), 10),
            (Target::Offset(21), 20),
            (Target::Shift(-100), 10),
            (Target::Shift(100), 20),
            (Target::Shift(i64::MAX), 20),
            (Target::Shift(i64::MIN), 10),
            (Target::Found(Some(9)), 10),
        ] {
            assert_eq!(resolve(target, Some(12), 10, 20), Some(offset), "{target:?}");
        }
        // Records were deleted between the two looks.
        assert_eq!(resolve(Target::Latest, None, 21, 20), Some(21));
    }

    #[test]
    fn a_distance_needs_something_to_start_from() {
        assert_eq!(resolve(Target::Shift(0), None, 10, 20), None);
        assert_eq!(resolve(Target::Offset(11), None, 10, 20), Some(11));
    }
}
