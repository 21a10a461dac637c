//! Pipes made again when the part that relayed them died. Their consumers stay: to make them again
//! with the SSRCs that their clients know would start SRTP's counter anew, under the same keys. The
//! end that they hang on hears one address only. So a new end takes the dead one's address, on the
//! part itself, and sends on what comes by a pipe from elsewhere. The app sees nothing but a gap.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    Output, PartId, VirtualWorker,
    pipes::{EndState, Own, Pipe, own_id},
    recipes::{self, EndOptions},
    relays::Feed,
};
use crate::channel::fbs::{notification::Event, request::Method};

/// A sink's start from a key frame.
#[derive(Debug)]
struct Resync {
    part: PartId,
    /// Answers that are still to come.
    awaited: usize,
    /// What the part says of the sink now is of our doing.
    begun: bool,
    /// Whom the pipe fed when it ended meanwhile: what is on its way to them is hushed all the same.
    left: HashSet<String>,
}

/// Pipes whose sinks start from a key frame now, ended ones too.
#[derive(Debug, Default)]
pub struct Resyncs(HashMap<u64, Resync>);

impl Resyncs {
    fn ask(&mut self, pipe: u64, part: PartId) {
        let new = || Resync { part, awaited: 0, begun: false, left: HashSet::new() };
        self.0.entry(pipe).or_insert_with(new).awaited += 1;
    }

    /// The part is about to start the sink anew.
    pub fn begin(&mut self, pipe: u64) {
        if let Some(resync) = self.0.get_mut(&pipe) {
            resync.begun = true;
        }
    }

    /// One start is over.
    pub fn end(&mut self, pipe: u64) {
        let Some(resync) = self.0.get_mut(&pipe) else { return };
        resync.awaited -= 1;
        if resync.awaited == 0 {
            self.0.remove(&pipe);
        }
    }

    /// The pipe ended, and what it fed ends with it.
    pub fn leave(&mut self, pipe: u64, users: &HashSet<String>) {
        if let Some(resync) = self.0.get_mut(&pipe) {
            resync.left.extend(users.iter().cloned());
        }
    }

    /// The part died, and answers nothing more.
    pub fn forget_part(&mut self, part: PartId) {
        self.0.retain(|_, resync| resync.part != part);
    }

    /// Whether nothing is left.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What must be done for the pipes that a part fed.
#[derive(Debug, Default)]
struct Orphans {
    /// Nothing of them is there yet.
    unborn: Vec<u64>,
    /// Their sinks hear an address of the part that died.
    deaf: Vec<u64>,
    /// Their sinks hear an end that lives, and that needs another source.
    empty: Vec<u64>,
}

impl VirtualWorker {
    /// Ends the pipes and pairs of a part that died; those who got media through it get it from
    /// elsewhere.
    pub(super) fn repipe(&mut self, died: PartId, out: &mut Vec<Output>) {
        let lived_there = |this: &Self, pipe: &Pipe| {
            this.objects.get(&pipe.producer).is_none_or(|object| object.part == died)
        };
        // Consumers elsewhere hear that their Producer is gone.
        for pipe in self.pipes.pipes_where(|pipe| lived_there(self, pipe)) {
            self.close_pipe(pipe, false, true, out);
        }
        let relayed = self.pipes.pipes_where(|pipe| pipe.from == died);
        let orphans = self.cut(relayed, out);
        for pipe in self.pipes.pipes_where(|pipe| pipe.to == died) {
            self.close_pipe(pipe, true, false, out);
        }
        for pipe in &orphans.unborn {
            self.place_anew(*pipe, out);
        }
        let pairs: BTreeSet<u64> =
            orphans.deaf.iter().filter_map(|pipe| Some(self.pipes.pipe(*pipe)?.pair)).collect();
        for pair in pairs {
            self.take_over(pair, died, out);
        }
        let with = |pair: &super::pipes::Pair| pair.ends.iter().any(|end| end.part == died);
        for pair in self.pipes.pairs_where(with) {
            self.drop_pair(pair, "the other part is gone", out);
        }
        for pipe in orphans.deaf.into_iter().chain(orphans.empty) {
            self.refill(pipe, out);
        }
    }

