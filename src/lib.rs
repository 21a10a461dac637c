//! The core of mediasoup-horizontal: virtual mediasoup-workers that drive real ones on this host
//! and on others. `docs/architecture.md` has the picture.

// Request bodies are shared with the integration tests, which know the crate by its name.
#[cfg(test)]
extern crate self as mediasoup_horizontal;

pub mod addresses;
pub mod agent;
pub mod bridge;
pub mod channel;
pub mod compatibility;
pub mod connection;
pub mod core;
#[doc(hidden)]
pub mod fuzzing;
pub mod mock_worker;
pub mod monitor;
pub mod net;
mod passed_fds;
mod pidfd;
pub mod placement;
pub mod queue;
pub mod quiet_writer;
pub mod session;
pub mod shared_worker;
pub mod stub;
pub mod virtual_worker;
pub mod wire;
pub mod worker_process;

pub use channel_schema::{MEDIASOUP_VERSION, SCHEMA_FINGERPRINT};
