//! One controller's session: its workers, and the link that it has or waits for.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    Limit,
    counters::SessionEnd,
    drain::{Draining, notice},
    server::Shared,
    sessions::{About, Request, Resumable},
    workers::Workers,
};
use crate::{
    addresses::HostAddresses,
    net::{Exchange, Goodbye, Link, LinkLost, LinkParts, LinkReader, LinkWriter},
    session::{ImpossibleNumber, Outage, Stage},
    wire::{Body, Frame},
};

/// How often the load is pushed.
const LOAD_INTERVAL: Duration = Duration::from_secs(1);

/// How long killed workers may take to be gone.
const KILL_TIME: Duration = Duration::from_millis(500);

/// The link that a session has at the moment.
struct Attached {
    reader: LinkReader,
    writer: LinkWriter,
    /// Whoever brought the link waits for its end.
    _done: oneshot::Sender<()>,
}

pub(super) struct Session {
    shared: Arc<Shared>,
    about: Arc<About>,
    exchange: Arc<Exchange>,
    workers: Workers,
    gone: mpsc::UnboundedReceiver<u32>,
    requests: mpsc::Receiver<Request>,
    stopping: watch::Receiver<bool>,
    drain: watch::Receiver<Option<Draining>>,
    link: Option<Attached>,
    /// Since when there is no link.
    outage: Outage,
    began: Instant,
    /// How often somebody came to resume it.
    attempts: u64,
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

/// Why a session ends.
enum End {
    Lost(LinkLost),
    /// The agent ends.
    Stopped,
    /// No link came for too long.
    TimedOut,
    /// The link is lost before anything was asked of it.
    Unused,
    /// The controller wants no more of it.
    GivenUp(oneshot::Sender<()>),
}

impl End {
    fn kind(&self) -> SessionEnd {
        match self {
            Self::Lost(LinkLost::Closed { .. }) | Self::GivenUp(_) => SessionEnd::Closed,
            Self::Lost(_) => SessionEnd::Failed,
            Self::Stopped => SessionEnd::Stopped,
            Self::TimedOut => SessionEnd::TimedOut,
            Self::Unused => SessionEnd::Unused,
        }
    }
}

impl Session {
    /// A session that waits for its first link.
    pub(super) fn new(
        shared: Arc<Shared>,
        about: Arc<About>,
        requests: mpsc::Receiver<Request>,
        addresses: HostAddresses,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let (outbound, exchange) = Exchange::metered(Arc::clone(&shared.meter));
        // As many entries as the session has workers, so it needs no bound of its own.
        let (tell_gone, gone) = mpsc::unbounded_channel();
        let workers =
            Workers::new(Arc::clone(&shared), about.number, addresses, outbound, tell_gone);
        let stopping = shared.stopping.subscribe();
        let drain = shared.drain.changes();
        // The first link comes with the handshake or not at all.
        let first = Some(shared.options.timing.handshake);
        let outage = Outage::new(Duration::ZERO, Duration::ZERO, Duration::ZERO, first);
        Self {
            shared,
            about,
            exchange,
            workers,
            gone,
            requests,
            stopping,
            drain,
            link: None,
            outage,
            began: Instant::now(),
            attempts: 0,
            _slot: slot,
        }
    }

    /// Serves the controller until it is done, lost for good, or the agent ends. No worker survives
    /// it.
    pub(super) async fn run(mut self) {
        let end = self.serve().await;
        self.shared.counters.session_ended(end.kind());
        self.workers.kill_all();
        let session = self.about.number;
        let goodbye = match &end {
            End::Lost(lost @ LinkLost::Closed { .. }) => {
                tracing::info!(session, %lost, "the controller is done");
                None
            }
            End::Lost(lost) => {
                let reached = match lost {
                    LinkLost::TooLong(_) => Some(Limit::FrameBytes),
                    LinkLost::Unacknowledged { .. } => Some(Limit::UnacknowledgedBytes),
                    _ => None,
                };
                if let Some(limit) = reached {
                    self.shared.limit_hits.hit(limit, &lost.to_string());
                }
                tracing::warn!(session, problem = %lost, "the session cannot go on");
                lost.goodbye()
            }
            End::Stopped => Some(Goodbye::Leaving("the agent ends".to_owned())),
            End::TimedOut => {
                let timeout = self.shared.options.session_timeout;
                tracing::info!(session, ?timeout, "the controller did not come back in time");
                None
            }
            End::Unused => None,
            End::GivenUp(_) => {
                tracing::info!(session, "the controller gave the session up");
                Some(Goodbye::Done)
            }
        };
        if let (Some(goodbye), Some(link)) = (goodbye, self.link.take()) {
            link.writer.close(goodbye).await;
        }
        tracing::info!(session, "session closed");
        // Its place is free before anybody hears that it is over.
        drop(self);
        if let End::GivenUp(done) = end {
            drop(done);
        }
    }

