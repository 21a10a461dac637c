//! What a virtual worker shows of itself to the people who run it.

use std::collections::{BTreeMap, HashSet};

use channel_schema::fbs::{response, rtp_stream};
use serde::Serialize;

use super::{
    ObjectKind, Output, PartId, VirtualWorker,
    pipes::{Own, Pipe, Rest},
};
use crate::channel::{
    Message,
    compose::{self, DecodeError},
    fbs::request::Method,
};

/// How many objects of each kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub web_rtc_servers: usize,
    pub routers: usize,
    pub transports: usize,
    pub rtp_observers: usize,
    pub producers: usize,
    pub consumers: usize,
    pub data_producers: usize,
    pub data_consumers: usize,
}

impl Counts {
    fn add(&mut self, kind: ObjectKind) {
        *match kind {
            ObjectKind::WebRtcServer => &mut self.web_rtc_servers,
            ObjectKind::Router => &mut self.routers,
            ObjectKind::Transport => &mut self.transports,
            ObjectKind::RtpObserver => &mut self.rtp_observers,
            ObjectKind::Producer => &mut self.producers,
            ObjectKind::Consumer => &mut self.consumers,
            ObjectKind::DataProducer => &mut self.data_producers,
            ObjectKind::DataConsumer => &mut self.data_consumers,
        } += 1;
    }
}

/// One real worker behind the virtual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartView {
    pub part: PartId,
    /// Routers are born here.
    pub home: bool,
    /// False while it is being started.
    pub open: bool,
    /// What the app has there.
    pub counts: Counts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterView {
    pub id: String,
    /// Its own part first.
    pub parts: Vec<PartId>,
    pub counts: Counts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct PipeView {
    pub router: String,
    pub producer: String,
    pub data: bool,
    pub from: PartId,
    pub to: PartId,
    /// Another pipe brings the Producer to where this one begins.
    pub relayed: bool,
    /// Its requests were sent.
    pub started: bool,
    pub users: usize,
    /// Those of them that are not paused.
    pub active: usize,
    /// It rests, because nobody needs its media.
    pub paused: bool,
    /// Bits per second when it was measured last.
    pub bitrate: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectView {
    pub kind: ObjectKind,
    pub id: String,
    pub part: PartId,
    pub router: Option<String>,
    pub transport: Option<&'static str>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    pub counts: Counts,
    pub parts: Vec<PartView>,
    pub routers: Vec<RouterView>,
    pub pipes: Vec<PipeView>,
    /// Empty unless they were asked for.
    pub objects: Vec<ObjectView>,
    /// Requests that wait for an answer, the core's own too.
    pub under_way: usize,
}

impl VirtualWorker {
    /// What there is now. `objects`: name every one.
    pub fn census(&self, objects: bool) -> Census {
        let mut counts = Counts::default();
        let mut on: BTreeMap<PartId, Counts> = BTreeMap::new();
        let mut within: BTreeMap<&str, Counts> = BTreeMap::new();
        let mut views = Vec::new();
        for (id, object) in self.objects.iter().filter(|(_, object)| object.told) {
            counts.add(object.kind);
            on.entry(object.part).or_default().add(object.kind);
            let router = self.objects.router_of(id);
            if let Some(router) = router {
                within.entry(router).or_default().add(object.kind);
            }
            if objects {
                views.push(ObjectView {
                    kind: object.kind,
                    id: id.to_owned(),
                    part: object.part,
                    router: router.map(str::to_owned),
                    transport: object.transport,
                });
            }
        }
        let parts = self.parts.all().into_iter().map(|part| PartView {
            part,
            home: part == self.home,
            open: self.parts.is_open(part),
            counts: on.get(&part).copied().unwrap_or_default(),
        });
        let routers = within.into_iter().filter_map(|(id, counts)| {
            let own = self.objects.get(id)?.part;
            let facts = self.facts.routers.get(id);
            let others = facts.into_iter().flat_map(|facts| &facts.parts);
            let others = others.copied().filter(|part| *part != own);
            let parts = std::iter::once(own).chain(others).collect();
            Some(RouterView { id: id.to_owned(), parts, counts })
        });
        Census {
            counts,
            parts: parts.collect(),
            routers: routers.collect(),
            pipes: self.pipes.all().map(view).collect(),
            objects: views,
            under_way: self.requests.len(),
        }
    }

    /// Asks the workers how much goes through the pipes. [`VirtualWorker::measuring`] tells when
    /// they have answered; what a worker does not answer stays as it was.
    pub fn measure_pipes(&mut self, out: &mut Vec<Output>) {
        self.measured.clear();
        for id in self.pipes.pipes_where(|pipe| pipe.fed && pipe.lost.is_none() && !pipe.data) {
            let Some(pipe) = self.pipes.pipe(id) else { continue };
            let (from, consumer) = (pipe.from, pipe.consumer.clone());
            if self.parts.is_up(from) {
                self.measured.insert(id);
                let own = Own::Stats { pipe: id };
                self.ask(from, Method::ConsumerGetStats, &consumer, None, own, out);
            }
        }
    }

    /// Whether a worker has yet to answer.
    pub fn measuring(&self) -> bool {
        self.measured.iter().any(|pipe| self.pipes.pipe(*pipe).is_some())
    }

    /// Takes what a worker says of a pipe's consumer.
    pub(super) fn pipe_stats(&mut self, id: u64, answer: &Message) {
        self.measured.remove(&id);
        if let (Some(pipe), Ok(bitrate)) = (self.pipes.pipe_mut(id), bitrate(answer)) {
            pipe.bitrate = bitrate;
        }
    }
}

/// The pipes whose consumers' stats are asked for.
pub type Measured = HashSet<u64>;

fn view(pipe: &Pipe) -> PipeView {
    PipeView {
        router: pipe.router.clone(),
        producer: pipe.producer.clone(),
        data: pipe.data,
        from: pipe.from,
        to: pipe.to,
        relayed: pipe.feeder.is_some(),
        started: pipe.started,
        users: pipe.users.len(),
        active: pipe.active.len(),
        paused: pipe.rest == Rest::Asleep,
        bitrate: pipe.bitrate,
    }
}

/// What the streams of a consumer take together. A refusal says nothing.
fn bitrate(answer: &Message) -> Result<Option<u64>, DecodeError> {
    let response::BodyRef::ConsumerGetStatsResponse(stats) = compose::response_body(answer)? else {
        return Ok(None);
    };
    let mut sum = 0_u64;
    for stats in stats.stats()? {
        if let rtp_stream::StatsDataRef::SendStats(sent) = stats?.data()? {
            sum = sum.saturating_add(sent.bitrate()?);
        }
    }
    Ok(Some(sum))
}
