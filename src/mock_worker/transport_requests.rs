//! Requests to a transport.

use super::{
    MockWorker,
    outbox::Answer,
    refusal::Refusal,
    transport::{MAX_BITRATE, Role, Transport},
};
use crate::channel::{
    fbs::{request::Body, transport::TraceEventType},
    method::Method,
};

/// The lowest outgoing bitrate that can be asked for.
const MIN_OUTGOING_BITRATE: u64 = 30_000;

impl MockWorker {
    pub(super) fn transport_request(
        &mut self,
        id: &str,
        method: Method,
        body: Option<Body>,
    ) -> Answer {
        match (method, body) {
            (Method::TransportDump, _) => Ok(self.transport_dump(id)),
            (Method::TransportGetStats, _) => Ok(self.transport_stats(id)),
            (Method::TransportProduce, Some(Body::TransportProduceRequest(body))) => {
                self.produce(id, *body, method)
            }
            (Method::TransportConsume, Some(Body::TransportConsumeRequest(body))) => {
                self.consume(id, *body, method)
            }
            (Method::TransportProduceData, Some(Body::TransportProduceDataRequest(body))) => {
                self.check_carries_data(id, "")?;
                self.produce_data(id, *body, method)
            }
            (Method::TransportConsumeData, Some(Body::TransportConsumeDataRequest(body))) => {
                self.check_carries_data(id, "")?;
                self.consume_data(id, *body, method)
            }
            (
                Method::TransportCloseProducer
                | Method::TransportCloseConsumer
                | Method::TransportCloseDataproducer
                | Method::TransportCloseDataconsumer,
                Some(body),
            ) => self.close_child(id, method, body),
            (method, body) => self.own_transport_request(id, method, body),
        }
    }

    /// What changes the transport itself.
    fn own_transport_request(&mut self, id: &str, method: Method, body: Option<Body>) -> Answer {
        let Some(transport) = self.registry.transport_mut(id) else {
            return Err(Refusal::no_handler(id, method));
        };
        match (method, body, &mut transport.role) {
            (
                Method::PlaintransportConnect,
                Some(Body::PlainTransportConnectRequest(body)),
                Role::Plain(plain),
            ) => {
                let answer = plain.connect(&body, &mut self.numbers)?;
                self.may_connect_sctp(id);
                Ok(answer)
            }
            (
                Method::PipetransportConnect,
                Some(Body::PipeTransportConnectRequest(body)),
                Role::Pipe(pipe),
            ) => {
                let answer = pipe.connect(&body)?;
                self.may_connect_sctp(id);
                Ok(answer)
            }
            (
                Method::WebrtctransportConnect,
                Some(Body::WebRtcTransportConnectRequest(body)),
                Role::WebRtc(web_rtc),
            ) => web_rtc.connect(&body),
            (Method::TransportRestartIce, _, Role::WebRtc(web_rtc)) => {
                Ok(Some(web_rtc.restart_ice(&mut self.numbers)))
            }
            (method, body, _) => transport.set(method, body),
        }
    }

    fn check_carries_data(&self, id: &str, doing: &str) -> Result<(), Refusal> {
        let carries = self
            .registry
            .transport(id)
            .is_some_and(|transport| transport.sctp.is_some() || transport.direct);
        if carries {
            Ok(())
        } else {
            Err(Refusal::error(format!("{doing}SCTP not enabled and not a direct Transport")))
        }
    }

    fn close_child(&mut self, id: &str, method: Method, body: Body) -> Answer {
        let Some(transport) = self.registry.transport(id) else {
            return Err(Refusal::no_handler(id, method));
        };
        match body {
            Body::TransportCloseProducerRequest(body) => {
                if !transport.producers.contains(&body.producer_id) {
                    return Err(Refusal::missing("Producer", method));
                }
                self.close_producer(&body.producer_id);
            }
            Body::TransportCloseConsumerRequest(body) => {
                if !transport.consumers.contains(&body.consumer_id) {
                    return Err(Refusal::missing("Consumer", method));
                }
                self.close_consumer(&body.consumer_id);
            }
            Body::TransportCloseDataProducerRequest(body) => {
                self.check_carries_data(id, "cannot close DataProducer, ")?;
                if !transport.data_producers.contains(&body.data_producer_id) {
                    return Err(Refusal::missing("DataProducer", method));
                }
                self.close_data_producer(&body.data_producer_id);
            }
            Body::TransportCloseDataConsumerRequest(body) => {
                self.check_carries_data(id, "cannot close DataConsumer, ")?;
                if !transport.data_consumers.contains(&body.data_consumer_id) {
                    return Err(Refusal::missing("DataConsumer", method));
                }
                self.close_data_consumer(&body.data_consumer_id);
            }
            _ => return Err(Refusal::unknown_method(method)),
        }
        Ok(None)
    }
}

impl Transport {
    fn set(&mut self, method: Method, body: Option<Body>) -> Answer {
        match (method, body) {
            (
                Method::TransportSetMaxIncomingBitrate,
                Some(Body::TransportSetMaxIncomingBitrateRequest(body)),
            ) => {
                check_bitrate(body.max_incoming_bitrate)?;
                self.max_incoming_bitrate = body.max_incoming_bitrate;
            }
            (
                Method::TransportSetMaxOutgoingBitrate,
                Some(Body::TransportSetMaxOutgoingBitrateRequest(body)),
            ) => {
                let bitrate = body.max_outgoing_bitrate;
                check_outgoing_bitrate(bitrate)?;
                if bitrate > 0 && bitrate < self.min_outgoing_bitrate {
                    return Err(Refusal::type_error(format!(
                        "bitrate must be >= current min outgoing bitrate ({}) or 0 (unlimited)",
                        self.min_outgoing_bitrate
                    )));
                }
                self.max_outgoing_bitrate = bitrate;
            }
            (
                Method::TransportSetMinOutgoingBitrate,
                Some(Body::TransportSetMinOutgoingBitrateRequest(body)),
            ) => {
                let bitrate = body.min_outgoing_bitrate;
                check_outgoing_bitrate(bitrate)?;
                if self.max_outgoing_bitrate > 0 && bitrate > self.max_outgoing_bitrate {
                    return Err(Refusal::type_error(format!(
                        "bitrate must be <= current max outgoing bitrate ({}) or 0 (unlimited)",
                        self.max_outgoing_bitrate
                    )));
                }
                self.min_outgoing_bitrate = bitrate;
            }
            (
                Method::TransportEnableTraceEvent,
                Some(Body::TransportEnableTraceEventRequest(body)),
            ) => {
                self.trace = [TraceEventType::Probation, TraceEventType::Bwe]
                    .into_iter()
                    .filter(|event| body.events.contains(event))
                    .collect();
            }
            (method, _) => return Err(Refusal::unknown_method(method)),
        }
        Ok(None)
    }
}

fn check_bitrate(bitrate: u64) -> Result<(), Refusal> {
    if bitrate > MAX_BITRATE {
        return Err(Refusal::type_error(format!(
            "bitrate must be <= {MAX_BITRATE} or 0 (unlimited)"
        )));
    }
    Ok(())
}

fn check_outgoing_bitrate(bitrate: u64) -> Result<(), Refusal> {
    check_bitrate(bitrate)?;
    if bitrate > 0 && bitrate < MIN_OUTGOING_BITRATE {
        return Err(Refusal::type_error(format!(
            "bitrate must be >= {MIN_OUTGOING_BITRATE} or 0 (unlimited)"
        )));
    }
    Ok(())
}
