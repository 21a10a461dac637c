//! An agent that drains, in memory and at its admin socket.

#![allow(clippy::unwrap_used)]

mod support;

use std::{path::Path, time::Duration};

use mediasoup_horizontal::{
    agent::{
        AgentOptions, AgentState, DrainOrder, Server,
        admin::{
            Admin, AdminSocket,
            cli::{self, AdminError, DrainArgs, StatusArgs, Which},
        },
        cli::TimeLimit,
    },
    connection::{
        Connection, Exit, SpawnError, WorkerCommand,
        remote::{RemoteConnection, RemoteOptions},
    },
};
use serde_json::Value;
use support::{
    FakeWorkers, Memory, Wire, agent_options, connected, end_of, message, next_message, pair,
    pair_with, remote_options, request, server, within,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::{Instant, sleep},
};

fn order(timeout: Option<u64>, exit: bool) -> DrainOrder {
    let timeout = timeout.map(Duration::from_secs);
    DrainOrder { timeout, exit, reason: "a test".to_owned() }
}

fn agent(memory: &Memory) -> Server {
    memory.server()
}

/// Waits until the controller knows.
async fn heard(connection: &RemoteConnection, draining: bool) {
    within(connection.draining().wait_for(|now| *now == draining)).await.unwrap();
    assert_eq!(connection.host_load().unwrap().draining, draining);
}

