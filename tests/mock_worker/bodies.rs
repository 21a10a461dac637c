//! Request bodies as mediasoup sends them.

use mediasoup_horizontal::channel::fbs::{
    active_speaker_observer::ActiveSpeakerObserverOptions,
    audio_level_observer::AudioLevelObserverOptions,
    data_consumer, data_producer, direct_transport, pipe_transport, plain_transport,
    request::Body,
    router, rtp_observer,
    rtp_parameters::{
        CodecMapping, EncodingMapping, Integer32, MediaKind, Parameter, RtcpFeedback,
        RtcpParameters, RtpCodecParameters, RtpEncodingParameters, RtpHeaderExtensionParameters,
        RtpHeaderExtensionUri, RtpMapping, RtpParameters, Rtx, Type, Value,
    },
    sctp_parameters::SctpStreamParameters,
    srtp_parameters::SrtpCryptoSuite,
    transport::{
        CloseConsumerRequest, CloseDataConsumerRequest, CloseDataProducerRequest,
        CloseProducerRequest, ConsumeDataRequest, ConsumeRequest, ListenInfo, Options,
        ProduceDataRequest, ProduceRequest, Protocol,
    },
    web_rtc_transport::{
        ConnectRequest, DtlsParameters, DtlsRole, Fingerprint, FingerprintAlgorithm, Listen,
        ListenIndividual, ListenServer, WebRtcTransportOptions,
    },
    worker,
};

pub fn create_router(id: &str) -> Body {
    let body = worker::CreateRouterRequest { router_id: id.to_owned() };
    Body::WorkerCreateRouterRequest(Box::new(body))
}

pub fn close_router(id: &str) -> Body {
    let body = worker::CloseRouterRequest { router_id: id.to_owned() };
    Body::WorkerCloseRouterRequest(Box::new(body))
}

pub fn create_server(id: &str, listen_infos: Vec<ListenInfo>) -> Body {
    let body = worker::CreateWebRtcServerRequest {
        web_rtc_server_id: id.to_owned(),
        listen_infos: Some(listen_infos),
    };
    Body::WorkerCreateWebRtcServerRequest(Box::new(body))
}

pub fn close_server(id: &str) -> Body {
    let body = worker::CloseWebRtcServerRequest { web_rtc_server_id: id.to_owned() };
    Body::WorkerCloseWebRtcServerRequest(Box::new(body))
}

pub fn listen(protocol: Protocol, ip: &str, port: u16) -> ListenInfo {
    ListenInfo { protocol, ip: ip.to_owned(), port, ..ListenInfo::default() }
}

pub fn udp(port: u16) -> ListenInfo {
    listen(Protocol::Udp, "127.0.0.1", port)
}

pub fn options(enable_sctp: bool) -> Options {
    Options {
        enable_sctp,
        max_send_message_size: 262_144,
        max_receive_message_size: 262_144,
        sctp_send_buffer_size: 2_000_000,
        sctp_per_stream_send_queue_limit: 2_000_000,
        sctp_max_receiver_window_buffer_size: 5_242_880,
        sctp_default_stream_buffered_amount_low_threshold: 1024,
        ..Options::default()
    }
}

fn web_rtc(id: &str, listen: Listen) -> Body {
    Body::RouterCreateWebRtcTransportRequest(Box::new(router::CreateWebRtcTransportRequest {
        transport_id: id.to_owned(),
        options: Box::new(WebRtcTransportOptions {
            base: Box::new(options(true)),
            listen,
            enable_udp: true,
            enable_tcp: true,
            prefer_udp: false,
            prefer_tcp: false,
            ice_consent_timeout: 30,
        }),
    }))
}

pub fn create_web_rtc(id: &str, listen_infos: Vec<ListenInfo>) -> Body {
    web_rtc(id, Listen::ListenIndividual(Box::new(ListenIndividual { listen_infos })))
}

pub fn create_web_rtc_with_server(id: &str, server: &str) -> Body {
    let listen = ListenServer { web_rtc_server_id: server.to_owned() };
    web_rtc(id, Listen::ListenServer(Box::new(listen)))
}

