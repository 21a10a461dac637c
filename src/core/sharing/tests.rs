//! Mock workers that several links share.

#![allow(clippy::unwrap_used)]

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::time::timeout;

use super::*;
use crate::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    channel::{
        Envelope, Message, compose,
        fbs::{
            notification::Event,
            request::{self, Method},
            worker,
        },
    },
    connection::{
        DtlsFiles, Exit, WorkerCommand, WorkerEvent,
        mock::{MockConnection, MockConnectionOptions, MockHandle},
    },
    core::{
        choice::{Found, NoWorker, Place, Role, Source, find_or_share},
        rules::Rules,
    },
    placement::{Policy, Wish},
};

const SIGKILL: i32 = 9;
const MOMENT: Duration = Duration::from_secs(60);

struct Bench {
    last_owner: AtomicU32,
    sharing: Sharing,
    sources: Vec<Source>,
    mock: MockHandle,
}

struct Share {
    link: WorkerLink,
    _place: Place,
}

fn request_with(args: &[&str]) -> SpawnRequest {
    SpawnRequest {
        version: MEDIASOUP_VERSION.to_owned(),
        fingerprint: SCHEMA_FINGERPRINT.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        dtls: DtlsFiles::default(),
        worker_bin: None,
    }
}

impl Bench {
    fn new(max_workers: usize) -> Self {
        let mock = MockConnection::new(MockConnectionOptions {
            max_workers,
            ..MockConnectionOptions::default()
        });
        let handle = mock.handle();
        let source = Source::new(Arc::new(mock));
        let last_owner = AtomicU32::new(0);
        Self { last_owner, sharing: Sharing::default(), sources: vec![source], mock: handle }
    }

    fn owner(&self) -> Owner {
        Owner(self.last_owner.fetch_add(1, Ordering::Relaxed))
    }

    async fn find_for(
        &self,
        owner: Owner,
        request: &SpawnRequest,
        role: Role<'_>,
    ) -> Result<Share, NoWorker> {
        let deadline = Instant::now() + Duration::from_secs(1);
        let seeker = Some(self.sharing.seeker(owner));
        let rules = Rules::of(Policy::Pack);
        let found = find_or_share(&self.sources, request, role, &rules, 7, deadline, seeker);
        match found.await? {
            (Found::Linked(link), place) => Ok(Share { link, _place: place }),
            (Found::InPlace(_), _) => panic!("mock workers run nowhere"),
        }
    }

    async fn find(&self, args: &[&str]) -> Result<Share, NoWorker> {
        let role = Role::Home { in_place: true };
        self.find_for(self.owner(), &request_with(args), role).await
    }

    async fn share(&self) -> Share {
        let mut share = self.find(&[]).await.unwrap();
        share.expect_running().await;
        share
    }
}

impl Share {
    async fn event(&mut self) -> WorkerEvent {
        timeout(MOMENT, self.link.events.recv()).await.unwrap().expect("the link holds")
    }

    async fn message(&mut self) -> Message {
        match self.event().await {
            WorkerEvent::Message(bytes) => Message::parse(bytes).unwrap(),
            other => panic!("a message, not {other:?}"),
        }
    }

    async fn expect_running(&mut self) {
        let message = self.message().await;
        let Envelope::Notification(notification) = message.envelope() else { panic!("running") };
        assert_eq!(notification.event, Event::WorkerRunning);
    }

    async fn command(&self, command: WorkerCommand) {
        self.link.commands.send(command).await.unwrap();
    }

    async fn say(&self, message: Message) {
        self.command(WorkerCommand::Message(message.into_bytes().freeze())).await;
    }

    async fn ask(&mut self, message: Message) -> Message {
        self.say(message).await;
        self.message().await
    }

    async fn create_router(&mut self, number: u32, id: &str) {
        let body = worker::CreateRouterRequest { router_id: id.to_owned() };
        let body = request::Body::WorkerCreateRouterRequest(Box::new(body));
        let message = compose::request(number, Method::WorkerCreateRouter, "", Some(body));
        let answer = self.ask(message).await;
        let Envelope::Response(response) = answer.envelope() else { panic!("an answer") };
        assert!(response.accepted && response.id == number, "{answer:?}");
    }

    async fn assert_answers(&mut self) {
        let answer = self.ask(compose::request(7, Method::WorkerGetResourceUsage, "", None)).await;
        let Envelope::Response(response) = answer.envelope() else { panic!("an answer") };
        assert!(response.accepted && response.id == 7);
    }

