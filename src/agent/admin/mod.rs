//! How an agent's operator speaks with it: a unix socket of the agent's own user. One request, a
//! line of JSON, and then lines of JSON until the agent ends them.

pub mod cli;
mod serve;
mod socket;

use serde::{Deserialize, Serialize};

pub use serve::Admin;
pub(crate) use serve::hear;
pub use socket::{AdminSocket, AdminSocketError, default_paths};

use super::status::Status;

/// The longest request.
pub(crate) const REQUEST_MAX: u64 = 4 * 1024;
/// The longest answer: a status with as many sessions and workers as are told one by one.
pub(super) const ANSWER_MAX: u64 = 1024 * 1024;

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "command",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Request {
    /// One answer: [`Event::Status`].
    Status,
    /// Take no new workers any more.
    Drain {
        /// How long workers may take to end; null: for ever.
        timeout_ms: Option<u64>,
        /// The agent ends with it.
        exit: bool,
        /// Tell what is left until nothing is; else one answer.
        wait: bool,
    },
    /// Take workers again. One answer: [`Event::Cancelled`].
    Cancel,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub event: Event,
    #[serde(flatten)]
    pub status: Option<Status>,
    /// With `error`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What kind of answer it is. All but `draining` are the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    Status,
    /// Something is left.
    Draining,
    /// Nothing is left.
    Drained,
    /// The time is over, and something is left.
    Deadline,
    /// It takes workers again.
    Cancelled,
    /// The agent ends before all is done.
    Closing,
    Error,
}
