//! Gets a worker from one of several connections, or tells of each why not.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use parking_lot::Mutex;

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout_at},
};

pub use super::no_worker::NoWorker;
use super::{
    drain::Presence,
    rules::{Question, Rules},
    sharing::Seeker,
};
use crate::{
    connection::{Connection, InPlaceWorker, SpawnError, SpawnRequest, WorkerLink},
    monitor::{Event, EventSink},
    placement::{self, Candidate, Policy, Recent, WORKER_COST, Wish},
};

/// How long a connection that is still being made may hold up the first Worker, so that Workers
/// made right at the start are spread over all of them.
const SETTLE: Duration = Duration::from_millis(500);

/// How much longer than the deadline a connection has to say itself why it failed.
const OWN_WORDS: Duration = Duration::from_millis(250);

/// A connection of a Core, with what that Core has there.
#[derive(Clone)]
pub struct Source {
    pub connection: Arc<dyn Connection>,
    pub presence: Arc<Presence>,
    /// Workers that were placed there a moment ago.
    pub recent: Arc<Mutex<Recent>>,
    /// Where to tell that it has no room.
    pub events: EventSink,
    /// Ends with the last of its holders.
    pub watching: Option<Arc<AbortOnDrop>>,
}

/// A task that is over once nobody needs it any more.
pub struct AbortOnDrop(pub AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Source {
    pub fn new(connection: Arc<dyn Connection>) -> Self {
        Self {
            connection,
            presence: Arc::default(),
            recent: Arc::default(),
            events: EventSink::default(),
            watching: None,
        }
    }

    /// Workers of the Core there, started or being started.
    pub fn own_workers(&self) -> usize {
        self.presence.workers()
    }
}

/// A Worker's place, counted while it lives.
pub struct Place {
    pub connection: Arc<dyn Connection>,
    presence: Arc<Presence>,
}

impl Place {
    fn take(source: &Source) -> Self {
        source.presence.enter();
        source.recent.lock().add(WORKER_COST, since_start());
        Self { connection: Arc::clone(&source.connection), presence: Arc::clone(&source.presence) }
    }

    /// Whether its Core means to leave that connection.
    pub fn is_leaving(&self) -> bool {
        self.presence.is_leaving()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.presence.leave();
    }
}

/// A worker that was found.
pub enum Found {
    Linked(WorkerLink),
    InPlace(InPlaceWorker),
}

/// What a worker is for.
#[derive(Debug, Clone, Copy)]
pub enum Role<'a> {
    /// The home of a virtual worker; `in_place`: the stub may become it.
    Home { in_place: bool },
    /// A further part of a virtual worker that has parts on these connections, the home's first.
    Part { taken: &'a [String], wish: &'a Wish },
}

/// Tries the connections in the order that the rules give, until one has a worker. `pid`: what the
/// app knows its Worker by.
pub async fn find(
    sources: &[Source],
    request: &SpawnRequest,
    role: Role<'_>,
    rules: &Rules,
    pid: u32,
    deadline: Instant,
) -> Result<(Found, Place), NoWorker> {
    find_or_share(sources, request, role, rules, pid, deadline, None).await
}

