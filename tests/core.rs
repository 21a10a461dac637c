//! A core as stubs see it, over its real socket, with mock workers behind it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "mock_worker/bodies.rs"]
#[expect(dead_code, reason = "shared with the tests of the mock worker")]
mod bodies;

use std::{
    io::{IoSlice, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use mediasoup_horizontal::{
    MEDIASOUP_VERSION,
    channel::{
        Envelope, Message, compose,
        fbs::{
            notification::Event,
            request::{self, Method},
        },
    },
    connection::{
        Exit, HostLoad,
        mock::{MockConnection, MockConnectionOptions, MockHandle},
    },
    core::{
        Core, Failure, Ticket,
        config::{self, Options},
    },
    stub::protocol::{self, Kind},
    virtual_worker::Spread,
};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

/// Shorter than the core waits for a hello, so that hanging up in time means refusing.
const AT_ONCE: Duration = Duration::from_secs(4);

fn start() -> (Core, MockHandle) {
    start_with(Spread::ONE_PART)
}

fn start_with(spread: Spread) -> (Core, MockHandle) {
    let book = config::address_book(&Options::default()).unwrap();
    let core = Core::start(book, Duration::from_secs(2), spread).unwrap();
    let mock = MockConnection::new(MockConnectionOptions::default());
    let handle = mock.handle();
    core.add(Arc::new(mock));
    (core, handle)
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < AT_ONCE, "{what}");
        sleep(Duration::from_millis(5));
    }
}

/// What plays a stub and its mediasoup.
struct Stub {
    control: UnixStream,
    /// The library's ends of fds 3 and 4.
    input: UnixStream,
    output: UnixStream,
}

fn connect(core: &Core) -> UnixStream {
    let name = core.socket().strip_prefix('@').unwrap();
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    stream.set_read_timeout(Some(AT_ONCE)).unwrap();
    stream
}

fn send_with_fds(stream: &UnixStream, bytes: &[u8], fds: &[OwnedFd]) {
    let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&raw)];
    let parts = [IoSlice::new(bytes)];
    let sent =
        sendmsg::<UnixAddr>(stream.as_raw_fd(), &parts, &control, MsgFlags::MSG_NOSIGNAL, None);
    assert_eq!(sent.unwrap(), bytes.len());
}

fn hello(ticket: &str, args: &[&str]) -> Vec<u8> {
    let mut fields = vec![ticket.as_bytes(), MEDIASOUP_VERSION.as_bytes()];
    fields.extend(args.iter().map(|arg| arg.as_bytes()));
    protocol::encode(Kind::Hello, &fields)
}

fn pair() -> (UnixStream, OwnedFd) {
    let (ours, its) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(AT_ONCE)).unwrap();
    (ours, its.into())
}

fn stub(core: &Core, ticket: &str, args: &[&str]) -> Stub {
    let control = connect(core);
    let ((input, its_input), (output, its_output)) = (pair(), pair());
    send_with_fds(&control, &hello(ticket, args), &[its_input, its_output]);
    Stub { control, input, output }
}

impl Stub {
    fn message(&mut self) -> Message {
        let mut prefix = [0; 4];
        self.output.read_exact(&mut prefix).unwrap();
        let size = usize::try_from(u32::from_le_bytes(prefix)).unwrap();
        let mut bytes = BytesMut::from(&prefix[..]);
        bytes.resize(4 + size, 0);
        self.output.read_exact(&mut bytes[4..]).unwrap();
        Message::parse(bytes).unwrap()
    }

    fn assert_runs(&mut self) {
        let running = self.message();
        let Envelope::Notification(notification) = running.envelope() else { panic!("running") };
        assert_eq!(notification.event, Event::WorkerRunning);
        assert_eq!(notification.handler_id, std::process::id().to_string(), "the stub's own pid");
        self.assert_answers();
    }

