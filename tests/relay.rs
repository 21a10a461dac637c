//! The relay between a library and a scripted worker, over real sockets.

#![allow(clippy::unwrap_used)]

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use mediasoup_horizontal::{
    addresses::{
        AnnouncedMode, HostAddresses, PortPolicy, SelfSet,
        book::{AddressBook, Host},
    },
    channel::{
        Envelope, Message,
        compose::{self, ErrorKind},
        fbs::{log, message, notification, notification::Event, request::Method, transport},
        framing::FrameReader,
    },
    connection::{Exit, LINK_LIMIT, WorkerCommand, WorkerEvent, WorkerLink},
    core::relay::{self, ControlEvent, Ends, LibraryEnd, Opened, Stdio},
    queue,
    quiet_writer::QuietWriter,
    virtual_worker::{Spread, VirtualWorker},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const TEST_LIMIT: Duration = Duration::from_secs(30);
/// Long enough for whatever can still move to have moved.
const QUIET: Duration = Duration::from_millis(200);
const SIGKILL: i32 = 9;
const CHUNK: usize = 64 * 1024;

struct Bench {
    /// The library's ends: what it writes to, what it reads from.
    input: UnixStream,
    output: UnixStream,
    /// The worker's ends.
    commands: queue::Receiver<WorkerCommand>,
    events: queue::Sender<WorkerEvent>,
    control: mpsc::Sender<ControlEvent>,
    texts: queue::Receiver<Stdio>,
    running: JoinHandle<Exit>,
}

fn addresses() -> HostAddresses {
    HostAddresses {
        colocated: true,
        bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        pipe: None,
        announced: Vec::new(),
        behind_nat: false,
        port_range: None,
        port_policy: PortPolicy::Strict,
        app_seen_as: None,
    }
}

fn start() -> Bench {
    let (input, its_input) = UnixStream::pair().unwrap();
    let (output, its_output) = UnixStream::pair().unwrap();
    let its_output = OwnedFd::from(its_output.into_std().unwrap());
    let library =
        LibraryEnd { input: its_input, output: QuietWriter::new(its_output.into()).unwrap() };
    let (commands, commanded) = queue::bounded(LINK_LIMIT);
    let (events, heard) = queue::bounded(LINK_LIMIT);
    let link = WorkerLink { pid: 5, addresses: addresses(), commands, events: heard };
    let own = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let set = SelfSet::new([own], ["NONE"], |_| None, ["app.example"]);
    let book = Arc::new(AddressBook::new(set, AnnouncedMode::Auto));
    let host = Host { key: "local".to_owned(), addresses: Arc::new(addresses()) };
    let (control, controlled) = mpsc::channel(4);
    let (stdio, texts) = queue::bounded(relay::STDIO_LIMIT);
    let machine = VirtualWorker::new(4321, host.clone(), book, Spread::ONE_PART);
    let running = tokio::spawn(relay::run(Ends {
        library,
        machine,
        home: Opened { link, host, local: true, place: None },
        source: None,
        control: controlled,
        stdio,
        local_pids: None,
        watch: relay::Watch::nobody(),
    }));
    Bench { input, output, commands: commanded, events, control, texts, running }
}

impl Bench {
    async fn exit(self) -> Exit {
        timeout(TEST_LIMIT, self.running).await.expect("the relay ends").unwrap()
    }

    async fn command(&mut self) -> Option<WorkerCommand> {
        timeout(TEST_LIMIT, self.commands.recv()).await.expect("a command")
    }
}

/// A log line of a worker, which goes to the library as it is.
fn log(number: usize, size: usize) -> BytesMut {
    let data = format!("D{number:08}{}", "x".repeat(size));
    compose::compose(message::Body::Log(Box::new(log::Log { data }))).into_bytes()
}

/// A notification of the library, which goes to the worker as it is.
fn rtcp(number: usize, size: usize) -> BytesMut {
    let data = b"number: ".to_vec();
    let body = notification::Body::TransportSendRtcpNotification(Box::new(
        transport::SendRtcpNotification { data },
    ));
    let composed = compose::notification("transport", Event::TransportSendRtcp, Some(body));
    let mut bytes = composed.into_bytes();
    let at = bytes.windows(8).position(|window| window == b"number: ").unwrap();
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    // What follows the last part of a message belongs to nothing; composing as much is slow.
    bytes.resize(size.max(bytes.len()), 0);
    let payload = u32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&payload.to_le_bytes());
    bytes
}

/// Writes what the socket takes until nothing has moved for a while. Returns how much it took.
async fn write_until_stuck(socket: &mut UnixStream, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match timeout(QUIET, socket.write(&bytes[written..])).await {
            Ok(count) => written += count.unwrap(),
            Err(_) => break,
        }
    }
    written
}

async fn read_messages(socket: &mut UnixStream, count: usize) -> Vec<BytesMut> {
    let mut reader = FrameReader::default();
    let mut messages = Vec::new();
    while messages.len() < count {
        if let Some(message) = reader.next().unwrap() {
            messages.push(message);
            continue;
        }
        let read = timeout(TEST_LIMIT, socket.read_buf(reader.buffer())).await;
        assert_ne!(read.expect("more comes").unwrap(), 0, "{} came", messages.len());
    }
    messages
}

