//! Pipes that nobody needs for now: one without users closes after a while, one whose users are
//! all paused is paused itself. The app must not see any of it.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use super::{
    Output, PartId, VirtualWorker,
    pipes::{Own, Rest},
};
use crate::channel::{
    Message,
    fbs::{notification::Event, request::Method},
};

/// How long a pipe stays after its last user.
pub const LINGER: Duration = Duration::from_secs(2);
/// How long all users must be paused before their pipe is. Waking it costs time, so it must be
/// worth it.
pub const QUIET: Duration = Duration::from_secs(10);
/// As long as streams may take to come back.
const WAKE: Duration = Duration::from_millis(500);

/// What the app is not told while pipes sleep, and who of its consumers are paused.
#[derive(Debug, Default)]
pub struct Naps {
    paused: HashSet<String>,
    waking: BTreeMap<u64, Duration>,
    /// The last word that was kept back, by consumer and whether it is of its score.
    kept: BTreeMap<(String, bool), Message>,
}

impl Naps {
    /// The app pauses or resumes a consumer, or makes one so.
    pub fn note(&mut self, consumer: &str, paused: bool) {
        if paused {
            self.paused.insert(consumer.to_owned());
        } else {
            self.paused.remove(consumer);
        }
    }

    pub fn is_paused(&self, consumer: &str) -> bool {
        self.paused.contains(consumer)
    }

    pub fn forget(&mut self, consumer: &str) {
        self.paused.remove(consumer);
        if !self.kept.is_empty() {
            self.kept.remove(&(consumer.to_owned(), true));
            self.kept.remove(&(consumer.to_owned(), false));
        }
    }

    /// Whether nothing is left.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.paused.is_empty() && self.waking.is_empty() && self.kept.is_empty()
    }
}

impl VirtualWorker {
    /// A consumer or observer is fed by the pipe from now on.
    pub(super) fn use_pipe(&mut self, pipe: u64, user: &str, out: &mut Vec<Output>) {
        let active = !self.naps.is_paused(user);
        self.link_pipe(pipe, user, active, out);
    }

    pub(super) fn link_pipe(&mut self, pipe: u64, user: &str, active: bool, out: &mut Vec<Output>) {
        if self.pipes.pipe(pipe).is_some_and(|pipe| pipe.users.is_empty()) {
            self.pipes.set_due(pipe, None);
        }
        self.pipes.add_user(pipe, user);
        self.set_active(pipe, user, active, out);
    }

    /// The app paused or resumed a consumer.
    pub(super) fn rest_consumer(&mut self, consumer: &str, paused: bool, out: &mut Vec<Output>) {
        let fed = self.pipes.uses(consumer);
        if fed.is_empty() {
            return;
        }
        self.naps.note(consumer, paused);
        for pipe in fed {
            self.set_active(pipe, consumer, !paused, out);
        }
    }

    fn set_active(&mut self, id: u64, user: &str, active: bool, out: &mut Vec<Output>) {
        let Some(pipe) = self.pipes.pipe_mut(id) else { return };
        if active {
            pipe.active.insert(user.to_owned());
        } else {
            pipe.active.remove(user);
        }
        let active = !pipe.active.is_empty();
        let (feeder, consumer) = (pipe.feeder, pipe.consumer.clone());
        // What feeds it wakes first.
        if let Some(feeder) = feeder {
            self.set_active(feeder, &consumer, active, out);
        }
        if active {
            self.pipes.set_due(id, None);
            self.wake(id, out);
        } else {
            self.await_rest(id);
        }
    }

    /// Nobody needs the pipe's media any more.
    pub(super) fn await_rest(&mut self, id: u64) {
        let Some(pipe) = self.pipes.pipe(id).filter(|pipe| pipe.active.is_empty()) else { return };
        let due = match (pipe.users.is_empty(), pipe.rest) {
            (true, _) => Some(self.now + LINGER),
            // No message, no traffic: data pipes have nothing to pause.
            (false, _) if pipe.data => None,
            (false, Rest::Asleep) => None,
            (false, _) => pipe.due.or(Some(self.now + QUIET)),
        };
        self.pipes.set_due(id, due);
    }

    /// Ends a use.
    pub(super) fn release_one(&mut self, id: u64, user: &str, out: &mut Vec<Output>) {
        if !self.pipes.remove_user(id, user) {
            return;
        }
        let Some(pipe) = self.pipes.pipe(id) else { return };
        if pipe.active.is_empty() {
            if pipe.users.is_empty() {
                self.pipes.set_due(id, None);
            }
            self.set_active(id, user, false, out);
        }
    }

    fn wake(&mut self, id: u64, out: &mut Vec<Output>) {
        let Some(pipe) = self.pipes.pipe_mut(id) else { return };
        if pipe.rest != Rest::Asleep {
            return;
        }
        pipe.rest = Rest::Waking;
        let (from, consumer) = (pipe.from, pipe.consumer.clone());
        self.naps.waking.insert(id, self.now + WAKE);
        self.ask(from, Method::ConsumerResume, &consumer, None, Own::Any, out);
        self.awake_if_there(id, out);
    }

