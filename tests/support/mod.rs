//! An agent in memory: workers that are tasks, links that can be cut and frozen.

#![allow(dead_code, clippy::unwrap_used, reason = "not every test uses all of it")]

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use mediasoup_horizontal::{
    addresses::HostAddresses,
    agent::{AgentOptions, Identity, Offer, Server, WorkerSource},
    connection::{
        BoxFuture, DtlsFiles, Exit, LINK_LIMIT, SpawnError, SpawnRequest, WorkerCommand,
        WorkerEvent, WorkerLink,
        remote::{RemoteConnection, RemoteOptions, Status},
    },
    net::{Backoff, Dial, DialError, Dialed, Token, Tokens},
    queue,
    wire::{Hello, ProtocolRange},
};
use parking_lot::Mutex;
use tokio::{io::copy_bidirectional, sync::watch, time::timeout};

pub const VERSION: &str = "3.27.1";
pub const SCHEMA: &str = "0123456789abcdef";

/// No wait in a test is longer than this.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.expect("took longer than a test may")
}

/// The hello of a controller that wants a new session.
pub fn hello() -> Hello {
    Hello {
        protocol: ProtocolRange::OURS,
        mediasoup: VERSION.to_owned(),
        schema: SCHEMA.to_owned(),
        session: None,
        last_seen: None,
        boot_id: None,
        netns: None,
        controller: "by hand".to_owned(),
    }
}

pub fn message(content: &[u8]) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u32_le(u32::try_from(content.len()).unwrap());
    message.put_slice(content);
    message.freeze()
}

pub fn request(args: &[&str]) -> SpawnRequest {
    SpawnRequest {
        version: VERSION.to_owned(),
        fingerprint: SCHEMA.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        dtls: DtlsFiles::default(),
        worker_bin: None,
    }
}

/// Workers that are tasks: they echo messages and end as real ones do. `--flood=N` makes one that
/// sends N messages of 1 MiB, `--deaf` one that never reads, `--stubborn` one that only a signal
/// ends.
#[derive(Clone)]
pub struct FakeWorkers {
    pub running: watch::Sender<usize>,
    /// The addresses that the last one was started with.
    pub addresses: watch::Sender<Option<HostAddresses>>,
}

impl FakeWorkers {
    pub fn new() -> Self {
        Self { running: watch::Sender::new(0), addresses: watch::Sender::new(None) }
    }

    /// Waits until so many workers run.
    pub async fn are(&self, count: usize) {
        let mut running = self.running.subscribe();
        within(running.wait_for(|running| *running == count)).await.unwrap();
    }
}

impl WorkerSource for FakeWorkers {
    fn offers(&self) -> Vec<Offer> {
        vec![Offer {
            version: VERSION.to_owned(),
            schema: SCHEMA.to_owned(),
            path: PathBuf::from("/fake"),
        }]
    }

    fn start(
        &self,
        request: &SpawnRequest,
        addresses: HostAddresses,
        guard: Box<dyn Send>,
    ) -> Result<WorkerLink, SpawnError> {
        if request.args.iter().any(|arg| arg == "--wrong") {
            return Err(SpawnError::WrongSettings("--wrong".to_owned()));
        }
        assert!(request.args.iter().all(|arg| arg != "--panic"), "a bug in one session");
        let (commands, commanded) = queue::bounded(LINK_LIMIT);
        let (sender, events) = queue::bounded(LINK_LIMIT);
        self.addresses.send_replace(Some(addresses.clone()));
        let running = self.running.clone();
        running.send_modify(|running| *running += 1);
        let args = request.args.clone();
        tokio::spawn(async move {
            act(commanded, sender, &args).await;
            drop(guard);
            running.send_modify(|running| *running -= 1);
        });
        Ok(WorkerLink { pid: 4711, addresses, commands, events })
    }
}

async fn act(
    mut commands: queue::Receiver<WorkerCommand>,
    events: queue::Sender<WorkerEvent>,
    args: &[String],
) {
    if args.iter().any(|arg| arg == "--deaf") {
        events.closed().await;
        return;
    }
    let flood = args.iter().find_map(|arg| arg.strip_prefix("--flood="));
    for _ in 0..flood.map_or(0, |count| count.parse().unwrap()) {
        let large = BytesMut::from(message(&vec![7; 1024 * 1024]));
        if events.send(WorkerEvent::Message(large)).await.is_err() {
            return;
        }
    }
    let stubborn = args.iter().any(|arg| arg == "--stubborn");
    let exit = loop {
        tokio::select! {
            () = events.closed() => return,
            command = commands.recv() => match command {
                Some(WorkerCommand::Message(bytes)) => {
                    let _ = events.send(WorkerEvent::Stdout(bytes.slice(4..))).await;
                    let _ = events.send(WorkerEvent::Message(BytesMut::from(bytes))).await;
                }
                Some(WorkerCommand::Signal(signal)) => break Exit::Signal(signal),
                Some(WorkerCommand::CloseInput) if stubborn => {}
                Some(WorkerCommand::CloseInput) | None => break Exit::Code(0),
            },
        }
    };
    let _ = events.send(WorkerEvent::Exited(exit)).await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Passes,
    Cut,
    Frozen,
}

