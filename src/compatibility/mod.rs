//! What must be the same on both sides of a connection, and how strictly. Pure.
//! `docs/compatibility.md` has it as a table.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// Versions of mediasoup that changed what goes over the wire between two piped workers.
pub const PIPE_CHANGES: [(u32, u32, u32); 7] =
    [(3, 19, 5), (3, 19, 6), (3, 20, 0), (3, 20, 6), (3, 22, 0), (3, 23, 2), (3, 24, 1)];

/// What an agent can do beside what each protocol version asks of it, as its welcome tells.
pub const FEATURES: [&str; 2] = ["load", "resume"];

/// How much may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The mediasoup version of the app's library, and nothing else.
    #[default]
    Strict,
    /// Another version with the same channel schema and the same pipes.
    Pipes,
    /// Another version with the same channel schema. Pipes between two hosts may fail.
    Schema,
}

impl Level {
    /// The levels by their names, the strictest first.
    pub const NAMED: [(&'static str, Self); 3] =
        [("strict", Self::Strict), ("pipes", Self::Pipes), ("schema", Self::Schema)];

    /// The level of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(of, _)| *of == name).map(|(_, level)| *level)
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Aspect {
    #[serde(rename = "protocol")]
    Protocol,
    #[serde(rename = "features")]
    Features,
    #[serde(rename = "workers")]
    Workers,
    #[serde(rename = "mediasoup version")]
    Version,
    #[serde(rename = "channel schema")]
    Schema,
    #[serde(rename = "pipes")]
    Pipes,
}

impl Aspect {
    pub const ALL: [Self; 6] =
        [Self::Protocol, Self::Features, Self::Workers, Self::Version, Self::Schema, Self::Pipes];

    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Features => "features",
            Self::Workers => "workers",
            Self::Version => "mediasoup version",
            Self::Schema => "channel schema",
            Self::Pipes => "pipes",
        }
    }

    /// Why a difference matters.
    pub fn why(self) -> &'static str {
        match self {
            Self::Protocol => "neither side would understand the other's frames",
            Self::Features => "the app would wait for what the agent never does",
            Self::Workers => "it can start no mediasoup-worker",
            Self::Version => {
                "mediasoup's library and worker are released and tested as a pair of one version"
            }
            Self::Schema => {
                "a mediasoup-worker reads the library's messages by it, and crashes on others"
            }
            Self::Pipes => {
                "media between two hosts would be lost: what pipes carry changed in between"
            }
        }
    }

    /// Whether a difference keeps a connection out.
    pub fn counts(self, level: Level) -> bool {
        match self {
            Self::Protocol | Self::Features | Self::Workers | Self::Schema => true,
            Self::Version => level == Level::Strict,
            Self::Pipes => level != Level::Schema,
        }
    }
}

/// One thing that keeps a source of workers from running an app's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub what: Aspect,
    pub ours: String,
    pub theirs: String,
    /// Why it matters.
    pub why: &'static str,
}

impl Difference {
    fn of(what: Aspect, ours: impl Into<String>, theirs: impl Into<String>) -> Self {
        Self { what, ours: ours.into(), theirs: theirs.into(), why: what.why() }
    }
}

/// A source of workers that is nothing for this app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Incompatibility {
    /// All of it in words.
    pub message: String,
    /// Empty where the other side told words only.
    pub differences: Vec<Difference>,
}

impl Incompatibility {
    /// `who` does not fit, and that is why.
    pub fn new(who: &str, differences: Vec<Difference>) -> Self {
        let words = |Difference { what, ours, theirs, why }: &Difference| {
            format!("{}: here {ours}, there {theirs} ({why})", what.name())
        };
        let all = differences.iter().map(words).collect::<Vec<_>>().join("; ");
        Self { message: format!("{who} does not fit: {all}"), differences }
    }

    /// The two do not even speak of workers.
    pub fn protocol(message: String, ours: &str, theirs: &str) -> Self {
        let differences = vec![Difference::of(Aspect::Protocol, ours, theirs)];
        Self { message, differences }
    }

    /// What the other side said itself.
    pub fn told(message: String) -> Self {
        Self { message, differences: Vec::new() }
    }
}

/// What this app needs.
#[derive(Debug, Clone, Copy)]
pub struct Ours<'a> {
    /// Protocol versions, both ends included.
    pub protocol: (u32, u32),
    pub version: &'a str,
    pub schema: &'a str,
    pub level: Level,
}

