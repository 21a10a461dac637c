//! An agent's metrics, and whether it is ready for more.

use std::{fmt, sync::atomic::Ordering::Relaxed};

use super::{
    AgentState, Server,
    counters::{NoStart, NotLetIn, SessionEnd, WorkerEnd},
};
use crate::{
    monitor::page::{Kind, Metric, Page, number},
    worker_process::cpu::cores,
};

const PREFIX: &str = "mediasoup_horizontal_agent_";

/// How many workers have a series of their own at most.
const WORKERS_MAX: usize = 1024;

macro_rules! metrics {
    ($($kind:ident $name:literal $labels:tt $help:literal)*) => {
        &[$(Metric {
            name: concat!("mediasoup_horizontal_agent_", $name),
            kind: Kind::$kind,
            labels: &$labels,
            help: $help,
        }),*]
    };
}

/// What `GET /metrics` of an agent tells.
pub const METRICS: &[Metric] = metrics! {
    Gauge "info" ["version", "mediasoup"] "Always 1; the version of the package and those of the mediasoup-workers on offer"
    Gauge "start_time_seconds" [] "When the agent began, since 1970"
    Gauge "ready" [] "1 while it takes new mediasoup-workers, else 0"
    Gauge "draining" [] "1 while it means to leave, else 0"
    Gauge "drain_left_seconds" [] "How much time a drain has left; absent where it has no end"
    Gauge "cores" [] "Cores that mediasoup-workers may use"
    Gauge "sessions" [] "Sessions of controllers, with and without a link"
    Gauge "sessions_max" [] "The most that it takes"
    Gauge "workers" [] "mediasoup-workers that run"
    Gauge "workers_max" [] "The most that it takes"
    Gauge "worker_cpu_cores" ["pid"] "Cores that each mediasoup-worker uses"
    Counter "sessions_opened_total" [] "Sessions that were opened"
    Counter "sessions_resumed_total" [] "Links that went on with a session"
    Counter "sessions_ended_total" ["cause"] "Sessions that ended"
    Counter "links_lost_total" [] "Links that were lost while their session went on"
    Counter "connections_refused_total" ["reason"] "Connections that did not become a session's link"
    Counter "workers_started_total" [] "mediasoup-workers that were started"
    Counter "workers_ended_total" ["cause"] "mediasoup-workers that ended"
    Counter "workers_refused_total" ["reason"] "mediasoup-workers that were asked for and not started"
    Counter "limit_hits_total" ["limit"] "How often a limit was reached"
    Counter "frames_sent_total" [] "Frames of sessions that were written"
    Counter "frames_received_total" [] "Frames of sessions that arrived"
    Counter "frames_replayed_total" [] "Frames that were written again after a lost link"
    Counter "sent_bytes_total" [] "Bytes of messages written, before WebSocket and TLS"
    Counter "received_bytes_total" [] "Bytes of messages that arrived"
};

/// Why an agent takes no new workers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    #[error("the agent is about to end")]
    Closing,
    #[error("the agent is draining")]
    Draining,
    #[error("no mediasoup-worker to run")]
    NoWorkers,
    #[error("its certificates cannot be used: {0}")]
    Tls(String),
}

impl Server {
    /// Whether it takes new workers, as far as it can tell without a try.
    pub fn readiness(&self) -> Result<(), NotReady> {
        match self.state() {
            AgentState::Running => {}
            AgentState::Draining(_) => return Err(NotReady::Draining),
            AgentState::Closing => return Err(NotReady::Closing),
        }
        if self.shared.source.offers().is_empty() {
            return Err(NotReady::NoWorkers);
        }
        let problem = self.shared.options.tls.as_ref().and_then(crate::net::ServerTls::problem);
        problem.map_or(Ok(()), |problem| Err(NotReady::Tls(problem)))
    }

    /// Its metrics as text.
    pub fn metrics(&self) -> Result<String, fmt::Error> {
        let page = Page::new(PREFIX, METRICS);
        gauges(&page, self);
        counters(&page, self);
        page.text()
    }
}

fn gauges(page: &Page, server: &Server) {
    let shared = &server.shared;
    let mut versions: Vec<_> =
        shared.source.offers().into_iter().map(|offer| offer.version).collect();
    versions.sort_unstable();
    versions.dedup();
    page.gauge("info", &[env!("CARGO_PKG_VERSION"), &versions.join(",")], 1.0);
    page.gauge("start_time_seconds", &[], shared.started_at.as_secs_f64());
    page.gauge("ready", &[], f64::from(u8::from(server.readiness().is_ok())));
    let drain = shared.drain.now();
    page.gauge("draining", &[], f64::from(u8::from(drain.is_some())));
    if let Some(left) = drain.and_then(|drain| drain.left()) {
        page.gauge("drain_left_seconds", &[], left.as_secs_f64());
    }
    page.gauge("cores", &[], number(cores()));
    page.gauge("sessions", &[], number(shared.sessions.count()));
    page.gauge("sessions_max", &[], number(shared.options.max_sessions));
    let load = server.load();
    page.gauge("workers", &[], number(load.workers));
    page.gauge("workers_max", &[], number(load.max_workers));
    for (pid, load) in shared.sampler.sample().loads.into_iter().take(WORKERS_MAX) {
        page.gauge("worker_cpu_cores", &[&pid.to_string()], f64::from(load) / 1000.0);
    }
}

fn counters(page: &Page, server: &Server) {
    let counters = &server.shared.counters;
    let traffic = server.shared.meter.read();
    for (name, value) in [
        ("sessions_opened_total", counters.sessions_opened.load(Relaxed)),
        ("sessions_resumed_total", counters.sessions_resumed.load(Relaxed)),
        ("links_lost_total", counters.links_lost.load(Relaxed)),
        ("workers_started_total", counters.workers_started.load(Relaxed)),
        ("frames_sent_total", traffic.frames_sent),
        ("frames_received_total", traffic.frames_received),
        ("frames_replayed_total", traffic.frames_replayed),
        ("sent_bytes_total", traffic.bytes_sent),
        ("received_bytes_total", traffic.bytes_received),
    ] {
        page.count(name, &[], value);
    }
    counts(page, "sessions_ended_total", &SessionEnd::NAMES, &counters.sessions_ended.read());
    counts(page, "connections_refused_total", &NotLetIn::NAMES, &counters.not_let_in.read());
    counts(page, "workers_ended_total", &WorkerEnd::NAMES, &counters.workers_ended.read());
    let refused = counters.workers_not_started.read();
    counts(page, "workers_refused_total", &NoStart::NAMES, &refused);
    for (limit, hits) in server.limits().all() {
        page.count("limit_hits_total", &[limit], hits);
    }
}

fn counts(page: &Page, metric: &str, names: &[&str], values: &[u64]) {
    for (name, value) in names.iter().zip(values) {
        page.count(metric, &[name], *value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_documented() {
        crate::monitor::page::tests::check_table(METRICS, PREFIX, &[]);
    }
}
