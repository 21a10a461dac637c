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
}

#[derive(Debug)]
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
    /// Every SSRC ever used: one that comes back would repeat nonces.
    ssrcs: HashSet<u32>,
    /// SCTP streams in use, by the part that sends.
    streams: BTreeSet<(PartId, u16)>,
}

impl Pair {
    /// The transport on that part.
    pub fn transport(&self, part: PartId) -> Option<&str> {
        self.ends.iter().find(|end| end.part == part).map(|end| end.transport.as_str())
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

/// One Producer or `DataProducer` on its way to one part.
#[derive(Debug)]
pub struct Pipe {
    pub router: String,
    pub producer: String,
    pub data: bool,
    pub from: PartId,
    pub to: PartId,
    pub pair: u64,
    /// The pipe consumer where the Producer lives.
    pub consumer: String,
    /// The SCTP stream of a data pipe.
    pub stream: Option<u16>,
    /// Its requests left.
    pub started: bool,
    /// Consumers and observers of the app that are fed by it.
    pub users: HashSet<String>,
    /// Requests of the library that go out once it started.
    pub waiting: Vec<Message>,
    /// Observers that moved, and get the Producer again before that.
    pub observers: Vec<String>,
    pub idle_since: Option<Duration>,
}

/// All pairs and pipes of a virtual worker.
#[derive(Debug, Default)]
pub struct Pipes {
    last: u64,
    pairs: BTreeMap<u64, Pair>,
    by_id: BTreeMap<u64, Pipe>,
    pair_index: HashMap<(String, PartId, PartId), u64>,
    pipe_index: HashMap<(String, PartId), u64>,
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
            ssrcs: HashSet::new(),
            streams: BTreeSet::new(),
        };
        let [one, other] = parts;
        self.pair_index.insert((router.to_owned(), one.min(other), one.max(other)), id);
        self.pairs.insert(id, pair);
        (id, transports)
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
        self.pipe_index.insert((pipe.producer.clone(), pipe.to), id);
        self.by_id.insert(id, pipe);
        id
    }

    pub fn pipe(&self, id: u64) -> Option<&Pipe> {
        self.by_id.get(&id)
    }

    pub fn pipe_mut(&mut self, id: u64) -> Option<&mut Pipe> {
        self.by_id.get_mut(&id)
    }

    /// The pipes that this holds for, oldest first.
    pub fn pipes_where(&self, wanted: impl Fn(&Pipe) -> bool) -> Vec<u64> {
        self.by_id.iter().filter(|(_, pipe)| wanted(pipe)).map(|(id, _)| *id).collect()
    }

    pub fn remove_pipe(&mut self, id: u64) -> Option<Pipe> {
        let pipe = self.by_id.remove(&id)?;
        self.pipe_index.retain(|_, other| *other != id);
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

    /// Notes that a consumer or observer is fed by the pipe.
    pub fn add_user(&mut self, pipe: u64, user: &str) {
        if let Some(found) = self.by_id.get_mut(&pipe) {
            found.users.insert(user.to_owned());
            found.idle_since = None;
            self.uses.entry(user.to_owned()).or_default().insert(pipe);
        }
    }

    /// Ends that use. True if it was the pipe's last one.
    pub fn remove_user(&mut self, pipe: u64, user: &str) -> bool {
        self.drop_use(user, pipe);
        let Some(pipe) = self.by_id.get_mut(&pipe) else { return false };
        pipe.users.remove(user) && pipe.users.is_empty()
    }

    /// The pipes that feed a consumer or observer.
    pub fn uses(&self, user: &str) -> Vec<u64> {
        self.uses.get(user).into_iter().flatten().copied().collect()
    }

    /// Whether nothing is left.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.by_id.is_empty() && self.uses.is_empty()
    }
}
