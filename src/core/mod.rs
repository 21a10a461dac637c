//! The core in an app's process: a socket for stubs, the connections, and one thread that runs it
//! all. Nothing of it is process-wide; everything hangs off one [`Core`].

pub mod choice;
pub mod config;
pub mod credentials;
pub mod discovery;
pub mod drain;
mod joining;
mod local_source;
mod losses;
mod no_worker;
pub mod observe;
mod part_source;
pub mod placement;
pub mod relay;
pub mod rules;
pub(crate) mod settings;
pub mod sharing;
pub mod single;
mod standing;
mod stub_server;
pub mod user_source;

use std::{
    collections::HashMap,
    io,
    os::unix::net::UnixListener as StdUnixListener,
    sync::{Arc, Weak, mpsc},
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use rand::RngCore;
use tokio::{
    net::UnixListener,
    runtime::{Builder, Handle},
    sync::watch,
    time::timeout,
};

use self::{
    choice::{AbortOnDrop, NoWorker, Source},
    discovery::Discoveries,
    joining::Joining,
    losses::Losses,
    observe::Observed,
    rules::Rules,
    sharing::Sharing,
};
use crate::{
    addresses::book::AddressBook,
    connection::{Connection, ConnectionState},
    monitor::{Event, EventSink},
    virtual_worker::Spread,
};

pub use joining::JoinError;

/// How long `createWorker` may take to find a worker.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long closing gives connections to tell the other side.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long closing waits for the core's thread. It lets go of everything at once unless the
/// system holds it up, and then the app's own thread must not wait along.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the app waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For a worker.
    pub connect: Duration,
    /// For a worker's answer; `None`: for ever.
    pub call: Option<Duration>,
}

impl From<Duration> for Deadlines {
    /// Calls wait for ever.
    fn from(connect: Duration) -> Self {
        Self { connect, call: None }
    }
}

/// What a stub's ticket stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ticket {
    /// A worker binary that the app asked for by path.
    pub worker_bin: Option<String>,
}

/// Why `createWorker` failed, for the class of error that JS builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// False: mediasoup's own error says it better.
    pub ours: bool,
    pub message: String,
}

/// Where a ticket stands, from its issue until `createWorker` has its result.
enum TicketState {
    Issued(Ticket),
    Used,
    Failed(Failure),
}

/// The core cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot open the socket for stubs: {0}")]
    Socket(io::Error),
    #[error("cannot start the core's thread: {0}")]
    Thread(io::Error),
}

type Closing = Vec<Arc<dyn Connection>>;

/// A running core. Dropping it closes it.
pub struct Core {
    inner: Arc<Inner>,
    /// Set to end it: the connections that are closing.
    stop: watch::Sender<Option<Closing>>,
    /// Disconnected once the thread has let go of everything.
    ended: mpsc::Receiver<()>,
    handle: Handle,
    socket: String,
    #[cfg(not(target_os = "linux"))]
    _folder: SocketFolder,
}

/// What the tasks of a core share.
pub struct Inner {
    sources: Mutex<Vec<Source>>,
    tickets: Mutex<HashMap<String, TicketState>>,
    /// Process id as the app knows it, to where the Worker lives.
    workers: Mutex<HashMap<u32, Arc<Home>>>,
    book: Arc<AddressBook>,
    connect_timeout: Duration,
    call_timeout: Option<Duration>,
    spread: Spread,
    rules: Rules,
    sharing: Sharing,
    observed: Observed,
    events: EventSink,
    discoveries: Discoveries,
    /// Connections that are not in the set yet.
    joining: Mutex<HashMap<String, Joining>>,
    /// Turns whenever a connection begins to drain, or stays after all.
    drains: watch::Sender<()>,
    losses: Losses,
}

impl Core {
    /// A core whose connections are chosen by the policy of `spread` and nothing else.
    pub fn start(
        book: Arc<AddressBook>,
        deadlines: impl Into<Deadlines>,
        spread: Spread,
    ) -> Result<Self, StartError> {
        Self::start_with(book, deadlines, spread, Rules::of(spread.policy))
    }

