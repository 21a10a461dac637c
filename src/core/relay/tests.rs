//! The relay between a scripted library, a scripted state machine and scripted workers.

#![allow(clippy::unwrap_used)]

mod bench;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use self::bench::{Bench, Plan, WorkerEnd, frame, worker, worker_with};
use super::{ControlEvent, OPEN_TIMEOUT, parts::WAITING_MAX};
use crate::connection::{Exit, LINK_LIMIT, WorkerCommand, WorkerEvent};

const MOMENT: Duration = Duration::from_millis(50);

#[tokio::test(start_paused = true)]
async fn one_part_relays_and_ends_as_its_worker_ends() {
    let mut bench = Bench::new(Vec::new());
    bench.say("to 0 hello").await;
    assert_eq!(bench.home.next().await, "hello");
    bench.home.tell("event").await;
    assert_eq!(bench.hear().await, "0: event");
    bench.home.tell("last words").await;
    bench.home.exit(Exit::Code(3)).await;
    assert_eq!(bench.hear().await, "0: last words");
    assert_eq!(bench.hear().await, "died 0: it ended with code 3");
    assert_eq!(bench.end().await, Exit::Code(3));
    bench.home.is_dropped().await;
}

#[tokio::test(start_paused = true)]
async fn a_single_part_is_waited_for_without_end() {
    let (home, home_end) = worker_with("home", 512);
    let mut bench = Bench::with_home(home, home_end, Vec::new());
    let long = "x".repeat(400);
    for _ in 0..4 {
        bench.say(&format!("to 0 {long}")).await;
    }
    sleep(Duration::from_secs(120)).await;
    for _ in 0..4 {
        assert_eq!(bench.home.next().await, long);
    }
    assert!(!bench.ended());
}

