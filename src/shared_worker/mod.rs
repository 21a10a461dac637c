//! Several virtual workers on one real worker, each of which finds it as if it were alone there.
//! A state machine without I/O: messages in, messages out.

mod sub;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use self::sub::Sub;
use crate::{
    channel::{
        Envelope, Message, MessageError, Texts,
        compose::{self, DecodeError, ErrorKind},
        envelope::{NotificationEnvelope, RequestEnvelope, ResponseEnvelope},
        fbs::{message, notification::Event, request, request::Method, response, worker},
    },
    virtual_worker::{
        ObjectKind,
        tracking::{self, Effect},
    },
};

/// One virtual worker's share of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubId(pub u32);

/// What the shared worker wants done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Write to the worker.
    Worker(Bytes),
    /// Write to that virtual worker.
    Sub(SubId, BytesMut),
    /// Nothing of that share is left on the worker: for its virtual worker the worker has ended.
    Ended(SubId),
    /// Tell the people who run this.
    Diagnostic(String),
}

/// What it means that a virtual worker wants no more of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// Others go on; [`Output::Ended`] tells when its share is cleared away.
    Alone,
    /// It was the last one: the worker itself is to end.
    WithWorker,
}

/// Whose object it is that the worker knows by some name.
#[derive(Debug)]
struct Owned {
    sub: SubId,
    /// The virtual worker's own name for it, where that is another one.
    id: Option<String>,
}

/// Names as the worker has them, with what the virtual worker said.
type Names = HashMap<String, String>;

/// A request under way.
#[derive(Debug)]
struct Pending {
    sub: SubId,
    /// The number that the virtual worker gave it, `None` where it was not asked by one.
    id: Option<u32>,
    method: Method,
    effect: Effect,
    /// Names that the request used in the place of its own. The answer may quote one that was given
    /// back meanwhile.
    names: Names,
}

/// A worker and those who share it.
#[derive(Debug, Default)]
pub struct SharedWorker {
    subs: BTreeMap<SubId, Sub>,
    last_sub: u32,
    /// Every name that the worker knows or may know soon.
    owners: HashMap<String, Owned>,
    pending: HashMap<u32, Pending>,
    last_request: u32,
    /// The worker's first message, for those who come later.
    running: Option<Bytes>,
    /// Its settings are not those any more that it was started with.
    changed: bool,
    /// The last share left, and with it the worker.
    ending: bool,
}

impl SharedWorker {
    /// Whether further virtual workers may come.
    pub fn takes_more(&self) -> bool {
        !self.changed && !self.ending
    }

    /// How many virtual workers use it.
    pub fn attached(&self) -> usize {
        self.subs.values().filter(|sub| !sub.leaving).count()
    }

    /// Who hears what belongs to nobody: logs and the worker's output.
    pub fn oldest(&self) -> Option<SubId> {
        self.subs.iter().find(|(_, sub)| !sub.leaving).map(|(id, _)| *id)
    }

    /// Names that the worker knows or may know soon.
    pub fn names(&self) -> usize {
        self.owners.len()
    }

    /// Adds a virtual worker.
    pub fn attach(&mut self, out: &mut Vec<Output>) -> SubId {
        self.last_sub += 1;
        let id = SubId(self.last_sub);
        self.subs.insert(id, Sub::default());
        if let Some(running) = &self.running {
            out.push(Output::Sub(id, BytesMut::from(&running[..])));
        }
        id
    }

    /// A virtual worker wants no more of the worker. What it asked before is still answered.
    pub fn leave(&mut self, id: SubId, out: &mut Vec<Output>) -> Leaving {
        let others = self.subs.iter().any(|(other, sub)| *other != id && !sub.leaving);
        let Some(sub) = self.subs.get_mut(&id) else { return Leaving::Alone };
        if sub.leaving {
            return Leaving::Alone;
        }
        if !others {
            self.ending = true;
            return Leaving::WithWorker;
        }
        sub.leaving = true;
        for (kind, root) in sub.roots() {
            self.close_root(id, kind, &root, out);
        }
        self.finish(id, out);
        Leaving::Alone
    }

