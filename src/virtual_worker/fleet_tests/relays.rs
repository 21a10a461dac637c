//! Relays that die: who gets media through them, and what the app sees of it.

use super::{
    bodies::{self, Media},
    fleet::{Fleet, Hosts},
    thrift::{MOMENT, P1, P2, P3, asked, close, consume, count, end, room, sources},
};
use crate::{
    channel::{
        fbs::{request, response},
        method::{Event, Method},
    },
    virtual_worker::{
        Fate, PartId,
        idle::{LINGER, QUIET},
        pipes::EndState,
    },
};

/// The Producer on the first host; part 2 relays it to part 3 and part 4.
fn relayed(media: Media) -> Fleet {
    let mut fleet = room(5, Hosts::Two(2), 8, media);
    for (transport, id) in [("w1", "c1"), ("w2", "c2"), ("w3", "c3")] {
        consume(&mut fleet, transport, id, media);
    }
    fleet.heard();
    fleet.sent.clear();
    fleet
}

#[test]
fn consumers_outlive_a_relay() {
    let mut fleet = relayed(Media::Vp8);
    let port = fleet.worker.pipes.pair_of("r", P2, P3).expect("a pair");
    let port =
        fleet.worker.pipes.pair(port).expect("a pair").ends.iter().find_map(|end| {
            match &end.state {
                EndState::Made(socket) if end.part == P2 => Some(socket.port),
                _ => None,
            }
        });
    assert_eq!(fleet.kill(P2), Fate::LivesOn);
    fleet.settle();
    let heard = fleet.heard();
    assert!(heard.iter().all(|(id, _)| id == "w1"), "only what lived there: {heard:?}");
    assert_eq!(
        fleet.diagnostics.iter().filter(|text| text.contains("piped there again")).count(),
        2
    );
    assert_eq!(
        fleet.diagnostics.iter().filter(|text| text.contains("nothing came for")).count(),
        2
    );
    // An end at the address of the one that died.
    let made = fleet.sent_to(P3, Method::RouterCreatePipetransport);
    let Some(request::Body::RouterCreatePipeTransportRequest(body)) = &made[0].body else {
        panic!("an end")
    };
    assert_eq!(Some(body.options.listen_info.port), port);
    // Part 3 got it from the source, under another name, and part 4 from part 3.
    assert_eq!(sources(&fleet, P1).len(), 1, "one copy crosses again");
    assert_eq!(sources(&fleet, P3).len(), 2, "one for itself, one for part 4");
    assert_eq!(asked(&fleet, P3, Method::ProducerPause, "p"), 1);
    assert_eq!(asked(&fleet, P3, Method::ProducerResume, "p"), 1);
    // All is as before for the app.
    fleet.ok(Method::ProducerPause, "p", None);
    let mut heard = fleet.heard();
    heard.sort_by(|one, other| one.0.cmp(&other.0));
    let paused = |id: &str| (id.to_owned(), Event::ConsumerProducerPause);
    assert_eq!(heard, [paused("c2"), paused("c3")]);
    fleet.ok(Method::ProducerResume, "p", None);
    consume(&mut fleet, "w2", "c4", Media::Vp8);
    let dump = fleet.ok(Method::RouterDump, "r", None);
    let Some(response::Body::RouterDumpResponse(dump)) = dump else { panic!("a dump") };
    let [list] = dump.map_producer_id_consumer_ids.as_slice() else { panic!("one: {dump:?}") };
    assert_eq!((list.key.as_str(), list.values.len()), ("p", 3));
    let [list] = dump.map_producer_id_observer_ids.as_slice() else { panic!("one: {dump:?}") };
    assert_eq!(list.key, "p", "no Producer of the core's own");
    // The next relay dies as well: the end that stands in stays, and is fed anew.
    fleet.sent.clear();
    fleet.heard();
    assert_eq!(fleet.kill(P3), Fate::LivesOn);
    fleet.settle();
    assert_eq!(count(&fleet, PartId(4), Method::RouterCreatePipetransport), 0);
    assert_eq!(sources(&fleet, P1).len(), 1);
    assert_eq!(sources(&fleet, PartId(4)).len(), 1);
    assert!(fleet.heard().iter().all(|(id, _)| id != "c3"));
    close(&mut fleet, "w3", "c3");
    fleet.wait(LINGER * 3);
    assert_eq!(fleet.worker.pipes.pipes_where(|_| true), [] as [u64; 0]);
    end(fleet);
}

