//! The addresses of this host, and what kind of address one is.

use std::{cmp::Reverse, io, net::IpAddr};

/// IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// The family of an address. IPv4-mapped IPv6 counts as IPv4.
    pub fn of(ip: IpAddr) -> Self {
        if ip.to_canonical().is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// How far an address reaches, narrowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// RFC 1918, shared address space (`100.64.0.0/10`), unique local (`fc00::/7`).
    Private,
    /// Everything else.
    Public,
}

impl Scope {
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) if ip.is_link_local() => Self::LinkLocal,
            IpAddr::V4(ip) => {
                let [first, second, ..] = ip.octets();
                let shared = first == 100 && second & 0b1100_0000 == 64;
                if ip.is_private() || shared { Self::Private } else { Self::Public }
            }
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Self::LinkLocal,
            IpAddr::V6(ip) if ip.is_unique_local() => Self::Private,
            IpAddr::V6(_) => Self::Public,
        }
    }
}

/// One address of one network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Such as `eth0`.
    pub name: String,
    pub ip: IpAddr,
    /// The interface is up.
    pub up: bool,
}

/// Every address of this host. The only function here that asks the system.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let found = if_addrs::get_if_addrs()?;
    Ok(found
        .into_iter()
        .map(|one| Interface {
            ip: one.ip(),
            // Loopback and tunnels tell no state on Linux.
            up: matches!(
                one.oper_status,
                if_addrs::IfOperStatus::Up | if_addrs::IfOperStatus::Unknown
            ),
            name: one.name,
        })
        .collect())
}

/// The address of a family that others most likely reach this host under: of an interface that is
/// up, widest scope first, bridges of containers and virtual machines last. `None` where there is
/// only loopback.
pub fn primary(interfaces: &[Interface], family: Family) -> Option<IpAddr> {
    best(interfaces.iter().filter(|one| Family::of(one.ip) == family))
}

/// What a host binds unless it is told: the best address of each family and scope, public before
/// private, IPv4 before IPv6; link-local ones only where a family has nothing else.
pub fn bind_defaults(interfaces: &[Interface]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for scope in [Scope::Public, Scope::Private, Scope::LinkLocal] {
        for family in [Family::V4, Family::V6] {
            let has_family = found.iter().any(|ip| Family::of(*ip) == family);
            if scope == Scope::LinkLocal && has_family {
                continue;
            }
            found.extend(best(
                interfaces
                    .iter()
                    .filter(|one| Family::of(one.ip) == family && Scope::of(one.ip) == scope),
            ));
        }
    }
    found
}

fn best<'a>(candidates: impl Iterator<Item = &'a Interface>) -> Option<IpAddr> {
    candidates
        .filter(|one| {
            Scope::of(one.ip) != Scope::Loopback
                && !one.ip.is_unspecified()
                && !one.ip.is_multicast()
        })
        // The first of equals: the system lists an interface's main address first.
        .min_by_key(|one| Reverse((one.up, !is_bridge(&one.name), Scope::of(one.ip))))
        .map(|one| one.ip.to_canonical())
}

fn is_bridge(name: &str) -> bool {
    const PREFIXES: [&str; 10] =
        ["docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "cni", "flannel", "cali", "lxc"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
