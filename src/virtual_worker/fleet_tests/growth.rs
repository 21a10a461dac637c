//! Virtual workers that grow with the load of their workers, and shrink.

use std::time::Duration;

use super::{
    bodies::{self, Media},
    fleet::{Fleet, HOME, Hosts},
};
use crate::{
    channel::method::Method,
    placement::{Policy, TRANSPORT_COST},
    virtual_worker::{Fate, PartId, PartLoad, Spread},
};

const ONE: PartId = PartId(1);
const TWO: PartId = PartId(2);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A Router `r` of a Worker that may have so many parts.
fn room(max_parts: usize, hosts: Hosts) -> Fleet {
    let mut fleet = Fleet::spread(Spread::pack(max_parts), hosts);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    fleet
}

impl Fleet {
    fn measure(&mut self, loads: &[(PartId, u32)]) {
        let load = |(part, cpu): &(PartId, u32)| PartLoad {
            part: *part,
            cpu: Some(*cpu),
            age: Duration::ZERO,
            near: false,
            avoid: false,
            drains: false,
        };
        self.worker.part_loads(&loads.iter().map(load).collect::<Vec<_>>());
    }

    fn transport(&mut self, id: &str) -> PartId {
        let body = bodies::create_web_rtc(id, vec![bodies::udp(0)]);
        self.ok(Method::RouterCreateWebrtctransport, "r", body);
        self.part_of(id)
    }

    fn part_of(&self, id: &str) -> PartId {
        self.worker.objects().get(id).expect("it is there").part
    }

    fn close_transport(&mut self, id: &str) {
        self.ok(Method::RouterCloseTransport, "r", bodies::close_transport(id));
    }
}

#[test]
fn below_the_watermark_everything_stays_home() {
    let mut fleet = room(8, Hosts::One);
    for second in 0..20 {
        fleet.tick(at(second));
        fleet.measure(&[(HOME, 579)]);
        assert_eq!(fleet.transport(&format!("w{second}")), HOME);
        fleet.tick(at(second) + Duration::from_millis(900));
    }
    assert_eq!(fleet.mocks.len(), 1);
}

#[test]
fn above_it_transports_fill_further_parts() {
    let mut fleet = room(3, Hosts::One);
    fleet.tick(at(1));
    fleet.measure(&[(HOME, 700)]);
    assert_eq!(fleet.transport("w0"), ONE);
    fleet.tick(at(2));
    fleet.measure(&[(HOME, 700), (ONE, 585)]);
    assert_eq!(fleet.transport("w1"), ONE, "the cost of w0 is in the load by now");
    assert_eq!(fleet.transport("w2"), TWO, "w1 took the rest");
    fleet.tick(at(10));
    fleet.measure(&[(HOME, 700), (ONE, 900), (TWO, 800)]);
    assert_eq!(fleet.transport("w3"), HOME, "no further parts: the least loaded one");
    fleet.measure(&[(HOME, 500), (ONE, 100), (TWO, 100)]);
    assert_eq!(fleet.transport("w4"), HOME, "it has room again");
}

#[test]
fn what_is_elsewhere_is_heard_here() {
    let mut fleet = room(3, Hosts::Several);
    assert_eq!(fleet.transport("w0"), HOME);
    fleet.ok(Method::TransportProduce, "w0", bodies::produce("p", Media::Vp8, 1000));
    fleet.tick(at(1));
    fleet.measure(&[(HOME, 999)]);
    assert_eq!(fleet.transport("w1"), ONE);
    fleet.ok(Method::TransportConsume, "w1", bodies::consume("c", "p", Media::Vp8, 1000));
    assert_eq!(fleet.sent_to(ONE, Method::TransportProduce).len(), 1, "it is piped");
    fleet.ok(Method::RouterDump, "r", None);
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
}

#[test]
fn direct_transports_and_observers_stay_home() {
    let mut fleet = room(3, Hosts::One);
    fleet.measure(&[(HOME, 999)]);
    fleet.ok(Method::RouterCreateDirecttransport, "r", bodies::create_direct("d"));
    let body = bodies::create_active_speaker("o");
    fleet.ok(Method::RouterCreateActivespeakerobserver, "r", body);
    assert_eq!((fleet.part_of("d"), fleet.part_of("o")), (HOME, HOME));
    fleet.ok(
        Method::RouterCreatePlaintransport,
        "r",
        bodies::create_plain("p", bodies::plain_options()),
    );
    assert_eq!(fleet.part_of("p"), ONE);
}