#[tokio::test(start_paused = true)]
async fn a_draining_agent_keeps_what_it_has_and_takes_nothing_new() {
    let (workers, memory, connection) = pair();
    connection.start();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    assert_eq!(agent(&memory).state(), AgentState::Running);
    agent(&memory).drain(order(None, false)).unwrap();
    heard(&connection, true).await;
    let Err(SpawnError::Draining(text)) = within(connection.spawn(request(&[]))).await else {
        panic!("no error of its own")
    };
    assert_eq!(
        text,
        "agent ws://memory:4480: it drains and takes no new workers; another agent must, or its \
         drain be cancelled"
    );
    link.commands.send(WorkerCommand::Message(message(b"still here"))).await.unwrap();
    assert_eq!(next_message(&mut link).await, message(b"still here"));
    workers.are(1).await;
    assert!(agent(&memory).cancel_drain() && !agent(&memory).cancel_drain());
    heard(&connection, false).await;
    let _more = within(connection.spawn(request(&[]))).await.unwrap();
    workers.are(2).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_later_hears_of_it_and_of_its_end() {
    let (_workers, memory, connection) = pair();
    agent(&memory).drain(order(Some(60), false)).unwrap();
    connection.start();
    connected(&connection).await;
    assert!(connection.host_load().unwrap().draining, "the welcome tells");
    // A link that is down misses the word of the end.
    memory.wire.send_replace(Wire::Cut);
    within(connection.status().changed()).await.unwrap();
    agent(&memory).cancel_drain();
    memory.wire.send_replace(Wire::Passes);
    heard(&connection, false).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_over_once_nothing_is_left() {
    let (_workers, memory, connection) = pair();
    connection.start();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    let agent = agent(&memory);
    agent.drain(order(None, true)).unwrap();
    let drained = tokio::spawn({
        let agent = agent.clone();
        async move { agent.drained().await }
    });
    sleep(Duration::from_secs(3600)).await;
    assert!(!drained.is_finished());
    link.commands.send(WorkerCommand::CloseInput).await.unwrap();
    assert_eq!(end_of(&mut link).await, Exit::Code(0));
    within(drained).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_is_over_at_the_deadline_that_was_told_last() {
    let (_workers, memory, connection) = pair();
    connection.start();
    let _link = within(connection.spawn(request(&[]))).await.unwrap();
    let agent = agent(&memory);
    let drained = tokio::spawn({
        let agent = agent.clone();
        async move { agent.drained().await }
    });
    let began = Instant::now();
    agent.drain(order(Some(10), true)).unwrap();
    sleep(Duration::from_secs(5)).await;
    let draining = agent.drain(order(Some(20), true)).unwrap();
    assert_eq!(draining.since, began, "the same drain");
    assert_eq!(draining.left(), Some(Duration::from_secs(20)));
    within(drained).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 25);
    let AgentState::Draining(draining) = agent.state() else { panic!("{:?}", agent.state()) };
    assert!(draining.is_overdue());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cancelled_or_only_drains_does_not_end() {
    let (_workers, memory, _connection) = pair();
    let agent = agent(&memory);
    let drained = tokio::spawn({
        let agent = agent.clone();
        async move { agent.drained().await }
    });
    agent.drain(order(Some(1), false)).unwrap();
    sleep(Duration::from_secs(60)).await;
    assert!(!drained.is_finished(), "nobody asked for its end");
    agent.cancel_drain();
    sleep(Duration::from_secs(60)).await;
    assert!(!drained.is_finished());
    agent.stop();
    assert_eq!(agent.state(), AgentState::Closing);
    assert_eq!(
        agent.drain(order(None, true)).unwrap_err().to_string(),
        "the agent is about to end"
    );
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_what_is_left() {
    let (workers, memory, connection) = pair();
    connection.start();
    let _link = within(connection.spawn(request(&[]))).await.unwrap();
    sleep(Duration::from_secs(90)).await;
    let agent = agent(&memory);
    let status = agent.status();
    assert_eq!((status.state.as_str(), status.workers, status.max_workers), ("running", 1, 4));
    assert_eq!(status.draining, None);
    let [session] = status.sessions.as_slice() else { panic!("{status:?}") };
    assert!(session.linked && session.controller.is_some() && session.peer.is_some());
    let [worker] = session.workers.as_slice() else { panic!("{status:?}") };
    assert_eq!(worker.pid, Some(4711));
    assert!((90_000..100_000).contains(&worker.age_ms), "{worker:?}");
    agent.drain(order(Some(30), true)).unwrap();
    memory.wire.send_replace(Wire::Cut);
    within(connection.status().changed()).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    let status = agent.status();
    assert_eq!(status.state, "draining");
    let drain = status.draining.unwrap();
    assert_eq!((drain.for_ms, drain.left_ms, drain.exit), (10_000, Some(20_000), true));
    assert!(!status.sessions[0].linked);
    agent.cancel_drain();
    drop(connection);
    workers.are(0).await;
    let status = agent.status();
    assert_eq!((status.workers, status.sessions), (0, Vec::new()));
}

/// An agent with an admin socket, in a folder of the test's own.
struct Operated {
    folder: TempDir,
    workers: FakeWorkers,
    memory: std::sync::Arc<Memory>,
    connection: RemoteConnection,
    admin: Admin,
}

impl Operated {
    fn new() -> Self {
        let (workers, memory, connection) = pair();
        let folder = TempDir::new().unwrap();
        let socket = AdminSocket::open(&folder.path().join("admin")).unwrap();
        let admin = Admin::start(socket, agent(&memory));
        connection.start();
        Self { folder, workers, memory, connection, admin }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("admin")
    }

    fn which(&self) -> Which {
        Which { admin_socket: Some(self.path()), listen_port: 4480 }
    }

    fn drain(&self) -> DrainArgs {
        let which = self.which();
        DrainArgs { which, timeout: None, no_wait: false, no_exit: false, cancel: false }
    }
}

/// What the command line prints, and its exit status.
async fn drain(args: DrainArgs) -> (Result<u8, AdminError>, Vec<Value>) {
    let mut out = Vec::new();
    let ended = within(cli::drain(args, &mut out)).await;
    let lines = String::from_utf8(out).unwrap();
    (ended, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[tokio::test]
async fn an_operator_hears_what_is_left_until_nothing_is() {
    let operated = Operated::new();
    let mut first = within(operated.connection.spawn(request(&[]))).await.unwrap();
    let mut second = within(operated.connection.spawn(request(&[]))).await.unwrap();
    let drained = tokio::spawn(drain(operated.drain()));
    heard(&operated.connection, true).await;
    for link in [&mut first, &mut second] {
        link.commands.send(WorkerCommand::CloseInput).await.unwrap();
        assert_eq!(end_of(link).await, Exit::Code(0));
    }
    let (status, lines) = within(drained).await.unwrap();
    assert_eq!(status.unwrap(), 0);
    let told: Vec<_> = lines.iter().map(|line| (&line["event"], &line["workers"])).collect();
    assert_eq!(told[0], (&"draining".into(), &2.into()), "{told:?}");
    assert_eq!(told[told.len() - 1], (&"drained".into(), &0.into()), "{told:?}");
    assert_eq!(lines[0]["sessions"][0]["workers"][0]["pid"], 4711);
    assert_eq!(lines[0]["draining"]["exit"], true);
    assert_eq!(lines[0]["draining"]["leftMs"], Value::Null);
    within(operated.memory.server().drained()).await;
    operated.workers.are(0).await;
    within(operated.admin.end()).await;
    assert_eq!(std::fs::read_dir(operated.folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_operator_hears_of_the_deadline_the_end_and_of_another_operator() {
    let operated = Operated::new();
    let _link = within(operated.connection.spawn(request(&[]))).await.unwrap();
    let timeout = Some(TimeLimit(Some(Duration::from_millis(50))));
    let (status, lines) = drain(DrainArgs { timeout, no_exit: true, ..operated.drain() }).await;
    assert_eq!(status.unwrap(), 3);
    let last = lines.last().unwrap();
    assert_eq!((&last["event"], &last["draining"]["leftMs"]), (&"deadline".into(), &0.into()));
    assert_eq!((&last["workers"], &last["draining"]["exit"]), (&1.into(), &false.into()));

    let waits = tokio::spawn(drain(operated.drain()));
    let mut draining = operated.memory.server();
    while !matches!(draining.state(), AgentState::Draining(drain) if drain.exit) {
        sleep(Duration::from_millis(2)).await;
        draining = operated.memory.server();
    }
    let (status, lines) = drain(DrainArgs { cancel: true, ..operated.drain() }).await;
    assert_eq!((status.unwrap(), &lines[0]["event"]), (0, &"cancelled".into()));
    let (status, lines) = within(waits).await.unwrap();
    assert_eq!((status.unwrap(), &lines.last().unwrap()["event"]), (4, &"cancelled".into()));
    heard(&operated.connection, false).await;

    let (status, lines) = drain(DrainArgs { no_wait: true, ..operated.drain() }).await;
    assert_eq!((status.unwrap(), lines.len()), (0, 1));
    heard(&operated.connection, true).await;

    let waits = tokio::spawn(drain(operated.drain()));
    sleep(Duration::from_millis(20)).await;
    operated.memory.server().stop();
    let (status, _) = within(waits).await.unwrap();
    let error = status.unwrap_err().to_string();
    assert!(error.ends_with("it ends before all of its workers have"), "{error}");
    let (status, _) = drain(operated.drain()).await;
    assert!(status.unwrap_err().to_string().ends_with("the agent is about to end"));
}

#[tokio::test]
async fn an_operator_is_told_the_status_in_both_ways() {
    let operated = Operated::new();
    let _link = within(operated.connection.spawn(request(&[]))).await.unwrap();
    let status = async |json| {
        let mut out = Vec::new();
        let args = StatusArgs { which: operated.which(), json };
        assert_eq!(within(cli::status(args, &mut out)).await.unwrap(), 0);
        String::from_utf8(out).unwrap()
    };
    let text = status(false).await;
    assert!(text.contains(" running\n1 of 4 workers\nsession 1 of "), "{text}");
    assert!(text.contains("\n  pid 4711, 0 s old"), "{text}");
    let told: Value = serde_json::from_str(&status(true).await).unwrap();
    assert_eq!((&told["event"], &told["state"]), (&"status".into(), &"running".into()));
    operated.memory.server().drain(order(Some(100), false)).unwrap();
    let text = status(false).await;
    assert!(text.contains(" draining for 0 s, 99 s left, and it stays (a test)\n"), "{text}");
}

/// What an admin socket answers to bytes.
async fn answer(path: &Path, bytes: &[u8]) -> Value {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut line = String::new();
    within(BufReader::new(stream).read_line(&mut line)).await.unwrap();
    serde_json::from_str(&line).unwrap()
}

#[tokio::test]
async fn wrong_requests_get_an_error_and_change_nothing() {
    let operated = Operated::new();
    let path = operated.path();
    let long = vec![b' '; 5000];
    for (request, why) in [
        (&b"\n"[..], "malformed"),
        (b"{}\n", "missing field `command`"),
        (b"{\"command\":\"dance\"}\n", "unknown variant `dance`"),
        (b"{\"command\":\"drain\"}\n", "missing field `exit`"),
        (b"{\"command\":\"drain\",\"exit\":true,\"wait\":true,\"now\":1}\n", "unknown field `now`"),
        (
            b"{\"command\":\"drain\",\"exit\":true,\"wait\":true,\"timeoutMs\":-1}\n",
            "invalid value",
        ),
        (b"\xff\xfe\n", "malformed"),
        (&long, "at most 4096 bytes"),
    ] {
        let answer = answer(&path, request).await;
        assert_eq!(answer["event"], "error", "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(why), "{answer}");
    }
    assert_eq!(operated.memory.server().state(), AgentState::Running);
    assert_eq!(answer(&path, b"{\"command\":\"status\"}\n").await["state"], "running");
}

#[tokio::test]
async fn too_many_operators_are_turned_away_and_a_silent_one_in_time() {
    let operated = Operated::new();
    let path = operated.path();
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(UnixStream::connect(&path).await.unwrap());
    }
    assert_eq!(
        answer(&path, b"{\"command\":\"status\"}\n").await["message"],
        "too many are asking"
    );
    let mut text = String::new();
    within(silent[0].read_to_string(&mut text)).await.unwrap();
    assert!(text.contains("no request within 5 s"), "{text}");
    while silent.pop().is_some() {}
    // Their places are free again.
    within(async {
        while answer(&path, b"{\"command\":\"status\"}\n").await["event"] != "status" {}
    })
    .await;
}

#[tokio::test]
async fn a_command_for_an_agent_that_is_not_there_names_the_places() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("nobody");
    let which = Which { admin_socket: Some(path.clone()), listen_port: 4480 };
    let args = DrainArgs { which, timeout: None, no_wait: true, no_exit: true, cancel: false };
    let expected = format!("no agent of this user listens at {}", path.display());
    let (status, _) = drain(args.clone()).await;
    assert!(status.unwrap_err().to_string().starts_with(&expected));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (status, _) = drain(args).await;
    assert!(status.unwrap_err().to_string().starts_with(&expected));
}

#[tokio::test(start_paused = true)]
async fn a_full_agent_that_drains_says_that_it_drains() {
    let options = AgentOptions { max_workers: 1, ..agent_options() };
    let (_workers, memory, connection) = pair_with(options, remote_options());
    connection.start();
    let _link = within(connection.spawn(request(&[]))).await.unwrap();
    agent(&memory).drain(order(None, false)).unwrap();
    let refused = within(connection.spawn(request(&[]))).await;
    assert!(matches!(refused, Err(SpawnError::Draining(_))));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_was_restarted_no_longer_drains() {
    let (workers, memory, connection) = pair_with(agent_options(), patient());
    agent(&memory).drain(order(None, false)).unwrap();
    connection.start();
    heard(&connection, true).await;
    memory.wire.send_replace(Wire::Cut);
    within(connection.status().changed()).await.unwrap();
    memory.server.replace(server(agent_options(), &workers));
    memory.wire.send_replace(Wire::Passes);
    heard(&connection, false).await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_left_is_waited_for_like_any_other() {
    let (workers, memory, connection) = pair();
    connection.start();
    agent(&memory).drain(order(None, true)).unwrap();
    heard(&connection, true).await;
    within(agent(&memory).drained()).await;
    agent(&memory).stop();
    heard(&connection, false).await;
    let next = async {
        sleep(Duration::from_secs(3)).await;
        memory.server.replace(server(agent_options(), &workers));
    };
    let (link, ()) = tokio::join!(connection.spawn(request(&[])), next);
    link.unwrap();
}

fn patient() -> RemoteOptions {
    RemoteOptions { session_timeout: None, ..remote_options() }
}
