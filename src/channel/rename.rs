//! Ids within a message: found by the schema, and replaced by others of any length.
//!
//! A text is referred to by its distance, so another one can be put behind everything else and
//! the reference be turned to it. Nothing is taken apart, and texts that share their bytes with
//! an id stay as they are.

use std::{collections::HashMap, ops::Range, sync::LazyLock};

use bytes::BufMut;
use channel_schema::{
    Kind,
    tables::{FBS_MESSAGE_MESSAGE, TYPES, UNIONS},
};

use super::{
    buffer::{Buffer, Field, Table},
    envelope::{Message, MessageError, PREFIX},
    framing::MESSAGE_MAX,
    verify::verify,
};

/// Deeper nesting than any message of the schema has.
const MAX_DEPTH: usize = 16;

/// Which texts of a message to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// The ids by which a request or a notification of the library names objects.
    Named,
    /// Every text.
    All,
}

/// For every table whether texts of that kind can be found in it or below.
struct Reach {
    named: Vec<bool>,
    all: Vec<bool>,
}

static REACH: LazyLock<Reach> =
    LazyLock::new(|| Reach { named: reach(Texts::Named), all: reach(Texts::All) });

fn reach(texts: Texts) -> Vec<bool> {
    let mut known = vec![false; TYPES.len()];
    // Once round for each level of nesting.
    for _ in 0..=MAX_DEPTH {
        known = TYPES
            .iter()
            .map(|table| {
                table.fields.iter().any(|field| holds(texts, field.name, field.kind, &known))
            })
            .collect();
    }
    known
}

fn holds(texts: Texts, name: &str, kind: Kind, known: &[bool]) -> bool {
    match kind {
        Kind::String => texts == Texts::All || name.ends_with("_id"),
        Kind::Table(table) => known[table],
        Kind::Union(union) => UNIONS[union].iter().any(|table| known[*table]),
        Kind::Vector(element) => holds(texts, name, *element, known),
        Kind::Bool | Kind::Scalar(_) | Kind::Enum { .. } => false,
    }
}

/// A text and the place that refers to it.
struct Found {
    at: usize,
    text: Range<usize>,
}

struct Search<'a> {
    buffer: Buffer<'a>,
    texts: Texts,
    known: &'a [bool],
    /// Tables may share parts, so a small message could describe a huge tree.
    steps_left: usize,
    found: Vec<Found>,
}

