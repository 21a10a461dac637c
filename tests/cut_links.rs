//! An agent and a controller on loopback, with a proxy in between that cuts, resets, swallows and
//! refuses.

#![allow(clippy::unwrap_used)]

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mediasoup_horizontal::{
    agent::{Agent, AgentOptions},
    connection::{
        Connection, ConnectionState, Exit, WorkerCommand, WorkerEvent,
        remote::{RemoteConnection, RemoteOptions},
    },
    net::{Backoff, Timing, Token},
};
use support::{FakeWorkers, SCHEMA, VERSION, agent_options, end_of, message, request, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

/// What the proxy does with links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Passes,
    /// Ends those that are open with a reset, and takes new ones.
    Resets(u64),
    /// Reads everything and passes nothing on.
    Swallows,
}

/// A TCP proxy in front of an agent.
struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn new(agent: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = watch::Sender::new(Mode::Passes);
        let seen = mode.clone();
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                tokio::spawn(relay(near, agent, seen.subscribe()));
            }
        });
        Self { address, mode, task }
    }

    /// Refuses from here on.
    async fn end(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.mode.send_replace(Mode::Resets(u64::MAX));
    }
}

async fn relay(mut near: TcpStream, agent: SocketAddr, mut mode: watch::Receiver<Mode>) {
    let mut far = TcpStream::connect(agent).await.unwrap();
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
    }
    let began = *mode.borrow_and_update();
    if began != Mode::Swallows {
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => return,
            changed = mode.changed() => changed.unwrap(),
        }
    }
    if *mode.borrow() == Mode::Swallows {
        let (mut one, mut other) = (vec![0; 65536], vec![0; 65536]);
        loop {
            tokio::select! {
                read = near.read(&mut one) => if !matches!(read, Ok(1..)) { break },
                read = far.read(&mut other) => if !matches!(read, Ok(1..)) { break },
                changed = mode.changed() => if changed.is_err() || *mode.borrow() != Mode::Swallows {
                    break;
                },
            }
        }
    }
    for stream in [&near, &far] {
        stream.set_zero_linger().unwrap();
    }
}

async fn agent(options: AgentOptions) -> (FakeWorkers, SocketAddr) {
    let workers = FakeWorkers::new();
    let options = AgentOptions { listen: "127.0.0.1:0".to_owned(), ..options };
    let agent = Agent::bind(options, Arc::new(workers.clone())).await.unwrap();
    let address = agent.address();
    tokio::spawn(agent.run(std::future::pending()));
    (workers, address)
}

fn remote(address: SocketAddr) -> RemoteOptions {
    RemoteOptions {
        token: Some(Token::new("good").unwrap()),
        version: VERSION.to_owned(),
        fingerprint: SCHEMA.to_owned(),
        backoff: Backoff::new(|_| Duration::from_millis(20)),
        ..RemoteOptions::new(&format!("ws://{address}")).unwrap()
    }
}

async fn is(connection: &RemoteConnection, wanted: ConnectionState) {
    let mut state = connection.state();
    within(state.wait_for(|state| *state == wanted)).await.unwrap();
}

