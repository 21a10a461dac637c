//! Which addresses a media host binds, and what the app's own addresses mean there.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The addresses of one media host, as its agent tells them in the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostAddresses {
    /// The app runs in the same network namespace of the same machine: nothing is rewritten.
    pub colocated: bool,
    /// Addresses that workers bind for clients, at most one of each family and scope.
    pub bind: Vec<IpAddr>,
    /// The address that other media hosts send to.
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
