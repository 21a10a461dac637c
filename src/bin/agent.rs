//! `mediasoup-horizontal-agent`: gives this host's mediasoup-workers to controllers.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    os::unix::process::CommandExt,
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser, Subcommand};
use mediasoup_horizontal::{
    SCHEMA_FINGERPRINT,
    agent::{
        Agent, AgentError, DrainOrder, LocalWorkers, Server, WorkerSource,
        admin::{
            Admin, AdminSocket, AdminSocketError,
            cli::{self as admin, AdminError, DrainArgs, StatusArgs},
        },
        cli::{AgentArgs, TimeLimit},
    },
    connection::Exit,
    core::single::{self, Ending},
    stub::protocol,
    worker_process::watchdog::{self, Watchdog, WatchdogError},
};
use nix::sys::signal::{SigHandler, Signal};
use serde_json::json;
use tokio::{
    io::AsyncReadExt,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

/// Signals that stop a process by default.
const STOPPING: [Signal; 4] = [Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

const LOG_VARIABLE: &str = "MEDIASOUP_HORIZONTAL_LOG";

/// Gives the mediasoup-workers of this host to mediasoup-horizontal apps on other hosts.
#[derive(Debug, Parser)]
#[command(name = "mediasoup-horizontal-agent", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    agent: AgentArgs,
    /// End when stdin does: whoever started this agent is gone.
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves one Worker of an unmodified mediasoup, on fds 3 and 4. The stub starts it.
    #[command(hide = true)]
    VirtualWorker {
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Lets a running agent take no new workers, waits until those that run have ended, and tells
    /// what is left: a line of JSON each. The exit status is 0 once nothing is left, 3 when the
    /// time was over before, 4 when somebody took the drain back.
    Drain(DrainArgs),
    /// Tells what a running agent is about: its sessions and workers, and whether it drains.
    Status(StatusArgs),
    /// Kills the workers that outlive the agent, which starts it.
    #[command(hide = true)]
    Watchdog,
}

fn main() -> ExitCode {
    // Bad usage ends here, with code 2.
    let cli = Cli::parse();
    match cli.command {
        Some(Command::VirtualWorker { args }) => {
            // Its stderr is the app's log: warnings only, unless somebody asks.
            return match log_to_stderr("warn") {
                Ok(()) => become_ending(single::run(args)),
                Err(why) => fail(&why),
            };
        }
        Some(Command::Drain(args)) => return ask(admin::drain(args, &mut io::stdout())),
        Some(Command::Status(args)) => return ask(admin::status(args, &mut io::stdout())),
        Some(Command::Watchdog) => return watch_workers(),
        None => {}
    }
    if let Err(why) = log_to_stderr("info") {
        return fail(&why);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    let ended = runtime.block_on(run(cli.agent, cli.exit_with_stdin));
    // A thread may still wait for stdin, which nothing interrupts.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

async fn run(args: AgentArgs, exit_with_stdin: bool) -> Result<(), String> {
    let named = args.worker_bin.clone();
    let admin_path = args.admin_socket.clone();
    let drain_first = args.drain_on_sigterm;
    let options = args.into_options().map_err(|problem| problem.to_string())?;
    let workers = Arc::new(guarded(LocalWorkers::new(&named)?));
    // Before the ready line: whoever reads it may send a signal at once.
    let signals = Signals::new().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let source: Arc<dyn WorkerSource> = workers.clone();
    let agent = Agent::bind(options, source).await.map_err(|error| match error {
        AgentError::NoWorkers(_) => {
            AgentError::NoWorkers(workers.explain_absence().unwrap_or_default()).to_string()
        }
        other => other.to_string(),
    })?;
    let admin = match admin_path {
        Some(path) => Some(AdminSocket::open(&path).map_err(|error| error.to_string())?),
        None => default_socket(agent.address().port()),
    };
    announce(&agent, admin.as_ref());
    let server = agent.server().clone();
    let admin = admin.map(|socket| Admin::start(socket, server.clone()));
    let stop = async move {
        tokio::select! {
            // Cancel-safe, both: either means the end.
            () = signals.say_stop(drain_first, &server) => {}
            () = stdin_ends(), if exit_with_stdin => {}
        }
    };
    agent.run(stop).await;
    if let Some(admin) = admin {
        admin.end().await;
    }
    Ok(())
}

/// An agent runs without one as well.
fn default_socket(port: u16) -> Option<AdminSocket> {
    let socket = AdminSocket::open_default(port);
    socket
        .inspect_err(|error: &AdminSocketError| {
            tracing::warn!(%error, "no `agent drain` and `agent status`: name an --admin-socket");
        })
        .ok()
}

/// Runs what asks an agent, and ends as it says.
fn ask(asked: impl Future<Output = Result<u8, AdminError>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    match runtime.block_on(asked) {
        Ok(status) => ExitCode::from(status),
        Err(error) => fail(&error.to_string()),
    }
}

/// Workers that a watchdog guards, if there can be one.
fn guarded(workers: LocalWorkers) -> LocalWorkers {
    let started = std::env::current_exe().map_err(WatchdogError::from).and_then(|own| {
        let mut command = std::process::Command::new(own);
        command.arg("watchdog");
        Watchdog::start(command)
    });
    match started {
        Ok(watchdog) => workers.with_watchdog(watchdog),
        Err(error) => {
            tracing::warn!(%error, "no watchdog: workers that hang may outlive this agent");
            workers
        }
    }
}

fn watch_workers() -> ExitCode {
    match watchdog::watch() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(killed) => {
            // The agent that started it could log.
            let _ = log_to_stderr("info");
            tracing::warn!(killed, "the agent is gone; workers that hung were killed");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("the watchdog cannot go on: {error}")),
    }
}

/// The one line on stdout, for whoever started the agent.
fn announce(agent: &Agent, admin: Option<&AdminSocket>) {
    let address = agent.address();
    let identity = agent.server().identity();
    let scheme = if agent.is_tls() { "wss" } else { "ws" };
    let ready = json!({
        "event": "ready",
        "address": address.to_string(),
        "url": format!("{scheme}://{}", reachable(agent, address)),
        "agentId": identity.agent_id,
        "instanceId": identity.instance_id,
        "workers": agent.offers(),
        "fingerprint": SCHEMA_FINGERPRINT,
        "metrics": agent.metrics_address().map(|address| format!("http://{address}/metrics")),
        "adminSocket": admin.map(AdminSocket::path),
        "pid": std::process::id(),
    });
    let mut stdout = io::stdout().lock();
    // An agent whose stdout nobody reads runs all the same.
    let _ = writeln!(stdout, "{ready}").and_then(|()| stdout.flush());
    tracing::info!(%address, "ready");
}

/// A wildcard is no address to connect to.
fn reachable(agent: &Agent, address: SocketAddr) -> SocketAddr {
    let own = agent.server().addresses();
    match own.bind.first().copied().filter(|_| address.ip().is_unspecified()) {
        Some(ip) => SocketAddr::new(ip, address.port()),
        None => address,
    }
}

/// What asks the agent to end.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { terminate, interrupt })
    }

    /// Resolves when the agent is to end at once. With `drain_first` the first SIGTERM drains it.
    async fn say_stop(mut self, drain_first: Option<TimeLimit>, server: &Server) {
        let mut drain_first = drain_first;
        loop {
            tokio::select! {
                // Cancel-safe, both: a signal that is not taken stays noted.
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => return,
            }
            let Some(TimeLimit(timeout)) = drain_first.take() else { return };
            let order = DrainOrder { timeout, exit: true, reason: "SIGTERM".to_owned() };
            if server.drain(order).is_err() {
                return;
            }
        }
    }
}

async fn stdin_ends() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 256];
    while let Ok(1..) = stdin.read(&mut ignored).await {}
}

