//! Consumers.

use super::{
    MockWorker,
    outbox::Answer,
    refusal::Refusal,
    registry::Object,
    rtp_parameters::{Layers, RtpParameters, parse_encoding},
    stats,
    transport::Transport,
};
use crate::channel::{
    fbs::{
        consumer::{
            BaseConsumerDump, ConsumerDump, ConsumerLayers, ConsumerScore, DumpResponse,
            GetStatsResponse, LayersChangeNotification, SetPreferredLayersResponse,
            SetPriorityResponse, TraceEventType,
        },
        notification,
        request::Body,
        response,
        rtp_parameters::{MediaKind, RtpEncodingParameters, Type},
        transport::{ConsumeRequest, ConsumeResponse},
    },
    method::{Event, Method},
};

/// What a dump tells of traced events, in its order.
const DUMPED_EVENTS: [TraceEventType; 5] = [
    TraceEventType::Rtp,
    TraceEventType::Keyframe,
    TraceEventType::Nack,
    TraceEventType::Pli,
    TraceEventType::Fir,
];

/// The score of a stream that nobody complained of.
const BEST_SCORE: u8 = 10;

#[derive(Debug)]
pub(super) struct Consumer {
    pub id: String,
    pub producer: String,
    pub transport: String,
    pub kind: MediaKind,
    pub stream_type: Type,
    pub rtp_parameters: RtpParameters,
    consumable: Vec<RtpEncodingParameters>,
    pub paused: bool,
    pub producer_paused: bool,
    priority: u8,
    preferred: Option<ConsumerLayers>,
    trace: Vec<TraceEventType>,
}

impl Consumer {
    fn new(body: ConsumeRequest, transport: String) -> Result<Self, Refusal> {
        let pipe = body.type_ == Type::Pipe;
        let rtp_parameters = RtpParameters::parse(*body.rtp_parameters)?;
        check_ssrcs(&rtp_parameters)?;
        if body.consumable_rtp_encodings.is_empty() {
            return Err(Refusal::type_error("empty consumableRtpEncodings"));
        }
        let (consumable, layers): (Vec<_>, Vec<_>) =
            body.consumable_rtp_encodings.into_iter().map(parse_encoding).unzip();
        if consumable.iter().any(|encoding| encoding.ssrc.is_none()) {
            return Err(Refusal::type_error(
                "wrong encoding in consumableRtpEncodings (missing ssrc)",
            ));
        }
        if pipe && rtp_parameters.dump.encodings.len() != consumable.len() {
            return Err(Refusal::type_error(
                "number of rtpParameters.encodings and consumableRtpEncodings do not match",
            ));
        }
        let stream_type = match layers.as_slice() {
            _ if pipe => Type::Pipe,
            [Layers { spatial: 0 | 1, temporal: 0 | 1 }] => Type::Simple,
            [_] => Type::Svc,
            _ => Type::Simulcast,
        };
        let preferred = preferred_layers(
            stream_type,
            &rtp_parameters,
            consumable.len(),
            body.preferred_layers.as_deref(),
        )?;
        Ok(Self {
            id: body.consumer_id,
            producer: body.producer_id,
            transport,
            kind: body.kind,
            stream_type,
            rtp_parameters,
            consumable,
            paused: body.paused,
            producer_paused: false,
            priority: 1,
            preferred,
            trace: Vec::new(),
        })
    }

    fn score(&self, encodings: usize) -> ConsumerScore {
        let producer_score = if self.stream_type == Type::Pipe { BEST_SCORE } else { 0 };
        ConsumerScore { score: BEST_SCORE, producer_score, producer_scores: vec![0; encodings] }
    }

