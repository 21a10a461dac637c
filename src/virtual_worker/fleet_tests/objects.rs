//! Objects on several parts: where they are, dumps, closes, ids.

use super::{
    bodies,
    fleet::{Fleet, HOME, Hosts, PID},
};
use crate::{
    channel::{
        fbs::{request, response, worker},
        method::Method,
    },
    virtual_worker::PartId,
};

/// A Router with that many `DirectTransports`, each on the next part.
pub fn router(parts: usize, hosts: Hosts, transports: usize) -> Fleet {
    let mut fleet = Fleet::new(parts, hosts);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    for index in 0..transports {
        let body = bodies::create_direct(&format!("t{index}"));
        fleet.ok(Method::RouterCreateDirecttransport, "r", body);
    }
    fleet
}

#[test]
fn transports_take_turns() {
    let mut fleet = router(3, Hosts::One, 6);
    let on = |fleet: &Fleet, part: u32| {
        fleet.sent_to(PartId(part), Method::RouterCreateDirecttransport).len()
    };
    assert_eq!((on(&fleet, 0), on(&fleet, 1), on(&fleet, 2)), (2, 2, 2));
    let Some(response::Body::RouterDumpResponse(dump)) = fleet.ok(Method::RouterDump, "r", None)
    else {
        panic!("a dump")
    };
    let mut ids = dump.transport_ids.clone();
    ids.sort();
    assert_eq!(ids, ["t0", "t1", "t2", "t3", "t4", "t5"], "and nothing of the core's own");
    let Some(response::Body::WorkerDumpResponse(dump)) = fleet.ok(Method::WorkerDump, "", None)
    else {
        panic!("a dump")
    };
    assert_eq!((dump.pid, dump.router_ids.as_slice()), (PID, ["r".to_owned()].as_slice()));
    let mut handlers = dump.channel_message_handlers.channel_request_handlers.clone();
    handlers.sort();
    assert_eq!(handlers, ["r", "t0", "t1", "t2", "t3", "t4", "t5"]);
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
    assert!(fleet.worker.objects().is_empty() && fleet.worker.pipes.is_empty());
}

#[test]
fn ids_are_unique_across_parts() {
    let mut fleet = router(3, Hosts::One, 3);
    let refused = fleet.call(Method::RouterCreateDirecttransport, "r", bodies::create_direct("t0"));
    let words = "a Transport with same id already exists [method:router.createDirectTransport]";
    assert_eq!(refused, Err(("Error".to_owned(), words.to_owned())));
    let refused = fleet.call(Method::WorkerCreateRouter, "", bodies::create_router("t1"));
    let words = "Channel request handler with ID t1 already exists";
    assert_eq!(refused, Err(("Error".to_owned(), words.to_owned())));
    let refused = fleet.call(Method::TransportDump, "nobody", None);
    let words = "Channel request handler with ID nobody not found [method:transport.dump]";
    assert_eq!(refused, Err(("NotFoundError".to_owned(), words.to_owned())));
    let refused = fleet.call(Method::RouterCloseTransport, "r", bodies::close_transport("x"));
    let words = "Transport not found [method:router.closeTransport]";
    assert_eq!(refused, Err(("NotFoundError".to_owned(), words.to_owned())));
}

#[test]
fn what_an_object_does_not_know_is_refused_by_its_worker() {
    let mut fleet = router(3, Hosts::One, 3);
    for (method, body) in [
        (Method::RtpobserverAddProducer, Some(bodies::add_producer("p"))),
        (Method::RtpobserverRemoveProducer, Some(bodies::remove_producer("p"))),
        (Method::ProducerPause, None),
        (Method::RouterDump, None),
    ] {
        let (class, reason) = fleet.call(method, "t1", body).expect_err("a transport knows none");
        let name = crate::channel::method::name(method);
        assert_eq!((class.as_str(), reason), ("Error", format!("unknown method '{name}'")));
    }
}

