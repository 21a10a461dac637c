//! Where a new Worker, a further part of one, or a new transport goes. Pure: what is known goes in,
//! a choice or an order of preference comes out. Loads are thousandths of a core.

mod hosts;
mod parts;
mod recent;

use std::time::Duration;

pub use self::{
    hosts::{Candidate, home_order, part_order},
    parts::{Choice, Room, choose_part},
    recent::Recent,
};

/// A worker with less takes more, unless the app says otherwise.
pub const WATERMARK: u32 = 600;
/// A load that is older says nothing any more.
pub const STALE: Duration = Duration::from_secs(5);
/// What a new transport is taken to cost until that is measured.
pub const TRANSPORT_COST: u32 = 20;
/// What a new mediasoup-worker is taken to cost its host until that is measured.
pub const WORKER_COST: u32 = 50;

/// By what rule something is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Everything of a Router stays with it, as with mediasoup.
    #[default]
    Home,
    /// Fills the busiest worker that still has room.
    Pack,
    /// The worker with the most room.
    LeastLoaded,
    /// The next worker that has room, in turn.
    RoundRobin,
    /// The app's region first, then as `Pack`.
    Region,
    /// Every transport on the next worker, room or not. For tests.
    Scatter,
}

impl Policy {
    /// All of them by the names that apps use.
    pub const NAMED: [(&'static str, Self); 6] = [
        ("home", Self::Home),
        ("pack", Self::Pack),
        ("leastLoaded", Self::LeastLoaded),
        ("roundRobin", Self::RoundRobin),
        ("region", Self::Region),
        ("scatter", Self::Scatter),
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, policy)| *policy)
    }
}

/// What a further part is wanted for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// The Router whose transport does not fit on the parts that there are.
    pub router: String,
    /// The kind of that transport: `webrtc`, `plain`, `pipe`, `direct`.
    pub transport: &'static str,
    /// No worker of a host that has a part already would do.
    pub other_host: bool,
}
