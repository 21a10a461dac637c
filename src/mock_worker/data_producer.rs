//! `DataProducer`s.

use super::{MockWorker, outbox::Answer, refusal::Refusal, registry::Object, sctp::parse_stream};
use crate::channel::{
    fbs::{
        data_producer::{DumpResponse, GetStatsResponse, Type},
        response,
        sctp_parameters::SctpStreamParameters,
        transport::ProduceDataRequest,
    },
    method::{Event, Method},
};

#[derive(Debug)]
pub(super) struct DataProducer {
    pub id: String,
    pub router: String,
    pub transport: String,
    /// Absent for direct ones.
    pub stream: Option<SctpStreamParameters>,
    label: String,
    protocol: String,
    pub paused: bool,
    pub messages_received: u64,
    pub bytes_received: u64,
    pub consumers: Vec<String>,
}

impl DataProducer {
    fn new(body: ProduceDataRequest, router: String, transport: String) -> Result<Self, Refusal> {
        let stream = match body.type_ {
            Type::Sctp => Some(parse_stream(body.sctp_stream_parameters)?),
            Type::Direct => None,
        };
        Ok(Self {
            id: body.data_producer_id,
            router,
            transport,
            stream,
            label: body.label.unwrap_or_default(),
            protocol: body.protocol.unwrap_or_default(),
            paused: body.paused,
            messages_received: 0,
            bytes_received: 0,
            consumers: Vec::new(),
        })
    }

    fn dump(&self) -> response::Body {
        response::Body::DataProducerDumpResponse(Box::new(DumpResponse {
            id: self.id.clone(),
            type_: if self.stream.is_some() { Type::Sctp } else { Type::Direct },
            sctp_stream_parameters: self.stream.clone().map(Box::new),
            label: self.label.clone(),
            protocol: self.protocol.clone(),
            paused: self.paused,
        }))
    }
}

impl MockWorker {
    pub(super) fn produce_data(
        &mut self,
        transport_id: &str,
        body: ProduceDataRequest,
        method: Method,
    ) -> Answer {
        let Some(transport) = self.registry.transport(transport_id) else {
            return Err(Refusal::no_handler(transport_id, method));
        };
        if transport.data_producers.contains(&body.data_producer_id) {
            return Err(Refusal::duplicate("a DataProducer with same dataProducerId", method));
        }
        let producer = DataProducer::new(body, transport.router.clone(), transport_id.to_owned())?;
        self.registry.check_free(&producer.id)?;
        let id = producer.id.clone();
        let Some(transport) = self.registry.transport_mut(transport_id) else {
            return Err(Refusal::no_handler(transport_id, method));
        };
        match (&producer.stream, &mut transport.sctp) {
            (Some(_), None) => {
                return Err(Refusal::type_error(
                    "cannot create a DataProducer of type 'sctp', SCTP not enabled in this \
                     Transport",
                ));
            }
            (None, _) if !transport.direct => {
                return Err(Refusal::type_error(
                    "cannot create a DataProducer of type 'direct', not a direct Transport",
                ));
            }
            (Some(stream), Some(sctp)) => {
                if sctp.incoming.contains_key(&stream.stream_id) {
                    return Err(Refusal::error(format!(
                        "streamId already exists in SCTP listener [streamId:{}]",
                        stream.stream_id
                    )));
                }
                sctp.incoming.insert(stream.stream_id, id.clone());
            }
            (None, _) => {}
        }
        transport.data_producers.push(id.clone());
        let dump = producer.dump();
        self.registry.insert(id, Object::DataProducer(Box::new(producer)));
        self.may_connect_sctp(transport_id);
        Ok(Some(dump))
    }

    pub(super) fn data_producer_request(&mut self, id: &str, method: Method) -> Answer {
        let clock = self.clock;
        let Some(producer) = self.registry.data_producer_mut(id) else {
            return Err(Refusal::no_handler(id, method));
        };
        match method {
            Method::DataproducerDump => return Ok(Some(producer.dump())),
            Method::DataproducerGetStats => {
                return Ok(Some(response::Body::DataProducerGetStatsResponse(Box::new(
                    GetStatsResponse {
                        timestamp: clock,
                        label: producer.label.clone(),
                        protocol: producer.protocol.clone(),
                        messages_received: producer.messages_received,
                        bytes_received: producer.bytes_received,
                        buffered_amount: 0,
                    },
                ))));
            }
            Method::DataproducerPause => self.set_data_producer_paused(id, true),
            Method::DataproducerResume => self.set_data_producer_paused(id, false),
            _ => return Err(Refusal::unknown_method(method)),
        }
        Ok(None)
    }

    fn set_data_producer_paused(&mut self, id: &str, paused: bool) {
        let Some(producer) = self.registry.data_producer_mut(id) else { return };
        if producer.paused == paused {
            return;
        }
        producer.paused = paused;
        let event = if paused {
            Event::DataconsumerDataproducerPause
        } else {
            Event::DataconsumerDataproducerResume
        };
        for consumer_id in producer.consumers.clone() {
            if let Some(consumer) = self.registry.data_consumer_mut(&consumer_id)
                && consumer.data_producer_paused != paused
            {
                consumer.data_producer_paused = paused;
                self.outbox.notify(&consumer_id, event, None);
            }
        }
    }
}
