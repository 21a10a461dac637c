//! The real workers behind a virtual worker: opening further ones, and what waits for them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;

use super::{
    Output, PartId, VirtualWorker,
    pipes::Own,
    requests::Pending,
    tracking::{self, Effect},
};
use crate::{
    addresses::book::Host,
    channel::{
        Envelope, Message, compose,
        fbs::{request, request::Method, worker},
    },
    placement::{Policy, Wish},
};

/// One real worker.
pub enum Part {
    /// It is being started; these messages of the library need it.
    Opening {
        waiting: Vec<Message>,
        wish: Wish,
    },
    Open {
        host: Host,
    },
}

/// All of them.
pub struct Parts {
    by_id: BTreeMap<PartId, Part>,
    /// Those whose link is down: messages for them queue, and nobody else waits for them.
    down: BTreeSet<PartId>,
    /// Those whose worker hangs, behind whatever link: the same goes for them.
    silent: BTreeSet<PartId>,
    last: PartId,
    /// A start failed: no further ones are tried.
    pub exhausted: bool,
}

impl Parts {
    pub fn new(home: PartId, host: Host) -> Self {
        let by_id = BTreeMap::from([(home, Part::Open { host })]);
        let (down, silent) = (BTreeSet::new(), BTreeSet::new());
        Self { by_id, down, silent, last: home, exhausted: false }
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn host(&self, part: PartId) -> Option<&Host> {
        match self.by_id.get(&part)? {
            Part::Open { host } => Some(host),
            Part::Opening { .. } => None,
        }
    }

    pub fn is_open(&self, part: PartId) -> bool {
        self.host(part).is_some()
    }

    /// Whether its worker can answer now.
    pub fn is_up(&self, part: PartId) -> bool {
        self.is_open(part) && !self.is_down(part)
    }

    /// Notes the state of the link to a part that is open. True if it changed.
    fn set_link(&mut self, part: PartId, up: bool) -> bool {
        if up { self.down.remove(&part) } else { self.is_open(part) && self.down.insert(part) }
    }

    /// Whether its worker cannot answer for now.
    pub fn is_down(&self, part: PartId) -> bool {
        self.is_cut_off(part) || self.silent.contains(&part)
    }

    /// Whether the link to its worker is down.
    pub fn is_cut_off(&self, part: PartId) -> bool {
        self.down.contains(&part)
    }

    /// Its worker hangs. True if that is news.
    pub fn set_silent(&mut self, part: PartId) -> bool {
        self.is_open(part) && self.silent.insert(part)
    }

    /// Its worker speaks. True if that is news.
    pub fn end_silence(&mut self, part: PartId) -> bool {
        !self.silent.is_empty() && self.silent.remove(&part)
    }

    /// Where something new may go.
    pub fn usable(&self) -> Vec<PartId> {
        self.by_id.keys().copied().filter(|part| !self.is_down(*part)).collect()
    }

    pub fn open(&self) -> Vec<PartId> {
        self.by_id.keys().copied().filter(|part| self.is_open(*part)).collect()
    }

    /// That part while its link is up, else another one whose link is.
    pub fn up_or(&self, part: PartId) -> PartId {
        let up = || self.by_id.keys().copied().find(|part| self.is_up(*part));
        if self.is_up(part) { part } else { up().unwrap_or(part) }
    }

    pub fn all(&self) -> Vec<PartId> {
        self.by_id.keys().copied().collect()
    }

    pub fn remove(&mut self, part: PartId) -> Option<Part> {
        self.down.remove(&part);
        self.silent.remove(&part);
        self.by_id.remove(&part)
    }

    /// Keeps a message for a part that is not open yet. Gives it back if the part is.
    pub fn wait(&mut self, part: PartId, message: Message) -> Option<Message> {
        match self.by_id.get_mut(&part) {
            Some(Part::Opening { waiting, .. }) => {
                waiting.push(message);
                None
            }
            _ => Some(message),
        }
    }

    /// Takes the request back that was to make a transport on a part that is not open yet.
    pub fn take_creation(&mut self, part: PartId, transport: &str) -> Option<Message> {
        let Some(Part::Opening { waiting, .. }) = self.by_id.get_mut(&part) else { return None };
        let makes_it = |message: &Message| {
            let Envelope::Request(request) = message.envelope() else { return false };
            tracking::makes_transport(request.method)
                && tracking::effect(&request, message).is_ok_and(
                    |effect| matches!(effect, Effect::Create { id, .. } if id == transport),
                )
        };
        let position = waiting.iter().position(makes_it)?;
        Some(waiting.remove(position))
    }

    /// Takes everything that waits for parts which are not open yet.
    pub fn take_waiting(&mut self) -> Vec<Message> {
        let take = |part: &mut Part| match part {
            Part::Opening { waiting, .. } => std::mem::take(waiting),
            Part::Open { .. } => Vec::new(),
        };
        self.by_id.values_mut().flat_map(take).collect()
    }

    /// What a part that is not open yet is for.
    pub fn wish(&self, part: PartId) -> Option<&Wish> {
        match self.by_id.get(&part)? {
            Part::Opening { wish, .. } => Some(wish),
            Part::Open { .. } => None,
        }
    }

    pub fn start(&mut self, wish: Wish) -> PartId {
        self.last = PartId(self.last.0 + 1);
        self.by_id.insert(self.last, Part::Opening { waiting: Vec::new(), wish });
        self.last
    }
}

impl VirtualWorker {
    /// Whether Routers may have several parts.
    pub(super) fn spreads(&self) -> bool {
        self.spread.max_parts > 1
    }

