//! Good input for each target, to be damaged: what an app and a worker really say.

use bytes::BytesMut;
use mediasoup_horizontal::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    channel::{
        Message, compose,
        fbs::{
            log, message, notification, producer::SendNotification, request::Body,
            web_rtc_transport::DtlsRole,
        },
        method::{Event, Method},
    },
    fuzzing::step,
    mock_worker::{LogLevel, MockOptions, MockWorker, Settings},
    stub::protocol::{self, Kind},
    wire::{
        Body as Said, DrainNotice, ExitReport, Frame, LoadReport, SUBPROTOCOL, SpawnFailure,
        SpawnSpec, Spawned, encode,
    },
};

#[allow(
    dead_code,
    clippy::duplicate_mod,
    clippy::unnecessary_box_returns,
    reason = "shared with other tests, also of this crate"
)]
#[path = "../../tests/mock_worker/bodies.rs"]
mod bodies;

use bodies::Media;

/// A token of the targets that ask for one.
const TOKEN: &str = "a-token-of-the-fuzzer";

/// Seeds of that target; none if there is no such target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "channel_framing" => framed(),
        "channel_message" => traffic().concat(),
        "wire_frames" => frames(),
        "handshake_request" => http_requests(),
        "handshake_answer" => answers(),
        "handshake_texts" => texts(),
        "stub_messages" => stub_messages(),
        "admin_lines" => admin_lines(),
        "private_files" => private_files(),
        "worker_arguments" => arguments(),
        "virtual_worker" => virtual_programs(),
        "shared_worker" => shared_programs(),
        _ => Vec::new(),
    }
}

/// What an app asks for, in an order that succeeds.
fn requests() -> Vec<(Method, &'static str, Option<Body>)> {
    use Method as M;
    let send = Some(bodies::consume_data("dc", "dp", Some(3), &[1, 2]));
    vec![
        (M::WorkerCreateRouter, "", Some(bodies::create_router("r"))),
        (M::WorkerCreateWebrtcserver, "", Some(bodies::create_server("s", vec![bodies::udp(0)]))),
        (
            M::RouterCreateWebrtctransport,
            "r",
            Some(bodies::create_web_rtc("t1", vec![bodies::udp(0), bodies::udp(0)])),
        ),
        (
            M::RouterCreateWebrtctransportWithServer,
            "r",
            Some(bodies::create_web_rtc_with_server("t2", "s")),
        ),
        (
            M::RouterCreatePlaintransport,
            "r",
            Some(bodies::create_plain("t3", bodies::plain_options())),
        ),
        (M::RouterCreatePipetransport, "r", Some(bodies::create_pipe("t4", true))),
        (M::RouterCreateDirecttransport, "r", Some(bodies::create_direct("t5"))),
        (M::WebrtctransportConnect, "t1", Some(bodies::connect_web_rtc(DtlsRole::Auto, 1))),
        (M::TransportProduce, "t1", Some(bodies::produce("p1", Media::Simulcast, 1000))),
        (M::TransportProduce, "t2", Some(bodies::produce("p2", Media::Opus, 2000))),
        (M::TransportConsume, "t2", Some(bodies::consume("c1", "p1", Media::Simulcast, 1000))),
        (M::TransportConsume, "t5", Some(bodies::consume("c2", "p2", Media::Opus, 2000))),
        (M::TransportProduceData, "t1", Some(bodies::produce_data("dp", Some(1)))),
        (M::TransportConsumeData, "t2", send),
        (M::RouterCreateAudiolevelobserver, "r", Some(bodies::create_audio_level("o1", -50))),
        (M::RouterCreateActivespeakerobserver, "r", Some(bodies::create_active_speaker("o2"))),
        (M::RtpobserverAddProducer, "o1", Some(bodies::add_producer("p2"))),
        (M::ProducerPause, "p1", None),
        (M::ProducerResume, "p1", None),
        (M::ConsumerPause, "c1", None),
        (M::ConsumerResume, "c1", None),
        (M::ConsumerGetStats, "c1", None),
        (M::ProducerGetStats, "p1", None),
        (M::ProducerDump, "p1", None),
        (M::ConsumerDump, "c1", None),
        (M::TransportDump, "t1", None),
        (M::TransportGetStats, "t3", None),
        (M::RouterDump, "r", None),
        (M::WorkerDump, "", None),
        (M::WorkerGetResourceUsage, "", None),
        (M::RtpobserverRemoveProducer, "o1", Some(bodies::remove_producer("p2"))),
        (M::TransportCloseConsumer, "t2", Some(bodies::close_consumer("c1"))),
        (M::TransportCloseProducer, "t1", Some(bodies::close_producer("p1"))),
        (M::RouterCloseTransport, "r", Some(bodies::close_transport("t5"))),
        (M::WorkerWebrtcserverClose, "", Some(bodies::close_server("s"))),
        (M::WorkerCloseRouter, "", Some(bodies::close_router("r"))),
    ]
}

