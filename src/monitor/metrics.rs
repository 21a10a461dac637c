//! An app's stats as metrics. Series are as many as there are connections and methods, never as
//! there are Routers or consumers.

use std::{collections::BTreeMap, fmt};

use super::{
    page::{Kind, Metric, Page, number},
    stats::{ConnectionStats, LinkStats, Stats},
};
use crate::MEDIASOUP_VERSION;

const PREFIX: &str = "mediasoup_horizontal_";

macro_rules! metrics {
    ($($kind:ident $name:literal $labels:tt $help:literal)*) => {
        &[$(Metric {
            name: concat!("mediasoup_horizontal_", $name),
            kind: Kind::$kind,
            labels: &$labels,
            help: $help,
        }),*]
    };
}

/// What `horizontal.metrics()` tells.
pub const METRICS: &[Metric] = metrics! {
    Gauge "info" ["version", "mediasoup"] "Always 1; the versions of the package and of mediasoup"
    Gauge "connection_up" ["connection"] "1 while the connection can be used, else 0"
    Gauge "connection_draining" ["connection"] "1 while the host takes nothing new, else 0"
    Gauge "connection_mediasoup_workers" ["connection"] "mediasoup-workers that run there, everybody's"
    Gauge "connection_mediasoup_workers_max" ["connection"] "The most that it takes"
    Gauge "connection_cores" ["connection"] "Cores that mediasoup-workers may use there"
    Gauge "connection_cpu_cores" ["connection", "owner"] "Cores in use, by mediasoup-workers of this app (own) and of others (other)"
    Gauge "connection_round_trip_seconds" ["connection"] "How long the latest ping took"
    Gauge "connection_queued_bytes" ["connection"] "Bytes that wait to be written to the agent or for its acknowledgement"
    Counter "connection_frames_sent_total" ["connection"] "Frames of sessions that were written"
    Counter "connection_frames_received_total" ["connection"] "Frames of sessions that arrived"
    Counter "connection_frames_replayed_total" ["connection"] "Frames that were written again after a lost link"
    Counter "connection_sent_bytes_total" ["connection"] "Bytes of messages written, before WebSocket and TLS"
    Counter "connection_received_bytes_total" ["connection"] "Bytes of messages that arrived"
    Counter "connection_sessions_total" ["connection"] "Sessions that were opened"
    Counter "connection_sessions_lost_total" ["connection"] "Sessions that ended without the app wanting it"
    Counter "connection_resumes_total" ["connection"] "Links that went on with a session"
    Counter "connection_dial_failures_total" ["connection"] "Attempts to reach the agent that failed"
    Counter "connection_spawn_retries_total" ["connection"] "mediasoup-workers that were asked for again of another session"
    Gauge "workers" [] "Workers of the app"
    Gauge "worker_parts" ["connection"] "Parts of Workers: mediasoup-workers, or shares of them"
    Gauge "objects" ["connection", "kind"] "Objects of the app"
    Gauge "router_parts_max" [] "Parts of the Router that has most"
    Gauge "pipes" ["from", "to"] "Producers and DataProducers that are piped from one connection to another, or inside of one"
    Gauge "pipes_paused" ["from", "to"] "Those of them that rest because nobody needs their media"
    Gauge "calls_under_way" [] "Calls that wait for an answer, the package's own too"
    Gauge "worker_queued_bytes" [] "Bytes that wait for a mediasoup-worker or for the app to read them"
    Counter "calls_total" ["method"] "Calls that mediasoup made"
    Counter "call_errors_total" [] "Calls that ended with an error"
    Counter "workers_started_total" [] "Workers that began"
    Counter "workers_ended_total" [] "Workers that closed or died"
    Counter "parts_opened_total" [] "Further parts that Workers grew"
    Counter "parts_failed_total" [] "Further parts that could not be had"
    Counter "parts_lost_total" [] "Parts that died while their Worker lived on"
    Counter "events_missed_total" [] "Events that were dropped because the app did not take them"
};

/// The stats as a page of metrics.
pub fn page(stats: &Stats) -> Result<String, fmt::Error> {
    let page = Page::new(PREFIX, METRICS);
    page.gauge("info", &[env!("CARGO_PKG_VERSION"), MEDIASOUP_VERSION], 1.0);
    for connection in &stats.connections {
        fill_connection(&page, connection);
    }
    fill_workers(&page, stats);
    fill_counters(&page, stats);
    page.text()
}

fn fill_connection(page: &Page, connection: &ConnectionStats) {
    let name = connection.name.as_str();
    let flag = |set| f64::from(u8::from(set));
    page.gauge("connection_up", &[name], flag(connection.state == "connected"));
    page.gauge("connection_draining", &[name], flag(connection.draining));
    if let (Some(workers), Some(max)) = (connection.workers, connection.max_workers) {
        page.gauge("connection_mediasoup_workers", &[name], number(workers));
        page.gauge("connection_mediasoup_workers_max", &[name], number(max));
    }
    page.gauge("connection_cores", &[name], number(connection.cores));
    page.gauge("connection_cpu_cores", &[name, "own"], connection.cpu);
    page.gauge("connection_cpu_cores", &[name, "other"], connection.cpu_of_others);
    if let Some(link) = &connection.link {
        fill_link(page, name, link);
    }
}

