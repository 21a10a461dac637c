//! What an agent tells its operator of itself.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{
    Server,
    drain::AgentState,
    roster::Entry,
    server::{Shared, millis},
};

/// How many workers are told one by one.
const LISTED_MAX: usize = 1024;

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
        let entries = roster.entries();
        let mut workers: BTreeMap<u64, Vec<WorkerStatus>> = BTreeMap::new();
        for Entry { session, pid, since } in entries.iter().take(LISTED_MAX) {
            let cpu = pid.and_then(|pid| loads.get(&pid).copied());
            let worker = WorkerStatus { pid: *pid, age_ms: millis(since.elapsed()), cpu };
            workers.entry(*session).or_default().push(worker);
        }
        let mut told: Vec<SessionStatus> = sessions
            .abouts()
            .iter()
            .map(|about| SessionStatus {
                session: about.number,
                controller: Some(about.controller.clone()),
                peer: Some(about.peer()),
                linked: about.is_linked(),
                age_ms: Some(millis(about.opened.elapsed())),
                workers: workers.remove(&about.number).unwrap_or_default(),
            })
            .collect();
        told.extend(workers.into_iter().map(|(session, workers)| SessionStatus {
            session,
            controller: None,
            peer: None,
            linked: false,
            age_ms: None,
            workers,
        }));
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
            unlisted: entries.len().saturating_sub(LISTED_MAX),
        }
    }
}
