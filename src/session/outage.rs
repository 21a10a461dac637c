//! How long a session has been without a link.

use std::time::Duration;

/// The longest time between two looks. A process that slept longer was suspended, and so was its
/// view of the peer: time that nobody watched does not count.
const STEP: Duration = Duration::from_secs(1);

/// How late a look may come before it means that this process was suspended.
const LATE: Duration = Duration::from_secs(1);

/// How far an outage has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Short enough to be nobody's business.
    Silent,
    /// Long enough to be told.
    Told,
    /// The session is lost.
    Over,
}

/// The time since a link was lost. Moments are durations since any fixed one, on a clock that
/// never jumps.
#[derive(Debug, Clone)]
pub struct Outage {
    silent_window: Duration,
    /// `None`: it waits for ever.
    session_timeout: Option<Duration>,
    /// How long the peer had been silent when the link was lost.
    quiet: Duration,
    spent: Duration,
    looked: Duration,
}

impl Outage {
    pub fn new(
        now: Duration,
        quiet: Duration,
        silent_window: Duration,
        session_timeout: Option<Duration>,
    ) -> Self {
        Self { silent_window, session_timeout, quiet, spent: Duration::ZERO, looked: now }
    }

    /// Counts the time since the last look.
    pub fn look(&mut self, now: Duration) -> Stage {
        let passed = now.saturating_sub(self.looked);
        self.looked = now;
        self.spent += if passed > STEP + LATE { STEP } else { passed };
        self.stage()
    }

    pub fn stage(&self) -> Stage {
        if self.session_timeout.is_some_and(|timeout| self.spent >= timeout) {
            Stage::Over
        } else if self.spent + self.quiet >= self.silent_window {
            Stage::Told
        } else {
            Stage::Silent
        }
    }

    /// When the next look is due.
    pub fn next_look(&self) -> Duration {
        let window = self.silent_window.checked_sub(self.spent + self.quiet);
        let timeout = self.session_timeout.map(|timeout| timeout.saturating_sub(self.spent));
        let left = [window.filter(|left| !left.is_zero()), timeout];
        self.looked + left.into_iter().flatten().fold(STEP, Duration::min)
    }
}
