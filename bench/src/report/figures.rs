//! The figures of a report: which there are, how they are written, and what a comparison says of them.

use crate::result::Run;
use crate::stats::{Spread, ratios};
use crate::workload::{self, Headline};

/// A figure that follows from a run.
#[derive(Clone, Copy)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// In what.
    pub unit: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Of a run.
    pub of: fn(&Run) -> Option<f64>,
}

const THROUGHPUT: Figure =
    Figure { name: "throughput", unit: "MB/s", more_is_better: true, of: Run::mb_per_s };
const RECORDS: Figure = Figure { name: "records", unit: "/s", more_is_better: true, of: Run::records_per_s };
const GB_PER_CPU: Figure =
    Figure { name: "payload", unit: "GB/CPU-s", more_is_better: true, of: Run::gb_per_cpu_s };
const RECORDS_PER_CPU: Figure =
    Figure { name: "records", unit: "/CPU-s", more_is_better: true, of: Run::records_per_cpu_s };
const CORES: Figure =
    Figure { name: "broker CPU", unit: "cores", more_is_better: false, of: Run::broker_cores };
const CPU_PER_GB: Figure =
    Figure { name: "broker CPU", unit: "CPU-s/GB", more_is_better: false, of: Run::cpu_s_per_gb };
const RSS: Figure = Figure { name: "RSS", unit: "MB", more_is_better: false, of: Run::rss_mb };
const P50: Figure = Figure { name: "p50", unit: "ms", more_is_better: false, of: |run| run.ms(50.0) };
const P99: Figure = Figure { name: "p99", unit: "ms", more_is_better: false, of: |run| run.ms(99.0) };
const P999: Figure = Figure { name: "p99.9", unit: "ms", more_is_better: false, of: |run| run.ms(99.9) };
const MOST: Figure = Figure { name: "longest", unit: "ms", more_is_better: false, of: |run| run.ms(100.0) };
const SHARE: Figure = Figure {
    name: "of the machine's limit",
    unit: "%",
    more_is_better: true,
    of: |run| run.share_of_limit().map(|share| 100.0 * share),
};
const DRIVER: Figure = Figure {
    name: "driver CPU",
    unit: "cores",
    more_is_better: false,
    of: |run| (run.wall_s > 0.0).then(|| run.driver_cpu_s / run.wall_s),
};

/// Those of every run.
pub const ALL: &[Figure] = &[
    THROUGHPUT,
    RECORDS,
    GB_PER_CPU,
    RECORDS_PER_CPU,
    CPU_PER_GB,
    CORES,
    RSS,
    P50,
    P99,
    P999,
    MOST,
    SHARE,
    DRIVER,
];

/// Those that are plotted as bars.
pub const PLOTTED: &[Figure] = &[THROUGHPUT, CPU_PER_GB, RSS];

/// The runs of one workload on one side.
#[derive(Debug)]
pub struct Group<'a> {
    /// The workload.
    pub workload: &'a str,
    /// The side.
    pub side: &'a str,
    /// Its runs.
    pub runs: Vec<&'a Run>,
}

impl Group<'_> {
    /// What its runs say of a figure.
    pub fn spread(&self, of: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| of(run)))
    }
}

/// Runs by workload, in the order in which workloads and sides came. Sides that run workloads of their own are compared, so they are
/// together.
pub fn chapters(runs: &[Run]) -> Vec<Vec<Group<'_>>> {
    let mut chapters: Vec<Vec<Group<'_>>> = Vec::new();
    for run in runs {
        // A side that names its workload belongs to the comparison that was begun.
        let own = run.side.contains('/');
        let chapter = chapters.iter_mut().find(|groups| {
            groups.iter().any(|group| {
                group.workload == run.workload && group.side == run.side
                    || (group.workload == run.workload || own) && !has(groups, &run.side)
            })
        });
        let chapter = match chapter {
            Some(chapter) => chapter,
            None => {
                chapters.push(Vec::new());
                let last = chapters.len() - 1;
                &mut chapters[last]
            }
        };
        match chapter.iter_mut().find(|group| group.side == run.side && group.workload == run.workload) {
            Some(group) => group.runs.push(run),
            None => chapter.push(Group { workload: &run.workload, side: &run.side, runs: vec![run] }),
        }
    }
    chapters
}

