//! What goes over the links of one connection, or of an agent.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts for as long as its owner lives, over any number of links and sessions.
#[derive(Debug, Default)]
pub struct Meter {
    frames_sent: AtomicU64,
    frames_received: AtomicU64,
    frames_replayed: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

/// What a meter shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Data frames that were written for the first time.
    pub frames_sent: u64,
    pub frames_received: u64,
    /// Data frames that were written again on a further link.
    pub frames_replayed: u64,
    /// What the messages on the links held, before WebSocket and TLS.
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

impl Meter {
    pub fn read(&self) -> Traffic {
        Traffic {
            frames_sent: self.frames_sent.load(Relaxed),
            frames_received: self.frames_received.load(Relaxed),
            frames_replayed: self.frames_replayed.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
        }
    }

    pub(super) fn frame_sent(&self, again: bool) {
        let count = if again { &self.frames_replayed } else { &self.frames_sent };
        count.fetch_add(1, Relaxed);
    }

    pub(super) fn frame_received(&self) {
        self.frames_received.fetch_add(1, Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.bytes_received.fetch_add(bytes as u64, Relaxed);
    }
}
