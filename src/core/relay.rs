//! One Worker of the app at work: moves messages between the library, the virtual worker and the
//! real worker, until the worker is gone.

use std::{collections::VecDeque, io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    channel::framing::FrameReader,
    connection::{Exit, WorkerCommand, WorkerEvent, WorkerLink},
    queue::{self, TrySendError},
    quiet_writer::QuietWriter,
    virtual_worker::{Output, PartId, VirtualWorker},
};

/// Bytes that may wait for the library to read before the worker is no longer read.
const OUT_LIMIT: usize = 4 * 1024 * 1024;
/// How long the library may take to read the last messages of a worker that is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Between two looks at what the library has left unread, which no event tells.
const DRAIN_POLL: Duration = Duration::from_millis(1);
/// How long a worker may take to go once nobody wants it.
const FAREWELL: Duration = Duration::from_secs(8);
const SIGKILL: i32 = 9;

/// The library's ends of a worker's channel, as the stub handed them over.
pub struct LibraryEnd {
    /// What the library writes (the worker's fd 3).
    pub input: UnixStream,
    /// What the library reads (the worker's fd 4).
    pub output: QuietWriter,
}

/// What happens to the stub meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlEvent {
    /// A signal for the worker.
    Signal(i32),
    /// The stub is gone: the library counts its worker as dead.
    Gone,
}

/// What the worker wrote beside its channel, and our own remarks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdio {
    Stdout(Bytes),
    Stderr(Bytes),
}

/// How many bytes of such texts may wait.
pub const STDIO_LIMIT: usize = 1024 * 1024;

impl queue::Weight for Stdio {
    fn weight(&self) -> usize {
        match self {
            Self::Stdout(bytes) | Self::Stderr(bytes) => bytes.len(),
        }
    }
}

struct Relay {
    library: LibraryEnd,
    reader: FrameReader,
    /// False once the library closed its end.
    reading: bool,
    /// False once the library no longer reads; the worker is drained all the same.
    writing: bool,
    out: BytesMut,
    commands: queue::Sender<WorkerCommand>,
    waiting: VecDeque<WorkerCommand>,
    virtual_worker: VirtualWorker,
    home: PartId,
    outputs: Vec<Output>,
    stdio: queue::Sender<Stdio>,
}

/// Runs until the worker is gone and everything it said is with the library.
pub async fn run(
    library: LibraryEnd,
    link: WorkerLink,
    virtual_worker: VirtualWorker,
    mut control: mpsc::Receiver<ControlEvent>,
    stdio: queue::Sender<Stdio>,
) -> Exit {
    let WorkerLink { commands, mut events, .. } = link;
    let home = virtual_worker.home();
    let mut relay = Relay {
        library,
        reader: FrameReader::default(),
        reading: true,
        writing: true,
        out: BytesMut::new(),
        commands,
        waiting: VecDeque::new(),
        virtual_worker,
        home,
        outputs: Vec::new(),
        stdio,
    };
    let mut control_open = true;
    loop {
        tokio::select! {
            // Cancel-safe: a message that is not taken stays in the channel.
            event = control.recv(), if control_open => match event {
                Some(ControlEvent::Signal(signal)) => relay.command(WorkerCommand::Signal(signal)),
                Some(ControlEvent::Gone) => return relay.abandon(&mut events).await,
                None => control_open = false,
            },
            // Cancel-safe: an item that is not taken stays in the queue.
            event = events.recv(), if relay.out.len() < OUT_LIMIT => {
                if let Some(exit) = relay.worker_events(event, &mut events) {
                    relay.last_words().await;
                    return exit;
                }
            }
            // Cancel-safe: what was read is in the buffer. Some requests are answered here, and a
            // library that does not read must not fill the memory with those answers.
            read = relay.library.input.read_buf(relay.reader.buffer()),
                if relay.reading && relay.waiting.is_empty() && relay.out.len() < OUT_LIMIT => {
                if let Err(error) = relay.library_wrote(&read) {
                    relay.remark(&format!("the app's channel is broken: {error}"));
                    return relay.abandon(&mut events).await;
                }
            }
            // Cancel-safe: waits for readiness only.
            _ = relay.library.output.writable(), if !relay.out.is_empty() => relay.write_library(),
            // Cancel-safe: takes room, not the command.
            room = room(&relay.commands, relay.waiting.front()), if !relay.waiting.is_empty() => {
                if let Some(command) = relay.waiting.pop_front()
                    && let Ok(room) = room
                {
                    let _ = relay.commands.send_into(room, command);
                }
            }
        }
    }
}

