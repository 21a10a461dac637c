//! The virtual worker: what the library takes for its mediasoup-worker. A state machine without
//! I/O: messages in, messages out.

mod answers;
mod calls;
mod census;
mod changes;
mod closes;
mod deaths;
mod facts;
mod gather;
mod growth;
mod idle;
mod known;
mod lost;
mod merge;
mod objects;
mod parts;
mod pipes;
mod piping;
mod recipes;
mod refusals;
mod relays;
mod repipe;
mod requests;
mod rewriting;
mod routing;
mod shadows;
mod taken;
pub(crate) mod tracking;

#[cfg(test)]
mod fleet_tests;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};

pub use self::{
    census::{Census, Counts, ObjectView, PartView, PipeView, RouterView},
    changes::{CloseReason, ObjectChange},
    deaths::OnPartLost,
    growth::{PartLoad, Spread},
    objects::{Object, ObjectKind, Objects, PartId},
};

use self::{
    calls::Calls,
    census::Measured,
    changes::Changes,
    facts::Facts,
    gather::Gathers,
    growth::Growth,
    idle::Naps,
    known::Known,
    lost::LostObjects,
    parts::Parts,
    pipes::Pipes,
    refusals::{refuse, refuse_as, refuse_malformed},
    repipe::Resyncs,
    requests::Requests,
    shadows::Shadows,
};
use crate::{
    addresses::book::{AddressBook, Host},
    channel::{
        Envelope, Message,
        compose::{self, ErrorKind},
        envelope::NotificationEnvelope,
        fbs::{notification::Event, worker},
    },
};

/// How many parts one part feeds with the same Producer, unless told otherwise.
pub const MAX_FAN_OUT: usize = 8;

/// What the virtual worker wants done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Write to the library.
    Library(Bytes),
    /// Write to that worker.
    Worker(PartId, Bytes),
    /// Tell the people who run this.
    Diagnostic(String),
    /// Start a further worker behind this virtual worker. Messages for it may follow at once; they
    /// wait until [`VirtualWorker::part_opened`] or go with [`VirtualWorker::part_failed`].
    OpenPart(PartId),
    /// Nothing of the app is left on that part: end its worker.
    ClosePart(PartId),
    /// An object of the app is gone with the part that it lived on.
    Lost { kind: ObjectKind, id: String, reason: String },
}

/// What the death of a part means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The virtual worker lives on without that part.
    LivesOn,
    /// All that the app had was there: the virtual worker is dead, in mediasoup's words.
    Dies,
}

/// One Worker of the app and the real workers behind it.
pub struct VirtualWorker {
    /// Process id that the library knows its worker by.
    library_pid: u32,
    book: Arc<AddressBook>,
    home: PartId,
    spread: Spread,
    parts: Parts,
    objects: Objects,
    facts: Facts,
    pipes: Pipes,
    shadows: Shadows,
    naps: Naps,
    resyncs: Resyncs,
    requests: Requests,
    gathers: Gathers,
    known: Known,
    growth: Growth,
    calls: Calls,
    lost: LostObjects,
    /// The settings that further parts start with.
    settings: Option<worker::UpdateSettingsRequest>,
    /// What to tell those who watch.
    changes: Changes,
    measured: Measured,
    /// `WORKER_CLOSE` left.
    closing: bool,
    now: Duration,
}

impl VirtualWorker {
    /// A virtual worker on one real worker, its home. It grows as far as `spread` allows.
    pub fn new(library_pid: u32, home: Host, book: Arc<AddressBook>, spread: Spread) -> Self {
        let home_id = PartId(0);
        Self {
            library_pid,
            book,
            home: home_id,
            spread,
            parts: Parts::new(home_id, home),
            objects: Objects::default(),
            facts: Facts::default(),
            pipes: Pipes::default(),
            shadows: Shadows::default(),
            naps: Naps::default(),
            resyncs: Resyncs::default(),
            requests: Requests::default(),
            gathers: Gathers::default(),
            known: Known::default(),
            growth: Growth::default(),
            calls: Calls::default(),
            lost: LostObjects::default(),
            settings: None,
            changes: Changes::default(),
            measured: Measured::default(),
            closing: false,
            now: Duration::ZERO,
        }
    }

    /// The part that Routers are born on.
    pub fn home(&self) -> PartId {
        self.home
    }

    /// The app's objects.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// How many requests wait for an answer.
    pub fn requests_under_way(&self) -> usize {
        self.requests.len()
    }

