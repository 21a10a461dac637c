use super::{app, host, ip};
use crate::addresses::{
    DEFAULT_ENV_NAMES, Family, Interface, Scope, SelfSet, bind_defaults, interfaces, primary,
};

#[test]
fn members() {
    let set = app();
    for (address, expected) in [
        ("127.0.0.1", true),
        ("127.9.8.7", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("0.0.0.0", true),
        ("::", true),
        ("10.0.0.1", true),
        ("::ffff:10.0.0.1", true),
        ("2001:db8:a::1", true),
        ("2001:DB8:A:0::1", true),
        ("fd00:a::1%eth0", true),
        ("198.51.100.1", true),
        ("localhost", true),
        ("app.example.ORG", true),
        ("app.example.org.", true),
        ("10.0.0.2", false),
        ("239.1.2.3", false),
        ("example.org", false),
        ("10.0.0.1%eth0", false),
        ("", false),
        (" ", false),
    ] {
        assert_eq!(set.contains_host(address), expected, "{address}");
    }
}

#[test]
fn environment() {
    let env = |name: &str| {
        Some(match name {
            "MEDIASOUP_ANNOUNCED_IP" => "203.0.113.1, [2001:db8::7]".to_owned(),
            "PUBLIC_IP" => "Media.example.org".to_owned(),
            "OTHER" => "203.0.113.99".to_owned(),
            "MEDIASOUP_LISTEN_IP" => String::new(),
            _ => return None,
        })
    };
    let set = SelfSet::new([], DEFAULT_ENV_NAMES, env, [" 203.0.113.3 "]);
    for address in ["203.0.113.1", "2001:db8::7", "media.example.org", "203.0.113.3"] {
        assert!(set.contains_host(address), "{address}");
    }
    assert!(!set.contains_host("203.0.113.99"));
    assert!(!set.contains_host(""));
}

#[test]
fn seen_by_a_host() {
    let set = app();
    let there = host(&["10.1.0.1"]).seeing(Some("::ffff:198.51.100.77"));
    let seen = set.seen_by(&there);
    assert!(seen.contains_ip(ip("198.51.100.77")) && seen.contains_host("198.51.100.77"));
    assert!(seen.contains_host("localhost") && !seen.contains_host("example.org"));
    assert_eq!(seen.reached_at(), Some(ip("198.51.100.77")));
    assert!(!set.contains_ip(ip("198.51.100.77")));
    // Through a tunnel the app seems to be on loopback.
    let tunnel = host(&[]).seeing(Some("127.0.0.1"));
    assert_eq!(set.seen_by(&tunnel).reached_at(), None);
}

#[test]
fn scopes() {
    for (address, scope) in [
        ("127.0.0.1", Scope::Loopback),
        ("::1", Scope::Loopback),
        ("::ffff:127.0.0.1", Scope::Loopback),
        ("169.254.1.1", Scope::LinkLocal),
        ("fe80::1", Scope::LinkLocal),
        ("10.1.2.3", Scope::Private),
        ("172.31.0.1", Scope::Private),
        ("192.168.0.1", Scope::Private),
        ("100.64.0.1", Scope::Private),
        ("100.127.255.255", Scope::Private),
        ("fd12::1", Scope::Private),
        ("100.128.0.0", Scope::Public),
        ("172.32.0.1", Scope::Public),
        ("203.0.113.1", Scope::Public),
        ("2001:db8::1", Scope::Public),
    ] {
        assert_eq!(Scope::of(ip(address)), scope, "{address}");
    }
}

#[test]
fn choice_of_interfaces() {
    let list: Vec<_> = [
        ("lo", "127.0.0.1", true),
        ("docker0", "172.17.0.1", true),
        ("eth0", "10.0.0.5", true),
        ("eth0", "10.0.0.6", true),
        ("eth1", "203.0.113.5", true),
        ("eth2", "203.0.113.6", false),
        ("eth0", "fe80::5", true),
        ("lo", "::1", true),
    ]
    .into_iter()
    .map(|(name, address, up)| Interface { name: name.to_owned(), ip: ip(address), up })
    .collect();
    assert_eq!(bind_defaults(&list), ["203.0.113.5", "10.0.0.5", "fe80::5"].map(ip));
    assert_eq!(primary(&list, Family::V4), Some(ip("203.0.113.5")));
    assert_eq!(primary(&list[..3], Family::V4), Some(ip("10.0.0.5")));
    assert_eq!(primary(&list[..2], Family::V4), Some(ip("172.17.0.1")));
    assert_eq!(primary(&list[..1], Family::V4), None);
    assert!(bind_defaults(&list[..1]).is_empty());
}

#[test]
fn this_host_has_loopback() {
    assert!(interfaces().unwrap().iter().any(|one| one.ip.is_loopback()));
}
