//! Checks every byte of a message before a worker sees it: the worker itself checks none, and a
//! malformed message crashes it.

use std::ops::Range;

use channel_schema::{
    Kind,
    tables::{FBS_MESSAGE_MESSAGE, FBS_REQUEST_REQUEST, FBS_RESPONSE_RESPONSE, TYPES, UNIONS},
};

use super::buffer::{Buffer, Field, Table};

/// Deeper nesting than any message of the schema has.
const MAX_DEPTH: usize = 16;

/// How many times its own size a message may describe. Without a bound a few megabytes of tables
/// that share one text unfold to terabytes where they are decoded. Builders share short texts.
const UNFOLD_MAX: usize = 16;

/// Slot of the id of a request and of a response.
const ID: usize = 0;
/// Their tags in the union of a message.
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

/// The message is not what the schema allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed channel message: {what} of {table}.{field}")]
pub struct VerifyError {
    pub what: &'static str,
    pub table: &'static str,
    pub field: &'static str,
}

struct Walk<'a> {
    buffer: Buffer<'a>,
    /// Tables may share parts, so a small message could describe a huge tree.
    steps_left: usize,
    /// The same in bytes: texts and plain vectors are no steps.
    bytes_left: usize,
    /// Where the id stands. It is patched later, so nothing else may stand there too: a message
    /// that is well-formed with the one id would not be with the other.
    id: Range<usize>,
}

/// Checks the whole payload (a message without its size prefix) against the schema.
pub fn verify(payload: &[u8]) -> Result<(), VerifyError> {
    let buffer = Buffer(payload);
    let fail = |what| VerifyError { what, table: TYPES[FBS_MESSAGE_MESSAGE].name, field: "root" };
    let root = buffer.root().ok_or_else(|| fail("bad position"))?;
    let mut walk = Walk {
        buffer,
        steps_left: payload.len() + 64,
        bytes_left: payload.len().saturating_mul(UNFOLD_MAX),
        id: id(buffer, root).map_or(0..0, |at| at..at + 4),
    };
    walk.table(root, FBS_MESSAGE_MESSAGE, 0)
}

/// Where the message has its id, if it is of a kind that has one. The tag and the table of a
/// message stand in its first two slots.
fn id(buffer: Buffer<'_>, message: Table) -> Option<usize> {
    let tag = buffer.u8(buffer.field(message, 0, 1)?.position()?)?;
    if !matches!(tag, REQUEST | RESPONSE) {
        return None;
    }
    let data = buffer.follow(buffer.field(message, 1, 4)?.position()?)?;
    buffer.field(buffer.table(data)?, ID, 4)?.position()
}

