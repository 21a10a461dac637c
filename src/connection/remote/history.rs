//! What happened on a connection so far, and what is known of its agent.

use std::sync::{Arc, Weak, atomic::AtomicU64, atomic::Ordering::Relaxed};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::{
    connection::{AgentDetails, Details, LinkDetails},
    net::{Exchange, Meter},
    wire::Welcome,
};

/// Bytes of a session's hash that are shown.
const TAG: usize = 4;

#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) meter: Arc<Meter>,
    exchange: Mutex<Weak<Exchange>>,
    welcome: Mutex<Option<Arc<Welcome>>>,
    sessions: AtomicU64,
    resumes: AtomicU64,
    sessions_lost: AtomicU64,
    dial_failures: AtomicU64,
    spawn_retries: AtomicU64,
}

impl History {
    pub(super) fn session_opened(&self, exchange: &Arc<Exchange>) {
        *self.exchange.lock() = Arc::downgrade(exchange);
        self.sessions.fetch_add(1, Relaxed);
    }

    pub(super) fn welcomed(&self, welcome: Arc<Welcome>, resumed: bool) {
        *self.welcome.lock() = Some(welcome);
        if resumed {
            self.resumes.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn session_lost(&self) {
        self.sessions_lost.fetch_add(1, Relaxed);
    }

    pub(super) fn dial_failed(&self) {
        self.dial_failures.fetch_add(1, Relaxed);
    }

    pub(super) fn spawn_retried(&self) {
        self.spawn_retries.fetch_add(1, Relaxed);
    }

    pub(super) fn details(&self) -> Details {
        let exchange = self.exchange.lock().upgrade();
        let exchange = exchange.as_ref();
        let links = LinkDetails {
            round_trip: exchange.and_then(|exchange| exchange.round_trip()),
            traffic: self.meter.read(),
            queued_bytes: exchange.map_or(0, |exchange| exchange.queued_bytes()),
            sessions: self.sessions.load(Relaxed),
            resumes: self.resumes.load(Relaxed),
            sessions_lost: self.sessions_lost.load(Relaxed),
            dial_failures: self.dial_failures.load(Relaxed),
            spawn_retries: self.spawn_retries.load(Relaxed),
        };
        let welcome = self.welcome.lock().clone();
        Details {
            worker_versions: welcome
                .iter()
                .flat_map(|welcome| &welcome.workers)
                .map(|offer| offer.version.clone())
                .collect(),
            agent: welcome.map(|welcome| AgentDetails {
                agent_id: welcome.agent_id.clone(),
                instance_id: welcome.instance_id.clone(),
                version: welcome.version.clone(),
                protocol: welcome.protocol,
                session: tag(&welcome.session),
            }),
            links: Some(links),
        }
    }
}

/// The session itself is a secret. It is random, so nothing of it can be guessed from this.
fn tag(session: &str) -> String {
    let hash = Sha256::digest(session.as_bytes());
    hash.iter().take(TAG).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_shows_nothing_of_the_session() {
        let session = "00112233445566778899aabbccddeeff";
        assert_eq!(tag(session).len(), 2 * TAG);
        assert_ne!(tag(session), tag("10112233445566778899aabbccddeeff"));
        assert!(!session.contains(&tag(session)));
    }
}
