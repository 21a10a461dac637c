//! How many parts a virtual worker has: it grows while its workers are busy, and shrinks again.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{
    MAX_FAN_OUT, OnPartLost, Output, PartId, VirtualWorker, deaths::Gone, parts::Part, tracking,
};
use crate::{
    channel::fbs::request::Method,
    placement::{
        Choice, Policy, Recent, Room, STALE, TRANSPORT_COST, WATERMARK, Wish, choose_part,
    },
};

/// How long a part stays after its last object and pipe.
const LINGER: Duration = Duration::from_secs(30);
/// How long to wait before a worker is asked for again once there was none.
const RETRY: Duration = Duration::from_secs(5);
/// Closes come in floods: what they leave empty is looked for this long after the first.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// Where the objects of one Router may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// How many parts a virtual worker may have, its home included. 1: as mediasoup.
    pub max_parts: usize,
    /// By what rule a part is chosen.
    pub policy: Policy,
    /// Thousandths of a core. A part with less takes more; below it a Router stays home.
    pub watermark: u32,
    /// How many parts one part feeds with the same Producer before others do.
    pub max_fan_out: usize,
    pub on_part_lost: OnPartLost,
}

impl Spread {
    /// Everything on one real worker, as mediasoup has it.
    pub const ONE_PART: Self = Self {
        max_parts: 1,
        policy: Policy::Home,
        watermark: WATERMARK,
        max_fan_out: MAX_FAN_OUT,
        on_part_lost: OnPartLost::Careful,
    };

    /// Every transport on the next of so many parts, in turn. For tests.
    pub fn scatter(max_parts: usize) -> Self {
        Self { max_parts, policy: Policy::Scatter, ..Self::ONE_PART }
    }

    /// As many parts as the load asks for, up to so many.
    pub fn pack(max_parts: usize) -> Self {
        Self { max_parts, policy: Policy::Pack, ..Self::ONE_PART }
    }
}

impl Default for Spread {
    fn default() -> Self {
        Self::ONE_PART
    }
}

/// What is measured of one part's worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartLoad {
    pub part: PartId,
    /// Thousandths of a core; `None` if nobody has measured it yet.
    pub cpu: Option<u32>,
    /// How long ago.
    pub age: Duration,
    /// Its host is in the app's region.
    pub near: bool,
    /// Its host cannot be reached.
    pub avoid: bool,
    /// Its host means to leave.
    pub drains: bool,
}

#[derive(Debug, Default)]
struct Known {
    /// With the time that it is from.
    cpu: Option<(u32, Duration)>,
    near: bool,
    avoid: bool,
    drains: bool,
    recent: Recent,
}

/// What decides on further parts.
#[derive(Debug, Default)]
pub struct Growth {
    known: HashMap<PartId, Known>,
    /// Counts placements away from home.
    turn: usize,
    /// Until when no worker is asked for.
    none_before: Duration,
    /// The app was told that there was none.
    complained: bool,
    /// When to look for parts that nothing is left on.
    look_at: Option<Duration>,
    /// Since when nothing is left on them.
    empty: BTreeMap<PartId, Duration>,
}

impl Growth {
    fn placed(&mut self, part: PartId, now: Duration) {
        self.known.entry(part).or_default().recent.add(TRANSPORT_COST, now);
        self.empty.remove(&part);
    }

    /// Something may have left a part empty.
    pub fn look_soon(&mut self, now: Duration) {
        self.look_at.get_or_insert(now + LOOK_AFTER);
    }

    pub fn forget(&mut self, part: PartId) {
        self.known.remove(&part);
        self.empty.remove(&part);
    }

    /// No worker was to be had. True if the app does not know yet.
    pub fn failed(&mut self, now: Duration) -> bool {
        self.none_before = now + RETRY;
        !std::mem::replace(&mut self.complained, true)
    }

    pub fn opened(&mut self, now: Duration) {
        self.complained = false;
        // What it was opened for may be gone.
        self.look_soon(now);
    }

    /// What is known of a part, `None` if it must not be chosen.
    fn room(&self, part: PartId, now: Duration) -> Option<Room> {
        let Some(known) = self.known.get(&part) else { return Some(Room { cpu: 0, near: false }) };
        let measured = known.cpu.map_or(Some(0), |(cpu, at)| (now <= at + STALE).then_some(cpu))?;
        let cpu = measured.saturating_add(known.recent.cost(now));
        (!known.avoid && !known.drains).then_some(Room { cpu, near: known.near })
    }

