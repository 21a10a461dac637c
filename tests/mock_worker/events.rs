//! Events that a test lets happen.

use mediasoup_horizontal::{
    channel::{
        compose,
        fbs::{
            consumer::{TraceEventType, TraceInfo},
            message, notification,
            notification::Body,
            response,
            sctp_association::SctpState,
            web_rtc_transport::{DtlsState, IceState},
        },
        method::{Event, Method},
    },
    mock_worker::EventError,
};
use serde_json::{Value, json};

use crate::{
    bench::{Bench, reparse},
    bodies::{
        Media, add_producer, consume, consume_data, create_active_speaker, create_audio_level,
        create_direct, create_pipe, create_plain, create_router, create_web_rtc, plain_options,
        produce, produce_data, udp,
    },
};

/// One object of every kind that events happen on.
fn world() -> Bench {
    let mut bench = Bench::new();
    bench.call(Method::WorkerCreateRouter, "", create_router("r"));
    bench.call(Method::RouterCreateWebrtctransport, "r", create_web_rtc("web", vec![udp(0)]));
    bench.call(Method::RouterCreatePlaintransport, "r", create_plain("plain", plain_options()));
    bench.call(Method::RouterCreatePipetransport, "r", create_pipe("pipe", false));
    bench.call(Method::RouterCreateDirecttransport, "r", create_direct("direct"));
    bench.call(Method::RouterCreateActivespeakerobserver, "r", create_active_speaker("speaker"));
    bench.call(Method::RouterCreateAudiolevelobserver, "r", create_audio_level("level", -80));
    bench.call(Method::TransportProduce, "direct", produce("p", Media::Opus, 100));
    bench.call(Method::TransportConsume, "direct", consume("c", "p", Media::Opus, 100));
    bench.call(Method::TransportProduceData, "web", produce_data("dp", Some(1)));
    bench.call(Method::TransportConsumeData, "direct", consume_data("dc", "dp", None, &[]));
    for observer in ["speaker", "level"] {
        bench.call(Method::RtpobserverAddProducer, observer, add_producer("p"));
    }
    bench
}

fn happen(
    bench: &mut Bench,
    id: &str,
    event: Value,
) -> Result<Vec<notification::Notification>, EventError> {
    let messages = bench.worker.happen(id, event)?;
    let decoded = messages.into_iter().map(|sent| {
        match compose::to_owned(&reparse(sent)).expect("it decodes") {
            message::Body::Notification(notification) => *notification,
            other => panic!("a notification, not {other:?}"),
        }
    });
    Ok(decoded.collect())
}

fn events(bench: &mut Bench, id: &str, event: Value) -> Vec<Event> {
    let sent = happen(bench, id, event).expect("it happens");
    assert!(sent.iter().all(|notification| notification.handler_id == id));
    sent.into_iter().map(|notification| notification.event).collect()
}

