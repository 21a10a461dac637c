//! Media and data from one part to another.

use super::{
    bodies::{self, Media},
    fleet::{Fleet, HOME, Hosts},
    objects::router,
};
use std::time::Duration;

use crate::{
    channel::{
        compose,
        fbs::{notification, producer, request, response, rtp_parameters},
        method::{Event, Method},
    },
    virtual_worker::{PartId, idle::LINGER},
};

/// t0 lives on part 1 and has the Producer; t1 is on part 2 and t2 at home.
fn producing(hosts: Hosts, media: Media) -> Fleet {
    let mut fleet = router(3, hosts, 3);
    fleet.ok(Method::TransportProduce, "t0", bodies::produce("p", media, 1000));
    fleet.sent.clear();
    fleet
}

fn consume(id: &str) -> request::Body {
    bodies::consume(id, "p", Media::Vp8, 1000)
}

#[test]
fn one_burst_on_a_pair_that_is_there() {
    let mut fleet = producing(Hosts::One, Media::Vp8);
    let id = fleet.ask(Method::TransportConsume, "t1", consume("c"));
    fleet.round();
    let answer = fleet.answer(id).expect("one round trip").expect("accepted");
    assert!(matches!(answer, Some(response::Body::TransportConsumeResponse(_))));
    let source = fleet.sent_to(PartId(1), Method::TransportConsume);
    assert_eq!(source.len(), 1);
    let (sink, own) = (
        fleet.sent_to(PartId(2), Method::TransportProduce).len(),
        fleet.sent_to(PartId(2), Method::TransportConsume).len(),
    );
    assert_eq!((sink, own), (1, 1));
}

#[test]
fn concurrent_first_uses_share_one_pipe() {
    let mut fleet = producing(Hosts::One, Media::Vp8);
    let ids = ["c1", "c2", "c3"].map(|id| fleet.ask(Method::TransportConsume, "t1", consume(id)));
    fleet.settle();
    for id in ids {
        assert!(fleet.answer(id).expect("an answer").is_ok());
    }
    assert_eq!(fleet.sent_to(PartId(2), Method::TransportProduce).len(), 1);
    let Some(response::Body::RouterDumpResponse(dump)) = fleet.ok(Method::RouterDump, "r", None)
    else {
        panic!("a dump")
    };
    let [list] = dump.map_producer_id_consumer_ids.as_slice() else { panic!("one: {dump:?}") };
    assert_eq!((list.key.as_str(), list.values.len()), ("p", 3));
    assert_eq!(dump.map_consumer_id_producer_id.len(), 3);
    for id in ["c1", "c2", "c3"] {
        assert_eq!(fleet.sent_to(PartId(2), Method::TransportCloseProducer).len(), 0);
        fleet.ok(Method::TransportCloseConsumer, "t1", bodies::close_consumer(id));
    }
    assert_eq!(fleet.sent_to(PartId(2), Method::TransportCloseProducer).len(), 0, "it lingers");
    fleet.wait(LINGER);
    assert_eq!(fleet.sent_to(PartId(2), Method::TransportCloseProducer).len(), 1);
    assert_eq!(fleet.sent_to(PartId(1), Method::TransportCloseConsumer).len(), 1);
    assert!(fleet.heard().is_empty());
    fleet.ok(Method::TransportConsume, "t1", consume("again"));
}

#[test]
fn srtp_and_rtx_between_hosts_only() {
    for (hosts, protected) in [(Hosts::One, false), (Hosts::Several, true)] {
        let mut fleet = producing(hosts, Media::Simulcast);
        let body = bodies::consume("c", "p", Media::Simulcast, 1000);
        fleet.ok(Method::TransportConsume, "t2", body);
        let pair = fleet.worker.pipes.pair_of("r", HOME, PartId(1)).expect("a pair");
        let pair = fleet.worker.pipes.pair(pair).expect("a pair");
        assert_eq!((pair.between_hosts, pair.connected), (protected, true));
        let sent = fleet.sent_to(HOME, Method::TransportProduce);
        let Some(request::Body::TransportProduceRequest(sink)) = &sent[0].body else {
            panic!("a produce")
        };
        let fresh: Vec<u32> = sink.rtp_mapping.encodings.iter().filter_map(|e| e.ssrc).collect();
        let mapped: Vec<u32> = sink.rtp_mapping.encodings.iter().map(|e| e.mapped_ssrc).collect();
        assert_eq!(mapped, [0, 1, 2].map(|index| bodies::mapped_ssrc(1000, index)));
        assert!(fresh.len() == 3 && fresh.iter().all(|ssrc| !mapped.contains(ssrc)));
        assert_eq!(sink.rtp_parameters.codecs.len(), if protected { 2 } else { 1 });
        assert!(sink.rtp_parameters.encodings.iter().all(|e| e.rtx.is_some() == protected));
        let uris: Vec<u8> =
            sink.rtp_parameters.header_extensions.iter().map(|extension| extension.id).collect();
        assert_eq!(uris, [7, 8, 9, 11, 12]);
        assert_eq!(sink.kind, rtp_parameters::MediaKind::Video);
        fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
        assert_eq!(fleet.left(), 0);
    }
}

