//! Pipes that cost little: closed and paused when nobody needs them, one copy between two hosts,
//! trees.

use std::time::Duration;

use super::{
    bodies::{self, Media},
    fleet::{Fleet, HOME, Hosts},
    media::score,
};
use crate::{
    channel::{
        Message, compose,
        fbs::{consumer, notification, request},
        method::{Event, Method},
    },
    virtual_worker::{
        PartId,
        idle::{LINGER, QUIET},
    },
};

pub const MOMENT: Duration = Duration::from_millis(1);
pub const P1: PartId = PartId(1);
pub const P2: PartId = PartId(2);
pub const P3: PartId = PartId(3);

/// w0 is on part 1, w1 on part 2 and so on; the last one is at home. w0 produces.
pub fn room(parts: u32, hosts: Hosts, fan_out: usize, media: Media) -> Fleet {
    let mut fleet = Fleet::with_fan_out(usize::try_from(parts).expect("few"), hosts, fan_out);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    for index in 0..parts {
        let body = bodies::create_web_rtc(&format!("w{index}"), vec![bodies::udp(0)]);
        fleet.ok(Method::RouterCreateWebrtctransport, "r", body);
    }
    fleet.ok(Method::TransportProduce, "w0", bodies::produce("p", media, 1000));
    fleet
}

pub fn consume(fleet: &mut Fleet, transport: &str, id: &str, media: Media) {
    let body = bodies::consume(id, "p", media, 1000);
    fleet.ok(Method::TransportConsume, transport, body);
}

pub fn consume_paused(fleet: &mut Fleet, transport: &str, id: &str, media: Media) {
    let mut request = bodies::consume_request(id, "p", media, 1000, 9000);
    request.paused = true;
    let body = request::Body::TransportConsumeRequest(Box::new(request));
    fleet.ok(Method::TransportConsume, transport, body);
}

pub fn close(fleet: &mut Fleet, transport: &str, id: &str) {
    fleet.ok(Method::TransportCloseConsumer, transport, bodies::close_consumer(id));
}

pub fn count(fleet: &Fleet, part: PartId, method: Method) -> usize {
    fleet.sent_to(part, method).len()
}

/// The consumer that carries the Producer away from a part, each time it was asked for.
pub fn sources(fleet: &Fleet, part: PartId) -> Vec<String> {
    let sent = fleet.sent_to(part, Method::TransportConsume).into_iter();
    let own = sent.filter_map(|sent| match &sent.body {
        Some(request::Body::TransportConsumeRequest(body)) => Some(body.consumer_id.clone()),
        _ => None,
    });
    own.filter(|id| crate::virtual_worker::pipes::is_own(id)).collect()
}

pub fn asked(fleet: &Fleet, part: PartId, method: Method, handler: &str) -> usize {
    let sent = fleet.sent_to(part, method).into_iter();
    sent.filter(|request| request.handler_id == handler).count()
}

/// Everything that a worker would crash of is checked by the mocks; here, that nothing is left.
pub fn end(mut fleet: Fleet) {
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    fleet.wait(Duration::from_secs(60));
    assert_eq!(fleet.left(), 0);
    assert!(fleet.worker.pipes.is_empty(), "{:?}", fleet.worker.pipes);
    assert!(fleet.worker.naps.is_empty(), "{:?}", fleet.worker.naps);
    assert_eq!(fleet.worker.next_tick(), None);
    assert_eq!(fleet.worker.requests_under_way(), 0);
}

#[test]
fn a_pipe_lingers_and_is_used_again() {
    let mut fleet = room(3, Hosts::One, 8, Media::Vp8);
    consume(&mut fleet, "w1", "c1", Media::Vp8);
    close(&mut fleet, "w1", "c1");
    fleet.wait(LINGER.saturating_sub(MOMENT));
    let id =
        fleet.ask(Method::TransportConsume, "w1", bodies::consume("c2", "p", Media::Vp8, 1000));
    fleet.round();
    assert!(fleet.answer(id).expect("one round trip").is_ok());
    fleet.wait(LINGER * 3);
    assert_eq!(count(&fleet, P2, Method::TransportProduce), 1, "the same pipe");
    close(&mut fleet, "w1", "c2");
    fleet.wait(LINGER);
    assert_eq!(count(&fleet, P2, Method::TransportCloseProducer), 1);
    assert_eq!(count(&fleet, P1, Method::TransportCloseConsumer), 1);
    end(fleet);
}

