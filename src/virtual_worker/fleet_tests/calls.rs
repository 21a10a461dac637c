//! Workers that hang behind good links: every call ends, and nothing of it is left.

use std::time::Duration;

use super::{
    bodies::{self, Media},
    fleet::{Fleet, HOME, Hosts},
};
use crate::{
    channel::{
        compose,
        fbs::{request, response},
        method::Method,
    },
    virtual_worker::{Fate, ObjectKind, PartId, Spread},
};

const TIMEOUT: Duration = Duration::from_secs(40);
/// Just before it.
const BEFORE: Duration = Duration::from_secs(39);
const LONG: Duration = Duration::from_secs(45);
const FAR: PartId = PartId(1);

fn fleet(spread: Spread) -> Fleet {
    let mut fleet = Fleet::spread(spread, Hosts::Several);
    fleet.worker = fleet.worker.with_call_timeout(Some(TIMEOUT));
    fleet
}

/// w0 with p on part 1, w1 on part 2 and w2 at home.
fn room() -> Fleet {
    let mut fleet = fleet(Spread::scatter(3));
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    for index in 0..3 {
        let body = bodies::create_web_rtc(&format!("w{index}"), vec![bodies::udp(0)]);
        fleet.ok(Method::RouterCreateWebrtctransport, "r", body);
    }
    fleet.ok(Method::TransportProduce, "w0", bodies::produce("p", Media::Opus, 1000));
    fleet
}

fn refused(fleet: &mut Fleet, id: u32) -> String {
    let (class, reason) = fleet.answer(id).expect("an answer").expect_err("no answer came");
    assert_eq!(class, "Error");
    reason
}

fn ends_clean(mut fleet: Fleet) {
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    fleet.wait(Duration::from_secs(60));
    assert_eq!(fleet.left(), 0);
    assert_eq!(fleet.worker.requests_under_way(), 0);
    assert!(fleet.worker.objects().is_empty() && fleet.worker.pipes.is_empty());
    assert_eq!(fleet.worker.next_tick(), None);
}

#[test]
fn a_call_names_what_was_asked_where_and_why_and_its_late_answer_is_dropped() {
    let mut fleet = fleet(Spread::ONE_PART);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    fleet.held.insert(HOME);
    let dump = fleet.ask(Method::RouterDump, "r", None);
    fleet.wait(BEFORE);
    assert_eq!(fleet.answer(dump), None, "not before its time");
    let usage = fleet.ask(Method::WorkerGetResourceUsage, "", None);
    fleet.wait(Duration::from_secs(4));
    let reason = refused(&mut fleet, dump);
    assert_eq!(
        reason,
        "router.dump of Router r on ws://10.0.0.2: no answer within 40s (callTimeoutMs)"
    );
    assert_eq!(fleet.answer(usage), None, "it has its own time");
    fleet.held.clear();
    fleet.settle();
    let Some(Ok(Some(body))) = fleet.answer(usage) else { panic!("its own answer") };
    assert!(matches!(body, response::Body::WorkerResourceUsageResponse(_)));
    assert_eq!(fleet.answer(dump), None, "the late one is dropped");
    assert_eq!(
        fleet.diagnostics.len(),
        2,
        "that it hangs and that it speaks: {:?}",
        fleet.diagnostics
    );
    assert!(fleet.diagnostics[1].contains("ws://10.0.0.2 speaks again"));
    ends_clean(fleet);
}

