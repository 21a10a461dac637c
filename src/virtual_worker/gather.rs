//! Answers that several parts make up together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use channel_schema::fbs::{
    common::{StringString, StringStringArray},
    response::{Body, BodyRef},
    router, web_rtc_server, worker,
};

use super::{Output, PartId, VirtualWorker, pipes::is_own, requests::Pending};
use crate::channel::{
    Message,
    compose::{self, DecodeError, ErrorKind},
    envelope::RequestEnvelope,
    fbs::request::Method,
};

/// One answer in the making.
#[derive(Debug)]
pub struct Gather {
    library_id: u32,
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
    by_id: HashMap<u64, Gather>,
}

impl VirtualWorker {
    /// Sends a request of the library to several parts and answers it when all did.
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
        if !gather.left.is_empty() {
            return;
        }
        let Some(gather) = self.gathers.by_id.remove(&id) else { return };
        let library_id = gather.library_id;
        if gather.answers.is_empty() && gather.refusal.is_none() {
            let kind = ErrorKind::NotFoundError;
            return super::refuse_as(kind, library_id, &gather.orphaned, out);
        }
        let answer = match gather.refusal {
            Some(mut refusal) => refusal.patch_id(library_id).then_some(refusal),
            None => match merge(&gather.answers, self.library_pid) {
                Ok(body) => Some(compose::accepted(library_id, body)),
                Err(error) => return super::refuse(library_id, &error.to_string(), out),
            },
        };
        if let Some(answer) = answer {
            out.push(Output::Library(answer.into_bytes().freeze()));
        }
    }
}

/// The bodies of all parts as one. The parts are in order, so that the home comes first.
fn merge(answers: &BTreeMap<PartId, Message>, pid: u32) -> Result<Option<Body>, DecodeError> {
    let mut merged: Option<Body> = None;
    for answer in answers.values() {
        let compose::Answer::Body(body) = compose::answer_body(answer)? else { continue };
        merged = Some(match (merged, body) {
            (None, BodyRef::WorkerDumpResponse(body)) => {
                let dump: worker::DumpResponse = body.try_into()?;
                Body::WorkerDumpResponse(Box::new(worker::DumpResponse { pid, ..dump }))
            }
            (None, body) => body.try_into()?,
            (Some(Body::WorkerDumpResponse(mut all)), BodyRef::WorkerDumpResponse(body)) => {
                add_worker(&mut all, body.try_into()?);
                Body::WorkerDumpResponse(all)
            }
            (
                Some(Body::WorkerResourceUsageResponse(mut all)),
                BodyRef::WorkerResourceUsageResponse(body),
            ) => {
                add_usage(&mut all, &body.try_into()?);
                Body::WorkerResourceUsageResponse(all)
            }
            (Some(Body::RouterDumpResponse(mut all)), BodyRef::RouterDumpResponse(body)) => {
                add_router(&mut all, body.try_into()?);
                Body::RouterDumpResponse(all)
            }
            (
                Some(Body::WebRtcServerDumpResponse(mut all)),
                BodyRef::WebRtcServerDumpResponse(body),
            ) => {
                let one: web_rtc_server::DumpResponse = body.try_into()?;
                all.web_rtc_transport_ids.extend(one.web_rtc_transport_ids);
                all.local_ice_username_fragments.extend(one.local_ice_username_fragments);
                Body::WebRtcServerDumpResponse(all)
            }
            (Some(_), _) => return Err(DecodeError::new("two parts answer differently")),
        });
    }
    match &mut merged {
        Some(Body::WorkerDumpResponse(all)) => {
            let handlers = &mut all.channel_message_handlers;
            hide(&mut handlers.channel_request_handlers);
            hide(&mut handlers.channel_notification_handlers);
        }
        Some(Body::RouterDumpResponse(all)) => hide_in_router(all),
        _ => {}
    }
    Ok(merged)
}

