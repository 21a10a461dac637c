//! How one of several connections is chosen for a Worker.

#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mediasoup_horizontal::{
    addresses::{HostAddresses, PortPolicy},
    connection::{
        BoxFuture, Connection, DtlsFiles, HostLoad, InPlaceWorker, Load, SpawnError, SpawnRequest,
        WorkerLink,
    },
    core::{
        choice::{Found, NoWorker, Place, Role, Source, find},
        rules::Rules,
    },
    queue,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

const DEADLINE: Duration = Duration::from_secs(10);
/// More than the deadline by what connections get to say themselves why they failed.
const LATEST: Duration = Duration::from_millis(10_300);

/// What a connection does when it is asked for a worker.
#[derive(Clone)]
enum Plan {
    Gives,
    GivesInPlace,
    Fails(SpawnError),
    GivesAfter(Duration),
    FailsAfter(Duration, SpawnError),
    Never,
}

struct Fake {
    name: &'static str,
    load: Option<Load>,
    host: Mutex<HostLoad>,
    settles_after: Duration,
    plan: Plan,
    asked: Arc<Mutex<Vec<&'static str>>>,
    given_up: Arc<AtomicUsize>,
}

/// Counts a spawn that is dropped before it ended.
struct GivenUp {
    count: Arc<AtomicUsize>,
    ended: bool,
}

impl GivenUp {
    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.count.fetch_add(usize::from(!self.ended), Ordering::Relaxed);
    }
}

fn link() -> WorkerLink {
    let (commands, _) = queue::bounded(1);
    let (_, events) = queue::bounded(1);
    let addresses = HostAddresses {
        colocated: true,
        bind: Vec::new(),
        pipe: None,
        announced: Vec::new(),
        behind_nat: false,
        port_range: None,
        port_policy: PortPolicy::Strict,
        app_seen_as: None,
    };
    WorkerLink { pid: 1, addresses, commands, events }
}

impl Connection for Fake {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn addresses(&self) -> Option<HostAddresses> {
        None
    }

    fn load(&self) -> Option<Load> {
        self.load
    }

    fn host_load(&self) -> Option<HostLoad> {
        Some(self.host.lock().clone())
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(sleep(self.settles_after))
    }

    fn spawn(&self, _: SpawnRequest) -> BoxFuture<'_, Result<WorkerLink, SpawnError>> {
        self.asked.lock().push(self.name);
        let given_up = GivenUp { count: Arc::clone(&self.given_up), ended: false };
        Box::pin(async move {
            let result = match self.plan.clone() {
                Plan::Gives => Ok(link()),
                Plan::GivesInPlace | Plan::Never => std::future::pending().await,
                Plan::Fails(error) => Err(error),
                Plan::GivesAfter(time) => {
                    sleep(time).await;
                    Ok(link())
                }
                Plan::FailsAfter(time, error) => {
                    sleep(time).await;
                    Err(error)
                }
            };
            given_up.end();
            result
        })
    }

    fn spawn_in_place(&self, _: &SpawnRequest) -> Option<Result<InPlaceWorker, SpawnError>> {
        let Plan::GivesInPlace = self.plan else { return None };
        self.asked.lock().push(self.name);
        let (input, output) = std::os::unix::net::UnixStream::pair().unwrap();
        Some(Ok(InPlaceWorker {
            binary: "/worker".into(),
            args: Vec::new(),
            input: input.into(),
            output: output.into(),
            guard: Box::new(()),
            link: link(),
        }))
    }

    fn close(&self) {}
}

#[derive(Default)]
struct Fleet {
    asked: Arc<Mutex<Vec<&'static str>>>,
    fakes: Vec<Arc<Fake>>,
    sources: Vec<Source>,
}

impl Fleet {
    /// Adds a connection that is reachable and has run that many of its workers, or one that is
    /// not.
    fn with(self, name: &'static str, load: Option<usize>, plan: Plan) -> Self {
        self.with_unsettled(name, load, plan, Duration::ZERO)
    }

    fn with_unsettled(
        mut self,
        name: &'static str,
        load: Option<usize>,
        plan: Plan,
        settles_after: Duration,
    ) -> Self {
        let fake = Arc::new(Fake {
            name,
            load: load.map(|workers| Load { workers, max_workers: 8 }),
            host: Mutex::default(),
            settles_after,
            plan,
            asked: Arc::clone(&self.asked),
            given_up: Arc::default(),
        });
        self.sources.push(Source::new(fake.clone()));
        self.fakes.push(fake);
        self
    }

