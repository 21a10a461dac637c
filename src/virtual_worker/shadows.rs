//! The shadow pause. A simulcast consumer on a cold pipe would lock onto the first stream that
//! comes over it, and need seconds to leave it. So it starts paused, without the app's knowledge,
//! until all streams are there. So does one that the app resumes on a pipe that slept.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use channel_schema::fbs::{message, notification, request, response, rtp_parameters::Type};

use super::{Output, PartId, VirtualWorker, pipes::Own, tracking::Effect};
use crate::channel::{Envelope, Message, compose, fbs::request::Method};

/// No consumer waits longer for streams that may never come.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Shadow {
    producer: String,
    part: PartId,
    /// The consume left: a resume comes behind it.
    sent: bool,
    /// The app's own resumes, which wait for the streams.
    held: Vec<Message>,
    /// Counts from the first tick that sees it.
    deadline: Option<Duration>,
}

/// Consumers that the core paused, and how many streams of a Producer live where.
#[derive(Debug, Default)]
pub struct Shadows {
    by_consumer: BTreeMap<String, Shadow>,
    live: HashMap<String, HashMap<PartId, usize>>,
}

impl Shadows {
    pub fn live(&self, producer: &str, part: PartId) -> usize {
        self.live.get(producer).and_then(|parts| parts.get(&part)).copied().unwrap_or_default()
    }

    /// A new pipe has no streams yet.
    pub fn cool(&mut self, producer: &str, part: PartId) {
        if let Some(parts) = self.live.get_mut(producer) {
            parts.remove(&part);
        }
    }

    /// The consumer or Producer is gone. Gives back the app's resumes that waited.
    pub fn forget(&mut self, id: &str) -> Vec<Message> {
        self.live.remove(id);
        self.leave(id)
    }

    /// The app pauses or resumes the consumer itself. Gives back its resumes that waited.
    pub fn leave(&mut self, consumer: &str) -> Vec<Message> {
        self.by_consumer.remove(consumer).map(|shadow| shadow.held).unwrap_or_default()
    }

    /// The app's resumes that wait: of which consumer, and where it lives.
    pub fn held(&self) -> impl Iterator<Item = (&str, PartId, &[Message])> {
        self.by_consumer.iter().map(|(id, one)| (id.as_str(), one.part, one.held.as_slice()))
    }

    /// Those of one consumer.
    pub fn held_of(&mut self, consumer: &str) -> Option<&mut Vec<Message>> {
        self.by_consumer.get_mut(consumer).map(|shadow| &mut shadow.held)
    }

    /// Notes that the consume leaves. True if it is a paused one.
    pub fn sent(&mut self, consumer: &str) -> bool {
        self.by_consumer.get_mut(consumer).is_some_and(|shadow| {
            shadow.sent = true;
            true
        })
    }
}

impl VirtualWorker {
    /// The consume to send instead where the pipe is cold.
    pub(super) fn shadow(
        &mut self,
        consumer: &str,
        producer: &str,
        from: PartId,
        to: PartId,
        message: &Message,
    ) -> Option<Message> {
        let encodings = self.facts.media.get(producer)?.mapping.encodings.len();
        let cold = self.shadows.live(producer, to) < self.shadows.live(producer, from);
        if encodings < 2 || !cold {
            return None;
        }
        let Ok(message::Body::Request(mut owned)) = compose::to_owned(message) else { return None };
        let Some(request::Body::TransportConsumeRequest(body)) = &mut owned.body else {
            return None;
        };
        if body.paused || body.type_ != Type::Simulcast {
            return None;
        }
        body.paused = true;
        let producer = producer.to_owned();
        let shadow = Shadow { producer, part: to, sent: false, held: Vec::new(), deadline: None };
        self.shadows.by_consumer.insert(consumer.to_owned(), shadow);
        Some(compose::compose(message::Body::Request(owned)))
    }

