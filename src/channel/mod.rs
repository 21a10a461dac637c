//! The worker's channel protocol: messages framed, verified, read and patched in place, composed.

mod buffer;
pub mod compose;
pub mod envelope;
pub mod framing;
pub mod method;
mod rename;
pub mod verify;

#[cfg(test)]
mod tests;

pub use channel_schema::fbs;
pub use envelope::{Envelope, Message, MessageError, PREFIX};
pub use rename::Texts;
