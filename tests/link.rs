//! One link in memory, seen from below: stalled writes, batches, a controller that hears garbage.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use mediasoup_horizontal::{
    connection::{
        BoxFuture, Connection, SpawnError,
        remote::{RemoteConnection, RemoteOptions, Status},
    },
    net::{Dial, DialError, Dialed, Exchange, LinkLost, LinkParts, Timing, Tokens, accept, open},
    wire::{AgentReply, Body, Frame, Frames, SUBPROTOCOL, Welcome, encode},
};
use support::{FakeWorkers, agent_options, hello, remote_options, request, server, within};
use tokio::{io::DuplexStream, sync::mpsc, time::Instant};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

/// A welcome as a real agent gives it.
async fn welcome() -> Welcome {
    let server = server(agent_options(), &FakeWorkers::new());
    let (near, far) = tokio::io::duplex(4096);
    tokio::spawn(async move {
        server.serve(Box::new(far), "127.0.0.1".parse().unwrap()).await;
    });
    let options = remote_options();
    let hello = hello();
    let opened = open(Box::new(near), &options.url, options.token.as_ref(), &hello);
    within(opened).await.unwrap().1
}

#[tokio::test(start_paused = true)]
async fn a_write_that_does_not_finish_loses_the_link() {
    let (near, far) = tokio::io::duplex(1024);
    let peer = tokio::spawn(async move {
        let mut link = accept(Box::new(far), &Tokens::default()).await.unwrap();
        link.receive_text().await.unwrap();
        let reply = AgentReply::Welcome(Box::new(welcome().await));
        link.send_text(serde_json::to_string(&reply).unwrap()).await.unwrap();
        // From here on it reads nothing.
        link
    });
    let url = remote_options().url;
    let (link, _) = within(open(Box::new(near), &url, None, &hello())).await.unwrap();
    let _peer = within(peer).await.unwrap();
    let (outbound, exchange) = Exchange::new();
    let LinkParts { reader, mut writer } = link.split(Timing::default(), &exchange);
    let large = Body::Channel(support::message(&vec![0; 100_000]));
    outbound.send(Frame::about(1, large)).await.unwrap();
    let began = Instant::now();
    assert_eq!(within(writer.lost()).await, LinkLost::WriteStalled(Duration::from_secs(10)));
    assert!(began.elapsed() <= Duration::from_secs(11));
    writer.stop().await;
    assert!(exchange.unacknowledged_bytes() >= 100_000, "kept for the next link");
    drop((reader, exchange));
    let dead = outbound.send(Frame::about(1, Body::CloseInput)).await;
    assert!(dead.is_err(), "nobody writes any more");
}

/// An agent that a test plays by hand.
struct ByHand(mpsc::UnboundedSender<DuplexStream>);

impl Dial for ByHand {
    fn dial(&self) -> BoxFuture<'_, Result<Dialed, DialError>> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        self.0.send(far).unwrap();
        Box::pin(async move { Ok(Dialed { transport: Box::new(near), peer: None }) })
    }
}

#[expect(clippy::result_large_err, clippy::unnecessary_wraps, reason = "the library's signature")]
fn take_subprotocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
    Ok(response)
}

async fn taken(
    streams: &mut mpsc::UnboundedReceiver<DuplexStream>,
) -> WebSocketStream<DuplexStream> {
    let stream = within(streams.recv()).await.unwrap();
    let mut socket = accept_hdr_async(stream, take_subprotocol).await.unwrap();
    assert!(matches!(within(socket.next()).await, Some(Ok(Message::Text(_)))), "a hello");
    socket
}

fn by_hand() -> (mpsc::UnboundedReceiver<DuplexStream>, RemoteConnection) {
    let (sender, streams) = mpsc::unbounded_channel();
    let connection =
        RemoteConnection::with_dialer(remote_options(), std::sync::Arc::new(ByHand(sender)));
    connection.start();
    (streams, connection)
}

