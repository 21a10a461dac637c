//! One Worker of the app at work: moves messages between the library, the virtual worker and the
//! real workers behind it, until the virtual worker is gone.

mod ending;
mod losses;
mod machine;
mod parts;
#[cfg(test)]
mod tests;
mod watching;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use self::{
    losses::Losses,
    parts::{Parts, Step},
};
pub use self::{
    machine::Machine,
    parts::{Measured, OPEN_TIMEOUT, Opened, PartSource},
    watching::{PartReport, QUESTIONS, Question, Report, Tell, Watch},
};
use crate::{
    channel::framing::{FrameReader, FramingError},
    connection::{Exit, WorkerCommand, WorkerEvent},
    monitor::Tally,
    queue::{self, TrySendError},
    quiet_writer::QuietWriter,
    virtual_worker::{Fate, Output, PartId},
};

/// Bytes that may wait for the library to read before the worker is no longer read.
const OUT_LIMIT: usize = 4 * 1024 * 1024;
/// How old the loads may be by which the virtual worker places something.
const LOADS_EVERY: Duration = Duration::from_secs(1);

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

/// What a text takes beside its bytes, so that a flood of letters is bounded too.
const TEXT_OVERHEAD: usize = 128;

impl queue::Weight for Stdio {
    fn weight(&self) -> usize {
        match self {
            Self::Stdout(bytes) | Self::Stderr(bytes) => TEXT_OVERHEAD + bytes.len(),
        }
    }
}

/// All that a relay connects.
pub struct Ends<M> {
    pub library: LibraryEnd,
    /// The virtual worker.
    pub machine: M,
    /// The worker that it starts with.
    pub home: Opened,
    /// Where further ones come from; without it there are none.
    pub source: Option<Arc<dyn PartSource>>,
    pub control: mpsc::Receiver<ControlEvent>,
    pub stdio: queue::Sender<Stdio>,
    /// Where to tell which processes of this host are at work, whenever that changes.
    pub local_pids: Option<watch::Sender<Vec<u32>>>,
    pub watch: Watch,
}

struct Relay<M> {
    library: LibraryEnd,
    reader: FrameReader,
    /// False once the library closed its end.
    reading: bool,
    /// False once the library no longer reads; the workers are drained all the same.
    writing: bool,
    /// True once the virtual worker was told to end: then it ends with its leading part.
    closing: bool,
    out: BytesMut,
    parts: Parts,
    machine: M,
    began: Instant,
    /// Turns whenever a host begins to drain, or stays after all.
    drains: Option<watch::Receiver<()>>,
    /// When the virtual worker was told the loads of its parts.
    loads_told: Option<Instant>,
    outputs: Vec<Output>,
    stdio: queue::Sender<Stdio>,
    local_pids: Option<watch::Sender<Vec<u32>>>,
    tally: Arc<Tally>,
    tell: Option<Tell>,
    closed: Arc<AtomicBool>,
    /// Where each part lives or lived.
    connections: HashMap<PartId, String>,
    /// Those who wait for what goes through the pipes.
    measuring: Vec<oneshot::Sender<()>>,
}

