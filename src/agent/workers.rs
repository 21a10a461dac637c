//! The workers of one session.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, timeout},
};

use super::{LimitExceeded, brake::Bucket, counters::WorkerEnd, server::Shared};
use crate::{
    addresses::HostAddresses,
    connection::{
        Exit, SpawnError, SpawnRequest, WorkerCommand, WorkerEvent, WorkerLink, incompatible,
    },
    net::{LinkLost, Patience},
    queue::{self, TrySendError},
    wire::{Body, Frame, Kind, LoadReport, SpawnSpec, Spawned},
    worker_process::cpu::Watched,
};

const SIGKILL: i32 = 9;

/// How many loads of each kind a report has at most, so that it fits into what may be said.
const LOADS_MAX: usize = 2048;

/// What a worker's forwarding task is told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Runs,
    /// It is given up for this reason.
    GivenUp(String),
}

struct Worker {
    pid: u32,
    _watched: Watched,
    commands: queue::Sender<WorkerCommand>,
    fate: watch::Sender<Fate>,
}

/// The workers of one session by the handles that its controller chose.
pub(super) struct Workers {
    shared: Arc<Shared>,
    session: u64,
    addresses: HostAddresses,
    outbound: queue::Sender<Frame>,
    gone: mpsc::UnboundedSender<u32>,
    table: HashMap<u32, Worker>,
    refusals: Arc<Semaphore>,
    rate: Bucket,
    patience: Patience,
}

impl Workers {
    pub(super) fn new(
        shared: Arc<Shared>,
        session: u64,
        addresses: HostAddresses,
        outbound: queue::Sender<Frame>,
        gone: mpsc::UnboundedSender<u32>,
    ) -> Self {
        let patience = Patience::new(shared.options.timing.stall);
        let limits = &shared.options.limits;
        let refusals = limits.spawns_in_flight.min(Semaphore::MAX_PERMITS);
        let refusals = Arc::new(Semaphore::new(refusals));
        let rate = Bucket::new(limits.spawn_burst, limits.spawns_per_second, Instant::now());
        let table = HashMap::new();
        Self { shared, session, addresses, outbound, gone, table, refusals, rate, patience }
    }

    pub(super) fn count(&self) -> usize {
        self.table.len()
    }

    /// The agent's load as this session may know it: of its own workers by their handles, of the
    /// others' only how much they take.
    pub(super) fn load(&self) -> LoadReport {
        let mut loads = self.shared.sampler.sample().loads;
        let own = self.table.iter().take(LOADS_MAX);
        let own = own.filter_map(|(handle, worker)| Some((*handle, loads.remove(&worker.pid)?)));
        let own = own.collect();
        let others = loads.into_values().take(LOADS_MAX).collect();
        LoadReport { own, others, ..self.shared.load() }
    }

    /// Forgets a worker that is gone.
    pub(super) fn remove(&mut self, handle: u32) {
        self.table.remove(&handle);
    }

    /// Takes a frame about a worker. Frames about a worker that is gone are late, not wrong.
    pub(super) async fn receive(&mut self, frame: Frame) -> Result<(), LinkLost> {
        let handle = frame.worker;
        let kind = frame.kind();
        match frame.in_own_memory().body {
            Body::Spawn(spec) => self.spawn(handle, spec),
            Body::Channel(bytes) => self.command(handle, WorkerCommand::Message(bytes)).await,
            Body::Signal(signal) => self.command(handle, WorkerCommand::Signal(signal)).await,
            Body::CloseInput => self.command(handle, WorkerCommand::CloseInput).await,
            _ => Err(unexpected(kind)),
        }
    }

    fn spawn(&mut self, handle: u32, spec: SpawnSpec) -> Result<(), LinkLost> {
        if self.table.contains_key(&handle) {
            return Err(LinkLost::Protocol(format!(
                "a SPAWN with handle {handle}, which is in use"
            )));
        }
        match self.start(&SpawnRequest::from(spec)) {
            Ok(link) => {
                let WorkerLink { pid, commands, events, .. } = link;
                let fate = watch::Sender::new(Fate::Runs);
                let forward = Forward {
                    handle,
                    events,
                    outbound: self.outbound.clone(),
                    fate: fate.subscribe(),
                    gone: self.gone.clone(),
                    shared: Arc::clone(&self.shared),
                };
                self.shared.counters.worker_started();
                tokio::spawn(forward.run(pid));
                let watched = self.shared.sampler.watch(pid);
                self.table.insert(handle, Worker { pid, _watched: watched, commands, fate });
                Ok(())
            }
            Err(error) => self.refuse(handle, error),
        }
    }

