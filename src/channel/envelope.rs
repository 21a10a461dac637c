//! What routing needs of a message, read in place: its kind, request id, method, handler id.

use bytes::BytesMut;
use channel_schema::tables::{self, UNIONS};

use super::{
    buffer::{Buffer, Field, Table},
    method::{self, Event, Method},
    verify::{VerifyError, verify},
};

/// Bytes of the size prefix.
pub const PREFIX: usize = 4;

/// Slots of the tables below, in the order of their fields in the schema.
mod slot {
    pub const MESSAGE_TYPE: usize = 0;
    pub const MESSAGE: usize = 1;
    pub const REQUEST_ID: usize = 0;
    pub const REQUEST_METHOD: usize = 1;
    pub const REQUEST_HANDLER: usize = 2;
    pub const REQUEST_BODY_TYPE: usize = 3;
    pub const REQUEST_BODY: usize = 4;
    /// Of the request that creates a `WebRtcTransport`, and of its options.
    pub const CREATE_OPTIONS: usize = 1;
    pub const OPTIONS_LISTEN_TYPE: usize = 1;
    pub const NOTIFICATION_HANDLER: usize = 0;
    pub const NOTIFICATION_EVENT: usize = 1;
    pub const NOTIFICATION_BODY_TYPE: usize = 2;
    pub const RESPONSE_ID: usize = 0;
    pub const RESPONSE_ACCEPTED: usize = 1;
    pub const RESPONSE_BODY_TYPE: usize = 2;
    pub const LOG_TEXT: usize = 0;
}

/// One whole channel message with its size prefix, verified against the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(BytesMut);