    /// Takes one whole message of a virtual worker, which has verified it.
    pub fn from_sub(&mut self, id: SubId, bytes: BytesMut, out: &mut Vec<Output>) {
        // A worker that was told to close answers nothing more either.
        if self.subs.get(&id).is_none_or(|sub| sub.leaving) {
            return;
        }
        let message = match Message::parse_envelope(bytes) {
            Ok(message) => message,
            Err(rejected) => {
                return out.push(Output::Diagnostic(format!("dropped a message: {rejected}")));
            }
        };
        match message.envelope() {
            Envelope::Request(_) => self.request(id, message, out),
            Envelope::Notification(notification) if notification.event == Event::WorkerClose => {
                if self.leave(id, out) == Leaving::WithWorker {
                    out.push(Output::Worker(message.into_bytes().freeze()));
                }
            }
            Envelope::Notification(_) => self.notify_worker(id, message, out),
            Envelope::Response(_) | Envelope::Log(_) => {}
        }
    }

    /// Takes one whole message of the worker. The virtual worker that gets it verifies its body.
    pub fn from_worker(&mut self, bytes: BytesMut, out: &mut Vec<Output>) {
        let message = match Message::parse_envelope(bytes) {
            Ok(message) => message,
            Err(rejected) => {
                out.push(Output::Diagnostic(format!("dropped a message of a worker: {rejected}")));
                // Whoever waits for it hears that much.
                if let Some(id) = rejected.response_id() {
                    let why = format!("malformed answer: {rejected}");
                    let message = compose::refused(id, ErrorKind::Error, &why);
                    if let Envelope::Response(response) = message.envelope() {
                        self.response(response, message, out);
                    }
                }
                return;
            }
        };
        match message.envelope() {
            Envelope::Response(response) => self.response(response, message, out),
            Envelope::Notification(NotificationEnvelope {
                event: Event::WorkerRunning, ..
            }) => {
                self.running(message, out);
            }
            Envelope::Notification(_) => self.notification(message, out),
            Envelope::Log(_) => {
                if let Some(id) = self.oldest() {
                    out.push(Output::Sub(id, message.into_bytes()));
                }
            }
            Envelope::Request(_) => {
                let text = "dropped a request that came from a worker".to_owned();
                out.push(Output::Diagnostic(text));
            }
        }
    }

    fn request(&mut self, id: SubId, message: Message, out: &mut Vec<Output>) {
        let Envelope::Request(request) = message.envelope() else { return };
        let RequestEnvelope { id: number, method, .. } = request;
        let effect = match tracking::effect(&request, &message) {
            Ok(effect) => effect,
            Err(error) => return refuse(id, number, &error.to_string(), out),
        };
        if method == Method::WorkerUpdateSettings {
            self.changed = true;
        }
        if let Effect::Create { id: object, .. } = &effect {
            self.ask(id, object);
        }
        let mut names = Names::new();
        let renamed = self.with_names_of_worker(id, message, &mut names);
        let pending = Pending { sub: id, id: Some(number), method, effect, names };
        match renamed {
            Ok(message) => {
                if !self.send(pending, message, out) {
                    refuse(id, number, "a request needs an id other than 0", out);
                }
            }
            Err(error) => {
                self.settle(&pending, false);
                refuse(id, number, &error.to_string(), out);
            }
        }
    }

    fn notify_worker(&mut self, id: SubId, message: Message, out: &mut Vec<Output>) {
        match self.with_names_of_worker(id, message, &mut Names::new()) {
            Ok(message) => out.push(Output::Worker(message.into_bytes().freeze())),
            Err(error) => out.push(Output::Diagnostic(format!("dropped a message: {error}"))),
        }
    }

    /// Notes that an object is about to be there, under a name that nothing else has.
    fn ask(&mut self, id: SubId, object: &str) {
        let Some(sub) = self.subs.get_mut(&id) else { return };
        let new = !sub.has(object);
        sub.ask(object);
        if !new {
            return;
        }
        let (name, own) = if self.owners.contains_key(object) {
            let alias = fresh_name();
            sub.call(object, alias.clone());
            (alias, Some(object.to_owned()))
        } else {
            (object.to_owned(), None)
        };
        self.owners.insert(name, Owned { sub: id, id: own });
    }

