//! What an agent counts for as long as it runs.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::connection::{Exit, SpawnError};

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The controller is done, or gave it up for another.
    Closed,
    /// The controller did not come back in time.
    TimedOut,
    /// It could not go on: the controller broke the protocol, or let too much go unacknowledged.
    Failed,
    /// Its link was lost before anything was asked of it.
    Unused,
    /// The agent ends.
    Stopped,
}

impl SessionEnd {
    pub(super) const NAMES: [&str; 5] = ["closed", "timed_out", "failed", "unused", "stopped"];
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerEnd {
    /// By itself, as it was asked.
    Closed,
    /// By itself, with a code that says that something is wrong.
    Failed,
    /// By a signal.
    Signalled,
    /// It did not read what was sent to it.
    GivenUp,
    /// Its session was over.
    WithSession,
}

impl WorkerEnd {
    pub(super) const NAMES: [&str; 5] =
        ["closed", "failed", "signalled", "given_up", "with_session"];
}

impl From<&Exit> for WorkerEnd {
    fn from(exit: &Exit) -> Self {
        match exit {
            Exit::Code(0) => Self::Closed,
            Exit::Code(_) => Self::Failed,
            Exit::Signal(_) => Self::Signalled,
            Exit::Lost(_) => Self::GivenUp,
        }
    }
}

/// Why somebody got no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotLetIn {
    Tls,
    /// No WebSocket of ours, or no token.
    Http,
    /// A wrong token.
    Token,
    /// The connection broke.
    Lost,
    /// No handshake in time.
    Late,
    /// The hello was refused.
    Refused,
    /// Too many wrong tokens came from its address.
    Hasty,
    /// Too many others are in their handshakes.
    Full,
}

impl NotLetIn {
    pub(super) const NAMES: [&str; 8] =
        ["tls", "http", "token", "lost", "late", "refused", "hasty", "full"];
}

/// Why a worker did not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoStart {
    Full,
    Draining,
    Incompatible,
    WrongSettings,
    Other,
}

impl NoStart {
    pub(super) const NAMES: [&str; 5] =
        ["full", "draining", "incompatible", "wrong_settings", "other"];
}

impl From<&SpawnError> for NoStart {
    fn from(error: &SpawnError) -> Self {
        match error {
            SpawnError::Full(_) => Self::Full,
            SpawnError::Draining(_) => Self::Draining,
            SpawnError::Incompatible(_) => Self::Incompatible,
            SpawnError::WrongSettings(_) => Self::WrongSettings,
            SpawnError::Spawn { .. }
            | SpawnError::NoBinary(_)
            | SpawnError::Unauthorized(_)
            | SpawnError::Unreachable(_) => Self::Other,
        }
    }
}

#[derive(Debug)]
pub(super) struct Counts<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::default()))
    }
}

impl<const N: usize> Counts<N> {
    fn add(&self, index: usize) {
        self.0[index].fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self) -> [u64; N] {
        array::from_fn(|index| self.0[index].load(Relaxed))
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sessions_opened: AtomicU64,
    pub(super) sessions_resumed: AtomicU64,
    pub(super) sessions_ended: Counts<{ SessionEnd::NAMES.len() }>,
    pub(super) links_lost: AtomicU64,
    pub(super) not_let_in: Counts<{ NotLetIn::NAMES.len() }>,
    pub(super) workers_started: AtomicU64,
    pub(super) workers_ended: Counts<{ WorkerEnd::NAMES.len() }>,
    pub(super) workers_not_started: Counts<{ NoStart::NAMES.len() }>,
}

impl Counters {
    pub(super) fn session_opened(&self) {
        self.sessions_opened.fetch_add(1, Relaxed);
    }

    pub(super) fn session_resumed(&self) {
        self.sessions_resumed.fetch_add(1, Relaxed);
    }

    pub(super) fn session_ended(&self, end: SessionEnd) {
        self.sessions_ended.add(end as usize);
    }

    pub(super) fn link_lost(&self) {
        self.links_lost.fetch_add(1, Relaxed);
    }

    pub(super) fn not_let_in(&self, why: NotLetIn) {
        self.not_let_in.add(why as usize);
    }

    pub(super) fn worker_started(&self) {
        self.workers_started.fetch_add(1, Relaxed);
    }

    pub(super) fn worker_ended(&self, end: WorkerEnd) {
        self.workers_ended.add(end as usize);
    }

    pub(super) fn worker_not_started(&self, error: &SpawnError) {
        self.workers_not_started.add(NoStart::from(error) as usize);
    }
}
