//! The JSON payloads of frames. Unknown keys are ignored, so a newer side may say more.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    compatibility::Incompatibility,
    connection::{DtlsFiles, Exit, SpawnError, SpawnRequest},
};

/// SPAWN: the worker that the controller wants.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpawnSpec {
    pub version: String,
    pub schema: String,
    pub args: Vec<String>,
    pub dtls_certificate: Option<String>,
    pub dtls_private_key: Option<String>,
}

impl fmt::Debug for SpawnSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SpawnSpec")
            .field("version", &self.version)
            .field("schema", &self.schema)
            .field("args", &self.args)
            .field("dtls_certificate", &self.dtls_certificate.is_some())
            .field("dtls_private_key", &self.dtls_private_key.is_some())
            .finish()
    }
}

impl SpawnSpec {
    pub(super) fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.version.len()
            + self.schema.len()
            + self.args.iter().map(|arg| arg.len() + 3).sum::<usize>()
            + text(&self.dtls_certificate)
            + text(&self.dtls_private_key)
            + 64
    }
}

impl From<SpawnRequest> for SpawnSpec {
    /// The worker binary stays behind: only the app's own host may run it.
    fn from(request: SpawnRequest) -> Self {
        Self {
            version: request.version,
            schema: request.fingerprint,
            args: request.args,
            dtls_certificate: request.dtls.certificate,
            dtls_private_key: request.dtls.private_key,
        }
    }
}

impl From<SpawnSpec> for SpawnRequest {
    fn from(spec: SpawnSpec) -> Self {
        Self {
            version: spec.version,
            fingerprint: spec.schema,
            args: spec.args,
            dtls: DtlsFiles {
                certificate: spec.dtls_certificate,
                private_key: spec.dtls_private_key,
            },
            worker_bin: None,
        }
    }
}

/// SPAWNED: the worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawned {
    /// Process id on the agent's host.
    pub pid: u32,
}

/// FAILED: why there is no worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpawnFailure {
    /// `spawn`, `noBinary`, `wrongSettings`, `incompatible`, `unauthorized`, `full`, `draining`;
    /// others mean `unreachable`.
    pub code: String,
    pub message: String,
    /// With `spawn`: the path that could not be started.
    #[serde(default)]
    pub path: Option<String>,
    /// With `spawn`: the name of the system error, such as `ENOENT`.
    #[serde(default)]
    pub errno: Option<String>,
}

impl From<SpawnError> for SpawnFailure {
    fn from(error: SpawnError) -> Self {
        let failure = |code: &str, message: String| Self {
            code: code.to_owned(),
            message,
            path: None,
            errno: None,
        };
        match error {
            SpawnError::Spawn { path, code } => Self {
                path: Some(path.clone()),
                errno: Some(code.clone()),
                ..failure("spawn", SpawnError::Spawn { path, code }.to_string())
            },
            SpawnError::NoBinary(message) => failure("noBinary", message),
            SpawnError::WrongSettings(message) => failure("wrongSettings", message),
            SpawnError::Incompatible(why) => failure("incompatible", why.message),
            SpawnError::Unauthorized(message) => failure("unauthorized", message),
            SpawnError::Unreachable(message) => failure("unreachable", message),
            SpawnError::Full(message) => failure("full", message),
            SpawnError::Draining(message) => failure("draining", message),
        }
    }
}

impl From<SpawnFailure> for SpawnError {
    fn from(failure: SpawnFailure) -> Self {
        let message = failure.message;
        match (failure.code.as_str(), failure.path, failure.errno) {
            ("spawn", Some(path), Some(code)) => Self::Spawn { path, code },
            ("noBinary", ..) => Self::NoBinary(message),
            ("wrongSettings", ..) => Self::WrongSettings(message),
            ("incompatible", ..) => Self::Incompatible(Incompatibility::told(message)),
            ("unauthorized", ..) => Self::Unauthorized(message),
            ("full", ..) => Self::Full(message),
            ("draining", ..) => Self::Draining(message),
            _ => Self::Unreachable(message),
        }
    }
}

/// EXITED: how a worker ended. Exactly one key is not null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReport {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The agent gave the worker up before it saw it end.
    #[serde(default)]
    pub lost: Option<String>,
}

impl From<Exit> for ExitReport {
    fn from(exit: Exit) -> Self {
        let nothing = Self { code: None, signal: None, lost: None };
        match exit {
            Exit::Code(code) => Self { code: Some(code), ..nothing },
            Exit::Signal(signal) => Self { signal: Some(signal), ..nothing },
            Exit::Lost(reason) => Self { lost: Some(reason), ..nothing },
        }
    }
}

impl From<ExitReport> for Exit {
    fn from(report: ExitReport) -> Self {
        match report {
            ExitReport { lost: Some(reason), .. } => Self::Lost(reason),
            ExitReport { signal: Some(signal), .. } => Self::Signal(signal),
            ExitReport { code: Some(code), .. } => Self::Code(code),
            _ => Self::Lost("the agent did not say how it ended".to_owned()),
        }
    }
}

/// LOAD: what placement wants to know, pushed about once a second.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadReport {
    /// Workers that run on the agent, of every session.
    pub workers: usize,
    pub max_workers: usize,
    /// What this session's workers take: handle, thousandths of a core.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<(u32, u32)>,
    /// What every other worker takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<u32>,
    /// It takes no new workers and means to leave.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}

/// DRAIN: the agent takes no new workers and means to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainNotice {
    /// False: it stays after all.
    pub draining: bool,
    /// Milliseconds until it ends its workers, where there is a deadline.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    #[serde(default)]
    pub reason: Option<String>,
}
