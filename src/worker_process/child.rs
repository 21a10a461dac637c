//! One child process from its start until it is reaped. Only its own pid is ever waited for, so
//! it lives beside libuv's children in a Node.js process.

use std::{io, mem::MaybeUninit, os::fd::BorrowedFd, thread, time::Duration};

#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, AsRawFd};

use parking_lot::Mutex;
#[cfg(target_os = "linux")]
use tokio::io::{Interest, unix::AsyncFd};
use tokio::sync::oneshot;

use crate::connection::Exit;
#[cfg(target_os = "linux")]
use crate::pidfd::PidFd;

/// A child process in a process group of its own. Dropped while it runs, it is killed and reaped.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    /// How it ended, once it is reaped. From then on the pid may belong to somebody else.
    exit: Mutex<Option<Exit>>,
    /// `None` where the kernel has no pidfd or forbids it.
    #[cfg(target_os = "linux")]
    pidfd: Option<AsyncFd<PidFd>>,
}

impl Child {
    /// Takes over a child that was just started and that nobody else waits for.
    pub fn adopt(pid: libc::pid_t) -> Self {
        Self {
            pid,
            exit: Mutex::new(None),
            #[cfg(target_os = "linux")]
            pidfd: open_pidfd(pid)
                .inspect_err(|error| tracing::debug!(pid, %error, "no pidfd, a thread waits"))
                .ok(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// A descriptor that means this process and no later one of the same pid.
    #[cfg(target_os = "linux")]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(|pidfd| pidfd.get_ref().fd.as_fd())
    }

    #[cfg(not(target_os = "linux"))]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Sends a signal unless the process is reaped already. Says whether it was sent.
    pub fn signal(&self, signal: i32) -> bool {
        let exit = self.exit.lock();
        if exit.is_some() {
            return false;
        }
        #[cfg(target_os = "linux")]
        if let Some(pidfd) = &self.pidfd {
            return pidfd.get_ref().signal(signal);
        }
        // SAFETY: no memory is involved. While the lock is held nobody reaps, so the pid is ours.
        unsafe { libc::kill(self.pid, signal) == 0 }
    }

    /// Ends the process and what it started in its group.
    pub fn kill_group(&self) {
        let exit = self.exit.lock();
        if exit.is_none() {
            // SAFETY: no memory is involved. While the lock is held nobody reaps, so the group
            // that bears the pid is ours.
            unsafe { libc::kill(-self.pid, libc::SIGKILL) };
        }
    }

    /// Waits until the process has ended and reaps it. Cancel-safe.
    pub async fn wait(&self) -> Exit {
        #[cfg(target_os = "linux")]
        if let Some(pidfd) = &self.pidfd {
            loop {
                if let Some(exit) = self.try_reap() {
                    return exit;
                }
                let Ok(mut ready) = pidfd.readable().await else { break };
                // Looks once more before it forgets the readiness: the end may be in between.
                if let Some(exit) = self.try_reap() {
                    return exit;
                }
                ready.clear_ready();
            }
        }
        self.wait_by_thread().await
    }

    async fn wait_by_thread(&self) -> Exit {
        let pid = self.pid;
        let (ended, end) = oneshot::channel::<()>();
        let waiter = thread::Builder::new().name("worker-reaper".into()).spawn(move || {
            // It only waits; reaping needs the lock that signals take.
            let _ = wait_id(libc::P_PID, pid.unsigned_abs(), libc::WNOWAIT);
            drop(ended);
        });
        if let Err(error) = waiter {
            tracing::error!(pid, %error, "no thread to wait for a worker; it is killed");
            self.kill_group();
        }
        // Nothing is ever sent: the closed channel is the news.
        let _ = end.await;
        loop {
            if let Some(exit) = self.try_reap() {
                return exit;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How the process ended, reaping it if that has not been done.
    pub fn try_reap(&self) -> Option<Exit> {
        let mut exit = self.exit.lock();
        if exit.is_none() {
            let (kind, id) = self.wait_target();
            *exit = match wait_id(kind, id, libc::WNOHANG) {
                Ok(ended) => ended,
                Err(error) => Some(Exit::Lost(format!(
                    "the exit status of worker process {} is lost: {error}; something else in \
                     this process waits for every child",
                    self.pid
                ))),
            };
        }
        exit.clone()
    }

    fn wait_target(&self) -> (libc::idtype_t, libc::id_t) {
        // Whatever else in this process reaps and starts, a pidfd means this one child.
        #[cfg(target_os = "linux")]
        if let Some(pidfd) = &self.pidfd {
            return (libc::P_PIDFD, pidfd.as_raw_fd().unsigned_abs());
        }
        (libc::P_PID, self.pid())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Only a runtime that shuts down gets here with a process that runs.
        if self.try_reap().is_some() {
            return;
        }
        self.kill_group();
        let pid = self.pid;
        let reaper = thread::Builder::new()
            .name("worker-reaper".into())
            .spawn(move || wait_id(libc::P_PID, pid.unsigned_abs(), 0));
        if let Err(error) = reaper {
            tracing::error!(pid, %error, "no thread to reap a killed worker");
        }
    }
}

/// Waits for the end of one process. `None`: it runs on (only with `WNOHANG`).
fn wait_id(kind: libc::idtype_t, id: libc::id_t, options: libc::c_int) -> io::Result<Option<Exit>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: `info` is valid for writes of one siginfo_t.
        if unsafe { libc::waitid(kind, id, info.as_mut_ptr(), libc::WEXITED | options) } == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: it was zeroed, which is a valid siginfo_t, and waitid may have filled it.
    let info = unsafe { info.assume_init() };
    // SAFETY: after waitid these two fields are the ones that are set (or zero).
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok((pid != 0).then_some(match info.si_code {
        libc::CLD_EXITED => Exit::Code(status),
        _ => Exit::Signal(status),
    }))
}

#[cfg(target_os = "linux")]
fn open_pidfd(pid: libc::pid_t) -> io::Result<AsyncFd<PidFd>> {
    let pidfd = PidFd::open(pid)?;
    // SAFETY: the AsyncFd owns the descriptor, so it stays open and the same until the end.
    unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Starts a script and gives up std's own handle, so that nothing else waits for it.
    #[expect(clippy::zombie_processes, reason = "the Child under test waits")]
    fn start(script: &str) -> Child {
        let child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .spawn()
            .expect("/bin/sh starts");
        Child::adopt(libc::pid_t::try_from(child.id()).expect("a pid"))
    }

    #[tokio::test]
    async fn tells_codes_and_signals() {
        assert_eq!(start("exit 42").wait().await, Exit::Code(42));
        assert_eq!(start("kill -SEGV $$").wait().await, Exit::Signal(libc::SIGSEGV));
        // Numbers beyond the classic signals count too.
        assert_eq!(start("kill -40 $$").wait().await, Exit::Signal(40));
    }

    #[tokio::test]
    async fn waits_without_pidfd() {
        let mut child = start("sleep 0.05; exit 7");
        child.pidfd = None;
        assert_eq!(child.wait().await, Exit::Code(7));
    }

    #[tokio::test]
    async fn signals_only_while_the_pid_is_its_own() {
        let child = start("exec sleep 100");
        assert!(child.signal(libc::SIGTERM));
        assert_eq!(child.wait().await, Exit::Signal(libc::SIGTERM));
        assert!(!child.signal(libc::SIGTERM));
        assert_eq!(child.wait().await, Exit::Signal(libc::SIGTERM), "the answer stays");
    }

    #[tokio::test]
    async fn says_when_somebody_else_reaped() {
        let child = start("exit 0");
        wait_id(libc::P_PID, child.pid(), 0).expect("reaped behind its back");
        assert!(matches!(child.wait().await, Exit::Lost(text) if text.contains("exit status")));
    }
}
