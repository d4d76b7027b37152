//! Once everything is healed, every client gets done in bounded time: idempotent producers with all that they have sent,
//! others with a last record to each partition, readers with all there is, and members of groups when every partition that their
//! group subscribes to has had an owner who could commit.

use super::Invariant;
use crate::judge::Fact;

#[derive(Default)]
pub(super) struct ClientsMakeProgress;

impl Invariant for ClientsMakeProgress {
    fn name(&self) -> &'static str {
        "clients_make_progress"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Unfinished(who) => {
                Err(format!("still not done after everything was healed: {}", who.join(", ")))
            }
            _ => Ok(()),
        }
    }
}
