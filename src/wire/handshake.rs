//! The JSON texts that open a link: `hello` from the controller, then `welcome` or `refused`.

use std::{collections::BTreeMap, fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{LoadReport, PROTOCOL, PROTOCOL_MIN};
use crate::addresses::HostAddresses;

/// Protocol versions that a controller speaks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtocolRange {
    pub min: u32,
    pub max: u32,
}

impl ProtocolRange {
    /// What this build speaks.
    pub const OURS: Self = Self { min: PROTOCOL_MIN, max: PROTOCOL };

    /// The newest version that both sides speak.
    pub fn common(self, other: Self) -> Option<u32> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

/// The controller's first words.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "hello", rename_all = "camelCase")]
pub struct Hello {
    pub protocol: ProtocolRange,
    /// The mediasoup version of the app's library.
    pub mediasoup: String,
    /// The fingerprint of that library's channel schema.
    pub schema: String,
    /// The session to resume; null asks for a new one.
    pub session: Option<String>,
    /// How many data frames of that session have arrived; null with a session: it is given up, and
    /// a new one is asked for.
    pub last_seen: Option<u64>,
    /// Which boot of which machine the app runs on, null where nobody can tell.
    pub boot_id: Option<String>,
    /// The inode of the app's network namespace, null where nobody can tell.
    pub netns: Option<u64>,
    /// What the app calls itself, for logs.
    pub controller: String,
}

/// A worker version that an agent runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerOffer {
    pub version: String,
    pub schema: String,
}

/// What the agent cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    pub max_message: usize,
    pub max_payload: usize,
    pub max_sessions: usize,
    /// A link whose peer says nothing for so long is lost.
    pub silence_ms: u64,
}

/// The agent lets the controller in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The version that both sides speak from here on.
    pub protocol: u32,
    pub agent_id: String,
    /// The version of the agent's package; empty where it does not tell.
    #[serde(default)]
    pub version: String,
    /// New with each agent process.
    pub instance_id: String,
    /// What resumes the session: a secret between the two.
    pub session: String,
    pub resumed: bool,
    /// How many data frames of a resumed session have arrived.
    #[serde(default)]
    pub last_seen: Option<u64>,
    /// How long the session outlives a link; null: for ever.
    #[serde(default)]
    pub session_timeout_ms: Option<u64>,
    /// Where the agent itself listens.
    #[serde(default)]
    pub listen: Vec<SocketAddr>,
    pub workers: Vec<WorkerOffer>,
    /// What the agent can do; null: all that its protocol version asks for.
    #[serde(default)]
    pub features: Option<Vec<String>>,
    pub cores: usize,
    pub max_workers: usize,
    pub addresses: HostAddresses,
    pub limits: Limits,
    pub labels: BTreeMap<String, String>,
    pub load: LoadReport,
    /// How often the agent pings.
    pub heartbeat_ms: u64,
}

/// Without the session, which is a secret.
impl fmt::Debug for Hello {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Hello")
            .field("protocol", &self.protocol)
            .field("mediasoup", &self.mediasoup)
            .field("controller", &self.controller)
            .field("resumes", &self.session.is_some())
            .field("last_seen", &self.last_seen)
            .finish_non_exhaustive()
    }
}

/// Without the session, which is a secret.
impl fmt::Debug for Welcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Welcome")
            .field("agent_id", &self.agent_id)
            .field("instance_id", &self.instance_id)
            .field("resumed", &self.resumed)
            .field("last_seen", &self.last_seen)
            .finish_non_exhaustive()
    }
}

/// What kind of refusal it is, so that the controller knows whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusalCode {
    /// No protocol version in common.
    Protocol,
    /// The first text was no usable `hello`.
    Hello,
    /// The agent has as many sessions as it takes.
    Busy,
    /// The agent is about to end.
    Closing,
    /// A code of a newer agent.
    #[serde(other)]
    Other,
}

/// The agent does not let the controller in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: RefusalCode,
    pub message: String,
}

/// The agent's first words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum AgentReply {
    Welcome(Box<Welcome>),
    Refused(Refusal),
}

/// Why a `hello` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloProblem {
    #[error("the first text is not a hello: {0}")]
    NotHello(String),
    #[error(
        "this agent speaks protocol {PROTOCOL_MIN} to {PROTOCOL}, the controller {} to {}",
        .0.min, .0.max
    )]
    Protocol(ProtocolRange),
}

impl Hello {
    /// Reads a hello and the protocol version that both sides speak.
    pub fn parse(text: &str) -> Result<(Self, u32), HelloProblem> {
        let hello: Self = serde_json::from_str(text)
            .map_err(|error| HelloProblem::NotHello(error.to_string()))?;
        let protocol = ProtocolRange::OURS
            .common(hello.protocol)
            .ok_or(HelloProblem::Protocol(hello.protocol))?;
        Ok((hello, protocol))
    }
}

impl From<HelloProblem> for Refusal {
    fn from(problem: HelloProblem) -> Self {
        let code = match problem {
            HelloProblem::NotHello(_) => RefusalCode::Hello,
            HelloProblem::Protocol(_) => RefusalCode::Protocol,
        };
        Self { code, message: problem.to_string() }
    }
}