fn fill_link(page: &Page, name: &str, link: &LinkStats) {
    if let Some(milliseconds) = link.round_trip_time_ms {
        page.gauge("connection_round_trip_seconds", &[name], milliseconds / 1000.0);
    }
    page.gauge("connection_queued_bytes", &[name], number(link.queued_bytes));
    for (metric, value) in [
        ("frames_sent", link.frames_sent),
        ("frames_received", link.frames_received),
        ("frames_replayed", link.frames_replayed),
        ("sent_bytes", link.bytes_sent),
        ("received_bytes", link.bytes_received),
        ("sessions", link.sessions),
        ("sessions_lost", link.sessions_lost),
        ("resumes", link.resumes),
        ("dial_failures", link.dial_failures),
        ("spawn_retries", link.spawn_retries),
    ] {
        page.count(&format!("connection_{metric}_total"), &[name], value);
    }
}

fn fill_workers(page: &Page, stats: &Stats) {
    page.gauge("workers", &[], number(stats.workers.len()));
    let (mut calls, mut bytes) = (0, 0);
    for worker in &stats.workers {
        calls += worker.calls_under_way;
        bytes += worker.queued_bytes;
        for part in &worker.parts {
            bytes += part.queued_bytes;
            let Some(name) = part.connection.as_deref() else { continue };
            page.gauge("worker_parts", &[name], 1.0);
            let objects = part.objects;
            for (kind, count) in [
                ("web_rtc_server", objects.web_rtc_servers),
                ("router", objects.routers),
                ("transport", objects.transports),
                ("rtp_observer", objects.rtp_observers),
                ("producer", objects.producers),
                ("consumer", objects.consumers),
                ("data_producer", objects.data_producers),
                ("data_consumer", objects.data_consumers),
            ] {
                page.gauge("objects", &[name, kind], number(count));
            }
        }
    }
    page.gauge("calls_under_way", &[], number(calls));
    page.gauge("worker_queued_bytes", &[], number(bytes));
    let most = stats.routers.iter().map(|router| router.parts.len()).max();
    page.gauge("router_parts_max", &[], number(most.unwrap_or(0)));
    let mut pipes: BTreeMap<[&str; 2], [usize; 2]> = BTreeMap::new();
    for pipe in &stats.pipes {
        let ends = [&pipe.from, &pipe.to].map(|end| end.connection.as_deref().unwrap_or(""));
        let counts = pipes.entry(ends).or_default();
        counts[0] += 1;
        counts[1] += usize::from(pipe.paused);
    }
    for (ends, [all, paused]) in pipes {
        page.gauge("pipes", &ends, number(all));
        page.gauge("pipes_paused", &ends, number(paused));
    }
}

fn fill_counters(page: &Page, stats: &Stats) {
    let counters = &stats.counters;
    for (method, count) in &counters.calls {
        page.count("calls_total", &[method], *count);
    }
    for (name, value) in [
        ("call_errors_total", counters.errors),
        ("workers_started_total", counters.workers_started),
        ("workers_ended_total", counters.workers_ended),
        ("parts_opened_total", counters.parts_opened),
        ("parts_failed_total", counters.parts_failed),
        ("parts_lost_total", counters.parts_lost),
        ("events_missed_total", counters.events_missed),
    ] {
        page.count(name, &[], value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::monitor::{page::tests::check_table, stats::tests::busy};

    #[test]
    fn the_table_is_documented() {
        check_table(METRICS, PREFIX, &["mediasoup_horizontal_agent_"]);
    }

    #[test]
    fn every_metric_of_a_busy_app_has_a_value() {
        let text = page(&busy()).unwrap();
        for metric in METRICS {
            let told = |line: &str| {
                let rest = line.strip_prefix(metric.name);
                rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            assert!(text.lines().any(told), "{} has no value in\n{text}", metric.name);
        }
        for line in [
            "mediasoup_horizontal_connection_up{connection=\"wss://a\"} 1.0",
            "mediasoup_horizontal_connection_round_trip_seconds{connection=\"wss://a\"} 0.0125",
            "mediasoup_horizontal_connection_cpu_cores{connection=\"wss://a\",owner=\"own\"} 0.75",
            "mediasoup_horizontal_connection_cpu_cores{connection=\"wss://a\",owner=\"other\"} 0.1",
            "mediasoup_horizontal_objects{connection=\"wss://a\",kind=\"consumer\"} 2.0",
            "mediasoup_horizontal_worker_parts{connection=\"wss://a\"} 1.0",
            "mediasoup_horizontal_pipes{from=\"wss://a\",to=\"local\"} 2.0",
            "mediasoup_horizontal_pipes_paused{from=\"wss://a\",to=\"local\"} 1.0",
            "mediasoup_horizontal_worker_queued_bytes 35.0",
            "mediasoup_horizontal_router_parts_max 2.0",
            "mediasoup_horizontal_calls_total{method=\"transport.consume\"} 3",
        ] {
            assert!(text.lines().any(|told| told == line), "no {line} in\n{text}");
        }
    }
}
