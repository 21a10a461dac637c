//! Producers.

use std::collections::BTreeMap;

use super::{
    MockWorker, codec::type_name, outbox::Answer, refusal::Refusal, registry::Object,
    rtp_parameters::RtpParameters,
};
use crate::channel::{
    fbs::{
        producer::{DumpResponse, GetStatsResponse, TraceEventType},
        request::Body,
        response,
        rtp_parameters::{CodecMapping, EncodingMapping, MediaKind, RtpMapping, Type},
        transport::{ProduceRequest, ProduceResponse},
    },
    method::{Event, Method},
};

/// What a dump tells of traced events, in its order. It forgets sender reports.
const DUMPED_EVENTS: [TraceEventType; 5] = [
    TraceEventType::Rtp,
    TraceEventType::Keyframe,
    TraceEventType::Nack,
    TraceEventType::Pli,
    TraceEventType::Fir,
];

#[derive(Debug)]
pub(super) struct Producer {
    pub id: String,
    pub router: String,
    pub transport: String,
    pub kind: MediaKind,
    pub stream_type: Type,
    pub rtp_parameters: RtpParameters,
    /// Payload types by the ones that the sender uses.
    pub payload_types: BTreeMap<u8, u8>,
    mapped: Vec<EncodingMapping>,
    pub paused: bool,
    trace: Vec<TraceEventType>,
    pub consumers: Vec<String>,
    pub observers: Vec<String>,
}

impl Producer {
    fn new(body: ProduceRequest, router: String, transport: String) -> Result<Self, Refusal> {
        let rtp_parameters = RtpParameters::parse(*body.rtp_parameters)?;
        let (Some(stream_type), Some(mime)) =
            (rtp_parameters.stream_type(), rtp_parameters.first_mime())
        else {
            return Err(Refusal::type_error("invalid RTP parameters"));
        };
        if !mime.supports(stream_type) {
            return Err(Refusal::type_error(format!(
                "{} codec not supported for {}",
                mime.name(),
                type_name(stream_type)
            )));
        }
        let mapped = mapped_encodings(&body.rtp_mapping, &rtp_parameters)?;
        let codecs = &body.rtp_mapping.codecs;
        Ok(Self {
            id: body.producer_id,
            router,
            transport,
            kind: body.kind,
            stream_type,
            rtp_parameters,
            payload_types: codecs
                .iter()
                .map(|codec| (codec.payload_type, codec.mapped_payload_type))
                .collect(),
            mapped,
            paused: body.paused,
            trace: Vec::new(),
            consumers: Vec::new(),
            observers: Vec::new(),
        })
    }

    /// The SSRCs that its consumers know its encodings by.
    pub fn mapped_ssrcs(&self) -> impl Iterator<Item = u32> {
        self.mapped.iter().map(|encoding| encoding.mapped_ssrc)
    }

    fn dump(&self) -> DumpResponse {
        DumpResponse {
            id: self.id.clone(),
            kind: self.kind,
            type_: self.stream_type,
            rtp_parameters: Box::new(self.rtp_parameters.dump.clone()),
            rtp_mapping: Box::new(RtpMapping {
                codecs: self
                    .payload_types
                    .iter()
                    .map(|(from, to)| CodecMapping {
                        payload_type: *from,
                        mapped_payload_type: *to,
                    })
                    .collect(),
                encodings: self.mapped.clone(),
            }),
            rtp_streams: Vec::new(),
            trace_event_types: DUMPED_EVENTS
                .into_iter()
                .filter(|event| self.trace.contains(event))
                .collect(),
            paused: self.paused,
        }
    }
}

