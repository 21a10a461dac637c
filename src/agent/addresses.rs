//! Which addresses this media host has for workers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::addresses::{HostAddresses, PortPolicy};

/// What the operator says about addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressOptions {
    pub bind: Vec<IpAddr>,
    pub pipe: Option<IpAddr>,
    pub announced: Vec<String>,
    pub behind_nat: bool,
    pub port_range: Option<(u16, u16)>,
    pub port_policy: PortPolicy,
}

/// Why workers cannot use these addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    #[error(
        "--bind-address {0} is a wildcard; name the addresses that clients send to, such as {1}"
    )]
    Wildcard(IpAddr, IpAddr),
    #[error("--pipe-address {0} is a wildcard; name the address that other media hosts send to")]
    PipeWildcard(IpAddr),
    #[error("--bind-address {0} and {1} are of the same kind; workers bind one of each kind")]
    SameKind(IpAddr, IpAddr),
    #[error("--port-range {0}-{1} has no port in it")]
    EmptyRange(u16, u16),
}

impl AddressOptions {
    /// Fills in what was not said. `listen` is where the agent itself listens.
    pub fn resolve(&self, listen: IpAddr) -> Result<HostAddresses, AddressProblem> {
        let bind = if !self.bind.is_empty() {
            self.checked_bind()?
        } else if listen.is_unspecified() {
            primary_addresses()
        } else {
            vec![listen.to_canonical()]
        };
        let pipe = match self.pipe {
            Some(address) if address.is_unspecified() => {
                return Err(AddressProblem::PipeWildcard(address));
            }
            // Unsaid, it stays unsaid: one that is said means a network that all hosts share.
            said => said,
        };
        if let Some((min, max)) = self.port_range
            && (min > max || min == 0)
        {
            return Err(AddressProblem::EmptyRange(min, max));
        }
        Ok(HostAddresses {
            colocated: false,
            bind,
            pipe,
            announced: self.announced.clone(),
            behind_nat: self.behind_nat,
            port_range: self.port_range,
            port_policy: self.port_policy,
            app_seen_as: None,
        })
    }

    fn checked_bind(&self) -> Result<Vec<IpAddr>, AddressProblem> {
        let mut bind: Vec<IpAddr> = Vec::new();
        for address in self.bind.iter().map(IpAddr::to_canonical) {
            if address.is_unspecified() {
                let example =
                    primary_addresses().first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
                return Err(AddressProblem::Wildcard(address, example));
            }
            if let Some(other) = bind.iter().find(|other| kind(**other) == kind(address)) {
                return Err(AddressProblem::SameKind(*other, address));
            }
            bind.push(address);
        }
        Ok(bind)
    }
}

/// Family and scope: loopback, link-local, private or public.
fn kind(address: IpAddr) -> (bool, u8) {
    let scope = match address {
        _ if address.is_loopback() => 0,
        IpAddr::V4(v4) if v4.is_link_local() => 1,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => 1,
        IpAddr::V4(v4) if v4.is_private() => 2,
        IpAddr::V6(v6) if v6.is_unique_local() => 2,
        _ => 3,
    };
    (address.is_ipv6(), scope)
}

/// The address of each family that packets to the world leave from; loopback where there is none.
fn primary_addresses() -> Vec<IpAddr> {
    let interfaces: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|address| kind(*address).1 >= 2)
        .collect();
    let first = |ipv6: bool| interfaces.iter().find(|found| found.is_ipv6() == ipv6).copied();
    // Addresses reserved for documentation: nothing is sent, only a route is looked up.
    let v4 = route_to(Ipv4Addr::new(192, 0, 2, 1).into()).or_else(|| first(false));
    let v6 =
        route_to(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()).or_else(|| first(true));
    let found: Vec<IpAddr> = v4.into_iter().chain(v6).collect();
    if found.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { found }
}

/// The address that this host would send from. Connecting a UDP socket sends nothing.
fn route_to(target: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(target, 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (kind(address).1 >= 2).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn takes_the_listen_address_when_it_is_one() {
        let addresses = AddressOptions::default().resolve(ip("127.0.0.2")).expect("fine");
        assert_eq!(addresses.bind, [ip("127.0.0.2")]);
        assert_eq!(addresses.pipe, None);
    }

    #[test]
    fn finds_addresses_of_its_own_for_a_wildcard() {
        let addresses = AddressOptions::default().resolve(ip("0.0.0.0")).expect("fine");
        assert!(!addresses.bind.is_empty());
        assert!(addresses.bind.iter().all(|address| !address.is_unspecified()));
    }

    #[test]
    fn pipes_over_an_address_of_their_own_only_where_it_is_said() {
        let mut options =
            AddressOptions { bind: vec![ip("10.0.0.5")], ..AddressOptions::default() };
        assert_eq!(options.resolve(ip("127.0.0.1")).expect("fine").pipe, None);
        options.pipe = Some(ip("10.9.0.5"));
        assert_eq!(options.resolve(ip("127.0.0.1")).expect("fine").pipe, Some(ip("10.9.0.5")));
    }

    #[test]
    fn refuses_what_workers_cannot_use() {
        let with = |bind: &[&str]| AddressOptions {
            bind: bind.iter().map(|text| ip(text)).collect(),
            ..AddressOptions::default()
        };
        let listen = ip("127.0.0.1");
        assert!(matches!(with(&["0.0.0.0"]).resolve(listen), Err(AddressProblem::Wildcard(..))));
        assert_eq!(
            with(&["10.0.0.1", "10.0.0.2"]).resolve(listen),
            Err(AddressProblem::SameKind(ip("10.0.0.1"), ip("10.0.0.2")))
        );
        let range = AddressOptions { port_range: Some((9, 8)), ..AddressOptions::default() };
        assert_eq!(range.resolve(listen), Err(AddressProblem::EmptyRange(9, 8)));
    }
}