#[test]
fn a_relay_s_death_meets_what_is_under_way() {
    let mut fleet = room(5, Hosts::Two(2), 8, Media::Vp8);
    consume(&mut fleet, "w1", "c1", Media::Vp8);
    // The pair to the relay is connected; part 3 is asked while the relay dies.
    fleet.held.insert(P3);
    let body = bodies::consume("c2", "p", Media::Vp8, 1000);
    let id = fleet.ask(Method::TransportConsume, "w2", body);
    fleet.kill(P2);
    fleet.held.clear();
    fleet.settle();
    assert!(fleet.answer(id).expect("an answer").is_ok());
    assert!(fleet.heard().iter().all(|(id, _)| id != "c2"));
    fleet.ok(Method::TransportCloseProducer, "w0", bodies::close_producer("p"));
    assert!(fleet.heard().contains(&("c2".to_owned(), Event::ConsumerProducerClose)));
    end(fleet);
}

#[test]
fn a_producer_that_closes_while_it_is_piped_again_is_heard_to_close_and_nothing_else() {
    let mut fleet = relayed(Media::Vp8);
    fleet.held.insert(P3);
    fleet.kill(P2);
    fleet.held.clear();
    for _ in 0..100 {
        if asked(&fleet, P3, Method::ProducerPause, "p") > 0 {
            break;
        }
        fleet.round();
    }
    // Its sink starts anew, and nothing of that is heard yet.
    assert_eq!(asked(&fleet, P3, Method::ProducerPause, "p"), 1);
    fleet.heard();
    let body = bodies::close_producer("p");
    fleet.ask(Method::TransportCloseProducer, "w0", body);
    fleet.settle();
    let heard = fleet.heard();
    let of_c2: Vec<_> = heard.iter().filter(|(id, _)| id == "c2").collect();
    assert_eq!(of_c2, [&("c2".to_owned(), Event::ConsumerProducerClose)]);
    end(fleet);
}

#[test]
fn a_relay_dies_while_its_producer_is_paused() {
    let mut fleet = relayed(Media::Simulcast);
    fleet.ok(Method::ProducerPause, "p", None);
    fleet.heard();
    fleet.sent.clear();
    fleet.kill(P2);
    fleet.settle();
    fleet.heard();
    assert_eq!(count(&fleet, P3, Method::ProducerPause), 0, "it is");
    fleet.ok(Method::ProducerResume, "p", None);
    let mut heard = fleet.heard();
    heard.sort_by(|one, other| one.0.cmp(&other.0));
    let resumed = |id: &str| (id.to_owned(), Event::ConsumerProducerResume);
    assert_eq!(heard, [resumed("c2"), resumed("c3")]);
    end(fleet);
}

#[test]
fn a_pipe_that_sleeps_outlives_its_relay() {
    let mut fleet = relayed(Media::Vp8);
    for id in ["c1", "c2", "c3"] {
        fleet.ok(Method::ConsumerPause, id, None);
    }
    fleet.wait(QUIET);
    assert_eq!(count(&fleet, P1, Method::ConsumerPause), 1);
    fleet.kill(P2);
    fleet.settle();
    fleet.wait(QUIET.saturating_sub(MOMENT));
    assert_eq!(count(&fleet, P1, Method::ConsumerPause), 1, "never at birth");
    fleet.wait(MOMENT);
    assert_eq!(count(&fleet, P1, Method::ConsumerPause), 2);
    let before = count(&fleet, P3, Method::ConsumerResume);
    fleet.ok(Method::ConsumerResume, "c3", None);
    assert_eq!(count(&fleet, P1, Method::ConsumerResume), 1);
    // What part 3 sends to itself and on to part 4.
    assert_eq!(count(&fleet, P3, Method::ConsumerResume), before + 2);
    end(fleet);
}

