//! The stub as mediasoup sees it, with a core that only listens.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::{
    io::{IoSlice, Read, Write},
    os::{
        fd::AsRawFd,
        linux::net::SocketAddrExt,
        unix::{
            net::{SocketAddr, UnixListener, UnixStream},
            process::ExitStatusExt,
        },
    },
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use mediasoup_horizontal::{
    core::{
        Core, Ticket,
        config::{self, Options},
    },
    stub::protocol::{self, Kind},
    virtual_worker::Spread,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg},
    },
    unistd::Pid,
};

const STUB: &str = env!("CARGO_BIN_EXE_mediasoup-horizontal-worker");

/// A stub that said hello, and its core's end of the socket.
fn start(name: &str) -> (Child, UnixStream) {
    let name = format!("mediasoup-horizontal-test-{name}-{}", std::process::id());
    let core = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let (channel, _library) = UnixStream::pair().unwrap();
    let stub = Command::new("/bin/sh")
        // The channel: fds 3 and 4.
        .args(["-c", "exec \"$0\" 3<&0 4>&0", STUB])
        .env("MEDIASOUP_VERSION", channel_schema::MEDIASOUP_VERSION)
        .env("MEDIASOUP_HORIZONTAL_SOCKET", format!("@{name}"))
        .env("MEDIASOUP_HORIZONTAL_TICKET", "ticket")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(channel)))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stream, _) = core.accept().unwrap();
    // By its hello its signal handlers stand.
    stream.read_exact(&mut [0]).unwrap();
    (stub, stream)
}

#[test]
fn ends_at_once_by_a_fault_signal() {
    for signal in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGABRT, Signal::SIGKILL] {
        let (mut stub, _core) = start(signal.as_str());
        kill(Pid::from_raw(i32::try_from(stub.id()).unwrap()), signal).unwrap();
        assert_eq!(stub.wait().unwrap().signal(), Some(signal as i32));
    }
}

#[test]
fn ends_with_a_word_when_the_core_is_gone() {
    let (mut stub, core) = start("gone");
    drop(core);
    assert_eq!(stub.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    stub.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "mediasoup-horizontal: the core in the app's process hung up\n");
}

/// A core hangs up within its five seconds for a hello, and a busy machine takes some more.
const HANG_UP: Duration = Duration::from_secs(20);

fn core() -> Core {
    let book = config::address_book(&Options::default()).unwrap();
    Core::start(book, Duration::from_secs(1), Spread::ONE_PART).unwrap()
}

fn connect(core: &Core) -> UnixStream {
    let name = core.socket().strip_prefix('@').unwrap();
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    stream.set_read_timeout(Some(HANG_UP)).unwrap();
    stream
}

fn assert_hangs_up(mut stream: UnixStream) {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert!(rest.is_empty(), "{rest:?}");
}

/// A hello without its fds, as only a broken peer sends it.
fn hello(fields: &[&[u8]]) -> Vec<u8> {
    protocol::encode(Kind::Hello, fields)
}

#[test]
fn a_core_survives_what_no_stub_would_say() {
    let core = core();
    let spent = core.issue(Ticket::default());
    let whole = hello(&[b"no-ticket", b"3.27.1", b"--logLevel=debug"]);
    let mut peers: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0; 4096],
        (0..4096_u32).map(|number| u8::try_from(number * 31 % 251).unwrap()).collect(),
        b"\x01\xff\xff\xff\xff".to_vec(),
        b"\x01\x05\0\0\0\xff\xff\xff\x7fA".to_vec(),
        protocol::encode(Kind::ExitCode, &[]),
        hello(&[]),
        hello(&[b"\xff\xfe\0", b"3.27.1"]),
        hello(&[spent.as_bytes(), b"3.27.1"]),
        hello(&[spent.as_bytes(), b"3.27.1"]),
        hello(&[&vec![b'x'; 2 * protocol::MESSAGE_MAX]]),
    ];
    peers.extend((1..whole.len()).map(|length| whole[..length].to_vec()));
    let peers: Vec<_> = peers
        .into_iter()
        .map(|bytes| {
            let mut stream = connect(&core);
            thread::spawn(move || {
                // It may hang up before all is written.
                let _ = stream.write_all(&bytes);
                assert_hangs_up(stream);
            })
        })
        .collect();
    for peer in peers {
        peer.join().unwrap();
    }
    assert_hangs_up({
        let stream = connect(&core);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream
    });
}

fn signal(stub: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(stub.id()).unwrap()), signal).unwrap();
}

/// Stops the stub, so that what happens before it goes on happens all at once for it.
fn stop(stub: &Child) {
    signal(stub, Signal::SIGSTOP);
    let stopped = || {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", stub.id())).unwrap();
        status.rsplit(") ").next().unwrap().starts_with('T')
    };
    while !stopped() {
        thread::sleep(Duration::from_millis(1));
    }
}

fn end(mut child: Child) -> std::process::ExitStatus {
    for _ in 0..1000 {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("it did not end");
}

#[test]
fn a_signal_beside_the_app_s_death_does_not_save_a_hung_worker() {
    let (mut stub, mut core) = start("orphan");
    let hung = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let pid = i32::try_from(hung.id()).unwrap().to_le_bytes();
    core.write_all(&protocol::encode(Kind::Watch, &[&pid])).unwrap();
    core.write_all(&protocol::encode(Kind::Stderr, &[b"!"])).unwrap();
    stub.stderr.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    stop(&stub);
    drop(core);
    signal(&stub, Signal::SIGINT);
    signal(&stub, Signal::SIGCONT);
    assert_eq!(end(stub).code(), Some(1));
    assert_eq!(end(hung).signal(), Some(Signal::SIGKILL as i32));
}

#[test]
fn a_signal_before_it_becomes_the_worker_is_not_lost() {
    let (stub, core) = start("early-signal");
    stop(&stub);
    signal(&stub, Signal::SIGTERM);
    let fields = [&b"/bin/sh"[..], b"-c", b"exit 5"];
    let message = protocol::encode(Kind::Become, &fields);
    let (input, output) = UnixStream::pair().unwrap();
    let fds = [input.as_raw_fd(), output.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&fds)];
    let parts = [IoSlice::new(&message)];
    sendmsg::<UnixAddr>(core.as_raw_fd(), &parts, &control, MsgFlags::empty(), None).unwrap();
    signal(&stub, Signal::SIGCONT);
    assert_eq!(end(stub).code(), Some(0), "as a worker that is asked to close");
}

#[test]
fn it_ends_whatever_signal_ended_its_worker() {
    for (number, expected) in [
        (libc::SIGTERM, (None, Some(libc::SIGTERM))),
        (libc::SIGSTOP, (Some(128 + libc::SIGSTOP), None)),
        (libc::SIGTSTP, (Some(128 + libc::SIGTSTP), None)),
        (libc::SIGCHLD, (Some(128 + libc::SIGCHLD), None)),
        (0, (Some(128), None)),
        (i32::MAX, (Some(255), None)),
        (-1, (Some(128), None)),
    ] {
        let (stub, mut core) = start(&format!("ends-by-{number}"));
        core.write_all(&protocol::encode(Kind::ExitSignal, &[&number.to_le_bytes()])).unwrap();
        let status = end(stub);
        assert_eq!((status.code(), status.signal()), expected, "signal {number}");
    }
}
