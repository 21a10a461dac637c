//! Answers that several parts make up together.

use std::collections::{BTreeMap, BTreeSet};

use channel_schema::fbs::response::Body;

use super::{Output, PartId, VirtualWorker, merge::merge, requests::Pending};
use crate::channel::{
    Message,
    compose::{self, DecodeError, ErrorKind},
    envelope::RequestEnvelope,
    fbs::request::Method,
    framing::MESSAGE_MAX,
    method,
};

/// One answer in the making.
#[derive(Debug)]
pub struct Gather {
    library_id: u32,
    method: Method,
    handler: String,
    /// What is said when no part is left to answer.
    orphaned: String,
    left: BTreeSet<PartId>,
    answers: BTreeMap<PartId, Message>,
    refusal: Option<Message>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Gathers {
    last: u64,
    by_id: BTreeMap<u64, Gather>,
}

impl Gathers {
    /// Those that wait: their numbers here and in the library, and the parts that they wait for.
    pub fn unanswered(
        &self,
    ) -> impl Iterator<Item = (u64, u32, impl Iterator<Item = PartId> + Clone)> {
        self.by_id.iter().map(|(id, one)| (*id, one.library_id, one.left.iter().copied()))
    }

    /// The parts that one waits for.
    pub fn left_of(&self, id: u64) -> Vec<PartId> {
        self.by_id.get(&id).into_iter().flat_map(|gather| &gather.left).copied().collect()
    }

    /// Forgets one. Tells what was called.
    pub fn give_up(&mut self, id: u64) -> Option<(Method, String)> {
        self.by_id.remove(&id).map(|gather| (gather.method, gather.handler))
    }
}

/// Why several answers give none.
#[derive(Debug, thiserror::Error)]
enum GatherError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(
        "the answers of {parts} workers to {method} are {bytes} bytes together, more than the \
         {MESSAGE_MAX} that one message may have; ask for smaller parts of it"
    )]
    TooLong { parts: usize, method: &'static str, bytes: usize },
}

impl VirtualWorker {
    /// Sends a request of the library to several parts. It is answered when all did whose link is
    /// up: to the others it goes all the same, and their answers come too late to matter.
    pub(super) fn gather(
        &mut self,
        message: &Message,
        request: RequestEnvelope<'_>,
        parts: &[PartId],
        out: &mut Vec<Output>,
    ) {
        self.gathers.last += 1;
        let id = self.gathers.last;
        let gather = Gather {
            library_id: request.id,
            method: request.method,
            handler: request.handler_id.to_owned(),
            orphaned: super::routing::not_found(&request),
            left: parts.iter().copied().collect(),
            answers: BTreeMap::new(),
            refusal: None,
        };
        self.gathers.by_id.insert(id, gather);
        for part in parts {
            let mut copy = message.clone();
            let number = self.requests.add(*part, Pending::Piece(id));
            if copy.patch_id(number) {
                out.push(Output::Worker(*part, copy.into_bytes().freeze()));
            } else {
                self.requests.take(*part, number);
                self.gathers.by_id.remove(&id);
                return super::refuse(request.id, "a request needs an id other than 0", out);
            }
        }
    }

    /// One part answered, or never will.
    pub(super) fn piece(
        &mut self,
        part: PartId,
        id: u64,
        answer: Option<Message>,
        accepted: bool,
        out: &mut Vec<Output>,
    ) {
        let Some(gather) = self.gathers.by_id.get_mut(&id) else { return };
        gather.left.remove(&part);
        match answer {
            Some(answer) if accepted => {
                gather.answers.insert(part, answer);
            }
            Some(answer) => gather.refusal = gather.refusal.take().or(Some(answer)),
            None => {}
        }
        self.may_answer(id, out);
    }

    /// The link to that part is down: what it has not answered yet goes on without it.
    pub(super) fn wait_no_longer_for(&mut self, part: PartId, out: &mut Vec<Output>) {
        let waiting = self.gathers.by_id.iter().filter(|(_, one)| one.left.contains(&part));
        let waiting: Vec<u64> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            self.may_answer(id, out);
        }
    }

    /// Answers if all did that can. Without any answer there is nothing to say yet.
    fn may_answer(&mut self, id: u64, out: &mut Vec<Output>) {
        let Some(gather) = self.gathers.by_id.get(&id) else { return };
        let silent = gather.answers.is_empty() && gather.refusal.is_none();
        let waits = gather.left.iter().any(|part| silent || self.parts.is_up(*part));
        if waits {
            return;
        }
        let Some(gather) = self.gathers.by_id.remove(&id) else { return };
        let library_id = gather.library_id;
        if silent {
            let kind = ErrorKind::NotFoundError;
            return super::refuse_as(kind, library_id, &gather.orphaned, out);
        }
        let answer = match gather.refusal {
            Some(mut refusal) => refusal.patch_id(library_id).then_some(refusal),
            None => match self.together(&gather) {
                Ok(answer) => Some(answer),
                Err(error) => return super::refuse(library_id, &error.to_string(), out),
            },
        };
        if let Some(answer) = answer {
            out.push(Output::Library(answer.into_bytes().freeze()));
        }
    }

    /// The pieces as one answer, with what is known of the parts that could not give theirs.
    fn together(&mut self, gather: &Gather) -> Result<Message, GatherError> {
        let mut bodies: Vec<(PartId, Body)> = Vec::new();
        for (part, answer) in &gather.answers {
            let compose::Answer::Body(body) = compose::answer_body(answer)? else { continue };
            let body = Body::try_from(body).map_err(DecodeError::from)?;
            self.known.remember(*part, &gather.handler, &body);
            bodies.push((*part, body));
        }
        for part in &gather.left {
            let body = self.last_known(*part, gather.method, &gather.handler);
            bodies.extend(body.map(|body| (*part, body)));
        }
        let owner = self.owner(&gather.handler);
        bodies.sort_by_key(|(part, _)| (*part != owner, *part));
        let parts = bodies.len();
        let bodies = bodies.into_iter().map(|(_, body)| body).collect();
        let answer = compose::accepted(gather.library_id, merge(bodies, self.library_pid)?);
        let bytes = answer.len();
        if bytes > MESSAGE_MAX {
            let method = method::name(gather.method);
            return Err(GatherError::TooLong { parts, method, bytes });
        }
        Ok(answer)
    }
}

/// Whether all parts answer this, whoever owns what.
pub fn concerns_worker(method: Method) -> bool {
    matches!(
        method,
        Method::WorkerDump | Method::WorkerGetResourceUsage | Method::WorkerUpdateSettings
    )
}

/// Whether the answer shows what is on the part itself, so that the core's own objects must be
/// hidden in it, and it is remembered for when the link is down.
pub fn is_view(method: Method) -> bool {
    matches!(
        method,
        Method::WorkerDump
            | Method::WorkerGetResourceUsage
            | Method::RouterDump
            | Method::WebrtcserverDump
    )
}
