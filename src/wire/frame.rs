//! One frame: what is said about one worker, or about the link itself.

use bytes::Bytes;

use super::payload::{DrainNotice, ExitReport, LoadReport, SpawnFailure, SpawnSpec, Spawned};
use crate::queue::Weight;

/// The least memory that the payload of a received frame keeps alive: the socket's read buffer.
const READ_BUFFER: usize = 128 * 1024;

/// The first byte of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Spawn = 1,
    Spawned = 2,
    Failed = 3,
    Channel = 4,
    CloseInput = 5,
    Signal = 6,
    Stdout = 7,
    Stderr = 8,
    Exited = 9,
    Ack = 16,
    Ping = 17,
    Pong = 18,
    Load = 19,
    Drain = 20,
}

impl Kind {
    /// The kind that a byte stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Spawn,
            2 => Self::Spawned,
            3 => Self::Failed,
            4 => Self::Channel,
            5 => Self::CloseInput,
            6 => Self::Signal,
            7 => Self::Stdout,
            8 => Self::Stderr,
            9 => Self::Exited,
            16 => Self::Ack,
            17 => Self::Ping,
            18 => Self::Pong,
            19 => Self::Load,
            20 => Self::Drain,
            _ => return None,
        })
    }

    /// Data frames are about one worker. They are numbered, and a resumed session repeats them.
    pub fn is_data(self) -> bool {
        (self as u8) < Self::Ack as u8
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The worker's handle, which the controller chose in SPAWN; 0 in frames about the link.
    pub worker: u32,
    pub body: Body,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Controller: start a worker.
    Spawn(SpawnSpec),
    /// Agent: the worker runs.
    Spawned(Spawned),
    /// Agent: no worker was started, and why.
    Failed(SpawnFailure),
    /// Both: one whole channel message with its size prefix.
    Channel(Bytes),
    /// Controller: close the worker's input.
    CloseInput,
    /// Controller: send the worker this signal.
    Signal(i32),
    /// Agent: bytes of the worker's stdout.
    Stdout(Bytes),
    /// Agent: bytes of the worker's stderr.
    Stderr(Bytes),
    /// Agent: the worker is gone. The last frame about it.
    Exited(ExitReport),
    /// Both: how many data frames of this session have arrived.
    Ack(u64),
    /// Both: answer this with the same number.
    Ping(u64),
    /// Both: the answer.
    Pong(u64),
    /// Agent: its load.
    Load(LoadReport),
    /// Agent: it is about to leave, or no longer.
    Drain(DrainNotice),
}

impl Frame {
    /// A frame about a worker.
    pub fn about(worker: u32, body: Body) -> Self {
        Self { worker, body }
    }

    /// The same, with a small payload copied: while it waits somewhere it must not keep a large
    /// read buffer alive that nobody counts.
    #[must_use]
    pub fn in_own_memory(self) -> Self {
        let body = match self.body {
            Body::Channel(bytes) => Body::Channel(own(bytes)),
            Body::Stdout(bytes) => Body::Stdout(own(bytes)),
            Body::Stderr(bytes) => Body::Stderr(own(bytes)),
            other => other,
        };
        Self { worker: self.worker, body }
    }

    /// A frame about the link.
    pub fn link(body: Body) -> Self {
        Self { worker: 0, body }
    }

    pub fn kind(&self) -> Kind {
        match self.body {
            Body::Spawn(_) => Kind::Spawn,
            Body::Spawned(_) => Kind::Spawned,
            Body::Failed(_) => Kind::Failed,
            Body::Channel(_) => Kind::Channel,
            Body::CloseInput => Kind::CloseInput,
            Body::Signal(_) => Kind::Signal,
            Body::Stdout(_) => Kind::Stdout,
            Body::Stderr(_) => Kind::Stderr,
            Body::Exited(_) => Kind::Exited,
            Body::Ack(_) => Kind::Ack,
            Body::Ping(_) => Kind::Ping,
            Body::Pong(_) => Kind::Pong,
            Body::Load(_) => Kind::Load,
            Body::Drain(_) => Kind::Drain,
        }
    }
}

/// What a frame takes in a queue beside its payload, so that a flood of tiny ones is bounded too.
const OVERHEAD: usize = 128;

impl Weight for Frame {
    fn weight(&self) -> usize {
        let payload = match &self.body {
            Body::Channel(bytes) | Body::Stdout(bytes) | Body::Stderr(bytes) => bytes.len(),
            Body::Spawn(spec) => spec.weight(),
            _ => 0,
        };
        OVERHEAD + payload
    }
}

fn own(bytes: Bytes) -> Bytes {
    if bytes.len() < READ_BUFFER { Bytes::copy_from_slice(&bytes) } else { bytes }
}
