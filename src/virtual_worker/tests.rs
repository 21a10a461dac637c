//! The virtual worker against a scripted library and a scripted worker.

use std::{net::IpAddr, sync::Arc};

use bytes::BytesMut;
use channel_schema::fbs::{
    common, consumer, notification::Event, pipe_transport, plain_transport, request, response,
    router, rtp_parameters, sctp_association, transport, web_rtc_transport, worker,
};

use super::{ObjectKind, Output, PartId, Spread, VirtualWorker};
use crate::{
    addresses::{
        AnnouncedMode, HostAddresses, PortPolicy, SelfSet,
        book::{AddressBook, Host},
    },
    channel::{
        Envelope, Message,
        compose::{self, ErrorKind},
        fbs::request::Method,
    },
};

const HOME: PartId = PartId(0);
const PID: u32 = 4321;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn book() -> Arc<AddressBook> {
    let set = SelfSet::new([ip("10.0.0.1")], ["PUBLIC_IP"], |_| None, ["app.example"]);
    let book = AddressBook::new(set, AnnouncedMode::Auto);
    book.set_fleet([Some(remote("10.0.0.2").addresses.as_ref().clone())].into_iter());
    Arc::new(book)
}

fn remote(bind: &str) -> Host {
    Host {
        key: format!("ws://{bind}"),
        addresses: Arc::new(HostAddresses {
            colocated: false,
            bind: vec![ip(bind)],
            pipe: None,
            announced: Vec::new(),
            behind_nat: false,
            port_range: Some((20_000, 29_999)),
            port_policy: PortPolicy::Remap,
            app_seen_as: Some(ip("10.0.0.1")),
        }),
    }
}

fn here() -> Host {
    let mut addresses = remote("127.0.0.1").addresses.as_ref().clone();
    addresses.colocated = true;
    addresses.port_range = None;
    Host { key: "local".to_owned(), addresses: Arc::new(addresses) }
}

struct Bench {
    worker: VirtualWorker,
    last_id: u32,
}

impl Bench {
    fn new(host: Host, book: Arc<AddressBook>) -> Self {
        Self { worker: VirtualWorker::new(PID, host, book, Spread::default()), last_id: 100 }
    }

    fn library(&mut self, message: Message) -> Vec<Output> {
        let mut out = Vec::new();
        self.worker.from_library(message.into_bytes(), &mut out);
        out
    }

    fn worker(&mut self, message: Message) -> Vec<Output> {
        let mut out = Vec::new();
        self.worker.from_worker(HOME, message.into_bytes(), &mut out);
        out
    }

    /// Sends a request of the library and returns its id there and what the worker gets.
    fn request(
        &mut self,
        method: Method,
        handler: &str,
        body: impl Into<Option<request::Body>>,
    ) -> (u32, Message) {
        self.last_id += 1;
        let id = self.last_id;
        let out = self.library(compose::request(id, method, handler, body.into()));
        (id, one_to_worker(out))
    }

    /// A request that the worker accepts without a body.
    fn accepted(&mut self, method: Method, handler: &str, body: request::Body) {
        let (id, sent) = self.request(method, handler, body);
        let answer = one_to_library(self.worker(compose::accepted(request_id(&sent), None)));
        let Envelope::Response(response) = answer.envelope() else { panic!("an answer") };
        assert_eq!((response.id, response.accepted), (id, true));
    }
}

fn parse(bytes: &[u8]) -> Message {
    Message::parse(BytesMut::from(bytes)).expect("a valid message")
}

fn one_to_worker(mut out: Vec<Output>) -> Message {
    match (out.len(), out.pop()) {
        (1, Some(Output::Worker(HOME, bytes))) => parse(&bytes),
        (_, other) => panic!("one message to the worker, not {other:?} after {out:?}"),
    }
}

fn one_to_library(mut out: Vec<Output>) -> Message {
    match (out.len(), out.pop()) {
        (1, Some(Output::Library(bytes))) => parse(&bytes),
        (_, other) => panic!("one message to the library, not {other:?} after {out:?}"),
    }
}

fn request_id(message: &Message) -> u32 {
    message.request_id().expect("a request")
}

fn create_router(id: &str) -> request::Body {
    request::Body::WorkerCreateRouterRequest(Box::new(worker::CreateRouterRequest {
        router_id: id.to_owned(),
    }))
}

fn listen_info(ip: &str, port: u16) -> transport::ListenInfo {
    transport::ListenInfo {
        protocol: transport::Protocol::Udp,
        ip: ip.to_owned(),
        announced_address: None,
        expose_internal_ip: false,
        port,
        port_range: Box::default(),
        flags: Box::new(transport::SocketFlags { ipv6_only: false, udp_reuse_port: true }),
        send_buffer_size: 7,
        recv_buffer_size: 8,
    }
}

