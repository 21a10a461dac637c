//! `WebRtcTransports`. No peer ever reaches them: ICE and DTLS stay new unless a test says
//! otherwise.

use super::{
    MockWorker,
    host::Socket,
    numbers::Numbers,
    outbox::Answer,
    refusal::Refusal,
    transport::{Role, Transport},
};
use crate::channel::{
    fbs::{
        response,
        router::CreateWebRtcTransportRequest,
        transport::{Dump, Protocol, RestartIceResponse, Stats, Tuple},
        web_rtc_transport::{
            ConnectRequest, ConnectResponse, DtlsParameters, DtlsRole, DtlsState, DumpResponse,
            Fingerprint, FingerprintAlgorithm, GetStatsResponse, IceCandidate, IceCandidateTcpType,
            IceCandidateType, IceParameters, IceRole, IceState, Listen,
        },
    },
    method::Method,
};

/// The local preference of the first candidate, and how much less each further address has.
pub(super) const DEFAULT_PREFERENCE: u16 = 10_000;
pub(super) const PREFERENCE_STEP: u16 = 100;

const ICE_LENGTH: usize = 32;

#[derive(Debug)]
pub(super) struct WebRtc {
    /// Keeps the ports of a transport that listens by itself.
    _sockets: Vec<Socket>,
    pub server: Option<String>,
    candidates: Vec<IceCandidate>,
    username_fragment: String,
    password: String,
    /// Good until a peer uses the new one.
    old_username_fragment: Option<String>,
    connect_called: bool,
    dtls_role: DtlsRole,
    pub ice_state: IceState,
    pub dtls_state: DtlsState,
    pub selected_tuple: Option<Tuple>,
}

impl WebRtc {
    pub fn is_connected(&self) -> bool {
        matches!(self.ice_state, IceState::Connected | IceState::Completed)
            && self.dtls_state == DtlsState::Connected
    }

    pub fn username_fragments(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.username_fragment.as_str())
            .chain(self.old_username_fragment.as_deref())
    }

    pub fn dump(&self, base: Box<Dump>, fingerprints: &[Fingerprint]) -> DumpResponse {
        DumpResponse {
            base,
            ice_role: IceRole::Controlled,
            ice_parameters: Box::new(IceParameters {
                username_fragment: self.username_fragment.clone(),
                password: self.password.clone(),
                ice_lite: true,
            }),
            ice_candidates: self.candidates.clone(),
            ice_state: self.ice_state,
            ice_selected_tuple: self.selected_tuple.clone().map(Box::new),
            dtls_parameters: Box::new(DtlsParameters {
                fingerprints: fingerprints.to_vec(),
                role: self.dtls_role,
            }),
            dtls_state: self.dtls_state,
        }
    }

    pub fn stats(&self, base: Box<Stats>) -> GetStatsResponse {
        GetStatsResponse {
            base,
            ice_role: IceRole::Controlled,
            ice_state: self.ice_state,
            ice_selected_tuple: self.selected_tuple.clone().map(Box::new),
            dtls_state: self.dtls_state,
        }
    }

    pub fn connect(&mut self, body: &ConnectRequest) -> Answer {
        if self.connect_called {
            return Err(Refusal::error("connect() already called"));
        }
        if body.dtls_parameters.fingerprints.is_empty() {
            return Err(Refusal::type_error("empty dtlsParameters.fingerprints array"));
        }
        self.dtls_role = match body.dtls_parameters.role {
            DtlsRole::Client => DtlsRole::Server,
            DtlsRole::Server | DtlsRole::Auto => DtlsRole::Client,
        };
        self.connect_called = true;
        Ok(Some(response::Body::WebRtcTransportConnectResponse(Box::new(ConnectResponse {
            dtls_local_role: self.dtls_role,
        }))))
    }

    pub fn restart_ice(&mut self, numbers: &mut Numbers) -> response::Body {
        let fresh = numbers.text(ICE_LENGTH);
        self.old_username_fragment = Some(std::mem::replace(&mut self.username_fragment, fresh));
        self.password = numbers.text(ICE_LENGTH);
        response::Body::TransportRestartIceResponse(Box::new(RestartIceResponse {
            username_fragment: self.username_fragment.clone(),
            password: self.password.clone(),
            ice_lite: true,
        }))
    }
}