#[test]
fn a_burst_does_not_pile_up() {
    let mut fleet = room(8, Hosts::One);
    fleet.slow = true;
    fleet.measure(&[(HOME, 300)]);
    let count = 3 * 600 / TRANSPORT_COST;
    for index in 0..count {
        let body = bodies::create_web_rtc(&format!("w{index}"), vec![bodies::udp(0)]);
        fleet.ask(Method::RouterCreateWebrtctransport, "r", body);
    }
    let on = |fleet: &Fleet, part| {
        let ids = (0..count).map(|index| format!("w{index}"));
        ids.filter(|id| fleet.part_of(id) == part).count()
    };
    let each = [HOME, ONE, TWO, PartId(3)].map(|part| on(&fleet, part));
    assert_eq!(each, [15, 30, 30, 15], "no measured load tells of any of them yet");
    assert_eq!(fleet.opening, [ONE, TWO, PartId(3)]);
    for part in [ONE, TWO, PartId(3)] {
        fleet.open(part);
    }
    fleet.settle();
    let pairs = 3;
    let each: Vec<_> = fleet.mocks.values().map(|mock| mock.objects().transports).collect();
    assert_eq!(each, [15 + pairs, 30 + pairs, 30 + pairs, 15 + pairs]);
}

#[test]
fn a_stale_or_leaving_part_is_left_out() {
    let mut fleet = room(3, Hosts::One);
    fleet.tick(at(10));
    fleet.measure(&[(HOME, 700)]);
    assert_eq!(fleet.transport("w0"), ONE);
    fleet.measure(&[(ONE, 100)]);
    fleet.tick(at(15));
    fleet.measure(&[(HOME, 700)]);
    assert_eq!(fleet.transport("w1"), ONE, "five seconds are not too old");
    fleet.tick(at(16));
    fleet.measure(&[(HOME, 700)]);
    assert_eq!(fleet.transport("w2"), TWO, "six are");
    let leaving = PartLoad {
        part: TWO,
        cpu: Some(0),
        age: Duration::ZERO,
        near: false,
        avoid: true,
        drains: false,
    };
    fleet.worker.part_loads(&[leaving]);
    assert_eq!(fleet.transport("w3"), HOME, "nobody else is left");
    let old = PartLoad { part: ONE, cpu: Some(5), age: at(6), ..leaving };
    fleet.worker.part_loads(&[PartLoad { avoid: false, ..old }]);
    assert_eq!(fleet.transport("w4"), HOME, "it was old when it came");
    fleet.worker.part_loads(&[PartLoad { avoid: false, age: at(1), ..old }]);
    assert_eq!(fleet.transport("w5"), ONE, "it is well again");
}

#[test]
fn a_silent_home_is_avoided() {
    let mut fleet = room(3, Hosts::One);
    fleet.measure(&[(HOME, 0)]);
    assert_eq!(fleet.transport("w0"), HOME);
    fleet.tick(at(6));
    assert_eq!(fleet.transport("w1"), ONE);
}

#[test]
fn an_empty_part_goes_after_a_while() {
    let mut fleet = room(3, Hosts::Several);
    fleet.transport("w0");
    fleet.ok(Method::TransportProduce, "w0", bodies::produce("p", Media::Vp8, 1000));
    fleet.measure(&[(HOME, 700)]);
    assert_eq!(fleet.transport("w1"), ONE);
    fleet.ok(Method::TransportConsume, "w1", bodies::consume("c", "p", Media::Vp8, 1000));
    let pairs = fleet.mocks[&HOME].objects().transports;
    assert_eq!(pairs, 2, "w0 and an end of the pair");
    fleet.tick(at(100));
    assert!(fleet.closed.is_empty(), "it is in use");
    fleet.close_transport("w1");
    let mut seconds = 100;
    while fleet.closed.is_empty() {
        assert!(seconds < 140, "it stays for ever");
        let next = fleet.worker.next_tick().expect("something is due");
        assert!(next >= at(seconds), "not at once again");
        seconds += 1;
        fleet.tick(at(seconds));
    }
    assert!(seconds > 125, "{seconds}: it lingers");
    assert_eq!(fleet.closed, [ONE]);
    assert_eq!(fleet.mocks[&HOME].objects().transports, 1, "the pair is gone");
    assert_eq!(fleet.worker.next_tick(), None);
    fleet.ok(Method::RouterDump, "r", None);
    fleet.measure(&[(HOME, 700)]);
    assert_eq!(fleet.transport("w2"), TWO, "it grows again");
    fleet.ok(Method::TransportConsume, "w2", bodies::consume("c2", "p", Media::Vp8, 1000));
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
}