    /// Takes their source from pipes. Nothing leads through them any more.
    fn cut(&mut self, pipes: Vec<u64>, out: &mut Vec<Output>) -> Orphans {
        let mut orphans = Orphans::default();
        for id in pipes {
            let Some(pipe) = self.pipes.pipe(id) else { continue };
            if pipe.is_visible() {
                let list = if pipe.started { &mut orphans.deaf } else { &mut orphans.unborn };
                list.push(id);
                self.lose_source(id, out);
                continue;
            }
            for fed in self.pipes.fed_by(id) {
                orphans.empty.push(fed);
                self.end_source(fed, out);
                self.lose_source(fed, out);
            }
            self.close_pipe(id, false, true, out);
        }
        orphans
    }

    /// Ends the pipe consumer of a pipe whose sink stays.
    fn end_source(&mut self, id: u64, out: &mut Vec<Output>) {
        let Some(pipe) = self.pipes.pipe(id).filter(|pipe| pipe.fed) else { return };
        let Some(pair) = self.pipes.pair(pipe.pair) else { return };
        let Some(transport) = pair.sender(pipe.from).map(str::to_owned) else { return };
        let (from, (method, body)) = (pipe.from, super::piping::close_consumer(pipe));
        self.ask(from, method, &transport, Some(body), Own::Any, out);
    }

    fn lose_source(&mut self, id: u64, out: &mut Vec<Output>) {
        self.end_nap(id, out);
        let now = self.now;
        let Some(pipe) = self.pipes.pipe_mut(id) else { return };
        pipe.fed = false;
        pipe.lost.get_or_insert(now);
        let consumer = std::mem::replace(&mut pipe.consumer, own_id());
        if let Some(feeder) = pipe.feeder.take() {
            self.release_one(feeder, &consumer, out);
        }
    }

    /// What fed a pipe is gone, while the part that it begins on lives.
    pub(super) fn leave_orphan(&mut self, id: u64, out: &mut Vec<Output>) {
        let Some(pipe) = self.pipes.pipe_mut(id) else { return };
        pipe.feeder = None;
        if !pipe.started {
            return self.place_anew(id, out);
        }
        if pipe.from == pipe.to {
            self.end_source(id, out);
            self.lose_source(id, out);
            return self.refill(id, out);
        }
        if pipe.is_visible() {
            let text = format!("Producer {} lost its way to part {}", pipe.producer, pipe.to.0);
            out.push(Output::Diagnostic(text));
        }
        self.close_pipe(id, true, true, out);
    }

    /// A pipe that was asked for begins elsewhere.
    fn place_anew(&mut self, id: u64, out: &mut Vec<Output>) {
        let Some(pipe) = self.pipes.pipe(id) else { return };
        let (producer, to, router) = (pipe.producer.clone(), pipe.to, pipe.router.clone());
        let feed = self.feed(&producer, to, Some(id));
        let pair = feed.and_then(|feed| self.pair(&router, feed.from, to, out));
        let (Some(Feed { from, feeder }), Some(pair)) = (feed, pair) else { return };
        let Some(pipe) = self.pipes.pipe_mut(id) else { return };
        (pipe.from, pipe.pair, pipe.lost) = (from, pair, None);
        self.set_feeder(id, feeder, out);
        self.start_pipe(id, out);
    }

    /// Puts an end of the part's own at the address that the pair's other end had.
    fn take_over(&mut self, pair: u64, died: PartId, out: &mut Vec<Output>) {
        let carried = self.pipes.pipes_where(|pipe| pipe.pair == pair);
        let Some(found) = self.pipes.pair(pair).filter(|found| !found.between_hosts) else {
            return;
        };
        let end = found.ends.iter().find(|end| end.part == died);
        let Some(EndState::Made(address)) = end.map(|end| end.state.clone()) else { return };
        let router = found.router.clone();
        let Some(number) = self.pipes.stand_in(pair, died) else { return };
        let Some(end) = self.pipes.pair(number).map(|pair| &pair.ends[0]) else { return };
        let (part, transport) = (end.part, end.transport.clone());
        for pipe in carried {
            if let Some(pipe) = self.pipes.pipe_mut(pipe) {
                (pipe.from, pipe.pair) = (part, number);
            }
        }
        let options = EndOptions {
            transport,
            between_hosts: false,
            port_range: None,
            port: Some(address.port),
        };
        let body = recipes::create_end(options);
        let own = Own::End { pair: number, end: 0 };
        self.ask(part, Method::RouterCreatePipetransport, &router, Some(body), own, out);
    }

