//! Starts a worker by `posix_spawn`: fork and exec out of a large Node.js process takes tens of
//! milliseconds, and code between the two would run in a copy of a process full of threads.

use std::{
    ffi::{CString, OsString},
    fs::OpenOptions,
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{ffi::OsStringExt, net::UnixStream},
    },
    path::PathBuf,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp},
    sys::signal::SigSet,
    unistd::Pid,
};

use super::child::Child;
use crate::connection::SpawnError;

/// The descriptors of a worker: the channel into it and the channel out of it.
const INPUT_FD: RawFd = 3;
const OUTPUT_FD: RawFd = 4;

/// Sources of the dup2s lie at or above this, so that none overwrites another.
const SOURCE_MIN: RawFd = 10;

/// What to start.
#[derive(Debug)]
pub struct Plan {
    /// Looked up in PATH if it has no slash.
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub environment: Vec<CString>,
}

/// A process that runs, and our ends of its descriptors. All are close-on-exec.
#[derive(Debug)]
pub struct Spawned {
    pub child: Child,
    pub input: UnixStream,
    pub output: UnixStream,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Starts a process. Must be called within a tokio runtime.
pub fn spawn(plan: &Plan) -> Result<Spawned, SpawnError> {
    try_spawn(plan).map_err(|errno| failed(plan, errno))
}

/// The error in the words of Node.js.
pub fn failed(plan: &Plan, errno: Errno) -> SpawnError {
    SpawnError::Spawn { path: plan.program.display().to_string(), code: format!("{errno:?}") }
}

/// The error number behind an I/O error.
pub fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn try_spawn(plan: &Plan) -> Result<Spawned, Errno> {
    let program = zero_terminated(plan.program.as_os_str().to_owned())?;
    let mut argv = vec![program.clone()];
    for arg in &plan.args {
        argv.push(zero_terminated(arg.clone())?);
    }

    let (input, its_input) = UnixStream::pair().map_err(|error| errno(&error))?;
    let (output, its_output) = UnixStream::pair().map_err(|error| errno(&error))?;
    let (stdout, its_stdout) = pipe()?;
    let (stderr, its_stderr) = pipe()?;
    let null = OpenOptions::new().read(true).open("/dev/null").map_err(|error| errno(&error))?;

    let sources = [
        high(null.into())?,
        high(its_stdout)?,
        high(its_stderr)?,
        high(its_input.into())?,
        high(its_output.into())?,
    ];
    let mut actions = PosixSpawnFileActions::init()?;
    for (source, target) in sources.iter().zip([0, 1, 2, INPUT_FD, OUTPUT_FD]) {
        actions.add_dup2(source.as_raw_fd(), target)?;
    }

    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    // A group of its own, or Ctrl-C reaches the worker beside the app.
    attributes.set_pgroup(Pid::from_raw(0))?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;

    let pid = posix_spawnp(&program, &actions, &attributes, &argv, &plan.environment)?;
    Ok(Spawned { child: Child::adopt(pid.as_raw()), input, output, stdout, stderr })
}

fn zero_terminated(text: OsString) -> Result<CString, Errno> {
    CString::new(text.into_vec()).map_err(|_| Errno::EINVAL)
}

/// The descriptor itself if it lies high enough, else a higher one.
fn high(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() >= SOURCE_MIN {
        return Ok(fd);
    }
    let higher = fcntl(fd.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(SOURCE_MIN))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(higher) })
}

/// A pipe, both ends close-on-exec from the start: libuv forks from other threads.
#[cfg(target_os = "linux")]
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
}

/// std makes them close-on-exec as early as the system allows.
#[cfg(not(target_os = "linux"))]
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reader, writer) = io::pipe().map_err(|error| errno(&error))?;
    Ok((reader.into(), writer.into()))
}