#[tokio::test(start_paused = true)]
async fn what_is_said_to_a_part_that_opens_waits_in_order() {
    let (part, mut end) = worker("other");
    let mut bench = Bench::new(vec![Plan::After(Duration::from_secs(2), Box::new(part))]);
    for text in ["open 1", "to 1 a", "to 0 meanwhile", "to 1 b", "to 1 c"] {
        bench.say(text).await;
    }
    assert_eq!(bench.home.next().await, "meanwhile");
    assert!(bench.silent().await);
    assert_eq!(bench.hear().await, "opened 1 on other");
    for expected in ["a", "b", "c"] {
        assert_eq!(end.next().await, expected);
    }
    bench.say("to 1 d").await;
    assert_eq!(end.next().await, "d");
    end.tell("event").await;
    assert_eq!(bench.hear().await, "1: event");
    assert_eq!(bench.taken(), [["home"]]);
    assert_eq!(bench.local_pids(), [7, 7]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_begins_to_drain_is_told_at_once() {
    let mut bench = Bench::new(Vec::new());
    bench.say("listen").await;
    assert!(bench.silent().await, "nobody needs loads in between");
    for _ in 0..2 {
        bench.turn_drains();
        assert_eq!(bench.hear().await, "loads");
        assert!(bench.silent().await, "once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_cannot_be_had_fails_and_nothing_else() {
    let mut bench = Bench::new(vec![Plan::Fail("all hosts are full"), Plan::Never]);
    let began = Instant::now();
    bench.say("open 1").await;
    bench.say("to 1 lost").await;
    assert_eq!(bench.hear().await, "failed 1: all hosts are full");
    bench.say("open 2").await;
    assert_eq!(bench.hear().await, "failed 2: it did not start in time");
    assert!(began.elapsed() >= OPEN_TIMEOUT);
    bench.say("to 1 lost").await;
    bench.say("to 0 kept").await;
    assert_eq!(bench.home.next().await, "kept");
}

#[tokio::test(start_paused = true)]
async fn without_a_source_there_are_no_parts() {
    let mut bench = Bench::without_source();
    bench.say("open 1").await;
    assert_eq!(bench.hear().await, "failed 1: this Worker cannot have further parts");
}

#[tokio::test(start_paused = true)]
async fn a_part_dies_alone_and_home_ends_all() {
    let (mut bench, parts) = Bench::of_three().await;
    let [first, mut second] = parts;
    first.tell("last words").await;
    first.exit(Exit::Signal(11)).await;
    assert_eq!(bench.hear().await, "1: last words");
    assert_eq!(bench.hear().await, "died 1: it ended by signal 11");
    bench.say("to 1 nowhere").await;
    bench.say("to 2 somewhere").await;
    assert_eq!(second.next().await, "somewhere");
    bench.home.exit(Exit::Lost("its host is gone".to_owned())).await;
    assert_eq!(bench.hear().await, "died 0: its host is gone");
    assert_eq!(bench.end().await, Exit::Lost("its host is gone".to_owned()));
    second.is_dropped().await;
}

#[tokio::test(start_paused = true)]
async fn home_dies_and_the_last_part_leads() {
    let (mut bench, parts) = Bench::of_three().await;
    let [mut first, mut second] = parts;
    bench.say("survive").await;
    bench.say("to 0 noted").await;
    assert_eq!(bench.home.next().await, "noted");
    bench.home.exit(Exit::Code(1)).await;
    assert_eq!(bench.hear().await, "died 0: it ended with code 1");
    bench.say("to 1 on").await;
    assert_eq!(first.next().await, "on");
    bench.hang_up();
    assert!(matches!(first.command().await, Some(WorkerCommand::CloseInput)));
    assert!(matches!(second.command().await, Some(WorkerCommand::CloseInput)));
    second.exit(Exit::Signal(6)).await;
    sleep(MOMENT).await;
    assert!(!bench.ended());
    first.exit(Exit::Code(0)).await;
    assert_eq!(bench.end().await, Exit::Code(0));
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_home_and_with_it_all() {
    let (mut bench, parts) = Bench::of_three().await;
    let [mut first, second] = parts;
    bench.say("survive").await;
    bench.control.send(ControlEvent::Signal(15)).await.unwrap();
    assert!(matches!(bench.home.command().await, Some(WorkerCommand::Signal(15))));
    assert!(matches!(first.command().await, Some(WorkerCommand::CloseInput)));
    bench.home.exit(Exit::Signal(15)).await;
    assert_eq!(bench.end().await, Exit::Signal(15));
    first.is_dropped().await;
    second.is_dropped().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_stub_is_gone_every_worker_is_killed() {
    let (mut bench, parts) = Bench::of_three().await;
    let [mut first, mut second] = parts;
    bench.control.send(ControlEvent::Gone).await.unwrap();
    for end in [&mut bench.home, &mut first, &mut second] {
        assert!(matches!(end.command().await, Some(WorkerCommand::Signal(9))));
        assert!(matches!(end.command().await, Some(WorkerCommand::CloseInput)));
    }
    first.exit(Exit::Code(0)).await;
    bench.home.exit(Exit::Signal(9)).await;
    assert!(!bench.ended());
    second.exit(Exit::Code(0)).await;
    assert_eq!(bench.end().await, Exit::Signal(9));
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_closed_is_freed() {
    let (mut bench, parts) = Bench::of_three().await;
    let [first, second] = parts;
    bench.say("close 1").await;
    first.is_dropped().await;
    assert_eq!(bench.local_pids(), [7, 7]);
    bench.say("open 1").await;
    assert_eq!(bench.hear().await, "failed 1: no more plans");
    assert_eq!(bench.taken().last().unwrap(), &["home", "second"]);
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_part_holds_the_room_back_for_ten_seconds_at_most() {
    let (part, mut frozen) = worker_with("frozen", 512);
    let mut bench = Bench::new(vec![Plan::After(Duration::ZERO, Box::new(part))]);
    bench.say("open 1").await;
    assert_eq!(bench.hear().await, "opened 1 on frozen");
    let long = "x".repeat(400);
    for _ in 0..4 {
        bench.say(&format!("to 1 {long}")).await;
    }
    let began = Instant::now();
    sleep(MOMENT).await;
    bench.say("to 0 waits").await;
    sleep(Duration::from_secs(8)).await;
    // Its own voice is heard all the while.
    frozen.tell("still here").await;
    assert_eq!(bench.hear().await, "1: still here");
    assert!(bench.home.quiet());
    assert_eq!(bench.hear().await, "died 1: it takes no messages any more");
    assert_eq!(bench.home.next().await, "waits");
    assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&began.elapsed()));
    assert_eq!(frozen.next().await, long);
    frozen.is_dropped().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_part_gets_everything_in_order() {
    let (part, mut slow) = worker_with("slow", 512);
    let mut bench = Bench::new(vec![Plan::After(Duration::ZERO, Box::new(part))]);
    bench.say("open 1").await;
    assert_eq!(bench.hear().await, "opened 1 on slow");
    let long = "x".repeat(400);
    for number in 0..12 {
        bench.say(&format!("to 1 {number} {long}")).await;
    }
    bench.say("to 0 after").await;
    for number in 0..12 {
        sleep(Duration::from_secs(8)).await;
        assert_eq!(slow.next().await, format!("{number} {long}"));
    }
    assert_eq!(bench.home.next().await, "after");
    assert!(bench.silent().await);
}

#[tokio::test(start_paused = true)]
async fn a_busy_part_does_not_silence_another() {
    let (mut bench, parts) = Bench::of_three().await;
    let [first, _second] = parts;
    let flood = tokio::spawn({
        let events = bench.home.events.clone();
        async move {
            loop {
                let message = frame(&"y".repeat(1000));
                if events.send(WorkerEvent::Message(message)).await.is_err() {
                    return;
                }
            }
        }
    });
    assert!(bench.hear().await.starts_with("0: "));
    first.tell("me too").await;
    let mut heard = 0;
    while bench.hear().await != "1: me too" {
        heard += 1;
    }
    // What was queued and written before it, but no more.
    assert!(heard * 1000 < 4 * LINK_LIMIT, "{heard} messages came first");
    flood.abort();
}

#[tokio::test(start_paused = true)]
async fn an_app_that_does_not_read_is_no_fault_of_the_parts() {
    let (part, mut end) = worker_with("other", 512);
    let mut bench = Bench::new(vec![Plan::After(Duration::ZERO, Box::new(part))]);
    bench.say("open 1").await;
    assert_eq!(bench.hear().await, "opened 1 on other");
    let events = bench.home.events.clone();
    let long = "y".repeat(100_000);
    for _ in 0..60 {
        events.send(WorkerEvent::Message(frame(&long))).await.unwrap();
    }
    sleep(MOMENT).await;
    let text = "x".repeat(400);
    for _ in 0..4 {
        bench.say(&format!("to 1 {text}")).await;
    }
    sleep(Duration::from_secs(60)).await;
    for _ in 0..60 {
        assert!(bench.hear().await.starts_with("0: "));
    }
    for _ in 0..4 {
        assert_eq!(end.next().await, text);
    }
    assert!(bench.silent().await);
}

#[tokio::test(start_paused = true)]
async fn little_waits_for_a_part_that_opens() {
    let mut bench = Bench::new(vec![Plan::Never]);
    bench.say("open 1").await;
    let message = format!("to 1 {}", "x".repeat(100_000));
    let mut taken = 0;
    while timeout(MOMENT, bench.say(&message)).await.is_ok() {
        taken += message.len();
    }
    assert!(taken < 3 * 1024 * 1024, "{taken} bytes were taken");
    assert_eq!(bench.hear().await, "failed 1: it did not start in time");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_others_overwhelm_counts_as_dead() {
    let (part, frozen) = worker_with("frozen", 512);
    let mut bench = Bench::new(vec![Plan::After(Duration::ZERO, Box::new(part))]);
    bench.say("open 1").await;
    assert_eq!(bench.hear().await, "opened 1 on frozen");
    let copied = format!("copy 1 {}", "x".repeat(1_000_000));
    let began = Instant::now();
    for _ in 0..2 + WAITING_MAX / 1_000_000 {
        bench.home.tell(&copied).await;
    }
    assert_eq!(bench.hear().await, format!("died 1: more than {WAITING_MAX} bytes wait for it"));
    assert!(began.elapsed() < Duration::from_secs(5));
    frozen.is_dropped().await;
}

#[tokio::test(start_paused = true)]
async fn a_part_out_of_reach_holds_nobody_back_and_gets_all_of_it_later() {
    let (part, mut far) = worker_with("far", 512);
    let mut bench = Bench::new(vec![Plan::After(Duration::ZERO, Box::new(part))]);
    bench.say("open 1").await;
    assert_eq!(bench.hear().await, "opened 1 on far");
    far.events.send(WorkerEvent::LinkDown).await.unwrap();
    assert_eq!(bench.hear().await, "link 1 down");
    let long = "x".repeat(400);
    for number in 0..12 {
        bench.say(&format!("to 1 {number} {long}")).await;
    }
    bench.say("to 0 meanwhile").await;
    assert_eq!(bench.home.next().await, "meanwhile");
    // The session decides how long that may last.
    sleep(Duration::from_secs(25)).await;
    far.events.send(WorkerEvent::LinkUp).await.unwrap();
    assert_eq!(bench.hear().await, "link 1 up");
    for number in 0..12 {
        assert_eq!(far.next().await, format!("{number} {long}"));
    }
    assert!(bench.silent().await);
}

#[tokio::test(start_paused = true)]
async fn tells_the_time_when_asked_to() {
    let mut bench = Bench::new(Vec::new());
    let began = Instant::now();
    bench.say("wake 3000").await;
    assert_eq!(bench.hear().await, "awake");
    let due = Duration::from_secs(3);
    assert!((due..due + MOMENT).contains(&began.elapsed()));
    assert!(bench.silent().await);
}

async fn opened(bench: &mut Bench, name: &str, id: u32) {
    bench.say(&format!("open {id}")).await;
    assert_eq!(bench.hear().await, format!("opened {id} on {name}"));
}

impl Bench {
    /// A home and two parts, `first` and `second`.
    async fn of_three() -> (Self, [WorkerEnd; 2]) {
        let (first, first_end) = worker("first");
        let (second, second_end) = worker("second");
        let plans = [first, second].map(|part| Plan::After(Duration::ZERO, Box::new(part)));
        let mut bench = Self::new(plans.into());
        opened(&mut bench, "first", 1).await;
        opened(&mut bench, "second", 2).await;
        (bench, [first_end, second_end])
    }
}
