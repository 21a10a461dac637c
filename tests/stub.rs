//! The stub as mediasoup sees it, with a core that only listens.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    os::{
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
        config::{self, ONE_PART, Options},
    },
    stub::protocol::{self, Kind},
};

use nix::{
    sys::signal::{Signal, kill},
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
    Core::start(book, Duration::from_secs(1), ONE_PART).unwrap()
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
