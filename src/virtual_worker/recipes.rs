//! What goes over a pipe: the requests that carry one Producer or `DataProducer` from its part to
//! another one. All of it follows from the request that made the origin.

use channel_schema::fbs::{
    data_consumer, data_producer, pipe_transport,
    request::Body,
    router,
    rtp_parameters::{
        CodecMapping, EncodingMapping, Integer32, MediaKind, Parameter, RtcpFeedback,
        RtcpParameters, RtpCodecParameters, RtpEncodingParameters, RtpHeaderExtensionParameters,
        RtpHeaderExtensionUri as Uri, RtpMapping, RtpParameters, Rtx, Type, Value,
    },
    sctp_parameters::SctpStreamParameters,
    transport::{self, ConsumeDataRequest, ConsumeRequest, ProduceDataRequest, ProduceRequest},
};

use super::facts::{Data, Media, Socket};

/// The app's limit of 256 KiB plus what a pipe adds must pass, and larger ones too.
const MAX_MESSAGE: u32 = 8 << 20;
const SEND_BUFFER: u32 = 16 << 20;
const RECEIVE_WINDOW: u32 = 16 << 20;
const LOW_THRESHOLD: u32 = 1024;
const SOCKET_BUFFER: u32 = 2 << 20;
/// Highest payload type, from which a free one for RTX is sought downwards.
const LAST_PAYLOAD_TYPE: u8 = 127;

/// How one end of a pair is to be made.
#[derive(Debug, Clone)]
pub struct EndOptions {
    pub transport: String,
    /// SRTP and RTX: the other end is on another host.
    pub between_hosts: bool,
    pub port_range: Option<(u16, u16)>,
    /// The port that it must have.
    pub port: Option<u16>,
}

/// What the two ends of a pipe are called.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The Producer where the pipe begins.
    pub producer: &'a str,
    pub consumer: &'a str,
    pub sink: &'a str,
}

/// A `PipeTransport` of the core.
pub fn create_end(options: EndOptions) -> Body {
    let (min, max) = options.port_range.unwrap_or_default();
    let listen_info = transport::ListenInfo {
        protocol: transport::Protocol::Udp,
        // Between hosts the rules for addresses turn it into that of the host.
        ip: "127.0.0.1".to_owned(),
        port: options.port.unwrap_or_default(),
        port_range: Box::new(transport::PortRange { min, max }),
        send_buffer_size: SOCKET_BUFFER,
        recv_buffer_size: SOCKET_BUFFER,
        ..transport::ListenInfo::default()
    };
    let base = transport::Options {
        // Idle until the first data object.
        enable_sctp: true,
        max_send_message_size: MAX_MESSAGE,
        max_receive_message_size: MAX_MESSAGE,
        sctp_send_buffer_size: SEND_BUFFER,
        sctp_per_stream_send_queue_limit: SEND_BUFFER,
        sctp_max_receiver_window_buffer_size: RECEIVE_WINDOW,
        sctp_default_stream_buffered_amount_low_threshold: LOW_THRESHOLD,
        ..transport::Options::default()
    };
    let options_of_pipe = pipe_transport::PipeTransportOptions {
        base: Box::new(base),
        listen_info: Box::new(listen_info),
        enable_rtx: options.between_hosts,
        enable_srtp: options.between_hosts,
    };
    Body::RouterCreatePipeTransportRequest(Box::new(router::CreatePipeTransportRequest {
        transport_id: options.transport,
        options: Box::new(options_of_pipe),
    }))
}

/// Connects one end to the other one.
pub fn connect_end(peer: &Socket) -> Body {
    Body::PipeTransportConnectRequest(Box::new(pipe_transport::ConnectRequest {
        ip: peer.ip.clone(),
        port: Some(peer.port),
        srtp_parameters: peer.srtp.clone().map(Box::new),
    }))
}

/// Closes one end.
pub fn close_end(transport: &str) -> Body {
    Body::RouterCloseTransportRequest(Box::new(router::CloseTransportRequest {
        transport_id: transport.to_owned(),
    }))
}

