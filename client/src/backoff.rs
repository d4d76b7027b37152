//! How long to wait before the next attempt.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Doubles from 50 ms to 2 s, each time between half and all of it, so that many clients do not come back at once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

const FIRST: Duration = Duration::from_millis(50);
const LARGEST: Duration = Duration::from_secs(2);

impl Backoff {
    /// The time to wait, longer with each call.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LARGEST);
        self.attempts += 1;
        // The standard library's keys are random enough for this.
        let random = RandomState::new().build_hasher().finish();
        whole.mul_f64(0.5 + (random % 1000) as f64 / 2000.0)
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_limit_and_starts_again() {
        let mut backoff = Backoff::default();
        assert!((FIRST / 2..=FIRST).contains(&backoff.next()));
        let later: Vec<_> = (0..100).map(|_| backoff.next()).collect();
        assert!(later.iter().all(|wait| *wait <= LARGEST));
        assert!(later[50] >= LARGEST / 2);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
