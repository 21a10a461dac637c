//! A connection to an agent on some host.
//!
//! One task owns the link: it dials, shakes hands, moves frames and dials again when the link is
//! lost. Everyone else sends it commands. The session outlives the link: its workers go on, and
//! what was sent meanwhile arrives over the next one. Only when none comes in time do they end.

mod dialing;
mod history;
mod manager;
mod options;
mod session;
mod workers;

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};

pub use options::{AppIdentity, InvalidOptions, RemoteOptions};

use super::{
    BoxFuture, Connection, ConnectionState, Details, HostLoad, Load, Loss, SpawnError,
    SpawnRequest, WorkerLink,
};
use crate::{
    addresses::HostAddresses,
    net::{Dial, DialError, NetworkDialer},
    wire::{LoadReport, Welcome},
};
use history::History;
use manager::Manager;

/// How many spawns may wait for the connection's task.
const COMMANDS: usize = 256;

/// Where a connection stands.
#[derive(Debug, Clone)]
pub enum Status {
    /// Dialing, or waiting to dial again. The reason is the last failure's, if there was one. A
    /// session may go on meanwhile.
    Connecting(Option<DialError>),
    /// The agent let us in.
    Connected(Arc<Welcome>),
    /// The agent will not let us in; only a spawn makes another attempt.
    Refused(DialError),
    /// `close()` was called.
    Closed,
}

/// What the connection's task is asked.
struct Spawn {
    request: SpawnRequest,
    reply: oneshot::Sender<Result<WorkerLink, SpawnError>>,
    /// It was asked of a session that is over.
    second: bool,
}

/// What the agent told of its host.
#[derive(Default)]
struct Host {
    load: HostLoad,
    measured_at: Option<Instant>,
}

/// What the handle and the task share.
struct Shared {
    options: RemoteOptions,
    status: watch::Sender<Status>,
    load: watch::Sender<Option<LoadReport>>,
    /// Whether the agent means to leave.
    draining: watch::Sender<bool>,
    host: parking_lot::Mutex<Host>,
    /// Workers of this connection, as far as this side knows.
    workers: watch::Sender<usize>,
    closed: watch::Sender<bool>,
    state: watch::Sender<ConnectionState>,
    /// As the agent told them last.
    addresses: watch::Sender<Option<HostAddresses>>,
    history: History,
    /// The last session that was lost.
    loss: parking_lot::Mutex<Option<Loss>>,
    /// What the connection's clock counts from.
    began: Instant,
}

impl Shared {
    /// What the agent says of whether it means to leave.
    fn set_draining(&self, draining: bool) {
        let changed = self.draining.send_if_modified(|now| {
            let before = std::mem::replace(now, draining);
            before != draining
        });
        if changed {
            tracing::info!(url = %self.options.url, draining, "drain");
        }
    }

    /// A session is lost; its workers are about to hear of it.
    fn session_lost(&self, reason: &str) {
        // Whoever comes next there is another one.
        self.set_draining(false);
        self.history.session_lost();
        let mut loss = self.loss.lock();
        let number = loss.as_ref().map_or(1, |loss| loss.number + 1);
        *loss = Some(Loss { number, reason: reason.to_owned() });
    }
}

/// A connection to an agent. Dropping it closes it.
pub struct RemoteConnection {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Spawn>,
    unstarted: parking_lot::Mutex<Option<Manager>>,
}

impl RemoteConnection {
    /// Checks the options and reads the files for TLS. `start` begins to dial.
    pub fn new(options: RemoteOptions) -> Result<Self, InvalidOptions> {
        let dialer = NetworkDialer::new(options.url.clone(), &options.tls)?;
        let token = options.token.is_some() || options.token_file.is_some();
        if token && !options.url.is_tls() && !options.url.is_loopback() {
            tracing::warn!(url = %options.url, "the token crosses the network in clear text; use wss://");
        }
        Ok(Self::with_dialer(options, Arc::new(dialer)))
    }

    /// A connection over transports of the caller's own.
    pub fn with_dialer(options: RemoteOptions, dialer: Arc<dyn Dial>) -> Self {
        let (commands, received) = mpsc::channel(COMMANDS);
        let shared = Arc::new(Shared {
            options,
            status: watch::Sender::new(Status::Connecting(None)),
            load: watch::Sender::new(None),
            draining: watch::Sender::new(false),
            host: parking_lot::Mutex::default(),
            workers: watch::Sender::new(0),
            closed: watch::Sender::new(false),
            state: watch::Sender::new(ConnectionState::Connecting),
            addresses: watch::Sender::new(None),
            history: History::default(),
            loss: parking_lot::Mutex::default(),
            began: Instant::now(),
        });
        let manager = Manager::new(Arc::clone(&shared), dialer, received);
        Self { shared, commands, unstarted: parking_lot::Mutex::new(Some(manager)) }
    }

