//! The text format of Prometheus (version 0.0.4), written by hand: names, a few labels, numbers. Pure.

use std::fmt::{Display, Write as _};

use crate::model::measure::Spread;

/// What `Content-Type` says of it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label's name and value. Names are ours; values are escaped.
pub type Label<'a> = (&'a str, &'a str);

/// The families written so far. Families come one after the other, each with all its samples.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// The kind of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Exposition {
    /// Begins a family.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// A sample of the family that was begun last.
    pub fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        let labels = written(labels);
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// A family of one sample.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The samples of a histogram whose values were counted in these units.
    pub fn spread(&mut self, name: &str, labels: &[Label<'_>], spread: &Spread, unit: Unit) {
        let buckets = format!("{name}_bucket");
        let bounds = spread
            .up_to
            .iter()
            .map(|(bound, count)| (unit.shown(*bound), *count));
        for (bound, count) in bounds.chain([("+Inf".to_owned(), spread.count)]) {
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.sample(&buckets, &labels, count);
        }
        self.sample(&format!("{name}_sum"), labels, unit.shown(spread.sum));
        self.sample(&format!("{name}_count"), labels, spread.count);
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// What a number counts, and so how it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// As it is.
    One,
    /// Microseconds, shown as seconds.
    Micros,
}

impl Unit {
    /// A number in the unit that is published.
    pub fn shown(self, value: u64) -> String {
        match self {
            Self::One => value.to_string(),
            Self::Micros => {
                let text = format!("{}.{:06}", value / 1_000_000, value % 1_000_000);
                let text = text.trim_end_matches('0');
                text.trim_end_matches('.').to_owned()
            }
        }
    }
}

fn written(labels: &[Label<'_>]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let all: Vec<String> = labels
        .iter()
        .map(|(name, value)| {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        })
        .collect();
    format!("{{{}}}", all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mut out = Exposition::default();
        out.family("a_total", Kind::Counter, "How many.");
        out.sample("a_total", &[("x", "a\"b\\c\n")], 3);
        out.single("b", Kind::Gauge, "One.", 1);
        out.family("c_seconds", Kind::Histogram, "How long.");
        let spread = Spread {
            up_to: vec![(2_500, 1), (1_000_000, 2)],
            count: 3,
            sum: 12_000_001,
        };
        out.spread("c_seconds", &[("k", "v")], &spread, Unit::Micros);
        let wanted = "# HELP a_total How many.\n# TYPE a_total counter\na_total{x=\"a\\\"b\\\\c\\n\"} 3\n\
            # HELP b One.\n# TYPE b gauge\nb 1\n# HELP c_seconds How long.\n# TYPE c_seconds histogram\n\
            c_seconds_bucket{k=\"v\",le=\"0.0025\"} 1\nc_seconds_bucket{k=\"v\",le=\"1\"} 2\n\
            c_seconds_bucket{k=\"v\",le=\"+Inf\"} 3\nc_seconds_sum{k=\"v\"} 12.000001\nc_seconds_count{k=\"v\"} 3\n";
        assert_eq!(out.into_text(), wanted);
    }

    #[test]
    fn microseconds_are_shown_as_seconds() {
        for (micros, wanted) in [
            (0, "0"),
            (1, "0.000001"),
            (2_500, "0.0025"),
            (10_000_000, "10"),
        ] {
            assert_eq!(Unit::Micros.shown(micros), wanted);
        }
    }
}
