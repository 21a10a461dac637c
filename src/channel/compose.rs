//! Messages of our own making, and messages taken apart and put together anew.

use bytes::{BufMut, BytesMut};
use channel_schema::{
    fbs::{message, notification, request, response, worker},
    planus::{self, Builder, ReadAsRoot},
};

use super::envelope::{Message, PREFIX};

/// The error classes that mediasoup's JS knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    Error,
    TypeError,
    NotFoundError,
}

impl ErrorKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::TypeError => "TypeError",
            Self::NotFoundError => "NotFoundError",
        }
    }
}

/// A message that decodes to something else than it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode a channel message: {0}")]
pub struct DecodeError(String);

impl DecodeError {
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl From<planus::Error> for DecodeError {
    fn from(error: planus::Error) -> Self {
        Self(error.to_string())
    }
}

/// The typed view of a message.
pub fn view(message: &Message) -> Result<message::BodyRef<'_>, DecodeError> {
    Ok(message::MessageRef::read_as_root(message.payload())?.data()?)
}

/// The typed view of a request's body.
pub fn request_body(message: &Message) -> Result<request::BodyRef<'_>, DecodeError> {
    match view(message)? {
        message::BodyRef::Request(request) => {
            request.body()?.ok_or_else(|| DecodeError("the request has no body".to_owned()))
        }
        _ => Err(DecodeError("not a request".to_owned())),
    }
}

/// The typed view of a response's body.
pub fn response_body(message: &Message) -> Result<response::BodyRef<'_>, DecodeError> {
    match view(message)? {
        message::BodyRef::Response(response) => {
            response.body()?.ok_or_else(|| DecodeError("the response has no body".to_owned()))
        }
        _ => Err(DecodeError("not a response".to_owned())),
    }
}

/// What a positive answer carries.
pub enum Answer<'a> {
    Nothing,
    Body(response::BodyRef<'a>),
}

/// The typed view of a response's body, where it may have none.
pub fn answer_body(message: &Message) -> Result<Answer<'_>, DecodeError> {
    match view(message)? {
        message::BodyRef::Response(response) => {
            Ok(response.body()?.map_or(Answer::Nothing, Answer::Body))
        }
        _ => Err(DecodeError("not a response".to_owned())),
    }
}

/// The error text of a refused request.
pub fn refusal(message: &Message) -> Option<String> {
    match view(message).ok()? {
        message::BodyRef::Response(response) => {
            response.reason().ok()?.map(std::borrow::ToOwned::to_owned)
        }
        _ => None,
    }
}

/// The class of the error of a refused request.
pub fn refusal_class(message: &Message) -> Option<String> {
    match view(message).ok()? {
        message::BodyRef::Response(response) => {
            response.error().ok()?.map(std::borrow::ToOwned::to_owned)
        }
        _ => None,
    }
}

/// Any message as owned data.
pub fn to_owned(message: &Message) -> Result<message::Body, DecodeError> {
    Ok(view(message)?.try_into()?)
}

/// Any owned data as a message.
pub fn compose(body: message::Body) -> Message {
    let mut builder = Builder::new();
    let payload = builder.finish(message::Message { data: body }, None);
    let mut bytes = BytesMut::with_capacity(PREFIX + payload.len());
    // Messages are far below 4 GiB: the library and the worker refuse more than 8 MiB.
    bytes.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    bytes.put_slice(payload);
    Message::trusted(bytes)
}

/// A request with that id.
pub fn request(
    id: u32,
    method: request::Method,
    handler_id: &str,
    body: Option<request::Body>,
) -> Message {
    compose(message::Body::Request(Box::new(request::Request {
        id,
        method,
        handler_id: handler_id.to_owned(),
        body,
    })))
}

/// A positive answer.
pub fn accepted(id: u32, body: Option<response::Body>) -> Message {
    compose(message::Body::Response(Box::new(response::Response {
        id,
        accepted: true,
        body,
        error: None,
        reason: None,
    })))
}

/// A negative answer, which the library turns into a rejection of that class.
pub fn refused(id: u32, kind: ErrorKind, reason: &str) -> Message {
    compose(message::Body::Response(Box::new(response::Response {
        id,
        accepted: false,
        body: None,
        error: Some(kind.name().to_owned()),
        reason: Some(reason.to_owned()),
    })))
}

/// A notification.
pub fn notification(
    handler_id: &str,
    event: notification::Event,
    body: Option<notification::Body>,
) -> Message {
    compose(message::Body::Notification(Box::new(notification::Notification {
        handler_id: handler_id.to_owned(),
        event,
        body,
    })))
}

/// The first message of a worker. The library compares its handler id with its child's pid.
pub fn worker_running(pid: u32) -> Message {
    notification(&pid.to_string(), notification::Event::WorkerRunning, None)
}

/// A worker's answer to `worker.dump()`, with another process id.
pub fn worker_dump_with_pid(answer: &Message, id: u32, pid: u32) -> Result<Message, DecodeError> {
    let response::BodyRef::WorkerDumpResponse(dump) = response_body(answer)? else {
        return Err(DecodeError("not the answer to a worker dump".to_owned()));
    };
    let mut dump: worker::DumpResponse = dump.try_into()?;
    dump.pid = pid;
    Ok(accepted(id, Some(response::Body::WorkerDumpResponse(Box::new(dump)))))
}