#[test]
fn an_empty_part_that_is_used_again_stays() {
    let mut fleet = room(3, Hosts::One);
    fleet.measure(&[(HOME, 700)]);
    assert_eq!(fleet.transport("w0"), ONE);
    fleet.close_transport("w0");
    for second in 0..20 {
        fleet.tick(at(second));
    }
    fleet.measure(&[(HOME, 700)]);
    assert_eq!(fleet.transport("w1"), ONE);
    for second in 20..120 {
        fleet.tick(at(second));
    }
    assert!(fleet.closed.is_empty());
    // The home never goes.
    fleet.close_transport("w1");
    for second in 120..240 {
        fleet.tick(at(second));
    }
    assert_eq!(fleet.closed, [ONE]);
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    fleet.tick(at(300));
    assert_eq!(fleet.worker.next_tick(), None, "nobody waits for the home to empty");
}

#[test]
fn where_no_worker_is_to_be_had_the_others_take_it() {
    let mut fleet = room(3, Hosts::One);
    fleet.slow = true;
    fleet.tick(at(1));
    fleet.measure(&[(HOME, 700)]);
    let first = fleet.ask(
        Method::RouterCreateWebrtctransport,
        "r",
        bodies::create_web_rtc("w0", vec![bodies::udp(0)]),
    );
    assert_eq!(fleet.opening, [ONE]);
    fleet.fail(ONE);
    fleet.settle();
    assert!(fleet.answer(first).expect("an answer").is_ok());
    assert_eq!(fleet.part_of("w0"), HOME);
    assert_eq!(fleet.diagnostics.len(), 1);
    assert_eq!(fleet.transport("w1"), HOME, "not asked again at once");
    assert!(fleet.opening.is_empty());
    for (second, part) in [(7, TWO), (13, PartId(3))] {
        fleet.tick(at(second));
        fleet.measure(&[(HOME, 700)]);
        let body = bodies::create_web_rtc(&format!("late{second}"), vec![bodies::udp(0)]);
        fleet.ask(Method::RouterCreateWebrtctransport, "r", body);
        assert_eq!(fleet.opening, [part]);
        fleet.fail(part);
        fleet.settle();
    }
    assert_eq!(fleet.diagnostics.len(), 1, "once is enough");
}

#[test]
fn a_part_that_does_not_open_gives_way_to_the_least_loaded() {
    let mut fleet = room(3, Hosts::One);
    fleet.measure(&[(HOME, 900)]);
    assert_eq!(fleet.transport("w0"), ONE);
    fleet.slow = true;
    fleet.measure(&[(HOME, 900), (ONE, 650)]);
    let body = bodies::create_web_rtc("w1", vec![bodies::udp(0)]);
    fleet.ask(Method::RouterCreateWebrtctransport, "r", body);
    fleet.fail(TWO);
    fleet.settle();
    assert_eq!(fleet.part_of("w1"), ONE);
    let pair = 1;
    assert_eq!(fleet.mocks[&ONE].objects().transports, 2 + pair);
}