#[test]
fn pauses_reach_every_part_before_they_are_answered() {
    let mut fleet = producing(Hosts::One, Media::Vp8);
    fleet.ok(Method::TransportConsume, "t1", consume("c1"));
    fleet.ok(Method::TransportConsume, "t2", consume("c2"));
    fleet.held.insert(PartId(2));
    let id = fleet.ask(Method::ProducerPause, "p", None);
    fleet.settle();
    assert_eq!(fleet.answer(id), None, "one part has not answered");
    fleet.held.clear();
    fleet.settle();
    assert!(fleet.answer(id).expect("an answer").is_ok());
    let mut heard = fleet.heard();
    heard.sort_by(|one, other| one.0.cmp(&other.0));
    let pause = |id: &str| (id.to_owned(), Event::ConsumerProducerPause);
    assert_eq!(heard, [pause("c1"), pause("c2")]);
    // A pipe made now starts paused.
    fleet.ok(Method::TransportCloseConsumer, "t1", bodies::close_consumer("c1"));
    fleet.wait(LINGER);
    let Some(response::Body::TransportConsumeResponse(answer)) =
        fleet.ok(Method::TransportConsume, "t1", consume("c3"))
    else {
        panic!("a consumer")
    };
    assert!(answer.producer_paused);
    fleet.heard();
    fleet.ok(Method::ProducerResume, "p", None);
    assert_eq!(fleet.heard().len(), 2);
    fleet.ok(Method::TransportCloseProducer, "t0", bodies::close_producer("p"));
    let mut heard = fleet.heard();
    heard.sort_by(|one, other| one.0.cmp(&other.0));
    let closed = |id: &str| (id.to_owned(), Event::ConsumerProducerClose);
    assert_eq!(heard, [closed("c2"), closed("c3")]);
}

#[test]
fn a_producer_s_transport_takes_consumers_elsewhere_along() {
    let mut fleet = producing(Hosts::One, Media::Vp8);
    fleet.ok(Method::TransportConsume, "t1", consume("c"));
    fleet.ok(Method::RouterCloseTransport, "r", bodies::close_transport("t0"));
    assert_eq!(fleet.heard(), [("c".to_owned(), Event::ConsumerProducerClose)]);
    let refused = fleet.call(Method::TransportConsume, "t1", consume("d"));
    let words = "Producer not found [producerId:p]";
    assert_eq!(refused, Err(("NotFoundError".to_owned(), words.to_owned())));
}

#[test]
fn a_refused_consume_leaves_nothing_behind() {
    let mut fleet = producing(Hosts::One, Media::Vp8);
    let before = fleet.left();
    let mut wrong = bodies::consume_request("c", "p", Media::Vp8, 1000, 9000);
    wrong.rtp_parameters.codecs.clear();
    let body = request::Body::TransportConsumeRequest(Box::new(wrong));
    let (class, reason) = fleet.call(Method::TransportConsume, "t1", body).expect_err("no codecs");
    assert_eq!((class.as_str(), reason.as_str()), ("TypeError", "empty codecs"));
    fleet.wait(LINGER);
    assert_eq!(fleet.left(), before);
    // What would abort a worker does not get there.
    let other = bodies::consume("c", "p", Media::Vp8, 7777);
    assert!(fleet.call(Method::TransportConsume, "t1", other.clone()).is_err());
    assert!(fleet.call(Method::TransportConsume, "t0", other).is_err());
    fleet.ok(Method::TransportConsume, "t1", consume("c"));
}

