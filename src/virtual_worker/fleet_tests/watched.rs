//! What those see who watch a virtual worker.

use super::{
    bodies::{self, Media},
    deaths::room,
    fleet::{Fleet, HOME},
};
use crate::{
    channel::method::Method,
    virtual_worker::{
        CloseReason, Counts, Fate, ObjectKind, PartId, PartView, PipeView, RouterView,
    },
};

type Told = (ObjectKind, String, u32, Option<CloseReason>);

fn told(fleet: &mut Fleet) -> Vec<Told> {
    let changes = fleet.worker.take_changes().into_iter();
    let told = changes.map(|change| {
        assert_eq!(change.router.as_deref(), Some("r"), "{change:?}");
        assert_eq!(change.transport.is_some(), change.kind == ObjectKind::Transport);
        (change.kind, change.id, change.part.0, change.closed)
    });
    told.collect()
}

fn tell(kind: ObjectKind, id: &str, part: u32, closed: Option<CloseReason>) -> Told {
    (kind, id.to_owned(), part, closed)
}

#[test]
fn objects_of_the_app_come_and_go() {
    use ObjectKind::{Consumer, Producer, Router, Transport};
    let mut fleet = room();
    let new = |kind, id, part| tell(kind, id, part, None);
    assert_eq!(
        told(&mut fleet),
        [
            new(Router, "r", 0),
            new(Transport, "w0", 1),
            new(Transport, "w1", 2),
            new(Transport, "w2", 0),
            new(Producer, "p", 1),
            new(Consumer, "c1", 2),
            new(Consumer, "c2", 0),
        ]
    );
    let gone = |kind, id, part| tell(kind, id, part, Some(CloseReason::Closed));
    fleet.ok(Method::TransportCloseProducer, "w0", bodies::close_producer("p"));
    let mut closed = told(&mut fleet);
    closed[1..].sort_by(|one, other| one.1.cmp(&other.1));
    let expected = [gone(Producer, "p", 1), gone(Consumer, "c1", 2), gone(Consumer, "c2", 0)];
    assert_eq!(closed, expected);
    fleet.ok(Method::WorkerCloseRouter, "", bodies::close_router("r"));
    let closed = told(&mut fleet);
    assert_eq!(closed[0], gone(Router, "r", 0));
    assert_eq!(closed.len(), 4);
}

#[test]
fn what_no_worker_made_is_not_told() {
    let mut fleet = room();
    told(&mut fleet);
    let body = bodies::consume("c3", "nobody", Media::Vp8, 1000);
    assert!(fleet.call(Method::TransportConsume, "w1", body).is_err());
    assert_eq!(told(&mut fleet), []);
    fleet.held.insert(PartId(1));
    fleet.ask(Method::TransportProduce, "w0", bodies::produce("q", Media::Vp8, 2000));
    fleet.ask(Method::TransportCloseProducer, "w0", bodies::close_producer("q"));
    fleet.held.clear();
    fleet.settle();
    assert_eq!(told(&mut fleet), []);
}

#[test]
fn a_lost_part_is_the_reason() {
    let mut fleet = room();
    told(&mut fleet);
    assert_eq!(fleet.kill(PartId(1)), Fate::LivesOn);
    let mut lost = told(&mut fleet);
    lost.sort_by(|one, other| one.1.cmp(&other.1));
    let (closed, part_lost) = (Some(CloseReason::Closed), Some(CloseReason::PartLost));
    let expected = [
        tell(ObjectKind::Consumer, "c1", 2, closed),
        tell(ObjectKind::Consumer, "c2", 0, closed),
        tell(ObjectKind::Producer, "p", 1, part_lost),
        tell(ObjectKind::Transport, "w0", 1, part_lost),
    ];
    assert_eq!(lost, expected);
    fleet.worker.end_objects(CloseReason::WorkerGone);
    let ends = told(&mut fleet);
    assert_eq!(ends[0], tell(ObjectKind::Router, "r", 0, Some(CloseReason::WorkerGone)));
    assert_eq!(ends.len(), 3);
    assert!(fleet.worker.objects().is_empty());
}

#[test]
fn a_census_counts_what_the_app_has() {
    let mut fleet = room();
    let census = fleet.worker.census(true);
    let all = Counts { routers: 1, transports: 3, producers: 1, consumers: 2, ..Counts::default() };
    assert_eq!(census.counts, all);
    let view =
        |part: u32, counts| PartView { part: PartId(part), home: part == 0, open: true, counts };
    assert_eq!(
        census.parts,
        [
            view(0, Counts { routers: 1, transports: 1, consumers: 1, ..Counts::default() }),
            view(1, Counts { transports: 1, producers: 1, ..Counts::default() }),
            view(2, Counts { transports: 1, consumers: 1, ..Counts::default() }),
        ]
    );
    let parts = vec![HOME, PartId(1), PartId(2)];
    assert_eq!(census.routers, [RouterView { id: "r".to_owned(), parts, counts: all }]);
    let pipe = |to: u32| PipeView {
        router: "r".to_owned(),
        producer: "p".to_owned(),
        data: false,
        from: PartId(1),
        to: PartId(to),
        relayed: false,
        started: true,
        users: 1,
        active: 1,
        paused: false,
        bitrate: None,
    };
    let mut pipes = census.pipes;
    pipes.sort_by_key(|pipe| pipe.to);
    assert_eq!(pipes, [pipe(0), pipe(2)]);
    assert_eq!((census.objects.len(), census.under_way), (7, 0));
    assert_eq!(fleet.worker.census(false).objects, []);
    fleet.ok(Method::ConsumerPause, "c1", None);
    let census = fleet.worker.census(false);
    let of_c1 = census.pipes.iter().find(|pipe| pipe.to == PartId(2)).expect("it is there");
    assert_eq!((of_c1.users, of_c1.active), (1, 0));
}

#[test]
fn pipes_are_measured_where_they_begin() {
    let mut fleet = room();
    fleet.held.insert(PartId(1));
    fleet.measure_pipes();
    assert!(fleet.worker.measuring());
    fleet.held.clear();
    fleet.settle();
    assert!(!fleet.worker.measuring());
    assert_eq!(fleet.sent_to(PartId(1), Method::ConsumerGetStats).len(), 2);
    let census = fleet.worker.census(false);
    assert!(census.pipes.iter().all(|pipe| pipe.bitrate == Some(0)), "{census:?}");
    // A pipe that goes meanwhile is not waited for.
    fleet.held.insert(PartId(1));
    fleet.measure_pipes();
    fleet.ask(Method::TransportCloseProducer, "w0", bodies::close_producer("p"));
    assert!(!fleet.worker.measuring());
    assert!(fleet.heard().is_empty());
}