#[test]
fn a_pipe_whose_users_are_all_paused_pauses() {
    let mut fleet = room(3, Hosts::One, 8, Media::Vp8);
    consume(&mut fleet, "w1", "c1", Media::Vp8);
    consume_paused(&mut fleet, "w1", "c2", Media::Vp8);
    let [pipe] = sources(&fleet, P1).try_into().expect("one pipe");
    fleet.wait(QUIET * 2);
    fleet.ok(Method::ConsumerPause, "c1", None);
    fleet.wait(QUIET.saturating_sub(MOMENT));
    assert_eq!(count(&fleet, P1, Method::ConsumerPause), 0, "not yet");
    fleet.wait(MOMENT);
    assert_eq!(asked(&fleet, P1, Method::ConsumerPause, &pipe), 1);
    assert_eq!(fleet.worker.next_tick(), None, "nothing to wait for");
    // A simple stream is there at once: the pipe first, then the app's own.
    let id = fleet.ask(Method::ConsumerResume, "c2", None);
    let last: Vec<_> = fleet
        .sent
        .iter()
        .rev()
        .take(2)
        .map(|(part, sent)| (*part, sent.handler_id.clone()))
        .collect();
    assert_eq!(last, [(P2, "c2".to_owned()), (P1, pipe.clone())]);
    fleet.settle();
    assert!(fleet.answer(id).expect("an answer").is_ok());
    assert!(fleet.heard().is_empty(), "nobody hears of it");
    end(fleet);
}

#[test]
fn never_at_birth_and_never_while_one_listens() {
    let mut fleet = room(3, Hosts::One, 8, Media::Opus);
    consume_paused(&mut fleet, "w1", "c1", Media::Opus);
    fleet.wait(QUIET.saturating_sub(MOMENT));
    assert_eq!(count(&fleet, P1, Method::ConsumerPause), 0);
    // One that comes and listens, and goes.
    consume(&mut fleet, "w1", "c2", Media::Opus);
    fleet.wait(QUIET * 2);
    assert_eq!(count(&fleet, P1, Method::ConsumerPause), 0);
    close(&mut fleet, "w1", "c2");
    fleet.wait(QUIET);
    assert_eq!(count(&fleet, P1, Method::ConsumerPause), 1);
    // A new one wakes it.
    consume(&mut fleet, "w1", "c3", Media::Opus);
    assert_eq!(count(&fleet, P1, Method::ConsumerResume), 1);
    // Observers always listen.
    fleet.ok(Method::RouterCreateAudiolevelobserver, "r", bodies::create_audio_level("o", -50));
    fleet.ok(Method::RtpobserverAddProducer, "o", bodies::add_producer("p"));
    fleet.wait(QUIET * 2);
    assert_eq!(count(&fleet, P1, Method::ConsumerPause), 1);
    end(fleet);
}

fn consumer_score(id: &str, scores: [u8; 3]) -> Message {
    let score =
        consumer::ConsumerScore { score: 10, producer_score: 10, producer_scores: scores.to_vec() };
    let body = consumer::ScoreNotification { score: Box::new(score) };
    let body = notification::Body::ConsumerScoreNotification(Box::new(body));
    compose::notification(id, Event::ConsumerScore, Some(body))
}

#[test]
fn simulcast_resumes_when_its_streams_are_back() {
    let mut fleet = room(3, Hosts::One, 8, Media::Simulcast);
    score(&mut fleet, P1, 3);
    consume(&mut fleet, "w1", "c", Media::Simulcast);
    consume_paused(&mut fleet, "w1", "d", Media::Simulcast);
    score(&mut fleet, P2, 3);
    fleet.settle();
    fleet.ok(Method::ConsumerPause, "c", None);
    fleet.wait(QUIET);
    assert_eq!(count(&fleet, P1, Method::ConsumerPause), 1);
    fleet.heard();
    // The worker finds that nothing comes any more: one worker would not say so.
    fleet.worker_says(P2, consumer_score("c", [0, 0, 0]));
    score(&mut fleet, P2, 0);
    assert!(fleet.heard().is_empty());
    let before = count(&fleet, P2, Method::ConsumerResume);
    let resume = fleet.ask(Method::ConsumerResume, "c", None);
    fleet.settle();
    assert_eq!(count(&fleet, P1, Method::ConsumerResume), 1, "the pipe first");
    assert_eq!((fleet.answer(resume), count(&fleet, P2, Method::ConsumerResume)), (None, before));
    score(&mut fleet, P2, 2);
    fleet.worker_says(P2, consumer_score("c", [10, 10, 10]));
    assert!(fleet.heard().is_empty());
    score(&mut fleet, P2, 3);
    fleet.settle();
    assert!(fleet.answer(resume).expect("the streams are there").is_ok());
    assert_eq!(fleet.heard(), [("c".to_owned(), Event::ConsumerScore)], "the last word only");
    fleet.worker_says(P2, consumer_score("c", [10, 10, 9]));
    assert_eq!(fleet.heard().len(), 1, "all is told again");
    // Streams that never come are not waited for for ever; a pause in between comes behind.
    fleet.ok(Method::ConsumerPause, "c", None);
    fleet.wait(QUIET);
    score(&mut fleet, P2, 0);
    let resume = fleet.ask(Method::ConsumerResume, "c", None);
    let pause = fleet.ask(Method::ConsumerPause, "c", None);
    let again = fleet.ask(Method::ConsumerResume, "c", None);
    fleet.settle();
    assert!(fleet.answer(resume).expect("an answer").is_ok());
    assert!(fleet.answer(pause).expect("an answer").is_ok());
    assert_eq!(fleet.answer(again), None);
    fleet.wait(Duration::from_millis(500));
    assert!(fleet.answer(again).expect("its time is over").is_ok());
    // One that closes while it waits was resumed before, as a worker sees it.
    fleet.ok(Method::ConsumerPause, "c", None);
    fleet.wait(QUIET);
    let resume = fleet.ask(Method::ConsumerResume, "c", None);
    close(&mut fleet, "w1", "c");
    assert!(fleet.answer(resume).expect("an answer").is_ok());
    end(fleet);
}

