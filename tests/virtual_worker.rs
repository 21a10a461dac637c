//! The virtual worker under any interleaving of what a library and a worker may say, valid or not.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::BytesMut;
use mediasoup_horizontal::{
    addresses::{
        AnnouncedMode, HostAddresses, PortPolicy, SelfSet,
        book::{AddressBook, Host},
    },
    channel::{
        Envelope, Message,
        compose::{self, ErrorKind},
        fbs::{
            notification, notification::Event, pipe_transport, plain_transport, request,
            request::Method, router, transport, web_rtc_transport, worker,
        },
    },
    virtual_worker::{Output, PartId, Spread, VirtualWorker},
};
use proptest::{prelude::*, sample::Index};

const HOME: PartId = PartId(0);
/// Few, so that objects meet, close and come again.
const IDS: [&str; 5] = ["", "a", "b", "c", "nobody"];
const IPS: [&str; 5] = ["127.0.0.1", "0.0.0.0", "203.0.113.9", "::1", "no address"];

#[derive(Debug, Clone)]
enum Step {
    Request {
        what: usize,
        handler: usize,
        object: usize,
        ip: usize,
        port: u16,
        again: bool,
    },
    Notify {
        event: usize,
        handler: usize,
    },
    FromLibrary(Vec<u8>),
    /// The last message of the library once more, changed.
    Distorted(Vec<(Index, u8)>),
    Answer {
        which: Index,
        how: usize,
        distort: Vec<(Index, u8)>,
    },
    FromWorker(Vec<u8>),
    WorkerNotifies {
        event: usize,
        handler: usize,
    },
    WorkerRequests,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flips = |most| prop::collection::vec((any::<Index>(), any::<u8>()), 0..most);
    let garbage = || prop::collection::vec(any::<u8>(), 0..60);
    let step = prop_oneof![
        8 => (0..16_usize, 0..IDS.len(), 0..IDS.len(), 0..IPS.len(), any::<u16>(), any::<bool>())
            .prop_map(|(what, handler, object, ip, port, again)| {
                Step::Request { what, handler, object, ip, port: port % 3 * 10_000, again }
            }),
        1 => (0..40_usize, 0..IDS.len()).prop_map(|(event, handler)| Step::Notify { event, handler }),
        1 => garbage().prop_map(Step::FromLibrary),
        3 => flips(4).prop_map(Step::Distorted),
        8 => (any::<Index>(), 0..6_usize, flips(2))
            .prop_map(|(which, how, distort)| Step::Answer { which, how, distort }),
        1 => garbage().prop_map(Step::FromWorker),
        2 => (0..40_usize, 0..IDS.len())
            .prop_map(|(event, handler)| Step::WorkerNotifies { event, handler }),
        1 => Just(Step::WorkerRequests),
    ];
    prop::collection::vec(step, 0..80)
}

fn listen_info(ip: &str, port: u16) -> transport::ListenInfo {
    transport::ListenInfo { ip: ip.to_owned(), port, ..transport::ListenInfo::default() }
}

/// A request with a body that fits, or with none where one is needed.
fn request(what: usize, id: &str, ip: &str, port: u16) -> (Method, Option<request::Body>) {
    use request::Body as B;
    let id = id.to_owned();
    let info = || Box::new(listen_info(ip, port));
    let web_rtc = |listen| {
        Some(B::RouterCreateWebRtcTransportRequest(Box::new(
            router::CreateWebRtcTransportRequest {
                transport_id: id.clone(),
                options: Box::new(web_rtc_transport::WebRtcTransportOptions {
                    base: Box::default(),
                    listen,
                    enable_udp: true,
                    enable_tcp: true,
                    prefer_udp: false,
                    prefer_tcp: false,
                    ice_consent_timeout: 30,
                }),
            },
        )))
    };
    let individual = web_rtc_transport::Listen::ListenIndividual(Box::new(
        web_rtc_transport::ListenIndividual { listen_infos: vec![listen_info(ip, port)] },
    ));
    let server =
        web_rtc_transport::Listen::ListenServer(Box::new(web_rtc_transport::ListenServer {
            web_rtc_server_id: id.clone(),
        }));
    match what {
        0 | 1 => (
            Method::WorkerCreateRouter,
            Some(B::WorkerCreateRouterRequest(Box::new(worker::CreateRouterRequest {
                router_id: id,
            }))),
        ),
        2 => (
            Method::WorkerCloseRouter,
            Some(B::WorkerCloseRouterRequest(Box::new(worker::CloseRouterRequest {
                router_id: id,
            }))),
        ),
        3 => (
            Method::WorkerCreateWebrtcserver,
            Some(B::WorkerCreateWebRtcServerRequest(Box::new(worker::CreateWebRtcServerRequest {
                web_rtc_server_id: id,
                listen_infos: Some(vec![listen_info(ip, port), listen_info("0.0.0.0", 0)]),
            }))),
        ),
        4 => (Method::RouterCreateWebrtctransport, web_rtc(individual)),
        5 => (Method::RouterCreateWebrtctransportWithServer, web_rtc(server)),
        6 => (Method::RouterCreateWebrtctransport, web_rtc(server)),
        7 | 8 => (
            Method::RouterCreatePlaintransport,
            Some(B::RouterCreatePlainTransportRequest(Box::new(
                router::CreatePlainTransportRequest {
                    transport_id: id,
                    options: Box::new(plain_transport::PlainTransportOptions {
                        base: Box::default(),
                        listen_info: info(),
                        rtcp_listen_info: (what == 8).then(info),
                        rtcp_mux: false,
                        comedia: false,
                        enable_srtp: false,
                        srtp_crypto_suite: None,
                    }),
                },
            ))),
        ),
        9 => (
            Method::RouterCreatePipetransport,
            Some(B::RouterCreatePipeTransportRequest(Box::new(
                router::CreatePipeTransportRequest {
                    transport_id: id,
                    options: Box::new(pipe_transport::PipeTransportOptions {
                        base: Box::default(),
                        listen_info: info(),
                        enable_rtx: false,
                        enable_srtp: false,
                    }),
                },
            ))),
        ),
        10 => (
            Method::PipetransportConnect,
            Some(B::PipeTransportConnectRequest(Box::new(pipe_transport::ConnectRequest {
                ip: ip.to_owned(),
                port: Some(port),
                srtp_parameters: None,
            }))),
        ),
        11 => (
            Method::RouterCloseTransport,
            Some(B::RouterCloseTransportRequest(Box::new(router::CloseTransportRequest {
                transport_id: id,
            }))),
        ),
        12 => (Method::WorkerDump, None),
        13 => (Method::TransportDump, None),
        14 => (Method::TransportProduce, None),
        _ => (Method::RouterDump, web_rtc(individual)),
    }
}

