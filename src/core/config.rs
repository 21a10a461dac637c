//! Connections and addresses from settings: those that JS hands over, and the environment's.

use std::{
    collections::HashMap,
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;

use super::{
    CONNECT_TIMEOUT, Core, Deadlines,
    credentials::{self, CredentialsError},
    discovery::AgentsUrl,
    local_source::{LocalSettings, local},
    placement::{ConfiguredPlacement, PlacementError},
};
use crate::{
    addresses::{AnnouncedMode, DEFAULT_ENV_NAMES, SelfSet, book::AddressBook, interfaces},
    compatibility::{Incompatibility, Level},
    connection::{
        Connection, HostLoad,
        mock::{MockConnection, MockConnectionOptions, Mocks},
        remote::{InvalidOptions, RemoteConnection, RemoteOptions},
    },
    net::{AgentUrl, InvalidUrl},
    session::{INFINITE, SESSION_TIMEOUT},
    worker_process::Environment,
};

/// Agents, with commas between their URLs.
pub const AGENTS: &str = "MEDIASOUP_HORIZONTAL_AGENTS";
/// Connect timeout in milliseconds.
pub const CONNECT_TIMEOUT_MS: &str = "MEDIASOUP_HORIZONTAL_CONNECT_TIMEOUT_MS";
/// How long Workers on agents outlive a lost link: milliseconds, or `infinite`.
pub const SESSION_TIMEOUT_MS: &str = "MEDIASOUP_HORIZONTAL_SESSION_TIMEOUT_MS";
/// How long a call may wait for a worker's answer: milliseconds, or `infinite`.
pub const CALL_TIMEOUT_MS: &str = "MEDIASOUP_HORIZONTAL_CALL_TIMEOUT_MS";
/// How much longer than the session timeout that is by itself, so that the loss of a host is told
/// first.
const CALL_MARGIN: Duration = Duration::from_secs(10);
/// `0`: the process that mediasoup spawns never becomes the worker itself; `1`: on this host it
/// always does.
pub const EXEC_IN_PLACE: &str = "MEDIASOUP_HORIZONTAL_EXEC_IN_PLACE";
/// Further addresses and names of the app's own host.
pub const SELF_ADDRESSES: &str = "MEDIASOUP_HORIZONTAL_SELF_ADDRESSES";
/// How much the workers of a connection may differ from the library's own.
pub const COMPATIBILITY: &str = "MEDIASOUP_HORIZONTAL_COMPATIBILITY";

/// What holds for a whole core. No `Debug`: the environment may hold secrets.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    pub connect_timeout_ms: Option<u64>,
    #[serde(default)]
    pub call_timeout_ms: Option<SessionTimeoutMs>,
    pub self_addresses: Vec<String>,
    pub announced_mode: Option<Announced>,
    #[serde(default)]
    pub compatibility: Option<Level>,
    #[serde(default, rename = "placement")]
    pub placing: ConfiguredPlacement,
    /// The app's environment, copied where it may be read.
    pub environment: HashMap<String, String>,
    /// Path of the stub, which is never taken for a worker.
    pub stub: Option<PathBuf>,
    /// Folder of the installed mediasoup package.
    pub mediasoup_dir: Option<PathBuf>,
    /// The mock connections of this core.
    #[serde(skip)]
    pub mocks: Mocks,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Announced {
    Auto,
    Identity,
}

/// One connection to make. No `Debug`: tokens are secrets.
#[derive(Clone, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
#[serde(deny_unknown_fields)]
pub enum ConnectionSettings {
    /// What the environment names, else this host.
    Environment,
    Local(LocalSettings),
    Remote(Box<RemoteSettings>),
    Mock {
        name: String,
        cores: Option<NonZeroUsize>,
        region: Option<String>,
        /// What each of its workers takes, in thousandths of a core.
        cpu: Option<u32>,
    },
}

/// A connection to an agent. No `Debug`: tokens are secrets.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoteSettings {
    pub url: String,
    pub token: Option<String>,
    pub token_file: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub server_name: Option<String>,
    pub session_timeout_ms: Option<SessionTimeoutMs>,
    pub silent_window_ms: Option<u64>,
    pub heartbeat_ms: Option<NonZeroU64>,
    pub silence_ms: Option<u64>,
    pub fast_death: Option<bool>,
}

