//! `PlainTransports`.

use std::net::IpAddr;

use super::{
    MockWorker,
    host::{Socket, parse_ip},
    numbers::Numbers,
    outbox::Answer,
    refusal::Refusal,
    srtp,
    transport::{Role, Transport, local_tuple},
};
use crate::channel::fbs::{
    plain_transport::{
        ConnectRequest, ConnectResponse, DumpResponse, GetStatsResponse, PlainTransportOptions,
    },
    response,
    srtp_parameters::SrtpParameters,
    transport::{Dump, Protocol, Stats, Tuple},
};

#[derive(Debug)]
pub(super) struct Plain {
    socket: Socket,
    /// Present without `rtcpMux`.
    rtcp_socket: Option<Socket>,
    comedia: bool,
    srtp: Option<SrtpParameters>,
    connect_called: bool,
    pub tuple: Option<Tuple>,
    pub rtcp_tuple: Option<Tuple>,
}

impl Plain {
    fn tuple(&self) -> Tuple {
        self.tuple.clone().unwrap_or_else(|| local_tuple(&self.socket))
    }

    pub fn dump(&self, base: Box<Dump>) -> DumpResponse {
        let rtcp_tuple =
            self.rtcp_tuple.clone().or_else(|| self.rtcp_socket.as_ref().map(local_tuple));
        DumpResponse {
            base,
            rtcp_mux: self.rtcp_socket.is_none(),
            comedia: self.comedia,
            tuple: Box::new(self.tuple()),
            rtcp_tuple: rtcp_tuple.map(Box::new),
            srtp_parameters: self.srtp.clone().map(Box::new),
        }
    }

    pub fn stats(&self, base: Box<Stats>) -> GetStatsResponse {
        GetStatsResponse {
            base,
            rtcp_mux: self.rtcp_socket.is_none(),
            comedia: self.comedia,
            tuple: Box::new(self.tuple()),
            rtcp_tuple: self.rtcp_tuple.clone().map(Box::new),
        }
    }

    pub fn connect(&mut self, body: &ConnectRequest, numbers: &mut Numbers) -> Answer {
        if self.connect_called {
            return Err(Refusal::error("connect() already called"));
        }
        match (&mut self.srtp, &body.srtp_parameters) {
            (None, Some(_)) => {
                return Err(Refusal::type_error("invalid srtpParameters (SRTP not enabled)"));
            }
            (Some(_), None) => {
                return Err(Refusal::type_error("missing srtpParameters (SRTP enabled)"));
            }
            (Some(own), Some(remote)) => {
                // The worker takes the remote suite even where it then refuses the key.
                if own.crypto_suite != remote.crypto_suite {
                    *own = srtp::generate(remote.crypto_suite, numbers);
                }
                srtp::check(remote)?;
            }
            (None, None) => {}
        }
        if !self.comedia {
            self.set_remote(body)?;
        }
        self.connect_called = true;
        Ok(Some(response::Body::PlainTransportConnectResponse(Box::new(ConnectResponse {
            tuple: self.tuple.clone().map(Box::new),
            rtcp_tuple: self.rtcp_tuple.clone().map(Box::new),
            srtp_parameters: self.srtp.clone().map(Box::new),
        }))))
    }

    fn set_remote(&mut self, body: &ConnectRequest) -> Result<(), Refusal> {
        let ip = body.ip.as_deref().ok_or_else(|| Refusal::type_error("missing ip"))?;
        let ip = parse_ip(ip)?;
        let port = body.port.ok_or_else(|| Refusal::type_error("missing port"))?;
        self.rtcp_tuple = match (&self.rtcp_socket, body.rtcp_port) {
            (None, Some(_)) => {
                return Err(Refusal::type_error("cannot set rtcpPort with rtcpMux enabled"));
            }
            (Some(_), None) => {
                return Err(Refusal::type_error(
                    "missing rtcpPort (required with rtcpMux disabled)",
                ));
            }
            (Some(socket), Some(rtcp_port)) => Some(connected(socket, ip, rtcp_port)),
            (None, None) => None,
        };
        self.tuple = Some(connected(&self.socket, ip, port));
        Ok(())
    }
}

fn connected(socket: &Socket, ip: IpAddr, port: u16) -> Tuple {
    Tuple { remote_ip: Some(ip.to_string()), remote_port: port, ..local_tuple(socket) }
}

impl MockWorker {
    pub(super) fn plain_transport(
        &mut self,
        router_id: &str,
        id: String,
        options: &PlainTransportOptions,
    ) -> Result<Transport, Refusal> {
        let transport = Transport::new(router_id, id, &options.base)?;
        let info = &options.listen_info;
        if info.protocol != Protocol::Udp {
            return Err(Refusal::type_error("unsupported listen protocol"));
        }
        parse_ip(&info.ip)?;
        let rtcp_info = options.rtcp_listen_info.as_ref().unwrap_or(info);
        if !options.rtcp_mux {
            if rtcp_info.protocol != Protocol::Udp {
                return Err(Refusal::type_error("unsupported RTCP listen protocol"));
            }
            parse_ip(&rtcp_info.ip)?;
        }
        let srtp = if options.enable_srtp {
            let suite = options
                .srtp_crypto_suite
                .ok_or_else(|| Refusal::type_error("missing srtpCryptoSuite"))?;
            Some(srtp::generate(suite, &mut self.numbers))
        } else {
            None
        };
        let socket = self.host.listen(info, &self.settings)?;
        let rtcp_socket = if options.rtcp_mux {
            None
        } else {
            Some(self.host.listen(rtcp_info, &self.settings)?)
        };
        let plain = Plain {
            socket,
            rtcp_socket,
            comedia: options.comedia,
            srtp,
            connect_called: false,
            tuple: None,
            rtcp_tuple: None,
        };
        Ok(transport.with_role(Role::Plain(Box::new(plain))))
    }
}
