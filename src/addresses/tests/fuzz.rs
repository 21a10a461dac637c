use std::{net::IpAddr, sync::Arc};

use proptest::{collection::vec, option, prelude::*};

use super::app;
use crate::addresses::{
    AnnouncedMode, Fleet, HostAddresses, KnownTransport, ListenInfo, Origin, PortPolicy, Protocol,
    Purpose, SelfSet, TupleRegistry, connect_target, listen_infos, retry_on_other_port,
};

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<IpAddr>(),
        proptest::sample::select(
            ["127.0.0.1", "::1", "0.0.0.0", "::", "10.0.0.1", "10.9.0.5", "::ffff:10.9.0.5"]
                .map(super::ip)
                .to_vec()
        ),
    ]
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        address().prop_map(|ip| ip.to_string()),
        any::<String>(),
        "[0-9a-f:.%\\[\\] ]{0,20}",
        proptest::sample::select(vec!["localhost".to_owned(), "app.example.org".to_owned()]),
    ]
}

prop_compose! {
    fn hosts()(
        (colocated, behind_nat, strict) in any::<(bool, bool, bool)>(),
        bind in vec(address(), 0..4),
        pipe in option::of(address()),
        announced in vec(words(), 0..3),
        port_range in any::<Option<(u16, u16)>>(),
        app_seen_as in option::of(address()),
    ) -> HostAddresses {
        let port_policy = if strict { PortPolicy::Strict } else { PortPolicy::Remap };
        HostAddresses {
            colocated, bind, pipe, announced, behind_nat, port_range, port_policy, app_seen_as,
        }
    }
}

prop_compose! {
    fn infos()(
        (tcp, expose_internal_ip) in any::<(bool, bool)>(),
        ip in words(),
        announced_address in option::of(words()),
        port in any::<u16>(),
        port_range in any::<(u16, u16)>(),
    ) -> ListenInfo {
        let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
        ListenInfo { protocol, ip, announced_address, expose_internal_ip, port, port_range }
    }
}

/// Every spelling of the host's own addresses.
fn of_host(host: &HostAddresses) -> Vec<String> {
    let ips = host.bind.iter().chain(&host.pipe).map(|ip| ip.to_canonical().to_string());
    let announced = host.announced.iter().flat_map(|text| {
        let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
        let ip = bare.split('%').next().unwrap_or_default().parse::<IpAddr>();
        [Some(text.trim().to_owned()), ip.ok().map(|ip| ip.to_canonical().to_string())]
    });
    ips.chain(announced.flatten()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_invented(
        host in hosts(),
        given in vec(infos(), 0..4),
        purpose in 0..4_usize,
        (all_colocated, identity) in any::<(bool, bool)>(),
    ) {
        let purpose = [Purpose::WebRtc, Purpose::WebRtcServer, Purpose::Plain, Purpose::Pipe][purpose];
        let announced = if identity { AnnouncedMode::Identity } else { AnnouncedMode::Auto };
        let fleet = Fleet { all_colocated, announced };
        let known = of_host(&host);
        match listen_infos(&app(), &host, purpose, fleet, &given) {
            Err(refused) => {
                prop_assert!(host.port_policy == PortPolicy::Strict && !host.colocated);
                prop_assert_eq!(given[refused.index].port, refused.port);
                prop_assert!(!refused.to_string().is_empty());
            }
            Ok(got) => {
                prop_assert_eq!(got.is_empty(), given.is_empty());
                prop_assert!(got.windows(2).all(|pair| pair[0].index < pair[1].index));
                for one in got {
                    let before = &given[one.index];
                    let after = &one.info;
                    prop_assert_eq!(before.protocol, after.protocol);
                    prop_assert_eq!(before.expose_internal_ip, after.expose_internal_ip);
                    prop_assert!(after.ip == before.ip || known.contains(&after.ip));
                    if let Some(address) = &after.announced_address {
                        prop_assert!(
                            after.announced_address == before.announced_address
                                || known.contains(address)
                        );
                    }
                    let retry = retry_on_other_port(&host, after);
                    prop_assert!(retry.is_none_or(|info| info.port == 0));
                }
            }
        }
    }

    #[test]
    fn targets_are_known_addresses(
        from in hosts(),
        peer in hosts(),
        (same_host, same_port) in any::<(bool, bool)>(),
        (given, visible) in (words(), words()),
        original in vec(words(), 0..3),
        bound in option::of(address()),
    ) {
        let mut registry = TupleRegistry::new(4);
        let peer = Arc::new(peer);
        for (transport, visible) in [("p", &visible), ("q", &given), ("o", &given)] {
            registry.insert(KnownTransport {
                transport: transport.to_owned(),
                host: "y".to_owned(),
                addresses: Arc::clone(&peer),
                visible: visible.clone(),
                port: 5000,
                original: original.clone(),
                bound,
            });
        }
        let host = if same_host { "y" } else { "x" };
        let origin = Origin { transport: "o", host, addresses: &from };
        let port = if same_port { 5000 } else { 5001 };
        if let Some(target) = connect_target(&app(), &registry, origin, &given, port) {
            let mut known = of_host(&peer);
            known.extend(from.app_seen_as.iter().map(|ip| ip.to_canonical().to_string()));
            known.extend(bound.iter().map(|ip| ip.to_canonical().to_string()));
            prop_assert!(known.contains(&target), "{} is not in {:?}", target, known);
            prop_assert!(target.parse::<IpAddr>().is_ok());
        }
        registry.remove("q");
        registry.remove_host("y");
        prop_assert!(registry.is_empty());
    }

    #[test]
    fn sets_take_any_text(value in any::<String>(), configured in vec(words(), 0..4)) {
        let set = SelfSet::new([], ["X"], |_| Some(value.clone()), &configured);
        for text in configured.iter().filter(|text| !text.trim().is_empty()) {
            let _ = set.contains_host(text);
        }
        prop_assert!(set.contains_host("localhost") && set.contains_host("127.1.2.3"));
    }
}
