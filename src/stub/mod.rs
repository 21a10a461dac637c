//! The stub: the tiny process that mediasoup spawns as its worker, and how the core serves it.

pub mod protocol;
pub mod signals;
