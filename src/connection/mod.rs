//! A connection is one source of workers: an agent, this host, a mock.

mod details;
mod host_load;
pub mod local;
pub mod remote;
pub mod user;

use std::{fmt, future::Future, os::fd::OwnedFd, path::PathBuf, pin::Pin};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use crate::{
    addresses::HostAddresses, channel::framing::MESSAGE_MAX, compatibility::Incompatibility, queue,
};

pub mod mock;

pub use details::{AgentDetails, Details, LinkDetails};
pub use host_load::HostLoad;

/// A future that a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How many bytes may wait on one worker's link in each direction: four of the largest messages.
pub const LINK_LIMIT: usize = 4 * (MESSAGE_MAX + ITEM_OVERHEAD);

/// What an item in a queue takes beside its bytes, so that a flood of tiny ones is bounded too.
const ITEM_OVERHEAD: usize = 64;

/// What a virtual worker asks a connection for: one real worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnRequest {
    /// The mediasoup version of the library, as in `MEDIASOUP_VERSION`.
    pub version: String,
    /// The schema fingerprint of the library.
    pub fingerprint: String,
    /// Worker arguments as mediasoup passes them (`--logLevel=debug`), without the two DTLS files.
    pub args: Vec<String>,
    /// Content of `dtlsCertificateFile` and `dtlsPrivateKeyFile`.
    pub dtls: DtlsFiles,
    /// A worker binary that the app asked for by path. Only this host may run it.
    pub worker_bin: Option<PathBuf>,
}

/// PEM texts of the DTLS files that the app named, each independent of the other.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DtlsFiles {
    pub certificate: Option<String>,
    pub private_key: Option<String>,
}

impl fmt::Debug for DtlsFiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DtlsFiles")
            .field("certificate", &self.certificate.is_some())
            .field("private_key", &self.private_key.is_some())
            .finish()
    }
}

/// What comes from a real worker.
#[derive(Debug)]
pub enum WorkerEvent {
    /// One whole channel message with its size prefix.
    Message(BytesMut),
    /// Bytes that the worker wrote to its stdout.
    Stdout(Bytes),
    /// Bytes that the worker wrote to its stderr.
    Stderr(Bytes),
    /// The link to the worker's host is down for now. What is sent to the worker waits.
    LinkDown,
    /// That link is up again, and what waited is on its way.
    LinkUp,
    /// The worker is gone. Always the last event.
    Exited(Exit),
}

/// What goes to a real worker.
#[derive(Debug)]
pub enum WorkerCommand {
    /// One whole channel message with its size prefix.
    Message(Bytes),
    /// Sends the signal to the worker process.
    Signal(i32),
    /// Closes the worker's input, which ends it.
    CloseInput,
}

impl queue::Weight for WorkerEvent {
    fn weight(&self) -> usize {
        match self {
            Self::Message(bytes) => ITEM_OVERHEAD + bytes.len(),
            Self::Stdout(bytes) | Self::Stderr(bytes) => ITEM_OVERHEAD + bytes.len(),
            Self::LinkDown | Self::LinkUp | Self::Exited(_) => ITEM_OVERHEAD,
        }
    }
}

impl queue::Weight for WorkerCommand {
    fn weight(&self) -> usize {
        match self {
            Self::Message(bytes) => ITEM_OVERHEAD + bytes.len(),
            Self::Signal(_) | Self::CloseInput => ITEM_OVERHEAD,
        }
    }
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// Nobody saw it end: the link to its host is lost. The text says which and why.
    Lost(String),
}

impl Exit {
    /// The code by which a worker says that it refuses its settings, as mediasoup reads it.
    pub const WRONG_SETTINGS: i32 = 42;
    /// The code of every other failure of ours.
    pub const FAILURE: i32 = 1;
}

/// The link to one real worker. Dropping `commands` closes the worker's input; dropping the whole
/// link frees the worker.
pub struct WorkerLink {
    /// Process id on the worker's own host.
    pub pid: u32,
    /// Where the worker's addresses belong.
    pub addresses: HostAddresses,
    pub commands: queue::Sender<WorkerCommand>,
    pub events: queue::Receiver<WorkerEvent>,
}

