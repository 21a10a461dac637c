//! This host as a source of workers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use super::{
    BoxFuture, Connection, HostLoad, InPlaceWorker, Load, SpawnError, SpawnRequest, WorkerLink,
};
use crate::{
    addresses::HostAddresses,
    worker_process::{
        Binaries, Environment, Launcher, WorkerBinary,
        cpu::{CpuSampler, Watched, cores},
    },
};

/// How this host serves workers.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// What people call it.
    pub name: String,
    /// Its addresses; `port_range` bounds the ports of its workers.
    pub addresses: HostAddresses,
    pub binaries: Binaries,
    /// The version of the workers, where it is not the library's.
    pub version: Option<String>,
    /// What workers inherit, and where the settings of mediasoup itself are read.
    pub environment: Environment,
    /// More are refused. Without it the number of cores is told, not enforced.
    pub max_workers: Option<usize>,
    /// Offers workers that the stub becomes itself.
    pub in_place: bool,
}

/// Workers of this host.
#[derive(Debug)]
pub struct LocalConnection {
    options: LocalOptions,
    launcher: Launcher,
    workers: Arc<AtomicUsize>,
    sampler: CpuSampler,
    closed: watch::Sender<bool>,
}

impl LocalConnection {
    pub fn new(options: LocalOptions) -> Self {
        let closed = watch::Sender::new(false);
        let launcher = Launcher::new(options.environment.clone()).with_stop(closed.subscribe());
        let sampler = CpuSampler::default();
        Self { options, launcher, workers: Arc::default(), sampler, closed }
    }

    /// Takes a place for one worker; dropped, it gives the place back.
    fn enter(&self) -> Result<Place, SpawnError> {
        let name = &self.options.name;
        if *self.closed.borrow() {
            return Err(SpawnError::Unreachable(format!("the connection '{name}' is closed")));
        }
        let max = self.options.max_workers.unwrap_or(usize::MAX);
        let more = |workers: usize| (workers < max).then_some(workers + 1);
        match self.workers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Place { workers: Arc::clone(&self.workers), watched: Arc::default() }),
            Err(workers) => Err(SpawnError::Full(format!(
                "the connection '{name}' runs {workers} workers and may run {max}; close some or \
                 raise its maxWorkers"
            ))),
        }
    }

    fn binary(&self, request: &SpawnRequest) -> Result<WorkerBinary, SpawnError> {
        // The app's own choice is run as it is, as mediasoup does.
        if let Some(path) = &request.worker_bin {
            let (path, version) = (path.clone(), request.version.clone());
            return Ok(WorkerBinary { path, version, schema: None });
        }
        let version = self.options.version.as_ref().unwrap_or(&request.version);
        self.options.binaries.find(version)
    }

    fn start(&self, request: &SpawnRequest) -> Result<WorkerLink, SpawnError> {
        let place = self.enter()?;
        let watched = Arc::clone(&place.watched);
        let binary = self.binary(request)?;
        let link = self.launcher.start(&binary, request, self.options.addresses.clone(), place)?;
        // It is measured as long as it has its place.
        let _ = watched.set(self.sampler.watch(link.pid));
        Ok(link)
    }

    fn prepare(&self, request: &SpawnRequest) -> Result<InPlaceWorker, SpawnError> {
        let place = self.enter()?;
        let binary = self.binary(request)?;
        self.launcher.prepare(&binary, request, self.options.addresses.clone(), place)
    }
}

impl Connection for LocalConnection {
    fn name(&self) -> String {
        self.options.name.clone()
    }

    fn is_local(&self) -> bool {
        true
    }

    fn addresses(&self) -> Option<HostAddresses> {
        Some(self.options.addresses.clone())
    }

    fn load(&self) -> Option<Load> {
        Some(Load {
            workers: self.workers.load(Ordering::Relaxed),
            max_workers: self.options.max_workers.unwrap_or_else(cores),
        })
    }

    fn host_load(&self) -> Option<HostLoad> {
        let sample = self.sampler.sample();
        Some(HostLoad {
            cores: cores(),
            labels: BTreeMap::new(),
            own: sample.loads,
            others: Vec::new(),
            age: sample.age,
            draining: false,
        })
    }

    fn spawn(&self, request: SpawnRequest) -> BoxFuture<'_, Result<WorkerLink, SpawnError>> {
        Box::pin(async move { self.start(&request) })
    }

    fn spawn_in_place(&self, request: &SpawnRequest) -> Option<Result<InPlaceWorker, SpawnError>> {
        self.options.in_place.then(|| self.prepare(request))
    }

    fn runs_in_place(&self, pid: u32) -> Option<Box<dyn Send>> {
        Some(Box::new(self.sampler.watch(pid)))
    }

    fn close(&self) {
        self.closed.send_replace(true);
    }
}

/// The place of one live worker.
#[derive(Debug)]
struct Place {
    workers: Arc<AtomicUsize>,
    watched: Arc<OnceLock<Watched>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.workers.fetch_sub(1, Ordering::Relaxed);
    }
}
