//! Events, and their bounded way from whoever sees something to whoever listens.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use crate::{compatibility::Difference, virtual_worker::ObjectKind};

/// How many events may wait. What comes on top is counted and told as [`Event::Missed`].
pub const WAITING: usize = 4096;
/// How many are handed over at once.
const BATCH: usize = 256;

/// Something that an app may want to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A connection is in the set.
    Add { connection: String },
    /// A connection left the set.
    Delete { connection: String },
    /// Its other side can be reached for the first time.
    Connected { connection: String },
    /// Its other side is away for longer than the silent window.
    Disconnected { connection: String, message: String },
    /// Its other side is back.
    Reconnected { connection: String },
    /// Its other side is nothing that this app could use.
    Incompatible { connection: String, message: String, differences: Vec<Difference> },
    /// Its other side does not let this app in.
    Refused { connection: String, message: String },
    /// It could not be reached so far. Dialing goes on.
    Unreachable { connection: String, message: String },
    /// It refused a mediasoup-worker, because it has no room.
    Full { connection: String, message: String },
    /// Its host means to leave, or changed its mind.
    Draining { connection: String, draining: bool },
    /// An object of the app was created there.
    NewObject(Object),
    /// An object of the app is gone.
    CloseObject {
        #[serde(flatten)]
        object: Object,
        reason: Option<Reason>,
    },
    /// So many events got lost here, because nobody took them in time.
    Missed { count: u64 },
}

/// An object of the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Object {
    pub kind: Kind,
    pub id: String,
    /// The connection that it lives on.
    pub connection: String,
    /// `pid` of its Worker, as the app knows it.
    pub worker: u32,
    /// Id of its Router, where it is in one.
    pub router: Option<String>,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    Worker,
    WebRtcServer,
    Router,
    WebRtcTransport,
    PlainTransport,
    PipeTransport,
    DirectTransport,
    RtpObserver,
    Producer,
    Consumer,
    DataProducer,
    DataConsumer,
}

impl Kind {
    /// What an object of a virtual worker is.
    pub fn of(kind: ObjectKind, transport: Option<&str>) -> Self {
        match (kind, transport) {
            (ObjectKind::WebRtcServer, _) => Self::WebRtcServer,
            (ObjectKind::Router, _) => Self::Router,
            (ObjectKind::Transport, Some("plain")) => Self::PlainTransport,
            (ObjectKind::Transport, Some("pipe")) => Self::PipeTransport,
            (ObjectKind::Transport, Some("direct")) => Self::DirectTransport,
            (ObjectKind::Transport, _) => Self::WebRtcTransport,
            (ObjectKind::RtpObserver, _) => Self::RtpObserver,
            (ObjectKind::Producer, _) => Self::Producer,
            (ObjectKind::Consumer, _) => Self::Consumer,
            (ObjectKind::DataProducer, _) => Self::DataProducer,
            (ObjectKind::DataConsumer, _) => Self::DataConsumer,
        }
    }
}

/// Why an object is gone, where it was not simply closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The mediasoup-worker that it lived on is gone, while its Worker lives on.
    PartLost,
    /// Its Worker died.
    Died,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<VecDeque<Event>>,
    listening: AtomicBool,
    objects: AtomicBool,
    arrived: Notify,
    missed: AtomicU64,
}

/// Takes events, from any thread. While nobody listens they are dropped.
#[derive(Clone, Default)]
pub struct EventSink {
    shared: Arc<Shared>,
}

/// Where the events of a sink come out. Dropping it ends the listening.
pub struct EventStream {
    shared: Arc<Shared>,
}

impl EventSink {
    /// Starts to listen. One stream at a time gets the events.
    pub fn listen(&self) -> EventStream {
        self.shared.listening.store(true, Ordering::Release);
        EventStream { shared: Arc::clone(&self.shared) }
    }

    /// Whether anybody wants to hear of objects. Asked before an event is made of each.
    pub fn wants_objects(&self) -> bool {
        self.shared.objects.load(Ordering::Relaxed) && self.is_listening()
    }

