//! Routers.

use super::{
    MockWorker,
    outbox::Answer,
    refusal::Refusal,
    registry::{Object, Registry},
    rtp_observer::{Role, RtpObserver},
    transport::Transport,
};
use crate::channel::{
    fbs::{
        common::{StringString, StringStringArray},
        request::Body,
        response,
        router::DumpResponse,
    },
    method::Method,
};

#[derive(Debug, Default)]
pub(super) struct Router {
    pub id: String,
    pub transports: Vec<String>,
    pub rtp_observers: Vec<String>,
}

impl Router {
    fn dump(&self, registry: &Registry) -> DumpResponse {
        let transports = || self.transports.iter().filter_map(|id| registry.transport(id));
        let producers = || {
            transports()
                .flat_map(|transport| &transport.producers)
                .filter_map(|id| registry.producer(id))
        };
        let data_producers = || {
            transports()
                .flat_map(|transport| &transport.data_producers)
                .filter_map(|id| registry.data_producer(id))
        };
        DumpResponse {
            id: self.id.clone(),
            transport_ids: self.transports.clone(),
            rtp_observer_ids: self.rtp_observers.clone(),
            map_producer_id_consumer_ids: producers()
                .map(|producer| list(&producer.id, &producer.consumers))
                .collect(),
            map_consumer_id_producer_id: producers()
                .flat_map(|producer| pairs(&producer.consumers, &producer.id))
                .collect(),
            map_producer_id_observer_ids: producers()
                .map(|producer| list(&producer.id, &producer.observers))
                .collect(),
            map_data_producer_id_data_consumer_ids: data_producers()
                .map(|producer| list(&producer.id, &producer.consumers))
                .collect(),
            map_data_consumer_id_data_producer_id: data_producers()
                .flat_map(|producer| pairs(&producer.consumers, &producer.id))
                .collect(),
        }
    }
}

fn list(key: &str, values: &[String]) -> StringStringArray {
    StringStringArray { key: key.to_owned(), values: values.to_vec() }
}

fn pairs(keys: &[String], value: &str) -> impl Iterator<Item = StringString> {
    keys.iter().map(move |key| StringString { key: key.clone(), value: value.to_owned() })
}

impl MockWorker {
    pub(super) fn router_request(
        &mut self,
        id: &str,
        method: Method,
        body: Option<Body>,
    ) -> Answer {
        let Some(router) = self.registry.router(id) else {
            return Err(Refusal::no_handler(id, method));
        };
        match (method, body) {
            (Method::RouterDump, _) => {
                let dump = router.dump(&self.registry);
                Ok(Some(response::Body::RouterDumpResponse(Box::new(dump))))
            }
            (
                Method::RouterCreateWebrtctransport | Method::RouterCreateWebrtctransportWithServer,
                Some(Body::RouterCreateWebRtcTransportRequest(body)),
            ) => self.create_web_rtc_transport(id, *body, method),
            (
                Method::RouterCreatePlaintransport,
                Some(Body::RouterCreatePlainTransportRequest(body)),
            ) => {
                self.check_no_transport(id, &body.transport_id, method)?;
                let transport = self.plain_transport(id, body.transport_id, &body.options)?;
                self.add_transport(transport)
            }
            (
                Method::RouterCreatePipetransport,
                Some(Body::RouterCreatePipeTransportRequest(body)),
            ) => {
                self.check_no_transport(id, &body.transport_id, method)?;
                let transport = self.pipe_transport(id, body.transport_id, &body.options)?;
                self.add_transport(transport)
            }
            (
                Method::RouterCreateDirecttransport,
                Some(Body::RouterCreateDirectTransportRequest(body)),
            ) => {
                self.check_no_transport(id, &body.transport_id, method)?;
                let transport = Transport::new(id, body.transport_id, &body.options.base)?;
                self.add_transport(transport)
            }
            (Method::RouterCloseTransport, Some(Body::RouterCloseTransportRequest(body))) => {
                if !router.transports.contains(&body.transport_id) {
                    return Err(Refusal::missing("Transport", method));
                }
                self.close_transport(&body.transport_id);
                Ok(None)
            }
            (
                Method::RouterCreateActivespeakerobserver,
                Some(Body::RouterCreateActiveSpeakerObserverRequest(body)),
            ) => self.create_rtp_observer(id, body.rtp_observer_id, Role::ActiveSpeaker, method),
            (
                Method::RouterCreateAudiolevelobserver,
                Some(Body::RouterCreateAudioLevelObserverRequest(body)),
            ) => {
                let role = Role::AudioLevel { threshold: body.options.threshold };
                self.create_rtp_observer(id, body.rtp_observer_id, role, method)
            }
            (Method::RouterCloseRtpobserver, Some(Body::RouterCloseRtpObserverRequest(body))) => {
                if !router.rtp_observers.contains(&body.rtp_observer_id) {
                    return Err(Refusal::missing("RtpObserver", method));
                }
                self.close_rtp_observer(&body.rtp_observer_id);
                Ok(None)
            }
            _ => Err(Refusal::unknown_method(method)),
        }
    }

    /// Refuses a transport id that the router has.
    pub(super) fn check_no_transport(
        &self,
        router_id: &str,
        id: &str,
        method: Method,
    ) -> Result<(), Refusal> {
        let taken = self.registry.transport(id).is_some_and(|other| other.router == router_id);
        if taken { Err(Refusal::duplicate("a Transport with same id", method)) } else { Ok(()) }
    }

    /// Puts a made transport into its router and answers with its dump. Refused, it is dropped and
    /// frees its sockets.
    pub(super) fn add_transport(&mut self, transport: Transport) -> Answer {
        if let Err(refusal) = self.registry.check_free(&transport.id) {
            if let Some(server) = transport.server() {
                // The half-made transport stays in the server, which crashes as it closes.
                self.violations.push(format!(
                    "a transport under the taken id {} stays in the server {server}",
                    transport.id
                ));
            }
            return Err(refusal);
        }
        let id = transport.id.clone();
        if let Some(router) = self.registry.router_mut(&transport.router) {
            router.transports.push(id.clone());
        }
        if let Some(server) =
            transport.server().and_then(|server| self.registry.web_rtc_server_mut(server))
        {
            server.transports.push(id.clone());
        }
        self.registry.insert(id.clone(), Object::Transport(Box::new(transport)));
        Ok(self.transport_dump(&id))
    }

    fn create_rtp_observer(
        &mut self,
        router_id: &str,
        id: String,
        role: Role,
        method: Method,
    ) -> Answer {
        if self.registry.rtp_observer(&id).is_some_and(|other| other.router == router_id) {
            return Err(Refusal::duplicate("an RtpObserver with same id", method));
        }
        if let Role::AudioLevel { threshold } = role
            && threshold > 0
        {
            return Err(Refusal::type_error(format!("invalid threshold value {threshold}")));
        }
        if let Err(refusal) = self.registry.check_free(&id) {
            // Its timer lives on without it, and the worker never ends.
            self.violations.push(format!("an observer under the taken id {id} leaves its timer"));
            return Err(refusal);
        }
        if let Some(router) = self.registry.router_mut(router_id) {
            router.rtp_observers.push(id.clone());
        }
        let observer = RtpObserver::new(router_id.to_owned(), role);
        self.registry.insert(id, Object::RtpObserver(Box::new(observer)));
        Ok(None)
    }
}
