//! Hostile agents against a controller: it stays up, its memory is bounded, and a Worker on an
//! honest agent beside them answers all the time.

#![allow(clippy::unwrap_used)]

#[path = "support/frames.rs"]
mod frames;
#[path = "support/heap.rs"]
mod heap;
#[path = "support/honest.rs"]
mod honest;
mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use mediasoup_horizontal::{
    connection::{
        BoxFuture, Connection, Exit, LINK_LIMIT, SpawnError, WorkerCommand, WorkerEvent,
        WorkerLink,
        remote::{RemoteConnection, Status},
    },
    net::{Dial, DialError, Dialed},
    wire::{Body, ExitReport, Frame, Frames, LoadReport, SUBPROTOCOL, SpawnFailure, Spawned},
};
use serde_json::{Value, json};
use support::{
    FakeWorkers, SCHEMA, VERSION, agent_options, end_of, message, next_message, remote_options,
    request, server, within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

use self::{
    frames::{PING, encoded, frames, from_server, spec},
    heap::Measured,
    honest::Honest,
};

type Socket = WebSocketStream<DuplexStream>;

const MIB: usize = 1024 * 1024;

/// What a controller may hold for an agent: its replay buffer, what waits before it, and a worker's
/// two queues, with a message on its way in each; docs/operations.md, "Memory".
const AGENT_MAX: usize = 36 + 2 * 33 + 2 * 16;

/// Hands the other end of what is dialed to a test.
struct ByHand(mpsc::UnboundedSender<DuplexStream>);

impl Dial for ByHand {
    fn dial(&self) -> BoxFuture<'_, Result<Dialed, DialError>> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let sent = self.0.send(far).is_ok();
        Box::pin(async move {
            if !sent {
                return Err(DialError::Unreachable("the test is over".to_owned()));
            }
            Ok(Dialed { transport: Box::new(near), peer: None })
        })
    }
}

#[expect(clippy::result_large_err, clippy::unnecessary_wraps, reason = "the library's signature")]
fn take_subprotocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
    Ok(response)
}

struct World {
    connection: RemoteConnection,
    dialed: mpsc::UnboundedReceiver<DuplexStream>,
    honest: Honest,
    memory: Measured,
}

impl World {
    async fn new() -> Self {
        let honest = Honest::at(&server(agent_options(), &FakeWorkers::new())).await;
        let (dial, dialed) = mpsc::unbounded_channel();
        let connection = RemoteConnection::with_dialer(remote_options(), Arc::new(ByHand(dial)));
        connection.start();
        Self { connection, dialed, honest, memory: Measured::start().await }
    }

    async fn wire(&mut self) -> DuplexStream {
        within(self.dialed.recv()).await.unwrap()
    }

    /// A controller that said hello.
    async fn hello(&mut self) -> Socket {
        let wire = self.wire().await;
        let mut socket = within(accept_hdr_async(wire, take_subprotocol)).await.unwrap();
        assert!(matches!(within(socket.next()).await, Some(Ok(Message::Text(_)))), "a hello");
        socket
    }

    /// A controller that was let in.
    async fn welcomed(&mut self, welcome: &Value) -> Socket {
        let mut socket = self.hello().await;
        socket.send(Message::text(welcome.to_string())).await.unwrap();
        socket
    }

    /// One with this many workers, as it believes, with handles from 1.
    async fn with_workers(&mut self, count: u32) -> (Socket, Vec<WorkerLink>) {
        let mut socket = self.welcomed(&welcome()).await;
        let mut links = Vec::new();
        for _ in 0..count {
            let asked = self.connection.spawn(request(&[]));
            let answered = async {
                let handle = asked_for(&mut socket).await;
                let spawned = Spawned { pid: 4000 + handle };
                socket.send(frames(&[about(handle, Body::Spawned(spawned))])).await.unwrap();
            };
            let (link, ()) = tokio::join!(within(asked), answered);
            links.push(link.unwrap());
        }
        (socket, links)
    }

    async fn ends_well(mut self, bound: usize) {
        self.honest.ends_well().await;
        let peak = self.memory.peak();
        assert!(peak <= bound, "{peak} MiB");
    }
}

