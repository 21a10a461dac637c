//! What hostile or broken peers send to an agent's socket.

#![allow(clippy::unwrap_used)]

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use certificates::{Authority, Valid};
use futures_util::{SinkExt, StreamExt};
use mediasoup_horizontal::{
    agent::{Agent, AgentError, AgentOptions, Missing},
    net::{ServerTls, ServerTlsFiles, TokenFile},
    wire::{
        AgentReply, Body, Frame, Frames, Hello, ProtocolRange, RefusalCode, SUBPROTOCOL, SpawnSpec,
        Welcome, encode,
    },
};
use support::{FakeWorkers, SCHEMA, VERSION, agent_options, hello, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message, client::IntoClientRequest, protocol::CloseFrame,
        protocol::frame::coding::CloseCode,
    },
};

type Socket = WebSocketStream<TcpStream>;

async fn agent() -> (FakeWorkers, SocketAddr) {
    agent_with(agent_options()).await
}

async fn agent_with(options: AgentOptions) -> (FakeWorkers, SocketAddr) {
    let workers = FakeWorkers::new();
    let options = AgentOptions { listen: "127.0.0.1:0".to_owned(), ..options };
    let agent = Agent::bind(options, Arc::new(workers.clone())).await.unwrap();
    let address = agent.address();
    tokio::spawn(agent.run(std::future::pending()));
    (workers, address)
}

/// What the agent answers to these bytes, until it closes the connection.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn open(address: SocketAddr) -> Socket {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("ws://{address}").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
    headers.insert("Authorization", "Bearer good".parse().unwrap());
    within(client_async(request, stream)).await.unwrap().0
}

async fn reply(socket: &mut Socket) -> AgentReply {
    match within(socket.next()).await {
        Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
        other => panic!("no text: {other:?}"),
    }
}

async fn asked(address: SocketAddr, hello: &Hello) -> (Socket, AgentReply) {
    let mut socket = open(address).await;
    let text = serde_json::to_string(hello).unwrap();
    socket.send(Message::text(text)).await.unwrap();
    let reply = reply(&mut socket).await;
    (socket, reply)
}

async fn welcomed(address: SocketAddr) -> Socket {
    let (socket, welcome) = welcome(address, &hello()).await;
    assert!(!welcome.resumed && !welcome.addresses.colocated);
    assert_eq!(welcome.listen, [address]);
    socket
}

async fn welcome(address: SocketAddr, hello: &Hello) -> (Socket, Welcome) {
    let (socket, reply) = asked(address, hello).await;
    let AgentReply::Welcome(welcome) = reply else { panic!("refused: {reply:?}") };
    (socket, *welcome)
}

fn back(session: &str, last_seen: Option<u64>) -> Hello {
    Hello { session: Some(session.to_owned()), last_seen, ..hello() }
}

/// The text with which the agent closes a link on a protocol error.
async fn complaint(socket: &mut Socket) -> String {
    loop {
        match within(socket.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!(frame.code, CloseCode::Protocol, "{}", frame.reason);
                return frame.reason.to_string();
            }
            Some(Ok(_)) => {}
            other => panic!("closed without a word: {other:?}"),
        }
    }
}

fn frames(frames: &[Frame]) -> Message {
    let mut message = BytesMut::new();
    for frame in frames {
        encode(frame, &mut message);
    }
    Message::Binary(message.freeze())
}

fn spawn(handle: u32) -> Frame {
    Frame::about(
        handle,
        Body::Spawn(SpawnSpec {
            version: VERSION.to_owned(),
            schema: SCHEMA.to_owned(),
            args: Vec::new(),
            dtls_certificate: None,
            dtls_private_key: None,
        }),
    )
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

#[tokio::test]
async fn refuses_by_http_and_says_why() {
    let (_, address) = agent().await;
    let token = "Authorization: Bearer good\r\n";
    let protocol = format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n");
    let cases = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "426", "this is an agent"),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "405", "only GET"),
        ("\u{16}\u{3}\u{1} TLS, perhaps\r\n\r\n".to_owned(), "400", "this agent has no TLS"),
        (format!("{UPGRADE}{protocol}\r\n"), "401", "a token is needed"),
        (format!("{UPGRADE}{protocol}Authorization: Bearer bad\r\n\r\n"), "401", "not one of"),
        (format!("{UPGRADE}{protocol}Authorization: Basic good\r\n\r\n"), "401", "is needed"),
        (format!("{UPGRADE}{token}\r\n"), "400", SUBPROTOCOL),
        (format!("{UPGRADE}{token}Sec-WebSocket-Protocol: other\r\n\r\n"), "400", SUBPROTOCOL),
        (format!("{UPGRADE}{token}{protocol}Origin: http://evil\r\n\r\n"), "403", "web pages"),
        (format!("{UPGRADE}{token}{protocol}\r\nearly"), "400", "too early"),
        (format!("GET / HTTP/1.1\r\nLong: {}", "a".repeat(40_000)), "431", "too long"),
    ];
    for (request, status, text) in cases {
        let answer = answer(address, request.as_bytes()).await;
        // A reset can overtake the answer to a request that was not read to its end.
        if request.len() > 30_000 && answer.is_empty() {
            continue;
        }
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {answer}");
        assert!(answer.contains(text), "{request:?}: {answer}");
    }
    welcomed(address).await;
}

