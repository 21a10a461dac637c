//! The stub's life with a core: hello, then become the worker or wait for how it ends.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            net::UnixStream,
        },
    },
    path::Path,
    process::exit,
    sync::atomic::{AtomicI32, Ordering},
};

use crate::{
    FAILURE, fail,
    pidfd::{PidFd, end_orphans, poll, poll_entry},
    process,
    protocol::{self, Kind},
    say, signals,
};

/// These close the worker behind us, which then ends us.
const CLOSING: [i32; 2] = [libc::SIGINT, libc::SIGTERM];

/// How a worker ends that was asked to close.
const CLOSED: i32 = 0;

/// The writing end of the pipe that wakes the loop when a signal comes.
static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(signal: libc::c_int) {
    let byte = u8::try_from(signal).unwrap_or(0);
    // SAFETY: write() is async-signal-safe; the pipe is never closed while the process lives.
    unsafe {
        libc::write(SIGNAL_PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1);
    }
}

pub fn run(socket: &OsStr, ticket: &OsStr, version: &OsStr, args: &[OsString]) -> ! {
    let signals = install_signals()
        .unwrap_or_else(|error| fail(FAILURE, &format!("cannot install signal handlers: {error}")));
    let core = connect(socket)
        .and_then(|core| hello(&core, ticket, version, args).map(|()| core))
        .unwrap_or_else(|error| {
            fail(FAILURE, &format!("cannot reach the core in the app's process: {error}"))
        });
    let mut session = Session {
        core,
        signals,
        closing: false,
        pending: Vec::new(),
        fds: Vec::new(),
        watched: Vec::new(),
    };
    match session.serve() {
        Ok(()) => session.orphaned(),
        Err(error) => fail(FAILURE, &format!("lost the core in the app's process: {error}")),
    }
}

fn connect(socket: &OsStr) -> io::Result<UnixStream> {
    match socket.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            UnixStream::connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)
        }
        _ => UnixStream::connect(Path::new(socket)),
    }
}

fn hello(core: &UnixStream, ticket: &OsStr, version: &OsStr, args: &[OsString]) -> io::Result<()> {
    let mut fields = vec![ticket.as_bytes(), version.as_bytes()];
    fields.extend(args.iter().map(|arg| arg.as_bytes()));
    let message = protocol::encode(Kind::Hello, &fields);
    let sent = process::send_with_fds(core.as_raw_fd(), &message, [3, 4])?;
    (&mut &*core).write_all(&message[sent..])?;
    // The core has them now; kept here they would hide from Node that the worker closed them.
    for fd in [3, 4] {
        // SAFETY: nothing else in this process owns the channel's fds.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    Ok(())
}

fn install_signals() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    writer.set_nonblocking(true)?;
    SIGNAL_PIPE.store(std::os::fd::IntoRawFd::into_raw_fd(writer), Ordering::Relaxed);
    signals::take_as_a_worker();
    for signal in CLOSING {
        // SAFETY: the handler calls only write().
        unsafe { libc::signal(signal, on_signal as *const () as libc::sighandler_t) };
    }
    Ok(reader)
}

struct Session {
    core: UnixStream,
    /// The reading end of the pipe that wakes the loop.
    signals: UnixStream,
    /// A signal asked to close.
    closing: bool,
    pending: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// Local workers that must not outlive the app, by descriptors that no reused pid can fool.
    watched: Vec<PidFd>,
}

