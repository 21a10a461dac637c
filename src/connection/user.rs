//! Workers that the app brings itself, over whatever transport it likes. Whoever starts them gets
//! the other ends of a channel and tells what becomes of the worker.

use std::{
    collections::{BTreeMap, HashMap},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout},
};

use super::{BoxFuture, Connection, Exit, HostLoad, Load, SpawnError, SpawnRequest, WorkerLink};
use crate::{
    addresses::HostAddresses,
    worker_process::{GRACE, LinkSettings, Process, link_to},
};

const SIGKILL: i32 = 9;

/// Starts workers. None of these calls waits.
pub trait Provider: Send + Sync {
    /// Asks for a worker that reads from `input` and writes to `output`. The answer comes to
    /// [`UserConnection::started`] or [`UserConnection::failed`]. False if nobody can be asked.
    fn spawn(&self, id: u32, request: &SpawnRequest, input: OwnedFd, output: OwnedFd) -> bool;

    /// Sends the signal to a worker, started or not.
    fn signal(&self, id: u32, signal: i32);

    /// Nobody wants anything of it any more.
    fn close(&self);
}

/// What is known of the app's own source of workers.
#[derive(Debug, Clone)]
pub struct UserOptions {
    pub name: String,
    pub addresses: HostAddresses,
    /// The most workers that it takes.
    pub max_workers: usize,
    pub cores: usize,
    pub labels: BTreeMap<String, String>,
    /// The version and schema to ask it for, where they are not the library's.
    pub version: Option<String>,
    /// How long it may take to start a worker.
    pub connect_timeout: Duration,
}

/// What the app measured on its host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserLoad {
    /// By process id, in thousandths of a core.
    pub own: BTreeMap<u32, u32>,
    pub others: Vec<u32>,
}

/// The app's own source of workers.
pub struct UserConnection {
    options: UserOptions,
    shared: Arc<Shared>,
}

struct Shared {
    provider: Arc<dyn Provider>,
    workers: Mutex<Workers>,
    load: Mutex<Option<(UserLoad, Instant)>>,
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct Workers {
    last: u32,
    by_id: HashMap<u32, Asked>,
}

/// A worker that was asked for, until it is gone.
struct Asked {
    reply: Option<oneshot::Sender<Result<u32, String>>>,
    exit: watch::Sender<Option<Exit>>,
}

/// The place of one worker. Dropped, nobody waits for that worker any more.
struct Place {
    shared: Arc<Shared>,
    id: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        let asked = self.shared.workers.lock().by_id.remove(&self.id);
        if asked.is_some_and(|asked| asked.exit.borrow().is_none()) {
            self.shared.provider.signal(self.id, SIGKILL);
        }
    }
}

impl UserConnection {
    pub fn new(options: UserOptions, provider: Arc<dyn Provider>) -> Self {
        let shared = Shared {
            provider,
            workers: Mutex::default(),
            load: Mutex::default(),
            closed: watch::Sender::new(false),
        };
        Self { options, shared: Arc::new(shared) }
    }

    /// A worker runs.
    pub fn started(&self, id: u32, pid: u32) {
        self.reply(id, Ok(pid));
    }

    /// A worker could not be started, in words.
    pub fn failed(&self, id: u32, why: String) {
        self.reply(id, Err(why));
    }

    /// A worker ended.
    pub fn exited(&self, id: u32, exit: Exit) {
        if let Some(asked) = self.shared.workers.lock().by_id.get(&id) {
            asked.exit.send_replace(Some(exit));
        }
    }

    /// What its host measured just now.
    pub fn measured(&self, load: UserLoad) {
        *self.shared.load.lock() = Some((load, Instant::now()));
    }

    fn reply(&self, id: u32, result: Result<u32, String>) {
        let mut workers = self.shared.workers.lock();
        if let Some(reply) = workers.by_id.get_mut(&id).and_then(|asked| asked.reply.take()) {
            // Whoever asked may have given up.
            let _ = reply.send(result);
        }
    }

    fn closed(&self) -> SpawnError {
        SpawnError::Unreachable(format!("the connection {} is closed", self.options.name))
    }

