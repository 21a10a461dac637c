//! The reading half of a link.

use std::{io, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::SplitStream};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_tungstenite::tungstenite::{self, Message, error::ProtocolError, protocol::CloseFrame};

use super::{Exchange, Goodbye, activity::Activity, link::Socket};
use crate::{
    queue::Weight,
    wire::{Body, DecodeError, Frame, Frames},
};

/// So many bytes are acknowledged at once, without waiting for the next heartbeat: a peer that
/// sends much must not wait for room in its replay buffer.
const ACKNOWLEDGED_AT_ONCE: usize = 1024 * 1024;

/// Why a link is no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkLost {
    #[error("the peer ended the connection")]
    Ended,
    /// With its close code: 1000 where it is done.
    #[error("the peer closed the link{text}")]
    Closed { code: u16, text: String },
    #[error("nothing was heard for {0:?}")]
    Silent(Duration),
    #[error("a write did not finish within {0:?}")]
    WriteStalled(Duration),
    /// The replay buffer was full for so long: what it holds can neither be dropped nor kept.
    #[error("the peer acknowledged nothing for {time:?} while {bytes} bytes waited for that")]
    Unacknowledged { time: Duration, bytes: usize },
    #[error("{0}")]
    Transport(String),
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
    /// More bytes at once than may be.
    #[error("the peer broke the protocol: {0}")]
    TooLong(String),
}

impl LinkLost {
    pub(super) fn closed(frame: Option<&CloseFrame>) -> Self {
        let Some(frame) = frame else {
            // 1005, as the WebSocket API tells it: none was there.
            return Self::Closed { code: 1005, text: String::new() };
        };
        let text = match frame.reason.as_str() {
            "" => String::new(),
            // The peer chose the text: keep control characters out of logs.
            reason => format!(": {}", reason.escape_debug()),
        };
        Self::Closed { code: frame.code.into(), text }
    }

    /// Whether the session ends with the link: there is nothing to resume, or nobody who would.
    pub fn ends_session(&self) -> bool {
        match self {
            Self::Protocol(_) | Self::TooLong(_) | Self::Unacknowledged { .. } => true,
            Self::Closed { code, .. } => matches!(code, 1000 | 1002),
            Self::Ended | Self::Silent(_) | Self::WriteStalled(_) | Self::Transport(_) => false,
        }
    }

    /// What to tell the peer, where that still makes sense.
    pub fn goodbye(&self) -> Option<Goodbye> {
        let told =
            matches!(self, Self::Protocol(_) | Self::TooLong(_) | Self::Unacknowledged { .. });
        told.then(|| {
            Goodbye::ProtocolError(match self {
                Self::Protocol(problem) | Self::TooLong(problem) => problem.clone(),
                other => other.to_string(),
            })
        })
    }
}

impl From<tungstenite::Error> for LinkLost {
    fn from(error: tungstenite::Error) -> Self {
        use tungstenite::Error;
        match error {
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Ended,
            Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Ended,
            Error::Io(error) => Self::Transport(error.to_string()),
            Error::Protocol(error) => Self::Protocol(error.to_string()),
            Error::Capacity(error) => Self::TooLong(error.to_string()),
            Error::Utf8(_) => Self::Protocol("a text that is not UTF-8".to_owned()),
            other => Self::Transport(other.to_string()),
        }
    }
}

impl From<DecodeError> for LinkLost {
    fn from(error: DecodeError) -> Self {
        use DecodeError::{MessageTooLong, PayloadTooLong};
        match error {
            MessageTooLong { .. } | PayloadTooLong { .. } => Self::TooLong(error.to_string()),
            _ => Self::Protocol(error.to_string()),
        }
    }
}

/// What the reading half asks the writing half to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// The latest ping, and how many came before it.
    pub(super) pong: Option<(u64, u64)>,
    /// How many acknowledgements were asked for.
    pub(super) acknowledgements: u64,
}

/// The reading half: gives frames and answers pings.
pub struct LinkReader {
    stream: SplitStream<Socket>,
    frames: Frames,
    activity: Activity,
    exchange: Arc<Exchange>,
    due: watch::Sender<Due>,
    /// Bytes that arrived since the writer was last told to acknowledge.
    fresh: usize,
    silence: Duration,
}

impl LinkReader {
    pub(super) fn new(
        stream: SplitStream<Socket>,
        activity: Activity,
        exchange: Arc<Exchange>,
        due: watch::Sender<Due>,
        silence: Duration,
    ) -> Self {
        activity.touch();
        Self { stream, frames: Frames::default(), activity, exchange, due, fresh: 0, silence }
    }

    /// The next frame that concerns the owner of the link. Cancel-safe: what has arrived stays in
    /// `self` or in the stream.
    pub async fn next(&mut self) -> Result<Frame, LinkLost> {
        loop {
            while let Some(frame) = self.frames.next() {
                if let Some(frame) = self.sift(frame?)? {
                    return Ok(frame);
                }
            }
            self.frames = Frames::new(self.message().await?);
        }
    }

    /// Tells that the owner was busy: a silence that nobody listened to does not count.
    pub fn resume(&self) {
        self.activity.touch();
    }

    /// How long nothing was heard from the peer.
    pub fn quiet(&self) -> Duration {
        self.activity.last().elapsed()
    }

    /// Deals with frames about the link itself.
    fn sift(&mut self, frame: Frame) -> Result<Option<Frame>, LinkLost> {
        if frame.kind().is_data() {
            self.exchange.arrived();
            self.fresh += frame.weight();
            if self.fresh >= ACKNOWLEDGED_AT_ONCE {
                self.fresh = 0;
                self.due.send_modify(|due| due.acknowledgements += 1);
            }
            return Ok(Some(frame));
        }
        match frame.body {
            Body::Ping(number) => {
                // Only the latest ping is answered: a flood of pings costs no memory.
                self.due.send_modify(|due| {
                    due.pong = Some((number, due.pong.map_or(0, |(_, count)| count + 1)));
                });
            }
            Body::Pong(number) => self.exchange.pong(number),
            Body::Ack(number) => self
                .exchange
                .acknowledge(number)
                .map_err(|problem| LinkLost::Protocol(problem.to_string()))?,
            _ => return Ok(Some(frame)),
        }
        Ok(None)
    }

    async fn message(&mut self) -> Result<bytes::Bytes, LinkLost> {
        loop {
            let deadline = self.activity.last() + self.silence;
            match timeout_at(deadline, self.stream.next()).await {
                Err(_) if self.activity.last() + self.silence > Instant::now() => {}
                Err(_) => return Err(LinkLost::Silent(self.silence)),
                Ok(None) => return Err(LinkLost::Ended),
                Ok(Some(Err(error))) => return Err(error.into()),
                Ok(Some(Ok(message))) => match message {
                    Message::Binary(bytes) => {
                        self.exchange.meter().received(bytes.len());
                        return Ok(bytes);
                    }
                    Message::Text(_) => {
                        let problem = "a text after the handshake".to_owned();
                        return Err(LinkLost::Protocol(problem));
                    }
                    Message::Close(frame) => return Err(LinkLost::closed(frame.as_ref())),
                    Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                },
            }
        }
    }
}
