//! Processes by descriptors that no reused pid can fool, and how they end when whoever started
//! them is gone. `std` and `libc` only: the stub includes this file.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    time::{Duration, Instant},
};

/// How long a worker may take to notice that the process that serves it is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// A process. Its descriptor can be read once it has ended.
#[derive(Debug)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nothing makes one there"))]
pub struct PidFd {
    pub pid: libc::pid_t,
    pub fd: OwnedFd,
}

impl PidFd {
    /// The process that has this pid now. The descriptor is close-on-exec.
    #[cfg(target_os = "linux")]
    pub fn open(pid: libc::pid_t) -> io::Result<Self> {
        use std::os::fd::FromRawFd;
        // SAFETY: takes numbers, returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0);
        let fd = fd.ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the descriptor is new and owned by nobody else.
        Ok(Self { pid, fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Without descriptors for processes a pid could be another's by the time that it counts.
    #[cfg(not(target_os = "linux"))]
    pub fn open(_pid: libc::pid_t) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Says whether the signal was sent.
    #[cfg(target_os = "linux")]
    pub fn signal(&self, signal: i32) -> bool {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open; without an info the kernel makes that of a plain kill.
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.as_raw_fd(), signal, no_info, 0)
        };
        sent == 0
    }

    #[cfg(not(target_os = "linux"))]
    pub fn signal(&self, _signal: i32) -> bool {
        false
    }

    /// Kills the process and, if it leads one, its group.
    fn kill(&self) {
        let mut polled = [poll_entry(self.as_raw_fd())];
        // Only while the process lives its pid surely names its group.
        if self.pid > 1 && poll(&mut polled, 0).is_ok() && polled[0].revents == 0 {
            // SAFETY: no memory is involved.
            unsafe { libc::kill(-self.pid, libc::SIGKILL) };
        }
        self.signal(libc::SIGKILL);
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Waits for the ends of orphaned processes; those that hang are killed, and counted.
pub fn end_orphans(mut running: Vec<PidFd>) -> usize {
    let deadline = Instant::now() + ORPHAN_GRACE;
    while !running.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut polled: Vec<_> = running.iter().map(|one| poll_entry(one.as_raw_fd())).collect();
        let timeout = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        if left.is_zero() || poll(&mut polled, timeout).is_err() {
            break;
        }
        forget_ended(&mut running, &polled);
    }
    for process in &running {
        process.kill();
    }
    running.len()
}

/// Drops the processes whose entries say that they have ended.
pub fn forget_ended(running: &mut Vec<PidFd>, polled: &[libc::pollfd]) {
    let mut ended = polled.iter().map(|entry| entry.revents != 0);
    running.retain(|_| !ended.next().unwrap_or(false));
}

pub fn poll_entry(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// Waits until something can be read. An interrupted wait says that nothing can.
pub fn poll(entries: &mut [libc::pollfd], timeout: i32) -> io::Result<()> {
    let count = libc::nfds_t::try_from(entries.len()).unwrap_or(0);
    // SAFETY: pointer and count describe the slice.
    match unsafe { libc::poll(entries.as_mut_ptr(), count, timeout) } {
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => {
                for entry in entries {
                    entry.revents = 0;
                }
                Ok(())
            }
            error => Err(error),
        },
        _ => Ok(()),
    }
}
