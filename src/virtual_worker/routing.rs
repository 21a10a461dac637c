//! Where a request of the library goes when Routers have several parts.

use channel_schema::fbs::{request, worker};

use super::{
    Object, ObjectKind, Output, PartId, VirtualWorker, gather,
    pipes::Own,
    refuse, refuse_as, rewriting,
    tracking::{self, Effect},
};
use crate::channel::{
    Envelope, Message,
    compose::{self, DecodeError, ErrorKind},
    envelope::RequestEnvelope,
    fbs::request::{BodyRef, Method},
    method,
};

const NOT_CONSUMABLE: &str = "consumableRtpEncodings do not match those of the Producer";

/// What a worker says of an object that is not there.
pub fn not_found(request: &RequestEnvelope<'_>) -> String {
    format!(
        "Channel request handler with ID {} not found [method:{}]",
        request.handler_id,
        method::name(request.method)
    )
}

/// Answers a request to an object that is not there.
pub fn refuse_unknown(request: &RequestEnvelope<'_>, out: &mut Vec<Output>) {
    refuse_as(ErrorKind::NotFoundError, request.id, &not_found(request), out);
}

impl VirtualWorker {
    /// Answers a request to an object that is not there, with what became of it if that is known.
    fn refuse_gone(&self, request: &RequestEnvelope<'_>, out: &mut Vec<Output>) {
        let mut reason = not_found(request);
        if let Some(why) = self.lost.why(request.handler_id) {
            reason = format!("{reason}: {why}");
        }
        refuse_as(ErrorKind::NotFoundError, request.id, &reason, out);
    }

    pub(super) fn route(&mut self, message: Message, out: &mut Vec<Output>) {
        let Envelope::Request(request) = message.envelope() else { return };
        if self.answers_key_frame(&request, out) {
            return;
        }
        let part = match self.objects.get(request.handler_id) {
            Some(object)
                if !tracking::knows(object.kind, request.method)
                    && self.parts.is_open(object.part) =>
            {
                // A worker refuses that, and says why.
                return self.forward(object.part, message, Effect::None, false, out);
            }
            Some(object) => object.part,
            None if method::is_worker_method(request.method) => self.home,
            None => return self.refuse_gone(&request, out),
        };
        let effect = match tracking::effect(&request, &message) {
            Ok(effect) => effect,
            Err(error) => return refuse(request.id, &error.to_string(), out),
        };
        let Some(message) = self.refuses_taken(message, &effect, out) else { return };
        let Envelope::Request(request) = message.envelope() else { return };
        if tracking::makes_transport(request.method) {
            return self.place_transport(message, &effect, out);
        }
        if !self.parts.is_open(part) {
            // What cannot wait is answered below.
            let Some(message) = self.parts.wait(part, message) else { return };
            let Envelope::Request(request) = message.envelope() else { return };
            return refuse_unknown(&request, out);
        }
        match request.method {
            _ if gather::concerns_worker(request.method) => {
                if let Err(error) = self.remember_settings(&message) {
                    return refuse(request.id, &error.to_string(), out);
                }
                self.spread_out(&message, self.parts.open(), out);
            }
            Method::RouterDump => {
                let facts = self.facts.routers.get(request.handler_id);
                let parts = facts.map(|facts| facts.parts.iter().copied().collect());
                self.spread_out(&message, parts.unwrap_or_default(), out);
            }
            Method::WebrtcserverDump => {
                let facts = self.facts.servers.get(request.handler_id);
                let parts = facts.map(|facts| facts.parts.iter().copied().collect());
                self.spread_out(&message, parts.unwrap_or_default(), out);
            }
            Method::ProducerPause
            | Method::ProducerResume
            | Method::DataproducerPause
            | Method::DataproducerResume => {
                let id = request.handler_id.to_owned();
                let paused =
                    matches!(request.method, Method::ProducerPause | Method::DataproducerPause);
                self.facts.set_paused(&id, paused);
                let on = self.pipes.pipes_of(&id).map(|(_, pipe)| pipe);
                let on = on.filter(|pipe| pipe.started && pipe.is_visible()).map(|pipe| pipe.to);
                self.spread_out(&message, std::iter::once(part).chain(on).collect(), out);
            }
            Method::TransportConsume | Method::TransportConsumeData => {
                if let Err(why) = self.consume(part, &message, &effect, out) {
                    refuse(request.id, &why, out);
                }
            }
            Method::RtpobserverAddProducer | Method::RtpobserverRemoveProducer => {
                if let Err(error) = self.observe(part, &message, out) {
                    refuse(request.id, &error.to_string(), out);
                }
            }
            Method::RouterCreateActivespeakerobserver | Method::RouterCreateAudiolevelobserver => {
                let router = request.handler_id.to_owned();
                let on = self.place_observer(&router);
                self.spread_router(&router, on, out);
                self.forward(on, message, effect, false, out);
            }
            Method::RtpobserverPause | Method::RtpobserverResume => {
                let paused = request.method == Method::RtpobserverPause;
                self.facts.set_paused(request.handler_id, paused);
                self.forward(part, message, effect, false, out);
            }
            Method::WorkerCreateRouter | Method::WorkerCreateWebrtcserver => {
                let on = self.parts.up_or(self.home);
                self.forward(on, message, effect, false, out);
            }
            Method::ConsumerPause => self.pause_consumer(part, message, out),
            Method::ConsumerResume => self.resume_consumer(part, message, out),
            _ => match effect {
                Effect::Close { id } => self.close(message, &id, out),
                effect => self.forward(part, message, effect, false, out),
            },
        }
    }

