//! Choices among the addresses of one host.

use std::net::IpAddr;

use super::{
    HostAddresses,
    interfaces::{Family, Scope},
    text::{normal, parse_setting},
};

impl HostAddresses {
    /// Whether the host tells addresses, and none of the family.
    pub(super) fn lacks(&self, family: Family) -> bool {
        !self.bind.is_empty() && self.bind_of(family, None).is_none()
    }

    pub(super) fn binds(&self, ip: IpAddr) -> bool {
        self.bind.iter().any(|one| one.to_canonical() == ip)
    }

    /// The bind address of the family and scope, else the first one of the family.
    pub(super) fn bind_of(&self, family: Family, scope: Option<Scope>) -> Option<IpAddr> {
        let of_family =
            || self.bind.iter().map(IpAddr::to_canonical).filter(|ip| Family::of(*ip) == family);
        of_family().find(|ip| Some(Scope::of(*ip)) == scope).or_else(|| of_family().next())
    }

    /// What the host announces to a client of the family: a literal of the wanted scope, else the
    /// first name or literal of the family.
    pub(super) fn announced_to(&self, family: Family, scope: Option<Scope>) -> Option<String> {
        let mut first = None;
        for text in self.announced.iter().filter(|text| !text.trim().is_empty()) {
            match parse_setting(text) {
                Some(ip) if Family::of(ip) != family => {}
                Some(ip) if Some(Scope::of(ip)) == scope => return Some(ip.to_string()),
                Some(ip) => first = first.or_else(|| Some(ip.to_string())),
                None => first = first.or_else(|| Some(text.trim().to_owned())),
            }
        }
        first
    }

    /// The address that a host behind NAT has on the outside. Never a name: a worker connects to
    /// addresses only.
    pub(super) fn outside(&self, family: Family) -> Option<IpAddr> {
        let literals = self.announced.iter().filter_map(|text| parse_setting(text));
        self.outside_pipe()
            .into_iter()
            .chain(literals)
            .find(|ip| self.behind_nat && Family::of(*ip) == family)
    }

    /// The `pipe` address that the host can bind.
    pub(super) fn inner_pipe(&self) -> Option<IpAddr> {
        let pipe = self.pipe?.to_canonical();
        (self.outside_pipe().is_none() && !pipe.is_unspecified()).then_some(pipe)
    }

    /// The `pipe` address where it belongs to the NAT in front of the host, so that nothing on the
    /// host can bind it.
    fn outside_pipe(&self) -> Option<IpAddr> {
        let pipe = self.pipe?.to_canonical();
        let text = pipe.to_string();
        let announced = self.announced.iter().any(|one| normal(one) == text);
        (self.behind_nat && announced && !self.binds(pipe)).then_some(pipe)
    }

    /// Where a pipe to another host binds, for an app that gave an address of the family.
    pub(super) fn pipe_bind(&self, family: Family) -> Option<IpAddr> {
        let family = self.outside_pipe().map_or(family, Family::of);
        self.inner_pipe()
            .or_else(|| self.bind_of(family, None))
            .or_else(|| self.bind.first().map(IpAddr::to_canonical))
    }
}
