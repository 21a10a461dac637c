//! `mediasoup-horizontal-agent`: gives this host's mediasoup-workers to controllers.

use std::{
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
    agent::{Agent, AgentError, LocalWorkers, WorkerSource, cli::AgentArgs},
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
            log_to_stderr("warn");
            return become_ending(single::run(args));
        }
        Some(Command::Watchdog) => return watch_workers(),
        None => {}
    }
    log_to_stderr("info");
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
    let options = args.into_options().map_err(|problem| problem.to_string())?;
    let workers = Arc::new(guarded(LocalWorkers::new(&named)?));
    // Before the ready line: whoever reads it may send a signal at once.
    let signals = stop_signals().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let stop = async move {
        tokio::select! {
            // Cancel-safe, both: either means the end.
            () = signals => {}
            () = stdin_ends(), if exit_with_stdin => {}
        }
    };
    let source: Arc<dyn WorkerSource> = workers.clone();
    let agent = Agent::bind(options, source).await.map_err(|error| match error {
        AgentError::NoWorkers(_) => {
            AgentError::NoWorkers(workers.explain_absence().unwrap_or_default()).to_string()
        }
        other => other.to_string(),
    })?;
    announce(&agent);
    agent.run(stop).await;
    Ok(())
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
            log_to_stderr("info");
            tracing::warn!(killed, "the agent is gone; workers that hung were killed");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("the watchdog cannot go on: {error}")),
    }
}

/// The one line on stdout, for whoever started the agent.
fn announce(agent: &Agent) {
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

fn stop_signals() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            // Cancel-safe, both: the other signal would mean the same.
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
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

fn log_to_stderr(default: &str) {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// One line that says what is wrong.
fn fail(message: &str) -> ExitCode {
    let line = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let _ = writeln!(io::stderr(), "mediasoup-horizontal-agent: {line}");
    ExitCode::FAILURE
}
