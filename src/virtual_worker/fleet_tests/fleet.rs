//! A virtual worker and the mock workers behind it, driven without any I/O.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use crate::{
    addresses::{
        AnnouncedMode, HostAddresses, PortPolicy, SelfSet,
        book::{AddressBook, Host},
    },
    channel::{
        Envelope, Message, compose,
        fbs::{message, notification, request, response},
        method::{Event, Method},
    },
    mock_worker::{LogLevel, MockHost, MockOptions, MockWorker, Settings},
    virtual_worker::{Fate, ObjectKind, OnPartLost, Output, PartId, Spread, VirtualWorker},
};

pub const PID: u32 = 4321;
pub const HOME: PartId = PartId(0);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Where parts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    One,
    /// Each part on a host of its own.
    Several,
    /// So many parts on one host, and all others on another one.
    Two(u32),
}

/// What the app got for a request.
pub type Answer = Result<Option<response::Body>, (String, String)>;

pub struct Fleet {
    pub worker: VirtualWorker,
    pub mocks: BTreeMap<PartId, MockWorker>,
    hosts: Hosts,
    mock_hosts: HashMap<String, MockHost>,
    now: Duration,
    queues: BTreeMap<PartId, VecDeque<Bytes>>,
    /// Parts that nothing is delivered to for now.
    pub held: BTreeSet<PartId>,
    /// Parts that were asked for while `slow`.
    pub opening: Vec<PartId>,
    pub slow: bool,
    pub closed: Vec<PartId>,
    answers: HashMap<u32, Answer>,
    pub events: Vec<(String, Event)>,
    /// What went to workers.
    pub sent: Vec<(PartId, request::Request)>,
    pub diagnostics: Vec<String>,
    /// What the app lost with parts.
    pub lost: Vec<(ObjectKind, String)>,
    last_id: u32,
}

impl Fleet {
    /// Every transport on the next part.
    pub fn new(max_parts: usize, hosts: Hosts) -> Self {
        Self::spread(Spread::scatter(max_parts), hosts)
    }

    pub fn losing(max_parts: usize, hosts: Hosts, on_part_lost: OnPartLost) -> Self {
        Self::spread(Spread { on_part_lost, ..Spread::scatter(max_parts) }, hosts)
    }

    pub fn with_fan_out(max_parts: usize, hosts: Hosts, max_fan_out: usize) -> Self {
        Self::spread(Spread { max_fan_out, ..Spread::scatter(max_parts) }, hosts)
    }

    pub fn spread(spread: Spread, hosts: Hosts) -> Self {
        let set = SelfSet::new([ip("10.0.0.1")], ["PUBLIC_IP"], |_| None, ["app.example"]);
        let book = AddressBook::new(set, AnnouncedMode::Auto);
        book.set_fleet([Some(host(HOME, hosts).addresses.as_ref().clone())].into_iter());
        let worker = VirtualWorker::new(PID, host(HOME, hosts), Arc::new(book), spread);
        let mut fleet = Self {
            worker,
            mocks: BTreeMap::new(),
            hosts,
            mock_hosts: HashMap::new(),
            now: Duration::ZERO,
            queues: BTreeMap::new(),
            held: BTreeSet::new(),
            opening: Vec::new(),
            slow: false,
            closed: Vec::new(),
            answers: HashMap::new(),
            events: Vec::new(),
            sent: Vec::new(),
            diagnostics: Vec::new(),
            lost: Vec::new(),
            last_id: 0,
        };
        fleet.add_mock(HOME);
        fleet.worker.watch_objects();
        fleet
    }

    fn add_mock(&mut self, part: PartId) {
        let settings = Settings { log_level: LogLevel::None, ..Settings::default() };
        let host = self.mock_hosts.entry(host(part, self.hosts).key).or_default().clone();
        let options =
            MockOptions { pid: 100 + part.0, seed: u64::from(part.0) + 1, settings, host };
        self.mocks.insert(part, MockWorker::new(options));
    }

