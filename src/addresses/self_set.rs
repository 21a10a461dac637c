//! The identity of the app's host: every address and name that means it.

use std::{collections::HashSet, net::IpAddr};

use super::{
    HostAddresses,
    interfaces::Scope,
    text::{host_name, parse_ip, parse_setting},
};

/// The environment variables whose values name the app's host.
pub const DEFAULT_ENV_NAMES: [&str; 5] = [
    "MEDIASOUP_ANNOUNCED_IP",
    "MEDIASOUP_ANNOUNCED_ADDRESS",
    "MEDIASOUP_LISTEN_IP",
    "ANNOUNCED_IP",
    "PUBLIC_IP",
];

/// The addresses and names of the app's host. Loopback, wildcards and `localhost` always belong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelfSet {
    ips: HashSet<IpAddr>,
    names: HashSet<String>,
}

impl SelfSet {
    /// `interfaces` are the addresses of the app's host, `env` looks an environment variable up,
    /// `self_addresses` are IPs or host names. A variable may list several, with commas or spaces.
    pub fn new<E, S>(
        interfaces: impl IntoIterator<Item = IpAddr>,
        env_names: impl IntoIterator<Item = E>,
        env: impl Fn(&str) -> Option<String>,
        self_addresses: impl IntoIterator<Item = S>,
    ) -> Self
    where
        E: AsRef<str>,
        S: AsRef<str>,
    {
        let mut set = Self::default();
        set.ips.extend(interfaces.into_iter().map(|ip| ip.to_canonical()));
        for value in env_names.into_iter().filter_map(|name| env(name.as_ref())) {
            value.split([',', ' ', '\t']).for_each(|address| set.add(address));
        }
        for address in self_addresses {
            set.add(address.as_ref());
        }
        set
    }

    /// One more IP or host name that means the app's host. Empty texts are ignored.
    pub fn add(&mut self, address: &str) {
        if let Some(ip) = parse_setting(address) {
            self.ips.insert(ip);
        } else if !address.trim().is_empty() {
            self.names.insert(host_name(address));
        }
    }

    pub fn contains_ip(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_loopback() || ip.is_unspecified() || self.ips.contains(&ip)
    }

    /// For an IP as text or a host name. Names are compared, never resolved.
    pub fn contains_host(&self, address: &str) -> bool {
        if let Some(ip) = parse_ip(address) {
            return self.contains_ip(ip);
        }
        let name = host_name(address);
        name == "localhost" || self.names.contains(&name)
    }

    /// The set as it is for one host, which may see the app under one more address.
    pub fn seen_by<'a>(&'a self, host: &HostAddresses) -> SeenSelf<'a> {
        let seen_as = host
            .app_seen_as
            .map(|ip| ip.to_canonical())
            // A tunnel: the app is not really there.
            .filter(|ip| Scope::of(*ip) != Scope::Loopback && !ip.is_unspecified());
        SeenSelf { set: self, seen_as }
    }
}

/// A [`SelfSet`] from the view of one host.
#[derive(Debug, Clone, Copy)]
pub struct SeenSelf<'a> {
    set: &'a SelfSet,
    seen_as: Option<IpAddr>,
}

impl SeenSelf<'_> {
    pub fn contains_ip(&self, ip: IpAddr) -> bool {
        self.seen_as == Some(ip.to_canonical()) || self.set.contains_ip(ip)
    }

    pub fn contains_host(&self, address: &str) -> bool {
        match parse_ip(address) {
            Some(ip) => self.contains_ip(ip),
            None => self.set.contains_host(address),
        }
    }

    /// The app's host as that host reaches it, where it is known and no tunnel.
    pub fn reached_at(&self) -> Option<IpAddr> {
        self.seen_as
    }
}
