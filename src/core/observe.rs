//! What a core shows of itself: its connections, its Workers and all that lives on them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    Core, Inner,
    choice::Source,
    relay::{QUESTIONS, Question, Report, Tell, Watch},
};
use crate::{
    connection::HostLoad,
    monitor::{
        Event, EventSink, Kind, Object, Reason, Tally,
        stats::{ConnectionStats, Stats, WorkerSnapshot},
    },
    virtual_worker::{CloseReason, ObjectChange},
};

/// How long a Worker may take to tell of itself. It is asked on its own thread, so only one that is
/// held up takes any time.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long mediasoup-workers may take to tell what goes through their pipes.
const MEASURE_PATIENCE: Duration = Duration::from_millis(500);

/// What is to be told beside the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Every object by its id.
    pub objects: bool,
    /// What goes through each pipe, which their workers are asked for.
    pub bitrates: bool,
}

/// The Workers of a core that can be asked, and what was counted over all of them.
#[derive(Clone, Default)]
pub struct Observed {
    seats: Arc<Mutex<HashMap<u32, Arc<Seat>>>>,
    tally: Arc<Tally>,
}

struct Seat {
    /// The connection that the Worker was born on.
    connection: String,
    questions: mpsc::Sender<Question>,
}

/// A Worker can be asked while this lives.
pub struct Attended {
    seats: Weak<Mutex<HashMap<u32, Arc<Seat>>>>,
    pid: u32,
    seat: Arc<Seat>,
    tally: Arc<Tally>,
    /// Who hears of its end.
    told: Option<(EventSink, Object)>,
    closed: Arc<AtomicBool>,
}

impl Attended {
    fn told_by(mut self, events: EventSink, worker: Object) -> Self {
        self.told = Some((events, worker));
        self
    }
}

/// What is told of a change.
fn event(change: ObjectChange, worker: u32, connection: &str) -> Event {
    let ObjectChange { kind, id, router, transport, closed, .. } = change;
    let connection = connection.to_owned();
    let object = Object { kind: Kind::of(kind, transport), id, connection, worker, router };
    let reason = match closed {
        None => return Event::NewObject(object),
        Some(CloseReason::Closed) => None,
        Some(CloseReason::PartLost) => Some(Reason::PartLost),
        Some(CloseReason::WorkerGone) => Some(Reason::Died),
    };
    Event::CloseObject { object, reason }
}

impl Observed {
    /// A Worker begins.
    pub fn attend(&self, pid: u32, connection: &str, tell: Option<Tell>) -> (Attended, Watch) {
        let (asker, questions) = mpsc::channel(QUESTIONS);
        let seat = Arc::new(Seat { connection: connection.to_owned(), questions: asker });
        self.seats.lock().insert(pid, Arc::clone(&seat));
        self.tally.worker_started();
        let tally = Arc::clone(&self.tally);
        let seats = Arc::downgrade(&self.seats);
        let closed = Arc::<AtomicBool>::default();
        let watch =
            Watch { questions, tally: Arc::clone(&tally), tell, closed: Arc::clone(&closed) };
        (Attended { seats, pid, seat, tally, told: None, closed }, watch)
    }

    fn seats(&self) -> BTreeMap<u32, Arc<Seat>> {
        self.seats.lock().iter().map(|(pid, seat)| (*pid, Arc::clone(seat))).collect()
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.tally.worker_ended();
        if let Some((events, object)) = self.told.take().filter(|(sink, _)| sink.wants_objects()) {
            let reason = (!self.closed.load(Relaxed)).then_some(Reason::Died);
            events.emit(Event::CloseObject { object, reason });
        }
        let Some(seats) = self.seats.upgrade() else { return };
        let mut seats = seats.lock();
        // The pid may have become another Worker's while this one was seen off.
        if seats.get(&self.pid).is_some_and(|seat| Arc::ptr_eq(seat, &self.seat)) {
            seats.remove(&self.pid);
        }
    }
}

impl Core {
    /// What there is now. A Worker that does not answer in time is told without what lives on it.
    pub async fn stats(&self, wanted: Wanted) -> Stats {
        self.inner.stats(wanted).await
    }

    /// The same, for those who must not hold on to the core meanwhile.
    pub fn stats_later(&self, wanted: Wanted) -> impl Future<Output = Stats> + Send + use<> {
        let inner = Arc::clone(&self.inner);
        async move { inner.stats(wanted).await }
    }
}

impl Inner {
    /// A Worker begins.
    pub(super) fn attend(&self, pid: u32, connection: &str) -> (Attended, Watch) {
        let events = self.events.clone();
        let told = events.clone();
        let tell = move |change: ObjectChange, connection: &str| {
            if told.wants_objects() {
                told.emit(event(change, pid, connection));
            }
        };
        let (attended, watch) = self.observed.attend(pid, connection, Some(Box::new(tell)));
        let worker = Object {
            kind: Kind::Worker,
            id: pid.to_string(),
            connection: connection.to_owned(),
            worker: pid,
            router: None,
        };
        if events.wants_objects() {
            events.emit(Event::NewObject(worker.clone()));
        }
        (attended.told_by(events, worker), watch)
    }

    pub(super) async fn stats(&self, wanted: Wanted) -> Stats {
        let seats = self.observed.seats();
        let asked = seats.iter().map(|(pid, seat)| async {
            WorkerSnapshot {
                pid: *pid,
                connection: seat.connection.clone(),
                report: ask(seat, wanted).await,
            }
        });
        let workers = join_all(asked).await;
        let connections = self.sources().iter().map(connection).collect();
        Stats::new(
            connections,
            workers,
            self.observed.tally.read(),
            self.events.missed(),
            wanted.objects,
        )
    }
}

async fn ask(seat: &Seat, wanted: Wanted) -> Option<Report> {
    if wanted.bitrates {
        let (reply, measured) = oneshot::channel();
        let measure = async {
            seat.questions.send(Question::Measure { reply }).await.ok()?;
            measured.await.ok()
        };
        // What is not told by then stays as it was told last.
        let _ = timeout(MEASURE_PATIENCE, measure).await;
    }
    let (reply, report) = oneshot::channel();
    let asked = async {
        let question = Question::Report { objects: wanted.objects, reply };
        seat.questions.send(question).await.ok()?;
        report.await.ok()
    };
    timeout(PATIENCE, asked).await.ok().flatten()
}

fn connection(source: &Source) -> ConnectionStats {
    let connection = source.connection.as_ref();
    let state = *connection.state().borrow();
    let mut host = connection.host_load().unwrap_or_else(HostLoad::default);
    host.draining |= source.presence.is_leaving();
    ConnectionStats::new(
        connection.name(),
        connection.is_local(),
        state,
        connection.load(),
        host,
        connection.details(),
        connection.problem().map(|problem| problem.to_string()),
    )
}
