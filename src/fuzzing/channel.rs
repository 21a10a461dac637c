//! The worker's channel: framing, the verifier and what relies on it.

use bytes::{BufMut, BytesMut};

use crate::channel::{
    Envelope, Message, PREFIX, Texts,
    compose::{self, DecodeError},
    framing::{FrameReader, FramingError},
};

/// How much a reader may hold beyond what it was given: its room for the next read.
const ROOM: usize = 128 * 1024;

/// How many times its size a message may describe, tables and vectors included.
const UNFOLDED_MAX: usize = 64;

/// A stream in chunks of any size gives the same messages as in one piece, within bounded memory.
/// The first byte tells how many sizes follow it.
pub fn channel_framing(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else { return };
    let (sizes, stream) = rest.split_at(usize::from(count % 16).min(rest.len()));
    let sizes: Vec<usize> = sizes.iter().map(|size| usize::from(*size) * 16 + 1).collect();
    let (whole, end) = read(stream, &[stream.len().max(1)]);
    if !sizes.is_empty() {
        assert_eq!(read(stream, &sizes), (whole.clone(), end), "chunks of {sizes:?}");
    }
    let length = whole.iter().map(Vec::len).sum::<usize>();
    assert!(stream.starts_with(&whole.concat()));
    for message in &whole {
        let said = message.first_chunk().map(|prefix| u32::from_le_bytes(*prefix) as usize);
        assert_eq!(said, Some(message.len() - PREFIX));
    }
    if let Err(error) = end {
        let left = &stream[length..];
        assert!(left.len() >= PREFIX, "{error} without a prefix");
    }
}

fn read(stream: &[u8], sizes: &[usize]) -> (Vec<Vec<u8>>, Result<(), FramingError>) {
    let mut reader = FrameReader::default();
    let mut messages = Vec::new();
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let buffer = reader.buffer();
        let room = buffer.capacity() - buffer.len();
        assert!(room > 0, "a read must have room");
        assert!(buffer.capacity() <= 2 * stream.len() + ROOM, "{} for it", buffer.capacity());
        let (now, later) = rest.split_at((*size).min(room).min(rest.len()));
        buffer.extend_from_slice(now);
        rest = later;
        loop {
            match reader.next() {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.next(), Err(error), "it stays broken");
                    return (messages, Err(error));
                }
            }
        }
    }
    (messages, Ok(()))
}

/// A payload with its size prefix.
pub(super) fn prefixed(payload: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(PREFIX + payload.len());
    bytes.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    bytes.put_slice(payload);
    bytes
}

/// Whatever verifies can be walked, patched, renamed and composed anew, and verifies again.
pub fn channel_message(data: &[u8]) {
    let bytes = prefixed(data);
    if let Ok(message) = Message::parse_envelope(bytes.clone()) {
        walk(&message);
        rename(&message, Texts::All);
        rename(&message, Texts::Named);
    }
    match Message::parse(bytes.clone()) {
        Err(rejected) => {
            assert_eq!(rejected.bytes, bytes);
            assert!(rejected.to_string().len() < 1000);
            let _ = (rejected.request_id(), rejected.response_id());
        }
        Ok(message) => {
            assert!(Message::parse_envelope(bytes.clone()).is_ok());
            assert_eq!(message.payload(), data);
            unfold(&message);
            patch(&message, &bytes);
            if message.check_for_worker().is_ok() {
                let renamed = message.renamed(Texts::Named, other_name);
                let renamed = renamed.map(|message| message.check_for_worker());
                assert!(matches!(renamed, Ok(Ok(()))), "{renamed:?}");
            }
        }
    }
}

/// Every view that something of ours takes of a message.
fn walk(message: &Message) {
    let _ = message.check_for_worker();
    let _ = message.request_id();
    if let Envelope::Request(request) = message.envelope() {
        let _ = crate::virtual_worker::tracking::effect(&request, message);
    }
    let _ = compose::view(message);
    let _ = compose::request_body(message);
    let _ = compose::response_body(message);
    let _ = compose::answer_body(message);
    let _ = compose::refusal(message);
    let _ = compose::refusal_class(message);
    if let Ok(dump) = compose::worker_dump_with_pid(message, 7, 7) {
        assert!(Message::parse(dump.into_bytes()).is_ok());
    }
}

/// All of it as owned data: it is bounded, and composed again it says the same.
fn unfold(message: &Message) {
    match compose::to_owned(message) {
        Ok(owned) => {
            // Numbers that are none differ from themselves; their texts do not.
            let text = format!("{owned:?}");
            let again = compose::compose(owned);
            assert!(again.len() <= UNFOLDED_MAX * (message.len() + 64), "{}", again.len());
            let parsed = Message::parse(again.into_bytes());
            let read = parsed.as_ref().map(compose::to_owned);
            let same = matches!(&read, Ok(Ok(owned)) if format!("{owned:?}") == text);
            assert!(same, "{text} became {read:?}");
        }
        // The one thing that the verifier leaves to the reader of a text.
        Err(error) => assert!(is_text(&error), "{error}"),
    }
}

fn is_text(error: &DecodeError) -> bool {
    error.to_string().contains("utf")
}

fn patch(message: &Message, bytes: &BytesMut) {
    let mut patched = message.clone();
    if !patched.patch_id(0xA1B2_C3D4) {
        return;
    }
    let parsed = Message::parse(patched.clone().into_bytes());
    assert_eq!(parsed.as_ref(), Ok(&patched), "a patched message verifies");
    let old = match (message.envelope(), patched.envelope()) {
        (Envelope::Request(old), Envelope::Request(new)) => {
            assert_eq!(
                (new.id, new.method, new.handler_id),
                (0xA1B2_C3D4, old.method, old.handler_id)
            );
            old.id
        }
        (Envelope::Response(old), Envelope::Response(new)) => {
            assert_eq!((new.id, new.accepted, new.body), (0xA1B2_C3D4, old.accepted, old.body));
            old.id
        }
        (old, new) => panic!("{old:?} became {new:?}"),
    };
    assert!(patched.patch_id(old));
    assert_eq!(&patched.into_bytes(), bytes, "and nothing else changed");
}

/// Another name of another length, for most.
#[expect(clippy::unnecessary_wraps, reason = "what renaming asks for")]
fn other_name(name: &str) -> Option<String> {
    Some(format!("another-{}", name.len() % 7))
}

fn rename(message: &Message, texts: Texts) {
    if let Ok(renamed) = message.clone().renamed(texts, other_name)
        && renamed != *message
    {
        let parsed = Message::parse(renamed.into_bytes());
        assert!(parsed.is_ok(), "a renamed message verifies: {parsed:?}");
    }
}