#[test]
fn a_fixed_port_goes_to_another_host_only() {
    let server = |fleet: &mut Fleet| {
        let body = bodies::create_server("s", vec![bodies::udp(40000)]);
        fleet.ok(Method::WorkerCreateWebrtcserver, "", body);
    };
    let with_server = Method::RouterCreateWebrtctransportWithServer;
    let mut fleet = room(3, Hosts::Several);
    server(&mut fleet);
    fleet.measure(&[(HOME, 700)]);
    fleet.slow = true;
    let asked = fleet.ask(with_server, "r", bodies::create_web_rtc_with_server("w0", "s"));
    assert!(fleet.worker.wish(ONE).expect("it opens").other_host);
    fleet.open(ONE);
    fleet.settle();
    assert!(fleet.answer(asked).expect("an answer").is_ok());
    assert_eq!(fleet.part_of("w0"), ONE);
    assert_eq!(fleet.diagnostics, [""; 0]);
    let mut fleet = room(3, Hosts::One);
    server(&mut fleet);
    fleet.measure(&[(HOME, 700)]);
    fleet.ok(with_server, "r", bodies::create_web_rtc_with_server("w0", "s"));
    assert_eq!(fleet.part_of("w0"), HOME, "the part opened on the same host");
    assert!(fleet.diagnostics[0].contains("its ports are fixed"));
    assert_eq!(fleet.transport("w1"), ONE);
}

#[test]
fn the_other_policies_choose_otherwise() {
    let parts = |policy| {
        let mut fleet = Fleet::spread(Spread { policy, ..Spread::pack(4) }, Hosts::One);
        fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
        fleet.measure(&[(HOME, 700)]);
        fleet.transport("a");
        fleet.measure(&[(HOME, 700), (ONE, 700)]);
        fleet.transport("b");
        fleet.tick(at(5));
        fleet.measure(&[(HOME, 700), (ONE, 200), (TWO, 300)]);
        [0, 1, 2].map(|index| {
            fleet.tick(at(5));
            fleet.transport(&format!("w{index}"))
        })
    };
    assert_eq!(parts(Policy::Pack), [TWO, TWO, TWO]);
    assert_eq!(parts(Policy::LeastLoaded), [ONE, ONE, ONE]);
    assert_eq!(parts(Policy::RoundRobin), [ONE, TWO, ONE]);
    assert_eq!(parts(Policy::Home), [HOME, HOME, HOME]);
}

/// It may be meant for another part the second time.
#[test]
fn a_transport_that_is_closed_before_its_part_opens_can_be_made_again() {
    for parts in [2, 3] {
        let mut fleet = Fleet::new(parts, Hosts::One);
        fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
        fleet.slow = true;
        let create = || bodies::create_web_rtc("t", vec![bodies::udp(0)]);
        let first = fleet.ask(Method::RouterCreateWebrtctransport, "r", create());
        let close = bodies::close_transport("t");
        let closed = fleet.ask(Method::RouterCloseTransport, "r", close);
        let second = fleet.ask(Method::RouterCreateWebrtctransport, "r", create());
        while let Some(part) = fleet.opening.first().copied() {
            fleet.open(part);
        }
        fleet.settle();
        assert!(fleet.answer(first).expect("it is answered").is_err(), "it was closed first");
        assert_eq!(fleet.answer(closed), Some(Ok(None)));
        assert!(fleet.answer(second).expect("it is answered").is_ok());
        fleet.ok(Method::TransportDump, "t", None);
        fleet.close_transport("t");
        fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
        assert_eq!(fleet.left(), 0);
    }
}

#[test]
fn nothing_goes_where_the_link_is_down() {
    let mut fleet = room(3, Hosts::Several);
    fleet.measure(&[(HOME, 700)]);
    assert_eq!(fleet.transport("w0"), ONE);
    fleet.measure(&[(HOME, 700), (ONE, 10)]);
    fleet.link(ONE, false);
    assert_eq!(fleet.transport("w1"), TWO, "not the one with room");
    // Home has all the room, and is out of reach itself.
    fleet.measure(&[(HOME, 0), (TWO, 999)]);
    fleet.link(HOME, false);
    assert_eq!(fleet.transport("w2"), TWO);
    fleet.ok(Method::RouterCreateDirecttransport, "r", bodies::create_direct("d"));
    assert_eq!(fleet.part_of("d"), TWO);
    fleet.link(ONE, true);
    assert_eq!(fleet.transport("w3"), ONE);
    fleet.link(HOME, true);
    assert_eq!(fleet.transport("w4"), HOME);
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
}

