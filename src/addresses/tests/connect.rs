use std::sync::Arc;

use super::{app, host, ip};
use crate::addresses::{HostAddresses, KnownTransport, Origin, TupleRegistry, connect_target};

struct Case {
    registry: TupleRegistry,
}

impl Case {
    /// A peer `p` on host `y`, port 5000.
    fn new(addresses: HostAddresses, bound: &str, visible: &str, original: &[&str]) -> Self {
        let mut registry = TupleRegistry::default();
        registry.insert(KnownTransport {
            transport: "p".to_owned(),
            host: "y".to_owned(),
            addresses: Arc::new(addresses),
            visible: visible.to_owned(),
            port: 5000,
            original: original.iter().map(|&text| text.to_owned()).collect(),
            bound: bound.parse().ok(),
        });
        Self { registry }
    }

    fn from(&self, key: &str, addresses: &HostAddresses, given: &str) -> Option<String> {
        let from = Origin { transport: "o", host: key, addresses };
        connect_target(&app(), &self.registry, from, given, 5000)
    }
}

#[test]
fn r5_unknown() {
    let none = TupleRegistry::default();
    let there = host(&["10.9.0.5"]);
    for (addresses, given, expected) in [
        // A local ffmpeg.
        (&there, "127.0.0.1", Some("198.51.100.77")),
        (&there, "0.0.0.0", Some("198.51.100.77")),
        (&there, "10.0.0.1", Some("198.51.100.77")),
        (&there, "198.51.100.1", Some("198.51.100.77")),
        (&there, "::ffff:127.0.0.1", Some("198.51.100.77")),
        (&there, "198.51.100.77", None),
        // Elsewhere, no address at all, a name.
        (&there, "198.51.100.9", None),
        (&there, "nonsense", None),
        (&there, "localhost", None),
        (&there, "app.example.org", None),
        (&there, "", None),
        // Another family than the socket's.
        (&there, "::1", None),
        (&there.clone().seeing(Some("2001:db8:a::1")), "::1", Some("2001:db8:a::1")),
        (&there.clone().seeing(Some("::ffff:198.51.100.7")), "127.0.0.1", Some("198.51.100.7")),
        // A tunnel, nothing told, the same host.
        (&there.clone().seeing(Some("127.0.0.1")), "10.0.0.1", None),
        (&there.clone().seeing(None), "127.0.0.1", None),
        (&there.clone().here(), "127.0.0.1", None),
    ] {
        let from = Origin { transport: "o", host: "x", addresses };
        let got = connect_target(&app(), &none, from, given, 5000);
        assert_eq!(got.as_deref(), expected, "{given} on {addresses:?}");
    }
}

#[test]
fn r5_known_on_the_same_host() {
    let y = host(&["203.0.113.5", "10.9.0.5"]).piped("10.9.0.7");
    let concrete = Case::new(y.clone(), "10.9.0.7", "203.0.113.9", &["127.0.0.1"]);
    assert_eq!(concrete.from("y", &y, "203.0.113.9").as_deref(), Some("10.9.0.7"));
    assert_eq!(concrete.from("y", &y, "127.0.0.1").as_deref(), Some("10.9.0.7"));
    assert_eq!(concrete.from("y", &y, "10.9.0.7"), None);

    let wildcard = Case::new(y.clone(), "0.0.0.0", "203.0.113.9", &["0.0.0.0", "198.51.100.1"]);
    for (given, expected) in [
        ("203.0.113.9", "203.0.113.5"),
        ("198.51.100.1", "203.0.113.5"),
        ("0.0.0.0", "203.0.113.5"),
        ("127.0.0.1", "203.0.113.5"),
        ("10.0.0.1", "203.0.113.5"),
    ] {
        assert_eq!(wildcard.from("y", &y, given).as_deref(), Some(expected), "{given}");
    }
    // Nobody listens there.
    let from = Origin { transport: "o", host: "y", addresses: &y };
    let other = connect_target(&app(), &wildcard.registry, from, "127.0.0.1", 5001);
    assert_eq!(other.as_deref(), Some("198.51.100.77"));
}

