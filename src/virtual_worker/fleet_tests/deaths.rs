//! Workers that go.

use super::{
    bodies::{self, Media},
    fleet::{Fleet, HOME, Hosts},
    objects::router,
};
use crate::{
    channel::{
        fbs::response,
        method::{Event, Method},
    },
    virtual_worker::{Fate, ObjectKind, OnPartLost, PartId},
};

/// w0 on part 1 produces, w1 on part 2 and w2 at home consume.
pub fn room() -> Fleet {
    let mut fleet = Fleet::new(3, Hosts::Several);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    for index in 0..3 {
        let body = bodies::create_web_rtc(&format!("w{index}"), vec![bodies::udp(0)]);
        fleet.ok(Method::RouterCreateWebrtctransport, "r", body);
    }
    fleet.ok(Method::TransportProduce, "w0", bodies::produce("p", Media::Vp8, 1000));
    for (transport, id) in [("w1", "c1"), ("w2", "c2")] {
        let body = bodies::consume(id, "p", Media::Vp8, 1000);
        fleet.ok(Method::TransportConsume, transport, body);
    }
    fleet
}

#[test]
fn a_lost_part_costs_what_lived_there() {
    let mut fleet = room();
    fleet.heard();
    let dump = fleet.ask(Method::ProducerDump, "p", None);
    assert_eq!(fleet.kill(PartId(1)), Fate::LivesOn);
    assert!(fleet.answer(dump).expect("an answer").is_err());
    let mut heard = fleet.heard();
    heard.sort_by(|one, other| one.0.cmp(&other.0));
    let told = |id: &str, event| (id.to_owned(), event);
    assert_eq!(
        heard,
        [
            told("c1", Event::ConsumerProducerClose),
            told("c2", Event::ConsumerProducerClose),
            told("w0", Event::WebrtctransportIceStateChange),
            told("w0", Event::WebrtctransportDtlsStateChange),
            told("w0", Event::TransportSctpStateChange),
        ]
    );
    assert!(fleet.call(Method::TransportDump, "w0", None).is_err());
    fleet.ok(Method::TransportProduce, "w1", bodies::produce("q", Media::Vp8, 2000));
    fleet.ok(Method::TransportConsume, "w2", bodies::consume("c3", "q", Media::Vp8, 2000));
    fleet.ok(Method::RouterDump, "r", None);
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
    assert!(fleet.worker.pipes.is_empty() && fleet.worker.requests_under_way() == 0);
}

#[test]
fn a_consumer_s_part_may_go_too() {
    let mut fleet = room();
    fleet.heard();
    let pause = fleet.ask(Method::ProducerPause, "p", None);
    assert_eq!(fleet.kill(PartId(2)), Fate::LivesOn);
    assert!(fleet.answer(pause).expect("an answer").is_ok(), "the others answered");
    assert_eq!(fleet.sent_to(PartId(1), Method::TransportCloseConsumer).len(), 1);
    assert!(fleet.heard().iter().any(|(id, _)| id == "c2"));
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
}

#[test]
fn a_home_moves_while_others_live() {
    let mut fleet = room();
    assert_eq!(fleet.kill(HOME), Fate::LivesOn);
    let body = bodies::create_web_rtc("w3", vec![bodies::udp(0)]);
    fleet.ok(Method::RouterCreateWebrtctransport, "r", body);
    fleet.ok(Method::RouterDump, "r", None);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r2"));
    fleet.ok(Method::WorkerDump, "", None);
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r2"));
    assert_eq!(fleet.left(), 0);
}

#[test]
fn what_is_lost_is_told() {
    let mut fleet = room();
    fleet.kill(PartId(1));
    let lost = |kind, id: &str| (kind, id.to_owned());
    assert_eq!(fleet.lost, [lost(ObjectKind::Producer, "p"), lost(ObjectKind::Transport, "w0")]);
}