fn welcome() -> Value {
    json!({
        "type": "welcome", "protocol": 1, "agentId": "evil", "instanceId": "i",
        "session": "00112233445566778899aabbccddeeff", "resumed": false, "lastSeen": null,
        "sessionTimeoutMs": 30_000, "listen": [], "cores": 8, "maxWorkers": 8,
        "workers": [{ "version": VERSION, "schema": SCHEMA }],
        "addresses": {
            "colocated": false, "bind": ["10.0.0.5"], "pipe": null, "announced": [],
            "behindNat": false, "portRange": null, "portPolicy": "remap", "appSeenAs": null
        },
        "limits": { "maxMessage": 1, "maxPayload": 1, "maxSessions": 1, "silenceMs": 1 },
        "labels": {}, "load": { "workers": 0, "maxWorkers": 8 }, "heartbeatMs": 1000
    })
}

fn about(worker: u32, body: Body) -> Frame {
    Frame::about(worker, body)
}

/// The handle of the next worker that is asked for.
async fn asked_for(socket: &mut Socket) -> u32 {
    loop {
        let Some(Ok(Message::Binary(bytes))) = within(socket.next()).await else { panic!("ended") };
        let spawn = Frames::new(bytes).find_map(|frame| {
            let frame = frame.unwrap();
            matches!(frame.body, Body::Spawn(_)).then_some(frame.worker)
        });
        if let Some(handle) = spawn {
            return handle;
        }
    }
}

fn lost(exit: Exit) -> String {
    let Exit::Lost(why) = exit else { panic!("{exit:?}") };
    why
}

/// Reads on behalf of an agent that is not silent, until the link ends.
async fn keep_alive(mut socket: Socket) {
    while let Some(Ok(message)) = socket.next().await {
        let Message::Binary(bytes) = message else { continue };
        let pinged = |frame| matches!(frame, Ok(Frame { body: Body::Ping(_), .. }));
        if Frames::new(bytes).any(pinged) {
            let _ = socket.send(frames(&[Frame::link(Body::Ping(1))])).await;
        }
    }
}

