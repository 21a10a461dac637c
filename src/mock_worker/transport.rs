//! What all transports have in common.

use std::collections::BTreeMap;

use super::{
    MockWorker, host::Socket, pipe_transport::Pipe, plain_transport::Plain, producer::Producer,
    refusal::Refusal, registry::Registry, sctp::Sctp, web_rtc_transport::WebRtc,
};
use crate::channel::{
    fbs::{
        common::{StringString, Uint32String},
        direct_transport, notification, response,
        rtp_parameters::RtpHeaderExtensionUri,
        sctp_association::SctpState,
        transport::{
            Dump, Options, Protocol, RecvRtpHeaderExtensions, RtpListener,
            SctpStateChangeNotification, Stats, TraceEventType, Tuple,
        },
    },
    method::Event,
};

/// The highest bitrate that a transport can be told.
pub(super) const MAX_BITRATE: u64 = i64::MAX.unsigned_abs() - 1;

#[derive(Debug)]
pub(super) struct Transport {
    pub id: String,
    pub router: String,
    pub direct: bool,
    pub max_send_message_size: u32,
    pub max_receive_message_size: u32,
    pub sctp: Option<Sctp>,
    pub producers: Vec<String>,
    pub consumers: Vec<String>,
    pub data_producers: Vec<String>,
    pub data_consumers: Vec<String>,
    pub listener: Listener,
    received_extensions: RecvRtpHeaderExtensions,
    pub trace: Vec<TraceEventType>,
    pub max_incoming_bitrate: u64,
    pub max_outgoing_bitrate: u64,
    pub min_outgoing_bitrate: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub role: Role,
}

#[derive(Debug)]
pub(super) enum Role {
    Direct,
    Plain(Box<Plain>),
    Pipe(Box<Pipe>),
    WebRtc(Box<WebRtc>),
}

/// Which producer takes which packets.
#[derive(Debug, Default)]
pub(super) struct Listener {
    ssrcs: BTreeMap<u32, String>,
    mids: BTreeMap<String, String>,
    rids: BTreeMap<String, String>,
}

impl Listener {
    pub fn add(&mut self, producer: &Producer) -> Result<(), Refusal> {
        let added = self.try_add(producer);
        if added.is_err() {
            self.remove(&producer.id);
        }
        added
    }

    fn try_add(&mut self, producer: &Producer) -> Result<(), Refusal> {
        let parameters = &producer.rtp_parameters.dump;
        let taken = |what: &str| {
            Err(Refusal::error(what.replacen(" [", " already exists in RTP listener [", 1)))
        };
        for encoding in &parameters.encodings {
            let rtx = encoding.rtx.as_ref().map(|rtx| rtx.ssrc).filter(|ssrc| *ssrc != 0);
            for (name, ssrc) in [("ssrc", encoding.ssrc), ("RTX ssrc", rtx)] {
                let Some(ssrc) = ssrc else { continue };
                if self.ssrcs.contains_key(&ssrc) {
                    return taken(&format!("{name} [ssrc:{ssrc}]"));
                }
                self.ssrcs.insert(ssrc, producer.id.clone());
            }
        }
        let mid = parameters.mid.as_deref().filter(|mid| !mid.is_empty());
        if let Some(mid) = mid {
            if self.mids.contains_key(mid) {
                return taken(&format!("MID [mid:{mid}]"));
            }
            self.mids.insert(mid.to_owned(), producer.id.clone());
        }
        for rid in parameters.encodings.iter().filter_map(|encoding| encoding.rid.as_deref()) {
            if !self.rids.contains_key(rid) {
                self.rids.insert(rid.to_owned(), producer.id.clone());
            } else if mid.is_none() {
                return Err(Refusal::error(format!(
                    "RID already exists in RTP listener and no MID is given [rid:{rid}]"
                )));
            }
        }
        Ok(())
    }

    pub fn remove(&mut self, producer_id: &str) {
        self.ssrcs.retain(|_, id| id != producer_id);
        self.mids.retain(|_, id| id != producer_id);
        self.rids.retain(|_, id| id != producer_id);
    }

    fn dump(&self) -> RtpListener {
        let texts = |table: &BTreeMap<String, String>| {
            table
                .iter()
                .map(|(key, value)| StringString { key: key.clone(), value: value.clone() })
                .collect()
        };
        RtpListener {
            ssrc_table: ssrc_table(&self.ssrcs),
            mid_table: texts(&self.mids),
            rid_table: texts(&self.rids),
        }
    }
}