fn create_pipe(id: &str, ip: &str) -> request::Body {
    let options = pipe_transport::PipeTransportOptions {
        base: Box::default(),
        listen_info: Box::new(listen_info(ip, 0)),
        enable_rtx: false,
        enable_srtp: false,
    };
    request::Body::RouterCreatePipeTransportRequest(Box::new(router::CreatePipeTransportRequest {
        transport_id: id.to_owned(),
        options: Box::new(options),
    }))
}

fn create_plain(id: &str, ip: &str, port: u16) -> request::Body {
    let options = plain_transport::PlainTransportOptions {
        base: Box::default(),
        listen_info: Box::new(listen_info(ip, port)),
        rtcp_listen_info: None,
        rtcp_mux: true,
        comedia: false,
        enable_srtp: false,
        srtp_crypto_suite: None,
    };
    request::Body::RouterCreatePlainTransportRequest(Box::new(
        router::CreatePlainTransportRequest {
            transport_id: id.to_owned(),
            options: Box::new(options),
        },
    ))
}

fn connect_pipe(ip: &str, port: u16) -> request::Body {
    request::Body::PipeTransportConnectRequest(Box::new(pipe_transport::ConnectRequest {
        ip: ip.to_owned(),
        port: Some(port),
        srtp_parameters: None,
    }))
}

fn pipe_dump(id: &str, ip: &str, port: u16) -> response::Body {
    let base = transport::Dump {
        id: id.to_owned(),
        direct: false,
        producer_ids: Vec::new(),
        consumer_ids: Vec::new(),
        map_ssrc_consumer_id: Vec::<common::Uint32String>::new(),
        map_rtx_ssrc_consumer_id: Vec::new(),
        data_producer_ids: Vec::new(),
        data_consumer_ids: Vec::new(),
        recv_rtp_header_extensions: Box::default(),
        rtp_listener: Box::new(transport::RtpListener {
            ssrc_table: Vec::new(),
            mid_table: Vec::new(),
            rid_table: Vec::new(),
        }),
        max_send_message_size: 0,
        max_receive_message_size: 0,
        sctp_parameters: None,
        sctp_state: None::<sctp_association::SctpState>,
        sctp_negotiated_capabilities: None,
        sctp_listener: None,
        trace_event_types: Vec::new(),
    };
    response::Body::PipeTransportDumpResponse(Box::new(pipe_transport::DumpResponse {
        base: Box::new(base),
        tuple: Box::new(transport::Tuple {
            local_address: ip.to_owned(),
            local_port: port,
            remote_ip: None,
            remote_port: 0,
            protocol: transport::Protocol::Udp,
        }),
        rtx: false,
        srtp_parameters: None,
    }))
}

fn pipe_listen(message: &Message) -> transport::ListenInfo {
    let body = compose::request_body(message).expect("a body");
    let request::BodyRef::RouterCreatePipeTransportRequest(body) = body else { panic!("a pipe") };
    body.options().expect("options").listen_info().expect("info").try_into().expect("valid")
}

fn plain_listen(message: &Message) -> transport::ListenInfo {
    let body = compose::request_body(message).expect("a body");
    let request::BodyRef::RouterCreatePlainTransportRequest(body) = body else { panic!("plain") };
    body.options().expect("options").listen_info().expect("info").try_into().expect("valid")
}

#[test]
fn requests_keep_their_bytes_but_the_id() {
    let mut bench = Bench::new(here(), book());
    let original = compose::request(77, Method::WorkerCreateRouter, "", Some(create_router("r")));
    let expected = original.clone().into_bytes();
    let mut sent = one_to_worker(bench.library(original));
    let id = request_id(&sent);
    assert_ne!(id, 77, "the core numbers requests itself");
    assert!(sent.patch_id(77));
    assert_eq!(sent.into_bytes(), expected);
    let answer = one_to_library(bench.worker(compose::accepted(id, None)));
    let Envelope::Response(response) = answer.envelope() else { panic!("an answer") };
    assert_eq!(response.id, 77);
    assert_eq!(bench.worker.requests_under_way(), 0);
}

