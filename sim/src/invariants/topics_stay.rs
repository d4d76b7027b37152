//! A topic whose creation was acknowledged, or that was seen, is there with the same id until somebody asks for its
//! deletion; one whose deletion was acknowledged never comes back.

use super::Invariant;
use crate::judge::Fact;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

#[derive(Default)]
pub(super) struct TopicsStay {
    there: BTreeMap<Uuid, String>,
    doomed: BTreeSet<Uuid>,
    gone: BTreeSet<Uuid>,
}

impl TopicsStay {
    fn enter(&mut self, id: Uuid, name: &str) -> Result<(), String> {
        if self.gone.contains(&id) {
            return Err(format!("topic {name} ({id}) was deleted and is back"));
        }
        match self.there.insert(id, name.to_owned()) {
            Some(other) if other != name => Err(format!("topic {id} was {other} and is {name}")),
            _ => Ok(()),
        }
    }
}

impl Invariant for TopicsStay {
    fn name(&self) -> &'static str {
        "topics_stay"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::TopicCreated(name, id) => self.enter(*id, name),
            Fact::TopicDoomed(id) => {
                self.doomed.insert(*id);
                Ok(())
            }
            Fact::TopicDeleted(id) => {
                self.gone.insert(*id);
                Ok(())
            }
            Fact::Topics(listed) => {
                listed.iter().try_for_each(|(name, id)| self.enter(*id, name))?;
                let missing = |(id, name): &(&Uuid, &String)| {
                    !self.doomed.contains(id) && listed.get(*name) != Some(id)
                };
                match self.there.iter().find(missing) {
                    Some((id, name)) => Err(format!("topic {name} ({id}) is not there; listed: {listed:?}")),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
