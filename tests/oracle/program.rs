//! Random programs in the raw: what to do, to whom, and how wrong.

use proptest::prelude::*;

use crate::calls::Step;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    CreateRouter,
    WebRtc,
    Produce,
    Consume,
    Direct,
    ProduceData,
    ConsumeData,
    Plain,
    Pipe,
    CreateServer,
    WebRtcWithServer,
    ActiveSpeaker,
    AudioLevel,
    AddProducer,
    RemoveProducer,
    Pause,
    Resume,
    Dump,
    Stats,
    PreferLayers,
    Priority,
    KeyFrame,
    Subchannels,
    Trace,
    Bitrate,
    RestartIce,
    Connect,
    WorkerRequest,
    CloseConsumer,
    CloseDataConsumer,
    CloseProducer,
    CloseDataProducer,
    CloseObserver,
    CloseTransport,
    CloseRouter,
    CloseServer,
    Send,
}

use Act as A;

/// How often each comes, against the others.
const WEIGHTS: [(Act, u32); 37] = [
    (A::CreateRouter, 3),
    (A::WebRtc, 8),
    (A::Produce, 14),
    (A::Consume, 22),
    (A::Direct, 4),
    (A::ProduceData, 7),
    (A::ConsumeData, 10),
    (A::Plain, 3),
    (A::Pipe, 3),
    (A::CreateServer, 2),
    (A::WebRtcWithServer, 3),
    (A::ActiveSpeaker, 2),
    (A::AudioLevel, 2),
    (A::AddProducer, 5),
    (A::RemoveProducer, 3),
    (A::Pause, 10),
    (A::Resume, 8),
    (A::Dump, 8),
    (A::Stats, 5),
    (A::PreferLayers, 4),
    (A::Priority, 2),
    (A::KeyFrame, 3),
    (A::Subchannels, 2),
    (A::Trace, 2),
    (A::Bitrate, 2),
    (A::RestartIce, 1),
    (A::Connect, 3),
    (A::WorkerRequest, 4),
    (A::CloseConsumer, 4),
    (A::CloseDataConsumer, 2),
    (A::CloseProducer, 5),
    (A::CloseDataProducer, 2),
    (A::CloseObserver, 1),
    (A::CloseTransport, 4),
    (A::CloseRouter, 1),
    (A::CloseServer, 1),
    (A::Send, 3),
];

/// What is wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    Nothing,
    /// It names an object that never was.
    Unknown,
    /// It names an object that is closed, or makes one whose id is taken.
    Stale,
}

#[derive(Debug, Clone)]
pub enum Raw {
    Call { act: Act, who: usize, whom: usize, flavour: usize, wrong: Wrong },
    Other(Step),
}

fn call() -> impl Strategy<Value = Raw> {
    let acts: Vec<_> =
        WEIGHTS.iter().flat_map(|(act, weight)| (0..*weight).map(move |_| *act)).collect();
    let wrong = prop_oneof![
        18 => Just(Wrong::Nothing),
        1 => Just(Wrong::Unknown),
        1 => Just(Wrong::Stale),
    ];
    (prop::sample::select(acts), 0..12_usize, 0..12_usize, 0..8_usize, wrong)
        .prop_map(|(act, who, whom, flavour, wrong)| Raw::Call { act, who, whom, flavour, wrong })
}

/// Calls, each of which settles before the next.
pub fn settled() -> impl Strategy<Value = Vec<Raw>> {
    prop::collection::vec(call(), 1..60)
}

fn delivery() -> impl Strategy<Value = Raw> {
    (0..12_usize, 1..4_usize).prop_map(|(queue, count)| Raw::Other(Step::Deliver { queue, count }))
}

/// Short for a pipe that lingers, or long enough for one that none of its users needs.
fn time() -> impl Strategy<Value = Raw> {
    prop::sample::select(vec![1, 3, 11]).prop_map(|seconds| Raw::Other(Step::Pass(seconds)))
}

/// Calls with messages under way.
pub fn raced() -> impl Strategy<Value = Vec<Raw>> {
    let step = prop_oneof![
        6 => call(),
        6 => delivery(),
        1 => Just(Raw::Other(Step::Settle)),
        1 => time(),
    ];
    prop::collection::vec(step, 1..120)
}

fn link() -> impl Strategy<Value = Raw> {
    prop_oneof![
        (0..8_usize).prop_map(|part| Raw::Other(Step::LinkDown(part))),
        Just(Raw::Other(Step::LinksUp)),
    ]
}

/// Calls with messages under way and links that go down and come back.
pub fn cut_off() -> impl Strategy<Value = Vec<Raw>> {
    let step = prop_oneof![
        24 => call(),
        24 => delivery(),
        4 => Just(Raw::Other(Step::Settle)),
        2 => time(),
        3 => link(),
    ];
    prop::collection::vec(step, 1..120)
}

/// Calls, each of which settles before the next, and parts that die in between.
pub fn bereaved() -> impl Strategy<Value = Vec<Raw>> {
    let step = prop_oneof![
        16 => call(),
        1 => time(),
        1 => (0..8_usize).prop_map(|part| Raw::Other(Step::Kill(part))),
    ];
    prop::collection::vec(step, 1..80)
}

/// Calls with messages under way, parts that die and links that go down.
pub fn deadly() -> impl Strategy<Value = Vec<Raw>> {
    let step = prop_oneof![
        24 => call(),
        24 => delivery(),
        3 => Just(Raw::Other(Step::Settle)),
        2 => time(),
        1 => (0..8_usize).prop_map(|part| Raw::Other(Step::Kill(part))),
        1 => link(),
    ];
    prop::collection::vec(step, 1..120)
}
