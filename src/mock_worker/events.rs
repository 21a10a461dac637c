//! Events that a test lets happen: what mediasoup's listeners would get, as JSON, becomes the
//! worker's notification, and the mock's own state follows.

use serde::Deserialize;
use serde_json::Value;

use super::{
    MockWorker,
    registry::Kind,
    rtp_observer,
    traces::{ConsumerTrace, ProducerTrace, TransportTrace},
    transport::{Role, sctp_state},
};
use crate::channel::{
    Message,
    fbs::{
        active_speaker_observer::DominantSpeakerNotification,
        audio_level_observer::{Volume, VolumesNotification},
        consumer, data_consumer, direct_transport,
        notification::Body,
        plain_transport::{RtcpTupleNotification, TupleNotification},
        producer,
        sctp_association::SctpState,
        transport::{self, Protocol, SctpNegotiatedCapabilitiesNotification},
        web_rtc_transport::{
            self, DtlsStateChangeNotification, IceSelectedTupleChangeNotification,
            IceStateChangeNotification,
        },
    },
    method::Event,
};

/// Why an event cannot happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("no open object has the id {0}")]
    UnknownObject(String),
    #[error("a {kind} lets no such event happen: {why}")]
    Malformed { kind: &'static str, why: String },
    #[error("the transport {0} has no SCTP association; create it with enableSctp")]
    NoSctp(String),
    #[error("the Producer {producer} is not in the observer {observer}; add it first")]
    NotObserved { producer: String, observer: String },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "lowercase")]
enum WebRtcTransportEvent {
    IceStateChange(IceState),
    DtlsStateChange(DtlsState),
    IceSelectedTupleChange(Option<Tuple>),
    SctpStateChange(AssociationState),
    Trace(TransportTrace),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "lowercase")]
enum PlainTransportEvent {
    Tuple(Tuple),
    RtcpTuple(Tuple),
    SctpStateChange(AssociationState),
    Trace(TransportTrace),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "lowercase")]
enum PipeTransportEvent {
    SctpStateChange(AssociationState),
    Trace(TransportTrace),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "lowercase")]
enum DirectTransportEvent {
    Rtcp(Vec<u8>),
    Trace(TransportTrace),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "lowercase")]
enum ProducerEvent {
    Score(Vec<ProducerScore>),
    VideoOrientationChange(VideoOrientation),
    Trace(ProducerTrace),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "lowercase")]
enum ConsumerEvent {
    Score(ConsumerScore),
    LayersChange(Option<Layers>),
    Trace(ConsumerTrace),
    Rtp(Vec<u8>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "lowercase")]
enum DataConsumerEvent {
    Message(DataMessage),
    SctpSendBufferFull,
    BufferedAmountLow(u32),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "lowercase")]
enum AudioLevelEvent {
    Volumes(Vec<ProducerVolume>),
    Silence,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "lowercase")]
