//! `DataConsumer`s.

use std::collections::BTreeSet;

use super::{
    MockWorker,
    outbox::Answer,
    refusal::Refusal,
    registry::{Object, Registry},
    sctp::{SendFailure, parse_stream},
    transport::Transport,
};
use crate::channel::{
    fbs::{
        data_consumer::{
            AddSubchannelResponse, DumpResponse, GetBufferedAmountResponse, GetStatsResponse,
            RemoveSubchannelResponse, SendResponse, SetSubchannelsResponse, Type,
        },
        request::Body,
        response,
        sctp_parameters::SctpStreamParameters,
        transport::ConsumeDataRequest,
    },
    method::{Event, Method},
};

#[derive(Debug)]
pub(super) struct DataConsumer {
    pub id: String,
    pub data_producer: String,
    pub transport: String,
    /// Absent for direct ones.
    pub stream: Option<SctpStreamParameters>,
    label: String,
    protocol: String,
    pub paused: bool,
    pub data_producer_paused: bool,
    pub subchannels: BTreeSet<u16>,
    pub messages_sent: u64,
    pub bytes_sent: u64,
}

impl DataConsumer {
    fn new(body: ConsumeDataRequest, transport: String) -> Result<Self, Refusal> {
        let stream = match body.type_ {
            Type::Sctp => Some(parse_stream(body.sctp_stream_parameters)?),
            Type::Direct => None,
        };
        Ok(Self {
            id: body.data_consumer_id,
            data_producer: body.data_producer_id,
            transport,
            stream,
            label: body.label.unwrap_or_default(),
            protocol: body.protocol.unwrap_or_default(),
            paused: body.paused,
            data_producer_paused: false,
            subchannels: body.subchannels.unwrap_or_default().into_iter().collect(),
            messages_sent: 0,
            bytes_sent: 0,
        })
    }

    pub fn is_active(&self) -> bool {
        !self.paused && !self.data_producer_paused
    }

    fn subchannels(&self) -> Vec<u16> {
        self.subchannels.iter().copied().collect()
    }

    fn buffered(&self, registry: &Registry) -> u32 {
        registry
            .transport(&self.transport)
            .and_then(|transport| transport.sctp.as_ref())
            .zip(self.stream.as_ref())
            .map_or(0, |(sctp, stream)| sctp.buffered(stream.stream_id))
    }

    fn dump(&self, registry: &Registry) -> response::Body {
        let low_threshold = registry
            .transport(&self.transport)
            .and_then(|transport| transport.sctp.as_ref())
            .zip(self.stream.as_ref())
            .map_or(0, |(sctp, stream)| sctp.low_threshold(stream.stream_id));
        response::Body::DataConsumerDumpResponse(Box::new(DumpResponse {
            id: self.id.clone(),
            data_producer_id: self.data_producer.clone(),
            type_: if self.stream.is_some() { Type::Sctp } else { Type::Direct },
            sctp_stream_parameters: self.stream.clone().map(Box::new),
            label: self.label.clone(),
            protocol: self.protocol.clone(),
            buffered_amount: self.buffered(registry),
            buffered_amount_low_threshold: low_threshold,
            paused: self.paused,
            data_producer_paused: self.data_producer_paused,
            subchannels: self.subchannels(),
        }))
    }

    fn stats(&self, registry: &Registry, timestamp: u64) -> response::Body {
        response::Body::DataConsumerGetStatsResponse(Box::new(GetStatsResponse {
            timestamp,
            label: self.label.clone(),
            protocol: self.protocol.clone(),
            messages_sent: self.messages_sent,
            bytes_sent: self.bytes_sent,
            buffered_amount: self.buffered(registry),
        }))
    }

    /// Changes the subchannels. `None` for another method.
    fn subscribe(&mut self, method: Method, body: Option<&Body>) -> Option<response::Body> {
        match (method, body?) {
            (Method::DataconsumerSetSubchannels, Body::DataConsumerSetSubchannelsRequest(body)) => {
                self.subchannels = body.subchannels.iter().copied().collect();
                let subchannels = self.subchannels();
                Some(response::Body::DataConsumerSetSubchannelsResponse(Box::new(
                    SetSubchannelsResponse { subchannels },
                )))
            }
            (Method::DataconsumerAddSubchannel, Body::DataConsumerAddSubchannelRequest(body)) => {
                self.subchannels.insert(body.subchannel);
                let subchannels = self.subchannels();
                Some(response::Body::DataConsumerAddSubchannelResponse(Box::new(
                    AddSubchannelResponse { subchannels },
                )))
            }
            (
                Method::DataconsumerRemoveSubchannel,
                Body::DataConsumerRemoveSubchannelRequest(body),
            ) => {
                self.subchannels.remove(&body.subchannel);
                let subchannels = self.subchannels();
                Some(response::Body::DataConsumerRemoveSubchannelResponse(Box::new(
                    RemoveSubchannelResponse { subchannels },
                )))
            }
            _ => None,
        }
    }
}

