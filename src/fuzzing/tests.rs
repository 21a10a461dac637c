//! The targets on good input, on good input that was damaged, and on random bytes.

use std::env;

use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};

use super::{TARGETS, seeds};

/// How many bytes each target gets, unless this variable says more.
const BYTES: usize = 200_000;
const BYTES_VARIABLE: &str = "MEDIASOUP_HORIZONTAL_FUZZ_BYTES";

/// Where each seed is cut, at most.
const CUTS: usize = 4;

/// Inputs between two looks at how many bytes there were.
const CASES: u32 = 32;

/// What is done to good input.
#[derive(Debug, Clone)]
enum Damage {
    /// This bit is turned.
    Flip(Index, u8),
    Set(Index, u8),
    /// Lengths, offsets and counts are words.
    Word(Index, u32),
    Cut(Index),
    Drop(Index, Index),
    Double(Index, Index),
    Insert(Index, Vec<u8>),
    /// From there on it is another one.
    Splice(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    let word = prop_oneof![
        4 => 0..64_u32,
        2 => any::<u32>(),
        2 => select(vec![u32::MAX, i32::MAX as u32, 1 << 31, 0x007F_FFFC, 0x0080_0000, 0x0100_0000]),
        // Offsets that lead back.
        2 => (1..64_u32).prop_map(u32::wrapping_neg),
    ];
    prop_oneof![
        4 => (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        3 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        3 => (at(), 0..32_u8).prop_map(|(at, byte)| Damage::Set(at, byte)),
        4 => (at(), word).prop_map(|(at, word)| Damage::Word(at, word)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), at()).prop_map(|(from, to)| Damage::Drop(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Damage::Double(from, to)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (at(), at()).prop_map(|(at, other)| Damage::Splice(at, other)),
    ]
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    let range = |from: &Index, to: &Index| {
        let (from, to) = (from.index(length), to.index(length));
        from.min(to)..from.max(to)
    };
    match damage {
        Damage::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
        Damage::Set(at, byte) => bytes[at.index(length)] = *byte,
        Damage::Word(at, word) => {
            let at = at.index(length) & !3;
            let end = (at + 4).min(length);
            bytes[at..end].copy_from_slice(&word.to_le_bytes()[..end - at]);
        }
        Damage::Cut(at) => bytes.truncate(at.index(length)),
        Damage::Drop(from, to) => drop(bytes.drain(range(from, to))),
        Damage::Double(from, to) => {
            let part = bytes[range(from, to)].to_vec();
            bytes.extend(part);
        }
        Damage::Insert(at, more) => {
            let at = at.index(length);
            bytes.splice(at..at, more.iter().copied());
        }
        Damage::Splice(at, other) => {
            let at = at.index(length);
            let other = &seeds[other.index(seeds.len())];
            bytes.truncate(at);
            bytes.extend(&other[at.min(other.len())..]);
        }
    }
}

fn input(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damaged = (select(seeds.clone()), prop::collection::vec(damage(), 0..6)).prop_map(
        move |(mut bytes, damages)| {
            for damage in &damages {
                apply(damage, &mut bytes, &seeds);
            }
            bytes
        },
    );
    let random = prop::collection::vec(any::<u8>(), 0..400);
    prop_oneof![9 => damaged, 1 => random]
}

fn try_out(name: &str) {
    let (_, target) = TARGETS.iter().find(|(other, _)| *other == name).expect("it is listed");
    let seeds = seeds::of(name);
    assert!(!seeds.is_empty());
    for seed in &seeds {
        target(seed);
        for cut in (0..seed.len()).step_by(1 + seed.len() / CUTS) {
            target(&seed[..cut]);
        }
    }
    let told = env::var(BYTES_VARIABLE).ok().and_then(|text| text.parse().ok());
    let limit = told.unwrap_or(BYTES);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let strategy = input(seeds);
    let tried = std::cell::Cell::new(0);
    while tried.get() < limit {
        // One runner does so many cases in all, however often it is asked.
        let outcome = TestRunner::new(config.clone()).run(&strategy, |bytes| {
            // An empty input counts too, or nothing but such would never end.
            tried.set(tried.get() + bytes.len().max(1));
            target(&bytes);
            Ok(())
        });
        assert!(outcome.is_ok(), "{name}: {}", outcome.expect_err("it failed"));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            try_out(stringify!($name));
        })*

        #[test]
        fn every_target_is_run_here_and_by_libfuzzer() {
            let here = [$(stringify!($name)),*];
            let fuzz = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");
            let manifest = std::fs::read_to_string(format!("{fuzz}/Cargo.toml")).expect("it is there");
            let mut programs = std::fs::read_dir(format!("{fuzz}/targets")).expect("a folder").count();
            for (name, _) in TARGETS {
                assert!(here.contains(&name), "{name}");
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
                let program = std::fs::read_to_string(format!("{fuzz}/targets/{name}.rs"));
                assert!(program.expect("its program").contains(&format!("fuzzing::{name}(")));
                programs -= 1;
            }
            assert_eq!(programs, 0, "no others");
        }
    };
}

targets! {
    channel_framing
    channel_message
    wire_frames
    handshake_request
    handshake_answer
    handshake_texts
    stub_messages
    admin_lines
    private_files
    worker_arguments
    virtual_worker
    shared_worker
}
