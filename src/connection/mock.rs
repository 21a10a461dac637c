//! A connection whose workers are mock workers: no process, no port, no media.

mod rules;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

pub use self::rules::{
    Action, Arrived, CREATE_WORKER, Call, Failure, MockRules, Mocks, Rule, UnknownCall,
};
use self::rules::{HeldCall, Verdict};

use super::{
    BoxFuture, Connection, Details, Exit, HostLoad, LINK_LIMIT, Load, SpawnError, SpawnRequest,
    WorkerCommand, WorkerEvent, WorkerLink, incompatible,
};
use crate::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    addresses::{HostAddresses, PortPolicy},
    channel::{Envelope, Message, compose::ErrorKind, method},
    mock_worker::{EventError, MockHost, MockOptions, MockWorker, Objects, Settings},
    queue,
};

/// What a mock connection is made of.
#[derive(Debug, Clone)]
pub struct MockConnectionOptions {
    pub name: String,
    /// The host that its workers run on, shared or not with other mock connections.
    pub host: MockHost,
    pub addresses: HostAddresses,
    pub max_workers: usize,
    /// What it says of its host, before [`MockHandle::set_host_load`] says something else.
    pub host_load: HostLoad,
    /// What every worker takes whose load is not told there, in thousandths of a core.
    pub cpu: u32,
    /// The pid of its first worker; the next ones follow.
    pub first_pid: u32,
    pub seed: u64,
    /// What tests want of calls, shared or not with other mock connections.
    pub rules: MockRules,
}

impl Default for MockConnectionOptions {
    fn default() -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            name: "mock".to_owned(),
            host: MockHost::new(),
            addresses: HostAddresses {
                colocated: true,
                bind: vec![loopback],
                pipe: Some(loopback),
                announced: Vec::new(),
                behind_nat: false,
                port_range: None,
                port_policy: PortPolicy::default(),
                app_seen_as: None,
            },
            max_workers: 1024,
            host_load: HostLoad { cores: 8, age: Some(Duration::ZERO), ..HostLoad::default() },
            cpu: 0,
            first_pid: 100_001,
            seed: 1,
            rules: MockRules::default(),
        }
    }
}

/// A source of mock workers. It runs them as tasks of the runtime that spawns them.
pub struct MockConnection {
    shared: Arc<Shared>,
}

/// Looks into a mock connection and plays fate, for tests.
#[derive(Clone)]
pub struct MockHandle {
    shared: Arc<Shared>,
}

struct Shared {
    options: MockConnectionOptions,
    state: Mutex<State>,
    draining: watch::Sender<bool>,
}

struct State {
    next_pid: u32,
    closed: bool,
    live: BTreeMap<u32, Live>,
    violations: Vec<String>,
    host_load: HostLoad,
}

struct Live {
    worker: Arc<Mutex<MockWorker>>,
    control: mpsc::UnboundedSender<Control>,
}

enum Control {
    Exit(Exit),
    Emit(Vec<Message>),
    /// A call that was held.
    Handle(Message),
    /// The start was held, and goes on or fails.
    Start,
    FailStart(Failure),
}

impl MockConnection {
    pub fn new(options: MockConnectionOptions) -> Self {
        let state = State {
            next_pid: options.first_pid,
            closed: false,
            live: BTreeMap::new(),
            violations: Vec::new(),
            host_load: options.host_load.clone(),
        };
        let draining = watch::Sender::new(options.host_load.draining);
        Self { shared: Arc::new(Shared { options, state: Mutex::new(state), draining }) }
    }

    pub fn handle(&self) -> MockHandle {
        MockHandle { shared: Arc::clone(&self.shared) }
    }
}

impl Default for MockConnection {
    fn default() -> Self {
        Self::new(MockConnectionOptions::default())
    }
}

impl Connection for MockConnection {
    fn name(&self) -> String {
        self.shared.options.name.clone()
    }

    fn addresses(&self) -> Option<HostAddresses> {
        Some(self.shared.options.addresses.clone())
    }

    fn load(&self) -> Option<Load> {
        let workers = self.shared.state.lock().live.len();
        Some(Load { workers, max_workers: self.shared.options.max_workers })
    }

    fn host_load(&self) -> Option<HostLoad> {
        let state = self.shared.state.lock();
        let mut load = state.host_load.clone();
        for pid in state.live.keys() {
            load.own.entry(*pid).or_insert(self.shared.options.cpu);
        }
        Some(load)
    }

    fn details(&self) -> Details {
        Details { worker_versions: vec![MEDIASOUP_VERSION.to_owned()], ..Details::default() }
    }

    fn draining(&self) -> watch::Receiver<bool> {
        self.shared.draining.subscribe()
    }

    /// Starts a mock worker. A `worker_bin` is passed over: the mock stands in for any binary.
    fn spawn(&self, request: SpawnRequest) -> BoxFuture<'_, Result<WorkerLink, SpawnError>> {
        Box::pin(async move { self.shared.spawn(&request) })
    }

    fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        for live in state.live.values() {
            let exit = Exit::Lost(format!("{} is closed", self.shared.options.name));
            // A task that ended meanwhile needs no telling.
            let _ = live.control.send(Control::Exit(exit));
        }
    }
}

