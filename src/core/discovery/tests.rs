#![allow(clippy::unwrap_used)]
use std::collections::VecDeque;

use tokio::sync::watch;

use super::*;
use crate::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    connection::{
        DtlsFiles,
        mock::{MockConnection, MockConnectionOptions},
    },
    core::config::{self, Options},
    monitor::{Event, EventStream},
    virtual_worker::Spread,
};

const URL: &str = "dns+ws://agents.example:4480";
const WITHIN: Duration = Duration::from_secs(20);

/// Answers as it is told.
struct Scripted {
    answers: watch::Receiver<Result<Vec<u8>, String>>,
    /// How often it was asked.
    looks: watch::Sender<usize>,
}

impl Resolve for Scripted {
    fn resolve(&self) -> BoxFuture<'_, io::Result<BTreeSet<IpAddr>>> {
        self.looks.send_modify(|looks| *looks += 1);
        let answer = self.answers.borrow().clone();
        Box::pin(async move {
            let found = answer.map_err(io::Error::other)?;
            Ok(found.into_iter().map(|last| IpAddr::from([10, 0, 0, last])).collect())
        })
    }
}

/// A core whose agents are those of a name, each a mock.
struct World {
    core: Core,
    answers: watch::Sender<Result<Vec<u8>, String>>,
    events: EventStream,
    /// Told, and not taken yet.
    news: VecDeque<String>,
    looks: watch::Receiver<usize>,
}

impl World {
    fn new(first: Result<Vec<u8>, String>, connect_timeout: Duration) -> Self {
        let book = config::address_book(&Options::default()).unwrap();
        let core = Core::start(book, connect_timeout, Spread::ONE_PART).unwrap();
        let events = core.events().listen();
        let (answers, scripted) = watch::channel(first);
        let (count, looks) = watch::channel(0);
        let resolver = Scripted { answers: scripted, looks: count };
        let make: Make = Box::new(|url| {
            if url.host() == "10.0.0.66" {
                return Err("it cannot be made".to_owned());
            }
            let options = MockConnectionOptions { name: url.to_string(), ..Default::default() };
            Ok(Arc::new(MockConnection::new(options)) as Arc<dyn Connection>)
        });
        let ms = Duration::from_millis(2);
        let pace = Pace { every: ms, retry: ms, limit: WITHIN };
        let url = AgentsUrl::parse(URL).unwrap().unwrap();
        core.discover_by(url, Arc::new(resolver), pace, make);
        Self { core, answers, events, news: VecDeque::new(), looks }
    }

    fn answer(&self, found: &[u8]) {
        drop(self.answers.send_replace(Ok(found.to_vec())));
    }

    /// Waits until what it is answered now was taken.
    async fn taken(&mut self) {
        let looks = *self.looks.borrow();
        // Whoever asks once more is done with the answer before.
        let asked = self.looks.wait_for(|now| *now >= looks + 2);
        timeout(WITHIN, asked).await.expect("it does not ask").unwrap();
    }

    /// Waits for the next news of the set.
    async fn told(&mut self) -> String {
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            let events = timeout(WITHIN, self.events.next()).await.expect("no event");
            self.news.extend(events.into_iter().filter_map(|event| match event {
                Event::Add { connection } => Some(format!("+ {connection}")),
                Event::Delete { connection } => Some(format!("- {connection}")),
                _ => None,
            }));
        }
    }

    /// A Worker of the app, for as long as its place is kept.
    async fn worker(&self) -> Result<Place, NoWorker> {
        let request = SpawnRequest {
            version: MEDIASOUP_VERSION.to_owned(),
            fingerprint: SCHEMA_FINGERPRINT.to_owned(),
            args: Vec::new(),
            dtls: DtlsFiles::default(),
            worker_bin: None,
        };
        let inner = Arc::clone(&self.core.inner);
        let find = async move {
            let role = Role::Home { in_place: false };
            inner.find_home(&request, role, 7).await.map(|(_, place)| place)
        };
        timeout(WITHIN, self.core.handle().spawn(find)).await.expect("hangs").unwrap()
    }
}

fn name(last: u8) -> String {
    format!("ws://10.0.0.{last}:4480")
}

#[test]
fn reads_urls_of_names() {
    let parse = |text| AgentsUrl::parse(text).map(|result| result.map(|url| url.to_string()));
    assert_eq!(parse("ws://agents.example:4480"), None);
    assert_eq!(parse(URL), Some(Ok(URL.to_owned())));
    let tls = "dns+wss://agents.example/path";
    assert_eq!(parse(tls), Some(Ok(tls.to_owned())));
    for wrong in ["dns+http://host", "dns+wss://", "dns+ws://user:hush@host"] {
        let problem = parse(wrong).unwrap().unwrap_err();
        assert!(!problem.to_string().contains("hush"), "{problem}");
    }
}