    /// Begins to dial. Must be called within a runtime, whose thread then runs the connection's
    /// tasks. A second call does nothing.
    pub fn start(&self) {
        if let Some(manager) = self.unstarted.lock().take() {
            tokio::spawn(manager.run());
        }
    }

    /// Where the connection stands, now and whenever that changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    fn last_problem(&self) -> Option<DialError> {
        match &*self.shared.status.borrow() {
            Status::Connecting(problem) => problem.clone(),
            Status::Refused(problem) => Some(problem.clone()),
            Status::Connected(_) | Status::Closed => None,
        }
    }

    async fn spawn_within_deadline(&self, request: SpawnRequest) -> Result<WorkerLink, SpawnError> {
        let url = &self.shared.options.url;
        if *self.shared.closed.borrow() {
            return Err(closed(&self.shared));
        }
        if let Some(path) = &request.worker_bin {
            return Err(SpawnError::NoBinary(format!(
                "workerBin {} can only run on this host; agent {url} runs its own worker binaries",
                path.display()
            )));
        }
        self.start();
        let (reply, answer) = oneshot::channel();
        let limit = self.shared.options.connect_timeout;
        let wait = async {
            self.commands
                .send(Spawn { request, reply, second: false })
                .await
                .map_err(|_| closed(&self.shared))?;
            answer.await.unwrap_or_else(|_| Err(closed(&self.shared)))
        };
        match timeout(limit, wait).await {
            Ok(result) => result,
            Err(_) => Err(self.last_problem().map_or_else(
                || match &*self.shared.status.borrow() {
                    Status::Connected(_) => SpawnError::Unreachable(format!(
                        "agent {url} did not start a worker within {limit:?}"
                    )),
                    _ => SpawnError::Unreachable(format!("{url}: no connection within {limit:?}")),
                },
                SpawnError::from,
            )),
        }
    }
}

fn closed(shared: &Shared) -> SpawnError {
    SpawnError::Unreachable(format!("the connection to agent {} is closed", shared.options.url))
}

impl Connection for RemoteConnection {
    fn name(&self) -> String {
        self.shared.options.url.to_string()
    }

    fn addresses(&self) -> Option<HostAddresses> {
        self.shared.addresses.borrow().clone()
    }

    fn load(&self) -> Option<Load> {
        let report = self.shared.load.borrow();
        let report = report.as_ref()?;
        // What this side has started counts at once, not with the agent's next report.
        let own = *self.shared.workers.borrow();
        Some(Load { workers: report.workers.max(own), max_workers: report.max_workers })
    }

    fn host_load(&self) -> Option<HostLoad> {
        let draining = *self.shared.draining.borrow();
        let host = self.shared.host.lock();
        let age = host.measured_at.map(|at| at.elapsed());
        Some(HostLoad { age, draining, ..host.load.clone() })
    }

    fn draining(&self) -> watch::Receiver<bool> {
        self.shared.draining.subscribe()
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let mut status = self.status();
            // An error means that the task is gone, and then nothing changes any more.
            let _ = status.wait_for(|status| !matches!(status, Status::Connecting(None))).await;
        })
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.state.subscribe()
    }

    fn details(&self) -> Details {
        self.shared.history.details()
    }

    fn last_loss(&self) -> Option<Loss> {
        self.shared.loss.lock().clone()
    }

    fn problem(&self) -> Option<SpawnError> {
        self.last_problem().map(SpawnError::from)
    }

    fn spawn(&self, request: SpawnRequest) -> BoxFuture<'_, Result<WorkerLink, SpawnError>> {
        Box::pin(self.spawn_within_deadline(request))
    }

    fn close(&self) {
        self.shared.closed.send_replace(true);
        // A task that never ran cannot say it.
        if self.unstarted.lock().take().is_some() {
            self.shared.status.send_replace(Status::Closed);
            self.shared.state.send_replace(ConnectionState::Closed);
        }
    }

    fn closed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let mut state = self.state();
            // The sender lives as long as this handle.
            let _ = state.wait_for(|state| *state == ConnectionState::Closed).await;
        })
    }
}

impl Drop for RemoteConnection {
    fn drop(&mut self) {
        self.close();
    }
}