impl MockWorker {
    pub(super) fn consume_data(
        &mut self,
        transport_id: &str,
        body: ConsumeDataRequest,
        method: Method,
    ) -> Answer {
        let Some(transport) = self.registry.transport(transport_id) else {
            return Err(Refusal::no_handler(transport_id, method));
        };
        if transport.data_consumers.contains(&body.data_consumer_id) {
            return Err(Refusal::duplicate("a DataConsumer with same dataConsumerId", method));
        }
        let mut consumer = DataConsumer::new(body, transport_id.to_owned())?;
        self.registry.check_free(&consumer.id)?;
        check_type(&consumer, transport, method)?;
        let router = transport.router.clone();
        let id = consumer.id.clone();
        let producer = self
            .registry
            .data_producer_mut(&consumer.data_producer)
            .filter(|producer| producer.router == router)
            .ok_or_else(|| {
                Refusal::not_found(format!(
                    "DataProducer not found [dataProducerId:{}]",
                    consumer.data_producer
                ))
            })?;
        producer.consumers.push(id.clone());
        consumer.data_producer_paused = producer.paused;
        if producer.paused {
            self.outbox.notify(&id, Event::DataconsumerDataproducerPause, None);
        }
        if let Some(transport) = self.registry.transport_mut(transport_id) {
            transport.data_consumers.push(id.clone());
            if let (Some(sctp), Some(stream)) = (&mut transport.sctp, &consumer.stream) {
                sctp.outgoing.insert(stream.stream_id, id.clone());
            }
        }
        let dump = consumer.dump(&self.registry);
        self.registry.insert(id, Object::DataConsumer(Box::new(consumer)));
        self.may_connect_sctp(transport_id);
        Ok(Some(dump))
    }

    pub(super) fn data_consumer_request(
        &mut self,
        id: &str,
        method: Method,
        body: Option<Body>,
    ) -> Answer {
        let Some(consumer) = self.registry.data_consumer_mut(id) else {
            return Err(Refusal::no_handler(id, method));
        };
        if let Some(answer) = consumer.subscribe(method, body.as_ref()) {
            return Ok(Some(answer));
        }
        let stream = consumer
            .stream
            .as_ref()
            .map(|stream| stream.stream_id)
            .ok_or_else(|| Refusal::type_error("invalid DataConsumer type"));
        match (method, body) {
            (Method::DataconsumerPause, _) => {
                consumer.paused = true;
                return Ok(None);
            }
            (Method::DataconsumerResume, _) => {
                consumer.paused = false;
                return Ok(None);
            }
            (
                Method::DataconsumerSetBufferedAmountLowThreshold,
                Some(Body::DataConsumerSetBufferedAmountLowThresholdRequest(body)),
            ) => {
                let stream = stream?;
                let transport = consumer.transport.clone();
                if let Some(sctp) =
                    self.registry.transport_mut(&transport).and_then(|t| t.sctp.as_mut())
                {
                    sctp.set_low_threshold(stream, body.threshold);
                }
                return Ok(None);
            }
            (Method::DataconsumerSend, Some(Body::DataConsumerSendRequest(body))) => {
                return self.send_data(id, stream?, body.data.len());
            }
            _ => {}
        }
        let Some(consumer) = self.registry.data_consumer(id) else {
            return Err(Refusal::no_handler(id, method));
        };
        Ok(Some(match method {
            Method::DataconsumerDump => consumer.dump(&self.registry),
            Method::DataconsumerGetStats => consumer.stats(&self.registry, self.clock),
            Method::DataconsumerGetBufferedAmount => {
                stream?;
                let buffered_amount = consumer.buffered(&self.registry);
                response::Body::DataConsumerGetBufferedAmountResponse(Box::new(
                    GetBufferedAmountResponse { buffered_amount },
                ))
            }
            _ => return Err(Refusal::unknown_method(method)),
        }))
    }

    fn send_data(&mut self, id: &str, stream: u16, length: usize) -> Answer {
        let failed = || Refusal::error("message send failed");
        let consumer = self.registry.data_consumer_mut(id).ok_or_else(failed)?;
        let (transport_id, active) = (consumer.transport.clone(), consumer.is_active());
        let transport = self.registry.transport_mut(&transport_id).ok_or_else(failed)?;
        let limit = transport.max_send_message_size;
        if u32::try_from(length).is_ok_and(|length| length > limit) {
            return Err(Refusal::type_error(format!(
                "given message exceeds maxMessageSize value [maxMessageSize:{limit}, \
                 len:{length}]"
            )));
        }
        if !active {
            return Err(failed());
        }
        let sctp = transport.sctp.as_mut().ok_or_else(failed)?;
        let sent = sctp.send(stream, length);
        let buffered_amount = sctp.buffered(stream);
        if let Some(consumer) = self.registry.data_consumer_mut(id) {
            consumer.messages_sent += 1;
            consumer.bytes_sent += u64::try_from(length).unwrap_or(u64::MAX);
        }
        match sent {
            Ok(()) => Ok(Some(response::Body::DataConsumerSendResponse(Box::new(SendResponse {
                buffered_amount,
            })))),
            Err(SendFailure::BufferFull) => {
                self.outbox.notify_after(id, Event::DataconsumerSctpSendbufferFull, None);
                Err(Refusal::error("sctpsendbufferfull"))
            }
            Err(SendFailure::Other) => Err(failed()),
        }
    }
}

fn check_type(
    consumer: &DataConsumer,
    transport: &Transport,
    method: Method,
) -> Result<(), Refusal> {
    match (&consumer.stream, &transport.sctp) {
        (Some(_), None) => Err(Refusal::type_error(
            "cannot create a DataConsumer of type 'sctp', SCTP not enabled in this Transport",
        )),
        (Some(stream), Some(sctp)) if sctp.outgoing.contains_key(&stream.stream_id) => {
            let what = format!("an SCTP DataConsumer with same streamId {}", stream.stream_id);
            Err(Refusal::duplicate(&what, method))
        }
        (None, _) if !transport.direct => Err(Refusal::type_error(
            "cannot create a DataConsumer of type 'direct', not a direct Transport",
        )),
        _ => Ok(()),
    }
}