    /// A worker never answers a key frame request to an audio pipe.
    pub(super) fn answers_key_frame(
        &self,
        request: &RequestEnvelope<'_>,
        out: &mut Vec<Output>,
    ) -> bool {
        let here = request.method == Method::ConsumerRequestKeyFrame
            && self.facts.audio_pipes.contains(request.handler_id);
        if here {
            let answer = compose::accepted(request.id, None);
            out.push(Output::Library(answer.into_bytes().freeze()));
        }
        here
    }

    fn spread_out(&mut self, message: &Message, mut parts: Vec<PartId>, out: &mut Vec<Output>) {
        let Envelope::Request(request) = message.envelope() else { return };
        parts.retain(|part| self.parts.is_open(*part));
        match parts.as_slice() {
            [] => refuse_unknown(&request, out),
            [part] if !gather::is_view(request.method) => {
                self.forward(*part, message.clone(), Effect::None, false, out);
            }
            _ => self.gather(message, request, &parts, out),
        }
    }

    fn remember_settings(&mut self, message: &Message) -> Result<(), DecodeError> {
        let Ok(BodyRef::WorkerUpdateSettingsRequest(body)) = compose::request_body(message) else {
            return Ok(());
        };
        let new: worker::UpdateSettingsRequest = body.try_into()?;
        let settings = self.settings.get_or_insert_with(Default::default);
        settings.log_level = new.log_level.or(settings.log_level.take());
        settings.log_tags = new.log_tags.or(settings.log_tags.take());
        Ok(())
    }

    fn place_transport(&mut self, message: Message, effect: &Effect, out: &mut Vec<Output>) {
        let Envelope::Request(request) = message.envelope() else { return };
        let Effect::Create { id, server, .. } = effect else { return };
        let mut part = self.place(request.handler_id, request.method, server.as_deref(), out);
        if let Some(server) = server
            && !self.may_have(server, part)
        {
            self.warn_of_fixed_ports(server, out);
            part = self.owner(server);
        }
        let (id, method) = (id.clone(), request.method);
        self.register(part, effect);
        if let Err(why) = self.note(part, effect, method, &message) {
            let library_id = request.id;
            self.forget(&id, out);
            return refuse(library_id, &why, out);
        }
        if let Some(message) = self.parts.wait(part, message) {
            self.create_transport(message, out);
        }
    }

