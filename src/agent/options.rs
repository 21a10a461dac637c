//! What an agent needs to know.

use std::{collections::BTreeMap, time::Duration};

use super::AddressOptions;
use crate::{
    net::{Timing, Tokens},
    session::SESSION_TIMEOUT,
    worker_process::cpu::cores,
};

/// Options of an agent.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Host and port to listen on.
    pub listen: String,
    /// Who may come in. None: everybody, on loopback only.
    pub tokens: Tokens,
    /// Listen off loopback although nothing encrypts the links.
    pub insecure: bool,
    /// The most workers at a time, of all sessions.
    pub max_workers: usize,
    pub max_sessions: usize,
    pub addresses: AddressOptions,
    pub labels: BTreeMap<String, String>,
    pub timing: Timing,
    /// How long a session and its workers wait for a controller whose link is lost; `None`: for
    /// ever.
    pub session_timeout: Option<Duration>,
    /// How long workers may take to end by themselves when the agent ends.
    pub grace: Duration,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:4480".to_owned(),
            tokens: Tokens::default(),
            insecure: false,
            max_workers: cores(),
            max_sessions: 64,
            addresses: AddressOptions::default(),
            labels: BTreeMap::new(),
            timing: Timing::default(),
            session_timeout: Some(SESSION_TIMEOUT),
            grace: Duration::from_secs(5),
        }
    }
}