    fn assert_answers(&mut self) {
        self.assert_accepts(Method::WorkerGetResourceUsage, "", None);
    }

    fn assert_accepts(&mut self, method: Method, handler: &str, body: Option<request::Body>) {
        let request = compose::request(77, method, handler, body);
        self.input.write_all(&request.into_bytes()).unwrap();
        let answer = self.message();
        let Envelope::Response(response) = answer.envelope() else { panic!("an answer") };
        assert_eq!((response.id, response.accepted), (77, true));
    }

    /// The last that the core says, as kinds and first fields.
    fn end(mut self) -> Vec<(Kind, Vec<u8>)> {
        let mut rest = Vec::new();
        self.control.read_to_end(&mut rest).unwrap();
        let mut said = Vec::new();
        let mut bytes = rest.as_slice();
        while let Some((kind, length)) = protocol::header(bytes) {
            let end = protocol::HEADER + length;
            let fields = protocol::fields(&bytes[protocol::HEADER..end]).unwrap();
            said.push((kind, fields[0].to_vec()));
            bytes = &bytes[end..];
        }
        assert!(bytes.is_empty());
        assert_eq!(self.output.read(&mut [0]).unwrap(), 0, "and lets go of the channel");
        said
    }
}

fn code(code: i32) -> (Kind, Vec<u8>) {
    (Kind::ExitCode, code.to_le_bytes().to_vec())
}

