//! Metrics as text, in the format that Prometheus and others read (`OpenMetrics`).

use std::{collections::HashMap, fmt, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The content type of a page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, and starts anew with the process. Its name ends in `_total`.
    Counter,
    Gauge,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// A sentence without its end.
    pub help: &'static str,
}

type Labels = Vec<(&'static str, String)>;

enum Values {
    Counter(Family<Labels, Counter<u64, AtomicU64>>),
    Gauge(Family<Labels, Gauge<f64, AtomicU64>>),
}

/// A page that is being filled.
pub struct Page {
    /// What every name begins with.
    prefix: &'static str,
    registry: Registry,
    values: HashMap<&'static str, (&'static [&'static str], Values)>,
}

impl Page {
    /// A page with these metrics and no value of any. All begin with the prefix.
    pub fn new(prefix: &'static str, metrics: &[Metric]) -> Self {
        let mut page = Self { prefix, registry: Registry::default(), values: HashMap::new() };
        for metric in metrics {
            let values = match metric.kind {
                Kind::Counter => {
                    let family = Family::default();
                    let name = metric.name.trim_end_matches("_total");
                    page.registry.register(name, metric.help, family.clone());
                    Values::Counter(family)
                }
                Kind::Gauge => {
                    let family = Family::default();
                    page.registry.register(metric.name, metric.help, family.clone());
                    Values::Gauge(family)
                }
            };
            page.values.insert(metric.name, (metric.labels, values));
        }
        page
    }

    /// Adds to a counter, named without the prefix. `labels` has the values of its labels in their order.
    pub fn count(&self, name: &str, labels: &[&str], value: u64) {
        if let Some((names, Values::Counter(family))) = self.find(name) {
            family.get_or_create(&pairs(names, labels)).inc_by(value);
        } else {
            debug_assert!(false, "no counter {name}");
        }
    }

    /// Adds to a gauge, as above.
    pub fn gauge(&self, name: &str, labels: &[&str], value: f64) {
        if let Some((names, Values::Gauge(family))) = self.find(name) {
            family.get_or_create(&pairs(names, labels)).inc_by(value);
        } else {
            debug_assert!(false, "no gauge {name}");
        }
    }

    fn find(&self, name: &str) -> Option<&(&'static [&'static str], Values)> {
        self.values.get(format!("{}{name}", self.prefix).as_str())
    }

    /// The text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn pairs(names: &'static [&'static str], values: &[&str]) -> Labels {
    debug_assert_eq!(names.len(), values.len(), "labels {names:?}");
    names.iter().copied().zip(values.iter().map(|value| (*value).to_owned())).collect()
}

/// A number of things as the value of a gauge.
#[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 of them")]
pub fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Checks a table of metrics against the conventions, and `docs/operations.md` against it.
    pub fn check_table(metrics: &[Metric], prefix: &str, others: &[&str]) {
        let docs = include_str!("../../docs/operations.md");
        for metric in metrics {
            let name = metric.name;
            assert!(name.starts_with(prefix), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            for unit in ["_ms", "_milliseconds", "_kb", "_kilobytes", "_percent"] {
                assert!(!name.contains(unit), "{name} is not in a base unit");
            }
            assert!(!metric.help.ends_with('.'), "{name}");
            let labels = match metric.labels {
                [] => String::new(),
                labels => {
                    labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ")
                }
            };
            let row = format!("| `{name}` | {labels} | {} |", metric.help);
            assert!(docs.contains(&row), "docs/operations.md lacks this row:\n{row}");
        }
        let is_told = |line: &&str| {
            line.starts_with(&format!("| `{prefix}"))
                && !others.iter().any(|other| line.starts_with(&format!("| `{other}")))
        };
        let told = docs.lines().filter(is_told);
        for row in told {
            let name = row.split('`').nth(1).unwrap();
            assert!(metrics.iter().any(|metric| metric.name == name), "{name} is in no table");
        }
    }

    const METRICS: [Metric; 3] = [
        Metric { name: "a_b_total", kind: Kind::Counter, labels: &["x"], help: "What it counts" },
        Metric { name: "a_bytes", kind: Kind::Gauge, labels: &[], help: "What it is" },
        Metric { name: "a_info", kind: Kind::Gauge, labels: &["version"], help: "Build" },
    ];

    #[test]
    fn writes_what_prometheus_reads() {
        let page = Page::new("", &METRICS);
        page.count("a_b_total", &["say \"hi\"\\\n"], 2);
        page.count("a_b_total", &["say \"hi\"\\\n"], 3);
        page.gauge("a_bytes", &[], 0.5);
        let expected = "# HELP a_b What it counts.\n# TYPE a_b counter\n\
            a_b_total{x=\"say \\\"hi\\\"\\\\\\n\"} 5\n\
            # HELP a_bytes What it is.\n# TYPE a_bytes gauge\na_bytes 0.5\n";
        let text = page.text().unwrap();
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
