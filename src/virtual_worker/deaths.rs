//! A worker behind a virtual worker is gone.

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
    Fate, Object, ObjectKind, Output, PartId, VirtualWorker, facts::TransportKind, pipes::Own,
    refuse_as, requests::Pending, tracking::Effect,
};
use crate::channel::{
    Envelope,
    compose::{self, ErrorKind},
    fbs::request::Method,
    method,
};

impl VirtualWorker {
    /// A part that was open is gone, with all that lived there.
    pub fn part_died(&mut self, part: PartId, why: &str, out: &mut Vec<Output>) -> Fate {
        if !self.parts.is_open(part) {
            // It never ran.
            self.part_failed(part, why, out);
            return Fate::LivesOn;
        }
        self.growth.forget(part);
        if self.dies_with(part) {
            self.parts.remove(part);
            return Fate::Dies;
        }
        self.parts.remove(part);
        if self.closing {
            return Fate::LivesOn;
        }
        out.push(Output::Diagnostic(format!("lost a part of a Worker: {why}")));
        // What was not made yet has no other part to go to.
        self.answer_for(part, out);
        if part == self.home {
            self.move_home(out);
        }
        self.drop_pairs_of(part, out);
        self.lose_objects(part, out);
        Fate::LivesOn
    }

    /// Whether the app loses more than it could be told of.
    fn dies_with(&self, part: PartId) -> bool {
        if self.closing || !self.spreads() {
            return part == self.home;
        }
        // Recordings must not die silently: these have no event that tells.
        let silent = self.objects.of_kind(ObjectKind::Transport).any(|id| {
            let lost = self.objects.get(id).is_some_and(|object| object.part == part);
            let facts = self.facts.transports.get(id);
            lost && facts.is_some_and(|facts| {
                matches!(facts.kind, TransportKind::Plain | TransportKind::Direct)
            })
        });
        let survives = self.facts.routers.values().any(|router| {
            router.parts.iter().any(|other| *other != part && self.parts.is_open(*other))
        });
        silent || (part == self.home && !survives)
    }

    /// Another part becomes the home of Routers and servers.
    fn move_home(&mut self, out: &mut Vec<Output>) {
        let lost = self.home;
        let Some(home) = self.parts.open().first().copied() else { return };
        self.home = home;
        for id in self.objects.on(lost) {
            let Some(kind) = self.objects.get(&id).map(|object| object.kind) else { continue };
            match kind {
                ObjectKind::Router => {
                    let parts = self.facts.routers.get(&id).map(|facts| &facts.parts);
                    let other = parts.and_then(|parts| {
                        parts.iter().find(|part| **part != lost && self.parts.is_open(**part))
                    });
                    let owner = other.copied().unwrap_or(home);
                    self.objects.move_one(&id, owner);
                    self.spread_router(&id, owner, out);
                }
                ObjectKind::WebRtcServer => {
                    self.objects.move_one(&id, home);
                    self.replicate(&id, home, out);
                }
                _ => {}
            }
        }
    }

    pub(super) fn answer_for(&mut self, part: PartId, out: &mut Vec<Output>) {
        for pending in self.requests.take_all(part) {
            match pending {
                Pending::App(app) => {
                    if let Effect::Create { id, .. } = &app.effect
                        && app.registered
                    {
                        self.forget(id, out);
                    }
                    let reason = format!(
                        "Channel request handler with ID {} not found [method:{}]",
                        app.handler,
                        method::name(app.method)
                    );
                    refuse_as(ErrorKind::NotFoundError, app.library_id, &reason, out);
                }
                Pending::Piece(id) => self.piece(part, id, None, false, out),
                Pending::Own(_) => {}
            }
        }
    }

    pub(super) fn drop_pairs_of(&mut self, part: PartId, out: &mut Vec<Output>) {
        // Pipes first: consumers elsewhere hear that their Producer is gone.
        for pipe in self.pipes.pipes_where(|pipe| pipe.from == part) {
            self.close_pipe(pipe, false, true, out);
        }
        for pipe in self.pipes.pipes_where(|pipe| pipe.to == part) {
            self.close_pipe(pipe, true, false, out);
        }
        let with = |pair: &super::pipes::Pair| pair.ends.iter().any(|end| end.part == part);
        for pair in self.pipes.pairs_where(with) {
            self.drop_pair(pair, "the other part is gone", out);
        }
        for router in self.facts.routers.values_mut() {
            router.parts.remove(&part);
        }
        for server in self.facts.servers.values_mut() {
            server.parts.remove(&part);
        }
    }

    fn lose_objects(&mut self, part: PartId, out: &mut Vec<Output>) {
        let mut observers = Vec::new();
        for id in self.objects.on(part) {
            let Some(kind) = self.objects.get(&id).map(|object| object.kind) else { continue };
            match kind {
                ObjectKind::Transport => {
                    self.tell_of_end(&id, out);
                    self.forget(&id, out);
                }
                ObjectKind::RtpObserver => observers.push(id),
                _ => {}
            }
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
        if facts.sctp {
            let sctp = SctpStateChangeNotification { sctp_state: SctpState::Closed };
            let body = Body::TransportSctpStateChangeNotification(Box::new(sctp));
            tell(Event::TransportSctpStateChange, body);
        }
    }

    /// Makes an observer again at home, with the Producers that are left.
    fn move_observer(&mut self, id: &str, out: &mut Vec<Output>) {
        let Some(Object { parent: Some(router), .. }) = self.objects.get(id).cloned() else {
            return;
        };
        let Some(observer) = self.facts.observers.get(id).cloned() else { return };
        let home = self.home;
        self.objects.move_one(id, home);
        self.spread_router(&router, home, out);
        let Envelope::Request(request) = observer.create.envelope() else { return };
        let body = compose::request_body(&observer.create).ok();
        let body = body.and_then(|body| request::Body::try_from(body).ok());
        self.ask(home, request.method, &router, body, Own::Any, out);
        for producer in observer.producers {
            let body = rtp_observer::AddProducerRequest { producer_id: producer.clone() };
            let body = request::Body::RtpObserverAddProducerRequest(Box::new(body));
            let Some(part) = self.objects.get(&producer).map(|producer| producer.part) else {
                continue;
            };
            let pipe = if part == home { None } else { self.pipe(&producer, false, home, out) };
            if let Some(pipe) = pipe {
                self.pipes.add_user(pipe, id);
            }
            let fed = pipe.and_then(|pipe| self.pipes.pipe(pipe)).is_none_or(|pipe| pipe.started);
            if fed {
                self.ask(home, Method::RtpobserverAddProducer, id, Some(body), Own::Any, out);
            } else {
                // Fed again as soon as the app adds it anew.
                out.push(Output::Diagnostic(format!(
                    "RtpObserver {id} lost Producer {producer} with its part"
                )));
            }
        }
    }
}
