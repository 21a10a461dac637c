//! Turns the ends of a worker into a link: a reader, a writer and one task that sees it end.

use std::{future, io, os::unix, sync::Arc, time::Duration};

use tokio::{
    net::{UnixStream, unix::pipe},
    pin, select,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    child::Child,
    reader::{DRAIN_TIME, Source, read_channel, read_text},
    spawn::Spawned,
    writer::Writer,
};
use crate::{
    addresses::HostAddresses,
    channel::framing::FramingError,
    connection::{BoxFuture, Exit, LINK_LIMIT, WorkerCommand, WorkerEvent, WorkerLink},
    queue,
    quiet_writer::QuietWriter,
};

/// How far the end of a worker has been decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    No,
    /// Its input closes; it has the grace time to end by itself.
    Asked,
    /// It is ended now.
    Killed,
}

/// Where every task of a link says that the worker is to end.
#[derive(Debug, Clone)]
pub struct Endings(Arc<watch::Sender<Ending>>);

impl Endings {
    fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Ending::No)))
    }

    /// Raises the ending; it never goes back.
    pub fn raise(&self, to: Ending) {
        self.0.send_if_modified(|ending| {
            let raised = to > *ending;
            *ending = to.max(*ending);
            raised
        });
    }

    pub fn watch(&self) -> EndingWatch {
        EndingWatch(self.0.subscribe())
    }
}

/// Waits for the end to be decided.
pub struct EndingWatch(watch::Receiver<Ending>);

impl EndingWatch {
    /// Resolves once the worker was asked to end. Cancel-safe.
    pub async fn asked(&mut self) {
        self.reached(Ending::Asked).await;
    }

    async fn reached(&mut self, level: Ending) {
        if self.0.wait_for(|ending| *ending >= level).await.is_err() {
            future::pending::<()>().await;
        }
    }
}

/// The process at the other end, wherever it runs.
pub trait Process: Send + Sync {
    /// Sends it a signal.
    fn signal(&self, signal: i32);

    /// Ends it at once, with all that it started.
    fn kill(&self);

    /// How it ended, as soon as it has. Never waits for ever once it was killed.
    fn wait(&self) -> BoxFuture<'_, Exit>;
}

impl Process for Child {
    fn signal(&self, signal: i32) {
        Child::signal(self, signal);
    }

    fn kill(&self) {
        self.kill_group();
    }

    fn wait(&self) -> BoxFuture<'_, Exit> {
        Box::pin(Child::wait(self))
    }
}

/// How a link treats its worker.
pub struct Settings {
    /// How long the worker may take to end after its input was closed.
    pub grace: Duration,
    /// Ends the worker when it turns true.
    pub stop: Option<watch::Receiver<bool>>,
    /// Dropped as soon as the worker is gone.
    pub guard: Box<dyn Send>,
}

/// The link to a child process. Must be called within a tokio runtime.
pub fn to_process(
    spawned: Spawned,
    addresses: HostAddresses,
    settings: Settings,
) -> io::Result<WorkerLink> {
    let Spawned { child, input, output, stdout, stderr } = spawned;
    let child = Arc::new(child);
    let pid = child.pid();
    let stdout = pipe::Receiver::from_owned_fd(stdout)?;
    let stderr = pipe::Receiver::from_owned_fd(stderr)?;
    let process: Arc<dyn Process> = child;
    let (tasks, commands, events) = Tasks::start(input, output, Some(Arc::clone(&process)))?;
    let texts = [(stdout, WorkerEvent::Stdout as fn(_) -> _), (stderr, WorkerEvent::Stderr)].map(
        |(stream, event)| {
            let source = Source::new(stream, tasks.dead.subscribe());
            tokio::spawn(read_text(source, tasks.events.clone(), event))
        },
    );
    tokio::spawn(tasks.see_process_end(process, texts.into(), settings));
    Ok(WorkerLink { pid, addresses, commands, events })
}

/// The link to a process that somebody else started, over their ends of its channel: its input and
/// its output. Must be called within a tokio runtime.
pub fn to(
    process: Arc<dyn Process>,
    pid: u32,
    (input, output): (unix::net::UnixStream, unix::net::UnixStream),
    addresses: HostAddresses,
    settings: Settings,
) -> io::Result<WorkerLink> {
    let (tasks, commands, events) = Tasks::start(input, output, Some(Arc::clone(&process)))?;
    tokio::spawn(tasks.see_process_end(process, Vec::new(), settings));
    Ok(WorkerLink { pid, addresses, commands, events })
}

