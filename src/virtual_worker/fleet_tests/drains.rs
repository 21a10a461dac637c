//! Parts whose hosts mean to leave: nothing new goes there, and they go once they are empty.

use std::time::Duration;

use super::{
    bodies::{self, Media},
    fleet::{Fleet, HOME, Hosts},
    thrift::{self, P1, P2, P3, consume},
};
use crate::{
    channel::method::Method,
    virtual_worker::{Fate, PartId, PartLoad, Spread},
};

impl Fleet {
    /// What is heard of a part's host.
    fn drain(&mut self, part: PartId, drains: bool) {
        let load = PartLoad {
            part,
            cpu: Some(700),
            age: Duration::ZERO,
            near: false,
            avoid: false,
            drains,
        };
        self.worker.part_loads(&[load]);
    }

    fn place(&mut self, transport: &str) -> PartId {
        let body = bodies::create_web_rtc(transport, vec![bodies::udp(0)]);
        self.ok(Method::RouterCreateWebrtctransport, "r", body);
        self.worker.objects().get(transport).expect("it is there").part
    }
}

fn scattered() -> Fleet {
    thrift::room(3, Hosts::Several, 8, Media::Vp8)
}

#[test]
fn a_scattered_part_gets_nothing_new_and_goes_with_its_last_transport() {
    let mut fleet = scattered();
    consume(&mut fleet, "w1", "c1", Media::Vp8);
    fleet.drain(P2, true);
    for index in 0..6 {
        assert_ne!(fleet.place(&format!("new{index}")), P2);
    }
    fleet.wait(Duration::from_secs(60));
    assert!(fleet.closed.is_empty(), "w1 is there");
    fleet.ok(Method::RouterCloseTransport, "r", bodies::close_transport("w1"));
    fleet.wait(thrift::MOMENT + Duration::from_secs(4));
    assert_eq!(fleet.closed, [P2]);
    assert_eq!(fleet.worker.next_tick(), None, "nothing else is due");
    fleet.ok(Method::RouterDump, "r", None);
    let parts: Vec<PartId> = (0..4).map(|index| fleet.place(&format!("later{index}"))).collect();
    assert!(parts.contains(&P3), "another one takes its turn: {parts:?}");
    thrift::end(fleet);
}

#[test]
fn an_empty_part_goes_at_once() {
    let mut fleet = scattered();
    fleet.ok(Method::RouterCloseTransport, "r", bodies::close_transport("w1"));
    fleet.wait(Duration::from_secs(60));
    assert!(fleet.closed.is_empty(), "scattered parts stay");
    fleet.drain(P2, true);
    fleet.wait(thrift::MOMENT);
    assert_eq!(fleet.closed, [P2]);
    // One that lingers, too.
    let mut fleet = Fleet::spread(Spread::pack(3), Hosts::Several);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    fleet.drain(HOME, false);
    assert_eq!(fleet.place("w"), P1);
    fleet.ok(Method::RouterCloseTransport, "r", bodies::close_transport("w"));
    fleet.wait(Duration::from_secs(10));
    assert!(fleet.closed.is_empty());
    fleet.drain(P1, true);
    fleet.wait(thrift::MOMENT);
    assert_eq!(fleet.closed, [P1]);
}

#[test]
fn the_home_stays_with_its_worker() {
    let mut fleet = scattered();
    fleet.drain(HOME, true);
    fleet.ok(Method::RouterCloseTransport, "r", bodies::close_transport("w2"));
    fleet.wait(Duration::from_secs(60));
    assert!(fleet.closed.is_empty());
    for index in 0..6 {
        assert_ne!(fleet.place(&format!("new{index}")), HOME);
    }
    fleet.ok(Method::RouterCreateDirecttransport, "r", bodies::create_direct("d"));
    assert_ne!(fleet.worker.objects().get("d").expect("it is there").part, HOME);
    for part in [P1, P2] {
        fleet.drain(part, true);
    }
    assert_eq!(fleet.place("last"), HOME, "where all leave, nobody is better");
    thrift::end(fleet);
}

#[test]
fn the_next_home_is_one_that_stays() {
    let mut fleet = scattered();
    fleet.drain(P1, true);
    assert_eq!(fleet.kill(HOME), Fate::LivesOn);
    fleet.ok(Method::RouterCloseTransport, "r", bodies::close_transport("w0"));
    fleet.wait(Duration::from_secs(4));
    assert_eq!(fleet.closed, [P1], "part 2 is the home now");
    thrift::end(fleet);
}

#[test]
fn a_drain_that_is_taken_back_is_forgotten() {
    let mut fleet = scattered();
    fleet.drain(P2, true);
    assert_ne!(fleet.place("a"), P2);
    fleet.drain(P2, false);
    let parts: Vec<PartId> = (0..3).map(|index| fleet.place(&format!("b{index}"))).collect();
    assert!(parts.contains(&P2), "{parts:?}");
    fleet.ok(Method::RouterCloseTransport, "r", bodies::close_transport("w1"));
    fleet.wait(Duration::from_secs(60));
    assert!(fleet.closed.is_empty());
    thrift::end(fleet);
}

#[test]
fn it_is_tried_again_once_there_may_be_room() {
    let mut fleet = Fleet::new(3, Hosts::Several);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    assert_eq!(fleet.place("w0"), P1);
    fleet.drain(P1, true);
    assert_eq!(fleet.place("w1"), HOME, "its turn");
    fleet.slow = true;
    let body = bodies::create_web_rtc("w2", vec![bodies::udp(0)]);
    fleet.ask(Method::RouterCreateWebrtctransport, "r", body);
    assert_eq!(fleet.opening, [P2]);
    fleet.fail(P2);
    fleet.settle();
    fleet.slow = false;
    let tried = |fleet: &mut Fleet, name: &str| {
        let places: Vec<_> = (0..3).map(|index| fleet.place(&format!("{name}{index}"))).collect();
        places.contains(&P3)
    };
    assert!(!tried(&mut fleet, "before"));
    fleet.drain(P1, false);
    assert!(tried(&mut fleet, "after"));
}

#[test]
fn a_relay_that_leaves_feeds_nobody_new() {
    let mut fleet = thrift::room(5, Hosts::Two(2), 8, Media::Vp8);
    consume(&mut fleet, "w1", "c1", Media::Vp8);
    fleet.drain(P2, true);
    consume(&mut fleet, "w2", "c2", Media::Vp8);
    assert_eq!(thrift::sources(&fleet, P1).len(), 2, "part 3 gets its own copy");
    assert!(thrift::sources(&fleet, P2).is_empty());
    fleet.drain(P2, false);
    consume(&mut fleet, "w3", "c3", Media::Vp8);
    assert_eq!(thrift::sources(&fleet, P1).len(), 2, "part 4 from part 2 or 3");
    thrift::end(fleet);
}
