//! Why there is no worker for a Worker of the app.

use crate::connection::{Exit, SpawnError};

/// Why no connection gave a worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWorker {
    #[error("no connection to take a mediasoup-worker from: add one to the Horizontal")]
    NoConnections,
    /// What it would be taken from is known by name only.
    #[error("no agent to take a mediasoup-worker from: {0}")]
    Undiscovered(String),
    #[error(
        "every host drains and takes no new Worker ({0}): add another one, or take the drain of \
         one back"
    )]
    AllDrain(String),
    /// Every connection was left out.
    #[error("no host has room: {0}")]
    NoRoom(String),
    #[error("{0}")]
    WrongSettings(String),
    #[error("{0}")]
    Other(String),
    /// The only connection's own words.
    #[error("{0}")]
    One(SpawnError),
    #[error("no connection gave a mediasoup-worker: {}", list(.0))]
    Many(Vec<(String, SpawnError)>),
}

impl NoWorker {
    /// How a process that was to be the worker ends instead.
    pub fn exit(&self) -> Exit {
        Exit::Code(match self {
            Self::WrongSettings(_) => Exit::WRONG_SETTINGS,
            _ => Exit::FAILURE,
        })
    }
}

impl From<SpawnError> for NoWorker {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::WrongSettings(why) => Self::WrongSettings(why),
            other => Self::One(other),
        }
    }
}

fn list(errors: &[(String, SpawnError)]) -> String {
    let text = |(name, error): &(String, SpawnError)| match error.to_string() {
        named if named.starts_with(name) => named,
        other => format!("{name}: {other}"),
    };
    errors.iter().map(text).collect::<Vec<_>>().join("; ")
}
