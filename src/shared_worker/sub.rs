//! One virtual worker's share of a worker: which objects it has there and what they are called.

use std::collections::HashMap;

use crate::virtual_worker::{Object, ObjectKind, Objects, PartId, tracking::Effect};

/// Objects of one share are all on the same worker.
const HERE: PartId = PartId(0);

/// What a share has on the worker, by the names that its virtual worker uses.
#[derive(Debug, Default)]
pub struct Sub {
    live: Objects,
    /// Ids whose creation waits for an answer, and how often each was asked for.
    asked: HashMap<String, usize>,
    /// What the worker knows an object by, where another share had its id already.
    aliases: HashMap<String, String>,
    /// Requests under way.
    pub pending: usize,
    /// It wants no more of the worker: its objects are being closed.
    pub leaving: bool,
}

impl Sub {
    pub fn has(&self, id: &str) -> bool {
        self.live.get(id).is_some() || self.asked.contains_key(id)
    }

    /// The worker's name for an object of this share.
    pub fn alias(&self, id: &str) -> Option<&String> {
        self.aliases.get(id)
    }

    pub fn has_aliases(&self) -> bool {
        !self.aliases.is_empty()
    }

    /// A creation leaves for the worker.
    pub fn ask(&mut self, id: &str) {
        *self.asked.entry(id.to_owned()).or_default() += 1;
    }

    pub fn call(&mut self, id: &str, alias: String) {
        self.aliases.insert(id.to_owned(), alias);
    }

    /// A creation was answered. Returns the names that the worker is free to give again.
    pub fn answered(&mut self, effect: &Effect, accepted: bool) -> Vec<String> {
        let Effect::Create { kind, id, parent, server, .. } = effect else { return Vec::new() };
        if let Some(times) = self.asked.get_mut(id) {
            *times -= 1;
            if *times == 0 {
                self.asked.remove(id);
            }
        }
        if accepted {
            let (parent, server) = (parent.clone(), server.clone());
            let object =
                Object { kind: *kind, part: HERE, parent, server, transport: None, told: false };
            self.live.insert(id, object);
        }
        self.free(id).into_iter().collect()
    }

    /// An object is gone, and all that closes with it. Returns the names that the worker is free to
    /// give again.
    pub fn gone(&mut self, id: &str) -> Vec<String> {
        let removed = self.live.remove(id);
        removed.iter().filter_map(|(id, _)| self.free(id)).collect()
    }

    /// Routers first: transports need their `WebRtcServer` until they close.
    pub fn roots(&self) -> Vec<(ObjectKind, String)> {
        [ObjectKind::Router, ObjectKind::WebRtcServer]
            .into_iter()
            .flat_map(|kind| self.live.of_kind(kind).map(move |id| (kind, id.to_owned())))
            .collect()
    }

    fn free(&mut self, id: &str) -> Option<String> {
        if self.has(id) {
            return None;
        }
        Some(self.aliases.remove(id).unwrap_or_else(|| id.to_owned()))
    }
}
