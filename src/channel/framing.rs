//! Splits the byte stream of a worker's channel into whole messages.

use bytes::BytesMut;

/// The longest channel message with its size prefix that mediasoup-worker sends or takes.
pub const MESSAGE_MAX: usize = 8_388_608;

/// The length of the little-endian size prefix.
pub const PREFIX: usize = 4;

/// The shortest payload that can hold a message: a root offset and a table offset.
const PAYLOAD_MIN: usize = 8;

/// How much room a read gets.
const CHUNK: usize = 64 * 1024;

/// With less room than this between messages a fresh chunk is cheaper than short reads.
const ROOM_MIN: usize = 4 * 1024;

/// The byte stream is not a channel; nothing after this point can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error(
        "a channel message announces {announced} bytes, more than the {} that are allowed; the \
         other side is broken or speaks another protocol",
        MESSAGE_MAX - PREFIX
    )]
    TooLong { announced: usize },
    #[error(
        "a channel message announces {announced} bytes, fewer than the {PAYLOAD_MIN} that any \
         message has; the other side is broken or speaks another protocol"
    )]
    TooShort { announced: usize },
}

/// Collects bytes and gives whole messages. After an error it gives the same error for ever.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: BytesMut,
}

impl FrameReader {
    /// The buffer to append the next bytes to. It has room for at least one byte, and never more
    /// than the bytes at hand justify: who announces much and sends little costs little.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let held = self.buffer.len();
        let room = self.buffer.capacity() - held;
        let expected = self.announced().and_then(Result::ok).filter(|total| *total > held);
        let wanted = match expected {
            Some(total) if total > self.buffer.capacity() => (total - held).min(held.max(CHUNK)),
            None if room < ROOM_MIN => CHUNK,
            Some(_) | None => 0,
        };
        if wanted > 0 && !self.buffer.try_reclaim(wanted) {
            // `reserve` would double what it has; this keeps to what is wanted.
            let mut larger = BytesMut::with_capacity(held + wanted);
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
        &mut self.buffer
    }

    /// The next whole message with its size prefix, without copying it.
    #[expect(clippy::should_implement_trait, reason = "an iterator's end would be final")]
    pub fn next(&mut self) -> Result<Option<BytesMut>, FramingError> {
        match self.announced() {
            Some(Ok(total)) if self.buffer.len() >= total => Ok(Some(self.buffer.split_to(total))),
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Ok(None),
        }
    }

    /// Whether a message has begun and not ended.
    pub fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn announced(&self) -> Option<Result<usize, FramingError>> {
        let prefix = self.buffer.first_chunk::<PREFIX>()?;
        let announced = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
        Some(if announced > MESSAGE_MAX - PREFIX {
            Err(FramingError::TooLong { announced })
        } else if announced < PAYLOAD_MIN {
            Err(FramingError::TooShort { announced })
        } else {
            Ok(PREFIX + announced)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).expect("test payloads are short");
        [&size.to_le_bytes(), payload].concat()
    }

    /// Feeds `bytes` as a socket would: never more than the room that the reader offers.
    fn feed(
        reader: &mut FrameReader,
        mut bytes: &[u8],
        out: &mut Vec<Vec<u8>>,
    ) -> Result<(), FramingError> {
        while !bytes.is_empty() {
            let buffer = reader.buffer();
            let room = buffer.capacity() - buffer.len();
            assert!(room > 0, "a read must have room");
            assert!(buffer.capacity() <= MESSAGE_MAX + CHUNK, "growth is bounded");
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            buffer.extend_from_slice(now);
            bytes = later;
            while let Some(message) = reader.next()? {
                out.push(message.to_vec());
            }
        }
        Ok(())
    }

    #[test]
    fn refuses_a_message_that_is_too_long() {
        let mut reader = FrameReader::default();
        let announced = MESSAGE_MAX - PREFIX + 1;
        let prefix = u32::try_from(announced).expect("fits").to_le_bytes();
        reader.buffer().extend_from_slice(&prefix);
        assert_eq!(reader.next(), Err(FramingError::TooLong { announced }));
        assert_eq!(reader.next(), Err(FramingError::TooLong { announced }), "it stays broken");
        assert!(reader.buffer().capacity() <= 2 * CHUNK);
    }

    #[test]
    fn refuses_a_message_that_is_too_short() {
        let mut reader = FrameReader::default();
        reader.buffer().extend_from_slice(&message(&[0; 7]));
        assert_eq!(reader.next(), Err(FramingError::TooShort { announced: 7 }));
    }

    #[test]
    fn takes_the_longest_message() {
        let bytes = message(&vec![7; MESSAGE_MAX - PREFIX]);
        let mut reader = FrameReader::default();
        let mut out = Vec::new();
        feed(&mut reader, &bytes, &mut out).expect("the longest message is allowed");
        assert_eq!(out, [bytes]);
        assert!(!reader.is_partial());
    }

    #[test]
    fn an_announcement_alone_allocates_little() {
        let mut reader = FrameReader::default();
        let size = u32::try_from(MESSAGE_MAX - PREFIX).expect("fits");
        reader.buffer().extend_from_slice(&size.to_le_bytes());
        assert_eq!(reader.next(), Ok(None));
        assert!(reader.buffer().capacity() <= 2 * CHUNK);
        assert!(reader.is_partial());
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 96,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_chunking_gives_the_same_messages(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 8..3000), 0..40),
            cuts in prop::collection::vec(1_usize..5000, 1..60),
        ) {
            let messages: Vec<_> = payloads.iter().map(|payload| message(payload)).collect();
            let bytes = messages.concat();
            let mut reader = FrameReader::default();
            let mut out = Vec::new();
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                feed(&mut reader, now, &mut out).expect("well-formed");
                rest = later;
            }
            prop_assert_eq!(out, messages);
            prop_assert!(!reader.is_partial());
        }

        #[test]
        fn garbage_never_panics_nor_grows(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 0..40),
        ) {
            let mut reader = FrameReader::default();
            let mut out = Vec::new();
            for chunk in &chunks {
                if feed(&mut reader, chunk, &mut out).is_err() {
                    prop_assert!(reader.next().is_err());
                    break;
                }
            }
            let total: usize = chunks.iter().map(Vec::len).sum();
            prop_assert!(reader.buffer().capacity() <= 2 * total + 2 * CHUNK);
        }
    }
}
