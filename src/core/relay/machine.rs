//! What the relay moves messages for: a virtual worker, or a script in tests.

use std::time::Duration;

use bytes::BytesMut;

use crate::{
    addresses::book::Host,
    placement::Wish,
    virtual_worker::{
        Census, CloseReason, Fate, ObjectChange, Output, PartId, PartLoad, VirtualWorker,
    },
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

    /// What there is. `objects`: name every one.
    fn census(&self, _objects: bool) -> Census {
        Census::default()
    }

    /// Asks the workers how much goes through the pipes.
    fn measure(&mut self, _out: &mut Vec<Output>) {}

    /// Whether a worker has yet to answer that.
    fn measuring(&self) -> bool {
        false
    }

    /// The objects that came and went since the last call, while somebody watches.
    fn take_changes(&mut self) -> Vec<ObjectChange> {
        Vec::new()
    }

    /// Whether the app has closed it.
    fn is_closing(&self) -> bool {
        false
    }

    /// It ends, and with it all objects that are left.
    fn end_objects(&mut self, _reason: CloseReason) {}

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

    fn census(&self, objects: bool) -> Census {
        Self::census(self, objects)
    }

    fn measure(&mut self, out: &mut Vec<Output>) {
        Self::measure_pipes(self, out);
    }

    fn measuring(&self) -> bool {
        Self::measuring(self)
    }

    fn take_changes(&mut self) -> Vec<ObjectChange> {
        Self::take_changes(self)
    }

    fn is_closing(&self) -> bool {
        Self::is_closing(self)
    }

    fn end_objects(&mut self, reason: CloseReason) {
        Self::end_objects(self, reason);
    }

    fn wish(&self, part: PartId) -> Wish {
        Self::wish(self, part).cloned().unwrap_or_default()
    }
}