pub fn plain_options() -> plain_transport::PlainTransportOptions {
    plain_transport::PlainTransportOptions {
        base: Box::new(options(true)),
        listen_info: Box::new(udp(0)),
        rtcp_listen_info: None,
        rtcp_mux: true,
        comedia: false,
        enable_srtp: false,
        srtp_crypto_suite: Some(SrtpCryptoSuite::AesCm128HmacSha180),
    }
}

pub fn create_plain(id: &str, options: plain_transport::PlainTransportOptions) -> Body {
    let body = router::CreatePlainTransportRequest {
        transport_id: id.to_owned(),
        options: Box::new(options),
    };
    Body::RouterCreatePlainTransportRequest(Box::new(body))
}

pub fn create_pipe(id: &str, enable_srtp: bool) -> Body {
    Body::RouterCreatePipeTransportRequest(Box::new(router::CreatePipeTransportRequest {
        transport_id: id.to_owned(),
        options: Box::new(pipe_transport::PipeTransportOptions {
            base: Box::new(options(true)),
            listen_info: Box::new(udp(0)),
            enable_rtx: true,
            enable_srtp,
        }),
    }))
}

pub fn create_direct(id: &str) -> Body {
    Body::RouterCreateDirectTransportRequest(Box::new(router::CreateDirectTransportRequest {
        transport_id: id.to_owned(),
        options: Box::new(direct_transport::DirectTransportOptions {
            base: Box::new(Options { direct: true, ..options(false) }),
        }),
    }))
}

pub fn close_transport(id: &str) -> Body {
    let body = router::CloseTransportRequest { transport_id: id.to_owned() };
    Body::RouterCloseTransportRequest(Box::new(body))
}

pub fn create_active_speaker(id: &str) -> Body {
    let body = router::CreateActiveSpeakerObserverRequest {
        rtp_observer_id: id.to_owned(),
        options: Box::new(ActiveSpeakerObserverOptions { interval: 300 }),
    };
    Body::RouterCreateActiveSpeakerObserverRequest(Box::new(body))
}

pub fn create_audio_level(id: &str, threshold: i8) -> Body {
    let body = router::CreateAudioLevelObserverRequest {
        rtp_observer_id: id.to_owned(),
        options: Box::new(AudioLevelObserverOptions { max_entries: 1, threshold, interval: 1000 }),
    };
    Body::RouterCreateAudioLevelObserverRequest(Box::new(body))
}

pub fn close_observer(id: &str) -> Body {
    let body = router::CloseRtpObserverRequest { rtp_observer_id: id.to_owned() };
    Body::RouterCloseRtpObserverRequest(Box::new(body))
}

pub fn add_producer(id: &str) -> Body {
    let body = rtp_observer::AddProducerRequest { producer_id: id.to_owned() };
    Body::RtpObserverAddProducerRequest(Box::new(body))
}

pub fn remove_producer(id: &str) -> Body {
    let body = rtp_observer::RemoveProducerRequest { producer_id: id.to_owned() };
    Body::RtpObserverRemoveProducerRequest(Box::new(body))
}

pub fn connect_plain(ip: &str, port: u16) -> plain_transport::ConnectRequest {
    plain_transport::ConnectRequest {
        ip: Some(ip.to_owned()),
        port: Some(port),
        rtcp_port: None,
        srtp_parameters: None,
    }
}

pub fn connect_pipe(ip: &str, port: u16) -> pipe_transport::ConnectRequest {
    pipe_transport::ConnectRequest { ip: ip.to_owned(), port: Some(port), srtp_parameters: None }
}

pub fn connect_web_rtc(role: DtlsRole, fingerprints: usize) -> Body {
    let fingerprint =
        Fingerprint { algorithm: FingerprintAlgorithm::Sha256, value: "82:5A".to_owned() };
    Body::WebRtcTransportConnectRequest(Box::new(ConnectRequest {
        dtls_parameters: Box::new(DtlsParameters {
            fingerprints: vec![fingerprint; fingerprints],
            role,
        }),
    }))
}

