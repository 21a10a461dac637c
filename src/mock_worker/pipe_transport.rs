//! `PipeTransports`.

use super::{
    MockWorker,
    host::{Socket, parse_ip},
    outbox::Answer,
    refusal::Refusal,
    srtp,
    transport::{Role, Transport, local_tuple},
};
use crate::channel::fbs::{
    pipe_transport::{
        ConnectRequest, ConnectResponse, DumpResponse, GetStatsResponse, PipeTransportOptions,
    },
    response,
    srtp_parameters::{SrtpCryptoSuite, SrtpParameters},
    transport::{Dump, Protocol, Stats, Tuple},
};

#[derive(Debug)]
pub(super) struct Pipe {
    socket: Socket,
    rtx: bool,
    srtp: Option<SrtpParameters>,
    pub tuple: Option<Tuple>,
}

impl Pipe {
    fn tuple(&self) -> Tuple {
        self.tuple.clone().unwrap_or_else(|| local_tuple(&self.socket))
    }

    pub fn dump(&self, base: Box<Dump>) -> DumpResponse {
        DumpResponse {
            base,
            tuple: Box::new(self.tuple()),
            rtx: self.rtx,
            srtp_parameters: self.srtp.clone().map(Box::new),
        }
    }

    pub fn stats(&self, base: Box<Stats>) -> GetStatsResponse {
        GetStatsResponse { base, tuple: Box::new(self.tuple()) }
    }

    pub fn connect(&mut self, body: &ConnectRequest) -> Answer {
        if self.tuple.is_some() {
            return Err(Refusal::error("connect() already called"));
        }
        match (&self.srtp, &body.srtp_parameters) {
            (None, Some(_)) => {
                return Err(Refusal::type_error("invalid srtpParameters (SRTP not enabled)"));
            }
            (Some(_), None) => {
                return Err(Refusal::type_error("missing srtpParameters (SRTP enabled)"));
            }
            (Some(own), Some(remote)) => {
                if remote.crypto_suite != own.crypto_suite {
                    return Err(Refusal::type_error(
                        "invalid/unsupported srtpParameters.cryptoSuite",
                    ));
                }
                srtp::check(remote)?;
            }
            (None, None) => {}
        }
        let ip = parse_ip(&body.ip)?;
        let port = body.port.ok_or_else(|| Refusal::type_error("missing port"))?;
        let tuple = Tuple {
            remote_ip: Some(ip.to_string()),
            remote_port: port,
            ..local_tuple(&self.socket)
        };
        self.tuple = Some(tuple.clone());
        Ok(Some(response::Body::PipeTransportConnectResponse(Box::new(ConnectResponse {
            tuple: Box::new(tuple),
        }))))
    }
}

impl MockWorker {
    pub(super) fn pipe_transport(
        &mut self,
        router_id: &str,
        id: String,
        options: &PipeTransportOptions,
    ) -> Result<Transport, Refusal> {
        let transport = Transport::new(router_id, id, &options.base)?;
        if options.listen_info.protocol != Protocol::Udp {
            return Err(Refusal::type_error("unsupported listen protocol"));
        }
        parse_ip(&options.listen_info.ip)?;
        let srtp = options
            .enable_srtp
            .then(|| srtp::generate(SrtpCryptoSuite::AeadAes256Gcm, &mut self.numbers));
        let socket = self.host.listen(&options.listen_info, &self.settings)?;
        let pipe = Pipe { socket, rtx: options.enable_rtx, srtp, tuple: None };
        Ok(transport.with_role(Role::Pipe(Box::new(pipe))))
    }
}