    fn dump(&self) -> DumpResponse {
        let layer = |layer: Option<u8>| Some(layer.map_or(-1, i16::from));
        let preferred = self.preferred.as_ref();
        // Simple consumers say so of the one layer they have, whether it flows or not.
        let current = Some(if self.stream_type == Type::Simple { 0 } else { -1 });
        let mut payload_types: Vec<u8> = self
            .rtp_parameters
            .dump
            .codecs
            .iter()
            .zip(&self.rtp_parameters.mimes)
            .filter(|(_, mime)| mime.role == super::codec::Role::Media)
            .map(|(codec, _)| codec.payload_type)
            .filter(|payload_type| *payload_type < 128)
            .collect();
        payload_types.sort_unstable();
        DumpResponse {
            data: Box::new(ConsumerDump {
                base: Box::new(BaseConsumerDump {
                    id: self.id.clone(),
                    type_: self.stream_type,
                    producer_id: self.producer.clone(),
                    kind: self.kind,
                    rtp_parameters: Box::new(self.rtp_parameters.dump.clone()),
                    consumable_rtp_encodings: self.consumable.clone(),
                    supported_codec_payload_types: payload_types,
                    trace_event_types: DUMPED_EVENTS
                        .into_iter()
                        .filter(|event| self.trace.contains(event))
                        .collect(),
                    paused: self.paused,
                    producer_paused: self.producer_paused,
                    priority: self.priority,
                }),
                rtp_streams: stats::stream_dumps(self, BEST_SCORE),
                preferred_spatial_layer: layer(preferred.map(|layers| layers.spatial_layer)),
                target_spatial_layer: layer(None),
                current_spatial_layer: current,
                preferred_temporal_layer: layer(preferred.and_then(|layers| layers.temporal_layer)),
                target_temporal_layer: layer(None),
                current_temporal_layer: current,
            }),
        }
    }

    fn prefer(&mut self, wanted: &ConsumerLayers) -> SetPreferredLayersResponse {
        if let (Some(preferred), Some(layers)) =
            (&mut self.preferred, self.rtp_parameters.layers.first())
        {
            *preferred = clamped(*layers, Some(wanted));
        }
        SetPreferredLayersResponse { preferred_layers: self.preferred.clone().map(Box::new) }
    }
}

fn check_ssrcs(parameters: &RtpParameters) -> Result<(), Refusal> {
    for encoding in &parameters.dump.encodings {
        let missing = match (&encoding.ssrc, &encoding.rtx) {
            (None, _) => "ssrc",
            (_, Some(rtx)) if rtx.ssrc == 0 => "rtx.ssrc",
            _ => continue,
        };
        return Err(Refusal::type_error(format!(
            "invalid encoding in rtpParameters (missing {missing})"
        )));
    }
    Ok(())
}

/// The layers that a new consumer prefers. Simple consumers and pipes know none.
fn preferred_layers(
    stream_type: Type,
    parameters: &RtpParameters,
    encodings: usize,
    wanted: Option<&ConsumerLayers>,
) -> Result<Option<ConsumerLayers>, Refusal> {
    let (Some(layers), Some(mime)) = (parameters.layers.first(), parameters.first_mime()) else {
        return Ok(None);
    };
    let name = match stream_type {
        Type::Simple | Type::Pipe => return Ok(None),
        Type::Simulcast => {
            if usize::from(layers.spatial) != encodings {
                return Err(Refusal::type_error(
                    "encoding.spatialLayers does not match number of consumableRtpEncodings",
                ));
            }
            "simulcast"
        }
        Type::Svc => {
            if layers.spatial < 2 && layers.temporal < 2 {
                return Err(Refusal::type_error("invalid number of layers"));
            }
            "svc"
        }
    };
    if !mime.supports(stream_type) {
        return Err(Refusal::type_error(format!("{} codec not supported for {name}", mime.name())));
    }
    Ok(Some(clamped(*layers, wanted)))
}

/// The wanted layers, or else the highest ones.
fn clamped(layers: Layers, wanted: Option<&ConsumerLayers>) -> ConsumerLayers {
    let highest = |count: u8| count.saturating_sub(1);
    let (spatial, temporal) = (highest(layers.spatial), highest(layers.temporal));
    ConsumerLayers {
        spatial_layer: wanted.map_or(spatial, |wanted| wanted.spatial_layer.min(spatial)),
        temporal_layer: Some(
            wanted
                .and_then(|wanted| wanted.temporal_layer)
                .map_or(temporal, |layer| layer.min(temporal)),
        ),
    }
}

