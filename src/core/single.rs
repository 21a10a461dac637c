//! The core for one Worker in a process of its own: an unmodified mediasoup spawned the stub, and
//! this process stands where the stub stood, with its pid and its fds 3 and 4.

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    io::Write,
    os::fd::{FromRawFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    Core,
    choice::{Found, NoWorker, Role},
    config::{self, ConnectionSettings, Options},
    part_source::{self, Parts},
    placement::Placement,
    relay::{self, ControlEvent, Ends, Stdio},
    settings,
    stub_server::{gone, library_end},
};
use crate::{
    connection::{Exit, InPlaceWorker, SpawnRequest},
    queue,
    stub::signals,
    virtual_worker::VirtualWorker,
};

/// What this process shall do next.
pub enum Ending {
    Exit(Exit),
    /// Become the worker: this host serves it, so nothing is left to relay.
    Become {
        binary: PathBuf,
        args: Vec<String>,
    },
}

/// Runs the Worker with these arguments. Tells how to end.
pub fn run(args: Vec<OsString>) -> Ending {
    signals::take_as_a_worker();
    match try_run(args) {
        Ok(ending) => ending,
        Err(why) => {
            say(format!("mediasoup-horizontal: {why}\n").as_bytes(), std::io::stderr());
            Ending::Exit(why.exit())
        }
    }
}

fn try_run(args: Vec<OsString>) -> Result<Ending, NoWorker> {
    let other = |why: String| NoWorker::Other(why);
    let environment: HashMap<String, String> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let version = environment.get("MEDIASOUP_VERSION").cloned().unwrap_or_default();
    let mut options = Options::of_environment(environment);
    options.stub =
        env::current_exe().ok().map(|own| own.with_file_name("mediasoup-horizontal-worker"));
    let args: Vec<String> =
        args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let book = config::address_book(&options).map_err(|error| other(error.to_string()))?;
    let deadlines = options.deadlines().map_err(|error| other(error.to_string()))?;
    // Each such Worker has a core of its own, which knows nothing of what the others would take:
    // it grows only where the environment says so.
    let placement = if options.places() {
        options.placement().map_err(|error| other(error.to_string()))?
    } else {
        Placement::default()
    };
    let Placement { spread, rules } = placement;
    let in_place = if spread.max_parts == 1 { "1" } else { "0" };
    options.environment.insert(config::EXEC_IN_PLACE.to_owned(), in_place.to_owned());
    let core = Core::start_with(book, deadlines, spread, rules)
        .map_err(|error| other(error.to_string()))?;
    let connections = config::connect(&core, &options, ConnectionSettings::Environment)
        .map_err(|error| other(error.to_string()))?;
    for connection in connections {
        core.add(connection);
    }
    let local = core.inner.discoveries.is_empty()
        && core.inner.sources().iter().all(|source| source.connection.is_local());
    // This process is spent on one Worker: there is nothing that waiting in place would serve.
    if local && spread.max_parts == 1 {
        // The files are this host's: the worker reads them itself.
        let (files, args) = args.into_iter().partition(|arg| settings::names_file(arg));
        let request = settings::spawn_request(version, args, None)
            .map_err(|error| NoWorker::WrongSettings(error.to_string()))?;
        return become_worker(&core, &request, files);
    }
    let request = settings::spawn_request(version, args, None)
        .map_err(|error| NoWorker::WrongSettings(error.to_string()))?;
    let (result, ended) = std::sync::mpsc::channel();
    let inner = Arc::clone(&core.inner);
    core.handle().spawn(async move {
        let _ = result.send(serve(inner, request).await);
    });
    ended.recv().unwrap_or_else(|_| Err(other("the core ended early".to_owned())))
}

fn become_worker(
    core: &Core,
    request: &SpawnRequest,
    files: Vec<String>,
) -> Result<Ending, NoWorker> {
    let _entered = core.handle().enter();
    let source = core.inner.sources().into_iter().next().ok_or(NoWorker::NoConnections)?;
    match source.connection.spawn_in_place(request) {
        Some(Ok(InPlaceWorker { binary, mut args, .. })) => {
            args.extend(files);
            Ok(Ending::Become { binary, args })
        }
        Some(Err(error)) => Err(NoWorker::One(error)),
        None => Err(NoWorker::Other(
            "this host's workers are configured not to run in place".to_owned(),
        )),
    }
}

async fn serve(inner: Arc<super::Inner>, request: SpawnRequest) -> Result<Ending, NoWorker> {
    // SAFETY: mediasoup gave us these two; the stub checked that they are open, and nothing else
    // in this process owns them.
    let (input, output) = unsafe { (OwnedFd::from_raw_fd(3), OwnedFd::from_raw_fd(4)) };
    let library = library_end(input, output).map_err(|error| NoWorker::Other(error.to_string()))?;
    let pid = std::process::id();
    let role = Role::Home { in_place: false };
    let (found, place) = tokio::select! {
        // Cancel-safe: a worker that is found after all is freed with its link.
        found = inner.find_home(&request, role, pid) => found?,
        // Cancel-safe: readiness only.
        () = gone(&library.input) => return Ok(Ending::Exit(Exit::Code(0))),
    };
    let Found::Linked(link) = found else {
        return Err(NoWorker::Other("a remote connection gave a local worker".to_owned()));
    };
    let home = part_source::opened(link, place);
    let machine = VirtualWorker::new(pid, home.host.clone(), inner.book(), inner.spread)
        .with_call_timeout(inner.call_timeout);
    let (events, control) = mpsc::channel(4);
    let signals = tokio::spawn(forward_signals(events));
    let (stdio, mut texts) = queue::bounded(relay::STDIO_LIMIT);
    let writing = tokio::spawn(async move {
        while let Some(text) = texts.recv().await {
            match text {
                Stdio::Stdout(bytes) => say(&bytes, std::io::stdout()),
                Stdio::Stderr(bytes) => say(&bytes, std::io::stderr()),
            }
        }
    });
    let source = Parts::of(&inner, request, pid);
    let (_attended, watch) = inner.attend(pid, &home.host.key);
    let ends = Ends { library, machine, home, source, control, stdio, local_pids: None, watch };
    let exit = relay::run(ends).await;
    let _ = writing.await;
    signals.abort();
    if let Exit::Lost(why) = &exit {
        for line in inner.died(pid, why) {
            say(format!("mediasoup-horizontal: {line}\n").as_bytes(), std::io::stderr());
        }
    }
    Ok(Ending::Exit(exit))
}

async fn forward_signals(events: mpsc::Sender<ControlEvent>) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        let number = tokio::select! {
            // Cancel-safe: a signal that is not taken stays noted.
            _ = interrupt.recv() => libc::SIGINT,
            // Cancel-safe: as above.
            _ = terminate.recv() => libc::SIGTERM,
        };
        if events.send(ControlEvent::Signal(number)).await.is_err() {
            return;
        }
    }
}

fn say(bytes: &[u8], mut to: impl Write) {
    // Whoever reads it may be gone; the worker must not suffer for it.
    let _ = to.write_all(bytes).and_then(|()| to.flush());
}