#[test]
fn a_ticket_gives_one_worker_once() {
    let (core, mock) = start();
    let ticket = core.issue(Ticket::default());
    let mut first = stub(&core, &ticket, &[]);
    first.assert_runs();
    let pid = std::process::id();
    assert_eq!(core.where_is(pid).as_deref(), Some("mock"));
    for again in [ticket.as_str(), "", "0000"] {
        assert_eq!(stub(&core, again, &[]).end(), [], "{again} is no ticket");
    }
    assert_eq!(core.settle(&ticket), None);
    assert_eq!(stub(&core, &ticket, &[]).end(), [], "settled is no better");
    first.assert_answers();
    assert_eq!(mock.workers().len(), 1);
    drop(first.control);
    eventually("a stub that is gone takes its worker along", || mock.workers().is_empty());
    eventually("and is told nowhere", || core.where_is(pid).is_none());
    assert_eq!(first.output.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_worker_s_end_is_told_after_its_channel_ended() {
    let (core, mock) = start();
    for exit in [Exit::Code(3), Exit::Signal(11), Exit::Lost("the link broke".to_owned())] {
        let mut stub = stub(&core, &core.issue(Ticket::default()), &[]);
        stub.assert_runs();
        assert!(mock.kill(mock.workers()[0], exit.clone()));
        let expected = match exit {
            Exit::Code(3) => vec![code(3)],
            Exit::Signal(signal) => vec![(Kind::ExitSignal, signal.to_le_bytes().to_vec())],
            _ => {
                let why = b"mediasoup-horizontal: the worker is lost: the link broke\n";
                vec![(Kind::Stderr, why.to_vec()), code(1)]
            }
        };
        assert_eq!(stub.end(), expected);
    }
}

#[test]
fn loads_that_a_connection_tells_decide_on_further_workers() {
    let at_once = Duration::ZERO;
    let late = Duration::from_secs(6);
    for (what, cpu, age, draining, workers) in [
        ("a home with room keeps all", 550, at_once, false, 1),
        ("a busy one does not", 900, at_once, false, 2),
        ("but nothing starts on a host that leaves", 900, at_once, true, 1),
        ("nor on one that was not heard of for long", 900, late, false, 1),
    ] {
        let (core, mock) = start_with(Spread::pack(4));
        let home = MockConnectionOptions::default().first_pid;
        let host =
            HostLoad { cores: 8, own: [(home, cpu)].into(), age: Some(age), ..HostLoad::default() };
        mock.set_host_load(host.clone());
        let mut stub = stub(&core, &core.issue(Ticket::default()), &[]);
        stub.assert_runs();
        mock.set_host_load(HostLoad { draining, ..host });
        stub.assert_accepts(Method::WorkerCreateRouter, "", Some(bodies::create_router("r")));
        let plain = bodies::create_plain("t", bodies::plain_options());
        stub.assert_accepts(Method::RouterCreatePlaintransport, "r", Some(plain));
        assert_eq!(mock.workers().len(), workers, "{what}");
    }
}

#[test]
fn a_hello_brings_exactly_the_fds_of_a_channel() {
    let (core, _mock) = start();
    for count in [0, 1, 3, 4, 5, 250] {
        let ticket = core.issue(Ticket::default());
        let (mut ours, its): (Vec<_>, Vec<_>) = (0..count).map(|_| pair()).unzip();
        let mut control = connect(&core);
        send_with_fds(&control, &hello(&ticket, &[]), &its);
        drop(its);
        assert_eq!(control.read(&mut [0]).unwrap(), 0, "{count} fds are refused");
        for end in &mut ours {
            assert_eq!(end.read(&mut [0]).unwrap(), 0, "none of {count} fds is kept");
        }
    }
    // A flood of them is not even read to its end.
    let mut control = connect(&core);
    let (mut ours, its) = pair();
    send_with_fds(&control, &[Kind::Hello as u8], &[its]);
    let (mut other, its) = pair();
    let more = its.try_clone().unwrap();
    send_with_fds(&control, &[255], &[its, more]);
    assert_eq!(control.read(&mut [0]).unwrap(), 0, "before its hello is whole");
    assert_eq!(ours.read(&mut [0]).unwrap() + other.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_hello_in_pieces_is_as_good() {
    let (core, _mock) = start();
    let ticket = core.issue(Ticket::default());
    let mut control = connect(&core);
    let ((input, its_input), (output, its_output)) = (pair(), pair());
    let bytes = hello(&ticket, &["--logLevel=warn"]);
    send_with_fds(&control, &bytes[..1], &[its_input, its_output]);
    for byte in &bytes[1..] {
        control.write_all(&[*byte]).unwrap();
    }
    Stub { control, input, output }.assert_runs();
}

#[test]
fn why_there_is_no_worker_is_told_once() {
    let (core, _mock) = start();
    assert!(core.remove("mock"));
    assert!(!core.remove("mock"));
    let ticket = core.issue(Ticket::default());
    let why = "no connection to take a mediasoup-worker from: add one to the Horizontal";
    let said = stub(&core, &ticket, &[]).end();
    let line = format!("mediasoup-horizontal: {why}\n").into_bytes();
    assert_eq!(said, [(Kind::Stderr, line), code(1)]);
    assert_eq!(core.settle(&ticket), Some(Failure { ours: true, message: why.to_owned() }));
    assert_eq!(core.settle(&ticket), None);

    let ticket = core.issue(Ticket::default());
    let missing = stub(&core, &ticket, &["--dtlsPrivateKeyFile=/notfound/key.pem"]);
    assert_eq!(missing.end().last(), Some(&code(42)));
    assert!(!core.settle(&ticket).unwrap().ours, "mediasoup itself says 'wrong settings'");
}

#[test]
fn a_closed_core_lets_go_of_everything() {
    let (mut core, _mock) = start();
    let mut stub = stub(&core, &core.issue(Ticket::default()), &[]);
    stub.assert_runs();
    let unserved = connect(&core);
    let before = Instant::now();
    core.close();
    core.close();
    assert!(before.elapsed() < Duration::from_secs(1));
    assert!(core.connections().is_empty());
    let said = stub.end();
    assert!(said.iter().all(|(kind, _)| matches!(kind, Kind::Stderr | Kind::ExitCode)), "{said:?}");
    let mut unserved = unserved;
    assert_eq!(unserved.read(&mut [0]).unwrap_or(0), 0);
}
