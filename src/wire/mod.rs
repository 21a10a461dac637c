//! What a controller and an agent say to each other. `docs/protocol.md` describes it for anyone
//! who wants to write the other side.
//!
//! Everything here is pure: bytes in, typed values or typed errors out.

mod decode;
mod encode;
mod frame;
mod handshake;
mod payload;

pub use decode::{DecodeError, Frames};
pub use encode::encode;
pub use frame::{Body, Frame, Kind};
pub use handshake::{
    AgentReply, Hello, HelloProblem, Limits, ProtocolRange, Refusal, RefusalCode, Welcome,
    WorkerOffer,
};
pub use payload::{DrainNotice, ExitReport, LoadReport, SpawnFailure, SpawnSpec, Spawned};

/// The WebSocket subprotocol of this protocol's first generation.
pub const SUBPROTOCOL: &str = "mediasoup-horizontal.1";

/// The newest protocol version that this build speaks.
pub const PROTOCOL: u32 = 1;

/// The oldest protocol version that this build speaks.
pub const PROTOCOL_MIN: u32 = 1;

/// Bytes before each frame's payload: kind, worker handle, length.
pub const HEADER_LENGTH: usize = 9;

/// The longest payload of one frame. The longest channel message of mediasoup is half of it.
pub const MAX_PAYLOAD: usize = 8 * 1024 * 1024;

/// The longest WebSocket message, in either direction.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// The longest JSON text of the handshake and of every JSON frame but SPAWN.
pub const MAX_JSON: usize = 64 * 1024;

/// The longest JSON text of a SPAWN frame, which carries certificates.
pub const MAX_SPAWN_JSON: usize = 1024 * 1024;
