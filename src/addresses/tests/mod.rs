#![allow(clippy::unwrap_used)]

mod connect;
mod fuzz;
mod pipes;
mod ports;
mod registry;
mod rewrite;
mod self_set;

use std::net::IpAddr;

use super::{Fleet, HostAddresses, ListenInfo, PortPolicy, Protocol, Purpose, SelfSet};

/// The app's host: 10.0.0.1 inside, 198.51.100.1 outside, `2001:db8:a::1`, `app.example.org`.
pub fn app() -> SelfSet {
    SelfSet::new(
        ["10.0.0.1", "192.0.2.1", "2001:db8:a::1", "fd00:a::1"].map(ip),
        ["ANNOUNCED_IP"],
        |_| Some("198.51.100.1".to_owned()),
        ["App.Example.org"],
    )
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn host(bind: &[&str]) -> HostAddresses {
    HostAddresses {
        colocated: false,
        bind: bind.iter().map(|text| ip(text)).collect(),
        pipe: None,
        announced: Vec::new(),
        behind_nat: false,
        port_range: None,
        port_policy: PortPolicy::Remap,
        app_seen_as: Some(ip("198.51.100.77")),
    }
}

impl HostAddresses {
    fn piped(mut self, pipe: &str) -> Self {
        self.pipe = Some(ip(pipe));
        self
    }

    fn announcing(mut self, announced: &[&str]) -> Self {
        self.announced = announced.iter().map(|&text| text.to_owned()).collect();
        self
    }

    fn nat(mut self) -> Self {
        self.behind_nat = true;
        self
    }

    fn here(mut self) -> Self {
        self.colocated = true;
        self
    }

    fn seeing(mut self, app: Option<&str>) -> Self {
        self.app_seen_as = app.map(ip);
        self
    }

    fn ports(mut self, range: (u16, u16), policy: PortPolicy) -> Self {
        self.port_range = Some(range);
        self.port_policy = policy;
        self
    }
}

/// A listen info of the form `ip` or `ip announced`.
pub fn info(text: &str) -> ListenInfo {
    let mut words = text.split_whitespace();
    ListenInfo {
        protocol: Protocol::Udp,
        ip: words.next().unwrap_or_default().to_owned(),
        announced_address: words.next().map(str::to_owned),
        expose_internal_ip: false,
        port: 0,
        port_range: (0, 0),
    }
}

/// The same form for what a host gets.
pub fn text(info: &ListenInfo) -> String {
    match &info.announced_address {
        Some(announced) => format!("{} {announced}", info.ip),
        None => info.ip.clone(),
    }
}

pub fn one(host: &HostAddresses, purpose: Purpose, fleet: Fleet, given: &str) -> String {
    let infos = super::listen_infos(&app(), host, purpose, fleet, &[info(given)]).unwrap();
    assert_eq!(infos.len(), 1);
    text(&infos[0].info)
}
