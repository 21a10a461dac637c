use super::{app, host, info, one, text};
use crate::addresses::{
    AnnouncedMode, Fleet, HostAddresses, ListenInfo, Protocol, Purpose, listen_infos,
};

const ALL: [Purpose; 4] = [Purpose::WebRtc, Purpose::WebRtcServer, Purpose::Plain, Purpose::Pipe];
const CLIENTS: [Purpose; 3] = [Purpose::WebRtc, Purpose::WebRtcServer, Purpose::Plain];

fn both() -> HostAddresses {
    host(&["203.0.113.5", "10.9.0.5", "2001:db8:b::5"])
}

fn private() -> HostAddresses {
    host(&["10.9.0.5"])
}

fn natted() -> HostAddresses {
    private().announcing(&["203.0.113.9"]).nat()
}

fn table(rows: &[(&HostAddresses, &str, &str)]) {
    for (host, given, expected) in rows {
        for purpose in CLIENTS {
            let got = one(host, purpose, Fleet::default(), given);
            assert_eq!(&got, expected, "{given} for {purpose:?} on {host:?}");
        }
    }
}

#[test]
fn r0_colocated() {
    let here = both().here().piped("10.9.0.5").announcing(&["203.0.113.9"]).nat();
    for given in ["127.0.0.1", "0.0.0.0", "10.0.0.1 198.51.100.1", "::1", "nonsense", ""] {
        for purpose in ALL {
            let fleet = Fleet { all_colocated: true, ..Fleet::default() };
            assert_eq!(one(&here, purpose, fleet, given), given);
        }
        for purpose in CLIENTS {
            assert_eq!(one(&here, purpose, Fleet::default(), given), given);
        }
    }
}

#[test]
fn r1_ip() {
    table(&[
        // Loopback.
        (&both(), "127.0.0.1", "203.0.113.5"),
        (&both(), "127.0.0.53", "203.0.113.5"),
        (&both(), "::1", "2001:db8:b::5"),
        (&both(), "::ffff:127.0.0.1", "203.0.113.5"),
        (&private(), "127.0.0.1", "10.9.0.5"),
        // In S, other: same scope, else the first of the family.
        (&both(), "10.0.0.1", "10.9.0.5"),
        (&both(), "192.0.2.1", "203.0.113.5"),
        (&both(), "fd00:a::1", "2001:db8:b::5"),
        (&private(), "192.0.2.1", "10.9.0.5"),
        // Seen by the host.
        (&both(), "198.51.100.77", "203.0.113.5"),
        // Not in S.
        (&both(), "239.1.2.3", "239.1.2.3"),
        (&both(), "203.0.113.5", "203.0.113.5"),
        (&both(), "172.20.0.1", "172.20.0.1"),
        (&both(), "nonsense", "nonsense"),
        (&both(), "localhost", "localhost"),
        (&both(), "", ""),
        // The host has the app's address too.
        (&host(&["203.0.113.5", "10.9.0.5", "10.0.0.1"]), "10.0.0.1", "10.0.0.1"),
        // Nothing is known of the host.
        (&host(&[]), "127.0.0.1", "127.0.0.1"),
        (&host(&[]), "0.0.0.0", "0.0.0.0"),
        (&host(&[]), "0.0.0.0 198.51.100.1", "0.0.0.0 198.51.100.1"),
        // The family is missing and nothing else remains.
        (&private(), "2001:db8:a::1", "2001:db8:a::1"),
    ]);
}

#[test]
fn r1_missing_family() {
    let given = ["0.0.0.0", "2001:db8:a::1", "::", "2001:db8:ffff::1", "::x"].map(info);
    let get = |purpose| {
        let got = listen_infos(&app(), &private(), purpose, Fleet::default(), &given).unwrap();
        got.into_iter().map(|one| (one.index, text(&one.info))).collect::<Vec<_>>()
    };
    for purpose in [Purpose::WebRtc, Purpose::WebRtcServer] {
        // Addresses that are not the app host's stay: the worker decides.
        let expected = [(0, "0.0.0.0 10.9.0.5"), (3, "2001:db8:ffff::1"), (4, "::x")];
        assert_eq!(get(purpose), expected.map(|(index, text)| (index, text.to_owned())));
    }
    assert_eq!(get(Purpose::Plain).len(), 5);
    let none = [info("2001:db8:a::1"), info("::1")];
    let got = listen_infos(&app(), &private(), Purpose::WebRtc, Fleet::default(), &none).unwrap();
    assert_eq!(got.iter().map(|one| one.info.clone()).collect::<Vec<_>>(), none);
}

