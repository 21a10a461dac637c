//! Listen infos of the app, as the host that binds them needs them (rules R0 to R4, R6).

use std::net::IpAddr;

use super::{
    HostAddresses,
    interfaces::{Family, Scope},
    ports::{self, PortRefused},
    self_set::{SeenSelf, SelfSet},
    text::parse_ip,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Udp,
    Tcp,
}

/// The part of mediasoup's `ListenInfo` that depends on the host. Flags and buffer sizes do not:
/// the caller keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenInfo {
    pub protocol: Protocol,
    pub ip: String,
    pub announced_address: Option<String>,
    pub expose_internal_ip: bool,
    /// 0: none.
    pub port: u16,
    /// Both ends included; none if either is 0. Beats `port`.
    pub port_range: (u16, u16),
}

/// What listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    WebRtc,
    WebRtcServer,
    Plain,
    Pipe,
}

/// Whose address an announced IP is that the app's host does not know as its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AnnouncedMode {
    /// The app host's, by some NAT: it is replaced by the media host's.
    #[default]
    Auto,
    /// Whatever the app says: it is kept.
    Identity,
}

/// What holds for all hosts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fleet {
    /// No media host is elsewhere.
    pub all_colocated: bool,
    pub announced: AnnouncedMode,
}

/// One listen info for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// Which of the given ones it comes from.
    pub index: usize,
    pub info: ListenInfo,
}

/// The listen infos that a host gets, in the given order. Those of a family that the host lacks are
/// left out where others remain (`WebRtc` and `WebRtcServer` only).
pub fn listen_infos(
    set: &SelfSet,
    host: &HostAddresses,
    purpose: Purpose,
    fleet: Fleet,
    infos: &[ListenInfo],
) -> Result<Vec<Rewritten>, PortRefused> {
    // A pipe on loopback reaches no other host, not even from this one.
    let touched = !host.colocated || (purpose == Purpose::Pipe && !fleet.all_colocated);
    let all = infos.iter().cloned().enumerate().map(|(index, info)| Rewritten { index, info });
    if !touched {
        return Ok(all.collect());
    }
    let view = View { mine: set.seen_by(host), host, purpose, fleet };
    let droppable = matches!(purpose, Purpose::WebRtc | Purpose::WebRtcServer)
        && infos.iter().any(|info| !view.lacks_family(info));
    all.filter(|one| !droppable || !view.lacks_family(&one.info))
        .map(|mut one| view.rewrite(one.index, &mut one.info).map(|()| one))
        .collect()
}

struct View<'a> {
    mine: SeenSelf<'a>,
    host: &'a HostAddresses,
    purpose: Purpose,
    fleet: Fleet,
}

impl View<'_> {
    /// Only addresses of the app's host: another one is the app's own choice.
    fn lacks_family(&self, info: &ListenInfo) -> bool {
        parse_ip(&info.ip)
            .is_some_and(|ip| self.mine.contains_ip(ip) && self.host.lacks(Family::of(ip)))
    }

    fn rewrite(&self, index: usize, info: &mut ListenInfo) -> Result<(), PortRefused> {
        // The worker has its own words for what is no address.
        let Some(ip) = parse_ip(&info.ip) else { return Ok(()) };
        if self.purpose == Purpose::Pipe {
            self.pipe(ip, info);
        } else if !self.host.colocated {
            info.announced_address = self.announced(ip, info);
            self.bind(ip, info);
        }
        ports::fit(self.host, index, info)
    }

    /// R1.
    fn bind(&self, ip: IpAddr, info: &mut ListenInfo) {
        let kept = ip.is_unspecified() || !self.mine.contains_ip(ip) || self.host.binds(ip);
        if kept {
            return;
        }
        if let Some(bind) = self.host.bind_of(Family::of(ip), Some(Scope::of(ip))) {
            info.ip = bind.to_string();
        }
    }

    /// R2.
    fn announced(&self, ip: IpAddr, info: &ListenInfo) -> Option<String> {
        let given = info.announced_address.as_deref().filter(|text| !text.is_empty());
        let family = Family::of(ip);
        let replaced = match given {
            Some(text) => self.announced_instead(ip, text),
            None if ip.is_unspecified() => self
                .public(family, None)
                // `::` takes IPv4 clients too.
                .or_else(|| {
                    (family == Family::V6).then(|| self.public(Family::V4, None)).flatten()
                }),
            None if self.mine.contains_ip(ip) && self.host.behind_nat => {
                self.host.announced_to(family, None)
            }
            None => None,
        };
        replaced.or_else(|| info.announced_address.clone())
    }

    /// What stands for an announced address that the app gave, if anything does.
    fn announced_instead(&self, ip: IpAddr, text: &str) -> Option<String> {
        let literal = parse_ip(text);
        let scope = literal.map(Scope::of);
        if self.mine.contains_host(text) {
            return self.public(literal.map_or(Family::of(ip), Family::of), scope);
        }
        let family = Family::of(literal?);
        let auto = self.fleet.announced == AnnouncedMode::Auto && self.mine.contains_ip(ip);
        auto.then(|| self.host.announced_to(family, scope)).flatten()
    }

    /// The host for clients: what it announces, else what it binds.
    fn public(&self, family: Family, scope: Option<Scope>) -> Option<String> {
        let bind = || self.host.bind_of(family, scope).map(|ip| ip.to_string());
        self.host.announced_to(family, scope).or_else(bind)
    }

    /// R4: pipes leave from the pipe address, whatever address of the app's host was given. One
    /// object is given for both ends, so that an announced address in it fits neither.
    fn pipe(&self, ip: IpAddr, info: &mut ListenInfo) {
        if self.mine.contains_ip(ip) {
            let Some(bind) = self.host.pipe_bind(Family::of(ip)) else { return };
            info.ip = bind.to_string();
            info.announced_address = self.outside(bind);
        } else if !self.host.colocated
            && info.announced_address.as_deref().is_some_and(|text| self.mine.contains_host(text))
        {
            info.announced_address = self.outside(ip);
        }
    }

    fn outside(&self, bound: IpAddr) -> Option<String> {
        let outside = self.host.outside(Family::of(bound));
        outside.filter(|ip| *ip != bound).map(|ip| ip.to_string())
    }
}
