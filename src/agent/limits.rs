//! What an agent gives at most, what it says where that is not enough, and how often it had to.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Limits beside those that options of their own set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Workers of one session at a time; `None`: as many as the agent has.
    pub workers_per_session: Option<usize>,
    /// Spawns of one session whose answers wait for a controller that does not read.
    pub spawns_in_flight: usize,
    /// Spawns of one session a second, in the long run.
    pub spawns_per_second: u32,
    /// Spawns of one session at once.
    pub spawn_burst: u32,
    /// Connections that have not been let in yet.
    pub handshakes: usize,
    /// Those of one address.
    pub handshakes_per_address: usize,
    /// Wrong tokens of one address within a minute.
    pub wrong_tokens: u32,
    /// How long an address with more than that is refused.
    pub refused_for: Duration,
    /// Bytes of one worker's arguments together.
    pub argument_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            workers_per_session: None,
            spawns_in_flight: 64,
            spawns_per_second: 100,
            spawn_burst: 256,
            handshakes: 64,
            handshakes_per_address: 32,
            wrong_tokens: 30,
            refused_for: Duration::from_secs(30),
            argument_bytes: 64 * 1024,
        }
    }
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    Sessions,
    Workers,
    WorkersPerSession,
    FrameBytes,
    UnacknowledgedBytes,
    SpawnsInFlight,
    SpawnRate,
    Handshakes,
    HandshakesPerAddress,
    WrongTokens,
    ArgumentBytes,
}

impl Limit {
    pub const ALL: [Self; 11] = [
        Self::Sessions,
        Self::Workers,
        Self::WorkersPerSession,
        Self::FrameBytes,
        Self::UnacknowledgedBytes,
        Self::SpawnsInFlight,
        Self::SpawnRate,
        Self::Handshakes,
        Self::HandshakesPerAddress,
        Self::WrongTokens,
        Self::ArgumentBytes,
    ];

    /// As logs and metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Workers => "workers",
            Self::WorkersPerSession => "workers_per_session",
            Self::FrameBytes => "frame_bytes",
            Self::UnacknowledgedBytes => "unacknowledged_bytes",
            Self::SpawnsInFlight => "spawns_in_flight",
            Self::SpawnRate => "spawn_rate",
            Self::Handshakes => "handshakes",
            Self::HandshakesPerAddress => "handshakes_per_address",
            Self::WrongTokens => "wrong_tokens",
            Self::ArgumentBytes => "argument_bytes",
        }
    }
}

/// Somebody asked for more than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    #[error("it has {max} sessions already (--max-sessions)")]
    Sessions { max: usize },
    #[error("it runs {max} of {max} workers (--max-workers)")]
    Workers { max: usize },
    #[error("it runs {max} workers for this app, and no more (--max-workers-per-session)")]
    WorkersPerSession { max: usize },
    #[error("{max} SPAWN frames whose answers are not read")]
    SpawnsInFlight { max: usize },
    #[error(
        "it starts {per_second} workers a second for one app, after {burst} at once; retryAfter \
         {} ms",
        .retry_after.as_millis()
    )]
    SpawnRate { per_second: u32, burst: u32, retry_after: Duration },
    #[error("{max} connections are in their handshakes")]
    Handshakes { max: usize },
    #[error("{max} connections from this address are in their handshakes")]
    HandshakesPerAddress { max: usize },
    #[error(
        "more than {max} wrong tokens came from this address within a minute; retryAfter {} s",
        retry_seconds(*.retry_after)
    )]
    WrongTokens { max: u32, retry_after: Duration },
    #[error("{bytes} bytes of worker arguments, at most {max} are allowed")]
    ArgumentBytes { bytes: usize, max: usize },
}

impl LimitExceeded {
    pub fn limit(self) -> Limit {
        match self {
            Self::Sessions { .. } => Limit::Sessions,
            Self::Workers { .. } => Limit::Workers,
            Self::WorkersPerSession { .. } => Limit::WorkersPerSession,
            Self::SpawnsInFlight { .. } => Limit::SpawnsInFlight,
            Self::SpawnRate { .. } => Limit::SpawnRate,
            Self::Handshakes { .. } => Limit::Handshakes,
            Self::HandshakesPerAddress { .. } => Limit::HandshakesPerAddress,
            Self::WrongTokens { .. } => Limit::WrongTokens,
            Self::ArgumentBytes { .. } => Limit::ArgumentBytes,
        }
    }
}

/// Whole seconds, rounded up.
pub fn retry_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

/// How often each limit was reached.
#[derive(Debug, Default)]
pub struct LimitCounters([AtomicU64; Limit::ALL.len()]);

impl LimitCounters {
    pub fn get(&self, limit: Limit) -> u64 {
        self.0[limit as usize].load(Ordering::Relaxed)
    }

    /// All of them by their names.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Limit::ALL.into_iter().map(|limit| (limit.name(), self.get(limit)))
    }

    /// Counts, and logs now and then: whoever floods an agent must not flood its log.
    pub(super) fn hit(&self, limit: Limit, what: &str) {
        let times = self.0[limit as usize].fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            tracing::warn!(limit = limit.name(), times, "limit reached: {what}");
        }
    }

    /// Counts an error that is told to whoever caused it.
    pub(super) fn exceeded(&self, error: LimitExceeded) -> LimitExceeded {
        self.hit(error.limit(), &error.to_string());
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_counter_and_a_name_of_its_own() {
        let counters = LimitCounters::default();
        for (position, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, position);
            assert_eq!(counters.get(limit), 0);
            counters.hit(limit, "a test");
            assert_eq!(counters.get(limit), 1);
        }
        let names: std::collections::HashSet<_> = counters.all().map(|(name, _)| name).collect();
        assert_eq!(names.len(), Limit::ALL.len());
        assert!(counters.all().all(|(_, count)| count == 1));
    }

    #[test]
    fn errors_say_when_to_come_again() {
        let retry_after = Duration::from_millis(1500);
        let error = LimitExceeded::SpawnRate { per_second: 2, burst: 4, retry_after };
        assert!(error.to_string().ends_with("retryAfter 1500 ms"), "{error}");
        let error = LimitExceeded::WrongTokens { max: 30, retry_after };
        assert!(error.to_string().ends_with("retryAfter 2 s"), "{error}");
    }
}