    /// Takes one whole message from the library.
    pub fn from_library(&mut self, bytes: BytesMut, out: &mut Vec<Output>) {
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(rejected) => {
                let id = rejected.request_id();
                return refuse_malformed(id, &rejected.error.to_string(), out);
            }
        };
        if let Err(error) = message.check_for_worker() {
            return refuse_malformed(message.request_id(), &error.to_string(), out);
        }
        match message.envelope() {
            Envelope::Request(_) => self.request(message, out),
            Envelope::Notification(notification) => {
                let event = notification.event;
                // A worker would only log that it does not know the object.
                let known = self.objects.get(notification.handler_id).is_some();
                if known || !self.spreads() || event == Event::WorkerClose {
                    let part = self.owner(notification.handler_id);
                    self.notify_worker(event, part, message, out);
                }
            }
            // check_for_worker() let nothing else through.
            Envelope::Response(_) | Envelope::Log(_) => {}
        }
    }

    /// Takes one whole message from a worker.
    pub fn from_worker(&mut self, part: PartId, bytes: BytesMut, out: &mut Vec<Output>) {
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(rejected) => {
                let text = format!("dropped a message of a worker: {rejected}");
                out.push(Output::Diagnostic(text));
                // Whoever waits for it hears that much.
                if let Some(id) = rejected.response_id() {
                    let why = format!("malformed answer: {rejected}");
                    let stand_in = compose::refused(id, ErrorKind::Error, &why);
                    if let Envelope::Response(response) = stand_in.envelope() {
                        self.response(part, response, stand_in, out);
                    }
                }
                return;
            }
        };
        self.heard_of(part, out);
        match message.envelope() {
            Envelope::Response(response) => self.response(part, response, message, out),
            Envelope::Notification(notification) => {
                let NotificationEnvelope { handler_id, event, .. } = notification;
                if event == Event::ProducerScore && self.spreads() {
                    self.scored(part, handler_id, &message, out);
                }
                if self.spreads()
                    && (self.hushes(part, handler_id, event)
                        || self.keeps_back(part, handler_id, event, &message))
                {
                    return;
                }
                if let Some(forwarded) = self.notification(part, &notification, out) {
                    let message = forwarded.unwrap_or(message);
                    out.push(Output::Library(message.into_bytes().freeze()));
                }
            }
            Envelope::Log(_) => out.push(Output::Library(message.into_bytes().freeze())),
            Envelope::Request(_) => {
                out.push(Output::Diagnostic(
                    "dropped a request that came from a worker".to_owned(),
                ));
            }
        }
    }

    /// The part that owns the object, or the home for what is the worker's own or unknown: it
    /// refuses in the right words.
    fn owner(&self, handler_id: &str) -> PartId {
        self.objects.get(handler_id).map_or(self.home, |object| object.part)
    }

    fn host(&self, part: PartId) -> Option<&Host> {
        self.parts.host(part)
    }

    fn notify_worker(
        &mut self,
        event: Event,
        part: PartId,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        if event == Event::WorkerClose {
            return self.close_all(message, out);
        }
        let Some(message) = self.parts.wait(part, message) else { return };
        out.push(Output::Worker(part, message.into_bytes().freeze()));
    }

    fn request(&mut self, message: Message, out: &mut Vec<Output>) {
        self.calls.begin(self.now);
        if self.spreads() {
            return self.route(message, out);
        }
        let Envelope::Request(request) = message.envelope() else { return };
        if self.answers_key_frame(&request, out) {
            return;
        }
        let part = self.owner(request.handler_id);
        let effect = match tracking::effect(&request, &message) {
            Ok(effect) => effect,
            Err(error) => return refuse(request.id, &error.to_string(), out),
        };
        let message = if taken::harms(&effect, request.method) {
            self.refuses_taken(message, &effect, out)
        } else {
            Some(message)
        };
        let Some(message) = message else { return };
        let Envelope::Request(request) = message.envelope() else { return };
        if let Some(why) = self.not_consumable(&request, &message) {
            return refuse(request.id, why, out);
        }
        self.forward(part, message, effect, false, out);
    }

    /// Drops an object and all that goes with it.
    fn forget(&mut self, id: &str, out: &mut Vec<Output>) {
        self.forget_as(id, CloseReason::Closed, out);
    }

    fn forget_as(&mut self, id: &str, reason: CloseReason, out: &mut Vec<Output>) {
        let removed = self.objects.remove(id);
        self.tell_gone(&removed, reason);
        for (id, object) in &removed {
            match object.kind {
                ObjectKind::Transport => self.book.forget(id),
                ObjectKind::Consumer | ObjectKind::Producer if !self.spreads() => {
                    self.facts.forget(id);
                }
                _ => {}
            }
        }
        if self.spreads() {
            self.after_removed(removed, out);
        }
    }

    /// `None`: not for the library. Else the message to send instead of the original, if any.
    #[expect(clippy::option_option, reason = "drop, forward as it is, or forward another")]
    fn notification(
        &mut self,
        part: PartId,
        notification: &NotificationEnvelope<'_>,
        out: &mut Vec<Output>,
    ) -> Option<Option<Message>> {
        if notification.event == Event::WorkerRunning {
            return (part == self.home).then(|| Some(compose::worker_running(self.library_pid)));
        }
        let handler_id = notification.handler_id;
        if self.objects.get(handler_id)?.part != part {
            return None;
        }
        if matches!(
            notification.event,
            Event::ConsumerProducerClose | Event::DataconsumerDataproducerClose
        ) {
            // The worker has closed it already, and so does the library when it hears of it.
            self.forget(handler_id, out);
        }
        Some(None)
    }

    /// Time goes on. `now` counts from any fixed start.
    pub fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        self.now = self.now.max(now);
        self.rest_pipes(out);
        self.end_shadows(out);
        self.close_empty_parts(out);
        self.end_overdue_calls(out);
    }

    /// When [`VirtualWorker::tick`] has something to do, if it has.
    pub fn next_tick(&self) -> Option<Duration> {
        let calls = self.next_look_at_calls();
        let times = [self.next_rest(), self.next_shadow(), self.next_empty_part(), calls];
        times.into_iter().flatten().min()
    }
}

impl Drop for VirtualWorker {
    fn drop(&mut self) {
        let transports = self.objects.of_kind(ObjectKind::Transport);
        for id in transports {
            self.book.forget(id);
        }
    }
}
