//! No producer id is given twice, whatever crash lies between.

use super::Invariant;
use crate::judge::Fact;
use std::collections::BTreeSet;

#[derive(Default)]
pub(super) struct ProducerIdsAreNew(BTreeSet<i64>);

impl Invariant for ProducerIdsAreNew {
    fn name(&self) -> &'static str {
        "producer_ids_are_new"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match *fact {
            Fact::ProducerId(id) if !self.0.insert(id) => Err(format!("producer id {id} was given twice")),
            _ => Ok(()),
        }
    }
}
