//! Drives a mock worker and checks what any answer must hold to.

use bytes::BytesMut;
use mediasoup_horizontal::{
    channel::{
        Envelope, Message,
        compose::{self, ErrorKind},
        fbs::{message, notification, request, response},
        method::{Event, Method},
    },
    mock_worker::{LogLevel, MockHost, MockOptions, MockWorker, Settings},
};

/// What came of one message.
#[derive(Debug)]
pub struct Reply {
    /// Notifications before the answer, and after it.
    pub before: Vec<notification::Notification>,
    pub answer: Option<response::Response>,
    pub after: Vec<notification::Notification>,
    pub logs: Vec<String>,
}

impl Reply {
    /// The body of an accepted answer.
    pub fn accepted(self) -> Option<response::Body> {
        let answer = self.answer.expect("an answer");
        assert!(answer.accepted, "refused: {:?}", answer.reason);
        answer.body
    }

    /// The class and the words of a refusal.
    pub fn refused(self) -> (String, String) {
        let answer = self.answer.expect("an answer");
        assert!(!answer.accepted, "accepted");
        (answer.error.expect("a class"), answer.reason.expect("a reason"))
    }

    pub fn is_accepted(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.accepted)
    }

    /// Who heard what before the answer.
    pub fn events(&self) -> Vec<(&str, Event)> {
        self.before.iter().map(|n| (n.handler_id.as_str(), n.event)).collect()
    }
}

/// Checks a refusal.
pub fn assert_refused(reply: Reply, kind: ErrorKind, reason: &str) {
    assert_eq!(reply.refused(), (kind.name().to_owned(), reason.to_owned()));
}

/// A message as it arrives on the other side.
pub fn reparse(message: Message) -> Message {
    Message::parse(BytesMut::from(&message.into_bytes()[..])).expect("it verifies")
}

/// A mock worker with a counter of requests.
pub struct Bench {
    pub worker: MockWorker,
    pub host: MockHost,
    next_id: u32,
}

impl Bench {
    pub fn new() -> Self {
        Self::on(MockHost::new())
    }

    pub fn on(host: MockHost) -> Self {
        // Without logs, so that every message counts.
        let settings = Settings { log_level: LogLevel::None, ..Settings::default() };
        let options = MockOptions { pid: 77, seed: 5, settings, host: host.clone() };
        Self { worker: MockWorker::new(options), host, next_id: 0 }
    }

    pub fn request(
        &mut self,
        method: Method,
        handler_id: &str,
        body: impl Into<Option<request::Body>>,
    ) -> Reply {
        self.next_id += 1;
        let message = compose::request(self.next_id, method, handler_id, body.into());
        let reply = self.send(message);
        let answer = reply.answer.as_ref().expect("every request is answered");
        assert_eq!(answer.id, self.next_id, "the id echoes");
        assert_eq!(answer.accepted, answer.error.is_none());
        assert_eq!(answer.accepted, answer.reason.is_none());
        reply
    }

    /// A request that must succeed.
    pub fn call(
        &mut self,
        method: Method,
        handler_id: &str,
        body: impl Into<Option<request::Body>>,
    ) -> Option<response::Body> {
        self.request(method, handler_id, body).accepted()
    }

    pub fn notify(&mut self, event: Event, handler_id: &str, body: notification::Body) -> Reply {
        let reply = self.send(compose::notification(handler_id, event, Some(body)));
        assert!(reply.answer.is_none(), "a notification has no answer");
        reply
    }

    fn send(&mut self, message: Message) -> Reply {
        let mut reply =
            Reply { before: Vec::new(), answer: None, after: Vec::new(), logs: Vec::new() };
        for message in self.worker.handle(&reparse(message)) {
            let message = reparse(message);
            match compose::to_owned(&message).expect("it decodes") {
                message::Body::Response(response) => {
                    assert!(reply.answer.is_none(), "answered twice");
                    assert!(matches!(message.envelope(), Envelope::Response(_)));
                    reply.answer = Some(*response);
                }
                message::Body::Notification(notification) => match reply.answer {
                    None => reply.before.push(*notification),
                    Some(_) => reply.after.push(*notification),
                },
                message::Body::Log(log) => reply.logs.push(log.data),
                message::Body::Request(_) => panic!("a worker asks nothing"),
            }
        }
        reply
    }
}
