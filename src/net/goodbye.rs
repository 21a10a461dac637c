//! How a side ends a link on purpose.

use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

/// The last words of a side: a WebSocket close code and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goodbye {
    /// The session is over (1000).
    Done,
    /// This process ends (1001).
    Leaving(String),
    /// The peer broke the protocol (1002).
    ProtocolError(String),
}

impl Goodbye {
    pub(super) fn frame(&self) -> CloseFrame {
        let (code, text) = match self {
            Self::Done => (CloseCode::Normal, ""),
            Self::Leaving(text) => (CloseCode::Away, text.as_str()),
            Self::ProtocolError(text) => (CloseCode::Protocol, text.as_str()),
        };
        // A control frame has room for 123 bytes of text.
        let end = (0..=text.len().min(123)).rev().find(|end| text.is_char_boundary(*end));
        CloseFrame { code, reason: text[..end.unwrap_or(0)].into() }
    }
}
