//! What the relay moves messages for: a virtual worker, or a script in tests.

use std::time::Duration;

use bytes::BytesMut;

use crate::{
    addresses::book::Host,
    placement::Wish,
    virtual_worker::{Fate, Output, PartId, PartLoad, VirtualWorker},
};

/// A state machine between the library and its workers.
pub trait Machine {
    fn home(&self) -> PartId;
    fn library_said(&mut self, bytes: BytesMut, out: &mut Vec<Output>);
    fn worker_said(&mut self, part: PartId, bytes: BytesMut, out: &mut Vec<Output>);
    fn part_opened(&mut self, part: PartId, host: Host, out: &mut Vec<Output>);
    fn part_failed(&mut self, part: PartId, why: &str, out: &mut Vec<Output>);
    fn part_died(&mut self, part: PartId, why: &str, out: &mut Vec<Output>) -> Fate;
    fn part_link(&mut self, part: PartId, up: bool, out: &mut Vec<Output>);

    /// It dies with a host: whoever waits for an answer hears why.
    fn lose_calls(&mut self, _why: &str, _out: &mut Vec<Output>) {}

    fn tick(&mut self, now: Duration, out: &mut Vec<Output>);
    fn next_tick(&self) -> Option<Duration>;

    /// Takes what was measured of the parts.
    fn part_loads(&mut self, _loads: &[PartLoad]) {}

    /// What the part that it asks for is for.
    fn wish(&self, _part: PartId) -> Wish {
        Wish::default()
    }
}

impl Machine for VirtualWorker {
    fn home(&self) -> PartId {
        Self::home(self)
    }

    fn library_said(&mut self, bytes: BytesMut, out: &mut Vec<Output>) {
        Self::from_library(self, bytes, out);
    }

    fn worker_said(&mut self, part: PartId, bytes: BytesMut, out: &mut Vec<Output>) {
        Self::from_worker(self, part, bytes, out);
    }

    fn part_opened(&mut self, part: PartId, host: Host, out: &mut Vec<Output>) {
        Self::part_opened(self, part, host, out);
    }

    fn part_failed(&mut self, part: PartId, why: &str, out: &mut Vec<Output>) {
        Self::part_failed(self, part, why, out);
    }

    fn part_died(&mut self, part: PartId, why: &str, out: &mut Vec<Output>) -> Fate {
        Self::part_died(self, part, why, out)
    }

    fn part_link(&mut self, part: PartId, up: bool, out: &mut Vec<Output>) {
        Self::part_link(self, part, up, out);
    }

    fn lose_calls(&mut self, why: &str, out: &mut Vec<Output>) {
        Self::lose_calls(self, why, out);
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        Self::tick(self, now, out);
    }

    fn next_tick(&self) -> Option<Duration> {
        Self::next_tick(self)
    }

    fn part_loads(&mut self, loads: &[PartLoad]) {
        Self::part_loads(self, loads);
    }

    fn wish(&self, part: PartId) -> Wish {
        Self::wish(self, part).cloned().unwrap_or_default()
    }
}
