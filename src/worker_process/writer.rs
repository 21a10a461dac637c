//! What a worker hears: channel messages, signals, the end of its input.

use std::{collections::VecDeque, io, io::IoSlice, sync::Arc};

use bytes::{Buf, Bytes};
use tokio::select;

use super::link::{Ending, Endings, Process};
use crate::{connection::WorkerCommand, queue, quiet_writer::QuietWriter};

/// How many bytes leave the bounded queue before they are written. Behind more than this, a
/// signal or the end of the input waits for the worker to read.
const PENDING_MAX: usize = 1024 * 1024;

/// Slices of one vectored write.
const SLICES: usize = 64;

/// The writing side of one worker.
pub struct Writer {
    /// `None` for one that takes no signals from here.
    pub process: Option<Arc<dyn Process>>,
    pub input: QuietWriter,
    pub commands: queue::Receiver<WorkerCommand>,
    pub endings: Endings,
}

impl Writer {
    /// Writes messages until the input is to be closed, closes it, and passes on signals until
    /// every sender of commands is gone.
    pub async fn run(mut self) {
        let mut pending = Pending::default();
        let mut open = true;
        let mut ending = self.endings.watch();
        while open || !pending.is_empty() {
            select! {
                biased;
                // Cancel-safe: a write that was dropped has written nothing.
                written = pending.write(&self.input), if !pending.is_empty() => {
                    // The worker is gone or will be; what it said is still being read.
                    if let Err(error) = written {
                        tracing::debug!(%error, "a worker closed its input");
                        self.endings.raise(Ending::Asked);
                        break;
                    }
                }
                // Cancel-safe: a dropped recv takes nothing from the queue.
                command = self.commands.recv(), if open && pending.has_room() => {
                    open = self.take(command, &mut pending) && self.take_waiting(&mut pending);
                }
                // Cancel-safe. What was queued before the end still goes out.
                () = ending.asked(), if open && pending.has_room() => {
                    open = self.take_waiting(&mut pending) && !pending.has_room();
                }
            }
        }
        let Self { process, input, mut commands, .. } = self;
        drop(input);
        while let Some(command) = commands.recv().await {
            if let (WorkerCommand::Signal(signal), Some(process)) = (command, &process) {
                process.signal(signal);
            }
        }
    }

    /// Takes what waits behind the first command. Says whether the input stays open.
    fn take_waiting(&mut self, pending: &mut Pending) -> bool {
        while pending.has_room() {
            let Some(command) = self.commands.try_recv() else { break };
            if !self.take(Some(command), pending) {
                return false;
            }
        }
        true
    }

    /// Takes one command; `None` stands for the last sender's end. Says whether the input stays
    /// open.
    fn take(&self, command: Option<WorkerCommand>, pending: &mut Pending) -> bool {
        match command {
            Some(WorkerCommand::Message(message)) => pending.push(message),
            Some(WorkerCommand::Signal(signal)) => {
                if let Some(process) = &self.process {
                    process.signal(signal);
                }
            }
            Some(WorkerCommand::CloseInput) | None => {
                self.endings.raise(Ending::Asked);
                return false;
            }
        }
        true
    }
}

/// Messages on their way into one write.
#[derive(Debug, Default)]
struct Pending {
    messages: VecDeque<Bytes>,
    length: usize,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn has_room(&self) -> bool {
        self.length < PENDING_MAX
    }

    fn push(&mut self, message: Bytes) {
        if !message.is_empty() {
            self.length += message.len();
            self.messages.push_back(message);
        }
    }

    /// Writes once, as much as the kernel takes. Cancel-safe.
    async fn write(&mut self, input: &QuietWriter) -> io::Result<()> {
        let written = {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, message) in slices.iter_mut().zip(&self.messages) {
                *slice = IoSlice::new(message);
                count += 1;
            }
            input.write_vectored(&slices[..count]).await?
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.advance(written);
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        self.length -= written;
        while written > 0 {
            let Some(first) = self.messages.front_mut() else { return };
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.messages.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_write_keeps_the_rest() {
        let mut pending = Pending::default();
        for text in ["one", "", "two", "three"] {
            pending.push(Bytes::from_static(text.as_bytes()));
        }
        pending.advance(4);
        assert_eq!(pending.messages, ["wo", "three"]);
        assert_eq!(pending.length, 7);
        pending.advance(7);
        assert!(pending.is_empty());
    }
}
