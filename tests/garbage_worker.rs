//! Workers that spew garbage: alone behind a Worker, behind an agent, and as one part of several.
//! Only that worker ends, or is not listened to; everything else goes on.

#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "shared with the tests of the mock worker")]
#[path = "mock_worker/bodies.rs"]
mod bodies;
#[path = "support/heap.rs"]
mod heap;
#[path = "support/spewing.rs"]
mod spewing;

use std::{net::Ipv4Addr, os::fd::OwnedFd, sync::Arc, time::Duration};

use mediasoup_horizontal::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    addresses::{
        AnnouncedMode, HostAddresses, SelfSet,
        book::{AddressBook, Host},
    },
    agent::{AgentOptions, Identity, LocalWorkers, Server},
    channel::{Envelope, Message, compose, fbs::request, framing::FrameReader, method::Method},
    connection::{
        BoxFuture, Connection, DtlsFiles, Exit, SpawnRequest, WorkerLink,
        mock::{MockConnection, MockConnectionOptions},
        remote::{RemoteConnection, RemoteOptions},
    },
    core::relay::{self, ControlEvent, Ends, LibraryEnd, Opened, PartSource, Stdio},
    net::{Dial, DialError, Dialed},
    placement::Wish,
    queue,
    quiet_writer::QuietWriter,
    virtual_worker::{OnPartLost, Spread, VirtualWorker},
    worker_process::{Environment, Launcher, WorkerBinary},
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use self::{
    heap::Measured,
    spewing::{Spewing, Then},
};

const TEST_LIMIT: Duration = Duration::from_secs(40);

/// What a Worker may hold: its worker's two queues, its agent's too, and messages on their way;
/// docs/operations.md, "Memory".
const WORKER_MAX: usize = 4 * 33 + 2 * 36;

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(TEST_LIMIT, future).await.expect("took longer than a test may")
}

fn request() -> SpawnRequest {
    SpawnRequest {
        version: MEDIASOUP_VERSION.to_owned(),
        fingerprint: SCHEMA_FINGERPRINT.to_owned(),
        args: Vec::new(),
        dtls: DtlsFiles::default(),
        worker_bin: None,
    }
}

fn addresses() -> HostAddresses {
    MockConnectionOptions::default().addresses
}

/// Where a worker that spews is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Local,
    Agent,
}

const PLACES: [Place; 2] = [Place::Local, Place::Agent];

/// Dials an agent of this process.
struct InMemory(Server);

impl Dial for InMemory {
    fn dial(&self) -> BoxFuture<'_, Result<Dialed, DialError>> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let server = self.0.clone();
        tokio::spawn(async move {
            server.serve(Box::new(far), Ipv4Addr::LOCALHOST.into()).await;
        });
        Box::pin(async move { Ok(Dialed { transport: Box::new(near), peer: None }) })
    }
}

/// A worker that spews, and what must live as long as it.
async fn start(spewing: &Spewing, place: Place) -> (WorkerLink, Option<RemoteConnection>) {
    let path = spewing.program();
    match place {
        Place::Local => {
            let binary = WorkerBinary { path, version: MEDIASOUP_VERSION.into(), schema: None };
            let launcher = Launcher::new(Environment::of_process());
            (launcher.start(&binary, &request(), addresses(), ()).unwrap(), None)
        }
        Place::Agent => {
            let named = format!("{MEDIASOUP_VERSION}={}", path.display());
            let source = Arc::new(LocalWorkers::new(&[named]).unwrap());
            let server =
                Server::new(AgentOptions::default(), Identity::new(1), addresses(), source);
            let options = RemoteOptions::new("ws://memory:4480").unwrap();
            let connection = RemoteConnection::with_dialer(options, Arc::new(InMemory(server)));
            let link = within(connection.spawn(request())).await.unwrap();
            (link, Some(connection))
        }
    }
}

