//! The workers of one session, as the controller knows them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{Shared, Spawn, dialing::offer};
use crate::{
    compatibility::Incompatibility,
    connection::{Exit, LINK_LIMIT, SpawnError, WorkerCommand, WorkerEvent, WorkerLink},
    net::{LinkLost, Patience},
    queue::{self, TrySendError},
    wire::{Body, Frame, SpawnSpec, Spawned, Welcome},
};

/// How long a worker that nobody wants any more may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

const SIGKILL: i32 = 9;

/// What a worker's forwarding task is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Runs,
    /// Its reader is too slow: kill it.
    Kill,
    Gone,
}

enum Worker {
    Starting(Spawn),
    Running(Running),
}

struct Running {
    /// On the agent's host.
    pid: u32,
    /// `None` once its reader was told the end.
    events: Option<queue::Sender<WorkerEvent>>,
    fate: watch::Sender<Fate>,
    view: View,
}

/// What a worker's reader knows of the link.
enum View {
    Up,
    Down,
    /// It is up; the word of it waits for room in the reader's queue.
    Rising(JoinHandle<()>),
}

impl Running {
    /// A reader whose queue is full is not told: it is behind anyway.
    async fn link_is_down(&mut self) {
        if let View::Rising(word) = &mut self.view {
            word.abort();
            let still_down = word.await.is_err();
            self.view = if still_down { View::Down } else { View::Up };
        }
        if let (View::Up, Some(events)) = (&self.view, &self.events)
            && events.try_send(WorkerEvent::LinkDown).is_ok()
        {
            self.view = View::Down;
        }
    }

    fn gone(self, exit: Exit) {
        self.fate.send_replace(Fate::Gone);
        if let View::Rising(word) = self.view {
            // Nothing comes after the end.
            word.abort();
        }
        if let Some(events) = self.events {
            events.send_last(WorkerEvent::Exited(exit));
        }
    }

    fn link_is_up(&mut self) {
        let (View::Down, Some(events)) = (&self.view, &self.events) else { return };
        self.view = match events.try_send(WorkerEvent::LinkUp) {
            Err(TrySendError::Full) => {
                let events = events.clone();
                View::Rising(tokio::spawn(async move {
                    let _ = events.send(WorkerEvent::LinkUp).await;
                }))
            }
            Ok(()) | Err(TrySendError::Closed) => View::Up,
        };
    }
}

/// The workers of one session.
pub(super) struct Workers {
    shared: Arc<Shared>,
    welcome: Arc<Welcome>,
    outbound: queue::Sender<Frame>,
    table: HashMap<u32, Worker>,
    next_handle: u32,
    patience: Patience,
}

impl Workers {
    pub(super) fn new(
        shared: Arc<Shared>,
        welcome: Arc<Welcome>,
        outbound: queue::Sender<Frame>,
        stall: Duration,
    ) -> Self {
        let patience = Patience::new(stall);
        Self { shared, welcome, outbound, table: HashMap::new(), next_handle: 1, patience }
    }

    pub(super) fn spawn(&mut self, spawn: Spawn) {
        if spawn.reply.is_closed() {
            return;
        }
        let handle = self.next_handle;
        self.next_handle = handle.wrapping_add(1).max(1);
        let mut spec = SpawnSpec::from(spawn.request.clone());
        // The agent may have another version that is as good.
        let fits = offer(&self.welcome, &self.shared.options);
        if let Some(fits) = fits.ok().filter(|_| spec.version == self.shared.options.version) {
            fits.version.clone_into(&mut spec.version);
        }
        self.table.insert(handle, Worker::Starting(spawn));
        self.count();
        self.send(Frame::about(handle, Body::Spawn(spec)));
    }

    /// Another link goes on with the session.
    pub(super) fn resumed(&mut self, welcome: Arc<Welcome>) {
        self.welcome = welcome;
    }

    fn running(&mut self) -> impl Iterator<Item = &mut Running> {
        self.table.values_mut().filter_map(|worker| match worker {
            Worker::Running(running) => Some(running),
            Worker::Starting(_) => None,
        })
    }