    async fn end(&mut self) -> Exit {
        match self.event().await {
            WorkerEvent::Exited(exit) => exit,
            other => panic!("the end, not {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_worker_of_its_own_while_there_is_room_then_the_least_used() {
    let bench = Bench::new(2);
    let (mut first, mut second) = (bench.share().await, bench.share().await);
    assert_ne!(first.link.pid, second.link.pid);
    let (mut third, mut fourth) = (bench.share().await, bench.share().await);
    assert_ne!(third.link.pid, fourth.link.pid, "spread over both");
    assert_eq!(bench.mock.workers().len(), 2);
    for share in [&mut first, &mut second, &mut third, &mut fourth] {
        share.create_router(1, "router").await;
    }
    for pid in bench.mock.workers() {
        assert_eq!(bench.mock.objects(pid).unwrap().total(), 2, "under an alias");
    }
}

#[tokio::test]
async fn all_at_once_share_the_one_that_is_starting() {
    let bench = Bench::new(1);
    let (first, second, third) = tokio::join!(bench.find(&[]), bench.find(&[]), bench.find(&[]));
    for share in [first, second, third] {
        let mut share = share.unwrap();
        share.expect_running().await;
        share.assert_answers().await;
    }
    assert_eq!(bench.mock.workers().len(), 1);
}

#[tokio::test]
async fn other_settings_are_not_shared() {
    let bench = Bench::new(1);
    let _first = bench.find(&["--logLevel=warn"]).await.unwrap();
    let refused = bench.find(&["--logLevel=error"]).await.err().unwrap().to_string();
    assert!(refused.contains("no room"), "{refused}");
    let mut own_binary = request_with(&["--logLevel=warn"]);
    own_binary.worker_bin = Some("/own/worker".into());
    let role = Role::Home { in_place: true };
    let refused = bench.find_for(bench.owner(), &own_binary, role).await.err();
    assert!(refused.unwrap().to_string().contains("no room"));
}

#[tokio::test]
async fn a_worker_whose_settings_were_changed_takes_no_more() {
    let bench = Bench::new(1);
    let mut first = bench.share().await;
    let mut second = bench.share().await;
    let settings = worker::UpdateSettingsRequest { log_level: Some("none".into()), log_tags: None };
    let body = request::Body::WorkerUpdateSettingsRequest(Box::new(settings));
    first.ask(compose::request(3, Method::WorkerUpdateSettings, "", Some(body))).await;
    second.assert_answers().await;
    assert!(bench.find(&[]).await.is_err());
}

#[tokio::test]
async fn two_parts_of_one_virtual_worker_never_share() {
    let bench = Bench::new(1);
    let (owner, request) = (bench.owner(), request_with(&[]));
    let role = Role::Home { in_place: false };
    let _home = bench.find_for(owner, &request, role).await.unwrap();
    let taken = ["mock".to_owned()];
    let part = Role::Part { taken: &taken, wish: &Wish::default() };
    assert!(bench.find_for(owner, &request, part).await.is_err());
    assert!(bench.find_for(bench.owner(), &request, part).await.is_ok());
}

#[tokio::test]
async fn a_further_part_starts_no_worker_beyond_the_cores() {
    let bench = Bench::new(2);
    let (one, other) = (bench.share().await, bench.share().await);
    assert_ne!(one.link.pid, other.link.pid);
    let (taken, request) = (["mock".to_owned()], request_with(&[]));
    let wish = Wish::default();
    let part = Role::Part { taken: &taken, wish: &wish };
    let share = bench.find_for(bench.owner(), &request, part).await.unwrap();
    assert!([one.link.pid, other.link.pid].contains(&share.link.pid), "it shares one");
    let own_binary = SpawnRequest { worker_bin: Some("/worker".into()), ..request };
    let Err(why) = bench.find_for(bench.owner(), &own_binary, part).await else {
        panic!("there is no room");
    };
    assert!(why.to_string().contains("it runs 2 of 2 workers"), "{why}");
}

#[tokio::test]
async fn a_limit_of_ours_holds_where_the_host_has_none() {
    let mut bench = Bench::new(8);
    bench.sharing = Sharing::with_limit(Some(1));
    let first = bench.share().await;
    assert_eq!(bench.share().await.link.pid, first.link.pid);
    assert_eq!(bench.mock.workers().len(), 1);
}

#[tokio::test]
async fn who_closes_takes_only_its_own_along() {
    let bench = Bench::new(1);
    let (mut first, mut second) = (bench.share().await, bench.share().await);
    first.create_router(1, "router").await;
    second.create_router(1, "router").await;
    first.say(compose::notification("", Event::WorkerClose, None)).await;
    first.command(WorkerCommand::CloseInput).await;
    assert_eq!(first.end().await, Exit::Code(0));
    let pid = bench.mock.workers()[0];
    assert_eq!(bench.mock.objects(pid).unwrap().total(), 1);
    second.assert_answers().await;
    let mut third = bench.share().await;
    third.create_router(1, "router").await;
    drop(third);
    second.say(compose::notification("", Event::WorkerClose, None)).await;
    assert_eq!(second.end().await, Exit::Code(0));
    assert!(bench.mock.workers().is_empty(), "it ends with the last");
    assert_eq!(bench.mock.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_virtual_worker_may_come_again_once_it_left() {
    let bench = Bench::new(1);
    let (owner, request) = (bench.owner(), request_with(&[]));
    let role = Role::Home { in_place: false };
    let mut first = bench.find_for(owner, &request, role).await.unwrap();
    first.expect_running().await;
    let mut second = bench.share().await;
    first.say(compose::notification("", Event::WorkerClose, None)).await;
    assert_eq!(first.end().await, Exit::Code(0));
    second.assert_answers().await;
    assert!(bench.find_for(owner, &request, role).await.is_ok());
}

#[tokio::test]
async fn a_kill_ends_one_at_once_and_the_worker_with_the_last() {
    let bench = Bench::new(1);
    let (mut first, mut second) = (bench.share().await, bench.share().await);
    first.create_router(1, "router").await;
    first.command(WorkerCommand::Signal(libc::SIGHUP)).await;
    first.assert_answers().await;
    first.command(WorkerCommand::Signal(SIGKILL)).await;
    assert_eq!(first.end().await, Exit::Signal(SIGKILL));
    // Behind what the driver sent to clear away.
    second.assert_answers().await;
    assert_eq!(bench.mock.objects(bench.mock.workers()[0]).unwrap().total(), 0);
    second.command(WorkerCommand::Signal(SIGKILL)).await;
    assert_eq!(second.end().await, Exit::Signal(SIGKILL));
    assert!(bench.mock.workers().is_empty());
    // And there is room again.
    bench.share().await;
}

#[tokio::test]
async fn the_death_of_the_worker_is_heard_by_all() {
    let bench = Bench::new(1);
    let (mut first, mut second) = (bench.share().await, bench.share().await);
    bench.mock.kill(first.link.pid, Exit::Signal(11));
    assert_eq!(first.end().await, Exit::Signal(11));
    assert_eq!(second.end().await, Exit::Signal(11));
}

#[tokio::test]
async fn a_link_that_is_dropped_frees_the_worker() {
    let bench = Bench::new(1);
    let (first, second) = (bench.share().await, bench.share().await);
    drop((first, second));
    timeout(MOMENT, async {
        while !bench.mock.workers().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

/// Ten logs of 4 MiB are more than a link holds.
fn flood(bench: &Bench) {
    let log = crate::channel::fbs::log::Log { data: format!("E{}", "x".repeat(4 * 1024 * 1024)) };
    let body = crate::channel::fbs::message::Body::Log(Box::new(log));
    for _ in 0..10 {
        assert!(bench.mock.emit(bench.mock.workers()[0], compose::compose(body.clone())));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_alone_is_waited_for() {
    let bench = Bench::new(1);
    let mut first = bench.share().await;
    flood(&bench);
    tokio::time::sleep(Duration::from_secs(60)).await;
    for _ in 0..10 {
        first.message().await;
    }
    first.assert_answers().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_takes_nothing_is_let_go_with_its_last_link() {
    let (commands, commanded) = queue::bounded(1);
    let (events, heard) = queue::bounded(1);
    let bench = Bench::new(1);
    let connection = Arc::clone(&bench.sources[0].connection);
    let addresses = connection.addresses().unwrap();
    let link = WorkerLink { pid: 9, addresses, commands, events: heard };
    let request = request_with(&[]);
    let seeker = bench.sharing.seeker(bench.owner());
    let own = seeker.begin(connection.as_ref(), &request).unwrap().unwrap().finish(link);
    for _ in 0..3 {
        let message = compose::request(7, Method::WorkerDump, "", None);
        let message = WorkerCommand::Message(message.into_bytes().freeze());
        own.commands.send(message).await.unwrap();
    }
    drop(own);
    timeout(MOMENT, events.closed()).await.unwrap();
    drop(commanded);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_cut_off_in_the_end() {
    let bench = Bench::new(1);
    let (mut first, mut second) = (bench.share().await, bench.share().await);
    // They are the first one's: it has been there longest.
    flood(&bench);
    second.say(compose::request(7, Method::WorkerGetResourceUsage, "", None)).await;
    // The logs that the first one no longer gets are the second one's.
    let answer = loop {
        let message = second.message().await;
        if let Envelope::Response(response) = message.envelope() {
            break response.id;
        }
    };
    assert_eq!(answer, 7);
    let end = loop {
        if let WorkerEvent::Exited(exit) = first.event().await {
            break exit;
        }
    };
    assert!(matches!(&end, Exit::Lost(why) if why.contains("did not read")), "{end:?}");
    assert_eq!(bench.mock.workers().len(), 1);
}
