//! How a virtual worker comes to its end: told to, or left alone.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Machine, Relay, parts::Step};
use crate::connection::{Exit, WorkerCommand, WorkerEvent};

/// How long the library may take to read the last messages of a worker that is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Between two looks at what the library has left unread, which no event tells.
const DRAIN_POLL: Duration = Duration::from_millis(1);
/// How long a worker may take to go once nobody wants it.
const FAREWELL: Duration = Duration::from_secs(8);
const SIGKILL: i32 = 9;

impl<M: Machine> Relay<M> {
    /// Only signals that end a worker get here.
    pub(super) fn signal(&mut self, signal: i32) -> Option<Exit> {
        self.close(WorkerCommand::Signal(signal))
    }

    /// Ends the virtual worker: its leading part as told, the others with it.
    pub(super) fn close(&mut self, how: WorkerCommand) -> Option<Exit> {
        self.closing = true;
        self.parts.remove_opening();
        let Some(leader) = self.parts.leader() else { return Some(Exit::Code(0)) };
        self.parts.command(leader, how);
        for part in self.parts.ids() {
            if part != leader {
                self.parts.command(part, WorkerCommand::CloseInput);
            }
        }
        None
    }

    /// Gives the library the time to read what the worker said last. Node hears of the end of a
    /// process beside what is left in its sockets, and mediasoup then drops the rest.
    pub(super) async fn last_words(&mut self) {
        let _ = timeout(LAST_WORDS, async {
            while !self.out.is_empty() && self.library.output.writable().await.is_ok() {
                self.write_library();
            }
            while self.writing && !self.library.output.is_drained() {
                sleep(DRAIN_POLL).await;
            }
        })
        .await;
    }

    /// Nobody waits for this virtual worker any more: kills its workers and sees them gone.
    pub(super) async fn abandon(mut self) -> Exit {
        self.tell_ends();
        self.parts.remove_opening();
        let leader = self.parts.leader();
        for part in self.parts.ids() {
            if self.parts.urgent(part, WorkerCommand::Signal(SIGKILL)) {
                self.parts.command(part, WorkerCommand::CloseInput);
            } else {
                // Behind all that waits a kill comes too late. Whoever holds the other end of a
                // link that is dropped ends the worker.
                self.parts.remove(part);
            }
        }
        let mut end = Exit::Signal(SIGKILL);
        let gone = async {
            while !self.parts.is_empty() {
                let (part, exit) = match self.parts.next(true).await {
                    Step::Event(part, Some(WorkerEvent::Exited(exit))) => (part, Some(exit)),
                    Step::Event(part, None) => (part, None),
                    Step::Event(..) | Step::Opened(..) | Step::Flushed => continue,
                };
                self.parts.remove(part);
                if let (true, Some(exit)) = (leader == Some(part), exit) {
                    end = exit;
                }
            }
        };
        let _ = timeout(FAREWELL, gone).await;
        end
    }
}
