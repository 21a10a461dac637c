//! How a relay is looked at from outside while it is at work.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::sync::{mpsc, oneshot};

use super::{Machine, Relay};
use crate::{
    monitor::Tally,
    virtual_worker::{Census, CloseReason, ObjectChange, PartId},
};

/// Of how many parts a relay knows where they lived.
const REMEMBERED: usize = 64;

/// How many questions may wait for a relay.
pub const QUESTIONS: usize = 8;

/// What a relay is asked.
pub enum Question {
    /// What there is. `objects`: name every one.
    Report { objects: bool, reply: oneshot::Sender<Report> },
    /// How much goes through the pipes. Answered once the workers have answered.
    Measure { reply: oneshot::Sender<()> },
}

/// What a relay tells of a Worker.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub census: Census,
    pub parts: Vec<PartReport>,
    /// Bytes that the library has yet to read.
    pub library_bytes: usize,
}

/// One real worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartReport {
    pub part: PartId,
    /// Where it lives; `None` while it is being started.
    pub connection: Option<String>,
    /// On its own host.
    pub pid: Option<u32>,
    /// False while the link to its host is down.
    pub reachable: bool,
    /// Bytes that it has yet to take.
    pub queued_bytes: usize,
}

/// Who hears of objects: with the change, the connection that the object lives on.
pub type Tell = Box<dyn Fn(ObjectChange, &str) + Send>;

/// Everybody who looks.
pub struct Watch {
    pub questions: mpsc::Receiver<Question>,
    pub tally: Arc<Tally>,
    pub tell: Option<Tell>,
    /// Set if it is the app that ends the Worker.
    pub closed: Arc<AtomicBool>,
}

impl Watch {
    /// Nobody looks.
    pub fn nobody() -> Self {
        let (_, questions) = mpsc::channel(1);
        Self { questions, tally: Arc::default(), tell: None, closed: Arc::default() }
    }
}

impl<M: Machine> Relay<M> {
    pub(super) fn answer(&mut self, question: Question) {
        // Whoever asked may have given up.
        match question {
            Question::Report { objects, reply } => {
                let _ = reply.send(Report {
                    census: self.machine.census(objects),
                    parts: self.parts.report(),
                    library_bytes: self.out.len(),
                });
            }
            Question::Measure { reply } => {
                self.measuring.retain(|waiting| !waiting.is_closed());
                self.measuring.push(reply);
                self.machine.measure(&mut self.outputs);
                self.settle();
            }
        }
    }

    /// Remembers where a part lives, for when it is gone before all that was there.
    pub(super) fn note_connection(&mut self, part: PartId, connection: String) {
        if self.connections.len() >= REMEMBERED {
            let ids = self.parts.ids();
            self.connections.retain(|part, _| ids.contains(part));
        }
        self.connections.insert(part, connection);
    }

    /// Tells of what came and went, and that what was asked of workers is there.
    pub(super) fn tell_changes(&mut self) {
        if !self.measuring.is_empty() && !self.machine.measuring() {
            for waiting in self.measuring.drain(..) {
                let _ = waiting.send(());
            }
        }
        let Some(tell) = &self.tell else { return };
        for change in self.machine.take_changes() {
            let connection = self.connections.get(&change.part);
            tell(change, connection.map(String::as_str).unwrap_or_default());
        }
    }

    /// The virtual worker is gone, and with it all that is left.
    pub(super) fn tell_ends(&mut self) {
        let closed = self.machine.is_closing();
        self.closed.store(closed, Relaxed);
        let reason = if closed { CloseReason::Closed } else { CloseReason::WorkerGone };
        self.machine.end_objects(reason);
        self.tell_changes();
    }
}