/// A time limit: how long Workers outlive a lost link, how long calls wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum SessionTimeoutMs {
    Limited(u64),
    Word(Infinite),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Infinite {
    Infinite,
}

impl From<SessionTimeoutMs> for Option<Duration> {
    fn from(timeout: SessionTimeoutMs) -> Self {
        match timeout {
            SessionTimeoutMs::Limited(ms) => Some(Duration::from_millis(ms)),
            SessionTimeoutMs::Word(Infinite::Infinite) => None,
        }
    }
}

/// Settings that make no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{url}: {source}")]
    Url { url: String, source: InvalidUrl },
    #[error("{url}: {source}")]
    Credentials { url: String, source: CredentialsError },
    #[error("{url}: {source}")]
    Remote { url: String, source: InvalidOptions },
    #[error("cannot read this host's addresses: {0}")]
    Interfaces(#[from] std::io::Error),
    #[error("{CONNECT_TIMEOUT_MS}={0}: it is a whole number of milliseconds")]
    Timeout(String),
    #[error("{name}={value}: it is a whole number of milliseconds from {least} on, or {INFINITE}")]
    TimeLimit { name: &'static str, value: String, least: u64 },
    #[error("{EXEC_IN_PLACE}={0}: it is 0 or 1")]
    ExecInPlace(String),
    #[error("{name}: {source}")]
    Variable { name: &'static str, source: Box<ConfigError> },
    #[error("{url}: silenceMs {silence} must be longer than heartbeatMs {heartbeat}")]
    Silence { url: String, silence: u128, heartbeat: u128 },
    #[error(transparent)]
    Placement(#[from] PlacementError),
    #[error("{COMPATIBILITY}={0}: it is one of {names}", names = Level::NAMED.map(|(name, _)| name).join(", "))]
    Compatibility(String),
    #[error(transparent)]
    Incompatible(Incompatibility),
}

impl Options {
    /// The options of a core that nobody configures but the environment.
    pub fn of_environment(environment: HashMap<String, String>) -> Self {
        Self { environment, ..Self::default() }
    }

    /// How long `createWorker` may look for a worker.
    pub fn connect_timeout(&self) -> Result<Duration, ConfigError> {
        let configured = match (self.connect_timeout_ms, self.variable(CONNECT_TIMEOUT_MS)) {
            (Some(configured), _) => Some(configured),
            (None, Some(value)) => {
                Some(value.parse().map_err(|_| ConfigError::Timeout(value.to_owned()))?)
            }
            (None, None) => None,
        };
        Ok(configured.map_or(CONNECT_TIMEOUT, Duration::from_millis))
    }

    /// How long Workers on agents outlive a lost link, where the environment tells.
    fn session_timeout(&self) -> Result<Option<SessionTimeoutMs>, ConfigError> {
        self.time_limit(SESSION_TIMEOUT_MS, 0)
    }

    /// How long the app waits for what.
    pub fn deadlines(&self) -> Result<Deadlines, ConfigError> {
        let configured = match self.call_timeout_ms {
            Some(configured) => Some(configured),
            None => self.time_limit(CALL_TIMEOUT_MS, 1)?,
        };
        let call = if let Some(configured) = configured {
            configured.into()
        } else {
            // Outages do not count, so calls end even where sessions never do.
            let session = self.session_timeout()?.and_then(Option::from);
            Some(session.unwrap_or(SESSION_TIMEOUT) + CALL_MARGIN)
        };
        Ok(Deadlines { connect: self.connect_timeout()?, call })
    }

    fn time_limit(
        &self,
        name: &'static str,
        least: u64,
    ) -> Result<Option<SessionTimeoutMs>, ConfigError> {
        match self.variable(name) {
            None => Ok(None),
            Some(INFINITE) => Ok(Some(SessionTimeoutMs::Word(Infinite::Infinite))),
            Some(value) => {
                let limit = value.parse().ok().filter(|limit| *limit >= least);
                let wrong = || ConfigError::TimeLimit { name, value: value.to_owned(), least };
                limit.map(SessionTimeoutMs::Limited).map(Some).ok_or_else(wrong)
            }
        }
    }

    /// How much the workers of a connection may differ.
    pub(super) fn level(&self) -> Result<Level, ConfigError> {
        match (self.compatibility, self.variable(COMPATIBILITY)) {
            (Some(level), _) => Ok(level),
            (None, Some(name)) => {
                Level::named(name).ok_or_else(|| ConfigError::Compatibility(name.to_owned()))
            }
            (None, None) => Ok(Level::default()),
        }
    }

    /// A variable of the environment that says something.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    pub(super) fn environment(&self) -> Environment {
        self.environment.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}

/// The address book of an app on this host.
pub fn address_book(options: &Options) -> Result<Arc<AddressBook>, ConfigError> {
    let own = interfaces()?.into_iter().map(|interface| interface.ip);
    let configured = options.variable(SELF_ADDRESSES).unwrap_or_default();
    let configured = configured.split([',', ' ']).map(str::to_owned);
    let set = SelfSet::new(
        own,
        DEFAULT_ENV_NAMES,
        |name| options.variable(name).map(str::to_owned),
        options.self_addresses.iter().cloned().chain(configured),
    );
    let announced = match options.announced_mode {
        None | Some(Announced::Auto) => AnnouncedMode::Auto,
        Some(Announced::Identity) => AnnouncedMode::Identity,
    };
    Ok(Arc::new(AddressBook::new(set, announced)))
}

/// Makes the connections that these settings name; several only for the environment's.
pub fn connect(
    core: &Core,
    options: &Options,
    settings: ConnectionSettings,
) -> Result<Vec<Arc<dyn Connection>>, ConfigError> {
    Ok(match settings {
        ConnectionSettings::Environment => return environment(core, options),
        ConnectionSettings::Local(settings) => vec![Arc::new(local(options, settings)?)],
        ConnectionSettings::Remote(settings) => return agents(core, options, &settings),
        ConnectionSettings::Mock { name, cores, region, cpu } => {
            let defaults = MockConnectionOptions::default();
            let labels = region.map(|region| ("region".to_owned(), region)).into_iter().collect();
            let cores = cores.map(NonZeroUsize::get);
            let max_workers = cores.unwrap_or(defaults.max_workers);
            let cores = cores.unwrap_or(defaults.host_load.cores);
            let host_load = HostLoad { cores, labels, ..defaults.host_load };
            let cpu = cpu.unwrap_or(defaults.cpu);
            let rules = options.mocks.rules.clone();
            let mock =
                MockConnectionOptions { name, max_workers, host_load, cpu, rules, ..defaults };
            let mock = MockConnection::new(mock);
            options.mocks.add(mock.handle());
            vec![Arc::new(mock)]
        }
    })
}

fn environment(core: &Core, options: &Options) -> Result<Vec<Arc<dyn Connection>>, ConfigError> {
    let urls: Vec<&str> = options
        .variable(AGENTS)
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|url| !url.is_empty())
        .collect();
    if urls.is_empty() {
        let exec_in_place = options.exec_in_place()?;
        let settings = LocalSettings { exec_in_place, ..LocalSettings::default() };
        return Ok(vec![Arc::new(local(options, settings)?)]);
    }
    let settings = |url: &str| RemoteSettings { url: url.to_owned(), ..RemoteSettings::default() };
    let mut connections = Vec::new();
    for url in urls {
        connections.extend(agents(core, options, &settings(url)).map_err(of_the_list)?);
    }
    Ok(connections)
}

/// Says where a URL that is none was found.
fn of_the_list(error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Url { .. } => ConfigError::Variable { name: AGENTS, source: Box::new(error) },
        other => other,
    }
}

/// The agent of a URL. Those of a name come by themselves, as the name tells.
fn agents(
    core: &Core,
    options: &Options,
    settings: &RemoteSettings,
) -> Result<Vec<Arc<dyn Connection>>, ConfigError> {
    let Some(named) = AgentsUrl::parse(&settings.url) else {
        return Ok(vec![remote(core, options, settings)?]);
    };
    let url =
        named.map_err(|source| ConfigError::Url { url: without_secrets(&settings.url), source })?;
    let mut each = RemoteSettings { url: url.agent().to_string(), ..settings.clone() };
    if url.agent().is_tls() {
        // Their certificates name what they are called, not where they are.
        each.server_name.get_or_insert_with(|| url.agent().host());
    }
    // What is wrong with it is told now, and not with every agent.
    unstarted(options, &each)?;
    let options = options.clone();
    let make = move |url: &AgentUrl| {
        let settings = RemoteSettings { url: url.to_string(), ..each.clone() };
        let connection = unstarted(&options, &settings).map_err(|error| error.to_string())?;
        connection.start();
        Ok(Arc::new(connection) as Arc<dyn Connection>)
    };
    core.discover(url, Box::new(make));
    Ok(Vec::new())
}

fn remote(
    core: &Core,
    options: &Options,
    settings: &RemoteSettings,
) -> Result<Arc<dyn Connection>, ConfigError> {
    let connection = unstarted(options, settings)?;
    let _entered = core.handle().enter();
    connection.start();
    Ok(Arc::new(connection))
}

fn unstarted(
    options: &Options,
    settings: &RemoteSettings,
) -> Result<RemoteConnection, ConfigError> {
    let remote = remote_options(options, settings)?;
    let url = remote.url.to_string();
    RemoteConnection::new(remote).map_err(|source| {
        let variable = credentials::variable_of(&source, options, settings);
        let error = ConfigError::Remote { url, source };
        match variable {
            Some(name) => ConfigError::Variable { name, source: Box::new(error) },
            None => error,
        }
    })
}

fn remote_options(
    options: &Options,
    settings: &RemoteSettings,
) -> Result<RemoteOptions, ConfigError> {
    let url = settings.url.clone();
    let mut remote = RemoteOptions::new(&url)
        .map_err(|source| ConfigError::Url { url: without_secrets(&url), source })?;
    credentials::put(&mut remote, options, settings)
        .map_err(|source| ConfigError::Credentials { url: url.clone(), source })?;
    remote.connect_timeout = options.connect_timeout()?;
    remote.compatibility = options.level()?;
    let ms = Duration::from_millis;
    let timeout = match settings.session_timeout_ms {
        Some(timeout) => Some(timeout),
        None => options.session_timeout()?,
    };
    remote.session_timeout = timeout.map_or(remote.session_timeout, Into::into);
    remote.silent_window = settings.silent_window_ms.map_or(remote.silent_window, ms);
    remote.fast_death = settings.fast_death.unwrap_or(remote.fast_death);
    let timing = &mut remote.timing;
    timing.heartbeat = settings.heartbeat_ms.map_or(timing.heartbeat, |given| ms(given.get()));
    timing.silence = settings.silence_ms.map_or(timing.silence, ms);
    if timing.silence <= timing.heartbeat {
        let (silence, heartbeat) = (timing.silence.as_millis(), timing.heartbeat.as_millis());
        return Err(ConfigError::Silence { url, silence, heartbeat });
    }
    Ok(remote)
}

/// A text that should have been a URL, without the parts that people put secrets into.
fn without_secrets(text: &str) -> String {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let (scheme, rest) = text[..end].split_once("://").unwrap_or(("", &text[..end]));
    let shown = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if scheme.is_empty() { shown.to_owned() } else { format!("{scheme}://{shown}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn session_timeouts_come_from_the_settings_or_the_environment() {
        let read = |settings: &str, variable: Option<&str>| {
            let mut options = Options::default();
            if let Some(value) = variable {
                options.environment.insert(SESSION_TIMEOUT_MS.to_owned(), value.to_owned());
            }
            let mut value: serde_json::Value = serde_json::from_str(settings).unwrap();
            value["type"] = "remote".into();
            value["url"] = "ws://10.0.0.5:4480".into();
            match serde_json::from_value(value).unwrap() {
                ConnectionSettings::Remote(settings) => remote_options(&options, &settings),
                _ => panic!("another type"),
            }
        };
        let timeout = |settings, variable| read(settings, variable).unwrap().session_timeout;
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(timeout("{}", None), ms(30_000));
        assert_eq!(timeout("{}", Some("1500")), ms(1_500));
        assert_eq!(timeout("{}", Some("infinite")), None);
        assert_eq!(timeout(r#"{"sessionTimeoutMs":5}"#, Some("infinite")), ms(5));
        assert_eq!(timeout(r#"{"sessionTimeoutMs":"infinite"}"#, Some("5")), None);
        let wrong = read("{}", Some("soon")).unwrap_err().to_string();
        assert!(wrong.contains("SESSION_TIMEOUT_MS=soon") && wrong.contains("infinite"), "{wrong}");
        let set = r#"{"silentWindowMs":1,"heartbeatMs":200,"silenceMs":700,"fastDeath":false}"#;
        let set = read(set, None).unwrap();
        assert_eq!(set.silent_window, Duration::from_millis(1));
        assert_eq!(set.timing.heartbeat, Duration::from_millis(200));
        assert_eq!(set.timing.silence, Duration::from_millis(700));
        assert!(!set.fast_death);
        let deaf = read(r#"{"silenceMs":1000}"#, None).unwrap_err().to_string();
        assert!(deaf.contains("silenceMs 1000 must be longer than heartbeatMs 1000"), "{deaf}");
    }

    #[test]
    fn calls_wait_somewhat_longer_than_sessions() {
        let call = |ms: Option<SessionTimeoutMs>, variables: &[(&str, &str)]| {
            let named = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            let mut options = Options::of_environment(named.collect());
            options.call_timeout_ms = ms;
            options.deadlines().map(|deadlines| deadlines.call).map_err(|error| error.to_string())
        };
        let ms = |ms| Ok(Some(Duration::from_millis(ms)));
        assert_eq!(call(None, &[]), ms(40_000));
        assert_eq!(call(None, &[(SESSION_TIMEOUT_MS, "5000")]), ms(15_000));
        assert_eq!(call(None, &[(SESSION_TIMEOUT_MS, "infinite")]), ms(40_000));
        assert_eq!(call(None, &[(CALL_TIMEOUT_MS, "700")]), ms(700));
        assert_eq!(call(None, &[(CALL_TIMEOUT_MS, "infinite")]), Ok(None));
        let given = Some(SessionTimeoutMs::Limited(3));
        assert_eq!(call(given, &[(CALL_TIMEOUT_MS, "infinite")]), ms(3));
        let given = Some(SessionTimeoutMs::Word(Infinite::Infinite));
        assert_eq!(call(given, &[]), Ok(None));
        let wrong = call(None, &[(CALL_TIMEOUT_MS, "soon")]).unwrap_err();
        assert!(wrong.contains("CALL_TIMEOUT_MS=soon") && wrong.contains("infinite"), "{wrong}");
        let zero = call(None, &[(CALL_TIMEOUT_MS, "0")]).unwrap_err();
        assert!(zero.contains("CALL_TIMEOUT_MS=0: ") && zero.contains("from 1 on"), "{zero}");
    }

    #[test]
    fn a_wrong_url_is_shown_without_its_secrets() {
        for (text, shown) in [
            ("ws://user:hush@10.0.0.5:4480/x", "ws://10.0.0.5:4480/x"),
            ("ws://10.0.0.5:4480/?token=hush@1", "ws://10.0.0.5:4480/"),
            ("ws://10.0.0.5#hush", "ws://10.0.0.5"),
            ("user:hush@10.0.0.5:4480", "10.0.0.5:4480"),
            ("http://10.0.0.5", "http://10.0.0.5"),
            ("10.0.0.5:4480", "10.0.0.5:4480"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }
}