impl MockHandle {
    /// The pids of the workers that live.
    pub fn workers(&self) -> Vec<u32> {
        self.shared.state.lock().live.keys().copied().collect()
    }

    /// What the host is to tell of itself and of workers by their pids.
    pub fn set_host_load(&self, load: HostLoad) {
        let draining = load.draining;
        self.shared.state.lock().host_load = load;
        self.shared.draining.send_if_modified(|now| std::mem::replace(now, draining) != draining);
    }

    /// Ends a worker in that way. False if it does not live.
    pub fn kill(&self, pid: u32, exit: Exit) -> bool {
        self.shared.control(pid, Control::Exit(exit))
    }

    /// Lets a worker send a message, such as a notification. False if it does not live.
    pub fn emit(&self, pid: u32, message: Message) -> bool {
        self.shared.control(pid, Control::Emit(vec![message]))
    }

    /// Lets an event happen on the object of that id, as [`MockWorker::happen`] takes it. Where it
    /// is one of a transport's, that one's id is needed too: a piped Producer has the same id as
    /// the one that it is piped from.
    pub fn happen(
        &self,
        id: &str,
        transport: Option<&str>,
        event: Value,
    ) -> Result<(), EventError> {
        let state = self.shared.state.lock();
        for live in state.live.values() {
            let mut worker = live.worker.lock();
            if worker.has_in(id, transport) {
                let messages = worker.happen(id, event)?;
                // A worker that ends meanwhile says nothing more.
                let _ = live.control.send(Control::Emit(messages));
                return Ok(());
            }
        }
        Err(EventError::UnknownObject(id.to_owned()))
    }

    /// Whether an object of that id is open, on that transport if it is one of a transport's.
    pub fn has_in(&self, id: &str, transport: Option<&str>) -> bool {
        let state = self.shared.state.lock();
        state.live.values().any(|live| live.worker.lock().has_in(id, transport))
    }

    pub fn name(&self) -> &str {
        &self.shared.options.name
    }

    pub fn is_closed(&self) -> bool {
        self.shared.state.lock().closed
    }

    /// How many objects are open in a worker.
    pub fn objects(&self, pid: u32) -> Option<Objects> {
        let worker = Arc::clone(&self.shared.state.lock().live.get(&pid)?.worker);
        let objects = worker.lock().objects();
        Some(objects)
    }

    /// How many sockets are bound on the workers' host.
    pub fn sockets(&self) -> usize {
        self.shared.options.host.sockets()
    }

    /// Everything that would have crashed or hung real workers, of all workers ever.
    pub fn violations(&self) -> Vec<String> {
        let state = self.shared.state.lock();
        let mut all = state.violations.clone();
        for live in state.live.values() {
            all.extend_from_slice(live.worker.lock().violations());
        }
        all
    }
}

impl Shared {
    fn control(&self, pid: u32, control: Control) -> bool {
        self.state.lock().live.get(&pid).is_some_and(|live| live.control.send(control).is_ok())
    }

    fn spawn(self: &Arc<Self>, request: &SpawnRequest) -> Result<WorkerLink, SpawnError> {
        let name = &self.options.name;
        if request.version != MEDIASOUP_VERSION || request.fingerprint != SCHEMA_FINGERPRINT {
            return Err(incompatible(format!(
                "{name} speaks mediasoup {MEDIASOUP_VERSION}, not {} with schema {}",
                request.version, request.fingerprint
            )));
        }
        let mut state = self.state.lock();
        if state.closed {
            return Err(SpawnError::Unreachable(format!("{name} is closed")));
        }
        if state.live.len() >= self.options.max_workers {
            return Err(SpawnError::Full(format!("{name} has no room for another worker")));
        }
        let pid = state.next_pid;
        state.next_pid += 1;
        let (commands, incoming) = queue::bounded(LINK_LIMIT);
        let (outgoing, events) = queue::bounded(LINK_LIMIT);
        match Settings::parse(&request.args, &request.dtls) {
            Err(error) => {
                let complaint = format!("mediasoup-worker::run() | settings error: {error}\n");
                tokio::spawn(async move {
                    // Nobody may be listening any more, and then nothing is lost.
                    let _ = outgoing.send(WorkerEvent::Stderr(Bytes::from(complaint))).await;
                    let _ =
                        outgoing.send(WorkerEvent::Exited(Exit::Code(Exit::WRONG_SETTINGS))).await;
                });
            }
            Ok(settings) => {
                let worker = Arc::new(Mutex::new(MockWorker::new(MockOptions {
                    pid,
                    seed: self.options.seed.wrapping_add(u64::from(pid)),
                    settings,
                    host: self.options.host.clone(),
                })));
                let (control, orders) = mpsc::unbounded_channel();
                let call = HeldCall { worker: control.clone(), request: None };
                let started = match self.options.rules.judge(Call::CreateWorker, "", || call) {
                    Verdict::Pass => true,
                    Verdict::Held => false,
                    Verdict::Fail(failure) => return Err(failure.into()),
                };
                let life = Life {
                    shared: Arc::clone(self),
                    pid,
                    worker: Arc::clone(&worker),
                    control: control.clone(),
                };
                state.live.insert(pid, Live { worker, control });
                tokio::spawn(life.run(started, incoming, orders, outgoing));
            }
        }
        Ok(WorkerLink { pid, addresses: self.options.addresses.clone(), commands, events })
    }