/// Each request, and a notification.
fn app_messages() -> Vec<Message> {
    let send = SendNotification { data: vec![0x80, 100, 0, 1, 0, 0, 0, 1, 0, 0, 3, 232, 1, 2] };
    let send = notification::Body::ProducerSendNotification(Box::new(send));
    (1..)
        .zip(requests())
        .map(|(id, (method, handler, body))| compose::request(id, method, handler, body))
        .chain([compose::notification("p2", Event::ProducerSend, Some(send))])
        .collect()
}

/// Payloads of an app, and of its worker.
fn traffic() -> [Vec<Vec<u8>>; 2] {
    let settings = Settings { log_level: LogLevel::Debug, ..Settings::default() };
    let mut mock = MockWorker::new(MockOptions { settings, ..MockOptions::default() });
    let mut said = mock.start();
    let asked = app_messages();
    for message in &asked {
        said.extend(mock.handle(message));
    }
    said.push(compose::compose(message::Body::Log(Box::new(log::Log { data: "Ea log".into() }))));
    let close = |event| compose::notification("c1", event, None);
    said.extend([Event::ConsumerProducerClose, Event::ConsumerProducerPause].map(close));
    [asked, said].map(|messages| messages.iter().map(|one| one.payload().to_vec()).collect())
}

fn framed() -> Vec<Vec<u8>> {
    let [asked, _] = traffic();
    let mut stream = Vec::new();
    for payload in asked.iter().take(6) {
        stream.extend(u32::try_from(payload.len()).unwrap_or(0).to_le_bytes());
        stream.extend(payload);
    }
    let whole = [&[0], &stream[..]].concat();
    let chunks = [&[5, 0, 1, 7, 3, 90], &stream[..]].concat();
    let long = [&[1, 40], &0x7F_FFFC_u32.to_le_bytes()[..], &[7; 500]].concat();
    vec![whole, chunks, long]
}

fn frames() -> Vec<Vec<u8>> {
    let channel = compose::request(7, Method::WorkerDump, "", None).into_bytes().freeze();
    let spec = SpawnSpec {
        version: MEDIASOUP_VERSION.to_owned(),
        schema: SCHEMA_FINGERPRINT.to_owned(),
        args: vec!["--logLevel=warn".to_owned(), "--rtcMinPort=40000".to_owned()],
        dtls_certificate: Some("-----BEGIN CERTIFICATE-----".to_owned()),
        dtls_private_key: None,
    };
    let failure = SpawnFailure {
        code: "spawn".to_owned(),
        message: "no".to_owned(),
        path: Some("/bin/worker".to_owned()),
        errno: Some("ENOENT".to_owned()),
    };
    let exited = ExitReport { code: None, signal: Some(9), lost: None };
    let data = [
        Said::Spawn(spec),
        Said::Spawned(Spawned { pid: 4711 }),
        Said::Failed(failure),
        Said::Channel(channel),
        Said::CloseInput,
        Said::Signal(15),
        Said::Stdout(bytes::Bytes::from_static(b"out")),
        Said::Stderr(bytes::Bytes::from_static(b"err\n")),
        Said::Exited(exited),
    ];
    let load = LoadReport {
        workers: 3,
        max_workers: 8,
        own: vec![(1, 412), (2, 30)],
        others: vec![950],
        draining: true,
    };
    let notice = DrainNotice { draining: true, deadline_ms: Some(60_000), reason: None };
    let control =
        [Said::Ack(12), Said::Ping(1), Said::Pong(u64::MAX), Said::Load(load), Said::Drain(notice)];
    let data = data.into_iter().map(|body| Frame::about(1, body));
    let all: Vec<Frame> = data.chain(control.map(Frame::link)).collect();
    let message = |frames: &[Frame]| {
        let mut message = BytesMut::new();
        for frame in frames {
            encode(frame, &mut message);
        }
        message.to_vec()
    };
    all.chunks(1).chain([&all[..]]).map(message).collect()
}

fn http_requests() -> Vec<Vec<u8>> {
    let good = format!(
        "GET /agents/1 HTTP/1.1\r\nHost: a:4480\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Authorization: Bearer {TOKEN}\r\nSec-WebSocket-Protocol: chat, {SUBPROTOCOL}\r\n\r\n"
    );
    let origin = good.replace("Host:", "Origin: https://evil.example\r\nHost:");
    let early = format!("{good}\u{1}\u{2}");
    let plain = "POST /x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc".to_owned();
    vec![
        good.into_bytes(),
        origin.into_bytes(),
        early.into_bytes(),
        plain.into_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
    ]
}