#[test]
fn an_address_that_is_taken_ends_what_hung_on_it() {
    let mut fleet = relayed(Media::Vp8);
    // Its sockets are still bound, say by a process that took them at once.
    let taken = fleet.mocks.remove(&P2);
    fleet.kill(P2);
    fleet.settle();
    let told = |text: &&String| text.contains("could not be replaced");
    assert_eq!(fleet.diagnostics.iter().filter(told).count(), 2);
    let closed =
        fleet.heard().into_iter().filter(|(_, event)| *event == Event::ConsumerProducerClose);
    assert_eq!(closed.map(|(id, _)| id).collect::<Vec<_>>(), ["c2", "c3"]);
    drop(taken);
    end(fleet);
}

#[test]
fn trees_reach_over_hosts() {
    let mut fleet = room(5, Hosts::Several, 1, Media::Vp8);
    for (transport, id) in [("w1", "c1"), ("w2", "c2"), ("w3", "c3")] {
        consume(&mut fleet, transport, id, Media::Vp8);
    }
    let fed = |fleet: &Fleet, part| sources(fleet, part).len();
    // What comes from a relay on another host goes through the part once more.
    assert_eq!([P1, P2, P3].map(|part| fed(&fleet, part)), [1, 1, 2]);
    fleet.heard();
    fleet.sent.clear();
    assert_eq!(fleet.kill(P2), Fate::LivesOn);
    fleet.settle();
    assert!(fleet.heard().iter().all(|(id, _)| id == "w1"));
    assert_eq!([P1, P3].map(|part| fed(&fleet, part)), [1, 1]);
    assert_eq!(count(&fleet, P3, Method::RouterCreatePipetransport), 0);
    fleet.ok(Method::ConsumerPause, "c2", None);
    fleet.ok(Method::ConsumerPause, "c3", None);
    fleet.wait(QUIET);
    assert_eq!(count(&fleet, P1, Method::ConsumerPause), 1, "all the way up");
    fleet.ok(Method::ConsumerResume, "c3", None);
    assert_eq!(count(&fleet, P1, Method::ConsumerResume), 1);
    fleet.ok(Method::ProducerPause, "p", None);
    let mut heard = fleet.heard();
    heard.sort_by(|one, other| one.0.cmp(&other.0));
    let paused = |id: &str| (id.to_owned(), Event::ConsumerProducerPause);
    assert_eq!(heard, [paused("c2"), paused("c3")]);
    close(&mut fleet, "w2", "c2");
    close(&mut fleet, "w3", "c3");
    fleet.wait(LINGER * 6);
    assert_eq!(fleet.worker.pipes.pipes_where(|_| true), [] as [u64; 0]);
    end(fleet);
}

#[test]
fn a_source_takes_all_that_relays_it_along() {
    let mut fleet = relayed(Media::Vp8);
    fleet.kill(P1);
    let closed =
        fleet.heard().into_iter().filter(|(_, event)| *event == Event::ConsumerProducerClose);
    let mut closed: Vec<_> = closed.map(|(id, _)| id).collect();
    closed.sort();
    assert_eq!(closed, ["c1", "c2", "c3"]);
    let again = |text: &&String| text.contains("again") || text.contains("lost its way");
    assert_eq!(fleet.diagnostics.iter().filter(again).count(), 0, "{:?}", fleet.diagnostics);
    end(fleet);
}

