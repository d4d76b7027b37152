//! Latencies, in a histogram that keeps three digits from a microsecond to minutes.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longer ones are counted as this.
const LONGEST: Duration = Duration::from_secs(300);
/// The percentiles that a result keeps: enough to draw a curve.
const KEPT: &[f64] = &[
    0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.75, 99.9, 99.95, 99.975, 99.99, 99.995,
    99.999, 100.0,
];

/// Latencies as they come.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// Since when a latency counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Since {
    /// Since the request was to leave: what waits because others are slow counts as slow.
    Intended,
    /// Since the request left. In a closed loop there is no other time, and a stall hides the requests that it kept from leaving.
    Sent,
    /// Since the record was to leave, until a consumer has it.
    Produced,
}

/// Latencies of a run, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Since when.
    pub since: Since,
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Percentile, and the latency that so many are not above.
    pub percentiles: Vec<(f64, f64)>,
}

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        let longest = LONGEST.as_nanos() as u64;
        // Bounds and digits are constants that a test tries.
        Self(Histogram::new_with_bounds(1000, longest, 3).expect("the bounds are sound"))
    }

    /// One more.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Those of another thread.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        self.0.add(&other.0).expect("the same bounds");
    }

    /// What to keep of them; nothing of none.
    pub fn summary(&self, since: Since) -> Option<Latency> {
        let us = |nanos: u64| nanos as f64 / 1000.0;
        let at = |percentile: &f64| {
            let value = match *percentile {
                0.0 => self.0.min(),
                100.0 => self.0.max(),
                other => self.0.value_at_percentile(other),
            };
            (*percentile, us(value))
        };
        (!self.0.is_empty()).then(|| Latency {
            since,
            count: self.0.len(),
            mean_us: self.0.mean() / 1000.0,
            percentiles: KEPT.iter().map(at).collect(),
        })
    }
}

impl Latency {
    /// The latency at one of the kept percentiles, in milliseconds. What lies beyond so few latencies is not known.
    pub fn ms(&self, percentile: f64) -> Option<f64> {
        let found = self.percentiles.iter().find(|(kept, _)| *kept == percentile);
        found.filter(|_| self.says(percentile)).map(|(_, us)| us / 1000.0)
    }

    /// Whether there are enough latencies for this percentile to be more than the largest one by another name.
    pub fn says(&self, percentile: f64) -> bool {
        // A hair below, for 1,000 latencies do say 99.9, whatever floating point makes of it.
        percentile >= 100.0 || self.count as f64 * (100.0 - percentile) >= 99.999
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ms: impl IntoIterator<Item = u64>) -> Latency {
        let mut latencies = Latencies::new();
        ms.into_iter().for_each(|ms| latencies.record(Duration::from_millis(ms)));
        latencies.summary(Since::Sent).unwrap()
    }

    fn near(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() <= wanted * 0.002
    }

    #[test]
    fn percentiles_are_those_of_a_sorted_list() {
        let latency = of(1..=1000);
        for (percentile, ms) in [(50.0, 500.0), (90.0, 900.0), (99.0, 990.0), (99.9, 999.0), (100.0, 1000.0)]
        {
            let found = latency.ms(percentile).unwrap();
            assert!(near(found, ms), "{percentile}: {found}, not {ms}");
        }
        assert!(near(latency.mean_us, 500_500.0), "{}", latency.mean_us);
        assert_eq!(latency.count, 1000);
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let latency = of(1..=100);
        assert!(latency.ms(99.0).is_some());
        assert_eq!(latency.ms(99.9), None, "one of a hundred is not one of a thousand");
        assert_eq!(latency.ms(12.34), None, "not kept");
        assert!(near(latency.ms(100.0).unwrap(), 100.0));
        assert_eq!(Latencies::new().summary(Since::Sent), None);
    }

    #[test]
    fn a_single_slow_one_shows_at_the_far_end_only() {
        let latency = of(std::iter::repeat_n(1, 9999).chain([5000]));
        assert!(near(latency.ms(99.9).unwrap(), 1.0));
        assert!(near(latency.ms(100.0).unwrap(), 5000.0));
    }

    #[test]
    fn latencies_of_two_threads_are_latencies_of_one() {
        let (mut a, mut b) = (Latencies::new(), Latencies::new());
        (1..=500).for_each(|ms| a.record(Duration::from_millis(ms)));
        (501..=1000).for_each(|ms| b.record(Duration::from_millis(ms)));
        a.add(&b);
        assert_eq!(a.summary(Since::Sent).unwrap(), of(1..=1000));
    }

    #[test]
    fn the_longest_are_kept_as_such() {
        let latency = of([1, 10_000_000]);
        assert!(near(latency.ms(100.0).unwrap(), LONGEST.as_millis() as f64));
    }
}
