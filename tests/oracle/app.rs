//! The app's side of the channel: what it asked, what it heard, which of its objects live. It
//! hears what mediasoup's JS would hand to it: nothing of an object before its creation is
//! answered, nothing after it closed the object.

use std::collections::BTreeMap;

use bytes::BytesMut;
use mediasoup_horizontal::channel::{
    Envelope, Message, compose,
    fbs::{message, notification::Notification, response::Response},
    method::Event,
};

use crate::calls::{Call, Effect, Sent};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The body, in its `Debug` form.
    Accepted(String),
    Refused(String, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Asked,
    Open,
    /// Closed by the app.
    Closed,
    /// Gone by itself: its producer or its part is.
    Gone,
    Refused,
}

#[derive(Debug, Clone)]
pub struct Object {
    pub state: State,
    parent: Option<String>,
    server: Option<String>,
    pub events: Vec<(Event, String)>,
}

/// A call with its result.
#[derive(Debug)]
pub struct Made {
    pub call: Call,
    /// Whether others were under way together with it.
    pub crossed: bool,
    pub outcome: Option<Outcome>,
}

#[derive(Debug, Default)]
pub struct App {
    pub made: Vec<Made>,
    pub objects: BTreeMap<String, Object>,
    /// What no app should ever hear.
    pub wrong: Vec<String>,
}

impl App {
    /// Notes a call and gives the message for it.
    pub fn call(&mut self, call: &Call) -> BytesMut {
        match &call.effect {
            Effect::Create { id, parent, server } => {
                self.objects.entry(id.clone()).or_insert_with(|| Object {
                    state: State::Asked,
                    parent: parent.clone(),
                    server: server.clone(),
                    events: Vec::new(),
                });
            }
            Effect::Close(id) => self.close(id, State::Closed),
            Effect::None => {}
        }
        let crossed = self.unanswered().next().is_some();
        // What is made after a call crosses it as well.
        for made in &mut self.made {
            made.crossed |= made.outcome.is_none();
        }
        self.made.push(Made { call: call.clone(), crossed, outcome: None });
        let id = u32::try_from(self.made.len()).expect("few calls");
        BytesMut::from(&call.message(id).into_bytes()[..])
    }

    fn close(&mut self, id: &str, state: State) {
        let Some(object) = self.objects.get_mut(id) else { return };
        if matches!(object.state, State::Closed | State::Gone) {
            return;
        }
        object.state = state;
        let under = |object: &Object| {
            [&object.parent, &object.server].into_iter().flatten().any(|owner| owner == id)
        };
        let under: Vec<_> = self
            .objects
            .iter()
            .filter(|(_, object)| under(object))
            .map(|(id, _)| id.clone())
            .collect();
        for id in under {
            self.close(&id, state);
        }
    }

    /// Takes one message that reaches the app's process.
    pub fn hear(&mut self, bytes: &[u8]) {
        let message = match Message::parse(BytesMut::from(bytes)) {
            Ok(message) => message,
            Err(error) => return self.wrong.push(format!("a message that is none: {error}")),
        };
        if matches!(message.envelope(), Envelope::Log(_)) {
            return;
        }
        match compose::to_owned(&message) {
            Ok(message::Body::Response(response)) => self.answer(*response),
            Ok(message::Body::Notification(notification)) => self.notification(*notification),
            other => self.wrong.push(format!("not for an app: {other:?}")),
        }
    }

    fn answer(&mut self, response: Response) {
        let index = usize::try_from(response.id).expect("it fits").wrapping_sub(1);
        let Some(made) = self.made.get_mut(index) else {
            return self.wrong.push(format!("an answer to nothing: {response:?}"));
        };
        if made.outcome.is_some() || matches!(made.call.sent, Sent::Notification(..)) {
            return self.wrong.push(format!("a second answer to call {index}, {}", made.call));
        }
        made.outcome = Some(if response.accepted {
            Outcome::Accepted(format!("{:?}", response.body))
        } else {
            Outcome::Refused(
                response.error.unwrap_or_default(),
                response.reason.unwrap_or_default(),
            )
        });
        if let Effect::Create { id, .. } = &made.call.effect
            && let Some(object) = self.objects.get_mut(id)
            && object.state == State::Asked
        {
            object.state = if response.accepted { State::Open } else { State::Refused };
        }
    }

    fn notification(&mut self, notification: Notification) {
        let Notification { handler_id: id, event, body } = notification;
        if event == Event::WorkerRunning {
            return;
        }
        let Some(object) = self.objects.get_mut(&id) else {
            return self.wrong.push(format!("{event:?} of a stranger, {id}"));
        };
        if object.state != State::Open {
            return;
        }
        object.events.push((event, format!("{body:?}")));
        if matches!(event, Event::ConsumerProducerClose | Event::DataconsumerDataproducerClose) {
            self.close(&id, State::Gone);
        }
    }

    /// Whether a call needs an object whose creation is not answered yet.
    pub fn uses_what_is_asked_for(&self, call: &Call) -> bool {
        let (Sent::Request(_, handler, _) | Sent::Notification(_, handler, _)) = &call.sent;
        call.text
            .split(' ')
            .chain([handler.as_str()])
            .filter_map(|id| self.objects.get(id))
            .any(|object| object.state == State::Asked)
    }

    /// Calls that nobody answered.
    pub fn unanswered(&self) -> impl Iterator<Item = &Made> {
        self.made
            .iter()
            .filter(|made| made.outcome.is_none() && matches!(made.call.sent, Sent::Request(..)))
    }

    /// Looks at all that is open, and then closes it: the end of a program.
    pub fn epilogue(&self) -> (Vec<Call>, Vec<Call>) {
        use mediasoup_horizontal::channel::method::Method as M;
        let open = || self.objects.iter().filter(|(_, object)| object.state == State::Open);
        let mut looks = vec![Call::request("at the end", M::WorkerDump, "", None)];
        let mut closes = Vec::new();
        for (id, _) in open() {
            let method = match id.split('-').next() {
                Some("server") => M::WebrtcserverDump,
                Some("router") => M::RouterDump,
                Some("transport") => M::TransportDump,
                Some("producer") => M::ProducerDump,
                Some("consumer") => M::ConsumerDump,
                Some("dataproducer") => M::DataproducerDump,
                Some("dataconsumer") => M::DataconsumerDump,
                _ => continue,
            };
            looks.push(Call::request("at the end", method, id, None));
            let (method, body) = match method {
                M::WebrtcserverDump => {
                    (M::WorkerWebrtcserverClose, crate::bodies::close_server(id))
                }
                M::RouterDump => (M::WorkerCloseRouter, crate::bodies::close_router(id)),
                _ => continue,
            };
            closes.push(Call::request(id, method, "", body).closing(id));
        }
        closes.push(Call::request("after all closes", M::WorkerDump, "", None));
        (looks, closes)
    }
}