    /// Binds the socket for stubs and starts the thread. Stubs may connect once this returns.
    pub fn start_with(
        book: Arc<AddressBook>,
        deadlines: impl Into<Deadlines>,
        spread: Spread,
        rules: Rules,
    ) -> Result<Self, StartError> {
        let Deadlines { connect, call } = deadlines.into();
        let bound = bind().map_err(StartError::Socket)?;
        let inner = Arc::new(Inner {
            sources: Mutex::default(),
            tickets: Mutex::default(),
            workers: Mutex::default(),
            book,
            connect_timeout: connect,
            call_timeout: call,
            spread,
            sharing: Sharing::with_limit(rules.workers_per_host),
            rules,
            observed: Observed::default(),
            events: EventSink::default(),
            discoveries: Discoveries::default(),
            joining: Mutex::default(),
            drains: watch::Sender::new(()),
            losses: Losses::default(),
        });
        // One thread: tasks that hop between threads cost more than they gain.
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = watch::channel(None);
        let listener = {
            let _entered = handle.enter();
            UnixListener::from_std(bound.listener).map_err(StartError::Socket)?
        };
        let (alive, ended) = mpsc::channel();
        thread::Builder::new()
            .name("mediasoup-horizontal".to_owned())
            .spawn({
                let inner = Arc::clone(&inner);
                move || {
                    let _alive: mpsc::Sender<()> = alive;
                    runtime.block_on(serve(inner, listener, stopped));
                    // Every task is dropped here; a name that is being looked up is not waited for.
                    runtime.shutdown_background();
                }
            })
            .map_err(StartError::Thread)?;
        Ok(Self {
            inner,
            stop,
            ended,
            handle,
            socket: bound.name,
            #[cfg(not(target_os = "linux"))]
            _folder: bound.folder,
        })
    }

    /// The name under which stubs find this core: `@` and an abstract name, or a path.
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// The runtime that connections run on.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Adds a source of workers.
    pub fn add(&self, connection: Arc<dyn Connection>) {
        self.inner.admit(connection, &self.handle);
    }

    /// Where everybody tells what an app may want to know.
    pub fn events(&self) -> &EventSink {
        &self.inner.events
    }

    /// Removes the source of that name and ends its workers. False if there is none.
    pub fn remove(&self, name: &str) -> bool {
        self.inner.remove(name)
    }

    /// The names of all connections.
    pub fn connections(&self) -> Vec<String> {
        self.inner.sources().iter().map(|source| source.connection.name()).collect()
    }

    /// The names of all connections, with whether the other side can be reached.
    pub fn states(&self) -> Vec<(String, ConnectionState)> {
        let state = |source: Source| {
            let state = *source.connection.state().borrow();
            (source.connection.name(), state)
        };
        self.inner.sources().into_iter().map(state).collect()
    }

    /// A new ticket for one stub.
    pub fn issue(&self, ticket: Ticket) -> String {
        let text = random_text();
        self.inner.tickets.lock().insert(text.clone(), TicketState::Issued(ticket));
        text
    }

    /// Ends a ticket, used or not, and tells why its Worker could not be made, if so.
    pub fn settle(&self, ticket: &str) -> Option<Failure> {
        match self.inner.tickets.lock().remove(ticket) {
            Some(TicketState::Failed(failure)) => Some(failure),
            Some(TicketState::Issued(_) | TicketState::Used) | None => None,
        }
    }

    /// The connection on which the Worker with that pid lives.
    pub fn where_is(&self, pid: u32) -> Option<String> {
        self.inner.workers.lock().get(&pid).map(|home| home.connection.clone())
    }

    /// That, and the mediasoup-worker there which the Worker with that pid began with.
    pub fn home_of(&self, pid: u32) -> Option<Home> {
        self.inner.workers.lock().get(&pid).map(|home| home.as_ref().clone())
    }

    /// Why the Worker with that pid died, if that was with a host.
    pub fn why_died(&self, pid: u32) -> Option<String> {
        self.inner.losses.why_died(pid)
    }

