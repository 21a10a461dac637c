//! Frames to bytes.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::{Body, Frame};

/// Appends one frame to a message.
pub fn encode(frame: &Frame, message: &mut BytesMut) {
    message.put_u8(frame.kind() as u8);
    message.put_u32_le(frame.worker);
    match &frame.body {
        Body::Channel(bytes) | Body::Stdout(bytes) | Body::Stderr(bytes) => put(bytes, message),
        Body::CloseInput => put(&[], message),
        Body::Signal(signal) => put(&signal.to_le_bytes(), message),
        Body::Ack(number) | Body::Ping(number) | Body::Pong(number) => {
            put(&number.to_le_bytes(), message);
        }
        Body::Spawn(spec) => put_json(spec, message),
        Body::Spawned(spawned) => put_json(spawned, message),
        Body::Failed(failure) => put_json(failure, message),
        Body::Exited(exit) => put_json(exit, message),
        Body::Load(load) => put_json(load, message),
        Body::Drain(notice) => put_json(notice, message),
    }
}

fn put(payload: &[u8], message: &mut BytesMut) {
    // A payload above 4 GiB cannot exist here: every queue and every decoder is far below.
    message.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    message.put_slice(payload);
}

fn put_json<T: Serialize>(value: &T, message: &mut BytesMut) {
    let text = serde_json::to_vec(value).expect("plain structs of strings and numbers serialize");
    put(&text, message);
}
