//! An agent that means to leave: it takes no new workers, and may end by itself once those that it
//! has are gone or their time is over.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Server, server::millis};
use crate::wire::DrainNotice;

/// The longest wait that is not for ever: a year.
pub const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is wanted of a drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainOrder {
    /// How long workers may take to end by themselves; `None`: for ever.
    pub timeout: Option<Duration>,
    /// Whether the agent ends once they have, or once their time is over.
    pub exit: bool,
    /// Why, for logs and controllers.
    pub reason: String,
}

/// A drain that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draining {
    pub since: Instant,
    pub deadline: Option<Instant>,
    pub exit: bool,
    pub reason: String,
}

impl Draining {
    /// How much time is left, where it ends.
    pub fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    pub fn is_overdue(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}

/// What an agent is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentState {
    Running,
    Draining(Draining),
    /// It ends its workers, and then itself.
    Closing,
}

/// It is too late for a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent is about to end")]
pub struct IsClosing;

/// Whether the agent drains. Sessions hear of every change.
#[derive(Debug, Default)]
pub(super) struct Drain(watch::Sender<Option<Draining>>);

impl Drain {
    pub(super) fn now(&self) -> Option<Draining> {
        self.0.borrow().clone()
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// What it is now, and whenever that changes.
    pub(super) fn changes(&self) -> watch::Receiver<Option<Draining>> {
        self.0.subscribe()
    }
}

/// What controllers hear of it.
pub(super) fn notice(draining: Option<&Draining>) -> DrainNotice {
    DrainNotice {
        draining: draining.is_some(),
        deadline_ms: draining.and_then(Draining::left).map(millis),
        reason: draining.map(|draining| draining.reason.clone()),
    }
}

impl Server {
    pub fn state(&self) -> AgentState {
        match self.shared.drain.now() {
            _ if *self.shared.stopping.borrow() => AgentState::Closing,
            Some(draining) => AgentState::Draining(draining),
            None => AgentState::Running,
        }
    }

    /// Takes no new workers from now on. While it drains already, another deadline counts.
    pub fn drain(&self, order: DrainOrder) -> Result<Draining, IsClosing> {
        if *self.shared.stopping.borrow() {
            return Err(IsClosing);
        }
        let DrainOrder { timeout, exit, reason } = order;
        let now = Instant::now();
        let since = self.shared.drain.now().map_or(now, |draining| draining.since);
        let deadline = timeout.map(|timeout| now + timeout.min(LONGEST));
        let draining = Draining { since, deadline, exit, reason };
        let workers = self.shared.roster.count();
        tracing::info!(?timeout, exit, reason = draining.reason, workers, "draining");
        self.shared.drain.0.send_replace(Some(draining.clone()));
        Ok(draining)
    }

    /// Takes workers again. False if it did not drain.
    pub fn cancel_drain(&self) -> bool {
        let was = self.shared.drain.0.send_if_modified(|draining| draining.take().is_some());
        if was {
            tracing::info!("no longer draining");
        }
        was
    }

    /// Resolves once a drain that ends the agent is over: no worker is left, or no time.
    /// Cancel-safe.
    pub async fn drained(&self) {
        let mut changes = self.shared.drain.changes();
        loop {
            let draining = changes.borrow_and_update().clone().filter(|draining| draining.exit);
            let over = async {
                match &draining {
                    Some(draining) => self.over(draining).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Cancel-safe: made anew from the same facts.
                () = over => return,
                // Cancel-safe: a change that is not seen stays one. The sender is in `shared`.
                _ = changes.changed() => {}
            }
        }
    }

    /// Resolves once no worker is left, or no time.
    async fn over(&self, draining: &Draining) {
        let late = async {
            match draining.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Cancel-safe, both.
            () = self.shared.roster.emptied() => tracing::info!("drained; no worker is left"),
            () = late => {
                let workers = self.shared.roster.count();
                tracing::warn!(workers, "not drained in time");
            }
        }
    }
}
