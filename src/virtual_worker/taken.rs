//! Creations under an id that the virtual worker has already. Parts do not know of each other's
//! ids, and a worker takes damage from some of these requests, so the core sees to them.

use channel_schema::fbs::request;

use super::{
    ObjectKind, Output, PartId, VirtualWorker, refuse, refuse_as,
    requests::{AppRequest, Pending},
    rewriting,
    tracking::Effect,
};
use crate::channel::{
    Envelope, Message,
    compose::{self, ErrorKind},
    envelope::RequestEnvelope,
    fbs::request::{BodyRef, Method},
    method,
};

impl VirtualWorker {
    /// Answers a creation whose id is taken, or has it answered. Gives back any other request.
    pub(super) fn refuses_taken(
        &mut self,
        message: Message,
        effect: &Effect,
        out: &mut Vec<Output>,
    ) -> Option<Message> {
        let Effect::Create { kind, id, parent, .. } = effect else { return Some(message) };
        let Some(taken) = self.objects.get(id) else { return Some(message) };
        let Envelope::Request(request) = message.envelope() else { return None };
        if taken.kind == *kind && taken.parent == *parent {
            let reason = format!("{} already exists [method:{}]", same(*kind), name(&request));
            refuse(request.id, &reason, out);
            return None;
        }
        if let Some((class, reason)) = self.other_fault(&message, effect) {
            refuse_as(class, request.id, &reason, out);
            return None;
        }
        match (kind, effect) {
            // A worker keeps half of these for good, and fails later.
            (ObjectKind::RtpObserver, _)
            | (ObjectKind::Transport, Effect::Create { server: Some(_), .. }) => {}
            _ => {
                let part = self.objects.get(request.handler_id).map(|handler| handler.part);
                if let Some(part) = part.filter(|part| self.parts.is_open(*part))
                    && let Some(other) = under_taken_id(&message, request.handler_id)
                {
                    self.ask_under_taken_id(part, &request, other, id, out);
                    return None;
                }
            }
        }
        refuse(request.id, &already_exists(id), out);
        None
    }

    /// What a worker finds wrong with such a request before it sees that the id is taken.
    fn other_fault(&self, message: &Message, effect: &Effect) -> Option<(ErrorKind, String)> {
        if let Effect::Create { server: Some(server), .. } = effect
            && self.objects.get(server).is_none_or(|one| one.kind != ObjectKind::WebRtcServer)
        {
            let reason = "wrong webRtcServerId (no associated WebRtcServer found)";
            return Some((ErrorKind::Error, reason.to_owned()));
        }
        if let Ok(BodyRef::RouterCreateAudioLevelObserverRequest(body)) =
            compose::request_body(message)
            && let Ok(threshold) = body.options().and_then(|options| options.threshold())
            && threshold > 0
        {
            let reason = format!("invalid threshold value {threshold}");
            return Some((ErrorKind::TypeError, reason));
        }
        None
    }

    /// A worker names what is wrong with a request in its own order, and a taken id comes late. So
    /// it gets the request with an id that is taken there for certain, its handler's: it cannot
    /// but refuse it.
    fn ask_under_taken_id(
        &mut self,
        part: PartId,
        request: &RequestEnvelope<'_>,
        mut message: Message,
        id: &str,
        out: &mut Vec<Output>,
    ) {
        if let Some(host) = self.host(part) {
            let (handler, method) = (request.handler_id, request.method);
            let rewriting = rewriting::rewrite(&self.book, host, handler, method, &message);
            message = rewriting.ok().and_then(|one| one.message).unwrap_or(message);
        }
        let app = AppRequest {
            library_id: request.id,
            method: request.method,
            handler: request.handler_id.to_owned(),
            effect: Effect::None,
            again: None,
            registered: false,
            shadowed: false,
            other_port: None,
            sockets: Vec::new(),
        };
        let taken = Pending::Taken(Box::new(app), id.to_owned());
        let number = self.requests.add(part, taken);
        if message.patch_id(number) {
            out.push(Output::Worker(part, message.into_bytes().freeze()));
        } else {
            self.requests.take(part, number);
            refuse(request.id, "a request needs an id other than 0", out);
        }
    }
}

/// The answer for the app to a request that went under another taken id.
pub fn answer(app: &AppRequest, id: &str, answer: &Message, out: &mut Vec<Output>) {
    let class = match compose::refusal_class(answer).as_deref() {
        Some("TypeError") => ErrorKind::TypeError,
        Some("NotFoundError") => ErrorKind::NotFoundError,
        _ => ErrorKind::Error,
    };
    let reason = compose::refusal(answer).unwrap_or_default();
    let reason = if reason == already_exists(&app.handler) { already_exists(id) } else { reason };
    refuse_as(class, app.library_id, &reason, out);
}

fn already_exists(id: &str) -> String {
    format!("Channel request handler with ID {id} already exists")
}

fn name(request: &RequestEnvelope<'_>) -> &'static str {
    method::name(request.method)
}

fn same(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::WebRtcServer => "a WebRtcServer with same webRtcServerId",
        ObjectKind::Router => "a Router with same routerId",
        ObjectKind::Transport => "a Transport with same id",
        ObjectKind::RtpObserver => "an RtpObserver with same id",
        ObjectKind::Producer => "a Producer with same producerId",
        ObjectKind::Consumer => "a Consumer with same consumerId",
        ObjectKind::DataProducer => "a DataProducer with same dataProducerId",
        ObjectKind::DataConsumer => "a DataConsumer with same dataConsumerId",
    }
}

fn under_taken_id(message: &Message, taken: &str) -> Option<Message> {
    use request::Body as B;
    let Envelope::Request(RequestEnvelope { id, method, handler_id }) = message.envelope() else {
        return None;
    };
    let mut body: request::Body = compose::request_body(message).ok()?.try_into().ok()?;
    let place = match &mut body {
        B::RouterCreateWebRtcTransportRequest(body) => &mut body.transport_id,
        B::RouterCreatePlainTransportRequest(body) => &mut body.transport_id,
        B::RouterCreatePipeTransportRequest(body) => &mut body.transport_id,
        B::RouterCreateDirectTransportRequest(body) => &mut body.transport_id,
        B::TransportProduceRequest(body) => &mut body.producer_id,
        B::TransportConsumeRequest(body) => &mut body.consumer_id,
        B::TransportProduceDataRequest(body) => &mut body.data_producer_id,
        B::TransportConsumeDataRequest(body) => &mut body.data_consumer_id,
        _ => return None,
    };
    taken.clone_into(place);
    Some(compose::request(id, method, handler_id, Some(body)))
}

/// Whether a single worker must not see this request either.
pub fn harms(effect: &Effect, method: Method) -> bool {
    matches!(effect, Effect::Create { kind: ObjectKind::RtpObserver, .. })
        || method == Method::RouterCreateWebrtctransportWithServer
}