#[test]
fn every_event_of_every_object_happens() {
    let tuple = json!({ "localAddress": "1.2.3.4", "localPort": 5, "protocol": "udp" });
    let bwe = json!({ "type": "bwe", "timestamp": 1, "direction": "in",
        "info": { "availableBitrate": 7, "bweType": "remb" } });
    let trace = |kind: &str| json!({ "type": kind, "timestamp": 1, "direction": "out" });
    let cases = [
        ("web", "icestatechange", json!("completed"), Event::WebrtctransportIceStateChange),
        ("web", "dtlsstatechange", json!("failed"), Event::WebrtctransportDtlsStateChange),
        (
            "web",
            "iceselectedtuplechange",
            tuple.clone(),
            Event::WebrtctransportIceSelectedTupleChange,
        ),
        ("web", "sctpstatechange", json!("failed"), Event::TransportSctpStateChange),
        ("web", "trace", bwe.clone(), Event::TransportTrace),
        ("plain", "tuple", tuple.clone(), Event::PlaintransportTuple),
        ("plain", "rtcptuple", tuple, Event::PlaintransportRtcpTuple),
        ("plain", "sctpstatechange", json!("closed"), Event::TransportSctpStateChange),
        ("plain", "trace", trace("probation"), Event::TransportTrace),
        ("pipe", "sctpstatechange", json!("connecting"), Event::TransportSctpStateChange),
        ("pipe", "trace", bwe.clone(), Event::TransportTrace),
        ("direct", "rtcp", json!([1, 2, 3]), Event::DirecttransportRtcp),
        ("direct", "trace", bwe, Event::TransportTrace),
        ("p", "score", json!([{ "encodingIdx": 0, "ssrc": 1, "score": 9 }]), Event::ProducerScore),
        (
            "p",
            "videoorientationchange",
            json!({ "camera": true, "flip": false, "rotation": 90 }),
            Event::ProducerVideoOrientationChange,
        ),
        ("p", "trace", trace("sr"), Event::ProducerTrace),
        (
            "c",
            "score",
            json!({ "score": 1, "producerScore": 2, "producerScores": [2] }),
            Event::ConsumerScore,
        ),
        ("c", "layerschange", json!({ "spatialLayer": 1 }), Event::ConsumerLayersChange),
        ("c", "layerschange", Value::Null, Event::ConsumerLayersChange),
        ("c", "trace", trace("nack"), Event::ConsumerTrace),
        ("c", "rtp", json!([128, 0]), Event::ConsumerRtp),
        ("dc", "message", json!({ "data": [104, 105], "ppid": 51 }), Event::DataconsumerMessage),
        ("dc", "bufferedamountlow", json!(12), Event::DataconsumerBufferedAmountLow),
        (
            "speaker",
            "dominantspeaker",
            json!({ "producerId": "p" }),
            Event::ActivespeakerobserverDominantSpeaker,
        ),
        (
            "level",
            "volumes",
            json!([{ "producerId": "p", "volume": -30 }]),
            Event::AudiolevelobserverVolumes,
        ),
    ];
    let mut bench = world();
    for (id, name, payload, expected) in cases {
        let happened = events(&mut bench, id, json!({ "event": name, "payload": payload }));
        assert_eq!(happened, [expected], "{name} of {id}");
    }
    // Without a payload.
    for (id, name, expected) in [
        ("dc", "sctpsendbufferfull", Event::DataconsumerSctpSendbufferFull),
        ("level", "silence", Event::AudiolevelobserverSilence),
    ] {
        assert_eq!(events(&mut bench, id, json!({ "event": name })), [expected]);
    }
}

#[test]
fn dumps_tell_what_happened() {
    let mut bench = world();
    let tuple = json!({ "localAddress": "1.2.3.4", "localPort": 5, "remoteIp": "5.6.7.8",
        "remotePort": 9, "protocol": "tcp" });
    for (name, payload) in
        [("icestatechange", json!("completed")), ("iceselectedtuplechange", tuple)]
    {
        happen(&mut bench, "web", json!({ "event": name, "payload": payload })).expect("it does");
    }
    // SCTP connects once ICE and DTLS have, if there is something to carry.
    let sent =
        happen(&mut bench, "web", json!({ "event": "dtlsstatechange", "payload": "connected" }));
    let sent = sent.expect("it happens");
    let Some(Body::WebRtcTransportDtlsStateChangeNotification(body)) = &sent[0].body else {
        panic!("a DTLS state, not {sent:?}")
    };
    assert!(body.remote_cert.as_deref().is_some_and(|text| text.contains("BEGIN CERTIFICATE")));
    assert_eq!(sent[1].event, Event::TransportSctpStateChange);
    // The capabilities come before the state, as from a real worker.
    assert_eq!(
        events(&mut bench, "web", json!({ "event": "sctpstatechange", "payload": "connected" })),
        [Event::TransportSctpNegotiatedCapabilities, Event::TransportSctpStateChange]
    );
    let Some(response::Body::WebRtcTransportDumpResponse(dump)) =
        bench.call(Method::TransportDump, "web", None)
    else {
        panic!("a dump")
    };
    assert_eq!((dump.ice_state, dump.dtls_state), (IceState::Completed, DtlsState::Connected));
    assert_eq!(dump.ice_selected_tuple.map(|tuple| tuple.remote_port), Some(9));
    assert_eq!(dump.base.sctp_state, Some(SctpState::Connected));
}

#[test]
fn traces_carry_what_they_are_about() {
    let mut bench = world();
    let event = json!({ "event": "trace", "payload": { "type": "keyframe", "timestamp": 3,
        "direction": "out", "info": { "rtpPacket": { "ssrc": 9, "sequenceNumber": 4 }, "isRtx": true } } });
    let sent = happen(&mut bench, "c", event).expect("it happens");
    let Some(Body::ConsumerTraceNotification(trace)) = &sent[0].body else { panic!("a trace") };
    assert_eq!((trace.type_, trace.timestamp), (TraceEventType::Keyframe, 3));
    let Some(TraceInfo::KeyFrameTraceInfo(info)) = &trace.info else { panic!("of a key frame") };
    assert_eq!((info.rtp_packet.ssrc, info.rtp_packet.sequence_number, info.is_rtx), (9, 4, true));
}

