//! The host that mock workers pretend to bind sockets on.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

use super::{refusal::Refusal, settings::Settings};
use crate::channel::fbs::transport::{ListenInfo, Protocol};

/// One pretended host: workers that share it cannot bind the same port twice. Clones are the same
/// host.
#[derive(Debug, Clone, Default)]
pub struct MockHost {
    sockets: Arc<Mutex<Sockets>>,
    addresses: Option<Arc<[IpAddr]>>,
}

#[derive(Debug, Default)]
struct Sockets {
    bound: BTreeMap<u64, Bound>,
    next_key: u64,
    /// Moves on with each socket, so that a port just freed is not given away at once.
    cursor: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    protocol: Protocol,
    ip: IpAddr,
    port: u16,
    reusable: bool,
}

impl Bound {
    fn conflicts(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.port == other.port
            && self.ip.is_ipv4() == other.ip.is_ipv4()
            && (self.ip == other.ip || self.ip.is_unspecified() || other.ip.is_unspecified())
            && !(self.reusable && other.reusable)
    }
}

impl Sockets {
    fn bind(&mut self, wanted: Bound) -> Option<u64> {
        if self.bound.values().any(|bound| bound.conflicts(&wanted)) {
            return None;
        }
        self.next_key += 1;
        self.bound.insert(self.next_key, wanted);
        Some(self.next_key)
    }
}

impl MockHost {
    /// A host on which every address binds.
    pub fn new() -> Self {
        Self::default()
    }

    /// A host that has these addresses only, the wildcards aside.
    pub fn with_addresses(addresses: &[IpAddr]) -> Self {
        Self { addresses: Some(addresses.into()), ..Self::default() }
    }

    /// How many sockets are bound.
    pub fn sockets(&self) -> usize {
        self.sockets.lock().bound.len()
    }

    fn has(&self, ip: IpAddr) -> bool {
        ip.is_unspecified()
            || self.addresses.as_ref().is_none_or(|addresses| addresses.contains(&ip))
    }

    /// Binds what a listen info asks for.
    pub(super) fn listen(&self, info: &ListenInfo, settings: &Settings) -> Result<Socket, Refusal> {
        let ip = parse_ip(&info.ip)?;
        let range = &info.port_range;
        let (port, key) = if range.min != 0 && range.max != 0 {
            self.bind_in_range(info, ip, range.min, range.max)?
        } else if info.port != 0 {
            (info.port, self.bind_port(info, ip)?)
        } else {
            self.bind_in_range(info, ip, settings.rtc_min_port, settings.rtc_max_port)?
        };
        Ok(Socket {
            protocol: info.protocol,
            ip,
            port,
            announced: info.announced_address.clone().filter(|address| !address.is_empty()),
            expose_internal_ip: info.expose_internal_ip,
            key,
            host: self.clone(),
        })
    }

    fn bind_port(&self, info: &ListenInfo, ip: IpAddr) -> Result<u64, Refusal> {
        let name = name(info.protocol);
        let refuse = |call: &str, why: &str| {
            Err(Refusal::error(format!(
                "{call}() failed [protocol:{name}, ip:'{ip}', port:{}]: {why}",
                info.port
            )))
        };
        if !self.has(ip) {
            return refuse(&format!("uv_{name}_bind"), "address not available");
        }
        match self.sockets.lock().bind(wanted(info, ip, info.port)) {
            Some(key) => Ok(key),
            // For TCP the library that the worker uses tells of it only when it listens.
            None if info.protocol == Protocol::Tcp => refuse("uv_listen", "address already in use"),
            None => refuse("uv_udp_bind", "address already in use"),
        }
    }

    fn bind_in_range(
        &self,
        info: &ListenInfo,
        ip: IpAddr,
        min: u16,
        max: u16,
    ) -> Result<(u16, u64), Refusal> {
        if max < min {
            return Err(Refusal::type_error("maxPort cannot be less than minPort"));
        }
        let name = name(info.protocol);
        let ports = u32::from(max - min) + 1;
        let mut sockets = self.sockets.lock();
        for _ in 0..ports {
            let offset = u16::try_from(sockets.cursor % ports).unwrap_or_default();
            sockets.cursor = sockets.cursor.wrapping_add(1);
            let port = min + offset;
            if !self.has(ip) {
                return Err(Refusal::error(format!(
                    "port bind failed due to address not available [protocol:{name}, ip:'{ip}', \
                     port:{port}, attempt:1/{ports}]"
                )));
            }
            if let Some(key) = sockets.bind(wanted(info, ip, port)) {
                return Ok((port, key));
            }
        }
        Err(Refusal::error(format!(
            "no more available ports [protocol:{name}, ip:'{ip}', numAttempt:{ports}]"
        )))
    }
}

fn wanted(info: &ListenInfo, ip: IpAddr, port: u16) -> Bound {
    let reusable = info.protocol == Protocol::Udp && info.flags.udp_reuse_port;
    Bound { protocol: info.protocol, ip, port, reusable }
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp => "udp",
        Protocol::Tcp => "tcp",
    }
}

/// Reads an address that must be a literal one.
pub(super) fn parse_ip(text: &str) -> Result<IpAddr, Refusal> {
    text.parse().map_err(|_| Refusal::type_error(format!("invalid IP '{text}'")))
}

/// A bound socket. Dropping it frees its port.
#[derive(Debug)]
pub(super) struct Socket {
    pub protocol: Protocol,
    pub ip: IpAddr,
    pub port: u16,
    pub announced: Option<String>,
    pub expose_internal_ip: bool,
    key: u64,
    host: MockHost,
}

impl Socket {
    /// The address that others are told.
    pub fn address(&self) -> String {
        self.announced.clone().unwrap_or_else(|| self.ip.to_string())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.host.sockets.lock().bound.remove(&self.key);
    }
}