    /// Whether a consumer that the app resumes now would find streams missing.
    pub(super) fn wakes(&self, consumer: &str) -> Option<(String, PartId)> {
        let pipe = self.pipes.uses(consumer).first().and_then(|pipe| self.pipes.pipe(*pipe))?;
        let wakes = self.pipes.pipes_of(&pipe.producer).any(|(_, pipe)| pipe.rest == Rest::Waking);
        (wakes && !self.is_there(&pipe.producer, pipe.to)).then(|| (pipe.producer.clone(), pipe.to))
    }

    /// Whether as many streams of a Producer live there as where it comes from.
    fn is_there(&self, producer: &str, part: PartId) -> bool {
        let Some(origin) = self.objects.get(producer).map(|object| object.part) else {
            return true;
        };
        // Only of several streams the worker watches whether they live.
        self.facts.media.get(producer).is_none_or(|media| {
            media.paused
                || media.mapping.encodings.len() < 2
                || self.shadows.live(producer, part) >= self.shadows.live(producer, origin)
        })
    }

    /// A stream of a Producer lives or dies, here or there.
    pub(super) fn awake_there(&mut self, producer: &str, out: &mut Vec<Output>) {
        let waking = self.pipes.pipes_of(producer).filter(|(_, pipe)| pipe.rest == Rest::Waking);
        let waking: Vec<u64> = waking.map(|(pipe, _)| pipe).collect();
        for pipe in waking {
            self.awake_if_there(pipe, out);
        }
    }

    fn awake_if_there(&mut self, id: u64, out: &mut Vec<Output>) {
        let Some(pipe) = self.pipes.pipe(id).filter(|pipe| pipe.rest == Rest::Waking) else {
            return;
        };
        if !pipe.is_visible() || self.is_there(&pipe.producer, pipe.to) {
            self.awake(id, out);
        }
    }

    /// The app hears again of the pipe's consumers, from what was kept back last.
    pub(super) fn awake(&mut self, id: u64, out: &mut Vec<Output>) {
        self.naps.waking.remove(&id);
        let Some(pipe) = self.pipes.pipe_mut(id) else { return };
        pipe.rest = Rest::Awake;
        if self.naps.kept.is_empty() {
            return;
        }
        let mut users: Vec<String> = pipe.users.iter().cloned().collect();
        users.sort_unstable();
        for user in users {
            for score in [true, false] {
                if let Some(message) = self.naps.kept.remove(&(user.clone(), score)) {
                    out.push(Output::Library(message.into_bytes().freeze()));
                }
            }
        }
    }

    /// Keeps back what one worker would never have said of a consumer.
    pub(super) fn keeps_back(
        &mut self,
        part: PartId,
        consumer: &str,
        event: Event,
        message: &Message,
    ) -> bool {
        let score = match event {
            Event::ConsumerScore => true,
            Event::ConsumerLayersChange => false,
            _ => return false,
        };
        if self.objects.get(consumer).is_none_or(|object| object.part != part) {
            return false;
        }
        let uses = self.pipes.uses(consumer);
        let pipe = uses.first().and_then(|pipe| self.pipes.pipe(*pipe));
        if pipe.is_none_or(|pipe| pipe.rest == Rest::Awake) {
            return false;
        }
        self.naps.kept.insert((consumer.to_owned(), score), message.clone());
        true
    }

    /// Closes, pauses and wakes what is due.
    pub(super) fn rest_pipes(&mut self, out: &mut Vec<Output>) {
        while let Some((due, id)) = self.pipes.first_due().filter(|(due, _)| *due <= self.now) {
            self.pipes.set_due(id, None);
            let Some(pipe) = self.pipes.pipe_mut(id) else { continue };
            if pipe.users.is_empty() {
                self.close_pipe(id, true, true, out);
            } else if pipe.fed {
                pipe.rest = Rest::Asleep;
                let (from, consumer) = (pipe.from, pipe.consumer.clone());
                self.naps.waking.remove(&id);
                self.ask(from, Method::ConsumerPause, &consumer, None, Own::Any, out);
            } else {
                // Its pair is still to come.
                self.pipes.set_due(id, Some(due + QUIET));
            }
        }
        let late = self.naps.waking.iter().filter(|(_, deadline)| **deadline <= self.now);
        let late: Vec<u64> = late.map(|(pipe, _)| *pipe).collect();
        for pipe in late {
            self.awake(pipe, out);
        }
    }

    pub(super) fn next_rest(&self) -> Option<Duration> {
        let waking = self.naps.waking.values().min().copied();
        self.pipes.first_due().map(|(due, _)| due).into_iter().chain(waking).min()
    }

    /// A pipe is gone, or gets another source: it does not sleep.
    pub(super) fn end_nap(&mut self, id: u64, out: &mut Vec<Output>) {
        if self.pipes.pipe(id).is_some_and(|pipe| pipe.rest != Rest::Awake) {
            self.awake(id, out);
        }
    }
}
