//! The task that owns a connection: dials, waits, dials again, and judges what is lost meanwhile.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    Host, Shared, Spawn, Status, dialing,
    dialing::{Opened, Wanted},
    session::{End, Loss, Session},
};
use crate::{
    connection::{ConnectionState, SpawnError},
    net::{Dial, DialError, Goodbye, LinkLost},
    session::{Outage, Stage},
    wire::Welcome,
};

/// After so many refusals in a row nobody listens there any more. Two, so that one that was about
/// to listen again is not taken for dead.
const REFUSALS: u32 = 2;

/// A link that lasted less counts as a failed attempt: the next one waits. Short, so that cuts that
/// come every second do not add up to ever longer waits.
const LASTING: Duration = Duration::from_millis(250);

/// The longest pause between two attempts to resume a session, however many failed.
const RESUME_PAUSE: Duration = Duration::from_secs(1);

/// The owner of one connection.
pub(super) struct Manager {
    shared: Arc<Shared>,
    dialer: Arc<dyn Dial>,
    commands: mpsc::Receiver<Spawn>,
    closed: watch::Receiver<bool>,
    /// Spawns that wait for the agent. Their callers' deadlines bound how long.
    waiting: VecDeque<Spawn>,
    failures: u32,
    /// The session, and what goes on without a link.
    session: Option<Interrupted>,
    /// A session that this side gave up; the agent need not keep it any longer.
    abandoned: Option<String>,
}

/// A session without a link.
struct Interrupted {
    session: Session,
    cause: LinkLost,
    outage: Outage,
    /// How often its agent's own address refused us since.
    refusals: u32,
}

/// Why a wait ended.
enum Woken {
    Ready,
    Closed,
}

/// What wakes the manager while it waits for something else.
enum Meanwhile<T> {
    Done(T),
    Closed,
    /// Somebody wants a worker.
    Asked,
}

impl Manager {
    pub(super) fn new(
        shared: Arc<Shared>,
        dialer: Arc<dyn Dial>,
        commands: mpsc::Receiver<Spawn>,
    ) -> Self {
        let closed = shared.closed.subscribe();
        Self {
            shared,
            dialer,
            commands,
            closed,
            waiting: VecDeque::new(),
            failures: 0,
            session: None,
            abandoned: None,
        }
    }

    pub(super) async fn run(mut self) {
        while let Woken::Ready = self.once().await {}
        if let Some(Interrupted { mut session, .. }) = self.session.take() {
            session.end(&format!("the connection to agent {} was closed", self.shared.options.url));
        }
        // Whoever still waits hears that the connection is closed: its reply is dropped.
        self.shared.status.send_replace(Status::Closed);
        self.shared.state.send_replace(ConnectionState::Closed);
        self.shared.load.send_replace(None);
    }

    /// One attempt and what follows from it.
    async fn once(&mut self) -> Woken {
        let shared = Arc::clone(&self.shared);
        let dialer = Arc::clone(&self.dialer);
        let wanted = match (&self.session, &self.abandoned) {
            (Some(Interrupted { session, .. }), _) => {
                Wanted::Resumed { session: session.id().to_owned(), seen: session.received() }
            }
            (None, Some(session)) => Wanted::Instead(session.clone()),
            (None, None) => Wanted::New,
        };
        let attempt = dialing::attempt(&shared, dialer.as_ref(), &wanted);
        tokio::pin!(attempt);
        let outcome = loop {
            match self.meanwhile(attempt.as_mut()).await {
                Meanwhile::Done(outcome) => break outcome,
                Meanwhile::Asked => {}
                Meanwhile::Closed => return Woken::Closed,
            }
        };
        match outcome {
            Ok(opened) => {
                self.abandoned = None;
                self.connected(opened).await
            }
            Err(problem) => {
                tracing::debug!(url = %shared.options.url, %problem, "no connection");
                shared.history.dial_failed();
                self.failures = self.failures.saturating_add(1);
                self.note_refusal(&problem);
                if problem.is_final() {
                    self.refused(problem).await
                } else {
                    self.back_off(problem).await
                }
            }
        }
    }

