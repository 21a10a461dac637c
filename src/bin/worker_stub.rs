//! The stub: what mediasoup spawns as its worker. It hands the channel to the core in the app's
//! process and waits, or becomes the real worker; without a core it becomes the core itself.
//! `std` and `libc` only: one of these runs for every Worker.

#[path = "../passed_fds.rs"]
mod passed_fds;
#[path = "../pidfd.rs"]
mod pidfd;
#[path = "../stub/protocol.rs"]
mod protocol;
#[path = "../stub/signals.rs"]
mod signals;

#[path = "worker_stub/process.rs"]
mod process;
#[path = "worker_stub/session.rs"]
mod session;

use std::{env, ffi::OsString, io, io::Write, os::unix::ffi::OsStrExt, process::exit};

/// mediasoup's own exit codes: its worker was started by hand, and anything else.
const NO_VERSION: i32 = 41;
const FAILURE: i32 = 1;

/// The mediasoup release whose channel this stub was built for.
const MEDIASOUP_VERSION: &str = channel_schema::MEDIASOUP_VERSION;

fn main() {
    let Some(version) = env::var_os("MEDIASOUP_VERSION") else {
        fail(NO_VERSION, "started without MEDIASOUP_VERSION: mediasoup starts this, people do not");
    };
    if env::var_os(protocol::INSIDE_ENV).is_some() {
        fail(
            FAILURE,
            "this is the stub of mediasoup-horizontal, started where a real mediasoup-worker was \
             expected: point MEDIASOUP_HORIZONTAL_WORKER_BIN (or the agent's --worker-bin) at a \
             real one, or run `npx mediasoup-horizontal worker install`",
        );
    }
    if version.as_bytes() != MEDIASOUP_VERSION.as_bytes() {
        fail(
            FAILURE,
            &format!(
                "mediasoup {} started the stub of mediasoup-horizontal for mediasoup \
                 {MEDIASOUP_VERSION}: install the mediasoup-horizontal of the same version",
                version.display()
            ),
        );
    }
    if !process::is_open(3) || !process::is_open(4) {
        fail(FAILURE, "fds 3 and 4 are not open: mediasoup starts this, people do not");
    }
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    match (env::var_os(protocol::SOCKET_ENV), env::var_os(protocol::TICKET_ENV)) {
        (Some(socket), Some(ticket)) => session::run(&socket, &ticket, &version, &args),
        _ => become_core(&args),
    }
}

/// No core of ours runs in the parent (an unmodified mediasoup with `MEDIASOUP_WORKER_BIN`), so
/// this process becomes one for its single Worker: same pid, same fds 3 and 4.
fn become_core(args: &[OsString]) -> ! {
    let core = env::current_exe()
        .ok()
        .map(|own| own.with_file_name("mediasoup-horizontal-agent"))
        .unwrap_or_default();
    let mut all: Vec<OsString> = vec![core.clone().into(), "virtual-worker".into(), "--".into()];
    all.extend_from_slice(args);
    let error = process::replace(&core, &all, env::vars_os().collect());
    fail(FAILURE, &format!("cannot start {}: {error}", core.display()))
}

fn fail(code: i32, why: &str) -> ! {
    say(why);
    exit(code)
}

/// One line for mediasoup's log. Whoever reads it may be gone.
fn say(what: &str) {
    let _ = io::stderr().write_all(format!("mediasoup-horizontal: {what}\n").as_bytes());
}