impl MockWorker {
    pub(super) fn create_web_rtc_transport(
        &mut self,
        router_id: &str,
        body: CreateWebRtcTransportRequest,
        method: Method,
    ) -> Answer {
        self.check_no_transport(router_id, &body.transport_id, method)?;
        let options = *body.options;
        let with_server = method == Method::RouterCreateWebrtctransportWithServer;
        let (transport, sockets, candidates, server) = match &options.listen {
            Listen::ListenServer(listen) if with_server => {
                let server =
                    self.registry.web_rtc_server(&listen.web_rtc_server_id).ok_or_else(|| {
                        Refusal::error("wrong webRtcServerId (no associated WebRtcServer found)")
                    })?;
                let candidates = server.candidates(&options);
                let transport = Transport::new(router_id, body.transport_id, &options.base)?;
                if candidates.is_empty() {
                    return Err(Refusal::type_error("empty iceCandidates"));
                }
                (transport, Vec::new(), candidates, Some(listen.web_rtc_server_id.clone()))
            }
            Listen::ListenIndividual(listen) if !with_server => {
                let transport = Transport::new(router_id, body.transport_id, &options.base)?;
                let mut sockets = Vec::new();
                let mut found = Vec::new();
                let mut preference = DEFAULT_PREFERENCE;
                for info in &listen.listen_infos {
                    let socket = self.host.listen(info, &self.settings)?;
                    found.extend(candidates(&socket, preference));
                    sockets.push(socket);
                    preference = preference.wrapping_sub(PREFERENCE_STEP);
                }
                (transport, sockets, found, None)
            }
            _ => {
                let violation = "the listen union does not fit the method".to_owned();
                self.violations.push(violation.clone());
                return Err(Refusal::error(violation));
            }
        };
        let web_rtc = WebRtc {
            _sockets: sockets,
            server,
            candidates,
            username_fragment: self.numbers.text(ICE_LENGTH),
            password: self.numbers.text(ICE_LENGTH),
            old_username_fragment: None,
            connect_called: false,
            dtls_role: DtlsRole::Auto,
            ice_state: IceState::New,
            dtls_state: DtlsState::New,
            selected_tuple: None,
        };
        self.add_transport(transport.with_role(Role::WebRtc(Box::new(web_rtc))))
    }
}

/// The candidates of a socket.
pub(super) fn candidates(socket: &Socket, local_preference: u16) -> Vec<IceCandidate> {
    // Type preference of host candidates, local preference, component 1.
    let priority = (64 << 24) + (u32::from(local_preference) << 8) + 255;
    let candidate = |address: String, priority: u32| IceCandidate {
        foundation: match socket.protocol {
            Protocol::Udp => "udpcandidate".to_owned(),
            Protocol::Tcp => "tcpcandidate".to_owned(),
        },
        priority,
        address,
        protocol: socket.protocol,
        port: socket.port,
        type_: IceCandidateType::Host,
        tcp_type: (socket.protocol == Protocol::Tcp).then_some(IceCandidateTcpType::Passive),
    };
    let mut found = vec![candidate(socket.address(), priority)];
    if socket.announced.is_some() && socket.expose_internal_ip {
        found.push(candidate(socket.ip.to_string(), priority - 1000));
    }
    found
}

/// Fingerprints of a certificate that is nobody's.
pub(super) fn fingerprints(numbers: &mut Numbers) -> Vec<Fingerprint> {
    let lengths = [20, 28, 32, 48, 64];
    FingerprintAlgorithm::ENUM_VALUES
        .into_iter()
        .zip(lengths)
        .map(|(algorithm, length)| Fingerprint { algorithm, value: numbers.fingerprint(length) })
        .collect()
}
