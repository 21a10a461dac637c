//! Producers, consumers, observers.

use mediasoup_horizontal::channel::{
    compose::ErrorKind,
    fbs::{
        consumer::{ConsumerLayers, SetPreferredLayersRequest, SetPriorityRequest},
        notification,
        producer::SendNotification,
        request::Body,
        response,
        rtp_parameters::Type,
    },
    method::{Event, Method},
};

use crate::{
    bench::{Bench, assert_refused},
    bodies::{
        Media, add_producer, close_producer, close_router, close_transport, connect_pipe, consume,
        consume_pipe, consume_request, create_active_speaker, create_audio_level, create_direct,
        create_pipe, create_router, create_web_rtc, mapped_ssrc, produce, produce_request,
        remove_producer, udp,
    },
};

/// A router with two WebRTC transports, a connected pipe and a direct transport.
fn with_transports() -> Bench {
    let mut bench = Bench::new();
    bench.call(Method::WorkerCreateRouter, "", create_router("r"));
    for id in ["t1", "t2"] {
        bench.call(Method::RouterCreateWebrtctransport, "r", create_web_rtc(id, vec![udp(0)]));
    }
    bench.call(Method::RouterCreatePipetransport, "r", create_pipe("pipe", false));
    let connect = Body::PipeTransportConnectRequest(Box::new(connect_pipe("127.0.0.1", 9)));
    bench.call(Method::PipetransportConnect, "pipe", connect);
    bench.call(Method::RouterCreateDirecttransport, "r", create_direct("direct"));
    bench
}

fn produce_type(bench: &mut Bench, id: &str, media: Media, base: u32) -> Type {
    let answer = bench.call(Method::TransportProduce, "t1", produce(id, media, base));
    let Some(response::Body::TransportProduceResponse(answer)) = answer else { panic!("a type") };
    answer.type_
}

#[test]
fn types_follow_from_the_encodings() {
    let mut bench = with_transports();
    assert_eq!(produce_type(&mut bench, "audio", Media::Opus, 10), Type::Simple);
    assert_eq!(produce_type(&mut bench, "video", Media::Vp8, 20), Type::Simple);
    assert_eq!(produce_type(&mut bench, "simulcast", Media::Simulcast, 30), Type::Simulcast);
    assert_eq!(produce_type(&mut bench, "svc", Media::Svc, 40), Type::Svc);
    let consume_type = |bench: &mut Bench, transport: &str, id: &str, body| {
        bench.call(Method::TransportConsume, transport, body);
        let Some(response::Body::ConsumerDumpResponse(dump)) =
            bench.call(Method::ConsumerDump, id, None)
        else {
            panic!("a dump")
        };
        dump.data.base.type_
    };
    for (producer, media, base, expected) in [
        ("audio", Media::Opus, 10, Type::Simple),
        ("simulcast", Media::Simulcast, 30, Type::Simulcast),
        ("svc", Media::Svc, 40, Type::Svc),
    ] {
        let id = format!("c-{producer}");
        let body = consume(&id, producer, media, base);
        assert_eq!(consume_type(&mut bench, "t2", &id, body), expected);
        let id = format!("p-{producer}");
        let body = consume_pipe(&id, producer, media, base);
        assert_eq!(consume_type(&mut bench, "pipe", &id, body), Type::Pipe);
    }
    assert!(bench.worker.violations().is_empty());
}