    /// Waits for something, serves whoever spawns and watches the time without a link. Cancel-safe.
    async fn meanwhile<T>(&mut self, wanted: impl Future<Output = T>) -> Meanwhile<T> {
        tokio::pin!(wanted);
        loop {
            let look =
                self.session.as_ref().map(|lost| self.shared.began + lost.outage.next_look());
            tokio::select! {
                biased;
                // Cancel-safe: the watch keeps its value.
                () = told(&mut self.closed) => return Meanwhile::Closed,
                // Cancel-safe as far as the caller's is: it is kept across turns of the loop. Before
                // the time is judged, so that an agent that is back after all is seen first.
                done = &mut wanted => return Meanwhile::Done(done),
                // Cancel-safe: the channel keeps what was not received.
                spawn = self.commands.recv() => match spawn {
                    Some(spawn) => {
                        park(&mut self.waiting, spawn);
                        return Meanwhile::Asked;
                    }
                    None => return Meanwhile::Closed,
                },
                // Cancel-safe: a moment in time, made anew each turn.
                () = reach(look) => self.look(),
            }
        }
    }

    /// Judges the time without a link.
    fn look(&mut self) {
        let Some(lost) = &mut self.session else { return };
        match lost.outage.look(self.shared.began.elapsed()) {
            Stage::Silent => {}
            Stage::Told => {
                self.shared.state.send_replace(ConnectionState::Disconnected);
            }
            Stage::Over => {
                let timeout = self.shared.options.session_timeout.unwrap_or_default();
                self.lose(&format!(
                    "and it did not come back within {timeout:?} (session timeout)"
                ));
            }
        }
    }

    /// A refusal by the very address where the agent listened means that it is gone.
    fn note_refusal(&mut self, problem: &DialError) {
        let fast = self.shared.options.fast_death;
        let Some(lost) = self.session.as_mut().filter(|_| fast) else { return };
        match problem {
            DialError::ConnectionRefused { addresses, .. } if lost.session.is_direct(addresses) => {
                lost.refusals += 1;
                if lost.refusals >= REFUSALS {
                    self.lose("and nobody listens there any more");
                }
            }
            _ => lost.refusals = 0,
        }
    }

    /// The session without a link will not come back.
    fn lose(&mut self, and_then: &str) {
        let Some(Interrupted { session, cause, .. }) = self.session.take() else { return };
        self.shared.state.send_replace(ConnectionState::Disconnected);
        let reason = format!("agent {}: {cause}, {and_then}", self.shared.options.url);
        tracing::warn!(reason, "the session is lost");
        self.abandoned = Some(session.id().to_owned());
        self.bury(session, &reason);
    }

    /// Ends what lived in a session. Spawns that it did not answer may be asked of the next, once.
    fn bury(&mut self, mut session: Session, reason: &str) {
        self.shared.session_lost(reason);
        let error = SpawnError::Unreachable(reason.to_owned());
        for spawn in session.lose(reason) {
            if spawn.second {
                let _ = spawn.reply.send(Err(error.clone()));
            } else {
                self.shared.history.spawn_retried();
                park(&mut self.waiting, Spawn { second: true, ..spawn });
            }
        }
    }

    async fn connected(&mut self, opened: Opened) -> Woken {
        let Opened { link, welcome, peer } = opened;
        let welcome = Arc::new(welcome);
        let url = self.shared.options.url.clone();
        let kept = match self.session.take() {
            Some(Interrupted { mut session, .. })
                if welcome.resumed && welcome.session == session.id() =>
            {
                if let Err(problem) = session.resume(Arc::clone(&welcome), peer) {
                    let lost = LinkLost::Protocol(problem);
                    if let Some(goodbye) = lost.goodbye() {
                        link.close_with(goodbye).await;
                    }
                    return self.over(session, &lost).await;
                }
                Some(session)
            }
            Some(Interrupted { session, cause, .. }) => {
                // Another instance, or one that has forgotten us: the workers are gone for sure.
                let reason = format!("agent {url}: {cause}, and it has lost the session since");
                tracing::warn!(reason, "the session is lost");
                self.bury(session, &reason);
                None
            }
            None => None,
        };
        if kept.is_none() && welcome.resumed {
            // We gave it up while it answered. Closing frees what the agent kept.
            link.close_with(Goodbye::Done).await;
            let problem = "it resumed a session that was given up".to_owned();
            return self.back_off(DialError::Unreachable(format!("{url}: {problem}"))).await;
        }
        let resumed = kept.is_some();
        let mut session = kept
            .unwrap_or_else(|| Session::new(Arc::clone(&self.shared), Arc::clone(&welcome), peer));
        let agent = welcome.agent_id.escape_debug();
        tracing::info!(%url, %agent, resumed, "connected");
        self.announce(welcome, resumed);
        for spawn in self.waiting.drain(..) {
            session.spawn(spawn);
        }
        let end = session.run(link, &mut self.commands, &mut self.closed).await;
        self.shared.load.send_replace(None);
        match end {
            End::Closed => Woken::Closed,
            End::Over(lost) => self.over(session, &lost).await,
            End::Lost(loss) => self.interrupted(session, loss).await,
        }
    }

