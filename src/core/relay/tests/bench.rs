//! Scripts on all sides of a relay. Messages are texts: `to 1 text`, `open 1`, `close 1`.

use std::{collections::VecDeque, net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::super::{
    ControlEvent, Ends, LibraryEnd, Machine, Opened, PartSource, STDIO_LIMIT, Watch, run,
};
use crate::{
    addresses::{HostAddresses, PortPolicy, book::Host},
    channel::framing::FrameReader,
    connection::{BoxFuture, Exit, LINK_LIMIT, WorkerCommand, WorkerEvent, WorkerLink},
    placement::Wish,
    queue,
    quiet_writer::QuietWriter,
    virtual_worker::{Fate, Output, PartId, PartLoad},
};

const PATIENCE: Duration = Duration::from_secs(30);
const PID: u32 = 7;

/// A channel message with that text, padded to what the shortest one has.
pub fn frame(text: &str) -> BytesMut {
    let padded = format!("{text:8}");
    let mut bytes = BytesMut::from(&u32::try_from(padded.len()).unwrap().to_le_bytes()[..]);
    bytes.extend_from_slice(padded.as_bytes());
    bytes
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes[4..].to_vec()).unwrap().trim_end().to_owned()
}

/// The far end of a worker's link.
pub struct WorkerEnd {
    pub events: queue::Sender<WorkerEvent>,
    commands: queue::Receiver<WorkerCommand>,
}

pub fn worker(name: &str) -> (Opened, WorkerEnd) {
    worker_with(name, LINK_LIMIT)
}

/// A worker whose queue of commands takes so many bytes.
pub fn worker_with(name: &str, limit: usize) -> (Opened, WorkerEnd) {
    let (commands, incoming) = queue::bounded(limit);
    let (outgoing, events) = queue::bounded(LINK_LIMIT);
    let addresses = HostAddresses {
        colocated: true,
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        pipe: None,
        announced: Vec::new(),
        behind_nat: false,
        port_range: None,
        port_policy: PortPolicy::default(),
        app_seen_as: None,
    };
    let host = Host { key: name.to_owned(), addresses: Arc::new(addresses.clone()) };
    let link = WorkerLink { pid: PID, addresses, commands, events };
    let opened = Opened { link, host, local: true, place: None };
    (opened, WorkerEnd { events: outgoing, commands: incoming })
}

impl WorkerEnd {
    pub async fn command(&mut self) -> Option<WorkerCommand> {
        timeout(PATIENCE, self.commands.recv()).await.unwrap()
    }

    /// The next message to this worker.
    pub async fn next(&mut self) -> String {
        match self.command().await {
            Some(WorkerCommand::Message(bytes)) => text(&bytes),
            other => panic!("{other:?} instead of a message"),
        }
    }

    pub fn quiet(&mut self) -> bool {
        self.commands.try_recv().is_none()
    }

    pub async fn tell(&self, text: &str) {
        self.events.send(WorkerEvent::Message(frame(text))).await.unwrap();
    }

    pub async fn exit(&self, exit: Exit) {
        self.events.send(WorkerEvent::Exited(exit)).await.unwrap();
    }

    /// Waits until nobody holds the link any more.
    pub async fn is_dropped(&self) {
        timeout(PATIENCE, self.events.closed()).await.unwrap();
    }
}

/// What becomes of an attempt to open a part.
pub enum Plan {
    After(Duration, Box<Opened>),
    Fail(&'static str),
    Never,
}

struct Plans {
    next: Mutex<VecDeque<Plan>>,
    taken: Mutex<Vec<Vec<String>>>,
    drains: watch::Sender<()>,
}

impl PartSource for Plans {
    fn drains(&self) -> watch::Receiver<()> {
        self.drains.subscribe()
    }

    fn open(&self, taken: &[String], _: Wish) -> BoxFuture<'static, Result<Opened, String>> {
        self.taken.lock().push(taken.to_vec());
        let plan = self.next.lock().pop_front();
        Box::pin(async {
            match plan {
                Some(Plan::After(delay, opened)) => {
                    sleep(delay).await;
                    Ok(*opened)
                }
                Some(Plan::Fail(why)) => Err(why.to_owned()),
                Some(Plan::Never) => std::future::pending().await,
                None => Err("no more plans".to_owned()),
            }
        })
    }
}

/// Does what the messages say.
#[derive(Default)]
struct Script {
    survives_home: bool,
    now: Duration,
    wake: Option<Duration>,
    /// Whether loads were told since the library listens for that.
    loads: Option<bool>,
}

fn say(text: &str, out: &mut Vec<Output>) {
    out.push(Output::Library(frame(text).freeze()));
}

fn part(number: &str) -> PartId {
    PartId(number.trim_end().parse().unwrap())
}

impl Machine for Script {
    fn home(&self) -> PartId {
        PartId(0)
    }

    fn library_said(&mut self, bytes: BytesMut, out: &mut Vec<Output>) {
        let text = text(&bytes);
        let mut words = text.splitn(3, ' ');
        match (words.next().unwrap(), words.next(), words.next()) {
            ("open", Some(id), None) => out.push(Output::OpenPart(part(id))),
            ("close", Some(id), None) => out.push(Output::ClosePart(part(id))),
            ("to", Some(id), Some(text)) => {
                out.push(Output::Worker(part(id), frame(text).freeze()));
            }
            ("listen", None, None) => self.loads = Some(false),
            ("survive", None, None) => self.survives_home = true,
            ("wake", Some(after), None) => {
                self.wake = Some(self.now + Duration::from_millis(after.parse().unwrap()));
            }
            _ => panic!("{text}"),
        }
    }

