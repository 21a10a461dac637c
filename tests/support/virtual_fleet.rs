//! A virtual worker over real workers of this host.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
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
        fbs::{message, request, response},
        method::Method,
    },
    connection::{DtlsFiles, Exit, SpawnRequest, WorkerCommand, WorkerEvent, WorkerLink},
    virtual_worker::{Output, PartId, Spread, VirtualWorker},
    worker_process::{Environment, Launcher},
};
use tokio::time::timeout;

use crate::real_worker::real_worker;

/// How long a worker may take for an answer, and for its end.
const PATIENCE: Duration = Duration::from_secs(20);

pub type Answer = Result<Option<response::Body>, (String, String)>;

pub struct Fleet {
    worker: VirtualWorker,
    links: BTreeMap<PartId, WorkerLink>,
    answers: HashMap<u32, Answer>,
    last_id: u32,
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
        port_policy: PortPolicy::Strict,
        app_seen_as: None,
    }
}

fn host() -> Host {
    Host { key: "local".to_owned(), addresses: Arc::new(addresses()) }
}

fn start() -> WorkerLink {
    let request = SpawnRequest {
        version: MEDIASOUP_VERSION.into(),
        fingerprint: SCHEMA_FINGERPRINT.into(),
        args: vec!["--logLevel=none".into()],
        dtls: DtlsFiles::default(),
        worker_bin: None,
    };
    let launcher = Launcher::new(Environment::of_process());
    launcher.start(&real_worker(), &request, addresses(), ()).expect("a worker starts")
}

impl Fleet {
    pub async fn start(max_parts: usize) -> Self {
        let names: [&str; 0] = [];
        let set = SelfSet::new([], names, |_| None, names);
        let book = Arc::new(AddressBook::new(set, AnnouncedMode::Auto));
        let spread = if max_parts > 1 { Spread::scatter(max_parts) } else { Spread::ONE_PART };
        let worker = VirtualWorker::new(1, host(), book, spread);
        let links = BTreeMap::from([(worker.home(), start())]);
        let mut fleet = Self { worker, links, answers: HashMap::new(), last_id: 0 };
        fleet.ok(Method::WorkerGetResourceUsage, "", None).await;
        fleet
    }

    pub fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    /// The app says something.
    pub async fn say(&mut self, bytes: BytesMut) {
        let mut out = Vec::new();
        self.worker.from_library(bytes, &mut out);
        self.carry_out(out).await;
    }

    pub async fn call(
        &mut self,
        method: Method,
        handler: &str,
        body: impl Into<Option<request::Body>>,
    ) -> Answer {
        let id = self.next_id();
        self.say(compose::request(id, method, handler, body.into()).into_bytes()).await;
        self.answer(id).await
    }

    /// A request that must be accepted.
    pub async fn ok(
        &mut self,
        method: Method,
        handler: &str,
        body: impl Into<Option<request::Body>>,
    ) {
        let answer = self.call(method, handler, body).await;
        assert!(answer.is_ok(), "{method:?} of {handler}: {answer:?}");
    }

    /// Waits for the answer to that request.
    pub async fn answer(&mut self, id: u32) -> Answer {
        loop {
            if let Some(answer) = self.answers.remove(&id) {
                return answer;
            }
            self.hear().await;
        }
    }

    /// One event of any worker.
    async fn hear(&mut self) {
        let next = async {
            let receiving: Vec<_> = self
                .links
                .iter_mut()
                .map(|(part, link)| {
                    let part = *part;
                    Box::pin(async move { (part, link.events.recv().await) })
                })
                .collect();
            first(receiving).await
        };
        let (part, event) = timeout(PATIENCE, next).await.expect("every request is answered");
        match event {
            Some(WorkerEvent::Message(bytes)) => {
                let mut out = Vec::new();
                self.worker.from_worker(part, bytes, &mut out);
                self.carry_out(out).await;
            }
            Some(WorkerEvent::Exited(exit)) => panic!("the worker of {part:?} ended: {exit:?}"),
            Some(_) => {}
            None => panic!("the worker of {part:?} is gone"),
        }
    }

    async fn carry_out(&mut self, out: Vec<Output>) {
        let mut out = VecDeque::from(out);
        while let Some(output) = out.pop_front() {
            match output {
                Output::Library(bytes) => self.library(&bytes),
                Output::Worker(part, bytes) => {
                    let commands = &self.links[&part].commands;
                    commands.send(WorkerCommand::Message(bytes)).await.expect("the worker lives");
                }
                Output::OpenPart(part) => {
                    self.links.insert(part, start());
                    let mut more = Vec::new();
                    self.worker.part_opened(part, host(), &mut more);
                    for (at, output) in more.into_iter().enumerate() {
                        out.insert(at, output);
                    }
                }
                Output::ClosePart(_) | Output::Lost { .. } => panic!("{output:?}"),
                Output::Diagnostic(_) => {}
            }
        }
    }

    fn library(&mut self, bytes: &[u8]) {
        let message = Message::parse(BytesMut::from(bytes)).expect("it verifies");
        if let Ok(message::Body::Response(answer)) = compose::to_owned(&message) {
            let found = if answer.accepted {
                Ok(answer.body)
            } else {
                Err((answer.error.unwrap_or_default(), answer.reason.unwrap_or_default()))
            };
            assert!(self.answers.insert(answer.id, found).is_none(), "answered twice");
        }
    }

    /// Every worker still answers, and ends by itself once its input is closed.
    pub async fn live_and_end_well(mut self) {
        self.ok(Method::WorkerDump, "", None).await;
        for (part, link) in &mut self.links {
            link.commands.send(WorkerCommand::CloseInput).await.expect("the worker lives");
            let exit = async {
                loop {
                    match link.events.recv().await {
                        Some(WorkerEvent::Exited(exit)) => return exit,
                        Some(_) => {}
                        None => return Exit::Lost("it went without an exit".to_owned()),
                    }
                }
            };
            let exit = timeout(PATIENCE, exit).await.expect("the worker ends");
            assert_eq!(exit, Exit::Code(0), "{part:?}");
        }
    }
}

/// What the first of these that is ready gives.
async fn first<F: Future + Unpin>(mut futures: Vec<F>) -> F::Output {
    std::future::poll_fn(|context| {
        for future in &mut futures {
            if let std::task::Poll::Ready(output) = std::pin::Pin::new(future).poll(context) {
                return std::task::Poll::Ready(output);
            }
        }
        std::task::Poll::Pending
    })
    .await
}
