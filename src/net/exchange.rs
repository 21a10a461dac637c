//! What one end of a session keeps from link to link: the frames that wait to be written and the
//! books about those that were.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use crate::{
    queue,
    session::{ImpossibleNumber, Ledger, REPLAY_LIMIT},
    wire::Frame,
};

/// How many bytes of frames may wait for the link. Beyond that, workers' own queues fill.
const OUTBOUND_LIMIT: usize = 4 * 1024 * 1024;

struct State {
    ledger: Ledger<Frame>,
    waiting: queue::Receiver<Frame>,
    /// Whoever writes and found the ledger full.
    writer: Option<Waker>,
}

/// One end of a session. A link at a time writes and reads through it.
pub struct Exchange(Mutex<State>);

impl Exchange {
    /// A new session, and where its data frames go. Sending fails once the session is gone.
    pub fn new() -> (queue::Sender<Frame>, Arc<Self>) {
        Self::with_limit(REPLAY_LIMIT)
    }

    /// As [`Self::new`], with a replay buffer of that many bytes.
    pub fn with_limit(limit: usize) -> (queue::Sender<Frame>, Arc<Self>) {
        let (outbound, waiting) = queue::bounded(OUTBOUND_LIMIT);
        let state = State { ledger: Ledger::new(limit), waiting, writer: None };
        (outbound, Arc::new(Self(Mutex::new(state))))
    }

    /// How many of the peer's data frames have arrived.
    pub fn received(&self) -> u64 {
        self.0.lock().ledger.received()
    }

    /// Bytes that wait for an acknowledgement.
    pub fn unacknowledged_bytes(&self) -> usize {
        self.0.lock().ledger.bytes()
    }

    /// Whether a new link could resume with that number, without ending the present one.
    pub fn check(&self, seen: u64) -> Result<(), ImpossibleNumber> {
        self.0.lock().ledger.check_resume(seen)
    }

    /// A new link, whose peer has seen so many of this end's frames. No other link may be at work.
    pub fn resume(&self, seen: u64) -> Result<(), ImpossibleNumber> {
        self.0.lock().ledger.resume(seen)
    }

    pub(super) fn arrived(&self) {
        self.0.lock().ledger.arrived();
    }

    pub(super) fn acknowledge(&self, seen: u64) -> Result<(), ImpossibleNumber> {
        let writer = {
            let mut state = self.0.lock();
            if state.ledger.acknowledge(seen)? { state.writer.take() } else { None }
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        Ok(())
    }

    /// While the replay buffer is full: how many frames the peer acknowledged until now.
    pub(super) fn full_since(&self) -> Option<u64> {
        let state = self.0.lock();
        (!state.ledger.has_room()).then(|| state.ledger.acknowledged())
    }

    /// The next frame to write, `None` once nobody can send any more. Cancel-safe: a frame leaves
    /// the queue only into the ledger.
    pub(super) async fn next(&self) -> Option<Frame> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The next frame to write if there is one now.
    pub(super) fn try_next(&self) -> Option<Frame> {
        match self.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => frame,
            Poll::Pending => None,
        }
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        let mut state = self.0.lock();
        loop {
            if let Some(frame) = state.ledger.next_to_write() {
                return Poll::Ready(Some(frame.clone()));
            }
            if !state.ledger.has_room() {
                state.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
            match state.waiting.poll_recv(context) {
                Poll::Ready(Some(frame)) => {
                    // There is room: it was asked above, under the same lock.
                    let _ = state.ledger.number(frame.in_own_memory());
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
