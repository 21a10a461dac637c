//! Worker processes against a shell script that plays the worker, and the real one once.

#![allow(clippy::unwrap_used)]

#[path = "support/real_worker.rs"]
mod real_worker;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use mediasoup_horizontal::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    addresses::{HostAddresses, PortPolicy},
    channel::framing::{FrameReader, MESSAGE_MAX},
    connection::{
        DtlsFiles, Exit, SpawnError, SpawnRequest, WorkerCommand, WorkerEvent, WorkerLink,
    },
    worker_process::{Environment, Launcher, WorkerBinary},
};
use real_worker::real_worker;
use tokio::time::timeout;

const SHORT: Duration = Duration::from_millis(200);
const TEST_LIMIT: Duration = Duration::from_secs(20);

fn fake() -> WorkerBinary {
    WorkerBinary {
        path: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fake-worker.sh").into(),
        version: MEDIASOUP_VERSION.into(),
        schema: None,
    }
}

fn request() -> SpawnRequest {
    SpawnRequest {
        version: MEDIASOUP_VERSION.into(),
        fingerprint: SCHEMA_FINGERPRINT.into(),
        args: Vec::new(),
        dtls: DtlsFiles::default(),
        worker_bin: None,
    }
}

fn addresses() -> HostAddresses {
    HostAddresses {
        colocated: true,
        bind: Vec::new(),
        pipe: None,
        announced: Vec::new(),
        behind_nat: false,
        port_range: None,
        port_policy: PortPolicy::Remap,
        app_seen_as: None,
    }
}

fn environment(what: &str) -> Environment {
    Environment::of_process().with("FAKE", what)
}

fn launcher(what: &str) -> Launcher {
    Launcher::new(environment(what)).with_grace(SHORT)
}

fn start(what: &str) -> WorkerLink {
    launcher(what).start(&fake(), &request(), addresses(), ()).expect("the fake worker starts")
}

fn message(payload: &[u8]) -> Bytes {
    let size = u32::try_from(payload.len()).unwrap();
    [&size.to_le_bytes(), payload].concat().into()
}

#[derive(Debug, Default)]
struct Heard {
    messages: Vec<BytesMut>,
    stdout: String,
    stderr: Vec<u8>,
}

/// Listens until the worker's end, which must be the last event.
async fn listen(mut link: WorkerLink) -> (Heard, Exit) {
    let mut heard = Heard::default();
    let end = async {
        while let Some(event) = link.events.recv().await {
            match event {
                WorkerEvent::Message(message) => heard.messages.push(message),
                WorkerEvent::Stdout(bytes) => heard.stdout += &String::from_utf8_lossy(&bytes),
                WorkerEvent::Stderr(bytes) => heard.stderr.extend_from_slice(&bytes),
                WorkerEvent::LinkDown | WorkerEvent::LinkUp => panic!("there is no link to lose"),
                WorkerEvent::Exited(exit) => {
                    assert!(link.events.recv().await.is_none(), "the exit is the last event");
                    return exit;
                }
            }
        }
        panic!("the link ended without an exit");
    };
    let exit = timeout(TEST_LIMIT, end).await.expect("the worker ends in time");
    (heard, exit)
}

