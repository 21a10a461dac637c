//! Workers, routers, servers, transports.

use mediasoup_horizontal::{
    channel::{
        compose::ErrorKind,
        fbs::{
            request::Body, response, srtp_parameters::SrtpCryptoSuite, transport::Protocol,
            web_rtc_transport::DtlsRole,
        },
        method::{Event, Method},
    },
    mock_worker::{LogLevel, MockHost, MockOptions, MockWorker, Objects, Settings},
};

use crate::{
    bench::{Bench, assert_refused, reparse},
    bodies::{
        close_router, close_server, close_transport, connect_pipe, connect_plain, connect_web_rtc,
        create_direct, create_pipe, create_plain, create_router, create_server, create_web_rtc,
        create_web_rtc_with_server, listen, plain_options, udp,
    },
};

fn with_router() -> Bench {
    let mut bench = Bench::new();
    bench.call(Method::WorkerCreateRouter, "", create_router("r"));
    bench
}

#[test]
fn starts_with_worker_running() {
    let mut worker = MockWorker::new(MockOptions { pid: 4321, ..MockOptions::default() });
    let messages = worker.start();
    assert_eq!(messages.len(), 1);
    let running = mediasoup_horizontal::channel::compose::worker_running(4321);
    assert_eq!(reparse(messages[0].clone()), reparse(running));
}

#[test]
fn unknown_handlers_and_methods_are_refused_in_the_workers_words() {
    let mut bench = with_router();
    assert_refused(
        bench.request(Method::TransportDump, "nobody", None),
        ErrorKind::NotFoundError,
        "Channel request handler with ID nobody not found [method:transport.dump]",
    );
    assert_refused(
        bench.request(Method::TransportDump, "r", None),
        ErrorKind::Error,
        "unknown method 'transport.dump'",
    );
    assert_refused(
        bench.request(Method::WorkerCloseRouter, "", close_router("other")),
        ErrorKind::NotFoundError,
        "Router not found [method:worker.closeRouter]",
    );
    assert_refused(
        bench.request(Method::RouterCloseTransport, "r", close_transport("other")),
        ErrorKind::NotFoundError,
        "Transport not found [method:router.closeTransport]",
    );
}

#[test]
fn ids_are_of_one_namespace() {
    let mut bench = with_router();
    bench.call(Method::RouterCreateDirecttransport, "r", create_direct("t"));
    assert_refused(
        bench.request(Method::WorkerCreateRouter, "", create_router("r")),
        ErrorKind::Error,
        "a Router with same routerId already exists [method:worker.createRouter]",
    );
    assert_refused(
        bench.request(Method::WorkerCreateRouter, "", create_router("t")),
        ErrorKind::Error,
        "Channel request handler with ID t already exists",
    );
    assert_refused(
        bench.request(Method::RouterCreateDirecttransport, "r", create_direct("t")),
        ErrorKind::Error,
        "a Transport with same id already exists [method:router.createDirectTransport]",
    );
    // A refused transport frees its port.
    bench.request(Method::RouterCreatePipetransport, "r", create_pipe("r", false)).refused();
    assert_eq!(bench.host.sockets(), 0);
}

#[test]
fn servers_list_their_sockets_and_transports() {
    let mut bench = with_router();
    let infos = vec![listen(Protocol::Udp, "127.0.0.1", 1111), {
        let mut info = listen(Protocol::Tcp, "0.0.0.0", 1112);
        info.announced_address = Some("host.example".to_owned());
        info.expose_internal_ip = true;
        info
    }];
    bench.call(Method::WorkerCreateWebrtcserver, "", create_server("s", infos));
    let Some(response::Body::WebRtcTransportDumpResponse(transport)) = bench.call(
        Method::RouterCreateWebrtctransportWithServer,
        "r",
        create_web_rtc_with_server("t", "s"),
    ) else {
        panic!("a dump")
    };
    let candidates: Vec<_> = transport
        .ice_candidates
        .iter()
        .map(|candidate| (candidate.address.as_str(), candidate.port, candidate.priority))
        .collect();
    assert_eq!(
        candidates,
        [
            ("127.0.0.1", 1111, 1_076_302_079),
            ("host.example", 1112, 1_076_276_479),
            ("0.0.0.0", 1112, 1_076_275_479),
        ]
    );
    let Some(response::Body::TransportRestartIceResponse(ice)) =
        bench.call(Method::TransportRestartIce, "t", None)
    else {
        panic!("ice parameters")
    };
    let Some(response::Body::WebRtcServerDumpResponse(dump)) =
        bench.call(Method::WebrtcserverDump, "s", None)
    else {
        panic!("a dump")
    };
    assert_eq!((dump.udp_sockets.len(), dump.tcp_servers[0].port), (1, 1112));
    assert_eq!(dump.web_rtc_transport_ids, ["t"]);
    // The old fragment stays until a peer uses the new one.
    let fragments: Vec<_> = dump
        .local_ice_username_fragments
        .iter()
        .map(|fragment| fragment.local_ice_username_fragment.as_str())
        .collect();
    assert_eq!(
        fragments,
        [ice.username_fragment.as_str(), transport.ice_parameters.username_fragment.as_str()]
    );
    bench.call(Method::WorkerWebrtcserverClose, "", close_server("s"));
    assert_eq!(bench.worker.objects(), Objects { routers: 1, ..Objects::default() });
    assert_eq!(bench.host.sockets(), 0);
    assert_refused(
        bench.request(
            Method::RouterCreateWebrtctransportWithServer,
            "r",
            create_web_rtc_with_server("t", "s"),
        ),
        ErrorKind::Error,
        "wrong webRtcServerId (no associated WebRtcServer found)",
    );
}

