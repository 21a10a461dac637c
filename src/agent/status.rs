//! What an agent tells its operator of itself.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Server,
    drain::AgentState,
    roster::Entry,
    server::{Shared, millis},
    sessions::About,
};

/// How many workers are told one by one.
const WORKERS_MAX: usize = 1024;

/// How many sessions are told one by one. Each may have a long name.
const SESSIONS_MAX: usize = 256;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `running`, `draining` or `closing`.
    pub state: String,
    pub agent_id: String,
    pub instance_id: String,
    pub pid: u32,
    pub draining: Option<DrainStatus>,
    /// Workers that run, of every session.
    pub workers: usize,
    pub max_workers: usize,
    pub sessions: Vec<SessionStatus>,
    /// Workers that are too many to be told one by one.
    pub unlisted: usize,
    /// Sessions that are.
    pub unlisted_sessions: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainStatus {
    /// How long it has been draining.
    pub for_ms: u64,
    /// How much time is left; null: it has no end.
    pub left_ms: Option<u64>,
    /// Whether the agent ends with it.
    pub exit: bool,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// As logs number it.
    pub session: u64,
    /// What the controller calls itself; null once the session is over and workers are about to end.
    pub controller: Option<String>,
    /// Where it came from last.
    pub peer: Option<IpAddr>,
    /// Whether it has a link now.
    pub linked: bool,
    pub age_ms: Option<u64>,
    pub workers: Vec<WorkerStatus>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// Null while it starts.
    pub pid: Option<u32>,
    pub age_ms: u64,
    /// Thousandths of a core, once that is measured.
    pub cpu: Option<u32>,
}

impl Server {
    /// What there is to tell now.
    pub fn status(&self) -> Status {
        let Shared { identity, roster, sessions, sampler, .. } = self.shared.as_ref();
        let (state, draining) = match self.state() {
            AgentState::Running => ("running", None),
            AgentState::Draining(draining) => ("draining", Some(draining)),
            AgentState::Closing => ("closing", self.shared.drain.now()),
        };
        let loads = sampler.sample().loads;
        let (entries, abouts) = (roster.entries(), sessions.abouts());
        let (told, unlisted) = list(&entries, &abouts, &loads);
        Status {
            state: state.to_owned(),
            agent_id: identity.agent_id.clone(),
            instance_id: identity.instance_id.clone(),
            pid: std::process::id(),
            draining: draining.map(|draining| DrainStatus {
                for_ms: millis(draining.since.elapsed()),
                left_ms: draining.left().map(millis),
                exit: draining.exit,
                reason: draining.reason,
            }),
            workers: entries.len(),
            max_workers: roster.max(),
            sessions: told,
            unlisted,
            unlisted_sessions: abouts.len().saturating_sub(SESSIONS_MAX),
        }
    }
}

/// Sessions with their workers, and how many workers are left out.
fn list(
    entries: &[Entry],
    abouts: &[Arc<About>],
    loads: &BTreeMap<u32, u32>,
) -> (Vec<SessionStatus>, usize) {
    let mut workers: BTreeMap<u64, Vec<WorkerStatus>> = BTreeMap::new();
    for Entry { session, pid, since } in entries.iter().take(WORKERS_MAX) {
        let cpu = pid.and_then(|pid| loads.get(&pid).copied());
        let worker = WorkerStatus { pid: *pid, age_ms: millis(since.elapsed()), cpu };
        workers.entry(*session).or_default().push(worker);
    }
    let mut unlisted = entries.len().saturating_sub(WORKERS_MAX);
    for about in abouts.iter().skip(SESSIONS_MAX) {
        unlisted += workers.remove(&about.number).map_or(0, |workers| workers.len());
    }
    let mut told: Vec<SessionStatus> = abouts
        .iter()
        .take(SESSIONS_MAX)
        .map(|about| SessionStatus {
            session: about.number,
            controller: Some(about.controller.clone()),
            peer: Some(about.peer()),
            linked: about.is_linked(),
            age_ms: Some(millis(about.opened.elapsed())),
            workers: workers.remove(&about.number).unwrap_or_default(),
        })
        .collect();
    // What is left is of sessions that are over.
    told.extend(workers.into_iter().map(|(session, workers)| SessionStatus {
        session,
        controller: None,
        peer: None,
        linked: false,
        age_ms: None,
        workers,
    }));
    (told, unlisted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::time::Instant;

    use super::*;
    use crate::agent::{
        admin::{ANSWER_MAX, Answer, Event},
        sessions::Sessions,
    };

    #[test]
    fn however_much_there_is_the_answer_is_not_too_long() {
        let sessions = Sessions::default();
        for _ in 0..3000 {
            sessions.open(
                &"\u{1}".repeat(1000),
                "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap(),
            );
        }
        let abouts = sessions.abouts();
        // The last ones are over.
        let entry = |number: u64| Entry {
            session: 2990 + number % 700,
            pid: Some(4_000_000),
            since: Instant::now(),
        };
        let entries: Vec<_> = (1..=5000).map(entry).collect();
        let loads = BTreeMap::from([(4_000_000, 999_999)]);
        let (told, unlisted) = list(&entries, &abouts, &loads);
        let listed: usize = told.iter().map(|session| session.workers.len()).sum();
        assert_eq!(listed + unlisted, 5000);
        let over = told.iter().filter(|session| session.controller.is_none());
        assert!(over.clone().all(|session| session.session > 3000));
        assert_eq!(told.len() - over.count(), SESSIONS_MAX);
        let status = Status {
            state: "draining".to_owned(),
            agent_id: String::new(),
            instance_id: String::new(),
            pid: 1,
            draining: None,
            workers: 5000,
            max_workers: 5000,
            sessions: told,
            unlisted,
            unlisted_sessions: 3000 - SESSIONS_MAX,
        };
        let answer = Answer { event: Event::Status, status: Some(status), message: None };
        let bytes = serde_json::to_vec(&answer).unwrap().len() as u64;
        assert!(bytes + 8192 < ANSWER_MAX, "{bytes} bytes");
    }
}