/// Runs until the virtual worker is gone and everything it said is with the library.
pub async fn run<M: Machine>(ends: Ends<M>) -> Exit {
    let Ends { library, machine, home, source, mut control, stdio, local_pids, watch } = ends;
    let Watch { mut questions, tally, tell, closed } = watch;
    let connections = HashMap::from([(machine.home(), home.host.key.clone())]);
    let mut relay = Relay {
        library,
        reader: FrameReader::default(),
        reading: true,
        writing: true,
        closing: false,
        out: BytesMut::new(),
        drains: source.as_ref().map(|source| source.drains()),
        parts: Parts::new(machine.home(), home, source),
        machine,
        began: Instant::now(),
        loads_told: None,
        outputs: Vec::new(),
        stdio,
        local_pids,
        tally,
        tell,
        closed,
        connections,
        measuring: Vec::new(),
    };
    let mut control_open = true;
    let mut alarm = std::pin::pin!(sleep_until(relay.began));
    let mut alarm_at = None;
    loop {
        let room = relay.out.len() < OUT_LIMIT;
        let listening = room && relay.reading && !relay.parts.hold_back();
        let due = relay.next_due(room);
        if let Some(at) = due
            && due != alarm_at
        {
            alarm.as_mut().reset(at);
        }
        alarm_at = due;
        let ended = tokio::select! {
            // Cancel-safe: a message that is not taken stays in the channel.
            event = control.recv(), if control_open => match event {
                Some(ControlEvent::Signal(signal)) => relay.signal(signal),
                Some(ControlEvent::Gone) => return relay.abandon().await,
                None => {
                    control_open = false;
                    None
                }
            },
            // Cancel-safe: a question that is not taken stays in the channel.
            Some(question) = questions.recv() => {
                relay.answer(question);
                None
            }
            // Cancel-safe: what is under way stays with the parts.
            step = relay.parts.next(room) => relay.step(step),
            // Cancel-safe: what was read is in the buffer. Some requests are answered here, and a
            // library that does not read must not fill the memory with those answers.
            read = relay.library.input.read_buf(relay.reader.buffer()),
                if listening => match relay.library_wrote(&read) {
                Ok(ended) => ended,
                Err(error) => {
                    relay.remark(&format!("the app's channel is broken: {error}"));
                    return relay.abandon().await;
                }
            },
            // Cancel-safe: waits for readiness only.
            _ = relay.library.output.writable(), if !relay.out.is_empty() => {
                relay.write_library();
                None
            }
            // Cancel-safe: a change that is not seen stays one.
            () = turned(&mut relay.drains) => {
                relay.drains_changed();
                None
            }
            // Cancel-safe: a moment in time.
            () = &mut alarm, if due.is_some() => {
                alarm_at = None;
                relay.parts.strike(Instant::now());
                relay.tick();
                relay.write_library();
                None
            }
        };
        if let Some(exit) = ended {
            relay.tell_ends();
            relay.last_words().await;
            return exit;
        }
    }
}

impl<M: Machine> Relay<M> {
    /// When something must happen by itself.
    fn next_due(&mut self, read: bool) -> Option<Instant> {
        let tick = self.machine.next_tick().map(|after| self.began + after);
        let strike = if self.parts.can_grow() { self.parts.next_strike(read) } else { None };
        tick.into_iter().chain(strike).min()
    }

    /// Tells the virtual worker the time, before anything that it may date by it.
    fn tick(&mut self) {
        self.machine.tick(self.began.elapsed(), &mut self.outputs);
        self.settle();
    }

    /// Tells the virtual worker the loads of its parts, before the library may ask for something
    /// that has to be placed. Nobody needs them in between.
    fn tell_loads(&mut self) {
        let now = Instant::now();
        let old = self.loads_told.is_none_or(|told| now - told >= LOADS_EVERY);
        let drains =
            self.drains.as_ref().is_some_and(|drains| drains.has_changed().is_ok_and(|is| is));
        if self.parts.can_grow() && (old || drains) {
            self.loads_told = Some(now);
            let loads = self.parts.loads();
            self.machine.part_loads(&loads);
        }
    }

    /// A host means to leave, or stays after all: that says what is to be done with its parts.
    fn drains_changed(&mut self) {
        self.loads_told = None;
        self.tick();
        self.tell_loads();
        self.tick();
        self.write_library();
    }

    /// Tells how the virtual worker ended, if it did.
    fn step(&mut self, step: Step) -> Option<Exit> {
        match step {
            Step::Event(part, event) => {
                self.tick();
                self.worker_events(part, event)
            }
            Step::Opened(part, Ok(opened)) => {
                let host = opened.host.clone();
                self.note_connection(part, host.key.clone());
                self.parts.opened(part, opened);
                self.tell_local_pids();
                self.tally.part_opened();
                self.tick();
                self.machine.part_opened(part, host, &mut self.outputs);
                self.settle();
                self.write_library();
                None
            }
            Step::Opened(part, Err(why)) => {
                self.parts.remove(part);
                self.tally.part_failed();
                self.tick();
                self.machine.part_failed(part, &why, &mut self.outputs);
                self.settle();
                self.write_library();
                None
            }
            Step::Flushed => None,
        }
    }

