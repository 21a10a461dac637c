//! A controller and an agent in memory, in paused time.

#![allow(clippy::unwrap_used)]

mod support;

use std::{sync::Arc, time::Duration};

use mediasoup_horizontal::{
    agent::AgentOptions,
    compatibility::{Aspect, Difference},
    connection::{
        Connection, Exit, HostLoad, SpawnError, WorkerCommand, WorkerEvent,
        remote::{RemoteConnection, RemoteOptions, Status},
    },
    net::{HostIdentity, Token},
};
use support::{
    Memory, Wire, agent_options, connected, end_of, message, next_message, pair, pair_with,
    remote_options, request, server, within,
};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn carries_messages_texts_signals_and_the_exit() {
    let (workers, _, connection) = pair();
    connection.start();
    connected(&connection).await;
    assert_eq!(connection.name(), "ws://memory:4480");
    let addresses = connection.addresses().unwrap();
    assert!(addresses.colocated);
    assert_eq!(addresses.app_seen_as, Some("127.0.0.1".parse().unwrap()));

    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    assert_eq!(link.pid, 4711);
    assert_eq!(connection.load().unwrap().workers, 1);
    assert_eq!(connection.load().unwrap().max_workers, 4);
    for content in [b"one".to_vec(), vec![9; 4 * 1024 * 1024], b"three".to_vec()] {
        let sent = message(&content);
        link.commands.send(WorkerCommand::Message(sent.clone())).await.unwrap();
        assert!(
            matches!(within(link.events.recv()).await, Some(WorkerEvent::Stdout(text)) if text == content)
        );
        assert_eq!(next_message(&mut link).await, sent);
    }
    link.commands.send(WorkerCommand::Signal(15)).await.unwrap();
    assert_eq!(end_of(&mut link).await, Exit::Signal(15));
    assert!(within(link.events.recv()).await.is_none());
    workers.are(0).await;

    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    link.commands.send(WorkerCommand::CloseInput).await.unwrap();
    assert_eq!(end_of(&mut link).await, Exit::Code(0));
    workers.are(0).await;
}

#[tokio::test(start_paused = true)]
async fn tells_what_the_agent_says_of_its_host() {
    let mut agent = agent_options();
    agent.labels = [("region".to_owned(), "eu".to_owned())].into();
    let (_workers, memory, connection) = pair_with(agent, remote_options());
    let load = || connection.host_load().unwrap();
    assert_eq!(load(), HostLoad::default(), "nobody was asked yet");
    connection.start();
    connected(&connection).await;
    assert_eq!(load().region(), Some("eu"));
    assert!(load().cores >= 1);
    let told = within(async {
        while load().age.is_none() {
            sleep(Duration::from_millis(100)).await;
        }
        load()
    });
    assert!(told.await.age.unwrap() <= Duration::from_secs(1));
    memory.wire.send_replace(Wire::Frozen);
    sleep(Duration::from_secs(3)).await;
    assert!(load().age.unwrap() >= Duration::from_secs(2), "it grows old in silence");
}

