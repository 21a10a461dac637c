//! `WebRtcServers`.

use super::{
    MockWorker,
    host::Socket,
    outbox::Answer,
    refusal::Refusal,
    registry::Registry,
    web_rtc_transport::{DEFAULT_PREFERENCE, PREFERENCE_STEP, candidates},
};
use crate::channel::{
    fbs::{
        response,
        transport::Protocol,
        web_rtc_server::{DumpResponse, IceUserNameFragment, IpPort},
        web_rtc_transport::{IceCandidate, WebRtcTransportOptions},
    },
    method::Method,
};

/// How much a preferred protocol is preferred.
const PREFERRED: u16 = 1000;

#[derive(Debug)]
pub(super) struct WebRtcServer {
    pub id: String,
    pub sockets: Vec<Socket>,
    pub transports: Vec<String>,
}

impl WebRtcServer {
    /// The candidates that a transport with these options gets.
    pub fn candidates(&self, options: &WebRtcTransportOptions) -> Vec<IceCandidate> {
        let mut found = Vec::new();
        let mut preference = DEFAULT_PREFERENCE;
        for socket in &self.sockets {
            let (enabled, preferred) = match socket.protocol {
                Protocol::Udp => (options.enable_udp, options.prefer_udp),
                Protocol::Tcp => (options.enable_tcp, options.prefer_tcp),
            };
            if enabled {
                let bonus = if preferred { PREFERRED } else { 0 };
                found.extend(candidates(socket, preference.wrapping_add(bonus)));
            }
            preference = preference.wrapping_sub(PREFERENCE_STEP);
        }
        found
    }

    fn dump(&self, registry: &Registry) -> DumpResponse {
        let sockets = |protocol| {
            self.sockets
                .iter()
                .filter(|socket| socket.protocol == protocol)
                .map(|socket| IpPort { ip: socket.ip.to_string(), port: socket.port })
                .collect()
        };
        let fragments =
            self.transports.iter().filter_map(|id| registry.transport(id)).flat_map(|transport| {
                transport.username_fragments().map(|fragment| IceUserNameFragment {
                    local_ice_username_fragment: fragment.to_owned(),
                    web_rtc_transport_id: transport.id.clone(),
                })
            });
        DumpResponse {
            id: self.id.clone(),
            udp_sockets: sockets(Protocol::Udp),
            tcp_servers: sockets(Protocol::Tcp),
            web_rtc_transport_ids: self.transports.clone(),
            local_ice_username_fragments: fragments.collect(),
        }
    }
}

impl MockWorker {
    pub(super) fn web_rtc_server_request(&mut self, id: &str, method: Method) -> Answer {
        match (method, self.registry.web_rtc_server(id)) {
            (Method::WebrtcserverDump, Some(server)) => {
                let dump = server.dump(&self.registry);
                Ok(Some(response::Body::WebRtcServerDumpResponse(Box::new(dump))))
            }
            _ => Err(Refusal::unknown_method(method)),
        }
    }
}
