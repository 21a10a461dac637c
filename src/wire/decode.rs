//! Bytes to frames. Every byte may be hostile.

use bytes::{Buf, Bytes};
use serde::de::DeserializeOwned;

use super::{Body, Frame, HEADER_LENGTH, Kind, MAX_JSON, MAX_MESSAGE, MAX_PAYLOAD, MAX_SPAWN_JSON};

/// Why a message is not a sequence of frames. The link that brought it is of no further use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a message of {length} bytes, the limit is {MAX_MESSAGE}")]
    MessageTooLong { length: usize },
    #[error("a message without any frame")]
    Empty,
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    #[error("a message that ends in the middle of a frame header")]
    CutHeader,
    #[error("a {kind:?} frame of {length} bytes in a message that has only {left} left")]
    CutPayload { kind: Kind, length: usize, left: usize },
    #[error("a {kind:?} frame of {length} bytes, the limit is {limit}")]
    PayloadTooLong { kind: Kind, length: usize, limit: usize },
    #[error("a {kind:?} frame of {length} bytes instead of {expected}")]
    WrongLength { kind: Kind, length: usize, expected: usize },
    #[error("a {kind:?} frame with worker handle {worker}")]
    WrongHandle { kind: Kind, worker: u32 },
    #[error("a channel message of {length} bytes whose size prefix says otherwise")]
    WrongSizePrefix { length: usize },
    #[error("a {kind:?} frame with unusable JSON: {problem}")]
    Json { kind: Kind, problem: String },
}

/// The frames of one message, without copying their payloads. Ends after the first error.
#[derive(Debug, Default)]
pub struct Frames {
    rest: Bytes,
    failed: Option<DecodeError>,
}

impl Frames {
    pub fn new(message: Bytes) -> Self {
        let failed = if message.len() > MAX_MESSAGE {
            Some(DecodeError::MessageTooLong { length: message.len() })
        } else if message.is_empty() {
            Some(DecodeError::Empty)
        } else {
            None
        };
        Self { rest: message, failed }
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.rest.clear();
            return Some(Err(error));
        }
        if self.rest.is_empty() {
            return None;
        }
        let frame = decode(&mut self.rest);
        if frame.is_err() {
            self.rest.clear();
        }
        Some(frame)
    }
}

fn decode(rest: &mut Bytes) -> Result<Frame, DecodeError> {
    let kind = Kind::from_byte(rest[0]).ok_or(DecodeError::UnknownKind(rest[0]))?;
    if rest.len() < HEADER_LENGTH {
        return Err(DecodeError::CutHeader);
    }
    rest.advance(1);
    let worker = rest.get_u32_le();
    let length = rest.get_u32_le() as usize;
    let limit = match kind {
        Kind::Channel | Kind::Stdout | Kind::Stderr => MAX_PAYLOAD,
        Kind::Spawn => MAX_SPAWN_JSON,
        _ => MAX_JSON,
    };
    if length > limit {
        return Err(DecodeError::PayloadTooLong { kind, length, limit });
    }
    if length > rest.len() {
        return Err(DecodeError::CutPayload { kind, length, left: rest.len() });
    }
    if (worker == 0) == kind.is_data() {
        return Err(DecodeError::WrongHandle { kind, worker });
    }
    let payload = rest.split_to(length);
    Ok(Frame { worker, body: body(kind, payload)? })
}

fn body(kind: Kind, payload: Bytes) -> Result<Body, DecodeError> {
    Ok(match kind {
        Kind::Channel => Body::Channel(channel_message(payload)?),
        Kind::Stdout => Body::Stdout(payload),
        Kind::Stderr => Body::Stderr(payload),
        Kind::CloseInput => {
            exactly::<0>(kind, &payload)?;
            Body::CloseInput
        }
        Kind::Signal => Body::Signal(i32::from_le_bytes(exactly(kind, &payload)?)),
        Kind::Ack => Body::Ack(u64::from_le_bytes(exactly(kind, &payload)?)),
        Kind::Ping => Body::Ping(u64::from_le_bytes(exactly(kind, &payload)?)),
        Kind::Pong => Body::Pong(u64::from_le_bytes(exactly(kind, &payload)?)),
        Kind::Spawn => Body::Spawn(json(kind, &payload)?),
        Kind::Spawned => Body::Spawned(json(kind, &payload)?),
        Kind::Failed => Body::Failed(json(kind, &payload)?),
        Kind::Exited => Body::Exited(json(kind, &payload)?),
        Kind::Load => Body::Load(json(kind, &payload)?),
        Kind::Drain => Body::Drain(json(kind, &payload)?),
    })
}

/// A wrong prefix would put the worker's stream out of step for good.
fn channel_message(payload: Bytes) -> Result<Bytes, DecodeError> {
    let length = payload.len();
    let wrong = DecodeError::WrongSizePrefix { length };
    let Some((prefix, content)) = payload.split_first_chunk::<4>() else {
        return Err(wrong);
    };
    if u32::from_le_bytes(*prefix) as usize != content.len() || content.is_empty() {
        return Err(wrong);
    }
    Ok(payload)
}

fn exactly<const N: usize>(kind: Kind, payload: &[u8]) -> Result<[u8; N], DecodeError> {
    payload.try_into().map_err(|_| DecodeError::WrongLength {
        kind,
        length: payload.len(),
        expected: N,
    })
}

fn json<T: DeserializeOwned>(kind: Kind, payload: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(payload).map_err(|error| DecodeError::Json {
        kind,
        // Only where and what class: serde would quote the text, and SPAWN carries keys.
        problem: format!("{:?} error at column {}", error.classify(), error.column()),
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
