//! Calls that fail or wait because a test wants it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mediasoup_horizontal::{
    channel::{
        Envelope, Message,
        compose::{self, ErrorKind},
        method::{self, Event, Method},
    },
    connection::{
        Connection, Exit, SpawnError, WorkerEvent,
        mock::{
            Action, Call, Failure, MockConnection, MockConnectionOptions, MockRules, Mocks, Rule,
        },
    },
};

use crate::{
    bodies::create_router,
    connection::{exit, message, request, send, spawn},
};

fn connection(rules: &MockRules) -> MockConnection {
    let rules = rules.clone();
    MockConnection::new(MockConnectionOptions { rules, ..MockConnectionOptions::default() })
}

fn failure(kind: ErrorKind, message: &str) -> Failure {
    Failure { kind, message: message.to_owned() }
}

fn call(name: &str) -> Call {
    Call::parse(name).expect("a call")
}

fn fail(name: &str, on: Option<&str>, times: Option<u32>) -> Rule {
    let action = Action::Fail(failure(ErrorKind::TypeError, "not today"));
    Rule { call: call(name), on: on.map(str::to_owned), times, action }
}

/// A rule that holds, and how often it was told of.
fn hold(name: &str) -> (Rule, Arc<AtomicUsize>) {
    let arrived = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&arrived);
    let action = Action::Hold(Box::new(move || {
        told.fetch_add(1, Ordering::Relaxed);
    }));
    (Rule { call: call(name), on: None, times: None, action }, arrived)
}

fn dump(id: u32, router: &str) -> Message {
    compose::request(id, Method::RouterDump, router, None)
}

/// What became of the request with that id.
fn outcome(answer: &Message, id: u32) -> Result<(), String> {
    let Envelope::Response(response) = answer.envelope() else { panic!("an answer") };
    assert_eq!(response.id, id);
    if response.accepted { Ok(()) } else { Err(compose::refusal(answer).expect("a reason")) }
}

#[test]
fn calls_have_the_names_that_mediasoup_gives_them() {
    for method in method::all() {
        assert_eq!(call(method::name(method)).name(), method::name(method));
    }
    assert_eq!(call("createWorker").name(), "createWorker");
    let error = Call::parse("transport.close").expect_err("there is none").to_string();
    assert!(error.contains("'transport.close'") && error.contains("transport.produce"), "{error}");
}

#[tokio::test]
async fn calls_fail_as_often_and_where_it_was_said() {
    let rules = MockRules::default();
    let connection = connection(&rules);
    let mut link = spawn(&connection).await;
    for (id, router) in [(1, "a"), (2, "b")] {
        let body = Some(create_router(router));
        send(&link, compose::request(id, Method::WorkerCreateRouter, "", body)).await;
        assert_eq!(outcome(&message(&mut link).await, id), Ok(()));
    }
    let endless = rules.add(fail("router.dump", Some("b"), None));
    let twice = rules.add(fail("router.dump", None, Some(2)));
    let failed = Err("not today".to_owned());
    let mut dumps = 0;
    let mut ids = 10..;
    for (router, expected) in [
        ("a", failed.clone()),
        ("b", failed.clone()),
        ("a", failed.clone()),
        ("a", Ok(())),
        ("b", failed.clone()),
    ] {
        let id = ids.next().expect("endless");
        send(&link, dump(id, router)).await;
        let answer = message(&mut link).await;
        assert_eq!(outcome(&answer, id), expected, "dump {dumps} of {router}");
        if expected.is_err() {
            assert_eq!(compose::refusal_class(&answer).as_deref(), Some("TypeError"));
        }
        dumps += 1;
    }
    assert!(!rules.end(twice, None), "it is used up");
    assert!(rules.end(endless, None));
    send(&link, dump(99, "b")).await;
    assert_eq!(outcome(&message(&mut link).await, 99), Ok(()));
    let calls = rules.calls();
    assert_eq!(calls["router.dump"], dumps + 1);
    assert_eq!((calls["worker.createRouter"], calls["createWorker"]), (2, 1));
    rules.reset();
    assert!(rules.calls().is_empty());
}

