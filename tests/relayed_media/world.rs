//! A virtual worker over real workers, with time that passes only when told.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use mediasoup_horizontal::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    addresses::{
        AnnouncedMode, HostAddresses, PortPolicy, SelfSet,
        book::{AddressBook, Host},
    },
    channel::{
        Message, compose,
        fbs::{
            message,
            notification::{self, Notification},
            request, response,
        },
        method::{Event, Method},
    },
    connection::{DtlsFiles, SpawnRequest, WorkerCommand, WorkerEvent, WorkerLink},
    queue,
    virtual_worker::{Fate, Output, PartId, Spread, VirtualWorker},
    worker_process::{Environment, Launcher},
};
use tokio::{sync::mpsc, time::timeout};

use crate::real_worker::real_worker;

/// No step of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
const SIGKILL: i32 = 9;

pub type Answer = Result<Option<response::Body>, String>;

pub struct World {
    pub worker: VirtualWorker,
    /// Which host a part is on.
    host_of: fn(PartId) -> u32,
    commands: BTreeMap<PartId, queue::Sender<WorkerCommand>>,
    arriving: mpsc::UnboundedReceiver<(PartId, WorkerEvent)>,
    arrivals: mpsc::UnboundedSender<(PartId, WorkerEvent)>,
    answers: HashMap<u32, Answer>,
    last_id: u32,
    now: Duration,
    /// What the app heard.
    pub events: Vec<Notification>,
    /// What went to workers.
    pub sent: Vec<(PartId, Method, String)>,
    /// The scores of a Producer's streams on each part, as its worker told them last.
    pub scores: HashMap<PartId, Vec<u8>>,
    pub diagnostics: Vec<String>,
}

fn addresses() -> HostAddresses {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    HostAddresses {
        colocated: true,
        bind: vec![loopback],
        pipe: Some(loopback),
        announced: Vec::new(),
        behind_nat: false,
        port_range: None,
        port_policy: PortPolicy::Remap,
        app_seen_as: None,
    }
}

fn host(number: u32) -> Host {
    Host { key: format!("host {number}"), addresses: Arc::new(addresses()) }
}

fn start() -> WorkerLink {
    let request = SpawnRequest {
        version: MEDIASOUP_VERSION.into(),
        fingerprint: SCHEMA_FINGERPRINT.into(),
        args: vec!["--logLevel=none".into()],
        dtls: DtlsFiles::default(),
        worker_bin: None,
    };
    Launcher::new(Environment::of_process())
        .start(&real_worker(), &request, addresses(), ())
        .expect("a worker starts")
}

impl World {
    pub async fn new(max_parts: usize, max_fan_out: usize, host_of: fn(PartId) -> u32) -> Self {
        let names: [&str; 0] = [];
        let set = SelfSet::new([], names, |_| None, names);
        let book = Arc::new(AddressBook::new(set, AnnouncedMode::Auto));
        let spread = Spread { max_fan_out, ..Spread::scatter(max_parts) };
        let home = host(host_of(PartId(0)));
        let (arrivals, arriving) = mpsc::unbounded_channel();
        let mut world = Self {
            worker: VirtualWorker::new(1, home, book, spread),
            host_of,
            commands: BTreeMap::new(),
            arriving,
            arrivals,
            answers: HashMap::new(),
            last_id: 0,
            now: Duration::ZERO,
            events: Vec::new(),
            sent: Vec::new(),
            scores: HashMap::new(),
            diagnostics: Vec::new(),
        };
        world.add(world.worker.home());
        world.call(Method::WorkerCreateRouter, "", crate::bodies::create_router("r")).await;
        world
    }

