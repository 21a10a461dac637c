//! `pipeToRouter` between two hosts, in addresses: both ends get one listen info, each connects to
//! what the app reads from the other's tuple, and takes packets from nowhere else.

use std::{net::IpAddr, sync::Arc};

use super::{app, host, info, ip};
use crate::addresses::{
    Fleet, HostAddresses, KnownTransport, Origin, Purpose, TupleRegistry, connect_target,
    listen_infos,
};

struct End {
    key: &'static str,
    addresses: HostAddresses,
    visible: String,
    bound: IpAddr,
    port: u16,
}

fn listen(
    registry: &mut TupleRegistry,
    key: &'static str,
    addresses: &HostAddresses,
    port: u16,
    fleet: Fleet,
    given: &str,
) -> End {
    let given = info(given);
    let got = listen_infos(&app(), addresses, Purpose::Pipe, fleet, std::slice::from_ref(&given))
        .unwrap();
    let got = &got[0].info;
    let end = End {
        key,
        addresses: addresses.clone(),
        visible: got.announced_address.clone().unwrap_or_else(|| got.ip.clone()),
        bound: ip(&got.ip),
        port,
    };
    registry.insert(KnownTransport {
        transport: port.to_string(),
        host: key.to_owned(),
        addresses: Arc::new(addresses.clone()),
        visible: end.visible.clone(),
        port,
        original: [Some(given.ip), given.announced_address].into_iter().flatten().collect(),
        bound: Some(end.bound),
    });
    end
}

fn connect(registry: &TupleRegistry, from: &End, to: &End, given: &str) -> String {
    let transport = from.port.to_string();
    let origin = Origin { transport: &transport, host: from.key, addresses: &from.addresses };
    connect_target(&app(), registry, origin, given, to.port).unwrap_or_else(|| given.to_owned())
}

struct Network {
    /// Private addresses of the two hosts are one network.
    shared: bool,
}

impl Network {
    /// What `from` looks like to a host that it sends to at `target`, if the packet gets there.
    fn source(&self, from: &End, to: &End, target: &str) -> Option<String> {
        let outside = |end: &End| end.addresses.announced.first().cloned();
        let to_bound = target == to.bound.to_string();
        let private = to_bound && !to.bound.to_string().starts_with("203.");
        let from_private = !from.bound.to_string().starts_with("203.");
        if from.bound.is_loopback() || to.bound.is_loopback() {
            return (from.bound == to.bound && to_bound).then(|| from.bound.to_string());
        }
        if to_bound && (self.shared || !private) {
            let translated = from_private && !self.shared;
            return if translated { outside(from) } else { Some(from.bound.to_string()) };
        }
        (Some(target.to_owned()) == outside(to))
            .then(|| if from_private { outside(from) } else { Some(from.bound.to_string()) })?
    }
}

fn check(network: &Network, x: &HostAddresses, y: &HostAddresses, fleet: Fleet) {
    for given in
        ["127.0.0.1", "0.0.0.0", "0.0.0.0 198.51.100.1", "10.0.0.1", "127.0.0.1 198.51.100.9"]
    {
        let mut registry = TupleRegistry::default();
        let a = listen(&mut registry, "x", x, 5001, fleet, given);
        let b = listen(&mut registry, "y", y, 5002, fleet, given);
        // By the tuple, and by the address that the app gave.
        let hard_coded = info(given).ip;
        for (to_b, to_a) in [(&b.visible, &a.visible), (&hard_coded, &hard_coded)] {
            let to_b = connect(&registry, &a, &b, to_b);
            let to_a = connect(&registry, &b, &a, to_a);
            let seen = |from, to, target: &str| network.source(from, to, target);
            let context = format!("{given}: {to_b} and {to_a}, {x:?}, {y:?}");
            assert_eq!(seen(&a, &b, &to_b).as_ref(), Some(&to_a), "{context}");
            assert_eq!(seen(&b, &a, &to_a).as_ref(), Some(&to_b), "{context}");
        }
    }
}

#[test]
fn remote_and_remote() {
    let shared = Network { shared: true };
    let apart = Network { shared: false };
    let (x, y) = (host(&["203.0.113.5"]), host(&["203.0.113.6"]));
    check(&apart, &x, &y, Fleet::default());
    let (x, y) = (x.piped("10.9.0.5"), y.piped("10.9.0.6"));
    check(&shared, &x, &y, Fleet::default());
    check(&shared, &host(&["10.9.0.5"]), &host(&["10.9.0.6"]), Fleet::default());
}

#[test]
fn behind_nat() {
    let x = host(&["10.9.0.5"]).announcing(&["203.0.113.5"]).nat();
    let y = host(&["10.8.0.6"]).announcing(&["203.0.113.6"]).nat();
    let open = host(&["203.0.113.7"]);
    let apart = Network { shared: false };
    check(&apart, &x, &y, Fleet::default());
    check(&apart, &x, &open, Fleet::default());
    // The addresses outside, spelled out.
    check(
        &apart,
        &x.clone().piped("203.0.113.5"),
        &y.clone().piped("203.0.113.6"),
        Fleet::default(),
    );
    check(&apart, &x.clone().piped("203.0.113.5"), &open, Fleet::default());
    // Only one of them has a pipe network.
    check(&apart, &x.clone().piped("10.9.0.5"), &y, Fleet::default());
    check(&apart, &x.clone().piped("10.9.0.5"), &open, Fleet::default());
    // A network of their own behind it.
    let shared = Network { shared: true };
    check(&shared, &x.piped("10.9.0.5"), &y.piped("10.9.0.6"), Fleet::default());
}

#[test]
fn colocated_and_remote() {
    let shared = Network { shared: true };
    let here = host(&["10.0.0.1"]).here();
    let there = host(&["10.0.0.9"]).seeing(Some("10.0.0.1"));
    check(&shared, &here, &there, Fleet::default());
    check(
        &shared,
        &here.clone().piped("10.0.0.1"),
        &there.clone().piped("10.0.0.9"),
        Fleet::default(),
    );
    // Two connections on this host, while a third is elsewhere.
    check(&shared, &here, &here, Fleet::default());
}

#[test]
fn all_colocated() {
    let here = host(&["10.0.0.1"]).here();
    let fleet = Fleet { all_colocated: true, ..Fleet::default() };
    let mut registry = TupleRegistry::default();
    let a = listen(&mut registry, "x", &here, 5001, fleet, "127.0.0.1");
    let b = listen(&mut registry, "y", &here, 5002, fleet, "127.0.0.1");
    assert_eq!((a.visible.as_str(), b.visible.as_str()), ("127.0.0.1", "127.0.0.1"));
    assert_eq!(connect(&registry, &a, &b, "127.0.0.1"), "127.0.0.1");
}

#[test]
fn same_remote_host() {
    let there = host(&["203.0.113.5", "10.9.0.5"]).piped("10.9.0.7");
    let mut registry = TupleRegistry::default();
    let a = listen(&mut registry, "x", &there, 5001, Fleet::default(), "127.0.0.1");
    let b = listen(&mut registry, "x", &there, 5002, Fleet::default(), "127.0.0.1");
    assert_eq!(connect(&registry, &a, &b, &b.visible), "10.9.0.7");
    assert_eq!(connect(&registry, &b, &a, &a.visible), "10.9.0.7");
}