/// A worker that the stub itself is to become (exec in place).
pub struct InPlaceWorker {
    pub binary: PathBuf,
    pub args: Vec<String>,
    /// The worker's ends of its channel: its fd 3 and fd 4.
    pub input: OwnedFd,
    pub output: OwnedFd,
    /// Keeps temporary files (DTLS) alive; dropped when the worker is gone.
    pub guard: Box<dyn Send>,
    pub link: WorkerLink,
}

/// Why a connection gave no worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// The worker binary cannot be started; mediasoup says it in these words.
    #[error("spawn {path} {code}")]
    Spawn { path: String, code: String },
    /// No worker binary is known for the version.
    #[error("{0}")]
    NoBinary(String),
    /// The settings were refused before a worker started (mediasoup: 'wrong settings').
    #[error("wrong settings: {0}")]
    WrongSettings(String),
    /// The other side speaks another protocol, schema or version.
    #[error("{0}")]
    Incompatible(Incompatibility),
    /// The other side did not let us in.
    #[error("{0}")]
    Unauthorized(String),
    /// The other side could not be reached in time.
    #[error("{0}")]
    Unreachable(String),
    /// The other side has no room for another worker.
    #[error("{0}")]
    Full(String),
    /// The other side means to leave and takes nothing new.
    #[error("{0}")]
    Draining(String),
}

/// A request that cannot be served here.
pub fn incompatible(message: String) -> SpawnError {
    SpawnError::Incompatible(Incompatibility::told(message))
}

/// What placement knows about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Workers that run there now, everyone's.
    pub workers: usize,
    /// The most workers that it takes.
    pub max_workers: usize,
}

/// Whether the other side of a connection can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not yet.
    Connecting,
    /// It can, or it is gone for so short a time that nobody needs to know.
    Connected,
    /// It is gone for longer. Its workers live on until the session timeout.
    Disconnected,
    /// It does not let us in, or is nothing that we could use.
    Refused,
    /// `close()` was called.
    Closed,
}

impl ConnectionState {
    /// As apps know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Refused => "refused",
            Self::Closed => "closed",
        }
    }
}

/// The loss of all workers of a connection at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Which one it was, from 1 on.
    pub number: u64,
    /// What every worker's [`Exit::Lost`] says.
    pub reason: String,
}

/// One source of workers.
pub trait Connection: Send + Sync {
    /// What people call it: its URL, `local`, `mock`.
    fn name(&self) -> String;

    /// Whether its workers run on this host.
    fn is_local(&self) -> bool {
        false
    }

    /// Where its workers bind, as far as it is known.
    fn addresses(&self) -> Option<HostAddresses>;

    /// Its load, `None` while nobody can tell.
    fn load(&self) -> Option<Load>;

    /// What its host measured, `None` while nobody can tell.
    fn host_load(&self) -> Option<HostLoad> {
        None
    }

    /// Resolves once it is known whether the connection can be used, one way or the other.
    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Whether the other side can be reached, now and whenever that changes.
    fn state(&self) -> watch::Receiver<ConnectionState> {
        watch::channel(ConnectionState::Connected).1
    }

    /// What it shows to the people who run it.
    fn details(&self) -> Details {
        Details::default()
    }

    /// Whether its host means to leave and takes nothing new, now and whenever that changes.
    fn draining(&self) -> watch::Receiver<bool> {
        watch::channel(false).1
    }

    /// What keeps the connection from being used now, where it knows.
    fn problem(&self) -> Option<SpawnError> {
        None
    }

    /// The last time that everything on the other side was lost at once.
    fn last_loss(&self) -> Option<Loss> {
        None
    }

    /// Starts one worker. Ends in a worker or a clear error within the connect timeout.
    fn spawn(&self, request: SpawnRequest) -> BoxFuture<'_, Result<WorkerLink, SpawnError>>;

    /// A worker that the stub becomes itself, where this connection can do that.
    fn spawn_in_place(&self, _request: &SpawnRequest) -> Option<Result<InPlaceWorker, SpawnError>> {
        None
    }

    /// Tells which process became the worker of [`Connection::spawn_in_place`], so that its load
    /// is measured while the returned guard lives.
    fn runs_in_place(&self, _pid: u32) -> Option<Box<dyn Send>> {
        None
    }

    /// Ends every worker and link of this connection.
    fn close(&self);

    /// Resolves once the other side was told that this one is closed, or cannot be.
    fn closed(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