    /// Asks without waiting.
    pub fn ask(
        &mut self,
        method: Method,
        handler: &str,
        body: impl Into<Option<request::Body>>,
    ) -> u32 {
        self.last_id += 1;
        let id = self.last_id;
        let message = compose::request(id, method, handler, body.into());
        let mut out = Vec::new();
        self.worker.from_library(message.into_bytes(), &mut out);
        self.take(out);
        id
    }

    /// Asks workers what goes through the pipes, without waiting.
    pub fn measure_pipes(&mut self) {
        let mut out = Vec::new();
        self.worker.measure_pipes(&mut out);
        self.take(out);
    }

    /// Asks and lets all settle.
    pub fn call(
        &mut self,
        method: Method,
        handler: &str,
        body: impl Into<Option<request::Body>>,
    ) -> Answer {
        let id = self.ask(method, handler, body);
        self.settle();
        self.answer(id).expect("every request is answered")
    }

    /// A request that must be accepted.
    pub fn ok(
        &mut self,
        method: Method,
        handler: &str,
        body: impl Into<Option<request::Body>>,
    ) -> Option<response::Body> {
        match self.call(method, handler, body) {
            Ok(body) => body,
            Err(error) => panic!("{method:?} of {handler}: {error:?}"),
        }
    }

    pub fn answer(&mut self, id: u32) -> Option<Answer> {
        self.answers.remove(&id)
    }

    /// Delivers all that may be delivered.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// Delivers one message to each worker that may have it.
    pub fn round(&mut self) {
        let parts: Vec<_> = self.queues.keys().copied().collect();
        let bursts: Vec<_> = parts
            .into_iter()
            .map(|part| (part, self.queues.remove(&part).unwrap_or_default()))
            .collect();
        for (part, burst) in bursts {
            for bytes in burst {
                self.deliver(part, &bytes);
            }
        }
    }

    fn step(&mut self) -> bool {
        let next = self
            .queues
            .iter()
            .find(|(part, queue)| !queue.is_empty() && !self.held.contains(part))
            .map(|(part, _)| *part);
        let Some(part) = next else { return false };
        let bytes = self.queues.get_mut(&part).and_then(VecDeque::pop_front);
        self.deliver(part, &bytes.expect("one waits"));
        true
    }

    fn deliver(&mut self, part: PartId, bytes: &Bytes) {
        let Some(mock) = self.mocks.get_mut(&part) else { return };
        let message = Message::parse(BytesMut::from(&bytes[..])).expect("it verifies");
        let replies = mock.handle(&message);
        assert_eq!(mock.violations(), &[] as &[String], "a real worker would not survive it");
        for reply in replies {
            let mut out = Vec::new();
            self.worker.from_worker(part, reply.into_bytes(), &mut out);
            self.take(out);
        }
    }

