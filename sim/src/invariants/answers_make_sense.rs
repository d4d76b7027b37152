//! Clients are never told what no fault explains: bytes that do not decode, records that are not whole, offsets out of
//! range, sequence numbers out of order; and a broker whose disk is well starts.

use super::Invariant;
use crate::judge::Fact;

#[derive(Default)]
pub(super) struct AnswersMakeSense;

impl Invariant for AnswersMakeSense {
    fn name(&self) -> &'static str {
        "answers_make_sense"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Nonsense(what) => Err(what.clone()),
            Fact::StartFailed(why) => Err(format!("the broker does not start: {why}")),
            _ => Ok(()),
        }
    }
}