    /// A worker tells the scores of a Producer's streams.
    pub(super) fn scored(
        &mut self,
        part: PartId,
        producer: &str,
        message: &Message,
        out: &mut Vec<Output>,
    ) {
        let Some(from) = self.objects.get(producer).map(|object| object.part) else { return };
        if part != from && self.pipes.pipe_of(producer, part).is_none() {
            return;
        }
        let Ok(message::Body::Notification(owned)) = compose::to_owned(message) else { return };
        let Some(notification::Body::ProducerScoreNotification(body)) = owned.body else { return };
        let live = body.scores.iter().filter(|score| score.score > 0).count();
        self.shadows.live.entry(producer.to_owned()).or_default().insert(part, live);
        let there = |shadow: &Shadow| {
            shadow.producer == producer
                && shadow.sent
                && self.shadows.live(producer, shadow.part) >= self.shadows.live(producer, from)
        };
        let ready = self.shadows.by_consumer.iter().filter(|(_, shadow)| there(shadow));
        let ready: Vec<String> = ready.map(|(id, _)| id.clone()).collect();
        self.resume(&ready, out);
        self.awake_there(producer, out);
    }

    fn resume(&mut self, consumers: &[String], out: &mut Vec<Output>) {
        for id in consumers {
            let Some(shadow) = self.shadows.by_consumer.remove(id) else { continue };
            if shadow.held.is_empty() {
                self.ask(shadow.part, Method::ConsumerResume, id, None, Own::Any, out);
            }
            for message in shadow.held {
                self.forward(shadow.part, message, Effect::None, false, out);
            }
        }
    }

    /// The app pauses a consumer.
    pub(super) fn pause_consumer(&mut self, part: PartId, message: Message, out: &mut Vec<Output>) {
        let Envelope::Request(request) = message.envelope() else { return };
        let consumer = request.handler_id;
        for resume in self.shadows.leave(consumer) {
            self.forward(part, resume, Effect::None, false, out);
        }
        self.rest_consumer(consumer, true, out);
        self.forward(part, message, Effect::None, false, out);
    }

    /// The app resumes a consumer: what feeds it wakes first.
    pub(super) fn resume_consumer(
        &mut self,
        part: PartId,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        let Envelope::Request(request) = message.envelope() else { return };
        let consumer = request.handler_id.to_owned();
        self.rest_consumer(&consumer, false, out);
        let mut held = self.shadows.leave(&consumer);
        held.push(message);
        if let Some((producer, to)) = self.wakes(&consumer) {
            let shadow = Shadow { producer, part: to, sent: true, held, deadline: None };
            self.shadows.by_consumer.insert(consumer, shadow);
            return;
        }
        for message in held {
            self.forward(part, message, Effect::None, false, out);
        }
    }

    /// Resumes those who waited long enough.
    pub(super) fn end_shadows(&mut self, out: &mut Vec<Output>) {
        let mut late = Vec::new();
        for (id, shadow) in &mut self.shadows.by_consumer {
            if shadow.sent && *shadow.deadline.get_or_insert(self.now + PATIENCE) <= self.now {
                late.push(id.clone());
            }
        }
        self.resume(&late, out);
    }

    pub(super) fn next_shadow(&self) -> Option<Duration> {
        let sent = self.shadows.by_consumer.values().filter(|shadow| shadow.sent);
        sent.map(|shadow| shadow.deadline.unwrap_or(self.now)).min()
    }
}

/// The consumer is gone: a worker would have resumed it before.
pub fn answer_held(held: Vec<Message>, out: &mut Vec<Output>) {
    for message in held {
        if let Envelope::Request(request) = message.envelope() {
            let answer = compose::accepted(request.id, None);
            out.push(Output::Library(answer.into_bytes().freeze()));
        }
    }
}

/// The answer as the app expects it: not paused.
pub fn unpaused(answer: &Message) -> Option<Message> {
    let Ok(message::Body::Response(mut owned)) = compose::to_owned(answer) else { return None };
    let Some(response::Body::TransportConsumeResponse(body)) = &mut owned.body else { return None };
    body.paused = false;
    Some(compose::compose(message::Body::Response(owned)))
}
