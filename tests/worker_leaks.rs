//! Alone in its process, because it counts descriptors and children.

#![allow(clippy::unwrap_used)]

use std::{fs, time::Duration};

use mediasoup_horizontal::{
    addresses::{HostAddresses, PortPolicy},
    connection::{DtlsFiles, Exit, SpawnRequest, WorkerCommand, WorkerEvent},
    worker_process::{Environment, Launcher, WorkerBinary},
};
use tokio::time::timeout;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn children() -> String {
    fs::read_to_string("/proc/thread-self/children").unwrap()
}

async fn one_worker(how: usize) {
    let fake = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fake-worker.sh");
    let binary = WorkerBinary { path: fake.into(), version: "0.0.0".into(), schema: None };
    let request = SpawnRequest {
        version: "0.0.0".into(),
        fingerprint: String::new(),
        args: Vec::new(),
        dtls: DtlsFiles { certificate: Some("pem".into()), private_key: None },
        worker_bin: None,
    };
    let addresses = HostAddresses {
        colocated: true,
        bind: Vec::new(),
        pipe: None,
        announced: Vec::new(),
        behind_nat: false,
        port_range: None,
        port_policy: PortPolicy::Remap,
        app_seen_as: None,
    };
    let what = ["echo", "exit42", "signal", "deaf", "garbage"][how % 5];
    let environment = Environment::of_process().with("FAKE", what);
    let launcher = Launcher::new(environment).with_grace(Duration::from_millis(20));
    if how.is_multiple_of(7) {
        let missing = WorkerBinary { path: "/nonexistent/worker".into(), ..binary };
        assert!(launcher.start(&missing, &request, addresses, ()).is_err());
        return;
    }
    if how.is_multiple_of(3) {
        let in_place = launcher.prepare(&binary, &request, addresses, ()).unwrap();
        drop(in_place);
        tokio::time::sleep(Duration::from_millis(30)).await;
        return;
    }
    let mut link = launcher.start(&binary, &request, addresses, ()).unwrap();
    if how.is_multiple_of(2) {
        drop(link);
        tokio::time::sleep(Duration::from_millis(60)).await;
        return;
    }
    link.commands.send(WorkerCommand::CloseInput).await.unwrap();
    let exit = loop {
        let event = timeout(Duration::from_secs(20), link.events.recv()).await.unwrap();
        if let WorkerEvent::Exited(exit) = event.expect("an exit comes last") {
            break exit;
        }
    };
    assert!(!matches!(exit, Exit::Lost(_)), "{exit:?}");
}

#[tokio::test]
async fn fifty_workers_leave_nothing() {
    one_worker(1).await;
    let before = descriptors();
    for how in 0..60 {
        one_worker(how).await;
    }
    // What was dropped ends by itself soon.
    for _ in 0..100 {
        if descriptors() <= before && children().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{before} descriptors before, {} after; children: {:?}", descriptors(), children());
}