#[test]
fn what_is_made_too_late_is_closed() {
    for spread in [Spread::ONE_PART, Spread::scatter(3)] {
        let mut fleet = fleet(spread);
        fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
        for index in 0..3 {
            let body = bodies::create_web_rtc(&format!("w{index}"), vec![bodies::udp(0)]);
            fleet.ok(Method::RouterCreateWebrtctransport, "r", body);
        }
        fleet.ok(Method::TransportProduce, "w2", bodies::produce("p", Media::Opus, 1000));
        fleet.ok(Method::TransportProduceData, "w2", bodies::produce_data("d", Some(1)));
        let objects = fleet.worker.objects().len();
        let left = fleet.left();
        fleet.held.insert(HOME);
        // The third transport of three parts is at home, and so is the next but two.
        let server = bodies::create_server("s", vec![bodies::udp(0)]);
        let observer = bodies::create_audio_level("o", -50);
        let consume = bodies::consume("c", "p", Media::Opus, 1000);
        let late = [
            fleet.ask(Method::WorkerCreateRouter, "", bodies::create_router("late")),
            fleet.ask(Method::WorkerCreateWebrtcserver, "", server),
            fleet.ask(Method::RouterCreateAudiolevelobserver, "r", observer),
            fleet.ask(Method::TransportProduce, "w2", bodies::produce("q", Media::Opus, 2000)),
            fleet.ask(Method::TransportConsume, "w2", consume),
            fleet.ask(Method::TransportProduceData, "w2", bodies::produce_data("e", Some(2))),
            fleet.ask(
                Method::TransportConsumeData,
                "w2",
                bodies::consume_data("f", "d", Some(3), &[]),
            ),
        ];
        let transports: Vec<u32> = (3..6)
            .map(|index| {
                let body = bodies::create_web_rtc(&format!("w{index}"), vec![bodies::udp(0)]);
                fleet.ask(Method::RouterCreateWebrtctransport, "r", body)
            })
            .collect();
        fleet.wait(LONG);
        for id in late {
            let reason = refused(&mut fleet, id);
            assert!(reason.contains("on ws://10.0.0.2: no answer within"), "{reason}");
        }
        let made = transports.iter().filter(|id| fleet.answer(**id).expect("an answer").is_ok());
        let made = made.count();
        assert_eq!(made, if spread == Spread::ONE_PART { 0 } else { 2 });
        assert_eq!(fleet.worker.objects().len(), objects + made);
        fleet.held.clear();
        fleet.settle();
        assert_eq!(fleet.worker.objects().len(), objects + made);
        if made == 0 {
            assert_eq!(fleet.left(), left, "the worker closed what it made");
        }
        // Their ids are free again.
        fleet.ok(Method::TransportProduce, "w2", bodies::produce("q", Media::Opus, 2000));
        ends_clean(fleet);
    }
}

#[test]
fn a_port_that_is_taken_is_not_asked_for_again_too_late() {
    let mut fleet = fleet(Spread::ONE_PART);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    fleet.held.insert(HOME);
    let body = bodies::create_web_rtc("t", vec![bodies::udp(0)]);
    let create = fleet.ask(Method::RouterCreateWebrtctransport, "r", body);
    let sent = fleet.sent.last().expect("it left").1.id;
    fleet.wait(LONG);
    refused(&mut fleet, create);
    fleet.worker_says(HOME, compose::refused(sent, compose::ErrorKind::Error, "port bind failed"));
    assert_eq!(fleet.answer(create), None);
    assert_eq!(fleet.sent_to(HOME, Method::RouterCreateWebrtctransport).len(), 1);
}

#[test]
fn a_consume_that_waits_for_a_pipe_ends_too() {
    // The pair of parts 1 and 2 is made while one of them hangs, for a consume on the other.
    for (hangs, transport) in [(FAR, "w1"), (PartId(2), "w0")] {
        let mut fleet = room();
        fleet.ok(Method::TransportProduce, "w1", bodies::produce("q", Media::Opus, 2000));
        let between = |pair: &crate::virtual_worker::pipes::Pair| {
            pair.sender(FAR).is_some() && pair.sender(PartId(2)).is_some()
        };
        let mut out = Vec::new();
        for pair in fleet.worker.pipes.pairs_where(between) {
            fleet.worker.drop_pair(pair, "a test", &mut out);
        }
        fleet.take(out);
        fleet.settle();
        fleet.held.insert(hangs);
        let (producer, base) = if transport == "w1" { ("p", 1000) } else { ("q", 2000) };
        let body = bodies::consume("c", producer, Media::Opus, base);
        let consume = fleet.ask(Method::TransportConsume, transport, body.clone());
        fleet.wait(LONG);
        let reason = refused(&mut fleet, consume);
        let host = format!("ws://10.0.0.{}", hangs.0 + 2);
        let named = format!("transport.consume of Transport {transport} on {host}: no answer");
        assert!(reason.starts_with(&named), "{reason}");
        assert_eq!(fleet.worker.objects().count(ObjectKind::Consumer), 0);
        fleet.held.clear();
        fleet.wait(Duration::from_secs(5));
        assert!(fleet.worker.pipes.pipes_where(|_| true).is_empty(), "nobody uses the pipe");
        fleet.ok(Method::TransportConsume, transport, body);
        ends_clean(fleet);
    }
}

