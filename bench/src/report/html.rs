//! Reports as one page that needs nothing else: tables, and plots beside them.

use super::figures::{Group, PLOTTED, chapters};
use super::svg::{self, Bar, Curve, escape};
use super::text::rows;
use crate::measure::latency::{Latency, Since};
use crate::result::Run;
use std::fmt::Write;

const STYLE: &str = "
:root { --ink: #1d232b; --soft: #5b6672; --grid: #dfe4ea; --paper: #ffffff; --panel: #f6f8fa;
  --s0: #1f6fb2; --s1: #d9822b; --s2: #2f8f6b; --s3: #8a5cc2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa6b2; --grid: #323b45; --paper: #14181d;
  --panel: #1b2127; --s0: #5aa9e6; --s1: #f0a35e; --s2: #5fc39b; --s3: #b893e6; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem;
  margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .25rem; }
p { margin: .15rem 0; color: var(--soft); }
.wide { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: right; padding: .2rem .9rem; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1rem; }
figure { margin: 0; background: var(--panel); border-radius: 6px; padding: .75rem; }
figcaption { font-size: .85rem; color: var(--soft); }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .tick { fill: var(--soft); font-size: 11px; } svg .middle { text-anchor: middle; } svg .end { text-anchor: end; }
.grid { stroke: var(--grid); stroke-width: 1; } .run { stroke: var(--ink); stroke-width: 1.2; opacity: .55; }
.curve { fill: none; stroke-width: 2.2; } .thin { stroke-width: 1; opacity: .35; }
.fill.s0 { fill: var(--s0); } .fill.s1 { fill: var(--s1); } .fill.s2 { fill: var(--s2); } .fill.s3 { fill: var(--s3); }
.curve.s0 { stroke: var(--s0); } .curve.s1 { stroke: var(--s1); } .curve.s2 { stroke: var(--s2); } .curve.s3 { stroke: var(--s3); }
";

/// The page for these runs.
pub fn page(runs: &[Run]) -> String {
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
    add(&mut page, format_args!("<title>millrace-bench</title>\n<style>{STYLE}</style>\n</head>\n<body>"));
    page.push_str("<h1>millrace-bench</h1>\n");
    if let (Some(first), Some(last)) = (runs.first(), runs.last()) {
        let machine = escape(&first.machine.describe());
        add(&mut page, format_args!("<p>{machine}</p>\n<p>{} to {}</p>", first.started, last.started));
    }
    page.push_str("<p>Medians; from the least to the most in parentheses, and as marks on the bars. Ratios are taken within pairs.</p>\n");
    for chapter in chapters(runs) {
        add_chapter(&mut page, &chapter);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn add(page: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = page.write_fmt(text); // a String takes everything
    page.push('\n');
}

fn add_chapter(page: &mut String, chapter: &[Group<'_>]) {
    let mut names: Vec<&str> = chapter.iter().map(|group| group.workload).collect();
    names.dedup();
    add(page, format_args!("<h2>{}</h2>", escape(&names.join(", "))));
    for group in chapter {
        let run = group.runs[0];
        let what = run.describe().join("; ");
        let told = format!("{}: {}, {} runs, {what}", group.side, run.version, group.runs.len());
        add(page, format_args!("<p>{}</p>", escape(told.trim_end_matches([',', ' ']))));
    }
    add_table(page, &rows(chapter));
    page.push_str("<div class=\"plots\">\n");
    for figure in PLOTTED {
        let side = |group: &Group<'_>| Bar {
            name: group.side.to_owned(),
            values: group.runs.iter().filter_map(|run| (figure.of)(run)).collect(),
        };
        let sides: Vec<Bar> = chapter.iter().map(side).collect();
        let better = if figure.more_is_better { "more is better" } else { "less is better" };
        add_figure(page, &format!("{}, {better}", figure.name), svg::bars(figure.name, figure.unit, &sides));
    }
    let curves: Vec<Curve> =
        chapter.iter().map(|group| curve(group.side, group, |run| run.latency.as_ref())).collect();
    let since =
        chapter.iter().flat_map(|group| &group.runs).find_map(|run| Some(run.latency.as_ref()?.since));
    add_figure(page, &latency_title(since), svg::latencies("latency", &curves));
    let mut more: Vec<Curve> = Vec::new();
    for group in chapter {
        let mut names: Vec<&String> = group.runs.iter().flat_map(|run| run.latencies.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let called = if chapter.len() > 1 { format!("{}: {name}", group.side) } else { name.clone() };
            more.push(curve(&called, group, |run| run.latencies.get(name)));
        }
    }
    add_figure(page, "latency by part", svg::latencies("latency by part", &more));
    page.push_str("</div>\n");
}

fn curve(name: &str, group: &Group<'_>, of: impl Fn(&Run) -> Option<&Latency>) -> Curve {
    let points = |latency: &Latency| {
        // The shortest and the longest are single latencies; the longest is in the table.
        let drawn = |percentile: f64| percentile > 0.0 && percentile < 100.0 && latency.says(percentile);
        let known = latency.percentiles.iter().filter(|(percentile, _)| drawn(*percentile));
        known.map(|(percentile, us)| (*percentile, us / 1000.0)).collect()
    };
    let runs = group.runs.iter().filter_map(|run| of(run)).map(points).collect();
    Curve { name: name.to_owned(), runs }
}

fn latency_title(since: Option<Since>) -> String {
    let since = match since {
        Some(Since::Intended) => "since the request was to leave",
        Some(Since::Sent) => "since the request left: in a closed loop, no request waits for another",
        Some(Since::Produced) => "since the record was to leave, until a consumer has it",
        None => "",
    };
    format!("latency {since}").trim_end().to_owned()
}

fn add_figure(page: &mut String, title: &str, plot: Option<String>) {
    if let Some(plot) = plot {
        let title = escape(title);
        add(page, format_args!("<figure>\n<figcaption>{title}</figcaption>\n{plot}</figure>"));
    }
}

fn add_table(page: &mut String, rows: &[Vec<String>]) {
    page.push_str("<div class=\"wide\"><table>\n");
    for (at, row) in rows.iter().enumerate() {
        let cell = if at == 0 { "th" } else { "td" };
        let cells: String = row.iter().map(|text| format!("<{cell}>{}</{cell}>", escape(text))).collect();
        add(page, format_args!("<tr>{cells}</tr>"));
    }
    page.push_str("</table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::run;
    use roxmltree::Document;

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_else() {
        let mut runs = vec![run("millrace", 1, 1.0), run("kafka", 1, 0.25), run("<host>:1 & co", 1, 0.5)];
        let latency = runs[0].latency.clone().unwrap();
        runs[0].latencies.insert("tail alone".to_owned(), latency);
        let page = page(&runs);
        let document = Document::parse(page.strip_prefix("<!DOCTYPE html>\n").unwrap()).unwrap();
        let count = |tag| document.descendants().filter(|node| node.has_tag_name(tag)).count();
        assert_eq!((count("table"), count("svg"), count("figcaption")), (1, 5, 5));
        for node in document.descendants() {
            for attribute in ["src", "href"] {
                assert_eq!(node.attribute(attribute), None, "the page stands alone");
            }
        }
        assert!(page.contains("&lt;host&gt;:1 &amp; co"));
    }

    #[test]
    fn a_page_of_nothing_is_a_page() {
        let page = page(&[]);
        assert!(Document::parse(page.strip_prefix("<!DOCTYPE html>\n").unwrap()).is_ok());
    }
}