#[tokio::test]
async fn the_last_words_of_a_worker_arrive_in_order_before_its_end() {
    let mut bench = start();
    for number in 0..100 {
        bench.events.send(WorkerEvent::Message(log(number, 10))).await.unwrap();
    }
    bench.events.send(WorkerEvent::Exited(Exit::Code(7))).await.unwrap();
    let read = read_messages(&mut bench.output, 100).await;
    assert_eq!(read, (0..100).map(|number| log(number, 10)).collect::<Vec<_>>());
    assert_eq!(bench.output.read(&mut [0]).await.unwrap(), 0, "then the channel ends");
    assert_eq!(bench.exit().await, Exit::Code(7));
}

#[tokio::test]
async fn a_library_that_never_reads_cannot_keep_a_dead_worker() {
    let bench = start();
    // More than the socket takes, less than makes the relay wait.
    for number in 0..16 {
        bench.events.send(WorkerEvent::Message(log(number, CHUNK))).await.unwrap();
    }
    bench.events.send(WorkerEvent::Exited(Exit::Signal(11))).await.unwrap();
    let before = Instant::now();
    assert_eq!(bench.exit().await, Exit::Signal(11));
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_worker_waits_for_a_library_that_does_not_read() {
    let mut bench = start();
    let mut sent = 0;
    let limit = (LINK_LIMIT + 16 * 1024 * 1024) / CHUNK;
    while timeout(QUIET, bench.events.send(WorkerEvent::Message(log(sent, CHUNK)))).await.is_ok() {
        sent += 1;
        assert!(sent < limit, "what waits is bounded");
    }
    bench.events.try_send(WorkerEvent::Exited(Exit::Code(0))).unwrap();
    let read = read_messages(&mut bench.output, sent).await;
    for (number, message) in read.into_iter().enumerate() {
        assert_eq!(message, log(number, CHUNK));
    }
    assert_eq!(bench.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn a_library_waits_for_a_worker_that_does_not_read() {
    let mut bench = start();
    let limit = LINK_LIMIT + 16 * 1024 * 1024;
    let total = limit / CHUNK;
    let all = (0..total).map(|number| rtcp(number, CHUNK)).collect::<Vec<_>>().concat();
    let written = write_until_stuck(&mut bench.input, &all).await;
    assert!(written < limit, "what waits is bounded");
    let Bench { mut input, mut commands, output: _output, .. } = bench;
    let rest = all[written..].to_vec();
    let writing = tokio::spawn(async move { input.write_all(&rest).await });
    for number in 0..total {
        match timeout(TEST_LIMIT, commands.recv()).await.unwrap() {
            Some(WorkerCommand::Message(bytes)) => assert_eq!(bytes, rtcp(number, CHUNK)),
            other => panic!("message {number}, not {other:?}"),
        }
    }
    writing.await.unwrap().unwrap();
    let ended = timeout(TEST_LIMIT, commands.recv()).await.unwrap();
    assert!(matches!(ended, Some(WorkerCommand::CloseInput)), "{ended:?}");
}

#[tokio::test]
async fn refusals_that_the_library_does_not_read_are_bounded() {
    let mut bench = start();
    // No worker survives it, so the core itself answers, with more bytes than it got.
    let malformed = compose::request(1, Method::TransportConsume, "", None).into_bytes();
    let all = malformed.repeat(12 * 1024 * 1024 / malformed.len());
    let written = write_until_stuck(&mut bench.input, &all).await;
    assert!(written < all.len(), "{written} bytes were answered and none was read");
    let read = read_messages(&mut bench.output, written / malformed.len()).await;
    assert!(read.into_iter().all(|bytes| {
        let message = Message::parse(bytes).unwrap();
        matches!(message.envelope(), Envelope::Response(response) if !response.accepted)
    }));
}

#[tokio::test]
async fn requests_and_answers_keep_their_order_however_they_are_cut() {
    let mut bench = start();
    let requests: Vec<u8> = (1..=200)
        .flat_map(|id| compose::request(id, Method::WorkerGetResourceUsage, "", None).into_bytes())
        .collect();
    let mut ids = Vec::new();
    for (index, piece) in requests.chunks(7).enumerate() {
        bench.input.write_all(piece).await.unwrap();
        if index % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while ids.len() < 200 {
        let Some(WorkerCommand::Message(bytes)) = bench.command().await else {
            panic!("a message")
        };
        ids.push(Message::parse(bytes.into()).unwrap().request_id().unwrap());
    }
    for id in ids {
        let answer = compose::refused(id, ErrorKind::Error, "no").into_bytes();
        bench.events.send(WorkerEvent::Message(answer)).await.unwrap();
    }
    let answered: Vec<u32> = read_messages(&mut bench.output, 200)
        .await
        .into_iter()
        .map(|bytes| match Message::parse(bytes).unwrap().envelope() {
            Envelope::Response(response) => response.id,
            other => panic!("an answer, not {other:?}"),
        })
        .collect();
    assert_eq!(answered, (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_library_that_closes_first_ends_its_worker() {
    let mut bench = start();
    bench.input.write_all(&rtcp(0, 8)).await.unwrap();
    let (input, output) = UnixStream::pair().unwrap();
    drop((
        std::mem::replace(&mut bench.input, input),
        std::mem::replace(&mut bench.output, output),
    ));
    let first = bench.command().await;
    assert!(matches!(first, Some(WorkerCommand::Message(_))), "what it said last comes first");
    assert!(matches!(bench.command().await, Some(WorkerCommand::CloseInput)));
    // Nobody reads what a worker says on its way out, and that must not keep it.
    for number in 0..200 {
        bench.events.send(WorkerEvent::Message(log(number, CHUNK))).await.unwrap();
    }
    bench.events.send(WorkerEvent::Exited(Exit::Code(0))).await.unwrap();
    assert_eq!(bench.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn a_worker_whose_stub_is_gone_is_killed_and_seen_gone() {
    let mut bench = start();
    bench.control.send(ControlEvent::Signal(15)).await.unwrap();
    assert!(matches!(bench.command().await, Some(WorkerCommand::Signal(15))));
    bench.control.send(ControlEvent::Gone).await.unwrap();
    assert!(matches!(bench.command().await, Some(WorkerCommand::Signal(SIGKILL))));
    assert!(matches!(bench.command().await, Some(WorkerCommand::CloseInput)));
    sleep(QUIET).await;
    assert!(!bench.running.is_finished(), "it is not gone yet");
    bench.events.send(WorkerEvent::Message(log(0, 8))).await.unwrap();
    bench.events.send(WorkerEvent::Exited(Exit::Signal(SIGKILL))).await.unwrap();
    assert_eq!(bench.exit().await, Exit::Signal(SIGKILL));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_never_goes_is_let_go() {
    let bench = start();
    bench.control.send(ControlEvent::Gone).await.unwrap();
    assert_eq!(bench.exit().await, Exit::Signal(SIGKILL));
}

#[tokio::test]
async fn a_worker_that_takes_no_command_is_let_go_at_once() {
    let mut bench = start();
    let all = rtcp(0, CHUNK).repeat(LINK_LIMIT / CHUNK + 64);
    let written = write_until_stuck(&mut bench.input, &all).await;
    assert!(written < all.len());
    let before = Instant::now();
    bench.control.send(ControlEvent::Gone).await.unwrap();
    let Bench { running, mut commands, events, .. } = bench;
    assert_eq!(timeout(TEST_LIMIT, running).await.unwrap().unwrap(), Exit::Signal(SIGKILL));
    assert!(before.elapsed() < Duration::from_secs(2), "a kill behind 32 MiB helps nobody");
    timeout(TEST_LIMIT, events.closed()).await.expect("the link is gone, which ends the worker");
    while commands.recv().await.is_some() {}
}

#[tokio::test]
async fn a_channel_that_is_none_ends_the_worker() {
    let mut bench = start();
    bench.input.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    assert!(matches!(bench.command().await, Some(WorkerCommand::Signal(SIGKILL))));
    let told = timeout(TEST_LIMIT, bench.texts.recv()).await.unwrap();
    let Some(Stdio::Stderr(text)) = told else { panic!("a remark, not {told:?}") };
    assert!(String::from_utf8_lossy(&text).contains("announces 4294967295 bytes"));
    bench.events.send(WorkerEvent::Exited(Exit::Signal(SIGKILL))).await.unwrap();
    assert_eq!(bench.exit().await, Exit::Signal(SIGKILL));
}

#[tokio::test]
async fn a_link_that_says_no_end_is_lost() {
    let mut bench = start();
    bench.events.send(WorkerEvent::Message(log(0, 8))).await.unwrap();
    let (events, _) = queue::bounded(1);
    drop(std::mem::replace(&mut bench.events, events));
    assert_eq!(read_messages(&mut bench.output, 1).await, [log(0, 8)]);
    assert!(matches!(bench.exit().await, Exit::Lost(_)));
}

#[tokio::test]
async fn what_a_worker_prints_is_passed_on_or_dropped_but_never_waited_for() {
    let mut bench = start();
    let text = || WorkerEvent::Stderr(Bytes::from(vec![b'x'; CHUNK]));
    for _ in 0..2 * relay::STDIO_LIMIT / CHUNK {
        bench.events.send(text()).await.unwrap();
    }
    bench.events.send(WorkerEvent::Message(log(0, 8))).await.unwrap();
    assert_eq!(read_messages(&mut bench.output, 1).await, [log(0, 8)]);
    let mut kept = 0;
    while let Some(Stdio::Stderr(bytes)) = bench.texts.try_recv() {
        kept += bytes.len();
    }
    assert!(kept > 0 && kept <= relay::STDIO_LIMIT, "{kept}");
    let still = bench.input.try_read(&mut [0]).unwrap_err();
    assert_eq!(still.kind(), io::ErrorKind::WouldBlock, "the channel is open");
}
