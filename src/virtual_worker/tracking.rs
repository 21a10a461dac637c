//! What a request does to the table of objects.

use channel_schema::fbs::{request::BodyRef, request::Method, router, web_rtc_transport};

use super::{Object, ObjectKind, Output, PartId, VirtualWorker};
use crate::channel::{
    Message,
    compose::{self, DecodeError},
    envelope::RequestEnvelope,
    method,
};

/// What an accepted request changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    None,
    Create {
        kind: ObjectKind,
        id: String,
        parent: Option<String>,
        server: Option<String>,
        /// What kind of transport it is.
        transport: Option<&'static str>,
    },
    Close {
        id: String,
    },
}

impl VirtualWorker {
    /// The object that a refused request would have made is not there.
    pub(super) fn take_back(&mut self, effect: &Effect, registered: bool, out: &mut Vec<Output>) {
        if let Effect::Create { id, .. } = effect
            && registered
        {
            self.forget(id, out);
        }
    }

    pub(super) fn register(&mut self, part: PartId, effect: &Effect) -> bool {
        match effect {
            Effect::Create { kind, id, parent, server, transport } => self.objects.insert(
                id,
                Object {
                    kind: *kind,
                    part,
                    parent: parent.clone(),
                    server: server.clone(),
                    transport: *transport,
                    told: false,
                },
            ),
            Effect::None | Effect::Close { .. } => false,
        }
    }

    pub(super) fn note(
        &mut self,
        part: PartId,
        effect: &Effect,
        method: Method,
        message: &Message,
    ) -> Result<(), String> {
        let Effect::Create { id, .. } = effect else { return Ok(()) };
        let noted = match method {
            Method::TransportProduce if !self.spreads() => self.facts.note_mapped(id, message),
            _ if self.spreads() || method == Method::TransportConsume => {
                self.facts.note(id, part, method, message)
            }
            _ => Ok(()),
        };
        noted.map_err(|error| error.to_string())
    }
}

/// Reads the effect of a request. Only creations and closes are decoded.
pub fn effect(request: &RequestEnvelope<'_>, message: &Message) -> Result<Effect, DecodeError> {
    use Method as M;
    use ObjectKind as K;

    let handler = request.handler_id;
    let (kind, parent) = match request.method {
        M::WorkerCreateWebrtcserver => (Some(K::WebRtcServer), None),
        M::WorkerCreateRouter => (Some(K::Router), None),
        M::RouterCreateWebrtctransport
        | M::RouterCreateWebrtctransportWithServer
        | M::RouterCreatePlaintransport
        | M::RouterCreatePipetransport
        | M::RouterCreateDirecttransport => (Some(K::Transport), Some(handler)),
        M::RouterCreateActivespeakerobserver | M::RouterCreateAudiolevelobserver => {
            (Some(K::RtpObserver), Some(handler))
        }
        M::TransportProduce => (Some(K::Producer), Some(handler)),
        M::TransportConsume => (Some(K::Consumer), Some(handler)),
        M::TransportProduceData => (Some(K::DataProducer), Some(handler)),
        M::TransportConsumeData => (Some(K::DataConsumer), Some(handler)),
        method if method::closes(method) => (None, None),
        _ => return Ok(Effect::None),
    };
    let body = compose::request_body(message)?;
    let id = subject(&body)?.to_owned();
    Ok(match kind {
        None => Effect::Close { id },
        Some(kind) => Effect::Create {
            kind,
            id,
            parent: parent.map(str::to_owned),
            server: server(&body)?.map(str::to_owned),
            transport: makes_transport(request.method).then(|| transport_kind(request.method)),
        },
    })
}

/// Whether an object of that kind knows the method. The worker's own go to the worker, whatever
/// their handler.
pub fn knows(kind: ObjectKind, method: Method) -> bool {
    let (of, _) = method::name(method).split_once('.').unwrap_or_default();
    match kind {
        _ if method::is_worker_method(method) => true,
        ObjectKind::WebRtcServer => of == "webRtcServer",
        ObjectKind::Router => of == "router",
        ObjectKind::Transport => {
            matches!(of, "transport" | "plainTransport" | "pipeTransport" | "webRtcTransport")
        }
        ObjectKind::RtpObserver => of == "rtpObserver",
        ObjectKind::Producer => of == "producer",
        ObjectKind::Consumer => of == "consumer",
        ObjectKind::DataProducer => of == "dataProducer",
        ObjectKind::DataConsumer => of == "dataConsumer",
    }
}

/// Whether the request makes a transport.
pub fn makes_transport(method: Method) -> bool {
    matches!(
        method,
        Method::RouterCreateWebrtctransport
            | Method::RouterCreateWebrtctransportWithServer
            | Method::RouterCreatePlaintransport
            | Method::RouterCreatePipetransport
            | Method::RouterCreateDirecttransport
    )
}

/// What kind of transport the request makes, in a word.
pub fn transport_kind(method: Method) -> &'static str {
    match method {
        Method::RouterCreatePlaintransport => "plain",
        Method::RouterCreatePipetransport => "pipe",
        Method::RouterCreateDirecttransport => "direct",
        _ => "webrtc",
    }
}

/// The id of the object that the request makes or closes.
fn subject<'a>(body: &BodyRef<'a>) -> Result<&'a str, DecodeError> {
    use BodyRef as B;
    Ok(match body {
        B::WorkerCreateWebRtcServerRequest(body) => body.web_rtc_server_id()?,
        B::WorkerCreateRouterRequest(body) => body.router_id()?,
        B::RouterCreateWebRtcTransportRequest(body) => body.transport_id()?,
        B::RouterCreatePlainTransportRequest(body) => body.transport_id()?,
        B::RouterCreatePipeTransportRequest(body) => body.transport_id()?,
        B::RouterCreateDirectTransportRequest(body) => body.transport_id()?,
        B::RouterCreateActiveSpeakerObserverRequest(body) => body.rtp_observer_id()?,
        B::RouterCreateAudioLevelObserverRequest(body) => body.rtp_observer_id()?,
        B::TransportProduceRequest(body) => body.producer_id()?,
        B::TransportConsumeRequest(body) => body.consumer_id()?,
        B::TransportProduceDataRequest(body) => body.data_producer_id()?,
        B::TransportConsumeDataRequest(body) => body.data_consumer_id()?,
        B::WorkerCloseWebRtcServerRequest(body) => body.web_rtc_server_id()?,
        B::WorkerCloseRouterRequest(body) => body.router_id()?,
        B::RouterCloseTransportRequest(body) => body.transport_id()?,
        B::RouterCloseRtpObserverRequest(body) => body.rtp_observer_id()?,
        B::TransportCloseProducerRequest(body) => body.producer_id()?,
        B::TransportCloseConsumerRequest(body) => body.consumer_id()?,
        B::TransportCloseDataProducerRequest(body) => body.data_producer_id()?,
        B::TransportCloseDataConsumerRequest(body) => body.data_consumer_id()?,
        _ => return Err(DecodeError::new("a body without an object")),
    })
}

/// The `WebRtcServer` that a new transport listens on.
fn server<'a>(body: &BodyRef<'a>) -> Result<Option<&'a str>, DecodeError> {
    let BodyRef::RouterCreateWebRtcTransportRequest(body) = body else { return Ok(None) };
    let body: &router::CreateWebRtcTransportRequestRef<'a> = body;
    Ok(match body.options()?.listen()? {
        web_rtc_transport::ListenRef::ListenServer(listen) => Some(listen.web_rtc_server_id()?),
        web_rtc_transport::ListenRef::ListenIndividual(_) => None,
    })
}
