//! The task that owns a connection: dials, waits, dials again.

use std::{collections::VecDeque, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::{
    Host, Shared, Spawn, Status, dialing,
    session::{End, Session},
};
use crate::{
    connection::HostLoad,
    net::{Dial, DialError},
    wire::Welcome,
};

/// The owner of one connection.
pub(super) struct Manager {
    shared: Arc<Shared>,
    dialer: Arc<dyn Dial>,
    commands: mpsc::Receiver<Spawn>,
    closed: watch::Receiver<bool>,
    /// Spawns that wait for the agent. Their callers' deadlines bound how long.
    waiting: VecDeque<Spawn>,
    failures: u32,
}

/// Why a wait ended.
enum Woken {
    Ready,
    Closed,
}

impl Manager {
    pub(super) fn new(
        shared: Arc<Shared>,
        dialer: Arc<dyn Dial>,
        commands: mpsc::Receiver<Spawn>,
    ) -> Self {
        let closed = shared.closed.subscribe();
        Self { shared, dialer, commands, closed, waiting: VecDeque::new(), failures: 0 }
    }

    pub(super) async fn run(mut self) {
        while let Woken::Ready = self.once().await {}
        // Whoever still waits hears that the connection is closed: its reply is dropped.
        self.shared.status.send_replace(Status::Closed);
        self.shared.load.send_replace(None);
    }

    /// One attempt and what follows from it.
    async fn once(&mut self) -> Woken {
        let shared = Arc::clone(&self.shared);
        let dialer = Arc::clone(&self.dialer);
        let attempt = dialing::attempt(&shared, dialer.as_ref());
        tokio::pin!(attempt);
        let outcome = loop {
            tokio::select! {
                biased;
                // Cancel-safe: the watch keeps its value.
                () = told(&mut self.closed) => return Woken::Closed,
                // Not dropped before it ends, except when the connection closes.
                outcome = &mut attempt => break outcome,
                // Cancel-safe: the channel keeps what was not received.
                spawn = self.commands.recv() => match spawn {
                    Some(spawn) => park(&mut self.waiting, spawn),
                    None => return Woken::Closed,
                },
            }
        };
        match outcome {
            Ok((link, welcome)) => {
                self.failures = 0;
                self.connected(link, welcome).await
            }
            Err(problem) => {
                tracing::debug!(url = %shared.options.url, %problem, "no connection");
                self.failures = self.failures.saturating_add(1);
                if problem.is_final() {
                    self.refused(problem).await
                } else {
                    self.back_off(problem).await
                }
            }
        }
    }

    async fn connected(&mut self, link: crate::net::Link, welcome: Welcome) -> Woken {
        let welcome = Arc::new(welcome);
        tracing::info!(
            url = %self.shared.options.url,
            agent = %welcome.agent_id.escape_debug(),
            "connected"
        );
        self.shared.load.send_replace(Some(welcome.load.clone()));
        let (cores, labels) = (welcome.cores, welcome.labels.clone());
        let load = HostLoad { cores, labels, ..HostLoad::default() };
        *self.shared.host.lock() = Host { load, measured_at: None };
        self.shared.status.send_replace(Status::Connected(Arc::clone(&welcome)));
        let mut session = Session::new(Arc::clone(&self.shared), link, welcome);
        for spawn in self.waiting.drain(..) {
            session.spawn(spawn);
        }
        let end = session.run(&mut self.commands, &mut self.closed).await;
        self.shared.load.send_replace(None);
        match end {
            End::Closed => Woken::Closed,
            End::Lost(reason) => {
                tracing::warn!(url = %self.shared.options.url, reason, "the link is lost");
                let problem = format!("{}: {reason}", self.shared.options.url);
                self.back_off(DialError::Unreachable(problem)).await
            }
        }
    }

    /// Waits before the next attempt. Whoever spawns meanwhile waits too.
    async fn back_off(&mut self, problem: DialError) -> Woken {
        self.shared.status.send_replace(Status::Connecting(Some(problem)));
        let pause = sleep(self.shared.options.backoff.wait(self.failures.max(1)));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                biased;
                // Cancel-safe: the watch keeps its value.
                () = told(&mut self.closed) => return Woken::Closed,
                // Cancel-safe: the pause is kept across turns of the loop.
                () = &mut pause => return Woken::Ready,
                // Cancel-safe: the channel keeps what was not received.
                spawn = self.commands.recv() => match spawn {
                    Some(spawn) => park(&mut self.waiting, spawn),
                    None => return Woken::Closed,
                },
            }
        }
    }

    /// Trying again would give the same, so only a spawn starts another attempt.
    async fn refused(&mut self, problem: DialError) -> Woken {
        tracing::warn!(url = %self.shared.options.url, %problem, "refused");
        for spawn in self.waiting.drain(..) {
            let _ = spawn.reply.send(Err(problem.clone().into()));
        }
        self.shared.status.send_replace(Status::Refused(problem));
        tokio::select! {
            biased;
            // Cancel-safe: the watch keeps its value.
            () = told(&mut self.closed) => Woken::Closed,
            // Cancel-safe: the channel keeps what was not received.
            spawn = self.commands.recv() => match spawn {
                Some(spawn) => {
                    park(&mut self.waiting, spawn);
                    Woken::Ready
                }
                None => Woken::Closed,
            },
        }
    }
}

/// Resolves once the connection is to close.
pub(super) async fn told(closed: &mut watch::Receiver<bool>) {
    // An error means that the handle is gone, which closes the connection too.
    let _ = closed.wait_for(|closed| *closed).await;
}

/// Keeps a spawn for later and forgets those whose callers gave up.
fn park(waiting: &mut VecDeque<Spawn>, spawn: Spawn) {
    waiting.retain(|waiting| !waiting.reply.is_closed());
    waiting.push_back(spawn);
}