impl Session {
    /// Ends well when the core is gone.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let mut polled =
                [poll_entry(self.core.as_raw_fd()), poll_entry(self.signals.as_raw_fd())];
            poll(&mut polled, -1)?;
            if polled[1].revents != 0 {
                let mut signal = [0];
                self.signals.read_exact(&mut signal)?;
                self.closing = true;
                let number = i32::from(signal[0]).to_le_bytes();
                // Ctrl-C ends the app and comes here too: its core may be gone, and that is then
                // the news.
                if self.core.write_all(&protocol::encode(Kind::Signal, &[&number])).is_err() {
                    return Ok(());
                }
            }
            if polled[0].revents != 0 {
                let mut bytes = [0; 16 * 1024];
                match process::receive(self.core.as_raw_fd(), &mut bytes, &mut self.fds) {
                    Ok(0) => return Ok(()),
                    Ok(count) => self.pending.extend_from_slice(&bytes[..count]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                    Err(error) => return Err(error),
                }
                self.handle_pending()?;
            }
        }
    }

    fn handle_pending(&mut self) -> io::Result<()> {
        while self.pending.len() >= protocol::HEADER {
            let (kind, length) = protocol::header(&self.pending).ok_or_else(bad_protocol)?;
            let end = protocol::HEADER + length;
            if self.pending.len() < end {
                break;
            }
            let rest = self.pending.split_off(end);
            let message = std::mem::replace(&mut self.pending, rest);
            let fields = protocol::fields(&message[protocol::HEADER..]).ok_or_else(bad_protocol)?;
            self.handle(kind, &fields)?;
        }
        Ok(())
    }

    fn handle(&mut self, kind: Kind, fields: &[&[u8]]) -> io::Result<()> {
        let number = || fields.first().and_then(|field| protocol::number(field));
        match kind {
            Kind::Become => self.become_worker(fields),
            Kind::Watch => {
                self.watched = fields
                    .iter()
                    .filter_map(|field| protocol::number(field))
                    .filter_map(|pid| PidFd::open(pid).ok())
                    .collect();
                Ok(())
            }
            Kind::Stdout => {
                write_all(io::stdout(), fields);
                Ok(())
            }
            Kind::Stderr => {
                write_all(io::stderr(), fields);
                Ok(())
            }
            Kind::ExitCode => exit(number().unwrap_or(FAILURE)),
            Kind::ExitSignal => process::die_by(number().unwrap_or(libc::SIGKILL)),
            Kind::Hello | Kind::Signal => Err(bad_protocol()),
        }
    }

    fn become_worker(&mut self, fields: &[&[u8]]) -> io::Result<()> {
        let (Some(output), Some(input)) = (self.fds.pop(), self.fds.pop()) else {
            return Err(bad_protocol());
        };
        let args: Vec<OsString> =
            fields.iter().map(|field| OsString::from_vec(field.to_vec())).collect();
        let binary = args.first().cloned().ok_or_else(bad_protocol)?;
        process::install_channel(input, output)?;
        let mut env: Vec<(OsString, OsString)> = env::vars_os()
            .filter(|(name, _)| !name.as_bytes().starts_with(protocol::ENV_PREFIX.as_bytes()))
            .collect();
        env.push((protocol::INSIDE_ENV.into(), "1".into()));
        for signal in signals::IGNORED.into_iter().chain(CLOSING) {
            // SAFETY: back to the defaults that the worker expects to start with.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        // No handler of ours runs any more: what was caught until now the worker never hears of.
        self.signals.set_nonblocking(true)?;
        if self.closing || self.signals.read(&mut [0]).is_ok() {
            exit(CLOSED);
        }
        let error = process::replace(Path::new(&binary), &args, env);
        fail(FAILURE, &format!("cannot start {}: {error}", Path::new(&binary).display()))
    }

    /// The app is gone. Local workers end with their channel; one that hangs is killed.
    fn orphaned(&mut self) -> ! {
        say("the core in the app's process hung up");
        end_orphans(std::mem::take(&mut self.watched));
        exit(FAILURE)
    }
}

fn bad_protocol() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the core speaks another protocol")
}

fn write_all(mut to: impl Write, fields: &[&[u8]]) {
    for field in fields {
        // Node may have closed its end; the worker must not suffer for it.
        let _ = to.write_all(field).and_then(|()| to.flush());
    }
}