impl Walk<'_> {
    fn table(&mut self, table: Table, type_index: usize, depth: usize) -> Result<(), VerifyError> {
        let description = &TYPES[type_index];
        let fail = |what| VerifyError { what, table: description.name, field: "vtable" };
        for range in Buffer::vtable(table) {
            self.apart(range).map_err(|error| error.unwrap_or_else(fail))?;
        }
        for field in description.fields {
            let fail = |what| VerifyError { what, table: description.name, field: field.name };
            if depth >= MAX_DEPTH {
                return Err(fail("nesting too deep"));
            }
            self.steps_left =
                self.steps_left.checked_sub(1).ok_or_else(|| fail("too many parts"))?;
            let position = self
                .buffer
                .field(table, field.slot, width(field.kind))
                .ok_or_else(|| fail("bad position"))?;
            let is_id = field.slot == ID
                && matches!(type_index, FBS_REQUEST_REQUEST | FBS_RESPONSE_RESPONSE);
            if let (Field::At(at), false) = (position, is_id) {
                self.apart(at..at + width(field.kind))
                    .map_err(|error| error.unwrap_or_else(fail))?;
            }
            if let Kind::Union(union) = field.kind {
                let tag = self
                    .buffer
                    .field(table, field.slot - 1, 1)
                    .ok_or_else(|| fail("bad position of the tag"))?;
                self.union(tag, position, union, field.required, depth)
                    .map_err(|error| error.unwrap_or_else(fail))?;
                continue;
            }
            match position {
                Field::Absent if field.required => return Err(fail("absence")),
                Field::Absent => {}
                Field::At(position) => {
                    self.value(position, field.kind, depth)
                        .map_err(|error| error.unwrap_or_else(fail))?;
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, at: usize, kind: Kind, depth: usize) -> Result<(), Problem> {
        match kind {
            Kind::Scalar(_) => Ok(()),
            Kind::Bool => match self.buffer.u8(at) {
                Some(0 | 1) => Ok(()),
                _ => Err(Problem::Here("bad value")),
            },
            Kind::Enum { first, last } => match self.buffer.u8(at) {
                Some(value) if (first..=last).contains(&value) => Ok(()),
                _ => Err(Problem::Here("bad value")),
            },
            Kind::String => {
                let target = self.follow(at)?;
                let text = self.buffer.string(target).ok_or(Problem::Here("bad string"))?;
                self.apart(target..target + 4 + text.len() + 1)?;
                self.unfold(text.len())
            }
            Kind::Table(type_index) => {
                let target = self.follow(at)?;
                let table = self.nested(target, at)?;
                self.table(table, type_index, depth + 1).map_err(Problem::Inside)
            }
            Kind::Vector(element) => {
                let target = self.follow(at)?;
                let stride = width(*element);
                let (first, count) =
                    self.buffer.vector(target, stride).ok_or(Problem::Here("bad vector"))?;
                self.apart(target..first + count * stride)?;
                self.unfold(count * stride)?;
                if matches!(element, Kind::Scalar(_)) {
                    return Ok(());
                }
                self.steps_left =
                    self.steps_left.checked_sub(count).ok_or(Problem::Here("too many parts"))?;
                for index in 0..count {
                    self.value(first + index * stride, *element, depth)?;
                }
                Ok(())
            }
            Kind::Union(_) => Err(Problem::Here("a union in a vector")),
        }
    }

    fn union(
        &mut self,
        tag: Field,
        value: Field,
        union: usize,
        required: bool,
        depth: usize,
    ) -> Result<(), Problem> {
        let tag = match tag {
            Field::Absent => 0,
            Field::At(at) => {
                self.apart(at..at + 1)?;
                self.buffer.u8(at).ok_or(Problem::Here("bad tag"))?
            }
        };
        let Field::At(at) = value else {
            return match (tag, required) {
                (0, false) => Ok(()),
                _ => Err(Problem::Here("absence")),
            };
        };
        let member = usize::from(tag).checked_sub(1).and_then(|tag| UNIONS[union].get(tag));
        let type_index = *member.ok_or(Problem::Here("unknown tag"))?;
        let target = self.follow(at)?;
        let table = self.nested(target, at)?;
        self.table(table, type_index, depth + 1).map_err(Problem::Inside)
    }

    fn apart(&self, range: Range<usize>) -> Result<(), Problem> {
        if range.start < self.id.end && self.id.start < range.end {
            return Err(Problem::Here("the id within the bytes"));
        }
        Ok(())
    }

    fn unfold(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes_left =
            self.bytes_left.checked_sub(bytes).ok_or(Problem::Here("too much shared"))?;
        Ok(())
    }

    /// The table at this position, which is referred to from there.
    fn nested(&self, target: usize, from: usize) -> Result<Table, Problem> {
        let table = self.buffer.table(target).filter(|table| table.follows(from));
        table.ok_or(Problem::Here("bad table"))
    }

    fn follow(&self, at: usize) -> Result<usize, Problem> {
        self.buffer.follow(at).ok_or(Problem::Here("bad offset"))
    }
}

/// What is wrong, and whether a deeper field already named itself.
enum Problem {
    Here(&'static str),
    Inside(VerifyError),
}

impl Problem {
    fn unwrap_or_else(self, name: impl FnOnce(&'static str) -> VerifyError) -> VerifyError {
        match self {
            Self::Here(what) => name(what),
            Self::Inside(error) => error,
        }
    }
}

/// How many bytes a value of this kind takes in its table or vector.
fn width(kind: Kind) -> usize {
    match kind {
        Kind::Bool | Kind::Enum { .. } => 1,
        Kind::Scalar(size) => size,
        Kind::String | Kind::Table(_) | Kind::Union(_) | Kind::Vector(_) => 4,
    }
}
