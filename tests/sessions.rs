//! Sessions over links in memory that are cut, frozen and refused, in paused time.

#![allow(clippy::unwrap_used)]

mod support;

use std::{sync::Arc, time::Duration};

use mediasoup_horizontal::{
    agent::AgentOptions,
    connection::{
        Connection, ConnectionState, Exit, WorkerCommand, WorkerEvent, WorkerLink,
        remote::{RemoteConnection, RemoteOptions},
    },
    net::{Backoff, Timing},
};
use support::{
    FakeWorkers, Memory, Wire, agent_options, connected, end_of, message, next_message, pair,
    pair_with, remote_options, request, server, within,
};
use tokio::time::{Instant, sleep, sleep_until};

/// How often the wire is cut in a run.
const CUTS: u64 = 40;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

async fn disconnected(connection: &RemoteConnection) {
    is(connection, ConnectionState::Disconnected).await;
}

async fn is(connection: &RemoteConnection, wanted: ConnectionState) {
    let mut state = connection.state();
    within(state.wait_for(|state| *state == wanted)).await.unwrap();
}

/// What the reader of a worker sees of its link, and the messages, until `count` of them came.
async fn heard(link: &mut WorkerLink, count: u64) -> (Vec<u64>, Vec<&'static str>) {
    let (mut messages, mut words) = (Vec::new(), Vec::new());
    while messages.len() < usize::try_from(count).unwrap() {
        match within(link.events.recv()).await.unwrap() {
            WorkerEvent::Message(bytes) => {
                messages.push(u64::from_le_bytes(bytes[4..].try_into().unwrap()));
            }
            WorkerEvent::LinkDown => words.push("down"),
            WorkerEvent::LinkUp => words.push("up"),
            WorkerEvent::Stdout(_) | WorkerEvent::Stderr(_) => {}
            WorkerEvent::Exited(exit) => panic!("{exit:?}"),
        }
    }
    (messages, words)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_doubled_or_reordered_over_many_cuts() {
    let (workers, memory, connection) = pair();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    let commands = link.commands.clone();
    let total = CUTS * 50;
    let talking = tokio::spawn(async move {
        for number in 0..total {
            let text = WorkerCommand::Message(message(&number.to_le_bytes()));
            within(commands.send(text)).await.unwrap();
            sleep(Duration::from_millis(20 + number % 7)).await;
        }
    });
    let state = connection.state();
    let cutting = tokio::spawn({
        let wire = memory.wire.clone();
        async move {
            for cut in 0..CUTS {
                // In the middle of whatever is under way: 100 to 2,500 ms of nothing.
                sleep(Duration::from_millis(500 + 13 * cut)).await;
                wire.send_replace(Wire::Cut);
                sleep(Duration::from_millis(100 + 60 * cut)).await;
                wire.send_replace(Wire::Passes);
            }
        }
    });
    let (messages, words) = heard(&mut link, total).await;
    assert!(messages.into_iter().eq(0..total));
    assert!(words.len() > 20, "there were cuts: {words:?}");
    let in_turn = words
        .chunks(2)
        .all(|pair| pair[0] == "down" && pair.get(1).is_none_or(|word| *word == "up"));
    assert!(in_turn, "{words:?}");
    assert_eq!(*state.borrow(), ConnectionState::Connected);
    within(talking).await.unwrap();
    within(cutting).await.unwrap();
    workers.are(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_short_cut_is_not_told_and_a_longer_one_is() {
    let (_, memory, connection) = pair();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    let mut state = connection.state();
    state.mark_unchanged();
    for (cut, told) in [(seconds(2), false), (seconds(10), true)] {
        sleep(seconds(5)).await;
        let began = Instant::now();
        memory.wire.send_replace(Wire::Cut);
        assert!(matches!(within(link.events.recv()).await, Some(WorkerEvent::LinkDown)));
        assert_eq!(began.elapsed(), Duration::ZERO, "at once");
        assert_eq!(connection.load(), None, "placement avoids it at once");
        assert!(connection.addresses().is_some(), "it still is where it was");
        if told {
            disconnected(&connection).await;
            assert_eq!(began.elapsed(), seconds(3));
        }
        sleep(cut.saturating_sub(began.elapsed())).await;
        // Sent meanwhile, it waits.
        link.commands.send(WorkerCommand::Message(message(b"late"))).await.unwrap();
        memory.wire.send_replace(Wire::Passes);
        assert!(matches!(within(link.events.recv()).await, Some(WorkerEvent::LinkUp)));
        assert_eq!(next_message(&mut link).await, message(b"late"));
        assert_eq!(*state.borrow_and_update(), ConnectionState::Connected);
        assert!(connection.load().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_cut_every_second_is_back_soon_each_time() {
    let options = RemoteOptions { backoff: doubling(), ..remote_options() };
    let (_, memory, connection) = pair_with(agent_options(), options);
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    for _ in 0..CUTS {
        let next = Instant::now() + seconds(1);
        memory.wire.send_replace(Wire::Cut);
        assert!(matches!(within(link.events.recv()).await, Some(WorkerEvent::LinkDown)));
        sleep(Duration::from_millis(100)).await;
        let began = Instant::now();
        memory.wire.send_replace(Wire::Passes);
        assert!(matches!(within(link.events.recv()).await, Some(WorkerEvent::LinkUp)));
        assert!(began.elapsed() <= Duration::from_millis(200), "{:?}", began.elapsed());
        sleep_until(next).await;
    }
}

#[tokio::test(start_paused = true)]
async fn links_that_are_lost_as_soon_as_they_are_there_become_rare() {
    let options = RemoteOptions { backoff: doubling(), ..remote_options() };
    let (_, memory, connection) = pair_with(agent_options(), options);
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    let mut waits = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        memory.wire.send_replace(Wire::Cut);
        assert!(matches!(within(link.events.recv()).await, Some(WorkerEvent::LinkDown)));
        memory.wire.send_replace(Wire::Passes);
        assert!(matches!(within(link.events.recv()).await, Some(WorkerEvent::LinkUp)));
        waits.push(began.elapsed());
    }
    // Twice as long each time, but workers wait: never more than a second, and at least half of it.
    let (growing, longest) = waits.split_at(2);
    assert_eq!(growing, [200, 400].map(Duration::from_millis), "{waits:?}");
    let full = Duration::from_millis(500)..=seconds(1);
    assert!(longest.iter().all(|wait| full.contains(wait)), "{waits:?}");
}

/// As the real one, without its chances.
fn doubling() -> Backoff {
    Backoff::new(|attempt| (Duration::from_millis(100) * (1 << attempt.min(10))).min(seconds(5)))
}

#[tokio::test(start_paused = true)]
async fn without_a_link_workers_die_at_the_session_timeout_and_not_before() {
    let (workers, memory, connection) = pair();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    memory.wire.send_replace(Wire::Cut);
    let began = Instant::now();
    let lost = "agent ws://memory:4480: the peer ended the connection, and it did not come back \
                within 30s (session timeout)";
    assert_eq!(end_of(&mut link).await, Exit::Lost(lost.to_owned()));
    assert_eq!(began.elapsed(), seconds(30));
    within(link.commands.closed()).await;
    workers.are(0).await;
    assert!(began.elapsed() < seconds(31), "{:?}", began.elapsed());
    memory.wire.send_replace(Wire::Passes);
    connected(&connection).await;
    within(connection.spawn(request(&[]))).await.unwrap();
    is(&connection, ConnectionState::Connected).await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_gave_up_first_frees_what_the_agent_kept() {
    let agent = AgentOptions { session_timeout: None, max_sessions: 1, ..agent_options() };
    let remote = RemoteOptions { session_timeout: Some(seconds(5)), ..remote_options() };
    let (workers, memory, connection) = pair_with(agent, remote);
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    memory.wire.send_replace(Wire::Cut);
    let began = Instant::now();
    assert!(matches!(end_of(&mut link).await, Exit::Lost(_)));
    assert_eq!(began.elapsed(), seconds(5));
    sleep(seconds(3600)).await;
    workers.are(1).await;
    memory.wire.send_replace(Wire::Passes);
    workers.are(0).await;
    within(connection.spawn(request(&[]))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_infinite_session_comes_back_after_an_hour() {
    let agent = AgentOptions { session_timeout: None, ..agent_options() };
    let backoff = Backoff::default();
    let remote = RemoteOptions { session_timeout: None, backoff, ..remote_options() };
    let (_, memory, connection) = pair_with(agent, remote);
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    memory.wire.send_replace(Wire::Cut);
    link.commands.send(WorkerCommand::Message(message(b"later"))).await.unwrap();
    disconnected(&connection).await;
    sleep(seconds(3_600)).await;
    memory.wire.send_replace(Wire::Passes);
    assert_eq!(next_message(&mut link).await, message(b"later"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_host_is_noticed_in_5_seconds_and_lost_at_the_timeout() {
    let (workers, memory, connection) = pair();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    // Quiet, but alive: heartbeats pass.
    sleep(seconds(30)).await;
    assert!(link.events.try_recv().is_none());
    memory.wire.send_replace(Wire::Frozen);
    let began = Instant::now();
    disconnected(&connection).await;
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
    assert_eq!(connection.load(), None);
    let Exit::Lost(why) = end_of(&mut link).await else { panic!("nobody saw it end") };
    assert!(why.starts_with("agent ws://memory:4480: nothing was heard for 4s, and"), "{why}");
    assert!(
        began.elapsed() >= seconds(30) && began.elapsed() < seconds(36),
        "{:?}",
        began.elapsed()
    );
    workers.are(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_frozen_link_is_replaced_without_a_loss() {
    let (workers, memory, connection) = pair();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    memory.wire.send_replace(Wire::Frozen);
    // It looks sent, and is in a black hole. The busy app changes nothing about the silence.
    let commands = link.commands.clone();
    let talking = tokio::spawn(async move {
        for number in 0..1_000_u64 {
            let text = WorkerCommand::Message(message(&number.to_le_bytes()));
            within(commands.send(text)).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
    });
    disconnected(&connection).await;
    memory.wire.send_replace(Wire::Passes);
    let (messages, words) = heard(&mut link, 1_000).await;
    assert!(messages.into_iter().eq(0..1_000));
    assert_eq!(words, ["down", "up"]);
    within(talking).await.unwrap();
    workers.are(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_suspended_looks_before_it_judges() {
    let (workers, memory, connection) = pair();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    // Both ends at once, link up: whatever they make of the silence, nothing is lost.
    tokio::time::advance(seconds(3600)).await;
    link.commands.send(WorkerCommand::Message(message(b"awake"))).await.unwrap();
    assert_eq!(next_message(&mut link).await, message(b"awake"));
    // During an outage: time that nobody watched does not use up the session timeout.
    memory.wire.send_replace(Wire::Cut);
    sleep(seconds(2)).await;
    tokio::time::advance(seconds(3600)).await;
    memory.wire.send_replace(Wire::Passes);
    link.commands.send(WorkerCommand::Message(message(b"again"))).await.unwrap();
    assert_eq!(next_message(&mut link).await, message(b"again"));
    workers.are(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_is_told_at_once_and_serves_again() {
    let (workers, memory, connection) = pair();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    let other = FakeWorkers::new();
    memory.server.replace(server(agent_options(), &other));
    memory.wire.send_replace(Wire::Cut);
    assert!(matches!(within(link.events.recv()).await, Some(WorkerEvent::LinkDown)));
    memory.wire.send_replace(Wire::Passes);
    let began = Instant::now();
    let Exit::Lost(why) = end_of(&mut link).await else { panic!("its agent is gone") };
    assert!(why.ends_with("and it has lost the session since"), "{why}");
    assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    other.are(1).await;
    link.commands.send(WorkerCommand::Message(message(b"new"))).await.unwrap();
    assert_eq!(next_message(&mut link).await, message(b"new"));
    workers.are(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_asked_for_during_an_outage_comes_with_the_link() {
    let (workers, memory, connection) = pair();
    let _link = within(connection.spawn(request(&[]))).await.unwrap();
    memory.wire.send_replace(Wire::Cut);
    disconnected(&connection).await;
    let later = async {
        sleep(seconds(4)).await;
        memory.wire.send_replace(Wire::Passes);
    };
    let (link, ()) = within(async { tokio::join!(connection.spawn(request(&[])), later) }).await;
    let _second = link.unwrap();
    workers.are(2).await;
    // And one whose question was under way when the link was cut, to an agent that restarted.
    let other = FakeWorkers::new();
    memory.wire.send_replace(Wire::Frozen);
    memory.server.replace(server(agent_options(), &other));
    let later = async {
        sleep(seconds(5)).await;
        memory.wire.send_replace(Wire::Passes);
    };
    let (link, ()) = within(async { tokio::join!(connection.spawn(request(&[])), later) }).await;
    let _third = link.unwrap();
    other.are(1).await;
}

#[tokio::test(start_paused = true)]
async fn closing_frees_at_once_and_a_cut_does_not() {
    let (workers, memory, connection) = pair();
    let second = RemoteConnection::with_dialer(remote_options(), memory.clone());
    let kept = within(second.spawn(request(&[]))).await.unwrap();
    let _link = within(connection.spawn(request(&[]))).await.unwrap();
    workers.are(2).await;
    let began = Instant::now();
    connection.close();
    within(connection.closed()).await;
    workers.are(1).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    memory.wire.send_replace(Wire::Cut);
    sleep(seconds(20)).await;
    workers.are(1).await;
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_ends_during_an_outage_is_told_afterwards() {
    let (workers, memory, connection) = pair();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    let mut dropped = within(connection.spawn(request(&[]))).await.unwrap();
    link.commands.send(WorkerCommand::Signal(15)).await.unwrap();
    dropped.commands.send(WorkerCommand::Message(message(b"before"))).await.unwrap();
    assert_eq!(next_message(&mut dropped).await, message(b"before"));
    memory.wire.send_replace(Wire::Cut);
    drop(dropped);
    sleep(seconds(10)).await;
    memory.wire.send_replace(Wire::Passes);
    assert_eq!(end_of(&mut link).await, Exit::Signal(15));
    workers.are(0).await;
}

/// A worker's output during an outage stays within the agent's bounds, and nothing of it is lost.
#[tokio::test(start_paused = true)]
async fn output_that_nobody_takes_waits_and_arrives() {
    let (workers, memory, connection) = pair();
    let mut other = within(connection.spawn(request(&[]))).await.unwrap();
    memory.wire.send_replace(Wire::Cut);
    disconnected(&connection).await;
    let asked = async {
        let link = connection.spawn(request(&["--flood=100"])).await.unwrap();
        // Cut again while it floods.
        memory.wire.send_replace(Wire::Cut);
        link
    };
    let later = async {
        sleep(seconds(1)).await;
        memory.wire.send_replace(Wire::Passes);
    };
    let (mut link, ()) = within(async { tokio::join!(asked, later) }).await;
    sleep(seconds(10)).await;
    memory.wire.send_replace(Wire::Passes);
    for _ in 0..100 {
        assert_eq!(next_message(&mut link).await.len(), 1024 * 1024 + 4);
    }
    other.commands.send(WorkerCommand::Message(message(b"alive"))).await.unwrap();
    assert_eq!(next_message(&mut other).await, message(b"alive"));
    workers.are(2).await;
}

#[tokio::test(start_paused = true)]
async fn heartbeats_can_be_faster() {
    let timing = Timing {
        heartbeat: Duration::from_millis(100),
        silence: Duration::from_millis(400),
        ..Timing::default()
    };
    let agent = AgentOptions { timing, ..agent_options() };
    let silent_window = Duration::from_millis(300);
    let session_timeout = Some(seconds(1));
    let remote = RemoteOptions { timing, silent_window, session_timeout, ..remote_options() };
    let (_, memory, connection) = pair_with(agent, remote);
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    memory.wire.send_replace(Wire::Frozen);
    let began = Instant::now();
    disconnected(&connection).await;
    assert!(began.elapsed() <= Duration::from_millis(500), "{:?}", began.elapsed());
    assert!(matches!(end_of(&mut link).await, Exit::Lost(_)));
    assert!(began.elapsed() <= Duration::from_millis(1_500), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn two_controllers_share_an_agent_and_only_one_is_cut() {
    let workers = FakeWorkers::new();
    let agent = server(agent_options(), &workers);
    let (one, two) = (Memory::new(agent.clone()), Memory::new(agent));
    let cut = RemoteConnection::with_dialer(remote_options(), Arc::clone(&one) as _);
    let whole = RemoteConnection::with_dialer(remote_options(), two);
    let mut lost = within(cut.spawn(request(&[]))).await.unwrap();
    let mut kept = within(whole.spawn(request(&[]))).await.unwrap();
    one.wire.send_replace(Wire::Frozen);
    assert!(matches!(end_of(&mut lost).await, Exit::Lost(_)));
    workers.are(1).await;
    assert!(kept.events.try_recv().is_none());
    kept.commands.send(WorkerCommand::Message(message(b"here"))).await.unwrap();
    assert_eq!(next_message(&mut kept).await, message(b"here"));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_waits_is_dialed_for_about_each_second_however_often_links_fail() {
    let options = RemoteOptions { backoff: Backoff::new(|_| seconds(60)), ..remote_options() };
    let (_, memory, connection) = pair_with(agent_options(), options);
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    let mut dials = memory.dials.subscribe();
    sleep(seconds(2)).await;
    for cut in 0..30 {
        // Links that are refused, and links that end at once, in turn.
        let began = Instant::now();
        memory.wire.send_replace(Wire::Cut);
        within(async { while !matches!(link.events.recv().await, Some(WorkerEvent::LinkDown)) {} })
            .await;
        dials.mark_unchanged();
        if cut % 2 == 0 && cut > 0 {
            within(dials.changed()).await.unwrap();
            assert!(began.elapsed() <= seconds(1), "{cut}: {:?}", began.elapsed());
        }
        let began = Instant::now();
        memory.wire.send_replace(Wire::Passes);
        within(async { while !matches!(link.events.recv().await, Some(WorkerEvent::LinkUp)) {} })
            .await;
        assert!(began.elapsed() <= seconds(1), "{cut}: {:?}", began.elapsed());
        let least = if cut == 0 { Duration::ZERO } else { Duration::from_millis(500) };
        assert!(began.elapsed() >= least, "{cut}: {:?}", began.elapsed());
    }
}
