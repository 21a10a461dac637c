//! What a worker says: channel messages, stdout, stderr.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    select,
    sync::watch,
    time::{Instant, timeout_at},
};

use super::link::{Ending, Endings};
use crate::{
    channel::framing::{FrameReader, FramingError},
    connection::WorkerEvent,
    queue,
};

/// How long the output of a dead worker may take to end. It ends at once unless a process that
/// the worker started holds it open.
pub const DRAIN_TIME: Duration = Duration::from_secs(1);

/// What a dead worker can have left in the kernel's buffers is far less than this.
const DRAIN_MAX: usize = 16 * 1024 * 1024;

/// The most that one event carries of stdout or stderr.
const CHUNK: usize = 8 * 1024;

/// Reads one stream until its end. Once the worker is dead it gives up at the deadline.
pub struct Source<R> {
    stream: R,
    dead: watch::Receiver<Option<Instant>>,
    drained: usize,
}

impl<R: AsyncRead + Unpin> Source<R> {
    pub fn new(stream: R, dead: watch::Receiver<Option<Instant>>) -> Self {
        Self { stream, dead, drained: 0 }
    }

    /// Reads into the room of the buffer. Zero: nothing more comes.
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            let deadline = *self.dead.borrow_and_update();
            if let Some(deadline) = deadline {
                if self.drained >= DRAIN_MAX {
                    return Ok(0);
                }
                let read = timeout_at(deadline, self.stream.read_buf(buffer)).await;
                let length = read.unwrap_or(Ok(0))?;
                self.drained += length;
                return Ok(length);
            }
            select! {
                biased;
                // Cancel-safe: a read that was dropped has read nothing.
                length = self.stream.read_buf(buffer) => return length,
                // Cancel-safe. Without the sender nobody waits for what is left.
                changed = self.dead.changed() => if changed.is_err() { return Ok(0) },
            }
        }
    }
}

/// Forwards whole channel messages until the channel ends or breaks.
pub async fn read_channel<R: AsyncRead + Unpin>(
    mut source: Source<R>,
    events: queue::Sender<WorkerEvent>,
    endings: Endings,
) -> Result<(), FramingError> {
    let mut frames = FrameReader::default();
    let result = loop {
        match source.read(frames.buffer()).await {
            Ok(0) | Err(_) => break Ok(()),
            Ok(_) => {}
        }
        match forward(&mut frames, &events).await {
            Ok(()) => {}
            Err(error) => break Err(error),
        }
    };
    // A worker that cannot speak any more is of no use.
    endings.raise(if result.is_err() { Ending::Killed } else { Ending::Asked });
    if let Err(error) = result {
        let text = format!("mediasoup-horizontal: the worker is given up: {error}\n");
        let _ = events.send(WorkerEvent::Stderr(text.into())).await;
    }
    result
}

async fn forward(
    frames: &mut FrameReader,
    events: &queue::Sender<WorkerEvent>,
) -> Result<(), FramingError> {
    while let Some(message) = frames.next()? {
        // Where nobody listens any more the worker still must not block: read and forget.
        let _ = events.send(WorkerEvent::Message(message)).await;
    }
    Ok(())
}

/// Forwards what comes on stdout or stderr until it ends.
pub async fn read_text<R: AsyncRead + Unpin>(
    mut source: Source<R>,
    events: queue::Sender<WorkerEvent>,
    event: fn(Bytes) -> WorkerEvent,
) {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        match source.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                // A copy: one letter that waits must not keep room for a whole chunk.
                let _ = events.send(event(Bytes::copy_from_slice(&buffer))).await;
                buffer.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// A worker may write letter by letter, and nobody may be reading.
    #[tokio::test]
    async fn a_text_that_waits_takes_no_more_than_its_length() {
        let (mut worker, stream) = tokio::io::duplex(64);
        let (events, mut heard) = queue::bounded(1024 * 1024);
        let dead = watch::Sender::new(None);
        let source = Source::new(stream, dead.subscribe());
        let reading = tokio::spawn(read_text(source, events, WorkerEvent::Stderr));
        for letter in b"cries" {
            worker.write_all(&[*letter]).await.unwrap();
            let Some(WorkerEvent::Stderr(text)) = heard.recv().await else { panic!("no text") };
            assert_eq!(&text[..], [*letter]);
            let own = text.try_into_mut().expect("nothing else refers to it");
            assert!(own.capacity() <= 64, "{} bytes for one", own.capacity());
        }
        drop(worker);
        reading.await.unwrap();
    }
}