impl MockWorker {
    pub(super) fn consume(
        &mut self,
        transport_id: &str,
        body: ConsumeRequest,
        method: Method,
    ) -> Answer {
        let Some(transport) = self.registry.transport(transport_id) else {
            return Err(Refusal::no_handler(transport_id, method));
        };
        if transport.consumers.contains(&body.consumer_id) {
            return Err(Refusal::duplicate("a Consumer with same consumerId", method));
        }
        let mut consumer = Consumer::new(body, transport_id.to_owned())?;
        self.registry.check_free(&consumer.id)?;
        let router = transport.router.clone();
        let id = consumer.id.clone();
        let producer = self
            .registry
            .producer_mut(&consumer.producer)
            .filter(|producer| producer.router == router)
            .ok_or_else(|| {
                Refusal::not_found(format!("Producer not found [producerId:{}]", consumer.producer))
            })?;
        producer.consumers.push(id.clone());
        if !producer.mapped_ssrcs().eq(consumer.consumable.iter().filter_map(|e| e.ssrc)) {
            self.violations.push(format!(
                "consumer {id} has other consumable SSRCs than its producer maps to"
            ));
        }
        consumer.producer_paused = producer.paused;
        if producer.paused {
            self.outbox.notify(&id, Event::ConsumerProducerPause, None);
        }
        let response = ConsumeResponse {
            paused: consumer.paused,
            producer_paused: consumer.producer_paused,
            score: Box::new(consumer.score(producer.mapped_ssrcs().count())),
            preferred_layers: consumer.preferred.clone().map(Box::new),
        };
        if let Some(transport) = self.registry.transport_mut(transport_id) {
            transport.consumers.push(id.clone());
        }
        self.registry.insert(id, Object::Consumer(Box::new(consumer)));
        Ok(Some(response::Body::TransportConsumeResponse(Box::new(response))))
    }

    pub(super) fn consumer_request(
        &mut self,
        id: &str,
        method: Method,
        body: Option<Body>,
    ) -> Answer {
        let clock = self.clock;
        let active = self.is_consumer_active(id);
        let Some(consumer) = self.registry.consumer_mut(id) else {
            return Err(Refusal::no_handler(id, method));
        };
        let answer = match (method, body) {
            (Method::ConsumerDump, _) => {
                response::Body::ConsumerDumpResponse(Box::new(consumer.dump()))
            }
            (Method::ConsumerGetStats, _) => {
                let stats = stats::send_stats(consumer, clock, BEST_SCORE);
                response::Body::ConsumerGetStatsResponse(Box::new(GetStatsResponse { stats }))
            }
            (
                Method::ConsumerSetPreferredLayers,
                Some(Body::ConsumerSetPreferredLayersRequest(body)),
            ) => response::Body::ConsumerSetPreferredLayersResponse(Box::new(
                consumer.prefer(&body.preferred_layers),
            )),
            (Method::ConsumerSetPriority, Some(Body::ConsumerSetPriorityRequest(body))) => {
                if body.priority < 1 {
                    return Err(Refusal::type_error("wrong priority (must be higher than 0)"));
                }
                consumer.priority = body.priority;
                response::Body::ConsumerSetPriorityResponse(Box::new(SetPriorityResponse {
                    priority: body.priority,
                }))
            }
            (Method::ConsumerPause, _) => {
                consumer.paused = true;
                if active {
                    self.lose_layers(id);
                }
                return Ok(None);
            }
            (Method::ConsumerResume, _) => {
                consumer.paused = false;
                return Ok(None);
            }
            (Method::ConsumerRequestKeyFrame, _) => {
                if active && consumer.stream_type == Type::Pipe && consumer.kind == MediaKind::Audio
                {
                    self.violations.push(format!(
                        "a key frame request to the audio pipe consumer {id} is never answered"
                    ));
                }
                return Ok(None);
            }
            (
                Method::ConsumerEnableTraceEvent,
                Some(Body::ConsumerEnableTraceEventRequest(body)),
            ) => {
                consumer.trace = body.events;
                return Ok(None);
            }
            _ => return Err(Refusal::unknown_method(method)),
        };
        Ok(Some(answer))
    }

    /// Whether packets would go through the consumer.
    pub(super) fn is_consumer_active(&self, id: &str) -> bool {
        self.registry.consumer(id).is_some_and(|consumer| {
            !consumer.paused
                && !consumer.producer_paused
                && self.registry.transport(&consumer.transport).is_some_and(Transport::is_connected)
        })
    }

    /// An active consumer with layers tells that it sends none any more.
    pub(super) fn lose_layers(&mut self, id: &str) {
        let layered = self
            .registry
            .consumer(id)
            .is_some_and(|consumer| matches!(consumer.stream_type, Type::Simulcast | Type::Svc));
        if layered {
            let body = LayersChangeNotification { layers: None };
            self.outbox.notify(
                id,
                Event::ConsumerLayersChange,
                Some(notification::Body::ConsumerLayersChangeNotification(Box::new(body))),
            );
        }
    }
}