#[tokio::test]
async fn refuses_hellos_that_do_not_fit() {
    let (_, address) = agent().await;
    let future = Hello { protocol: ProtocolRange { min: 7, max: 9 }, ..hello() };
    let cases = [
        ("not json".to_owned(), RefusalCode::Hello, "not a hello"),
        (r#"{"type":"hello"}"#.to_owned(), RefusalCode::Hello, "missing field"),
        (
            serde_json::to_string(&future).unwrap(),
            RefusalCode::Protocol,
            "this agent speaks protocol 1 to 1, the controller 7 to 9",
        ),
    ];
    for (text, code, words) in cases {
        let mut socket = open(address).await;
        socket.send(Message::text(text)).await.unwrap();
        let AgentReply::Refused(refusal) = reply(&mut socket).await else { panic!("let in") };
        assert_eq!(refusal.code, code);
        assert!(refusal.message.contains(words), "{}", refusal.message);
    }
}

#[tokio::test]
async fn ends_the_session_of_whoever_breaks_the_protocol() {
    let (workers, address) = agent().await;
    let mut bystander = welcomed(address).await;
    bystander.send(frames(&[spawn(1)])).await.unwrap();
    workers.are(1).await;
    let oversized = {
        let mut bytes = BytesMut::new();
        bytes.put_u8(4);
        bytes.put_u32_le(1);
        bytes.put_u32_le(9 * 1024 * 1024);
        Message::Binary(bytes.freeze())
    };
    let cases = [
        (Message::Binary(Bytes::from_static(&[255; 40])), "unknown kind 255"),
        (Message::Binary(Bytes::new()), "without any frame"),
        (Message::text("hello again"), "a text after the handshake"),
        (oversized, "the limit is 8388608"),
        (frames(&[spawn(5), spawn(5)]), "handle 5, which is in use"),
        (frames(&[Frame::link(Body::Ack(10))]), "acknowledgement of 10 frames"),
        (frames(&[Frame::about(1, Body::Stdout(Bytes::new()))]), "only agents send"),
    ];
    for (message, words) in cases {
        let mut socket = welcomed(address).await;
        socket.send(frames(&[spawn(1)])).await.unwrap();
        socket.send(message).await.unwrap();
        let complaint = complaint(&mut socket).await;
        assert!(complaint.contains(words), "{complaint}");
        drop(socket);
        workers.are(1).await;
    }
    let done = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    bystander.close(Some(done)).await.unwrap();
    workers.are(0).await;
}

#[tokio::test]
async fn survives_garbage_below_the_websocket() {
    let (workers, address) = agent().await;
    for garbage in [vec![0xff; 4096], vec![0; 4096], b"GET ".to_vec()] {
        let mut socket = welcomed(address).await;
        socket.send(frames(&[spawn(1)])).await.unwrap();
        workers.are(1).await;
        let stream = socket.get_mut();
        let _ = stream.write_all(&garbage).await;
        let _ = stream.shutdown().await;
        workers.are(0).await;
    }
    // Too large for one message: the agent must not even try to hold it.
    let mut socket = welcomed(address).await;
    let huge = Message::Binary(Bytes::from(vec![0; 17 * 1024 * 1024]));
    let _ = within(socket.send(huge)).await;
    while let Some(Ok(_)) = within(socket.next()).await {}
    welcomed(address).await;
}

#[tokio::test]
async fn ignores_frames_about_workers_that_are_gone() {
    let (workers, address) = agent().await;
    let mut socket = welcomed(address).await;
    socket.send(frames(&[spawn(1), Frame::about(1, Body::CloseInput)])).await.unwrap();
    let late = frames(&[Frame::about(1, Body::Signal(9)), Frame::about(77, Body::CloseInput)]);
    socket.send(late).await.unwrap();
    workers.are(0).await;
    socket.send(frames(&[spawn(2)])).await.unwrap();
    workers.are(1).await;
}

/// The data frames that the agent sends, until there are so many.
async fn data(socket: &mut Socket, count: usize) -> Vec<Body> {
    let mut found = Vec::new();
    while found.len() < count {
        if let Some(Ok(Message::Binary(bytes))) = within(socket.next()).await {
            let frames = Frames::new(bytes).map(|frame| frame.unwrap());
            found.extend(frames.filter(|frame| frame.kind().is_data()).map(|frame| frame.body));
        }
    }
    found
}

fn say(text: &[u8]) -> Frame {
    Frame::about(1, Body::Channel(support::message(text)))
}

fn echoes(texts: &[&'static [u8]]) -> Vec<Body> {
    let echo = |text: &&'static [u8]| {
        [Body::Stdout(Bytes::from_static(text)), Body::Channel(support::message(text))]
    };
    texts.iter().flat_map(echo).collect()
}

#[tokio::test]
async fn a_session_goes_on_over_another_connection() {
    let (workers, address) = agent().await;
    let (mut socket, first) = welcome(address, &hello()).await;
    assert_eq!((first.session.len(), first.last_seen), (32, None));
    assert_eq!(first.session_timeout_ms, Some(30_000));
    socket.send(frames(&[spawn(1), say(b"one")])).await.unwrap();
    assert_eq!(data(&mut socket, 3).await[1..], echoes(&[b"one"]));
    drop(socket);

    // SPAWNED and the first text count as seen, the echo is said again.
    let (mut socket, second) = welcome(address, &back(&first.session, Some(2))).await;
    assert!(second.resumed);
    assert_eq!(second.last_seen, Some(2));
    assert_eq!((&second.session, &second.instance_id), (&first.session, &first.instance_id));
    socket.send(frames(&[say(b"two")])).await.unwrap();
    assert_eq!(data(&mut socket, 3).await, [&echoes(&[b"one"])[1..], &echoes(&[b"two"])].concat());

    // An older link that is still there ends.
    let (mut socket_3, third) = welcome(address, &back(&first.session, Some(5))).await;
    assert_eq!((third.resumed, third.last_seen), (true, Some(3)));
    while let Some(Ok(_)) = within(socket.next()).await {}
    socket_3.send(frames(&[say(b"three")])).await.unwrap();
    assert_eq!(data(&mut socket_3, 2).await, echoes(&[b"three"]));
    workers.are(1).await;
}

#[tokio::test]
async fn forged_sessions_and_replayed_hellos_get_nothing() {
    let (workers, address) = agent().await;
    let (mut socket, first) = welcome(address, &hello()).await;
    socket.send(frames(&[spawn(1), say(b"one"), Frame::link(Body::Ack(0))])).await.unwrap();
    assert_eq!(data(&mut socket, 3).await.len(), 3);
    socket.send(frames(&[Frame::link(Body::Ack(3)), say(b"two")])).await.unwrap();
    assert_eq!(data(&mut socket, 2).await, echoes(&[b"two"]));
    for forged in ["", "00000000000000000000000000000000", &first.instance_id, &first.session[1..]]
    {
        let (_, other) = welcome(address, &back(forged, Some(3))).await;
        assert!(!other.resumed && other.session != first.session);
    }
    // An old hello of this session, or one that cannot be: the link that is there goes on.
    for impossible in [2, 6, u64::MAX] {
        let (_, reply) = asked(address, &back(&first.session, Some(impossible))).await;
        let AgentReply::Refused(refusal) = reply else { panic!("let in") };
        assert_eq!(refusal.code, RefusalCode::Hello);
        assert!(refusal.message.contains("possible are 3 to 5"), "{}", refusal.message);
        assert!(!refusal.message.contains(&first.session));
    }
    socket.send(frames(&[say(b"three")])).await.unwrap();
    assert_eq!(data(&mut socket, 2).await, echoes(&[b"three"]));
    workers.are(1).await;
}

#[tokio::test]
async fn a_session_that_nobody_wants_any_more_is_freed() {
    let (workers, address) = agent_with(AgentOptions { max_sessions: 1, ..agent_options() }).await;
    let (mut socket, first) = welcome(address, &hello()).await;
    socket.send(frames(&[spawn(1)])).await.unwrap();
    workers.are(1).await;
    drop(socket);
    // Sessions without a link count.
    let (_, reply) = asked(address, &hello()).await;
    let AgentReply::Refused(refusal) = reply else { panic!("let in") };
    assert_eq!(refusal.code, RefusalCode::Busy);
    let (_socket, second) = welcome(address, &back(&first.session, None)).await;
    assert!(!second.resumed);
    workers.are(0).await;
}

#[tokio::test]
async fn a_session_that_was_never_used_takes_no_place_without_a_link() {
    let (_, address) = agent_with(AgentOptions { max_sessions: 1, ..agent_options() }).await;
    let admitted = async {
        // Each may still be there when the next one comes.
        for _ in 0..5 {
            while let (_, AgentReply::Refused(_)) = asked(address, &hello()).await {}
        }
    };
    within(admitted).await;
}

#[tokio::test]
async fn a_controller_that_does_not_come_back_is_freed() {
    let timeout = Some(Duration::from_millis(300));
    let (workers, address) =
        agent_with(AgentOptions { session_timeout: timeout, ..agent_options() }).await;
    let (mut socket, first) = welcome(address, &hello()).await;
    assert_eq!(first.session_timeout_ms, Some(300));
    socket.send(frames(&[spawn(1)])).await.unwrap();
    workers.are(1).await;
    // Reset, not closed.
    socket.get_ref().set_zero_linger().unwrap();
    drop(socket);
    workers.are(0).await;
    let (_, second) = welcome(address, &back(&first.session, Some(0))).await;
    assert!(!second.resumed, "unknown by now");
}

async fn refused(options: AgentOptions) -> AgentError {
    Agent::bind(options, Arc::new(FakeWorkers::new())).await.err().unwrap()
}

#[tokio::test]
async fn does_not_listen_where_it_should_not() {
    let (_, address) = agent().await;
    let taken = AgentOptions { listen: address.to_string(), ..agent_options() };
    let error = refused(taken).await;
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {address}: the port is in use by another process")
    );
    let nowhere = AgentOptions { listen: "127.0.0.1".to_owned(), ..agent_options() };
    assert!(matches!(refused(nowhere).await, AgentError::Listen { .. }));
}