/// What a producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    Opus,
    Vp8,
    Simulcast,
    Svc,
}

impl Media {
    pub fn kind(self) -> MediaKind {
        if self == Self::Opus { MediaKind::Audio } else { MediaKind::Video }
    }

    fn encodings(self) -> u32 {
        if self == Self::Simulcast { 3 } else { 1 }
    }

    fn mime(self) -> &'static str {
        match self {
            Self::Opus => "audio/opus",
            Self::Vp8 | Self::Simulcast => "video/VP8",
            Self::Svc => "video/VP9",
        }
    }
}

fn codec(mime: &str, payload_type: u8, apt: Option<u8>) -> RtpCodecParameters {
    let parameters = apt.map(|apt| {
        vec![Parameter {
            name: "apt".to_owned(),
            value: Value::Integer32(Box::new(Integer32 { value: apt.into() })),
        }]
    });
    RtpCodecParameters {
        mime_type: mime.to_owned(),
        payload_type,
        clock_rate: if mime.starts_with("audio") { 48_000 } else { 90_000 },
        channels: mime.starts_with("audio").then_some(2),
        parameters,
        rtcp_feedback: Some(vec![RtcpFeedback {
            type_: "nack".to_owned(),
            parameter: Some(String::new()),
        }]),
    }
}

fn rtp(media: Media, payload_type: u8, encodings: Vec<RtpEncodingParameters>) -> RtpParameters {
    let mut codecs = vec![codec(media.mime(), payload_type, None)];
    if media != Media::Opus {
        codecs.push(codec("video/rtx", payload_type + 1, Some(payload_type)));
    }
    RtpParameters {
        mid: None,
        codecs,
        header_extensions: vec![RtpHeaderExtensionParameters {
            uri: RtpHeaderExtensionUri::AbsSendTime,
            id: 4,
            encrypt: false,
            parameters: None,
        }],
        encodings,
        rtcp: Box::new(RtcpParameters { cname: Some("cname".to_owned()), reduced_size: true }),
        msid: None,
    }
}

/// SSRC of a producer's encoding, and the one that its consumers know it by.
pub fn ssrc(base: u32, index: u32) -> u32 {
    base + index
}

pub fn mapped_ssrc(base: u32, index: u32) -> u32 {
    1_000_000 + base + index
}

fn scalability(media: Media) -> Option<String> {
    match media {
        Media::Opus | Media::Vp8 => None,
        Media::Simulcast => Some("L1T3".to_owned()),
        Media::Svc => Some("L3T3".to_owned()),
    }
}

/// A producer whose SSRCs count from `base`.
pub fn produce_request(id: &str, media: Media, base: u32) -> ProduceRequest {
    let encodings = (0..media.encodings())
        .map(|index| RtpEncodingParameters {
            ssrc: Some(ssrc(base, index)),
            scalability_mode: scalability(media),
            rtx: (media != Media::Opus)
                .then(|| Box::new(Rtx { ssrc: 500_000 + ssrc(base, index) })),
            ..RtpEncodingParameters::default()
        })
        .collect();
    let mapping = (0..media.encodings())
        .map(|index| EncodingMapping {
            rid: None,
            ssrc: Some(ssrc(base, index)),
            mapped_ssrc: mapped_ssrc(base, index),
        })
        .collect();
    ProduceRequest {
        producer_id: id.to_owned(),
        kind: media.kind(),
        rtp_parameters: Box::new(rtp(media, 111, encodings)),
        rtp_mapping: Box::new(RtpMapping {
            codecs: vec![CodecMapping { payload_type: 111, mapped_payload_type: 100 }],
            encodings: mapping,
        }),
        paused: false,
        key_frame_request_delay: 0,
        enable_mediasoup_packet_id_header_extension: false,
    }
}

pub fn produce(id: &str, media: Media, base: u32) -> Body {
    Body::TransportProduceRequest(Box::new(produce_request(id, media, base)))
}

