//! Where a transport must send to reach what the app means (rule R5).

use std::net::IpAddr;

use super::{
    HostAddresses,
    interfaces::{Family, Scope},
    registry::{KnownTransport, TupleRegistry},
    self_set::{SeenSelf, SelfSet},
    text::parse_ip,
};

/// The transport that is connected.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    pub transport: &'a str,
    /// The key of its host, as in [`KnownTransport::host`].
    pub host: &'a str,
    pub addresses: &'a HostAddresses,
}

/// The address that stands for `ip` in a `connect()`, `None` if that is right as it is.
///
/// Transports drop packets from any other address than the one they are connected to, so that both
/// ends of a pair must choose alike: an answer never depends on more than the two ends.
pub fn connect_target(
    set: &SelfSet,
    registry: &TupleRegistry,
    from: Origin<'_>,
    ip: &str,
    port: u16,
) -> Option<String> {
    let mine = set.seen_by(from.addresses);
    let given = parse_ip(ip);
    let target = match find(&mine, registry, from, ip, port) {
        Some(peer) => Ends { registry, from, peer, given }.target(),
        None if from.addresses.colocated => None,
        None => given
            .filter(|ip| mine.contains_ip(*ip))
            .and_then(|ip| mine.reached_at().filter(|seen| Family::of(*seen) == Family::of(ip))),
    };
    target.filter(|target| given != Some(*target)).map(|target| target.to_string())
}

/// The transport that an address means: the app sees it there, asked for it there, or it listens
/// on a wildcard and the address is one of the app's host.
fn find<'a>(
    mine: &SeenSelf<'_>,
    registry: &'a TupleRegistry,
    from: Origin<'_>,
    address: &str,
    port: u16,
) -> Option<&'a KnownTransport> {
    // Two hosts may have the same private address: the nearer one is meant.
    fn nearest<'a>(
        from: Origin<'_>,
        found: impl Iterator<Item = &'a KnownTransport>,
    ) -> Option<&'a KnownTransport> {
        let mut first = None;
        for one in found.filter(|one| one.transport != from.transport) {
            if same_machine(from, one) {
                return Some(one);
            }
            first = first.or(Some(one));
        }
        first
    }
    let on_wildcard = || {
        let ip = parse_ip(address).filter(|ip| mine.contains_ip(*ip))?;
        // `::` takes IPv4 too.
        let any = ["0.0.0.0", "::"].into_iter().skip(usize::from(Family::of(ip) == Family::V6));
        nearest(from, any.flat_map(|any| registry.original_at(any, port)))
    };
    nearest(from, registry.visible_at(address, port))
        .or_else(|| nearest(from, registry.original_at(address, port)))
        .or_else(on_wildcard)
}

fn same_machine(from: Origin<'_>, peer: &KnownTransport) -> bool {
    from.host == peer.host || (from.addresses.colocated && peer.addresses.colocated)
}

struct Ends<'a> {
    registry: &'a TupleRegistry,
    from: Origin<'a>,
    peer: &'a KnownTransport,
    given: Option<IpAddr>,
}

impl Ends<'_> {
    fn target(&self) -> Option<IpAddr> {
        let bound = self.peer.bound?;
        match (same_machine(self.from, self.peer), bound.is_unspecified()) {
            // R0, unless it is a pipe that had to leave loopback.
            (true, _) if self.from.addresses.colocated => self.peer.moved().then_some(bound),
            (true, false) => Some(bound),
            (true, true) => self.local(),
            (false, false) => self.remote(bound),
            (false, true) => self.remote_wildcard(self.family(bound)),
        }
    }

    fn origin_bound(&self) -> Option<IpAddr> {
        self.registry.get(self.from.transport)?.bound.filter(|ip| !ip.is_unspecified())
    }

    fn family(&self, bound: IpAddr) -> Family {
        self.origin_bound().or(self.given).map_or(Family::of(bound), Family::of)
    }

    /// A wildcard on the own host. What goes to an own address also comes from it, so that the
    /// concrete one of the two ends decides.
    fn local(&self) -> Option<IpAddr> {
        let host = &self.peer.addresses;
        let own = |ip: &IpAddr| host.binds(*ip) || host.inner_pipe() == Some(*ip);
        self.origin_bound()
            .or_else(|| self.given.filter(own))
            .or_else(|| host.bind_of(self.family(self.peer.bound?), None))
            .or_else(|| host.inner_pipe())
    }

    /// A concrete address on another host.
    fn remote(&self, bound: IpAddr) -> Option<IpAddr> {
        let host = &self.peer.addresses;
        if Scope::of(bound) == Scope::Loopback {
            return None;
        }
        if Scope::of(bound) == Scope::Public
            || (self.share_pipe_network() && host.inner_pipe() == Some(bound))
        {
            return Some(bound);
        }
        // The origin sees the app's host from outside: there is a NAT between.
        let seen = self.app_host().filter(|ip| Scope::of(*ip) == Scope::Public);
        let outside = || host.outside(Family::of(bound));
        Some(seen.or_else(outside).unwrap_or(bound))
    }

    fn remote_wildcard(&self, family: Family) -> Option<IpAddr> {
        let host = &self.peer.addresses;
        let pipe = || host.inner_pipe().filter(|ip| Family::of(*ip) == family);
        if self.share_pipe_network()
            && let Some(pipe) = pipe()
        {
            return Some(pipe);
        }
        let scope = self.from.addresses.bind_of(family, None).map(Scope::of);
        self.app_host()
            .filter(|ip| Family::of(*ip) == family)
            .or_else(|| host.outside(family))
            .or_else(pipe)
            .or_else(|| host.bind_of(family, scope))
    }

    /// Both hosts have an address for each other; a NAT in front of them does not matter.
    fn share_pipe_network(&self) -> bool {
        self.from.addresses.inner_pipe().is_some() && self.peer.addresses.inner_pipe().is_some()
    }

    /// The app's host as the origin reaches it, if the peer is there: what the peer sends from,
    /// since it is what the app's connection comes from.
    fn app_host(&self) -> Option<IpAddr> {
        let seen = self.from.addresses.app_seen_as.map(|ip| ip.to_canonical())?;
        let usable = Scope::of(seen) != Scope::Loopback && !seen.is_unspecified();
        (self.peer.addresses.colocated && usable).then_some(seen)
    }
}
