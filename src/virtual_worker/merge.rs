//! Bodies of answers of several parts as one.

use std::collections::{BTreeSet, HashMap};

use channel_schema::fbs::{
    common::{StringString, StringStringArray},
    response::Body,
    router, worker,
};

use super::pipes::is_own;
use crate::channel::compose::DecodeError;

/// The bodies of all parts as one; of what is one's own alone the first one's counts.
pub fn merge(bodies: Vec<Body>, pid: u32) -> Result<Option<Body>, DecodeError> {
    let mut merged: Option<Body> = None;
    for body in bodies {
        merged = Some(match (merged, body) {
            (None, body) => body,
            (Some(Body::WorkerDumpResponse(mut all)), Body::WorkerDumpResponse(one)) => {
                add_worker(&mut all, *one);
                Body::WorkerDumpResponse(all)
            }
            (
                Some(Body::WorkerResourceUsageResponse(mut all)),
                Body::WorkerResourceUsageResponse(one),
            ) => {
                add_usage(&mut all, &one);
                Body::WorkerResourceUsageResponse(all)
            }
            (Some(Body::RouterDumpResponse(mut all)), Body::RouterDumpResponse(one)) => {
                add_router(&mut all, *one);
                Body::RouterDumpResponse(all)
            }
            (
                Some(Body::WebRtcServerDumpResponse(mut all)),
                Body::WebRtcServerDumpResponse(one),
            ) => {
                all.web_rtc_transport_ids.extend(one.web_rtc_transport_ids);
                all.local_ice_username_fragments.extend(one.local_ice_username_fragments);
                Body::WebRtcServerDumpResponse(all)
            }
            (Some(_), _) => return Err(DecodeError::new("two parts answer differently")),
        });
    }
    match &mut merged {
        Some(Body::WorkerDumpResponse(all)) => {
            all.pid = pid;
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
    pairs(&mut all.map_consumer_id_producer_id);
    pairs(&mut all.map_data_consumer_id_data_producer_id);
    for lists in [
        &mut all.map_producer_id_consumer_ids,
        &mut all.map_producer_id_observer_ids,
        &mut all.map_data_producer_id_data_consumer_ids,
    ] {
        // A relay or a pipe made again has a Producer of the core's own on its way there.
        lists.retain(|list| !is_own(&list.key));
        for list in lists {
            hide(&mut list.values);
        }
    }
}
