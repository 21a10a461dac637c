//! The channel against messages as mediasoup builds them and against garbage.

use bytes::BytesMut;
use channel_schema::fbs::{
    notification::Event, request, request::Method, response, router, transport, web_rtc_transport,
    worker,
};
use proptest::prelude::*;

use super::{
    Envelope, Message, MessageError,
    compose::{self, ErrorKind},
    envelope::{NotificationEnvelope, PREFIX, Rejected, RequestEnvelope},
};

fn reparse(message: &Message) -> Message {
    Message::parse(message.clone().into_bytes()).expect("what we compose is valid")
}

fn create_router(id: u32, router_id: &str) -> Message {
    compose::request(
        id,
        Method::WorkerCreateRouter,
        "",
        Some(request::Body::WorkerCreateRouterRequest(Box::new(worker::CreateRouterRequest {
            router_id: router_id.to_owned(),
        }))),
    )
}

fn with_payload(payload: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.extend_from_slice(&u32::try_from(payload.len()).expect("small").to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn reads_a_request() {
    let message = reparse(&create_router(7, "router-1"));
    assert_eq!(
        message.envelope(),
        Envelope::Request(RequestEnvelope {
            id: 7,
            method: Method::WorkerCreateRouter,
            handler_id: "",
        })
    );
    assert_eq!(message.check_for_worker(), Ok(()));
}

#[test]
fn patches_ids_in_place() {
    let mut message = reparse(&create_router(7, "router-1"));
    let length = message.len();
    assert!(message.patch_id(4_294_967_295));
    let message = reparse(&message);
    assert_eq!(message.len(), length);
    let Envelope::Request(request) = message.envelope() else { panic!("a request") };
    assert_eq!(request.id, 4_294_967_295);
    let request::BodyRef::WorkerCreateRouterRequest(body) =
        compose::request_body(&message).expect("has a body")
    else {
        panic!("the same body")
    };
    assert_eq!(body.router_id().expect("is UTF-8"), "router-1");
}

#[test]
fn an_id_of_zero_is_told_apart() {
    let mut message = reparse(&compose::accepted(0, None));
    assert!(!message.patch_id(5));
}

#[test]
fn answers_and_notifications_read_back() {
    let refused = reparse(&compose::refused(3, ErrorKind::NotFoundError, "not there"));
    let Envelope::Response(response) = refused.envelope() else { panic!("a response") };
    assert_eq!((response.id, response.accepted, response.body), (3, false, None));
    assert_eq!(compose::refusal(&refused).as_deref(), Some("not there"));
    let running = reparse(&compose::worker_running(4321));
    assert_eq!(
        running.envelope(),
        Envelope::Notification(NotificationEnvelope {
            event: Event::WorkerRunning,
            handler_id: "4321",
        })
    );
    assert!(matches!(running.check_for_worker(), Err(MessageError::Direction { .. })));
}

#[test]
fn the_body_must_be_the_one_of_the_method() {
    let missing = compose::request(1, Method::WorkerCreateRouter, "", None);
    assert_eq!(
        reparse(&missing).check_for_worker(),
        Err(MessageError::Body { method: "worker.createRouter" })
    );
    let other = compose::request(
        1,
        Method::TransportDump,
        "x",
        Some(request::Body::WorkerCreateRouterRequest(Box::default())),
    );
    assert_eq!(
        reparse(&other).check_for_worker(),
        Err(MessageError::Body { method: "transport.dump" })
    );
    let answer = compose::accepted(1, None);
    assert_eq!(reparse(&answer).check_for_worker(), Err(MessageError::Kind("response")));
}

#[test]
fn an_unknown_method_is_refused() {
    let message = compose::request(1, Method::RtpobserverRemoveProducer, "x", None);
    let bytes = message.into_bytes();
    let at = bytes
        .iter()
        .rposition(|byte| *byte == Method::RtpobserverRemoveProducer as u8)
        .expect("the number stands in it");
    let mut changed = bytes;
    changed[at] = 200;
    let rejected = Message::parse(changed).expect_err("no such method");
    assert!(matches!(rejected.error, MessageError::Schema(_)));
    assert_eq!(rejected.request_id(), Some(1));
}

#[test]
fn truncated_messages_are_refused() {
    let whole = create_router(7, "router-1").into_bytes();
    for cut in PREFIX..whole.len() {
        assert!(Message::parse(BytesMut::from(&whole[..cut])).is_err(), "cut at {cut}");
        assert!(Message::parse(with_payload(&whole[PREFIX..cut])).is_err(), "resized at {cut}");
    }
}

fn listen_info() -> transport::ListenInfo {
    transport::ListenInfo {
        protocol: transport::Protocol::Udp,
        ip: "127.0.0.1".to_owned(),
        announced_address: None,
        expose_internal_ip: false,
        port: 0,
        port_range: Box::default(),
        flags: Box::default(),
        send_buffer_size: 0,
        recv_buffer_size: 0,
    }
}

fn create_server() -> Message {
    compose::request(
        9,
        Method::WorkerCreateWebrtcserver,
        "",
        Some(request::Body::WorkerCreateWebRtcServerRequest(Box::new(
            worker::CreateWebRtcServerRequest {
                web_rtc_server_id: "server".to_owned(),
                listen_infos: Some(vec![listen_info(), listen_info()]),
            },
        ))),
    )
}

#[test]
fn a_field_that_the_worker_follows_blindly_is_required() {
    assert!(Message::parse(create_server().into_bytes()).is_ok());
    let mut request = worker::CreateWebRtcServerRequest {
        web_rtc_server_id: "server".to_owned(),
        listen_infos: Some(Vec::new()),
    };
    for (infos, valid) in [(Some(Vec::new()), true), (None, false)] {
        request.listen_infos = infos;
        let body = request::Body::WorkerCreateWebRtcServerRequest(Box::new(request.clone()));
        let message = compose::request(9, Method::WorkerCreateWebrtcserver, "", Some(body));
        assert_eq!(Message::parse(message.into_bytes()).is_ok(), valid);
    }
}

fn create_web_rtc_transport(method: Method, listen: web_rtc_transport::Listen) -> Message {
    let options = web_rtc_transport::WebRtcTransportOptions {
        base: Box::default(),
        listen,
        enable_udp: true,
        enable_tcp: false,
        prefer_udp: false,
        prefer_tcp: false,
        ice_consent_timeout: 30,
    };
    let body = request::Body::RouterCreateWebRtcTransportRequest(Box::new(
        router::CreateWebRtcTransportRequest {
            transport_id: "transport".to_owned(),
            options: Box::new(options),
        },
    ));
    reparse(&compose::request(3, method, "router", Some(body)))
}

#[test]
fn a_web_rtc_transport_listens_as_its_method_says() {
    let individual = || {
        web_rtc_transport::Listen::ListenIndividual(Box::new(web_rtc_transport::ListenIndividual {
            listen_infos: vec![listen_info()],
        }))
    };
    let server = || {
        web_rtc_transport::Listen::ListenServer(Box::new(web_rtc_transport::ListenServer {
            web_rtc_server_id: "server".to_owned(),
        }))
    };
    let alone = Method::RouterCreateWebrtctransport;
    let with_server = Method::RouterCreateWebrtctransportWithServer;
    for (method, listen, fits) in [
        (alone, individual(), true),
        (with_server, server(), true),
        (alone, server(), false),
        (with_server, individual(), false),
    ] {
        let checked = create_web_rtc_transport(method, listen).check_for_worker();
        assert_eq!(checked.is_ok(), fits, "{method:?}: {checked:?}");
    }
}

#[test]
fn everything_is_aligned() {
    let whole = create_server().into_bytes();
    let payload = &whole[PREFIX..];
    for shift in 0..9_u8 {
        // All offsets but the root's are relative to where they stand.
        let mut shifted = vec![payload[0] + shift, 0, 0, 0];
        shifted.extend(std::iter::repeat_n(0, usize::from(shift)));
        shifted.extend_from_slice(&payload[4..]);
        let parsed = Message::parse(with_payload(&shifted));
        assert_eq!(parsed.is_ok(), shift % 4 == 0, "shifted by {shift}");
    }
}

/// The answer to a worker dump whose router ids are all one and the same text in the message.
fn shared_ids(text: &str, count: usize) -> BytesMut {
    let mut router_ids = vec![String::new(); count];
    router_ids[0] = text.to_owned();
    let dump = worker::DumpResponse {
        pid: 1,
        web_rtc_server_ids: Vec::new(),
        router_ids,
        channel_message_handlers: Box::new(worker::ChannelMessageHandlers {
            channel_request_handlers: Vec::new(),
            channel_notification_handlers: Vec::new(),
        }),
    };
    let body = response::Body::WorkerDumpResponse(Box::new(dump));
    let mut bytes = compose::accepted(1, Some(body)).into_bytes();
    let target = bytes
        .windows(text.len())
        .position(|window| window == text.as_bytes())
        .expect("the text stands in it")
        - 4;
    let offset = |bytes: &BytesMut, at: usize| {
        let word: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
        at + usize::try_from(u32::from_le_bytes(word)).expect("fits")
    };
    let first = (0..bytes.len() - 4)
        .find(|at| offset(&bytes, *at) == target)
        .expect("something points to the text");
    for at in (first..first + 4 * count).step_by(4) {
        let distance = u32::try_from(target - at).expect("the text comes later");
        bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
    }
    bytes
}

#[test]
fn a_message_does_not_unfold_to_a_multiple_of_its_size() {
    let short = Message::parse(shared_ids("0123456789", 100)).expect("short texts may be shared");
    let response::BodyRef::WorkerDumpResponse(dump) =
        compose::response_body(&short).expect("a body")
    else {
        panic!("a dump")
    };
    let ids = dump.router_ids().expect("ids");
    assert!(ids.iter().all(|id| id.expect("UTF-8") == "0123456789"));
    assert!(Message::parse(shared_ids(&"x".repeat(100_000), 1)).is_ok());
    let refused = Message::parse(shared_ids(&"x".repeat(100_000), 25_000));
    assert!(matches!(refused, Err(Rejected { error: MessageError::Schema(_), .. })));
}

/// The id is patched after the message was checked, so nothing else may stand on its bytes.
#[test]
fn the_id_shares_its_bytes_with_nothing() {
    let message = create_router(0x0A0B_0C0D, "router-1");
    let bytes = message.into_bytes();
    let id = bytes.windows(4).position(|word| word == [0x0D, 0x0C, 0x0B, 0x0A]).expect("the id");
    // The request's table and vtable: the only one whose first entry leads to the id.
    let (table, entry) = (PREFIX..id)
        .filter_map(|table| {
            let back: [u8; 4] = bytes[table..table + 4].try_into().ok()?;
            let vtable = i64::try_from(table).ok()? - i64::from(i32::from_le_bytes(back));
            let entry = usize::try_from(vtable).ok()?.checked_add(4)?;
            let offset = bytes.get(entry..entry + 2)?;
            let offset = usize::from(u16::from_le_bytes(offset.try_into().ok()?));
            (offset >= 4 && table + offset == id).then_some((table, entry))
        })
        .next_back()
        .expect("a table");
    let mut accepted = Vec::new();
    for offset in 4..32_u8 {
        let mut changed = bytes.clone();
        changed[entry] = offset;
        if let Ok(mut message) = Message::parse(changed) {
            accepted.push(table + usize::from(offset));
            assert!(message.patch_id(0xFFFF_FFFF));
            assert_eq!(reparse(&message).request_id(), Some(0xFFFF_FFFF));
        }
    }
    assert_eq!(accepted, [id]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn patching_an_id_changes_nothing_else(
        // Small numbers lead to other parts of the same message.
        flips in proptest::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![0..32_u8, any::<u8>()]),
            0..4,
        ),
        id in 1..u32::MAX,
        request in any::<bool>(),
    ) {
        let whole = if request {
            create_router(7, "router-1")
        } else {
            compose::refused(7, ErrorKind::Error, "not there")
        };
        let mut bytes = whole.into_bytes();
        for (at, byte) in flips {
            let at = PREFIX + at.index(bytes.len() - PREFIX);
            bytes[at] = byte;
        }
        if let Ok(message) = Message::parse(bytes) {
            let mut patched = message.clone();
            if patched.patch_id(id) {
                let mut back = reparse(&patched);
                let old = match message.envelope() {
                    Envelope::Request(request) => request.id,
                    Envelope::Response(response) => response.id,
                    other => panic!("no id in {other:?}"),
                };
                prop_assert!(back.patch_id(old));
                prop_assert_eq!(back, message);
            }
        }
    }

    #[test]
    fn garbage_never_panics(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(message) = Message::parse(with_payload(&payload)) {
            let _ = message.envelope();
            let _ = message.check_for_worker();
            let _ = compose::to_owned(&message);
        }
    }

    /// Whatever passes the verifier decodes: the worker, which checks nothing, is safe with it.
    #[test]
    fn what_verifies_also_decodes(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let whole = create_server().into_bytes();
        let mut payload = whole[PREFIX..].to_vec();
        for (at, byte) in flips {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if let Ok(message) = Message::parse(with_payload(&payload)) {
            let _ = message.envelope();
            if let Err(error) = compose::to_owned(&message) {
                // The one thing that the verifier leaves to the reader of a text.
                prop_assert!(error.to_string().contains("utf"), "{error}");
            }
        }
    }
}
