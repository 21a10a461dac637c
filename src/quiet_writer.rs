//! The writing end of a socket that the event loop hears of only while it is full. A socket that
//! stays registered wakes its thread each time the peer reads, twice for every round trip.

use std::{
    io::{self, IoSlice, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
};

use tokio::io::{Interest, unix::AsyncFd};

/// A non-blocking socket that is only written to.
#[derive(Debug)]
pub struct QuietWriter {
    socket: UnixStream,
}

struct Borrowed(RawFd);

impl AsRawFd for Borrowed {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl QuietWriter {
    /// Takes the socket and makes it non-blocking.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Writes what the kernel takes now; `WouldBlock` if that is nothing.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.socket).write(bytes)
    }

    /// Whether the peer has read all that was written. Always true where the system cannot tell.
    pub fn is_drained(&self) -> bool {
        #[cfg(target_os = "linux")]
        {
            let mut unread: libc::c_int = 0;
            // SAFETY: the socket is open, and the call writes one integer.
            let told =
                unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unread) };
            told == -1 || unread == 0
        }
        #[cfg(not(target_os = "linux"))]
        true
    }

    /// Waits until the kernel takes more. Cancel-safe.
    pub async fn writable(&self) -> io::Result<()> {
        let borrowed = Borrowed(self.socket.as_raw_fd());
        // SAFETY: the registration ends with this call at the latest, and the socket, borrowed
        // for as long, stays open and the same.
        let registered = unsafe { AsyncFd::register_with_interest(borrowed, Interest::WRITABLE) }
            .map_err(io::Error::from)?;
        let _ready = registered.writable().await?;
        Ok(())
    }

    /// Writes once, as much as the kernel takes, waiting while that is nothing. Cancel-safe: a
    /// dropped call has written nothing.
    pub async fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match (&self.socket).write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn tells_when_all_was_read() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let writer = QuietWriter::new(ours).unwrap();
        assert!(writer.is_drained());
        assert_eq!(writer.try_write(&[1; 1000]).unwrap(), 1000);
        assert!(!writer.is_drained());
        theirs.read_exact(&mut [0; 999]).unwrap();
        assert!(!writer.is_drained());
        theirs.read_exact(&mut [0]).unwrap();
        assert!(writer.is_drained());
        assert_eq!(writer.try_write(&[1; 1000]).unwrap(), 1000);
        drop(theirs);
        assert!(writer.is_drained(), "nobody is left to read it");
    }

    #[tokio::test]
    async fn waits_while_the_socket_is_full() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let writer = QuietWriter::new(ours).unwrap();
        let chunk = vec![7; 64 * 1024];
        let mut written = 0;
        while let Ok(count) = writer.try_write(&chunk) {
            written += count;
        }
        let reading = std::thread::spawn(move || {
            let mut all = vec![0; written + 3];
            theirs.read_exact(&mut all).unwrap();
            all.ends_with(&[7, 1, 2, 3])
        });
        assert_eq!(writer.write_vectored(&[IoSlice::new(&[1, 2, 3])]).await.unwrap(), 3);
        assert!(reading.join().unwrap());
    }
}
