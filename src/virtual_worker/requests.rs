//! Requests under way. The core numbers its requests itself, because it adds some of its own on
//! the same worker; the library's number comes back on the answer.

use std::collections::HashMap;

use super::{objects::PartId, pipes::Own, rewriting::Socket, tracking::Effect};
use crate::channel::{Message, fbs::request::Method};

/// What is to happen with an answer.
#[derive(Debug)]
pub enum Pending {
    /// The library gets it.
    App(Box<AppRequest>),
    /// It is one of several that make up an answer.
    Piece(u64),
    /// The library gets it, under the id that it gave: the request left with another taken one.
    Taken(Box<AppRequest>, String),
    /// The core asked.
    Own(Own),
    /// The library was told that there is none.
    Late,
}

/// One request of the library on one part.
#[derive(Debug)]
pub struct AppRequest {
    /// The library's own number for it.
    pub library_id: u32,
    pub method: Method,
    pub handler: String,
    pub effect: Effect,
    /// The request as the library sent it, where it can be made again on another part.
    pub again: Option<Box<Message>>,
    /// The table got the object when the request left, so a refusal takes it back.
    pub registered: bool,
    /// The core paused the consumer that it makes.
    pub shadowed: bool,
    /// The same request with another port, for when the one asked for is taken.
    pub other_port: Option<Box<Message>>,
    /// What a new transport was told to bind, for the registry of tuples.
    pub sockets: Vec<Socket>,
}

/// Requests under way on every part, by the core's numbers.
#[derive(Debug, Default)]
pub struct Requests {
    last: HashMap<PartId, u32>,
    pending: HashMap<(PartId, u32), Pending>,
}

impl Requests {
    /// Notes a request and gives its number on that part.
    pub fn add(&mut self, part: PartId, pending: Pending) -> u32 {
        let last = self.last.entry(part).or_default();
        loop {
            *last = last.checked_add(1).unwrap_or(1);
            if !self.pending.contains_key(&(part, *last)) {
                break;
            }
        }
        let id = *last;
        self.pending.insert((part, id), pending);
        id
    }

    /// The request that this answer ends.
    pub fn take(&mut self, part: PartId, id: u32) -> Option<Pending> {
        self.pending.remove(&(part, id))
    }

    /// All that a part was asked, in the order in which it was asked.
    pub fn take_all(&mut self, part: PartId) -> Vec<Pending> {
        let mut ids: Vec<u32> =
            self.pending.keys().filter(|(of, _)| *of == part).map(|(_, id)| *id).collect();
        ids.sort_unstable();
        self.last.remove(&part);
        ids.into_iter().filter_map(|id| self.pending.remove(&(part, id))).collect()
    }

    /// Whether a part has yet to answer what only it can.
    pub fn any_of_the_app_on(&self, part: PartId) -> bool {
        let of_the_app =
            |pending: &Pending| matches!(pending, Pending::App(_) | Pending::Taken(..));
        self.pending.iter().any(|((on, _), pending)| *on == part && of_the_app(pending))
    }

    /// The requests of the library that one part is to answer alone.
    pub fn of_the_app(&self) -> impl Iterator<Item = (PartId, u32, &AppRequest)> {
        self.pending.iter().filter_map(|((part, number), pending)| match pending {
            Pending::App(app) | Pending::Taken(app, _) => Some((*part, *number, app.as_ref())),
            Pending::Piece(_) | Pending::Own(_) | Pending::Late => None,
        })
    }

    /// Takes such a request back. Its answer will be dropped.
    pub fn give_up(&mut self, part: PartId, number: u32) -> Option<Box<AppRequest>> {
        let pending = self.pending.get_mut(&(part, number))?;
        match std::mem::replace(pending, Pending::Late) {
            Pending::App(app) | Pending::Taken(app, _) => Some(app),
            other => {
                *pending = other;
                None
            }
        }
    }

    pub fn len(&self) -> usize {
        self.pending.len()
    }
}