#[test]
fn consume_answers_with_score_and_layers() {
    let mut bench = with_transports();
    produce_type(&mut bench, "p", Media::Simulcast, 30);
    bench.call(Method::ProducerPause, "p", None);
    let mut body = consume_request("c", "p", Media::Simulcast, 30, 9000);
    body.preferred_layers =
        Some(Box::new(ConsumerLayers { spatial_layer: 9, temporal_layer: Some(1) }));
    let body = Body::TransportConsumeRequest(Box::new(body));
    let reply = bench.request(Method::TransportConsume, "t2", body);
    assert_eq!(reply.events(), [("c", Event::ConsumerProducerPause)]);
    let Some(response::Body::TransportConsumeResponse(answer)) = reply.accepted() else {
        panic!("an answer")
    };
    assert!(answer.producer_paused && !answer.paused);
    assert_eq!((answer.score.score, answer.score.producer_score), (10, 0));
    assert_eq!(answer.score.producer_scores, [0, 0, 0]);
    let layers = answer.preferred_layers.expect("layers");
    assert_eq!((layers.spatial_layer, layers.temporal_layer), (2, Some(1)));
    let Some(response::Body::ConsumerSetPreferredLayersResponse(answer)) = bench.call(
        Method::ConsumerSetPreferredLayers,
        "c",
        Body::ConsumerSetPreferredLayersRequest(Box::new(SetPreferredLayersRequest {
            preferred_layers: Box::new(ConsumerLayers { spatial_layer: 1, temporal_layer: None }),
        })),
    ) else {
        panic!("layers")
    };
    let layers = answer.preferred_layers.expect("layers");
    assert_eq!((layers.spatial_layer, layers.temporal_layer), (1, Some(2)));
}

#[test]
fn producers_are_refused_in_the_workers_words_and_order() {
    let mut bench = with_transports();
    produce_type(&mut bench, "p", Media::Opus, 10);
    let mut refused = |transport: &str, body: Body, kind, reason: &str| {
        assert_refused(bench.request(Method::TransportProduce, transport, body), kind, reason);
    };
    refused(
        "t1",
        produce("p", Media::Opus, 50),
        ErrorKind::Error,
        "a Producer with same producerId already exists [method:transport.produce]",
    );
    refused(
        "t2",
        produce("p", Media::Opus, 50),
        ErrorKind::Error,
        "Channel request handler with ID p already exists",
    );
    refused(
        "t1",
        produce("q", Media::Opus, 10),
        ErrorKind::Error,
        "ssrc already exists in RTP listener [ssrc:10]",
    );
    let with =
        |change: &dyn Fn(&mut mediasoup_horizontal::channel::fbs::transport::ProduceRequest)| {
            let mut request = produce_request("q", Media::Vp8, 60);
            change(&mut request);
            Body::TransportProduceRequest(Box::new(request))
        };
    refused(
        "t1",
        with(&|request| request.rtp_parameters.codecs.clear()),
        ErrorKind::TypeError,
        "empty codecs",
    );
    refused(
        "t1",
        with(&|request| request.rtp_parameters.codecs[0].mime_type = "video/x".to_owned()),
        ErrorKind::TypeError,
        "unknown codec MIME subtype 'x'",
    );
    refused(
        "t1",
        with(&|request| request.rtp_parameters.codecs[1].payload_type = 111),
        ErrorKind::TypeError,
        "duplicated payloadType",
    );
    refused(
        "t1",
        with(&|request| request.rtp_parameters.encodings[0].codec_payload_type = Some(112)),
        ErrorKind::TypeError,
        "invalid codecPayloadType",
    );
    refused(
        "t1",
        with(&|request| request.rtp_mapping.encodings[0].mapped_ssrc = 0),
        ErrorKind::TypeError,
        "wrong entry in rtpMapping.encodings (missing mappedSsrc)",
    );
    refused(
        "t1",
        with(&|request| request.rtp_mapping.encodings[0].ssrc = None),
        ErrorKind::TypeError,
        "wrong entry in rtpMapping.encodings (missing ssrc or rid, or rtpParameters.mid)",
    );
    refused(
        "t1",
        with(&|request| {
            request.rtp_parameters.codecs[0].mime_type = "video/AV1".to_owned();
            let encodings = &mut request.rtp_parameters.encodings;
            encodings.push(encodings[0].clone());
        }),
        ErrorKind::TypeError,
        "video/AV1 codec not supported for simulcast",
    );
}