#[test]
fn r2_announced() {
    let public = both().announcing(&["media.example.org", "203.0.113.9", "10.9.0.9"]);
    let literal = both().announcing(&["203.0.113.9", "2001:db8:b::9"]);
    table(&[
        // Given and in S.
        (&literal, "0.0.0.0 198.51.100.1", "0.0.0.0 203.0.113.9"),
        (&literal, "10.0.0.1 198.51.100.1", "10.9.0.5 203.0.113.9"),
        (&literal, "0.0.0.0 App.example.org", "0.0.0.0 203.0.113.9"),
        (&literal, ":: app.example.org", ":: 2001:db8:b::9"),
        (&literal, ":: 198.51.100.1", ":: 203.0.113.9"),
        (&literal, "203.0.113.5 198.51.100.1", "203.0.113.5 203.0.113.9"),
        (&public, "0.0.0.0 10.0.0.1", "0.0.0.0 10.9.0.9"),
        (&public, "0.0.0.0 app.example.org", "0.0.0.0 media.example.org"),
        (&both(), "0.0.0.0 198.51.100.1", "0.0.0.0 203.0.113.5"),
        (&both(), "0.0.0.0 10.0.0.1", "0.0.0.0 10.9.0.5"),
        (&both(), "0.0.0.0 localhost", "0.0.0.0 203.0.113.5"),
        (&both(), "0.0.0.0 198.51.100.77", "0.0.0.0 203.0.113.5"),
        // A literal not in S, on an address of the app's host.
        (&literal, "0.0.0.0 198.51.100.200", "0.0.0.0 203.0.113.9"),
        (&literal, "10.0.0.1 198.51.100.200", "10.9.0.5 203.0.113.9"),
        (&both(), "0.0.0.0 198.51.100.200", "0.0.0.0 198.51.100.200"),
        (&literal, "203.0.113.5 198.51.100.200", "203.0.113.5 198.51.100.200"),
        // A host name not in S.
        (&literal, "0.0.0.0 turn.example.org", "0.0.0.0 turn.example.org"),
        // Absent on a wildcard.
        (&literal, "0.0.0.0", "0.0.0.0 203.0.113.9"),
        (&public, "0.0.0.0", "0.0.0.0 media.example.org"),
        (&both(), "0.0.0.0", "0.0.0.0 203.0.113.5"),
        (&both(), "::", ":: 2001:db8:b::5"),
        (&private(), "::", ":: 10.9.0.5"),
        (&natted(), "0.0.0.0", "0.0.0.0 203.0.113.9"),
        // Absent on another address of the app's host.
        (&literal, "10.0.0.1", "10.9.0.5"),
        (&natted(), "10.0.0.1", "10.9.0.5 203.0.113.9"),
        (&natted(), "127.0.0.1", "10.9.0.5 203.0.113.9"),
        (&natted(), "10.9.0.5", "10.9.0.5"),
    ]);
}

#[test]
fn r2_identity() {
    let there = both().announcing(&["203.0.113.9"]);
    let fleet = Fleet { announced: AnnouncedMode::Identity, ..Fleet::default() };
    for (given, expected) in [
        ("0.0.0.0 198.51.100.200", "0.0.0.0 198.51.100.200"),
        ("0.0.0.0 198.51.100.1", "0.0.0.0 203.0.113.9"),
        ("0.0.0.0", "0.0.0.0 203.0.113.9"),
    ] {
        assert_eq!(one(&there, Purpose::WebRtc, fleet, given), expected);
    }
}