/// The mapping as the worker keeps it. Its dumps show no RID, only an empty one.
fn mapped_encodings(
    mapping: &RtpMapping,
    parameters: &RtpParameters,
) -> Result<Vec<EncodingMapping>, Refusal> {
    let wrong = |what: &str| {
        Err(Refusal::type_error(format!("wrong entry in rtpMapping.encodings ({what})")))
    };
    let no_mid = parameters.dump.mid.as_deref().unwrap_or_default().is_empty();
    for encoding in &mapping.encodings {
        if encoding.ssrc.is_none() && encoding.rid.is_none() {
            if mapping.encodings.len() > 1 {
                return wrong("missing ssrc or rid");
            }
            if no_mid {
                return wrong("missing ssrc or rid, or rtpParameters.mid");
            }
        }
        if encoding.mapped_ssrc == 0 {
            return wrong("missing mappedSsrc");
        }
    }
    if mapping.encodings.len() != parameters.dump.encodings.len() {
        return Err(Refusal::type_error(
            "rtpParameters.encodings size does not match rtpMapping.encodings size",
        ));
    }
    let kept = mapping.encodings.iter().map(|encoding| EncodingMapping {
        rid: Some(String::new()),
        ssrc: encoding.ssrc.filter(|ssrc| *ssrc != 0),
        mapped_ssrc: encoding.mapped_ssrc,
    });
    Ok(kept.collect())
}

impl MockWorker {
    pub(super) fn produce(
        &mut self,
        transport_id: &str,
        body: ProduceRequest,
        method: Method,
    ) -> Answer {
        let Some(transport) = self.registry.transport(transport_id) else {
            return Err(Refusal::no_handler(transport_id, method));
        };
        if transport.producers.contains(&body.producer_id) {
            return Err(Refusal::duplicate("a Producer with same producerId", method));
        }
        let producer = Producer::new(body, transport.router.clone(), transport_id.to_owned())?;
        self.registry.check_free(&producer.id)?;
        let stream_type = producer.stream_type;
        if let Some(transport) = self.registry.transport_mut(transport_id) {
            transport.listener.add(&producer)?;
            transport.learn_extensions(&producer);
            transport.producers.push(producer.id.clone());
        }
        self.registry.insert(producer.id.clone(), Object::Producer(Box::new(producer)));
        Ok(Some(response::Body::TransportProduceResponse(Box::new(ProduceResponse {
            type_: stream_type,
        }))))
    }

    pub(super) fn producer_request(
        &mut self,
        id: &str,
        method: Method,
        body: Option<Body>,
    ) -> Answer {
        let Some(producer) = self.registry.producer_mut(id) else {
            return Err(Refusal::no_handler(id, method));
        };
        match (method, body) {
            (Method::ProducerDump, _) => {
                return Ok(Some(response::Body::ProducerDumpResponse(Box::new(producer.dump()))));
            }
            (Method::ProducerGetStats, _) => {
                return Ok(Some(response::Body::ProducerGetStatsResponse(Box::new(
                    GetStatsResponse { stats: Vec::new() },
                ))));
            }
            (Method::ProducerPause, _) => self.set_producer_paused(id, true),
            (Method::ProducerResume, _) => self.set_producer_paused(id, false),
            (
                Method::ProducerEnableTraceEvent,
                Some(Body::ProducerEnableTraceEventRequest(body)),
            ) => producer.trace = body.events,
            _ => return Err(Refusal::unknown_method(method)),
        }
        Ok(None)
    }

    fn set_producer_paused(&mut self, id: &str, paused: bool) {
        let Some(producer) = self.registry.producer_mut(id) else { return };
        if producer.paused == paused {
            return;
        }
        producer.paused = paused;
        for consumer_id in producer.consumers.clone() {
            self.set_consumer_producer_paused(&consumer_id, paused);
        }
    }

    /// Tells a consumer that its producer is paused or resumed.
    pub(super) fn set_consumer_producer_paused(&mut self, id: &str, paused: bool) {
        let was_active = self.is_consumer_active(id);
        let Some(consumer) = self.registry.consumer_mut(id) else { return };
        if consumer.producer_paused == paused {
            return;
        }
        consumer.producer_paused = paused;
        if was_active {
            self.lose_layers(id);
        }
        let event =
            if paused { Event::ConsumerProducerPause } else { Event::ConsumerProducerResume };
        self.outbox.notify(id, event, None);
    }
}
