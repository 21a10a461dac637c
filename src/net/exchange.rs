//! What one end of a session keeps from link to link: the frames that wait to be written and the
//! books about those that were.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Meter, Traffic};
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
    /// The latest ping on the present link.
    ping: Option<(u64, Instant)>,
    round_trip: Option<Duration>,
}

/// One end of a session. A link at a time writes and reads through it.
pub struct Exchange {
    state: Mutex<State>,
    meter: Arc<Meter>,
}

impl Exchange {
    /// A new session, and where its data frames go. Sending fails once the session is gone.
    pub fn new() -> (queue::Sender<Frame>, Arc<Self>) {
        Self::metered(Arc::default())
    }

    /// As [`Self::new`], with what goes through it counted there too.
    pub fn metered(meter: Arc<Meter>) -> (queue::Sender<Frame>, Arc<Self>) {
        Self::made(REPLAY_LIMIT, meter)
    }

    /// As [`Self::new`], with a replay buffer of that many bytes.
    pub fn with_limit(limit: usize) -> (queue::Sender<Frame>, Arc<Self>) {
        Self::made(limit, Arc::default())
    }

    fn made(limit: usize, meter: Arc<Meter>) -> (queue::Sender<Frame>, Arc<Self>) {
        let (outbound, waiting) = queue::bounded(OUTBOUND_LIMIT);
        let state = State {
            ledger: Ledger::new(limit),
            waiting,
            writer: None,
            ping: None,
            round_trip: None,
        };
        (outbound, Arc::new(Self { state: Mutex::new(state), meter }))
    }

    /// How many of the peer's data frames have arrived.
    pub fn received(&self) -> u64 {
        self.state.lock().ledger.received()
    }

    /// What its meter counted, of this session and others.
    pub fn traffic(&self) -> Traffic {
        self.meter.read()
    }

    /// How long the latest ping took to come back.
    pub fn round_trip(&self) -> Option<Duration> {
        self.state.lock().round_trip
    }

    /// Bytes that wait to be written, or for an acknowledgement.
    pub fn queued_bytes(&self) -> usize {
        let state = self.state.lock();
        state.ledger.bytes() + state.waiting.held()
    }

    /// Bytes that wait for an acknowledgement.
    pub fn unacknowledged_bytes(&self) -> usize {
        self.state.lock().ledger.bytes()
    }

    /// Whether a new link could resume with that number, without ending the present one.
    pub fn check(&self, seen: u64) -> Result<(), ImpossibleNumber> {
        self.state.lock().ledger.check_resume(seen)
    }

    /// A new link, whose peer has seen so many of this end's frames. No other link may be at work.
    pub fn resume(&self, seen: u64) -> Result<(), ImpossibleNumber> {
        let mut state = self.state.lock();
        state.ping = None;
        state.ledger.resume(seen)
    }

    pub(super) fn arrived(&self) {
        self.meter.frame_received();
        self.state.lock().ledger.arrived();
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// A ping is about to be written.
    pub(super) fn ping(&self, number: u64) {
        self.state.lock().ping = Some((number, Instant::now()));
    }

    /// A pong arrived. Late ones tell nothing.
    pub(super) fn pong(&self, number: u64) {
        let mut state = self.state.lock();
        if let Some((_, at)) = state.ping.take_if(|(asked, _)| *asked == number) {
            state.round_trip = Some(at.elapsed());
        }
    }

    pub(super) fn acknowledge(&self, seen: u64) -> Result<(), ImpossibleNumber> {
        let writer = {
            let mut state = self.state.lock();
            if state.ledger.acknowledge(seen)? { state.writer.take() } else { None }
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        Ok(())
    }

    /// While the replay buffer is full: how many frames the peer acknowledged until now.
    pub(super) fn full_since(&self) -> Option<u64> {
        let state = self.state.lock();
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
        let mut state = self.state.lock();
        loop {
            let again = state.ledger.is_behind();
            if let Some(frame) = state.ledger.next_to_write() {
                self.meter.frame_sent(again);
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
