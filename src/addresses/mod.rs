//! Which addresses a media host binds, and what the app's own addresses mean there.
//!
//! An app names addresses of its own host. [`listen_infos`] turns them into those of the host that
//! binds, [`connect_target`] into those that a host reaches the other end under.

pub mod book;
mod connect;
mod host;
mod interfaces;
mod ports;
mod registry;
mod rewrite;
mod self_set;
mod text;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::{
    connect::{Origin, connect_target},
    interfaces::{Family, Interface, Scope, bind_defaults, interfaces, primary},
    ports::{PortRefused, retry_on_other_port},
    registry::{KnownTransport, MAX_KNOWN, TupleRegistry},
    rewrite::{AnnouncedMode, Fleet, ListenInfo, Protocol, Purpose, Rewritten, listen_infos},
    self_set::{DEFAULT_ENV_NAMES, SeenSelf, SelfSet},
};

/// The addresses of one media host, as its agent tells them in the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostAddresses {
    /// The app runs in the same network namespace of the same machine: nothing is rewritten.
    pub colocated: bool,
    /// Addresses that workers bind for clients, at most one of each family and scope, best first.
    /// Never a wildcard.
    pub bind: Vec<IpAddr>,
    /// The address that other media hosts send to, without a NAT between them that translates it.
    /// `None`: what reaches `bind`, which is an announced IP behind NAT. The outside address of a
    /// NAT is recognised: announced too, and not in `bind`.
    pub pipe: Option<IpAddr>,
    /// Addresses or host names that clients reach the host under.
    pub announced: Vec<String>,
    /// Clients cannot reach `bind` itself.
    pub behind_nat: bool,
    /// Ports that workers may use, both ends included.
    pub port_range: Option<(u16, u16)>,
    pub port_policy: PortPolicy,
    /// The app's own address as that host sees it.
    pub app_seen_as: Option<IpAddr>,
}

/// What happens to a fixed port that is taken or out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortPolicy {
    /// Another free port of the range.
    #[default]
    Remap,
    /// The worker's own error.
    Strict,
}