/// The two requests that carry a Producer over a pipe: the consume where it lives, the produce
/// where it is wanted.
pub fn media(
    names: Names<'_>,
    media: &Media,
    paused: bool,
    rtx: bool,
    fresh: &mut impl FnMut() -> u32,
) -> (Body, Body) {
    let rtp_parameters = pipe_parameters(media, rtx, fresh);
    let consumable = media.rtp_parameters.encodings.iter().zip(&media.mapping.encodings).map(
        |(encoding, mapping)| RtpEncodingParameters {
            ssrc: Some(mapping.mapped_ssrc),
            ..layers_of(encoding)
        },
    );
    let mapping = RtpMapping {
        codecs: rtp_parameters
            .codecs
            .iter()
            .map(|codec| CodecMapping {
                payload_type: codec.payload_type,
                mapped_payload_type: codec.payload_type,
            })
            .collect(),
        encodings: rtp_parameters
            .encodings
            .iter()
            .zip(&media.mapping.encodings)
            .map(|(encoding, mapping)| EncodingMapping {
                rid: None,
                ssrc: encoding.ssrc,
                mapped_ssrc: mapping.mapped_ssrc,
            })
            .collect(),
    };
    let source = ConsumeRequest {
        consumer_id: names.consumer.to_owned(),
        producer_id: names.producer.to_owned(),
        kind: media.kind,
        rtp_parameters: Box::new(rtp_parameters.clone()),
        type_: Type::Pipe,
        consumable_rtp_encodings: consumable.collect(),
        paused: false,
        preferred_layers: None,
        ignore_dtx: false,
    };
    let sink = ProduceRequest {
        producer_id: names.sink.to_owned(),
        kind: media.kind,
        rtp_parameters: Box::new(rtp_parameters),
        rtp_mapping: Box::new(mapping),
        paused,
        key_frame_request_delay: 0,
        enable_mediasoup_packet_id_header_extension: false,
    };
    (Body::TransportConsumeRequest(Box::new(source)), Body::TransportProduceRequest(Box::new(sink)))
}

fn layers_of(encoding: &RtpEncodingParameters) -> RtpEncodingParameters {
    RtpEncodingParameters {
        dtx: encoding.dtx,
        scalability_mode: encoding.scalability_mode.clone(),
        max_bitrate: encoding.max_bitrate,
        ..RtpEncodingParameters::default()
    }
}

fn pipe_parameters(media: &Media, rtx: bool, fresh: &mut impl FnMut() -> u32) -> RtpParameters {
    let given = &media.rtp_parameters;
    let rtx_too = rtx && media.kind == MediaKind::Video;
    let encodings = given.encodings.iter().map(|encoding| RtpEncodingParameters {
        ssrc: Some(fresh()),
        rtx: rtx_too.then(|| Box::new(Rtx { ssrc: fresh() })),
        ..layers_of(encoding)
    });
    RtpParameters {
        // Two Producers may share one mid.
        mid: None,
        encodings: encodings.collect(),
        codecs: codecs(media, rtx),
        header_extensions: extensions(media),
        rtcp: Box::new(RtcpParameters {
            // Consumers share a sender clock by it.
            cname: given.rtcp.cname.clone(),
            reduced_size: true,
        }),
        msid: given.msid.clone(),
    }
}