const WELCOME: &str = r#"{"type":"welcome","protocol":1,"agentId":"media-3:4480",
"instanceId":"7d1c","session":"04be","resumed":true,"lastSeen":3,"sessionTimeoutMs":30000,
"listen":["10.0.0.5:4480"],"workers":[{"version":"3.27.1","schema":"d2c0"}],"cores":8,
"maxWorkers":8,"addresses":{"colocated":false,"bind":["10.0.0.5"],"pipe":"10.0.0.5",
"announced":["media-3.example"],"behindNat":false,"portRange":[40000,49999],
"portPolicy":"remap","appSeenAs":"10.0.0.2"},"limits":{"maxMessage":16777216,
"maxPayload":8388608,"maxSessions":64,"silenceMs":4000},"labels":{"region":"eu"},
"load":{"workers":2,"maxWorkers":8},"heartbeatMs":1000}"#;
const REFUSED: &str = r#"{"type":"refused","code":"busy","message":"it has 64 sessions already"}"#;

/// What would colour a terminal.
const STRANGE: &str = r#"{"type":"\u001b[31mwelcome"}"#;

fn answers() -> Vec<Vec<u8>> {
    let http = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\nConnection: close\r\n\r\nno way";
    let text = |place: u8, text: &[u8]| [&[place], text].concat();
    let framed = |text: &str| {
        let length = u16::try_from(text.len()).unwrap_or_default().to_be_bytes();
        [&[1, 0x89, 1, b'p', 0x81, 126], &length[..], text.as_bytes()].concat()
    };
    vec![
        text(0, http.as_bytes()),
        text(0, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
        framed(WELCOME),
        framed(REFUSED),
        text(1, &[0x88, 2, 0x03, 0xea]),
        text(1, &[0x01, 2, b'{', b'"', 0x80, 1, b'}']),
        text(2, WELCOME.as_bytes()),
        text(2, REFUSED.as_bytes()),
        text(2, STRANGE.as_bytes()),
    ]
}

fn texts() -> Vec<Vec<u8>> {
    let hello = r#"{"type":"hello","protocol":{"min":1,"max":1},"mediasoup":"3.27.1",
        "schema":"d2c0","session":"00112233445566778899aabbccddeeff","lastSeen":7,
        "bootId":"f0a1","netns":4026531840,"controller":"app-7 pid 4242"}"#;
    let urls = ["ws://10.0.0.5:4480", "wss://media.example/agents/1", "ws://[::1]:9/"];
    let all = [hello, WELCOME, REFUSED, STRANGE, urls[0], urls[1], urls[2]];
    all.map(|text| text.as_bytes().to_vec()).to_vec()
}

fn stub_messages() -> Vec<Vec<u8>> {
    let hello: [&[u8]; 4] =
        [b"0-00112233", MEDIASOUP_VERSION.as_bytes(), b"--logLevel=warn", b"--logTag=ice"];
    vec![
        protocol::encode(Kind::Hello, &hello),
        protocol::encode(Kind::Become, &[b"/bin/worker", b"", b"--logLevel=debug"]),
        protocol::encode(Kind::Watch, &[&4711_i32.to_le_bytes(), &1_i32.to_le_bytes()]),
        protocol::encode(Kind::ExitSignal, &[&11_i32.to_le_bytes()]),
        protocol::encode(Kind::Stderr, &[]),
        42_i32.to_le_bytes().to_vec(),
    ]
}

fn admin_lines() -> Vec<Vec<u8>> {
    let requests = [
        r#"{"command":"status"}"#,
        r#"{"command":"drain","timeoutMs":60000,"exit":true,"wait":true}"#,
        r#"{"command":"cancel"}"#,
    ];
    let status = concat!(
        r#"{"event":"draining","state":"draining","agentId":"media-3:4480","instanceId":"7d1c","#,
        r#""pid":4711,"draining":{"forMs":1500,"leftMs":58500,"exit":true,"reason":"SIGTERM"},"#,
        r#""workers":2,"maxWorkers":8,"sessions":[{"session":7,"controller":"app-7 pid 4242","#,
        r#""peer":"10.0.0.2","linked":true,"ageMs":90000,"workers":[{"pid":4712,"ageMs":80000,"#,
        r#""cpu":125}]},{"session":3,"controller":null,"peer":null,"linked":false,"ageMs":null,"#,
        r#""workers":[{"pid":null,"ageMs":3,"cpu":null}]}],"unlisted":4,"unlistedSessions":1}"#,
    );
    let error = r#"{"event":"error","message":"too many are asking"}"#;
    let long = " ".repeat(5000);
    let lines = requests.into_iter().chain([status, error, &long]);
    lines.map(|line| format!("{line}\n").into_bytes()).collect()
}