#[test]
fn closes_meet_creations_in_flight() {
    let mut fleet = producing(Hosts::One, Media::Vp8);
    let consume_id = fleet.ask(Method::TransportConsume, "t1", consume("c"));
    let close = fleet.ask(Method::TransportCloseProducer, "t0", bodies::close_producer("p"));
    fleet.settle();
    assert!(fleet.answer(close).expect("an answer").is_ok());
    assert!(fleet.answer(consume_id).expect("an answer").is_ok());
    assert_eq!(fleet.heard(), [("c".to_owned(), Event::ConsumerProducerClose)]);
    fleet.ok(Method::TransportProduce, "t0", bodies::produce("p", Media::Vp8, 1000));
    fleet.ok(Method::TransportConsume, "t1", consume("c"));
    let close = fleet.ask(Method::RouterCloseTransport, "r", bodies::close_transport("t1"));
    fleet.settle();
    assert!(fleet.answer(close).expect("an answer").is_ok());
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
    assert!(fleet.worker.pipes.is_empty());
}

#[test]
fn consumes_wait_for_their_pair() {
    let mut fleet = Fleet::new(2, Hosts::Several);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    fleet.held.insert(HOME);
    fleet.ask(Method::RouterCreateDirecttransport, "r", bodies::create_direct("t0"));
    fleet.ask(Method::RouterCreateDirecttransport, "r", bodies::create_direct("t1"));
    fleet.ask(Method::TransportProduce, "t0", bodies::produce("p", Media::Vp8, 1000));
    let first = fleet.ask(Method::TransportConsume, "t1", consume("c1"));
    let second = fleet.ask(Method::TransportConsume, "t1", consume("c2"));
    let close = fleet.ask(Method::TransportCloseConsumer, "t1", bodies::close_consumer("c2"));
    fleet.settle();
    assert_eq!(fleet.answer(first), None);
    assert!(fleet.answer(close).expect("an answer").is_ok());
    fleet.held.clear();
    fleet.settle();
    assert!(fleet.answer(first).expect("an answer").is_ok());
    assert!(fleet.answer(second).expect("an answer").is_err(), "closed while it waited");
}

#[test]
fn data_goes_over_pipes() {
    let mut fleet = router(3, Hosts::Several, 3);
    fleet.ok(Method::TransportProduceData, "t0", bodies::produce_data("d", None));
    for (transport, id) in [("t1", "c1"), ("t2", "c2"), ("t0", "c3")] {
        let body = bodies::consume_data(id, "d", None, &[3]);
        let answer = fleet.ok(Method::TransportConsumeData, transport, body);
        let Some(response::Body::DataConsumerDumpResponse(dump)) = answer else { panic!("a dump") };
        assert_eq!((dump.data_producer_id.as_str(), dump.label.as_str()), ("d", "chat"));
    }
    fleet.heard();
    fleet.ok(Method::DataproducerPause, "d", None);
    assert_eq!(fleet.heard().len(), 3);
    fleet.ok(Method::TransportCloseDataconsumer, "t1", bodies::close_data_consumer("c1"));
    fleet.ok(Method::TransportCloseDataproducer, "t0", bodies::close_data_producer("d"));
    let heard = fleet.heard();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard.iter().all(|(_, event)| *event == Event::DataconsumerDataproducerClose));
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    assert_eq!(fleet.left(), 0);
    assert!(fleet.worker.pipes.is_empty());
}

#[test]
fn observers_hear_other_parts() {
    let mut fleet = producing(Hosts::One, Media::Opus);
    fleet.ok(Method::TransportProduce, "t1", bodies::produce("v", Media::Vp8, 5000));
    fleet.ok(Method::RouterCreateActivespeakerobserver, "r", bodies::create_active_speaker("o"));
    fleet.ok(Method::RtpobserverAddProducer, "o", bodies::add_producer("p"));
    assert_eq!(fleet.sent_to(HOME, Method::TransportProduce).len(), 1);
    let refused = fleet.call(Method::RtpobserverAddProducer, "o", bodies::add_producer("v"));
    assert_eq!(refused, Err(("TypeError".to_owned(), "not an audio Producer".to_owned())));
    fleet.ok(Method::RtpobserverRemoveProducer, "o", bodies::remove_producer("p"));
    fleet.wait(LINGER);
    assert_eq!(fleet.sent_to(HOME, Method::TransportCloseProducer).len(), 1);
    fleet.ok(Method::RtpobserverAddProducer, "o", bodies::add_producer("p"));
    fleet.ok(Method::RouterCloseRtpobserver, "r", bodies::close_observer("o"));
    fleet.wait(LINGER);
    assert_eq!(fleet.sent_to(HOME, Method::TransportCloseProducer).len(), 2);
}