fn breaches() -> Vec<(Vec<u8>, &'static str)> {
    let binary = |bytes: &[u8]| from_server(0x82, bytes);
    let said = |frame: Frame| from_server(0x82, &encoded(&[frame]));
    let failure =
        SpawnFailure { code: "full".to_owned(), message: "no".to_owned(), path: None, errno: None };
    let exited = || Body::Exited(ExitReport { code: Some(0), signal: None, lost: None });
    let spawned = || Body::Spawned(Spawned { pid: 1 });
    let load = |count| {
        let own = (1..=count).map(|handle| (handle, u32::MAX)).collect();
        Frame::link(Body::Load(LoadReport {
            workers: 1,
            max_workers: 1,
            own,
            others: vec![],
            draining: false,
        }))
    };
    vec![
        (binary(&[255; 40]), "unknown kind 255"),
        (binary(&[]), "without any frame"),
        (binary(&[4, 1, 0, 0]), "middle of a frame header"),
        (binary(&[4, 1, 0, 0, 0, 255, 255, 255, 255]), "the limit is 8388608"),
        (binary(&[4, 1, 0, 0, 0, 6, 0, 0, 0, 9, 9, 9, 9, 9, 9]), "size prefix says otherwise"),
        (binary(&[2, 1, 0, 0, 0, 1, 0, 0, 0, b'{']), "unusable JSON"),
        (binary(&vec![4; 17 * MIB]), "too long"),
        (from_server(0x81, b"{}"), "a text after the handshake"),
        (from_server(0x81, &[0xff, 0xfe]), "UTF-8"),
        (from_server(0xC2, &[1]), "eserved bits"),
        (from_server(0x83, &[1]), "opcode"),
        (said(about(99, Body::Channel(message(b"hello")))), "output for worker 99"),
        (said(about(99, Body::Stderr(Bytes::from_static(b"x")))), "output for worker 99"),
        (said(about(99, spawned())), "SPAWNED for worker 99"),
        (said(about(1, spawned())), "SPAWNED for worker 1"),
        (said(about(1, Body::Failed(failure))), "FAILED for worker 1"),
        (said(about(99, exited())), "EXITED for worker 99"),
        (said(about(1, Body::Spawn(spec(&[])))), "only controllers send"),
        (said(about(1, Body::Signal(9))), "only controllers send"),
        (said(Frame::link(Body::Ack(1000))), "an acknowledgement of 1000 frames"),
        (said(Frame::link(Body::Ack(u64::MAX))), "an acknowledgement of"),
        (said(load(10_000)), "the limit is 65536"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_breach_of_the_protocol_ends_that_agent_s_workers_and_says_why() {
    let mut world = World::new().await;
    for (bytes, words) in breaches() {
        let (mut socket, mut links) = world.with_workers(2).await;
        let _ = within(socket.get_mut().write_all(&bytes)).await;
        for link in &mut links {
            let why = lost(end_of(link).await);
            assert!(
                why.starts_with("agent ws://memory:4480: the peer broke the protocol: "),
                "{why}"
            );
            assert!(why.contains(words), "{words}: {why}");
        }
        world.honest.goes_on().await;
    }
    world.ends_well(64).await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_told_twice_ends_the_session() {
    let mut world = World::new().await;
    let (mut socket, mut links) = world.with_workers(2).await;
    let exited = || about(1, Body::Exited(ExitReport { code: Some(7), signal: None, lost: None }));
    socket.send(frames(&[exited(), exited()])).await.unwrap();
    assert_eq!(end_of(&mut links[0]).await, Exit::Code(7));
    let why = lost(end_of(&mut links[1]).await);
    assert!(why.contains("EXITED for worker 1"), "{why}");
    world.ends_well(8).await;
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_claims_is_taken_for_what_it_is() {
    let mut world = World::new().await;
    let mut lies = welcome();
    lies["cores"] = json!(u64::MAX);
    lies["maxWorkers"] = json!(u64::MAX);
    lies["sessionTimeoutMs"] = json!(u64::MAX);
    lies["heartbeatMs"] = json!(u64::MAX);
    lies["addresses"]["portRange"] = json!([60_000, 1]);
    lies["addresses"]["bind"] = json!([]);
    lies["load"] = json!({ "workers": u64::MAX, "maxWorkers": 0 });
    lies["labels"] = json!({ "region": "\u{1b}[2J\n" });
    let mut socket = world.welcomed(&lies).await;
    support::connected(&world.connection).await;
    // It is asked for a worker only to see that it is asked.
    let mut asking = Box::pin(world.connection.spawn(request(&[])));
    let handle = tokio::select! {
        handle = asked_for(&mut socket) => handle,
        _ = &mut asking => panic!("answered by nobody"),
    };
    socket.send(frames(&[about(handle, Body::Spawned(Spawned { pid: u32::MAX }))])).await.unwrap();
    let mut link = within(asking).await.unwrap();
    let own = (1..2000).map(|handle| (handle, u32::MAX)).collect();
    let others = vec![u32::MAX; 1000];
    let report =
        LoadReport { workers: usize::MAX, max_workers: usize::MAX, own, others, draining: true };
    let before = Instant::now();
    socket
        .send(frames(&[
            Frame::link(Body::Load(report)),
            about(handle, Body::Stdout(Bytes::from_static(b"x"))),
        ]))
        .await
        .unwrap();
    assert!(matches!(within(link.events.recv()).await, Some(WorkerEvent::Stdout(_))), "{before:?}");
    let load = world.connection.host_load().unwrap();
    assert_eq!(load.own.len(), 1, "of workers that it was asked for");
    assert_eq!((load.total(), load.cores), (u32::MAX, usize::MAX));
    assert_eq!(world.connection.load().unwrap().workers, usize::MAX);
    world.honest.goes_on().await;
    world.ends_well(8).await;
}

/// Events at full speed for an app that reads none of them.
#[tokio::test(start_paused = true)]
async fn events_that_nobody_reads_are_bounded_and_cost_that_worker_alone() {
    let mut world = World::new().await;
    let (mut socket, mut links) = world.with_workers(2).await;
    let large = frames(&[about(1, Body::Channel(message(&vec![1; MIB])))]);
    let mut sent = 0;
    // The first write that takes long: the controller reads no more for now.
    while tokio::time::timeout(Duration::from_secs(2), socket.send(large.clone())).await.is_ok() {
        sent += MIB;
        assert!(sent <= LINK_LIMIT + 17 * MIB, "{} MiB and no end", sent / MIB);
    }
    world.honest.goes_on().await;
    // Its patience ends, and the session goes on with the other worker.
    within(socket.flush()).await.unwrap();
    let echo = frames(&[about(2, Body::Channel(message(b"still here")))]);
    within(socket.send(echo)).await.unwrap();
    assert_eq!(next_message(&mut links[1]).await, message(b"still here"));
    let why = lost(end_of(&mut links[0]).await);
    assert!(why.contains("the app did not read what its worker"), "{why}");
    world.ends_well(AGENT_MAX).await;
}

/// Tiny texts that nobody reads, each with much between it and the next: what waits must not keep
/// the buffers alive that it came in.
#[tokio::test(start_paused = true)]
async fn texts_that_nobody_reads_keep_nothing_else_alive() {
    let mut world = World::new().await;
    let (mut socket, mut links) = world.with_workers(1).await;
    let ping = Frame::link(Body::Ping(1));
    let between = frames(&vec![ping; 128 * 1024 / 17]);
    for _ in 0..200 {
        let text = about(1, Body::Stdout(Bytes::from_static(b"x")));
        socket.feed(frames(&[text])).await.unwrap();
        within(socket.send(between.clone())).await.unwrap();
    }
    let last = about(1, Body::Channel(message(b"the last")));
    within(socket.send(frames(&[last]))).await.unwrap();
    world.honest.goes_on().await;
    let peak = world.memory.peak();
    assert_eq!(next_message(&mut links[0]).await, message(b"the last"));
    assert!(peak <= 8, "{peak} MiB");
}

/// It is told much, reads all of it and acknowledges nothing.
#[tokio::test(start_paused = true)]
async fn messages_that_are_never_acknowledged_are_bounded_and_end_the_session() {
    let mut world = World::new().await;
    let (socket, mut links) = world.with_workers(2).await;
    let reading = tokio::spawn(keep_alive(socket));
    let commands = links[0].commands.clone();
    let telling = tokio::spawn(async move {
        let mut told = 0;
        // Each in memory of its own, so that it counts.
        while commands.send(WorkerCommand::Message(message(&vec![1; MIB]))).await.is_ok() {
            told += 1;
        }
        told
    });
    for link in &mut links {
        let why = lost(end_of(link).await);
        assert!(why.contains("acknowledged nothing for 10s"), "{why}");
    }
    let told = within(telling).await.unwrap();
    assert!((32..=72).contains(&told), "{told} MiB");
    reading.abort();
    world.ends_well(AGENT_MAX).await;
}

#[tokio::test(start_paused = true)]
async fn floods_of_pings_take_no_memory() {
    let mut world = World::new().await;
    let websocket = from_server(PING, &[7; 125]).repeat(500);
    let pings: Vec<_> = (0..5000).map(|number| Frame::link(Body::Ping(number))).collect();
    for (flood, length) in [(websocket, 40 * MIB), (from_server(0x82, &encoded(&pings)), 8 * MIB)] {
        let (mut socket, _links) = world.with_workers(1).await;
        // It reads nothing itself.
        let wire = socket.get_mut();
        for _ in 0..length / flood.len() {
            if wire.write_all(&flood).await.is_err() {
                break;
            }
        }
        world.honest.goes_on().await;
        drop(socket);
    }
    world.ends_well(32).await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_reads_nothing_costs_a_bounded_memory() {
    let mut world = World::new().await;
    let (socket, mut links) = world.with_workers(1).await;
    let commands = links[0].commands.clone();
    let telling = tokio::spawn(async move {
        while commands.send(WorkerCommand::Message(message(&vec![1; MIB]))).await.is_ok() {}
    });
    // Silent too, so it counts as gone, and nobody answers the next dial.
    let why = lost(end_of(&mut links[0]).await);
    assert!(why.contains("did not come back within 30s"), "{why}");
    within(telling).await.unwrap();
    drop(socket);
    world.ends_well(AGENT_MAX).await;
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_are_slow_or_gigantic_end() {
    let mut world = World::new().await;
    // A byte now and then.
    let began = Instant::now();
    let mut wire = world.wire().await;
    let answer = b"HTTP/1.1 101 Switching Protocols\r\n";
    for byte in answer.iter().cycle() {
        if wire.write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(700)).await;
    }
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
    // A head without an end.
    let mut wire = world.wire().await;
    let mut written = 0;
    let header = format!("HTTP/1.1 101 x\r\nA: {}\r\n", "x".repeat(1000));
    while wire.write_all(header.as_bytes()).await.is_ok() {
        written += header.len();
        assert!(written <= MIB, "{written} bytes of a head");
    }
    // A body without an end.
    let mut wire = world.wire().await;
    let mut head = [0; 1000];
    assert!(wire.read(&mut head).await.unwrap() > 0);
    wire.write_all(b"HTTP/1.1 403 no\r\nContent-Length: 99999999999\r\n\r\n").await.unwrap();
    written = 0;
    while wire.write_all(&[b'x'; 1000]).await.is_ok() {
        written += 1000;
        assert!(written <= MIB, "{written} bytes of a body");
    }
    world.honest.goes_on().await;
    world.ends_well(16).await;
}

#[tokio::test(start_paused = true)]
async fn a_gigantic_welcome_is_refused_and_told() {
    for long in [70_000, 15 * MIB] {
        let mut world = World::new().await;
        let mut socket = world.hello().await;
        let mut large = welcome();
        large["agentId"] = json!("x".repeat(long));
        let _ = within(socket.send(Message::text(large.to_string()))).await;
        let mut status = world.connection.status();
        let refused = |status: &Status| matches!(status, Status::Refused(_));
        let status = within(status.wait_for(refused)).await.unwrap().clone();
        let Status::Refused(DialError::Incompatible(why)) = status else { panic!("{status:?}") };
        assert!(why.to_string().contains("a handshake text of"), "{why}");
        world.ends_well(100).await;
    }
}

#[tokio::test(start_paused = true)]
async fn frames_in_tiny_pieces_are_frames() {
    let mut world = World::new().await;
    let (mut socket, mut links) = world.with_workers(1).await;
    let whole = encoded(&[about(1, Body::Channel(message(b"in pieces")))]);
    let mut pieces = from_server(0x02, &whole[..1]);
    for byte in &whole[1..] {
        pieces.extend(from_server(0x00, &[*byte]));
        pieces.extend(from_server(PING, b"between"));
    }
    pieces.extend(from_server(0x80, &[]));
    socket.get_mut().write_all(&pieces).await.unwrap();
    assert_eq!(next_message(&mut links[0]).await, message(b"in pieces"));
    world.ends_well(8).await;
}

/// An agent that says of every spawn that it cannot be done, in a gigantic text of control
/// characters.
#[tokio::test(start_paused = true)]
async fn what_an_agent_says_goes_into_errors_without_control_characters() {
    let mut world = World::new().await;
    let mut socket = world.welcomed(&welcome()).await;
    let asking = world.connection.spawn(request(&[]));
    let answered = async {
        let handle = asked_for(&mut socket).await;
        let failure = SpawnFailure {
            code: "noBinary".to_owned(),
            message: "\u{1b}[31mgone\r\n".repeat(1000),
            path: None,
            errno: None,
        };
        socket.send(frames(&[about(handle, Body::Failed(failure))])).await.unwrap();
    };
    let (answer, ()) = tokio::join!(within(asking), answered);
    let Err(SpawnError::NoBinary(text)) = answer else { panic!("a worker") };
    assert!(text.starts_with("agent ws://memory:4480: ") && !text.contains(['\u{1b}', '\n', '\r']));
    world.ends_well(8).await;
}
