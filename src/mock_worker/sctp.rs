//! The SCTP association of a transport. Nobody is at its other end: once its transport is connected
//! it tries to connect, and whatever is sent waits in it.

use std::collections::BTreeMap;

use super::refusal::Refusal;
use crate::channel::fbs::{
    common::Uint16String,
    sctp_association::{SctpNegotiatedCapabilities, SctpState},
    sctp_parameters::{SctpParameters, SctpStreamParameters},
    transport::{Options, SctpListener},
};

/// The port that mediasoup uses for SCTP.
const PORT: u16 = 5000;

#[derive(Debug)]
pub(super) struct Sctp {
    parameters: SctpParameters,
    default_low_threshold: u32,
    pub state: SctpState,
    /// `DataProducer`s by the stream that they read.
    pub incoming: BTreeMap<u16, String>,
    /// `DataConsumer`s by the stream that they write.
    pub outgoing: BTreeMap<u16, String>,
    /// By stream. Without an association it cannot be reset, so this and the thresholds outlive the
    /// `DataConsumer` that caused them.
    buffered: BTreeMap<u16, u32>,
    low_thresholds: BTreeMap<u16, u32>,
}

/// Why a message does not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendFailure {
    BufferFull,
    Other,
}

impl Sctp {
    pub fn new(options: &Options) -> Self {
        Self {
            parameters: SctpParameters {
                port: PORT,
                max_send_message_size: options.max_send_message_size,
                max_receive_message_size: options.max_receive_message_size,
                send_buffer_size: options.sctp_send_buffer_size,
                per_stream_send_queue_limit: options.sctp_per_stream_send_queue_limit,
                max_receiver_window_buffer_size: options.sctp_max_receiver_window_buffer_size,
                is_data_channel: options.is_data_channel,
            },
            default_low_threshold: options.sctp_default_stream_buffered_amount_low_threshold,
            state: SctpState::New,
            incoming: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            buffered: BTreeMap::new(),
            low_thresholds: BTreeMap::new(),
        }
    }

    pub fn parameters(&self) -> SctpParameters {
        self.parameters.clone()
    }

    /// Moves on; what waited leaves once the association is connected.
    pub fn set_state(&mut self, state: SctpState) {
        self.state = state;
        if state == SctpState::Connected {
            self.buffered.clear();
        }
    }

    pub fn negotiated(&self) -> SctpNegotiatedCapabilities {
        let streams = if self.state == SctpState::Connected { u16::MAX } else { 0 };
        SctpNegotiatedCapabilities {
            negotiated_max_outbound_streams: streams,
            negotiated_max_inbound_streams: streams,
        }
    }

    pub fn listener(&self) -> SctpListener {
        let entry =
            |(key, value): (&u16, &String)| Uint16String { key: *key, value: value.clone() };
        SctpListener { stream_id_table: self.incoming.iter().map(entry).collect() }
    }

    pub fn buffered(&self, stream: u16) -> u32 {
        self.buffered.get(&stream).copied().unwrap_or_default()
    }

    pub fn low_threshold(&self, stream: u16) -> u32 {
        self.low_thresholds.get(&stream).copied().unwrap_or(self.default_low_threshold)
    }

    pub fn set_low_threshold(&mut self, stream: u16, threshold: u32) {
        self.low_thresholds.insert(stream, threshold);
    }

    /// Queues a message, which leaves at once if the association is connected.
    pub fn send(&mut self, stream: u16, length: usize) -> Result<(), SendFailure> {
        let length = u32::try_from(length).map_err(|_| SendFailure::Other)?;
        if length == 0 || length > self.parameters.max_send_message_size {
            return Err(SendFailure::Other);
        }
        let total = self.buffered.values().fold(0_u32, |sum, part| sum.saturating_add(*part));
        if total >= self.parameters.send_buffer_size
            || self.buffered(stream) >= self.parameters.per_stream_send_queue_limit
        {
            return Err(SendFailure::BufferFull);
        }
        if self.state != SctpState::Connected {
            let buffered = self.buffered.entry(stream).or_default();
            *buffered = buffered.saturating_add(length);
        }
        Ok(())
    }
}

/// Stream parameters, checked and completed as the worker does it.
pub(super) fn parse_stream(
    raw: Option<Box<SctpStreamParameters>>,
) -> Result<SctpStreamParameters, Refusal> {
    let mut stream = *raw.ok_or_else(|| Refusal::type_error("missing sctpStreamParameters"))?;
    if stream.stream_id == u16::MAX {
        return Err(Refusal::type_error("streamId must not be greater than 65534"));
    }
    stream.max_packet_life_time = stream.max_packet_life_time.filter(|value| *value != 0);
    stream.max_retransmits = stream.max_retransmits.filter(|value| *value != 0);
    let life_time = stream.max_packet_life_time.is_some();
    let retransmits = stream.max_retransmits.is_some();
    if life_time && retransmits {
        return Err(Refusal::type_error(
            "cannot provide both maxPacketLifeTime and maxRetransmits",
        ));
    }
    let partial = life_time || retransmits;
    if stream.ordered == Some(true) && partial {
        return Err(Refusal::type_error(
            "cannot be ordered with maxPacketLifeTime or maxRetransmits",
        ));
    }
    stream.ordered = Some(stream.ordered.unwrap_or(!partial));
    Ok(stream)
}