    /// Tells whoever reads from the workers.
    pub(super) async fn link_is_down(&mut self) {
        for running in self.running() {
            running.link_is_down().await;
        }
    }

    /// As `link_is_down`.
    pub(super) fn link_is_up(&mut self) {
        self.running().for_each(Running::link_is_up);
    }

    /// Sends without waiting: the task that reads the link must never wait for its writer.
    fn send(&self, frame: Frame) {
        match self.outbound.try_send(frame.clone()) {
            Ok(()) | Err(TrySendError::Closed) => {}
            Err(TrySendError::Full) => {
                let outbound = self.outbound.clone();
                tokio::spawn(async move {
                    let _ = outbound.send(frame).await;
                });
            }
        }
    }

    /// Takes a frame about a worker. Waits for a slow reader, but not for ever.
    pub(super) async fn receive(&mut self, frame: Frame) -> Result<(), LinkLost> {
        let handle = frame.worker;
        match frame.body {
            Body::Spawned(spawned) => self.started(handle, spawned),
            Body::Failed(failure) => {
                match self.table.remove(&handle) {
                    Some(Worker::Starting(spawn)) => {
                        let _ = spawn.reply.send(Err(self.told_by_agent(failure.into())));
                    }
                    _ => return Err(unexpected("FAILED", handle)),
                }
                self.count();
                Ok(())
            }
            Body::Channel(bytes) => {
                self.deliver(handle, WorkerEvent::Message(BytesMut::from(bytes))).await
            }
            Body::Stdout(bytes) => self.deliver(handle, WorkerEvent::Stdout(bytes)).await,
            Body::Stderr(bytes) => self.deliver(handle, WorkerEvent::Stderr(bytes)).await,
            Body::Exited(report) => {
                match self.table.remove(&handle) {
                    Some(Worker::Running(running)) => running.gone(Exit::from(report)),
                    Some(Worker::Starting(_)) | None => return Err(unexpected("EXITED", handle)),
                }
                self.count();
                Ok(())
            }
            _ => Err(LinkLost::Protocol("an agent sent what only controllers send".to_owned())),
        }
    }

    fn told_by_agent(&self, error: SpawnError) -> SpawnError {
        let url = &self.shared.options.url;
        let tell = |message: String| format!("agent {url}: {}", message.escape_debug());
        match error {
            SpawnError::NoBinary(message) => SpawnError::NoBinary(tell(message)),
            SpawnError::Incompatible(why) => {
                SpawnError::Incompatible(Incompatibility { message: tell(why.message), ..why })
            }
            SpawnError::Full(message) => SpawnError::Full(tell(message)),
            SpawnError::Draining(message) => SpawnError::Draining(tell(message)),
            SpawnError::Unauthorized(message) => SpawnError::Unauthorized(tell(message)),
            SpawnError::Unreachable(message) => SpawnError::Unreachable(tell(message)),
            // The library expects mediasoup's own words for these two.
            SpawnError::Spawn { .. } | SpawnError::WrongSettings(_) => error,
        }
    }

    fn started(&mut self, handle: u32, spawned: Spawned) -> Result<(), LinkLost> {
        let Some(Worker::Starting(spawn)) = self.table.remove(&handle) else {
            return Err(unexpected("SPAWNED", handle));
        };
        let (commands, commanded) = queue::bounded(LINK_LIMIT);
        let (events, receiver) = queue::bounded(LINK_LIMIT);
        let fate = watch::Sender::new(Fate::Runs);
        let forward = Forward {
            handle,
            commands: commanded,
            outbound: self.outbound.clone(),
            events: events.clone(),
            fate: fate.subscribe(),
        };
        tokio::spawn(forward.run());
        let running = Running { pid: spawned.pid, events: Some(events), fate, view: View::Up };
        self.table.insert(handle, Worker::Running(running));
        // A caller that gave up drops the link here, which frees the worker.
        let _ = spawn.reply.send(Ok(WorkerLink {
            pid: spawned.pid,
            addresses: self.welcome.addresses.clone(),
            commands,
            events: receiver,
        }));
        Ok(())
    }

