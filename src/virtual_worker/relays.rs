//! Which part feeds a pipe: media crosses to a host once, and goes from part to part there; a part
//! that feeds enough others leaves further ones to those that have the Producer already.

use super::{PartId, VirtualWorker};

/// Where a pipe begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feed {
    pub from: PartId,
    /// The pipe that brings the Producer there, unless it lives there.
    pub feeder: Option<u64>,
}

impl VirtualWorker {
    /// The part that a new pipe to `to` begins on. `without`: nothing that this pipe feeds will do.
    ///
    /// Data goes straight: it is little, and an association that ends with its relay could not be
    /// taken over as RTP can.
    pub(super) fn feed(&self, producer: &str, to: PartId, without: Option<u64>) -> Option<Feed> {
        let origin = self.objects.get(producer)?.part;
        let straight = Feed { from: origin, feeder: None };
        if self.facts.data.contains_key(producer) {
            return Some(straight);
        }
        let relays = self
            .pipes
            .pipes_of(producer)
            .filter(|(_, pipe)| pipe.is_visible() && pipe.to != to && self.host(pipe.to).is_some());
        let relays = relays.filter_map(|(id, pipe)| {
            let depth = self.depth(id, origin, without)?;
            Some((depth, Feed { from: pipe.to, feeder: Some(id) }))
        });
        let mut feeds: Vec<_> = std::iter::once((0, straight)).chain(relays).collect();
        // A part out of reach would begin too late; from one that can be reached it comes now.
        let reached = |feed: &Feed| self.parts.is_up(feed.from);
        if self.parts.is_up(to) && feeds.iter().any(|(_, feed)| reached(feed)) {
            feeds.retain(|(_, feed)| reached(feed));
        }
        // Nor is a relay whose host means to leave taken where another will do.
        let stays = |feed: &Feed| feed.from == origin || !self.growth.drains(feed.from);
        if feeds.iter().any(|(_, feed)| stays(feed)) {
            feeds.retain(|(_, feed)| stays(feed));
        }
        let near = feeds.iter().filter(|(_, feed)| !self.crosses(feed.from, to)).copied();
        let near: Vec<_> = near.collect();
        let feeds = if near.is_empty() { feeds } else { near };
        let most = self.spread.max_fan_out.max(1);
        let load = |feed: &Feed| self.fan_out(producer, feed.from);
        // The oldest of those that are equally near.
        let free = feeds.iter().filter(|(_, feed)| load(feed) < most);
        let best = free.min_by_key(|(depth, _)| *depth);
        let best = best.or_else(|| feeds.iter().min_by_key(|(depth, feed)| (load(feed), *depth)));
        Some(best.map_or(straight, |(_, feed)| *feed))
    }

    /// Whether two parts are on different hosts.
    pub(super) fn crosses(&self, one: PartId, other: PartId) -> bool {
        let key = |part| self.host(part).map(|host| &host.key);
        key(one) != key(other)
    }

    /// How many pipes lie between a pipe's sink and the Producer. `None`: it leads nowhere, or
    /// hangs on the one to do without.
    fn depth(&self, pipe: u64, origin: PartId, without: Option<u64>) -> Option<usize> {
        let mut depth = 0;
        let mut next = Some(pipe);
        while let Some(id) = next {
            if Some(id) == without {
                return None;
            }
            let pipe = self.pipes.pipe(id)?;
            depth += 1;
            if pipe.feeder.is_none() && pipe.from != origin {
                return None;
            }
            next = pipe.feeder;
        }
        Some(depth)
    }

    /// How many other parts a part feeds with a Producer.
    fn fan_out(&self, producer: &str, from: PartId) -> usize {
        let fed = |pipe: &super::pipes::Pipe| pipe.from == from && pipe.to != from;
        self.pipes.pipes_of(producer).filter(|(_, pipe)| fed(pipe)).count()
    }
}
