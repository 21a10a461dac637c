//! Stats that are put together of everything.

#![allow(clippy::unwrap_used)]
use std::time::Duration;

use super::*;
use crate::{
    connection::{AgentDetails, LinkDetails},
    core::relay::PartReport,
    net::Traffic,
    virtual_worker::{Census, ObjectKind, ObjectView, PartView, PipeView, RouterView},
};

fn agent() -> ConnectionStats {
    let details = Details {
        worker_versions: vec!["3.27.1".to_owned()],
        agent: Some(AgentDetails {
            agent_id: "a:4480".to_owned(),
            instance_id: "1".to_owned(),
            version: String::new(),
            protocol: 1,
            session: "0badcafe".to_owned(),
        }),
        links: Some(LinkDetails {
            round_trip: Some(Duration::from_micros(12_500)),
            traffic: Traffic { frames_replayed: 4, ..Traffic::default() },
            queued_bytes: 9,
            ..LinkDetails::default()
        }),
    };
    let host = HostLoad {
        cores: 4,
        labels: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
        own: BTreeMap::from([(50, 500), (51, 250)]),
        others: vec![100],
        age: Some(Duration::from_millis(300)),
        draining: false,
    };
    let load = Some(Load { workers: 3, max_workers: 8 });
    let name = "wss://a".to_owned();
    ConnectionStats::new(name, false, ConnectionState::Connected, load, host, details, None)
}

/// Something of everything.
pub fn busy() -> Stats {
    let here = ConnectionStats::new(
        "local".to_owned(),
        true,
        ConnectionState::Connected,
        None,
        HostLoad::default(),
        Details::default(),
        None,
    );
    let counts = Counts { consumers: 2, ..Counts::default() };
    let view = |part, home, counts| PartView { part: PartId(part), home, open: true, counts };
    let pipe = |paused| PipeView {
        router: "r".to_owned(),
        producer: "p".to_owned(),
        data: false,
        from: PartId(1),
        to: PartId(0),
        relayed: false,
        started: true,
        users: 3,
        active: 2,
        paused,
        bitrate: Some(1000),
    };
    let census = Census {
        counts,
        parts: vec![view(0, true, Counts::default()), view(1, false, counts)],
        routers: vec![RouterView { id: "r".to_owned(), parts: vec![PartId(0), PartId(1)], counts }],
        pipes: vec![pipe(false), pipe(true)],
        objects: vec![ObjectView {
            kind: ObjectKind::Transport,
            id: "t".to_owned(),
            part: PartId(1),
            router: Some("r".to_owned()),
            transport: Some("plain"),
        }],
        under_way: 1,
    };
    let part = |part, connection: &str, pid, queued_bytes| PartReport {
        part: PartId(part),
        connection: Some(connection.to_owned()),
        pid: Some(pid),
        reachable: true,
        queued_bytes,
    };
    let parts = vec![part(0, "local", 0, 10), part(1, "wss://a", 50, 20)];
    let report = Some(Report { census, parts, library_bytes: 5 });
    let busy = WorkerSnapshot { pid: 7, connection: "local".to_owned(), report };
    let mute = WorkerSnapshot { pid: 8, connection: "local".to_owned(), report: None };
    let calls = BTreeMap::from([("transport.consume", 3)]);
    let counted = Counted { calls, refused: 1, ..Counted::default() };
    Stats::new(vec![here, agent()], vec![busy, mute], counted, 6, true)
}

#[test]
fn parts_are_told_by_where_they_live() {
    let stats = busy();
    let [worker, mute] = stats.workers.as_slice() else { panic!("{:?}", stats.workers) };
    assert!(worker.answered && !mute.answered && mute.parts.is_empty());
    let [home, far] = worker.parts.as_slice() else { panic!("{worker:?}") };
    // The process that the app knows became the worker.
    assert_eq!((home.pid, home.home, home.cpu), (Some(7), true, None));
    assert_eq!((far.pid, far.home, far.cpu), (Some(50), false, Some(0.5)));
    assert_eq!(far.objects.consumers, 2);
    let place =
        |connection: &str, pid| Place { connection: Some(connection.to_owned()), pid: Some(pid) };
    assert_eq!(stats.routers[0].parts, [place("local", 7), place("wss://a", 50)]);
    assert_eq!(stats.pipes[0].from, place("wss://a", 50));
    assert_eq!(stats.counters.events_missed, 6);
}

#[test]
fn apps_get_it_in_the_words_of_javascript() {
    let json = serde_json::to_value(busy()).unwrap();
    let agent = &json["connections"][1];
    assert_eq!(agent["link"]["roundTripTimeMs"], 12.5);
    assert_eq!(agent["link"]["framesReplayed"], 4);
    assert_eq!(agent["agent"]["session"], "0badcafe");
    assert_eq!(agent["agent"]["version"], serde_json::Value::Null);
    assert_eq!((&agent["region"], &agent["cpu"]), (&"eu".into(), &0.75.into()));
    assert_eq!(agent["cpuByWorker"]["51"], 0.25);
    assert_eq!(json["objects"][0]["kind"], "worker");
    assert_eq!(json["objects"][1]["kind"], "plainTransport");
    assert_eq!(json["pipes"][1]["paused"], true);
    let without = Stats::new(Vec::new(), Vec::new(), Counted::default(), 0, false);
    assert!(serde_json::to_value(without).unwrap().get("objects").is_none());
}