#[test]
fn a_worker_that_cannot_be_had_while_home_is_out_of_reach() {
    let mut fleet = room(3, Hosts::Several);
    fleet.measure(&[(HOME, 700)]);
    assert_eq!(fleet.transport("w0"), ONE);
    fleet.measure(&[(HOME, 0), (ONE, 700)]);
    fleet.slow = true;
    fleet.link(HOME, false);
    let body = bodies::create_web_rtc("w1", vec![bodies::udp(0)]);
    let asked = fleet.ask(Method::RouterCreateWebrtctransport, "r", body);
    assert_eq!(fleet.opening, [TWO]);
    fleet.fail(TWO);
    fleet.settle();
    assert!(fleet.answer(asked).expect("it waits for nobody").is_ok());
    assert_eq!(fleet.part_of("w1"), ONE);
}

#[test]
fn an_empty_part_out_of_reach_still_answers() {
    let mut fleet = room(3, Hosts::Several);
    fleet.measure(&[(HOME, 700)]);
    assert_eq!(fleet.transport("w0"), ONE);
    fleet.ok(Method::TransportProduce, "w0", bodies::produce("p", Media::Vp8, 1000));
    fleet.link(ONE, false);
    let paused = fleet.ask(Method::ProducerPause, "p", None);
    let body = bodies::close_transport("w0");
    let closed = fleet.ask(Method::RouterCloseTransport, "r", body);
    fleet.wait(at(300));
    assert!(fleet.closed.is_empty(), "it was asked something");
    fleet.link(ONE, true);
    for id in [paused, closed] {
        assert_eq!(fleet.answer(id), Some(Ok(None)));
    }
    fleet.wait(at(300));
    assert_eq!(fleet.closed, [ONE]);
    assert_eq!(fleet.worker.next_tick(), None);
}

/// The relay has nothing of the app's any more, and another part hears through it.
#[test]
fn a_part_that_relays_stays() {
    let mut fleet = room(3, Hosts::Two(1));
    assert_eq!(fleet.transport("w0"), HOME);
    fleet.ok(Method::TransportProduce, "w0", bodies::produce("p", Media::Vp8, 1000));
    for (transport, part, loads) in
        [("w1", ONE, vec![(HOME, 700)]), ("w2", TWO, vec![(HOME, 700), (ONE, 700)])]
    {
        fleet.measure(&loads);
        assert_eq!(fleet.transport(transport), part);
        let body = bodies::consume(&format!("c-{transport}"), "p", Media::Vp8, 1000);
        fleet.ok(Method::TransportConsume, transport, body);
    }
    assert_eq!(fleet.sent_to(ONE, Method::TransportConsume).len(), 2, "one is for the pipe");
    fleet.close_transport("w1");
    fleet.wait(at(300));
    assert!(fleet.closed.is_empty(), "{:?}", fleet.closed);
    fleet.ok(Method::ConsumerDump, "c-w2", None);
    fleet.ok(Method::TransportCloseConsumer, "w2", bodies::close_consumer("c-w2"));
    fleet.wait(at(300));
    assert_eq!(fleet.closed, [ONE], "its pipes are gone, and it with them");
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    fleet.wait(at(300));
    assert_eq!(fleet.closed, [ONE, TWO]);
    assert_eq!(fleet.left(), 0);
    assert_eq!(fleet.worker.next_tick(), None);
}

/// What a part that dies was asked is asked again of another, also where parts come with the load.
#[test]
fn a_grown_worker_outlives_its_home() {
    let mut fleet = room(3, Hosts::Several);
    fleet.measure(&[(HOME, 700)]);
    assert_eq!(fleet.transport("w0"), ONE);
    fleet.measure(&[(HOME, 0), (ONE, 500)]);
    fleet.held.insert(HOME);
    let body = bodies::create_web_rtc("w1", vec![bodies::udp(0)]);
    let asked = fleet.ask(Method::RouterCreateWebrtctransport, "r", body);
    assert_eq!(fleet.part_of("w1"), HOME);
    fleet.held.clear();
    assert_eq!(fleet.kill(HOME), Fate::LivesOn);
    assert!(fleet.answer(asked).expect("an answer").is_ok());
    assert_eq!(fleet.part_of("w1"), ONE, "the home from now on");
    fleet.close_transport("w0");
    fleet.close_transport("w1");
    fleet.wait(at(300));
    assert!(fleet.closed.is_empty(), "a home never goes");
    fleet.measure(&[(ONE, 700)]);
    assert_eq!(fleet.transport("w2"), TWO);
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
}
