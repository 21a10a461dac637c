//! A shared worker against scripted virtual workers and a scripted worker. The property tests in
//! `tests/oracle` run whole programs.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::channel::fbs::{
    active_speaker_observer, audio_level_observer, log, notification, router, transport,
};

struct Bench {
    machine: SharedWorker,
    first: SubId,
    second: SubId,
}

impl Bench {
    fn new() -> Self {
        let mut machine = SharedWorker::default();
        let mut out = Vec::new();
        let (first, second) = (machine.attach(&mut out), machine.attach(&mut out));
        assert!(out.is_empty(), "nobody hears of a worker before it runs");
        Self { machine, first, second }
    }

    fn say(&mut self, id: SubId, message: Message) -> Vec<Output> {
        let mut out = Vec::new();
        self.machine.from_sub(id, message.into_bytes(), &mut out);
        out
    }

    fn hear(&mut self, message: Message) -> Vec<Output> {
        let mut out = Vec::new();
        self.machine.from_worker(message.into_bytes(), &mut out);
        out
    }

    /// Sends what goes to the worker, as it gets it.
    fn send(&mut self, id: SubId, message: Message) -> request::Request {
        let out = self.say(id, message);
        let [Output::Worker(bytes)] = out.as_slice() else { panic!("to the worker: {out:?}") };
        let message = Message::parse(BytesMut::from(&bytes[..])).unwrap();
        match compose::to_owned(&message).unwrap() {
            message::Body::Request(request) => *request,
            other => panic!("a request: {other:?}"),
        }
    }

    fn ok(&mut self, id: SubId, message: Message) -> request::Request {
        let request = self.send(id, message);
        let out = self.hear(compose::accepted(request.id, None));
        assert!(matches!(out.as_slice(), [Output::Sub(to, _)] if *to == id), "{out:?}");
        request
    }

    /// Both get a Router and a transport with the same ids. Returns the second one's Router and
    /// transport as the worker knows them.
    fn collide(&mut self) -> (String, String) {
        let (first, second) = (self.first, self.second);
        for id in [first, second] {
            self.ok(id, create_router(1, "router"));
        }
        self.ok(first, create_direct(2, "transport"));
        let request = self.ok(second, create_direct(2, "transport"));
        let Some(request::Body::RouterCreateDirectTransportRequest(body)) = request.body else {
            panic!("as it was")
        };
        (request.handler_id, body.transport_id)
    }
}

fn told(out: &[Output], id: SubId) -> message::Body {
    let [Output::Sub(to, bytes)] = out else { panic!("one message: {out:?}") };
    assert_eq!(*to, id);
    compose::to_owned(&Message::parse(bytes.clone()).unwrap()).unwrap()
}

fn create_router(id: u32, router: &str) -> Message {
    let body = worker::CreateRouterRequest { router_id: router.to_owned() };
    let body = request::Body::WorkerCreateRouterRequest(Box::new(body));
    compose::request(id, Method::WorkerCreateRouter, "", Some(body))
}

fn create_direct(id: u32, transport: &str) -> Message {
    let body = router::CreateDirectTransportRequest {
        transport_id: transport.to_owned(),
        ..router::CreateDirectTransportRequest::default()
    };
    let body = request::Body::RouterCreateDirectTransportRequest(Box::new(body));
    compose::request(id, Method::RouterCreateDirecttransport, "router", Some(body))
}

fn rtcp(transport: &str) -> Message {
    let body = transport::SendRtcpNotification { data: vec![1, 2, 3] };
    let body = notification::Body::TransportSendRtcpNotification(Box::new(body));
    compose::notification(transport, Event::TransportSendRtcp, Some(body))
}

#[test]
fn ids_that_do_not_collide_pass_as_they_are() {
    let mut bench = Bench::new();
    let (first, second) = (bench.first, bench.second);
    assert_eq!(bench.ok(first, create_router(1, "router")).id, 1);
    let request = bench.send(second, create_router(1, "other"));
    assert_eq!(request.id, 2, "numbered anew");
    let Some(request::Body::WorkerCreateRouterRequest(body)) = request.body else { panic!() };
    assert_eq!(body.router_id, "other");
    let out = bench.hear(compose::accepted(2, None));
    let message::Body::Response(response) = told(&out, second) else { panic!() };
    assert_eq!(response.id, 1, "and back");
}