#[test]
fn settings_and_usage_are_of_all() {
    let mut fleet = router(3, Hosts::One, 2);
    let usage = fleet.ok(Method::WorkerGetResourceUsage, "", None);
    let Some(response::Body::WorkerResourceUsageResponse(usage)) = usage else { panic!("usage") };
    assert_eq!(usage.ru_maxrss, 3 * 32_768);
    let wrong = |level: &str| {
        request::Body::WorkerUpdateSettingsRequest(Box::new(worker::UpdateSettingsRequest {
            log_level: Some(level.to_owned()),
            log_tags: None,
        }))
    };
    assert!(fleet.call(Method::WorkerUpdateSettings, "", wrong("chicken")).is_err());
    let mut fleet = router(3, Hosts::One, 1);
    fleet.ok(Method::WorkerUpdateSettings, "", wrong("none"));
    fleet.ok(Method::RouterCreateDirecttransport, "r", bodies::create_direct("late"));
    let sent = fleet.sent_to(PartId(2), Method::WorkerUpdateSettings);
    assert_eq!(sent.len(), 1, "further parts start with them");
}

#[test]
fn what_needs_a_part_waits_for_it() {
    let mut fleet = Fleet::new(2, Hosts::One);
    fleet.slow = true;
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    let create = fleet.ask(Method::RouterCreateDirecttransport, "r", bodies::create_direct("t"));
    let dump = fleet.ask(Method::TransportDump, "t", None);
    fleet.settle();
    assert_eq!((fleet.answer(create), fleet.answer(dump)), (None, None));
    fleet.open(PartId(1));
    fleet.settle();
    assert!(fleet.answer(create).expect("an answer").is_ok());
    assert!(fleet.answer(dump).expect("an answer").is_ok());
}

#[test]
fn a_part_that_does_not_come_is_done_without() {
    let mut fleet = Fleet::new(2, Hosts::One);
    fleet.slow = true;
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    let create = fleet.ask(Method::RouterCreateDirecttransport, "r", bodies::create_direct("t"));
    fleet.fail(PartId(1));
    fleet.settle();
    assert!(fleet.answer(create).expect("an answer").is_ok());
    assert_eq!(fleet.sent_to(HOME, Method::RouterCreateDirecttransport).len(), 1);
    fleet.ok(Method::RouterCreateDirecttransport, "r", bodies::create_direct("u"));
    assert_eq!(fleet.opening, [], "no second try");
}

#[test]
fn a_close_overtakes_what_waits() {
    let mut fleet = Fleet::new(2, Hosts::One);
    fleet.slow = true;
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    let create = fleet.ask(Method::RouterCreateDirecttransport, "r", bodies::create_direct("t"));
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    fleet.open(PartId(1));
    fleet.settle();
    let (class, _) = fleet.answer(create).expect("an answer").expect_err("its Router is gone");
    assert_eq!(class, "NotFoundError");
    assert_eq!(fleet.left(), 0);
}

#[test]
fn servers_follow_their_transports() {
    let mut fleet = Fleet::new(3, Hosts::One);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    let free = bodies::create_server("s", vec![bodies::udp(0)]);
    fleet.ok(Method::WorkerCreateWebrtcserver, "", free);
    let fixed = bodies::create_server("f", vec![bodies::udp(44_444)]);
    fleet.ok(Method::WorkerCreateWebrtcserver, "", fixed);
    let method = Method::RouterCreateWebrtctransportWithServer;
    for id in ["a", "b", "c"] {
        fleet.ok(method, "r", bodies::create_web_rtc_with_server(id, "s"));
    }
    for id in ["d", "e", "g"] {
        fleet.ok(method, "r", bodies::create_web_rtc_with_server(id, "f"));
    }
    assert_eq!(fleet.sent_to(HOME, method).len(), 4, "fixed ports are of one process");
    assert_eq!(fleet.diagnostics.len(), 1, "said once: {:?}", fleet.diagnostics);
    let dump = fleet.ok(Method::WebrtcserverDump, "s", None);
    let Some(response::Body::WebRtcServerDumpResponse(dump)) = dump else { panic!("a dump") };
    let mut ids = dump.web_rtc_transport_ids.clone();
    ids.sort();
    assert_eq!(
        (ids.as_slice(), dump.udp_sockets.len()),
        (["a", "b", "c"].map(str::to_owned).as_slice(), 1)
    );
    fleet.ok(Method::WorkerWebrtcserverClose, "", bodies::close_server("s"));
    fleet.ok(Method::WorkerWebrtcserverClose, "", bodies::close_server("f"));
    assert!(fleet.call(Method::TransportDump, "a", None).is_err());
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
}
