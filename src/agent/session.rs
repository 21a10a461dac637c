//! One controller's session: its link and its workers.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{server::Shared, workers::Workers};
use crate::{
    addresses::HostAddresses,
    net::{Goodbye, Link, LinkLost, LinkParts, LinkReader, LinkWriter},
    wire::{Body, Frame},
};

/// How often the load is pushed.
const LOAD_INTERVAL: Duration = Duration::from_secs(1);

/// How long killed workers may take to be gone.
const KILL_TIME: Duration = Duration::from_millis(500);

pub(super) struct Session {
    shared: Arc<Shared>,
    id: String,
    reader: LinkReader,
    writer: LinkWriter,
    workers: Workers,
    gone: mpsc::UnboundedReceiver<u32>,
    stopping: watch::Receiver<bool>,
    _slot: OwnedSemaphorePermit,
}

/// How far the end of the session has come.
enum Phase {
    Serving,
    /// Workers' inputs are closed.
    Ending(Instant),
    /// Workers are killed.
    Killing(Instant),
}

impl Phase {
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Serving => None,
            Self::Ending(deadline) | Self::Killing(deadline) => Some(*deadline),
        }
    }
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        link: Link,
        id: String,
        addresses: HostAddresses,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let LinkParts { reader, writer } = link.split(shared.options.timing);
        // As many entries as the session has workers, so it needs no bound of its own.
        let (tell_gone, gone) = mpsc::unbounded_channel();
        let outbound = writer.outbound.clone();
        let workers = Workers::new(Arc::clone(&shared), addresses, outbound, tell_gone);
        let stopping = shared.stopping.subscribe();
        Self { shared, id, reader, writer, workers, gone, stopping, _slot: slot }
    }

    /// Serves the controller until the link or the agent ends. No worker survives it.
    pub(super) async fn run(mut self) {
        let goodbye = match self.serve().await {
            Ok(goodbye) => Some(goodbye),
            Err(LinkLost::Protocol(problem)) => {
                tracing::warn!(session = self.id, problem, "the controller broke the protocol");
                Some(Goodbye::ProtocolError(problem))
            }
            Err(LinkLost::Closed(reason)) => {
                tracing::info!(session = self.id, reason, "the controller closed the session");
                None
            }
            Err(lost) => {
                tracing::info!(session = self.id, %lost, workers = self.workers.count(), "link lost");
                None
            }
        };
        self.workers.kill_all();
        if let Some(goodbye) = goodbye {
            self.writer.close(goodbye).await;
        }
        tracing::info!(session = self.id, "session closed");
    }

    async fn serve(&mut self) -> Result<Goodbye, LinkLost> {
        let mut load = interval(LOAD_INTERVAL);
        load.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut phase = Phase::Serving;
        loop {
            if phase.deadline().is_some() && self.workers.count() == 0 {
                return Ok(Goodbye::Leaving("the agent ends".to_owned()));
            }
            tokio::select! {
                // Cancel-safe: the watch keeps its value; not polled again once it was true.
                () = told(&mut self.stopping), if matches!(phase, Phase::Serving) => {
                    self.workers.close_inputs();
                    phase = Phase::Ending(Instant::now() + self.shared.options.grace);
                }
                // Cancel-safe: made anew from the same deadline each time.
                () = reach(phase.deadline()) => {
                    if let Phase::Killing(_) = phase {
                        return Ok(Goodbye::Leaving("the agent ends".to_owned()));
                    }
                    self.workers.signal_all();
                    phase = Phase::Killing(Instant::now() + KILL_TIME);
                }
                // Cancel-safe: an interval keeps its schedule.
                _ = load.tick() => {
                    // A full queue has older loads in it: this one can be missed.
                    let _ = self.writer.outbound.try_send(Frame::link(Body::Load(self.workers.load())));
                }
                // Cancel-safe: the channel keeps what was not received. The sender is in `workers`.
                Some(handle) = self.gone.recv() => self.workers.remove(handle),
                // Cancel-safe: it only polls the writing task.
                lost = self.writer.lost() => return Err(lost),
                // Cancel-safe, as `LinkReader::next` tells.
                frame = self.reader.next() => {
                    self.workers.receive(frame?).await?;
                    self.reader.resume();
                }
            }
        }
    }
}

async fn told(stopping: &mut watch::Receiver<bool>) {
    // The sender lives as long as the session's shared state.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn reach(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
