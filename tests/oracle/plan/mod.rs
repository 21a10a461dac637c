//! Raw programs become calls: ids are given, and what a call needs is made before it. All this
//! without asking a worker, so that every run of a program sends the same.

use mediasoup_horizontal::channel::method::Method;

use crate::{
    bodies::{self, Media},
    calls::{Call, Step},
    program::{Act, Raw, Wrong},
};

mod media;
mod objects;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Server,
    Router,
    WebRtc,
    Plain,
    Pipe,
    Direct,
    Observer,
    Producer(Media, u32),
    Consumer(Media, bool),
    DataProducer,
    DataConsumer,
}

impl Kind {
    fn is_transport(self) -> bool {
        matches!(self, Self::WebRtc | Self::Plain | Self::Pipe | Self::Direct)
    }
}

#[derive(Debug, Clone)]
struct Thing {
    id: String,
    kind: Kind,
    parent: Option<String>,
    router: String,
    server: Option<String>,
    /// What a consumer consumes.
    source: Option<String>,
}

/// What a program may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Packets and messages put in by hand. Mock workers carry nothing over a pipe.
    pub media: bool,
    /// Only what a real worker answers at once and alike.
    pub real: bool,
    /// Ids that are taken may be asked for again.
    pub taken: bool,
}

pub struct Planner {
    limits: Limits,
    things: Vec<Thing>,
    closed: Vec<Thing>,
    next: u32,
    steps: Vec<Step>,
    /// Methods that are left out, to look past a failure that is known.
    without: String,
}

const WITHOUT: &str = "MEDIASOUP_HORIZONTAL_ORACLE_WITHOUT";

/// Makes the program.
pub fn plan(raw: &[Raw], limits: Limits) -> Vec<Step> {
    let mut planner = Planner {
        limits,
        things: Vec::new(),
        closed: Vec::new(),
        next: 0,
        steps: Vec::new(),
        without: std::env::var(WITHOUT).unwrap_or_default(),
    };
    for step in raw {
        match step {
            Raw::Call { act, who, whom, flavour, wrong } => {
                let pick = Pick { who: *who, whom: *whom, flavour: *flavour, wrong: *wrong };
                planner.call(*act, pick);
            }
            Raw::Other(step) => planner.steps.push(step.clone()),
        }
    }
    planner.steps
}

#[derive(Debug, Clone, Copy)]
struct Pick {
    who: usize,
    whom: usize,
    flavour: usize,
    wrong: Wrong,
}

impl Pick {
    fn right(self) -> Self {
        Self { wrong: Wrong::Nothing, ..self }
    }
}

impl Planner {
    fn push(&mut self, call: Call) {
        if self.without.split(',').any(|name| name == call.name()) {
            return;
        }
        self.steps.push(Step::Call(Box::new(call)));
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// An id for something new, unless the call is wrong: then one that is taken.
    fn new_id(&mut self, prefix: &str, pick: Pick) -> String {
        let number = self.number();
        if self.limits.taken && pick.wrong == Wrong::Stale && !self.things.is_empty() {
            return self.things[pick.whom % self.things.len()].id.clone();
        }
        format!("{prefix}-{number}")
    }

    fn some(&self, index: usize, wanted: impl Fn(&Thing) -> bool) -> Option<Thing> {
        let found: Vec<_> = self.things.iter().filter(|thing| wanted(thing)).collect();
        (!found.is_empty()).then(|| found[index % found.len()].clone())
    }

    /// The object that a call goes to, as wrong as the call is to be.
    fn target(&self, index: usize, wrong: Wrong, wanted: impl Fn(&Thing) -> bool) -> Option<Thing> {
        let right = self.some(index, &wanted)?;
        Some(match wrong {
            Wrong::Nothing => right,
            Wrong::Unknown => Thing { id: "nobody".to_owned(), ..right },
            Wrong::Stale => {
                let closed: Vec<_> = self.closed.iter().filter(|thing| wanted(thing)).collect();
                if closed.is_empty() { right } else { closed[index % closed.len()].clone() }
            }
        })
    }

    fn add(&mut self, thing: Thing) {
        if self.things.iter().all(|other| other.id != thing.id) {
            self.things.push(thing);
        }
    }

    /// What closes with an object, in the plan.
    fn remove(&mut self, id: &str) {
        let (gone, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.things).into_iter().partition(|thing| thing.id == id);
        self.things = rest;
        for thing in gone {
            let under = |other: &Thing| {
                [&other.parent, &other.server, &other.source]
                    .into_iter()
                    .flatten()
                    .any(|owner| *owner == thing.id)
            };
            let under: Vec<_> =
                self.things.iter().filter(|other| under(other)).map(|t| t.id.clone()).collect();
            for id in under {
                self.remove(&id);
            }
            self.closed.push(thing);
        }
    }

    fn router(&mut self, pick: Pick) -> Thing {
        if self.some(0, |thing| thing.kind == Kind::Router).is_none() {
            self.create_router(pick.right());
        }
        self.target(pick.who, pick.wrong, |thing| thing.kind == Kind::Router)
            .expect("there is one now")
    }

    fn transport(&mut self, index: usize, pick: Pick, wanted: impl Fn(&Thing) -> bool) -> Thing {
        let wanted = |thing: &Thing| thing.kind.is_transport() && wanted(thing);
        if self.some(0, wanted).is_none() {
            self.create_transport(Act::WebRtc, pick.right());
        }
        self.target(index, pick.wrong, wanted)
            .or_else(|| self.some(index, |thing| thing.kind.is_transport()))
            .expect("there is one now")
    }

    fn create_router(&mut self, pick: Pick) {
        let id = self.new_id("router", pick);
        self.push(
            Call::request(&id, Method::WorkerCreateRouter, "", bodies::create_router(&id))
                .creating(&id, None, None),
        );
        self.add(Thing {
            id: id.clone(),
            kind: Kind::Router,
            parent: None,
            router: id,
            server: None,
            source: None,
        });
    }

    fn call(&mut self, act: Act, pick: Pick) {
        match act {
            Act::CreateRouter => self.create_router(pick),
            Act::CreateServer => self.create_server(pick),
            Act::WebRtc | Act::WebRtcWithServer | Act::Plain | Act::Pipe | Act::Direct => {
                self.create_transport(act, pick);
            }
            Act::ActiveSpeaker | Act::AudioLevel => self.create_observer(act, pick),
            Act::Produce => self.produce(pick),
            Act::Consume => self.consume(pick),
            Act::ProduceData => self.produce_data(pick),
            Act::ConsumeData => self.consume_data(pick),
            Act::AddProducer | Act::RemoveProducer => self.observe(act, pick),
            Act::PreferLayers | Act::Priority | Act::KeyFrame => self.consumer_call(act, pick),
            Act::Send => self.send(pick),
            Act::Pause | Act::Resume | Act::Dump | Act::Stats | Act::Trace => {
                self.object_call(act, pick);
            }
            Act::Subchannels => self.subchannels(pick),
            Act::Bitrate | Act::RestartIce | Act::Connect => self.transport_call(act, pick),
            Act::WorkerRequest => self.worker_call(pick),
            _ => self.close(act, pick),
        }
    }
}
