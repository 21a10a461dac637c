//! Hostile controllers against an agent: it stays up, its memory is bounded, and an honest session
//! beside them calls its worker all the time.

#![allow(clippy::unwrap_used)]

#[path = "support/frames.rs"]
mod frames;
#[path = "support/heap.rs"]
mod heap;
#[path = "support/honest.rs"]
mod honest;
mod support;

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use bytes::{BufMut, BytesMut};
use futures_util::{SinkExt, StreamExt};
use mediasoup_horizontal::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    agent::{Agent, AgentOptions, Identity, LocalWorkers, Server},
    net::Timing,
    wire::{AgentReply, Body, Frame, Frames, SUBPROTOCOL, SpawnFailure, SpawnSpec},
};
use support::{FakeWorkers, agent_options, server, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

use self::{
    frames::{PING, encoded, frames, from_client, hello_text, spec},
    heap::Measured,
    honest::Honest,
};

type Socket = WebSocketStream<DuplexStream>;

const MIB: usize = 1024 * 1024;

/// What a session may hold: its replay buffer, what waits before it, and a worker's two queues,
/// with a message on its way in each; docs/operations.md, "Memory".
const SESSION_MAX: usize = 36 + 2 * 33 + 2 * 16;

struct World {
    server: Server,
    workers: FakeWorkers,
    honest: Honest,
    memory: Measured,
}

impl World {
    async fn new() -> Self {
        let workers = FakeWorkers::new();
        let server = server(agent_options(), &workers);
        let honest = Honest::at(&server).await;
        Self { memory: Measured::start().await, server, workers, honest }
    }

    /// A connection to the agent.
    fn wire(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let server = self.server.clone();
        tokio::spawn(async move {
            server.serve(Box::new(far), "127.0.0.1".parse().unwrap()).await;
        });
        near
    }

    async fn open(&self) -> Socket {
        let mut request = "ws://agent".into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
        headers.insert("Authorization", "Bearer good".parse().unwrap());
        within(client_async(request, self.wire())).await.unwrap().0
    }

    async fn session(&self) -> Socket {
        let mut socket = self.open().await;
        socket.send(Message::text(hello_text())).await.unwrap();
        let Some(Ok(Message::Text(text))) = within(socket.next()).await else { panic!("no text") };
        let reply: AgentReply = serde_json::from_str(&text).unwrap();
        assert!(matches!(reply, AgentReply::Welcome(_)));
        socket
    }

    async fn with_worker(&self, args: &[&str]) -> Socket {
        let mut socket = self.session().await;
        socket.send(frames(&[spawn(1, args)])).await.unwrap();
        assert!(matches!(data(&mut socket).await, Body::Spawned(_)));
        socket
    }

    /// Nobody else has lost anything, and no more memory was taken than a few MiB.
    async fn ends_well(mut self, bound: usize) {
        self.honest.ends_well().await;
        let peak = self.memory.peak();
        assert!(peak <= bound, "{peak} MiB");
    }
}

fn spawn(handle: u32, args: &[&str]) -> Frame {
    Frame::about(handle, Body::Spawn(spec(args)))
}

/// The next data frame.
async fn data(socket: &mut Socket) -> Body {
    loop {
        if let Some(Ok(Message::Binary(bytes))) = within(socket.next()).await {
            let mut frames = Frames::new(bytes).map(|frame| frame.unwrap());
            if let Some(frame) = frames.find(|frame| frame.kind().is_data()) {
                return frame.body;
            }
        }
    }
}

/// Reads to the end of the link; the close code and reason, if there was one.
async fn end(socket: &mut Socket) -> Option<(CloseCode, String)> {
    let mut told = None;
    while let Some(Ok(message)) = within(socket.next()).await {
        if let Message::Close(Some(frame)) = message {
            told = Some((frame.code, frame.reason.to_string()));
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn pings_whose_answers_are_not_read_take_no_memory() {
    let world = World::new().await;
    let flood = from_client(PING, &[7; 125]).repeat(500);
    // Before the hello and in a session.
    for let_in in [false, true] {
        let mut socket = if let_in { world.session().await } else { world.open().await };
        let wire = socket.get_mut();
        for _ in 0..40 * MIB / flood.len() {
            if wire.write_all(&flood).await.is_err() {
                break;
            }
        }
    }
    world.ends_well(40).await;
}

#[tokio::test(start_paused = true)]
async fn pings_of_the_protocol_are_answered_by_the_latest() {
    let mut world = World::new().await;
    let mut socket = world.session().await;
    let pings: Vec<_> = (0..10_000).map(|number| Frame::link(Body::Ping(number))).collect();
    for _ in 0..50 {
        within(socket.send(frames(&pings))).await.unwrap();
    }
    world.honest.goes_on().await;
    let last = loop {
        let Some(Ok(Message::Binary(bytes))) = within(socket.next()).await else { continue };
        let pong =
            |frame: Frame| if let Body::Pong(number) = frame.body { Some(number) } else { None };
        if let Some(number) = Frames::new(bytes).filter_map(|frame| pong(frame.unwrap())).last()
            && number == 9999
        {
            break number;
        }
    };
    assert_eq!(last, 9999);
    world.ends_well(8).await;
}

#[tokio::test(start_paused = true)]
async fn slow_handshakes_end_in_time() {
    let mut world = World::new().await;
    let mut ends = Vec::new();
    for _ in 0..100 {
        let mut wire = world.wire();
        ends.push(tokio::spawn(async move {
            let began = tokio::time::Instant::now();
            for byte in b"GET / HTTP/1.1\r\nHost: agent\r\n".iter().cycle() {
                if wire.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            began.elapsed()
        }));
        // One that says a WebSocket's head and then nothing.
        let socket = world.open().await;
        ends.push(tokio::spawn(async move {
            let began = tokio::time::Instant::now();
            let mut socket = socket;
            end(&mut socket).await;
            began.elapsed()
        }));
    }
    for end in ends {
        let took = within(end).await.unwrap();
        assert!(took <= Duration::from_secs(11), "{took:?}");
    }
    world.honest.goes_on().await;
    // The places that they took are free.
    world.with_worker(&[]).await;
    world.ends_well(64).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_is_no_message_of_the_protocol_ends_that_session_alone() {
    let mut world = World::new().await;
    let huge = {
        let mut head = vec![0x82, 0x80 | 127];
        head.extend((1_u64 << 40).to_be_bytes());
        head.extend([0; 4]);
        head
    };
    let cases = [
        ("compressed", from_client(0xC2, &[1, 2, 3])),
        ("an opcode that there is none of", from_client(0x83, &[1])),
        ("a text that is not UTF-8", from_client(0x81, &[0xff, 0xfe])),
        ("a continuation of nothing", from_client(0x80, &[1])),
        ("a ping in pieces", from_client(0x09, &[1])),
        ("a ping of 200 bytes", from_client(PING, &[1; 200])),
        ("a frame of 1 TiB", huge),
        ("no mask", vec![0x82, 1, 1]),
        ("an empty message", from_client(0x82, &[])),
    ];
    for (what, bytes) in cases {
        let mut socket = world.with_worker(&[]).await;
        world.workers.are(2).await;
        socket.get_mut().write_all(&bytes).await.unwrap();
        let told = end(&mut socket).await;
        let code = told.map(|(code, _)| code);
        assert!(code.is_none_or(|code| code == CloseCode::Protocol), "{what}: {code:?}");
        world.workers.are(1).await;
        world.honest.goes_on().await;
    }
    world.ends_well(32).await;
}

#[tokio::test(start_paused = true)]
async fn messages_in_tiny_pieces_are_messages_and_no_larger_than_others() {
    let mut world = World::new().await;
    let mut socket = world.session().await;
    let whole = encoded(&[spawn(1, &[])]);
    let mut pieces = from_client(0x02, &whole[..1]);
    for byte in &whole[1..] {
        pieces.extend(from_client(0x00, &[*byte]));
        pieces.extend(from_client(PING, b"between"));
        pieces.extend(from_client(0x00, &[]));
    }
    pieces.extend(from_client(0x80, &[]));
    socket.get_mut().write_all(&pieces).await.unwrap();
    assert!(matches!(data(&mut socket).await, Body::Spawned(_)));
    // More pieces than a message may be long.
    let piece = from_client(0x00, &vec![0; MIB]);
    let wire = socket.get_mut();
    wire.write_all(&from_client(0x02, &[4])).await.unwrap();
    for _ in 0..40 {
        if wire.write_all(&piece).await.is_err() {
            break;
        }
    }
    end(&mut socket).await;
    world.workers.are(1).await;
    world.honest.goes_on().await;
    world.ends_well(80).await;
}

#[tokio::test(start_paused = true)]
async fn floods_of_spawns_take_no_more_than_the_agent_has() {
    let mut world = World::new().await;
    let all: Vec<_> = (1..=10_000).map(|handle| spawn(handle, &[])).collect();
    // Answers are read: as many as there is room for, and refusals.
    let mut socket = world.session().await;
    socket.send(frames(&all)).await.unwrap();
    let (mut spawned, mut full) = (0, 0);
    while spawned + full < all.len() {
        let Some(Ok(Message::Binary(bytes))) = within(socket.next()).await else { panic!("ended") };
        for frame in Frames::new(bytes) {
            match frame.unwrap().body {
                Body::Spawned(_) => spawned += 1,
                Body::Failed(SpawnFailure { code, .. }) if code == "full" => full += 1,
                _ => {}
            }
        }
        let acknowledged = u64::try_from(spawned + full).unwrap();
        let _ = socket.send(frames(&[Frame::link(Body::Ack(acknowledged))])).await;
    }
    assert_eq!((spawned, full), (3, 9_997), "four, and one of them is the honest one's");
    world.workers.are(4).await;
    drop(socket.close(None).await);
    drop(socket);
    world.honest.goes_on().await;

    // Answers are not read, again and again: the session ends.
    let mut socket = world.session().await;
    let mut handle = 10_000;
    let flooded = async {
        loop {
            let more: Vec<_> = (0..1000).map(|more| spawn(handle + more, &[])).collect();
            handle += 1000;
            if socket.send(frames(&more)).await.is_err() {
                return;
            }
        }
    };
    within(flooded).await;
    world.honest.goes_on().await;
    world.ends_well(SESSION_MAX).await;
}

#[tokio::test(start_paused = true)]
async fn handles_of_others_mean_nothing() {
    let mut world = World::new().await;
    let mut socket = world.session().await;
    // The honest session's worker has handle 1 there; here it has none.
    for handle in 1..100 {
        let hostile = [
            Frame::about(handle, Body::Signal(9)),
            Frame::about(handle, Body::Channel(support::message(b"hello"))),
            Frame::about(handle, Body::CloseInput),
        ];
        socket.send(frames(&hostile)).await.unwrap();
    }
    world.honest.goes_on().await;
    world.workers.are(1).await;
    world.ends_well(8).await;
}

/// A worker's output that is read and never acknowledged, and output that is not even read.
#[tokio::test(start_paused = true)]
async fn slow_readers_cost_a_bounded_memory_and_then_their_session() {
    for reads in [true, false] {
        let mut world = World::new().await;
        let mut socket = world.with_worker(&["--flood=200"]).await;
        if reads {
            let mut received = 0;
            let (code, reason) = loop {
                match within(socket.next()).await {
                    Some(Ok(Message::Binary(bytes))) => {
                        received += bytes.len();
                        // Not silent, and no more than that.
                        let pinged = |frame: Frame| matches!(frame.body, Body::Ping(_));
                        if Frames::new(bytes).any(|frame| pinged(frame.unwrap())) {
                            let ping = frames(&[Frame::link(Body::Ping(1))]);
                            let _ = socket.send(ping).await;
                        }
                    }
                    Some(Ok(Message::Close(Some(frame)))) => break (frame.code, frame.reason),
                    other => panic!("{other:?} after {received}"),
                }
            };
            assert_eq!(code, CloseCode::Protocol);
            assert!(reason.contains("acknowledged nothing"), "{reason}");
            assert!(received <= 48 * MIB, "{received} bytes, and only then");
        }
        world.honest.goes_on().await;
        // Whether by its numbers, by silence or by time: its worker ends.
        world.workers.are(1).await;
        drop(socket);
        world.ends_well(SESSION_MAX).await;
    }
}

/// A worker that reads nothing, and a controller that says more and more to it.
#[tokio::test(start_paused = true)]
async fn what_a_deaf_worker_is_told_is_bounded() {
    let mut world = World::new().await;
    let (mut sink, mut stream) = world.with_worker(&["--deaf"]).await.split();
    let large = frames(&[Frame::about(1, Body::Channel(support::message(&vec![1; MIB])))]);
    let telling = tokio::spawn(async move {
        for _ in 0..400 {
            sink.send(large.clone()).await.unwrap();
        }
        sink
    });
    let exited = loop {
        let Some(Ok(Message::Binary(bytes))) = within(stream.next()).await else { continue };
        let exit = Frames::new(bytes).find_map(|frame| match frame.unwrap().body {
            Body::Exited(report) => Some(report),
            _ => None,
        });
        if let Some(exit) = exit {
            break exit;
        }
    };
    assert_eq!(exited.lost.as_deref(), Some("the worker did not read what was sent to it"));
    // The rest is for nobody, and is taken all the same.
    let _sink = within(telling).await.unwrap();
    world.workers.are(1).await;
    world.honest.goes_on().await;
    world.ends_well(SESSION_MAX).await;
}

#[tokio::test(start_paused = true)]
async fn a_gigantic_hello_is_refused() {
    let mut world = World::new().await;
    for length in [65_537, 15 * MIB] {
        let mut socket = world.open().await;
        let long = hello_text().replace("by hand", &"x".repeat(length));
        let _ = within(socket.send(Message::text(long))).await;
        assert_eq!(end(&mut socket).await, None);
        world.honest.goes_on().await;
    }
    world.ends_well(120).await;
}

/// More connections than there are places, all of them silent.
#[tokio::test]
async fn a_flood_of_connections_holds_its_places_for_a_moment_only() {
    let handshake = Duration::from_millis(300);
    let timing = Timing { handshake, ..Timing::default() };
    let options = AgentOptions {
        listen: "127.0.0.1:0".to_owned(),
        max_sessions: 2,
        timing,
        ..agent_options()
    };
    let agent = Agent::bind(options, Arc::new(FakeWorkers::new())).await.unwrap();
    let address = agent.address();
    let mut honest = Honest::at(agent.server()).await;
    tokio::spawn(agent.run(std::future::pending()));
    let mut flood = Vec::new();
    for _ in 0..150 {
        flood.push(TcpStream::connect(address).await.unwrap());
    }
    for mut stream in flood {
        let mut byte = [0];
        assert!(matches!(within(stream.read(&mut byte)).await, Ok(0) | Err(_)));
    }
    let mut late = TcpStream::connect(address).await.unwrap();
    late.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(late.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 426"), "{answer}");
    honest.ends_well().await;
}

/// Arguments are checked where real workers start: this one would tell that it ran.
#[tokio::test]
async fn arguments_outside_the_list_start_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (worker, ran) = (folder.path().join("worker"), folder.path().join("ran"));
    fs::write(&worker, format!("#!/bin/sh\necho \"$@\" >> {}\nexec cat <&3 >&4\n", ran.display()))
        .unwrap();
    fs::set_permissions(&worker, fs::Permissions::from_mode(0o755)).unwrap();
    let named = format!("{MEDIASOUP_VERSION}={}", worker.display());
    let source = Arc::new(LocalWorkers::new(&[named]).unwrap());
    let options = agent_options();
    let addresses = options.addresses.resolve("127.0.0.1".parse().unwrap()).unwrap();
    let server = Server::new(options, Identity::new(1), addresses, source);
    let own = FakeWorkers::new();
    let other = support::server(agent_options(), &own);
    let honest = Honest::at(&other).await;
    let mut world = World { memory: Measured::start().await, server, workers: own, honest };
    let mut socket = world.session().await;
    let long = format!("--logTag={}", "x".repeat(17 * 1024));
    let many = vec!["--logTag=ice"; 65];
    let lists: [&[&str]; 12] = [
        &["--workerBin=/bin/sh"],
        &["--dtlsCertificateFile=../../../etc/passwd"],
        &["--logLevel=warn", "--dtlsPrivateKeyFile=/proc/self/environ"],
        &["/bin/sh", "-c", "id"],
        &["--"],
        &[""],
        &["--logLevel"],
        &["--LOGLEVEL=warn"],
        &[" --logLevel=warn"],
        &["--logTag=a\0--dtlsPrivateKeyFile=/etc/shadow"],
        &[&long],
        &many,
    ];
    let real = |args: &[&str]| SpawnSpec {
        version: MEDIASOUP_VERSION.to_owned(),
        schema: SCHEMA_FINGERPRINT.to_owned(),
        ..spec(args)
    };
    for (handle, args) in (1..).zip(lists) {
        socket.send(frames(&[Frame::about(handle, Body::Spawn(real(args)))])).await.unwrap();
        let Body::Failed(failure) = data(&mut socket).await else { panic!("{args:?} started") };
        assert_eq!(failure.code, "wrongSettings", "{args:?}");
        assert!(failure.message.len() < 20_000, "{}", failure.message.len());
    }
    let pem = "x".repeat(300 * 1024);
    let large = SpawnSpec { dtls_certificate: Some(pem), ..real(&[]) };
    let climbing = SpawnSpec { version: "../../../../bin".to_owned(), ..real(&[]) };
    for (handle, spec, code) in [(50, large, "wrongSettings"), (51, climbing, "incompatible")] {
        socket.send(frames(&[Frame::about(handle, Body::Spawn(spec))])).await.unwrap();
        let Body::Failed(failure) = data(&mut socket).await else { panic!("it started") };
        assert_eq!(failure.code, code);
    }
    assert!(!ran.exists(), "{}", fs::read_to_string(&ran).unwrap_or_default());
    // The same session may still ask for what is good.
    socket
        .send(frames(&[Frame::about(99, Body::Spawn(real(&["--logLevel=warn"])))]))
        .await
        .unwrap();
    assert!(matches!(data(&mut socket).await, Body::Spawned(_)));
    let mut too_large = BytesMut::new();
    too_large.put_u8(1);
    too_large.put_u32_le(100);
    too_large.put_u32_le(2 * 1024 * 1024);
    socket.send(Message::Binary(too_large.freeze())).await.unwrap();
    let (code, reason) = end(&mut socket).await.unwrap();
    assert!(code == CloseCode::Protocol && reason.contains("the limit is 1048576"), "{reason}");
    world.honest.ends_well().await;
}