    async fn start(&self, mut request: SpawnRequest) -> Result<WorkerLink, SpawnError> {
        let UserOptions { name, max_workers, connect_timeout, .. } = &self.options;
        if let Some(version) = &self.options.version {
            request.version.clone_from(version);
        }
        let failed = |why: &str| SpawnError::Unreachable(format!("the connection {name}: {why}"));
        let channel = || Ok::<_, std::io::Error>((UnixStream::pair()?, UnixStream::pair()?));
        let ((input, its_input), (output, its_output)) =
            channel().map_err(|error| failed(&error.to_string()))?;
        let (reply, answer) = oneshot::channel();
        let (place, exit) = {
            let mut workers = self.shared.workers.lock();
            // Under the lock: whoever closes it then takes the lock, and finds this one.
            if *self.shared.closed.borrow() {
                return Err(self.closed());
            }
            if workers.by_id.len() >= *max_workers {
                return Err(SpawnError::Full(format!(
                    "the connection {name} runs {max_workers} of {max_workers} workers"
                )));
            }
            workers.last = workers.last.wrapping_add(1);
            let id = workers.last;
            let exit = watch::Sender::new(None);
            let told = exit.subscribe();
            workers.by_id.insert(id, Asked { reply: Some(reply), exit });
            (Place { shared: Arc::clone(&self.shared), id }, told)
        };
        let asked = self.shared.provider.spawn(
            place.id,
            &request,
            OwnedFd::from(its_input),
            OwnedFd::from(its_output),
        );
        if !asked {
            return Err(self.closed());
        }
        let pid = match timeout(*connect_timeout, answer).await {
            Ok(Ok(Ok(pid))) => pid,
            Ok(Ok(Err(why))) => return Err(failed(&why)),
            Ok(Err(_)) => return Err(self.closed()),
            Err(_) => {
                return Err(failed(&format!("spawn() gave no worker within {connect_timeout:?}")));
            }
        };
        let worker = Worker {
            id: place.id,
            name: name.clone(),
            provider: Arc::clone(&self.shared.provider),
            exit,
            killed: watch::Sender::new(false),
        };
        let settings = LinkSettings {
            grace: GRACE,
            stop: Some(self.shared.closed.subscribe()),
            guard: Box::new(place),
        };
        let addresses = self.options.addresses.clone();
        link_to(Arc::new(worker), pid, (input, output), addresses, settings)
            .map_err(|error| failed(&error.to_string()))
    }
}

impl Connection for UserConnection {
    fn name(&self) -> String {
        self.options.name.clone()
    }

    fn addresses(&self) -> Option<HostAddresses> {
        Some(self.options.addresses.clone())
    }

    fn load(&self) -> Option<Load> {
        let workers = self.shared.workers.lock().by_id.len();
        Some(Load { workers, max_workers: self.options.max_workers })
    }

    fn host_load(&self) -> Option<HostLoad> {
        let load = self.shared.load.lock().clone();
        // One that measures nothing counts as idle.
        let (load, age) = match load {
            Some((load, at)) => (load, at.elapsed()),
            None => (UserLoad::default(), Duration::ZERO),
        };
        Some(HostLoad {
            cores: self.options.cores,
            labels: self.options.labels.clone(),
            own: load.own,
            others: load.others,
            age: Some(age),
            draining: false,
        })
    }

    fn spawn(&self, request: SpawnRequest) -> BoxFuture<'_, Result<WorkerLink, SpawnError>> {
        Box::pin(self.start(request))
    }

    fn close(&self) {
        if !self.shared.closed.send_replace(true) {
            // Whoever still waits for a worker hears that it is closed.
            for asked in self.shared.workers.lock().by_id.values_mut() {
                asked.reply = None;
            }
            self.shared.provider.close();
        }
    }
}

/// A worker of the app's, as the link to it sees it.
struct Worker {
    id: u32,
    name: String,
    provider: Arc<dyn Provider>,
    exit: watch::Receiver<Option<Exit>>,
    killed: watch::Sender<bool>,
}

impl Process for Worker {
    fn signal(&self, signal: i32) {
        self.provider.signal(self.id, signal);
    }

    fn kill(&self) {
        self.provider.signal(self.id, SIGKILL);
        self.killed.send_replace(true);
    }

    fn wait(&self) -> BoxFuture<'_, Exit> {
        Box::pin(async {
            let mut exit = self.exit.clone();
            let mut killed = self.killed.subscribe();
            let overdue = async {
                // The sender is our own.
                let _ = killed.wait_for(|killed| *killed).await;
                sleep(GRACE).await;
            };
            let lost = |why: &str| Exit::Lost(format!("the connection {} {why}", self.name));
            tokio::select! {
                biased;
                // Cancel-safe: the watch keeps its value.
                told = exit.wait_for(Option::is_some) => match told {
                    Ok(exit) => exit.clone().unwrap_or(Exit::Code(0)),
                    Err(_) => lost("forgot this worker"),
                },
                // Cancel-safe: this is the only wait for it.
                () = overdue => lost("did not tell that this worker ended, though it was killed"),
            }
        })
    }
}