fn codecs(media: &Media, rtx: bool) -> Vec<RtpCodecParameters> {
    let video = media.kind == MediaKind::Video;
    let mapped = |payload_type: u8| {
        let codecs = media.mapping.codecs.iter();
        codecs.clone().find(|codec| codec.payload_type == payload_type)
    };
    let mut codecs = Vec::new();
    let mut taken: Vec<u8> =
        media.mapping.codecs.iter().map(|codec| codec.mapped_payload_type).collect();
    for codec in &media.rtp_parameters.codecs {
        let Some(mapping) = mapped(codec.payload_type) else { continue };
        if codec.mime_type.to_ascii_lowercase().ends_with("/rtx") {
            continue;
        }
        codecs.push(RtpCodecParameters {
            payload_type: mapping.mapped_payload_type,
            rtcp_feedback: Some(feedback(video, rtx)),
            ..codec.clone()
        });
        let free = (0..=LAST_PAYLOAD_TYPE).rev().find(|number| !taken.contains(number));
        if let Some(payload_type) = free.filter(|_| rtx && video) {
            taken.push(payload_type);
            codecs.push(rtx_codec(codec.clock_rate, payload_type, mapping.mapped_payload_type));
        }
    }
    codecs
}

fn rtx_codec(clock_rate: u32, payload_type: u8, of: u8) -> RtpCodecParameters {
    let value = Value::Integer32(Box::new(Integer32 { value: of.into() }));
    RtpCodecParameters {
        mime_type: "video/rtx".to_owned(),
        payload_type,
        clock_rate,
        channels: None,
        parameters: Some(vec![Parameter { name: "apt".to_owned(), value }]),
        rtcp_feedback: Some(Vec::new()),
    }
}

fn feedback(video: bool, rtx: bool) -> Vec<RtcpFeedback> {
    let one = |type_: &str, parameter: &str| RtcpFeedback {
        type_: type_.to_owned(),
        parameter: Some(parameter.to_owned()),
    };
    let mut feedback = if video { vec![one("nack", "pli"), one("ccm", "fir")] } else { Vec::new() };
    if rtx {
        feedback.push(one("nack", ""));
    }
    feedback
}

/// The worker's Producers write these ids into every packet, whatever the sender used.
fn extensions(media: &Media) -> Vec<RtpHeaderExtensionParameters> {
    let own: &[(Uri, u8)] = match media.kind {
        MediaKind::Audio => &[(Uri::SsrcAudioLevel, 6), (Uri::DependencyDescriptor, 7)],
        MediaKind::Video => {
            &[(Uri::DependencyDescriptor, 7), (Uri::VideoOrientation, 8), (Uri::TimeOffset, 9)]
        }
    };
    let captured = media
        .rtp_parameters
        .header_extensions
        .iter()
        .any(|extension| extension.uri == Uri::AbsCaptureTime)
        .then_some((Uri::AbsCaptureTime, 10));
    let common = [(Uri::PlayoutDelay, 11), (Uri::MediasoupPacketId, 12)];
    own.iter()
        .copied()
        .chain(captured)
        .chain(common)
        .map(|(uri, id)| RtpHeaderExtensionParameters { uri, id, encrypt: false, parameters: None })
        .collect()
}

/// The two requests that carry a `DataProducer` over a pipe.
pub fn data(producer: &str, consumer: &str, data: &Data, stream_id: u16) -> (Body, Body) {
    let stream = match &data.stream {
        Some(stream) => SctpStreamParameters { stream_id, ..stream.clone() },
        None => SctpStreamParameters {
            stream_id,
            ordered: Some(true),
            max_packet_life_time: None,
            max_retransmits: None,
        },
    };
    let source = ConsumeDataRequest {
        data_consumer_id: consumer.to_owned(),
        data_producer_id: producer.to_owned(),
        type_: data_consumer::Type::Sctp,
        sctp_stream_parameters: Some(Box::new(stream.clone())),
        label: data.label.clone(),
        protocol: data.protocol.clone(),
        paused: false,
        // Only a DataConsumer without any forwards the messages of all.
        subchannels: Some(Vec::new()),
    };
    let sink = ProduceDataRequest {
        data_producer_id: producer.to_owned(),
        type_: data_producer::Type::Sctp,
        sctp_stream_parameters: Some(Box::new(stream)),
        label: data.label.clone(),
        protocol: data.protocol.clone(),
        paused: data.paused,
    };
    (
        Body::TransportConsumeDataRequest(Box::new(source)),
        Body::TransportProduceDataRequest(Box::new(sink)),
    )
}