    fn refill(&mut self, id: u64, out: &mut Vec<Output>) {
        let Some(pipe) = self.pipes.pipe(id) else { return };
        out.push(Output::Diagnostic(format!(
            "Producer {} reached part {} through one that died: it is piped there again",
            pipe.producer, pipe.to.0
        )));
        self.fill(id, out);
    }

    /// A pipe from a relay on another host. Should the relay die, another one would have other
    /// keys: so the part pipes to itself, and what comes from elsewhere can change.
    pub(super) fn pipe_by_itself(
        &mut self,
        producer: &str,
        router: &str,
        part: PartId,
        out: &mut Vec<Output>,
    ) -> Option<u64> {
        let pair = self.pair(router, part, part, out)?;
        let pipe = self.pipes.add_pipe(Pipe::new(producer, false, [part, part], pair, router));
        self.fill(pipe, out);
        self.pipes.pipe_of(producer, part)
    }

    /// Lets a pipe from elsewhere feed one from the part to itself.
    fn fill(&mut self, id: u64, out: &mut Vec<Output>) {
        let Some(pipe) = self.pipes.pipe(id) else { return };
        let (producer, to, router) = (pipe.producer.clone(), pipe.to, pipe.router.clone());
        let feed = self.feed(&producer, to, Some(id));
        let pair = feed.and_then(|feed| self.pair(&router, feed.from, to, out));
        let (Some(Feed { from, feeder }), Some(pair)) = (feed, pair) else {
            return self.close_pipe(id, false, true, out);
        };
        let mut hidden = Pipe::new(&producer, false, [from, to], pair, &router);
        hidden.sink = own_id();
        let hidden = self.pipes.add_pipe(hidden);
        self.set_feeder(hidden, feeder, out);
        self.set_feeder(id, Some(hidden), out);
        // If nobody listens, it rests again in due time.
        self.await_rest(id);
        self.start_pipe(hidden, out);
        self.start_pipe(id, out);
    }

    /// A sink's consumers take the new source for the old one, from its next key frame on.
    pub(super) fn resync(&mut self, id: u64, out: &mut Vec<Output>) {
        let Some(pipe) = self.pipes.pipe(id) else { return };
        let (to, sink) = (pipe.to, pipe.sink.clone());
        if self.facts.media.get(&pipe.producer).is_some_and(|media| media.paused) {
            // Their Producer's resume does that.
            return;
        }
        if !self.parts.is_open(to) {
            return;
        }
        self.resyncs.ask(id, to);
        self.ask(to, Method::ProducerPause, &sink, None, Own::Any, out);
        self.ask(to, Method::ProducerResume, &sink, None, Own::Resync { pipe: id }, out);
    }

    /// A sink has its new source. What its part says of it between the answers to `Refeed` and
    /// `Resync` is of our doing: both ends of such a pipe are there, and it answers in order.
    pub(super) fn refed(&mut self, id: u64, out: &mut Vec<Output>) {
        let now = self.now;
        let Some(pipe) = self.pipes.pipe_mut(id) else { return };
        let Some(lost) = pipe.lost.take() else { return };
        let (producer, to) = (pipe.producer.clone(), pipe.to.0);
        out.push(Output::Diagnostic(format!(
            "Producer {producer} is on part {to} again: nothing came for {} ms, and its consumers \
             wait for the next key frame",
            now.saturating_sub(lost).as_millis()
        )));
    }

    /// Whether a notification is of a sink's start from a key frame, which the app must not see.
    pub(super) fn hushes(&self, part: PartId, consumer: &str, event: Event) -> bool {
        let of_it = matches!(
            event,
            Event::ConsumerProducerPause
                | Event::ConsumerProducerResume
                | Event::ConsumerLayersChange
        );
        let begun = |pipe: &u64| self.resyncs.0.get(pipe).is_some_and(|resync| resync.begun);
        let left =
            |resync: &Resync| resync.begun && resync.part == part && resync.left.contains(consumer);
        of_it
            && !self.resyncs.0.is_empty()
            && self.objects.get(consumer).is_some_and(|object| object.part == part)
            && (self.pipes.uses(consumer).iter().any(begun) || self.resyncs.0.values().any(left))
    }
}