    async fn find(&self) -> Result<(Found, Place), NoWorker> {
        let request = SpawnRequest {
            version: "3.27.1".to_owned(),
            fingerprint: "any".to_owned(),
            args: Vec::new(),
            dtls: DtlsFiles::default(),
            worker_bin: None,
        };
        let role = Role::Home { in_place: true };
        let deadline = Instant::now() + DEADLINE;
        find(&self.sources, &request, role, &Rules::default(), 7, deadline).await
    }

    async fn place(&self) -> Place {
        match self.find().await {
            Ok((_, place)) => place,
            Err(why) => panic!("{why}"),
        }
    }

    async fn why_not(&self) -> NoWorker {
        match self.find().await {
            Ok((_, place)) => panic!("{} gave one", place.connection.name()),
            Err(why) => why,
        }
    }

    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.lock())
    }

    fn places(&self) -> Vec<usize> {
        self.sources.iter().map(Source::own_workers).collect()
    }
}

fn full() -> SpawnError {
    SpawnError::Full("no room".to_owned())
}

fn unreachable(why: &str) -> SpawnError {
    SpawnError::Unreachable(why.to_owned())
}

#[tokio::test(start_paused = true)]
async fn without_connections_there_is_no_worker() {
    assert_eq!(Fleet::default().why_not().await, NoWorker::NoConnections);
}

