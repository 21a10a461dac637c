//! Parts that are out of reach: nobody waits for them, and nothing is lost.

use super::{
    bodies::{self, Media},
    fleet::{Answer, Fleet, HOME, Hosts},
};
use crate::{
    channel::{
        Message, compose,
        fbs::{request, response, router, worker},
        framing::MESSAGE_MAX,
        method::{Event, Method},
    },
    virtual_worker::{Fate, PartId},
};

const FAR: PartId = PartId(1);

/// w0 with p on part 1, w1 with c1 on part 2 and w2 with c2 at home, all on server s, and q at home
/// which c3 of w0 consumes and o observes.
fn room() -> Fleet {
    let mut fleet = Fleet::new(3, Hosts::Several);
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r"));
    let server = bodies::create_server("s", vec![bodies::udp(0)]);
    fleet.ok(Method::WorkerCreateWebrtcserver, "", server);
    for index in 0..3 {
        let body = bodies::create_web_rtc_with_server(&format!("w{index}"), "s");
        fleet.ok(Method::RouterCreateWebrtctransportWithServer, "r", body);
    }
    fleet.ok(Method::TransportProduce, "w0", bodies::produce("p", Media::Opus, 1000));
    fleet.ok(Method::TransportProduce, "w2", bodies::produce("q", Media::Opus, 2000));
    for (transport, id, producer, base) in
        [("w1", "c1", "p", 1000), ("w2", "c2", "p", 1000), ("w0", "c3", "q", 2000)]
    {
        let body = bodies::consume(id, producer, Media::Opus, base);
        fleet.ok(Method::TransportConsume, transport, body);
    }
    fleet.ok(Method::TransportProduceData, "w0", bodies::produce_data("d", Some(1)));
    fleet.ok(Method::TransportConsumeData, "w0", bodies::consume_data("e", "d", Some(2), &[]));
    fleet.ok(Method::RouterCreateAudiolevelobserver, "r", bodies::create_audio_level("o", -50));
    for producer in ["p", "q"] {
        fleet.ok(Method::RtpobserverAddProducer, "o", bodies::add_producer(producer));
    }
    fleet
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

fn router_dump(answer: Answer) -> router::DumpResponse {
    let Ok(Some(response::Body::RouterDumpResponse(dump))) = answer else { panic!("{answer:?}") };
    let mut dump = *dump;
    dump.transport_ids.sort();
    for map in [
        &mut dump.map_producer_id_consumer_ids,
        &mut dump.map_producer_id_observer_ids,
        &mut dump.map_data_producer_id_data_consumer_ids,
    ] {
        map.sort_by(|one, other| one.key.cmp(&other.key));
        for list in map {
            list.values.sort();
        }
    }
    for map in
        [&mut dump.map_consumer_id_producer_id, &mut dump.map_data_consumer_id_data_producer_id]
    {
        map.sort_by(|one, other| one.key.cmp(&other.key));
    }
    dump
}

fn worker_dump(answer: Answer) -> worker::DumpResponse {
    let Ok(Some(response::Body::WorkerDumpResponse(dump))) = answer else { panic!("{answer:?}") };
    let mut dump = *dump;
    let handlers = &mut dump.channel_message_handlers;
    handlers.channel_request_handlers.sort();
    handlers.channel_notification_handlers.sort();
    dump
}

#[test]
fn views_of_all_parts_stay_whole() {
    let mut fleet = room();
    let router = router_dump(fleet.call(Method::RouterDump, "r", None));
    let worker = worker_dump(fleet.call(Method::WorkerDump, "", None));
    let usage = |fleet: &mut Fleet| match fleet.ok(Method::WorkerGetResourceUsage, "", None) {
        Some(response::Body::WorkerResourceUsageResponse(usage)) => usage.ru_maxrss,
        other => panic!("{other:?}"),
    };
    let server = |fleet: &mut Fleet| match fleet.ok(Method::WebrtcserverDump, "s", None) {
        Some(response::Body::WebRtcServerDumpResponse(dump)) => {
            let fragments = sorted(
                dump.local_ice_username_fragments
                    .into_iter()
                    .map(|one| (one.web_rtc_transport_id, one.local_ice_username_fragment))
                    .collect(),
            );
            (dump.udp_sockets, sorted(dump.web_rtc_transport_ids), fragments)
        }
        other => panic!("{other:?}"),
    };
    let (usage_before, server_before) = (usage(&mut fleet), server(&mut fleet));
    for part in [FAR, HOME] {
        fleet.link(part, false);
        assert_eq!(router_dump(fleet.call(Method::RouterDump, "r", None)), router, "{part:?}");
        assert_eq!(worker_dump(fleet.call(Method::WorkerDump, "", None)), worker, "{part:?}");
        assert_eq!(usage(&mut fleet), usage_before, "{part:?}");
        assert_eq!(server(&mut fleet), server_before, "{part:?}");
        fleet.link(part, true);
    }
    assert_eq!(router_dump(fleet.call(Method::RouterDump, "r", None)), router);
    assert_eq!(fleet.worker.requests_under_way(), 0, "late answers came and went");
}

#[test]
fn the_last_known_state_knows_what_was_closed_since() {
    let mut fleet = room();
    fleet.ok(Method::WebrtcserverDump, "s", None);
    fleet.link(FAR, false);
    let close = fleet.ask(Method::RouterCloseTransport, "r", bodies::close_transport("w0"));
    let dump = router_dump(fleet.call(Method::RouterDump, "r", None));
    assert_eq!(dump.transport_ids, ["w1", "w2"]);
    let dump = fleet.ok(Method::WebrtcserverDump, "s", None);
    let Some(response::Body::WebRtcServerDumpResponse(dump)) = dump else { panic!("a dump") };
    assert_eq!(sorted(dump.web_rtc_transport_ids), ["w1", "w2"]);
    assert_eq!(dump.local_ice_username_fragments.len(), 2);
    assert_eq!(fleet.answer(close), None, "what concerns that part alone waits");
    fleet.link(FAR, true);
    assert_eq!(fleet.answer(close), Some(Ok(None)));
}

#[test]
fn pause_and_settings_wait_for_none_that_cannot_answer() {
    let mut fleet = room();
    fleet.link(FAR, false);
    fleet.heard();
    // Its source is out of reach, its consumers are not.
    assert_eq!(fleet.call(Method::ProducerPause, "p", None), Ok(None));
    assert_eq!(
        sorted(fleet.heard().into_iter().map(|(id, _)| id).collect()),
        ["c1", "c2"],
        "those within reach hear of it at once"
    );
    // The other way round.
    assert_eq!(fleet.call(Method::ProducerPause, "q", None), Ok(None));
    let body = worker::UpdateSettingsRequest { log_level: Some("warn".into()), log_tags: None };
    let body = request::Body::WorkerUpdateSettingsRequest(Box::new(body));
    assert_eq!(fleet.call(Method::WorkerUpdateSettings, "", body), Ok(None));
    assert_eq!(fleet.sent_to(FAR, Method::WorkerUpdateSettings).len(), 1, "in order, for later");
    fleet.heard();
    fleet.link(FAR, true);
    assert_eq!(fleet.heard(), [("c3".to_owned(), Event::ConsumerProducerPause)]);
    assert_eq!(fleet.worker.requests_under_way(), 0);
}

#[test]
fn a_link_that_goes_down_meanwhile_frees_those_who_wait() {
    let mut fleet = room();
    fleet.held.insert(FAR);
    let dump = fleet.ask(Method::RouterDump, "r", None);
    let pause = fleet.ask(Method::ProducerPause, "p", None);
    fleet.settle();
    assert_eq!((fleet.answer(dump), fleet.answer(pause)), (None, None));
    fleet.link(FAR, false);
    assert!(fleet.answer(dump).expect("an answer").is_ok());
    assert_eq!(fleet.answer(pause), Some(Ok(None)));
}

#[test]
fn with_every_link_down_calls_wait_for_the_first_that_is_up() {
    let mut fleet = room();
    for part in 0..3 {
        fleet.link(PartId(part), false);
    }
    let dump = fleet.ask(Method::RouterDump, "r", None);
    fleet.settle();
    assert_eq!(fleet.answer(dump), None);
    fleet.link(FAR, true);
    let dump = router_dump(fleet.answer(dump).expect("an answer"));
    assert_eq!(dump.transport_ids, ["w0", "w1", "w2"]);
}

#[test]
fn nothing_new_goes_where_nobody_answers() {
    let mut fleet = room();
    for part in [FAR, HOME] {
        fleet.link(part, false);
    }
    fleet.ok(Method::WorkerCreateRouter, "", bodies::create_router("r2"));
    for (index, router) in ["r", "r2", "r", "r2"].into_iter().enumerate() {
        let body = bodies::create_web_rtc(&format!("n{index}"), vec![bodies::udp(0)]);
        fleet.ok(Method::RouterCreateWebrtctransport, router, body);
        let observer = bodies::create_audio_level(&format!("o{index}"), -50);
        fleet.ok(Method::RouterCreateAudiolevelobserver, router, observer);
    }
    fleet.ok(Method::RtpobserverAddProducer, "o0", bodies::add_producer("p"));
    let dump = router_dump(fleet.call(Method::RouterDump, "r2", None));
    assert_eq!(dump.transport_ids, ["n1", "n3"]);
    fleet.link(HOME, true);
    fleet.link(FAR, true);
    assert_eq!(fleet.kill(PartId(2)), Fate::LivesOn);
    let dump = router_dump(fleet.call(Method::RouterDump, "r2", None));
    assert_eq!((dump.transport_ids.len(), dump.rtp_observer_ids.len()), (0, 2));
    for router in ["r", "r2"] {
        fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router(router));
    }
    fleet.ok(Method::WorkerWebrtcserverClose, "", bodies::close_server("s"));
    assert_eq!(fleet.left(), 0);
    assert!(fleet.worker.pipes.is_empty() && fleet.worker.requests_under_way() == 0);
}