fn ssrc_table(table: &BTreeMap<u32, String>) -> Vec<Uint32String> {
    table.iter().map(|(key, value)| Uint32String { key: *key, value: value.clone() }).collect()
}

impl Transport {
    /// A direct transport; the other kinds set their role.
    pub fn new(router: &str, id: String, options: &Options) -> Result<Self, Refusal> {
        if options.initial_available_outgoing_bitrate.is_some_and(|bitrate| bitrate > MAX_BITRATE) {
            return Err(Refusal::type_error(format!(
                "wrong initialAvailableOutgoingBitrate (must be <= {MAX_BITRATE})"
            )));
        }
        if options.enable_sctp && options.direct {
            return Err(Refusal::type_error("cannot enable SCTP in a direct Transport"));
        }
        Ok(Self {
            id,
            router: router.to_owned(),
            direct: options.direct,
            max_send_message_size: options.max_send_message_size,
            max_receive_message_size: options.max_receive_message_size,
            sctp: options.enable_sctp.then(|| Sctp::new(options)),
            producers: Vec::new(),
            consumers: Vec::new(),
            data_producers: Vec::new(),
            data_consumers: Vec::new(),
            listener: Listener::default(),
            received_extensions: RecvRtpHeaderExtensions::default(),
            trace: Vec::new(),
            max_incoming_bitrate: 0,
            max_outgoing_bitrate: 0,
            min_outgoing_bitrate: 0,
            bytes_received: 0,
            bytes_sent: 0,
            role: Role::Direct,
        })
    }

    pub fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Whether media could flow.
    pub fn is_connected(&self) -> bool {
        match &self.role {
            Role::Direct => true,
            Role::Plain(plain) => plain.tuple.is_some(),
            Role::Pipe(pipe) => pipe.tuple.is_some(),
            Role::WebRtc(web_rtc) => web_rtc.is_connected(),
        }
    }

    pub fn is_pipe(&self) -> bool {
        matches!(self.role, Role::Pipe(_))
    }

    /// The `WebRtcServer` that it listens through.
    pub fn server(&self) -> Option<&str> {
        match &self.role {
            Role::WebRtc(web_rtc) => web_rtc.server.as_deref(),
            _ => None,
        }
    }

    /// The ICE fragments under which it can be reached.
    pub fn username_fragments(&self) -> impl Iterator<Item = &str> {
        match &self.role {
            Role::WebRtc(web_rtc) => Some(web_rtc.username_fragments()),
            _ => None,
        }
        .into_iter()
        .flatten()
    }

    /// Learns the header extensions of a new producer.
    pub fn learn_extensions(&mut self, producer: &Producer) {
        // The last producer that announces one wins, with its first announcement.
        for extension in producer.rtp_parameters.dump.header_extensions.iter().rev() {
            let known = &mut self.received_extensions;
            let slot = match extension.uri {
                RtpHeaderExtensionUri::Mid => &mut known.mid,
                RtpHeaderExtensionUri::RtpStreamId => &mut known.rid,
                RtpHeaderExtensionUri::RepairRtpStreamId => &mut known.rrid,
                RtpHeaderExtensionUri::AbsSendTime => &mut known.abs_send_time,
                RtpHeaderExtensionUri::TransportWideCcDraft01 => &mut known.transport_wide_cc01,
                _ => continue,
            };
            *slot = Some(extension.id);
        }
    }

