//! One end of a session, which outlives its links: numbered frames, acknowledgements, replay, and
//! how long it waits for the next link.
//!
//! Pure: no I/O, no clock. `docs/protocol.md` tells what both ends do with it.

use std::time::Duration;

mod ledger;
mod outage;
#[cfg(test)]
mod tests;

pub use ledger::{ImpossibleNumber, Ledger, Overflow};
pub use outage::{Outage, Stage};

/// How many bytes of unacknowledged frames one end keeps. Then it takes no more until the peer
/// acknowledges some: what waits, waits where it comes from.
pub const REPLAY_LIMIT: usize = 32 * 1024 * 1024;

/// How long a session outlives a link, unless somebody says otherwise.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an outage is nobody's business, unless somebody says otherwise.
pub const SILENT_WINDOW: Duration = Duration::from_secs(3);

/// The word for a session timeout that never comes.
pub const INFINITE: &str = "infinite";