#[test]
fn a_pipe_transport_tells_its_end_by_sctp() {
    let mut fleet = room();
    fleet.ok(Method::RouterCreatePipetransport, "r", bodies::create_pipe("w3", false));
    fleet.heard();
    assert_eq!(fleet.kill(PartId(1)), Fate::LivesOn);
    let heard = fleet.heard();
    assert!(heard.contains(&("w3".to_owned(), Event::TransportSctpStateChange)), "{heard:?}");
}

#[test]
fn an_observer_moves_with_its_state_and_stays_fed() {
    let mut fleet = Fleet::new(3, Hosts::Several);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    for index in 0..2 {
        let body = bodies::create_web_rtc(&format!("w{index}"), vec![bodies::udp(0)]);
        fleet.ok(Method::RouterCreateWebrtctransport, "r", body);
        let produce = bodies::produce(&format!("p{index}"), Media::Opus, 1000 * (index + 1));
        fleet.ok(Method::TransportProduce, &format!("w{index}"), produce);
    }
    fleet.ok(Method::RouterCreateAudiolevelobserver, "r", bodies::create_audio_level("o", -50));
    for producer in ["p0", "p1"] {
        fleet.ok(Method::RtpobserverAddProducer, "o", bodies::add_producer(producer));
    }
    fleet.ok(Method::RtpobserverPause, "o", None);
    // The home goes, and with it the observer: part 1 becomes home, which has p0 itself. No pair
    // of parts 1 and 2 may be there yet, since none was needed.
    let pending = fleet.ask(Method::RtpobserverRemoveProducer, "o", bodies::remove_producer("p1"));
    let again = fleet.ask(Method::RtpobserverAddProducer, "o", bodies::add_producer("p1"));
    assert_eq!(fleet.kill(HOME), Fate::LivesOn);
    for id in [pending, again] {
        assert_eq!(fleet.answer(id), Some(Ok(None)), "asked again where the observer is now");
    }
    assert_eq!(fleet.sent_to(PartId(1), Method::RtpobserverPause).len(), 1);
    let dump = fleet.ok(Method::RouterDump, "r", None);
    let Some(response::Body::RouterDumpResponse(dump)) = dump else { panic!("a dump") };
    for list in dump.map_producer_id_observer_ids {
        assert_eq!(list.values, ["o"], "{} is observed", list.key);
    }
    assert_eq!(fleet.diagnostics.len(), 1, "{:?}", fleet.diagnostics);
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
}

#[test]
fn an_observer_is_fed_over_a_pipe_that_starts_later() {
    let mut fleet = Fleet::new(3, Hosts::Several);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    for index in 0..2 {
        let body = bodies::create_web_rtc(&format!("w{index}"), vec![bodies::udp(0)]);
        fleet.ok(Method::RouterCreateWebrtctransport, "r", body);
    }
    fleet.ok(Method::TransportProduce, "w1", bodies::produce("p", Media::Opus, 1000));
    fleet.ok(Method::RouterCreateActivespeakerobserver, "r", bodies::create_active_speaker("o"));
    fleet.ok(Method::RtpobserverAddProducer, "o", bodies::add_producer("p"));
    // The pair of the two that are left is to be made anew.
    let lost = fleet
        .worker
        .pipes
        .pairs_where(|pair| pair.sender(PartId(1)).is_some() && pair.sender(PartId(2)).is_some());
    let mut out = Vec::new();
    for pair in lost {
        fleet.worker.drop_pair(pair, "a test", &mut out);
    }
    fleet.take(out);
    fleet.settle();
    assert_eq!(fleet.kill(HOME), Fate::LivesOn);
    let added = fleet.sent_to(PartId(1), Method::RtpobserverAddProducer);
    assert_eq!(added.len(), 1, "once the pipe was there");
    assert_eq!(fleet.diagnostics.len(), 1, "{:?}", fleet.diagnostics);
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
}

