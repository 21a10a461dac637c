//! How long a link waits for slow readers, all in all.

use std::time::Duration;

use tokio::time::Instant;

/// Time that may be spent waiting. It comes back as fast as it was spent, so several slow readers
/// one after the other cannot hold up a link longer than one.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    spent: Duration,
    since: Instant,
}

impl Patience {
    pub fn new(limit: Duration) -> Self {
        Self { limit, spent: Duration::ZERO, since: Instant::now() }
    }

    /// What may be waited for now.
    pub fn left(&mut self) -> Duration {
        let now = Instant::now();
        self.spent = self.spent.saturating_sub(now - self.since);
        self.since = now;
        self.limit.saturating_sub(self.spent)
    }

    /// Counts a wait that began when `left` was asked.
    pub fn spend(&mut self) {
        let now = Instant::now();
        self.spent += now - self.since;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn runs_out_and_comes_back() {
        let mut patience = Patience::new(Duration::from_secs(8));
        assert_eq!(patience.left(), Duration::from_secs(8));
        tokio::time::advance(Duration::from_secs(8)).await;
        patience.spend();
        assert_eq!(patience.left(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(patience.left(), Duration::from_secs(3));
    }
}