#[test]
fn what_cannot_happen_is_refused_with_the_reason() {
    let mut bench = world();
    for (id, event, reason) in [
        ("gone", json!({ "event": "score" }), "no open object has the id gone"),
        ("r", json!({ "event": "close" }), "a Router lets no such event happen: no worker ever"),
        ("dp", json!({ "event": "close" }), "a DataProducer lets no such event happen"),
        (
            "p",
            json!({ "event": "layerschange", "payload": null }),
            "unknown variant `layerschange`",
        ),
        ("p", json!({ "event": "score" }), "missing field `payload`"),
        ("web", json!({ "event": "icestatechange", "payload": "late" }), "unknown variant `late`"),
        ("web", json!({ "event": "iceselectedtuplechange", "payload": null }), "needs a tuple"),
        ("c", json!({ "event": "score", "payload": { "score": 256 } }), "256"),
        (
            "c",
            json!({ "event": "trace", "payload": { "type": "pli", "timestamp": 1,
                "direction": "in", "info": { "srcc": 1 } } }),
            "info: unknown field `srcc`",
        ),
        (
            "speaker",
            json!({ "event": "dominantspeaker", "payload": { "producerId": "x" } }),
            "the Producer x is not in the observer speaker; add it first",
        ),
        (
            "level",
            json!({ "event": "volumes", "payload": [{ "producerId": "x", "volume": -1 }] }),
            "the Producer x is not in the observer level",
        ),
    ] {
        let error = happen(&mut bench, id, event).expect_err(id).to_string();
        assert!(error.contains(reason), "{error}");
    }
    let options = mediasoup_horizontal::channel::fbs::plain_transport::PlainTransportOptions {
        base: Box::new(crate::bodies::options(false)),
        ..plain_options()
    };
    bench.call(Method::RouterCreatePlaintransport, "r", create_plain("bare", options));
    let event = json!({ "event": "sctpstatechange", "payload": "connected" });
    assert_eq!(happen(&mut bench, "bare", event), Err(EventError::NoSctp("bare".to_owned())));
}

#[test]
fn objects_of_one_id_are_told_apart_by_their_transports() {
    let bench = world();
    for (id, transport, there) in [
        ("p", Some("direct"), true),
        ("p", Some("web"), false),
        ("p", None, true),
        ("c", Some("direct"), true),
        ("dp", Some("direct"), false),
        ("dc", Some("direct"), true),
        ("web", None, true),
        ("gone", None, false),
    ] {
        assert_eq!(bench.worker.has_in(id, transport), there, "{id} on {transport:?}");
    }
}

#[test]
fn whatever_is_said_is_refused_or_a_message_that_verifies() {
    let mut bench = world();
    let ids = ["web", "plain", "pipe", "direct", "p", "c", "dp", "dc", "speaker", "level", "r"];
    let names = [
        "icestatechange",
        "dtlsstatechange",
        "iceselectedtuplechange",
        "sctpstatechange",
        "trace",
        "tuple",
        "rtcptuple",
        "rtcp",
        "score",
        "videoorientationchange",
        "layerschange",
        "rtp",
        "message",
        "sctpsendbufferfull",
        "bufferedamountlow",
        "dominantspeaker",
        "volumes",
        "silence",
        "",
    ];
    let payloads = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1e300),
        json!("connected"),
        json!(""),
        json!([]),
        json!([255, 0]),
        json!([256]),
        json!({}),
        json!({ "type": "rtp", "timestamp": u64::MAX, "direction": "in", "info": {} }),
        json!({ "type": "bwe", "timestamp": 0, "direction": "out", "info": [] }),
    ];
    let (mut happened, mut refused) = (0, 0);
    for id in ids {
        for name in names {
            for payload in &payloads {
                match happen(&mut bench, id, json!({ "event": name, "payload": payload })) {
                    Ok(sent) => {
                        assert!(!sent.is_empty());
                        happened += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(happened > 0 && refused > happened, "{happened} happened, {refused} did not");
    for id in ids.into_iter().take(5) {
        let method = if id == "p" { Method::ProducerDump } else { Method::TransportDump };
        bench.call(method, id, None);
    }
}