    /// The next part for a transport of the Router, whatever their loads.
    pub(super) fn place_in_turn(&mut self, router: &str, out: &mut Vec<Output>) -> PartId {
        let Some(facts) = self.facts.routers.get_mut(router) else { return self.home };
        // The first one leaves home at once: scattering is there to try that.
        facts.turn += 1;
        let turn = facts.turn;
        let mut usable = self.parts.usable();
        usable.retain(|part| !self.growth.drains(*part));
        let more = match self.spread.max_parts.checked_sub(self.parts.len()) {
            Some(more) if !self.parts.exhausted => more,
            _ => 0,
        };
        let Some(slot) = turn.checked_rem(usable.len() + more) else { return self.home };
        if let Some(part) = usable.get(slot) {
            return *part;
        }
        let part = self.parts.start(Wish { router: router.to_owned(), ..Wish::default() });
        out.push(Output::OpenPart(part));
        part
    }

    /// A further worker runs.
    pub fn part_opened(&mut self, part: PartId, host: Host, out: &mut Vec<Output>) {
        let Some(Part::Opening { waiting, .. }) = self.parts.by_id.get_mut(&part) else { return };
        let waiting = std::mem::take(waiting);
        self.parts.by_id.insert(part, Part::Open { host });
        self.growth.opened(self.now);
        if let Some(settings) = self.settings.clone() {
            let body = request::Body::WorkerUpdateSettingsRequest(Box::new(settings));
            self.ask(part, Method::WorkerUpdateSettings, "", Some(body), Own::Any, out);
        }
        self.replay(waiting, out);
    }

    /// The link to a part went down, or is up again. What was sent meanwhile reaches it then, so
    /// answers that several parts make up no longer wait for it, and nothing new goes there.
    pub fn part_link(&mut self, part: PartId, up: bool, out: &mut Vec<Output>) {
        if self.parts.set_link(part, up) && !up {
            self.wait_no_longer_for(part, out);
        }
    }

    /// A further worker could not be started: what was meant for it goes to those that there are.
    pub fn part_failed(&mut self, part: PartId, why: &str, out: &mut Vec<Output>) {
        let Some(Part::Opening { .. }) = self.parts.by_id.get(&part) else { return };
        let Some(Part::Opening { waiting, .. }) = self.parts.remove(part) else { return };
        self.growth.forget(part);
        if self.growth.failed(self.now) {
            out.push(Output::Diagnostic(format!(
                "no further worker, what was meant for it stays on those that there are: {why}"
            )));
        }
        self.parts.exhausted = self.spread.policy == Policy::Scatter;
        for id in self.objects.on(part) {
            let server = self.objects.get(&id).and_then(|object| object.server.clone());
            let instead = self.instead_of(server.as_deref());
            self.objects.move_one(&id, instead);
        }
        self.replay(waiting, out);
    }

    fn replay(&mut self, waiting: Vec<Message>, out: &mut Vec<Output>) {
        for message in waiting {
            match message.envelope() {
                Envelope::Request(request) if tracking::makes_transport(request.method) => {
                    self.create_transport(message, out);
                }
                _ => self.from_library(message.into_bytes(), out),
            }
        }
    }

    /// Sends a request of the core's own.
    pub(super) fn ask(
        &mut self,
        part: PartId,
        method: Method,
        handler: &str,
        body: Option<request::Body>,
        own: Own,
        out: &mut Vec<Output>,
    ) {
        if self.parts.is_open(part) {
            let id = self.requests.add(part, Pending::Own(own));
            let message = compose::request(id, method, handler, body);
            out.push(Output::Worker(part, message.into_bytes().freeze()));
        }
    }

    /// Makes sure that the Router lives on that part, with a pair to each other one.
    pub(super) fn spread_router(&mut self, router: &str, part: PartId, out: &mut Vec<Output>) {
        let Some(facts) = self.facts.routers.get_mut(router) else { return };
        let others: Vec<PartId> = facts.parts.iter().copied().collect();
        if !facts.parts.insert(part) {
            return;
        }
        let body = worker::CreateRouterRequest { router_id: router.to_owned() };
        let body = request::Body::WorkerCreateRouterRequest(Box::new(body));
        let own = Own::Router(router.to_owned());
        self.ask(part, Method::WorkerCreateRouter, "", Some(body), own, out);
        for other in others {
            self.pair(router, other, part, out);
        }
    }

    /// The worker ends in mediasoup's way: all parts go.
    pub(super) fn close_all(&mut self, message: Message, out: &mut Vec<Output>) {
        self.closing = true;
        let bytes: BytesMut = message.into_bytes();
        let bytes = bytes.freeze();
        for part in self.parts.all() {
            if self.parts.is_open(part) {
                out.push(Output::Worker(part, bytes.clone()));
            }
            if part != self.home {
                out.push(Output::ClosePart(part));
            }
        }
    }
}
