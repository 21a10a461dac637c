//! A worker behind a virtual worker is gone.

use std::{collections::BTreeSet, fmt, sync::Arc};

use channel_schema::fbs::{
    notification::{Body, Event},
    request, rtp_observer,
    sctp_association::SctpState,
    transport::SctpStateChangeNotification,
    web_rtc_transport::{
        DtlsState, DtlsStateChangeNotification, IceState, IceStateChangeNotification,
    },
};

use super::{
    CloseReason, Fate, Object, ObjectKind, Output, PartId, VirtualWorker, facts::TransportKind,
    pipes::Own, refuse, requests::Pending, tracking::Effect,
};
use crate::channel::{Envelope, Message, compose, fbs::request::Method, method};

/// What becomes of a virtual worker that loses one of several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPartLost {
    /// It lives on, unless something was there that has no event to tell its end: recordings must
    /// not die silently.
    #[default]
    Careful,
    /// It lives on without what was there.
    Continue,
    /// It dies.
    Died,
}

/// A worker that is gone.
#[derive(Debug)]
pub struct Gone<'a> {
    /// The connection that it was on.
    pub on: String,
    pub why: &'a str,
}

impl fmt::Display for Gone<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { on, why } = self;
        // Reasons of connections begin with their names.
        if why.contains(on.as_str()) {
            write!(formatter, "its mediasoup-worker is gone: {why}")
        } else {
            write!(formatter, "its mediasoup-worker on {on} is gone: {why}")
        }
    }
}

impl Gone<'_> {
    fn cause(&self, called: &str) -> String {
        let Self { on, why } = self;
        format!("{called} on {on}: its mediasoup-worker is gone: {why}")
    }
}

impl VirtualWorker {
    /// A part that was open is gone, with all that lived there.
    pub fn part_died(&mut self, part: PartId, why: &str, out: &mut Vec<Output>) -> Fate {
        if !self.parts.is_open(part) {
            // It never ran.
            self.part_failed(part, why, out);
            return Fate::LivesOn;
        }
        let dies = self.dies_with(part);
        let gone = Gone { on: self.connection(part), why };
        self.parts.remove(part);
        self.growth.forget(part);
        if dies {
            return Fate::Dies;
        }
        if self.closing {
            return Fate::LivesOn;
        }
        out.push(Output::Diagnostic(format!("lost a part of a Worker: {why}")));
        self.known.forget_part(part);
        let mut again = self.answer_for(part, &gone, out);
        self.drop_pairs_of(part, &gone, &mut again, out);
        if part == self.home {
            let open = self.parts.open();
            self.home = self.staying_or(open.first().copied().unwrap_or(part));
        }
        self.move_owned(part, out);
        self.lose_objects(part, &gone, out);
        for message in again {
            self.request(message, out);
        }
        Fate::LivesOn
    }

    /// Whether the app loses more than it could be told of, or than it wants to go on without.
    fn dies_with(&self, part: PartId) -> bool {
        if self.closing || !self.spreads() {
            return part == self.home;
        }
        let survives = |router: &super::facts::RouterFacts| {
            router.parts.iter().any(|other| *other != part && self.parts.is_open(*other))
        };
        let lost = match self.facts.routers.len() {
            0 => part == self.home,
            _ => !self.facts.routers.values().any(survives),
        };
        lost || match self.spread.on_part_lost {
            OnPartLost::Continue => false,
            OnPartLost::Died => true,
            OnPartLost::Careful => self.ends_silently(part),
        }
    }

    /// Whether something lives there that has no event to tell its end.
    fn ends_silently(&self, part: PartId) -> bool {
        self.objects.of_kind(ObjectKind::Transport).any(|id| {
            let lost = self.objects.get(id).is_some_and(|object| object.part == part);
            let facts = self.facts.transports.get(id);
            lost && facts.is_some_and(|facts| {
                matches!(facts.kind, TransportKind::Plain | TransportKind::Direct)
            })
        })
    }

    /// Whether the app's request can be made again where its handler lives on.
    pub(super) fn outlives_parts(&self, handler: &str, method: Method) -> bool {
        use ObjectKind::{Router, RtpObserver, WebRtcServer};
        self.spreads()
            && !method::closes(method)
            && match self.objects.get(handler) {
                None => method::is_worker_method(method),
                Some(object) => matches!(object.kind, Router | RtpObserver | WebRtcServer),
            }
    }

