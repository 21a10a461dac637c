//! Where an agent's workers come from.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    addresses::HostAddresses,
    connection::{SpawnError, SpawnRequest, WorkerLink},
};

/// A worker that the agent can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offer {
    pub version: String,
    pub schema: String,
    pub path: PathBuf,
}

/// Starts workers. The real one starts processes; tests have their own.
pub trait WorkerSource: Send + Sync {
    /// What can be started, the first of each version.
    fn offers(&self) -> Vec<Offer>;

    /// Starts one worker. The guard is to be dropped as soon as the worker is gone, no earlier.
    fn start(
        &self,
        request: &SpawnRequest,
        addresses: HostAddresses,
        guard: Box<dyn Send>,
    ) -> Result<WorkerLink, SpawnError>;
}