struct Bench {
    worker: VirtualWorker,
    last_id: u32,
    last: BytesMut,
    /// How many requests of each id the library sent, and how many answers it got.
    sent: HashMap<u32, usize>,
    answered: HashMap<u32, usize>,
    /// Ids of requests that the worker got, ever and not yet answered.
    got: Vec<u32>,
    open: HashSet<u32>,
}

impl Bench {
    fn new() -> Self {
        let ip = |text: &str| text.parse().expect("an address");
        let set = SelfSet::new([ip("10.0.0.1")], ["NONE"], |_| None, ["app.example"]);
        let addresses = HostAddresses {
            colocated: false,
            bind: vec![ip("10.0.0.2")],
            pipe: None,
            announced: Vec::new(),
            behind_nat: false,
            port_range: Some((20_000, 29_999)),
            port_policy: PortPolicy::Remap,
            app_seen_as: None,
        };
        let host = Host { key: "ws://10.0.0.2".to_owned(), addresses: Arc::new(addresses) };
        let book = Arc::new(AddressBook::new(set, AnnouncedMode::Auto));
        Self {
            worker: VirtualWorker::new(7, host, book, Spread::default()),
            last_id: 1,
            last: BytesMut::new(),
            sent: HashMap::new(),
            answered: HashMap::new(),
            got: Vec::new(),
            open: HashSet::new(),
        }
    }

    fn library_says(&mut self, bytes: BytesMut) {
        self.last = bytes.clone();
        let id = match Message::parse(bytes.clone()) {
            Ok(message) => match message.envelope() {
                Envelope::Request(request) => Some(request.id),
                _ => None,
            },
            Err(rejected) => rejected.request_id(),
        };
        if let Some(id) = id {
            *self.sent.entry(id).or_default() += 1;
        }
        let mut out = Vec::new();
        self.worker.from_library(bytes, &mut out);
        self.check(out);
    }

    fn worker_says(&mut self, bytes: BytesMut) {
        let mut out = Vec::new();
        self.worker.from_worker(HOME, bytes, &mut out);
        self.check(out);
    }

