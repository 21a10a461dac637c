//! Pairs of `PipeTransports` between two parts of a Router, and the pipes in them: one for each
//! Producer and part that it is wanted on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use super::{facts::Socket, objects::PartId, rewriting::Socket as Bound};
use crate::channel::Message;

/// Ids of the core's own objects start with this, so that dumps can leave them out.
const PREFIX: &str = "mediasoup-horizontal:";

/// A fresh id for an object of the core's own.
pub fn own_id() -> String {
    format!("{PREFIX}{}", uuid::Uuid::new_v4())
}

/// Whether an object is the core's own.
pub fn is_own(id: &str) -> bool {
    id.starts_with(PREFIX)
}

/// What the core asked a worker, and needs the answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Own {
    /// Nothing depends on it: closes and settings.
    Any,
    /// The Router on a further part.
    Router(String),
    /// A `WebRtcServer` on a further part.
    Server(String),
    /// The dump of a `WebRtcServer` that is new on a part.
    Look(String),
    /// One end of a pair.
    End {
        pair: u64,
        end: usize,
    },
    Connect {
        pair: u64,
    },
    /// The consume where the Producer lives.
    Source {
        pipe: u64,
    },
    /// The produce where it is wanted.
    Sink {
        pipe: u64,
    },
    /// The consume that takes the place of one that is lost.
    Refeed {
        pipe: u64,
    },
    /// How much goes through it.
    Stats {
        pipe: u64,
    },
    /// The last word of a sink's start from a key frame.
    Resync {
        pipe: u64,
    },
}

#[derive(Debug, Clone)]
pub enum EndState {
    Asked,
    Made(Socket),
    Refused(String),
}

/// One end of a pair.
#[derive(Debug)]
pub struct End {
    pub part: PartId,
    pub transport: String,
    pub state: EndState,
    pub bound: Vec<Bound>,
}

/// A pair of `PipeTransports`. It carries pipes both ways.
#[derive(Debug)]
pub struct Pair {
    pub router: String,
    pub ends: [End; 2],
    /// SRTP and RTX.
    pub between_hosts: bool,
    pub connected: bool,
    /// Both ends are on one part: the first stands in for an end that died, and sends only.
    pub stands_in: bool,
    /// Every SSRC ever used: one that comes back would repeat nonces.
    ssrcs: HashSet<u32>,
    /// SCTP streams in use, by the part that sends.
    streams: BTreeSet<(PartId, u16)>,
}

impl Pair {
    /// The transport of the part that sends.
    pub fn sender(&self, part: PartId) -> Option<&str> {
        self.ends.iter().find(|end| end.part == part).map(|end| end.transport.as_str())
    }

    /// The transport of the part that receives.
    pub fn receiver(&self, part: PartId) -> Option<&str> {
        self.ends.iter().rev().find(|end| end.part == part).map(|end| end.transport.as_str())
    }

    /// An SSRC that this pair never had.
    pub fn fresh_ssrc(&mut self) -> u32 {
        loop {
            let ssrc: u32 = rand::random();
            if ssrc != 0 && self.ssrcs.insert(ssrc) {
                return ssrc;
            }
        }
    }

    /// The lowest free stream of the part that sends.
    fn take_stream(&mut self, from: PartId) -> Option<u16> {
        let free = (0..u16::MAX).find(|stream| !self.streams.contains(&(from, *stream)))?;
        self.streams.insert((from, free));
        Some(free)
    }
}

/// How far a pipe rests while nobody needs its media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rest {
    #[default]
    Awake,
    /// Its pipe consumer is paused.
    Asleep,
    /// Its pipe consumer is resumed; the streams are not all there yet.
    Waking,
}

/// One Producer or `DataProducer` on its way to one part.
#[derive(Debug)]
pub struct Pipe {
    pub router: String,
    pub producer: String,
    pub data: bool,
    pub from: PartId,
    pub to: PartId,
    pub pair: u64,
    /// The pipe that brings the Producer to `from`, unless it lives there.
    pub feeder: Option<u64>,
    /// The pipe consumer on `from`.
    pub consumer: String,
    /// The pipe producer on `to`: the Producer's own id, if it is for the app's consumers.
    pub sink: String,
    /// The SCTP stream of a data pipe.
    pub stream: Option<u16>,
    /// The SSRCs drawn for it, in the order in which a recipe asks for them.
    pub ssrcs: Vec<u32>,
    /// Its sink was asked for.
    pub started: bool,
    /// Its source was asked for.
    pub fed: bool,
    /// Consumers and observers of the app that are fed by it, and pipe consumers.
    pub users: HashSet<String>,
    /// Those of them that are not paused.
    pub active: HashSet<String>,
    /// Requests of the library that go out once it started.
    pub waiting: Vec<Message>,
    /// Observers that moved, and get the Producer again before that.
    pub observers: Vec<String>,
    pub rest: Rest,
    /// When it is to be closed or paused.
    pub due: Option<Duration>,
    /// When its source was lost, while it has none.
    pub lost: Option<Duration>,
    /// Bits per second when it was measured last.
    pub bitrate: Option<u64>,
}