/// A consumer of a producer made with `base`.
pub fn consume_request(
    id: &str,
    producer: &str,
    media: Media,
    base: u32,
    own_ssrc: u32,
) -> ConsumeRequest {
    let own = RtpEncodingParameters {
        ssrc: Some(own_ssrc),
        scalability_mode: match media {
            Media::Simulcast => Some("L3T3".to_owned()),
            other => scalability(other),
        },
        ..RtpEncodingParameters::default()
    };
    let consumable = (0..media.encodings())
        .map(|index| RtpEncodingParameters {
            ssrc: Some(mapped_ssrc(base, index)),
            scalability_mode: scalability(media),
            ..RtpEncodingParameters::default()
        })
        .collect();
    ConsumeRequest {
        consumer_id: id.to_owned(),
        producer_id: producer.to_owned(),
        kind: media.kind(),
        rtp_parameters: Box::new(rtp(media, 100, vec![own])),
        type_: match media {
            Media::Opus | Media::Vp8 => Type::Simple,
            Media::Simulcast => Type::Simulcast,
            Media::Svc => Type::Svc,
        },
        consumable_rtp_encodings: consumable,
        paused: false,
        preferred_layers: None,
        ignore_dtx: false,
    }
}

pub fn consume(id: &str, producer: &str, media: Media, base: u32) -> Body {
    Body::TransportConsumeRequest(Box::new(consume_request(id, producer, media, base, 9000)))
}

/// A pipe consumer: an own SSRC for each encoding.
pub fn consume_pipe(id: &str, producer: &str, media: Media, base: u32) -> Body {
    let mut request = consume_request(id, producer, media, base, 9000);
    request.type_ = Type::Pipe;
    request.rtp_parameters.encodings = (0..media.encodings())
        .map(|index| RtpEncodingParameters {
            ssrc: Some(7000 + index),
            ..RtpEncodingParameters::default()
        })
        .collect();
    Body::TransportConsumeRequest(Box::new(request))
}

pub fn close_producer(id: &str) -> Body {
    let body = CloseProducerRequest { producer_id: id.to_owned() };
    Body::TransportCloseProducerRequest(Box::new(body))
}

pub fn close_consumer(id: &str) -> Body {
    let body = CloseConsumerRequest { consumer_id: id.to_owned() };
    Body::TransportCloseConsumerRequest(Box::new(body))
}

fn stream(stream_id: u16) -> SctpStreamParameters {
    SctpStreamParameters { stream_id, ordered: Some(true), ..Default::default() }
}

/// A data producer, direct without a stream.
pub fn produce_data(id: &str, stream_id: Option<u16>) -> Body {
    Body::TransportProduceDataRequest(Box::new(ProduceDataRequest {
        data_producer_id: id.to_owned(),
        type_: match stream_id {
            Some(_) => data_producer::Type::Sctp,
            None => data_producer::Type::Direct,
        },
        sctp_stream_parameters: stream_id.map(stream).map(Box::new),
        label: Some("chat".to_owned()),
        protocol: None,
        paused: false,
    }))
}

/// A data consumer, direct without a stream.
pub fn consume_data(id: &str, producer: &str, stream_id: Option<u16>, subchannels: &[u16]) -> Body {
    Body::TransportConsumeDataRequest(Box::new(ConsumeDataRequest {
        data_consumer_id: id.to_owned(),
        data_producer_id: producer.to_owned(),
        type_: match stream_id {
            Some(_) => data_consumer::Type::Sctp,
            None => data_consumer::Type::Direct,
        },
        sctp_stream_parameters: stream_id.map(stream).map(Box::new),
        label: Some("chat".to_owned()),
        protocol: None,
        paused: false,
        subchannels: Some(subchannels.to_vec()),
    }))
}

pub fn close_data_producer(id: &str) -> Body {
    let body = CloseDataProducerRequest { data_producer_id: id.to_owned() };
    Body::TransportCloseDataProducerRequest(Box::new(body))
}

pub fn close_data_consumer(id: &str) -> Body {
    let body = CloseDataConsumerRequest { data_consumer_id: id.to_owned() };
    Body::TransportCloseDataConsumerRequest(Box::new(body))
}
