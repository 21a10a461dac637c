//! What hostile or broken peers send to an agent's socket.

#![allow(clippy::unwrap_used)]

mod support;

use std::{net::SocketAddr, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use mediasoup_horizontal::{
    agent::{Agent, AgentError, AgentOptions},
    wire::{
        AgentReply, Body, Frame, Hello, ProtocolRange, RefusalCode, SUBPROTOCOL, SpawnSpec, encode,
    },
};
use support::{FakeWorkers, SCHEMA, VERSION, agent_options, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

type Socket = WebSocketStream<TcpStream>;

async fn agent() -> (FakeWorkers, SocketAddr) {
    let workers = FakeWorkers::new();
    let options = AgentOptions { listen: "127.0.0.1:0".to_owned(), ..agent_options() };
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

fn hello() -> Hello {
    Hello {
        protocol: ProtocolRange::OURS,
        mediasoup: VERSION.to_owned(),
        schema: SCHEMA.to_owned(),
        session: None,
        last_seen: None,
        boot_id: None,
        netns: None,
        controller: "test".to_owned(),
    }
}

async fn reply(socket: &mut Socket) -> AgentReply {
    match within(socket.next()).await {
        Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
        other => panic!("no text: {other:?}"),
    }
}

async fn welcomed(address: SocketAddr) -> Socket {
    let mut socket = open(address).await;
    let text = serde_json::to_string(&hello()).unwrap();
    socket.send(Message::text(text)).await.unwrap();
    let AgentReply::Welcome(welcome) = reply(&mut socket).await else { panic!("refused") };
    assert!(!welcome.resumed && !welcome.addresses.colocated);
    socket
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
        ("\u{16}\u{3}\u{1} TLS, perhaps\r\n\r\n".to_owned(), "400", "WebSocket"),
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
    drop(bystander);
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
    let open = AgentOptions { listen: "0.0.0.0:0".to_owned(), ..AgentOptions::default() };
    assert!(matches!(refused(open).await, AgentError::NoToken(_)));
    let clear = AgentOptions { listen: "0.0.0.0:0".to_owned(), ..agent_options() };
    assert!(matches!(refused(clear.clone()).await, AgentError::NoTls(_)));
    let insecure = AgentOptions { insecure: true, ..clear };
    let agent = Agent::bind(insecure, Arc::new(FakeWorkers::new())).await.unwrap();
    assert!(!agent.server().addresses().bind.is_empty());
    let nowhere = AgentOptions { listen: "127.0.0.1".to_owned(), ..agent_options() };
    assert!(matches!(refused(nowhere).await, AgentError::Listen { .. }));
}