#[test]
fn a_part_out_of_reach_may_turn_out_to_be_dead() {
    let mut fleet = room();
    fleet.link(FAR, false);
    let dump = fleet.ask(Method::TransportDump, "w0", None);
    let paused = fleet.call(Method::ProducerPause, "p", None);
    assert_eq!((fleet.answer(dump), paused), (None, Ok(None)));
    assert_eq!(fleet.kill(FAR), Fate::LivesOn);
    assert!(fleet.answer(dump).expect("an answer").is_err());
    let dump = router_dump(fleet.call(Method::RouterDump, "r", None));
    assert_eq!(dump.transport_ids, ["w1", "w2"]);
}

#[test]
fn a_merged_answer_that_no_message_can_hold_is_an_error() {
    let mut fleet = room();
    let long = "x".repeat(MESSAGE_MAX / 2);
    for part in 0..3 {
        fleet.held.insert(PartId(part));
    }
    let dump = fleet.ask(Method::RouterDump, "r", None);
    for part in 0..3 {
        let sent = fleet.sent_to(PartId(part), Method::RouterDump);
        let id = sent.last().expect("it was asked").id;
        let body = router::DumpResponse {
            id: "r".to_owned(),
            transport_ids: vec![format!("{part}{long}")],
            ..router::DumpResponse::default()
        };
        let body = response::Body::RouterDumpResponse(Box::new(body));
        let answer: Message = compose::accepted(id, Some(body));
        fleet.worker_says(PartId(part), answer);
    }
    let (class, reason) = fleet.answer(dump).expect("an answer").expect_err("it is too long");
    assert_eq!(class, "Error");
    assert!(reason.starts_with("the answers of 3 workers to router.dump are 125"), "{reason}");
    assert!(reason.contains("more than the 8388608 that one message may have"), "{reason}");
}
