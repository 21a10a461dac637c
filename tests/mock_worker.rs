//! The mock worker by area, under random programs, as a connection and beside a real worker.

#[path = "mock_worker/against_worker.rs"]
mod against_worker;
#[path = "mock_worker/bench.rs"]
mod bench;
#[path = "mock_worker/bodies.rs"]
mod bodies;
#[path = "mock_worker/connection.rs"]
mod connection;
#[path = "mock_worker/consistency.rs"]
mod consistency;
#[path = "mock_worker/data.rs"]
mod data;
#[path = "mock_worker/events.rs"]
mod events;
#[path = "mock_worker/media.rs"]
mod media;
#[path = "mock_worker/programs.rs"]
mod programs;
#[path = "support/real_worker.rs"]
mod real_worker;
#[path = "mock_worker/rules.rs"]
mod rules;
#[path = "mock_worker/transports.rs"]
mod transports;
