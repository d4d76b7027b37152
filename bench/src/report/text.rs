//! Reports as text.

use super::figures::{ALL, Group, cell, chapters, headline, number, ratio};
use crate::limits::Figure;
use crate::measure::machine::Machine;
use crate::result::{Run, SECONDS_TO_JOIN};
use crate::stats::Spread;
use crate::workload::{Headline, TABLE};
use std::fmt::Write;

/// The named workloads, explained.
pub fn workloads() -> String {
    let mut text = String::new();
    for workload in TABLE {
        line_of(&mut text, &[workload.name, ": ", workload.about]);
        line_of(&mut text, &["    ", &workload.plan.describe()]);
    }
    text
}

/// A run in a line.
pub fn line(run: &Run) -> String {
    let mut text = format!("{} {} #{}:", run.workload, run.side, run.pair);
    let mut add = |value: Option<f64>, unit: &str| {
        if let Some(value) = value {
            let _ = write!(text, " {}{unit}", number(value)); // a String takes everything
        }
    };
    add(run.mb_per_s(), " MB/s,");
    add(run.records_per_s(), " records/s,");
    add(run.gb_per_cpu_s(), " GB/CPU-s,");
    add(run.ms(50.0), " ms p50,");
    add(run.ms(99.0), " ms p99,");
    add(run.rss_mb(), " MB RSS,");
    for (name, value) in &run.figures {
        let _ = write!(text, " {name} {},", number(*value));
    }
    text.trim_end_matches(',').to_owned()
}

/// Tables of these runs, a chapter for each workload.
pub fn runs(runs: &[Run]) -> String {
    let mut text = String::new();
    let Some(first) = runs.first() else { return text };
    line_of(&mut text, &["on ", &first.machine.describe()]);
    for chapter in chapters(runs) {
        text.push('\n');
        text.push_str(&heading(&chapter));
        text.push_str(&table(&rows(&chapter)));
    }
    text
}

fn heading(chapter: &[Group<'_>]) -> String {
    let mut text = String::new();
    let mut told = "";
    for group in chapter {
        if group.workload != told {
            told = group.workload;
            line_of(&mut text, &[told]);
            for what in group.runs[0].describe() {
                line_of(&mut text, &["  ", &what]);
            }
        }
    }
    for group in chapter {
        let run = group.runs[0];
        let runs = group.runs.len();
        let checked: u64 = group.runs.iter().map(|run| run.checked_records).sum();
        let (side, version, driver, seconds) = (group.side, &run.version, &run.driver, run.wall_s);
        let told = format!(
            "  {side}: {version}, {driver} driver, {runs} runs of {seconds:.1} s, {checked} records checked"
        );
        line_of(&mut text, &[&told]);
    }
    text
}

/// What the machine can do.
pub fn limits(figures: &[Figure]) -> String {
    let row = |figure: &Figure| vec![figure.name.to_owned(), number(figure.value), figure.unit.to_owned()];
    let rows: Vec<Vec<String>> = figures.iter().map(row).collect();
    format!("on {}\n{}", Machine::this().describe(), table(&rows))
}

/// A heading and a row for each figure that there is.
pub fn rows(chapter: &[Group<'_>]) -> Vec<Vec<String>> {
    let mut first = vec!["median (least to most)".to_owned()];
    first.extend(chapter.iter().map(|group| group.side.to_owned()));
    if let [a, b] = chapter {
        first.push(format!("{} / {}", a.side, b.side));
    }
    let mut rows = vec![first];
    let about = headline(chapter[0].workload);
    for figure in ALL {
        let marked = if is_headline(figure.unit, figure.name, about) { "*" } else { "" };
        let name = format!("{} {}{marked}", figure.name, figure.unit);
        rows.extend(row(name, chapter, &figure.of));
    }
    let mut names: Vec<&String> =
        chapter.iter().flat_map(|group| &group.runs).flat_map(|run| run.figures.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let marked = if is_headline("", name, about) { "*" } else { "" };
        rows.extend(row(format!("{name}{marked}"), chapter, &|run: &Run| run.figures.get(name).copied()));
    }
    let mut names: Vec<&String> =
        chapter.iter().flat_map(|group| &group.runs).flat_map(|run| run.latencies.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        for percentile in [50.0, 99.0, 99.9] {
            let of = |run: &Run| run.latencies.get(name)?.ms(percentile);
            rows.extend(row(format!("{name} p{percentile} ms"), chapter, &of));
        }
    }
    rows
}

fn row(name: String, chapter: &[Group<'_>], of: &dyn Fn(&Run) -> Option<f64>) -> Option<Vec<String>> {
    let spreads: Vec<Option<Spread>> = chapter.iter().map(|group| group.spread(of)).collect();
    if spreads.iter().all(Option::is_none) {
        return None;
    }
    let mut row = vec![name];
    row.extend(spreads.iter().map(|spread| spread.as_ref().map_or("-".to_owned(), cell)));
    if let [a, b] = chapter {
        row.push(ratio(a, b, of).map_or("-".to_owned(), |spread| cell(&spread)));
    }
    Some(row)
}

fn is_headline(unit: &str, name: &str, about: Option<Headline>) -> bool {
    match about {
        Some(Headline::GbPerCpuSecond) => unit == "GB/CPU-s",
        Some(Headline::RecordsPerCpuSecond) => unit == "/CPU-s",
        Some(Headline::MbPerSecond) => unit == "MB/s",
        Some(Headline::RecordsPerSecond) => unit == "/s",
        Some(Headline::Latency) => name.starts_with('p') && unit == "ms",
        Some(Headline::BrokerCores) => unit == "cores" && name == "broker CPU",
        Some(Headline::SecondsToJoin) => name == SECONDS_TO_JOIN,
        Some(Headline::TailGrowth | Headline::Footprint) | None => false,
    }
}

/// Columns as wide as they must be.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| cell(row, column)).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  "); // a String takes everything
        }
        line_of(&mut text, &[line.trim_end()]);
    }
    text
}

fn line_of(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::run;

    #[test]
    fn every_workload_is_explained() {
        let text = workloads();
        for workload in TABLE {
            assert!(text.contains(workload.name) && text.contains(workload.about), "{}", workload.name);
        }
    }

    #[test]
    fn a_comparison_has_medians_spreads_and_ratios() {
        let found =
            [run("millrace", 1, 1.0), run("kafka", 1, 0.25), run("millrace", 2, 2.0), run("kafka", 2, 0.5)];
        let text = runs(&found);
        assert!(text.contains("millrace / kafka"), "{text}");
        let row = text.lines().find(|line| line.trim_start().starts_with("throughput MB/s")).unwrap();
        assert!(row.contains("600 (400 to 800)") && row.contains("150 (100 to 200)"), "{row}");
        assert!(row.contains("4.00 (4.00 to 4.00)"), "{row}");
        let headline = text.lines().find(|line| line.contains("GB/CPU-s")).unwrap();
        assert!(headline.contains("GB/CPU-s*"), "{headline}");
        assert!(text.contains("8800000 records checked"), "{text}");
    }

    #[test]
    fn figures_that_nobody_has_have_no_row() {
        let mut one = run("host:1", 1, 1.0);
        (one.broker_cpu, one.memory) = (None, None);
        let text = runs(&[one]);
        assert!(!text.contains("RSS MB") && !text.contains("CPU-s/GB"), "{text}");
        assert!(text.contains("throughput MB/s"));
    }
}
