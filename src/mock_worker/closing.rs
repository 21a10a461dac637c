//! What goes with an object that closes, and who hears of it.

use super::{MockWorker, transport::sctp_state};
use crate::channel::{fbs::sctp_association::SctpState, method::Event};

impl MockWorker {
    /// Closes the worker with everything in it.
    pub(super) fn close(&mut self) {
        for id in self.registry.ids(&[super::registry::Kind::Router]) {
            self.close_router(&id);
        }
        self.registry.clear();
        self.closed = true;
    }

    /// Closes a router. Nobody hears of what was in it, SCTP aside.
    pub(super) fn close_router(&mut self, id: &str) -> bool {
        let Some(router) = self.registry.take_router(id) else { return false };
        for transport in router.transports {
            self.drop_transport(&transport);
        }
        for observer in router.rtp_observers {
            self.registry.take_rtp_observer(&observer);
        }
        true
    }

    /// Closes a `WebRtcServer` and its transports.
    pub(super) fn close_web_rtc_server(&mut self, id: &str) -> bool {
        let Some(server) = self.registry.take_web_rtc_server(id) else { return false };
        for transport in server.transports {
            self.close_transport(&transport);
        }
        true
    }

    /// Closes a transport; consumers of its producers hear of it.
    pub(super) fn close_transport(&mut self, id: &str) {
        let Some(transport) = self.registry.transport(id) else { return };
        let (producers, data_producers) =
            (transport.producers.clone(), transport.data_producers.clone());
        for producer in producers {
            self.close_producer(&producer);
        }
        // What is left of its consumers has its producer elsewhere.
        for consumer in self.registry.transport(id).map_or(Vec::new(), |t| t.consumers.clone()) {
            self.close_consumer(&consumer);
        }
        for producer in data_producers {
            self.close_data_producer(&producer);
        }
        for consumer in self.registry.transport(id).map_or(Vec::new(), |t| t.data_consumers.clone())
        {
            self.close_data_consumer(&consumer);
        }
        self.drop_transport(id);
    }

    /// Takes a transport away with what it has.
    fn drop_transport(&mut self, id: &str) {
        let Some(transport) = self.registry.take_transport(id) else { return };
        if transport
            .sctp
            .as_ref()
            .is_some_and(|sctp| matches!(sctp.state, SctpState::Connecting | SctpState::Connected))
        {
            let body = sctp_state(SctpState::Closed);
            self.outbox.notify(id, Event::TransportSctpStateChange, Some(body));
        }
        if let Some(server) =
            transport.server().and_then(|server| self.registry.web_rtc_server_mut(server))
        {
            server.transports.retain(|other| other != id);
        }
        if let Some(router) = self.registry.router_mut(&transport.router) {
            router.transports.retain(|other| other != id);
        }
        for producer in &transport.producers {
            self.registry.take_producer(producer);
        }
        for consumer in &transport.consumers {
            self.registry.take_consumer(consumer);
        }
        for producer in &transport.data_producers {
            self.registry.take_data_producer(producer);
        }
        for consumer in &transport.data_consumers {
            self.registry.take_data_consumer(consumer);
        }
    }

    /// Closes a producer with its consumers, who hear of it.
    pub(super) fn close_producer(&mut self, id: &str) {
        let Some(producer) = self.registry.take_producer(id) else { return };
        if let Some(transport) = self.registry.transport_mut(&producer.transport) {
            transport.producers.retain(|other| other != id);
            transport.listener.remove(id);
        }
        for consumer_id in producer.consumers {
            self.outbox.notify(&consumer_id, Event::ConsumerProducerClose, None);
            self.close_consumer(&consumer_id);
        }
        for observer in producer.observers {
            if let Some(observer) = self.registry.rtp_observer_mut(&observer) {
                observer.producers.retain(|other| other != id);
            }
        }
    }

    /// Closes a consumer. Nobody hears of it.
    pub(super) fn close_consumer(&mut self, id: &str) {
        let Some(consumer) = self.registry.take_consumer(id) else { return };
        if let Some(transport) = self.registry.transport_mut(&consumer.transport) {
            transport.consumers.retain(|other| other != id);
        }
        if let Some(producer) = self.registry.producer_mut(&consumer.producer) {
            producer.consumers.retain(|other| other != id);
        }
    }

    /// Closes a data producer with its consumers, who hear of it.
    pub(super) fn close_data_producer(&mut self, id: &str) {
        let Some(producer) = self.registry.take_data_producer(id) else { return };
        if let Some(transport) = self.registry.transport_mut(&producer.transport) {
            transport.data_producers.retain(|other| other != id);
            if let Some(sctp) = &mut transport.sctp {
                sctp.incoming.retain(|_, other| other != id);
            }
        }
        for consumer_id in producer.consumers {
            self.outbox.notify(&consumer_id, Event::DataconsumerDataproducerClose, None);
            self.close_data_consumer(&consumer_id);
        }
    }

    /// Closes a data consumer. Nobody hears of it.
    pub(super) fn close_data_consumer(&mut self, id: &str) {
        let Some(consumer) = self.registry.take_data_consumer(id) else { return };
        if let Some(transport) = self.registry.transport_mut(&consumer.transport) {
            transport.data_consumers.retain(|other| other != id);
            if let (Some(sctp), Some(stream)) = (&mut transport.sctp, &consumer.stream) {
                sctp.outgoing.remove(&stream.stream_id);
            }
        }
        if let Some(producer) = self.registry.data_producer_mut(&consumer.data_producer) {
            producer.consumers.retain(|other| other != id);
        }
    }

    pub(super) fn close_rtp_observer(&mut self, id: &str) {
        let Some(observer) = self.registry.take_rtp_observer(id) else { return };
        if let Some(router) = self.registry.router_mut(&observer.router) {
            router.rtp_observers.retain(|other| other != id);
        }
        for producer in observer.producers {
            if let Some(producer) = self.registry.producer_mut(&producer) {
                producer.observers.retain(|other| other != id);
            }
        }
    }
}
