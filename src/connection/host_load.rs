//! What a connection tells of the load on its host, measured there.

use std::{collections::BTreeMap, time::Duration};

/// The load on a connection's host. Loads are thousandths of a core over about the last second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostLoad {
    /// Cores that workers may use: affinity and the cgroup's quota count.
    pub cores: usize,
    /// What its operator says of it, such as `region`.
    pub labels: BTreeMap<String, String>,
    /// This connection's workers by their process ids there. One that is not measured yet is not
    /// in it.
    pub own: BTreeMap<u32, u32>,
    /// Everybody else's workers.
    pub others: Vec<u32>,
    /// How long ago this was measured; `None` where nobody measures.
    pub age: Option<Duration>,
    /// It means to leave and takes no new workers.
    pub draining: bool,
}

impl HostLoad {
    /// What all workers there take together.
    pub fn total(&self) -> u32 {
        self.own.values().chain(&self.others).fold(0, |sum, cpu| sum.saturating_add(*cpu))
    }

    /// Its region, if it is told.
    pub fn region(&self) -> Option<&str> {
        self.labels.get("region").map(String::as_str)
    }
}
