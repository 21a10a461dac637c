//! Flags for messages that carry descriptors. `std` and `libc` only, for the stub uses it too.

use std::os::fd::OwnedFd;

/// For sending: a peer that is gone is an error, no signal.
pub const SEND: libc::c_int = libc::MSG_NOSIGNAL;

/// For receiving: no program that is started later inherits what comes.
#[cfg(target_os = "linux")]
pub const RECEIVE: libc::c_int = libc::MSG_CMSG_CLOEXEC;
/// For receiving. This system cannot keep what comes from programs that are started later.
#[cfg(not(target_os = "linux"))]
pub const RECEIVE: libc::c_int = 0;

/// Keeps a received descriptor from programs that are started later, where receiving could not.
pub fn keep_from_others(fd: OwnedFd) -> OwnedFd {
    #[cfg(not(target_os = "linux"))]
    {
        use std::os::fd::AsRawFd;
        // SAFETY: sets a flag of a descriptor that is open and ours.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    fd
}