    /// Answers what the part was asked. Gives back what can be asked again elsewhere.
    pub(super) fn answer_for(
        &mut self,
        part: PartId,
        gone: &Gone<'_>,
        out: &mut Vec<Output>,
    ) -> Vec<Message> {
        let mut again = Vec::new();
        for pending in self.requests.take_all(part) {
            match pending {
                Pending::App(app) if method::closes(app.method) => {
                    // It is gone, as asked.
                    let answer = compose::accepted(app.library_id, None);
                    out.push(Output::Library(answer.into_bytes().freeze()));
                }
                Pending::App(app) | Pending::Taken(app, _) => {
                    let mut there = true;
                    if let Effect::Create { id, .. } = &app.effect
                        && app.registered
                    {
                        there = self.objects.get(id).is_some_and(|object| object.part == part);
                        if there {
                            self.forget(id, out);
                        }
                    }
                    match app.again {
                        Some(message) if there => self.keep(*message, &mut again),
                        _ => {
                            let called = self.calls_what(app.method, &app.handler);
                            refuse(app.library_id, &gone.cause(&called), out);
                        }
                    }
                }
                Pending::Piece(id) => self.piece(part, id, None, false, out),
                Pending::Own(_) | Pending::Late => {}
            }
        }
        again
    }

    pub(super) fn drop_pairs_of(
        &mut self,
        part: PartId,
        gone: &Gone<'_>,
        again: &mut Vec<Message>,
        out: &mut Vec<Output>,
    ) {
        for pipe in self.pipes.pipes_where(|pipe| pipe.to == part) {
            let found = self.pipes.pipe_mut(pipe);
            let waiting = found.map(|pipe| std::mem::take(&mut pipe.waiting)).unwrap_or_default();
            for message in waiting {
                self.give_up_or_keep(message, gone, again, out);
            }
        }
        self.repipe(part, out);
        self.resyncs.forget_part(part);
        for router in self.facts.routers.values_mut() {
            router.parts.remove(&part);
        }
        for server in self.facts.servers.values_mut() {
            server.parts.remove(&part);
        }
    }

    /// A request that waited for a pipe to the lost part.
    fn give_up_or_keep(
        &mut self,
        message: Message,
        gone: &Gone<'_>,
        again: &mut Vec<Message>,
        out: &mut Vec<Output>,
    ) {
        let Envelope::Request(request) = message.envelope() else { return };
        if self.outlives_parts(request.handler_id, request.method) {
            return self.keep(message, again);
        }
        let called = self.calls_what(request.method, request.handler_id);
        refuse(request.id, &gone.cause(&called), out);
        if let Ok(Effect::Create { id, .. }) = super::tracking::effect(&request, &message) {
            self.forget(&id, out);
        }
    }

    /// Keeps a request to be made again. A Producer that it adds is not one that a moved observer
    /// has already.
    fn keep(&mut self, message: Message, again: &mut Vec<Message>) {
        if let Envelope::Request(request) = message.envelope()
            && let Ok(request::BodyRef::RtpObserverAddProducerRequest(body)) =
                compose::request_body(&message)
            && let Some(observer) = self.facts.observers.get_mut(request.handler_id)
            && let Ok(producer) = body.producer_id()
        {
            observer.producers.remove(producer);
        }
        again.push(message);
    }

    /// Routers and servers live on elsewhere. Those that were there alone are made anew, empty.
    fn move_owned(&mut self, lost: PartId, out: &mut Vec<Output>) {
        for id in self.objects.on(lost) {
            let Some(kind) = self.objects.get(&id).map(|object| object.kind) else { continue };
            match kind {
                ObjectKind::Router => {
                    let parts = self.facts.routers.get(&id).map(|facts| &facts.parts);
                    let owner = self.heir(parts);
                    self.objects.move_one(&id, owner);
                    self.spread_router(&id, owner, out);
                }
                ObjectKind::WebRtcServer => {
                    let parts = self.facts.servers.get(&id).map(|facts| &facts.parts);
                    let owner = self.heir(parts);
                    self.objects.move_one(&id, owner);
                    self.replicate(&id, owner, out);
                }
                _ => {}
            }
        }
    }

    /// Whose a Router or server is that lives on these parts and lost its owner: the home's if it is
    /// there, so that other parts may go once they are empty.
    fn heir(&self, parts: Option<&BTreeSet<PartId>>) -> PartId {
        let home = self.staying_or(self.home);
        match parts {
            Some(parts) if parts.contains(&home) => home,
            Some(parts) => {
                let stays = parts.iter().find(|part| !self.growth.drains(**part));
                stays.or(parts.first()).copied().unwrap_or(home)
            }
            None => home,
        }
    }