    /// Whether the part's host means to leave.
    pub fn drains(&self, part: PartId) -> bool {
        self.known.get(&part).is_some_and(|known| known.drains)
    }
}

impl VirtualWorker {
    /// Takes what was measured of the parts.
    pub fn part_loads(&mut self, loads: &[PartLoad]) {
        for load in loads {
            if !self.parts.is_open(load.part) {
                continue;
            }
            let known = self.growth.known.entry(load.part).or_default();
            let at = self.now.saturating_sub(load.age);
            known.cpu = load.cpu.map(|cpu| (cpu, at)).or(known.cpu);
            known.near = load.near;
            known.avoid = load.avoid;
            let drained = std::mem::replace(&mut known.drains, load.drains);
            match (drained, load.drains) {
                // What is empty already goes at once.
                (false, true) => self.growth.look_at = Some(self.now),
                // There may be room for more again.
                (true, false) => self.parts.exhausted = false,
                _ => {}
            }
        }
    }

    /// That part unless its host means to leave, then another one if there is one that stays.
    pub(super) fn staying_or(&self, part: PartId) -> PartId {
        let stays = |part: &PartId| self.parts.is_up(*part) && !self.growth.drains(*part);
        if stays(&part) {
            return part;
        }
        self.parts.open().into_iter().find(stays).unwrap_or_else(|| self.parts.up_or(part))
    }

    /// What the part that is being opened is for.
    pub fn wish(&self, part: PartId) -> Option<&Wish> {
        self.parts.wish(part)
    }

    /// The part for a new transport of the Router. `server`: the `WebRtcServer` that it needs.
    pub(super) fn place(
        &mut self,
        router: &str,
        method: Method,
        server: Option<&str>,
        out: &mut Vec<Output>,
    ) -> PartId {
        let part = match self.spread.policy {
            Policy::Scatter => return self.place_in_turn(router, out),
            // What the app sends and hears itself costs no network, and stays near the app's other
            // objects.
            _ if method == Method::RouterCreateDirecttransport => self.staying_or(self.home),
            policy => self.place_by_load(policy, router, method, server, out),
        };
        self.growth.placed(part, self.now);
        part
    }

    fn place_by_load(
        &mut self,
        policy: Policy,
        router: &str,
        method: Method,
        server: Option<&str>,
        out: &mut Vec<Output>,
    ) -> PartId {
        let home = self.home;
        let others = self.parts.all().into_iter().filter(|part| *part != home);
        let parts: Vec<PartId> = std::iter::once(home).chain(others).collect();
        let room = |part: &PartId| {
            let may = server.is_none_or(|server| self.may_have(server, *part));
            let may = may && !self.parts.is_down(*part);
            may.then(|| self.growth.room(*part, self.now)).flatten()
        };
        let rooms: Vec<Option<Room>> = parts.iter().map(room).collect();
        let Spread { max_parts, watermark, .. } = self.spread;
        let may_open = parts.len() < max_parts && self.now >= self.growth.none_before;
        let choice = choose_part(policy, &rooms, watermark, self.growth.turn, may_open);
        let part = match choice {
            Choice::Part(position) => {
                let part = parts.get(position).copied().unwrap_or(home);
                if self.parts.is_down(part) { self.parts.up_or(home) } else { part }
            }
            Choice::New => {
                let fixed = server.is_some_and(|server| self.has_fixed_ports(server));
                let part = self.parts.start(Wish {
                    router: router.to_owned(),
                    transport: tracking::transport_kind(method),
                    other_host: fixed,
                });
                out.push(Output::OpenPart(part));
                part
            }
        };
        if part != home {
            self.growth.turn = self.growth.turn.wrapping_add(1);
        } else if let Some(server) = server
            && rooms[0].is_some_and(|room| room.cpu >= watermark)
        {
            self.warn_of_fixed_ports(server, out);
        }
        part
    }