/// A worker on offer.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    pub version: &'a str,
    /// `None`: nothing tells.
    pub schema: Option<&'a str>,
}

/// What a source of workers has.
#[derive(Debug, Clone, Copy)]
pub struct Theirs<'a> {
    /// `None` where nothing is spoken, as on this host.
    pub protocol: Option<u32>,
    /// `None` where they do not matter.
    pub features: Option<&'a [String]>,
    pub offers: &'a [Offer<'a>],
}

/// The position of the offer that runs this app's Workers, or everything that keeps them from it.
pub fn check(ours: &Ours<'_>, theirs: &Theirs<'_>) -> Result<usize, Vec<Difference>> {
    let mut differences = Vec::new();
    let (min, max) = ours.protocol;
    if let Some(protocol) = theirs.protocol.filter(|protocol| !(min..=max).contains(protocol)) {
        let own = format!("{min} to {max}");
        differences.push(Difference::of(Aspect::Protocol, own, protocol.to_string()));
    }
    if let Some(features) = theirs.features
        && FEATURES.iter().any(|needed| !features.iter().any(|has| has == needed))
    {
        let has = if features.is_empty() { "none".to_owned() } else { shown(&features.join(", ")) };
        differences.push(Difference::of(Aspect::Features, FEATURES.join(", "), has));
    }
    // The closest one, the first of those that are as close; our own version before any other.
    let closest = theirs
        .offers
        .iter()
        .enumerate()
        .map(|(position, offer)| (compare(ours, offer, theirs.offers), position))
        .min_by_key(|(differences, position)| {
            let counts = differences.iter().filter(|one| one.what.counts(ours.level)).count();
            (counts, differences.len(), theirs.offers[*position].version != ours.version)
        });
    match closest {
        None => {
            let own = format!("mediasoup-worker {}", ours.version);
            differences.push(Difference::of(Aspect::Workers, own, "no mediasoup-worker"));
            Err(differences)
        }
        Some((found, position)) => {
            let fits = found.iter().all(|one| !one.what.counts(ours.level));
            if fits && differences.is_empty() {
                return Ok(position);
            }
            if !fits {
                differences.extend(found);
            }
            Err(differences)
        }
    }
}

/// Everything in which one offer differs, whether it counts or not.
fn compare(ours: &Ours<'_>, offer: &Offer<'_>, all: &[Offer<'_>]) -> Vec<Difference> {
    let mut found = Vec::new();
    if offer.version != ours.version {
        let versions = all.iter().map(|offer| offer.version).collect::<Vec<_>>().join(", ");
        found.push(Difference::of(Aspect::Version, ours.version, shown(&versions)));
    }
    // Nobody but the one version's own worker is known to speak its schema without saying so.
    let same = match offer.schema {
        Some(schema) => schema == ours.schema,
        None => offer.version == ours.version,
    };
    if !same {
        let theirs = offer.schema.map_or_else(|| "unknown".to_owned(), shown);
        let theirs = format!("{theirs} of {}", shown(offer.version));
        found.push(Difference::of(Aspect::Schema, ours.schema, theirs));
    }
    let (own, other) = (pipe_generation(ours.version), pipe_generation(offer.version));
    if own != other || own.is_none() && offer.version != ours.version {
        found.push(Difference::of(Aspect::Pipes, pipes_text(own), pipes_text(other)));
    }
    found
}

/// Which of the ways to pipe a version has: how many changes came before it. `None` for what is no
/// version.
pub fn pipe_generation(version: &str) -> Option<usize> {
    let core = version.split(['-', '+']).next()?;
    let mut numbers = core.split('.').map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    let version = (next()?, next()?, next()?);
    Some(PIPE_CHANGES.iter().filter(|change| **change <= version).count())
}

fn pipes_text(generation: Option<usize>) -> String {
    match generation {
        None => "unknown".to_owned(),
        Some(0) => format!("as before {}", version_text(PIPE_CHANGES[0])),
        Some(count) => format!("as from {} on", version_text(PIPE_CHANGES[count - 1])),
    }
}

fn version_text((major, minor, patch): (u32, u32, u32)) -> String {
    format!("{major}.{minor}.{patch}")
}

/// What the other side said, safe to be shown.
fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}