    pub fn take(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Library(bytes) => self.library(&bytes),
                Output::Worker(part, bytes) => {
                    let message = Message::parse(BytesMut::from(&bytes[..])).expect("it verifies");
                    if let Ok(message::Body::Request(request)) = compose::to_owned(&message) {
                        self.sent.push((part, *request));
                    }
                    self.queues.entry(part).or_default().push_back(bytes);
                }
                Output::Diagnostic(text) => self.diagnostics.push(text),
                Output::OpenPart(part) => {
                    self.opening.push(part);
                    if !self.slow {
                        self.open(part);
                    }
                }
                Output::Lost { kind, id, .. } => self.lost.push((kind, id)),
                Output::ClosePart(part) => {
                    self.closed.push(part);
                    self.mocks.remove(&part);
                    self.queues.remove(&part);
                }
            }
        }
    }

    fn library(&mut self, bytes: &Bytes) {
        let message = Message::parse(BytesMut::from(&bytes[..])).expect("it verifies");
        match compose::to_owned(&message).expect("it decodes") {
            message::Body::Response(answer) => {
                let found = if answer.accepted {
                    Ok(answer.body)
                } else {
                    Err((answer.error.unwrap_or_default(), answer.reason.unwrap_or_default()))
                };
                assert!(self.answers.insert(answer.id, found).is_none(), "answered twice");
            }
            message::Body::Notification(notification) => {
                let notification::Notification { handler_id, event, .. } = *notification;
                self.events.push((handler_id, event));
            }
            _ => assert!(!matches!(message.envelope(), Envelope::Request(_))),
        }
    }

    pub fn open(&mut self, part: PartId) {
        self.opening.retain(|other| *other != part);
        self.add_mock(part);
        let mut out = Vec::new();
        self.worker.part_opened(part, host(part, self.hosts), &mut out);
        self.take(out);
    }

    pub fn fail(&mut self, part: PartId) {
        self.opening.retain(|other| *other != part);
        let mut out = Vec::new();
        self.worker.part_failed(part, "no worker to be had", &mut out);
        self.take(out);
    }

    pub fn kill(&mut self, part: PartId) -> Fate {
        self.mocks.remove(&part);
        self.queues.remove(&part);
        let mut out = Vec::new();
        let fate = self.worker.part_died(part, "killed", &mut out);
        self.take(out);
        self.settle();
        fate
    }

    /// While a link is down nothing is delivered there.
    pub fn link(&mut self, part: PartId, up: bool) {
        if up {
            self.held.remove(&part);
        } else {
            self.held.insert(part);
        }
        let mut out = Vec::new();
        self.worker.part_link(part, up, &mut out);
        self.take(out);
        self.settle();
    }

    pub fn tick(&mut self, now: Duration) {
        self.now = now;
        let mut out = Vec::new();
        self.worker.tick(now, &mut out);
        self.take(out);
        self.settle();
    }

    /// Lets time pass, and all happen that is due.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        self.settle();
        while let Some(due) = self.worker.next_tick().filter(|due| *due <= until) {
            self.tick(due.max(self.now));
        }
        self.tick(until);
    }

    /// Lets time pass while messages are under way.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut out = Vec::new();
        while let Some(due) = self.worker.next_tick().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.worker.tick(self.now, &mut out);
        }
        self.now = until;
        self.worker.tick(until, &mut out);
        self.take(out);
    }

    /// A message that a worker says by itself.
    pub fn worker_says(&mut self, part: PartId, message: Message) {
        let mut out = Vec::new();
        self.worker.from_worker(part, message.into_bytes(), &mut out);
        self.take(out);
    }

    /// How many objects all workers hold, sockets too.
    pub fn left(&self) -> usize {
        self.mocks.values().map(|mock| mock.objects().total()).sum()
    }

    /// Events that the app heard since the last time it was asked.
    pub fn heard(&mut self) -> Vec<(String, Event)> {
        std::mem::take(&mut self.events)
    }

    pub fn sent_to(&self, part: PartId, method: Method) -> Vec<&request::Request> {
        let sent = self.sent.iter().filter(|(to, sent)| *to == part && sent.method == method);
        sent.map(|(_, sent)| sent).collect()
    }
}

fn host(part: PartId, hosts: Hosts) -> Host {
    let address = match hosts {
        Hosts::One => "127.0.0.1".to_owned(),
        Hosts::Several => format!("10.0.0.{}", part.0 + 2),
        Hosts::Two(first) => format!("10.0.0.{}", if part.0 < first { 2 } else { 3 }),
    };
    Host {
        key: format!("ws://{address}"),
        addresses: Arc::new(HostAddresses {
            colocated: hosts == Hosts::One,
            bind: vec![ip(&address)],
            pipe: None,
            announced: Vec::new(),
            behind_nat: false,
            port_range: None,
            port_policy: PortPolicy::Remap,
            app_seen_as: None,
        }),
    }
}
