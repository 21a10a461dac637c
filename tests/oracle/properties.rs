//! The properties, on as many programs as `MEDIASOUP_HORIZONTAL_ORACLE_CASES` asks for.

use std::fmt::Write as _;

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

use crate::{
    calls::{Step, listing},
    comparison,
    differences::Differences,
    fleet::Fleet,
    plain,
    plan::{Limits, plan},
    program::{self, Raw},
};

const CASES: &str = "MEDIASOUP_HORIZONTAL_ORACLE_CASES";
const SEED: &str = "MEDIASOUP_HORIZONTAL_ORACLE_SEED";

pub fn cases() -> u32 {
    std::env::var(CASES).ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

/// Tries a property on random programs. A failure prints its seed and the shortest program.
pub fn try_programs(
    cases: u32,
    raw: &impl Strategy<Value = Vec<Raw>>,
    limits: Limits,
    mut check: impl FnMut(&[Step]) -> Vec<String>,
) {
    let show = |raw: &[Raw]| listing(&plan(raw, limits));
    try_raw(cases, raw, show, |raw| check(&plan(raw, limits)));
}

/// The same for a property of programs that are yet to be planned.
pub fn try_raw(
    cases: u32,
    raw: &impl Strategy<Value = Vec<Raw>>,
    show: impl Fn(&[Raw]) -> String,
    mut check: impl FnMut(&[Raw]) -> Vec<String>,
) {
    // The same programs each time, so that a change is judged by what it changed;
    // `random` looks for new ones.
    let seed: u64 = match std::env::var(SEED).as_deref() {
        Ok("random") => rand::random(),
        Ok(text) => text.parse().expect("a seed is a number, or `random`"),
        Err(_) => 20_261_123,
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases, failure_persistence: None, max_shrink_time: 15_000, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let check = std::cell::RefCell::new(&mut check);
    let outcome = runner.run(raw, |raw| {
        let found = (check.borrow_mut())(&raw);
        if found.is_empty() { Ok(()) } else { Err(TestCaseError::fail(found.join("\n"))) }
    });
    if let Err(error) = outcome {
        let mut report = format!("{SEED}={seed} {CASES}={cases}\n");
        if let proptest::test_runner::TestError::Fail(why, raw) = error {
            let _ = write!(report, "{}\n{why}", show(&raw));
        } else {
            let _ = write!(report, "{error}");
        }
        panic!("{report}");
    }
}

/// Programs on several parts take longer, and run for each number of parts.
fn cases_of_parts() -> u32 {
    (cases() / 10).max(1)
}

/// Over how many parts a program runs, how many of them share a host, and how many others one of
/// them may feed.
#[derive(Clone, Copy)]
pub struct Layout {
    pub parts: usize,
    pub on_a_host: u32,
    pub max_fan_out: usize,
}

const ONE_PART: Layout = Layout { parts: 1, on_a_host: 1, max_fan_out: 1 };
const LAYOUTS: [Layout; 5] = [
    Layout { parts: 2, on_a_host: 1, max_fan_out: 8 },
    Layout { parts: 3, on_a_host: 3, max_fan_out: 8 },
    Layout { parts: 4, on_a_host: 4, max_fan_out: 1 },
    Layout { parts: 4, on_a_host: 1, max_fan_out: 1 },
    Layout { parts: 6, on_a_host: 3, max_fan_out: 2 },
];

fn check(layout: Layout, settled: bool, steps: &[Step]) -> Vec<String> {
    check_fleet(Fleet::new(layout), layout, settled, steps)
}

fn check_fleet(mut fleet: Fleet, layout: Layout, settled: bool, steps: &[Step]) -> Vec<String> {
    fleet.run(steps, settled);
    let plain = plain::run(steps, &fleet.losses);
    // What would have crashed plain mediasoup has nothing to be compared with.
    if !plain.violations.is_empty() {
        return Vec::new();
    }
    fleet.run(&plain.epilogue, settled);
    fleet.finish();
    let mut found = std::mem::take(&mut fleet.wrong);
    if !fleet.died {
        let legal = Differences::of(layout.parts);
        let (app, losses) = (&fleet.app, &fleet.losses);
        found.extend(comparison::differences(&plain.app, app, &legal, settled, losses));
    }
    found
}

fn limits(parts: usize) -> Limits {
    Limits { media: parts == 1, real: false, taken: true }
}

/// An id that a part took along is free, and what had it is not what has it now.
fn limits_of_deaths() -> Limits {
    Limits { media: false, real: false, taken: false }
}

#[test]
fn one_part_is_plain_mediasoup() {
    try_programs(cases(), &program::settled(), limits(1), |steps| check(ONE_PART, true, steps));
}

#[test]
fn one_part_is_plain_mediasoup_with_messages_under_way() {
    try_programs(cases(), &program::raced(), limits(1), |steps| check(ONE_PART, false, steps));
}

#[test]
fn several_parts_look_like_one() {
    for layout in LAYOUTS {
        try_programs(cases_of_parts(), &program::settled(), limits(layout.parts), |steps| {
            check(layout, true, steps)
        });
    }
}

#[test]
fn several_parts_look_like_one_with_messages_under_way() {
    for layout in LAYOUTS {
        try_programs(cases_of_parts(), &program::raced(), limits(layout.parts), |steps| {
            check(layout, false, steps)
        });
    }
}

#[test]
fn nobody_waits_for_parts_that_are_cut_off() {
    for layout in LAYOUTS {
        try_programs(cases_of_parts(), &program::cut_off(), limits(layout.parts), |steps| {
            check(layout, false, steps)
        });
    }
}

/// What lives on after a death is as on plain mediasoup without what died.
#[test]
fn deaths_cost_what_lived_there_and_nothing_else() {
    for layout in LAYOUTS {
        try_programs(cases_of_parts(), &program::bereaved(), limits_of_deaths(), |steps| {
            check(layout, true, steps)
        });
    }
}

#[test]
fn a_worker_that_grows_and_shrinks_looks_like_one() {
    for layout in LAYOUTS {
        try_programs(cases_of_parts(), &program::raced(), limits(layout.parts), |steps| {
            check_fleet(Fleet::growing(layout), layout, false, steps)
        });
    }
}

#[test]
fn a_worker_that_grows_and_shrinks_loses_parts_and_nothing_else() {
    for layout in LAYOUTS {
        try_programs(cases_of_parts(), &program::deadly(), limits_of_deaths(), |steps| {
            check_fleet(Fleet::growing(layout), layout, false, steps)
        });
    }
}

/// Every call is answered and nothing is left behind, whatever dies, and what lives on is as ever.
#[test]
fn deaths_leave_no_call_unanswered_and_nothing_behind() {
    for layout in LAYOUTS {
        try_programs(cases_of_parts(), &program::deadly(), limits_of_deaths(), |steps| {
            check(layout, false, steps)
        });
    }
}
