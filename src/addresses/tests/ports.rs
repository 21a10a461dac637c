use super::{app, host, info};
use crate::addresses::{
    Fleet, HostAddresses, ListenInfo, PortPolicy, Protocol, Purpose, listen_infos,
    retry_on_other_port,
};

const RANGE: (u16, u16) = (40_000, 40_100);

fn remap() -> HostAddresses {
    host(&["10.9.0.5"]).ports(RANGE, PortPolicy::Remap)
}

fn strict() -> HostAddresses {
    host(&["10.9.0.5"]).ports(RANGE, PortPolicy::Strict)
}

fn asked(port: u16, port_range: (u16, u16)) -> ListenInfo {
    ListenInfo { port, port_range, ..info("127.0.0.1") }
}

#[test]
fn r3_range() {
    let open = host(&["10.9.0.5"]);
    let odd = host(&["10.9.0.5"]).ports((500, 400), PortPolicy::Remap);
    for (host, given, expected) in [
        // Nothing asked for.
        (&remap(), (0, (0, 0)), (0, (0, 0))),
        (&strict(), (0, (0, 0)), (0, (0, 0))),
        // Inside.
        (&remap(), (40_000, (0, 0)), (40_000, (0, 0))),
        (&strict(), (40_100, (0, 0)), (40_100, (0, 0))),
        // Outside.
        (&remap(), (39_999, (0, 0)), (0, RANGE)),
        (&remap(), (40_101, (0, 0)), (0, RANGE)),
        // Ranges.
        (&remap(), (0, (40_050, 50_000)), (0, (40_050, 40_100))),
        (&remap(), (0, (1, 65_535)), (0, RANGE)),
        (&remap(), (0, (10_000, 20_000)), (0, RANGE)),
        (&strict(), (0, (10_000, 20_000)), (0, RANGE)),
        // The range counts, not the port.
        (&strict(), (7, (40_010, 40_020)), (7, (40_010, 40_020))),
        // Half a range is none.
        (&remap(), (40_000, (0, 5)), (40_000, (0, 5))),
        (&remap(), (7, (5, 0)), (0, RANGE)),
        // The worker refuses that.
        (&remap(), (0, (50, 40)), (0, (50, 40))),
        // No range on the host, or none that makes sense.
        (&open, (7, (1, 9)), (7, (1, 9))),
        (&odd, (7, (0, 0)), (7, (0, 0))),
        // R0 implies strict, by the worker.
        (&remap().here(), (7, (0, 0)), (7, (0, 0))),
    ] {
        let given = asked(given.0, given.1);
        let got = listen_infos(
            &app(),
            host,
            Purpose::Plain,
            Fleet::default(),
            std::slice::from_ref(&given),
        );
        let got = &got.unwrap()[0].info;
        assert_eq!((got.port, got.port_range), expected, "{given:?} on {host:?}");
    }
}

#[test]
fn r3_strict_refuses() {
    let given = [
        asked(40_000, (0, 0)),
        ListenInfo { protocol: Protocol::Tcp, ..asked(5, (0, 0)) },
        asked(6, (0, 0)),
    ];
    let refused =
        listen_infos(&app(), &strict(), Purpose::WebRtc, Fleet::default(), &given).unwrap_err();
    assert_eq!((refused.index, refused.port, refused.range), (1, 5, RANGE));
    assert_eq!(
        refused.to_string(),
        "uv_tcp_bind() failed [protocol:tcp, ip:'10.9.0.5', port:5]: permission denied (ports of \
         this host: 40000-40100)"
    );
    let udp = listen_infos(&app(), &strict(), Purpose::Pipe, Fleet::default(), &given[2..]);
    assert!(udp.unwrap_err().to_string().starts_with("uv_udp_bind() failed [protocol:udp,"));
}

#[test]
fn retry() {
    let open = host(&["10.9.0.5"]);
    let taken = asked(40_001, (0, 0));
    assert_eq!(retry_on_other_port(&remap(), &taken), Some(asked(0, RANGE)));
    assert_eq!(retry_on_other_port(&open, &taken), Some(asked(0, (0, 0))));
    for (host, info) in [
        (&strict(), &taken),
        (&remap().here(), &taken),
        (&remap(), &asked(0, RANGE)),
        (&remap(), &asked(40_001, RANGE)),
        (&remap(), &asked(0, (0, 0))),
    ] {
        assert_eq!(retry_on_other_port(host, info), None, "{info:?}");
    }
    // A second retry is never proposed.
    assert_eq!(retry_on_other_port(&remap(), &asked(0, RANGE)), None);
}