/// The same, and where there is no room for another worker a share of one that runs there.
pub async fn find_or_share(
    sources: &[Source],
    request: &SpawnRequest,
    role: Role<'_>,
    rules: &Rules,
    pid: u32,
    deadline: Instant,
    seeker: Option<Seeker<'_>>,
) -> Result<(Found, Place), NoWorker> {
    if sources.is_empty() {
        return Err(NoWorker::NoConnections);
    }
    settle(sources, deadline).await;
    let (taken, wish) = match role {
        Role::Home { .. } => (&[][..], None),
        Role::Part { taken, wish } => (taken, Some(wish)),
    };
    let candidates = || -> Vec<Candidate> {
        sources.iter().map(|source| candidate(source, rules, taken)).collect()
    };
    let names: Vec<String> = sources.iter().map(|source| source.connection.name()).collect();
    let question = Question { pid, wish, names: &names, candidates: &candidates() };
    let wanted = rules.ask(&question, deadline).await;
    // Others may have taken places meanwhile.
    let candidates = candidates();
    let mut errors = Vec::new();
    let (mut order, in_place) = match role {
        Role::Home { in_place } => (placement::home_order(rules.policy, &candidates), in_place),
        Role::Part { wish, .. } => {
            (placement::part_order(rules.policy, &candidates, wish.other_host), false)
        }
    };
    if let Some(wanted) = wanted.filter(|wanted| !candidates[*wanted].draining) {
        order.retain(|position| *position != wanted);
        order.insert(0, wanted);
    }
    if order.is_empty() {
        if candidates.iter().all(|candidate| candidate.draining) {
            return Err(NoWorker::AllDrain(names.join(", ")));
        }
        return Err(NoWorker::NoRoom(why_left_out(&names, &candidates)));
    }
    let (reachable, others): (Vec<usize>, Vec<usize>) =
        order.into_iter().partition(|position| candidates[*position].load.is_some());
    let grows = wish.is_some() && rules.policy != Policy::Scatter;
    let mut full = Vec::new();
    for position in reachable {
        let source = &sources[position];
        if grows && candidates[position].is_full() && Some(position) != wanted {
            // A further part starts no worker beyond what a host has cores for.
            full.push(source);
            errors.push((names[position].clone(), SpawnError::Full(candidates[position].room())));
            continue;
        }
        match attempt(source, request, in_place, deadline, seeker).await {
            Err((_, error)) if stops(&error) => return Err(error.into()),
            Err(failed) => {
                if matches!(failed.1, SpawnError::Full(_)) {
                    full.push(source);
                }
                errors.push(failed);
            }
            found => return found.map_err(|(_, error)| error.into()),
        }
    }
    if let Some(seeker) = seeker {
        for source in &full {
            let place = Place::take(source);
            let name = source.connection.name();
            if let Some(link) = seeker.share(&name, request, deadline).await {
                return Ok((Found::Linked(link), place));
            }
        }
        // This host takes what cannot share; a further part can do without.
        let home = matches!(role, Role::Home { .. });
        for source in full.into_iter().filter(|source| home && source.connection.is_local()) {
            let unlimited = Some(seeker.unlimited());
            match attempt(source, request, in_place, deadline, unlimited).await {
                Ok(found) => return Ok(found),
                Err(failed) => errors.push(failed),
            }
        }
    }
    // Whichever of these can be reached first, within one deadline for all.
    let mut attempts: FuturesUnordered<_> = others
        .into_iter()
        .map(|position| attempt(&sources[position], request, in_place, deadline, seeker))
        .collect();
    while let Some(result) = attempts.next().await {
        match result {
            Err((_, error)) if stops(&error) => return Err(error.into()),
            Err(failed) => errors.push(failed),
            found => return found.map_err(|(_, error)| error.into()),
        }
    }
    match errors.as_slice() {
        // mediasoup's own words, which apps may look for.
        [(_, error @ (SpawnError::Spawn { .. } | SpawnError::NoBinary(_)))] => {
            Err(NoWorker::One(error.clone()))
        }
        _ => Err(NoWorker::Many(errors)),
    }
}

/// What is known of a connection.
fn candidate(source: &Source, rules: &Rules, taken: &[String]) -> Candidate {
    let connection = source.connection.as_ref();
    let name = connection.name();
    let host = connection.host_load().unwrap_or_default();
    let load = connection.load().map(|load| rules.limit(load, connection.is_local()));
    let recent = source.recent.lock().cost(since_start());
    Candidate {
        own_workers: source.own_workers(),
        load,
        cpu: host.total().saturating_add(recent),
        cores: host.cores,
        age: host.age,
        draining: host.draining || source.presence.is_leaving(),
        near: rules.is_near(connection.is_local(), &host),
        parts: taken.iter().filter(|taken| **taken == name).count(),
        has_home: taken.first() == Some(&name),
    }
}

/// A clock for recent placements.
fn since_start() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

fn why_left_out(names: &[String], candidates: &[Candidate]) -> String {
    let why = |(name, candidate): (&String, &Candidate)| {
        let why = match candidate.load {
            None => "cannot be reached".to_owned(),
            _ if candidate.draining => "drains".to_owned(),
            Some(_) if candidate.parts > 0 => "has a part already".to_owned(),
            Some(_) => "has not told its load for too long".to_owned(),
        };
        format!("{name} {why}")
    };
    names.iter().zip(candidates).map(why).collect::<Vec<_>>().join("; ")
}

/// Every other worker would say the same.
fn stops(error: &SpawnError) -> bool {
    matches!(error, SpawnError::WrongSettings(_))
}

async fn attempt(
    source: &Source,
    request: &SpawnRequest,
    in_place: bool,
    deadline: Instant,
    seeker: Option<Seeker<'_>>,
) -> Result<(Found, Place), (String, SpawnError)> {
    let place = Place::take(source);
    match spawn(source.connection.as_ref(), request, in_place, deadline, seeker).await {
        // Its Core left it meanwhile: whoever waits for it to be empty must not wait for this one.
        Ok(_) if place.is_leaving() => {
            let why = "the app leaves it".to_owned();
            Err((source.connection.name(), SpawnError::Draining(why)))
        }
        Ok(found) => Ok((found, place)),
        Err(error) => {
            let connection = source.connection.name();
            if let SpawnError::Full(message) = &error {
                source
                    .events
                    .emit(Event::Full { connection: connection.clone(), message: message.clone() });
            }
            Err((connection, error))
        }
    }
}

/// Gives connections that are still being made a moment to succeed or fail.
async fn settle(sources: &[Source], deadline: Instant) {
    let all =
        futures_util::future::join_all(sources.iter().map(|source| source.connection.settled()));
    let _ = timeout_at(deadline.min(Instant::now() + SETTLE), all).await;
}