    fn add(&mut self, part: PartId) {
        let WorkerLink { commands, mut events, .. } = start();
        self.commands.insert(part, commands);
        let arrivals = self.arrivals.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if arrivals.send((part, event)).is_err() {
                    return;
                }
            }
        });
    }

    /// A request that must be accepted.
    pub async fn call(
        &mut self,
        method: Method,
        handler: &str,
        body: impl Into<Option<request::Body>>,
    ) -> Option<response::Body> {
        self.last_id += 1;
        let id = self.last_id;
        let message = compose::request(id, method, handler, body.into());
        let mut out = Vec::new();
        self.worker.from_library(BytesMut::from(&message.into_bytes()[..]), &mut out);
        self.take(out).await;
        self.until("an answer", |world| world.answers.contains_key(&id)).await;
        match self.answers.remove(&id).expect("it is there") {
            Ok(body) => body,
            Err(why) => panic!("{method:?} of {handler}: {why}"),
        }
    }

    /// Lets workers speak until it holds.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            let arrived = timeout(PATIENCE, self.arriving.recv()).await;
            let Ok(Some((part, event))) = arrived else {
                panic!("{what} never comes; heard {:?}, told {:?}", self.events, self.diagnostics)
            };
            self.arrive(part, event).await;
        }
    }

    async fn arrive(&mut self, part: PartId, event: WorkerEvent) {
        let mut out = Vec::new();
        match event {
            WorkerEvent::Message(bytes) => {
                let bytes = BytesMut::from(&bytes[..]);
                self.note_scores(part, bytes.clone());
                self.worker.from_worker(part, bytes, &mut out);
            }
            WorkerEvent::Exited(_) => {
                self.commands.remove(&part);
                let fate = self.worker.part_died(part, "killed", &mut out);
                assert_eq!(fate, Fate::LivesOn);
            }
            _ => {}
        }
        self.take(out).await;
    }

    fn note_scores(&mut self, part: PartId, bytes: BytesMut) {
        let message = Message::parse(bytes).expect("a worker's message");
        if let Ok(message::Body::Notification(notification)) = compose::to_owned(&message)
            && let Some(notification::Body::ProducerScoreNotification(body)) = notification.body
            && notification.handler_id == "p"
        {
            let scores = body.scores.iter().map(|score| score.score).collect();
            self.scores.insert(part, scores);
        }
    }

    async fn take(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Library(bytes) => self.hear(&bytes),
                Output::Worker(part, bytes) => {
                    let message = Message::parse(BytesMut::from(&bytes[..])).expect("it verifies");
                    if let Ok(message::Body::Request(request)) = compose::to_owned(&message) {
                        self.sent.push((part, request.method, request.handler_id));
                    }
                    // One that died takes nothing.
                    if let Some(commands) = self.commands.get(&part) {
                        let _ = commands.send(WorkerCommand::Message(bytes)).await;
                    }
                }
                Output::Diagnostic(text) => self.diagnostics.push(text),
                Output::OpenPart(part) => {
                    self.add(part);
                    let mut more = Vec::new();
                    self.worker.part_opened(part, host((self.host_of)(part)), &mut more);
                    Box::pin(self.take(more)).await;
                }
                Output::ClosePart(part) => {
                    self.commands.remove(&part);
                }
                Output::Lost { .. } => {}
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let message = Message::parse(BytesMut::from(bytes)).expect("it verifies");
        match compose::to_owned(&message) {
            Ok(message::Body::Response(answer)) => {
                let outcome = if answer.accepted {
                    Ok(answer.body)
                } else {
                    Err(answer.reason.unwrap_or_default())
                };
                self.answers.insert(answer.id, outcome);
            }
            Ok(message::Body::Notification(notification)) => self.events.push(*notification),
            _ => {}
        }
    }

    /// Time passes for the virtual worker, and for nobody else.
    pub async fn pass(&mut self, time: Duration) {
        self.now += time;
        let mut out = Vec::new();
        self.worker.tick(self.now, &mut out);
        self.take(out).await;
    }

    pub async fn kill(&mut self, part: PartId) {
        if let Some(commands) = self.commands.get(&part) {
            let _ = commands.send(WorkerCommand::Signal(SIGKILL)).await;
        }
        self.until("the death of a part", |world| !world.commands.contains_key(&part)).await;
    }

    /// What the app heard of a consumer.
    pub fn heard(&self, consumer: &str) -> Vec<Event> {
        let of_it = self.events.iter().filter(|event| event.handler_id == consumer);
        of_it.map(|event| event.event).collect()
    }

    pub fn count(&self, part: PartId, method: Method) -> usize {
        self.sent.iter().filter(|(to, sent, _)| *to == part && *sent == method).count()
    }
}
