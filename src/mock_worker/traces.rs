//! The payloads of `trace` events, as mediasoup's listeners get them.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::channel::fbs::{common::TraceDirection, consumer, producer, rtp_packet, transport};

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    In,
    Out,
}

impl From<Direction> for TraceDirection {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::In => Self::DirectionIn,
            Direction::Out => Self::DirectionOut,
        }
    }
}

/// What all of them have, with the type still open.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<T> {
    #[serde(rename = "type")]
    kind: T,
    timestamp: u64,
    direction: Direction,
    #[serde(default)]
    info: Value,
}

impl<T> Raw<T> {
    /// The information that goes with this type; what is left out is zero.
    fn info<I: Default + for<'de> Deserialize<'de>, E: Error>(&self) -> Result<I, E> {
        if self.info.is_null() {
            return Ok(I::default());
        }
        I::deserialize(&self.info).map_err(|error| E::custom(format!("info: {error}")))
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TransportKind {
    Probation,
    Bwe,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Bandwidth {
    desired_bitrate: u64,
    effective_desired_bitrate: u64,
    min_bitrate: u64,
    max_bitrate: u64,
    start_bitrate: u64,
    max_padding_bitrate: u64,
    available_bitrate: u64,
    bwe_type: BweType,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BweType {
    #[default]
    TransportCc,
    Remb,
}

#[derive(Debug)]
pub(super) struct TransportTrace(transport::TraceNotification);

impl From<TransportTrace> for transport::TraceNotification {
    fn from(trace: TransportTrace) -> Self {
        trace.0
    }
}

impl<'de> Deserialize<'de> for TransportTrace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::<TransportKind>::deserialize(deserializer)?;
        let (type_, info) = match raw.kind {
            TransportKind::Probation => (transport::TraceEventType::Probation, None),
            TransportKind::Bwe => {
                let info: Bandwidth = raw.info()?;
                let info = transport::TraceInfo::BweTraceInfo(Box::new(transport::BweTraceInfo {
                    bwe_type: match info.bwe_type {
                        BweType::TransportCc => transport::BweType::TransportCc,
                        BweType::Remb => transport::BweType::Remb,
                    },
                    desired_bitrate: info.desired_bitrate,
                    effective_desired_bitrate: info.effective_desired_bitrate,
                    min_bitrate: info.min_bitrate,
                    max_bitrate: info.max_bitrate,
                    start_bitrate: info.start_bitrate,
                    max_padding_bitrate: info.max_padding_bitrate,
                    available_bitrate: info.available_bitrate,
                }));
                (transport::TraceEventType::Bwe, Some(info))
            }
        };
        let (timestamp, direction) = (raw.timestamp, raw.direction.into());
        Ok(Self(transport::TraceNotification { type_, timestamp, direction, info }))
    }
}

/// What an RTP packet shows of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Packet {
    rtp_packet: Header,
    is_rtx: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Header {
    payload_type: u8,
    sequence_number: u16,
    timestamp: u32,
    marker: bool,
    ssrc: u32,
    is_key_frame: bool,
    size: u64,
    payload_size: u64,
    spatial_layer: u8,
    temporal_layer: u8,
    mid: Option<String>,
    rid: Option<String>,
    rrid: Option<String>,
    wide_sequence_number: Option<u16>,
}

impl From<Header> for Box<rtp_packet::Dump> {
    fn from(header: Header) -> Self {
        Self::new(rtp_packet::Dump {
            payload_type: header.payload_type,
            sequence_number: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            ssrc: header.ssrc,
            is_key_frame: header.is_key_frame,
            size: header.size,
            payload_size: header.payload_size,
            spatial_layer: header.spatial_layer,
            temporal_layer: header.temporal_layer,
            mid: header.mid,
            rid: header.rid,
            rrid: header.rrid,
            wide_sequence_number: header.wide_sequence_number,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Feedback {
    ssrc: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct SenderReport {
    ssrc: u32,
    ntp_sec: u32,
    ntp_frac: u32,
    rtp_ts: u32,
    packet_count: u32,
    octet_count: u32,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProducerKind {
    Rtp,
    KeyFrame,
    Nack,
    Pli,
    Fir,
    Sr,
}

#[derive(Debug)]
pub(super) struct ProducerTrace(producer::TraceNotification);

impl From<ProducerTrace> for producer::TraceNotification {
    fn from(trace: ProducerTrace) -> Self {
        trace.0
    }
}

impl<'de> Deserialize<'de> for ProducerTrace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use producer::{TraceEventType as Type, TraceInfo as Info};
        let raw = Raw::<ProducerKind>::deserialize(deserializer)?;
        let (type_, info) = match raw.kind {
            ProducerKind::Rtp => {
                let Packet { rtp_packet, is_rtx } = raw.info()?;
                let info = producer::RtpTraceInfo { rtp_packet: rtp_packet.into(), is_rtx };
                (Type::Rtp, Some(Info::RtpTraceInfo(Box::new(info))))
            }
            ProducerKind::KeyFrame => {
                let Packet { rtp_packet, is_rtx } = raw.info()?;
                let info = producer::KeyFrameTraceInfo { rtp_packet: rtp_packet.into(), is_rtx };
                (Type::Keyframe, Some(Info::KeyFrameTraceInfo(Box::new(info))))
            }
            ProducerKind::Nack => (Type::Nack, None),
            ProducerKind::Pli => {
                let Feedback { ssrc } = raw.info()?;
                (Type::Pli, Some(Info::PliTraceInfo(Box::new(producer::PliTraceInfo { ssrc }))))
            }
            ProducerKind::Fir => {
                let Feedback { ssrc } = raw.info()?;
                (Type::Fir, Some(Info::FirTraceInfo(Box::new(producer::FirTraceInfo { ssrc }))))
            }
            ProducerKind::Sr => {
                let report: SenderReport = raw.info()?;
                let info = producer::SrTraceInfo {
                    ssrc: report.ssrc,
                    ntp_sec: report.ntp_sec,
                    ntp_frac: report.ntp_frac,
                    rtp_ts: report.rtp_ts,
                    packet_count: report.packet_count,
                    octet_count: report.octet_count,
                };
                (Type::Sr, Some(Info::SrTraceInfo(Box::new(info))))
            }
        };
        let (timestamp, direction) = (raw.timestamp, raw.direction.into());
        Ok(Self(producer::TraceNotification { type_, timestamp, direction, info }))
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ConsumerKind {
    Rtp,
    KeyFrame,
    Nack,
    Pli,
    Fir,
}

#[derive(Debug)]
pub(super) struct ConsumerTrace(consumer::TraceNotification);

impl From<ConsumerTrace> for consumer::TraceNotification {
    fn from(trace: ConsumerTrace) -> Self {
        trace.0
    }
}

impl<'de> Deserialize<'de> for ConsumerTrace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use consumer::{TraceEventType as Type, TraceInfo as Info};
        let raw = Raw::<ConsumerKind>::deserialize(deserializer)?;
        let (type_, info) = match raw.kind {
            ConsumerKind::Rtp => {
                let Packet { rtp_packet, is_rtx } = raw.info()?;
                let info = consumer::RtpTraceInfo { rtp_packet: rtp_packet.into(), is_rtx };
                (Type::Rtp, Some(Info::RtpTraceInfo(Box::new(info))))
            }
            ConsumerKind::KeyFrame => {
                let Packet { rtp_packet, is_rtx } = raw.info()?;
                let info = consumer::KeyFrameTraceInfo { rtp_packet: rtp_packet.into(), is_rtx };
                (Type::Keyframe, Some(Info::KeyFrameTraceInfo(Box::new(info))))
            }
            ConsumerKind::Nack => (Type::Nack, None),
            ConsumerKind::Pli => {
                let Feedback { ssrc } = raw.info()?;
                (Type::Pli, Some(Info::PliTraceInfo(Box::new(consumer::PliTraceInfo { ssrc }))))
            }
            ConsumerKind::Fir => {
                let Feedback { ssrc } = raw.info()?;
                (Type::Fir, Some(Info::FirTraceInfo(Box::new(consumer::FirTraceInfo { ssrc }))))
            }
        };
        let (timestamp, direction) = (raw.timestamp, raw.direction.into());
        Ok(Self(consumer::TraceNotification { type_, timestamp, direction, info }))
    }
}