#[test]
fn answers_find_their_requests_in_any_order() {
    let mut bench = Bench::new(here(), book());
    let (first, first_sent) = bench.request(Method::WorkerGetResourceUsage, "", None);
    let (second, second_sent) = bench.request(Method::WorkerGetResourceUsage, "", None);
    for (id, sent) in [(second, second_sent), (first, first_sent)] {
        let answer = one_to_library(bench.worker(compose::accepted(request_id(&sent), None)));
        let Envelope::Response(response) = answer.envelope() else { panic!("an answer") };
        assert_eq!(response.id, id);
    }
    let unknown = bench.worker(compose::accepted(999, None));
    assert!(matches!(unknown[..], [Output::Diagnostic(_)]));
}

#[test]
fn the_library_sees_its_own_pid() {
    let mut bench = Bench::new(here(), book());
    let running = one_to_library(bench.worker(compose::worker_running(9)));
    let Envelope::Notification(notification) = running.envelope() else { panic!("running") };
    assert_eq!(notification.handler_id, "4321");
    let (id, sent) = bench.request(Method::WorkerDump, "", None);
    let dump = worker::DumpResponse {
        pid: 9,
        web_rtc_server_ids: vec!["s".to_owned()],
        router_ids: vec!["r".to_owned()],
        channel_message_handlers: Box::new(worker::ChannelMessageHandlers {
            channel_request_handlers: vec!["r".to_owned()],
            channel_notification_handlers: Vec::new(),
        }),
    };
    let body = response::Body::WorkerDumpResponse(Box::new(dump.clone()));
    let answer = one_to_library(bench.worker(compose::accepted(request_id(&sent), Some(body))));
    let Envelope::Response(response) = answer.envelope() else { panic!("an answer") };
    assert_eq!(response.id, id);
    let response::BodyRef::WorkerDumpResponse(body) =
        compose::response_body(&answer).expect("a body")
    else {
        panic!("a dump")
    };
    let seen: worker::DumpResponse = body.try_into().expect("valid");
    assert_eq!(seen, worker::DumpResponse { pid: PID, ..dump });
}

#[test]
fn objects_are_tracked_until_they_close() {
    let mut bench = Bench::new(here(), book());
    bench.accepted(Method::WorkerCreateRouter, "", create_router("r"));
    let (_, sent) = bench.request(Method::RouterCreatePipetransport, "r", create_pipe("t", "::1"));
    assert_eq!(bench.worker.objects().count(ObjectKind::Transport), 1, "known when it leaves");
    let refusal = compose::refused(request_id(&sent), ErrorKind::Error, "no");
    bench.worker(refusal);
    assert_eq!(bench.worker.objects().count(ObjectKind::Transport), 0, "forgotten when refused");
    bench.accepted(Method::RouterCreatePipetransport, "r", create_pipe("t", "::1"));
    let consume = request::Body::TransportConsumeRequest(Box::new(transport::ConsumeRequest {
        consumer_id: "c".to_owned(),
        producer_id: "p".to_owned(),
        kind: rtp_parameters::MediaKind::Audio,
        rtp_parameters: Box::new(rtp_parameters::RtpParameters {
            mid: None,
            codecs: Vec::new(),
            header_extensions: Vec::new(),
            encodings: Vec::new(),
            rtcp: Box::default(),
            msid: None,
        }),
        type_: rtp_parameters::Type::Simple,
        consumable_rtp_encodings: Vec::new(),
        paused: false,
        preferred_layers: None::<Box<consumer::ConsumerLayers>>,
        ignore_dtx: false,
    }));
    bench.accepted(Method::TransportConsume, "t", consume);
    let score = compose::notification("c", Event::ConsumerProducerPause, None);
    one_to_library(bench.worker(score));
    one_to_library(bench.worker(compose::notification("c", Event::ConsumerProducerClose, None)));
    assert_eq!(bench.worker.objects().count(ObjectKind::Consumer), 0);
    let late = compose::notification("c", Event::ConsumerProducerPause, None);
    assert_eq!(bench.worker(late), [], "nobody listens any more");
    let close = request::Body::WorkerCloseRouterRequest(Box::new(worker::CloseRouterRequest {
        router_id: "r".to_owned(),
    }));
    bench.accepted(Method::WorkerCloseRouter, "", close);
    assert!(bench.worker.objects().is_empty());
}

#[test]
fn what_crashes_workers_is_answered_here() {
    let mut bench = Bench::new(here(), book());
    let bodiless = compose::request(5, Method::WorkerCreateRouter, "", None);
    let mut out = bench.library(bodiless);
    assert!(matches!(out.remove(0), Output::Diagnostic(_)));
    let answer = one_to_library(out);
    let Envelope::Response(response) = answer.envelope() else { panic!("an answer") };
    assert_eq!((response.id, response.accepted), (5, false));
    assert_eq!(
        compose::refusal(&answer).as_deref(),
        Some("worker.createRouter needs another body")
    );
    let mut garbage = BytesMut::from(&[8, 0, 0, 0][..]);
    garbage.extend_from_slice(&[0xff; 8]);
    let mut out = Vec::new();
    bench.worker.from_library(garbage, &mut out);
    assert!(matches!(out[..], [Output::Diagnostic(_)]), "nothing reaches the worker: {out:?}");
}