    async fn deliver(&mut self, handle: u32, event: WorkerEvent) -> Result<(), LinkLost> {
        let Some(Worker::Running(Running { events, fate, .. })) = self.table.get_mut(&handle)
        else {
            return Err(unexpected("output", handle));
        };
        let Some(sender) = events else {
            return Ok(());
        };
        let left = self.patience.left();
        let outcome = timeout(left, sender.send(event)).await;
        self.patience.spend();
        if outcome.is_err() {
            let reason = format!(
                "the app did not read what its worker on agent {} sent ({} MiB wait)",
                self.shared.options.url,
                LINK_LIMIT / 1024 / 1024
            );
            tracing::warn!(handle, reason, "worker ended");
            sender.clone().send_last(WorkerEvent::Exited(Exit::Lost(reason)));
            *events = None;
            fate.send_replace(Fate::Kill);
        }
        Ok(())
    }

    /// The session is over: every worker ends. Gives back the spawns that were not answered and
    /// may be asked of another session.
    pub(super) fn end(&mut self, exit: &Exit) -> Vec<Spawn> {
        let mut unanswered = Vec::new();
        for (_, worker) in self.table.drain() {
            match worker {
                Worker::Starting(spawn) => unanswered.push(spawn),
                Worker::Running(running) => running.gone(exit.clone()),
            }
        }
        self.count();
        unanswered
    }

    /// Loads that the agent told by handle, by process id. What it invents is left out.
    pub(super) fn by_pid(&self, loads: &[(u32, u32)]) -> BTreeMap<u32, u32> {
        let known = |(handle, load): &(u32, u32)| match self.table.get(handle)? {
            Worker::Running(running) => Some((running.pid, *load)),
            Worker::Starting(_) => None,
        };
        loads.iter().filter_map(known).collect()
    }

    fn count(&self) {
        self.shared.workers.send_replace(self.table.len());
    }
}

fn unexpected(what: &str, handle: u32) -> LinkLost {
    LinkLost::Protocol(format!("{what} for worker {handle}, which is not in that state"))
}

/// Resolves once the worker is no longer to run.
async fn decided(fate: &mut watch::Receiver<Fate>) -> Fate {
    // An error means that the link is gone, and the worker with it.
    fate.wait_for(|fate| *fate != Fate::Runs).await.map_or(Fate::Gone, |fate| *fate)
}

/// Carries one worker's commands to the link, and frees the worker when nobody wants it any more.
struct Forward {
    handle: u32,
    commands: queue::Receiver<WorkerCommand>,
    outbound: queue::Sender<Frame>,
    events: queue::Sender<WorkerEvent>,
    fate: watch::Receiver<Fate>,
}

impl Forward {
    async fn run(mut self) {
        let body = |command| match command {
            WorkerCommand::Message(bytes) => Body::Channel(bytes),
            WorkerCommand::Signal(signal) => Body::Signal(signal),
            WorkerCommand::CloseInput => Body::CloseInput,
        };
        loop {
            tokio::select! {
                biased;
                // Cancel-safe: the watch keeps its value.
                fate = decided(&mut self.fate) => {
                    if fate == Fate::Kill {
                        self.send(Body::Signal(SIGKILL)).await;
                    }
                    return;
                }
                // Cancel-safe: the queue keeps what was not received.
                command = self.commands.recv() => match command {
                    Some(command) => self.send(body(command)).await,
                    None => break,
                },
            }
        }
        self.send(Body::CloseInput).await;
        let abandoned = async {
            self.events.closed().await;
            sleep(GRACE).await;
        };
        tokio::select! {
            // Cancel-safe: nothing follows that the wait would have to remember.
            () = abandoned => {}
            // Cancel-safe: the watch keeps its value.
            fate = decided(&mut self.fate) => {
                if fate != Fate::Kill {
                    return;
                }
            }
        }
        self.send(Body::Signal(SIGKILL)).await;
    }

    /// Waits while the session has no room. A closed queue means that it is over: the worker ends
    /// without us.
    async fn send(&self, body: Body) {
        let _ = self.outbound.send(Frame::about(self.handle, body)).await;
    }
}
