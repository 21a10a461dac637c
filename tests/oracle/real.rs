//! The oracle's own check: the mock worker that stands for plain mediasoup, held against a real
//! one, call by call.

use std::time::Duration;

use mediasoup_horizontal::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    addresses::{HostAddresses, PortPolicy},
    connection::{DtlsFiles, Exit, SpawnRequest, WorkerCommand, WorkerEvent, WorkerLink},
    worker_process::{Environment, Launcher},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use crate::{
    app::App,
    calls::{Sent, Step},
    comparison,
    differences::Differences,
    fleet::Losses,
    plain,
    plan::Limits,
    program,
    properties::{cases, try_programs},
    real_worker::real_worker,
};

/// How long a worker may take for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

fn start() -> WorkerLink {
    let environment = Environment::of_process();
    let binary = real_worker();
    let request = SpawnRequest {
        version: MEDIASOUP_VERSION.into(),
        fingerprint: SCHEMA_FINGERPRINT.into(),
        args: vec!["--logLevel=none".into()],
        dtls: DtlsFiles::default(),
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
    Launcher::new(environment).start(&binary, &request, addresses, ()).expect("a worker starts")
}

/// Makes each call once the one before is answered.
async fn run<'a>(
    link: &mut WorkerLink,
    steps: impl Iterator<Item = &'a Step>,
) -> Result<App, String> {
    let mut app = App::default();
    for step in steps {
        let Step::Call(call) = step else { continue };
        let message = WorkerCommand::Message(app.call(call).freeze());
        link.commands.send(message).await.map_err(|_| "the worker is gone".to_owned())?;
        if matches!(call.sent, Sent::Notification(..)) {
            continue;
        }
        while app.made.last().is_some_and(|made| made.outcome.is_none()) {
            match timeout(PATIENCE, link.events.recv()).await {
                Ok(Some(WorkerEvent::Message(bytes))) => app.hear(&bytes),
                Ok(Some(WorkerEvent::Exited(exit))) => {
                    return Err(format!("a real worker ends ({exit:?}) with {call}"));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err(format!("the worker is gone with {call}")),
                Err(_) => return Err(format!("a real worker never answers {call}")),
            }
        }
    }
    Ok(app)
}

/// Each program has a worker of its own, which must end well: a worker that took damage may live
/// on for a while.
fn check(runtime: &Runtime, steps: &[Step]) -> Vec<String> {
    let plain = plain::run(steps, &Losses::new());
    if !plain.violations.is_empty() {
        return Vec::new();
    }
    let ran = runtime.block_on(async {
        let mut link = start();
        let app = run(&mut link, steps.iter().chain(&plain.epilogue)).await?;
        let _ = link.commands.send(WorkerCommand::CloseInput).await;
        loop {
            match timeout(PATIENCE, link.events.recv()).await {
                Ok(Some(WorkerEvent::Exited(Exit::Code(0)))) => return Ok(app),
                Ok(Some(WorkerEvent::Message(_) | WorkerEvent::Stdout(_))) => {}
                other => return Err(format!("a real worker does not end well: {other:?}")),
            }
        }
    });
    match ran {
        Ok(mut app) => {
            let legal = Differences::of(1);
            let mut found = comparison::differences(&plain.app, &app, &legal, true, &Losses::new());
            found.append(&mut app.wrong);
            found
        }
        Err(why) => vec![why],
    }
}

#[test]
fn the_mock_worker_does_as_a_real_one() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let limits = Limits { media: true, real: true, taken: true };
    // "plain" is the mock here, and "ours" the real worker.
    try_programs(cases() / 10, &program::settled(), limits, |steps| check(&runtime, steps));
}