#[test]
fn colocated_hosts_get_the_app_s_own_bytes() {
    let book = book();
    book.set_fleet([Some(here().addresses.as_ref().clone())].into_iter());
    let mut bench = Bench::new(here(), book);
    let original = compose::request(
        3,
        Method::RouterCreatePipetransport,
        "r",
        Some(create_pipe("t", "127.0.0.1")),
    );
    let expected = original.clone().into_bytes();
    let mut sent = one_to_worker(bench.library(original));
    assert!(sent.patch_id(3));
    assert_eq!(sent.into_bytes(), expected);
}

#[test]
fn pipes_between_two_hosts_meet() {
    let book = book();
    let mut one = Bench::new(remote("10.0.0.2"), Arc::clone(&book));
    let mut two = Bench::new(remote("10.0.0.3"), book);
    for (bench, id, bind, port) in
        [(&mut one, "t1", "10.0.0.2", 20_001), (&mut two, "t2", "10.0.0.3", 20_002)]
    {
        let create = create_pipe(id, "127.0.0.1");
        let (_, sent) = bench.request(Method::RouterCreatePipetransport, "r", create);
        let info = pipe_listen(&sent);
        assert_eq!(info.ip, bind, "the app's loopback is the host's address there");
        assert!(info.flags.udp_reuse_port && info.send_buffer_size == 7, "R7");
        let dump = pipe_dump(id, bind, port);
        one_to_library(bench.worker(compose::accepted(request_id(&sent), Some(dump))));
    }
    let connect = connect_pipe("10.0.0.3", 20_002);
    let (_, sent) = one.request(Method::PipetransportConnect, "t1", connect);
    let request::BodyRef::PipeTransportConnectRequest(body) =
        compose::request_body(&sent).expect("a body")
    else {
        panic!("a connect")
    };
    assert_eq!(body.ip().expect("an ip"), "10.0.0.3");
}

#[test]
fn a_taken_port_is_asked_for_once_more_elsewhere() {
    let mut bench = Bench::new(remote("10.0.0.2"), book());
    let create = create_plain("t", "0.0.0.0", 20_500);
    let (id, sent) = bench.request(Method::RouterCreatePlaintransport, "r", create);
    assert_eq!(plain_listen(&sent).port, 20_500, "kept while it may be free");
    let taken = "uv_udp_bind() failed [port:20500]: address already in use";
    let refusal = compose::refused(request_id(&sent), ErrorKind::Error, taken);
    let again = one_to_worker(bench.worker(refusal));
    let info = plain_listen(&again);
    assert_eq!((info.port, info.port_range.min, info.port_range.max), (0, 20_000, 29_999));
    let refusal = compose::refused(request_id(&again), ErrorKind::Error, taken);
    let answer = one_to_library(bench.worker(refusal));
    let Envelope::Response(response) = answer.envelope() else { panic!("an answer") };
    assert_eq!((response.id, response.accepted), (id, false), "asked elsewhere only once");
}

#[test]
fn webrtc_listen_infos_are_rewritten_one_by_one() {
    let mut bench = Bench::new(remote("10.0.0.2"), book());
    let listen = web_rtc_transport::Listen::ListenIndividual(Box::new(
        web_rtc_transport::ListenIndividual {
            listen_infos: vec![listen_info("127.0.0.1", 0), listen_info("203.0.113.9", 0)],
        },
    ));
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
            transport_id: "t".to_owned(),
            options: Box::new(options),
        },
    ));
    let (_, sent) = bench.request(Method::RouterCreateWebrtctransport, "r", body);
    let request::BodyRef::RouterCreateWebRtcTransportRequest(body) =
        compose::request_body(&sent).expect("a body")
    else {
        panic!("a WebRtcTransport")
    };
    let web_rtc_transport::ListenRef::ListenIndividual(listen) =
        body.options().expect("options").listen().expect("listen")
    else {
        panic!("listen infos")
    };
    let ips: Vec<String> = listen
        .listen_infos()
        .expect("infos")
        .iter()
        .map(|info| info.expect("valid").ip().expect("an ip").to_owned())
        .collect();
    assert_eq!(ips, ["10.0.0.2", "203.0.113.9"], "a foreign address fails in the worker's words");
}
