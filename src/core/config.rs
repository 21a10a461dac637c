//! Connections and addresses from settings: those that JS hands over, and the environment's.

use std::{
    collections::HashMap,
    num::{NonZeroU64, NonZeroUsize, ParseIntError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;

use super::{
    CONNECT_TIMEOUT, Core,
    credentials::{self, CredentialsError},
};
use crate::{
    MEDIASOUP_VERSION,
    addresses::{
        AnnouncedMode, DEFAULT_ENV_NAMES, HostAddresses, PortPolicy, SelfSet, bind_defaults,
        book::AddressBook, interfaces,
    },
    connection::{
        Connection,
        local::{LocalConnection, LocalOptions},
        mock::{MockConnection, MockConnectionOptions},
        remote::{InvalidOptions, RemoteConnection, RemoteOptions},
    },
    net::InvalidUrl,
    session::INFINITE,
    virtual_worker::{MAX_FAN_OUT, OnPartLost, Spread},
    worker_process::{Binaries, BinarySources, Environment, InstalledWorker},
};

/// Agents, with commas between their URLs.
pub const AGENTS: &str = "MEDIASOUP_HORIZONTAL_AGENTS";
/// Connect timeout in milliseconds.
pub const CONNECT_TIMEOUT_MS: &str = "MEDIASOUP_HORIZONTAL_CONNECT_TIMEOUT_MS";
/// How long Workers on agents outlive a lost link: milliseconds, or `infinite`.
pub const SESSION_TIMEOUT_MS: &str = "MEDIASOUP_HORIZONTAL_SESSION_TIMEOUT_MS";
/// `0`: the process that mediasoup spawns never becomes the worker itself.
pub const EXEC_IN_PLACE: &str = "MEDIASOUP_HORIZONTAL_EXEC_IN_PLACE";
/// Further addresses and names of the app's own host.
pub const SELF_ADDRESSES: &str = "MEDIASOUP_HORIZONTAL_SELF_ADDRESSES";
/// Where the objects of one Router live: `home` or `scatter`.
pub const PLACEMENT: &str = "MEDIASOUP_HORIZONTAL_PLACEMENT";
/// On how many real workers the objects of one Worker may live.
pub const MAX_PARTS: &str = "MEDIASOUP_HORIZONTAL_MAX_PARTS";
/// What becomes of a Worker of the app that loses one of them: `continue` or `died`.
pub const ON_PART_LOST: &str = "MEDIASOUP_HORIZONTAL_ON_PART_LOST";
/// The most real workers of one core on one host; further Workers share them.
pub const WORKERS_PER_HOST: &str = "MEDIASOUP_HORIZONTAL_WORKERS_PER_HOST";
/// As many where nobody says how many, once they are more than one at all.
const SCATTER_PARTS: usize = 3;
/// A Worker of the app on one real worker, as mediasoup has it.
pub const ONE_PART: Spread = Spread {
    max_parts: 1,
    scatter: false,
    max_fan_out: MAX_FAN_OUT,
    on_part_lost: OnPartLost::Careful,
};
/// Name of the connection to this host.
const LOCAL: &str = "local";

/// What holds for a whole core. No `Debug`: the environment may hold secrets.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    pub connect_timeout_ms: Option<u64>,
    pub self_addresses: Vec<String>,
    pub announced_mode: Option<Announced>,
    pub placement: Option<Placement>,
    pub max_parts: Option<NonZeroUsize>,
    pub on_part_lost: Option<PartLost>,
    /// The app's environment, copied where it may be read.
    pub environment: HashMap<String, String>,
    /// Path of the stub, which is never taken for a worker.
    pub stub: Option<PathBuf>,
    /// Folder of the installed mediasoup package.
    pub mediasoup_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Announced {
    Auto,
    Identity,
}

/// Where the objects of one Router live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// With the Router.
    Home,
    /// Every transport on the next real worker in turn. For tests.
    Scatter,
}

/// What becomes of a Worker of the app that loses one of its real workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartLost {
    Continue,
    Died,
}

