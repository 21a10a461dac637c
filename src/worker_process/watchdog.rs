//! A process of its own that sees to it that workers, even those that hang, do not outlive
//! whoever serves them: nobody else is left when that one is killed.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::Shutdown,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{self, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::{
        signal::{SigHandler, Signal, signal},
        socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg},
    },
};

use super::child::Child;
use crate::{
    passed_fds,
    pidfd::{PidFd, end_orphans, forget_ended, poll, poll_entry},
};

/// Signals to everybody must not end it before its work is done. It may write to any terminal.
const IGNORED: [Signal; 5] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTTOU];

/// Why there is no watchdog.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    #[error("this system has no descriptors for processes: {0}")]
    NoDescriptors(#[source] io::Error),
    #[error("cannot start it: {0}")]
    Start(#[from] io::Error),
}

/// The watchdog of this process. Dropped, it is gone as soon as the workers are.
#[derive(Debug)]
pub struct Watchdog {
    process: process::Child,
    /// Nobody else has this end, so the watchdog hears of our death.
    socket: UnixStream,
    lost: AtomicBool,
}

impl Watchdog {
    /// Starts it by a command that calls [`watch`] and nothing else.
    pub fn start(mut command: Command) -> Result<Self, WatchdogError> {
        PidFd::open(nix::unistd::getpid().as_raw()).map_err(WatchdogError::NoDescriptors)?;
        let (socket, its_socket) = UnixStream::pair()?;
        // A watchdog that is stopped must not stop us.
        socket.set_nonblocking(true)?;
        let process = command
            .stdin(Stdio::from(OwnedFd::from(its_socket)))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { process, socket, lost: AtomicBool::new(false) })
    }

    /// From now on the worker will not outlive us. Its end needs no message: the watchdog sees it.
    pub(super) fn guard(&self, worker: &Child) {
        let Some(pidfd) = worker.pidfd() else { return };
        let pid = worker.pid().to_ne_bytes();
        // The descriptor, not only the pid: that may be another's by the time it is read.
        let fds = [pidfd.as_raw_fd()];
        let sent = sendmsg::<UnixAddr>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(&pid)],
            &[ControlMessage::ScmRights(&fds)],
            MsgFlags::from_bits_retain(passed_fds::SEND),
            None,
        );
        if let Err(error) = sent
            && !self.lost.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "the watchdog is lost: workers that hang may outlive this process");
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        // Or it would stay a zombie where nobody adopts orphans.
        let _ = self.process.wait();
    }
}

/// The watchdog's life: learns of workers on stdin until the other end is gone, then ends those
/// that hang. Says how many it had to kill. Fails, and kills nobody, if it cannot do its work.
pub fn watch() -> io::Result<usize> {
    for number in IGNORED {
        // SAFETY: no handler is installed.
        unsafe { signal(number, SigHandler::SigIgn) }?;
    }
    let stdin = io::stdin().as_raw_fd();
    let mut running: Vec<PidFd> = Vec::new();
    loop {
        let fds = running.iter().map(AsRawFd::as_raw_fd).chain([stdin]);
        let mut polled: Vec<_> = fds.map(poll_entry).collect();
        poll(&mut polled, -1)?;
        forget_ended(&mut running, &polled);
        if polled.last().is_some_and(|news| news.revents != 0) {
            match receive(stdin) {
                Ok(Some(process)) => running.push(process),
                Ok(None) | Err(Errno::ECONNRESET) => return Ok(end_orphans(running)),
                // Without room for one more descriptor the others are still worth watching.
                Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The next worker. The kernel never joins bytes that come with different descriptors.
fn receive(socket: RawFd) -> Result<Option<PidFd>, Errno> {
    let mut pid = [0; 4];
    let mut space = cmsg_space!(RawFd);
    let mut fd = None;
    let length = {
        let mut parts = [IoSliceMut::new(&mut pid)];
        let flags = MsgFlags::empty();
        let message = recvmsg::<UnixAddr>(socket, &mut parts, Some(&mut space), flags)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = control {
                for new in received {
                    // SAFETY: the kernel has just made this descriptor for us.
                    fd = Some(unsafe { OwnedFd::from_raw_fd(new) });
                }
            }
        }
        message.bytes
    };
    match (length, fd) {
        (0, _) => Ok(None),
        (4, Some(fd)) => Ok(Some(PidFd { pid: libc::pid_t::from_ne_bytes(pid), fd })),
        _ => Err(Errno::ENOBUFS),
    }
}
