//! What hostile peers say: frames of the protocol by hand, and those of WebSocket.

#![allow(dead_code, clippy::unwrap_used, reason = "not every test uses all of it")]

use bytes::{Bytes, BytesMut};
use mediasoup_horizontal::wire::{Frame, SpawnSpec, encode};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{SCHEMA, VERSION, hello};

/// A ping of WebSocket.
pub const PING: u8 = 0x89;

/// The hello of a controller that wants a new session, as text.
pub fn hello_text() -> String {
    serde_json::to_string(&hello()).unwrap()
}

/// A worker with these arguments.
pub fn spec(args: &[&str]) -> SpawnSpec {
    SpawnSpec {
        version: VERSION.to_owned(),
        schema: SCHEMA.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        dtls_certificate: None,
        dtls_private_key: None,
    }
}

pub fn encoded(frames: &[Frame]) -> Bytes {
    let mut message = BytesMut::new();
    for frame in frames {
        encode(frame, &mut message);
    }
    message.freeze()
}

/// Frames in one message.
pub fn frames(frames: &[Frame]) -> Message {
    Message::Binary(encoded(frames))
}

/// One WebSocket frame of a client, whose mask is zero.
pub fn from_client(first: u8, payload: &[u8]) -> Vec<u8> {
    raw(first, 0x80, &[0; 4], payload)
}

/// One WebSocket frame of a server.
pub fn from_server(first: u8, payload: &[u8]) -> Vec<u8> {
    raw(first, 0, &[], payload)
}

fn raw(first: u8, masked: u8, mask: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(masked | u8::try_from(length).unwrap()),
        length => {
            bytes.push(masked | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload);
    bytes
}
