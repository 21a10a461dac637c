//! Random programs of app calls on plain mediasoup (one worker, spoken to directly) and on a
//! virtual worker over several workers: what the app can observe must be the same, up to the
//! differences listed in `oracle/legal-differences.json`.

#[path = "oracle/app.rs"]
mod app;
#[allow(dead_code, clippy::unnecessary_box_returns, reason = "shared with tests of the mock")]
#[path = "mock_worker/bodies.rs"]
mod bodies;
#[path = "oracle/calls.rs"]
mod calls;
#[path = "oracle/comparison.rs"]
mod comparison;
#[path = "oracle/differences.rs"]
mod differences;
#[path = "oracle/fleet.rs"]
mod fleet;
#[path = "oracle/plain.rs"]
mod plain;
#[path = "oracle/plan/mod.rs"]
mod plan;
#[path = "oracle/program.rs"]
mod program;
#[path = "oracle/properties.rs"]
mod properties;
#[path = "oracle/real.rs"]
mod real;
#[path = "support/real_worker.rs"]
mod real_worker;
#[path = "oracle/shared.rs"]
mod shared;
#[path = "oracle/value.rs"]
mod value;