#[test]
fn r4_pipes() {
    let piped = both().piped("10.9.0.7");
    let outside = natted().piped("203.0.113.9");
    let mixed = Fleet::default();
    for (host, given, expected) in [
        (&piped, "127.0.0.1", "10.9.0.7"),
        (&piped, "0.0.0.0 198.51.100.1", "10.9.0.7"),
        (&piped, "10.0.0.1 198.51.100.200", "10.9.0.7"),
        (&piped, "::1", "10.9.0.7"),
        (&both(), "127.0.0.1", "203.0.113.5"),
        (&both(), "::1", "2001:db8:b::5"),
        (&private(), "::1", "10.9.0.5"),
        (&host(&[]), "127.0.0.1", "127.0.0.1"),
        // Not in S: the app's own choice.
        (&piped, "10.9.0.8", "10.9.0.8"),
        (&piped, "10.9.0.8 203.0.113.8", "10.9.0.8 203.0.113.8"),
        (&piped, "10.9.0.8 198.51.100.1", "10.9.0.8"),
        // NAT.
        (&natted(), "127.0.0.1", "10.9.0.5 203.0.113.9"),
        (&natted().piped("10.9.0.7"), "127.0.0.1", "10.9.0.7 203.0.113.9"),
        (&outside, "127.0.0.1", "10.9.0.5 203.0.113.9"),
        (&private().announcing(&["m.example.org"]).nat(), "127.0.0.1", "10.9.0.5"),
        // On this host, with others elsewhere.
        (&piped.clone().here(), "127.0.0.1", "10.9.0.7"),
        (&piped.clone().here(), "10.9.0.8 198.51.100.1", "10.9.0.8 198.51.100.1"),
        (&host(&[]).here(), "127.0.0.1", "127.0.0.1"),
    ] {
        assert_eq!(one(host, Purpose::Pipe, mixed, given), expected, "{given} on {host:?}");
    }
}

#[test]
fn r6_r7_the_rest_is_kept() {
    let given = ListenInfo {
        protocol: Protocol::Tcp,
        expose_internal_ip: true,
        port: 44_444,
        ..info("127.0.0.1 198.51.100.1")
    };
    let got = listen_infos(&app(), &natted(), Purpose::WebRtc, Fleet::default(), &[given]).unwrap();
    assert_eq!(
        got[0].info,
        ListenInfo {
            protocol: Protocol::Tcp,
            expose_internal_ip: true,
            port: 44_444,
            ..info("10.9.0.5 203.0.113.9")
        }
    );
}

#[test]
fn idioms() {
    // Listen everywhere, announce what the environment says.
    table(&[(&natted(), "0.0.0.0 198.51.100.1", "0.0.0.0 203.0.113.9")]);
    table(&[(&both(), "0.0.0.0 198.51.100.1", "0.0.0.0 203.0.113.5")]);
    // The own interface, with and without announced address.
    table(&[(&natted(), "10.0.0.1 198.51.100.1", "10.9.0.5 203.0.113.9")]);
    table(&[(&private(), "10.0.0.1", "10.9.0.5")]);
    // Local network and internet side by side.
    let there = both().announcing(&["203.0.113.9", "10.9.0.5"]);
    table(&[(&there, "10.0.0.1 10.0.0.1", "10.9.0.5 10.9.0.5")]);
    table(&[(&there, "10.0.0.1 198.51.100.1", "10.9.0.5 203.0.113.9")]);
    // One WebRtcServer per worker: base port plus worker index, UDP and TCP.
    for index in 0..3 {
        let udp = ListenInfo { port: 44_444 + index, ..info("0.0.0.0 198.51.100.1") };
        let tcp = ListenInfo { protocol: Protocol::Tcp, ..udp.clone() };
        let got = listen_infos(
            &app(),
            &natted(),
            Purpose::WebRtcServer,
            Fleet::default(),
            &[udp.clone(), tcp],
        )
        .unwrap();
        assert_eq!(got.len(), 2);
        assert!(got.iter().all(|one| one.info.port == udp.port));
    }
}