    /// Says whether anybody wants to hear of objects.
    pub fn want_objects(&self, wanted: bool) {
        self.shared.objects.store(wanted, Ordering::Relaxed);
    }

    /// How many events got lost so far, because nobody took them in time.
    pub fn missed(&self) -> u64 {
        self.shared.missed.load(Ordering::Relaxed)
    }

    fn is_listening(&self) -> bool {
        self.shared.listening.load(Ordering::Acquire)
    }

    /// Tells an event. Never waits.
    pub fn emit(&self, event: Event) {
        if !self.is_listening() {
            return;
        }
        let mut waiting = self.shared.waiting.lock();
        if waiting.len() < WAITING {
            waiting.push_back(event);
            drop(waiting);
            self.shared.arrived.notify_one();
            return;
        }
        self.shared.missed.fetch_add(1, Ordering::Relaxed);
        if let Some(Event::Missed { count }) = waiting.back_mut() {
            *count += 1;
        } else {
            waiting.push_back(Event::Missed { count: 1 });
        }
        drop(waiting);
        self.shared.arrived.notify_one();
    }
}

impl EventStream {
    /// The next events, at least one, in their order. Cancel-safe.
    pub async fn next(&mut self) -> Vec<Event> {
        loop {
            let batch = self.take();
            if !batch.is_empty() {
                return batch;
            }
            self.shared.arrived.notified().await;
        }
    }

    fn take(&self) -> Vec<Event> {
        let mut waiting = self.shared.waiting.lock();
        let count = waiting.len().min(BATCH);
        waiting.drain(..count).collect()
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.shared.listening.store(false, Ordering::Release);
        self.shared.waiting.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn added(number: usize) -> Event {
        Event::Add { connection: number.to_string() }
    }

    #[tokio::test]
    async fn events_come_in_their_order_and_in_batches() {
        let sink = EventSink::default();
        let mut stream = sink.listen();
        (0..=BATCH).for_each(|number| sink.emit(added(number)));
        let first = stream.next().await;
        assert_eq!(first.len(), BATCH);
        assert_eq!(first[0], added(0));
        assert_eq!(stream.next().await, [added(BATCH)]);
        let waiting = tokio::spawn(async move { stream.next().await });
        tokio::task::yield_now().await;
        sink.emit(added(7));
        assert_eq!(waiting.await.unwrap(), [added(7)]);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_where_it_is_missing() {
        let sink = EventSink::default();
        let mut stream = sink.listen();
        (0..WAITING + 3).for_each(|number| sink.emit(added(number)));
        let mut all = stream.next().await;
        sink.emit(added(9999));
        while all.last() != Some(&added(9999)) {
            all.extend(stream.next().await);
        }
        assert_eq!(all.len(), WAITING + 2);
        assert_eq!(all[WAITING - 1], added(WAITING - 1));
        assert_eq!(all[WAITING], Event::Missed { count: 3 });
        assert_eq!(sink.missed(), 3);
    }

    #[tokio::test]
    async fn without_a_listener_nothing_is_kept() {
        let sink = EventSink::default();
        sink.want_objects(true);
        sink.emit(added(1));
        assert!(!sink.wants_objects());
        let mut stream = sink.listen();
        assert!(sink.wants_objects());
        sink.emit(added(2));
        assert_eq!(stream.next().await, [added(2)]);
        sink.emit(added(3));
        drop(stream);
        sink.emit(added(4));
        sink.want_objects(false);
        assert!(sink.shared.waiting.lock().is_empty());
    }

    #[test]
    fn objects_are_told_by_flat_names() {
        let object = Object {
            kind: Kind::WebRtcTransport,
            id: "t".to_owned(),
            connection: "local".to_owned(),
            worker: 7,
            router: Some("r".to_owned()),
        };
        let event = Event::CloseObject { object, reason: Some(Reason::PartLost) };
        assert_eq!(
            serde_json::to_value(event).unwrap(),
            serde_json::json!({
                "type": "closeobject",
                "kind": "webRtcTransport",
                "id": "t",
                "connection": "local",
                "worker": 7,
                "router": "r",
                "reason": "partlost",
            })
        );
    }
}