    fn lose_objects(&mut self, part: PartId, gone: &Gone<'_>, out: &mut Vec<Output>) {
        let cause: Arc<str> = gone.to_string().into();
        let mut observers = Vec::new();
        let mut transports = Vec::new();
        let mut on = self.objects.on(part);
        on.sort_unstable();
        for id in on {
            let Some(kind) = self.objects.get(&id).map(|object| object.kind) else { continue };
            match kind {
                ObjectKind::RtpObserver => observers.push(id),
                ObjectKind::Router | ObjectKind::WebRtcServer => {}
                _ => {
                    out.push(Output::Lost { kind, id: id.clone(), reason: gone.why.to_owned() });
                    self.lost.add(&id, &cause);
                    if kind == ObjectKind::Transport {
                        transports.push(id);
                    }
                }
            }
        }
        for id in transports {
            self.tell_of_end(&id, out);
            self.forget_as(&id, CloseReason::PartLost, out);
        }
        for id in observers {
            self.move_observer(&id, out);
        }
    }

    /// A transport has no other way to say that it is gone.
    fn tell_of_end(&mut self, id: &str, out: &mut Vec<Output>) {
        let Some(facts) = self.facts.transports.get(id) else { return };
        let mut tell = |event, body| {
            let message = compose::notification(id, event, Some(body));
            out.push(Output::Library(message.into_bytes().freeze()));
        };
        if facts.kind == TransportKind::WebRtc {
            // The channel knows no closed ICE; the library says closed when it closes it itself.
            let ice = IceStateChangeNotification { ice_state: IceState::Disconnected };
            let body = Body::WebRtcTransportIceStateChangeNotification(Box::new(ice));
            tell(Event::WebrtctransportIceStateChange, body);
            let dtls =
                DtlsStateChangeNotification { dtls_state: DtlsState::Closed, remote_cert: None };
            let body = Body::WebRtcTransportDtlsStateChangeNotification(Box::new(dtls));
            tell(Event::WebrtctransportDtlsStateChange, body);
        }
        // A pipe without SCTP has no state of its own.
        if facts.sctp || facts.kind == TransportKind::Pipe {
            let sctp = SctpStateChangeNotification { sctp_state: SctpState::Closed };
            let body = Body::TransportSctpStateChangeNotification(Box::new(sctp));
            tell(Event::TransportSctpStateChange, body);
        }
    }

    /// The part for an observer of that Router.
    pub(super) fn place_observer(&self, router: &str) -> PartId {
        if self.parts.is_up(self.home) {
            return self.home;
        }
        let facts = self.facts.routers.get(router);
        let mut parts = facts.into_iter().flat_map(|facts| &facts.parts);
        let near = parts.find(|part| self.parts.is_up(**part)).copied();
        near.unwrap_or_else(|| self.parts.up_or(self.home))
    }

    /// Makes an observer again on another part, with the Producers that are left.
    fn move_observer(&mut self, id: &str, out: &mut Vec<Output>) {
        let Some(Object { parent: Some(router), .. }) = self.objects.get(id).cloned() else {
            return;
        };
        let Some(observer) = self.facts.observers.get(id).cloned() else { return };
        let to = self.place_observer(&router);
        self.objects.move_one(id, to);
        self.spread_router(&router, to, out);
        let Envelope::Request(request) = observer.create.envelope() else { return };
        let body = compose::request_body(&observer.create).ok();
        let body = body.and_then(|body| request::Body::try_from(body).ok());
        self.ask(to, request.method, &router, body, Own::Any, out);
        if observer.paused {
            self.ask(to, Method::RtpobserverPause, id, None, Own::Any, out);
        }
        for producer in observer.producers {
            let Some(part) = self.objects.get(&producer).map(|producer| producer.part) else {
                continue;
            };
            if part == to {
                self.feed_observer(id, &producer, to, out);
                continue;
            }
            let Some(pipe) = self.pipe(&producer, false, to, out) else {
                out.push(Output::Diagnostic(format!(
                    "RtpObserver {id} lost Producer {producer}: no way to its part"
                )));
                continue;
            };
            self.use_pipe(pipe, id, out);
            match self.pipes.pipe_mut(pipe) {
                Some(pipe) if !pipe.started => pipe.observers.push(id.to_owned()),
                _ => self.feed_observer(id, &producer, to, out),
            }
        }
    }

    /// Gives a moved observer one of its Producers again, if it is still to have it.
    pub(super) fn feed_observer(
        &mut self,
        id: &str,
        producer: &str,
        to: PartId,
        out: &mut Vec<Output>,
    ) {
        let wanted = self.objects.get(id).is_some_and(|observer| observer.part == to)
            && self.facts.observers.get(id).is_some_and(|one| one.producers.contains(producer));
        if wanted {
            let body = rtp_observer::AddProducerRequest { producer_id: producer.to_owned() };
            let body = request::Body::RtpObserverAddProducerRequest(Box::new(body));
            self.ask(to, Method::RtpobserverAddProducer, id, Some(body), Own::Any, out);
        }
    }
}