async fn room(
    commands: &queue::Sender<WorkerCommand>,
    command: Option<&WorkerCommand>,
) -> Result<queue::Room, queue::Closed> {
    match command {
        Some(command) => commands.room_for(command).await,
        None => std::future::pending().await,
    }
}

impl Relay {
    /// Handles this event and all that wait behind it. Tells how the worker ended, if it did.
    fn worker_events(
        &mut self,
        first: Option<WorkerEvent>,
        events: &mut queue::Receiver<WorkerEvent>,
    ) -> Option<Exit> {
        let mut next = first;
        loop {
            match next {
                None => return Some(Exit::Lost("its connection dropped it".to_owned())),
                Some(WorkerEvent::Exited(exit)) => return Some(exit),
                Some(WorkerEvent::Message(bytes)) => {
                    self.virtual_worker.from_worker(self.home, bytes, &mut self.outputs);
                    self.settle();
                }
                Some(WorkerEvent::Stdout(bytes)) => self.text(Stdio::Stdout(bytes)),
                Some(WorkerEvent::Stderr(bytes)) => self.text(Stdio::Stderr(bytes)),
            }
            if self.out.len() >= OUT_LIMIT {
                break;
            }
            match events.try_recv() {
                Some(event) => next = Some(event),
                None => break,
            }
        }
        self.write_library();
        None
    }

    fn library_wrote(&mut self, read: &io::Result<usize>) -> Result<(), String> {
        // Node resets the socket when it destroys it with data unread: an end like any other.
        if !matches!(read, Ok(1..)) {
            self.reading = false;
            self.command(WorkerCommand::CloseInput);
            return Ok(());
        }
        while let Some(bytes) = self.reader.next().map_err(|error| error.to_string())? {
            self.virtual_worker.from_library(bytes, &mut self.outputs);
            self.settle();
        }
        self.write_library();
        Ok(())
    }

    /// Carries out what the virtual worker wants.
    fn settle(&mut self) {
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Library(bytes) => {
                    if self.writing {
                        self.out.extend_from_slice(&bytes);
                    }
                }
                Output::Worker(_, bytes) => self.command(WorkerCommand::Message(bytes)),
                Output::Diagnostic(text) => self.remark(&text),
                Output::OpenPart(_) | Output::ClosePart(_) => {}
            }
        }
    }

    fn command(&mut self, command: WorkerCommand) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(command);
            return;
        }
        match self.commands.offer(command) {
            Ok(()) | Err((_, TrySendError::Closed)) => {}
            Err((command, TrySendError::Full)) => self.waiting.push_back(command),
        }
    }

    fn write_library(&mut self) {
        while !self.out.is_empty() {
            match self.library.output.try_write(&self.out) {
                Ok(count) => self.out.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.writing = false;
                    self.out.clear();
                }
            }
        }
    }

    fn remark(&self, text: &str) {
        tracing::warn!("{text}");
        let line = Bytes::from(format!("mediasoup-horizontal: {text}\n"));
        self.text(Stdio::Stderr(line));
    }

    /// Texts that nobody reads are dropped in the end: the channel matters more.
    fn text(&self, text: Stdio) {
        if let Err(TrySendError::Full) = self.stdio.try_send(text) {
            tracing::warn!("dropped output of a worker, because the app does not read it");
        }
    }

    /// Gives the library the time to read what the worker said last. Node hears of the end of a
    /// process beside what is left in its sockets, and mediasoup then drops the rest.
    async fn last_words(&mut self) {
        let _ = timeout(LAST_WORDS, async {
            while !self.out.is_empty() && self.library.output.writable().await.is_ok() {
                self.write_library();
            }
            while self.writing && !self.library.output.is_drained() {
                sleep(DRAIN_POLL).await;
            }
        })
        .await;
    }

    /// Nobody waits for this worker any more: kills it and sees it gone.
    async fn abandon(mut self, events: &mut queue::Receiver<WorkerEvent>) -> Exit {
        let kill = WorkerCommand::Signal(SIGKILL);
        if !self.waiting.is_empty() || self.commands.try_send(kill) == Err(TrySendError::Full) {
            // Behind all that waits a kill comes too late. Whoever holds the other end of a link
            // that is dropped ends the worker.
            return Exit::Signal(SIGKILL);
        }
        self.command(WorkerCommand::CloseInput);
        let gone = async {
            while let Some(event) = events.recv().await {
                if let WorkerEvent::Exited(exit) = event {
                    return exit;
                }
            }
            Exit::Signal(SIGKILL)
        };
        timeout(FAREWELL, gone).await.unwrap_or(Exit::Signal(SIGKILL))
    }
}
