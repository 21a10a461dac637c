//! Steps of a program: calls of the app as the channel sees them, deliveries and deaths.

use std::fmt::{self, Display};

use mediasoup_horizontal::channel::{
    Message, compose,
    fbs::{notification, request::Body},
    method::{self, Event, Method},
};

#[derive(Debug, Clone)]
pub enum Sent {
    Request(Method, String, Option<Body>),
    Notification(Event, String, notification::Body),
}

/// What a call means for the app's objects, as mediasoup's JS keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    None,
    Create { id: String, parent: Option<String>, server: Option<String> },
    Close(String),
}

/// One call of the app.
#[derive(Debug, Clone)]
pub struct Call {
    /// How a person would say it.
    pub text: String,
    pub sent: Sent,
    pub effect: Effect,
}

impl Call {
    pub fn request(
        text: impl Into<String>,
        method: Method,
        handler: &str,
        body: impl Into<Option<Body>>,
    ) -> Self {
        let sent = Sent::Request(method, handler.to_owned(), body.into());
        Self { text: text.into(), sent, effect: Effect::None }
    }

    pub fn creating(mut self, id: &str, parent: Option<&str>, server: Option<&str>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        self.effect =
            Effect::Create { id: id.to_owned(), parent: owned(parent), server: owned(server) };
        self
    }

    pub fn closing(mut self, id: &str) -> Self {
        self.effect = Effect::Close(id.to_owned());
        self
    }

    pub fn method(&self) -> Option<Method> {
        match &self.sent {
            Sent::Request(method, ..) => Some(*method),
            Sent::Notification(..) => None,
        }
    }

    /// The method's name.
    pub fn name(&self) -> &'static str {
        match &self.sent {
            Sent::Request(method, ..) => method::name(*method),
            Sent::Notification(..) => "notification",
        }
    }

    pub fn message(&self, id: u32) -> Message {
        match &self.sent {
            Sent::Request(method, handler, body) => {
                compose::request(id, *method, handler, body.clone())
            }
            Sent::Notification(event, handler, body) => {
                compose::notification(handler, *event, Some(body.clone()))
            }
        }
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Sent::Request(_, handler, _) | Sent::Notification(_, handler, _)) = &self.sent;
        let on = if handler.is_empty() { "worker" } else { handler };
        write!(f, "{} on {on}: {}", self.name(), self.text)
    }
}

/// One step of a program.
#[derive(Debug, Clone)]
pub enum Step {
    Call(Box<Call>),
    /// Some messages of one of the queues that are not empty arrive.
    Deliver {
        queue: usize,
        count: usize,
    },
    /// All that is under way arrives.
    Settle,
    /// Time passes, in seconds.
    Pass(u64),
    /// A part dies. Only in programs with deaths.
    Kill(usize),
    /// The link to a part goes down, or all links are up again.
    LinkDown(usize),
    LinksUp,
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(call) => write!(f, "{call}"),
            Self::Pass(seconds) => write!(f, "  {seconds} s pass"),
            Self::Deliver { queue, count } => write!(f, "  deliver {count} of queue {queue}"),
            Self::Settle => f.write_str("  settle"),
            Self::Kill(part) => write!(f, "  part {part} dies"),
            Self::LinkDown(part) => write!(f, "  the link to part {part} goes down"),
            Self::LinksUp => f.write_str("  all links are up"),
        }
    }
}

/// A program as a person reads it.
pub fn listing(steps: &[Step]) -> String {
    let lines = steps.iter().enumerate().map(|(index, step)| format!("{index:4}  {step}\n"));
    lines.collect()
}
