//! Why a request is refused, in the worker's classes and words.

use crate::channel::{
    compose::ErrorKind,
    method::{self, Method},
};

/// The error that a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Refusal {
    pub kind: ErrorKind,
    pub reason: String,
}

impl Refusal {
    pub fn error(reason: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Error, reason: reason.into() }
    }

    pub fn type_error(reason: impl Into<String>) -> Self {
        Self { kind: ErrorKind::TypeError, reason: reason.into() }
    }

    pub fn not_found(reason: impl Into<String>) -> Self {
        Self { kind: ErrorKind::NotFoundError, reason: reason.into() }
    }

    /// An object that the request names is not there.
    pub fn missing(what: &str, method: Method) -> Self {
        Self::not_found(format!("{what} not found [method:{}]", method::name(method)))
    }

    /// An object of that id is there already, where the request wants to put one.
    pub fn duplicate(what: &str, method: Method) -> Self {
        Self::error(format!("{what} already exists [method:{}]", method::name(method)))
    }

    /// The object of the handler id does not know the method.
    pub fn unknown_method(method: Method) -> Self {
        Self::error(format!("unknown method '{}'", method::name(method)))
    }

    /// No object has the handler id.
    pub fn no_handler(handler_id: &str, method: Method) -> Self {
        Self::not_found(format!(
            "Channel request handler with ID {handler_id} not found [method:{}]",
            method::name(method)
        ))
    }

    /// What the worker calls this error in its log.
    pub fn class(&self) -> &'static str {
        match self.kind {
            ErrorKind::Error => "MediaSoupError",
            ErrorKind::TypeError => "MediaSoupTypeError",
            ErrorKind::NotFoundError => "MediaSoupNotFoundError",
        }
    }
}