#[test]
fn sockets_bind_as_on_a_host() {
    let host = MockHost::with_addresses(&["127.0.0.1".parse().expect("an address")]);
    let mut one = Bench::on(host.clone());
    let mut two = Bench::on(host);
    let create = |info| create_server("s", vec![info]);
    let method = Method::WorkerCreateWebrtcserver;
    one.call(method, "", create(udp(5000)));
    assert_refused(
        two.request(method, "", create(udp(5000))),
        ErrorKind::Error,
        "uv_udp_bind() failed [protocol:udp, ip:'127.0.0.1', port:5000]: address already in use",
    );
    assert_refused(
        two.request(method, "", create(listen(Protocol::Tcp, "1.2.3.4", 5000))),
        ErrorKind::Error,
        "uv_tcp_bind() failed [protocol:tcp, ip:'1.2.3.4', port:5000]: address not available",
    );
    assert_refused(
        two.request(method, "", create(listen(Protocol::Udp, "chicken", 5000))),
        ErrorKind::TypeError,
        "invalid IP 'chicken'",
    );
    assert_refused(
        two.request(method, "", create_server("s", Vec::new())),
        ErrorKind::TypeError,
        "wrong listenInfos (empty array)",
    );
    let mut range = udp(0);
    (range.port_range.min, range.port_range.max) = (4000, 4001);
    let ranges = vec![range.clone(), range.clone()];
    two.call(method, "", create_server("s", ranges));
    assert_refused(
        one.request(method, "", create_server("other", vec![range.clone()])),
        ErrorKind::Error,
        "no more available ports [protocol:udp, ip:'127.0.0.1', numAttempt:2]",
    );
    range.port_range.max = 3999;
    assert_refused(
        one.request(method, "", create_server("other", vec![range])),
        ErrorKind::TypeError,
        "maxPort cannot be less than minPort",
    );
}

#[test]
fn plain_transports_connect_once() {
    let mut bench = with_router();
    let method = Method::PlaintransportConnect;
    bench.call(Method::RouterCreatePlaintransport, "r", create_plain("t", plain_options()));
    let connect = |body| Body::PlainTransportConnectRequest(Box::new(body));
    let mut rtcp = connect_plain("1.2.3.4", 10);
    rtcp.rtcp_port = Some(11);
    assert_refused(
        bench.request(method, "t", connect(rtcp)),
        ErrorKind::TypeError,
        "cannot set rtcpPort with rtcpMux enabled",
    );
    assert_refused(
        bench.request(method, "t", connect(connect_plain("chicken", 10))),
        ErrorKind::TypeError,
        "invalid IP 'chicken'",
    );
    let answer = bench.call(method, "t", connect(connect_plain("1.2.3.4", 10)));
    let Some(response::Body::PlainTransportConnectResponse(answer)) = answer else {
        panic!("tuples")
    };
    let tuple = answer.tuple.expect("a tuple");
    assert_eq!((tuple.remote_ip.as_deref(), tuple.remote_port), (Some("1.2.3.4"), 10));
    assert_eq!(tuple.local_port, 10_000);
    assert_refused(
        bench.request(method, "t", connect(connect_plain("1.2.3.4", 10))),
        ErrorKind::Error,
        "connect() already called",
    );
}

