//! Workers that go.

use super::{
    bodies::{self, Media},
    fleet::{Fleet, HOME, Hosts},
    objects::router,
};
use crate::{
    channel::method::{Event, Method},
    virtual_worker::{Fate, PartId},
};

/// w0 on part 1 produces, w1 on part 2 and w2 at home consume.
fn room() -> Fleet {
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
fn recordings_do_not_die_silently() {
    let mut fleet = router(3, Hosts::One, 3);
    assert_eq!(fleet.kill(PartId(1)), Fate::Dies);
    let mut fleet = Fleet::new(3, Hosts::One);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    assert_eq!(fleet.kill(HOME), Fate::Dies);
}