#[test]
fn an_observer_gets_no_producer_that_it_was_refused() {
    let mut fleet = room();
    fleet.ok(Method::RouterCreateAudiolevelobserver, "r", bodies::create_audio_level("o", -50));
    let with_home = |pair: &crate::virtual_worker::pipes::Pair| {
        pair.sender(FAR).is_some() && pair.sender(HOME).is_some()
    };
    let mut out = Vec::new();
    for pair in fleet.worker.pipes.pairs_where(with_home) {
        fleet.worker.drop_pair(pair, "a test", &mut out);
    }
    fleet.take(out);
    fleet.settle();
    fleet.held.insert(FAR);
    let add = fleet.ask(Method::RtpobserverAddProducer, "o", bodies::add_producer("p"));
    fleet.wait(LONG);
    let reason = refused(&mut fleet, add);
    assert!(reason.starts_with("rtpObserver.addProducer of RtpObserver o on ws://10.0.0.3: "));
    fleet.held.clear();
    fleet.wait(Duration::from_secs(5));
    assert!(fleet.sent_to(HOME, Method::RtpobserverAddProducer).is_empty());
    ends_clean(fleet);
}

#[test]
fn answers_of_several_do_without_the_one_that_hangs() {
    let mut fleet = room();
    fleet.ok(Method::TransportConsume, "w1", bodies::consume("c", "p", Media::Opus, 1000));
    fleet.held.insert(PartId(2));
    let dump = fleet.ask(Method::RouterDump, "r", None);
    let pause = fleet.ask(Method::ProducerPause, "p", None);
    fleet.wait(BEFORE);
    assert_eq!((fleet.answer(dump), fleet.answer(pause)), (None, None));
    fleet.wait(Duration::from_secs(5));
    let Some(Ok(Some(response::Body::RouterDumpResponse(dump)))) = fleet.answer(dump) else {
        panic!("a dump")
    };
    assert_eq!(dump.transport_ids.len(), 3, "w1 as the app made it");
    assert_eq!(fleet.answer(pause), Some(Ok(None)));
    // From now on nobody waits for it, and nothing new goes there.
    fleet.ok(Method::WorkerDump, "", None);
    for index in 3..9 {
        let body = bodies::create_web_rtc(&format!("w{index}"), vec![bodies::udp(0)]);
        fleet.ok(Method::RouterCreateWebrtctransport, "r", body);
    }
    assert_eq!(fleet.diagnostics.len(), 1, "{:?}", fleet.diagnostics);
    fleet.held.clear();
    fleet.settle();
    assert!(fleet.diagnostics[1].contains("ws://10.0.0.4 speaks again"), "{:?}", fleet.diagnostics);
    for index in 9..12 {
        let body = bodies::create_web_rtc(&format!("w{index}"), vec![bodies::udp(0)]);
        fleet.ok(Method::RouterCreateWebrtctransport, "r", body);
    }
    assert_eq!(fleet.sent_to(PartId(2), Method::RouterCreateWebrtctransport).len(), 2);
    ends_clean(fleet);
}

#[test]
fn one_that_answers_is_enough() {
    let mut fleet = room();
    fleet.held.extend([FAR, PartId(2)]);
    let dump = fleet.ask(Method::RouterDump, "r", None);
    fleet.wait(LONG);
    let Some(Ok(Some(response::Body::RouterDumpResponse(dump)))) = fleet.answer(dump) else {
        panic!("a dump")
    };
    assert_eq!(dump.transport_ids.len(), 3);
    fleet.held.clear();
    fleet.settle();
    ends_clean(fleet);
}