    fn announce(&self, welcome: Arc<Welcome>, resumed: bool) {
        self.shared.set_draining(welcome.load.draining);
        self.shared.load.send_replace(Some(welcome.load.clone()));
        self.shared.history.welcomed(Arc::clone(&welcome), resumed);
        let mut host = self.shared.host.lock();
        if !resumed {
            *host = Host::default();
        }
        host.load.cores = welcome.cores;
        host.load.labels.clone_from(&welcome.labels);
        drop(host);
        self.shared.addresses.send_replace(Some(welcome.addresses.clone()));
        self.shared.status.send_replace(Status::Connected(welcome));
        self.shared.state.send_replace(ConnectionState::Connected);
    }

    /// Dials again at once, and then less and less often.
    async fn interrupted(&mut self, session: Session, loss: Loss) -> Woken {
        let Loss { cause, quiet, lasted } = loss;
        let options = &self.shared.options;
        tracing::info!(url = %options.url, %cause, "the link is lost; dialing again");
        let problem = DialError::Unreachable(format!("{}: {cause}", options.url));
        let outage = Outage::new(
            self.shared.began.elapsed(),
            quiet,
            options.silent_window,
            options.session_timeout,
        );
        self.session = Some(Interrupted { session, cause, outage, refusals: 0 });
        if lasted < LASTING {
            self.failures = self.failures.saturating_add(1);
            return self.back_off(problem).await;
        }
        self.failures = 0;
        self.shared.status.send_replace(Status::Connecting(Some(problem)));
        self.look();
        Woken::Ready
    }

    /// The session ended with its link: there is nothing to go on with.
    async fn over(&mut self, mut session: Session, lost: &LinkLost) -> Woken {
        let url = &self.shared.options.url;
        let reason = format!("agent {url}: {lost}");
        tracing::warn!(reason, "the session is lost");
        self.shared.state.send_replace(ConnectionState::Disconnected);
        self.shared.session_lost(&reason);
        session.end(&reason);
        self.failures = self.failures.saturating_add(1);
        self.back_off(DialError::Unreachable(format!("{url}: {lost}"))).await
    }

    /// Waits before the next attempt. Whoever spawns meanwhile waits too.
    async fn back_off(&mut self, problem: DialError) -> Woken {
        self.shared.status.send_replace(Status::Connecting(Some(problem)));
        self.look();
        let backoff = &self.shared.options.backoff;
        let failures = self.failures.max(1);
        let pause = sleep(match self.session {
            // Workers wait for the link: the next attempt must not be far away.
            Some(_) => backoff.wait_at_most(failures, RESUME_PAUSE),
            None => backoff.wait(failures),
        });
        tokio::pin!(pause);
        loop {
            match self.meanwhile(pause.as_mut()).await {
                Meanwhile::Done(()) => return Woken::Ready,
                Meanwhile::Asked => {}
                Meanwhile::Closed => return Woken::Closed,
            }
        }
    }

    /// Trying again would give the same, so only a spawn starts another attempt; or time, where
    /// files with tokens and certificates may change.
    async fn refused(&mut self, problem: DialError) -> Woken {
        tracing::warn!(url = %self.shared.options.url, %problem, "refused");
        for spawn in self.waiting.drain(..) {
            let _ = spawn.reply.send(Err(problem.clone().into()));
        }
        self.shared.status.send_replace(Status::Refused(problem));
        self.shared.state.send_replace(ConnectionState::Refused);
        let options = &self.shared.options;
        let again = options.may_change().then(|| options.backoff.wait(self.failures));
        let again = again.map(|pause| Instant::now() + pause);
        match self.meanwhile(reach(again)).await {
            Meanwhile::Asked | Meanwhile::Done(()) => Woken::Ready,
            Meanwhile::Closed => Woken::Closed,
        }
    }
}

/// Resolves once the connection is to close.
pub(super) async fn told(closed: &mut watch::Receiver<bool>) {
    // An error means that the handle is gone, which closes the connection too.
    let _ = closed.wait_for(|closed| *closed).await;
}

async fn reach(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Keeps a spawn for later and forgets those whose callers gave up.
fn park(waiting: &mut VecDeque<Spawn>, spawn: Spawn) {
    waiting.retain(|waiting| !waiting.reply.is_closed());
    waiting.push_back(spawn);
}
