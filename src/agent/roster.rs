//! The workers that run on an agent, of every session.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

/// One worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Whose it is.
    pub(super) session: u64,
    /// `None` while it starts.
    pub(super) pid: Option<u32>,
    pub(super) since: Instant,
}

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<u64, Entry>,
    last: u64,
}

/// All of them, and how many there may be.
#[derive(Debug)]
pub(super) struct Roster {
    max: usize,
    table: Mutex<Table>,
    count: watch::Sender<usize>,
}

/// A worker's place, to be dropped as soon as its process is gone, no earlier.
#[derive(Debug)]
pub(super) struct Place {
    roster: Arc<Roster>,
    number: u64,
}

impl Roster {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, table: Mutex::default(), count: watch::Sender::new(0) })
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// How many there are, now and whenever that changes.
    pub(super) fn counts(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// A place for a worker of that session, if there is one left.
    pub(super) fn enter(self: &Arc<Self>, session: u64) -> Option<Place> {
        let mut table = self.table.lock();
        if table.entries.len() >= self.max {
            return None;
        }
        table.last += 1;
        let number = table.last;
        table.entries.insert(number, Entry { session, pid: None, since: Instant::now() });
        self.count.send_replace(table.entries.len());
        drop(table);
        Some(Place { roster: Arc::clone(self), number })
    }

    /// The worker with that place runs, unless it is gone already.
    pub(super) fn started(&self, number: u64, pid: u32) {
        if let Some(entry) = self.table.lock().entries.get_mut(&number) {
            entry.pid = Some(pid);
        }
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.table.lock().entries.values().copied().collect()
    }

    /// Resolves as soon as no worker runs. Cancel-safe.
    pub(super) async fn emptied(&self) {
        // The sender lives as long as this future.
        let _ = self.counts().wait_for(|count| *count == 0).await;
    }
}

impl Place {
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.roster.table.lock();
        table.entries.remove(&self.number);
        self.roster.count.send_replace(table.entries.len());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn places_are_counted_named_and_given_back() {
        let roster = Roster::new(2);
        roster.emptied().await;
        let first = roster.enter(1).unwrap();
        let second = roster.enter(2).unwrap();
        assert!(roster.enter(3).is_none());
        roster.started(second.number(), 4711);
        let known: Vec<_> =
            roster.entries().iter().map(|entry| (entry.session, entry.pid)).collect();
        assert_eq!(known, [(1, None), (2, Some(4711))]);
        let number = first.number();
        drop(first);
        roster.started(number, 4712);
        assert_eq!(roster.count(), 1);
        let emptied = tokio::spawn({
            let roster = Arc::clone(&roster);
            async move { roster.emptied().await }
        });
        tokio::task::yield_now().await;
        assert!(!emptied.is_finished());
        drop(second);
        emptied.await.unwrap();
        assert_eq!((roster.count(), roster.entries().len()), (0, 0));
    }
}