#[test]
fn data_goes_straight() {
    let mut fleet = room(4, Hosts::Two(2), 1, Media::Vp8);
    fleet.ok(Method::TransportProduceData, "w0", bodies::produce_data("d", Some(1)));
    for (transport, id) in [("w1", "e1"), ("w2", "e2")] {
        let body = bodies::consume_data(id, "d", Some(1), &[]);
        fleet.ok(Method::TransportConsumeData, transport, body);
    }
    assert_eq!(count(&fleet, P1, Method::TransportConsumeData), 2);
    fleet.heard();
    fleet.kill(P2);
    assert!(fleet.heard().iter().all(|(id, _)| id != "e2"));
    end(fleet);
}

#[test]
fn a_relay_out_of_reach_is_passed_over() {
    let mut fleet = room(5, Hosts::Two(2), 8, Media::Vp8);
    consume(&mut fleet, "w1", "c1", Media::Vp8);
    fleet.link(P2, false);
    consume(&mut fleet, "w2", "c2", Media::Vp8);
    assert_eq!(sources(&fleet, P1).len(), 2, "nothing would come through part 2 for now");
    // The Producer's own part is out of reach: part 3 passes on what it has.
    fleet.link(P1, false);
    consume(&mut fleet, "w3", "c3", Media::Vp8);
    assert_eq!((sources(&fleet, P1).len(), sources(&fleet, P3).len()), (2, 1));
    for part in [P1, P2] {
        fleet.link(part, true);
    }
    for (transport, id) in [("w1", "c1"), ("w2", "c2"), ("w3", "c3")] {
        close(&mut fleet, transport, id);
    }
    fleet.wait(LINGER * 6);
    assert_eq!(fleet.worker.pipes.pipes_where(|_| true), [] as [u64; 0]);
    end(fleet);
}

#[test]
fn consumers_outlive_a_relay_while_the_source_is_out_of_reach() {
    let mut fleet = relayed(Media::Vp8);
    fleet.link(P1, false);
    assert_eq!(fleet.kill(P2), Fate::LivesOn);
    // What waits for it does not keep anybody else waiting.
    fleet.ok(Method::ConsumerPause, "c3", None);
    fleet.ok(Method::ConsumerResume, "c3", None);
    fleet.ok(Method::RouterDump, "r", None);
    assert_ne!(fleet.worker.requests_under_way(), 0, "the source waits for its link");
    fleet.link(P1, true);
    assert_eq!(fleet.worker.requests_under_way(), 0);
    assert_eq!(sources(&fleet, P1).len(), 1, "one copy crosses again");
    assert!(fleet.heard().iter().all(|(id, _)| id == "w1"));
    end(fleet);
}

#[test]
fn an_observer_keeps_a_pipe_awake_also_after_it_moved() {
    let mut fleet = room(3, Hosts::Several, 8, Media::Opus);
    fleet.ok(Method::RouterCreateAudiolevelobserver, "r", bodies::create_audio_level("o", -50));
    fleet.ok(Method::RtpobserverAddProducer, "o", bodies::add_producer("p"));
    consume(&mut fleet, "w1", "c1", Media::Opus);
    fleet.ok(Method::ConsumerPause, "c1", None);
    // Its part goes, and it moves to the Producer's; then that of another Producer's pipe.
    assert_eq!(fleet.kill(super::fleet::HOME), Fate::LivesOn);
    fleet.ok(Method::TransportProduce, "w1", bodies::produce("q", Media::Opus, 2000));
    fleet.ok(Method::RtpobserverAddProducer, "o", bodies::add_producer("q"));
    fleet.sent.clear();
    fleet.wait(QUIET * 2);
    assert_eq!(count(&fleet, P1, Method::ConsumerPause), 1, "the consumer's only");
    assert_eq!(count(&fleet, P2, Method::ConsumerPause), 0, "the observer hears q");
    end(fleet);
}