impl Pipe {
    /// A pipe that nothing was asked for yet.
    pub fn new(producer: &str, data: bool, ends: [PartId; 2], pair: u64, router: &str) -> Self {
        let [from, to] = ends;
        Self {
            router: router.to_owned(),
            producer: producer.to_owned(),
            data,
            from,
            to,
            pair,
            feeder: None,
            consumer: own_id(),
            sink: producer.to_owned(),
            stream: None,
            ssrcs: Vec::new(),
            started: false,
            fed: false,
            users: HashSet::new(),
            active: HashSet::new(),
            waiting: Vec::new(),
            observers: Vec::new(),
            rest: Rest::Awake,
            due: None,
            lost: None,
            bitrate: None,
        }
    }

    /// The app's consumers hang on it, not only another pipe.
    pub fn is_visible(&self) -> bool {
        self.sink == self.producer
    }
}

/// All pairs and pipes of a virtual worker.
#[derive(Debug, Default)]
pub struct Pipes {
    last: u64,
    pairs: BTreeMap<u64, Pair>,
    by_id: BTreeMap<u64, Pipe>,
    pair_index: HashMap<(String, PartId, PartId), u64>,
    pipe_index: HashMap<(String, PartId), u64>,
    by_producer: HashMap<String, BTreeSet<u64>>,
    dues: BTreeSet<(Duration, u64)>,
    uses: HashMap<String, BTreeSet<u64>>,
}

impl Pipes {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub fn pair_of(&self, router: &str, one: PartId, other: PartId) -> Option<u64> {
        let key = (router.to_owned(), one.min(other), one.max(other));
        self.pair_index.get(&key).copied()
    }

    /// Notes a pair whose ends are about to be asked for.
    pub fn add_pair(
        &mut self,
        router: &str,
        parts: [PartId; 2],
        between_hosts: bool,
    ) -> (u64, [String; 2]) {
        let id = self.number();
        let transports = [own_id(), own_id()];
        let end = |index: usize| End {
            part: parts[index],
            transport: transports[index].clone(),
            state: EndState::Asked,
            bound: Vec::new(),
        };
        let pair = Pair {
            router: router.to_owned(),
            ends: [end(0), end(1)],
            between_hosts,
            connected: false,
            stands_in: false,
            ssrcs: HashSet::new(),
            streams: BTreeSet::new(),
        };
        let [one, other] = parts;
        self.pair_index.insert((router.to_owned(), one.min(other), one.max(other)), id);
        self.pairs.insert(id, pair);
        (id, transports)
    }

    /// Puts a new end on `part` in the place of the one that died there, and lets it send to the
    /// one that is left. Gives the number of what is a pair of its own from now on.
    pub fn stand_in(&mut self, pair: u64, died: PartId) -> Option<u64> {
        let mut pair = self.remove_pair(pair)?;
        if pair.ends[0].part != died {
            pair.ends.swap(0, 1);
        }
        pair.ends[0] = End {
            part: pair.ends[1].part,
            transport: own_id(),
            state: EndState::Asked,
            bound: Vec::new(),
        };
        pair.connected = false;
        pair.stands_in = true;
        let id = self.number();
        self.pairs.insert(id, pair);
        Some(id)
    }

    pub fn pair(&self, id: u64) -> Option<&Pair> {
        self.pairs.get(&id)
    }

    pub fn pair_mut(&mut self, id: u64) -> Option<&mut Pair> {
        self.pairs.get_mut(&id)
    }

    pub fn remove_pair(&mut self, id: u64) -> Option<Pair> {
        let pair = self.pairs.remove(&id)?;
        self.pair_index.retain(|_, other| *other != id);
        Some(pair)
    }

    /// The pairs that this holds for.
    pub fn pairs_where(&self, wanted: impl Fn(&Pair) -> bool) -> Vec<u64> {
        self.pairs.iter().filter(|(_, pair)| wanted(pair)).map(|(id, _)| *id).collect()
    }

    pub fn pipe_of(&self, producer: &str, to: PartId) -> Option<u64> {
        self.pipe_index.get(&(producer.to_owned(), to)).copied()
    }

