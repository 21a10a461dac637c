//! The virtual worker: what the library takes for its mediasoup-worker. A state machine without
//! I/O: messages in, messages out.

mod objects;
mod requests;
mod rewriting;
mod tracking;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};

pub use objects::{Object, ObjectKind, Objects, PartId};

use self::{
    requests::{Pending, Requests},
    rewriting::Rewriting,
    tracking::Effect,
};
use crate::{
    addresses::book::{AddressBook, Host},
    channel::{
        Envelope, Message,
        compose::{self, ErrorKind},
        envelope::{NotificationEnvelope, RequestEnvelope, ResponseEnvelope},
        fbs::{notification::Event, request::Method},
    },
};

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
}

/// What the death of a part means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The virtual worker lives on without that part.
    LivesOn,
    /// All that the app had was there: the virtual worker is dead, in mediasoup's words.
    Dies,
}

/// Where the objects of one Router may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    /// How many parts a virtual worker may have, its home included. 1: as mediasoup.
    pub max_parts: usize,
    /// Every transport goes to the next part, in turn. For tests.
    pub scatter: bool,
}

struct Part {
    host: Host,
}

/// One Worker of the app and the real workers behind it.
pub struct VirtualWorker {
    /// Process id that the library knows its worker by.
    library_pid: u32,
    book: Arc<AddressBook>,
    home: PartId,
    parts: BTreeMap<PartId, Part>,
    objects: Objects,
    requests: Requests,
}

