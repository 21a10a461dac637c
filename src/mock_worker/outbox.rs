//! What a worker sends while it handles one message.

use super::refusal::Refusal;
use crate::channel::{
    Message, compose,
    fbs::{log::Log, message, notification::Body, response},
    method::Event,
};

/// Notifications and logs around an answer, in the order in which they go out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    before: Vec<Message>,
    after: Vec<Message>,
}

/// A request's answer.
pub(super) type Answer = Result<Option<response::Body>, Refusal>;

impl Outbox {
    /// A notification that goes out before the answer.
    pub fn notify(&mut self, handler_id: &str, event: Event, body: Option<Body>) {
        self.before.push(compose::notification(handler_id, event, body));
    }

    /// A notification that goes out after the answer.
    pub fn notify_after(&mut self, handler_id: &str, event: Event, body: Option<Body>) {
        self.after.push(compose::notification(handler_id, event, body));
    }

    pub fn log(&mut self, data: String) {
        self.before.push(compose::compose(message::Body::Log(Box::new(Log { data }))));
    }

    /// Everything with the answer in its place.
    pub fn answer(&mut self, id: u32, answer: Answer) -> Vec<Message> {
        let mut messages = std::mem::take(&mut self.before);
        messages.push(match answer {
            Ok(body) => compose::accepted(id, body),
            Err(refusal) => compose::refused(id, refusal.kind, &refusal.reason),
        });
        messages.append(&mut self.after);
        messages
    }

    /// Everything, where there is nothing to answer.
    pub fn flush(&mut self) -> Vec<Message> {
        let mut messages = std::mem::take(&mut self.before);
        messages.append(&mut self.after);
        messages
    }
}