#[test]
fn what_is_in_flight_to_a_lost_part_is_made_elsewhere_where_it_can_be() {
    let mut fleet = room();
    for part in 0..3 {
        fleet.held.insert(PartId(part));
    }
    // The next transport goes to part 1, which has w0 already.
    let create = bodies::create_web_rtc("w3", vec![bodies::udp(0)]);
    let create = fleet.ask(Method::RouterCreateWebrtctransport, "r", create);
    let produce = fleet.ask(Method::TransportProduce, "w0", bodies::produce("q", Media::Vp8, 5000));
    let close = fleet.ask(Method::TransportCloseProducer, "w0", bodies::close_producer("p"));
    assert_eq!(fleet.sent_to(PartId(1), Method::RouterCreateWebrtctransport).len(), 2);
    fleet.held.clear();
    fleet.kill(PartId(1));
    assert!(fleet.answer(create).expect("an answer").is_ok());
    let (class, reason) = fleet.answer(produce).expect("an answer").expect_err("w0 is gone");
    assert_eq!(class, "Error");
    assert!(reason.starts_with("transport.produce of Transport w0 on ws://10.0.0.3: "), "{reason}");
    assert!(reason.ends_with("is gone: killed"), "{reason}");
    assert_eq!(fleet.answer(close), Some(Ok(None)), "it is gone, as asked");
    fleet.ok(Method::TransportDump, "w3", None);
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
}

#[test]
fn a_router_that_lived_there_alone_is_empty_and_goes_on() {
    let mut fleet = room();
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r2"));
    let server = bodies::create_server("s", vec![bodies::udp(0)]);
    fleet.ok(Method::WorkerCreateWebrtcserver, "", server);
    assert_eq!(fleet.kill(HOME), Fate::LivesOn, "r has further parts");
    let dump = fleet.ok(Method::RouterDump, "r2", None);
    let Some(response::Body::RouterDumpResponse(dump)) = dump else { panic!("a dump") };
    assert_eq!((dump.id.as_str(), dump.transport_ids.len()), ("r2", 0));
    let create = bodies::create_web_rtc_with_server("w4", "s");
    fleet.ok(Method::RouterCreateWebrtctransportWithServer, "r2", create);
    for router in ["r", "r2"] {
        fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router(router));
    }
    fleet.ok(Method::WorkerWebrtcserverClose, "", bodies::close_server("s"));
    assert_eq!(fleet.left(), 0);
}

#[test]
fn the_app_chooses_what_a_lost_part_means() {
    // Direct transports on all three.
    let lose = |on_part_lost, part| {
        let mut fleet = Fleet::losing(3, Hosts::One, on_part_lost);
        fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
        for index in 0..3 {
            let body = bodies::create_direct(&format!("t{index}"));
            fleet.ok(Method::RouterCreateDirecttransport, "r", body);
        }
        fleet.kill(part)
    };
    assert_eq!(lose(OnPartLost::Careful, PartId(1)), Fate::Dies);
    assert_eq!(lose(OnPartLost::Continue, PartId(1)), Fate::LivesOn);
    assert_eq!(lose(OnPartLost::Continue, HOME), Fate::LivesOn);
    assert_eq!(lose(OnPartLost::Died, PartId(2)), Fate::Dies);
    let mut fleet = room();
    assert_eq!(fleet.kill(PartId(1)), Fate::LivesOn, "all that was there could tell its end");
    let mut fleet = Fleet::losing(3, Hosts::One, OnPartLost::Continue);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    assert_eq!(fleet.kill(HOME), Fate::Dies, "every Router lived there");
}

#[test]
fn recordings_do_not_die_silently() {
    let mut fleet = router(3, Hosts::One, 3);
    assert_eq!(fleet.kill(PartId(1)), Fate::Dies);
    let mut fleet = Fleet::new(3, Hosts::One);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    assert_eq!(fleet.kill(HOME), Fate::Dies);
}