#[test]
fn consumers_are_refused_in_the_workers_words() {
    let mut bench = with_transports();
    produce_type(&mut bench, "p", Media::Opus, 10);
    bench.call(Method::TransportConsume, "t2", consume("c", "p", Media::Opus, 10));
    let mut refused = |body: Body, kind, reason: &str| {
        assert_refused(bench.request(Method::TransportConsume, "t2", body), kind, reason);
    };
    refused(
        consume("c", "p", Media::Opus, 10),
        ErrorKind::Error,
        "a Consumer with same consumerId already exists [method:transport.consume]",
    );
    refused(
        consume("d", "nobody", Media::Opus, 10),
        ErrorKind::NotFoundError,
        "Producer not found [producerId:nobody]",
    );
    let mut body = consume_request("d", "p", Media::Opus, 10, 9000);
    body.consumable_rtp_encodings.clear();
    refused(
        Body::TransportConsumeRequest(Box::new(body)),
        ErrorKind::TypeError,
        "empty consumableRtpEncodings",
    );
    assert_refused(
        bench.request(
            Method::ConsumerSetPriority,
            "c",
            Body::ConsumerSetPriorityRequest(Box::new(SetPriorityRequest { priority: 0 })),
        ),
        ErrorKind::TypeError,
        "wrong priority (must be higher than 0)",
    );
    // A producer of another router is none.
    bench.call(Method::WorkerCreateRouter, "", create_router("r2"));
    bench.call(Method::RouterCreateDirecttransport, "r2", create_direct("t3"));
    assert_refused(
        bench.request(Method::TransportConsume, "t3", consume("d", "p", Media::Opus, 10)),
        ErrorKind::NotFoundError,
        "Producer not found [producerId:p]",
    );
}

#[test]
fn wrong_consumable_ssrcs_are_a_violation() {
    let mut bench = with_transports();
    produce_type(&mut bench, "p", Media::Opus, 10);
    bench.call(Method::TransportConsume, "t2", consume("c", "p", Media::Opus, 11));
    assert_eq!(
        bench.worker.violations(),
        ["consumer c has other consumable SSRCs than its producer maps to"]
    );
    bench.call(Method::TransportConsume, "pipe", consume_pipe("d", "p", Media::Opus, 10));
    bench.call(Method::ConsumerRequestKeyFrame, "d", None);
    assert_eq!(bench.worker.violations().len(), 2);
}

#[test]
fn consumers_hear_of_pauses_before_the_answer() {
    let mut bench = with_transports();
    produce_type(&mut bench, "p", Media::Simulcast, 30);
    // Only consumers on connected transports have layers to lose.
    bench.call(Method::TransportConsume, "t2", consume("c", "p", Media::Simulcast, 30));
    bench.call(Method::TransportConsume, "direct", consume("d", "p", Media::Simulcast, 30));
    let reply = bench.request(Method::ProducerPause, "p", None);
    assert_eq!(
        reply.events(),
        [
            ("c", Event::ConsumerProducerPause),
            ("d", Event::ConsumerLayersChange),
            ("d", Event::ConsumerProducerPause),
        ]
    );
    assert!(reply.is_accepted());
    assert!(bench.request(Method::ProducerPause, "p", None).events().is_empty());
    let reply = bench.request(Method::ProducerResume, "p", None);
    assert_eq!(
        reply.events(),
        [("c", Event::ConsumerProducerResume), ("d", Event::ConsumerProducerResume)]
    );
    assert_eq!(
        bench.request(Method::ConsumerPause, "d", None).events(),
        [("d", Event::ConsumerLayersChange)]
    );
    assert!(bench.request(Method::ConsumerPause, "c", None).events().is_empty());
}

