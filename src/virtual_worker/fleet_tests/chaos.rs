//! Random programs in any interleaving: every request is answered once and nothing is left behind.

use std::{collections::HashSet, time::Duration};

use super::{
    bodies::{self, Media},
    fleet::{Fleet, HOME, Hosts},
};
use crate::{
    channel::method::Method,
    placement::Policy,
    virtual_worker::{Fate, ObjectChange, PartId, PartLoad, Spread, pipes},
};

/// Other seeds for long runs.
fn first_seed() -> u64 {
    std::env::var("FLEET_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Where parts live and how they are fed, by chance; `Scatter` is laid out in more ways.
fn spread(dice: &mut Dice, policy: Policy) -> Fleet {
    let (parts, hosts, fan_out) = match dice.roll(5) {
        0 => (3, Hosts::One, 8),
        1 => (3, Hosts::Several, 8),
        2 => (5, Hosts::One, 1),
        3 => (5, Hosts::Several, 1),
        _ => (5, Hosts::Two(2), 2),
    };
    Fleet::spread(Spread { policy, max_fan_out: fan_out, ..Spread::scatter(parts) }, hosts)
}

/// Loads that make every decision likely, and time for parts to empty.
fn let_loads_change(fleet: &mut Fleet, dice: &mut Dice) {
    fleet.pass(Duration::from_secs(dice.roll(12)));
    let load = |part: &PartId| PartLoad {
        part: *part,
        cpu: [None, Some(100), Some(590), Some(950)][usize::try_from(dice.roll(4)).expect("small")],
        age: Duration::from_secs(dice.roll(7)),
        near: dice.roll(2) == 0,
        avoid: dice.roll(8) == 0,
        drains: dice.roll(8) == 0,
    };
    let loads: Vec<PartLoad> = fleet.mocks.keys().map(load).collect();
    fleet.worker.part_loads(&loads);
}

/// A worker hangs behind a good link, or speaks again.
fn let_one_hang(fleet: &mut Fleet, dice: &mut Dice) {
    if fleet.held.is_empty() {
        fleet.held.insert(PartId(u32::try_from(dice.roll(3)).expect("small")));
    } else {
        fleet.held.clear();
    }
}

fn play(seed: u64, deaths: bool, hangs: bool, policy: Policy) -> usize {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut fleet = spread(&mut dice, policy);
    fleet.slow = dice.roll(2) == 0;
    if hangs {
        fleet.worker = fleet.worker.with_call_timeout(Some(Duration::from_secs(5)));
    }
    let mut asked = vec![fleet.ask(Method::WorkerCreateRouter, "", bodies::create_router("r"))];
    for _ in 0..90 {
        if dice.roll(3) == 0 {
            let_loads_change(&mut fleet, &mut dice);
        }
        if hangs && dice.roll(6) == 0 {
            let_one_hang(&mut fleet, &mut dice);
        }
        let (t, p, c) = (dice.roll(6), dice.roll(3), dice.roll(5));
        let (transport, producer) = (format!("t{t}"), format!("p{p}"));
        let (consumer, data) = (format!("c{c}"), format!("d{p}"));
        let base = 1000 * (u32::try_from(p).expect("small") + 1);
        let media = if p == 0 { Media::Opus } else { Media::Simulcast };
        let (method, handler, body) = match dice.roll(if deaths { 22 } else { 21 }) {
            0..=2 => {
                let body = bodies::create_web_rtc(&transport, vec![bodies::udp(0)]);
                (Method::RouterCreateWebrtctransport, "r".to_owned(), Some(body))
            }
            3 | 4 => {
                let body = bodies::produce(&producer, media, base);
                (Method::TransportProduce, transport, Some(body))
            }
            5..=7 => {
                let body = bodies::consume(&consumer, &producer, media, base);
                (Method::TransportConsume, transport, Some(body))
            }
            8 => {
                let stream = Some(u16::try_from(p).expect("small"));
                let body = bodies::produce_data(&data, stream);
                (Method::TransportProduceData, transport, Some(body))
            }
            9 => {
                let stream = Some(u16::try_from(c).expect("small"));
                let body = bodies::consume_data(&format!("e{c}"), &data, stream, &[]);
                (Method::TransportConsumeData, transport, Some(body))
            }
            10 => (Method::ProducerPause, producer, None),
            11 => (Method::ProducerResume, producer, None),
            12 => (Method::RouterDump, "r".to_owned(), None),
            13 => {
                let body = bodies::close_producer(&producer);
                (Method::TransportCloseProducer, transport, Some(body))
            }
            14 => {
                let body = bodies::close_consumer(&consumer);
                (Method::TransportCloseConsumer, transport, Some(body))
            }
            15 => {
                let body = bodies::close_transport(&transport);
                (Method::RouterCloseTransport, "r".to_owned(), Some(body))
            }
            16 => {
                let observer = bodies::create_audio_level("o", -50);
                (Method::RouterCreateAudiolevelobserver, "r".to_owned(), Some(observer))
            }
            17 => {
                (Method::RtpobserverAddProducer, "o".to_owned(), Some(bodies::add_producer("p0")))
            }
            18 => (Method::ConsumerPause, consumer, None),
            19 => (Method::ConsumerResume, consumer, None),
            20 => {
                fleet.pass(Duration::from_secs(1 + 10 * dice.roll(2)));
                fleet.measure_pipes();
                continue;
            }
            _ => {
                let part = PartId(u32::try_from(dice.roll(5)).expect("small"));
                if fleet.mocks.contains_key(&part) && fleet.kill(part) == Fate::Dies {
                    return fleet.closed.len();
                }
                continue;
            }
        };
        asked.push(fleet.ask(method, &handler, body));
        match dice.roll(5) {
            0 => fleet.settle(),
            1 | 2 => fleet.round(),
            3 => match fleet.opening.first().copied() {
                Some(part) if dice.roll(4) == 0 => fleet.fail(part),
                Some(part) => fleet.open(part),
                None => {}
            },
            _ => {}
        }
    }
    fleet.held.clear();
    if dice.roll(2) == 0 {
        fleet.settle();
    }
    asked.push(fleet.ask(Method::WorkerCloseRouter, "", bodies::close_router("r")));
    while let Some(part) = fleet.opening.first().copied() {
        fleet.open(part);
    }
    fleet.wait(Duration::from_secs(60));
    check(fleet, asked, seed, deaths)
}

/// Every call was answered, and nothing is left of it.
fn check(mut fleet: Fleet, asked: Vec<u32>, seed: u64, deaths: bool) -> usize {
    for id in asked {
        assert!(fleet.answer(id).is_some(), "seed {seed}: request {id} has no answer");
    }
    assert_eq!(fleet.left(), 0, "seed {seed}: objects are left");
    assert!(fleet.worker.objects().is_empty(), "seed {seed}: {:?}", fleet.worker.objects());
    assert!(fleet.worker.pipes.is_empty(), "seed {seed}: {:?}", fleet.worker.pipes);
    assert!(fleet.worker.naps.is_empty(), "seed {seed}: {:?}", fleet.worker.naps);
    assert!(fleet.worker.resyncs.is_empty(), "seed {seed}");
    assert_eq!(fleet.worker.next_tick(), None, "seed {seed}");
    assert_eq!(fleet.worker.requests_under_way(), 0, "seed {seed}");
    assert!(!fleet.worker.measuring(), "seed {seed}");
    check_changes(&fleet.worker.take_changes(), seed);
    assert!(fleet.mocks.contains_key(&HOME) || deaths);
    fleet.closed.len()
}

/// Whoever watches saw every object come before it went, and saw all of them go.
fn check_changes(changes: &[ObjectChange], seed: u64) {
    let mut open = HashSet::new();
    for change in changes {
        let id = change.id.as_str();
        assert!(!pipes::is_own(id), "seed {seed}: {change:?}");
        assert_eq!(change.router.as_deref(), Some("r"), "seed {seed}: {change:?}");
        let fits = if change.closed.is_none() { open.insert(id) } else { open.remove(id) };
        assert!(fits, "seed {seed}: {change:?} of {changes:?}");
    }
    assert!(open.is_empty(), "seed {seed}: {open:?}");
}

#[test]
fn nothing_is_left_behind() {
    for seed in first_seed()..=first_seed() + 150 {
        play(seed, false, false, Policy::Scatter);
    }
}

#[test]
fn nothing_is_left_behind_by_deaths() {
    for seed in first_seed()..=first_seed() + 150 {
        play(seed, true, false, Policy::Scatter);
    }
}

#[test]
fn nothing_is_left_behind_by_workers_that_hang() {
    for seed in first_seed()..=first_seed() + 40 {
        play(seed, false, true, Policy::Scatter);
        play(seed, true, true, Policy::Scatter);
        play(seed, false, true, Policy::Pack);
    }
}

#[test]
fn nothing_is_left_behind_by_growing_and_shrinking() {
    let mut closed = 0;
    for (deaths, policy) in [
        (false, Policy::Pack),
        (true, Policy::Pack),
        (false, Policy::LeastLoaded),
        (true, Policy::RoundRobin),
        (false, Policy::Region),
    ] {
        for seed in first_seed()..=first_seed() + 60 {
            closed += play(seed, deaths, false, policy);
        }
    }
    assert!(closed > 10, "parts shrink in these programs: {closed}");
}