#[tokio::test]
async fn resets_lose_nothing() {
    let (workers, address) = agent(agent_options()).await;
    let proxy = Proxy::new(address).await;
    let connection = RemoteConnection::new(remote(proxy.address)).unwrap();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    let commands = link.commands.clone();
    let total = 3_000_u64;
    tokio::spawn(async move {
        for number in 0..total {
            let mut text = number.to_le_bytes().to_vec();
            text.resize(1_000 + usize::try_from(number).unwrap() % 5_000, 7);
            commands.send(WorkerCommand::Message(message(&text))).await.unwrap();
            if number % 20 == 0 {
                sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let mode = proxy.mode.clone();
    let resetting = tokio::spawn(async move {
        for count in 0.. {
            sleep(Duration::from_millis(100)).await;
            mode.send_replace(Mode::Resets(count));
        }
    });
    let mut downs = 0;
    for expected in 0..total {
        let number = loop {
            match within(link.events.recv()).await.unwrap() {
                WorkerEvent::Message(bytes) => {
                    break u64::from_le_bytes(bytes[4..12].try_into().unwrap());
                }
                WorkerEvent::LinkDown => downs += 1,
                WorkerEvent::Exited(exit) => panic!("{exit:?} after {downs} cuts"),
                _ => {}
            }
        };
        assert_eq!(number, expected, "after {downs} cuts");
    }
    assert!(downs > 3, "{downs} cuts only");
    resetting.abort();
    workers.are(1).await;
}

#[tokio::test]
async fn a_black_hole_is_told_and_survived() {
    let timing = Timing {
        heartbeat: Duration::from_millis(100),
        silence: Duration::from_millis(500),
        ..Timing::default()
    };
    let (workers, address) = agent(AgentOptions { timing, ..agent_options() }).await;
    let proxy = Proxy::new(address).await;
    let silent_window = Duration::from_millis(300);
    let options = RemoteOptions { timing, silent_window, ..remote(proxy.address) };
    let connection = RemoteConnection::new(options).unwrap();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    // Half-open: each end believes in the link until it has heard nothing for too long.
    proxy.mode.send_replace(Mode::Swallows);
    link.commands.send(WorkerCommand::Message(message(b"into the hole"))).await.unwrap();
    is(&connection, ConnectionState::Disconnected).await;
    proxy.mode.send_replace(Mode::Passes);
    is(&connection, ConnectionState::Connected).await;
    assert_eq!(support::next_message(&mut link).await, message(b"into the hole"));
    workers.are(1).await;
}

#[tokio::test]
async fn a_refusal_by_a_proxy_proves_nothing() {
    let (workers, address) = agent(agent_options()).await;
    let mut proxy = Proxy::new(address).await;
    let session_timeout = Some(Duration::from_millis(700));
    let options = RemoteOptions { session_timeout, ..remote(proxy.address) };
    let connection = RemoteConnection::new(options).unwrap();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    proxy.end().await;
    let Exit::Lost(why) = end_of(&mut link).await else { panic!("nobody saw it end") };
    assert!(why.ends_with("and it did not come back within 700ms (session timeout)"), "{why}");
    workers.are(1).await;
}

#[tokio::test]
async fn an_end_in_the_middle_of_a_frame_is_only_a_cut() {
    // Where the goodbye is what is cut, the worker ends by that.
    let session_timeout = Some(Duration::from_secs(5));
    let (workers, address) = agent(AgentOptions { session_timeout, ..agent_options() }).await;
    // The first link passes so many bytes of the controller and no more, at every length that a
    // handshake and a little talk have.
    for limit in (600..1_800).step_by(97) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxied = listener.local_addr().unwrap();
        let proxy = tokio::spawn(async move {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect(address).await.unwrap();
            for stream in [&near, &far] {
                stream.set_nodelay(true).unwrap();
            }
            let (near_reader, mut near_writer) = near.into_split();
            let (mut far_reader, mut far_writer) = far.into_split();
            let mut first = near_reader.take(limit);
            tokio::select! {
                _ = tokio::io::copy(&mut first, &mut far_writer) => {}
                _ = tokio::io::copy(&mut far_reader, &mut near_writer) => {}
            }
            let _ = far_writer.shutdown().await;
            drop((first, near_writer, far_reader, far_writer));
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(address).await.unwrap();
                    for stream in [&near, &far] {
                        stream.set_nodelay(true).unwrap();
                    }
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        let connection = RemoteConnection::new(remote(proxied)).unwrap();
        let mut link = within(connection.spawn(request(&[]))).await.unwrap();
        for number in 0..20_u64 {
            let text = message(&number.to_le_bytes());
            link.commands.send(WorkerCommand::Message(text.clone())).await.unwrap();
            assert_eq!(support::next_message(&mut link).await, text, "cut after {limit} bytes");
        }
        connection.close();
        within(connection.closed()).await;
        workers.are(0).await;
        proxy.abort();
    }
}
