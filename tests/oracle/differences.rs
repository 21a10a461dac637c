//! The table of legal differences, the one that the documentation shows.

use serde::Deserialize;

const TABLE: &str = include_str!("legal-differences.json");
const DOCUMENT: &str = include_str!("../../docs/divergences.md");

/// One way in which a Router over several workers may differ from one worker.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Legal {
    pub name: String,
    pub what: String,
    pub why: String,
    pub reference: String,
    #[serde(default)]
    pub matches: Vec<Match>,
}

/// What the comparison passes over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Match {
    /// A field of a call's result, or all of it with an empty path.
    Result { call: String, path: String },
    /// An event, wherever it comes among an object's others.
    Event { event: String },
    /// An event that tells what an object may also be made with, if its creation was under way
    /// together with the change.
    CrossedEvent { event: String },
    /// A call that was under way when a part was lost.
    AnyCallAtALoss,
    /// The reason why a lost object is not found goes on with what became of it.
    WhatBecameOfIt,
    /// A call that was under way together with a close of what it needs may end either way.
    Race { call: String },
}

pub fn table() -> Vec<Legal> {
    serde_json::from_str(TABLE).expect("the table of legal differences")
}

pub struct Differences(Vec<Legal>);

impl Differences {
    /// One worker may differ in nothing.
    pub fn of(parts: usize) -> Self {
        Self(if parts > 1 { table() } else { Vec::new() })
    }

    fn any(&self, wanted: impl Fn(&Match) -> bool) -> bool {
        self.0.iter().flat_map(|legal| &legal.matches).any(wanted)
    }

    pub fn result(&self, name: &str, at: &str) -> bool {
        self.any(|one| {
            matches!(one, Match::Result { call, path }
                if call == name && (path.is_empty() || at.starts_with(path.as_str())))
        })
    }

    pub fn event(&self, name: &str) -> bool {
        self.any(|one| matches!(one, Match::Event { event } if event == name))
    }

    pub fn crossed_event(&self, name: &str) -> bool {
        self.any(|one| matches!(one, Match::CrossedEvent { event } if event == name))
    }

    pub fn at_loss(&self) -> bool {
        self.any(|one| matches!(one, Match::AnyCallAtALoss))
    }

    /// Whether that is the same refusal, with what became of the object.
    pub fn became(&self, plain: &str, ours: &str) -> bool {
        let told = ours.strip_prefix(plain);
        self.any(|one| matches!(one, Match::WhatBecameOfIt))
            && plain.starts_with("Channel request handler with ID ")
            && told.is_some_and(|told| told.starts_with(": its mediasoup-worker "))
    }

    pub fn race(&self, name: &str) -> bool {
        self.any(|one| matches!(one, Match::Race { call } if call == name))
    }
}

#[test]
fn the_documentation_shows_every_legal_difference() {
    let document: String = DOCUMENT.split_whitespace().collect::<Vec<_>>().join(" ");
    for legal in table() {
        let row = format!("| {} | {} | {} |", legal.name, legal.what, legal.why);
        assert!(document.contains(&row), "docs/divergences.md lacks this row:\n{row}");
        let known = ["channel.md 3.", "design.md 4"];
        assert!(known.iter().any(|one| legal.reference.starts_with(one)), "{}", legal.name);
    }
}