    /// Notes a pipe. It starts when its pair is connected.
    pub fn add_pipe(&mut self, mut pipe: Pipe) -> u64 {
        let id = self.number();
        if pipe.data {
            pipe.stream =
                self.pairs.get_mut(&pipe.pair).and_then(|pair| pair.take_stream(pipe.from));
        }
        if pipe.is_visible() {
            self.pipe_index.insert((pipe.producer.clone(), pipe.to), id);
        }
        self.by_producer.entry(pipe.producer.clone()).or_default().insert(id);
        self.by_id.insert(id, pipe);
        id
    }

    pub fn pipe(&self, id: u64) -> Option<&Pipe> {
        self.by_id.get(&id)
    }

    pub fn pipe_mut(&mut self, id: u64) -> Option<&mut Pipe> {
        self.by_id.get_mut(&id)
    }

    /// All pipes, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Pipe> {
        self.by_id.values()
    }

    /// The pipes that this holds for, oldest first.
    pub fn pipes_where(&self, wanted: impl Fn(&Pipe) -> bool) -> Vec<u64> {
        self.by_id.iter().filter(|(_, pipe)| wanted(pipe)).map(|(id, _)| *id).collect()
    }

    pub fn remove_pipe(&mut self, id: u64) -> Option<Pipe> {
        let pipe = self.by_id.remove(&id)?;
        if let Some(due) = pipe.due {
            self.dues.remove(&(due, id));
        }
        if pipe.is_visible() {
            self.pipe_index.remove(&(pipe.producer.clone(), pipe.to));
        }
        if let Some(pipes) = self.by_producer.get_mut(&pipe.producer) {
            pipes.remove(&id);
            if pipes.is_empty() {
                self.by_producer.remove(&pipe.producer);
            }
        }
        if let (Some(stream), Some(pair)) = (pipe.stream, self.pairs.get_mut(&pipe.pair)) {
            pair.streams.remove(&(pipe.from, stream));
        }
        for user in &pipe.users {
            self.drop_use(user, id);
        }
        Some(pipe)
    }

    fn drop_use(&mut self, user: &str, pipe: u64) {
        if let Some(uses) = self.uses.get_mut(user) {
            uses.remove(&pipe);
            if uses.is_empty() {
                self.uses.remove(user);
            }
        }
    }

    /// All pipes of a Producer, oldest first.
    pub fn pipes_of(&self, producer: &str) -> impl Iterator<Item = (u64, &Pipe)> {
        let ids = self.by_producer.get(producer).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.by_id.get(id)?)))
    }

    /// The pipes that this one feeds.
    pub fn fed_by(&self, feeder: u64) -> Vec<u64> {
        let Some(producer) = self.by_id.get(&feeder).map(|pipe| pipe.producer.as_str()) else {
            return Vec::new();
        };
        let fed = self.pipes_of(producer).filter(|(_, pipe)| pipe.feeder == Some(feeder));
        fed.map(|(id, _)| id).collect()
    }

    /// Notes that something is fed by the pipe.
    pub fn add_user(&mut self, pipe: u64, user: &str) {
        if let Some(found) = self.by_id.get_mut(&pipe) {
            found.users.insert(user.to_owned());
            self.uses.entry(user.to_owned()).or_default().insert(pipe);
        }
    }

    /// Ends that use. False if there was none.
    pub fn remove_user(&mut self, pipe: u64, user: &str) -> bool {
        self.drop_use(user, pipe);
        let Some(pipe) = self.by_id.get_mut(&pipe) else { return false };
        pipe.active.remove(user);
        pipe.users.remove(user)
    }

    /// Sets when the pipe is to be closed or paused.
    pub fn set_due(&mut self, pipe: u64, due: Option<Duration>) {
        let Some(found) = self.by_id.get_mut(&pipe) else { return };
        let before = std::mem::replace(&mut found.due, due);
        if let Some(before) = before {
            self.dues.remove(&(before, pipe));
        }
        if let Some(due) = due {
            self.dues.insert((due, pipe));
        }
    }

    /// The pipe that is due first.
    pub fn first_due(&self) -> Option<(Duration, u64)> {
        self.dues.first().copied()
    }

    /// The pipes that feed a consumer or observer.
    pub fn uses(&self, user: &str) -> Vec<u64> {
        self.uses.get(user).into_iter().flatten().copied().collect()
    }

    /// Whether nothing is left.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
            && self.by_id.is_empty()
            && self.uses.is_empty()
            && self.by_producer.is_empty()
            && self.dues.is_empty()
    }
}