fn opened(link: WorkerLink, key: &str) -> Opened {
    let host = Host { key: key.to_owned(), addresses: Arc::new(link.addresses.clone()) };
    Opened { link, host, local: false, place: None }
}

/// Gives one worker for a part, and then none any more.
struct OnePart(Arc<Mutex<Option<Opened>>>);

impl PartSource for OnePart {
    fn open(&self, _: &[String], _: Wish) -> BoxFuture<'static, Result<Opened, String>> {
        let part = self.0.lock().take();
        Box::pin(async { part.ok_or_else(|| "there is no other worker".to_owned()) })
    }
}

/// A Worker as its library sees it.
struct Library {
    input: UnixStream,
    output: UnixStream,
    reader: FrameReader,
    texts: queue::Receiver<Stdio>,
    control: mpsc::Sender<ControlEvent>,
    running: JoinHandle<Exit>,
    /// The worker for a part, until it is taken.
    spare: Arc<Mutex<Option<Opened>>>,
    last_id: u32,
}

type Answer = Result<(), String>;

impl Library {
    fn of(home: WorkerLink, part: Option<WorkerLink>) -> Self {
        let names: [&str; 0] = [];
        let set = SelfSet::new([], names, |_| None, names);
        let book = Arc::new(AddressBook::new(set, AnnouncedMode::Auto));
        let home = opened(home, "home");
        let spread = if part.is_some() {
            Spread { on_part_lost: OnPartLost::Continue, ..Spread::scatter(2) }
        } else {
            Spread::ONE_PART
        };
        let spare = Arc::new(Mutex::new(None));
        let source = part.map(|part| {
            *spare.lock() = Some(opened(part, "part"));
            Arc::new(OnePart(Arc::clone(&spare))) as Arc<dyn PartSource>
        });
        let machine = VirtualWorker::new(4321, home.host.clone(), book, spread);
        let (input, its_input) = UnixStream::pair().unwrap();
        let (output, its_output) = UnixStream::pair().unwrap();
        let its_output = OwnedFd::from(its_output.into_std().unwrap());
        let library =
            LibraryEnd { input: its_input, output: QuietWriter::new(its_output.into()).unwrap() };
        let (control, controlled) = mpsc::channel(4);
        let (stdio, texts) = queue::bounded(relay::STDIO_LIMIT);
        let running = tokio::spawn(relay::run(Ends {
            library,
            machine,
            home,
            source,
            control: controlled,
            stdio,
            local_pids: None,
            watch: relay::Watch::nobody(),
        }));
        let reader = FrameReader::default();
        Self { input, output, reader, texts, control, running, spare, last_id: 0 }
    }

    async fn ask(
        &mut self,
        method: Method,
        handler: &str,
        body: impl Into<Option<request::Body>>,
    ) -> u32 {
        self.last_id += 1;
        let message = compose::request(self.last_id, method, handler, body.into());
        self.input.write_all(&message.into_bytes()).await.unwrap();
        self.last_id
    }

    /// The answer to that request, which must be the next one.
    async fn answer(&mut self, id: u32) -> Answer {
        loop {
            let message = self.message().await.expect("it ended without an answer");
            if let Envelope::Response(response) = message.envelope() {
                assert_eq!(response.id, id, "answered twice, or without being asked");
                let refusal = || compose::refusal(&message).unwrap_or_default();
                return if response.accepted { Ok(()) } else { Err(refusal()) };
            }
        }
    }

    async fn call(
        &mut self,
        method: Method,
        handler: &str,
        body: impl Into<Option<request::Body>>,
    ) -> Answer {
        let id = self.ask(method, handler, body).await;
        self.answer(id).await
    }

