//! Plots as SVG: bars with every run on them, and curves of latency by percentile on a logarithmic scale. Colours are classes, so that the
//! page decides on them.

use super::figures::number;
use crate::stats::Spread;
use std::fmt::{Display, Write};

/// A drawing that grows.
#[derive(Debug)]
struct Drawing(String);

impl Drawing {
    fn new(width: f64, height: f64, what: &str) -> Self {
        let what = escape(what);
        Self(format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{what}\">\n"))
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(element); // a String takes everything
        self.0.push('\n');
    }

    fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.add(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    fn text(&mut self, class: &str, (x, y): (f64, f64), text: impl Display) {
        let text = escape(&text.to_string());
        self.add(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"));
    }

    fn curve(&mut self, class: &str, points: &[(f64, f64)], what: &str) {
        let mut list = String::new();
        for (x, y) in points {
            let _ = write!(list, "{x:.1},{y:.1} "); // a String takes everything
        }
        let (list, what) = (list.trim_end(), escape(what));
        self.add(format_args!(
            "<polyline class=\"{class}\" points=\"{list}\"><title>{what}</title></polyline>"
        ));
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

/// What a text is in XML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no place for them, however they are written.
            c if c < ' ' && !matches!(c, '\t' | '\n') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

const WIDTH: f64 = 560.0;
const FOOT: f64 = 34.0;

/// One side of a plot of bars.
#[derive(Clone, Debug)]
pub struct Bar {
    /// The side.
    pub name: String,
    /// Each of its runs.
    pub values: Vec<f64>,
}

/// Bars from zero to the median, with a mark for each run. Nothing of nothing.
pub fn bars(what: &str, unit: &str, sides: &[Bar]) -> Option<String> {
    const LEFT: f64 = 130.0;
    const RIGHT: f64 = 70.0;
    const ROW: f64 = 34.0;
    let spreads: Vec<(&Bar, Spread)> =
        sides.iter().filter_map(|bar| Some((bar, Spread::of(bar.values.iter().copied())?))).collect();
    let most = spreads.iter().map(|(_, spread)| spread.most).fold(0.0, f64::max);
    if spreads.is_empty() || most <= 0.0 {
        return None;
    }
    let ticks = linear_ticks(most);
    let end = ticks.last().copied().unwrap_or(most);
    let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * value.max(0.0) / end;
    let height = 8.0 + ROW * spreads.len() as f64 + FOOT;
    let bottom = height - FOOT;
    let mut drawing = Drawing::new(WIDTH, height, what);
    for tick in &ticks {
        drawing.line("grid", (x(*tick), 4.0), (x(*tick), bottom));
        drawing.text("tick middle", (x(*tick), bottom + 14.0), short(*tick));
    }
    drawing.text("tick middle", (x(end / 2.0), bottom + 29.0), unit);
    for (row, (bar, spread)) in spreads.iter().enumerate() {
        let middle = 8.0 + ROW * (row as f64 + 0.5);
        let colour = format!("s{}", row % 4);
        let (top, width) = (middle - 10.0, x(spread.median) - LEFT);
        drawing.text("label end", (LEFT - 8.0, middle + 4.0), &bar.name);
        drawing.add(format_args!(
            "<rect class=\"fill {colour}\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"20\" rx=\"2\"/>"
        ));
        for value in &bar.values {
            drawing.line("run", (x(*value), middle - 10.0), (x(*value), middle + 10.0));
        }
        drawing.text("value", (x(spread.most) + 6.0, middle + 4.0), number(spread.median));
    }
    Some(drawing.finish())
}

/// One side of a plot of latencies.
#[derive(Clone, Debug)]
pub struct Curve {
    /// The side.
    pub name: String,
    /// Each of its runs: percentile and milliseconds.
    pub runs: Vec<Vec<(f64, f64)>>,
}

impl Curve {
    /// At each percentile that all runs have, the median of them.
    fn middle(&self) -> Vec<(f64, f64)> {
        let Some(first) = self.runs.first() else { return Vec::new() };
        let at = |percentile: f64| {
            let of = |run: &Vec<(f64, f64)>| run.iter().find(|(p, _)| *p == percentile).map(|(_, ms)| *ms);
            let values: Option<Vec<f64>> = self.runs.iter().map(of).collect();
            Some((percentile, Spread::of(values?)?.median))
        };
        first.iter().filter_map(|(percentile, _)| at(*percentile)).collect()
    }
}

/// The percentiles that are written below a plot of latencies.
const NINES: &[(f64, &str)] = &[
    (0.0, "0"),
    (50.0, "50"),
    (90.0, "90"),
    (99.0, "99"),
    (99.9, "99.9"),
    (99.99, "99.99"),
    (99.999, "99.999"),
];

/// Latency by percentile, both logarithmic: each nine takes as much room. Thin for each run, bold for their median.
pub fn latencies(what: &str, sides: &[Curve]) -> Option<String> {
    const HEIGHT: f64 = 300.0;
    const LEFT: f64 = 56.0;
    const RIGHT: f64 = 30.0;
    const TOP: f64 = 26.0;
    let points = || sides.iter().flat_map(|side| &side.runs).flatten().filter(|(_, ms)| *ms > 0.0);
    let spread = Spread::of(points().map(|(_, ms)| *ms))?;
    let (least, most) = (spread.least.log10().floor(), (spread.most.log10() + 1e-9).ceil());
    let most = most.max(least + 1.0);
    let far = points().map(|(percentile, _)| nines(*percentile)).fold(1.0, f64::max);
    let bottom = HEIGHT - FOOT;
    let x = |percentile: f64| LEFT + (WIDTH - LEFT - RIGHT) * nines(percentile) / far;
    let y = |ms: f64| bottom - (bottom - TOP) * (ms.log10() - least) / (most - least);
    let mut drawing = Drawing::new(WIDTH, HEIGHT, what);
    for power in least as i32..=most as i32 {
        let ms = 10f64.powi(power);
        drawing.line("grid", (LEFT, y(ms)), (WIDTH - RIGHT, y(ms)));
        drawing.text("tick end", (LEFT - 6.0, y(ms) + 4.0), ms);
    }
    for (percentile, name) in NINES.iter().filter(|(percentile, _)| nines(*percentile) <= far) {
        drawing.line("grid", (x(*percentile), TOP), (x(*percentile), bottom));
        drawing.text("tick middle", (x(*percentile), bottom + 14.0), name);
    }
    drawing.text("tick middle", (f64::midpoint(LEFT, WIDTH), bottom + 29.0), "percentile");
    drawing.text("tick", (LEFT, 12.0), "ms");
    for (number, side) in sides.iter().enumerate() {
        let colour = format!("s{}", number % 4);
        let drawn = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
            points.iter().filter(|(_, ms)| *ms > 0.0).map(|(p, ms)| (x(*p), y(*ms))).collect()
        };
        if side.runs.len() > 1 {
            for run in &side.runs {
                drawing.curve(&format!("curve thin {colour}"), &drawn(run), &side.name);
            }
        }
        drawing.curve(&format!("curve {colour}"), &drawn(&side.middle()), &side.name);
        let at = LEFT + 40.0 + 170.0 * number as f64;
        drawing.line(&format!("curve {colour}"), (at, 8.0), (at + 18.0, 8.0));
        drawing.text("label", (at + 24.0, 12.0), &side.name);
    }
    Some(drawing.finish())
}

/// How many nines: 0 of everything, 1 at 90, 2 at 99. What is beyond the last percentile that is kept is drawn there.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile.min(99.999) / 100.0).log10()
}

/// A round number without the digits that are zero.
fn short(value: f64) -> String {
    let text = number(value);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// From zero to the value or a little beyond, in steps of 1, 2 or 5.
fn linear_ticks(most: f64) -> Vec<f64> {
    let rough = most / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
    let count = (most / step).ceil() as u32;
    (0..=count).map(|tick| f64::from(tick) * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use roxmltree::Document;

    fn bar(name: &str, values: &[f64]) -> Bar {
        Bar { name: name.to_owned(), values: values.to_vec() }
    }

    fn number_of(document: &Document<'_>, tag: &str, class: &str) -> usize {
        let has = |found: Option<&str>| found.is_some_and(|all| all.split(' ').any(|one| one == class));
        document.descendants().filter(|node| node.has_tag_name(tag) && has(node.attribute("class"))).count()
    }

    #[test]
    fn bars_are_as_long_as_their_medians() {
        let svg = bars("throughput", "MB/s", &[bar("a", &[50.0, 100.0, 60.0]), bar("b", &[30.0])]).unwrap();
        let document = Document::parse(&svg).unwrap();
        let widths: Vec<f64> = document
            .descendants()
            .filter(|node| node.has_tag_name("rect"))
            .map(|node| node.attribute("width").unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths.len(), 2);
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.01, "{widths:?}");
        assert_eq!(number_of(&document, "line", "run"), 4);
    }

    #[test]
    fn names_that_are_markup_are_text() {
        let name = "<b a=\"1\">&amp;\u{7}</b>";
        let svg = bars(name, name, &[bar(name, &[1.0])]).unwrap();
        let document = Document::parse(&svg).unwrap();
        let label = document.descendants().find(|node| node.attribute("class") == Some("label end")).unwrap();
        assert_eq!(label.text(), Some("<b a=\"1\">&amp;\u{fffd}</b>"));
    }

    #[test]
    fn a_plot_of_nothing_is_none() {
        assert_eq!(bars("x", "y", &[]), None);
        assert_eq!(bars("x", "y", &[bar("a", &[])]), None);
        assert_eq!(bars("x", "y", &[bar("a", &[0.0])]), None);
        assert_eq!(latencies("x", &[]), None);
        assert_eq!(latencies("x", &[Curve { name: "a".to_owned(), runs: vec![vec![]] }]), None);
    }

    #[test]
    fn latencies_have_a_bold_median_and_thin_runs() {
        let run = |factor: f64| {
            vec![(0.0, factor), (50.0, factor * 2.0), (99.0, factor * 10.0), (99.9, factor * 30.0)]
        };
        let sides = [
            Curve { name: "a".to_owned(), runs: vec![run(0.1), run(0.2), run(0.4)] },
            Curve { name: "b".to_owned(), runs: vec![run(3.0)] },
        ];
        assert_eq!(sides[0].middle()[2], (99.0, 2.0));
        let svg = latencies("latency", &sides).unwrap();
        let document = Document::parse(&svg).unwrap();
        assert_eq!(number_of(&document, "polyline", "thin"), 3);
        assert_eq!(number_of(&document, "polyline", "curve"), 5);
        for curve in document.descendants().filter(|node| node.has_tag_name("polyline")) {
            let points: Vec<(f64, f64)> = curve
                .attribute("points")
                .unwrap()
                .split(' ')
                .map(|point| {
                    point.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap()
                })
                .collect();
            assert!(points.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 > two[1].1), "{points:?}");
            assert!(points.iter().all(|(x, y)| (0.0..=WIDTH).contains(x) && (0.0..=300.0).contains(y)));
        }
    }

    #[test]
    fn ticks_reach_the_value_in_round_steps() {
        assert_eq!(linear_ticks(100.0), [0.0, 50.0, 100.0]);
        assert_eq!(linear_ticks(7.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!([0.0, 0.5, 2.0, 100.0].map(short), ["0", "0.5", "2", "100"]);
        for most in [0.003, 0.5, 1.0, 999.0, 123_456.0] {
            let ticks = linear_ticks(most);
            assert!(ticks.last().unwrap() >= &most && ticks.len() <= 8, "{most}: {ticks:?}");
        }
    }

    #[test]
    fn each_nine_takes_as_much_room() {
        assert!((nines(90.0) - 1.0).abs() < 1e-9);
        assert!((nines(99.9) - 3.0).abs() < 1e-9);
        assert_eq!(nines(0.0).abs(), 0.0);
        assert!(nines(100.0).is_finite());
    }
}
