//! `mediasoup-horizontal-agent`: gives this host's mediasoup-workers to controllers.

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use mediasoup_horizontal::{
    SCHEMA_FINGERPRINT,
    agent::{Agent, AgentError, LocalWorkers, WorkerSource, cli::AgentArgs},
};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

const LOG_VARIABLE: &str = "MEDIASOUP_HORIZONTAL_LOG";

/// Gives the mediasoup-workers of this host to mediasoup-horizontal apps on other hosts.
#[derive(Debug, Parser)]
#[command(name = "mediasoup-horizontal-agent", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    agent: AgentArgs,
}

fn main() -> ExitCode {
    // Bad usage ends here, with code 2.
    let cli = Cli::parse();
    log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    match runtime.block_on(run(cli.agent)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

async fn run(args: AgentArgs) -> Result<(), String> {
    let named = args.worker_bin.clone();
    let options = args.into_options().map_err(|problem| problem.to_string())?;
    let workers = Arc::new(LocalWorkers::new(&named)?);
    // Before the ready line: whoever reads it may send a signal at once.
    let stop = stop_signals().map_err(|error| format!("cannot listen for signals: {error}"))?;
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

/// The one line on stdout, for whoever started the agent.
fn announce(agent: &Agent) {
    let address = agent.address();
    let identity = agent.server().identity();
    let ready = json!({
        "event": "ready",
        "address": address.to_string(),
        "url": format!("ws://{}", reachable(agent, address)),
        "agentId": identity.agent_id,
        "instanceId": identity.instance_id,
        "workers": agent.offers(),
        "fingerprint": SCHEMA_FINGERPRINT,
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
    match own.pipe.filter(|_| address.ip().is_unspecified()) {
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

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
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