impl Search<'_> {
    fn table(&mut self, table: Table, type_index: usize, depth: usize) -> Option<()> {
        for field in TYPES[type_index].fields {
            if !holds(self.texts, field.name, field.kind, self.known) {
                continue;
            }
            let Field::At(at) = self.buffer.field(table, field.slot, 4)? else { continue };
            if let Kind::Union(union) = field.kind {
                let tag = self.buffer.field(table, field.slot - 1, 1)?.position()?;
                let member = usize::from(self.buffer.u8(tag)?).checked_sub(1)?;
                let member = *UNIONS[union].get(member)?;
                self.value(at, Kind::Table(member), depth)?;
            } else {
                self.value(at, field.kind, depth)?;
            }
        }
        Some(())
    }

    fn value(&mut self, at: usize, kind: Kind, depth: usize) -> Option<()> {
        self.steps_left = self.steps_left.checked_sub(1)?;
        let target = self.buffer.follow(at)?;
        match kind {
            Kind::String => {
                let length = self.buffer.string(target)?.len();
                self.found.push(Found { at, text: target + 4..target + 4 + length });
            }
            Kind::Table(type_index) if depth < MAX_DEPTH => {
                if self.known[type_index] {
                    self.table(self.buffer.table(target)?, type_index, depth + 1)?;
                }
            }
            Kind::Vector(element) => {
                let (first, count) = self.buffer.vector(target, 4)?;
                for index in 0..count {
                    self.value(first + index * 4, *element, depth)?;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

impl Message {
    /// The message with other texts in the place of those for which `other` gives one. What was
    /// changed is checked again.
    pub fn renamed(
        self,
        texts: Texts,
        mut other: impl FnMut(&str) -> Option<String>,
    ) -> Result<Self, MessageError> {
        let mut changes = Vec::new();
        for found in self.find(texts) {
            let text = std::str::from_utf8(&self.payload()[found.text]);
            if let Some(other) = text.ok().and_then(&mut other) {
                changes.push((found.at, other));
            }
        }
        if changes.is_empty() {
            return Ok(self);
        }
        let mut bytes = self.into_bytes();
        // Once for all places that refer to it: a dump names an object many times.
        let mut written = HashMap::new();
        for (at, text) in changes {
            let target = *written.entry(text).or_insert_with_key(|text| {
                bytes.put_bytes(0, (bytes.len() - PREFIX).wrapping_neg() % 4);
                let target = bytes.len() - PREFIX;
                bytes.put_u32_le(u32::try_from(text.len()).unwrap_or(u32::MAX));
                bytes.put_slice(text.as_bytes());
                bytes.put_u8(0);
                target
            });
            let distance = u32::try_from(target - at).unwrap_or(u32::MAX).to_le_bytes();
            bytes[PREFIX + at..PREFIX + at + 4].copy_from_slice(&distance);
        }
        // Whole words, as builders leave it.
        bytes.put_bytes(0, (bytes.len() - PREFIX).wrapping_neg() % 4);
        if bytes.len() > MESSAGE_MAX {
            return Err(MessageError::TooLong { length: bytes.len() });
        }
        let length = u32::try_from(bytes.len() - PREFIX).unwrap_or(u32::MAX).to_le_bytes();
        bytes[..PREFIX].copy_from_slice(&length);
        verify(&bytes[PREFIX..])?;
        Ok(Self::trusted(bytes))
    }

    /// Stops at what is malformed.
    fn find(&self, texts: Texts) -> Vec<Found> {
        let buffer = Buffer(self.payload());
        let known = match texts {
            Texts::Named => &REACH.named,
            Texts::All => &REACH.all,
        };
        let steps_left = self.len();
        let mut search = Search { buffer, texts, known, steps_left, found: Vec::new() };
        if let Some(root) = buffer.root() {
            search.table(root, FBS_MESSAGE_MESSAGE, 0);
        }
        search.found
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::channel::{
        compose,
        fbs::{
            common::StringStringArray,
            notification::Event,
            request::{self, Method},
            response, router, rtp_observer,
            transport::CloseProducerRequest,
        },
    };

    fn texts(message: &Message, texts: Texts) -> Vec<String> {
        let found = message.find(texts).into_iter();
        found
            .map(|found| String::from_utf8(message.payload()[found.text].to_vec()).unwrap())
            .collect()
    }

    fn close_producer(handler: &str, producer: &str) -> Message {
        let body = CloseProducerRequest { producer_id: producer.to_owned() };
        let body = request::Body::TransportCloseProducerRequest(Box::new(body));
        compose::request(7, Method::TransportCloseProducer, handler, Some(body))
    }

    fn router_dump(producer: &str, consumers: &[&str]) -> Message {
        let values = consumers.iter().map(|id| (*id).to_owned()).collect();
        let map = StringStringArray { key: producer.to_owned(), values };
        let dump = router::DumpResponse {
            id: "router".to_owned(),
            map_producer_id_consumer_ids: vec![map],
            ..router::DumpResponse::default()
        };
        compose::accepted(9, Some(response::Body::RouterDumpResponse(Box::new(dump))))
    }

    #[test]
    fn names_of_a_request_are_those_of_objects() {
        assert_eq!(texts(&close_producer("t", "p"), Texts::Named), ["t", "p"]);
        let tags = crate::channel::fbs::worker::UpdateSettingsRequest {
            log_level: Some("debug".to_owned()),
            log_tags: Some(vec!["ice".to_owned()]),
        };
        let body = request::Body::WorkerUpdateSettingsRequest(Box::new(tags));
        let message = compose::request(1, Method::WorkerUpdateSettings, "", Some(body));
        assert_eq!(texts(&message, Texts::Named), [""]);
        assert_eq!(texts(&message, Texts::All), ["", "debug", "ice"]);
    }

    #[test]
    fn the_same_text_is_written_once_and_all_places_turn_to_it() {
        let message = router_dump("p", &["c", "p", "p"]);
        let length = message.len();
        let long = "a-name-of-twenty-chars".to_owned();
        let message = message.renamed(Texts::All, |id| (id == "p").then(|| long.clone())).unwrap();
        assert!(message.len() < length + 2 * long.len());
        let expected = router_dump(&long, &["c", &long, &long]);
        assert_eq!(compose::to_owned(&message), compose::to_owned(&expected));
    }

    #[test]
    fn nothing_to_change_changes_nothing() {
        let message = close_producer("t", "p");
        assert_eq!(message.clone().renamed(Texts::Named, |_| None).unwrap(), message);
    }

    #[test]
    fn a_message_that_would_be_too_long_is_an_error() {
        let message = close_producer("t", "p");
        let error = message.renamed(Texts::Named, |_| Some("x".repeat(MESSAGE_MAX))).unwrap_err();
        assert!(error.to_string().contains("would take"), "{error}");
    }

    proptest! {
        #[test]
        fn a_renamed_message_is_the_one_composed_with_the_other_names(
            handler in "[a-z-]{0,40}",
            producer in "[a-zé-]{0,40}",
            other in "[a-zé-]{0,40}",
        ) {
            let message = close_producer(&handler, &producer);
            let message =
                message.renamed(Texts::Named, |id| (id == producer).then(|| other.clone())).unwrap();
            let message = Message::parse(BytesMut::from(&message.into_bytes()[..])).unwrap();
            let handler = if handler == producer { &other } else { &handler };
            let expected = close_producer(handler, &other);
            prop_assert_eq!(compose::to_owned(&message), compose::to_owned(&expected));
        }

        #[test]
        fn malformed_bytes_do_no_harm(at in 0_usize..200, byte: u8, ids: bool) {
            let body = rtp_observer::AddProducerRequest { producer_id: "p".to_owned() };
            let body = request::Body::RtpObserverAddProducerRequest(Box::new(body));
            let message = compose::request(7, Method::RtpobserverAddProducer, "o", Some(body));
            let mut bytes = message.into_bytes();
            let at = PREFIX + at % (bytes.len() - PREFIX);
            bytes[at] = byte;
            if let Ok(message) = Message::parse_envelope(bytes) {
                let before = message.clone();
                let texts = if ids { Texts::Named } else { Texts::All };
                match message.renamed(texts, |_| Some("another".to_owned())) {
                    Ok(message) if message != before => {
                        prop_assert!(Message::parse(message.into_bytes()).is_ok());
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn notifications_carry_names_too() {
        let pause = |id| compose::notification(id, Event::ConsumerProducerPause, None);
        let message = pause("c")
            .renamed(Texts::All, |id| (id == "c").then(|| "consumer".to_owned()))
            .unwrap();
        let expected = pause("consumer");
        assert_eq!(compose::to_owned(&message), compose::to_owned(&expected));
    }
}
