//! Calls that a worker never answers. Whatever becomes of it, each call of the app ends: by its
//! answer, by the death of its worker, or by the call timeout. Time counts only while the link to
//! the worker is up, so an outage is nobody's fault and ends in its own way.

use std::{collections::HashMap, time::Duration};

use channel_schema::fbs::{request, router, transport, worker};

use super::{
    Object, ObjectKind, Output, PartId, VirtualWorker,
    pipes::{EndState, Own},
    refuse,
    requests::AppRequest,
    tracking::{self, Effect},
};
use crate::channel::{Envelope, Message, compose, fbs::request::Method, method};

/// The longest time between two looks at the calls that wait, and so how late one may end.
const STEP: Duration = Duration::from_secs(1);
/// As many looks as that fit into the timeout, where it is short.
const LOOKS: u32 = 8;
/// How late a look may come before it means that this process was suspended: what the worker said
/// meanwhile is still to be read, and time that nobody watched does not count.
const LATE: Duration = Duration::from_secs(1);

/// How long the calls of the app have waited.
#[derive(Debug, Default)]
pub struct Calls {
    timeout: Option<Duration>,
    looked: Duration,
    /// When to look again, while a call may be waiting.
    look_at: Option<Duration>,
    /// By the library's number, those that the last look saw.
    spent: HashMap<u32, Duration>,
}

impl Calls {
    fn step(timeout: Duration) -> Duration {
        (timeout / LOOKS).clamp(Duration::from_millis(1), STEP)
    }

    /// A call begins.
    pub fn begin(&mut self, now: Duration) {
        if let (Some(timeout), None) = (self.timeout, self.look_at) {
            self.looked = now;
            self.look_at = Some(now + Self::step(timeout));
        }
    }

    /// The time since the last look, as far as it counts.
    fn passed(&mut self, now: Duration, step: Duration) -> Duration {
        let passed = now.saturating_sub(self.looked);
        self.looked = now;
        if passed > step + LATE { step } else { passed }
    }
}

/// Where a call waits.
#[derive(Debug)]
enum Place {
    /// For a part's answer to the request of that number.
    Part(u32),
    /// For the answers of several parts.
    Gather(u64),
    /// For a pipe that has not started.
    Pipe(u64),
    /// With a consumer that waits for its pipe.
    Shadow(String),
}

/// A call of the app that is not answered yet.
#[derive(Debug)]
struct Waiting {
    library_id: u32,
    place: Place,
    /// Who is to blame.
    part: PartId,
}