    /// Says once that a `WebRtcServer` keeps its transports from spreading.
    pub(super) fn warn_of_fixed_ports(&mut self, server: &str, out: &mut Vec<Output>) {
        let Some(facts) = self.facts.servers.get_mut(server) else { return };
        if facts.fixed_ports && !std::mem::replace(&mut facts.warned, true) {
            out.push(Output::Diagnostic(format!(
                "transports of WebRtcServer {server} stay on its home, because its ports are \
                 fixed: a portRange in its listenInfos would let them spread"
            )));
        }
    }

    /// Makes a transport, which the table has already, on its part, which is open.
    pub(super) fn create_transport(&mut self, message: Message, out: &mut Vec<Output>) {
        let Envelope::Request(request) = message.envelope() else { return };
        let effect = match tracking::effect(&request, &message) {
            Ok(effect) => effect,
            Err(error) => return refuse(request.id, &error.to_string(), out),
        };
        let Effect::Create { id, server, .. } = &effect else { return };
        let Some(mut part) = self.objects.get(id).map(|object| object.part) else {
            // Its Router closed while it waited.
            return refuse_unknown(&request, out);
        };
        if let Some(server) = server
            && !self.may_have(server, part)
        {
            // The part opened where it cannot be had.
            self.warn_of_fixed_ports(server, out);
            part = self.owner(server);
            self.objects.move_one(id, part);
        }
        let router = request.handler_id.to_owned();
        self.spread_router(&router, part, out);
        if let Some(server) = server {
            self.replicate(&server.clone(), part, out);
        }
        self.forward(part, message, effect, true, out);
    }

    pub(super) fn replicate(&mut self, id: &str, part: PartId, out: &mut Vec<Output>) {
        let Some(server) = self.facts.servers.get_mut(id) else { return };
        let Some(host) = self.parts.host(part) else { return };
        if !server.parts.insert(part) {
            return;
        }
        let method = Method::WorkerCreateWebrtcserver;
        let rewriting = rewriting::rewrite(&self.book, host, "", method, &server.create);
        let message = rewriting.ok().and_then(|rewriting| rewriting.message);
        let body = compose::request_body(message.as_ref().unwrap_or(&server.create));
        let body = body.ok().and_then(|body| request::Body::try_from(body).ok());
        self.ask(part, method, "", body, Own::Server(id.to_owned()), out);
    }

    fn consume(
        &mut self,
        to: PartId,
        message: &Message,
        effect: &Effect,
        out: &mut Vec<Output>,
    ) -> Result<(), String> {
        let Envelope::Request(request) = message.envelope() else { return Ok(()) };
        let Effect::Create { id, .. } = effect else { return Ok(()) };
        let undecodable = |error: DecodeError| error.to_string();
        let Consumed { producer, ssrcs, paused } = consumed(message).map_err(undecodable)?;
        let kind = if ssrcs.is_some() { ObjectKind::Producer } else { ObjectKind::DataProducer };
        let from = self.piped_from(&producer, kind, request.handler_id);
        if from.is_some() && ssrcs.is_some_and(|ssrcs| !self.facts.maps_to(&producer, &ssrcs)) {
            return Err(NOT_CONSUMABLE.to_owned());
        }
        if from.is_none_or(|from| from == to) {
            self.forward(to, message.clone(), effect.clone(), false, out);
            return Ok(());
        }
        self.register(to, effect);
        if let Err(why) = self.note(to, effect, request.method, message) {
            self.forget(id, out);
            return Err(why);
        }
        let data = kind == ObjectKind::DataProducer;
        let pipe = self.pipes.pipe_of(&producer, to);
        if pipe.is_none() {
            self.shadows.cool(&producer, to);
        }
        let shadow = from.and_then(|from| self.shadow(id, &producer, from, to, message));
        let message = shadow.unwrap_or_else(|| message.clone());
        self.naps.note(id, paused);
        self.send_piped(&producer, data, to, id, message, out);
        Ok(())
    }

