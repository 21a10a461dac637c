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
    /// taken over as RTP can. So does media to another host: a new sender would have other keys.
    pub(super) fn feed(&self, producer: &str, to: PartId, without: Option<u64>) -> Option<Feed> {
        let origin = self.objects.get(producer)?.part;
        let straight = Feed { from: origin, feeder: None };
        if self.facts.data.contains_key(producer) {
            return Some(straight);
        }
        let host = &self.host(to)?.key;
        let near = |part| self.host(part).is_some_and(|other| other.key == *host);
        let mut feeds = Vec::new();
        if near(origin) {
            feeds.push((0, straight));
        }
        for (id, pipe) in self.pipes.pipes_of(producer) {
            if pipe.is_visible()
                && pipe.to != to
                && near(pipe.to)
                && let Some(depth) = self.depth(id, origin, without)
            {
                feeds.push((depth, Feed { from: pipe.to, feeder: Some(id) }));
            }
        }
        let most = self.spread.max_fan_out.max(1);
        let load = |feed: &Feed| self.fan_out(producer, feed.from);
        // The oldest of those that are equally near.
        let free = feeds.iter().filter(|(_, feed)| load(feed) < most);
        let best = free.min_by_key(|(depth, _)| *depth);
        let best = best.or_else(|| feeds.iter().min_by_key(|(depth, feed)| (load(feed), *depth)));
        Some(best.map_or(straight, |(_, feed)| *feed))
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