impl VirtualWorker {
    /// Lets a call end with an error after that time, for a worker that hangs.
    #[must_use]
    pub fn with_call_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.calls.timeout = timeout;
        self
    }

    /// When [`VirtualWorker::end_overdue_calls`] has something to do.
    pub(super) fn next_look_at_calls(&self) -> Option<Duration> {
        self.calls.look_at
    }

    /// Ends the calls that waited for too long.
    pub(super) fn end_overdue_calls(&mut self, out: &mut Vec<Output>) {
        let (Some(timeout), Some(_)) =
            (self.calls.timeout, self.calls.look_at.filter(|at| *at <= self.now))
        else {
            return;
        };
        let step = Calls::step(timeout);
        let passed = self.calls.passed(self.now, step);
        let before = std::mem::take(&mut self.calls.spent);
        let mut overdue = Vec::new();
        for call in self.waiting_calls() {
            let counts = !self.parts.is_cut_off(call.part);
            let spent = match before.get(&call.library_id) {
                Some(spent) if counts => *spent + passed,
                Some(spent) => *spent,
                // It began since the last look, nobody knows when.
                None => Duration::ZERO,
            };
            if spent >= timeout {
                overdue.push(call);
            } else {
                self.calls.spent.insert(call.library_id, spent);
            }
        }
        self.calls.look_at = (!self.calls.spent.is_empty()).then(|| self.now + step);
        for call in overdue {
            self.end_call(call, timeout, out);
        }
    }

    /// Every call that waits for something which may never come. What waits for a part that is
    /// being started is left out: that has a time limit of its own.
    fn waiting_calls(&self) -> Vec<Waiting> {
        let on_parts = self.requests.of_the_app().map(|(part, number, app)| Waiting {
            library_id: app.library_id,
            place: Place::Part(number),
            part,
        });
        let mut calls: Vec<Waiting> = on_parts.collect();
        for (id, library_id, left) in self.gathers.unanswered() {
            let up = left.clone().find(|part| !self.parts.is_cut_off(*part));
            if let Some(part) = up.or_else(|| left.clone().next()) {
                calls.push(Waiting { library_id, place: Place::Gather(id), part });
            }
        }
        for pipe in self.pipes.pipes_where(|pipe| !pipe.waiting.is_empty()) {
            let part = self.holds_up(pipe);
            let waiting = self.pipes.pipe(pipe).into_iter().flat_map(|pipe| &pipe.waiting);
            calls.extend(waiting.filter_map(Message::request_id).map(|library_id| Waiting {
                library_id,
                place: Place::Pipe(pipe),
                part,
            }));
        }
        for (consumer, part, held) in self.shadows.held() {
            let pipe = self.pipes.uses(consumer).first().copied();
            let part = pipe.map_or(part, |pipe| self.holds_up(pipe));
            calls.extend(held.iter().filter_map(Message::request_id).map(|library_id| Waiting {
                library_id,
                place: Place::Shadow(consumer.to_owned()),
                part,
            }));
        }
        calls
    }

    /// The part that a pipe which has not started waits for.
    fn holds_up(&self, pipe: u64) -> PartId {
        let mut next = pipe;
        loop {
            let Some(pipe) = self.pipes.pipe(next) else { return self.home };
            let pair = self.pipes.pair(pipe.pair);
            let mut asked = pair.into_iter().flat_map(|pair| &pair.ends);
            if let Some(end) = asked.find(|end| matches!(end.state, EndState::Asked)) {
                return end.part;
            }
            match pipe.feeder {
                Some(feeder) if self.pipes.pipe(feeder).is_some_and(|one| !one.started) => {
                    next = feeder;
                }
                _ => return pipe.from,
            }
        }
    }

    fn end_call(&mut self, call: Waiting, timeout: Duration, out: &mut Vec<Output>) {
        let Waiting { library_id, place, part } = call;
        let why = format!("no answer within {timeout:?} (callTimeoutMs)");
        match place {
            Place::Part(number) => {
                let Some(app) = self.requests.give_up(part, number) else { return };
                self.undo(part, &app, out);
                let text = self.on_part(part, app.method, &app.handler, &why);
                refuse(library_id, &text, out);
            }
            Place::Gather(id) => {
                // The others' answers will do, if there are any.
                for part in self.gathers.left_of(id) {
                    if !self.parts.is_cut_off(part) {
                        self.pass_over(part, timeout, out);
                    }
                }
                if let Some((method, handler)) = self.gathers.give_up(id) {
                    let text = self.on_part(part, method, &handler, &why);
                    refuse(library_id, &text, out);
                }
            }
            Place::Pipe(pipe) => {
                let waiting = self.pipes.pipe_mut(pipe).map(|pipe| &mut pipe.waiting);
                let Some(message) = waiting.and_then(|waiting| take(waiting, library_id)) else {
                    return;
                };
                self.unwait(pipe, &message, out);
                self.refuse_on_part(part, &message, &why, out);
            }
            Place::Shadow(consumer) => {
                let held = self.shadows.held_of(&consumer);
                if let Some(message) = held.and_then(|held| take(held, library_id)) {
                    self.refuse_on_part(part, &message, &why, out);
                }
            }
        }
        self.pass_over(part, timeout, out);
    }

    /// What a request would still do that nobody waits for any more.
    fn undo(&mut self, part: PartId, app: &AppRequest, out: &mut Vec<Output>) {
        match &app.effect {
            Effect::Create { id, .. } if app.registered => {
                let Some(object) =
                    self.objects.get(id).filter(|object| object.part == part).cloned()
                else {
                    return;
                };
                // Behind the creation, so whenever that is done the close follows.
                let (method, handler, body) = close_of(id, &object);
                self.ask(part, method, &handler, Some(body), Own::Any, out);
                self.forget(id, out);
            }
            Effect::Close { id } => self.forget(id, out),
            Effect::Create { .. } | Effect::None => {}
        }
    }

    /// A request no longer waits for a pipe.
    fn unwait(&mut self, pipe: u64, message: &Message, out: &mut Vec<Output>) {
        let Envelope::Request(request) = message.envelope() else { return };
        if let Ok(Effect::Create { id, .. }) = tracking::effect(&request, message) {
            return self.forget(&id, out);
        }
        if let Ok(request::BodyRef::RtpObserverAddProducerRequest(body)) =
            compose::request_body(message)
            && let Ok(producer) = body.producer_id()
        {
            if let Some(observer) = self.facts.observers.get_mut(request.handler_id) {
                observer.producers.remove(producer);
            }
            self.release_one(pipe, request.handler_id, out);
        }
    }

    fn refuse_on_part(&self, part: PartId, message: &Message, why: &str, out: &mut Vec<Output>) {
        let Envelope::Request(request) = message.envelope() else { return };
        let text = self.on_part(part, request.method, request.handler_id, why);
        refuse(request.id, &text, out);
    }

    /// Nothing new goes to a worker that hangs, and nobody else waits for it, until it says
    /// something.
    fn pass_over(&mut self, part: PartId, timeout: Duration, out: &mut Vec<Output>) {
        if self.parts.set_silent(part) {
            let on = self.connection(part);
            out.push(Output::Diagnostic(format!(
                "the mediasoup-worker on {on} has not answered a call for {timeout:?}: nothing new \
                 goes there until it says something"
            )));
            self.wait_no_longer_for(part, out);
        }
    }

    /// A worker that was passed over says something.
    pub(super) fn heard_of(&mut self, part: PartId, out: &mut Vec<Output>) {
        if self.parts.end_silence(part) {
            let on = self.connection(part);
            let text = format!("the mediasoup-worker on {on} speaks again");
            out.push(Output::Diagnostic(text));
        }
    }

    /// Answers every call, since the virtual worker dies with a host.
    pub fn lose_calls(&mut self, why: &str, out: &mut Vec<Output>) {
        for Waiting { library_id, place, part } in self.waiting_calls() {
            let called = match place {
                Place::Part(number) => {
                    let app = self.requests.give_up(part, number);
                    app.map(|app| self.calls_what(app.method, &app.handler))
                }
                Place::Gather(id) => {
                    let gather = self.gathers.give_up(id);
                    gather.map(|(method, handler)| self.calls_what(method, &handler))
                }
                Place::Pipe(pipe) => {
                    let waiting = self.pipes.pipe_mut(pipe).map(|pipe| &mut pipe.waiting);
                    let message = waiting.and_then(|waiting| take(waiting, library_id));
                    message.and_then(|message| self.message_calls(&message))
                }
                Place::Shadow(consumer) => {
                    let held = self.shadows.held_of(&consumer);
                    let message = held.and_then(|held| take(held, library_id));
                    message.and_then(|message| self.message_calls(&message))
                }
            };
            if let Some(called) = called {
                refuse(library_id, &format!("{called}: {why}"), out);
            }
        }
        for message in self.parts.take_waiting() {
            if let (Some(id), Some(called)) = (message.request_id(), self.message_calls(&message)) {
                refuse(id, &format!("{called}: {why}"), out);
            }
        }
    }

    fn message_calls(&self, message: &Message) -> Option<String> {
        let Envelope::Request(request) = message.envelope() else { return None };
        Some(self.calls_what(request.method, request.handler_id))
    }

    /// The method and the object of a call, in words.
    pub(super) fn calls_what(&self, method: Method, handler: &str) -> String {
        let name = method::name(method);
        match self.objects.get(handler) {
            Some(object) => format!("{name} of {} {handler}", object.kind.name()),
            None if method::is_worker_method(method) => format!("{name} of the Worker"),
            None => format!("{name} of {handler}"),
        }
    }

    /// Why a call to that part failed: what was called, where, and the cause.
    pub(super) fn on_part(&self, part: PartId, method: Method, handler: &str, why: &str) -> String {
        let on = self.connection(part);
        format!("{} on {on}: {why}", self.calls_what(method, handler))
    }

    /// What people call the host of a part.
    pub(super) fn connection(&self, part: PartId) -> String {
        self.host(part).map_or_else(|| "a host that is gone".to_owned(), |host| host.key.clone())
    }
}