#[tokio::test(start_paused = true)]
async fn a_controller_ends_a_link_that_brings_garbage() {
    let (mut streams, _connection) = by_hand();
    for garbage in [&[0xff_u8; 100][..], &[4, 1, 0, 0, 0, 255, 255, 255, 255]] {
        let mut socket = taken(&mut streams).await;
        let reply = AgentReply::Welcome(Box::new(welcome().await));
        socket.send(Message::text(serde_json::to_string(&reply).unwrap())).await.unwrap();
        socket.send(Message::Binary(garbage.to_vec().into())).await.unwrap();
        loop {
            if let Message::Close(frame) = within(socket.next()).await.unwrap().unwrap() {
                assert_eq!(u16::from(frame.unwrap().code), 1002);
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_none_stops_the_attempts() {
    let (mut streams, connection) = by_hand();
    let mut socket = taken(&mut streams).await;
    socket.send(Message::text("{\"type\":\"hi\"}")).await.unwrap();
    let mut status = connection.status();
    let refused = |status: &Status| matches!(status, Status::Refused(DialError::Incompatible(_)));
    within(status.wait_for(refused)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_answers_costs_no_more_than_the_deadline() {
    let (mut streams, connection) = by_hand();
    let began = Instant::now();
    let spawn = connection.spawn(request(&[]));
    let (error, mut socket) = tokio::join!(spawn, taken(&mut streams));
    assert!(matches!(error, Err(SpawnError::Unreachable(_))));
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert!(!matches!(within(socket.next()).await, Some(Ok(_))));

    // Let in, but no worker ever comes; the agent pings so that it is not silent.
    let (mut streams, connection) = by_hand();
    let mut socket = taken(&mut streams).await;
    let reply = AgentReply::Welcome(Box::new(welcome().await));
    socket.send(Message::text(serde_json::to_string(&reply).unwrap())).await.unwrap();
    let seen = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            let Message::Binary(bytes) = message else { continue };
            let bodies: Vec<_> = Frames::new(bytes).map(|frame| frame.unwrap().body).collect();
            if bodies.iter().any(|body| matches!(body, Body::Ping(_))) {
                let mut ping = bytes::BytesMut::new();
                encode(&Frame::link(Body::Ping(1)), &mut ping);
                let _ = socket.send(Message::Binary(ping.freeze())).await;
            }
            seen.extend(bodies);
        }
        seen
    });
    let Err(SpawnError::Unreachable(text)) = within(connection.spawn(request(&[]))).await else {
        panic!("nobody answered");
    };
    assert_eq!(text, "agent ws://memory:4480 did not start a worker within 10s");
    drop(connection);
    let seen = within(seen).await.unwrap();
    assert!(seen.iter().any(|body| matches!(body, Body::Spawn(_))));
    assert!(seen.contains(&Body::Pong(1)) && seen.contains(&Body::Ping(9)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_acknowledges_nothing_ends_the_session() {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let peer = tokio::spawn(async move {
        let mut socket = accept_hdr_async(far, take_subprotocol).await.unwrap();
        within(socket.next()).await.unwrap().unwrap();
        let reply = AgentReply::Welcome(Box::new(welcome().await));
        socket.send(Message::text(serde_json::to_string(&reply).unwrap())).await.unwrap();
        // It reads everything and is not silent.
        while let Some(Ok(message)) = socket.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Close(frame) => return frame,
                _ => continue,
            };
            let pinged = |frame| matches!(frame, Ok(Frame { body: Body::Ping(_), .. }));
            if !Frames::new(bytes).any(pinged) {
                continue;
            }
            let mut ping = bytes::BytesMut::new();
            encode(&Frame::link(Body::Ping(1)), &mut ping);
            socket.send(Message::Binary(ping.freeze())).await.unwrap();
        }
        None
    });
    let url = remote_options().url;
    let (link, _) = within(open(Box::new(near), &url, None, &hello())).await.unwrap();
    let (outbound, exchange) = Exchange::with_limit(1_000);
    let LinkParts { mut reader, mut writer } = link.split(Timing::default(), &exchange);
    let reading = tokio::spawn(async move { reader.next().await });
    for _ in 0..2 {
        let large = Body::Channel(support::message(&[0; 5_000]));
        outbound.send(Frame::about(1, large)).await.unwrap();
    }
    let began = Instant::now();
    let lost = within(writer.lost()).await;
    let LinkLost::Unacknowledged { time, bytes } = lost else { panic!("{lost:?}") };
    assert_eq!(time, Duration::from_secs(10));
    assert!((5_000..10_000).contains(&bytes), "the second one waits: {bytes}");
    assert!((10..=12).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(lost.ends_session() && lost.goodbye().is_some());
    // The other direction was fine, and ends with the peer's answer to that.
    let told = within(peer).await.unwrap().expect("the peer is told");
    assert_eq!(u16::from(told.code), 1002);
    assert!(told.reason.contains("acknowledged nothing for 10s"), "{}", told.reason);
    let end = within(reading).await.unwrap();
    assert!(matches!(end, Err(LinkLost::Closed { code: 1002, .. } | LinkLost::Ended)), "{end:?}");
}

#[test]
fn options_hide_the_token() {
    let options: RemoteOptions = remote_options();
    assert!(!format!("{options:?}").contains("good"));
}