/// One connection to make. No `Debug`: tokens are secrets.
#[derive(Clone, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
#[serde(deny_unknown_fields)]
pub enum ConnectionSettings {
    /// What the environment names, else this host.
    Environment,
    Local {
        worker_bin: Option<PathBuf>,
        exec_in_place: bool,
    },
    Remote(Box<RemoteSettings>),
    Mock {
        name: String,
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

/// How long Workers outlive a lost link.
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
    #[error("{CONNECT_TIMEOUT_MS}={value}: {source}")]
    Timeout { value: String, source: ParseIntError },
    #[error("{SESSION_TIMEOUT_MS}={value}: {source}; a number of milliseconds or {INFINITE}")]
    SessionTimeout { value: String, source: ParseIntError },
    #[error("{url}: silenceMs {silence} must be longer than heartbeatMs {heartbeat}")]
    Silence { url: String, silence: u128, heartbeat: u128 },
    #[error("{PLACEMENT}={0}: neither home nor scatter")]
    Placement(String),
    #[error("{ON_PART_LOST}={0}: neither continue nor died")]
    OnPartLost(String),
    #[error("{MAX_PARTS}={value}: {source}")]
    MaxParts { value: String, source: ParseIntError },
    #[error("{WORKERS_PER_HOST}={value}: {source}")]
    WorkersPerHost { value: String, source: ParseIntError },
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
            (None, Some(value)) => Some(
                value
                    .parse()
                    .map_err(|source| ConfigError::Timeout { value: value.to_owned(), source })?,
            ),
            (None, None) => None,
        };
        Ok(configured.map_or(CONNECT_TIMEOUT, Duration::from_millis))
    }

    /// How long Workers on agents outlive a lost link, where the environment tells.
    fn session_timeout(&self) -> Result<Option<SessionTimeoutMs>, ConfigError> {
        match self.variable(SESSION_TIMEOUT_MS) {
            None => Ok(None),
            Some(INFINITE) => Ok(Some(SessionTimeoutMs::Word(Infinite::Infinite))),
            Some(value) => {
                let wrong =
                    |source| ConfigError::SessionTimeout { value: value.to_owned(), source };
                Ok(Some(SessionTimeoutMs::Limited(value.parse().map_err(wrong)?)))
            }
        }
    }

    /// Over how many real workers one Worker may spread, and how.
    pub fn spread(&self) -> Result<Spread, ConfigError> {
        let placement = match (self.placement, self.variable(PLACEMENT)) {
            (Some(placement), _) => placement,
            (None, None | Some("home")) => Placement::Home,
            (None, Some("scatter")) => Placement::Scatter,
            (None, Some(other)) => return Err(ConfigError::Placement(other.to_owned())),
        };
        let max_parts = match (self.max_parts, self.variable(MAX_PARTS)) {
            (Some(configured), _) => Some(configured),
            (None, Some(value)) => {
                let wrong = |source| ConfigError::MaxParts { value: value.to_owned(), source };
                Some(value.parse().map_err(wrong)?)
            }
            (None, None) => None,
        };
        let scatter = placement == Placement::Scatter;
        let unsaid = if scatter { SCATTER_PARTS } else { ONE_PART.max_parts };
        let max_parts = max_parts.map_or(unsaid, NonZeroUsize::get);
        Ok(Spread { max_parts, scatter, on_part_lost: self.on_part_lost()?, ..ONE_PART })
    }

    fn on_part_lost(&self) -> Result<OnPartLost, ConfigError> {
        Ok(match (self.on_part_lost, self.variable(ON_PART_LOST)) {
            (Some(PartLost::Continue), _) | (None, Some("continue")) => OnPartLost::Continue,
            (Some(PartLost::Died), _) | (None, Some("died")) => OnPartLost::Died,
            (None, Some(other)) => return Err(ConfigError::OnPartLost(other.to_owned())),
            (None, None) => OnPartLost::Careful,
        })
    }

    /// How many real workers a host may run before Workers share them.
    pub fn workers_per_host(&self) -> Result<Option<usize>, ConfigError> {
        let Some(value) = self.variable(WORKERS_PER_HOST) else { return Ok(None) };
        let wrong = |source| ConfigError::WorkersPerHost { value: value.to_owned(), source };
        Ok(Some(value.parse::<NonZeroUsize>().map_err(wrong)?.get()))
    }

    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn environment(&self) -> Environment {
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
        ConnectionSettings::Local { worker_bin, exec_in_place } => {
            vec![local(options, worker_bin.as_deref(), exec_in_place)?]
        }
        ConnectionSettings::Remote(settings) => vec![remote(core, options, &settings)?],
        ConnectionSettings::Mock { name } => {
            let options = MockConnectionOptions { name, ..MockConnectionOptions::default() };
            vec![Arc::new(MockConnection::new(options))]
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
        let in_place = options.variable(EXEC_IN_PLACE) != Some("0");
        return Ok(vec![local(options, None, in_place)?]);
    }
    let settings = |url: &str| RemoteSettings { url: url.to_owned(), ..RemoteSettings::default() };
    urls.into_iter().map(|url| remote(core, options, &settings(url))).collect()
}