/// What kind of message it is and what routing needs of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope<'a> {
    Request(RequestEnvelope<'a>),
    Response(ResponseEnvelope),
    Notification(NotificationEnvelope<'a>),
    Log(&'a str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestEnvelope<'a> {
    pub id: u32,
    pub method: Method,
    pub handler_id: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseEnvelope {
    pub id: u32,
    pub accepted: bool,
    /// The table that its body is, if it has one.
    pub body: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotificationEnvelope<'a> {
    pub event: Event,
    pub handler_id: &'a str,
}

/// Why a message must not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("the size prefix says {said} bytes and {got} follow")]
    Size { said: usize, got: usize },
    #[error(transparent)]
    Schema(#[from] VerifyError),
    #[error("handler id or log text is not UTF-8")]
    Text,
    #[error("{method} needs another body")]
    Body { method: &'static str },
    #[error("a worker takes no notification {event:?}")]
    Direction { event: Event },
    #[error("{0} is not for this direction")]
    Kind(&'static str),
    #[error("the message would take {length} bytes, more than the worker's channel carries")]
    TooLong { length: usize },
}

/// Bytes that are no message, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Rejected {
    pub error: MessageError,
    pub bytes: BytesMut,
}

impl Rejected {
    /// The id of a request that is malformed elsewhere, to answer it with an error.
    pub fn request_id(&self) -> Option<u32> {
        self.id_of("request", slot::REQUEST_ID)
    }

    /// The id of an answer that is malformed elsewhere: its request gets no other.
    pub fn response_id(&self) -> Option<u32> {
        self.id_of("response", slot::RESPONSE_ID)
    }

    fn id_of(&self, kind: &str, slot: usize) -> Option<u32> {
        if self.bytes.len() < PREFIX {
            return None;
        }
        Message(self.bytes.clone()).id_of(kind, slot)
    }
}

impl Message {
    /// Takes one whole message as it came, checked from the first byte to the last.
    pub fn parse(bytes: BytesMut) -> Result<Self, Rejected> {
        let message = Self::sized(bytes)?;
        match verify(message.payload()) {
            Ok(()) => message.with_envelope(),
            Err(error) => Err(Rejected { error: error.into(), bytes: message.0 }),
        }
    }

    /// Takes one whole message whose body somebody else verifies, before or after.
    pub fn parse_envelope(bytes: BytesMut) -> Result<Self, Rejected> {
        Self::sized(bytes)?.with_envelope()
    }

    fn sized(bytes: BytesMut) -> Result<Self, Rejected> {
        let said = Buffer(&bytes).u32(0).and_then(|said| usize::try_from(said).ok());
        let got = bytes.len().saturating_sub(PREFIX);
        if said == Some(got) {
            return Ok(Self(bytes));
        }
        let error = MessageError::Size { said: said.unwrap_or(0), got };
        Err(Rejected { error, bytes })
    }

    fn with_envelope(self) -> Result<Self, Rejected> {
        if self.read().is_some() {
            return Ok(self);
        }
        Err(Rejected { error: MessageError::Text, bytes: self.0 })
    }

    /// The id, if this is a request.
    pub fn request_id(&self) -> Option<u32> {
        self.id_of("request", slot::REQUEST_ID)
    }

    fn id_of(&self, kind: &str, slot: usize) -> Option<u32> {
        let (table, this_kind) = self.data()?;
        let buffer = Buffer(self.payload());
        let at = buffer.field(table, slot, 4)?.position()?;
        if kind == this_kind { buffer.u32(at) } else { None }
    }

    /// A message of our own making.
    pub(super) fn trusted(bytes: BytesMut) -> Self {
        Self(bytes)
    }

    /// Checks what the library may send: a request or notification with the body that its method
    /// or event needs. Workers crash on others.
    pub fn check_for_worker(&self) -> Result<(), MessageError> {
        let (table, kind) = self.data().ok_or(MessageError::Text)?;
        let buffer = Buffer(self.payload());
        match self.envelope() {
            Envelope::Request(request) => {
                let body =
                    body_table(buffer, table, slot::REQUEST_BODY_TYPE, tables::FBS_REQUEST_REQUEST);
                let listen = method::listen(request.method);
                let fits = body == method::body(request.method)
                    && (listen.is_none() || listen == self.listen_tag(table));
                if fits {
                    Ok(())
                } else {
                    Err(MessageError::Body { method: method::name(request.method) })
                }
            }
            Envelope::Notification(notification) => {
                let event = notification.event;
                let body = body_table(
                    buffer,
                    table,
                    slot::NOTIFICATION_BODY_TYPE,
                    tables::FBS_NOTIFICATION_NOTIFICATION,
                );
                if method::takes_notification(event, body) {
                    Ok(())
                } else {
                    Err(MessageError::Direction { event })
                }
            }
            Envelope::Response(_) | Envelope::Log(_) => Err(MessageError::Kind(kind)),
        }
    }

    /// The tag of the union that says what the `WebRtcTransport` of this request listens on.
    fn listen_tag(&self, request: Table) -> Option<u8> {
        let buffer = Buffer(self.payload());
        let inner =
            |table, slot| buffer.table(buffer.follow(buffer.field(table, slot, 4)?.position()?)?);
        let options = inner(inner(request, slot::REQUEST_BODY)?, slot::CREATE_OPTIONS)?;
        buffer.u8(buffer.field(options, slot::OPTIONS_LISTEN_TYPE, 1)?.position()?)
    }

    /// The envelope. Parsing made sure that there is one.
    pub fn envelope(&self) -> Envelope<'_> {
        self.read().unwrap_or(Envelope::Log(""))
    }

    fn data(&self) -> Option<(Table, &'static str)> {
        data(Buffer(self.payload()))
    }

    fn read(&self) -> Option<Envelope<'_>> {
        let buffer = Buffer(self.payload());
        let (table, kind) = self.data()?;
        let byte = |slot| match buffer.field(table, slot, 1)? {
            Field::Absent => Some(0),
            Field::At(at) => buffer.u8(at),
        };
        let word = |slot| match buffer.field(table, slot, 4)? {
            Field::Absent => Some(0),
            Field::At(at) => buffer.u32(at),
        };
        let text = |slot| {
            let at = buffer.follow(buffer.field(table, slot, 4)?.position()?)?;
            std::str::from_utf8(buffer.string(at)?).ok()
        };
        Some(match kind {
            "request" => Envelope::Request(RequestEnvelope {
                id: word(slot::REQUEST_ID)?,
                method: method::from_number(byte(slot::REQUEST_METHOD)?)?,
                handler_id: text(slot::REQUEST_HANDLER)?,
            }),
            "response" => Envelope::Response(ResponseEnvelope {
                id: word(slot::RESPONSE_ID)?,
                accepted: byte(slot::RESPONSE_ACCEPTED)? != 0,
                body: body_table(
                    buffer,
                    table,
                    slot::RESPONSE_BODY_TYPE,
                    tables::FBS_RESPONSE_RESPONSE,
                ),
            }),
            "notification" => Envelope::Notification(NotificationEnvelope {
                event: Event::try_from(byte(slot::NOTIFICATION_EVENT)?).ok()?,
                handler_id: text(slot::NOTIFICATION_HANDLER)?,
            }),
            _ => Envelope::Log(text(slot::LOG_TEXT).unwrap_or_default()),
        })
    }

    /// Writes another request id over the one of this request or response. False where the message
    /// carries none (an id of 0 is not written) and must be composed anew.
    #[must_use]
    pub fn patch_id(&mut self, id: u32) -> bool {
        let buffer = Buffer(self.payload());
        let position = self.data().and_then(|(table, kind)| match kind {
            "request" => buffer.field(table, slot::REQUEST_ID, 4)?.position(),
            "response" => buffer.field(table, slot::RESPONSE_ID, 4)?.position(),
            _ => None,
        });
        match position {
            Some(at) => {
                let at = PREFIX + at;
                self.0[at..at + 4].copy_from_slice(&id.to_le_bytes());
                true
            }
            None => false,
        }
    }

    /// The message without its size prefix.
    pub fn payload(&self) -> &[u8] {
        &self.0[PREFIX..]
    }

    /// The whole message with its size prefix.
    pub fn into_bytes(self) -> BytesMut {
        self.0
    }

    /// Length of the whole message in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true: a message has at least its prefix.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the message is about, and its kind.
fn data(buffer: Buffer<'_>) -> Option<(Table, &'static str)> {
    let root = buffer.root()?;
    let tag = buffer.u8(buffer.field(root, slot::MESSAGE_TYPE, 1)?.position()?)?;
    let data = buffer.follow(buffer.field(root, slot::MESSAGE, 4)?.position()?)?;
    let kind =
        ["request", "response", "notification", "log"].get(usize::from(tag).checked_sub(1)?)?;
    Some((buffer.table(data)?, kind))
}

/// The method of a request, read without a look at the rest. For counting only.
pub fn method_of(message: &[u8]) -> Option<Method> {
    let buffer = Buffer(message.get(PREFIX..)?);
    let (table, "request") = data(buffer)? else { return None };
    match buffer.field(table, slot::REQUEST_METHOD, 1)? {
        Field::Absent => method::from_number(0),
        Field::At(at) => method::from_number(buffer.u8(at)?),
    }
}

/// Whether the message refuses a request, read without a look at the rest. For counting only.
pub fn is_refusal(message: &[u8]) -> bool {
    let accepted = || {
        let buffer = Buffer(message.get(PREFIX..)?);
        let (table, "response") = data(buffer)? else { return None };
        match buffer.field(table, slot::RESPONSE_ACCEPTED, 1)? {
            Field::Absent => Some(0),
            Field::At(at) => buffer.u8(at),
        }
    };
    accepted() == Some(0)
}

/// The table that the body of this table is; its union stands in the field named `body`.
fn body_table(buffer: Buffer<'_>, table: Table, tag_slot: usize, owner: usize) -> Option<usize> {
    let tag = buffer.u8(buffer.field(table, tag_slot, 1)?.position()?)?;
    // A tag without a value is no body for the worker either.
    buffer.field(table, tag_slot + 1, 4)?.position()?;
    let union = tables::TYPES[owner].fields.iter().find_map(|field| match field.kind {
        channel_schema::Kind::Union(union) => Some(union),
        _ => None,
    })?;
    UNIONS[union].get(usize::from(tag).checked_sub(1)?).copied()
}