/// Takes the request of that number out.
fn take(waiting: &mut Vec<Message>, library_id: u32) -> Option<Message> {
    let position = waiting.iter().position(|one| one.request_id() == Some(library_id))?;
    Some(waiting.remove(position))
}

/// The request that closes an object.
fn close_of(id: &str, object: &Object) -> (Method, String, request::Body) {
    use request::Body as B;
    let id = id.to_owned();
    let handler = object.parent.clone().unwrap_or_default();
    let (method, body) = match object.kind {
        ObjectKind::WebRtcServer => (
            Method::WorkerWebrtcserverClose,
            B::WorkerCloseWebRtcServerRequest(Box::new(worker::CloseWebRtcServerRequest {
                web_rtc_server_id: id,
            })),
        ),
        ObjectKind::Router => (
            Method::WorkerCloseRouter,
            B::WorkerCloseRouterRequest(Box::new(worker::CloseRouterRequest { router_id: id })),
        ),
        ObjectKind::Transport => (
            Method::RouterCloseTransport,
            B::RouterCloseTransportRequest(Box::new(router::CloseTransportRequest {
                transport_id: id,
            })),
        ),
        ObjectKind::RtpObserver => (
            Method::RouterCloseRtpobserver,
            B::RouterCloseRtpObserverRequest(Box::new(router::CloseRtpObserverRequest {
                rtp_observer_id: id,
            })),
        ),
        ObjectKind::Producer => (
            Method::TransportCloseProducer,
            B::TransportCloseProducerRequest(Box::new(transport::CloseProducerRequest {
                producer_id: id,
            })),
        ),
        ObjectKind::Consumer => (
            Method::TransportCloseConsumer,
            B::TransportCloseConsumerRequest(Box::new(transport::CloseConsumerRequest {
                consumer_id: id,
            })),
        ),
        ObjectKind::DataProducer => (
            Method::TransportCloseDataproducer,
            B::TransportCloseDataProducerRequest(Box::new(transport::CloseDataProducerRequest {
                data_producer_id: id,
            })),
        ),
        ObjectKind::DataConsumer => (
            Method::TransportCloseDataconsumer,
            B::TransportCloseDataConsumerRequest(Box::new(transport::CloseDataConsumerRequest {
                data_consumer_id: id,
            })),
        ),
    };
    (method, handler, body)
}