/// Ends this process as its Worker ended, or turns it into the worker.
fn become_ending(ending: Ending) -> ExitCode {
    match ending {
        Ending::Exit(Exit::Code(code)) => std::process::exit(code),
        Ending::Exit(Exit::Lost(_)) => ExitCode::FAILURE,
        Ending::Exit(Exit::Signal(number)) => {
            // An agent said it: it must not stop this process instead of ending it.
            if let Ok(signal) = Signal::try_from(number)
                && !STOPPING.contains(&signal)
            {
                // SAFETY: the default action is restored so that this process ends as asked.
                let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
                let _ = nix::sys::signal::raise(signal);
            }
            std::process::exit(128 + number.clamp(0, 127))
        }
        Ending::Become { binary, args } => {
            let mut command = std::process::Command::new(&binary);
            command.args(args);
            for (name, _) in std::env::vars_os() {
                if name.as_encoded_bytes().starts_with(protocol::ENV_PREFIX.as_bytes()) {
                    command.env_remove(name);
                }
            }
            let error = command.env(protocol::INSIDE_ENV, "1").exec();
            fail(&format!("cannot start {}: {error}", binary.display()))
        }
    }
}

fn log_to_stderr(default: &str) -> Result<(), String> {
    let variable = env::var(LOG_VARIABLE).ok();
    let wanted = variable.as_deref().filter(|wanted| !wanted.trim().is_empty());
    let filter = EnvFilter::try_new(wanted.unwrap_or(default)).map_err(|error| {
        format!("{LOG_VARIABLE}={}: {error}; it is a level such as warn", wanted.unwrap_or(default))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}

/// One line that says what is wrong.
fn fail(message: &str) -> ExitCode {
    let line = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let _ = writeln!(io::stderr(), "mediasoup-horizontal-agent: {line}");
    ExitCode::FAILURE
}