    fn forget(&self, pid: u32) {
        let mut state = self.state.lock();
        if let Some(live) = state.live.remove(&pid) {
            let mut worker = live.worker.lock();
            state.violations.extend_from_slice(worker.violations());
            // The task still holds it; its sockets are free as soon as it is gone from the list.
            worker.terminate();
        }
    }
}

/// Why a start fails that a rule lets fail.
impl From<Failure> for SpawnError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            ErrorKind::TypeError => Self::WrongSettings(failure.message),
            // What apps are told in these words alone.
            ErrorKind::Error | ErrorKind::NotFoundError => Self::NoBinary(failure.message),
        }
    }
}

/// A worker's life.
struct Life {
    shared: Arc<Shared>,
    pid: u32,
    worker: Arc<Mutex<MockWorker>>,
    control: mpsc::UnboundedSender<Control>,
}

enum Step {
    Send(Vec<Message>),
    Exit(Exit),
}

impl Life {
    async fn run(
        self,
        started: bool,
        mut commands: queue::Receiver<WorkerCommand>,
        mut orders: mpsc::UnboundedReceiver<Control>,
        events: queue::Sender<WorkerEvent>,
    ) {
        let mut messages = if started { self.worker.lock().start() } else { Vec::new() };
        let exit = loop {
            for message in messages {
                // The link is gone; the next round ends the worker.
                let _ = events.send(WorkerEvent::Message(message.into_bytes())).await;
            }
            if self.worker.lock().is_closed() {
                break Exit::Code(0);
            }
            // Every arm is cancel-safe: what is not received stays in its queue.
            let step = tokio::select! {
                biased;
                () = events.closed() => Step::Exit(Exit::Code(0)),
                Some(order) = orders.recv() => match order {
                    Control::Exit(exit) => Step::Exit(exit),
                    Control::Emit(messages) => Step::Send(messages),
                    Control::Handle(message) => Step::Send(self.worker.lock().handle(&message)),
                    Control::Start => Step::Send(self.worker.lock().start()),
                    Control::FailStart(failure) => {
                        let text = Bytes::from(format!("{}\n", failure.message));
                        let _ = events.send(WorkerEvent::Stderr(text)).await;
                        Step::Exit(Exit::Code(match failure.kind {
                            ErrorKind::TypeError => Exit::WRONG_SETTINGS,
                            ErrorKind::Error | ErrorKind::NotFoundError => Exit::FAILURE,
                        }))
                    }
                },
                command = commands.recv() => self.obey(command),
            };
            match step {
                Step::Send(next) => messages = next,
                Step::Exit(exit) => break exit,
            }
        };
        self.shared.forget(self.pid);
        // Without a link nobody waits for it.
        let _ = events.send(WorkerEvent::Exited(exit)).await;
    }

    fn obey(&self, command: Option<WorkerCommand>) -> Step {
        match command {
            None | Some(WorkerCommand::CloseInput) => Step::Exit(Exit::Code(0)),
            Some(WorkerCommand::Signal(signal)) => match signal {
                libc::SIGINT | libc::SIGTERM => Step::Exit(Exit::Code(0)),
                libc::SIGKILL | libc::SIGQUIT | libc::SIGABRT | libc::SIGSEGV => {
                    Step::Exit(Exit::Signal(signal))
                }
                // The worker ignores these: PIPE, HUP, ALRM, USR1, USR2 and what ends no process.
                _ => Step::Send(Vec::new()),
            },
            Some(WorkerCommand::Message(bytes)) => match Message::parse(BytesMut::from(bytes)) {
                Ok(message) => Step::Send(self.receive(&message)),
                // A real worker checks nothing and crashes on it.
                Err(error) => {
                    self.worker.lock().note_violation(error.to_string());
                    Step::Exit(Exit::Signal(libc::SIGSEGV))
                }
            },
        }
    }

    /// Takes a message, unless a rule has other plans.
    fn receive(&self, message: &Message) -> Vec<Message> {
        let Envelope::Request(request) = message.envelope() else {
            return self.worker.lock().handle(message);
        };
        let id = request.id;
        let call = Call::Method(method::name(request.method));
        let verdict = self.shared.options.rules.judge(call, request.handler_id, || HeldCall {
            worker: self.control.clone(),
            request: Some((id, message.clone())),
        });
        match verdict {
            Verdict::Pass => self.worker.lock().handle(message),
            Verdict::Fail(failure) => vec![failure.answer(id)],
            Verdict::Held => Vec::new(),
        }
    }
}