    /// Why a single worker must not see that consume.
    pub(super) fn not_consumable(
        &self,
        request: &RequestEnvelope<'_>,
        message: &Message,
    ) -> Option<&'static str> {
        if request.method != Method::TransportConsume {
            return None;
        }
        let Consumed { producer, ssrcs, .. } = consumed(message).ok()?;
        self.piped_from(&producer, ObjectKind::Producer, request.handler_id)?;
        (!self.facts.maps_to(&producer, &ssrcs?)).then_some(NOT_CONSUMABLE)
    }

    /// The part of a Producer of the same Router.
    fn piped_from(&self, producer: &str, kind: ObjectKind, user: &str) -> Option<PartId> {
        let object: &Object = self.objects.get(producer)?;
        let same = object.kind == kind
            && self.objects.router_of(producer)? == self.objects.router_of(user)?;
        same.then_some(object.part)
    }

    fn observe(
        &mut self,
        to: PartId,
        message: &Message,
        out: &mut Vec<Output>,
    ) -> Result<(), DecodeError> {
        let Envelope::Request(request) = message.envelope() else { return Ok(()) };
        let observer = request.handler_id;
        let (producer, adds) = match compose::request_body(message)? {
            BodyRef::RtpObserverAddProducerRequest(body) => (body.producer_id()?, true),
            BodyRef::RtpObserverRemoveProducerRequest(body) => (body.producer_id()?, false),
            _ => return Err(DecodeError::new("not a request to an RtpObserver")),
        };
        let from = self.piped_from(producer, ObjectKind::Producer, observer);
        // A worker refuses video at once: no pipe for that.
        let audio = self.facts.media.get(producer).is_some_and(|media| {
            media.kind == channel_schema::fbs::rtp_parameters::MediaKind::Audio
        });
        if let Some(facts) = self.facts.observers.get_mut(observer) {
            if adds && from.is_some() && audio {
                facts.producers.insert(producer.to_owned());
            } else if !adds {
                facts.producers.remove(producer);
            }
        }
        if adds && from.is_some_and(|from| from != to) && audio {
            self.send_piped(producer, false, to, observer, message.clone(), out);
            return Ok(());
        }
        if adds && from.is_some_and(|from| from != to) {
            refuse_as(ErrorKind::TypeError, request.id, "not an audio Producer", out);
            return Ok(());
        }
        let pipe = self.pipes.pipe_of(producer, to).filter(|_| !adds);
        if !adds && pipe.is_none() && from.is_some_and(|from| from != to) {
            // It was never piped there. A worker that has it has nothing to remove either, and
            // says yes.
            let answer = compose::accepted(request.id, None);
            out.push(Output::Library(answer.into_bytes().freeze()));
            return Ok(());
        }
        let observer = observer.to_owned();
        let waits = pipe.is_some_and(|pipe| self.pipes.pipe(pipe).is_some_and(|p| !p.started));
        if let Some(pipe) = pipe.filter(|_| waits)
            && let Some(pipe) = self.pipes.pipe_mut(pipe)
        {
            pipe.waiting.push(message.clone());
            return Ok(());
        }
        self.forward(to, message.clone(), Effect::None, false, out);
        if let Some(pipe) = pipe {
            self.release_one(pipe, &observer, out);
        }
        Ok(())
    }
}

/// What a consume asks for.
struct Consumed {
    producer: String,
    /// The SSRCs that it expects if it is one of media.
    ssrcs: Option<Vec<Option<u32>>>,
    paused: bool,
}

fn consumed(message: &Message) -> Result<Consumed, DecodeError> {
    match compose::request_body(message)? {
        BodyRef::TransportConsumeRequest(body) => {
            let mut ssrcs = Vec::new();
            for encoding in body.consumable_rtp_encodings()? {
                ssrcs.push(encoding?.ssrc()?);
            }
            Ok(Consumed {
                producer: body.producer_id()?.to_owned(),
                ssrcs: Some(ssrcs),
                paused: body.paused()?,
            })
        }
        BodyRef::TransportConsumeDataRequest(body) => {
            let producer = body.data_producer_id()?.to_owned();
            Ok(Consumed { producer, ssrcs: None, paused: false })
        }
        _ => Err(DecodeError::new("not a consume")),
    }
}
