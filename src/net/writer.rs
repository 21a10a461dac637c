//! The writing half of a link: a task that batches frames, pings and acknowledges.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::BytesMut;
use futures_util::{SinkExt, stream::SplitSink};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use super::{
    Goodbye, LinkLost, Timing,
    link::{Counters, Socket},
};
use crate::{
    queue,
    wire::{Body, Frame, encode},
};

/// How many bytes of frames may wait for the writer. Beyond that, workers' own queues fill.
const OUTBOUND_LIMIT: usize = 4 * 1024 * 1024;

/// Frames are put into one WebSocket message until it is about this long.
const BATCH: usize = 256 * 1024;

/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// The writing half.
pub struct LinkWriter {
    /// Where frames go. When the link is lost, sending fails.
    pub outbound: queue::Sender<Frame>,
    goodbye: watch::Sender<Option<Goodbye>>,
    task: JoinHandle<LinkLost>,
}

impl LinkWriter {
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
        let _ = timeout(FAREWELL * 2, &mut self.task).await;
    }
}

impl Drop for LinkWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn start(
    sink: SplitSink<Socket, Message>,
    counters: Arc<Counters>,
    pong_due: watch::Receiver<Option<u64>>,
    timing: Timing,
) -> LinkWriter {
    let (outbound, waiting) = queue::bounded(OUTBOUND_LIMIT);
    let (goodbye, goodbye_due) = watch::channel(None);
    let writer = Writer { sink, waiting, counters, timing, acknowledged: 0, pings: 0 };
    let task = tokio::spawn(writer.run(pong_due, goodbye_due));
    LinkWriter { outbound, goodbye, task }
}

struct Writer {
    sink: SplitSink<Socket, Message>,
    waiting: queue::Receiver<Frame>,
    counters: Arc<Counters>,
    timing: Timing,
    acknowledged: u64,
    pings: u64,
}

impl Writer {
    async fn run(
        mut self,
        mut pong_due: watch::Receiver<Option<u64>>,
        mut goodbye_due: watch::Receiver<Option<Goodbye>>,
    ) -> LinkLost {
        let mut heartbeat = interval(self.timing.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                _ = heartbeat.tick() => self.beat(&mut batch),
                // Cancel-safe, as above. A lost reader ends the link by dropping the writer.
                Ok(()) = pong_due.changed() => {
                    if let Some(number) = *pong_due.borrow_and_update() {
                        encode(&Frame::link(Body::Pong(number)), &mut batch);
                    }
                }
                // Cancel-safe: the queue keeps what was not received.
                frame = self.waiting.recv() => match frame {
                    Some(frame) => self.add(&frame, &mut batch),
                    None => return self.farewell(Goodbye::Done.frame()).await,
                },
            }
            self.fill(&mut batch);
            if let Err(lost) = self.write(batch).await {
                return lost;
            }
        }
    }

    /// A ping, and an acknowledgement where there is something new to acknowledge.
    fn beat(&mut self, batch: &mut BytesMut) {
        self.pings += 1;
        encode(&Frame::link(Body::Ping(self.pings)), batch);
        let received = self.counters.received.load(Ordering::Relaxed);
        if received > self.acknowledged {
            self.acknowledged = received;
            encode(&Frame::link(Body::Ack(received)), batch);
        }
    }

    fn add(&mut self, frame: &Frame, batch: &mut BytesMut) {
        if frame.kind().is_data() {
            // Counted before it leaves, so that no acknowledgement can come too early.
            self.counters.sent.fetch_add(1, Ordering::Relaxed);
        }
        encode(frame, batch);
    }

    fn fill(&mut self, batch: &mut BytesMut) {
        while batch.len() < BATCH {
            match self.waiting.try_recv() {
                Some(frame) => self.add(&frame, batch),
                None => return,
            }
        }
    }

    async fn write(&mut self, batch: BytesMut) -> Result<(), LinkLost> {
        let write = self.sink.send(Message::Binary(batch.freeze()));
        match timeout(self.timing.write, write).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(LinkLost::WriteStalled(self.timing.write)),
        }
    }

    async fn farewell(mut self, frame: CloseFrame) -> LinkLost {
        let last_words = async {
            loop {
                let mut batch = BytesMut::new();
                self.fill(&mut batch);
                if batch.is_empty() {
                    break;
                }
                self.sink.send(Message::Binary(batch.freeze())).await?;
            }
            self.sink.send(Message::Close(Some(frame))).await
        };
        // Whether the last words arrive or not, the link ends here.
        let _ = timeout(FAREWELL, last_words).await;
        LinkLost::Ended
    }
}
