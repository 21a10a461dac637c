//! A worker without media, ports or process: it answers the whole channel protocol as
//! mediasoup-worker 3.27 does, so that genuine mediasoup objects live on it in tests.
//!
//! It is a pure state machine. Whatever a real worker draws by lot comes from a seed.

mod closing;
mod codec;
mod consumer;
mod data_consumer;
mod data_producer;
mod events;
mod host;
mod messages;
mod numbers;
mod outbox;
mod pipe_transport;
mod plain_transport;
mod producer;
mod refusal;
mod registry;
mod router;
mod rtp_observer;
mod rtp_parameters;
mod sctp;
mod settings;
mod srtp;
mod stats;
mod traces;
mod transport;
mod transport_requests;
mod web_rtc_server;
mod web_rtc_transport;
mod worker;

pub use events::EventError;
pub use host::MockHost;
pub use registry::Objects;
pub use settings::{LogLevel, Settings, SettingsError};

use crate::channel::{
    Envelope, Message, compose,
    fbs::{message, notification::Notification, request::Request},
    method::{self, Event},
};
use numbers::Numbers;
use outbox::{Answer, Outbox};
use refusal::Refusal;
use registry::{Kind, Registry};

/// What a mock worker is made of.
#[derive(Debug, Clone)]
pub struct MockOptions {
    /// The process id that it claims.
    pub pid: u32,
    /// Where its ICE fragments, keys and fingerprints come from.
    pub seed: u64,
    pub settings: Settings,
    /// Where it binds its sockets. Workers that share a host share its ports.
    pub host: MockHost,
}

impl Default for MockOptions {
    fn default() -> Self {
        Self { pid: 1, seed: 1, settings: Settings::default(), host: MockHost::new() }
    }
}

/// The worker.
#[derive(Debug)]
pub struct MockWorker {
    pid: u32,
    settings: Settings,
    host: MockHost,
    numbers: Numbers,
    fingerprints: Vec<crate::channel::fbs::web_rtc_transport::Fingerprint>,
    registry: Registry,
    outbox: Outbox,
    violations: Vec<String>,
    /// Milliseconds of its life; each message takes one.
    clock: u64,
    closed: bool,
}

impl MockWorker {
    pub fn new(options: MockOptions) -> Self {
        let mut numbers = Numbers::new(options.seed);
        let fingerprints = web_rtc_transport::fingerprints(&mut numbers);
        Self {
            pid: options.pid,
            settings: options.settings,
            host: options.host,
            numbers,
            fingerprints,
            registry: Registry::default(),
            outbox: Outbox::default(),
            violations: Vec::new(),
            clock: 0,
            closed: false,
        }
    }

    /// What a worker sends by itself when it starts: `WORKER_RUNNING` is the last of it, and the
    /// only thing unless the log level asks for more.
    pub fn start(&mut self) -> Vec<Message> {
        for line in self.settings.printed() {
            self.outbox.log(line);
        }
        self.outbox.notify(&self.pid.to_string(), Event::WorkerRunning, None);
        self.outbox.flush()
    }

    /// Takes one message of the library and returns what the worker sends for it: notifications and
    /// logs in their order, and exactly one answer if it was a request.
    pub fn handle(&mut self, message: &Message) -> Vec<Message> {
        if self.closed {
            return Vec::new();
        }
        self.clock += 1;
        if let Err(error) = message.check_for_worker() {
            self.violations.push(error.to_string());
            return self.refuse_violation(message, &error.to_string());
        }
        match compose::to_owned(message) {
            Ok(message::Body::Request(request)) => {
                let id = request.id;
                let answer = self.request(*request);
                self.finish(id, answer)
            }
            Ok(message::Body::Notification(notification)) => {
                self.notification(*notification);
                self.outbox.flush()
            }
            Ok(_) => Vec::new(),
            Err(error) => {
                self.violations.push(error.to_string());
                self.refuse_violation(message, &error.to_string())
            }
        }
    }

    /// Whether `WORKER_CLOSE` came. Nothing is answered from then on.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How many objects are open.
    pub fn objects(&self) -> Objects {
        self.registry.count()
    }

    /// Whether an object of that id is open.
    pub fn has(&self, id: &str) -> bool {
        self.registry.kind(id).is_some()
    }

    /// Whether an object of that id is open, on that transport if it is one of a transport's.
    pub fn has_in(&self, id: &str, transport: Option<&str>) -> bool {
        let owner = match self.registry.kind(id) {
            Some(Kind::Producer) => self.registry.producer(id).map(|own| &own.transport),
            Some(Kind::Consumer) => self.registry.consumer(id).map(|own| &own.transport),
            Some(Kind::DataProducer) => self.registry.data_producer(id).map(|own| &own.transport),
            Some(Kind::DataConsumer) => self.registry.data_consumer(id).map(|own| &own.transport),
            other => return other.is_some(),
        };
        transport.is_none_or(|wanted| owner.is_some_and(|owner| owner == wanted))
    }

    /// What it was sent that would have crashed a real worker, or hung it. It refuses such messages
    /// and lives on.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Notes something else that a real worker would not have survived.
    pub(crate) fn note_violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Ends it without a word: its sockets are free at once.
    pub(crate) fn terminate(&mut self) {
        self.registry.clear();
        self.closed = true;
    }

    fn finish(&mut self, id: u32, answer: Answer) -> Vec<Message> {
        if let Err(refusal) = &answer {
            self.log_error(&format!("throwing {}: {refusal}", refusal.class()));
        }
        self.outbox.answer(id, answer)
    }

    fn refuse_violation(&mut self, message: &Message, reason: &str) -> Vec<Message> {
        match message.envelope() {
            Envelope::Request(request) => self.finish(request.id, Err(Refusal::error(reason))),
            _ => Vec::new(),
        }
    }

    fn log_error(&mut self, text: &str) {
        if self.settings.log_level >= LogLevel::Error {
            self.outbox.log(format!("EMockWorker::Handle() | {text}"));
        }
    }

    fn request(&mut self, request: Request) -> Answer {
        let Request { method, handler_id: id, body, .. } = request;
        if method::is_worker_method(method) {
            return self.worker_request(method, body);
        }
        match self.registry.kind(&id) {
            None => Err(Refusal::no_handler(&id, method)),
            Some(Kind::WebRtcServer) => self.web_rtc_server_request(&id, method),
            Some(Kind::Router) => self.router_request(&id, method, body),
            Some(Kind::Transport) => self.transport_request(&id, method, body),
            Some(Kind::Producer) => self.producer_request(&id, method, body),
            Some(Kind::Consumer) => self.consumer_request(&id, method, body),
            Some(Kind::DataProducer) => self.data_producer_request(&id, method),
            Some(Kind::DataConsumer) => self.data_consumer_request(&id, method, body),
            Some(Kind::RtpObserver) => self.rtp_observer_request(&id, method, body),
        }
    }

    fn notification(&mut self, notification: Notification) {
        if notification.event == Event::WorkerClose {
            self.close();
            return;
        }
        if let Err(refusal) = self.deliver(notification) {
            self.log_error(&format!("notification failed: {refusal}"));
        }
    }
}