/// The link to a process that is not our child and whose pid is not known here: it takes no
/// signals and ends, with code 0, when its output does.
pub fn to_stranger(
    input: unix::net::UnixStream,
    output: unix::net::UnixStream,
    addresses: HostAddresses,
    settings: Settings,
) -> io::Result<WorkerLink> {
    let (tasks, commands, events) = Tasks::start(input, output, None)?;
    tokio::spawn(tasks.see_output_end(settings));
    Ok(WorkerLink { pid: 0, addresses, commands, events })
}

struct Tasks {
    events: queue::Sender<WorkerEvent>,
    endings: Endings,
    /// Tells the readers that the worker is dead and until when they may read what it left.
    dead: watch::Sender<Option<Instant>>,
    reader: JoinHandle<Result<(), FramingError>>,
    writer: JoinHandle<()>,
}

type Link = (Tasks, queue::Sender<WorkerCommand>, queue::Receiver<WorkerEvent>);

impl Tasks {
    fn start(
        input: unix::net::UnixStream,
        output: unix::net::UnixStream,
        process: Option<Arc<dyn Process>>,
    ) -> io::Result<Link> {
        output.set_nonblocking(true)?;
        let (input, output) = (QuietWriter::new(input)?, UnixStream::from_std(output)?);
        let (commands, commanded) = queue::bounded(LINK_LIMIT);
        let (events, heard) = queue::bounded(LINK_LIMIT);
        let endings = Endings::new();
        let dead = watch::Sender::new(None);
        let source = Source::new(output, dead.subscribe());
        let reader = tokio::spawn(read_channel(source, events.clone(), endings.clone()));
        let writer = Writer { process, input, commands: commanded, endings: endings.clone() };
        let writer = tokio::spawn(writer.run());
        Ok((Self { events, endings, dead, reader, writer }, commands, heard))
    }

    async fn see_process_end(
        self,
        process: Arc<dyn Process>,
        texts: Vec<JoinHandle<()>>,
        settings: Settings,
    ) {
        let Settings { grace, stop, guard } = settings;
        let exit = {
            let end = process.wait();
            pin!(end);
            select! {
                biased;
                // Both are pinned for the whole wait or end it: nothing can be lost.
                exit = &mut end => exit,
                () = overdue(&self.events, &self.endings, grace, stop) => {
                    process.kill();
                    end.await
                }
            }
        };
        drop(guard);
        self.dead.send_replace(Some(Instant::now() + DRAIN_TIME));
        for text in texts {
            let _ = text.await;
        }
        let _ = self.reader.await;
        self.writer.abort();
        let _ = self.events.send(WorkerEvent::Exited(exit)).await;
    }

    async fn see_output_end(mut self, settings: Settings) {
        let Settings { grace, stop, guard } = settings;
        let read = select! {
            biased;
            // Cancel-safe: the handle keeps its result until it is taken.
            read = &mut self.reader => Some(read),
            () = overdue(&self.events, &self.endings, grace, stop) => None,
        };
        let exit = match read {
            Some(Ok(Ok(()))) => Exit::Code(0),
            Some(Ok(Err(error))) => Exit::Lost(error.to_string()),
            Some(Err(error)) => Exit::Lost(format!("its reader failed: {error}")),
            None => {
                self.dead.send_replace(Some(Instant::now() + DRAIN_TIME));
                match self.reader.await {
                    Ok(Err(error)) => Exit::Lost(error.to_string()),
                    _ => Exit::Lost(format!(
                        "the worker did not end within {grace:?} after its input was closed"
                    )),
                }
            }
        };
        drop(guard);
        self.writer.abort();
        let _ = self.events.send(WorkerEvent::Exited(exit)).await;
    }
}

/// Resolves when the worker has to be ended: it was asked to end the grace time ago, or it cannot
/// be used any more. Sees to it that it is asked once nobody listens or the connection closes.
async fn overdue(
    events: &queue::Sender<WorkerEvent>,
    endings: &Endings,
    grace: Duration,
    stop: Option<watch::Receiver<bool>>,
) {
    let mut ending = endings.watch();
    select! {
        // Cancel-safe, all three: they only wait for a state.
        () = ending.asked() => {}
        () = events.closed() => endings.raise(Ending::Asked),
        () = stopped(stop) => endings.raise(Ending::Asked),
    }
    select! {
        // Cancel-safe: it only waits for a state.
        () = ending.reached(Ending::Killed) => {}
        // Cancel-safe: this is the only wait for it.
        () = sleep(grace) => tracing::warn!(?grace, "a worker did not end in time; it is killed"),
    }
}

async fn stopped(stop: Option<watch::Receiver<bool>>) {
    if let Some(mut stop) = stop
        && stop.wait_for(|stop| *stop).await.is_ok()
    {
        return;
    }
    future::pending::<()>().await;
}
