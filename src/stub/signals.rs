//! How a process that stands for a mediasoup-worker takes signals. `std` and `libc` only: the stub
//! includes this file.

/// As mediasoup-worker: these must not end it.
pub const IGNORED: [i32; 5] =
    [libc::SIGPIPE, libc::SIGHUP, libc::SIGALRM, libc::SIGUSR1, libc::SIGUSR2];
/// std catches these to report stack overflows and then returns; they must end this process at once,
/// as they end a worker.
const FAULTS: [i32; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Takes signals as a worker does, but for those that close it.
pub fn take_as_a_worker() {
    for number in IGNORED {
        // SAFETY: no handler of ours runs; the signals are merely ignored.
        unsafe { libc::signal(number, libc::SIG_IGN) };
    }
    for number in FAULTS {
        // SAFETY: back to the action that every process starts with.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}
