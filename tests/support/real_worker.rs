//! The real mediasoup-worker that set-up installed, for tests that hold ours against it.

use mediasoup_horizontal::{
    MEDIASOUP_VERSION,
    worker_process::{Binaries, BinarySources, Environment, WorkerBinary},
};

/// The worker that `MEDIASOUP_HORIZONTAL_TEST_WORKER_BIN` names, else the one that an app would get.
pub fn real_worker() -> WorkerBinary {
    let environment = Environment::of_process();
    let explicit = environment
        .get("MEDIASOUP_HORIZONTAL_TEST_WORKER_BIN")
        .map(|path| path.to_string_lossy().into_owned());
    let sources = BinarySources {
        explicit: explicit.into_iter().collect(),
        assumed_version: Some(MEDIASOUP_VERSION.into()),
        ..BinarySources::default()
    };
    Binaries::new(environment, sources)
        .find(MEDIASOUP_VERSION)
        .unwrap_or_else(|error| panic!("run scripts/setup first: {error}"))
}
