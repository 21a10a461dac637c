//! What a connection to an agent needs to know.

use std::time::Duration;

use crate::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    compatibility::Level,
    net::{
        AgentUrl, Backoff, ClientTlsOptions, HostIdentity, InvalidUrl, Timing, TlsError, Token,
        TokenFile,
    },
    session::{SESSION_TIMEOUT, SILENT_WINDOW},
};

/// Options of a `RemoteConnection`.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    pub url: AgentUrl,
    pub token: Option<Token>,
    /// Where the token comes from if it is not given itself; its first one is used.
    pub token_file: Option<TokenFile>,
    pub tls: ClientTlsOptions,
    /// How long one attempt, and one spawn, may take.
    pub connect_timeout: Duration,
    pub timing: Timing,
    pub backoff: Backoff,
    /// How long workers outlive a lost link; `None`: for ever.
    pub session_timeout: Option<Duration>,
    /// How long a lost link is not told.
    pub silent_window: Duration,
    /// An agent whose own address refuses connections after a loss is gone at once.
    pub fast_death: bool,
    /// The mediasoup version of the app's library.
    pub version: String,
    /// The fingerprint of that library's channel schema.
    pub fingerprint: String,
    /// How much the agent's workers may differ.
    pub compatibility: Level,
    pub app: AppIdentity,
}

impl RemoteOptions {
    /// The defaults for an agent at this URL.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self {
            url: AgentUrl::parse(url)?,
            token: None,
            token_file: None,
            tls: ClientTlsOptions::default(),
            connect_timeout: Duration::from_secs(10),
            timing: Timing::default(),
            backoff: Backoff::default(),
            session_timeout: Some(SESSION_TIMEOUT),
            silent_window: SILENT_WINDOW,
            fast_death: true,
            version: MEDIASOUP_VERSION.to_owned(),
            fingerprint: SCHEMA_FINGERPRINT.to_owned(),
            compatibility: Level::default(),
            app: AppIdentity::of_this_process(),
        })
    }

    /// What to show to the agent now.
    pub(super) fn current_token(&self) -> Option<Token> {
        self.token.clone().or_else(|| self.token_file.as_ref().and_then(TokenFile::first))
    }

    /// Whether an agent that refuses us may let us in later without a change to these options.
    pub(super) fn may_change(&self) -> bool {
        self.token_file.is_some() || self.tls.identity.is_some()
    }
}

/// Who the app is, as agents see it.
#[derive(Debug, Clone)]
pub struct AppIdentity {
    /// For the agents' logs.
    pub controller: String,
    pub host: HostIdentity,
}

impl AppIdentity {
    pub fn of_this_process() -> Self {
        let host = nix::unistd::gethostname()
            .map_or_else(|_| "unknown host".to_owned(), |name| name.to_string_lossy().into_owned());
        Self {
            controller: format!("{host} pid {}", std::process::id()),
            host: HostIdentity::of_this_process(),
        }
    }
}

/// Why a connection cannot be made of these options.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOptions {
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    #[error(transparent)]
    Tls(#[from] TlsError),
}
