//! What an agent gives at most: each limit, its error, its counter, and that others go on.

#![allow(clippy::unwrap_used)]

#[path = "support/frames.rs"]
mod frames;
mod support;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use mediasoup_horizontal::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    agent::{Agent, AgentOptions, Limit, Limits, LocalWorkers, Server, WorkerSource},
    connection::{
        Connection, SpawnError, SpawnRequest, WorkerCommand, WorkerLink,
        remote::{RemoteConnection, RemoteOptions},
    },
    net::{Backoff, Timing, Token},
    queue::TrySendError,
    wire::{AgentReply, Body, Frame, MAX_MESSAGE, SUBPROTOCOL, SpawnSpec, encode},
};
use support::{
    FakeWorkers, SCHEMA, VERSION, agent_options, message, pair_with, remote_options, request,
    within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

type Socket = WebSocketStream<TcpStream>;

async fn listen(options: AgentOptions, source: Arc<dyn WorkerSource>) -> (SocketAddr, Server) {
    let options = AgentOptions { listen: "127.0.0.1:0".to_owned(), ..options };
    let agent = Agent::bind(options, source).await.unwrap();
    let (address, server) = (agent.address(), agent.server().clone());
    tokio::spawn(agent.run(std::future::pending()));
    (address, server)
}

async fn agent(options: AgentOptions) -> (SocketAddr, Server) {
    listen(options, Arc::new(FakeWorkers::new())).await
}

fn with(limits: Limits) -> AgentOptions {
    AgentOptions { limits, ..agent_options() }
}

async fn counts(server: &Server, limit: Limit, count: u64) {
    within(async {
        while server.limits().get(limit) != count {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn shake(address: SocketAddr, token: &str) -> Result<Socket, Error> {
    let stream = TcpStream::connect(address).await?;
    let mut request = format!("ws://{address}").into_client_request()?;
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
    headers.insert("Authorization", format!("Bearer {token}").parse().unwrap());
    Ok(within(client_async(request, stream)).await?.0)
}

async fn open(address: SocketAddr) -> Socket {
    let mut socket = shake(address, "good").await.unwrap();
    socket.send(Message::text(frames::hello_text())).await.unwrap();
    let Some(Ok(Message::Text(text))) = within(socket.next()).await else { panic!("no text") };
    assert!(matches!(serde_json::from_str(&text).unwrap(), AgentReply::Welcome(_)));
    socket
}

fn spawn(handle: u32, version: &str, args: &[&str]) -> Message {
    let spec = SpawnSpec { version: version.to_owned(), ..frames::spec(args) };
    frames::frames(&[Frame::about(handle, Body::Spawn(spec))])
}

/// The text with which the agent closes a link.
async fn goodbye(socket: &mut Socket) -> String {
    loop {
        match within(socket.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => return frame.reason.to_string(),
            Some(Ok(_)) => {}
            other => panic!("closed without a word: {other:?}"),
        }
    }
}

async fn started(connection: &RemoteConnection) -> WorkerLink {
    within(connection.spawn(request(&[]))).await.unwrap()
}

async fn refused(connection: &RemoteConnection, args: &[&str]) -> SpawnError {
    within(connection.spawn(request(args))).await.err().unwrap()
}

#[tokio::test]
async fn sessions() {
    let (address, server) = agent(AgentOptions { max_sessions: 1, ..agent_options() }).await;
    let _first = open(address).await;
    let options = remote(address);
    let second = RemoteConnection::new(options).unwrap();
    let error = refused(&second, &[]).await;
    assert!(matches!(error, SpawnError::Full(_)), "{error:?}");
    assert!(error.to_string().ends_with("it has 1 sessions already (--max-sessions)"), "{error}");
    assert!(server.limits().get(Limit::Sessions) >= 1);
}

fn remote(address: SocketAddr) -> RemoteOptions {
    RemoteOptions {
        token: Some(Token::new("good").unwrap()),
        version: VERSION.to_owned(),
        fingerprint: SCHEMA.to_owned(),
        connect_timeout: Duration::from_millis(500),
        backoff: Backoff::new(|_| Duration::from_millis(20)),
        ..RemoteOptions::new(&format!("ws://{address}")).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn workers_of_the_agent_and_of_one_session() {
    let limits = Limits { workers_per_session: Some(2), ..Limits::default() };
    let options = AgentOptions { max_workers: 3, ..with(limits) };
    let (workers, memory, greedy) = pair_with(options, remote_options());
    let other = RemoteConnection::with_dialer(remote_options(), memory.clone());
    let first = started(&greedy).await;
    let _second = started(&greedy).await;
    let error = refused(&greedy, &[]).await;
    assert!(matches!(error, SpawnError::Full(_)), "{error:?}");
    let words = "it runs 2 workers for this app, and no more (--max-workers-per-session)";
    assert!(error.to_string().ends_with(words), "{error}");
    // The place that is left is for somebody else.
    let _third = started(&other).await;
    let error = refused(&other, &[]).await;
    assert!(error.to_string().ends_with("it runs 3 of 3 workers (--max-workers)"), "{error}");
    drop(first);
    workers.are(2).await;
    let _fourth = started(&other).await;
}

#[tokio::test(start_paused = true)]
async fn spawns_a_second() {
    let limits = Limits { spawn_burst: 2, spawns_per_second: 1, ..Limits::default() };
    let (_, memory, connection) = pair_with(with(limits), remote_options());
    let other = RemoteConnection::with_dialer(remote_options(), memory.clone());
    for _ in 0..2 {
        drop(started(&connection).await);
    }
    let error = refused(&connection, &[]).await;
    assert!(matches!(error, SpawnError::Full(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("1 workers a second for one app, after 2 at once; retryAfter"), "{text}");
    drop(started(&other).await);
    sleep(Duration::from_secs(1)).await;
    drop(started(&connection).await);
}

#[tokio::test(start_paused = true)]
async fn bytes_of_arguments() {
    let limits = Limits { argument_bytes: 100, ..Limits::default() };
    let (_, _, connection) = pair_with(with(limits), remote_options());
    let half = "x".repeat(50);
    drop(within(connection.spawn(request(&[&half, &half]))).await.unwrap());
    let error = refused(&connection, &[&half, &half, "x"]).await;
    assert!(matches!(error, SpawnError::WrongSettings(_)), "{error:?}");
    assert!(error.to_string().ends_with("101 bytes of worker arguments, at most 100 are allowed"));
}

#[tokio::test]
async fn refusals_are_counted_by_their_limits() {
    let limits = Limits {
        workers_per_session: Some(1),
        spawn_burst: 1,
        spawns_per_second: 1,
        argument_bytes: 10,
        ..Limits::default()
    };
    let (address, server) = agent(AgentOptions { max_workers: 2, ..with(limits) }).await;
    let mut socket = open(address).await;
    socket.send(spawn(1, VERSION, &["much too long"])).await.unwrap();
    counts(&server, Limit::ArgumentBytes, 1).await;
    socket.send(spawn(1, VERSION, &[])).await.unwrap();
    socket.send(spawn(2, VERSION, &[])).await.unwrap();
    counts(&server, Limit::WorkersPerSession, 1).await;
    let mut other = open(address).await;
    other.send(spawn(1, VERSION, &[])).await.unwrap();
    let mut third = open(address).await;
    third.send(spawn(1, VERSION, &[])).await.unwrap();
    counts(&server, Limit::Workers, 1).await;
    // The first one's worker ends, and with it its place; but it may not start another at once.
    let mut end = BytesMut::new();
    encode(&Frame::about(1, Body::Signal(9)), &mut end);
    socket.send(Message::Binary(end.freeze())).await.unwrap();
    within(async {
        while server.load().workers != 1 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let began = Instant::now();
    let mut handle = 10;
    while server.limits().get(Limit::SpawnRate) == 0 {
        assert!(began.elapsed() < Duration::from_secs(30));
        handle += 1;
        socket.send(spawn(handle, VERSION, &[])).await.unwrap();
        let mut end = BytesMut::new();
        encode(&Frame::about(handle, Body::Signal(9)), &mut end);
        socket.send(Message::Binary(end.freeze())).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    let reached = server.limits().all().filter(|(_, count)| *count > 0).map(|(name, _)| name);
    let reached: Vec<_> = reached.collect();
    assert_eq!(reached, ["workers", "workers_per_session", "spawn_rate", "argument_bytes"]);
}

#[tokio::test]
async fn bytes_of_a_frame_and_of_a_message() {
    let (address, server) = agent(agent_options()).await;
    let mut bystander = open(address).await;
    let mut socket = open(address).await;
    let mut oversized = BytesMut::new();
    oversized.put_u8(4);
    oversized.put_u32_le(1);
    oversized.put_u32_le(9 * 1024 * 1024);
    socket.send(Message::Binary(oversized.freeze())).await.unwrap();
    let text = goodbye(&mut socket).await;
    assert!(text.contains("a Channel frame of 9437184 bytes, the limit is 8388608"), "{text}");
    counts(&server, Limit::FrameBytes, 1).await;
    let mut socket = open(address).await;
    let _ = within(socket.send(Message::Binary(Bytes::from(vec![0; MAX_MESSAGE + 1])))).await;
    counts(&server, Limit::FrameBytes, 2).await;
    // In the handshake, where a text may have 64 KiB.
    let mut socket = shake(address, "good").await.unwrap();
    let _ = within(socket.send(Message::text("x".repeat(70_000)))).await;
    counts(&server, Limit::FrameBytes, 3).await;
    bystander.send(spawn(1, VERSION, &[])).await.unwrap();
    within(async {
        while server.load().workers != 1 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_that_nobody_acknowledges() {
    let timing = Timing {
        heartbeat: Duration::from_millis(50),
        write: Duration::from_millis(300),
        silence: Duration::from_secs(60),
        ..Timing::default()
    };
    let (address, server) = agent(AgentOptions { timing, ..agent_options() }).await;
    let mut socket = open(address).await;
    // It reads, so the link is fine, but it never says what has arrived.
    socket.send(spawn(1, VERSION, &["--flood=60"])).await.unwrap();
    let text = goodbye(&mut socket).await;
    assert!(text.contains("the peer acknowledged nothing for 300ms while"), "{text}");
    assert_eq!(server.limits().get(Limit::UnacknowledgedBytes), 1);
}

#[tokio::test]
async fn spawns_whose_answers_are_not_read() {
    let limits = Limits { spawns_in_flight: 5, ..Limits::default() };
    let (address, server) = agent(with(limits)).await;
    let mut socket = open(address).await;
    // Its output fills all that a session may hold; then answers find no room either.
    socket.send(spawn(1, VERSION, &["--flood=80"])).await.unwrap();
    let mut handle = 2;
    let began = Instant::now();
    while server.limits().get(Limit::SpawnsInFlight) == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "still not after {handle}");
        for _ in 0..10 {
            let _ = socket.feed(spawn(handle, "1.2.3", &[])).await;
            handle += 1;
        }
        let _ = socket.flush().await;
        sleep(Duration::from_millis(20)).await;
    }
    let _other = open(address).await;
}

#[tokio::test]
async fn handshakes_at_a_time_of_all_and_of_one_address() {
    for (limits, limit) in [
        (Limits { handshakes: 2, ..Limits::default() }, Limit::Handshakes),
        (Limits { handshakes_per_address: 2, ..Limits::default() }, Limit::HandshakesPerAddress),
    ] {
        let (address, server) = agent(with(limits)).await;
        // Sessions are past that.
        let _sessions = [open(address).await, open(address).await];
        let mut idle = Vec::new();
        while idle.len() < 2 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut third = TcpStream::connect(address).await.unwrap();
        let mut nothing = Vec::new();
        assert!(matches!(within(third.read_to_end(&mut nothing)).await, Ok(0) | Err(_)));
        assert_eq!(server.limits().get(limit), 1);
        let metrics = server.metrics().unwrap();
        assert!(metrics.contains("connections_refused_total{reason=\"full\"} 1\n"), "{metrics}");
        // One leaves, and makes room.
        drop(idle.pop());
        within(async {
            while shake(address, "good").await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn wrong_tokens_of_one_address() {
    let refused_for = Duration::from_millis(1500);
    let limits = Limits { wrong_tokens: 3, refused_for, ..Limits::default() };
    let (address, server) = agent(with(limits)).await;
    let status = async |token: &str| match shake(address, token).await {
        Ok(_) => 101,
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
    };
    // One that shows none guesses nothing.
    for _ in 0..10 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                    \r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    for _ in 0..4 {
        assert_eq!(status("wrong").await, 401);
    }
    let Err(Error::Http(response)) = shake(address, "good").await else { panic!("let in") };
    assert_eq!(response.status(), 429);
    let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&seconds), "{seconds}");
    let text = String::from_utf8_lossy(response.body().as_deref().unwrap()).into_owned();
    assert!(text.contains("more than 3 wrong tokens came from this address"), "{text}");
    assert!(text.contains("retryAfter"), "{text}");
    assert_eq!(server.limits().get(Limit::WrongTokens), 1);
    // A connection says so, waits and gets in.
    let options = RemoteOptions { connect_timeout: Duration::from_millis(100), ..remote(address) };
    let connection = RemoteConnection::new(options).unwrap();
    let error = refused(&connection, &[]).await;
    assert!(error.to_string().contains("does not take us for now (429"), "{error}");
    within(async { while connection.spawn(request(&[])).await.is_err() {} }).await;
}

/// A worker that ignores all that may be ignored, and never reads.
const DEAF: &str = "#!/bin/sh\ntrap '' TERM INT HUP\nwhile :; do sleep 1; done\n";

#[tokio::test]
async fn a_worker_that_neither_reads_nor_ends_is_killed_with_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("worker");
    fs::write(&path, DEAF).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let workers = LocalWorkers::new(&[format!("{MEDIASOUP_VERSION}={}", path.display())]).unwrap();
    let (address, server) = listen(agent_options(), Arc::new(workers)).await;
    let own = (MEDIASOUP_VERSION.to_owned(), SCHEMA_FINGERPRINT.to_owned());
    let (version, fingerprint) = own.clone();
    let connection =
        RemoteConnection::new(RemoteOptions { version, fingerprint, ..remote(address) }).unwrap();
    let (version, fingerprint) = own;
    let wanted = SpawnRequest { version, fingerprint, ..request(&[]) };
    let link = within(connection.spawn(wanted)).await.unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(link.pid).unwrap());
    let large = message(&vec![0; 1024 * 1024]);
    while link.commands.try_send(WorkerCommand::Message(large.clone())) != Err(TrySendError::Full) {
    }
    assert!(nix::sys::signal::kill(pid, None).is_ok(), "it runs");
    connection.close();
    within(async {
        while nix::sys::signal::kill(pid, None).is_ok() || server.load().workers > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