    /// A virtual worker's message in the words of the worker. Notes the names that it changed.
    fn with_names_of_worker(
        &self,
        id: SubId,
        message: Message,
        names: &mut Names,
    ) -> Result<Message, MessageError> {
        let Some(sub) = self.subs.get(&id) else { return Ok(message) };
        if self.subs.len() == 1 && !sub.has_aliases() {
            return Ok(message);
        }
        message.renamed(Texts::Named, |name| {
            let known = match sub.alias(name) {
                Some(alias) => alias.clone(),
                None if sub.has(name) || !self.owners.contains_key(name) => return None,
                // Somebody else's: for this one there is no such object, and the worker shall say
                // so.
                None => fresh_name(),
            };
            names.insert(known.clone(), name.to_owned());
            Some(known)
        })
    }

    /// Numbers a request and sends it. False, and all is as before, if it cannot be numbered.
    fn send(&mut self, pending: Pending, mut message: Message, out: &mut Vec<Output>) -> bool {
        loop {
            self.last_request = self.last_request.checked_add(1).unwrap_or(1);
            if !self.pending.contains_key(&self.last_request) {
                break;
            }
        }
        if !message.patch_id(self.last_request) {
            self.settle(&pending, false);
            return false;
        }
        if let Some(sub) = self.subs.get_mut(&pending.sub) {
            sub.pending += 1;
        }
        self.pending.insert(self.last_request, pending);
        out.push(Output::Worker(message.into_bytes().freeze()));
        true
    }

    fn close_root(&mut self, id: SubId, kind: ObjectKind, root: &str, out: &mut Vec<Output>) {
        let name = self.subs.get(&id).and_then(|sub| sub.alias(root)).map_or(root, String::as_str);
        let name = name.to_owned();
        let (method, body) = if kind == ObjectKind::Router {
            let body = worker::CloseRouterRequest { router_id: name };
            let body = request::Body::WorkerCloseRouterRequest(Box::new(body));
            (Method::WorkerCloseRouter, body)
        } else {
            let body = worker::CloseWebRtcServerRequest { web_rtc_server_id: name };
            let body = request::Body::WorkerCloseWebRtcServerRequest(Box::new(body));
            (Method::WorkerWebrtcserverClose, body)
        };
        let effect = Effect::Close { id: root.to_owned() };
        let pending = Pending { sub: id, id: None, method, effect, names: Names::new() };
        // Any number but 0: it is given on the way.
        self.send(pending, compose::request(1, method, "", Some(body)), out);
    }

    fn response(&mut self, response: ResponseEnvelope, message: Message, out: &mut Vec<Output>) {
        let Some(pending) = self.pending.remove(&response.id) else {
            let text = format!("dropped an answer to request {} that is not known", response.id);
            return out.push(Output::Diagnostic(text));
        };
        let id = pending.sub;
        let answer = pending.id.map(|number| {
            // Before names are given back: the answer may still use them.
            self.answer(&pending, number, response.accepted, message)
                .unwrap_or_else(|why| compose::refused(number, ErrorKind::Error, &why))
        });
        self.settle(&pending, response.accepted);
        if let Some(answer) = answer {
            out.push(Output::Sub(id, answer.into_bytes()));
        }
        let Some(sub) = self.subs.get_mut(&id) else { return };
        sub.pending -= 1;
        if sub.leaving {
            if let Effect::Create { kind, id: root, parent: None, .. } = &pending.effect
                && response.accepted
            {
                self.close_root(id, *kind, root, out);
            }
            self.finish(id, out);
        }
    }

    fn answer(
        &self,
        pending: &Pending,
        number: u32,
        accepted: bool,
        message: Message,
    ) -> Result<Message, String> {
        let message = if accepted && pending.method == Method::WorkerDump {
            self.dump_of(pending.sub, &message).map_err(|error| error.to_string())?
        } else {
            message
        };
        let mut message = self.with_own_names(pending.sub, message, &pending.names, !accepted)?;
        if message.patch_id(number) {
            Ok(message)
        } else {
            Err("the worker's answer has no id".to_owned())
        }
    }