fn runs(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

async fn until_gone(pid: u32) {
    let gone = async {
        while runs(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TEST_LIMIT, gone).await.expect("the process ends and leaves no zombie");
}

#[tokio::test]
async fn messages_go_through_in_both_directions() {
    let mut link = start("echo");
    let sent: Vec<_> = (0..2000_usize)
        .map(|at| message(&vec![u8::try_from(at % 251).unwrap(); 8 + (at * 37) % 5000]))
        .chain([message(&vec![9; MESSAGE_MAX - 4])])
        .collect();
    for message in &sent {
        link.commands.send(WorkerCommand::Message(message.clone())).await.unwrap();
    }
    for message in &sent {
        match timeout(TEST_LIMIT, link.events.recv()).await.unwrap() {
            Some(WorkerEvent::Message(echo)) => assert_eq!(echo, message[..]),
            other => panic!("an echo was due, came {other:?}"),
        }
    }
    let pid = link.pid;
    assert!(runs(pid));
    link.commands.send(WorkerCommand::CloseInput).await.unwrap();
    assert_eq!(listen(link).await.1, Exit::Code(0));
    assert!(!runs(pid), "an exit is told after the process is reaped");
}

#[tokio::test]
async fn what_was_queued_before_the_end_of_the_input_still_arrives() {
    let link = start("echo");
    for _ in 0..100 {
        link.commands.try_send(WorkerCommand::Message(message(&[1; 3000]))).unwrap();
    }
    link.commands.try_send(WorkerCommand::CloseInput).unwrap();
    let (heard, exit) = listen(link).await;
    assert_eq!((heard.messages.len(), exit), (100, Exit::Code(0)));
}

#[tokio::test]
async fn exit_codes_and_signals_are_told() {
    assert_eq!(listen(start("exit42")).await.1, Exit::Code(42));
    let (heard, exit) = listen(start("signal")).await;
    assert_eq!((heard.messages.len(), exit), (1, Exit::Signal(libc::SIGSEGV)));
}

#[tokio::test]
async fn every_message_comes_before_the_exit() {
    let (heard, exit) = listen(start("messages")).await;
    assert_eq!((heard.messages.len(), exit), (500, Exit::Code(5)));
}

#[tokio::test]
async fn a_listener_that_comes_after_the_death_still_hears_everything() {
    // More than the queue holds, so that the rest waits in the reader and in the kernel.
    let link = start("heavy");
    until_gone(link.pid).await;
    tokio::time::sleep(SHORT).await;
    let (heard, exit) = listen(link).await;
    assert_eq!((heard.messages.len(), exit), (6, Exit::Code(6)));
}

#[tokio::test]
async fn a_worker_that_nobody_listens_to_is_ended() {
    let WorkerLink { pid, commands, events, .. } = start("echo");
    drop(events);
    until_gone(pid).await;
    commands.closed().await;
}

#[tokio::test]
async fn signals_reach_the_worker() {
    let mut link = start("trap");
    // The trap stands once the script is past its start.
    tokio::time::sleep(SHORT).await;
    link.commands.send(WorkerCommand::Signal(libc::SIGUSR2)).await.unwrap();
    let event = timeout(TEST_LIMIT, link.events.recv()).await.unwrap();
    assert!(matches!(event, Some(WorkerEvent::Message(_))), "{event:?}");
    assert_eq!(listen(link).await.1, Exit::Code(9));
    let link = start("deaf");
    link.commands.send(WorkerCommand::Signal(libc::SIGTERM)).await.unwrap();
    assert_eq!(listen(link).await.1, Exit::Signal(libc::SIGTERM));
}

#[tokio::test]
async fn a_worker_that_ignores_the_end_of_its_input_is_killed() {
    let link = start("deaf");
    let began = Instant::now();
    link.commands.send(WorkerCommand::CloseInput).await.unwrap();
    assert_eq!(listen(link).await.1, Exit::Signal(libc::SIGKILL));
    assert!(began.elapsed() >= SHORT, "it had its grace time");
}

#[tokio::test]
async fn dropping_the_commands_closes_the_input() {
    let WorkerLink { pid, addresses, commands, events } = start("echo");
    commands.send(WorkerCommand::Message(message(&[5; 20]))).await.unwrap();
    drop(commands);
    let (unused, _) = mediasoup_horizontal::queue::bounded(1);
    let (heard, exit) = listen(WorkerLink { pid, addresses, commands: unused, events }).await;
    assert_eq!((heard.messages.len(), exit), (1, Exit::Code(0)));
}

#[tokio::test]
async fn dropping_the_link_frees_the_worker_and_its_children() {
    let polite = start("echo");
    let (pid, began) = (polite.pid, Instant::now());
    drop(polite);
    until_gone(pid).await;
    assert!(began.elapsed() < SHORT, "it needs no grace time");

    let stubborn = start("deaf-family");
    let pid = stubborn.pid;
    tokio::time::sleep(SHORT).await;
    drop(stubborn);
    assert!(group_runs(pid));
    until_gone(pid).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!group_runs(pid), "its child was ended too");
}

/// Whether a process of the group runs. A killed orphan may stay a zombie of a lazy init.
fn group_runs(group: u32) -> bool {
    let stats = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    stats.into_iter().any(|stat| {
        // After the name in parentheses: state, parent, group.
        let (_, after) = stat.rsplit_once(") ").unwrap();
        let mut fields = after.split(' ');
        fields.next() != Some("Z") && fields.nth(1) == Some(group.to_string().as_str())
    })
}

#[tokio::test]
async fn a_slow_worker_holds_back_the_sender_and_can_be_killed_all_the_same() {
    let link = start("deaf");
    let large = WorkerCommand::Message;
    let mut taken = 0;
    while timeout(SHORT, link.commands.send(large(message(&vec![0; 4_000_000])))).await.is_ok() {
        taken += 1;
        assert!(taken < 20, "the queue is bounded");
    }
    assert!(taken >= 8, "took {taken}");
    let pid = link.pid;
    drop(link);
    until_gone(pid).await;
}

#[tokio::test]
async fn a_signal_overtakes_messages_that_the_worker_does_not_read() {
    let link = start("deaf");
    for _ in 0..5 {
        link.commands.send(WorkerCommand::Message(message(&vec![0; 150_000]))).await.unwrap();
    }
    link.commands.send(WorkerCommand::Signal(libc::SIGTERM)).await.unwrap();
    assert_eq!(listen(link).await.1, Exit::Signal(libc::SIGTERM));
}

#[tokio::test]
async fn a_flood_on_stderr_comes_whole() {
    let (heard, exit) = listen(start("flood")).await;
    assert_eq!((heard.stderr.len(), exit), (3_000_000, Exit::Code(0)));
}

#[tokio::test]
async fn a_grandchild_that_keeps_the_output_open_delays_the_exit_by_a_second_at_most() {
    let began = Instant::now();
    let link = start("grandchild");
    let group = link.pid;
    let (heard, exit) = listen(link).await;
    assert_eq!((heard.stderr.as_slice(), exit), (&b"last"[..], Exit::Code(3)));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // SAFETY: the group is the fake worker's; its sleeping child is still there.
    unsafe { libc::kill(-libc::pid_t::try_from(group).unwrap(), libc::SIGKILL) };
}

#[tokio::test]
async fn a_worker_that_breaks_the_channel_is_killed() {
    let (heard, exit) = listen(start("garbage")).await;
    assert_eq!(exit, Exit::Signal(libc::SIGKILL));
    let text = String::from_utf8(heard.stderr).unwrap();
    assert!(text.contains("announces 4294967295 bytes"), "{text}");
}

#[tokio::test]
async fn a_worker_that_closed_its_input_is_still_heard() {
    let mut link = start("blind");
    let event = timeout(TEST_LIMIT, link.events.recv()).await.unwrap();
    assert!(matches!(event, Some(WorkerEvent::Message(_))), "{event:?}");
    link.commands.send(WorkerCommand::Message(message(&[0; 8]))).await.unwrap();
    assert_eq!(listen(link).await.1, Exit::Signal(libc::SIGKILL), "it is of no use");
}

#[tokio::test]
async fn a_worker_sees_its_own_environment_and_arguments() {
    let environment = environment("environment")
        .with("MEDIASOUP_HORIZONTAL_TOKEN", "secret")
        .with("LD_LIBRARY_PATH_OF_APP", "kept");
    let launcher = Launcher::new(environment);
    let link = launcher.start(&fake(), &request(), addresses(), ()).unwrap();
    let (heard, _) = listen(link).await;
    assert!(!heard.stdout.contains("secret"), "{}", heard.stdout);
    assert!(heard.stdout.contains("LD_LIBRARY_PATH_OF_APP=kept"), "{}", heard.stdout);
    assert!(heard.stdout.contains("MEDIASOUP_HORIZONTAL_WORKER=1"), "{}", heard.stdout);

    let request = SpawnRequest { args: vec!["--logLevel=warn".into()], ..request() };
    let link = crate::launcher("version").start(&fake(), &request, addresses(), ()).unwrap();
    let (heard, _) = listen(link).await;
    assert_eq!(heard.stdout, format!("{MEDIASOUP_VERSION} --logLevel=warn"));
}

#[tokio::test]
async fn a_worker_has_its_five_descriptors_and_a_group_of_its_own() {
    let (heard, _) = listen(start("descriptors")).await;
    let target = |fd: &str| {
        let line = heard.stdout.lines().find(|line| line.contains(&format!(" {fd} -> ")));
        line.unwrap_or_else(|| panic!("no fd {fd} in {}", heard.stdout)).to_owned()
    };
    assert!(target("0").contains("/dev/null"));
    assert!(target("1").contains("pipe:") && target("2").contains("pipe:"));
    assert!(target("3").contains("socket:") && target("4").contains("socket:"));
    assert_eq!(heard.stdout.matches("socket:").count(), 2, "{}", heard.stdout);
    assert_eq!(heard.stdout.matches("pidfd").count(), 0, "{}", heard.stdout);

    let (heard, _) = listen(start("group")).await;
    let ids: Vec<_> = heard.stdout.split_whitespace().collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
}

#[tokio::test]
async fn dtls_texts_become_files_that_go_with_the_worker() {
    let temporary = tempfile::tempdir().unwrap();
    let launcher = Launcher::new(environment("pem").with("TMPDIR", temporary.path()));
    let dtls = DtlsFiles { certificate: Some("CERTIFICATE".into()), private_key: None };
    let request = SpawnRequest { dtls, ..request() };
    let mut link = launcher.start(&fake(), &request, addresses(), ()).unwrap();
    let event = timeout(TEST_LIMIT, link.events.recv()).await.unwrap();
    assert!(
        matches!(&event, Some(WorkerEvent::Stdout(text)) if text == "CERTIFICATE"),
        "{event:?}"
    );
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1);
    link.commands.send(WorkerCommand::CloseInput).await.unwrap();
    assert_eq!(listen(link).await.1, Exit::Code(0));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn valgrind_wraps_the_worker() {
    let environment = environment("version")
        .with("MEDIASOUP_USE_VALGRIND", "true")
        .with("MEDIASOUP_VALGRIND_BIN", "/bin/echo")
        .with("MEDIASOUP_VALGRIND_OPTIONS", "--one  --two");
    let launcher = Launcher::new(environment);
    let request = SpawnRequest { args: vec!["--logTag=ice".into()], ..request() };
    let (heard, _) = listen(launcher.start(&fake(), &request, addresses(), ()).unwrap()).await;
    let path = fake().path;
    assert_eq!(heard.stdout, format!("--one --two {} --logTag=ice\n", path.display()));
}

#[tokio::test]
async fn errors_are_told_before_anything_starts() {
    let start = |path: &str, request: &SpawnRequest| {
        let binary = WorkerBinary { path: path.into(), ..fake() };
        launcher("exit42").start(&binary, request, addresses(), ()).map(drop).unwrap_err()
    };
    assert_eq!(start("/tmp/foo", &request()).to_string(), "spawn /tmp/foo ENOENT");
    assert_eq!(start("/dev/null", &request()).to_string(), "spawn /dev/null EACCES");
    let odd = SpawnRequest { args: vec!["--exec=sh".into()], ..request() };
    assert!(matches!(start("/bin/true", &odd), SpawnError::WrongSettings(_)));
    let binary = WorkerBinary { schema: Some("other".into()), ..fake() };
    let error = launcher("exit42").start(&binary, &request(), addresses(), ()).map(drop);
    assert!(matches!(error, Err(SpawnError::Incompatible(why)) if why.message.contains("other")));
}

#[test]
fn a_runtime_that_ends_leaves_no_worker() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let link = runtime.block_on(async { start("deaf") });
    drop(runtime);
    let began = Instant::now();
    while runs(link.pid) {
        assert!(began.elapsed() < TEST_LIMIT, "the worker is killed and reaped");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn the_real_worker_says_that_it_runs_and_ends_with_its_input() {
    use channel_schema::fbs::{message, notification};
    use channel_schema::planus::ReadAsRoot;

    let launcher = Launcher::new(Environment::of_process());
    let mut link = launcher.start(&real_worker(), &request(), addresses(), ()).unwrap();
    let pid = link.pid;
    let event = timeout(TEST_LIMIT, link.events.recv()).await.unwrap();
    let Some(WorkerEvent::Message(bytes)) = event else { panic!("no message: {event:?}") };
    let mut frames = FrameReader::default();
    frames.buffer().extend_from_slice(&bytes);
    assert_eq!(frames.next().unwrap().as_ref(), Some(&bytes), "it is one whole message");
    let root = message::MessageRef::read_as_root(&bytes[4..]).unwrap();
    let message::BodyRef::Notification(told) = root.data().unwrap() else {
        panic!("not a notification")
    };
    assert_eq!(told.event().unwrap(), notification::Event::WorkerRunning);
    assert_eq!(told.handler_id().unwrap(), pid.to_string());
    link.commands.send(WorkerCommand::CloseInput).await.unwrap();
    assert_eq!(listen(link).await.1, Exit::Code(0));

    let wrong = SpawnRequest { args: vec!["--logLevel=chicken".into()], ..request() };
    let link = launcher.start(&real_worker(), &wrong, addresses(), ()).unwrap();
    assert_eq!(listen(link).await.1, Exit::Code(42));
}