#[test]
fn consumers_hear_of_closes() {
    let mut bench = with_transports();
    produce_type(&mut bench, "p", Media::Opus, 10);
    produce_type(&mut bench, "q", Media::Opus, 20);
    bench.call(Method::TransportConsume, "t2", consume("c", "p", Media::Opus, 10));
    bench.call(Method::TransportConsume, "t2", consume("d", "q", Media::Opus, 20));
    let reply = bench.request(Method::TransportCloseProducer, "t1", close_producer("p"));
    assert_eq!(reply.events(), [("c", Event::ConsumerProducerClose)]);
    assert_refused(
        bench.request(Method::TransportCloseProducer, "t1", close_producer("p")),
        ErrorKind::NotFoundError,
        "Producer not found [method:transport.closeProducer]",
    );
    let reply = bench.request(Method::RouterCloseTransport, "r", close_transport("t1"));
    assert_eq!(reply.events(), [("d", Event::ConsumerProducerClose)]);
    assert_eq!(bench.worker.objects().consumers, 0);
    let reply = bench.request(Method::WorkerCloseRouter, "", close_router("r"));
    assert!(reply.events().is_empty() && reply.is_accepted());
    assert_eq!(bench.worker.objects().total(), 0);
}

#[test]
fn observers_take_audio_of_their_router() {
    let mut bench = with_transports();
    produce_type(&mut bench, "p", Media::Opus, 10);
    produce_type(&mut bench, "v", Media::Vp8, 20);
    assert_refused(
        bench.request(Method::RouterCreateAudiolevelobserver, "r", create_audio_level("o", 1)),
        ErrorKind::TypeError,
        "invalid threshold value 1",
    );
    bench.call(Method::RouterCreateAudiolevelobserver, "r", create_audio_level("o", -80));
    bench.call(Method::RouterCreateActivespeakerobserver, "r", create_active_speaker("s"));
    let add = Method::RtpobserverAddProducer;
    assert_refused(
        bench.request(add, "o", add_producer("v")),
        ErrorKind::TypeError,
        "not an audio Producer",
    );
    assert_refused(
        bench.request(add, "o", add_producer("nobody")),
        ErrorKind::NotFoundError,
        "Producer not found",
    );
    for _ in 0..2 {
        bench.call(add, "o", add_producer("p"));
    }
    bench.call(add, "s", add_producer("p"));
    assert_refused(
        bench.request(add, "s", add_producer("p")),
        ErrorKind::Error,
        "Producer already in map",
    );
    bench.call(Method::RtpobserverRemoveProducer, "s", remove_producer("p"));
    let Some(response::Body::RouterDumpResponse(dump)) = bench.call(Method::RouterDump, "r", None)
    else {
        panic!("a dump")
    };
    let observers: Vec<_> = dump
        .map_producer_id_observer_ids
        .iter()
        .map(|entry| (entry.key.as_str(), entry.values.len()))
        .collect();
    assert_eq!(observers, [("p", 1), ("v", 0)]);
}

/// The marker bit of RTP, beside the payload type.
const MARKER: u8 = 0x80;

#[test]
fn packets_reach_direct_consumers_under_their_ssrc() {
    let mut bench = with_transports();
    bench.call(Method::TransportProduce, "direct", produce("p", Media::Opus, 10));
    bench.call(Method::TransportConsume, "direct", consume("c", "p", Media::Opus, 10));
    bench.call(Method::TransportConsume, "t2", consume("other", "p", Media::Opus, 10));
    let packet = |payload_type: u8, ssrc: u32| {
        let mut packet = vec![0x80, payload_type, 0, 1, 0, 0, 0, 2];
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.extend_from_slice(b"media");
        packet
    };
    let mut send = |data| {
        let body =
            notification::Body::ProducerSendNotification(Box::new(SendNotification { data }));
        bench.notify(Event::ProducerSend, "p", body).before
    };
    let heard = send(packet(MARKER + 111, 10));
    assert_eq!(heard.len(), 1);
    assert_eq!((heard[0].handler_id.as_str(), heard[0].event), ("c", Event::ConsumerRtp));
    let Some(notification::Body::ConsumerRtpNotification(rtp)) = &heard[0].body else {
        panic!("a packet")
    };
    assert_eq!(rtp.data, packet(MARKER + 100, 9000));
    assert!(send(packet(111, 77)).is_empty(), "of nobody's SSRC");
    assert!(send(packet(99, 10)).is_empty(), "of an unknown payload type");
    assert!(send(vec![1, 2, 3]).is_empty(), "no packet at all");
    assert_eq!(mapped_ssrc(10, 0), 1_000_010);
}