    /// A message of the worker in the words of a virtual worker. A `quoted` name stands within
    /// other text.
    fn with_own_names(
        &self,
        id: SubId,
        message: Message,
        names: &Names,
        quoted: bool,
    ) -> Result<Message, String> {
        let aliases = self.subs.get(&id).is_some_and(Sub::has_aliases);
        if !aliases && names.is_empty() {
            return Ok(message);
        }
        let own = |name: &str| match (names.get(name), self.owners.get(name)) {
            (Some(own), _) => Some(own.clone()),
            (None, Some(owned)) if owned.sub == id => owned.id.clone(),
            _ => None,
        };
        let renamed = message.renamed(Texts::All, |text| {
            if !quoted {
                return own(text);
            }
            let mut told = text.to_owned();
            for (name, own) in words(text).filter_map(|word| Some((word, own(word)?))) {
                told = told.replace(name, &own);
            }
            (told != text).then_some(told)
        });
        renamed.map_err(|error| error.to_string())
    }

    /// A worker's dump without what is of others.
    fn dump_of(&self, id: SubId, answer: &Message) -> Result<Message, DecodeError> {
        let message::Body::Response(mut response) = compose::to_owned(answer)? else {
            return Err(DecodeError::new("not a response"));
        };
        if let Some(response::Body::WorkerDumpResponse(dump)) = &mut response.body {
            let own = |name: &String| self.owners.get(name).is_some_and(|owned| owned.sub == id);
            dump.web_rtc_server_ids.retain(own);
            dump.router_ids.retain(own);
            dump.channel_message_handlers.channel_request_handlers.retain(own);
            dump.channel_message_handlers.channel_notification_handlers.retain(own);
        }
        Ok(compose::compose(message::Body::Response(response)))
    }

    /// An answered request has its effect, or none.
    fn settle(&mut self, pending: &Pending, accepted: bool) {
        let Some(sub) = self.subs.get_mut(&pending.sub) else { return };
        let free = match &pending.effect {
            Effect::Create { .. } => sub.answered(&pending.effect, accepted),
            Effect::Close { id } if accepted => sub.gone(id),
            Effect::Close { .. } | Effect::None => return,
        };
        for name in free {
            self.owners.remove(&name);
        }
    }

    /// Forgets a share that nothing is left of.
    fn finish(&mut self, id: SubId, out: &mut Vec<Output>) {
        if self.subs.get(&id).is_none_or(|sub| sub.pending > 0) {
            return;
        }
        self.subs.remove(&id);
        self.owners.retain(|_, owned| owned.sub != id);
        out.push(Output::Ended(id));
    }

    fn running(&mut self, message: Message, out: &mut Vec<Output>) {
        let bytes = message.into_bytes().freeze();
        for (id, _) in self.subs.iter().filter(|(_, sub)| !sub.leaving) {
            out.push(Output::Sub(*id, BytesMut::from(&bytes[..])));
        }
        self.running = Some(bytes);
    }

    /// A notification goes to whom its object belongs; one of an object that is gone to nobody.
    fn notification(&mut self, message: Message, out: &mut Vec<Output>) {
        let Envelope::Notification(notification) = message.envelope() else { return };
        let NotificationEnvelope { event, handler_id } = notification;
        let Some(owned) = self.owners.get(handler_id) else { return };
        let id = owned.sub;
        if self.subs.get(&id).is_none_or(|sub| sub.leaving) {
            return;
        }
        // The worker has closed these by itself.
        let gone =
            matches!(event, Event::ConsumerProducerClose | Event::DataconsumerDataproducerClose)
                .then(|| owned.id.clone().unwrap_or_else(|| handler_id.to_owned()));
        match self.with_own_names(id, message, &Names::new(), false) {
            Ok(message) => out.push(Output::Sub(id, message.into_bytes())),
            Err(why) => out.push(Output::Diagnostic(format!("dropped a notification: {why}"))),
        }
        if let Some(gone) = gone
            && let Some(sub) = self.subs.get_mut(&id)
        {
            for name in sub.gone(&gone) {
                self.owners.remove(&name);
            }
        }
    }
}

/// A name that no other object anywhere has.
fn fresh_name() -> String {
    Uuid::new_v4().to_string()
}

/// The parts of a text that could be names of ours.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_hexdigit() && letter != '-')
        .filter(|word| word.len() == uuid::fmt::Hyphenated::LENGTH)
}

fn refuse(id: SubId, number: u32, reason: &str, out: &mut Vec<Output>) {
    let answer = compose::refused(number, ErrorKind::Error, reason);
    out.push(Output::Sub(id, answer.into_bytes()));
}