#[test]
fn one_copy_crosses_between_two_hosts() {
    let mut fleet = room(4, Hosts::Two(2), 8, Media::Vp8);
    // w0 is on the first host; w1 and w2 are on the second one, w3 at home on the first.
    for (transport, id) in [("w1", "c1"), ("w2", "c2"), ("w3", "c3")] {
        consume(&mut fleet, transport, id, Media::Vp8);
    }
    let pipe = |fleet: &Fleet, to: PartId| {
        let pipe = fleet.worker.pipes.pipe_of("p", to).expect("a pipe");
        let pipe = fleet.worker.pipes.pipe(pipe).expect("a pipe");
        let pair = fleet.worker.pipes.pair(pipe.pair).expect("a pair");
        (pipe.from, pair.between_hosts)
    };
    assert_eq!(pipe(&fleet, P2), (P1, true));
    assert_eq!(pipe(&fleet, P3), (P2, false));
    assert_eq!(pipe(&fleet, HOME), (P1, false));
    // Each hop has SSRCs of its own and ends in those that the app's consumers expect.
    let mut fresh = Vec::new();
    for part in [P2, P3] {
        let sent = fleet.sent_to(part, Method::TransportProduce);
        let Some(request::Body::TransportProduceRequest(sink)) = &sent[0].body else {
            panic!("a produce")
        };
        let [encoding] = sink.rtp_mapping.encodings.as_slice() else { panic!("one encoding") };
        assert_eq!(
            (sink.producer_id.as_str(), encoding.mapped_ssrc),
            ("p", bodies::mapped_ssrc(1000, 0))
        );
        fresh.push(encoding.ssrc.expect("an SSRC"));
    }
    assert_ne!(fresh[0], fresh[1]);
    // The relay stays as long as it feeds another part, whatever its own consumers do.
    close(&mut fleet, "w1", "c1");
    fleet.wait(LINGER * 3);
    assert_eq!(count(&fleet, P2, Method::TransportCloseProducer), 0);
    // A pause goes all the way up, and so does a resume.
    fleet.ok(Method::ConsumerPause, "c2", None);
    fleet.wait(QUIET);
    assert_eq!(
        (count(&fleet, P1, Method::ConsumerPause), count(&fleet, P2, Method::ConsumerPause)),
        (1, 1)
    );
    fleet.ok(Method::ConsumerResume, "c2", None);
    assert_eq!(
        (count(&fleet, P1, Method::ConsumerResume), count(&fleet, P2, Method::ConsumerResume)),
        (1, 1)
    );
    close(&mut fleet, "w2", "c2");
    fleet.wait(LINGER * 2);
    assert_eq!(count(&fleet, P2, Method::TransportCloseProducer), 1);
    assert_eq!(count(&fleet, P3, Method::TransportCloseProducer), 1);
    end(fleet);
}

#[test]
fn concurrent_first_uses_cross_once() {
    let mut fleet = room(4, Hosts::Two(2), 8, Media::Vp8);
    let ids = [("w2", "c1"), ("w1", "c2")].map(|(transport, id)| {
        let body = bodies::consume(id, "p", Media::Vp8, 1000);
        fleet.ask(Method::TransportConsume, transport, body)
    });
    fleet.settle();
    for id in ids {
        assert!(fleet.answer(id).expect("an answer").is_ok());
    }
    assert_eq!(sources(&fleet, P1).len(), 1);
    end(fleet);
}

#[test]
fn a_source_feeds_so_many_and_the_others_form_a_tree() {
    let mut fleet = room(8, Hosts::One, 2, Media::Vp8);
    for index in 1..8 {
        consume(&mut fleet, &format!("w{index}"), &format!("c{index}"), Media::Vp8);
    }
    let fed = |part: u32| sources(&fleet, PartId(part)).len();
    // Part 1 has it; parts 2 and 3 get it there, 4 and 5 from part 2, 6 and 7 from part 3.
    assert_eq!((1..8).map(fed).collect::<Vec<_>>(), [2, 2, 2, 1, 0, 0, 0]);
    fleet.ok(Method::ProducerPause, "p", None);
    let paused =
        fleet.heard().into_iter().filter(|(_, event)| *event == Event::ConsumerProducerPause);
    assert_eq!(paused.count(), 7);
    fleet.ok(Method::TransportCloseProducer, "w0", bodies::close_producer("p"));
    assert_eq!(fleet.heard().len(), 7);
    end(fleet);
}
