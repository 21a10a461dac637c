//! What an agent tells over HTTP to those who watch it, and what a connection tells of its links.

#![allow(clippy::unwrap_used)]
#![allow(clippy::float_cmp, reason = "counts are whole numbers")]

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use certificates::{Authority, Valid};
use futures_util::SinkExt;
use mediasoup_horizontal::{
    agent::{Agent, AgentError, AgentOptions, DrainOrder, Server},
    connection::{
        Connection, ConnectionState, Exit, SpawnError, WorkerCommand,
        remote::{RemoteConnection, RemoteOptions},
    },
    net::{ServerTls, ServerTlsFiles, Token},
    wire::SUBPROTOCOL,
};
use support::{
    FakeWorkers, Wire, agent_options, connected, end_of, message, next_message, pair,
    remote_options, request, server, within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

struct Watched {
    address: SocketAddr,
    metrics: SocketAddr,
    server: Server,
    /// Dropped, the agent ends.
    stop: oneshot::Sender<()>,
}

async fn agent(options: AgentOptions) -> (FakeWorkers, Watched) {
    let workers = FakeWorkers::new();
    let any = "127.0.0.1:0".to_owned();
    let options = AgentOptions { listen: any.clone(), metrics: Some(any), ..options };
    let agent = Agent::bind(options, Arc::new(workers.clone())).await.unwrap();
    let (address, metrics) = (agent.address(), agent.metrics_address().unwrap());
    let server = agent.server().clone();
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(agent.run(async move {
        let _ = stopped.await;
    }));
    (workers, Watched { address, metrics, server, stop })
}

fn controller(address: SocketAddr, token: &str) -> RemoteConnection {
    let RemoteOptions { url, .. } = RemoteOptions::new(&format!("ws://{address}")).unwrap();
    let token = Some(Token::new(token).unwrap());
    RemoteConnection::new(RemoteOptions { url, token, ..remote_options() }).unwrap()
}

/// The answer to these bytes, until the agent closes the connection.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
    let answer = raw(address, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Every series with its value.
async fn metrics(address: SocketAddr) -> BTreeMap<String, f64> {
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"));
    let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let name = name.strip_prefix("mediasoup_horizontal_agent_").unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    series.collect()
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let (workers, agent) = agent(agent_options()).await;
    let before = metrics(agent.metrics).await;
    assert_eq!(before["sessions"], 0.0);
    assert_eq!((before["workers"], before["workers_max"], before["ready"]), (0.0, 4.0, 1.0));
    assert!(before["start_time_seconds"] > 1.7e9);

    let remote = controller(agent.address, "good");
    let mut link = within(remote.spawn(request(&[]))).await.unwrap();
    link.commands.send(WorkerCommand::Message(message(b"hello"))).await.unwrap();
    next_message(&mut link).await;
    let refused = within(remote.spawn(request(&["--wrong"]))).await;
    assert!(matches!(refused, Err(SpawnError::WrongSettings(_))));
    let mut killed = within(remote.spawn(request(&[]))).await.unwrap();
    killed.commands.send(WorkerCommand::Signal(9)).await.unwrap();
    assert_eq!(end_of(&mut killed).await, Exit::Signal(9));
    workers.are(1).await;
    let during = metrics(agent.metrics).await;
    assert_eq!((during["sessions"], during["workers"]), (1.0, 1.0));
    assert_eq!(during["sessions_opened_total"], 1.0);
    assert_eq!(during["workers_started_total"], 2.0);
    assert_eq!(during["workers_ended_total{cause=\"signalled\"}"], 1.0);
    assert_eq!(during["workers_refused_total{reason=\"wrong_settings\"}"], 1.0);
    // Three SPAWN, one CHANNEL, one SIGNAL.
    assert_eq!(during["frames_received_total"], 5.0);
    assert!(during["sent_bytes_total"] > 0.0 && during["received_bytes_total"] > 0.0);

    link.commands.send(WorkerCommand::CloseInput).await.unwrap();
    assert_eq!(end_of(&mut link).await, Exit::Code(0));
    remote.close();
    within(remote.closed()).await;
    let intruder = controller(agent.address, "bad");
    assert!(matches!(within(intruder.spawn(request(&[]))).await, Err(SpawnError::Unauthorized(_))));
    // The session is over a moment after its controller has said so.
    let after = within(async {
        loop {
            let now = metrics(agent.metrics).await;
            if now["sessions"] == 0.0 && now["connections_refused_total{reason=\"token\"}"] == 1.0 {
                return now;
            }
        }
    })
    .await;
    assert_eq!(after["sessions_ended_total{cause=\"closed\"}"], 1.0);
    assert_eq!(after["workers_ended_total{cause=\"closed\"}"], 1.0);
    assert_eq!(after["workers"], 0.0);
}

/// Whoever is refused and leaves without waiting for the answer is counted once, by what it did.
#[tokio::test]
async fn a_refusal_is_counted_once() {
    let server = server(agent_options(), &FakeWorkers::new());
    let (near, far) = tokio::io::duplex(64 * 1024);
    let refused = async {
        let mut request = "ws://agent".into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
        headers.insert("Authorization", "Bearer good".parse().unwrap());
        let (mut socket, _) = client_async(request, far).await.unwrap();
        socket.send(Message::text(r#"{"type":"goodbye"}"#)).await.unwrap();
    };
    within(async { tokio::join!(server.serve(Box::new(near), [10, 0, 0, 1].into()), refused) })
        .await;
    let metrics = server.metrics().unwrap();
    let told = |reason: &str, count: u32| {
        metrics.contains(&format!("connections_refused_total{{reason=\"{reason}\"}} {count}\n"))
    };
    assert!(told("refused", 1) && told("lost", 0), "{metrics}");
}

#[tokio::test]
async fn health_and_readiness_are_told_apart() {
    let options = AgentOptions { grace: Duration::from_secs(600), ..agent_options() };
    let (workers, agent) = agent(options).await;
    assert_eq!(get(agent.metrics, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(agent.metrics, "/readyz").await, (200, "ready\n".to_owned()));
    let remote = controller(agent.address, "good");
    let mut link = within(remote.spawn(request(&["--stubborn"]))).await.unwrap();
    workers.are(1).await;
    drop(agent.stop);
    let closing = (503, "the agent is about to end\n".to_owned());
    within(async { while get(agent.metrics, "/readyz").await != closing {} }).await;
    assert_eq!(get(agent.metrics, "/healthz").await.0, 200);
    assert_eq!(metrics(agent.metrics).await["ready"], 0.0);
    link.commands.send(WorkerCommand::Signal(9)).await.unwrap();
    end_of(&mut link).await;
    // With the agent its watchers' address goes.
    within(async { while TcpStream::connect(agent.metrics).await.is_ok() {} }).await;
}

#[tokio::test]
async fn a_drain_is_told_until_it_is_cancelled() {
    let (_workers, agent) = agent(agent_options()).await;
    assert!(!metrics(agent.metrics).await.contains_key("drain_left_seconds"));
    let timeout = Some(Duration::from_secs(3600));
    let order = DrainOrder { timeout, exit: false, reason: "a test".to_owned() };
    agent.server.drain(order).unwrap();
    let draining = (503, "the agent is draining\n".to_owned());
    assert_eq!(get(agent.metrics, "/readyz").await, draining);
    assert_eq!(get(agent.metrics, "/healthz").await.0, 200);
    let now = metrics(agent.metrics).await;
    assert_eq!((now["draining"], now["ready"]), (1.0, 0.0));
    assert!((3000.0..=3600.0).contains(&now["drain_left_seconds"]), "{now:?}");
    let remote = controller(agent.address, "good");
    assert!(matches!(within(remote.spawn(request(&[]))).await, Err(SpawnError::Draining(_))));
    let now = metrics(agent.metrics).await;
    assert_eq!(now["workers_refused_total{reason=\"draining\"}"], 1.0);
    assert!(agent.server.cancel_drain());
    assert_eq!(get(agent.metrics, "/readyz").await.0, 200);
    within(remote.spawn(request(&[]))).await.unwrap();
}

#[tokio::test]
async fn certificates_that_cannot_be_used_make_it_unready() {
    let authority = Authority::new();
    let identity = authority.issue("localhost", Valid::Now);
    let files = ServerTlsFiles { identity: identity.clone(), client_ca: None };
    let tls = ServerTls::open(files, Duration::ZERO).unwrap();
    let (_workers, agent) = agent(AgentOptions { tls: Some(tls), ..agent_options() }).await;
    assert_eq!(get(agent.metrics, "/readyz").await.0, 200);
    let good = std::fs::read(&identity.cert).unwrap();
    std::fs::write(&identity.cert, "garbage").unwrap();
    let (status, why) = get(agent.metrics, "/readyz").await;
    assert_eq!(status, 503);
    assert!(why.starts_with("its certificates cannot be used: "), "{why}");
    assert_eq!(get(agent.metrics, "/healthz").await.0, 200);
    std::fs::write(&identity.cert, good).unwrap();
    assert_eq!(get(agent.metrics, "/readyz").await.0, 200);
}

#[tokio::test]
async fn others_get_a_short_answer() {
    let (_workers, agent) = agent(agent_options()).await;
    let status = |answer: &str| answer.split(' ').nth(1).map(str::to_owned);
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "404"),
        ("GET /metrics/../healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "404"),
        (
            "POST /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            "405",
        ),
        ("HEAD /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200"),
        ("GET /healthz?probe=1 HTTP/1.0\r\n\r\n", "200"),
        ("garbage\r\n\r\n", "400"),
    ] {
        let answer = raw(agent.metrics, request.as_bytes()).await;
        assert_eq!(status(&answer).as_deref(), Some(expected), "{request:?}: {answer:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(64 * 1024));
    assert_eq!(status(&raw(agent.metrics, long.as_bytes()).await).as_deref(), Some("431"));
    let many = "A: b\r\n".repeat(1000);
    let many = format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{many}\r\n");
    assert_eq!(status(&raw(agent.metrics, many.as_bytes()).await).as_deref(), Some("431"));
    // No WebSocket here, and no token tried.
    let upgrade = "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n";
    let answer = raw(agent.metrics, upgrade.as_bytes()).await;
    assert_eq!(status(&answer).as_deref(), Some("200"));
}

#[tokio::test]
async fn slow_ones_keep_nobody_out_for_ever() {
    let (_workers, agent) = agent(agent_options()).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(agent.metrics).await.unwrap();
        stream.write_all(b"GET /me").await.unwrap();
        idle.push(stream);
    }
    assert_eq!(get(agent.metrics, "/healthz").await.0, 200);
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_names_it() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let options = AgentOptions {
        listen: "127.0.0.1:0".to_owned(),
        metrics: Some(address.clone()),
        ..agent_options()
    };
    let error = Agent::bind(options, Arc::new(FakeWorkers::new())).await.err().unwrap();
    assert!(matches!(error, AgentError::Metrics { .. }), "{error}");
    let text = error.to_string();
    let expected =
        format!("cannot listen on {address} for those who read metrics: the port is in use");
    assert!(text.starts_with(&expected), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_tells_of_its_links() {
    let (_workers, memory, connection) = pair();
    assert_eq!(connection.details().agent, None);
    connection.start();
    connected(&connection).await;
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    let details = connection.details();
    let agent = details.agent.unwrap();
    assert_eq!(agent.version, env!("CARGO_PKG_VERSION"));
    assert_eq!((agent.protocol, agent.session.len()), (1, 8));
    assert_eq!(details.worker_versions, [support::VERSION]);
    let links = details.links.unwrap();
    assert_eq!((links.sessions, links.resumes, links.sessions_lost), (1, 0, 0));
    assert_eq!(links.traffic.frames_sent, 1);

    memory.wire.send_replace(Wire::Cut);
    let mut state = connection.state();
    within(state.wait_for(|state| *state == ConnectionState::Disconnected)).await.unwrap();
    link.commands.send(WorkerCommand::Message(message(b"later"))).await.unwrap();
    within(async {
        while connection.details().links.unwrap().queued_bytes == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    memory.wire.send_replace(Wire::Passes);
    next_message(&mut link).await;
    let links = connection.details().links.unwrap();
    assert_eq!((links.sessions, links.resumes, links.sessions_lost), (1, 1, 0));
    assert!(links.dial_failures > 0, "{links:?}");
    assert!(links.traffic.frames_sent >= 2, "{links:?}");
    assert!(links.round_trip.is_some(), "{links:?}");
    let session = connection.details().agent.unwrap().session;
    assert_eq!(session, agent.session, "it is the same session");
}