#[test]
fn where_all_hang_a_view_of_all_ends_with_an_error() {
    let mut fleet = room();
    for part in 0..3 {
        fleet.held.insert(PartId(part));
    }
    let dump = fleet.ask(Method::WorkerDump, "", None);
    fleet.wait(LONG);
    let reason = refused(&mut fleet, dump);
    assert!(reason.starts_with("worker.dump of the Worker on ws://10.0.0."), "{reason}");
    fleet.held.clear();
    fleet.settle();
    ends_clean(fleet);
}

#[test]
fn an_outage_is_waited_for() {
    let mut fleet = room();
    fleet.link(FAR, false);
    let dump = fleet.ask(Method::TransportDump, "w0", None);
    fleet.wait(Duration::from_secs(3600));
    assert_eq!(fleet.answer(dump), None);
    fleet.link(FAR, true);
    assert!(fleet.answer(dump).expect("an answer").is_ok());
    assert!(fleet.diagnostics.is_empty(), "{:?}", fleet.diagnostics);
    ends_clean(fleet);
}

#[test]
fn time_that_this_process_slept_does_not_count() {
    let mut fleet = fleet(Spread::ONE_PART);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    fleet.held.insert(HOME);
    let dump = fleet.ask(Method::RouterDump, "r", None);
    fleet.wait(Duration::from_secs(2));
    fleet.tick(Duration::from_secs(3600));
    assert_eq!(fleet.answer(dump), None);
    fleet.held.clear();
    fleet.settle();
    assert!(fleet.answer(dump).expect("an answer").is_ok());
    fleet.wait(LONG);
    ends_clean(fleet);
}

#[test]
fn short_timeouts_are_kept_and_none_waits_for_ever() {
    for (timeout, ends) in [(Some(Duration::from_millis(200)), true), (None, false)] {
        let mut fleet = Fleet::spread(Spread::ONE_PART, Hosts::One);
        fleet.worker = fleet.worker.with_call_timeout(timeout);
        fleet.held.insert(HOME);
        let dump = fleet.ask(Method::WorkerDump, "", None);
        fleet.wait(Duration::from_millis(199));
        assert_eq!(fleet.answer(dump), None);
        fleet.wait(Duration::from_millis(60));
        assert_eq!(fleet.answer(dump).is_some(), ends);
    }
}

#[test]
fn who_calls_what_a_lost_host_had_hears_of_it() {
    let mut fleet = room();
    let dump = fleet.ask(Method::TransportDump, "w0", None);
    assert_eq!(fleet.kill(FAR), Fate::LivesOn);
    let reason = refused(&mut fleet, dump);
    assert_eq!(
        reason,
        "transport.dump of Transport w0 on ws://10.0.0.3: its mediasoup-worker is gone: killed"
    );
    let (class, reason) = fleet.call(Method::TransportDump, "w0", None).expect_err("it is lost");
    assert_eq!(class, "NotFoundError");
    assert_eq!(
        reason,
        "Channel request handler with ID w0 not found [method:transport.dump]: its \
         mediasoup-worker on ws://10.0.0.3 is gone: killed"
    );
    ends_clean(fleet);
}

#[test]
fn a_worker_that_dies_with_a_host_answers_every_call_first() {
    let mut fleet = room();
    fleet.slow = true;
    for part in 0..3 {
        fleet.held.insert(PartId(part));
    }
    let calls: Vec<u32> = [
        (Method::WorkerDump, "", None),
        (Method::TransportDump, "w0", None),
        (Method::TransportConsume, "w1", Some(bodies::consume("c", "p", Media::Opus, 1000))),
    ]
    .into_iter()
    .map(|(method, handler, body): (_, _, Option<request::Body>)| fleet.ask(method, handler, body))
    .collect();
    let mut out = Vec::new();
    fleet.worker.lose_calls("agent ws://a: it is gone", &mut out);
    fleet.take(out);
    let reasons: Vec<String> = calls.into_iter().map(|id| refused(&mut fleet, id)).collect();
    assert_eq!(reasons[0], "worker.dump of the Worker: agent ws://a: it is gone");
    assert_eq!(reasons[1], "transport.dump of Transport w0: agent ws://a: it is gone");
    assert_eq!(reasons[2], "transport.consume of Transport w1: agent ws://a: it is gone");
}
