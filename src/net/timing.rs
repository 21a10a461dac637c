//! How long a link waits for what.

use std::time::Duration;

/// The timers of one link. The defaults are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often this side pings.
    pub heartbeat: Duration,
    /// A peer that sends no byte for so long is lost.
    pub silence: Duration,
    /// A write that takes longer means that the peer is lost.
    pub write: Duration,
    /// How long one worker's full queue may hold up the link. Shorter than `write`: while one side
    /// waits here the other side's writes do not finish.
    pub stall: Duration,
    /// From the open connection to the end of the handshake.
    pub handshake: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            silence: Duration::from_secs(4),
            write: Duration::from_secs(10),
            stall: Duration::from_secs(8),
            handshake: Duration::from_secs(10),
        }
    }
}
