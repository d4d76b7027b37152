//! Who may connect: how many connections at once, in all and from one address, and which shard gets the next one.
//!
//! Asked once when a connection begins and once when it ends, never in between: the one lock of the broker.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

/// The counts. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Admission(Arc<Mutex<Counts>>);

struct Counts {
    per_shard: Vec<usize>,
    per_address: HashMap<IpAddr, usize>,
    max: usize,
    max_per_address: usize,
}

/// A connection that was let in, and its shard. Leaves on drop, whichever core drops it.
pub struct Permit {
    admission: Admission,
    shard: usize,
    address: IpAddr,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too many in all.
    #[error("{0} connections are open, as many as max.connections allows")]
    Full(usize),
    /// Too many from this address.
    #[error("{0} connections from this address are open, as many as max.connections.per.ip allows")]
    FullForAddress(usize),
}

impl Admission {
    /// Lets in `max` connections at once over `shards` shards, `max_per_address` of them from one address.
    pub fn new(shards: usize, max: usize, max_per_address: usize) -> Self {
        let per_shard = vec![0; shards];
        Self(Arc::new(Mutex::new(Counts { per_shard, per_address: HashMap::new(), max, max_per_address })))
    }

    /// Lets in so many from now on. Those that are open stay.
    pub fn limit(&self, max: usize, max_per_address: usize) {
        let mut counts = self.counts();
        (counts.max, counts.max_per_address) = (max, max_per_address);
    }

    /// Lets a connection in and gives it to the shard that has the fewest.
    pub fn admit(&self, address: IpAddr) -> Result<Permit, Refusal> {
        let mut counts = self.counts();
        if counts.per_shard.iter().sum::<usize>() >= counts.max {
            return Err(Refusal::Full(counts.max));
        }
        let max = counts.max_per_address;
        let from_here = counts.per_address.entry(address).or_default();
        if *from_here >= max {
            return Err(Refusal::FullForAddress(max));
        }
        *from_here += 1;
        let shard = (0..counts.per_shard.len()).min_by_key(|&s| counts.per_shard[s]).expect("a shard");
        counts.per_shard[shard] += 1;
        Ok(Permit { admission: self.clone(), shard, address })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Permit {
    /// The shard that the connection belongs to.
    pub fn shard(&self) -> usize {
        self.shard
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.per_shard[self.shard] -= 1;
        if let Some(from_here) = counts.per_address.get_mut(&self.address) {
            *from_here -= 1;
            if *from_here == 0 {
                counts.per_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_hold_equal_numbers_and_limits_hold() {
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let admission = Admission::new(2, 4, 3);
        let mut permits: Vec<_> = (0..3).map(|_| admission.admit(here).expect("below both")).collect();
        assert_eq!(permits.iter().map(Permit::shard).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!(admission.admit(here).err(), Some(Refusal::FullForAddress(3)));
        permits.push(admission.admit(there).expect("another address"));
        assert_eq!(admission.admit(there).err(), Some(Refusal::Full(4)));
        permits.remove(0);
        assert_eq!(admission.admit(there).expect("one left").shard(), 0);
        assert_eq!(admission.counts().per_address.len(), 2);
        permits.push(admission.admit(there).expect("one left"));
        admission.limit(2, 9);
        assert_eq!(admission.admit(there).err(), Some(Refusal::Full(2)), "those that are open stay");
    }
}