#[test]
fn key_frames_of_audio_pipes_are_answered_here() {
    let mut fleet = producing(Hosts::One, Media::Opus);
    let body = bodies::consume_pipe("c", "p", Media::Opus, 1000);
    fleet.ok(Method::TransportConsume, "t1", body);
    fleet.ok(Method::ConsumerRequestKeyFrame, "c", None);
    assert_eq!(fleet.sent_to(PartId(2), Method::ConsumerRequestKeyFrame).len(), 0);
}

pub fn score(fleet: &mut Fleet, part: PartId, live: u32) {
    let scores = (0..3).map(|index| producer::Score {
        encoding_idx: index,
        ssrc: index + 1,
        rid: None,
        score: if index < live { 10 } else { 0 },
    });
    let body = producer::ScoreNotification { scores: scores.collect() };
    let body = notification::Body::ProducerScoreNotification(Box::new(body));
    let message = compose::notification("p", Event::ProducerScore, Some(body));
    fleet.worker_says(part, message);
}

#[test]
fn simulcast_starts_when_all_streams_are_there() {
    let mut fleet = producing(Hosts::One, Media::Simulcast);
    score(&mut fleet, PartId(1), 3);
    let body = |id| bodies::consume(id, "p", Media::Simulcast, 1000);
    for id in ["c1", "c2", "c3"] {
        let Some(response::Body::TransportConsumeResponse(answer)) =
            fleet.ok(Method::TransportConsume, "t1", body(id))
        else {
            panic!("a consumer")
        };
        assert!(!answer.paused, "the app does not know");
    }
    let resumed = |fleet: &Fleet| -> Vec<String> {
        let sent = fleet.sent_to(PartId(2), Method::ConsumerResume);
        sent.into_iter().map(|request| request.handler_id.clone()).collect()
    };
    fleet.ok(Method::ConsumerPause, "c2", None);
    score(&mut fleet, PartId(2), 2);
    assert!(resumed(&fleet).is_empty());
    score(&mut fleet, PartId(2), 3);
    fleet.settle();
    assert_eq!(resumed(&fleet), ["c1", "c3"]);
    fleet.ok(Method::TransportConsume, "t1", body("warm"));
    assert_eq!(fleet.worker.next_tick(), None);
    // Streams that never come are not waited for for ever.
    fleet.ok(Method::TransportConsume, "t2", body("cold"));
    fleet.tick(Duration::from_secs(9));
    assert_eq!(fleet.worker.next_tick(), Some(Duration::from_millis(9500)));
    fleet.tick(Duration::from_millis(9500));
    assert_eq!(fleet.sent_to(HOME, Method::ConsumerResume).len(), 1);
    assert_eq!(fleet.worker.next_tick(), None);
    assert_eq!(fleet.heard().len(), 1, "the scores of the origin only");
}

#[test]
fn what_an_observer_was_asked_before_a_close_is_done() {
    for close_observer in [false, true] {
        let mut fleet = producing(Hosts::One, Media::Opus);
        fleet.ok(Method::RouterCreateAudiolevelobserver, "r", bodies::create_audio_level("o", -50));
        // The pipe cannot start yet.
        let mut out = Vec::new();
        for pair in fleet.worker.pipes.pairs_where(|_| true) {
            fleet.worker.drop_pair(pair, "a test", &mut out);
        }
        fleet.take(out);
        fleet.settle();
        fleet.held.insert(HOME);
        let add = bodies::add_producer("p");
        let added = fleet.ask(Method::RtpobserverAddProducer, "o", add);
        let remove = bodies::remove_producer("p");
        let removed = fleet.ask(Method::RtpobserverRemoveProducer, "o", remove);
        let closed = if close_observer {
            fleet.ask(Method::RouterCloseRtpobserver, "r", bodies::close_observer("o"))
        } else {
            fleet.ask(Method::TransportCloseProducer, "t0", bodies::close_producer("p"))
        };
        fleet.held.clear();
        fleet.settle();
        for id in [added, removed, closed] {
            assert_eq!(fleet.answer(id), Some(Ok(None)), "{close_observer}");
        }
        fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
        assert_eq!(fleet.left(), 0);
        assert_eq!(fleet.worker.requests_under_way(), 0);
    }
}