fn private_files() -> Vec<Vec<u8>> {
    // A certificate for nobody, made for this file, and the key that belongs to it.
    let pem = concat!(
        "-----BEGIN CERTIFICATE-----\n",
        "MIIBUzCB+qADAgECAgkA0AAAAAAAAAEwCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwE\n",
        "ZnV6ejAgFw0yMDAxMDEwMDAwMDBaGA8zMDAwMDEwMTAwMDAwMFowDzENMAsGA1UE\n",
        "-----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\n",
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA\n",
        "-----END PRIVATE KEY-----\n",
    );
    let tokens = "# spring\nfirst-token-0123456789abcdef\n\n  second  \r\n";
    [pem, tokens].map(|text| text.as_bytes().to_vec()).to_vec()
}

fn arguments() -> Vec<Vec<u8>> {
    let options = [
        "--logLevel=warn",
        "--logTag=ice",
        "--rtcMinPort=40010",
        "--rtcMaxPort=50000",
        "--libwebrtcFieldTrials=WebRTC-Bwe-AlrLimitedBackoff/Enabled/",
    ]
    .join("\0");
    let hostile =
        "--logLevel=warn\0--dtlsPrivateKeyFile=../../etc/shadow\0--workerBin=/bin/sh\0-x\0\0";
    let spawn = r#"{"version":"3.27.1","schema":"d2c0","args":["--logLevel=warn"],
        "dtlsCertificate":null,"dtlsPrivateKey":"-----BEGIN PRIVATE KEY-----\nAAAA"}"#;
    let core = r#"{"connectTimeoutMs":10000,"selfAddresses":["10.0.0.1"],"announcedMode":"auto",
        "environment":{"A":"b"},"stub":"/bin/stub","mediasoupDir":null}"#;
    let connections = r#"[{"type":"environment"},{"type":"local","workerBin":"/bin/worker",
        "execInPlace":null},{"type":"remote","url":"ws://10.0.0.5:4480","token":"t",
        "sessionTimeoutMs":"infinite","heartbeatMs":1000},{"type":"mock","name":"m","cores":2,
        "region":null,"cpu":500}]"#;
    [&options, hostile, spawn, core, connections].map(|text| text.as_bytes().to_vec()).to_vec()
}

/// An app's whole life, answered at once, after each request, or by something else.
fn virtual_programs() -> Vec<Vec<u8>> {
    let [asked, said] = traffic();
    let mut programs = Vec::new();
    for shape in [0, 1, 2, 3, 11, 14, 18, 35, 50, 130] {
        let mut orderly = vec![shape];
        let mut burst = vec![shape];
        let mut lied = vec![shape];
        for (at, payload) in asked.iter().enumerate() {
            let who = u8::try_from(at).unwrap_or_default();
            step(&mut orderly, 0, 0, payload);
            step(&mut orderly, if at % 3 == 2 { 10 } else { 3 }, who, &[]);
            step(&mut burst, 0, 0, payload);
            step(&mut lied, 0, 0, payload);
            match at % 5 {
                0 => step(&mut lied, 2, who, &said[at % said.len()]),
                1 => step(&mut lied, 9, who, &[]),
                2 => step(&mut lied, 4, who, &[30, 0, 7, 90, 0, 1]),
                3 => step(&mut lied, 1, who, &said[(at * 7) % said.len()]),
                _ => step(&mut lied, 3, 0, &[]),
            }
        }
        step(&mut burst, 8, 0, &[0, 0, 0, 0, 0, 0, 1, 2, 255, 255, 255, 255]);
        step(&mut burst, 3, 0, &[]);
        step(&mut burst, 6, 1, &[1]);
        step(&mut burst, 7, 0, &[60]);
        step(&mut burst, 5, 1, &[]);
        step(&mut burst, 11, 0, &[]);
        programs.extend([orderly, burst, lied]);
    }
    programs
}

fn shared_programs() -> Vec<Vec<u8>> {
    let [asked, said] = traffic();
    let mut both = Vec::new();
    let mut lied = Vec::new();
    for (at, payload) in asked.iter().enumerate() {
        let who = u8::try_from(at).unwrap_or_default();
        for sub in 0..2 {
            step(&mut both, 0, sub, payload);
            step(&mut both, 3, 0, &[]);
        }
        step(&mut lied, 0, who, payload);
        let kind = [2, 1, 4, 5, 3, 6, 7][at % 7];
        step(&mut lied, kind, who, &said[at % said.len()]);
    }
    vec![both, lied]
}