    fn worker_said(&mut self, id: PartId, bytes: BytesMut, out: &mut Vec<Output>) {
        let text = text(&bytes);
        match text.strip_prefix("copy ").and_then(|rest| rest.split_once(' ')) {
            Some((to, text)) => {
                out.push(Output::Worker(part(to), Bytes::from(frame(text))));
            }
            None => say(&format!("{}: {text}", id.0), out),
        }
    }

    fn part_opened(&mut self, id: PartId, host: Host, out: &mut Vec<Output>) {
        say(&format!("opened {} on {}", id.0, host.key), out);
    }

    fn part_failed(&mut self, id: PartId, why: &str, out: &mut Vec<Output>) {
        say(&format!("failed {}: {why}", id.0), out);
    }

    fn part_died(&mut self, id: PartId, why: &str, out: &mut Vec<Output>) -> Fate {
        say(&format!("died {}: {why}", id.0), out);
        if id == PartId(0) && !self.survives_home { Fate::Dies } else { Fate::LivesOn }
    }

    fn part_link(&mut self, id: PartId, up: bool, out: &mut Vec<Output>) {
        say(&format!("link {} {}", id.0, if up { "up" } else { "down" }), out);
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        self.now = now;
        if self.wake.is_some_and(|at| at <= now) {
            self.wake = None;
            say("awake", out);
        }
        if self.loads == Some(true) {
            self.loads = Some(false);
            say("loads", out);
        }
    }

    fn next_tick(&self) -> Option<Duration> {
        self.wake
    }

    fn part_loads(&mut self, _: &[PartLoad]) {
        self.loads = self.loads.map(|_| true);
    }
}

pub struct Bench {
    input: Option<UnixStream>,
    output: UnixStream,
    reader: FrameReader,
    pub home: WorkerEnd,
    pub control: mpsc::Sender<ControlEvent>,
    relay: JoinHandle<Exit>,
    source: Arc<Plans>,
    local_pids: watch::Receiver<Vec<u32>>,
}

impl Bench {
    pub fn new(plans: Vec<Plan>) -> Self {
        let (home, end) = worker("home");
        Self::with_home(home, end, plans)
    }

    pub fn with_home(home: Opened, end: WorkerEnd, plans: Vec<Plan>) -> Self {
        Self::start(home, end, plans, true)
    }

    pub fn without_source() -> Self {
        let (home, end) = worker("home");
        Self::start(home, end, Vec::new(), false)
    }

    fn start(home: Opened, end: WorkerEnd, plans: Vec<Plan>, sourced: bool) -> Self {
        let (input, relay_input) = UnixStream::pair().unwrap();
        let (output, relay_output) = UnixStream::pair().unwrap();
        let relay_output = QuietWriter::new(relay_output.into_std().unwrap()).unwrap();
        let (control, events) = mpsc::channel(4);
        let (stdio, _) = queue::bounded(STDIO_LIMIT);
        let (pids, local_pids) = watch::channel(Vec::new());
        let source = Arc::new(Plans {
            next: Mutex::new(plans.into()),
            taken: Mutex::default(),
            drains: watch::Sender::new(()),
        });
        let relay = tokio::spawn(run(Ends {
            library: LibraryEnd { input: relay_input, output: relay_output },
            machine: Script::default(),
            home,
            source: sourced.then(|| Arc::clone(&source) as _),
            control: events,
            stdio,
            local_pids: Some(pids),
            watch: Watch::nobody(),
        }));
        Self {
            input: Some(input),
            output,
            reader: FrameReader::default(),
            home: end,
            control,
            relay,
            source,
            local_pids,
        }
    }

    pub async fn say(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(&frame(text)).await.unwrap();
    }

    /// The next message to the library.
    pub async fn hear(&mut self) -> String {
        loop {
            if let Some(bytes) = self.reader.next().unwrap() {
                return text(&bytes);
            }
            let read = self.output.read_buf(self.reader.buffer());
            assert_ne!(timeout(PATIENCE, read).await.unwrap().unwrap(), 0, "the relay ended");
        }
    }

    /// Whether nothing is said to the library for a second.
    pub async fn silent(&mut self) -> bool {
        let read = self.output.read_buf(self.reader.buffer());
        timeout(Duration::from_secs(1), read).await.is_err()
    }

    pub fn hang_up(&mut self) {
        self.input = None;
    }

    pub fn ended(&self) -> bool {
        self.relay.is_finished()
    }

    pub async fn end(&mut self) -> Exit {
        timeout(PATIENCE, &mut self.relay).await.unwrap().unwrap()
    }

    /// The connections that were told to be taken, for every part that was asked for.
    pub fn taken(&self) -> Vec<Vec<String>> {
        self.source.taken.lock().clone()
    }

    /// A host begins to drain, or stays after all.
    pub fn turn_drains(&self) {
        self.source.drains.send_replace(());
    }

    pub fn local_pids(&self) -> Vec<u32> {
        self.local_pids.borrow().clone()
    }
}
