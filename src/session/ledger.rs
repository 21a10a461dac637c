//! What one end has sent and received.

use std::collections::VecDeque;

use crate::queue::Weight;

/// The peer claims to have seen what it cannot have seen, or less than it said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an acknowledgement of {claimed} frames; possible are {from} to {to}")]
pub struct ImpossibleNumber {
    pub claimed: u64,
    pub from: u64,
    pub to: u64,
}

/// The replay buffer is full. Whoever goes on all the same has lost the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes wait for the peer's acknowledgement, the limit is {limit}")]
pub struct Overflow {
    pub bytes: usize,
    pub limit: usize,
}

/// The books of one end: the items that it numbered and the peer has not acknowledged, and how
/// many of the peer's have arrived. Numbers begin at 1 and are never on the wire.
#[derive(Debug)]
pub struct Ledger<T> {
    limit: usize,
    /// Those after `acknowledged`, in order.
    kept: VecDeque<T>,
    bytes: usize,
    acknowledged: u64,
    /// The last one that was given to the present link.
    written: u64,
    /// The last one that was given to any link.
    sent: u64,
    received: u64,
}

impl<T: Weight> Ledger<T> {
    /// Keeps at most about that many bytes: one item more than that finds room.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: VecDeque::new(),
            bytes: 0,
            acknowledged: 0,
            written: 0,
            sent: 0,
            received: 0,
        }
    }

    /// Whether another item may be numbered.
    pub fn has_room(&self) -> bool {
        self.bytes < self.limit
    }

    /// Bytes that wait for an acknowledgement.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many of this end's items the peer has seen, as far as it told.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Gives an item the next number and keeps it until it is acknowledged.
    pub fn number(&mut self, item: T) -> Result<(), Overflow> {
        if !self.has_room() {
            return Err(Overflow { bytes: self.bytes, limit: self.limit });
        }
        self.bytes = self.bytes.saturating_add(item.weight());
        self.kept.push_back(item);
        Ok(())
    }

    /// Whether the next item was given to an earlier link already.
    pub fn is_behind(&self) -> bool {
        self.written < self.sent
    }

    /// The next item for the present link: first those that the peer missed, then new ones.
    pub fn next_to_write(&mut self) -> Option<&T> {
        let position = usize::try_from(self.written - self.acknowledged).ok()?;
        let item = self.kept.get(position)?;
        self.written += 1;
        self.sent = self.sent.max(self.written);
        Some(item)
    }

    /// Forgets what the peer has seen. Tells whether that was anything new.
    pub fn acknowledge(&mut self, seen: u64) -> Result<bool, ImpossibleNumber> {
        self.forget(seen, self.written)
    }

    /// A new link, on which the peer says how much it has seen on all that went before. What it
    /// missed is written again.
    pub fn resume(&mut self, seen: u64) -> Result<(), ImpossibleNumber> {
        self.forget(seen, self.sent)?;
        self.written = self.acknowledged;
        Ok(())
    }

    /// Whether a new link could resume with that number.
    pub fn check_resume(&self, seen: u64) -> Result<(), ImpossibleNumber> {
        self.check(seen, self.sent)
    }

    fn check(&self, seen: u64, most: u64) -> Result<(), ImpossibleNumber> {
        if seen < self.acknowledged || seen > most {
            return Err(ImpossibleNumber { claimed: seen, from: self.acknowledged, to: most });
        }
        Ok(())
    }

    fn forget(&mut self, seen: u64, most: u64) -> Result<bool, ImpossibleNumber> {
        self.check(seen, most)?;
        let news = seen > self.acknowledged;
        while self.acknowledged < seen {
            if let Some(item) = self.kept.pop_front() {
                self.bytes = self.bytes.saturating_sub(item.weight());
            }
            self.acknowledged += 1;
        }
        Ok(news)
    }

    /// One of the peer's items has arrived.
    pub fn arrived(&mut self) {
        self.received += 1;
    }

    /// How many of the peer's items have arrived.
    pub fn received(&self) -> u64 {
        self.received
    }
}