    /// Whether a part has the `WebRtcServer` or can get it.
    pub(super) fn may_have(&self, server: &str, part: PartId) -> bool {
        let Some(facts) = self.facts.servers.get(server) else { return false };
        if !facts.fixed_ports || facts.parts.contains(&part) {
            return true;
        }
        match self.parts.host(part) {
            Some(host) => {
                let mut taken = facts.parts.iter().filter_map(|part| self.parts.host(*part));
                taken.all(|other| other.key != host.key)
            }
            None => self.parts.wish(part).is_some_and(|wish| wish.other_host),
        }
    }

    fn has_fixed_ports(&self, server: &str) -> bool {
        self.facts.servers.get(server).is_some_and(|server| server.fixed_ports)
    }

    /// Where what was meant for a part that did not open goes instead.
    pub(super) fn instead_of(&self, server: Option<&str>) -> PartId {
        let anyone = self.staying_or(self.home);
        if self.spread.policy == Policy::Scatter {
            return anyone;
        }
        let open = self.parts.open().into_iter().filter(|part| !self.parts.is_down(*part));
        let may = |part: &PartId| server.is_none_or(|server| self.may_have(server, *part));
        let room = |part: PartId| Some((self.growth.room(part, self.now)?.cpu, part));
        open.filter(may).filter_map(room).min().map_or(anyone, |(_, part)| part)
    }

    /// Ends parts that nothing was on for a while.
    pub(super) fn close_empty_parts(&mut self, out: &mut Vec<Output>) {
        if self.growth.look_at.is_some_and(|at| at <= self.now) {
            self.growth.look_at = None;
            let home = self.home;
            for part in self.parts.open().into_iter().filter(|part| *part != home) {
                if self.linger(part).is_none() {
                    continue;
                }
                if self.is_empty(part) {
                    self.growth.empty.entry(part).or_insert(self.now);
                } else if self.objects.any_on(part) {
                    self.growth.empty.remove(&part);
                } else {
                    // Its pipes may end, and its answers come, without anything of the app's ending.
                    self.growth.look_soon(self.now);
                }
            }
        }
        let due: Vec<PartId> =
            self.closings().filter(|(_, at)| *at <= self.now).map(|(part, _)| part).collect();
        for part in due {
            self.growth.empty.remove(&part);
            if self.is_empty(part) {
                self.close_part(part, out);
            } else {
                self.growth.look_soon(self.now);
            }
        }
    }

    /// When [`VirtualWorker::close_empty_parts`] has something to do.
    pub(super) fn next_empty_part(&self) -> Option<Duration> {
        let closing = self.closings().map(|(_, at)| at).min();
        let any = |_: &Duration| self.parts.open().iter().any(|part| self.linger(*part).is_some());
        self.growth.look_at.filter(any).into_iter().chain(closing).min()
    }

    /// When the parts that nothing is left on are to end.
    fn closings(&self) -> impl Iterator<Item = (PartId, Duration)> {
        let at = |(part, since): (&PartId, &Duration)| Some((*part, *since + self.linger(*part)?));
        self.growth.empty.iter().filter_map(at)
    }

    /// How long a part stays once nothing is left on it; `None`: as long as its Worker.
    fn linger(&self, part: PartId) -> Option<Duration> {
        if self.closing || part == self.home {
            None
        } else if self.growth.drains(part) {
            Some(Duration::ZERO)
        } else {
            let shrinks = !matches!(self.spread.policy, Policy::Home | Policy::Scatter);
            shrinks.then_some(LINGER)
        }
    }

    fn is_empty(&self, part: PartId) -> bool {
        let piped = |pipe: &super::pipes::Pipe| pipe.from == part || pipe.to == part;
        part != self.home
            && !self.objects.any_on(part)
            && self.pipes.pipes_where(piped).is_empty()
            && !self.requests.any_of_the_app_on(part)
    }

    fn close_part(&mut self, part: PartId, out: &mut Vec<Output>) {
        let on = self.connection(part);
        let Some(Part::Open { .. }) = self.parts.remove(part) else { return };
        self.growth.forget(part);
        self.known.forget_part(part);
        // Only views of everything can wait for it.
        let gone = Gone { on, why: "nothing was left on it" };
        let mut again = self.answer_for(part, &gone, out);
        self.drop_pairs_of(part, &gone, &mut again, out);
        out.push(Output::ClosePart(part));
        for message in again {
            self.request(message, out);
        }
    }
}