    fn check(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Library(bytes) => {
                    let message = Message::parse(BytesMut::from(bytes)).expect("a valid message");
                    if let Envelope::Response(response) = message.envelope() {
                        let answers = self.answered.entry(response.id).or_default();
                        *answers += 1;
                        let asked = self.sent.get(&response.id).copied().unwrap_or_default();
                        assert!(*answers <= asked, "request {} has one answer", response.id);
                    }
                }
                Output::Worker(part, bytes) => {
                    assert_eq!(part, HOME);
                    let message = Message::parse(BytesMut::from(bytes)).expect("a valid message");
                    message.check_for_worker().expect("no worker crashes on it");
                    if let Some(id) = message.request_id() {
                        assert!(self.open.insert(id), "id {id} is under way already");
                        self.got.push(id);
                    }
                }
                Output::Diagnostic(_) => {}
                Output::OpenPart(_) | Output::ClosePart(_) | Output::Lost { .. } => {
                    panic!("one part is all it has")
                }
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Request { what, handler, object, ip, port, again } => {
                self.last_id += u32::from(!again);
                let (method, body) = request(what, IDS[object], IPS[ip], port);
                let message = compose::request(self.last_id, method, IDS[handler], body);
                self.library_says(message.into_bytes());
            }
            Step::Notify { event, handler } => self.library_says(notify(event, handler)),
            Step::FromLibrary(payload) => self.library_says(prefixed(&payload)),
            Step::Distorted(flips) => {
                let bytes = distort(self.last.clone(), &flips);
                self.library_says(bytes);
            }
            Step::Answer { which, how, distort: flips } => {
                if self.got.is_empty() {
                    return;
                }
                let id = *which.get(&self.got);
                let answer = match how {
                    0 | 1 => compose::accepted(id, None),
                    2 => compose::refused(id, ErrorKind::Error, "no"),
                    3 => compose::refused(id, ErrorKind::Error, "bind: address already in use"),
                    4 => compose::accepted(id.wrapping_add(1000), None),
                    _ => compose::refused(id, ErrorKind::NotFoundError, ""),
                };
                self.open.remove(&id);
                self.worker_says(distort(answer.into_bytes(), &flips));
            }
            Step::FromWorker(payload) => self.worker_says(prefixed(&payload)),
            Step::WorkerNotifies { event, handler } => self.worker_says(notify(event, handler)),
            Step::WorkerRequests => {
                let request = compose::request(1, Method::WorkerDump, "", None);
                self.worker_says(request.into_bytes());
            }
        }
    }

    /// The worker answers whatever it has not answered, and what it asks again then too.
    fn finish(&mut self) {
        let mut next = 0;
        while let Some(id) = self.got.get(next).copied() {
            next += 1;
            self.open.remove(&id);
            self.worker_says(compose::accepted(id, None).into_bytes());
        }
        assert_eq!(self.worker.requests_under_way(), 0);
        // One without an id cannot tell an answer from another's.
        self.answered.remove(&0);
        self.sent.remove(&0);
        assert_eq!(self.answered, self.sent, "every request has its one answer");
    }
}

fn prefixed(payload: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn distort(mut bytes: BytesMut, flips: &[(Index, u8)]) -> BytesMut {
    for (at, byte) in flips {
        if bytes.len() > 4 {
            // A wrong prefix never gets past the framing.
            let at = 4 + at.index(bytes.len() - 4);
            bytes[at] = *byte;
        }
    }
    bytes
}

fn notify(event: usize, handler: usize) -> BytesMut {
    let event = u8::try_from(event).ok().and_then(|event| Event::try_from(event).ok());
    let event = event.unwrap_or(Event::TransportSendRtcp);
    let body = (event == Event::TransportSendRtcp).then(|| {
        notification::Body::TransportSendRtcpNotification(Box::new(
            transport::SendRtcpNotification { data: vec![1, 2, 3] },
        ))
    });
    compose::notification(IDS[handler], event, body).into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_request_has_one_answer_whatever_else_is_said(steps in steps()) {
        let mut bench = Bench::new();
        for step in steps {
            bench.step(step);
        }
        bench.finish();
    }
}

fn one_for_the_library(out: Vec<Output>) -> Message {
    let mut answers = out.into_iter().filter_map(|output| match output {
        Output::Library(bytes) => Some(bytes),
        _ => None,
    });
    let bytes = answers.next().expect("something for the library");
    assert_eq!(answers.next(), None, "no more than that");
    Message::parse(BytesMut::from(bytes)).expect("a valid message")
}

#[test]
fn an_answer_that_nobody_can_read_ends_its_request_all_the_same() {
    let mut bench = Bench::new();
    let (method, body) = request(0, "a", "", 0);
    let mut out = Vec::new();
    bench.worker.from_library(compose::request(9, method, "", body).into_bytes(), &mut out);
    let Some(Output::Worker(_, sent)) = out.pop() else { panic!("it goes to the worker") };
    let sent = Message::parse(BytesMut::from(sent)).expect("a valid message");
    let answer = compose::accepted(sent.request_id().expect("an id"), None).into_bytes();
    let spoiled = (4..answer.len()).find_map(|at| {
        let bytes = distort(answer.clone(), &[]);
        let mut bytes = bytes;
        // `accepted` is the only byte of an answer that may be 1 and must not be 2.
        bytes[at] = if bytes[at] == 1 { 2 } else { return None };
        Message::parse(bytes.clone()).is_err().then_some(bytes)
    });
    let mut out = Vec::new();
    bench.worker.from_worker(HOME, spoiled.expect("a spoiled answer"), &mut out);
    let answer = one_for_the_library(out);
    let Envelope::Response(response) = answer.envelope() else { panic!("an answer") };
    assert_eq!((response.id, response.accepted), (9, false));
    assert!(bench.worker.objects().is_empty(), "what it was to make is not there");
}

#[test]
fn a_request_that_goes_nowhere_leaves_nothing() {
    let mut bench = Bench::new();
    let (method, body) = request(0, "a", "", 0);
    let mut out = Vec::new();
    bench.worker.from_library(compose::request(0, method, "", body).into_bytes(), &mut out);
    let answer = one_for_the_library(out);
    let Envelope::Response(response) = answer.envelope() else { panic!("an answer") };
    assert!(!response.accepted);
    assert!(bench.worker.objects().is_empty());
    assert_eq!(bench.worker.requests_under_way(), 0);
}