/// The agent behind a wire, which a test may replace by another: a restart.
pub struct Behind(Mutex<Server>);

impl Behind {
    pub fn replace(&self, server: Server) {
        *self.0.lock() = server;
    }
}

/// Dials an agent in memory, over a wire that tests control.
pub struct Memory {
    pub server: Behind,
    pub wire: watch::Sender<Wire>,
    pub dials: watch::Sender<usize>,
}

impl Memory {
    pub fn new(server: Server) -> Arc<Self> {
        Arc::new(Self {
            server: Behind(Mutex::new(server)),
            wire: watch::Sender::new(Wire::Passes),
            dials: watch::Sender::new(0),
        })
    }

    /// The agent that answers now.
    pub fn server(&self) -> Server {
        self.server.0.lock().clone()
    }
}

impl Dial for Memory {
    fn dial(&self) -> BoxFuture<'_, Result<Dialed, DialError>> {
        self.dials.send_modify(|dials| *dials += 1);
        let mut wire = self.wire.subscribe();
        if *wire.borrow() == Wire::Cut {
            let refused = DialError::Unreachable("ws://memory: connection refused".to_owned());
            return Box::pin(async { Err(refused) });
        }
        let (near, mut here) = tokio::io::duplex(64 * 1024);
        let (mut there, far) = tokio::io::duplex(64 * 1024);
        let server = self.server.0.lock().clone();
        tokio::spawn(async move { server.serve(Box::new(far), Ipv4Addr::LOCALHOST.into()).await });
        tokio::spawn(async move {
            tokio::select! {
                _ = copy_bidirectional(&mut here, &mut there) => {}
                state = async { *wire.wait_for(|wire| *wire != Wire::Passes).await.unwrap() } => {
                    if state == Wire::Frozen {
                        let _ = wire.wait_for(|wire| *wire == Wire::Cut).await;
                    }
                }
            }
        });
        Box::pin(async move { Ok(Dialed { transport: Box::new(near), peer: None }) })
    }
}

pub fn server(options: AgentOptions, workers: &FakeWorkers) -> Server {
    let loopback: IpAddr = Ipv4Addr::LOCALHOST.into();
    let addresses = options.addresses.resolve(loopback).unwrap();
    Server::new(options, Identity::new(1), addresses, Arc::new(workers.clone()))
}

pub fn agent_options() -> AgentOptions {
    AgentOptions {
        tokens: Tokens::new(vec![Token::new("good").unwrap()]),
        max_workers: 4,
        ..AgentOptions::default()
    }
}

pub fn remote_options() -> RemoteOptions {
    RemoteOptions {
        token: Some(Token::new("good").unwrap()),
        version: VERSION.to_owned(),
        fingerprint: SCHEMA.to_owned(),
        backoff: Backoff::new(|_| Duration::from_millis(100)),
        ..RemoteOptions::new("ws://memory:4480").unwrap()
    }
}

/// An agent in memory and a connection to it.
pub fn pair() -> (FakeWorkers, Arc<Memory>, RemoteConnection) {
    pair_with(agent_options(), remote_options())
}

pub fn pair_with(
    agent: AgentOptions,
    remote: RemoteOptions,
) -> (FakeWorkers, Arc<Memory>, RemoteConnection) {
    let workers = FakeWorkers::new();
    let memory = Memory::new(server(agent, &workers));
    let connection = RemoteConnection::with_dialer(remote, memory.clone());
    (workers, memory, connection)
}

pub async fn connected(connection: &RemoteConnection) {
    let mut status = connection.status();
    within(status.wait_for(|status| matches!(status, Status::Connected(_)))).await.unwrap();
}

/// Everything up to the end of the worker, and how it ended.
pub async fn end_of(link: &mut WorkerLink) -> Exit {
    loop {
        match within(link.events.recv()).await {
            Some(WorkerEvent::Exited(exit)) => return exit,
            Some(_) => {}
            None => panic!("the events ended without an exit"),
        }
    }
}

pub async fn next_message(link: &mut WorkerLink) -> Bytes {
    loop {
        match within(link.events.recv()).await {
            Some(WorkerEvent::Message(bytes)) => return bytes.freeze(),
            Some(WorkerEvent::Exited(exit)) => panic!("the worker ended: {exit:?}"),
            Some(_) => {}
            None => panic!("the events ended"),
        }
    }
}
