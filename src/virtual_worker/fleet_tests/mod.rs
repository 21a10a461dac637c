//! The virtual worker with several parts, each a mock worker.

#[path = "../../../tests/mock_worker/bodies.rs"]
#[expect(dead_code, reason = "shared with the tests of the mock worker")]
mod bodies;
mod calls;
mod chaos;
mod deaths;
mod drains;
mod fleet;
mod growth;
mod links;
mod media;
mod objects;
mod relays;
mod thrift;
mod watched;
