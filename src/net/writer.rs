//! The writing half of a link: a task that batches frames, pings and acknowledges.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::{SinkExt, stream::SplitSink};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use super::{Exchange, Goodbye, LinkLost, Timing, link::Socket, reader::Due};
use crate::wire::{Body, Frame, MAX_PAYLOAD, encode};

/// How many frames about the link itself may wait. They are news that the next ones replace.
const CONTROL_LIMIT: usize = 16;

/// Frames are put into one WebSocket message until it is about this long.
const BATCH: usize = 256 * 1024;

/// What may wait below the link: the longest batch, and answers to WebSocket's own pings. Without a
/// bound a peer that sends those and reads nothing would fill the memory.
pub(super) const WRITE_BUFFER: usize = MAX_PAYLOAD + 2 * BATCH;

/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// The writing half.
pub struct LinkWriter {
    control: mpsc::Sender<Frame>,
    goodbye: watch::Sender<Option<Goodbye>>,
    task: JoinHandle<LinkLost>,
}

impl LinkWriter {
    /// Writes a frame about the link itself. One too many is dropped: older ones wait.
    pub fn control(&self, body: Body) {
        let _ = self.control.try_send(Frame::link(body));
    }

    /// Resolves when the writer has lost the link. Cancel-safe: it only polls the task.
    pub async fn lost(&mut self) -> LinkLost {
        match (&mut self.task).await {
            Ok(lost) => lost,
            Err(error) => LinkLost::Transport(format!("the writing task failed: {error}")),
        }
    }

    /// Writes what waits, says goodbye and ends the link.
    pub async fn close(mut self, goodbye: Goodbye) {
        self.goodbye.send_replace(Some(goodbye));
        if !self.task.is_finished() {
            let _ = timeout(FAREWELL * 2, &mut self.task).await;
        }
    }

    /// Stops writing. Once this returns another link may go on with the session.
    pub async fn stop(mut self) {
        self.task.abort();
        if !self.task.is_finished() {
            let _ = (&mut self.task).await;
        }
    }
}

impl Drop for LinkWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn start(
    sink: SplitSink<Socket, Message>,
    exchange: Arc<Exchange>,
    asked: watch::Receiver<Due>,
    timing: Timing,
) -> LinkWriter {
    let (control, controls) = mpsc::channel(CONTROL_LIMIT);
    let (goodbye, goodbye_due) = watch::channel(None);
    let writer = Writer {
        sink,
        acknowledged: exchange.received(),
        exchange,
        controls,
        timing,
        pings: 0,
        full: None,
    };
    let task = tokio::spawn(writer.run(asked, goodbye_due));
    LinkWriter { control, goodbye, task }
}

struct Writer {
    sink: SplitSink<Socket, Message>,
    exchange: Arc<Exchange>,
    controls: mpsc::Receiver<Frame>,
    timing: Timing,
    acknowledged: u64,
    pings: u64,
    /// Since when the replay buffer is full, and how much the peer had acknowledged then.
    full: Option<(Instant, u64)>,
}

impl Writer {
    async fn run(
        mut self,
        mut asked: watch::Receiver<Due>,
        mut goodbye_due: watch::Receiver<Option<Goodbye>>,
    ) -> LinkLost {
        let mut heartbeat = interval(self.timing.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answered = Due::default();
        loop {
            let mut batch = BytesMut::new();
            tokio::select! {
                biased;
                // Cancel-safe: a watch keeps its value and its change until it is read.
                changed = goodbye_due.changed() => {
                    let goodbye = goodbye_due.borrow_and_update().clone();
                    if let (Ok(()), Some(goodbye)) = (changed, goodbye) {
                        return self.farewell(goodbye.frame()).await;
                    }
                    return LinkLost::Ended;
                }
                // Cancel-safe: an interval keeps its schedule, whatever traffic there is.
                _ = heartbeat.tick() => {
                    if let Some(lost) = self.overdue() {
                        return self.give_up(lost).await;
                    }
                    self.beat(&mut batch);
                }
                // Cancel-safe, as above. A lost reader ends the link by dropping the writer.
                Ok(()) = asked.changed() => {
                    let due = *asked.borrow_and_update();
                    if let Some((number, _)) = due.pong.filter(|_| due.pong != answered.pong) {
                        encode(&Frame::link(Body::Pong(number)), &mut batch);
                    }
                    answered = due;
                    self.acknowledge(&mut batch);
                }
                // Cancel-safe: the channel keeps what was not received.
                Some(frame) = self.controls.recv() => encode(&frame, &mut batch),
                // Cancel-safe: a frame that was not taken stays in the queue or in the ledger.
                frame = self.exchange.next() => match frame {
                    Some(frame) => encode(&frame, &mut batch),
                    None => return self.farewell(Goodbye::Done.frame()).await,
                },
            }
            self.fill(&mut batch);
            if batch.is_empty() {
                continue;
            }
            if let Err(lost) = self.write(batch).await {
                return lost;
            }
        }
    }

    /// A ping, and an acknowledgement where there is something new to acknowledge.
    fn beat(&mut self, batch: &mut BytesMut) {
        self.pings += 1;
        self.exchange.ping(self.pings);
        encode(&Frame::link(Body::Ping(self.pings)), batch);
        self.acknowledge(batch);
    }

    fn acknowledge(&mut self, batch: &mut BytesMut) {
        let received = self.exchange.received();
        if received > self.acknowledged {
            self.acknowledged = received;
            encode(&Frame::link(Body::Ack(received)), batch);
        }
    }

    /// A peer that lets the replay buffer run full and acknowledges nothing of it.
    fn overdue(&mut self) -> Option<LinkLost> {
        let now = Instant::now();
        let Some(acknowledged) = self.exchange.full_since() else {
            self.full = None;
            return None;
        };
        let since = match self.full {
            Some((since, before)) if before == acknowledged => since,
            _ => now,
        };
        self.full = Some((since, acknowledged));
        let time = self.timing.write;
        let bytes = self.exchange.unacknowledged_bytes();
        (now - since >= time).then_some(LinkLost::Unacknowledged { time, bytes })
    }

    fn fill(&mut self, batch: &mut BytesMut) {
        while batch.len() < BATCH {
            match self.exchange.try_next() {
                Some(frame) => encode(&frame, batch),
                None => return,
            }
        }
    }

    async fn write(&mut self, batch: BytesMut) -> Result<(), LinkLost> {
        self.exchange.meter().sent(batch.len());
        let write = self.sink.send(Message::Binary(batch.freeze()));
        match timeout(self.timing.write, write).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(LinkLost::WriteStalled(self.timing.write)),
        }
    }

    /// Tells the peer why its session is over. What waits is not written any more: that is why.
    async fn give_up(mut self, lost: LinkLost) -> LinkLost {
        if let Some(goodbye) = lost.goodbye() {
            let close = self.sink.send(Message::Close(Some(goodbye.frame())));
            let _ = timeout(FAREWELL, close).await;
        }
        lost
    }

    async fn farewell(mut self, frame: CloseFrame) -> LinkLost {
        let last_words = async {
            loop {
                let mut batch = BytesMut::new();
                self.fill(&mut batch);
                if batch.is_empty() {
                    break;
                }
                self.exchange.meter().sent(batch.len());
                self.sink.send(Message::Binary(batch.freeze())).await?;
            }
            self.sink.send(Message::Close(Some(frame))).await
        };
        // Whether the last words arrive or not, the link ends here.
        let _ = timeout(FAREWELL, last_words).await;
        LinkLost::Ended
    }
}
