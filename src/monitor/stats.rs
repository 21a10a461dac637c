//! What an app is shown of its connections and of what lives on them. The texts of `index.d.ts` say
//! what each field means.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{events::Kind, tally::Counted};
use crate::{
    connection::{ConnectionState, Details, HostLoad, Load},
    core::relay::Report,
    virtual_worker::{Counts, PartId},
};

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    pub connections: Vec<ConnectionStats>,
    pub workers: Vec<WorkerStats>,
    pub routers: Vec<RouterStats>,
    pub pipes: Vec<PipeStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<ObjectStats>>,
    pub counters: CounterStats,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStats {
    pub name: String,
    pub local: bool,
    pub state: &'static str,
    pub problem: Option<String>,
    pub workers: Option<usize>,
    pub max_workers: Option<usize>,
    pub cores: usize,
    pub cpu: f64,
    /// By process id on its host.
    pub cpu_by_worker: BTreeMap<u32, f64>,
    pub cpu_of_others: f64,
    pub measured_ms_ago: Option<u64>,
    pub draining: bool,
    pub region: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub worker_versions: Vec<String>,
    pub agent: Option<AgentStats>,
    pub link: Option<LinkStats>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentStats {
    pub id: String,
    pub instance_id: String,
    pub version: Option<String>,
    pub protocol: u32,
    pub session: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkStats {
    pub round_trip_time_ms: Option<f64>,
    pub frames_sent: u64,
    pub frames_received: u64,
    pub frames_replayed: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub queued_bytes: usize,
    pub sessions: u64,
    pub sessions_lost: u64,
    pub resumes: u64,
    pub dial_failures: u64,
    pub spawn_retries: u64,
}

/// Numbers of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectCounts {
    pub web_rtc_servers: usize,
    pub routers: usize,
    pub transports: usize,
    pub rtp_observers: usize,
    pub producers: usize,
    pub consumers: usize,
    pub data_producers: usize,
    pub data_consumers: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStats {
    pub pid: u32,
    pub connection: String,
    /// Whether it told of itself in time. What it would have told is missing otherwise.
    pub answered: bool,
    pub parts: Vec<PartStats>,
    pub objects: ObjectCounts,
    pub calls_under_way: usize,
    /// Bytes that the app's own process has yet to read.
    pub queued_bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartStats {
    pub connection: Option<String>,
    pub pid: Option<u32>,
    pub home: bool,
    pub reachable: bool,
    pub cpu: Option<f64>,
    pub queued_bytes: usize,
    pub objects: ObjectCounts,
}

/// Where something lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub connection: Option<String>,
    pub pid: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterStats {
    pub id: String,
    pub worker: u32,
    pub parts: Vec<Place>,
    pub objects: ObjectCounts,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipeStats {
    pub worker: u32,
    pub router: String,
    /// Of the Producer or `DataProducer`.
    pub producer: String,
    pub data: bool,
    pub from: Place,
    pub to: Place,
    pub relayed: bool,
    pub ready: bool,
    pub users: usize,
    pub active_users: usize,
    pub paused: bool,
    pub bitrate: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStats {
    pub kind: Kind,
    pub id: String,
    pub connection: String,
    pub worker: u32,
    pub router: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CounterStats {
    pub calls: BTreeMap<&'static str, u64>,
    pub errors: u64,
    pub workers_started: u64,
    pub workers_ended: u64,
    pub parts_opened: u64,
    pub parts_failed: u64,
    pub parts_lost: u64,
    pub events_missed: u64,
}

/// One Worker of the app, as it was asked.
pub struct WorkerSnapshot {
    pub pid: u32,
    /// Where it was born.
    pub connection: String,
    /// `None`: it did not answer in time.
    pub report: Option<Report>,
}

impl ConnectionStats {
    pub fn new(
        name: String,
        local: bool,
        state: ConnectionState,
        load: Option<Load>,
        host: HostLoad,
        details: Details,
        problem: Option<String>,
    ) -> Self {
        let own: u32 = host.own.values().sum();
        let link = details.links.map(|links| LinkStats {
            round_trip_time_ms: links.round_trip.map(|time| time.as_secs_f64() * 1000.0),
            frames_sent: links.traffic.frames_sent,
            frames_received: links.traffic.frames_received,
            frames_replayed: links.traffic.frames_replayed,
            bytes_sent: links.traffic.bytes_sent,
            bytes_received: links.traffic.bytes_received,
            queued_bytes: links.queued_bytes,
            sessions: links.sessions,
            sessions_lost: links.sessions_lost,
            resumes: links.resumes,
            dial_failures: links.dial_failures,
            spawn_retries: links.spawn_retries,
        });
        Self {
            name,
            local,
            state: state.name(),
            problem,
            workers: load.map(|load| load.workers),
            max_workers: load.map(|load| load.max_workers),
            cores: host.cores,
            cpu: cores(own),
            cpu_by_worker: host.own.iter().map(|(pid, cpu)| (*pid, cores(*cpu))).collect(),
            cpu_of_others: cores(host.total().saturating_sub(own)),
            measured_ms_ago: host.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            draining: host.draining,
            region: host.region().map(str::to_owned),
            labels: host.labels,
            worker_versions: details.worker_versions,
            agent: details.agent.map(|agent| AgentStats {
                id: agent.agent_id,
                instance_id: agent.instance_id,
                version: Some(agent.version).filter(|version| !version.is_empty()),
                protocol: agent.protocol,
                session: agent.session,
            }),
            link,
        }
    }
}

/// Thousandths of a core as cores.
fn cores(thousandths: u32) -> f64 {
    f64::from(thousandths) / 1000.0
}

impl From<Counts> for ObjectCounts {
    fn from(counts: Counts) -> Self {
        Self {
            web_rtc_servers: counts.web_rtc_servers,
            routers: counts.routers,
            transports: counts.transports,
            rtp_observers: counts.rtp_observers,
            producers: counts.producers,
            consumers: counts.consumers,
            data_producers: counts.data_producers,
            data_consumers: counts.data_consumers,
        }
    }
}

impl Stats {
    /// Puts together what connections and Workers told.
    pub fn new(
        connections: Vec<ConnectionStats>,
        snapshots: Vec<WorkerSnapshot>,
        counted: Counted,
        events_missed: u64,
        name_objects: bool,
    ) -> Self {
        let mut stats = Self {
            connections,
            workers: Vec::new(),
            routers: Vec::new(),
            pipes: Vec::new(),
            objects: name_objects.then(Vec::new),
            counters: CounterStats {
                calls: counted.calls,
                errors: counted.refused,
                workers_started: counted.workers_started,
                workers_ended: counted.workers_ended,
                parts_opened: counted.parts_opened,
                parts_failed: counted.parts_failed,
                parts_lost: counted.parts_lost,
                events_missed,
            },
        };
        for snapshot in snapshots {
            stats.add(snapshot);
        }
        stats
    }

    fn cpu(&self, place: &Place) -> Option<f64> {
        let name = place.connection.as_ref()?;
        let connection = self.connections.iter().find(|connection| connection.name == *name)?;
        connection.cpu_by_worker.get(&place.pid?).copied()
    }

    fn add(&mut self, snapshot: WorkerSnapshot) {
        let WorkerSnapshot { pid: worker, connection, report } = snapshot;
        let answered = report.is_some();
        let Report { census, parts, library_bytes } = report.unwrap_or_default();
        // A process that became the worker is the one that the app knows.
        let own = |pid: Option<u32>| pid.map(|pid| if pid == 0 { worker } else { pid });
        let places: HashMap<PartId, Place> = parts
            .iter()
            .map(|part| {
                let place = Place { connection: part.connection.clone(), pid: own(part.pid) };
                (part.part, place)
            })
            .collect();
        let nowhere = Place { connection: None, pid: None };
        let place = |part: &PartId| places.get(part).unwrap_or(&nowhere).clone();
        let views: HashMap<PartId, _> = census.parts.iter().map(|view| (view.part, view)).collect();
        let parts = parts.iter().map(|part| {
            let place = place(&part.part);
            let view = views.get(&part.part);
            PartStats {
                cpu: self.cpu(&place),
                connection: place.connection,
                pid: place.pid,
                home: view.is_some_and(|view| view.home),
                reachable: part.reachable && part.connection.is_some(),
                queued_bytes: part.queued_bytes,
                objects: view.map(|view| view.counts.into()).unwrap_or_default(),
            }
        });
        let parts = parts.collect();
        let home = connection.clone();
        self.workers.push(WorkerStats {
            pid: worker,
            connection,
            answered,
            parts,
            objects: census.counts.into(),
            calls_under_way: census.under_way,
            queued_bytes: library_bytes,
        });
        self.routers.extend(census.routers.into_iter().map(|router| RouterStats {
            id: router.id,
            worker,
            parts: router.parts.iter().map(place).collect(),
            objects: router.counts.into(),
        }));
        self.pipes.extend(census.pipes.into_iter().map(|pipe| PipeStats {
            worker,
            router: pipe.router,
            producer: pipe.producer,
            data: pipe.data,
            from: place(&pipe.from),
            to: place(&pipe.to),
            relayed: pipe.relayed,
            ready: pipe.started,
            users: pipe.users,
            active_users: pipe.active,
            paused: pipe.paused,
            bitrate: pipe.bitrate,
        }));
        if let Some(objects) = &mut self.objects {
            objects.push(ObjectStats {
                kind: Kind::Worker,
                id: worker.to_string(),
                connection: home,
                worker,
                router: None,
            });
            objects.extend(census.objects.into_iter().map(|object| ObjectStats {
                kind: Kind::of(object.kind, object.transport),
                id: object.id,
                // A worker that has made an object runs somewhere.
                connection: place(&object.part).connection.unwrap_or_default(),
                worker,
                router: object.router,
            }));
        }
    }
}

#[cfg(test)]
pub mod tests {
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
            routers: vec![RouterView {
                id: "r".to_owned(),
                parts: vec![PartId(0), PartId(1)],
                counts,
            }],
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
        let place = |connection: &str, pid| Place {
            connection: Some(connection.to_owned()),
            pid: Some(pid),
        };
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
}