    async fn message(&mut self) -> Option<Message> {
        loop {
            if let Some(bytes) = self.reader.next().unwrap() {
                return Some(Message::parse(bytes).expect("whatever the library gets verifies"));
            }
            if within(self.output.read_buf(self.reader.buffer())).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// What is told of the worker, until it says that.
    async fn told(&mut self, words: &str) {
        let mut all = String::new();
        while !all.contains(words) {
            match within(self.texts.recv()).await {
                Some(Stdio::Stdout(bytes) | Stdio::Stderr(bytes)) => {
                    all.push_str(&String::from_utf8_lossy(&bytes));
                }
                None => panic!("{words:?} was never told, but {all}"),
            }
        }
    }

    async fn exit(self) -> Exit {
        within(self.running).await.unwrap()
    }
}

/// A Worker beside, whose worker is an honest one.
struct Bystander {
    library: Library,
    /// Its workers end with it.
    _mock: MockConnection,
}

impl Bystander {
    async fn start() -> Self {
        let mock = MockConnection::new(MockConnectionOptions::default());
        let link = mock.spawn(request()).await.unwrap();
        Self { library: Library::of(link, None), _mock: mock }
    }

    async fn goes_on(&mut self) {
        assert_eq!(self.library.call(Method::WorkerGetResourceUsage, "", None).await, Ok(()));
    }
}

#[tokio::test]
async fn bytes_that_are_no_channel_end_that_worker() {
    let mut bystander = Bystander::start().await;
    for place in PLACES {
        for said in
            [spewing::random(100_000), vec![0xff; 4], spewing::huge_prefix(), vec![7, 0, 0, 0, 1]]
        {
            let spewing = Spewing::new(&said, Then::Stay);
            let (link, _connection) = start(&spewing, place).await;
            let mut library = Library::of(link, None);
            library.ask(Method::WorkerGetResourceUsage, "", None).await;
            library.told("the worker is given up: a channel message announces").await;
            assert_eq!(library.exit().await, Exit::Signal(9), "{place:?}");
            bystander.goes_on().await;
        }
    }
}

#[tokio::test]
async fn messages_that_make_no_sense_are_dropped_and_told() {
    let mut bystander = Bystander::start().await;
    for place in PLACES {
        for (said, words) in spewing::nonsense() {
            // The good answer comes behind it.
            let said = [said, spewing::answer(1)].concat();
            let spewing = Spewing::new(&said, Then::Stay);
            let (link, _connection) = start(&spewing, place).await;
            let mut library = Library::of(link, None);
            let answer = library.call(Method::WorkerGetResourceUsage, "", None).await;
            if words.starts_with("malformed answer") {
                assert!(answer.unwrap_err().starts_with(words));
            } else {
                assert_eq!(answer, Ok(()), "{place:?}: {words}");
            }
            if !words.is_empty() {
                library.told(words).await;
            }
            bystander.goes_on().await;
            // It still listens, and ends as asked.
            drop(library.input.shutdown().await);
            assert_eq!(library.exit().await, Exit::Code(0));
        }
    }
}

#[tokio::test]
async fn a_worker_that_closes_its_output_ends() {
    for place in PLACES {
        let spewing = Spewing::new(&spewing::answer(1), Then::CloseOutput);
        let (link, _connection) = start(&spewing, place).await;
        let mut library = Library::of(link, None);
        assert_eq!(library.call(Method::WorkerGetResourceUsage, "", None).await, Ok(()));
        assert_eq!(library.exit().await, Exit::Code(0));
    }
}

#[tokio::test]
async fn a_worker_that_answers_and_then_hangs_is_killed_when_nobody_wants_it() {
    let mut bystander = Bystander::start().await;
    for place in PLACES {
        let spewing = Spewing::new(&spewing::answer(1), Then::Hang);
        let (link, _connection) = start(&spewing, place).await;
        let mut library = Library::of(link, None);
        assert_eq!(library.call(Method::WorkerGetResourceUsage, "", None).await, Ok(()));
        library.ask(Method::WorkerGetResourceUsage, "", None).await;
        bystander.goes_on().await;
        library.control.send(ControlEvent::Gone).await.unwrap();
        assert_eq!(library.exit().await, Exit::Signal(9));
    }
}

#[tokio::test]
async fn floods_of_text_hold_up_no_answer_and_no_memory() {
    let memory = Measured::start().await;
    for place in PLACES {
        let spewing = Spewing::new(&spewing::answer(1), Then::Flood);
        let (link, _connection) = start(&spewing, place).await;
        // Nobody reads these texts.
        let mut library = Library::of(link, None);
        assert_eq!(library.call(Method::WorkerGetResourceUsage, "", None).await, Ok(()));
        // After 2 x 64 MiB without a newline.
        assert_eq!(library.exit().await, Exit::Code(4));
    }
    let peak = memory.peak();
    assert!(peak <= WORKER_MAX, "{peak} MiB");
}

/// Valid messages at full speed for a library that reads nothing.
#[tokio::test]
async fn floods_of_messages_wait_in_the_worker() {
    let memory = Measured::start().await;
    let mut bystander = Bystander::start().await;
    for place in PLACES {
        let spewing = Spewing::new(&spewing::large_log(), Then::Repeat);
        let (link, _connection) = start(&spewing, place).await;
        let mut library = Library::of(link, None);
        library.ask(Method::WorkerGetResourceUsage, "", None).await;
        // Far more than fits has been offered once the app has called so often.
        for _ in 0..300 {
            bystander.goes_on().await;
        }
        assert!(library.message().await.is_some(), "it waits for its reader");
        library.control.send(ControlEvent::Gone).await.unwrap();
        assert_eq!(library.exit().await, Exit::Signal(9));
    }
    let peak = memory.peak();
    assert!(peak <= WORKER_MAX, "{peak} MiB");
}

#[tokio::test]
async fn a_part_that_spews_costs_only_what_was_there() {
    let mut kinds =
        vec![(spewing::random(100_000), Then::Stay), (spewing::huge_prefix(), Then::Stay)];
    let nonsense = spewing::nonsense().into_iter().map(|(said, _)| (said, Then::Exit));
    kinds.extend(nonsense);
    kinds.push((Vec::new(), Then::CloseOutput));
    for place in PLACES {
        for (said, then) in &kinds {
            let mock = MockConnection::new(MockConnectionOptions::default());
            let home = mock.spawn(request()).await.unwrap();
            let spewing = Spewing::new(said, *then);
            let (part, _connection) = start(&spewing, place).await;
            let mut library = Library::of(home, Some(part));
            let create = bodies::create_router("r");
            assert_eq!(library.call(Method::WorkerCreateRouter, "", create).await, Ok(()));
            // In turn at home and on the part: where the part dies they are made at home, or refused.
            let mut made = Vec::new();
            for id in ["t0", "t1", "t2", "t3"] {
                let body = bodies::create_web_rtc(id, vec![bodies::udp(0)]);
                if library.call(Method::RouterCreateWebrtctransport, "r", body).await.is_ok() {
                    made.push(id);
                }
            }
            assert!(library.spare.lock().is_none(), "it was asked");
            assert!(made.len() >= 2, "{place:?} {then:?}: only {made:?}");
            let produce = bodies::produce("p", bodies::Media::Opus, 1000);
            assert_eq!(library.call(Method::TransportProduce, made[0], produce).await, Ok(()));
            let consume = bodies::consume("c", "p", bodies::Media::Opus, 1000);
            assert_eq!(library.call(Method::TransportConsume, made[1], consume).await, Ok(()));
            assert_eq!(library.call(Method::RouterDump, "r", None).await, Ok(()));
            assert_eq!(library.call(Method::WorkerDump, "", None).await, Ok(()));
            library.input.shutdown().await.unwrap();
            assert_eq!(library.exit().await, Exit::Code(0), "{place:?} {then:?}");
            assert_eq!(mock.handle().violations(), &[] as &[String]);
        }
    }
}