#[tokio::test(start_paused = true)]
async fn workers_are_spread_and_places_given_back() {
    let fleet = Fleet::default()
        .with("a", Some(0), Plan::Gives)
        .with("b", Some(0), Plan::Gives)
        .with("c", Some(0), Plan::GivesInPlace);
    let mut places = Vec::new();
    for expected in ["a", "b", "c", "a"] {
        let place = fleet.place().await;
        assert_eq!(place.connection.name(), expected);
        places.push(place);
    }
    assert_eq!(fleet.places(), [2, 1, 1]);
    places.remove(1);
    assert_eq!(fleet.place().await.connection.name(), "b", "where there is room again");
    drop(places);
    assert_eq!(fleet.places(), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_spread_before_any_load_shows_it() {
    let fleet =
        Fleet::default().with("idle", Some(0), Plan::Gives).with("busy", Some(0), Plan::Gives);
    for (fake, cpu) in fleet.fakes.iter().zip([0, 800]) {
        *fake.host.lock() = HostLoad { cores: 4, others: vec![cpu], ..HostLoad::default() };
    }
    let mut places = Vec::new();
    while fleet.places()[1] == 0 {
        assert!(places.len() < 32, "all pile up on one: {:?}", fleet.places());
        places.push(fleet.place().await);
    }
    assert!(fleet.places()[0] > 3, "the idle one takes more: {:?}", fleet.places());
}

#[tokio::test(start_paused = true)]
async fn a_draining_host_is_not_asked() {
    let fleet =
        Fleet::default().with("leaves", Some(0), Plan::Gives).with("stays", Some(7), Plan::Gives);
    fleet.fakes[0].host.lock().draining = true;
    assert_eq!(fleet.place().await.connection.name(), "stays");
    fleet.fakes[1].host.lock().draining = true;
    let why = fleet.why_not().await;
    assert_eq!(why, NoWorker::AllDrain("leaves, stays".to_owned()));
    assert_eq!(fleet.asked(), ["stays"]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_begins_to_drain_while_it_is_asked_refuses_and_the_next_is_asked() {
    let refused = || SpawnError::Draining("it drains".to_owned());
    let fleet = Fleet::default()
        .with("leaves", Some(0), Plan::FailsAfter(Duration::from_secs(1), refused()))
        .with("stays", Some(1), Plan::Gives);
    assert_eq!(fleet.place().await.connection.name(), "stays");
    assert_eq!(fleet.asked(), ["leaves", "stays"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_in_order_is_asked_when_one_fails() {
    let fleet = Fleet::default()
        .with("away", None, Plan::Gives)
        .with("busy", Some(4), Plan::Gives)
        .with("idle", Some(1), Plan::Fails(full()));
    let place = fleet.place().await;
    assert_eq!(fleet.asked(), ["idle", "busy"]);
    assert_eq!(place.connection.name(), "busy");
    assert_eq!(fleet.places(), [0, 1, 0], "a place that was not had does not count");
}

#[tokio::test(start_paused = true)]
async fn wrong_settings_stop_the_search() {
    let wrong = || SpawnError::WrongSettings("bad log level".to_owned());
    let said = NoWorker::WrongSettings("bad log level".to_owned());
    let fleet = Fleet::default()
        .with("first", Some(0), Plan::Fails(wrong()))
        .with("second", Some(1), Plan::Gives)
        .with("away", None, Plan::Gives);
    assert_eq!(fleet.why_not().await, said);
    assert_eq!(fleet.asked(), ["first"]);
    let fleet = Fleet::default().with("away", None, Plan::Fails(wrong())).with(
        "slow",
        None,
        Plan::GivesAfter(Duration::from_secs(1)),
    );
    assert_eq!(fleet.why_not().await, said);
    assert_eq!(fleet.places(), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn all_that_failed_are_told_by_name() {
    let fleet = Fleet::default()
        .with("ws://a", Some(0), Plan::Fails(full()))
        .with("ws://b", None, Plan::FailsAfter(Duration::from_secs(1), unreachable("refused")))
        .with("ws://c", None, Plan::Fails(unreachable("ws://c: no such host")));
    assert_eq!(
        fleet.why_not().await.to_string(),
        "no connection gave a mediasoup-worker: ws://a: no room; ws://c: no such host; \
         ws://b: refused"
    );
    assert_eq!(fleet.places(), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_only_connection_s_words_are_mediasoup_s() {
    let spawn = SpawnError::Spawn { path: "/nowhere".to_owned(), code: "ENOENT".to_owned() };
    let fleet = Fleet::default().with("local", Some(0), Plan::Fails(spawn));
    assert_eq!(fleet.why_not().await.to_string(), "spawn /nowhere ENOENT");
}

#[tokio::test(start_paused = true)]
async fn unreachable_ones_are_asked_all_at_once_within_one_deadline() {
    let fleet = Fleet::default()
        .with("never", None, Plan::Never)
        .with("late", None, Plan::GivesAfter(Duration::from_secs(3)))
        .with("later", None, Plan::GivesAfter(Duration::from_secs(5)));
    let before = Instant::now();
    let place = fleet.place().await;
    assert_eq!(place.connection.name(), "late");
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    assert_eq!(fleet.asked(), ["never", "late", "later"]);
    assert_eq!(fleet.places(), [0, 1, 0]);
    for (fake, given_up) in fleet.fakes.iter().zip([1, 0, 1]) {
        assert_eq!(fake.given_up.load(Ordering::Relaxed), given_up, "{}", fake.name);
    }

    let fleet = Fleet::default()
        .with("one", None, Plan::Never)
        .with("two", None, Plan::Never)
        .with("three", None, Plan::FailsAfter(DEADLINE, unreachable("its own words")));
    let before = Instant::now();
    let why = fleet.why_not().await.to_string();
    assert!(before.elapsed() <= LATEST, "not one deadline after the other");
    for name in ["one: ", "two: ", "three: its own words"] {
        assert!(why.contains(name), "{why}");
    }
    assert_eq!(fleet.places(), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_reachable_one_that_hangs_does_not_outlast_the_deadline() {
    let fleet =
        Fleet::default().with("hangs", Some(0), Plan::Never).with("away", None, Plan::Never);
    let before = Instant::now();
    assert!(matches!(fleet.why_not().await, NoWorker::Many(errors) if errors.len() == 2));
    assert!(before.elapsed() <= LATEST + Duration::from_millis(300));
    assert_eq!(fleet.places(), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_search_that_is_given_up_leaves_no_place() {
    let fleet =
        Fleet::default().with("hangs", Some(0), Plan::Never).with("b", Some(1), Plan::Gives);
    let given_up = tokio::time::timeout(Duration::from_secs(1), fleet.find()).await;
    assert!(given_up.is_err());
    assert_eq!(fleet.places(), [0, 0]);
    assert_eq!(fleet.fakes[0].given_up.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn connections_in_the_making_are_waited_for_a_moment_only() {
    for (settles_after, waited) in [(0, 0), (300, 300), (60_000, 500)] {
        let settles_after = Duration::from_millis(settles_after);
        let fleet = Fleet::default().with("here", Some(0), Plan::Gives).with_unsettled(
            "making",
            None,
            Plan::Never,
            settles_after,
        );
        let before = Instant::now();
        assert_eq!(fleet.place().await.connection.name(), "here");
        assert_eq!(before.elapsed(), Duration::from_millis(waited));
    }
}