#[tokio::test]
async fn a_held_call_waits_while_others_go_on() {
    let rules = MockRules::default();
    let connection = connection(&rules);
    let mut link = spawn(&connection).await;
    let (rule, arrived) = hold("worker.createRouter");
    let held = rules.add(rule);
    let body = Some(create_router("r"));
    send(&link, compose::request(1, Method::WorkerCreateRouter, "", body)).await;
    // It does not exist yet, though it was asked for before.
    send(&link, dump(2, "r")).await;
    let refused = outcome(&message(&mut link).await, 2).expect_err("there is none");
    assert!(refused.contains("handler with ID r not found"), "{refused}");
    assert_eq!(arrived.load(Ordering::Relaxed), 1);
    assert!(rules.end(held, None));
    assert_eq!(outcome(&message(&mut link).await, 1), Ok(()));
    send(&link, dump(3, "r")).await;
    assert_eq!(outcome(&message(&mut link).await, 3), Ok(()));
    assert!(!rules.end(held, None), "it was released");

    // One that fails in the end, and one that nobody releases before the reset.
    for (id, end) in [(4, true), (5, false)] {
        let (rule, _) = hold("router.dump");
        let held = rules.add(rule);
        send(&link, dump(id, "r")).await;
        send(&link, compose::request(100 + id, Method::WorkerDump, "", None)).await;
        assert_eq!(outcome(&message(&mut link).await, 100 + id), Ok(()));
        let expected = if end {
            assert!(rules.end(held, Some(failure(ErrorKind::NotFoundError, "lost"))));
            Err("lost".to_owned())
        } else {
            rules.reset();
            Ok(())
        };
        assert_eq!(outcome(&message(&mut link).await, id), expected);
    }
    // What is held of a worker that ends is nobody's any more.
    let (rule, _) = hold("router.dump");
    let held = rules.add(rule);
    send(&link, dump(6, "r")).await;
    send(&link, compose::notification("", Event::WorkerClose, None)).await;
    assert_eq!(exit(&mut link).await, Exit::Code(0));
    assert!(rules.end(held, None));
}

#[tokio::test]
async fn starts_fail_and_wait_too() {
    let rules = MockRules::default();
    let connection = connection(&rules);
    for (kind, expected) in [
        (ErrorKind::TypeError, SpawnError::WrongSettings("bad luck".to_owned())),
        (ErrorKind::Error, SpawnError::NoBinary("bad luck".to_owned())),
    ] {
        let action = Action::Fail(failure(kind, "bad luck"));
        rules.add(Rule { call: Call::CreateWorker, on: None, times: Some(1), action });
        let error = connection.spawn(request(&[])).await.err().expect("it fails");
        assert_eq!(error, expected);
    }
    for (end, code) in [
        (None, None),
        (Some(ErrorKind::TypeError), Some(Exit::Code(42))),
        (Some(ErrorKind::Error), Some(Exit::Code(1))),
    ] {
        let (rule, arrived) = hold("createWorker");
        let held = rules.add(rule);
        let mut link = connection.spawn(request(&[])).await.expect("a link");
        assert_eq!(arrived.load(Ordering::Relaxed), 1);
        assert!(rules.end(held, end.map(|kind| failure(kind, "bad luck"))));
        if let Some(code) = code {
            assert!(matches!(link.events.recv().await, Some(WorkerEvent::Stderr(_))));
            assert_eq!(exit(&mut link).await, code);
        } else {
            let running = message(&mut link).await;
            let Envelope::Notification(running) = running.envelope() else { panic!("it runs") };
            assert_eq!(running.event, Event::WorkerRunning);
        }
    }
}

#[tokio::test]
async fn the_mock_s_own_calls_are_passed_over() {
    let rules = MockRules::default();
    let connection = connection(&rules);
    let mut link = spawn(&connection).await;
    rules.add(fail("worker.getResourceUsage", None, None));
    let failed = Err("not today".to_owned());
    for (id, own, expected) in [(1, true, Ok(())), (2, true, Ok(())), (3, false, failed)] {
        if own {
            rules.own_call(true);
        }
        let usage = compose::request(id, Method::WorkerGetResourceUsage, "", None);
        send(&link, usage).await;
        assert_eq!(outcome(&message(&mut link).await, id), expected);
        if own {
            rules.own_call(false);
        }
    }
    assert_eq!(rules.calls()["worker.getResourceUsage"], 1);
}

#[test]
fn closed_connections_are_forgotten() {
    let mocks = Mocks::default();
    let connections = ["a", "b"].map(|name| {
        let name = name.to_owned();
        MockConnection::new(MockConnectionOptions { name, ..MockConnectionOptions::default() })
    });
    for connection in &connections {
        mocks.add(connection.handle());
    }
    connections[0].close();
    let open: Vec<String> = mocks.all().iter().map(|mock| mock.name().to_owned()).collect();
    assert_eq!(open, ["b"]);
}
