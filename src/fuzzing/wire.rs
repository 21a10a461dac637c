//! Frames between a controller and an agent.

use bytes::{Bytes, BytesMut};

use crate::{
    queue::Weight,
    wire::{Body, Frame, Frames, HEADER_LENGTH, encode},
};

/// What one frame may weigh beside what arrived of it: its place, and JSON as values.
const FRAME_WEIGHT: usize = 1024;

/// Frames that decode encode to themselves; there is one error at most, and it is the last.
pub fn wire_frames(data: &[u8]) {
    let message = Bytes::copy_from_slice(data);
    let mut frames = Vec::new();
    let mut failed = false;
    for frame in Frames::new(message) {
        assert!(!failed, "nothing follows an error");
        match frame {
            Ok(frame) => frames.push(frame),
            Err(error) => {
                failed = true;
                // It may go into a log and a close frame.
                assert!(error.to_string().len() < 200, "{error}");
            }
        }
    }
    assert!(frames.len() <= data.len() / HEADER_LENGTH);
    let weight: usize = frames.iter().map(Weight::weight).sum();
    assert!(weight <= data.len() * 4 + frames.len() * FRAME_WEIGHT, "{weight}");
    if frames.is_empty() {
        return;
    }
    let encoded = encoded(&frames);
    let again: Result<Vec<Frame>, _> = Frames::new(encoded.clone().freeze()).collect();
    // JSON that was shorter may be longer in full, up to more than a frame carries.
    let Ok(again) = again else {
        assert!(frames.iter().any(|frame| is_json(&frame.body)), "{again:?}");
        return;
    };
    assert_eq!(again, frames);
    assert_eq!(self::encoded(&again), encoded);
    for frame in frames {
        assert_eq!(frame.clone().in_own_memory(), frame);
    }
}

fn encoded(frames: &[Frame]) -> BytesMut {
    let mut message = BytesMut::new();
    for frame in frames {
        encode(frame, &mut message);
    }
    message
}

fn is_json(body: &Body) -> bool {
    matches!(
        body,
        Body::Spawn(_)
            | Body::Spawned(_)
            | Body::Failed(_)
            | Body::Exited(_)
            | Body::Load(_)
            | Body::Drain(_)
    )
}
