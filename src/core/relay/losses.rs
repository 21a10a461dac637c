//! What the app lost with a worker, in words for the people who run it.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::virtual_worker::ObjectKind;

/// So many ids are named, so that a line stays one.
const NAMED: usize = 8;

/// Objects that are gone, collected until a line tells of all of them.
#[derive(Default)]
pub struct Losses {
    counts: BTreeMap<&'static str, usize>,
    transports: Vec<String>,
    reason: String,
}

impl Losses {
    pub fn add(&mut self, kind: ObjectKind, id: String, reason: String) {
        *self.counts.entry(plural(kind)).or_default() += 1;
        if kind == ObjectKind::Transport {
            self.transports.push(id);
        }
        self.reason = reason;
    }

    /// The line, if anything was lost.
    pub fn line(&self) -> Option<String> {
        if self.counts.is_empty() {
            return None;
        }
        let counts = self.counts.iter().map(|(kind, count)| format!("{count} {kind}"));
        let mut line = format!("lost with a worker: {}", counts.collect::<Vec<_>>().join(", "));
        let named = &self.transports[..self.transports.len().min(NAMED)];
        let more = self.transports.len() - named.len();
        let _ = write!(line, "; transports {}", named.join(", "));
        if more > 0 {
            let _ = write!(line, " and {more} more");
        }
        let _ = write!(line, " ({})", self.reason);
        Some(line)
    }
}

fn plural(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::WebRtcServer => "WebRtcServers",
        ObjectKind::Router => "Routers",
        ObjectKind::Transport => "transports",
        ObjectKind::RtpObserver => "RtpObservers",
        ObjectKind::Producer => "Producers",
        ObjectKind::Consumer => "Consumers",
        ObjectKind::DataProducer => "DataProducers",
        ObjectKind::DataConsumer => "DataConsumers",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_tells_what_is_gone() {
        let mut losses = Losses::default();
        assert_eq!(losses.line(), None);
        for number in 0..10 {
            losses.add(ObjectKind::Transport, format!("t{number}"), "it froze".to_owned());
        }
        losses.add(ObjectKind::Producer, "p".to_owned(), "it froze".to_owned());
        let line = "lost with a worker: 1 Producers, 10 transports; transports t0, t1, t2, t3, \
                    t4, t5, t6, t7 and 2 more (it froze)";
        assert_eq!(losses.line().as_deref(), Some(line));
    }
}
