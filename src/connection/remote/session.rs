//! A session with an agent: its workers, and what it keeps from link to link.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{Shared, Spawn, manager::told, workers::Workers};
use crate::{
    connection::{Exit, SpawnError},
    net::{Exchange, Goodbye, Link, LinkLost, LinkParts, LinkReader, LinkWriter},
    wire::{Body, Frame, Welcome},
};

/// How a link ended.
pub(super) enum End {
    /// `close()` was called.
    Closed,
    /// The link is lost; the session waits for another.
    Lost(Loss),
    /// The link is lost, and the session with it.
    Over(LinkLost),
}

/// What is known of a link that is lost.
pub(super) struct Loss {
    pub(super) cause: LinkLost,
    /// How long the peer had been silent.
    pub(super) quiet: Duration,
    /// How long the link had lasted.
    pub(super) lasted: Duration,
}

/// A link with the agent, at work.
struct Attached {
    reader: LinkReader,
    writer: LinkWriter,
}

pub(super) struct Session {
    shared: Arc<Shared>,
    welcome: Arc<Welcome>,
    exchange: Arc<Exchange>,
    workers: Workers,
    /// Where the agent was found.
    peer: Option<SocketAddr>,
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        welcome: Arc<Welcome>,
        peer: Option<SocketAddr>,
    ) -> Self {
        let (outbound, exchange) = Exchange::metered(Arc::clone(&shared.history.meter));
        shared.history.session_opened(&exchange);
        let stall = shared.options.timing.stall;
        let workers = Workers::new(Arc::clone(&shared), Arc::clone(&welcome), outbound, stall);
        Self { shared, welcome, exchange, workers, peer }
    }

    /// What names the session to the agent.
    pub(super) fn id(&self) -> &str {
        &self.welcome.session
    }

    /// How many of the agent's frames have arrived.
    pub(super) fn received(&self) -> u64 {
        self.exchange.received()
    }

    /// Whether this is an address where the agent itself listens, so that nothing else answers
    /// there. Loopback is each host's own.
    pub(super) fn is_direct(&self, addresses: &[SocketAddr]) -> bool {
        self.peer.is_some_and(|peer| {
            addresses.contains(&peer)
                && self.welcome.listen.contains(&peer)
                && (!peer.ip().is_loopback() || self.welcome.addresses.colocated)
        })
    }

    /// Asks the agent for a worker.
    pub(super) fn spawn(&mut self, spawn: Spawn) {
        self.workers.spawn(spawn);
    }

    /// Goes on over another link, if the agent's numbers can be.
    pub(super) fn resume(
        &mut self,
        welcome: Arc<Welcome>,
        peer: Option<SocketAddr>,
    ) -> Result<(), String> {
        let Some(seen) = welcome.last_seen else {
            return Err("a resumed session without a number".to_owned());
        };
        self.exchange.resume(seen).map_err(|problem| problem.to_string())?;
        self.workers.resumed(Arc::clone(&welcome));
        self.welcome = welcome;
        self.peer = peer;
        Ok(())
    }

    /// Moves frames until the link ends.
    pub(super) async fn run(
        &mut self,
        link: Link,
        commands: &mut mpsc::Receiver<Spawn>,
        closed: &mut watch::Receiver<bool>,
    ) -> End {
        let began = Instant::now();
        let LinkParts { reader, writer } = link.split(self.shared.options.timing, &self.exchange);
        let mut link = Attached { reader, writer };
        self.workers.link_is_up();
        let lost = loop {
            tokio::select! {
                biased;
                // Cancel-safe: the watch keeps its value.
                () = told(closed) => break None,
                // Cancel-safe: it only polls the writing task. Before the reader, which only hears
                // the peer's echo of what the writer knows.
                lost = link.writer.lost() => break Some(lost),
                // Cancel-safe: the channel keeps what was not received.
                spawn = commands.recv() => match spawn {
                    Some(spawn) => self.workers.spawn(spawn),
                    None => break None,
                },
                // Cancel-safe, as `LinkReader::next` tells.
                frame = link.reader.next() => match frame {
                    Ok(frame) => match self.receive(frame).await {
                        Ok(()) => link.reader.resume(),
                        Err(lost) => break Some(lost),
                    },
                    Err(lost) => break Some(lost),
                },
            }
        };
        let quiet = link.reader.quiet();
        let Attached { writer, .. } = link;
        let Some(cause) = lost else {
            let reason = format!("the connection to agent {} was closed", self.shared.options.url);
            self.end(&reason);
            writer.close(Goodbye::Done).await;
            return End::Closed;
        };
        if cause.ends_session() {
            if let Some(goodbye) = cause.goodbye() {
                writer.close(goodbye).await;
            }
            return End::Over(cause);
        }
        writer.stop().await;
        self.workers.link_is_down().await;
        // Only a silent peer was silent: another's last words came just before.
        let quiet = if let LinkLost::Silent(_) = cause { quiet } else { Duration::ZERO };
        End::Lost(Loss { cause, quiet, lasted: began.elapsed() })
    }

    async fn receive(&mut self, frame: Frame) -> Result<(), LinkLost> {
        match frame.body {
            Body::Load(report) => {
                let mut host = self.shared.host.lock();
                host.load.own = self.workers.by_pid(&report.own);
                host.load.others.clone_from(&report.others);
                host.measured_at = Some(Instant::now());
                drop(host);
                self.shared.set_draining(report.draining);
                self.shared.load.send_replace(Some(report));
                Ok(())
            }
            Body::Drain(notice) => {
                self.shared.set_draining(notice.draining);
                Ok(())
            }
            _ => self.workers.receive(frame).await,
        }
    }

    /// Ends every worker and every spawn that was asked for.
    pub(super) fn end(&mut self, reason: &str) {
        let error = SpawnError::Unreachable(reason.to_owned());
        for spawn in self.lose(reason) {
            let _ = spawn.reply.send(Err(error.clone()));
        }
    }

    /// Ends every worker. Gives back the spawns that another session may still answer.
    pub(super) fn lose(&mut self, reason: &str) -> Vec<Spawn> {
        self.workers.end(&Exit::Lost(reason.to_owned()))
    }
}