#[test]
fn an_id_that_another_has_gets_an_alias() {
    let mut bench = Bench::new();
    let (router, transport) = bench.collide();
    assert!(Uuid::parse_str(&router).is_ok() && Uuid::parse_str(&transport).is_ok());
    let out = bench.hear(compose::notification(&transport, Event::TransportTrace, None));
    let message::Body::Notification(told) = told(&out, bench.second) else { panic!() };
    assert_eq!(told.handler_id, "transport");
}

#[test]
fn notifications_go_to_whom_the_object_belongs() {
    let mut bench = Bench::new();
    let (_, alias) = bench.collide();
    let trace = |id: &str| compose::notification(id, Event::TransportTrace, None);
    let (first, second) = (bench.first, bench.second);
    told(&bench.hear(trace("transport")), first);
    told(&bench.hear(trace(&alias)), second);
    assert!(bench.hear(trace("nobody's")).is_empty());
}

#[test]
fn observers_name_producers_as_the_app_does() {
    let mut bench = Bench::new();
    let (_, alias) = bench.collide();
    let second = bench.second;
    let body = active_speaker_observer::DominantSpeakerNotification { producer_id: alias.clone() };
    let body = notification::Body::ActiveSpeakerObserverDominantSpeakerNotification(Box::new(body));
    let event = Event::ActivespeakerobserverDominantSpeaker;
    let out = bench.hear(compose::notification(&alias, event, Some(body)));
    assert!(format!("{:?}", told(&out, second)).contains(r#"producer_id: "transport""#));
    let volume = |id: &str| audio_level_observer::Volume { producer_id: id.into(), volume: -20 };
    let volumes = vec![volume(&alias), volume("kept"), volume(&alias)];
    let body = audio_level_observer::VolumesNotification { volumes };
    let body = notification::Body::AudioLevelObserverVolumesNotification(Box::new(body));
    let event = Event::AudiolevelobserverVolumes;
    let out = bench.hear(compose::notification(&alias, event, Some(body)));
    let message::Body::Notification(told) = told(&out, second) else { panic!() };
    let Some(notification::Body::AudioLevelObserverVolumesNotification(body)) = told.body else {
        panic!("as it was")
    };
    assert_eq!(body.volumes, [volume("transport"), volume("kept"), volume("transport")]);
}

#[test]
fn a_refusal_that_quotes_an_alias_quotes_the_id() {
    let mut bench = Bench::new();
    let (router, _) = bench.collide();
    let second = bench.second;
    let request = bench.send(second, compose::request(9, Method::RouterDump, "router", None));
    assert_eq!(request.handler_id, router);
    let why = format!("no room in '{router}' [id:{router}]");
    let out = bench.hear(compose::refused(request.id, ErrorKind::Error, &why));
    let message::Body::Response(response) = told(&out, second) else { panic!() };
    assert_eq!(response.reason.as_deref(), Some("no room in 'router' [id:router]"));
}

#[test]
fn the_objects_of_others_are_not_there() {
    let mut bench = Bench::new();
    let (first, second) = (bench.first, bench.second);
    bench.ok(first, create_router(1, "router"));
    let request = bench.send(second, compose::request(9, Method::RouterDump, "router", None));
    let stranger = request.handler_id;
    assert_ne!(stranger, "router");
    let why = format!("Channel request handler with ID {stranger} not found [method:router.dump]");
    let out = bench.hear(compose::refused(request.id, ErrorKind::NotFoundError, &why));
    let message::Body::Response(response) = told(&out, second) else { panic!() };
    let reason = response.reason.unwrap();
    assert_eq!(reason, "Channel request handler with ID router not found [method:router.dump]");
    let out = bench.say(second, rtcp("router"));
    let [Output::Worker(bytes)] = out.as_slice() else { panic!("{out:?}") };
    let message = Message::parse(BytesMut::from(&bytes[..])).unwrap();
    let Envelope::Notification(sent) = message.envelope() else { panic!() };
    assert_ne!(sent.handler_id, "router");
}

#[test]
fn a_name_is_free_again_once_its_creation_is_refused() {
    let mut bench = Bench::new();
    let (first, second) = (bench.first, bench.second);
    let request = bench.send(first, create_router(1, "router"));
    bench.hear(compose::refused(request.id, ErrorKind::Error, "no"));
    assert_eq!(bench.machine.names(), 0);
    let request = bench.send(second, create_router(1, "router"));
    let Some(request::Body::WorkerCreateRouterRequest(body)) = request.body else { panic!() };
    assert_eq!(body.router_id, "router");
}

#[test]
fn who_comes_late_hears_at_once_that_the_worker_runs() {
    let mut bench = Bench::new();
    let out = bench.hear(compose::worker_running(77));
    assert_eq!(out.len(), 2);
    let mut out = Vec::new();
    let third = bench.machine.attach(&mut out);
    let message::Body::Notification(running) = told(&out, third) else { panic!() };
    assert_eq!((running.event, running.handler_id.as_str()), (Event::WorkerRunning, "77"));
}

#[test]
fn logs_go_to_the_oldest() {
    let mut bench = Bench::new();
    let log = || {
        let log = log::Log { data: "Wsomething".to_owned() };
        compose::compose(message::Body::Log(Box::new(log)))
    };
    let (first, second) = (bench.first, bench.second);
    told(&bench.hear(log()), first);
    bench.machine.leave(first, &mut Vec::new());
    told(&bench.hear(log()), second);
}

#[test]
fn a_malformed_answer_is_an_answer() {
    let mut bench = Bench::new();
    let second = bench.second;
    let request = bench.send(second, create_router(5, "router"));
    let mut bytes = compose::accepted(request.id, None).into_bytes();
    bytes.extend_from_slice(&[0; 4]);
    let mut out = Vec::new();
    bench.machine.from_worker(bytes, &mut out);
    assert!(matches!(&out[0], Output::Diagnostic(text) if text.contains("dropped")));
    let message::Body::Response(response) = told(&out[1..], second) else { panic!() };
    assert!(!response.accepted && response.id == 5);
    assert_eq!(bench.machine.names(), 0);
}

#[test]
fn a_request_without_a_number_is_refused_and_forgotten() {
    let mut bench = Bench::new();
    let second = bench.second;
    let out = bench.say(second, create_router(0, "router"));
    let message::Body::Response(response) = told(&out, second) else { panic!() };
    assert!(!response.accepted);
    assert_eq!(bench.machine.names(), 0);
}

#[test]
fn a_router_that_is_being_made_closes_once_it_is_there() {
    let mut bench = Bench::new();
    let (first, second) = (bench.first, bench.second);
    bench.ok(second, create_router(1, "router"));
    let made = bench.send(first, create_router(1, "router"));
    let mut out = Vec::new();
    assert_eq!(bench.machine.leave(first, &mut out), Leaving::Alone);
    assert!(out.is_empty(), "there is nothing to close yet: {out:?}");
    let out = bench.hear(compose::accepted(made.id, None));
    let [Output::Sub(to, _), Output::Worker(bytes)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(*to, first, "it asked before it left");
    let close = Message::parse(BytesMut::from(&bytes[..])).unwrap();
    let Envelope::Request(close) = close.envelope() else { panic!() };
    assert_eq!(close.method, Method::WorkerCloseRouter);
    let out = bench.hear(compose::accepted(close.id, None));
    assert_eq!(out, [Output::Ended(first)]);
    assert!(bench.machine.takes_more());
    assert_eq!(bench.machine.leave(second, &mut Vec::new()), Leaving::WithWorker);
    assert!(!bench.machine.takes_more());
}

#[test]
fn a_name_that_makes_a_message_too_long_refuses_it() {
    let mut bench = Bench::new();
    bench.collide();
    let second = bench.second;
    // Just as long as a message may be: with the alias it would be longer.
    let limit = crate::channel::framing::MESSAGE_MAX;
    let body = |length: usize| {
        let body =
            worker::UpdateSettingsRequest { log_level: Some("x".repeat(length)), log_tags: None };
        request::Body::WorkerUpdateSettingsRequest(Box::new(body))
    };
    let message =
        |length| compose::request(4, Method::WorkerUpdateSettings, "router", Some(body(length)));
    let spare = message(0).len();
    let out = bench.say(second, message(limit - spare - 8));
    let message::Body::Response(response) = told(&out, second) else { panic!() };
    assert!(response.reason.unwrap().contains("more than the worker's channel carries"));
}
