//! The agent's binary with worker scripts: how it starts, ends and what it leaves behind.

#![allow(clippy::unwrap_used)]

#[path = "support/certificates.rs"]
mod certificates;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use certificates::{Authority, Valid};
use mediasoup_horizontal::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    connection::{
        Connection, DtlsFiles, Exit, SpawnError, SpawnRequest, WorkerCommand, WorkerEvent,
        WorkerLink,
        remote::{RemoteConnection, RemoteOptions},
    },
    net::{Backoff, ClientTlsOptions, Token},
};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

const ECHO: &str = "#!/bin/sh\nexec cat <&3 >&4\n";
const DEAF: &str = "#!/bin/sh\ntrap '' TERM INT HUP\nwhile :; do sleep 1; done\n";

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.expect("took longer than a test may")
}

fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mediasoup-horizontal-agent"));
    command
        .args(args)
        .env_remove("MEDIASOUP_HORIZONTAL_TOKEN")
        .env_remove("MEDIASOUP_WORKER_BIN")
        .env("MEDIASOUP_HORIZONTAL_CACHE", "/nonexistent")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    ready: Value,
    _folder: TempDir,
}

impl Running {
    async fn new(worker: &str, args: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let path = script(folder.path(), "worker", worker);
        let named = format!("{MEDIASOUP_VERSION}={}", path.display());
        let mut all = vec!["--listen", "127.0.0.1:0", "--worker-bin", &named];
        all.extend(args);
        let mut child = command(&all).stderr(Stdio::inherit()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within(stdout.next_line()).await.unwrap().expect("a ready line");
        let ready = serde_json::from_str(&line).unwrap();
        Self { child, stdout, ready, _folder: folder }
    }

    fn url(&self) -> &str {
        self.ready["url"].as_str().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

fn connection(url: &str, token: Option<&str>) -> RemoteConnection {
    let token = token.map(|token| Token::new(token).unwrap());
    let backoff = Backoff::new(|_| Duration::from_millis(20));
    RemoteConnection::new(RemoteOptions { token, backoff, ..RemoteOptions::new(url).unwrap() })
        .unwrap()
}

fn request() -> SpawnRequest {
    SpawnRequest {
        version: MEDIASOUP_VERSION.to_owned(),
        fingerprint: SCHEMA_FINGERPRINT.to_owned(),
        args: vec!["--logLevel=warn".to_owned()],
        dtls: DtlsFiles::default(),
        worker_bin: None,
    }
}

async fn end_of(link: &mut WorkerLink) -> Exit {
    loop {
        if let WorkerEvent::Exited(exit) = within(link.events.recv()).await.expect("an exit") {
            return exit;
        }
    }
}

/// Waits until a process of another is gone. There is no event to wait for: it is not our child.
async fn is_gone(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    within(async {
        // A zombie waits for its new parent only.
        while kill(pid, None) != Err(Errno::ESRCH) && !state().contains(") Z") {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn says_ready_and_runs_workers() {
    let mut agent = Running::new(ECHO, &["--max-workers", "1", "--label", "region=eu"]).await;
    let ready = &agent.ready;
    assert_eq!(ready["event"], "ready");
    assert_eq!(ready["url"], format!("ws://{}", ready["address"].as_str().unwrap()));
    assert_eq!(ready["fingerprint"], SCHEMA_FINGERPRINT);
    assert_eq!(ready["workers"][0]["version"], MEDIASOUP_VERSION);
    assert_eq!(ready["workers"][0]["schema"], SCHEMA_FINGERPRINT);
    assert_eq!(ready["pid"], agent.child.id().unwrap());
    assert!(ready["agentId"].is_string() && ready["instanceId"].is_string());

    let connection = connection(agent.url(), None);
    let mut link = within(connection.spawn(request())).await.unwrap();
    assert!(matches!(within(connection.spawn(request())).await, Err(SpawnError::Full(_))));
    let mut sent = BytesMut::new();
    sent.put_u32_le(3_000_000);
    sent.put_bytes(5, 3_000_000);
    let sent = sent.freeze();
    link.commands.send(WorkerCommand::Message(sent.clone())).await.unwrap();
    loop {
        match within(link.events.recv()).await.unwrap() {
            WorkerEvent::Message(bytes) => {
                assert_eq!(bytes, sent);
                break;
            }
            WorkerEvent::Exited(exit) => panic!("{exit:?}"),
            _ => {}
        }
    }
    link.commands.send(WorkerCommand::CloseInput).await.unwrap();
    assert_eq!(end_of(&mut link).await, Exit::Code(0));

    agent.signal(Signal::SIGINT);
    assert!(within(agent.child.wait()).await.unwrap().success());
    assert_eq!(within(agent.stdout.next_line()).await.unwrap(), None, "one line on stdout");
}

#[tokio::test]
async fn a_closed_connection_ends_its_worker() {
    let agent = Running::new(DEAF, &[]).await;
    let connection = connection(agent.url(), None);
    let link = within(connection.spawn(request())).await.unwrap();
    connection.close();
    is_gone(link.pid).await;
}

#[tokio::test]
async fn sigterm_ends_workers_first_and_then_the_agent() {
    let mut agent = Running::new(ECHO, &[]).await;
    let connection = connection(agent.url(), None);
    let mut link = within(connection.spawn(request())).await.unwrap();
    agent.signal(Signal::SIGTERM);
    assert_eq!(end_of(&mut link).await, Exit::Code(0));
    assert_eq!(within(agent.child.wait()).await.unwrap().code(), Some(0));
    let error = within(connection.spawn(request())).await.err().unwrap();
    let SpawnError::Unreachable(text) = error else { panic!("{error:?}") };
    assert_eq!(text, format!("{}: connection refused", agent.url()));
}

#[tokio::test]
async fn sigterm_kills_workers_that_do_not_end() {
    let mut agent = Running::new(DEAF, &["--max-workers", "2"]).await;
    let connection = connection(agent.url(), None);
    let mut links = Vec::new();
    for _ in 0..2 {
        links.push(within(connection.spawn(request())).await.unwrap());
    }
    let began = Instant::now();
    agent.signal(Signal::SIGTERM);
    assert_eq!(within(agent.child.wait()).await.unwrap().code(), Some(0));
    let took = began.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(8), "{took:?}");
    for link in &mut links {
        assert_eq!(end_of(link).await, Exit::Signal(9));
        is_gone(link.pid).await;
    }
}

/// A connection whose workers nobody but the session timeout, or the agent's death, ends.
fn patient(url: &str, fast_death: bool, session_timeout: Duration) -> RemoteConnection {
    let options = RemoteOptions::new(url).unwrap();
    let session_timeout = Some(session_timeout);
    RemoteConnection::new(RemoteOptions { fast_death, session_timeout, ..options }).unwrap()
}

#[tokio::test]
async fn sigkill_of_the_agent_is_noticed_at_once_and_leaves_no_worker() {
    let mut agent = Running::new(ECHO, &[]).await;
    let connection = patient(agent.url(), true, Duration::from_secs(3600));
    let mut link = within(connection.spawn(request())).await.unwrap();
    agent.signal(Signal::SIGKILL);
    let Exit::Lost(why) = end_of(&mut link).await else { panic!("nobody saw it end") };
    assert!(why.starts_with(&format!("agent {}: ", agent.url())), "{why}");
    assert!(why.ends_with("and nobody listens there any more"), "{why}");
    within(agent.child.wait()).await.unwrap();
    is_gone(link.pid).await;
}

#[tokio::test]
async fn a_dead_agent_is_waited_for_where_that_is_asked() {
    let mut agent = Running::new(ECHO, &[]).await;
    let connection = patient(agent.url(), false, Duration::from_millis(500));
    let mut link = within(connection.spawn(request())).await.unwrap();
    let began = Instant::now();
    agent.signal(Signal::SIGKILL);
    within(agent.child.wait()).await.unwrap();
    let Exit::Lost(why) = end_of(&mut link).await else { panic!("nobody saw it end") };
    assert!(why.ends_with("and it did not come back within 500ms (session timeout)"), "{why}");
    assert!(began.elapsed() >= Duration::from_millis(500));
}

/// Sends 100 messages of 1 MiB if it is asked to, then echoes.
const FLOOD: &str = r#"#!/bin/sh
case "$*" in *flood*)
  n=0
  while [ $n -lt 100 ]; do
    printf '\000\000\020\000' >&4
    head -c 1048576 /dev/zero >&4
    n=$((n+1))
  done;;
esac
exec cat <&3 >&4
"#;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stalled_controller_costs_a_bounded_memory_nobody_else_and_loses_nothing() {
    let agent = Running::new(FLOOD, &["--max-workers", "2"]).await;
    let url = agent.url().to_owned();
    let (stalled, is_stalled) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    // A runtime whose thread does something else for a while, as a suspended process does.
    let controller = std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(async move {
            let connection = connection(&url, None);
            let mut flood = request();
            flood.args = vec!["--logTag=flood".to_owned()];
            let mut link = within(connection.spawn(flood)).await.unwrap();
            stalled.send(()).unwrap();
            may_go_on.recv().unwrap();
            let mut count = 0;
            while count < 100 {
                match within(link.events.recv()).await.unwrap() {
                    WorkerEvent::Message(bytes) => {
                        assert_eq!(bytes.len(), 1_048_580);
                        count += 1;
                    }
                    WorkerEvent::Exited(exit) => panic!("{exit:?} after {count}"),
                    _ => {}
                }
            }
        });
    });
    within(is_stalled).await.unwrap();
    let other = connection(agent.url(), None);
    let mut served = within(other.spawn(request())).await.unwrap();
    let began = Instant::now();
    // Beyond the silence after which the agent takes the link for lost.
    while began.elapsed() < Duration::from_secs(6) {
        let mut text = BytesMut::new();
        text.put_u32_le(8);
        text.put_slice(b"answered");
        served.commands.send(WorkerCommand::Message(text.freeze())).await.unwrap();
        let event = within(served.events.recv()).await;
        assert!(matches!(event, Some(WorkerEvent::Message(_))), "{event:?}");
        sleep(Duration::from_millis(20)).await;
    }
    let status = fs::read_to_string(format!("/proc/{}/status", agent.child.id().unwrap())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    // 36 MiB for the session, 33 MiB for the worker, and the agent itself.
    assert!(peak < 100 * 1024, "{peak} KiB at most");
    go_on.send(()).unwrap();
    within(tokio::task::spawn_blocking(|| controller.join().unwrap())).await.unwrap();
}

/// Waits for what no event tells.
#[cfg(target_os = "linux")]
async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// The agent's watchdog, once it ignores what it should.
#[cfg(target_os = "linux")]
async fn watchdog_of(agent: &Running) -> Pid {
    let parent = format!("PPid:\t{}", agent.child.id().unwrap());
    let is_it = |folder: &Path| {
        let read = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
        read("status").lines().any(|line| line == parent)
            && read("cmdline").ends_with("\0watchdog\0")
    };
    let mut folders = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let folder = folders.find(|folder| is_it(folder)).expect("a watchdog");
    let ignores = || {
        let status = fs::read_to_string(folder.join("status")).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        u64::from_str_radix(mask, 16).unwrap() & (1 << (Signal::SIGTTOU as i32 - 1)) != 0
    };
    until(ignores).await;
    Pid::from_raw(folder.file_name().unwrap().to_str().unwrap().parse().unwrap())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn sigkill_of_the_agent_leaves_no_worker_that_hangs() {
    let mut agent = Running::new(DEAF, &[]).await;
    let connection = connection(agent.url(), None);
    let mut links = Vec::new();
    for _ in 0..2 {
        links.push(within(connection.spawn(request())).await.unwrap());
    }
    let watchdog = watchdog_of(&agent).await;
    assert_eq!(
        nix::unistd::getpgid(Some(watchdog)),
        Ok(watchdog),
        "signals to the agent's group miss it"
    );
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        kill(watchdog, signal).unwrap();
    }
    agent.signal(Signal::SIGKILL);
    within(agent.child.wait()).await.unwrap();
    let began = Instant::now();
    for link in &links {
        is_gone(link.pid).await;
    }
    is_gone(watchdog.as_raw().unsigned_abs()).await;
    let took = began.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_watchdog_ends_with_the_agent_and_forgets_workers_that_ended() {
    let mut agent = Running::new(ECHO, &[]).await;
    let watchdog = watchdog_of(&agent).await;
    let open = || fs::read_dir(format!("/proc/{watchdog}/fd")).unwrap().count();
    let idle = open();
    let connection = connection(agent.url(), None);
    for _ in 0..2 {
        let mut link = within(connection.spawn(request())).await.unwrap();
        until(|| open() == idle + 1).await;
        link.commands.send(WorkerCommand::CloseInput).await.unwrap();
        assert_eq!(end_of(&mut link).await, Exit::Code(0));
        until(|| open() == idle).await;
    }
    agent.signal(Signal::SIGTERM);
    assert_eq!(within(agent.child.wait()).await.unwrap().code(), Some(0));
    assert_eq!(kill(watchdog, None), Err(Errno::ESRCH), "gone, and reaped, before the agent");
}

#[tokio::test]
async fn takes_tokens_from_a_file_and_from_the_environment() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tokens");
    fs::write(&file, "# rotated in spring\nfirst\nsecond\n").unwrap();
    let agent = Running::new(ECHO, &["--token-file", file.to_str().unwrap()]).await;
    for token in ["first", "second"] {
        within(connection(agent.url(), Some(token)).spawn(request())).await.unwrap();
    }
    for token in [None, Some("third")] {
        let error = within(connection(agent.url(), token).spawn(request())).await.err();
        assert!(matches!(error, Some(SpawnError::Unauthorized(_))), "{error:?}");
    }
}

#[tokio::test]
async fn speaks_tls_itself() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let identity = authority.issue("127.0.0.1", Valid::Now);
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let (cert, key, ca) = (text(&identity.cert), text(&identity.key), text(&clients.ca()));
    let args = ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
    let mut agent = Running::new(ECHO, &args).await;
    assert!(agent.url().starts_with("wss://127.0.0.1:"), "{}", agent.url());
    let tls = ClientTlsOptions {
        ca: Some(authority.ca()),
        identity: Some(clients.issue("app", Valid::Now)),
        server_name: None,
    };
    let options = RemoteOptions { tls, ..RemoteOptions::new(agent.url()).unwrap() };
    let connection = RemoteConnection::new(options).unwrap();
    within(connection.spawn(request())).await.unwrap();
    agent.signal(Signal::SIGTERM);
    assert_eq!(within(agent.child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn starts_no_worker_with_arguments_that_are_not_on_its_list() {
    let agent = Running::new("#!/bin/sh\necho \"args $@.\" >&2\nexec cat <&3 >&4\n", &[]).await;
    let connection = connection(agent.url(), None);
    for arg in ["--dtlsPrivateKeyFile=/etc/shadow", "--evil", "/bin/sh", "--logLevel", ""] {
        let args = vec!["--logLevel=warn".to_owned(), arg.to_owned()];
        let error = within(connection.spawn(SpawnRequest { args, ..request() })).await.err();
        let Some(SpawnError::WrongSettings(text)) = error else { panic!("{arg}: {error:?}") };
        assert!(text.contains("is not one that may pass"), "{text}");
    }
    let mut link = within(connection.spawn(request())).await.unwrap();
    assert_eq!(said(&mut link, ".\n").await, "args --logLevel=warn.\n");
}

/// What a worker says on stderr until it has said these words.
async fn said(link: &mut WorkerLink, words: &str) -> String {
    let mut said = String::new();
    while !said.contains(words) {
        if let WorkerEvent::Stderr(bytes) = within(link.events.recv()).await.expect("more") {
            said += &String::from_utf8_lossy(&bytes);
        }
    }
    said
}

#[tokio::test]
async fn tells_nobody_a_token() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tokens");
    fs::write(&file, "hush-1\nhush-2\n").unwrap();
    let path = script(folder.path(), "worker", "#!/bin/sh\nenv >&2\nexec cat <&3 >&4\n");
    let named = format!("{MEDIASOUP_VERSION}={}", path.display());
    let mut child = command(&["--listen", "127.0.0.1:0", "--worker-bin", &named, "--token-file"])
        .arg(&file)
        .env("MEDIASOUP_HORIZONTAL_TOKEN", "hush-3")
        .env("MEDIASOUP_HORIZONTAL_LOG", "trace")
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut stderr = child.stderr.take().unwrap();
    let first = within(stdout.next_line()).await.unwrap().unwrap();
    let ready: Value = serde_json::from_str(&first).unwrap();
    let url = ready["url"].as_str().unwrap();
    let mut all = first.clone();
    let command_line = fs::read(format!("/proc/{}/cmdline", child.id().unwrap())).unwrap();
    all += &String::from_utf8_lossy(&command_line);
    for (token, good) in [("hush-1", true), ("hush-3", true), ("hush-4", false)] {
        match within(connection(url, Some(token)).spawn(request())).await {
            Ok(mut link) => {
                assert!(good, "{token}");
                // Its environment.
                all += &said(&mut link, "PATH=").await;
            }
            Err(error) => {
                assert!(!good, "{token}: {error}");
                all += &error.to_string();
            }
        }
    }
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    within(stderr.read_to_string(&mut all)).await.unwrap();
    within(child.wait()).await.unwrap();
    assert!(all.contains("not let in"), "the log is among it: {all}");
    assert!(!all.contains("hush"), "{all}");
}

/// The exit code and stderr of an agent that does not start.
async fn failure(args: &[&str]) -> (Option<i32>, String) {
    let mut child = command(args).spawn().unwrap();
    let mut text = String::new();
    within(child.stderr.take().unwrap().read_to_string(&mut text)).await.unwrap();
    (within(child.wait()).await.unwrap().code(), text)
}

#[tokio::test]
async fn says_in_one_line_why_it_does_not_start() {
    let folder = TempDir::new().unwrap();
    let path = script(folder.path(), "worker", ECHO);
    let named = format!("{MEDIASOUP_VERSION}={}", path.display());
    let empty = folder.path().join("tokens");
    fs::write(&empty, "# none yet\n").unwrap();
    let bad = folder.path().join("bad");
    fs::write(&bad, "hush hush\n").unwrap();
    let authority = Authority::new();
    let agent = Running::new(ECHO, &[]).await;
    let taken = agent.ready["address"].as_str().unwrap();
    let worker = ["--worker-bin", named.as_str()];
    let identity = authority.issue("media", Valid::Now);
    let (cert, key) = (identity.cert.to_str().unwrap(), identity.key.to_str().unwrap());
    let cases: [(&[&str], &str); 10] = [
        (&["--listen", taken], "the port is in use by another process"),
        (&["--listen", "0.0.0.0:0"], "without a token"),
        (&["--listen", "0.0.0.0:0"], "--tls-cert FILE --tls-key FILE, or --insecure"),
        (&["--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", "/nonexistent"], "the key"),
        (&["--listen", "127.0.0.1:0", "--tls-cert", key, "--tls-key", key], "no certificate in it"),
        (
            &["--listen", "127.0.0.1:0", "--token-file", "/nonexistent"],
            "cannot read the token file",
        ),
        (&["--listen", "127.0.0.1:0", "--token-file", empty.to_str().unwrap()], "has no token"),
        (&["--listen", "127.0.0.1:0", "--token-file", bad.to_str().unwrap()], "line 1"),
        (&["--listen", "127.0.0.1:0", "--bind-address", "0.0.0.0"], "is a wildcard"),
        (&["--listen", "127.0.0.1:0", "--worker-bin", "1.0.0=/nonexistent"], "/nonexistent"),
    ];
    for (args, words) in cases {
        let (code, text) = failure(&[args, &worker].concat()).await;
        assert_eq!(code, Some(1), "{args:?}: {text}");
        assert!(text.contains(words) && text.lines().count() == 1, "{args:?}: {text}");
        assert!(!text.contains("hush"), "{text}");
    }
    let (code, text) = failure(&["--listen", "127.0.0.1:0"]).await;
    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains("no mediasoup-worker"), "{text}");
    for usage in [["--tls-cert", "a"], ["--tls-key", "a"], ["--tls-client-ca", "a"]] {
        let (code, text) = failure(&usage).await;
        assert_eq!(code, Some(2));
        assert!(text.contains("--tls-key <FILE>"), "{text}");
    }
    for usage in [["--port-range", "9-8"], ["--nonsense", "1"], ["--port-policy", "maybe"]] {
        assert_eq!(failure(&usage).await.0, Some(2));
    }
}
