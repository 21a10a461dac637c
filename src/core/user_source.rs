//! The app's own sources of workers, from settings and from what the app tells of its workers.

use std::{net::IpAddr, num::NonZeroUsize, sync::Arc};

use serde::Deserialize;

use super::{
    config::{ConfigError, Options},
    local_source::{check, this_host},
};
use crate::{
    MEDIASOUP_VERSION,
    addresses::{HostAddresses, PortPolicy},
    connection::{
        Exit,
        user::{Provider, UserConnection, UserLoad, UserOptions},
    },
};

/// How many workers one takes that does not say it.
const CAPACITY: usize = 1024;

/// What an app tells of its own source of workers.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserSettings {
    pub name: String,
    pub version: Option<String>,
    pub schema: Option<String>,
    pub capacity: Option<NonZeroUsize>,
    pub cores: Option<NonZeroUsize>,
    pub region: Option<String>,
    pub addresses: Option<UserAddresses>,
}

/// Where its workers are, if not on the app's own host.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserAddresses {
    pub bind: Vec<IpAddr>,
    pub pipe: Option<IpAddr>,
    #[serde(default)]
    pub announced: Vec<String>,
    #[serde(default)]
    pub behind_nat: bool,
}

/// What becomes of its workers, as the app tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Told {
    Started {
        id: u32,
        pid: u32,
    },
    Failed {
        id: u32,
        message: String,
    },
    Exited {
        id: u32,
        code: Option<i32>,
        signal: Option<i32>,
    },
    Load {
        /// Process ids with thousandths of a core.
        own: Vec<(u32, u32)>,
        others: Vec<u32>,
    },
}

/// Makes the app's own connection.
pub fn user(
    options: &Options,
    settings: UserSettings,
    provider: Arc<dyn Provider>,
) -> Result<UserConnection, ConfigError> {
    let UserSettings { name, version, schema, capacity, cores, region, addresses } = settings;
    let version = version.unwrap_or_else(|| MEDIASOUP_VERSION.to_owned());
    check(options, &format!("the connection {name}"), &version, schema.as_deref())?;
    let addresses = match addresses {
        None => this_host()?,
        Some(UserAddresses { bind, pipe, announced, behind_nat }) => HostAddresses {
            colocated: false,
            bind,
            pipe,
            announced,
            behind_nat,
            port_range: None,
            port_policy: PortPolicy::default(),
            app_seen_as: None,
        },
    };
    let max_workers = capacity.map_or(CAPACITY, NonZeroUsize::get);
    let options = UserOptions {
        name,
        addresses,
        max_workers,
        cores: cores.map_or(max_workers, NonZeroUsize::get),
        labels: region.map(|region| ("region".to_owned(), region)).into_iter().collect(),
        version: (version != MEDIASOUP_VERSION).then_some(version),
        connect_timeout: options.connect_timeout()?,
    };
    Ok(UserConnection::new(options, provider))
}

