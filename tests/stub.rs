//! The stub as mediasoup sees it, with a core that only listens.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::{
    io::Read,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            net::{SocketAddr, UnixListener, UnixStream},
            process::ExitStatusExt,
        },
    },
    process::{Child, Command, Stdio},
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
fn ends_when_the_core_is_gone() {
    let (mut stub, core) = start("gone");
    drop(core);
    assert_eq!(stub.wait().unwrap().code(), Some(1));
}