    async fn serve(&mut self) -> End {
        let mut load = interval(LOAD_INTERVAL);
        load.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut phase = Phase::Serving;
        loop {
            if phase.deadline().is_some() && self.workers.count() == 0 {
                return End::Stopped;
            }
            let unlinked = self.link.is_none().then(|| self.began + self.outage.next_look());
            tokio::select! {
                biased;
                // Cancel-safe: the channel keeps what was not received. First, so that a controller
                // that is back is seen before the time without it is judged.
                Some(request) = self.requests.recv() => {
                    if let Some(end) = self.asked(request).await {
                        return end;
                    }
                }
                // Cancel-safe: the watch keeps its value; not polled again once it was true.
                () = told(&mut self.stopping), if matches!(phase, Phase::Serving) => {
                    self.workers.close_inputs();
                    phase = Phase::Ending(Instant::now() + self.shared.options.grace);
                }
                // Cancel-safe: made anew from the same deadline each time.
                () = reach(phase.deadline()) => {
                    if let Phase::Killing(_) = phase {
                        return End::Stopped;
                    }
                    self.workers.signal_all();
                    phase = Phase::Killing(Instant::now() + KILL_TIME);
                }
                // Cancel-safe, as above.
                () = reach(unlinked) => {
                    if self.outage.look(self.began.elapsed()) == Stage::Over {
                        return End::TimedOut;
                    }
                }
                // Cancel-safe: a change that is not seen stays one.
                Ok(()) = self.drain.changed() => self.tell_drain(),
                // Cancel-safe: an interval keeps its schedule.
                _ = load.tick() => {
                    if let Some(link) = &self.link {
                        link.writer.control(Body::Load(self.workers.load()));
                    }
                }
                // Cancel-safe: the channel keeps what was not received. The sender is in `workers`.
                Some(handle) = self.gone.recv() => self.workers.remove(handle),
                // Cancel-safe, as `hear` tells.
                heard = hear(self.link.as_mut()) => {
                    let taken = match heard {
                        Ok(frame) => self.workers.receive(frame).await,
                        Err(lost) => Err(lost),
                    };
                    match (taken, &self.link) {
                        (Ok(()), Some(link)) => link.reader.resume(),
                        (Ok(()), None) => {}
                        (Err(lost), _) if lost.ends_session() => return End::Lost(lost),
                        (Err(lost), _) => {
                            self.detach(&lost.to_string()).await;
                            // Nobody misses one that was never used, and its controller may not
                            // even have heard of it: it must not take a place until it times out.
                            if self.exchange.received() == 0 {
                                return End::Unused;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Does what a request says. Tells if that ends the session.
    async fn asked(&mut self, request: Request) -> Option<End> {
        match request {
            Request::Resume { seen, reply } => {
                let _ = reply.send(self.prepare(seen).await);
            }
            Request::Attach { attempt, link, done } if attempt == self.attempts => {
                self.attach(*link, done);
            }
            // Somebody else came to resume the session meanwhile.
            Request::Attach { .. } => {}
            Request::End { done } => return Some(End::GivenUp(done)),
        }
        None
    }

    /// Makes room for another link. An older one ends, unless the newcomer cannot be its successor.
    async fn prepare(&mut self, seen: u64) -> Result<Resumable, ImpossibleNumber> {
        self.exchange.check(seen)?;
        if self.link.is_some() {
            self.detach("another takes its place").await;
        }
        self.exchange.resume(seen)?;
        self.attempts += 1;
        Ok(Resumable { received: self.exchange.received(), attempt: self.attempts })
    }

    fn attach(&mut self, link: Link, done: oneshot::Sender<()>) {
        let LinkParts { reader, writer } = link.split(self.shared.options.timing, &self.exchange);
        self.link = Some(Attached { reader, writer, _done: done });
        self.about.set_linked(true);
        if self.shared.drain.is_on() {
            self.tell_drain();
        }
    }

    /// Whoever has no link now hears it with the next one.
    fn tell_drain(&mut self) {
        let notice = notice(self.drain.borrow_and_update().as_ref());
        if let Some(link) = &self.link {
            link.writer.control(Body::Drain(notice));
        }
    }

    /// Goes on without a link for a while.
    async fn detach(&mut self, why: &str) {
        let Some(Attached { reader, writer, .. }) = self.link.take() else { return };
        self.about.set_linked(false);
        drop(reader);
        writer.stop().await;
        self.shared.counters.link_lost();
        let workers = self.workers.count();
        tracing::info!(
            session = self.about.number,
            why,
            workers,
            "link lost; waiting for the next"
        );
        self.outage = Outage::new(
            self.began.elapsed(),
            Duration::ZERO,
            Duration::ZERO,
            self.shared.options.session_timeout,
        );
    }
}

/// What comes from the link, if there is one. Cancel-safe: what was read stays with the reader, and
/// the writer's end stays known.
async fn hear(link: Option<&mut Attached>) -> Result<Frame, LinkLost> {
    let Some(Attached { reader, writer, .. }) = link else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        // Cancel-safe: it only polls the writing task. First, since it knows why it ends, and the
        // reader only hears the peer's echo.
        lost = writer.lost() => Err(lost),
        // Cancel-safe, as `LinkReader::next` tells.
        frame = reader.next() => frame,
    }
}

/// Resolves once that is true. Cancel-safe.
pub(super) async fn told(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone tells it too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn reach(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
