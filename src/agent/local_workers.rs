//! The mediasoup-workers of this host.

use crate::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    addresses::HostAddresses,
    connection::{SpawnError, SpawnRequest, WorkerLink},
    worker_process::{
        Binaries, BinarySources, Environment, Launcher, WorkerBinary, watchdog::Watchdog,
    },
};

use super::{Offer, WorkerSource};

/// Worker binaries that were named or found on this host.
pub struct LocalWorkers {
    binaries: Binaries,
    launcher: Launcher,
}

impl LocalWorkers {
    /// `named` holds `VERSION=PATH` entries, which come first. Fails on an entry that is of no use.
    pub fn new(named: &[String]) -> Result<Self, String> {
        let environment = Environment::of_process();
        let sources = BinarySources { explicit: named.to_vec(), ..BinarySources::default() };
        let workers = Self {
            binaries: Binaries::new(environment.clone(), sources),
            launcher: Launcher::new(environment),
        };
        let unknown = workers.binaries.list().into_iter().filter(|binary| {
            let path = binary.path.to_string_lossy();
            schema(binary).is_none() && named.iter().any(|entry| entry.ends_with(&*path))
        });
        let unknown = unknown.map(|binary| {
            format!(
                "nothing tells the channel schema of {} (mediasoup {}): put a manifest.json with \
                 its version and schema beside it",
                binary.path.display(),
                binary.version
            )
        });
        let faults: Vec<_> = workers.binaries.faults().into_iter().chain(unknown).collect();
        if faults.is_empty() { Ok(workers) } else { Err(faults.join("; ")) }
    }

    /// No worker outlives the agent, however that ends.
    #[must_use]
    pub fn with_watchdog(mut self, watchdog: Watchdog) -> Self {
        self.launcher = self.launcher.with_watchdog(watchdog);
        self
    }

    /// Why there is none, for an agent that found no worker.
    pub fn explain_absence(&self) -> Option<String> {
        match self.binaries.find(MEDIASOUP_VERSION) {
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        }
    }
}

/// The schema that a worker speaks: its manifest's word, or ours for a worker of our version.
fn schema(binary: &WorkerBinary) -> Option<String> {
    binary
        .schema
        .clone()
        .or_else(|| (binary.version == MEDIASOUP_VERSION).then(|| SCHEMA_FINGERPRINT.to_owned()))
}

impl WorkerSource for LocalWorkers {
    fn offers(&self) -> Vec<Offer> {
        let offer = |binary: WorkerBinary| {
            let Some(schema) = schema(&binary) else {
                tracing::warn!(
                    version = binary.version,
                    path = %binary.path.display(),
                    "not offered: no manifest.json beside the worker tells its channel schema"
                );
                return None;
            };
            Some(Offer { version: binary.version, schema, path: binary.path })
        };
        self.binaries.list().into_iter().filter_map(offer).collect()
    }

    fn start(
        &self,
        request: &SpawnRequest,
        addresses: HostAddresses,
        guard: Box<dyn Send>,
    ) -> Result<WorkerLink, SpawnError> {
        let binary = self.binaries.find(&request.version)?;
        self.launcher.start(&binary, request, addresses, guard)
    }
}
