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

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStats {
    pub pid: u32,
    pub connection: String,
    /// Whether it told of itself in time. What it would have told is missing otherwise.
    pub answered: bool,
    pub parts: Vec<PartStats>,
    pub objects: Counts,
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
    pub objects: Counts,
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
    pub objects: Counts,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
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
                objects: view.map(|view| view.counts).unwrap_or_default(),
            }
        });
        let parts = parts.collect();
        let home = connection.clone();
        self.workers.push(WorkerStats {
            pid: worker,
            connection,
            answered,
            parts,
            objects: census.counts,
            calls_under_way: census.under_way,
            queued_bytes: library_bytes,
        });
        self.routers.extend(census.routers.into_iter().map(|router| RouterStats {
            id: router.id,
            worker,
            parts: router.parts.iter().map(place).collect(),
            objects: router.counts,
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
pub mod tests;
