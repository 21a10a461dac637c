//! Ports: what fits a host's range, and what to ask for when a port is taken (rule R3).

use super::{HostAddresses, ListenInfo, PortPolicy, Protocol};

/// A fixed port outside of a host's range under [`PortPolicy::Strict`]. Its text is the worker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}() failed [protocol:{}, ip:'{ip}', port:{port}]: permission denied (ports of this host: \
     {}-{})", self.call(), self.protocol_name(), range.0, range.1
)]
pub struct PortRefused {
    /// Which of the given listen infos.
    pub index: usize,
    pub protocol: Protocol,
    /// The address on that host.
    pub ip: String,
    pub port: u16,
    /// The host's ports, both ends included.
    pub range: (u16, u16),
}

impl PortRefused {
    fn call(&self) -> &'static str {
        match self.protocol {
            Protocol::Udp => "uv_udp_bind",
            Protocol::Tcp => "uv_tcp_bind",
        }
    }

    fn protocol_name(&self) -> &'static str {
        match self.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        }
    }
}

/// The range that a worker would use: one with an end of 0 is none.
fn range_of((min, max): (u16, u16)) -> Option<(u16, u16)> {
    (min != 0 && max != 0).then_some((min, max))
}

fn host_range(host: &HostAddresses) -> Option<(u16, u16)> {
    range_of(host.port_range?).filter(|(min, max)| min <= max)
}

/// Makes the ports of one listen info fit the host. As in the worker, a range beats a port.
pub(super) fn fit(
    host: &HostAddresses,
    index: usize,
    info: &mut ListenInfo,
) -> Result<(), PortRefused> {
    let Some(range) = host_range(host).filter(|_| !host.colocated) else { return Ok(()) };
    if let Some((min, max)) = range_of(info.port_range) {
        // An inverted range is the worker's to refuse.
        if min <= max {
            let common = (min.max(range.0), max.min(range.1));
            info.port_range = if common.0 <= common.1 { common } else { range };
        }
        return Ok(());
    }
    if info.port == 0 || (range.0..=range.1).contains(&info.port) {
        return Ok(());
    }
    match host.port_policy {
        PortPolicy::Remap => {
            info.port = 0;
            info.port_range = range;
            Ok(())
        }
        PortPolicy::Strict => Err(PortRefused {
            index,
            protocol: info.protocol,
            ip: info.ip.clone(),
            port: info.port,
            range,
        }),
    }
}

/// What to ask for after the worker found the fixed port of `info` (as it was sent) in use: any
/// port of the host's range, or of the worker's own. `None` where the error is the answer.
pub fn retry_on_other_port(host: &HostAddresses, info: &ListenInfo) -> Option<ListenInfo> {
    let fixed = info.port != 0 && range_of(info.port_range).is_none();
    if !fixed || host.colocated || host.port_policy == PortPolicy::Strict {
        return None;
    }
    Some(ListenInfo { port: 0, port_range: host_range(host).unwrap_or((0, 0)), ..info.clone() })
}