fn remote(
    core: &Core,
    options: &Options,
    settings: &RemoteSettings,
) -> Result<Arc<dyn Connection>, ConfigError> {
    let remote = remote_options(options, settings)?;
    let url = remote.url.to_string();
    let connection =
        RemoteConnection::new(remote).map_err(|source| ConfigError::Remote { url, source })?;
    let _entered = core.handle().enter();
    connection.start();
    Ok(Arc::new(connection))
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

fn local(
    options: &Options,
    worker_bin: Option<&Path>,
    in_place: bool,
) -> Result<Arc<dyn Connection>, ConfigError> {
    let explicit = worker_bin.map(|path| format!("{MEDIASOUP_VERSION}={}", path.display()));
    let installed = options.mediasoup_dir.as_ref().map(|dir| InstalledWorker {
        path: dir.join("worker/out/Release/mediasoup-worker"),
        version: MEDIASOUP_VERSION.to_owned(),
    });
    let environment = options.environment();
    let binaries = Binaries::new(
        environment.clone(),
        BinarySources {
            explicit: explicit.into_iter().collect(),
            stub: options.stub.clone(),
            installed,
            assumed_version: Some(MEDIASOUP_VERSION.to_owned()),
        },
    );
    Ok(Arc::new(LocalConnection::new(LocalOptions {
        name: LOCAL.to_owned(),
        addresses: this_host()?,
        binaries,
        environment,
        max_workers: None,
        in_place,
    })))
}

/// This host as one that binds what the app names, except where pipes must reach other hosts.
fn this_host() -> Result<HostAddresses, ConfigError> {
    Ok(HostAddresses {
        colocated: true,
        bind: bind_defaults(&interfaces()?),
        pipe: None,
        announced: Vec::new(),
        behind_nat: false,
        port_range: None,
        port_policy: PortPolicy::Strict,
        app_seen_as: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn spreads_as_told() {
        let spread = |max_parts, scatter| Spread { max_parts, scatter, ..ONE_PART };
        let table = [
            ("{}", None, None, spread(1, false)),
            ("{}", Some("home"), None, spread(1, false)),
            ("{}", Some(" scatter "), None, spread(3, true)),
            ("{}", Some("scatter"), Some("5"), spread(5, true)),
            ("{}", None, Some("2"), spread(2, false)),
            ("{}", Some(""), Some(""), spread(1, false)),
            (r#"{"placement":"home"}"#, Some("scatter"), None, spread(1, false)),
            (r#"{"placement":"scatter","maxParts":2}"#, Some("home"), Some("9"), spread(2, true)),
        ];
        for (json, placement, max_parts, expected) in table {
            let options = options(json, placement, max_parts);
            assert_eq!(options.spread().unwrap(), expected, "{json} {placement:?} {max_parts:?}");
        }
    }

    #[test]
    fn loses_parts_as_told() {
        let with = |json: &str, variable: Option<&str>| {
            let mut options = options(json, None, None);
            let variable = variable.map(|value| (ON_PART_LOST.to_owned(), value.to_owned()));
            options.environment.extend(variable);
            options.spread().map(|spread| spread.on_part_lost).map_err(|error| error.to_string())
        };
        let table = [
            ("{}", None, OnPartLost::Careful),
            ("{}", Some(""), OnPartLost::Careful),
            ("{}", Some("continue"), OnPartLost::Continue),
            ("{}", Some(" died "), OnPartLost::Died),
            (r#"{"onPartLost":null}"#, Some("died"), OnPartLost::Died),
            (r#"{"onPartLost":"continue"}"#, Some("died"), OnPartLost::Continue),
            (r#"{"onPartLost":"died"}"#, None, OnPartLost::Died),
        ];
        for (json, variable, expected) in table {
            assert_eq!(with(json, variable), Ok(expected), "{json} {variable:?}");
        }
        let refused = with("{}", Some("weep")).unwrap_err();
        assert_eq!(refused, format!("{ON_PART_LOST}=weep: neither continue nor died"));
    }

    #[test]
    fn workers_of_a_host_are_limited_as_told() {
        let told = |value: &str| {
            let environment = [(WORKERS_PER_HOST.to_owned(), value.to_owned())].into();
            Options::of_environment(environment).workers_per_host()
        };
        assert_eq!(Options::default().workers_per_host().unwrap(), None);
        assert_eq!(told("").unwrap(), None);
        assert_eq!(told(" 3 ").unwrap(), Some(3));
        for wrong in ["0", "two", "-1"] {
            let error = told(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{WORKERS_PER_HOST}={wrong}: ")), "{error}");
        }
    }

    #[test]
    fn refuses_what_is_no_spread() {
        for (placement, max_parts) in
            [(Some("elsewhere"), None), (None, Some("0")), (None, Some("-1")), (None, Some("two"))]
        {
            let error = options("{}", placement, max_parts).spread().unwrap_err().to_string();
            let value = placement.or(max_parts).unwrap();
            assert!(error.contains(&format!("={value}: ")), "{error}");
        }
    }

    #[test]
    fn session_timeouts_come_from_the_settings_or_the_environment() {
        let read = |settings: &str, variable: Option<&str>| {
            let mut options = options("{}", None, None);
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

    fn options(json: &str, placement: Option<&str>, max_parts: Option<&str>) -> Options {
        let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
        let environment: HashMap<&str, &str> =
            [placement.map(|value| (PLACEMENT, value)), max_parts.map(|value| (MAX_PARTS, value))]
                .into_iter()
                .flatten()
                .collect();
        value["selfAddresses"] = serde_json::json!([]);
        value["environment"] = serde_json::json!(environment);
        serde_json::from_value(value).unwrap()
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