    /// Ends every Worker and connection. Idempotent.
    pub fn close(&mut self) {
        if self.stop.borrow().is_some() {
            return;
        }
        // First, so that none of them comes into the set behind our back.
        let joining = self.inner.stop_joining();
        let sources = std::mem::take(&mut *self.inner.sources.lock());
        for source in &sources {
            source.connection.close();
        }
        let closing = sources.into_iter().map(|source| source.connection);
        let closing = closing.chain(joining).collect();
        let _ = self.stop.send(Some(closing));
        if self.ended.recv_timeout(CLOSE_TIMEOUT) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the core's thread is held up; it ends by itself");
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    /// Takes a source of workers into the set.
    fn admit(self: &Arc<Self>, connection: Arc<dyn Connection>, handle: &Handle) {
        let events = self.events.clone();
        events.emit(Event::Add { connection: connection.name() });
        self.watch_drain(connection.draining(), handle);
        let telling = standing::tell(Arc::clone(&connection), events.clone());
        let watching = Some(Arc::new(AbortOnDrop(handle.spawn(telling).abort_handle())));
        let source = Source { events, watching, ..Source::new(connection) };
        self.sources.lock().push(source);
        self.update_fleet();
    }

    fn remove(&self, name: &str) -> bool {
        let removed = {
            let mut sources = self.sources.lock();
            let position = sources.iter().position(|source| source.connection.name() == name);
            position.map(|position| sources.remove(position))
        };
        self.update_fleet();
        let close = |source: Source| {
            source.connection.close();
            self.events.emit(Event::Delete { connection: name.to_owned() });
        };
        removed.map(close).is_some()
    }

    fn sources(&self) -> Vec<Source> {
        self.sources.lock().clone()
    }

    fn book(&self) -> Arc<AddressBook> {
        Arc::clone(&self.book)
    }

    /// What the ticket stands for, once.
    fn take_ticket(&self, ticket: &str) -> Option<Ticket> {
        let mut tickets = self.tickets.lock();
        let state = tickets.get_mut(ticket)?;
        match std::mem::replace(state, TicketState::Used) {
            TicketState::Issued(ticket) => Some(ticket),
            other => {
                *state = other;
                None
            }
        }
    }

    fn fail_ticket(&self, ticket: &str, why: &NoWorker) {
        let ours = !matches!(why, NoWorker::WrongSettings(_));
        let failure = Failure { ours, message: why.to_string() };
        // A ticket that is settled is forgotten: nobody would ever ask for its failure.
        if let Some(state) = self.tickets.lock().get_mut(ticket) {
            *state = TicketState::Failed(failure);
        }
    }

    fn register(self: &Arc<Self>, pid: u32, home: Home) -> Registered {
        let home = Arc::new(home);
        self.losses.forget(pid);
        self.workers.lock().insert(pid, Arc::clone(&home));
        Registered { inner: Arc::downgrade(self), pid, home }
    }

    /// Pipes may stay on loopback only while every host is this one.
    fn update_fleet(&self) {
        let sources = self.sources();
        self.book.set_fleet(sources.iter().map(|source| source.connection.addresses()));
    }
}

/// Where a Worker lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Name of the connection.
    pub connection: String,
    /// Process id of the mediasoup-worker there.
    pub worker: u32,
}

/// A Worker's entry in the list, taken out when it is gone.
struct Registered {
    inner: Weak<Inner>,
    pid: u32,
    home: Arc<Home>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade() else { return };
        let mut workers = inner.workers.lock();
        // The pid may have become another Worker's while this one was seen off.
        if workers.get(&self.pid).is_some_and(|home| Arc::ptr_eq(home, &self.home)) {
            workers.remove(&self.pid);
        }
    }
}

/// Runs until the core is closed and its connections have said so.
async fn serve(
    inner: Arc<Inner>,
    listener: UnixListener,
    mut stopped: watch::Receiver<Option<Closing>>,
) {
    let closing = accept(inner, listener, &mut stopped).await;
    let told = join_all(closing.iter().map(|connection| connection.closed()));
    // What could not be told by then, the other side finds out by itself.
    let _ = timeout(FAREWELL, told).await;
}

async fn accept(
    inner: Arc<Inner>,
    listener: UnixListener,
    stopped: &mut watch::Receiver<Option<Closing>>,
) -> Closing {
    loop {
        tokio::select! {
            // Cancel-safe: no connection is lost.
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Agents become reachable at any time, and with them the fleet's shape.
                    inner.update_fleet();
                    tokio::spawn(stub_server::serve(Arc::clone(&inner), stream));
                }
                Err(error) => {
                    tracing::warn!("cannot accept a stub: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            // Cancel-safe: the value stays set.
            _ = stopped.changed() => return stopped.borrow().clone().unwrap_or_default(),
        }
    }
}

struct Bound {
    listener: StdUnixListener,
    name: String,
    #[cfg(not(target_os = "linux"))]
    folder: SocketFolder,
}

/// 192 random bits as text.
fn random_text() -> String {
    let mut rng = rand::rng();
    [(); 3].iter().fold(String::new(), |text, ()| format!("{text}{:016x}", rng.next_u64()))
}

fn random_name() -> String {
    format!("mediasoup-horizontal-{}-{}", std::process::id(), random_text())
}

/// An abstract name needs no folder and leaves nothing behind.
#[cfg(target_os = "linux")]
fn bind() -> io::Result<Bound> {
    use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
    let name = random_name();
    let listener = StdUnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    listener.set_nonblocking(true)?;
    Ok(Bound { listener, name: format!("@{name}") })
}

/// A private folder that goes with the core.
#[cfg(not(target_os = "linux"))]
struct SocketFolder(std::path::PathBuf);

#[cfg(not(target_os = "linux"))]
impl Drop for SocketFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(not(target_os = "linux"))]
fn bind() -> io::Result<Bound> {
    use std::os::unix::fs::DirBuilderExt;
    let path = std::env::temp_dir().join(random_name());
    std::fs::DirBuilder::new().mode(0o700).create(&path)?;
    let folder = SocketFolder(path.clone());
    let socket = path.join("stubs");
    let listener = StdUnixListener::bind(&socket)?;
    listener.set_nonblocking(true)?;
    Ok(Bound { listener, name: socket.to_string_lossy().into_owned(), folder })
}