#[tokio::test]
async fn agents_come_and_go_with_their_addresses() {
    let mut world = World::new(Ok(vec![1]), WITHIN);
    assert_eq!(world.told().await, format!("+ {}", name(1)));
    world.answer(&[1, 2]);
    assert_eq!(world.told().await, format!("+ {}", name(2)));
    world.answer(&[2]);
    assert_eq!(world.told().await, format!("- {}", name(1)));
    assert_eq!(world.core.connections(), [name(2)]);
    world.answer(&[1, 2]);
    assert_eq!(world.told().await, format!("+ {}", name(1)), "as if it were new");
}

#[tokio::test]
async fn an_agent_with_workers_stays_until_they_are_gone_and_gets_no_more() {
    let mut world = World::new(Ok(vec![1]), WITHIN);
    let place = world.worker().await.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(world.told().await, format!("+ {}", name(1)));
    world.answer(&[2]);
    assert_eq!(world.told().await, format!("+ {}", name(2)));
    world.taken().await;
    assert!(place.is_leaving());
    for _ in 0..3 {
        let other = world.worker().await.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(other.connection.name(), name(2));
    }
    assert_eq!(world.core.left(&name(1)), 1);
    drop(place);
    assert_eq!(world.told().await, format!("- {}", name(1)));
}

#[tokio::test]
async fn an_address_that_comes_back_takes_the_drain_back() {
    let mut world = World::new(Ok(vec![1]), WITHIN);
    let place = world.worker().await.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(world.told().await, format!("+ {}", name(1)));
    world.answer(&[2]);
    assert_eq!(world.told().await, format!("+ {}", name(2)));
    assert!(place.is_leaving());
    world.answer(&[1, 3]);
    assert_eq!(world.told().await, format!("+ {}", name(3)));
    assert!(!place.is_leaving());
    drop(place);
    assert_eq!(world.told().await, format!("- {}", name(2)));
    // It leaves another time, and then nothing is left on it.
    world.answer(&[3]);
    assert_eq!(world.told().await, format!("- {}", name(1)));
}

#[tokio::test]
async fn a_name_that_is_not_found_any_more_changes_nothing() {
    let mut world = World::new(Ok(vec![1]), WITHIN);
    assert_eq!(world.told().await, format!("+ {}", name(1)));
    for failure in [Err("no such name".to_owned()), Ok(Vec::new())] {
        drop(world.answers.send_replace(failure));
        world.taken().await;
        assert_eq!(world.core.connections(), [name(1)]);
    }
    assert!(world.worker().await.is_ok_and(|place| !place.is_leaving()));
}

#[tokio::test]
async fn a_worker_waits_for_the_first_answer() {
    let world = World::new(Err("no such name".to_owned()), WITHIN);
    let answered = async {
        tokio::task::yield_now().await;
        world.answer(&[5]);
    };
    let (place, ()) = tokio::join!(world.worker(), answered);
    assert_eq!(place.unwrap_or_else(|why| panic!("{why}")).connection.name(), name(5));
}

#[tokio::test]
async fn without_an_answer_the_error_tells_the_name_and_why() {
    let world = World::new(Err("no such name".to_owned()), Duration::from_millis(50));
    let Err(why) = world.worker().await else { panic!("there is no worker") };
    assert_eq!(
        why.to_string(),
        format!(
            "no agent to take a mediasoup-worker from: {URL}: cannot look up the name: no such name"
        )
    );
}

#[tokio::test]
async fn what_somebody_named_himself_is_his() {
    let mut world = World::new(Ok(vec![66]), WITHIN);
    let options = MockConnectionOptions { name: name(1), ..Default::default() };
    world.core.add(Arc::new(MockConnection::new(options)));
    assert_eq!(world.told().await, format!("+ {}", name(1)));
    world.answer(&[1, 2, 66]);
    assert_eq!(world.told().await, format!("+ {}", name(2)));
    world.answer(&[3]);
    assert_eq!(world.told().await, format!("+ {}", name(3)));
    assert_eq!(world.told().await, format!("- {}", name(2)));
    assert_eq!(world.core.connections(), [name(1), name(3)]);
}

#[tokio::test]
async fn the_system_is_asked() {
    let resolver = SystemResolver { host: "localhost".to_owned(), port: 1 };
    let found = resolver.resolve().await.unwrap();
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
}
