//! The streams of consumers in dumps and stats. Nothing was ever sent on them.

use super::{
    codec::Mime,
    consumer::Consumer,
    rtp_parameters::{Layers, integer},
};
use crate::channel::fbs::{
    rtp_parameters::{MediaKind, RtpCodecParameters, RtpEncodingParameters, Type},
    rtp_stream::{BaseStats, Dump, Params, SendStats, Stats, StatsData},
    rtx_stream::{self, RtxDump},
};

struct Stream<'a> {
    index: u32,
    encoding: &'a RtpEncodingParameters,
    codec: &'a RtpCodecParameters,
    mime: Mime,
    layers: Layers,
    rtx: Option<(u8, u32)>,
}

/// One stream, or one per encoding where the consumer is a pipe.
fn streams(consumer: &Consumer) -> impl Iterator<Item = Stream<'_>> {
    let parameters = &consumer.rtp_parameters;
    let count =
        if consumer.stream_type == Type::Pipe { parameters.dump.encodings.len() } else { 1 };
    let encodings = parameters.dump.encodings.iter().zip(&parameters.layers);
    (0..).zip(encodings).take(count).filter_map(|(index, (encoding, layers))| {
        let (codec, mime) = parameters.codec_of(encoding)?;
        let rtx = encoding.rtx.as_ref().map(|rtx| rtx.ssrc);
        let rtx = parameters.rtx_payload_type(encoding).zip(rtx);
        Some(Stream { index, encoding, codec, mime, layers: *layers, rtx })
    })
}

/// The streams as a dump shows them.
pub(super) fn stream_dumps(consumer: &Consumer, score: u8) -> Vec<Dump> {
    let cname = consumer.rtp_parameters.dump.rtcp.cname.clone().unwrap_or_default();
    streams(consumer)
        .map(|stream| {
            let codec = stream.codec;
            let has = |kind: &str, parameter: Option<&str>| {
                codec.rtcp_feedback.iter().flatten().any(|feedback| {
                    feedback.type_ == kind && feedback.parameter.as_deref() == parameter
                })
            };
            Dump {
                params: Box::new(Params {
                    encoding_idx: stream.index,
                    ssrc: stream.encoding.ssrc.unwrap_or_default(),
                    payload_type: codec.payload_type,
                    mime_type: codec.mime_type.clone(),
                    clock_rate: codec.clock_rate,
                    rid: Some(String::new()),
                    cname: cname.clone(),
                    rtx_ssrc: stream.rtx.map(|(_, ssrc)| ssrc),
                    rtx_payload_type: stream.rtx.map(|(payload_type, _)| payload_type),
                    use_nack: has("nack", None),
                    use_pli: has("nack", Some("pli")),
                    use_fir: has("ccm", Some("fir")),
                    use_in_band_fec: integer(codec, "useinbandfec") == Some(1),
                    use_dtx: stream.encoding.dtx || integer(codec, "usedtx") == Some(1),
                    spatial_layers: stream.layers.spatial,
                    temporal_layers: stream.layers.temporal,
                }),
                score,
                rtx_stream: stream.rtx.map(|(payload_type, ssrc)| {
                    Box::new(RtxDump {
                        params: Box::new(rtx_stream::Params {
                            ssrc,
                            payload_type,
                            mime_type: stream.mime.rtx_name(),
                            clock_rate: codec.clock_rate,
                            rrid: Some(String::new()),
                            cname: cname.clone(),
                        }),
                    })
                }),
            }
        })
        .collect()
}

/// The stats of the streams.
pub(super) fn send_stats(consumer: &Consumer, timestamp: u64, score: u8) -> Vec<Stats> {
    streams(consumer)
        .map(|stream| {
            let base = BaseStats {
                timestamp,
                ssrc: stream.encoding.ssrc.unwrap_or_default(),
                kind: if stream.mime.video { MediaKind::Video } else { MediaKind::Audio },
                mime_type: stream.codec.mime_type.clone(),
                rtx_ssrc: stream.rtx.map(|(_, ssrc)| ssrc),
                score,
                ..BaseStats::default()
            };
            Stats {
                data: StatsData::SendStats(Box::new(SendStats {
                    base: Box::new(Stats { data: StatsData::BaseStats(Box::new(base)) }),
                    packet_count: 0,
                    byte_count: 0,
                    bitrate: 0,
                })),
            }
        })
        .collect()
}
