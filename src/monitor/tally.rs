//! Counts what apps ask, over all Workers of a core.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::channel::{
    envelope::{is_refusal, method_of},
    method,
};

/// Calls of the library, and how they ended.
#[derive(Debug)]
pub struct Tally {
    calls: [AtomicU64; method::COUNT],
    refused: AtomicU64,
    workers_started: AtomicU64,
    workers_ended: AtomicU64,
    parts_opened: AtomicU64,
    parts_failed: AtomicU64,
    parts_lost: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            calls: std::array::from_fn(|_| AtomicU64::default()),
            refused: AtomicU64::default(),
            workers_started: AtomicU64::default(),
            workers_ended: AtomicU64::default(),
            parts_opened: AtomicU64::default(),
            parts_failed: AtomicU64::default(),
            parts_lost: AtomicU64::default(),
        }
    }
}

/// What a tally shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// By the method's name. Those that were never called are left out.
    pub calls: BTreeMap<&'static str, u64>,
    pub refused: u64,
    pub workers_started: u64,
    pub workers_ended: u64,
    pub parts_opened: u64,
    pub parts_failed: u64,
    pub parts_lost: u64,
}

impl Tally {
    /// The library said that.
    pub fn called(&self, message: &[u8]) {
        if let Some(method) = method_of(message)
            && let Some(count) = self.calls.get(method as usize)
        {
            count.fetch_add(1, Relaxed);
        }
    }

    /// The library is told that.
    pub fn answered(&self, message: &[u8]) {
        if is_refusal(message) {
            self.refused.fetch_add(1, Relaxed);
        }
    }

    pub fn worker_started(&self) {
        self.workers_started.fetch_add(1, Relaxed);
    }

    pub fn worker_ended(&self) {
        self.workers_ended.fetch_add(1, Relaxed);
    }

    pub fn part_opened(&self) {
        self.parts_opened.fetch_add(1, Relaxed);
    }

    pub fn part_failed(&self) {
        self.parts_failed.fetch_add(1, Relaxed);
    }

    pub fn part_lost(&self) {
        self.parts_lost.fetch_add(1, Relaxed);
    }

    pub fn read(&self) -> Counted {
        let calls = self.calls.iter().zip(method::all()).filter_map(|(count, method)| {
            let count = count.load(Relaxed);
            (count > 0).then(|| (method::name(method), count))
        });
        Counted {
            calls: calls.collect(),
            refused: self.refused.load(Relaxed),
            workers_started: self.workers_started.load(Relaxed),
            workers_ended: self.workers_ended.load(Relaxed),
            parts_opened: self.parts_opened.load(Relaxed),
            parts_failed: self.parts_failed.load(Relaxed),
            parts_lost: self.parts_lost.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{
        compose::{self, ErrorKind},
        fbs::{
            notification::Event,
            request::{Body, Method},
            worker::CreateRouterRequest,
        },
    };

    #[test]
    fn counts_calls_and_refusals_and_nothing_else() {
        let tally = Tally::default();
        let body = CreateRouterRequest { router_id: "r".to_owned() };
        let body = Body::WorkerCreateRouterRequest(Box::new(body));
        let call = compose::request(1, Method::WorkerCreateRouter, "", Some(body)).into_bytes();
        let refusal = compose::refused(1, ErrorKind::TypeError, "no").into_bytes();
        let accepted = compose::accepted(1, None).into_bytes();
        let news = compose::notification("c", Event::ConsumerProducerPause, None).into_bytes();
        for message in [&call[..], &refusal, &accepted, &news, b"", b"\0\0\0\0", &[255; 40]] {
            tally.called(message);
            tally.answered(message);
        }
        tally.called(&compose::request(2, Method::WorkerDump, "", None).into_bytes());
        let counted = tally.read();
        let calls = [("worker.createRouter", 1), ("worker.dump", 1)];
        assert_eq!(counted.calls, calls.into_iter().collect());
        assert_eq!(counted.refused, 1);
    }
}
