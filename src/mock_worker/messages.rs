//! Notifications that the library sends: RTP, RTCP and data put in by hand.

use super::{
    MockWorker, data_consumer::DataConsumer, refusal::Refusal, registry::Kind, sctp::SendFailure,
    transport::Role,
};
use crate::channel::{
    fbs::{
        consumer::RtpNotification,
        data_consumer::MessageNotification,
        data_producer::SendNotification,
        notification::{Body, Notification},
        rtp_parameters::Type,
    },
    method::Event,
};

/// Bytes of an RTP header without extensions.
const RTP_HEADER: usize = 12;

impl MockWorker {
    /// Takes a notification to an object.
    pub(super) fn deliver(&mut self, notification: Notification) -> Result<(), Refusal> {
        let Notification { handler_id: id, event, body } = notification;
        match (self.registry.kind(&id), event, body) {
            (
                Some(Kind::Transport),
                Event::TransportSendRtcp,
                Some(Body::TransportSendRtcpNotification(body)),
            ) => {
                if let Some(transport) = self.registry.transport_mut(&id)
                    && matches!(transport.role, Role::Direct)
                {
                    transport.bytes_received += count(&body.data);
                }
                Ok(())
            }
            (
                Some(Kind::Producer),
                Event::ProducerSend,
                Some(Body::ProducerSendNotification(body)),
            ) => {
                self.receive_rtp(&id, &body.data);
                Ok(())
            }
            (
                Some(Kind::DataProducer),
                Event::DataproducerSend,
                Some(Body::DataProducerSendNotification(body)),
            ) => self.receive_data(&id, &body),
            (Some(Kind::Transport | Kind::Producer | Kind::DataProducer), event, _) => {
                Err(Refusal::error(format!("unknown event '{event:?}'")))
            }
            _ => Err(Refusal::not_found(format!(
                "Channel notification handler with ID {id} not found"
            ))),
        }
    }

    /// Carries a packet to the simple and pipe consumers of direct transports, under the SSRC and
    /// the payload type that they announced.
    fn receive_rtp(&mut self, producer_id: &str, packet: &[u8]) {
        let Some(producer) = self.registry.producer(producer_id) else { return };
        let (transport_id, consumers) = (producer.transport.clone(), producer.consumers.clone());
        let mapped = if packet.len() >= RTP_HEADER && packet[0] >> 6 == 2 && !producer.paused {
            let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
            let encodings = &producer.rtp_parameters.dump.encodings;
            let index = match encodings.as_slice() {
                [only] if only.ssrc.is_none() => Some(0),
                several => several.iter().position(|encoding| encoding.ssrc == Some(ssrc)),
            };
            index.zip(producer.payload_types.get(&(packet[1] & 0x7f)).copied())
        } else {
            None
        };
        if let Some(transport) = self.registry.transport_mut(&transport_id) {
            transport.bytes_received += count(packet);
        }
        let Some((index, payload_type)) = mapped else { return };
        for id in consumers {
            if !self.is_consumer_active(&id) {
                continue;
            }
            let Some(consumer) = self.registry.consumer(&id) else { continue };
            let parameters = &consumer.rtp_parameters.dump;
            let index = match consumer.stream_type {
                Type::Simple => 0,
                Type::Pipe => index,
                Type::Simulcast | Type::Svc => continue,
            };
            let ssrc = parameters.encodings.get(index).and_then(|encoding| encoding.ssrc);
            let known = parameters.codecs.iter().any(|codec| codec.payload_type == payload_type);
            let transport_id = consumer.transport.clone();
            let (Some(ssrc), true) = (ssrc, known) else { continue };
            let Some(transport) = self.registry.transport_mut(&transport_id) else { continue };
            if !matches!(transport.role, Role::Direct) {
                continue;
            }
            transport.bytes_sent += count(packet);
            let mut data = packet.to_vec();
            data[1] = data[1] & 0x80 | payload_type;
            data[8..RTP_HEADER].copy_from_slice(&ssrc.to_be_bytes());
            let body = Body::ConsumerRtpNotification(Box::new(RtpNotification { data }));
            self.outbox.notify(&id, Event::ConsumerRtp, Some(body));
        }
    }

    fn receive_data(&mut self, id: &str, message: &SendNotification) -> Result<(), Refusal> {
        let Some(producer) = self.registry.data_producer_mut(id) else { return Ok(()) };
        let (transport_id, consumers) = (producer.transport.clone(), producer.consumers.clone());
        let length = count(&message.data);
        let limit = self
            .registry
            .transport(&transport_id)
            .map_or(0, |transport| transport.max_receive_message_size);
        if length > u64::from(limit) {
            return Err(Refusal::type_error(format!(
                "given message exceeds maxMessageSize value [maxMessageSize:{limit}, \
                 len:{length}]"
            )));
        }
        if let Some(transport) = self.registry.transport_mut(&transport_id) {
            transport.bytes_received += length;
        }
        let Some(producer) = self.registry.data_producer_mut(id) else { return Ok(()) };
        producer.messages_received += 1;
        producer.bytes_received += length;
        if !producer.paused {
            for consumer in consumers {
                self.send_message(&consumer, message);
            }
        }
        Ok(())
    }

    fn send_message(&mut self, id: &str, message: &SendNotification) {
        let Some(consumer) = self.registry.data_consumer(id) else { return };
        let Some(transport) = self.registry.transport(&consumer.transport) else { return };
        if !consumer.is_active() || !wants(consumer, transport.is_pipe(), message) {
            return;
        }
        let length = count(&message.data) + overhead(transport.is_pipe(), message);
        if length > u64::from(transport.max_send_message_size) {
            return;
        }
        let (transport_id, stream) = (consumer.transport.clone(), consumer.stream.clone());
        if let Some(consumer) = self.registry.data_consumer_mut(id) {
            consumer.messages_sent += 1;
            consumer.bytes_sent += length;
        }
        let Some(transport) = self.registry.transport_mut(&transport_id) else { return };
        if let (Some(stream), Some(sctp)) = (stream, &mut transport.sctp) {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if sctp.send(stream.stream_id, length) == Err(SendFailure::BufferFull) {
                self.outbox.notify(id, Event::DataconsumerSctpSendbufferFull, None);
            }
        } else {
            transport.bytes_sent += length;
            let body = MessageNotification { ppid: message.ppid, data: message.data.clone() };
            let body = Body::DataConsumerMessageNotification(Box::new(body));
            self.outbox.notify(id, Event::DataconsumerMessage, Some(body));
        }
    }
}

/// Whether the message is for the subchannels that the consumer listens to. A pipe that listens to
/// none takes all.
fn wants(consumer: &DataConsumer, pipe: bool, message: &SendNotification) -> bool {
    let mine = &consumer.subchannels;
    if pipe && mine.is_empty() {
        return true;
    }
    let subchannels = message.subchannels.as_deref().unwrap_or_default();
    message.required_subchannel.is_none_or(|required| mine.contains(&required))
        && (pipe || message.ignored_subchannel.is_none_or(|ignored| !mine.contains(&ignored)))
        && (subchannels.is_empty() || subchannels.iter().any(|channel| mine.contains(channel)))
}

/// What a pipe adds to a message to carry its subchannels.
fn overhead(pipe: bool, message: &SendNotification) -> u64 {
    let subchannels = message.subchannels.as_deref().unwrap_or_default();
    let used = !subchannels.is_empty()
        || message.required_subchannel.is_some()
        || message.ignored_subchannel.is_some();
    if pipe && used { 14 + 2 * count(subchannels) } else { 0 }
}

fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