#[tokio::test]
async fn listens_off_loopback_only_where_that_is_safe() {
    let authority = Authority::new();
    let tls = |client_ca| {
        let identity = authority.issue("media", Valid::Now);
        let files = ServerTlsFiles { identity, client_ca };
        Some(ServerTls::open(files, Duration::ZERO).unwrap())
    };
    let file = authority.folder().join("tokens");
    std::fs::write(&file, "good\n").unwrap();
    let token_file = Some(TokenFile::open(file, Duration::ZERO).unwrap());
    let open = AgentOptions { listen: "0.0.0.0:0".to_owned(), ..AgentOptions::default() };
    let tokens = AgentOptions { listen: "0.0.0.0:0".to_owned(), ..agent_options() };
    let (token, clear) = (Missing::Token, Missing::Tls);
    for (options, lacking) in [
        (open.clone(), vec![token, clear]),
        (AgentOptions { insecure: true, ..open.clone() }, vec![token]),
        (AgentOptions { tls: tls(None), ..open.clone() }, vec![token]),
        (tokens.clone(), vec![clear]),
        (AgentOptions { token_file: token_file.clone(), ..open.clone() }, vec![clear]),
    ] {
        let error = refused(options).await;
        let text = error.to_string();
        let AgentError::Exposed { missing, .. } = error else { panic!("{error}") };
        assert_eq!(missing, lacking);
        assert_eq!(text.contains("add --token-file FILE"), lacking.contains(&token), "{text}");
        let words = "add --tls-cert FILE --tls-key FILE, or --insecure";
        assert_eq!(text.contains(words), lacking.contains(&clear), "{text}");
    }
    for options in [
        AgentOptions { insecure: true, ..tokens.clone() },
        AgentOptions { tls: tls(None), ..tokens },
        AgentOptions { tls: tls(None), token_file, ..open.clone() },
        AgentOptions { tls: tls(Some(authority.ca())), ..open },
    ] {
        let agent = Agent::bind(options, Arc::new(FakeWorkers::new())).await.unwrap();
        assert!(!agent.server().addresses().bind.is_empty());
    }
}