fn has(groups: &[Group<'_>], side: &str) -> bool {
    groups.iter().any(|group| group.side == side)
}

/// The first group over the second, pair by pair.
pub fn ratio(a: &Group<'_>, b: &Group<'_>, of: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
    let of = &of;
    let pairs = a.runs.iter().filter_map(|run| {
        let other = b.runs.iter().find(|other| other.pair == run.pair)?;
        Some((of(run)?, of(other)?))
    });
    ratios(pairs)
}

/// What a workload is about, if it has a name that is known.
pub fn headline(workload: &str) -> Option<Headline> {
    workload::find(workload.trim_end_matches("-changed")).ok().map(|workload| workload.headline)
}

/// A number with three digits that mean something.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 100_000.0 => thousands(value),
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ if size >= 1.0 => format!("{value:.2}"),
        _ if value == 0.0 => "0".to_owned(),
        _ => {
            let zeros = (-size.log10().floor()).clamp(1.0, 9.0) as usize;
            format!("{value:.*}", zeros + 2)
        }
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// A spread in a cell: the median, and from where to where if there were several runs.
pub fn cell(spread: &Spread) -> String {
    match spread.count {
        1 => number(spread.median),
        _ => format!("{} ({} to {})", number(spread.median), number(spread.least), number(spread.most)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::run;

    #[test]
    fn numbers_have_three_digits_that_mean_something() {
        let cases = [
            (0.0, "0"),
            (0.01234, "0.0123"),
            (0.5, "0.500"),
            (0.000_045_67, "0.0000457"),
            (1.2345, "1.23"),
            (12.345, "12.3"),
            (123.45, "123"),
            (12_345.6, "12346"),
            (1_234_567.8, "1,234,568"),
            (-250_000.0, "-250,000"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn runs_of_a_comparison_are_one_chapter() {
        let mut other = run("millrace", 1, 1.0);
        other.workload = "consume-1m".to_owned();
        let runs = [run("millrace", 1, 1.0), run("kafka", 1, 0.5), run("millrace", 2, 1.0), other];
        let chapters = chapters(&runs);
        let sides = |chapter: &Vec<Group<'_>>| {
            chapter.iter().map(|group| (group.side.to_owned(), group.runs.len())).collect::<Vec<_>>()
        };
        assert_eq!(chapters.len(), 2);
        assert_eq!(sides(&chapters[0]), [("millrace".to_owned(), 2), ("kafka".to_owned(), 1)]);
        assert_eq!(chapters[1][0].workload, "consume-1m");
    }

    #[test]
    fn sides_with_workloads_of_their_own_are_one_chapter() {
        let of = |workload: &str, pair| {
            let mut run = run(&format!("millrace/{workload}"), pair, 1.0);
            run.workload = workload.to_owned();
            run
        };
        let runs = [of("durable-4p", 1), of("durable-512p", 1), of("durable-4p", 2), of("durable-512p", 2)];
        let chapters = chapters(&runs);
        assert_eq!(chapters.len(), 1);
        assert_eq!(chapters[0].iter().map(|group| group.runs.len()).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn ratios_go_by_pairs() {
        let runs = [run("a", 1, 4.0), run("b", 1, 2.0), run("a", 2, 1.0), run("b", 2, 0.5), run("a", 3, 9.0)];
        let chapters = chapters(&runs);
        let [a, b] = &chapters[0][..] else { panic!("two sides") };
        let spread = ratio(a, b, Run::mb_per_s).unwrap();
        assert_eq!((spread.median, spread.count), (2.0, 2), "the third pair has one side only");
    }
}
