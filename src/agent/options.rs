//! What an agent needs to know.

use std::{collections::BTreeMap, time::Duration};

use super::{AddressOptions, Limits};
use crate::{
    net::{ServerTls, Timing, TokenFile, Tokens},
    session::SESSION_TIMEOUT,
    worker_process::cpu::cores,
};

/// Options of an agent.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Host and port to listen on.
    pub listen: String,
    /// Host and port where metrics and health are told over HTTP.
    pub metrics: Option<String>,
    /// Who may come in. None here and in the file: everybody, or everybody with a certificate if
    /// TLS asks for one; and only on loopback if it does not.
    pub tokens: Tokens,
    /// More of them.
    pub token_file: Option<TokenFile>,
    pub tls: Option<ServerTls>,
    /// Listen off loopback although nothing encrypts the links.
    pub insecure: bool,
    /// The most workers at a time, of all sessions.
    pub max_workers: usize,
    pub max_sessions: usize,
    pub limits: Limits,
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
            metrics: None,
            tokens: Tokens::default(),
            token_file: None,
            tls: None,
            insecure: false,
            max_workers: cores(),
            max_sessions: 64,
            limits: Limits::default(),
            addresses: AddressOptions::default(),
            labels: BTreeMap::new(),
            timing: Timing::default(),
            session_timeout: Some(SESSION_TIMEOUT),
            grace: Duration::from_secs(5),
        }
    }
}

impl AgentOptions {
    /// The tokens that count now.
    pub(super) fn current_tokens(&self) -> Tokens {
        let mut tokens = self.tokens.clone();
        if let Some(file) = &self.token_file {
            tokens.extend(file.tokens());
        }
        tokens
    }
}
