//! The app's own sources of workers, from settings and from what the app tells of its workers.

use std::{collections::BTreeMap, net::IpAddr, num::NonZeroUsize, sync::Arc};

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
        /// By process id, in thousandths of a core.
        own: BTreeMap<u32, u32>,
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
            Self::Load { own, others } => connection.measured(UserLoad { own, others }),
        }
    }
}
