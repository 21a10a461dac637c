//! How long to wait before the next attempt.

use std::{fmt, sync::Arc, time::Duration};

use rand::Rng;

/// The wait before an attempt, by the number of attempts that failed in a row (from 1).
#[derive(Clone)]
pub struct Backoff(Arc<dyn Fn(u32) -> Duration + Send + Sync>);

impl Backoff {
    pub fn new(wait: impl Fn(u32) -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(wait))
    }

    /// Doubles from `first` to `longest`, each wait between half and all of that.
    pub fn exponential(first: Duration, longest: Duration) -> Self {
        Self::new(move |attempt| {
            let doubled = first.saturating_mul(1 << attempt.saturating_sub(1).min(20));
            doubled.min(longest).mul_f64(rand::rng().random_range(0.5..=1.0))
        })
    }

    pub fn wait(&self, attempt: u32) -> Duration {
        (self.0)(attempt)
    }

    /// The same, cut to between half and all of the longest wait, so that those who fail together
    /// do not come back together.
    pub fn wait_at_most(&self, attempt: u32, longest: Duration) -> Duration {
        self.wait(attempt).min(longest.mul_f64(rand::rng().random_range(0.5..=1.0)))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_millis(200), Duration::from_secs(5))
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Backoff")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_with_jitter_up_to_the_longest() {
        let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(1));
        for (attempt, full) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (99, 1000)] {
            let wait = backoff.wait(attempt);
            assert!(wait <= Duration::from_millis(full), "{attempt}: {wait:?}");
            assert!(wait >= Duration::from_millis(full / 2), "{attempt}: {wait:?}");
        }
        for attempt in [5, 9, 99] {
            let wait = backoff.wait_at_most(attempt, Duration::from_millis(400));
            assert!((200..=400).contains(&wait.as_millis()), "{attempt}: {wait:?}");
        }
        let short = Backoff::new(|_| Duration::from_millis(3));
        assert_eq!(short.wait_at_most(99, Duration::from_secs(1)), Duration::from_millis(3));
    }
}
