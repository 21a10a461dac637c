//! The agent: runs on a media host and gives its workers to controllers.
//!
//! It knows nothing of what workers say: it starts them, moves bytes, counts and limits. Each
//! controller has a session of its own in a task of its own, which outlives its links for a while;
//! sessions share no worker.

pub mod admin;
pub mod cli;

mod addresses;
mod brake;
mod counters;
mod drain;
mod http;
mod limits;
mod listener;
mod local_workers;
mod metrics;
mod options;
mod roster;
mod server;
mod session;
mod sessions;
mod source;
mod status;
mod workers;

pub use addresses::{AddressOptions, AddressProblem};
pub use drain::{AgentState, DrainOrder, Draining, IsClosing};
pub use limits::{Limit, LimitCounters, LimitExceeded, Limits};
pub use listener::{Agent, AgentError, Missing};
pub use local_workers::LocalWorkers;
pub use metrics::{METRICS, NotReady};
pub use options::AgentOptions;
pub use server::{Identity, Server};
pub use source::{Offer, WorkerSource};
pub use status::{DrainStatus, SessionStatus, Status, WorkerStatus};