enum ActiveSpeakerEvent {
    DominantSpeaker(DominantSpeaker),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum IceState {
    New,
    Connected,
    Completed,
    Disconnected,
}

impl From<IceState> for web_rtc_transport::IceState {
    fn from(state: IceState) -> Self {
        match state {
            IceState::New => Self::New,
            IceState::Connected => Self::Connected,
            IceState::Completed => Self::Completed,
            IceState::Disconnected => Self::Disconnected,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DtlsState {
    New,
    Connecting,
    Connected,
    Failed,
    Closed,
}

impl From<DtlsState> for web_rtc_transport::DtlsState {
    fn from(state: DtlsState) -> Self {
        match state {
            DtlsState::New => Self::New,
            DtlsState::Connecting => Self::Connecting,
            DtlsState::Connected => Self::Connected,
            DtlsState::Failed => Self::Failed,
            DtlsState::Closed => Self::Closed,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AssociationState {
    New,
    Connecting,
    Connected,
    Failed,
    Closed,
}

impl From<AssociationState> for SctpState {
    fn from(state: AssociationState) -> Self {
        match state {
            AssociationState::New => Self::New,
            AssociationState::Connecting => Self::Connecting,
            AssociationState::Connected => Self::Connected,
            AssociationState::Failed => Self::Failed,
            AssociationState::Closed => Self::Closed,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tuple {
    local_address: String,
    /// The old name of the same, which mediasoup's types still ask for.
    #[serde(rename = "localIp")]
    _local_ip: Option<String>,
    local_port: u16,
    remote_ip: Option<String>,
    #[serde(default)]
    remote_port: u16,
    protocol: TupleProtocol,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TupleProtocol {
    Udp,
    Tcp,
}

impl From<Tuple> for transport::Tuple {
    fn from(tuple: Tuple) -> Self {
        Self {
            local_address: tuple.local_address,
            local_port: tuple.local_port,
            remote_ip: tuple.remote_ip,
            remote_port: tuple.remote_port,
            protocol: match tuple.protocol {
                TupleProtocol::Udp => Protocol::Udp,
                TupleProtocol::Tcp => Protocol::Tcp,
            },
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProducerScore {
    encoding_idx: u32,
    ssrc: u32,
    rid: Option<String>,
    score: u8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VideoOrientation {
    camera: bool,
    flip: bool,
    rotation: u16,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConsumerScore {
    score: u8,
    producer_score: u8,
    producer_scores: Vec<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Layers {
    spatial_layer: u8,
    temporal_layer: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DataMessage {
    data: Vec<u8>,
    ppid: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProducerVolume {
    producer_id: String,
    volume: i8,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DominantSpeaker {
    producer_id: String,
}

fn read<T: for<'de> Deserialize<'de>>(kind: &'static str, event: Value) -> Result<T, EventError> {
    serde_json::from_value(event)
        .map_err(|error| EventError::Malformed { kind, why: error.to_string() })
}

impl MockWorker {
    /// Lets an event happen on an object: `{event, payload}` as mediasoup's listeners would get it.
    /// Returns what the worker sends for it.
    pub fn happen(&mut self, id: &str, event: Value) -> Result<Vec<Message>, EventError> {
        let unknown = || EventError::UnknownObject(id.to_owned());
        match self.registry.kind(id).ok_or_else(unknown)? {
            Kind::Transport => self.transport_event(id, event)?,
            Kind::Producer => self.producer_event(id, read("Producer", event)?),
            Kind::Consumer => self.consumer_event(id, read("Consumer", event)?),
            Kind::DataConsumer => self.data_consumer_event(id, read("DataConsumer", event)?),
            Kind::RtpObserver => self.rtp_observer_event(id, event)?,
            Kind::Router => return Err(silent("Router")),
            Kind::WebRtcServer => return Err(silent("WebRtcServer")),
            Kind::DataProducer => return Err(silent("DataProducer")),
        }
        Ok(self.outbox.flush())
    }

    fn transport_event(&mut self, id: &str, event: Value) -> Result<(), EventError> {
        let Some(transport) = self.registry.transport_mut(id) else { return Ok(()) };
        match &mut transport.role {
            Role::WebRtc(web_rtc) => match read("WebRtcTransport", event)? {
                WebRtcTransportEvent::IceStateChange(state) => {
                    let ice_state = state.into();
                    web_rtc.ice_state = ice_state;
                    let body = IceStateChangeNotification { ice_state };
                    let body = Body::WebRtcTransportIceStateChangeNotification(Box::new(body));
                    self.outbox.notify(id, Event::WebrtctransportIceStateChange, Some(body));
                    self.may_connect_sctp(id);
                }
                WebRtcTransportEvent::DtlsStateChange(state) => {
                    let dtls_state = state.into();
                    web_rtc.dtls_state = dtls_state;
                    let remote_cert = (dtls_state == web_rtc_transport::DtlsState::Connected)
                        .then(|| REMOTE_CERTIFICATE.to_owned());
                    let body = DtlsStateChangeNotification { dtls_state, remote_cert };
                    let body = Body::WebRtcTransportDtlsStateChangeNotification(Box::new(body));
                    self.outbox.notify(id, Event::WebrtctransportDtlsStateChange, Some(body));
                    self.may_connect_sctp(id);
                }
                WebRtcTransportEvent::IceSelectedTupleChange(tuple) => {
                    let tuple: transport::Tuple = tuple.map(Into::into).ok_or_else(|| {
                        let why = "'iceselectedtuplechange' needs a tuple".to_owned();
                        EventError::Malformed { kind: "WebRtcTransport", why }
                    })?;
                    web_rtc.selected_tuple = Some(tuple.clone());
                    let body = IceSelectedTupleChangeNotification { tuple: Box::new(tuple) };
                    let body =
                        Body::WebRtcTransportIceSelectedTupleChangeNotification(Box::new(body));
                    self.outbox.notify(
                        id,
                        Event::WebrtctransportIceSelectedTupleChange,
                        Some(body),
                    );
                }
                WebRtcTransportEvent::SctpStateChange(state) => self.sctp_event(id, state)?,
                WebRtcTransportEvent::Trace(trace) => self.transport_trace(id, trace),
            },
            Role::Plain(plain) => match read("PlainTransport", event)? {
                PlainTransportEvent::Tuple(tuple) => {
                    let tuple = transport::Tuple::from(tuple);
                    plain.tuple = Some(tuple.clone());
                    let body = TupleNotification { tuple: Box::new(tuple) };
                    let body = Body::PlainTransportTupleNotification(Box::new(body));
                    self.outbox.notify(id, Event::PlaintransportTuple, Some(body));
                    self.may_connect_sctp(id);
                }
                PlainTransportEvent::RtcpTuple(tuple) => {
                    let tuple = transport::Tuple::from(tuple);
                    plain.rtcp_tuple = Some(tuple.clone());
                    let body = RtcpTupleNotification { tuple: Box::new(tuple) };
                    let body = Body::PlainTransportRtcpTupleNotification(Box::new(body));
                    self.outbox.notify(id, Event::PlaintransportRtcpTuple, Some(body));
                }
                PlainTransportEvent::SctpStateChange(state) => self.sctp_event(id, state)?,
                PlainTransportEvent::Trace(trace) => self.transport_trace(id, trace),
            },
            Role::Pipe(_) => match read("PipeTransport", event)? {
                PipeTransportEvent::SctpStateChange(state) => self.sctp_event(id, state)?,
                PipeTransportEvent::Trace(trace) => self.transport_trace(id, trace),
            },
            Role::Direct => match read("DirectTransport", event)? {
                DirectTransportEvent::Rtcp(data) => {
                    let body = direct_transport::RtcpNotification { data };
                    let body = Body::DirectTransportRtcpNotification(Box::new(body));
                    self.outbox.notify(id, Event::DirecttransportRtcp, Some(body));
                }
                DirectTransportEvent::Trace(trace) => self.transport_trace(id, trace),
            },
        }
        Ok(())
    }

    fn transport_trace(&mut self, id: &str, trace: TransportTrace) {
        let body = Body::TransportTraceNotification(Box::new(trace.into()));
        self.outbox.notify(id, Event::TransportTrace, Some(body));
    }

    fn sctp_event(&mut self, id: &str, state: AssociationState) -> Result<(), EventError> {
        let state = SctpState::from(state);
        let association =
            self.registry.transport_mut(id).and_then(|transport| transport.sctp.as_mut());
        let sctp = association.ok_or_else(|| EventError::NoSctp(id.to_owned()))?;
        sctp.set_state(state);
        if state == SctpState::Connected {
            let negotiated_capabilities = Some(Box::new(sctp.negotiated()));
            let body = SctpNegotiatedCapabilitiesNotification { negotiated_capabilities };
            let body = Body::TransportSctpNegotiatedCapabilitiesNotification(Box::new(body));
            self.outbox.notify(id, Event::TransportSctpNegotiatedCapabilities, Some(body));
        }
        self.outbox.notify(id, Event::TransportSctpStateChange, Some(sctp_state(state)));
        Ok(())
    }

    fn producer_event(&mut self, id: &str, event: ProducerEvent) {
        let (event, body) = match event {
            ProducerEvent::Score(scores) => {
                let score = |score: ProducerScore| producer::Score {
                    encoding_idx: score.encoding_idx,
                    ssrc: score.ssrc,
                    rid: score.rid,
                    score: score.score,
                };
                let scores = scores.into_iter().map(score).collect();
                let body = producer::ScoreNotification { scores };
                (Event::ProducerScore, Body::ProducerScoreNotification(Box::new(body)))
            }
            ProducerEvent::VideoOrientationChange(orientation) => {
                let VideoOrientation { camera, flip, rotation } = orientation;
                let body = producer::VideoOrientationChangeNotification { camera, flip, rotation };
                let body = Body::ProducerVideoOrientationChangeNotification(Box::new(body));
                (Event::ProducerVideoOrientationChange, body)
            }
            ProducerEvent::Trace(trace) => {
                let body = Body::ProducerTraceNotification(Box::new(trace.into()));
                (Event::ProducerTrace, body)
            }
        };
        self.outbox.notify(id, event, Some(body));
    }

    fn consumer_event(&mut self, id: &str, event: ConsumerEvent) {
        let (event, body) = match event {
            ConsumerEvent::Score(score) => {
                let ConsumerScore { score, producer_score, producer_scores } = score;
                let score = consumer::ConsumerScore { score, producer_score, producer_scores };
                let body = consumer::ScoreNotification { score: Box::new(score) };
                (Event::ConsumerScore, Body::ConsumerScoreNotification(Box::new(body)))
            }
            ConsumerEvent::LayersChange(layers) => {
                let layers = layers.map(|Layers { spatial_layer, temporal_layer }| {
                    Box::new(consumer::ConsumerLayers { spatial_layer, temporal_layer })
                });
                let body = consumer::LayersChangeNotification { layers };
                let body = Body::ConsumerLayersChangeNotification(Box::new(body));
                (Event::ConsumerLayersChange, body)
            }
            ConsumerEvent::Trace(trace) => {
                let body = Body::ConsumerTraceNotification(Box::new(trace.into()));
                (Event::ConsumerTrace, body)
            }
            ConsumerEvent::Rtp(data) => {
                let body =
                    Body::ConsumerRtpNotification(Box::new(consumer::RtpNotification { data }));
                (Event::ConsumerRtp, body)
            }
        };
        self.outbox.notify(id, event, Some(body));
    }

    fn data_consumer_event(&mut self, id: &str, event: DataConsumerEvent) {
        let (event, body) = match event {
            DataConsumerEvent::Message(DataMessage { data, ppid }) => {
                let body = data_consumer::MessageNotification { ppid, data };
                let body = Body::DataConsumerMessageNotification(Box::new(body));
                (Event::DataconsumerMessage, Some(body))
            }
            DataConsumerEvent::SctpSendBufferFull => (Event::DataconsumerSctpSendbufferFull, None),
            DataConsumerEvent::BufferedAmountLow(buffered_amount) => {
                let body = data_consumer::BufferedAmountLowNotification { buffered_amount };
                let body = Body::DataConsumerBufferedAmountLowNotification(Box::new(body));
                (Event::DataconsumerBufferedAmountLow, Some(body))
            }
        };
        self.outbox.notify(id, event, body);
    }

    fn rtp_observer_event(&mut self, id: &str, event: Value) -> Result<(), EventError> {
        let Some(observer) = self.registry.rtp_observer(id) else { return Ok(()) };
        let check = |producer: &str| {
            if observer.producers.iter().any(|other| other == producer) {
                return Ok(());
            }
            let (producer, observer) = (producer.to_owned(), id.to_owned());
            Err(EventError::NotObserved { producer, observer })
        };
        let (event, body) = match observer.role {
            rtp_observer::Role::ActiveSpeaker => {
                let ActiveSpeakerEvent::DominantSpeaker(speaker) =
                    read("ActiveSpeakerObserver", event)?;
                check(&speaker.producer_id)?;
                let body = DominantSpeakerNotification { producer_id: speaker.producer_id };
                let body = Body::ActiveSpeakerObserverDominantSpeakerNotification(Box::new(body));
                (Event::ActivespeakerobserverDominantSpeaker, Some(body))
            }
            rtp_observer::Role::AudioLevel { .. } => match read("AudioLevelObserver", event)? {
                AudioLevelEvent::Volumes(volumes) => {
                    for volume in &volumes {
                        check(&volume.producer_id)?;
                    }
                    let volume = |volume: ProducerVolume| Volume {
                        producer_id: volume.producer_id,
                        volume: volume.volume,
                    };
                    let volumes = volumes.into_iter().map(volume).collect();
                    let body = VolumesNotification { volumes };
                    let body = Body::AudioLevelObserverVolumesNotification(Box::new(body));
                    (Event::AudiolevelobserverVolumes, Some(body))
                }
                AudioLevelEvent::Silence => (Event::AudiolevelobserverSilence, None),
            },
        };
        self.outbox.notify(id, event, body);
        Ok(())
    }
}

/// What a peer's certificate looks like to apps, which only ever show it.
const REMOTE_CERTIFICATE: &str =
    "-----BEGIN CERTIFICATE-----\nbm9ib2R5J3M=\n-----END CERTIFICATE-----\n";

fn silent(kind: &'static str) -> EventError {
    EventError::Malformed { kind, why: "no worker ever says anything of it".to_owned() }
}
