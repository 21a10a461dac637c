//! Mock workers behind a connection.

use bytes::BytesMut;
use mediasoup_horizontal::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    channel::{
        Envelope, Message, compose,
        method::{Event, Method},
    },
    connection::{
        Connection, DtlsFiles, Exit, SpawnError, SpawnRequest, WorkerCommand, WorkerEvent,
        WorkerLink,
        mock::{MockConnection, MockConnectionOptions},
    },
};

use crate::bodies::{create_router, create_server, udp};

pub fn request(args: &[&str]) -> SpawnRequest {
    SpawnRequest {
        version: MEDIASOUP_VERSION.to_owned(),
        fingerprint: SCHEMA_FINGERPRINT.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        dtls: DtlsFiles::default(),
        worker_bin: None,
    }
}

pub async fn spawn(connection: &MockConnection) -> WorkerLink {
    let mut link = connection.spawn(request(&["--logLevel=none"])).await.expect("a worker");
    let running = message(&mut link).await;
    assert_eq!(running, reparsed(compose::worker_running(link.pid)));
    link
}

fn reparsed(message: Message) -> Message {
    Message::parse(BytesMut::from(&message.into_bytes()[..])).expect("it verifies")
}

pub async fn message(link: &mut WorkerLink) -> Message {
    match link.events.recv().await {
        Some(WorkerEvent::Message(bytes)) => Message::parse(bytes).expect("it verifies"),
        other => panic!("a message, not {other:?}"),
    }
}

pub async fn exit(link: &mut WorkerLink) -> Exit {
    match link.events.recv().await {
        Some(WorkerEvent::Exited(exit)) => {
            assert!(link.events.recv().await.is_none(), "the last event");
            exit
        }
        other => panic!("the end, not {other:?}"),
    }
}

pub async fn send(link: &WorkerLink, message: Message) {
    let bytes = message.into_bytes().freeze();
    link.commands.send(WorkerCommand::Message(bytes)).await.expect("the worker takes it");
}

#[tokio::test]
async fn answers_and_ends_with_its_close_notification() {
    let connection = MockConnection::default();
    let handle = connection.handle();
    let mut link = spawn(&connection).await;
    assert_eq!(handle.workers(), [link.pid]);
    assert_eq!(connection.load().map(|load| load.workers), Some(1));
    let body = create_server("s", vec![udp(0)]);
    send(&link, compose::request(1, Method::WorkerCreateWebrtcserver, "", Some(body))).await;
    send(&link, compose::request(2, Method::WorkerCreateRouter, "", Some(create_router("r"))))
        .await;
    for id in [1, 2] {
        let answer = message(&mut link).await;
        let Envelope::Response(answer) = answer.envelope() else { panic!("an answer") };
        assert_eq!((answer.id, answer.accepted), (id, true));
    }
    assert_eq!(handle.objects(link.pid).map(|objects| objects.routers), Some(1));
    assert_eq!(handle.sockets(), 1);
    send(&link, compose::notification("", Event::WorkerClose, None)).await;
    assert_eq!(exit(&mut link).await, Exit::Code(0));
    assert!(handle.workers().is_empty());
    assert_eq!(handle.sockets(), 0);
    assert!(handle.violations().is_empty());
}

#[tokio::test]
async fn ends_as_signals_and_input_tell() {
    let connection = MockConnection::default();
    for (command, expected) in [
        (WorkerCommand::Signal(15), Exit::Code(0)),
        (WorkerCommand::Signal(2), Exit::Code(0)),
        (WorkerCommand::Signal(9), Exit::Signal(9)),
        (WorkerCommand::CloseInput, Exit::Code(0)),
    ] {
        let mut link = spawn(&connection).await;
        // HUP is ignored.
        link.commands.send(WorkerCommand::Signal(1)).await.expect("taken");
        link.commands.send(command).await.expect("taken");
        assert_eq!(exit(&mut link).await, expected);
    }
    let WorkerLink { commands, mut events, .. } = spawn(&connection).await;
    drop(commands);
    assert!(matches!(events.recv().await, Some(WorkerEvent::Exited(Exit::Code(0)))));
    drop(spawn(&connection).await);
    while !connection.handle().workers().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn wrong_settings_end_it_before_it_runs() {
    let connection = MockConnection::default();
    for args in [&["--logLevel=chicken"][..], &["--rtcMinPort=1000", "--rtcMaxPort=999"][..]] {
        let mut link = connection.spawn(request(args)).await.expect("a link");
        assert!(matches!(link.events.recv().await, Some(WorkerEvent::Stderr(_))));
        assert_eq!(exit(&mut link).await, Exit::Code(42));
    }
    assert!(connection.handle().workers().is_empty());
}

#[tokio::test]
async fn garbage_crashes_it() {
    let connection = MockConnection::default();
    let mut link = spawn(&connection).await;
    let garbage = bytes::Bytes::from_static(&[4, 0, 0, 0, 1, 2, 3, 4]);
    link.commands.send(WorkerCommand::Message(garbage)).await.expect("taken");
    assert_eq!(exit(&mut link).await, Exit::Signal(11));
    assert_eq!(connection.handle().violations().len(), 1);
}

#[tokio::test]
async fn tests_play_fate() {
    let connection = MockConnection::default();
    let handle = connection.handle();
    let mut one = spawn(&connection).await;
    let mut two = spawn(&connection).await;
    assert_ne!(one.pid, two.pid);
    let news = compose::notification("consumer", Event::ConsumerProducerClose, None);
    assert!(handle.emit(one.pid, news.clone()));
    assert_eq!(message(&mut one).await, reparsed(news));
    assert!(handle.kill(one.pid, Exit::Signal(6)));
    assert_eq!(exit(&mut one).await, Exit::Signal(6));
    assert!(!handle.kill(one.pid, Exit::Signal(6)));
    connection.close();
    assert_eq!(exit(&mut two).await, Exit::Lost("mock is closed".to_owned()));
    assert!(matches!(connection.spawn(request(&[])).await, Err(SpawnError::Unreachable(_))));
}

#[tokio::test]
async fn refuses_what_it_cannot_run() {
    let options = MockConnectionOptions { max_workers: 1, ..MockConnectionOptions::default() };
    let connection = MockConnection::new(options);
    let other = SpawnRequest { version: "3.14.0".to_owned(), ..request(&[]) };
    assert!(matches!(connection.spawn(other).await, Err(SpawnError::Incompatible(_))));
    let _link = spawn(&connection).await;
    assert!(matches!(connection.spawn(request(&[])).await, Err(SpawnError::Full(_))));
}