#[test]
fn r5_known_on_another_host() {
    let plain = host(&["203.0.113.5"]);
    let piped = host(&["203.0.113.5", "10.9.0.5"]).piped("10.9.0.7");
    let nat = host(&["10.9.0.5"]).announcing(&["203.0.113.9"]).nat();
    let far = host(&["198.51.100.50"]);
    let near = host(&["10.9.0.6"]).piped("10.9.0.6");
    for (peer, bound, from, expected) in [
        // Concrete addresses.
        (&plain, "203.0.113.5", &far, "203.0.113.5"),
        (&piped, "10.9.0.7", &near, "10.9.0.7"),
        (&piped, "203.0.113.5", &near, "203.0.113.5"),
        (&nat, "10.9.0.5", &far, "203.0.113.9"),
        (&nat.clone().piped("10.9.0.5"), "10.9.0.5", &near, "10.9.0.5"),
        (&nat.clone().piped("10.9.0.5"), "10.9.0.5", &far, "203.0.113.9"),
        (&nat.clone().piped("203.0.113.9"), "10.9.0.5", &near, "203.0.113.9"),
        // Wildcards.
        (&plain, "0.0.0.0", &far, "203.0.113.5"),
        (&piped, "0.0.0.0", &near, "10.9.0.7"),
        (&nat, "0.0.0.0", &far, "203.0.113.9"),
        (&host(&["10.9.0.5", "203.0.113.5"]), "0.0.0.0", &far, "203.0.113.5"),
        // On the app's host.
        (&host(&["10.0.0.1"]).here(), "0.0.0.0", &far, "198.51.100.77"),
        (&host(&["10.0.0.1"]).here(), "10.0.0.1", &far, "198.51.100.77"),
        (&host(&["192.0.2.1"]).here(), "192.0.2.1", &far, "192.0.2.1"),
        (&host(&["10.0.0.1"]).here().piped("10.0.0.1"), "10.0.0.1", &near, "10.0.0.1"),
        (&host(&["10.0.0.1"]).here(), "10.0.0.1", &far.clone().seeing(None), "10.0.0.1"),
    ] {
        let case = Case::new(peer.clone(), bound, "vis.example.org", &["10.0.0.1"]);
        for given in ["vis.example.org", "VIS.example.org.", "10.0.0.1"] {
            let got = case.from("x", from, given).unwrap_or_else(|| given.to_owned());
            assert_eq!(got, expected, "{given}: {peer:?} at {bound} from {from:?}");
        }
    }
    // Nothing reaches a loopback of another host.
    let loopback = Case::new(plain, "127.0.0.1", "127.0.0.1", &["127.0.0.1"]);
    assert_eq!(loopback.from("x", &far, "127.0.0.1"), None);
}

#[test]
fn r5_all_here_is_untouched() {
    let here = host(&["10.0.0.1"]).here();
    let case = Case::new(here.clone(), "0.0.0.0", "198.51.100.1", &["0.0.0.0", "198.51.100.1"]);
    for given in ["198.51.100.1", "127.0.0.1", "10.0.0.1", "0.0.0.0"] {
        assert_eq!(case.from("x", &here, given), None, "{given}");
        assert_eq!(case.from("y", &here, given), None, "{given}");
    }
    let bound = Case::new(here.clone(), "127.0.0.1", "127.0.0.1", &["127.0.0.1"]);
    assert_eq!(bound.from("x", &here, "127.0.0.1"), None);
    // A pipe that had to leave loopback.
    let moved = Case::new(here.clone(), "10.0.0.1", "10.0.0.1", &["127.0.0.1"]);
    assert_eq!(moved.from("x", &here, "127.0.0.1").as_deref(), Some("10.0.0.1"));
    assert_eq!(moved.from("x", &here, "10.0.0.1"), None);
}

#[test]
fn a_wildcard_follows_the_concrete_end() {
    let y = host(&["203.0.113.5", "10.9.0.5"]);
    let mut case = Case::new(y.clone(), "0.0.0.0", "203.0.113.5", &["0.0.0.0"]);
    case.registry.insert(KnownTransport {
        transport: "o".to_owned(),
        host: "y".to_owned(),
        addresses: Arc::new(y.clone()),
        visible: "10.9.0.5".to_owned(),
        port: 5002,
        original: vec!["10.0.0.1".to_owned()],
        bound: Some(ip("10.9.0.5")),
    });
    assert_eq!(case.from("y", &y, "203.0.113.5").as_deref(), Some("10.9.0.5"));
}

#[test]
fn two_hosts_with_the_same_private_address() {
    let (x, y) = (host(&["10.9.0.5"]), host(&["10.9.0.5"]));
    let mut case = Case::new(y, "10.9.0.5", "10.9.0.5", &["127.0.0.1"]);
    case.registry.insert(KnownTransport {
        transport: "q".to_owned(),
        host: "x".to_owned(),
        addresses: Arc::new(x.clone().announcing(&["203.0.113.9"]).nat()),
        visible: "10.9.0.5".to_owned(),
        port: 5000,
        original: Vec::new(),
        bound: Some(ip("10.9.0.5")),
    });
    // The own host's transport is meant; from outside, whichever is newer.
    assert_eq!(case.from("x", &x, "10.9.0.5"), None);
    assert_eq!(case.from("z", &x, "10.9.0.5").as_deref(), Some("203.0.113.9"));
}