#[test]
fn srtp_needs_keys_of_both_sides() {
    let mut bench = with_router();
    let method = Method::PipetransportConnect;
    let connect = |body| Body::PipeTransportConnectRequest(Box::new(body));
    let mut keys = Vec::new();
    for id in ["a", "b"] {
        let dump = bench.call(Method::RouterCreatePipetransport, "r", create_pipe(id, true));
        let Some(response::Body::PipeTransportDumpResponse(dump)) = dump else { panic!("a dump") };
        keys.push(dump.srtp_parameters.expect("a key"));
    }
    assert_eq!(keys[0].crypto_suite, SrtpCryptoSuite::AeadAes256Gcm);
    assert_ne!(keys[0].key_base64, keys[1].key_base64);
    assert_refused(
        bench.request(method, "a", connect(connect_pipe("127.0.0.1", 9))),
        ErrorKind::TypeError,
        "missing srtpParameters (SRTP enabled)",
    );
    let mut body = connect_pipe("127.0.0.1", 9);
    body.srtp_parameters = Some(keys[1].clone());
    bench.call(method, "a", connect(body.clone()));
    bench.call(Method::RouterCreatePipetransport, "r", create_pipe("c", false));
    assert_refused(
        bench.request(method, "c", connect(body)),
        ErrorKind::TypeError,
        "invalid srtpParameters (SRTP not enabled)",
    );
}

#[test]
fn web_rtc_transports_take_the_other_dtls_role() {
    for (remote, local) in [
        (DtlsRole::Client, DtlsRole::Server),
        (DtlsRole::Server, DtlsRole::Client),
        (DtlsRole::Auto, DtlsRole::Client),
    ] {
        let mut bench = with_router();
        bench.call(Method::RouterCreateWebrtctransport, "r", create_web_rtc("t", vec![udp(0)]));
        let method = Method::WebrtctransportConnect;
        assert_refused(
            bench.request(method, "t", connect_web_rtc(remote, 0)),
            ErrorKind::TypeError,
            "empty dtlsParameters.fingerprints array",
        );
        let Some(response::Body::WebRtcTransportConnectResponse(answer)) =
            bench.call(method, "t", connect_web_rtc(remote, 1))
        else {
            panic!("a role")
        };
        assert_eq!(answer.dtls_local_role, local);
        assert_refused(
            bench.request(method, "t", connect_web_rtc(remote, 1)),
            ErrorKind::Error,
            "connect() already called",
        );
    }
}

#[test]
fn equal_seeds_give_equal_answers() {
    let dump = || {
        let mut bench = with_router();
        bench.call(Method::RouterCreateWebrtctransport, "r", create_web_rtc("t", vec![udp(0)]))
    };
    assert_eq!(dump(), dump());
}

#[test]
fn refusals_are_logged_as_the_level_asks() {
    for (log_level, messages) in [(LogLevel::Error, 2), (LogLevel::None, 1)] {
        let settings = Settings { log_level, ..Settings::default() };
        let mut worker = MockWorker::new(MockOptions { settings, ..MockOptions::default() });
        let request = mediasoup_horizontal::channel::compose::request;
        let wrong = request(1, Method::RouterDump, "nobody", None);
        assert_eq!(worker.handle(&wrong).len(), messages);
    }
}

#[test]
fn what_would_crash_a_worker_is_a_violation() {
    let mut bench = with_router();
    bench.request(Method::WorkerCreateRouter, "", None).refused();
    bench
        .request(Method::RouterCreateWebrtctransport, "r", create_web_rtc_with_server("t", "s"))
        .refused();
    assert_eq!(
        bench.worker.violations(),
        [
            "worker.createRouter needs another body",
            "router.createWebRtcTransport needs another body"
        ]
    );
}

#[test]
fn a_closed_worker_says_nothing() {
    let mut bench = with_router();
    bench.call(Method::RouterCreatePlaintransport, "r", create_plain("t", plain_options()));
    let close = mediasoup_horizontal::channel::compose::notification("", Event::WorkerClose, None);
    assert!(bench.worker.handle(&close).is_empty());
    assert!(bench.worker.is_closed());
    assert_eq!((bench.worker.objects().total(), bench.host.sockets()), (0, 0));
    let dump = mediasoup_horizontal::channel::compose::request(9, Method::WorkerDump, "", None);
    assert!(bench.worker.handle(&dump).is_empty());
}
