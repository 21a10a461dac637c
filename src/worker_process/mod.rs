//! Real mediasoup-worker processes on this host: which binary, which arguments, how they start,
//! talk and end.

mod arguments;
mod binary;
mod child;
pub mod cpu;
mod dtls_files;
mod environment;
mod link;
mod reader;
mod spawn;
pub mod watchdog;
mod writer;

use std::{
    ffi::OsString,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::{
    errno::Errno,
    unistd::{AccessFlags, access},
};
use tokio::sync::watch;

pub use self::{
    binary::{
        Binaries, BinarySources, InstalledWorker, Manifest, WorkerBinary, cache_root, read_manifest,
    },
    environment::Environment,
    link::{Process, Settings as LinkSettings, to as link_to},
};
use self::{dtls_files::DtlsFolder, link::Settings, spawn::Plan, watchdog::Watchdog};
use crate::{
    addresses::HostAddresses,
    connection::{InPlaceWorker, SpawnError, SpawnRequest, WorkerLink, incompatible},
};

/// How long a worker may take to end after its input was closed.
pub const GRACE: Duration = Duration::from_secs(5);

/// Starts workers on this host.
#[derive(Debug, Clone)]
pub struct Launcher {
    environment: Environment,
    grace: Duration,
    stop: Option<watch::Receiver<bool>>,
    watchdog: Option<Arc<Watchdog>>,
}

impl Launcher {
    /// Workers inherit the environment without our own settings.
    pub fn new(environment: Environment) -> Self {
        Self { environment, grace: GRACE, stop: None, watchdog: None }
    }

    /// Another time than [`GRACE`].
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Every worker is asked to end once this turns true.
    #[must_use]
    pub fn with_stop(mut self, stop: watch::Receiver<bool>) -> Self {
        self.stop = Some(stop);
        self
    }

    /// No worker outlives this process, even if that is killed and the worker hangs.
    #[must_use]
    pub fn with_watchdog(mut self, watchdog: Watchdog) -> Self {
        self.watchdog = Some(Arc::new(watchdog));
        self
    }

    /// Starts a worker. The path that the request may name is not looked at: whoever may follow
    /// it passes it as the binary. The guard is dropped as soon as the worker is gone. Must be
    /// called within a tokio runtime.
    pub fn start(
        &self,
        binary: &WorkerBinary,
        request: &SpawnRequest,
        addresses: HostAddresses,
        guard: impl Send + 'static,
    ) -> Result<WorkerLink, SpawnError> {
        let (plan, files) = self.plan(binary, request, &addresses)?;
        let spawned = spawn::spawn(&plan)?;
        if let Some(watchdog) = &self.watchdog {
            watchdog.guard(&spawned.child);
        }
        let pid = spawned.child.pid();
        tracing::debug!(pid, binary = %binary.path.display(), "worker started");
        link::to_process(spawned, addresses, self.settings((guard, files)))
            .map_err(|error| spawn::failed(&plan, spawn::errno(&error)))
    }

    /// Prepares what another process needs to become the worker. Its link has pid 0, takes no
    /// signals, and says code 0 when the channel ends: the process itself carries the true exit
    /// status. Must be called within a tokio runtime.
    pub fn prepare(
        &self,
        binary: &WorkerBinary,
        request: &SpawnRequest,
        addresses: HostAddresses,
        guard: impl Send + 'static,
    ) -> Result<InPlaceWorker, SpawnError> {
        let (plan, files) = self.plan(binary, request, &addresses)?;
        let failed = |errno| spawn::failed(&plan, errno);
        let program = self.find_program(&plan.program).map_err(failed)?;
        let connected = || {
            let (input, its_input) = UnixStream::pair()?;
            let (output, its_output) = UnixStream::pair()?;
            let settings = self.settings(guard);
            let link = link::to_stranger(input, output, addresses, settings)?;
            std::io::Result::Ok((OwnedFd::from(its_input), OwnedFd::from(its_output), link))
        };
        let (input, output, link) = connected().map_err(|error| failed(spawn::errno(&error)))?;
        let args = plan.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        Ok(InPlaceWorker { binary: program, args, input, output, guard: Box::new(files), link })
    }

    fn settings(&self, guard: impl Send + 'static) -> Settings {
        Settings { grace: self.grace, stop: self.stop.clone(), guard: Box::new(guard) }
    }

    fn plan(
        &self,
        binary: &WorkerBinary,
        request: &SpawnRequest,
        addresses: &HostAddresses,
    ) -> Result<(Plan, DtlsFolder), SpawnError> {
        if let Some(schema) = &binary.schema
            && *schema != request.fingerprint
        {
            return Err(incompatible(format!(
                "the worker at {} (mediasoup {}) speaks channel schema {schema}, the library \
                 (mediasoup {}) speaks {}; install the worker of the library's version with \
                 `npx mediasoup-horizontal worker install`",
                binary.path.display(),
                binary.version,
                request.version,
                request.fingerprint,
            )));
        }
        let args = arguments::check(&request.args, addresses.port_range)?;
        let files = DtlsFolder::write(&request.dtls, &self.environment)?;
        let worker_args = args.iter().chain(files.args()).map(OsString::from);
        let (program, args) = match self.valgrind() {
            None => (binary.path.clone(), worker_args.collect()),
            Some((valgrind, mut args)) => {
                args.push(binary.path.clone().into());
                args.extend(worker_args);
                (valgrind, args)
            }
        };
        let environment = self.environment.of_worker(&request.version);
        Ok((Plan { program, args, environment }, files))
    }

    /// mediasoup's own settings for a worker under valgrind.
    fn valgrind(&self) -> Option<(PathBuf, Vec<OsString>)> {
        let get = |name| self.environment.get(name);
        if get("MEDIASOUP_USE_VALGRIND")? != "true" {
            return None;
        }
        let program =
            get("MEDIASOUP_VALGRIND_BIN").map_or_else(|| "valgrind".into(), PathBuf::from);
        let options = get("MEDIASOUP_VALGRIND_OPTIONS").map(|text| text.to_string_lossy());
        let options = options.iter().flat_map(|text| text.split_whitespace());
        Some((program, options.map(OsString::from).collect()))
    }

    /// The file that a program name stands for, if it can be run.
    fn find_program(&self, program: &Path) -> Result<PathBuf, Errno> {
        if program.as_os_str().as_bytes().contains(&b'/') {
            return runnable(program).map(|()| program.to_owned());
        }
        let path = self.environment.get("PATH").ok_or(Errno::ENOENT)?;
        std::env::split_paths(path)
            .map(|folder| folder.join(program))
            .find(|file| runnable(file).is_ok())
            .ok_or(Errno::ENOENT)
    }
}

/// Whether a file can be run, in the error numbers of `exec`.
fn runnable(path: &Path) -> Result<(), Errno> {
    access(path, AccessFlags::X_OK)?;
    if path.is_file() { Ok(()) } else { Err(Errno::EACCES) }
}