    fn dump(&self, registry: &Registry) -> Dump {
        let mut ssrcs = BTreeMap::new();
        let mut rtx_ssrcs = BTreeMap::new();
        for consumer in self.consumers.iter().filter_map(|id| registry.consumer(id)) {
            for encoding in &consumer.rtp_parameters.dump.encodings {
                ssrcs.extend(encoding.ssrc.map(|ssrc| (ssrc, consumer.id.clone())));
                rtx_ssrcs.extend(encoding.rtx.as_ref().map(|rtx| (rtx.ssrc, consumer.id.clone())));
            }
        }
        let sctp = self.sctp.as_ref();
        Dump {
            id: self.id.clone(),
            direct: self.direct,
            producer_ids: self.producers.clone(),
            consumer_ids: self.consumers.clone(),
            map_ssrc_consumer_id: ssrc_table(&ssrcs),
            map_rtx_ssrc_consumer_id: ssrc_table(&rtx_ssrcs),
            data_producer_ids: self.data_producers.clone(),
            data_consumer_ids: self.data_consumers.clone(),
            recv_rtp_header_extensions: Box::new(self.received_extensions.clone()),
            rtp_listener: Box::new(self.listener.dump()),
            max_send_message_size: self.max_send_message_size,
            max_receive_message_size: self.max_receive_message_size,
            sctp_parameters: sctp.map(|sctp| Box::new(sctp.parameters())),
            sctp_state: sctp.map(|sctp| sctp.state),
            sctp_negotiated_capabilities: sctp.map(|sctp| Box::new(sctp.negotiated())),
            sctp_listener: sctp.map(|sctp| Box::new(sctp.listener())),
            trace_event_types: self.trace.clone(),
        }
    }

    fn stats(&self, timestamp: u64) -> Stats {
        let given = |bitrate: u64| (bitrate > 0).then_some(bitrate);
        Stats {
            transport_id: self.id.clone(),
            timestamp,
            sctp_state: self.sctp.as_ref().map(|sctp| sctp.state),
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
            max_incoming_bitrate: given(self.max_incoming_bitrate),
            max_outgoing_bitrate: given(self.max_outgoing_bitrate),
            min_outgoing_bitrate: given(self.min_outgoing_bitrate),
            ..Stats::default()
        }
    }
}

impl MockWorker {
    /// The dump of a transport: the answer to its creation too.
    pub(super) fn transport_dump(&self, id: &str) -> Option<response::Body> {
        let transport = self.registry.transport(id)?;
        let base = Box::new(transport.dump(&self.registry));
        Some(match &transport.role {
            Role::Direct => response::Body::DirectTransportDumpResponse(Box::new(
                direct_transport::DumpResponse { base },
            )),
            Role::Plain(plain) => {
                response::Body::PlainTransportDumpResponse(Box::new(plain.dump(base)))
            }
            Role::Pipe(pipe) => {
                response::Body::PipeTransportDumpResponse(Box::new(pipe.dump(base)))
            }
            Role::WebRtc(web_rtc) => response::Body::WebRtcTransportDumpResponse(Box::new(
                web_rtc.dump(base, &self.fingerprints),
            )),
        })
    }

    pub(super) fn transport_stats(&self, id: &str) -> Option<response::Body> {
        let transport = self.registry.transport(id)?;
        let base = Box::new(transport.stats(self.clock));
        Some(match &transport.role {
            Role::Direct => response::Body::DirectTransportGetStatsResponse(Box::new(
                direct_transport::GetStatsResponse { base },
            )),
            Role::Plain(plain) => {
                response::Body::PlainTransportGetStatsResponse(Box::new(plain.stats(base)))
            }
            Role::Pipe(pipe) => {
                response::Body::PipeTransportGetStatsResponse(Box::new(pipe.stats(base)))
            }
            Role::WebRtc(web_rtc) => {
                response::Body::WebRtcTransportGetStatsResponse(Box::new(web_rtc.stats(base)))
            }
        })
    }

    /// Starts SCTP where the transport is connected and has something to carry. The library hears
    /// of it after the answer.
    pub(super) fn may_connect_sctp(&mut self, id: &str) {
        let Some(transport) = self.registry.transport_mut(id) else { return };
        let ready = transport.is_connected()
            && !(transport.data_producers.is_empty() && transport.data_consumers.is_empty());
        if let Some(sctp) = &mut transport.sctp
            && sctp.state == SctpState::New
            && ready
        {
            sctp.state = SctpState::Connecting;
            let body = sctp_state(SctpState::Connecting);
            self.outbox.notify_after(id, Event::TransportSctpStateChange, Some(body));
        }
    }
}

/// The body that tells of an SCTP state.
pub(super) fn sctp_state(sctp_state: SctpState) -> notification::Body {
    notification::Body::TransportSctpStateChangeNotification(Box::new(
        SctpStateChangeNotification { sctp_state },
    ))
}

/// The tuple of a socket before anyone connects.
pub(super) fn local_tuple(socket: &Socket) -> Tuple {
    Tuple {
        local_address: socket.address(),
        local_port: socket.port,
        remote_ip: None,
        remote_port: 0,
        protocol: Protocol::Udp,
    }
}