fn hide(ids: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    ids.retain(|id| !is_own(id) && seen.insert(id.clone()));
}

fn union(all: &mut Vec<String>, more: Vec<String>) {
    for id in more {
        if !all.contains(&id) {
            all.push(id);
        }
    }
}

fn add_worker(all: &mut worker::DumpResponse, one: worker::DumpResponse) {
    union(&mut all.web_rtc_server_ids, one.web_rtc_server_ids);
    union(&mut all.router_ids, one.router_ids);
    let (to, from) = (&mut all.channel_message_handlers, *one.channel_message_handlers);
    // Duplicates go when all are there.
    to.channel_request_handlers.extend(from.channel_request_handlers);
    to.channel_notification_handlers.extend(from.channel_notification_handlers);
}

fn add_usage(all: &mut worker::ResourceUsageResponse, one: &worker::ResourceUsageResponse) {
    all.ru_utime += one.ru_utime;
    all.ru_stime += one.ru_stime;
    all.ru_maxrss += one.ru_maxrss;
    all.ru_ixrss += one.ru_ixrss;
    all.ru_idrss += one.ru_idrss;
    all.ru_isrss += one.ru_isrss;
    all.ru_minflt += one.ru_minflt;
    all.ru_majflt += one.ru_majflt;
    all.ru_nswap += one.ru_nswap;
    all.ru_inblock += one.ru_inblock;
    all.ru_oublock += one.ru_oublock;
    all.ru_msgsnd += one.ru_msgsnd;
    all.ru_msgrcv += one.ru_msgrcv;
    all.ru_nsignals += one.ru_nsignals;
    all.ru_nvcsw += one.ru_nvcsw;
    all.ru_nivcsw += one.ru_nivcsw;
}

fn add_router(all: &mut router::DumpResponse, one: router::DumpResponse) {
    all.transport_ids.extend(one.transport_ids);
    all.rtp_observer_ids.extend(one.rtp_observer_ids);
    union_lists(&mut all.map_producer_id_consumer_ids, one.map_producer_id_consumer_ids);
    all.map_consumer_id_producer_id.extend(one.map_consumer_id_producer_id);
    union_lists(&mut all.map_producer_id_observer_ids, one.map_producer_id_observer_ids);
    union_lists(
        &mut all.map_data_producer_id_data_consumer_ids,
        one.map_data_producer_id_data_consumer_ids,
    );
    all.map_data_consumer_id_data_producer_id.extend(one.map_data_consumer_id_data_producer_id);
}

/// A Producer has a key on every part where it lives.
fn union_lists(all: &mut Vec<StringStringArray>, more: Vec<StringStringArray>) {
    let mut index: HashMap<String, usize> =
        all.iter().enumerate().map(|(index, list)| (list.key.clone(), index)).collect();
    for list in more {
        if let Some(found) = index.get(&list.key) {
            all[*found].values.extend(list.values);
        } else {
            index.insert(list.key.clone(), all.len());
            all.push(list);
        }
    }
}

fn hide_in_router(all: &mut router::DumpResponse) {
    let pairs = |pairs: &mut Vec<StringString>| pairs.retain(|pair| !is_own(&pair.key));
    hide(&mut all.transport_ids);
    // Where a pipe was made again, its way there has a Producer of the core's own.
    all.map_producer_id_consumer_ids.retain(|list| !is_own(&list.key));
    pairs(&mut all.map_consumer_id_producer_id);
    pairs(&mut all.map_data_consumer_id_data_producer_id);
    for list in all
        .map_producer_id_consumer_ids
        .iter_mut()
        .chain(&mut all.map_data_producer_id_data_consumer_ids)
    {
        hide(&mut list.values);
    }
}

/// Whether all parts answer this, whoever owns what.
pub fn concerns_worker(method: Method) -> bool {
    matches!(
        method,
        Method::WorkerDump | Method::WorkerGetResourceUsage | Method::WorkerUpdateSettings
    )
}
