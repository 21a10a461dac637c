//! Messages that no real worker survives, or answers, sent to a virtual worker over real ones: the
//! app gets an answer, and every worker lives and ends well.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, clippy::unnecessary_box_returns, reason = "shared with tests of the mock")]
#[path = "mock_worker/bodies.rs"]
mod bodies;
#[path = "support/real_worker.rs"]
mod real_worker;
#[path = "support/virtual_fleet.rs"]
mod virtual_fleet;

use bytes::{BufMut, BytesMut};
use mediasoup_horizontal::channel::{
    compose,
    fbs::{notification, producer::SendNotification, request::Body},
    method::{Event, Method},
};

use self::{bodies::Media, virtual_fleet::Fleet};

/// One worker, and several.
const PARTS: [usize; 2] = [1, 3];

async fn room(parts: usize) -> Fleet {
    let mut fleet = Fleet::start(parts).await;
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r")).await;
    for id in ["d0", "d1", "d2"] {
        fleet.ok(Method::RouterCreateDirecttransport, "r", bodies::create_direct(id)).await;
    }
    fleet
}

/// A request whose method is a number that there is none of.
fn unknown_method(id: u32) -> BytesMut {
    let bytes = |method| compose::request(id, method, "", None).into_bytes();
    let (one, other) = (bytes(Method::WorkerGetResourceUsage), bytes(Method::WorkerUpdateSettings));
    let at: Vec<usize> = (0..one.len()).filter(|at| one[*at] != other[*at]).collect();
    assert_eq!(at.len(), 1, "the method and nothing else");
    let mut message = one;
    message[at[0]] = 200;
    message
}

#[tokio::test]
async fn malformed_requests_are_answered_and_reach_no_worker() {
    for parts in PARTS {
        let mut fleet = room(parts).await;
        let wrong = bodies::create_router("other");
        let bodies = [
            (Method::TransportProduce, "d0", None),
            (Method::TransportConsume, "d0", Some(wrong.clone())),
            (Method::RouterCreateWebrtctransport, "r", None),
            (Method::WorkerUpdateSettings, "", None),
            (Method::RtpobserverAddProducer, "r", Some(wrong)),
        ];
        for (method, handler, body) in bodies {
            let (class, _) = fleet.call(method, handler, body).await.unwrap_err();
            assert_eq!(class, "TypeError", "{method:?}");
        }
        let id = fleet.next_id();
        fleet.say(unknown_method(id)).await;
        assert_eq!(fleet.answer(id).await.unwrap_err().0, "TypeError");
        fleet.live_and_end_well().await;
    }
}

#[tokio::test]
async fn garbage_is_dropped() {
    for parts in PARTS {
        let mut fleet = room(parts).await;
        let whole = compose::request(7, Method::TransportDump, "d0", None).into_bytes();
        let payloads: [&[u8]; 4] = [
            &[0xff; 64],
            &[0; 16],
            &whole[4..whole.len() - 8],
            &[whole[4], 0, 0, 0, 0, 0, 0, 0x7f],
        ];
        for payload in payloads {
            let mut bytes = BytesMut::new();
            bytes.put_u32_le(u32::try_from(payload.len()).unwrap());
            bytes.put_slice(payload);
            fleet.say(bytes).await;
        }
        fleet.live_and_end_well().await;
    }
}

#[tokio::test]
async fn consumers_with_other_ssrcs_than_their_producer_s_are_refused() {
    for parts in PARTS {
        let mut fleet = room(parts).await;
        fleet.ok(Method::TransportProduce, "d0", bodies::produce("p", Media::Vp8, 1000)).await;
        for (number, transport) in [(0, "d0"), (1, "d1"), (2, "d2")] {
            for pipe in [false, true] {
                let id = format!("c{number}{pipe}");
                let body = if pipe {
                    bodies::consume_pipe(&id, "p", Media::Vp8, 5000)
                } else {
                    bodies::consume(&id, "p", Media::Vp8, 5000)
                };
                let refused = fleet.call(Method::TransportConsume, transport, body).await;
                let (_, reason) = refused.unwrap_err();
                assert!(reason.contains("consumableRtpEncodings do not match"), "{reason}");
            }
        }
        fleet.ok(Method::TransportConsume, "d1", bodies::consume("c", "p", Media::Vp8, 1000)).await;
        // The packet that would have been the last.
        let mut packet = vec![0x80, 111, 0, 1, 0, 0, 0, 1];
        packet.extend(bodies::ssrc(1000, 0).to_be_bytes());
        packet.extend([0x10; 16]);
        let body = SendNotification { data: packet };
        let body = notification::Body::ProducerSendNotification(Box::new(body));
        let message = compose::notification("p", Event::ProducerSend, Some(body));
        fleet.say(message.into_bytes()).await;
        fleet.ok(Method::ProducerGetStats, "p", None).await;
        fleet.live_and_end_well().await;
    }
}

#[tokio::test]
async fn key_frame_requests_to_audio_pipes_are_answered() {
    for parts in PARTS {
        let mut fleet = room(parts).await;
        fleet.ok(Method::TransportProduce, "d0", bodies::produce("p", Media::Opus, 1000)).await;
        fleet.ok(Method::RouterCreatePipetransport, "r", bodies::create_pipe("pipe", false)).await;
        let connect =
            Body::PipeTransportConnectRequest(Box::new(bodies::connect_pipe("127.0.0.1", 9)));
        fleet.ok(Method::PipetransportConnect, "pipe", connect).await;
        let body = bodies::consume_pipe("c", "p", Media::Opus, 1000);
        fleet.ok(Method::TransportConsume, "pipe", body).await;
        fleet.ok(Method::ConsumerRequestKeyFrame, "c", None).await;
        fleet.live_and_end_well().await;
    }
}

#[tokio::test]
async fn taken_ids_leave_no_damage() {
    for parts in PARTS {
        let mut fleet = room(parts).await;
        let server = bodies::create_server("s", vec![bodies::udp(0)]);
        fleet.ok(Method::WorkerCreateWebrtcserver, "", server).await;
        let creations = [
            (
                Method::RouterCreateWebrtctransportWithServer,
                bodies::create_web_rtc_with_server("s", "s"),
            ),
            (Method::RouterCreateAudiolevelobserver, bodies::create_audio_level("d0", -50)),
            (Method::RouterCreateActivespeakerobserver, bodies::create_active_speaker("s")),
            (Method::RouterCreateDirecttransport, bodies::create_direct("s")),
        ];
        for (method, body) in creations {
            let (class, reason) = fleet.call(method, "r", body).await.unwrap_err();
            assert_eq!(class, "Error");
            assert!(reason.ends_with("already exists"), "{method:?}: {reason}");
        }
        for (transport, id) in [("d0", "d1"), ("d1", "d0"), ("d2", "s")] {
            let body = bodies::produce(id, Media::Opus, 1000);
            let refused = fleet.call(Method::TransportProduce, transport, body).await;
            let reason = format!("Channel request handler with ID {id} already exists");
            assert_eq!(refused.unwrap_err(), ("Error".to_owned(), reason));
        }
        fleet.ok(Method::WorkerWebrtcserverClose, "", bodies::close_server("s")).await;
        fleet.live_and_end_well().await;
    }
}
