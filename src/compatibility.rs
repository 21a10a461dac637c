//! What must be the same on both sides of a connection. Pure.

use serde::Serialize;

/// One thing that keeps a source of workers from running an app's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub what: &'static str,
    pub ours: String,
    pub theirs: String,
    /// Why it matters.
    pub why: String,
}