    /// Handles this event and all that wait behind it. Tells how the virtual worker ended, if it
    /// did.
    fn worker_events(&mut self, part: PartId, first: Option<WorkerEvent>) -> Option<Exit> {
        let mut next = first;
        loop {
            match next {
                None => {
                    return self.part_ended(part, Exit::Lost("its connection dropped it".into()));
                }
                Some(WorkerEvent::Exited(exit)) => return self.part_ended(part, exit),
                Some(WorkerEvent::Message(bytes)) => {
                    self.machine.worker_said(part, bytes, &mut self.outputs);
                    self.settle();
                }
                Some(WorkerEvent::LinkDown) => self.link(part, false),
                Some(WorkerEvent::LinkUp) => self.link(part, true),
                Some(WorkerEvent::Stdout(bytes)) => self.text(Stdio::Stdout(bytes)),
                Some(WorkerEvent::Stderr(bytes)) => self.text(Stdio::Stderr(bytes)),
            }
            if self.out.len() >= OUT_LIMIT {
                break;
            }
            match self.parts.try_event(part) {
                Some(event) => next = Some(event),
                None => break,
            }
        }
        self.write_library();
        None
    }

    fn link(&mut self, part: PartId, up: bool) {
        self.parts.set_link(part, up);
        self.machine.part_link(part, up, &mut self.outputs);
        self.settle();
    }

    fn part_ended(&mut self, part: PartId, exit: Exit) -> Option<Exit> {
        let leads = self.parts.leader() == Some(part);
        self.parts.remove(part);
        self.tell_local_pids();
        if self.closing {
            return leads.then_some(exit);
        }
        let fate = self.machine.part_died(part, &in_words(&exit), &mut self.outputs);
        if let (Fate::Dies, Exit::Lost(why)) = (fate, &exit) {
            // mediasoup would only say that the channel is closed.
            self.machine.lose_calls(why, &mut self.outputs);
        }
        self.settle();
        self.write_library();
        match fate {
            Fate::Dies => Some(exit),
            Fate::LivesOn => {
                self.tally.part_lost();
                None
            }
        }
    }

    fn tell_local_pids(&self) {
        if let Some(local_pids) = &self.local_pids {
            let now = self.parts.local_pids();
            local_pids.send_if_modified(|told| {
                let changed = *told != now;
                *told = now;
                changed
            });
        }
    }

    fn library_wrote(&mut self, read: &io::Result<usize>) -> Result<Option<Exit>, FramingError> {
        // Node resets the socket when it destroys it with data unread: an end like any other.
        if !matches!(read, Ok(1..)) {
            self.reading = false;
            return Ok(self.close(WorkerCommand::CloseInput));
        }
        self.tick();
        self.tell_loads();
        while let Some(bytes) = self.reader.next()? {
            self.tally.called(&bytes);
            self.machine.library_said(bytes, &mut self.outputs);
            self.settle();
        }
        self.write_library();
        Ok(None)
    }

    /// Carries out what the virtual worker wants.
    fn settle(&mut self) {
        let mut losses = Losses::default();
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Lost { kind, id, reason } => losses.add(kind, id, reason),
                Output::Library(bytes) => {
                    self.tally.answered(&bytes);
                    if self.writing {
                        self.out.extend_from_slice(&bytes);
                    }
                }
                Output::Worker(part, bytes) => {
                    self.parts.command(part, WorkerCommand::Message(bytes));
                }
                Output::Diagnostic(text) => self.remark(&text),
                Output::OpenPart(part) => self.parts.open(part, self.machine.wish(part)),
                Output::ClosePart(part) => {
                    self.parts.remove(part);
                    self.tell_local_pids();
                }
            }
        }
        if let Some(line) = losses.line() {
            self.remark(&line);
        }
        self.tell_changes();
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
}

/// Resolves with each turn. Cancel-safe: one that is not seen stays.
async fn turned(drains: &mut Option<watch::Receiver<()>>) {
    if let Some(receiver) = drains {
        if receiver.changed().await.is_ok() {
            return;
        }
        // Nobody will turn it any more.
        *drains = None;
    }
    std::future::pending::<()>().await;
}

fn in_words(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("it ended with code {code}"),
        Exit::Signal(signal) => format!("it ended by signal {signal}"),
        Exit::Lost(why) => why.clone(),
    }
}
