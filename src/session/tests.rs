#![allow(clippy::unwrap_used)]
use std::{collections::VecDeque, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::queue::Weight;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item(u64);

impl Weight for Item {
    fn weight(&self) -> usize {
        10
    }
}

/// One end and what is under way to it.
struct End {
    ledger: Ledger<Item>,
    /// Made so far; the last one's content.
    made: u64,
    /// Content of what arrived.
    seen: Vec<u64>,
    towards: VecDeque<Item>,
    acks_towards: VecDeque<u64>,
}

impl End {
    fn new(limit: usize) -> Self {
        Self {
            ledger: Ledger::new(limit),
            made: 0,
            seen: Vec::new(),
            towards: VecDeque::new(),
            acks_towards: VecDeque::new(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Do {
    Send(usize),
    Write(usize),
    Deliver(usize),
    Acknowledge(usize),
    DeliverAck(usize),
    Cut,
    /// The hello arrives, the welcome is lost: only that end has resumed.
    HalfResume,
    Resume,
}

fn action() -> impl Strategy<Value = Do> {
    let end = 0..2_usize;
    prop_oneof![
        4 => end.clone().prop_map(Do::Send),
        4 => end.clone().prop_map(Do::Write),
        4 => end.clone().prop_map(Do::Deliver),
        2 => end.clone().prop_map(Do::Acknowledge),
        2 => end.prop_map(Do::DeliverAck),
        1 => Just(Do::Cut),
        1 => Just(Do::HalfResume),
        2 => Just(Do::Resume),
    ]
}

/// Two ends, a link that may be cut at any moment, and the actions in any order.
struct World {
    ends: [End; 2],
    linked: bool,
}

impl World {
    fn new(limit: usize) -> Self {
        Self { ends: [End::new(limit), End::new(limit)], linked: true }
    }

    fn act(&mut self, action: Do) {
        match action {
            Do::Send(end) => {
                let End { ledger, made, .. } = &mut self.ends[end];
                let room = ledger.has_room();
                assert_eq!(ledger.number(Item(*made + 1)).is_ok(), room);
                *made += u64::from(room);
            }
            Do::Write(end) if self.linked => {
                if let Some(item) = self.ends[end].ledger.next_to_write().cloned() {
                    self.ends[1 - end].towards.push_back(item);
                }
            }
            Do::Deliver(end) => {
                let End { ledger, seen, towards, .. } = &mut self.ends[end];
                if let Some(Item(content)) = towards.pop_front() {
                    ledger.arrived();
                    seen.push(content);
                }
            }
            Do::Acknowledge(end) if self.linked => {
                let received = self.ends[end].ledger.received();
                self.ends[1 - end].acks_towards.push_back(received);
            }
            Do::DeliverAck(end) => {
                let End { ledger, acks_towards, .. } = &mut self.ends[end];
                if let Some(number) = acks_towards.pop_front() {
                    ledger.acknowledge(number).unwrap();
                }
            }
            Do::Cut => self.cut(),
            Do::HalfResume => {
                self.cut();
                let seen = self.ends[0].ledger.received();
                self.ends[1].ledger.resume(seen).unwrap();
            }
            Do::Resume => {
                self.cut();
                for end in 0..2 {
                    let seen = self.ends[1 - end].ledger.received();
                    self.ends[end].ledger.resume(seen).unwrap();
                }
                self.linked = true;
            }
            Do::Write(_) | Do::Acknowledge(_) => {}
        }
    }

    fn cut(&mut self) {
        self.linked = false;
        for end in &mut self.ends {
            end.towards.clear();
            end.acks_towards.clear();
        }
    }
}

proptest! {
    #[test]
    fn exactly_once_and_in_order_whatever_is_cut(
        limit in 1..200_usize,
        actions in prop::collection::vec(action(), 0..400),
    ) {
        let mut world = World::new(limit);
        for action in actions {
            world.act(action);
            for end in &world.ends {
                prop_assert!(end.ledger.bytes() < limit + 10);
                prop_assert!(end.seen.iter().copied().eq(1..=end.ledger.received()));
            }
        }
        // A link that lasts brings the rest.
        world.act(Do::Resume);
        for _ in 0..400 {
            for end in 0..2 {
                for action in [Do::Write(end), Do::Deliver(1 - end)] {
                    world.act(action);
                }
            }
        }
        for end in 0..2 {
            world.act(Do::Acknowledge(1 - end));
            world.act(Do::DeliverAck(end));
            prop_assert_eq!(world.ends[end].made, world.ends[1 - end].ledger.received());
            prop_assert_eq!(world.ends[end].ledger.bytes(), 0);
        }
    }

    #[test]
    fn impossible_numbers_change_nothing(written in 0..20_u64, acknowledged in 0..20_u64, claim: u64) {
        let acknowledged = acknowledged.min(written);
        let mut ledger = Ledger::new(1000);
        for number in 1..=written {
            ledger.number(Item(number)).unwrap();
            ledger.next_to_write().unwrap();
        }
        ledger.number(Item(written + 1)).unwrap();
        ledger.acknowledge(acknowledged).unwrap();
        let possible = (acknowledged..=written).contains(&claim);
        let bytes = ledger.bytes();
        prop_assert_eq!(ledger.acknowledge(claim).is_ok(), possible);
        if !possible {
            prop_assert_eq!(ledger.bytes(), bytes);
            prop_assert!(ledger.resume(claim).is_err());
            prop_assert_eq!(ledger.next_to_write(), Some(&Item(written + 1)));
        }
    }
}

#[test]
fn a_full_buffer_says_so_and_takes_more_once_something_was_seen() {
    let mut ledger = Ledger::new(25);
    for number in 1..=3 {
        ledger.number(Item(number)).unwrap();
        ledger.next_to_write().unwrap();
    }
    assert_eq!(ledger.number(Item(4)), Err(Overflow { bytes: 30, limit: 25 }));
    assert_eq!(ledger.acknowledge(1), Ok(true));
    assert_eq!(ledger.acknowledge(1), Ok(false));
    ledger.number(Item(4)).unwrap();
    assert_eq!(
        ledger.acknowledge(4),
        Err(ImpossibleNumber { claimed: 4, from: 1, to: 3 }),
        "it was not sent yet"
    );
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Looks whenever one is due, and tells when each stage began.
fn stages(mut outage: Outage, until: Duration) -> Vec<(Duration, Stage)> {
    let mut found = vec![(Duration::ZERO, outage.stage())];
    loop {
        let now = outage.next_look();
        if now > until {
            return found;
        }
        let stage = outage.look(now);
        if found.last().unwrap().1 != stage {
            found.push((now, stage));
        }
        if stage == Stage::Over {
            return found;
        }
    }
}

#[test]
fn an_outage_is_told_after_the_silent_window_and_over_at_the_timeout() {
    let outage = |quiet, timeout| Outage::new(ms(0), quiet, ms(3_000), timeout);
    assert_eq!(
        stages(outage(ms(0), Some(ms(30_250))), ms(60_000)),
        [(ms(0), Stage::Silent), (ms(3_000), Stage::Told), (ms(30_250), Stage::Over)]
    );
    assert_eq!(
        stages(outage(ms(4_000), Some(ms(30_000))), ms(60_000)),
        [(ms(0), Stage::Told), (ms(30_000), Stage::Over)],
        "the silence before the loss counts for what is told, not for the timeout"
    );
    assert_eq!(
        stages(outage(ms(0), None), ms(3_600_000)),
        [(ms(0), Stage::Silent), (ms(3_000), Stage::Told)]
    );
    assert_eq!(outage(ms(0), Some(ms(0))).stage(), Stage::Over);
}

#[test]
fn time_that_a_suspended_process_slept_does_not_count() {
    let mut outage = Outage::new(ms(0), ms(0), ms(3_000), Some(ms(30_000)));
    assert_eq!(outage.look(ms(1_000)), Stage::Silent);
    assert_eq!(outage.look(ms(3_600_000)), Stage::Silent);
    assert_eq!(outage.look(ms(3_601_500)), Stage::Told);
}
