//! The few system calls that `std` has no words for.

use std::{
    ffi::{CString, OsStr, OsString},
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
    ptr,
};

use crate::passed_fds;

/// Most fds that come with one message: the two of a channel.
pub const FDS: usize = 2;

pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: asks for flags only; any number is a valid argument.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

/// Turns this process into another program. Returns only if that fails.
pub fn replace(binary: &Path, args: &[OsString], env: Vec<(OsString, OsString)>) -> io::Error {
    let c_string = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::from);
    let strings = |texts: Vec<OsString>| -> io::Result<Vec<CString>> {
        texts.iter().map(|text| c_string(text)).collect()
    };
    let pairs = env
        .into_iter()
        .map(|(name, value)| {
            let mut pair = name.into_vec();
            pair.push(b'=');
            pair.extend_from_slice(value.as_bytes());
            OsString::from_vec(pair)
        })
        .collect();
    let prepared =
        (|| Ok((c_string(binary.as_os_str())?, strings(args.to_vec())?, strings(pairs)?)))();
    let (path, args, env) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return error,
    };
    let pointers = |texts: &[CString]| {
        texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>()
    };
    let (arg_pointers, env_pointers) = (pointers(&args), pointers(&env));
    // SAFETY: both arrays end with a null pointer and the strings behind them outlive the call.
    unsafe { libc::execve(path.as_ptr(), arg_pointers.as_ptr(), env_pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Puts the two fds where a worker expects its channel: 3 is its input, 4 its output.
pub fn install_channel(input: OwnedFd, output: OwnedFd) -> io::Result<()> {
    // First out of the way: either may be 3 or 4 itself, to be closed before dup2 takes the number.
    let (high_input, high_output) = (copy_above(&input, 10)?, copy_above(&output, 10)?);
    drop((input, output));
    for (from, to) in [(&high_input, 3), (&high_output, 4)] {
        // SAFETY: `from` is open and owned here; `to` is a fixed number that mediasoup gave us.
        if unsafe { libc::dup2(from.as_raw_fd(), to) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn copy_above(fd: &OwnedFd, lowest: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: `fd` is open; the new descriptor is owned by nobody else.
    unsafe {
        match libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) {
            -1 => Err(io::Error::last_os_error()),
            new => Ok(OwnedFd::from_raw_fd(new)),
        }
    }
}

/// Space for the control message that carries `FDS` descriptors, aligned as the kernel wants it.
#[repr(align(8))]
struct Control([u8; 64]);

/// Sends bytes together with two fds.
pub fn send_with_fds(socket: RawFd, bytes: &[u8], fds: [RawFd; FDS]) -> io::Result<usize> {
    let mut control = Control([0; 64]);
    let size = u32::try_from(size_of_val(&fds)).unwrap_or(0);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero msghdr is valid; every pointer set below outlives the call, and
    // CMSG_SPACE of two ints is far below the 64 bytes of `control`.
    unsafe {
        let mut message: libc::msghdr = MaybeUninit::zeroed().assume_init();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(header).cast(), FDS);
        match libc::sendmsg(socket, &raw const message, passed_fds::SEND) {
            -1 => Err(io::Error::last_os_error()),
            sent => Ok(usize::try_from(sent).unwrap_or(0)),
        }
    }
}

/// Receives bytes and whatever fds come with them.
pub fn receive(socket: RawFd, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: as above; the kernel writes at most `msg_controllen` bytes of control data, and each
    // descriptor in it is new and ours.
    unsafe {
        let mut message: libc::msghdr = MaybeUninit::zeroed().assume_init();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len() as _;
        let received = libc::recvmsg(socket, &raw mut message, passed_fds::RECEIVE);
        if received == -1 {
            return Err(io::Error::last_os_error());
        }
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header);
                for index in 0..bytes / size_of::<RawFd>() {
                    let mut fd: RawFd = -1;
                    let from = data.add(index * size_of::<RawFd>());
                    ptr::copy_nonoverlapping(from, (&raw mut fd).cast(), size_of::<RawFd>());
                    fds.push(passed_fds::keep_from_others(OwnedFd::from_raw_fd(fd)));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
        Ok(usize::try_from(received).unwrap_or(0))
    }
}

/// These would stop this process, which mediasoup would take for a worker that lives.
const STOPPING: [i32; 4] = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// Ends this process by that signal, as the worker did, without a core file of the stub.
pub fn die_by(signal: i32) -> ! {
    if !STOPPING.contains(&signal) {
        // SAFETY: plain calls with valid arguments; the mask is filled before use.
        unsafe {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
            libc::signal(signal, libc::SIG_DFL);
            let mut mask = MaybeUninit::zeroed().assume_init();
            libc::sigemptyset(&raw mut mask);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, ptr::null_mut());
            libc::kill(libc::getpid(), signal);
        }
    }
    // A signal whose default is not to end a process, or none at all: an agent said so.
    std::process::exit(128 + signal.clamp(0, 127))
}