async fn spawn(
    connection: &dyn Connection,
    request: &SpawnRequest,
    in_place: bool,
    deadline: Instant,
    seeker: Option<Seeker<'_>>,
) -> Result<Found, SpawnError> {
    if in_place && let Some(worker) = connection.spawn_in_place(request) {
        return worker.map(Found::InPlace);
    }
    let starting = match seeker {
        Some(seeker) => seeker.begin(connection, request)?,
        None => None,
    };
    match timeout_at(deadline + OWN_WORDS, connection.spawn(request.clone())).await {
        Ok(Ok(link)) => Ok(Found::Linked(match starting {
            Some(starting) => starting.finish(link),
            None => link,
        })),
        Ok(Err(error)) => Err(error),
        // Its own time began when it was asked, which may be later than ours.
        Err(_) => Err(connection.problem().unwrap_or_else(|| {
            SpawnError::Unreachable("no answer within the connect timeout".to_owned())
        })),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::{pending, ready};

    use super::*;
    use crate::{
        addresses::HostAddresses,
        connection::{BoxFuture, DtlsFiles, Load},
    };

    /// A connection that never becomes one.
    struct Unreachable {
        name: &'static str,
        problem: Option<&'static str>,
    }

    impl Connection for Unreachable {
        fn name(&self) -> String {
            self.name.to_owned()
        }

        fn addresses(&self) -> Option<HostAddresses> {
            None
        }

        fn load(&self) -> Option<Load> {
            None
        }

        fn settled(&self) -> BoxFuture<'_, ()> {
            if self.problem.is_some() { Box::pin(ready(())) } else { Box::pin(pending()) }
        }

        fn problem(&self) -> Option<SpawnError> {
            self.problem.map(|problem| SpawnError::Unreachable(problem.to_owned()))
        }

        fn spawn(&self, _request: SpawnRequest) -> BoxFuture<'_, Result<WorkerLink, SpawnError>> {
            Box::pin(pending())
        }

        fn close(&self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn each_connection_says_what_keeps_it_even_if_another_says_nothing() {
        let source = |name, problem| Source::new(Arc::new(Unreachable { name, problem }));
        let sources = [source("ws://silent", None), source("ws://closed", Some("refused"))];
        let request = SpawnRequest {
            version: "1.0.0".to_owned(),
            fingerprint: String::new(),
            args: Vec::new(),
            dtls: DtlsFiles::default(),
            worker_bin: None,
        };
        let start = Instant::now();
        let deadline = start + Duration::from_secs(2);
        let (role, rules) = (Role::Home { in_place: true }, Rules::default());
        let Err(why) = find(&sources, &request, role, &rules, 7, deadline).await else {
            panic!("there is no worker");
        };
        assert!(start.elapsed() <= Duration::from_secs(2) + OWN_WORDS);
        let text = why.to_string();
        assert!(text.contains("ws://silent: no answer within"), "{text}");
        assert!(text.contains("ws://closed: refused"), "{text}");
    }

    /// Tells by its error which kind of worker it was asked for.
    struct Asked;

    fn asked(what: &str) -> SpawnError {
        SpawnError::NoBinary(what.to_owned())
    }

    impl Connection for Asked {
        fn name(&self) -> String {
            "asked".to_owned()
        }

        fn addresses(&self) -> Option<HostAddresses> {
            None
        }

        fn load(&self) -> Option<Load> {
            Some(Load { workers: 0, max_workers: 1 })
        }

        fn spawn(&self, _: SpawnRequest) -> BoxFuture<'_, Result<WorkerLink, SpawnError>> {
            Box::pin(async { Err(asked("linked")) })
        }

        fn spawn_in_place(&self, _: &SpawnRequest) -> Option<Result<InPlaceWorker, SpawnError>> {
            Some(Err(asked("in place")))
        }

        fn close(&self) {}
    }

    #[tokio::test]
    async fn only_a_home_of_one_part_runs_in_place() {
        let sources = [Source::new(Arc::new(Asked))];
        let request = SpawnRequest {
            version: String::new(),
            fingerprint: String::new(),
            args: Vec::new(),
            dtls: DtlsFiles::default(),
            worker_bin: None,
        };
        let taken = ["asked".to_owned()];
        for (role, expected) in [
            (Role::Home { in_place: true }, "in place"),
            (Role::Home { in_place: false }, "linked"),
            (Role::Part { taken: &taken, wish: &Wish::default() }, "linked"),
        ] {
            let deadline = Instant::now() + SETTLE;
            let found = find(&sources, &request, role, &Rules::default(), 7, deadline).await;
            assert_eq!(found.err().unwrap(), NoWorker::One(asked(expected)), "{role:?}");
        }
        assert_eq!(sources[0].own_workers(), 0);
    }
}