    fn start(&mut self, request: &SpawnRequest) -> Result<WorkerLink, SpawnError> {
        let Shared { source, roster, stopping, drain, options, limit_hits, .. } =
            self.shared.as_ref();
        if *stopping.borrow() {
            return Err(SpawnError::Unreachable("it is about to end".to_owned()));
        }
        let limits = &options.limits;
        let full = |error| SpawnError::Full(limit_hits.exceeded(error).to_string());
        let (bytes, max) = (request.args.iter().map(String::len).sum(), limits.argument_bytes);
        if bytes > max {
            let error = limit_hits.exceeded(LimitExceeded::ArgumentBytes { bytes, max });
            return Err(SpawnError::WrongSettings(error.to_string()));
        }
        // In this order: whoever begins to drain and then looks finds this place.
        let place = roster.enter(self.session);
        if drain.is_on() {
            return Err(SpawnError::Draining(
                "it drains and takes no new workers; another agent must, or its drain be cancelled"
                    .to_owned(),
            ));
        }
        let offers = source.offers();
        let same_version: Vec<_> =
            offers.iter().filter(|offer| offer.version == request.version).collect();
        if same_version.is_empty() {
            let offers: Vec<_> = offers.iter().map(|offer| offer.version.as_str()).collect();
            return Err(incompatible(format!(
                "it has mediasoup-worker {}, this app needs {}",
                offers.join(", "),
                request.version
            )));
        }
        if !same_version.iter().any(|offer| offer.schema == request.fingerprint) {
            return Err(incompatible(format!(
                "the channel schema of its mediasoup-worker {} is {}, this app's is {}",
                request.version, same_version[0].schema, request.fingerprint
            )));
        }
        if let Some(max) = limits.workers_per_session
            && self.table.len() >= max
        {
            return Err(full(LimitExceeded::WorkersPerSession { max }));
        }
        let Some(place) = place else {
            let max = roster.max();
            return Err(full(LimitExceeded::Workers { max }));
        };
        if let Err(retry_after) = self.rate.take(Instant::now()) {
            let (per_second, burst) = (limits.spawns_per_second, limits.spawn_burst);
            return Err(full(LimitExceeded::SpawnRate { per_second, burst, retry_after }));
        }
        let number = place.number();
        // The place is the guard: it is free again when the process is gone, not before.
        let link = source.start(request, self.addresses.clone(), Box::new(place))?;
        roster.started(number, link.pid);
        Ok(link)
    }

    fn refuse(&self, handle: u32, error: SpawnError) -> Result<(), LinkLost> {
        tracing::info!(handle, %error, "no worker");
        self.shared.counters.worker_not_started(&error);
        let frame = Frame::about(handle, Body::Failed(error.into()));
        if self.outbound.try_send(frame.clone()) == Err(TrySendError::Full) {
            let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else {
                let max = self.shared.options.limits.spawns_in_flight;
                let error = LimitExceeded::SpawnsInFlight { max };
                let error = self.shared.limit_hits.exceeded(error);
                return Err(LinkLost::Protocol(error.to_string()));
            };
            let outbound = self.outbound.clone();
            tokio::spawn(async move {
                let _ = outbound.send(frame).await;
                drop(permit);
            });
        }
        Ok(())
    }

    async fn command(&mut self, handle: u32, command: WorkerCommand) -> Result<(), LinkLost> {
        let Some(worker) = self.table.get(&handle) else {
            return Ok(());
        };
        let left = self.patience.left();
        let outcome = timeout(left, worker.commands.send(command)).await;
        self.patience.spend();
        if outcome.is_err() {
            let reason = "the worker did not read what was sent to it".to_owned();
            tracing::warn!(handle, reason, "worker given up");
            worker.fate.send_replace(Fate::GivenUp(reason));
            self.table.remove(&handle);
        }
        Ok(())
    }

    /// Asks every worker to end.
    pub(super) fn close_inputs(&self) {
        for worker in self.table.values() {
            let _ = worker.commands.try_send(WorkerCommand::CloseInput);
        }
    }

    /// Kills every worker and goes on telling what becomes of them.
    pub(super) fn signal_all(&self) {
        for worker in self.table.values() {
            let _ = worker.commands.try_send(WorkerCommand::Signal(SIGKILL));
        }
    }

    /// Kills every worker and lets go of them.
    pub(super) fn kill_all(&mut self) {
        self.signal_all();
        self.table.clear();
    }
}

fn unexpected(kind: Kind) -> LinkLost {
    LinkLost::Protocol(format!("a controller sent {kind:?}, which only agents send"))
}

/// Carries one worker's output to the link.
struct Forward {
    handle: u32,
    events: queue::Receiver<WorkerEvent>,
    outbound: queue::Sender<Frame>,
    fate: watch::Receiver<Fate>,
    gone: mpsc::UnboundedSender<u32>,
    shared: Arc<Shared>,
}

impl Forward {
    async fn run(mut self, pid: u32) {
        let handle = self.handle;
        self.send(Body::Spawned(Spawned { pid })).await;
        let exit = loop {
            tokio::select! {
                biased;
                // Cancel-safe: the watch keeps its value.
                given_up = given_up(&mut self.fate) => match given_up {
                    Some(reason) => break Exit::Lost(reason),
                    // The session is over. Dropping the worker's events frees it.
                    None => return self.shared.counters.worker_ended(WorkerEnd::WithSession),
                },
                // Cancel-safe: the queue keeps what was not received.
                event = self.events.recv() => match event {
                    Some(WorkerEvent::Message(bytes)) => self.send(Body::Channel(bytes.freeze())).await,
                    Some(WorkerEvent::Stdout(bytes)) => self.send(Body::Stdout(bytes)).await,
                    Some(WorkerEvent::Stderr(bytes)) => self.send(Body::Stderr(bytes)).await,
                    // A worker of this host has no link that could be lost.
                    Some(WorkerEvent::LinkDown | WorkerEvent::LinkUp) => {}
                    Some(WorkerEvent::Exited(exit)) => break exit,
                    None => break Exit::Lost("the agent lost the worker".to_owned()),
                },
            }
        };
        tracing::debug!(handle, ?exit, "worker gone");
        self.shared.counters.worker_ended(WorkerEnd::from(&exit));
        self.send(Body::Exited(exit.into())).await;
        let _ = self.gone.send(handle);
    }

    /// Waits while the session has no room. Fails only when it is over, and this task with it.
    async fn send(&self, body: Body) {
        let _ = self.outbound.send(Frame::about(self.handle, body)).await;
    }
}

/// Resolves with the reason when the worker is given up, with `None` when the session is over.
async fn given_up(fate: &mut watch::Receiver<Fate>) -> Option<String> {
    match fate.wait_for(|fate| *fate != Fate::Runs).await.as_deref() {
        Ok(Fate::GivenUp(reason)) => Some(reason.clone()),
        _ => None,
    }
}