impl VirtualWorker {
    /// A virtual worker on one real worker, its home.
    pub fn new(library_pid: u32, home: Host, book: Arc<AddressBook>, _spread: Spread) -> Self {
        let home_id = PartId(0);
        Self {
            library_pid,
            book,
            home: home_id,
            parts: BTreeMap::from([(home_id, Part { host: home })]),
            objects: Objects::default(),
            requests: Requests::default(),
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
                let part = self.owner(notification.handler_id);
                out.push(Output::Worker(part, message.into_bytes().freeze()));
            }
            // check_for_worker() let nothing else through.
            Envelope::Response(_) | Envelope::Log(_) => {}
        }
    }

    /// Takes one whole message from a worker.
    pub fn from_worker(&mut self, part: PartId, bytes: BytesMut, out: &mut Vec<Output>) {
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(error) => {
                out.push(Output::Diagnostic(format!("dropped a message of a worker: {error}")));
                return;
            }
        };
        match message.envelope() {
            Envelope::Response(response) => self.response(part, response, message, out),
            Envelope::Notification(notification) => {
                if let Some(forwarded) = self.notification(part, &notification) {
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

    /// A part that was asked for is there.
    pub fn part_opened(&mut self, part: PartId, host: Host, _out: &mut Vec<Output>) {
        self.parts.insert(part, Part { host });
    }

    /// A part that was asked for cannot be had.
    pub fn part_failed(&mut self, part: PartId, _why: &str, _out: &mut Vec<Output>) {
        self.parts.remove(&part);
    }

    /// A part is gone.
    pub fn part_died(&mut self, part: PartId, _why: &str, _out: &mut Vec<Output>) -> Fate {
        self.parts.remove(&part);
        if part == self.home { Fate::Dies } else { Fate::LivesOn }
    }

    /// Does what is due.
    pub fn tick(&mut self, _now: Instant, _out: &mut Vec<Output>) {}

    /// When something is due next.
    pub fn next_tick(&self) -> Option<Instant> {
        None
    }

    /// The part that owns the object, or the home for what is the worker's own or unknown: it
    /// refuses in the right words.
    fn owner(&self, handler_id: &str) -> PartId {
        self.objects.get(handler_id).map_or(self.home, |object| object.part)
    }

    fn host(&self, part: PartId) -> Option<&Host> {
        self.parts.get(&part).map(|part| &part.host)
    }

    fn request(&mut self, message: Message, out: &mut Vec<Output>) {
        let Envelope::Request(request) = message.envelope() else { return };
        let RequestEnvelope { id: library_id, method, handler_id } = request;
        let part = self.owner(handler_id);
        let effect = match tracking::effect(&request, &message) {
            Ok(effect) => effect,
            Err(error) => return refuse(library_id, &error.to_string(), out),
        };
        let rewriting = match self.host(part) {
            Some(host) => rewriting::rewrite(&self.book, host, handler_id, method, &message),
            None => Ok(Rewriting::default()),
        };
        let rewriting = match rewriting {
            Ok(rewriting) => rewriting,
            Err(error) => return refuse(library_id, &error.to_string(), out),
        };
        let registered = self.register(part, &effect);
        let mut message = rewriting.message.unwrap_or(message);
        let id = self.requests.add(
            part,
            Pending {
                library_id,
                method,
                effect,
                registered,
                other_port: rewriting.other_port.map(Box::new),
                sockets: rewriting.sockets,
            },
        );
        if message.patch_id(id) {
            out.push(Output::Worker(part, message.into_bytes().freeze()));
        } else {
            // The library counts from 1, so only a client of another make gets here.
            self.requests.take(part, id);
            refuse(library_id, "a request needs an id other than 0", out);
        }
    }

    fn register(&mut self, part: PartId, effect: &Effect) -> bool {
        match effect {
            Effect::Create { kind, id, parent, server } => self.objects.insert(
                id,
                Object { kind: *kind, part, parent: parent.clone(), server: server.clone() },
            ),
            Effect::None | Effect::Close { .. } => false,
        }
    }

    fn response(
        &mut self,
        part: PartId,
        response: ResponseEnvelope,
        mut message: Message,
        out: &mut Vec<Output>,
    ) {
        let Some(mut pending) = self.requests.take(part, response.id) else {
            out.push(Output::Diagnostic(format!(
                "dropped an answer to request {} that nobody waits for",
                response.id
            )));
            return;
        };
        if !response.accepted
            && let Some(other) = pending.other_port.take()
            && rewriting::is_port_taken(&message)
        {
            return self.ask_again(part, pending, *other, out);
        }
        if response.accepted {
            self.accepted(part, &pending, &message);
        } else if pending.registered
            && let Effect::Create { id, .. } = &pending.effect
        {
            self.forget(id);
        }
        if response.accepted && pending.method == Method::WorkerDump {
            match compose::worker_dump_with_pid(&message, pending.library_id, self.library_pid) {
                Ok(dump) => message = dump,
                Err(error) => return refuse(pending.library_id, &error.to_string(), out),
            }
        } else if !message.patch_id(pending.library_id) {
            return;
        }
        out.push(Output::Library(message.into_bytes().freeze()));
    }

    fn ask_again(
        &mut self,
        part: PartId,
        pending: Pending,
        mut message: Message,
        out: &mut Vec<Output>,
    ) {
        let id = self.requests.add(part, pending);
        if message.patch_id(id) {
            out.push(Output::Worker(part, message.into_bytes().freeze()));
        }
    }

    fn accepted(&mut self, part: PartId, pending: &Pending, answer: &Message) {
        match &pending.effect {
            Effect::Create { kind, id, .. } => {
                self.register(part, &pending.effect);
                if *kind == ObjectKind::Transport
                    && let Some(host) = self.host(part)
                {
                    rewriting::learn(&self.book, host, id, &pending.sockets, answer);
                }
            }
            Effect::Close { id } => self.forget(id),
            Effect::None => {}
        }
    }

    fn forget(&mut self, id: &str) {
        for (id, object) in self.objects.remove(id) {
            if object.kind == ObjectKind::Transport {
                self.book.forget(&id);
            }
        }
    }

    /// `None`: not for the library. Else the message to send instead of the original, if any.
    #[expect(clippy::option_option, reason = "drop, forward as it is, or forward another")]
    fn notification(
        &mut self,
        part: PartId,
        notification: &NotificationEnvelope<'_>,
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
            self.forget(handler_id);
        }
        Some(None)
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

fn refuse(library_id: u32, reason: &str, out: &mut Vec<Output>) {
    let answer = compose::refused(library_id, ErrorKind::Error, reason);
    out.push(Output::Library(answer.into_bytes().freeze()));
}

/// A message that no worker survives gets an answer of ours where its id can still be read.
fn refuse_malformed(id: Option<u32>, why: &str, out: &mut Vec<Output>) {
    out.push(Output::Diagnostic(format!("refused a message of the app: {why}")));
    if let Some(id) = id {
        let answer = compose::refused(id, ErrorKind::TypeError, why);
        out.push(Output::Library(answer.into_bytes().freeze()));
    }
}
