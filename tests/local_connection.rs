//! This host as a source of workers.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use mediasoup_horizontal::{
    addresses::{HostAddresses, PortPolicy},
    connection::{
        Connection, DtlsFiles, Exit, SpawnError, SpawnRequest, WorkerCommand, WorkerEvent,
        WorkerLink,
        local::{LocalConnection, LocalOptions},
    },
    worker_process::{Binaries, BinarySources, Environment},
};
use tokio::time::{sleep, timeout};

const TEST_LIMIT: Duration = Duration::from_secs(20);
const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fake-worker.sh");

fn options(what: &str) -> LocalOptions {
    let environment = Environment::of_process().with("FAKE", what);
    let sources =
        BinarySources { explicit: vec![format!("3.27.1={FAKE}")], ..BinarySources::default() };
    LocalOptions {
        name: "local".into(),
        addresses: HostAddresses {
            colocated: true,
            bind: Vec::new(),
            pipe: None,
            announced: Vec::new(),
            behind_nat: false,
            port_range: Some((40000, 41000)),
            port_policy: PortPolicy::Remap,
            app_seen_as: None,
        },
        binaries: Binaries::new(environment.clone(), sources),
        version: None,
        environment,
        max_workers: None,
        in_place: false,
    }
}

#[tokio::test]
async fn says_that_it_is_this_host() {
    // The stub guards only workers of such a connection, and without a core it needs one.
    assert!(LocalConnection::new(options("echo")).is_local());
}

fn request() -> SpawnRequest {
    SpawnRequest {
        version: "3.27.1".into(),
        fingerprint: "any".into(),
        args: Vec::new(),
        dtls: DtlsFiles::default(),
        worker_bin: None,
    }
}

async fn exit(link: &mut WorkerLink) -> Exit {
    loop {
        let event = timeout(TEST_LIMIT, link.events.recv()).await.unwrap();
        if let WorkerEvent::Exited(exit) = event.expect("an exit comes last") {
            return exit;
        }
    }
}

fn workers(connection: &LocalConnection) -> usize {
    connection.load().unwrap().workers
}