#[tokio::test(start_paused = true)]
async fn a_port_range_holds_for_apps_on_other_hosts_only() {
    let range = Some((20_000, 20_100));
    for (here, expected) in [(true, None), (false, range)] {
        let mut agent = agent_options();
        agent.addresses.port_range = range;
        let mut remote = remote_options();
        if !here {
            remote.app.host = HostIdentity::default();
        }
        let (workers, _, connection) = pair_with(agent, remote);
        let link = within(connection.spawn(request(&[]))).await.unwrap();
        assert_eq!((link.addresses.colocated, link.addresses.port_range), (here, expected));
        let started_with = workers.addresses.borrow().clone();
        assert_eq!(started_with, Some(link.addresses), "both ends go by the same addresses");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_link_frees_its_worker() {
    let (workers, _, connection) = pair();
    let link = within(connection.spawn(request(&[]))).await.unwrap();
    drop(link);
    workers.are(0).await;
    // One that does not mind its input is killed.
    let link = within(connection.spawn(request(&["--stubborn"]))).await.unwrap();
    workers.are(1).await;
    let began = Instant::now();
    drop(link);
    workers.are(0).await;
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn tells_the_agents_reasons() {
    let (workers, _, connection) =
        pair_with(AgentOptions { max_workers: 1, ..agent_options() }, remote_options());
    let wrong = within(connection.spawn(request(&["--wrong"]))).await.err();
    assert_eq!(wrong, Some(SpawnError::WrongSettings("--wrong".to_owned())));
    let other = mediasoup_horizontal::connection::SpawnRequest {
        fingerprint: "beef".to_owned(),
        ..request(&[])
    };
    let Err(SpawnError::Incompatible(text)) = within(connection.spawn(other)).await else {
        panic!("another schema must not run");
    };
    let text = text.message;
    assert!(text.contains("beef") && text.contains(support::SCHEMA), "{text}");
    let first = within(connection.spawn(request(&[]))).await.unwrap();
    let Err(SpawnError::Full(text)) = within(connection.spawn(request(&[]))).await else {
        panic!("the agent is full");
    };
    assert_eq!(text, "agent ws://memory:4480: it runs 1 of 1 workers (--max-workers)");
    drop(first);
    workers.are(0).await;
    within(connection.spawn(request(&[]))).await.unwrap();
    let mut by_path = request(&[]);
    by_path.worker_bin = Some("/tmp/worker".into());
    assert!(matches!(within(connection.spawn(by_path)).await, Err(SpawnError::NoBinary(_))));
}

async fn refusal(options: RemoteOptions) -> (SpawnError, Arc<Memory>, RemoteConnection) {
    let (_, memory, connection) = pair_with(agent_options(), options);
    let error = within(connection.spawn(request(&[]))).await.err().unwrap();
    (error, memory, connection)
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_stops_the_attempts_until_the_next_spawn() {
    let token = Some(Token::new("guessed").unwrap());
    let (error, memory, connection) = refusal(RemoteOptions { token, ..remote_options() }).await;
    let SpawnError::Unauthorized(text) = error else { panic!("{error:?}") };
    assert!(text.contains("does not take our token (401 Unauthorized)"), "{text}");
    assert!(!text.contains("guessed"));
    assert!(matches!(*connection.status().borrow(), Status::Refused(_)));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(*memory.dials.borrow(), 1);
    assert!(within(connection.spawn(request(&[]))).await.is_err());
    assert_eq!(*memory.dials.borrow(), 2);

    let (error, ..) = refusal(RemoteOptions { token: None, ..remote_options() }).await;
    let SpawnError::Unauthorized(text) = error else { panic!("{error:?}") };
    assert!(text.contains("asks for a token and none is set"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_misfit_is_told_with_every_difference() {
    let options = RemoteOptions {
        version: "3.28.0".to_owned(),
        fingerprint: "beef".to_owned(),
        ..remote_options()
    };
    let (error, ..) = refusal(options).await;
    let SpawnError::Incompatible(told) = error else { panic!("{error}") };
    assert!(told.message.starts_with("agent ws://memory:4480 does not fit: "), "{told}");
    let sides = |one: &Difference| (one.what, one.ours.clone(), one.theirs.clone());
    let text = str::to_owned;
    assert_eq!(
        told.differences.iter().map(sides).collect::<Vec<_>>(),
        [
            (Aspect::Version, text("3.28.0"), text("3.27.1")),
            (Aspect::Schema, text("beef"), text("0123456789abcdef of 3.27.1")),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_spawn_waits_for_the_agent_and_tells_why_it_never_came() {
    let (_, memory, connection) = pair();
    memory.wire.send_replace(Wire::Cut);
    let began = Instant::now();
    let error = within(connection.spawn(request(&[]))).await.err();
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    let reason = "ws://memory: connection refused".to_owned();
    assert_eq!(error, Some(SpawnError::Unreachable(reason)));
    assert!(*memory.dials.borrow() > 50, "it dialed again and again");

    let later = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        memory.wire.send_replace(Wire::Passes);
    };
    let request = request(&[]);
    let (link, ()) = within(async { tokio::join!(connection.spawn(request), later) }).await;
    link.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_never_reads_loses_its_worker_and_only_its_own() {
    let (workers, _, connection) = pair();
    let mut slow = within(connection.spawn(request(&["--flood=80"]))).await.unwrap();
    let mut other = within(connection.spawn(request(&[]))).await.unwrap();
    workers.are(1).await;
    other.commands.send(WorkerCommand::Message(message(b"alive"))).await.unwrap();
    assert_eq!(next_message(&mut other).await, message(b"alive"));
    let Exit::Lost(reason) = end_of(&mut slow).await else { panic!("it was given up") };
    assert!(reason.contains("the app did not read"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_never_reads_is_given_up_and_only_it() {
    let (workers, _, connection) = pair();
    let mut deaf = within(connection.spawn(request(&["--deaf"]))).await.unwrap();
    let mut other = within(connection.spawn(request(&[]))).await.unwrap();
    for _ in 0..80 {
        let large = WorkerCommand::Message(message(&vec![1; 1024 * 1024]));
        if within(deaf.commands.send(large)).await.is_err() {
            break;
        }
    }
    let Exit::Lost(reason) = end_of(&mut deaf).await else { panic!("it was given up") };
    assert_eq!(reason, "the worker did not read what was sent to it");
    other.commands.send(WorkerCommand::Message(message(b"alive"))).await.unwrap();
    assert_eq!(next_message(&mut other).await, message(b"alive"));
    workers.are(1).await;
}

#[tokio::test(start_paused = true)]
async fn closing_the_connection_frees_everything() {
    let (workers, _, connection) = pair();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    connection.close();
    let Exit::Lost(reason) = end_of(&mut link).await else { panic!("closed") };
    assert!(reason.contains("was closed"), "{reason}");
    workers.are(0).await;
    let mut status = connection.status();
    within(status.wait_for(|status| matches!(status, Status::Closed))).await.unwrap();
    assert!(matches!(
        within(connection.spawn(request(&[]))).await,
        Err(SpawnError::Unreachable(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn sessions_do_not_touch_each_other() {
    let (workers, memory, first) = pair();
    let second = RemoteConnection::with_dialer(remote_options(), memory.clone());
    let mut kept = within(second.spawn(request(&[]))).await.unwrap();
    let mut lost = within(first.spawn(request(&[]))).await.unwrap();
    workers.are(2).await;
    // A panic in one session: the agent has lost it, and the next one too. Asked of every new
    // session it would be the end of all of them.
    let broken = within(first.spawn(request(&["--panic"]))).await;
    let Err(SpawnError::Unreachable(text)) = broken else { panic!("it never started") };
    assert!(text.contains("has lost the session"), "{text}");
    let Exit::Lost(text) = end_of(&mut lost).await else { panic!("its agent forgot it") };
    let expected = "agent ws://memory:4480: the peer ended the connection, and it has lost the \
                    session since";
    assert_eq!(text, expected);
    workers.are(1).await;
    kept.commands.send(WorkerCommand::Message(message(b"here"))).await.unwrap();
    assert_eq!(next_message(&mut kept).await, message(b"here"));
}

#[tokio::test(start_paused = true)]
async fn an_agent_with_all_its_sessions_tells_so() {
    let (_, memory, first) =
        pair_with(AgentOptions { max_sessions: 1, ..agent_options() }, remote_options());
    first.start();
    connected(&first).await;
    let second = RemoteConnection::with_dialer(remote_options(), memory);
    let error = within(second.spawn(request(&[]))).await.err().unwrap();
    let SpawnError::Full(text) = error else { panic!("{error:?}") };
    assert_eq!(text, "agent ws://memory:4480 refused: it has 1 sessions already (--max-sessions)");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ends_lets_its_workers_end_first() {
    let workers = support::FakeWorkers::new();
    let server = server(agent_options(), &workers);
    let memory = Memory::new(server.clone());
    let connection = RemoteConnection::with_dialer(remote_options(), memory);
    let mut polite = within(connection.spawn(request(&[]))).await.unwrap();
    let mut deaf = within(connection.spawn(request(&["--deaf"]))).await.unwrap();
    server.stop();
    assert_eq!(end_of(&mut polite).await, Exit::Code(0));
    assert!(matches!(end_of(&mut deaf).await, Exit::Lost(_)));
    within(server.idle()).await;
}
