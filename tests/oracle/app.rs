//! The app's side of the channel: what it asked, what it heard, which of its objects live. It
//! hears what mediasoup's JS would hand to it: nothing of an object before its creation is
//! answered, nothing after it closed the object.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use mediasoup_horizontal::channel::{
    Envelope, Message, compose,
    fbs::{message, notification::Notification, response::Response},
    method::{Event, Method},
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
    /// Gone by itself: its producer is.
    Gone,
    /// Gone with its part.
    Lost,
    Refused,
}

#[derive(Debug, Clone)]
pub struct Object {
    /// What made it.
    method: Option<Method>,
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
    /// Whether it was under way when a part was lost.
    pub at_loss: bool,
    pub outcome: Option<Outcome>,
}

impl Made {
    fn waits(&self) -> bool {
        self.outcome.is_none() && matches!(self.call.sent, Sent::Request(..))
    }
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
                let fresh = || Object {
                    method: call.method(),
                    state: State::Asked,
                    parent: parent.clone(),
                    server: server.clone(),
                    events: Vec::new(),
                };
                let object = self.objects.entry(id.clone()).or_insert_with(fresh);
                if !matches!(object.state, State::Asked | State::Open) {
                    *object = fresh();
                }
            }
            Effect::Close(id) => self.close(id, State::Closed),
            Effect::None => {}
        }
        let mut crossed = false;
        for other in self.made.iter_mut().filter(|made| made.waits()) {
            other.crossed = true;
            crossed = true;
        }
        self.made.push(Made { call: call.clone(), crossed, at_loss: false, outcome: None });
        let id = u32::try_from(self.made.len()).expect("few calls");
        BytesMut::from(&call.message(id).into_bytes()[..])
    }

    /// A part is lost now, and with it these transports.
    pub fn loses(&mut self, transports: &[String]) {
        for made in self.made.iter_mut().filter(|made| made.waits()) {
            made.at_loss = true;
        }
        for id in transports {
            self.close(id, State::Lost);
        }
    }

    /// What lived in these transports, and what consumed it.
    pub fn touched(&self, lost: &BTreeSet<&String>) -> BTreeSet<String> {
        let mut touched: BTreeSet<String> = lost.iter().map(|id| (*id).clone()).collect();
        let under = |owner: &Option<String>, touched: &BTreeSet<String>| {
            owner.as_ref().is_some_and(|owner| touched.contains(owner))
        };
        for _ in 0..2 {
            for (id, object) in &self.objects {
                if under(&object.parent, &touched) {
                    touched.insert(id.clone());
                }
            }
            for made in &self.made {
                if let (Effect::Create { id, .. }, Some((_, producer))) =
                    (&made.call.effect, made.call.text.split_once(" of "))
                    && producer.split(' ').next().is_some_and(|id| touched.contains(id))
                {
                    touched.insert(id.clone());
                }
            }
        }
        touched
    }

    /// The Router of a transport.
    pub fn parent(&self, id: &str) -> Option<&str> {
        self.objects.get(id)?.parent.as_deref()
    }

    fn close(&mut self, id: &str, state: State) {
        let Some(object) = self.objects.get_mut(id) else { return };
        if matches!(object.state, State::Closed | State::Gone | State::Lost) {
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
        self.made.iter().filter(|made| made.waits())
    }

    /// Looks at all that is open, and then closes it: the end of a program.
    pub fn epilogue(&self) -> (Vec<Call>, Vec<Call>) {
        use Method as M;

        let open = || self.objects.iter().filter(|(_, object)| object.state == State::Open);
        let mut looks = vec![Call::request("at the end", M::WorkerDump, "", None)];
        let mut closes = Vec::new();
        for (id, object) in open() {
            let Some(made_by) = object.method else { continue };
            let method = match made_by {
                M::WorkerCreateWebrtcserver => M::WebrtcserverDump,
                M::WorkerCreateRouter => M::RouterDump,
                M::TransportProduce => M::ProducerDump,
                M::TransportConsume => M::ConsumerDump,
                M::TransportProduceData => M::DataproducerDump,
                M::TransportConsumeData => M::DataconsumerDump,
                M::RouterCreateActivespeakerobserver | M::RouterCreateAudiolevelobserver => {
                    continue;
                }
                _ => M::TransportDump,
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