impl Told {
    /// Passes it on.
    pub fn to(self, connection: &UserConnection) {
        match self {
            Self::Started { id, pid } => connection.started(id, pid),
            Self::Failed { id, message } => connection.failed(id, message),
            Self::Exited { id, code, signal } => {
                let exit = match (signal, code) {
                    (Some(signal), _) => Exit::Signal(signal),
                    (None, Some(code)) => Exit::Code(code),
                    (None, None) => Exit::Lost("nobody knows how it ended".to_owned()),
                };
                connection.exited(id, exit);
            }
            Self::Load { own, others } => {
                let own = own.into_iter().collect();
                connection.measured(UserLoad { own, others });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{os::fd::OwnedFd, time::Duration};

    use parking_lot::Mutex;
    use tokio::time::timeout;

    use super::*;
    use crate::{
        connection::{Connection, DtlsFiles, SpawnError, SpawnRequest, WorkerCommand, WorkerEvent},
        core::config::CONNECT_TIMEOUT_MS,
    };

    #[derive(Default)]
    struct Asked {
        channels: Vec<(u32, OwnedFd, OwnedFd)>,
        signals: Vec<(u32, i32)>,
        closed: bool,
    }

    #[derive(Default)]
    struct Script(Mutex<Asked>);

    impl Provider for Script {
        fn spawn(&self, id: u32, _: &SpawnRequest, input: OwnedFd, output: OwnedFd) -> bool {
            self.0.lock().channels.push((id, input, output));
            true
        }

        fn signal(&self, id: u32, signal: i32) {
            self.0.lock().signals.push((id, signal));
        }

        fn close(&self) {
            self.0.lock().closed = true;
        }
    }

    fn connection(settings: &str) -> (Arc<UserConnection>, Arc<Script>) {
        let script = Arc::new(Script::default());
        let variables = [(CONNECT_TIMEOUT_MS.to_owned(), "1000".to_owned())];
        let options = Options::of_environment(variables.into_iter().collect());
        let settings = serde_json::from_str(settings).unwrap();
        let made = user(&options, settings, Arc::clone(&script) as _).unwrap();
        (Arc::new(made), script)
    }

    fn request() -> SpawnRequest {
        SpawnRequest {
            version: MEDIASOUP_VERSION.to_owned(),
            fingerprint: String::new(),
            args: Vec::new(),
            dtls: DtlsFiles::default(),
            worker_bin: None,
        }
    }

    fn tell(connection: &UserConnection, text: &str) {
        serde_json::from_str::<Told>(text).unwrap().to(connection);
    }

    async fn within<T>(future: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(10), future).await.expect("took longer than a test may")
    }

    /// Starts a worker, whose id the provider knows it by.
    async fn started(
        connection: &Arc<UserConnection>,
        script: &Script,
    ) -> Result<(crate::connection::WorkerLink, u32), SpawnError> {
        let asking = tokio::spawn({
            let connection = Arc::clone(connection);
            async move { connection.spawn(request()).await }
        });
        let mut id = None;
        while id.is_none() && !asking.is_finished() {
            tokio::task::yield_now().await;
            id = script.0.lock().channels.last().map(|(id, ..)| *id);
        }
        if let Some(id) = id {
            tell(connection, &format!(r#"{{"type":"started","id":{id},"pid":77}}"#));
        }
        let link = within(asking).await.unwrap()?;
        Ok((link, id.unwrap_or_default()))
    }

    #[tokio::test]
    async fn a_worker_lives_and_ends_as_it_is_told() {
        let (connection, script) = connection(r#"{"name":"own","capacity":1,"region":"eu"}"#);
        let (mut link, id) = started(&connection, &script).await.unwrap();
        assert_eq!(link.pid, 77);
        let full = connection.spawn(request()).await.err();
        assert!(matches!(full, Some(SpawnError::Full(text)) if text.contains("own runs 1 of 1")));
        link.commands.send(WorkerCommand::Signal(15)).await.unwrap();
        within(async {
            while script.0.lock().signals.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(script.0.lock().signals, [(id, 15)]);
        tell(&connection, &format!(r#"{{"type":"exited","id":{id},"code":null,"signal":15}}"#));
        script.0.lock().channels.clear();
        let end = within(link.events.recv()).await;
        assert!(matches!(end, Some(WorkerEvent::Exited(Exit::Signal(15)))), "{end:?}");
        assert_eq!(connection.load().unwrap().workers, 0);
        // Nobody kills what ended by itself.
        assert_eq!(script.0.lock().signals.len(), 1);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_killed() {
        let (connection, script) = connection(r#"{"name":"own"}"#);
        // Nobody tells that it started.
        let late = within(connection.spawn(request())).await.err();
        assert!(
            matches!(&late, Some(SpawnError::Unreachable(text)) if text.contains("within 1s")),
            "{late:?}"
        );
        assert_eq!(script.0.lock().signals, [(1, 9)]);
        let asking = tokio::spawn({
            let connection = Arc::clone(&connection);
            async move { connection.spawn(request()).await.err() }
        });
        while script.0.lock().channels.len() < 2 {
            tokio::task::yield_now().await;
        }
        connection.close();
        let closed = within(asking).await.unwrap();
        assert!(matches!(closed, Some(SpawnError::Unreachable(text)) if text.contains("closed")));
        assert!(script.0.lock().closed);
        assert_eq!(script.0.lock().signals.last(), Some(&(2, 9)));
        assert!(connection.spawn(request()).await.is_err());
    }

    #[tokio::test]
    async fn reasons_and_loads_are_passed_on() {
        let (connection, script) = connection(r#"{"name":"own","cores":4}"#);
        assert_eq!(connection.host_load().unwrap().total(), 0);
        tell(&connection, r#"{"type":"load","own":[[77,500]],"others":[1000]}"#);
        let load = connection.host_load().unwrap();
        assert_eq!((load.total(), load.cores), (1500, 4));
        let asking = tokio::spawn({
            let connection = Arc::clone(&connection);
            async move { connection.spawn(request()).await.err() }
        });
        while script.0.lock().channels.is_empty() {
            tokio::task::yield_now().await;
        }
        tell(&connection, r#"{"type":"failed","id":1,"message":"no network"}"#);
        let failed = within(asking).await.unwrap().unwrap().to_string();
        assert_eq!(failed, "the connection own: no network");
        // One that is not known any more is nobody's.
        tell(&connection, r#"{"type":"exited","id":9,"code":0,"signal":null}"#);
    }
}
