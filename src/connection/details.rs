//! What a connection shows to the people who run it.

use std::time::Duration;

use crate::net::Traffic;

/// More than placement needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// mediasoup versions of its workers, where it tells.
    pub worker_versions: Vec<String>,
    /// The agent behind it.
    pub agent: Option<AgentDetails>,
    pub links: Option<LinkDetails>,
}

/// The agent that let us in last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentDetails {
    pub agent_id: String,
    pub instance_id: String,
    /// Of its package; empty where it does not tell.
    pub version: String,
    pub protocol: u32,
    /// Tells sessions apart and opens none.
    pub session: String,
}

/// The links to an agent, all that there ever were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkDetails {
    pub round_trip: Option<Duration>,
    pub traffic: Traffic,
    /// Bytes that wait to be written, or for an acknowledgement.
    pub queued_bytes: usize,
    /// Sessions that were opened.
    pub sessions: u64,
    /// Links that went on with a session.
    pub resumes: u64,
    /// Sessions that ended without this side wanting it.
    pub sessions_lost: u64,
    /// Attempts to reach the agent that failed.
    pub dial_failures: u64,
    /// Requests for a worker that were asked again of another session.
    pub spawn_retries: u64,
}
