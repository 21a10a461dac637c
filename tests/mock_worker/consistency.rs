//! What must hold of a worker at any time, seen through its dumps.

use std::collections::{BTreeMap, BTreeSet};

use mediasoup_horizontal::{
    channel::{
        fbs::{response::Body, router, transport, worker},
        method::Method,
    },
    mock_worker::Objects,
};

use crate::bench::Bench;

/// Everything that is open.
#[derive(Debug, Default)]
pub struct View {
    pub all: BTreeSet<String>,
    /// The ids under each router.
    pub routers: BTreeMap<String, BTreeSet<String>>,
}

/// Reads all dumps and checks them against each other and against the objects.
pub fn check(bench: &mut Bench) -> View {
    let Some(Body::WorkerDumpResponse(dump)) = bench.call(Method::WorkerDump, "", None) else {
        panic!("a worker dump")
    };
    let worker::DumpResponse { web_rtc_server_ids, router_ids, channel_message_handlers, .. } =
        *dump;
    let mut seen = Objects { web_rtc_servers: web_rtc_server_ids.len(), ..Objects::default() };
    let mut view = View::default();
    let mut served = BTreeSet::new();
    for id in web_rtc_server_ids {
        let Some(Body::WebRtcServerDumpResponse(dump)) =
            bench.call(Method::WebrtcserverDump, &id, None)
        else {
            panic!("a server dump")
        };
        served.extend(dump.web_rtc_transport_ids);
        view.all.insert(id);
    }
    let mut notified = BTreeSet::new();
    for id in router_ids {
        let under = check_router(bench, &id, &mut seen, &mut notified);
        view.all.extend(under.iter().cloned());
        view.all.insert(id.clone());
        view.routers.insert(id, under);
    }
    assert!(served.is_subset(&view.all), "servers know only transports that live");
    assert_eq!(seen, bench.worker.objects());
    let handlers: BTreeSet<String> =
        channel_message_handlers.channel_request_handlers.into_iter().collect();
    assert_eq!(handlers, view.all);
    let handlers: BTreeSet<String> =
        channel_message_handlers.channel_notification_handlers.into_iter().collect();
    assert_eq!(handlers, notified);
    view
}

fn check_router(
    bench: &mut Bench,
    id: &str,
    seen: &mut Objects,
    notified: &mut BTreeSet<String>,
) -> BTreeSet<String> {
    let Some(Body::RouterDumpResponse(dump)) = bench.call(Method::RouterDump, id, None) else {
        panic!("a router dump")
    };
    let router::DumpResponse {
        transport_ids,
        rtp_observer_ids,
        map_producer_id_consumer_ids,
        map_consumer_id_producer_id,
        map_producer_id_observer_ids,
        map_data_producer_id_data_consumer_ids,
        map_data_consumer_id_data_producer_id,
        ..
    } = *dump;
    seen.routers += 1;
    seen.transports += transport_ids.len();
    seen.rtp_observers += rtp_observer_ids.len();
    let mut under: BTreeSet<String> =
        transport_ids.iter().chain(&rtp_observer_ids).cloned().collect();
    notified.extend(transport_ids.iter().cloned());
    let mut children = Children::default();
    for id in &transport_ids {
        children.add(bench, id);
    }
    seen.producers += children.producers.len();
    seen.consumers += children.consumers.len();
    seen.data_producers += children.data_producers.len();
    seen.data_consumers += children.data_consumers.len();
    notified.extend(children.producers.iter().chain(&children.data_producers).cloned());

    let keys = |entries: &[mediasoup_horizontal::channel::fbs::common::StringStringArray]| {
        entries.iter().map(|entry| entry.key.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(keys(&map_producer_id_consumer_ids), children.producers);
    assert_eq!(keys(&map_producer_id_observer_ids), children.producers);
    assert_eq!(keys(&map_data_producer_id_data_consumer_ids), children.data_producers);
    for observer in map_producer_id_observer_ids.iter().flat_map(|entry| &entry.values) {
        assert!(rtp_observer_ids.contains(observer));
    }
    let there: BTreeMap<_, _> = map_consumer_id_producer_id
        .into_iter()
        .chain(map_data_consumer_id_data_producer_id)
        .map(|pair| (pair.key, pair.value))
        .collect();
    let back: BTreeMap<_, _> = map_producer_id_consumer_ids
        .into_iter()
        .chain(map_data_producer_id_data_consumer_ids)
        .flat_map(|entry| entry.values.into_iter().map(move |id| (id, entry.key.clone())))
        .collect();
    assert_eq!(there, back, "both directions of the maps agree");
    let consumers: BTreeSet<_> =
        children.consumers.union(&children.data_consumers).cloned().collect();
    assert_eq!(there.keys().cloned().collect::<BTreeSet<_>>(), consumers);
    for (consumer, producer) in &there {
        check_consumer(bench, consumer, producer);
    }
    under.extend(consumers);
    under.extend(children.producers);
    under.extend(children.data_producers);
    under
}

#[derive(Default)]
struct Children {
    producers: BTreeSet<String>,
    consumers: BTreeSet<String>,
    data_producers: BTreeSet<String>,
    data_consumers: BTreeSet<String>,
}

impl Children {
    fn add(&mut self, bench: &mut Bench, id: &str) {
        let base = match bench.call(Method::TransportDump, id, None) {
            Some(Body::WebRtcTransportDumpResponse(dump)) => dump.base,
            Some(Body::PlainTransportDumpResponse(dump)) => dump.base,
            Some(Body::PipeTransportDumpResponse(dump)) => dump.base,
            Some(Body::DirectTransportDumpResponse(dump)) => dump.base,
            other => panic!("a transport dump, not {other:?}"),
        };
        let transport::Dump {
            producer_ids,
            consumer_ids,
            data_producer_ids,
            data_consumer_ids,
            rtp_listener,
            sctp_listener,
            ..
        } = *base;
        for entry in &rtp_listener.ssrc_table {
            assert!(producer_ids.contains(&entry.value));
        }
        for entry in sctp_listener.iter().flat_map(|listener| &listener.stream_id_table) {
            assert!(data_producer_ids.contains(&entry.value));
        }
        self.producers.extend(producer_ids);
        self.consumers.extend(consumer_ids);
        self.data_producers.extend(data_producer_ids);
        self.data_consumers.extend(data_consumer_ids);
    }
}

fn check_consumer(bench: &mut Bench, consumer: &str, producer: &str) {
    let reply = bench.request(Method::ConsumerDump, consumer, None);
    if reply.is_accepted() {
        let Some(Body::ConsumerDumpResponse(dump)) = reply.accepted() else { panic!("a dump") };
        let Some(Body::ProducerDumpResponse(other)) =
            bench.call(Method::ProducerDump, producer, None)
        else {
            panic!("a dump")
        };
        assert_eq!(dump.data.base.producer_id, producer);
        assert_eq!(dump.data.base.producer_paused, other.paused);
        return;
    }
    let Some(Body::DataConsumerDumpResponse(dump)) =
        bench.call(Method::DataconsumerDump, consumer, None)
    else {
        panic!("a dump")
    };
    let Some(Body::DataProducerDumpResponse(other)) =
        bench.call(Method::DataproducerDump, producer, None)
    else {
        panic!("a dump")
    };
    assert_eq!(dump.data_producer_id, producer);
    assert_eq!(dump.data_producer_paused, other.paused);
}