#[tokio::test]
async fn starts_workers_and_counts_them() {
    let connection = LocalConnection::new(options("echo"));
    let mut one = connection.spawn(request()).await.unwrap();
    let two = connection.spawn(request()).await.unwrap();
    assert_eq!(workers(&connection), 2);
    assert!(connection.load().unwrap().max_workers >= 1);
    assert!(one.addresses.colocated);
    one.commands.send(WorkerCommand::CloseInput).await.unwrap();
    assert_eq!(exit(&mut one).await, Exit::Code(0));
    assert_eq!(workers(&connection), 1, "counted out before its exit is told");
    drop(two);
    timeout(TEST_LIMIT, async {
        while workers(&connection) > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_limit_is_enforced_only_when_set() {
    let connection = LocalConnection::new(LocalOptions { max_workers: Some(1), ..options("echo") });
    let mut link = connection.spawn(request()).await.unwrap();
    assert_eq!(connection.load().unwrap().max_workers, 1);
    let error = connection.spawn(request()).await.map(drop).unwrap_err();
    assert!(matches!(&error, SpawnError::Full(text) if text.contains("maxWorkers")), "{error}");
    link.commands.send(WorkerCommand::CloseInput).await.unwrap();
    exit(&mut link).await;
    connection.spawn(request()).await.unwrap();

    let failing = LocalConnection::new(LocalOptions { max_workers: Some(1), ..options("echo") });
    let missing = SpawnRequest { worker_bin: Some("/tmp/foo".into()), ..request() };
    for _ in 0..3 {
        let error = failing.spawn(missing.clone()).await.map(drop).unwrap_err();
        assert_eq!(error.to_string(), "spawn /tmp/foo ENOENT", "a failure gives its place back");
    }
}

#[tokio::test]
async fn runs_the_binary_that_the_app_names() {
    let connection =
        LocalConnection::new(LocalOptions { binaries: Binaries::default(), ..options("exit42") });
    let named = SpawnRequest { worker_bin: Some(FAKE.into()), ..request() };
    let mut link = connection.spawn(named).await.unwrap();
    assert_eq!(exit(&mut link).await, Exit::Code(42));
    let error = connection.spawn(request()).await.map(drop).unwrap_err();
    assert!(matches!(&error, SpawnError::NoBinary(text) if text.contains("worker install")));
}

#[tokio::test]
async fn keeps_the_ports_of_the_host() {
    let connection = LocalConnection::new(options("version"));
    let asked = SpawnRequest { args: vec!["--rtcMinPort=40500".into()], ..request() };
    let mut link = connection.spawn(asked).await.unwrap();
    let event = timeout(TEST_LIMIT, link.events.recv()).await.unwrap().unwrap();
    let WorkerEvent::Stdout(text) = event else { panic!("{event:?}") };
    assert_eq!(text, "3.27.1 --rtcMinPort=40500 --rtcMaxPort=41000");
}

#[tokio::test]
async fn closing_ends_every_worker() {
    let connection = LocalConnection::new(options("echo"));
    let mut one = connection.spawn(request()).await.unwrap();
    let mut two = connection.spawn(request()).await.unwrap();
    connection.close();
    assert_eq!(exit(&mut one).await, Exit::Code(0));
    assert_eq!(exit(&mut two).await, Exit::Code(0));
    let error = connection.spawn(request()).await.map(drop).unwrap_err();
    assert!(matches!(error, SpawnError::Unreachable(text) if text.contains("closed")));
}

#[tokio::test]
async fn workers_outlive_a_dropped_connection() {
    let connection = LocalConnection::new(options("echo"));
    let mut link = connection.spawn(request()).await.unwrap();
    drop(connection);
    sleep(Duration::from_millis(50)).await;
    let message = Bytes::from_static(b"\x08\0\0\0abcdefgh");
    link.commands.send(WorkerCommand::Message(message.clone())).await.unwrap();
    let event = timeout(TEST_LIMIT, link.events.recv()).await.unwrap();
    assert!(matches!(event, Some(WorkerEvent::Message(echo)) if echo == message));
}

#[tokio::test]
async fn offers_no_worker_in_place_unless_told() {
    assert!(LocalConnection::new(options("echo")).spawn_in_place(&request()).is_none());
}

#[tokio::test]
async fn gives_the_ends_of_a_worker_in_place() {
    let temporary = tempfile::tempdir().unwrap();
    let base = options("echo");
    let environment = base.environment.clone().with("TMPDIR", temporary.path());
    let connection = LocalConnection::new(LocalOptions { in_place: true, environment, ..base });
    let dtls = DtlsFiles { certificate: Some("PEM".into()), private_key: None };
    let request = SpawnRequest { dtls, args: vec!["--logLevel=warn".into()], ..request() };
    let mut worker = connection.spawn_in_place(&request).unwrap().unwrap();
    assert_eq!(worker.binary, PathBuf::from(FAKE));
    assert_eq!(worker.args[0], "--logLevel=warn");
    let pem = worker.args.iter().find_map(|arg| arg.strip_prefix("--dtlsCertificateFile="));
    let pem = PathBuf::from(pem.unwrap());
    assert_eq!(fs::read_to_string(&pem).unwrap(), "PEM");
    assert_eq!(workers(&connection), 1);

    let message = Bytes::from_static(b"\x08\0\0\0abcdefgh");
    worker.link.commands.send(WorkerCommand::Message(message.clone())).await.unwrap();
    let signal = WorkerCommand::Signal(libc::SIGKILL);
    worker.link.commands.send(signal).await.unwrap();
    let (input, output): (OwnedFd, OwnedFd) = (worker.input, worker.output);
    let said = message.clone();
    let played = tokio::task::spawn_blocking(move || {
        let mut heard = [0; 12];
        let mut input = UnixStream::from(input);
        input.read_exact(&mut heard).unwrap();
        UnixStream::from(output).write_all(&said).unwrap();
        heard
    });
    let event = timeout(TEST_LIMIT, worker.link.events.recv()).await.unwrap();
    assert!(matches!(event, Some(WorkerEvent::Message(echo)) if echo == message));
    assert_eq!(played.await.unwrap(), message[..]);
    assert_eq!(exit(&mut worker.link).await, Exit::Code(0), "its output has ended");
    assert_eq!(workers(&connection), 0);
    assert!(pem.exists());
    drop(worker.guard);
    assert!(!pem.exists());
}

#[tokio::test]
async fn an_in_place_worker_that_never_starts_is_counted_out() {
    let connection = LocalConnection::new(LocalOptions { in_place: true, ..options("echo") });
    let missing = SpawnRequest { worker_bin: Some("/tmp/foo".into()), ..request() };
    let error = connection.spawn_in_place(&missing).unwrap().map(drop).unwrap_err();
    assert_eq!(error.to_string(), "spawn /tmp/foo ENOENT");
    let worker = connection.spawn_in_place(&request()).unwrap().unwrap();
    drop(worker);
    timeout(TEST_LIMIT, async {
        while workers(&connection) > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}
