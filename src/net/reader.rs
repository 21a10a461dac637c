//! The reading half of a link.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream::SplitStream};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_tungstenite::tungstenite::{self, Message, error::ProtocolError, protocol::CloseFrame};

use super::{activity::Activity, link::Counters, link::Socket};
use crate::wire::{Body, DecodeError, Frame, Frames};

/// Why a link is no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkLost {
    #[error("the peer ended the connection")]
    Ended,
    #[error("the peer closed the link{0}")]
    Closed(String),
    #[error("nothing was heard for {0:?}")]
    Silent(Duration),
    #[error("a write did not finish within {0:?}")]
    WriteStalled(Duration),
    #[error("{0}")]
    Transport(String),
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
}

impl LinkLost {
    pub(super) fn closed(frame: Option<&CloseFrame>) -> Self {
        match frame {
            Some(frame) if !frame.reason.is_empty() => {
                // The peer chose the text: keep control characters out of logs.
                Self::Closed(format!(": {}", frame.reason.escape_debug()))
            }
            _ => Self::Closed(String::new()),
        }
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
            Error::Capacity(error) => Self::Protocol(error.to_string()),
            Error::Utf8(_) => Self::Protocol("a text that is not UTF-8".to_owned()),
            other => Self::Transport(other.to_string()),
        }
    }
}

impl From<DecodeError> for LinkLost {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// The reading half: gives frames and answers pings.
pub struct LinkReader {
    stream: SplitStream<Socket>,
    frames: Frames,
    activity: Activity,
    counters: Arc<Counters>,
    pong: watch::Sender<Option<u64>>,
    acknowledged: u64,
    silence: Duration,
}

impl LinkReader {
    pub(super) fn new(
        stream: SplitStream<Socket>,
        activity: Activity,
        counters: Arc<Counters>,
        pong: watch::Sender<Option<u64>>,
        silence: Duration,
    ) -> Self {
        activity.touch();
        Self {
            stream,
            frames: Frames::default(),
            activity,
            counters,
            pong,
            acknowledged: 0,
            silence,
        }
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

    /// Deals with frames about the link itself.
    fn sift(&mut self, frame: Frame) -> Result<Option<Frame>, LinkLost> {
        if frame.kind().is_data() {
            self.counters.received.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(frame));
        }
        match frame.body {
            Body::Ping(number) => {
                // Only the latest ping is answered: a flood of pings costs no memory.
                self.pong.send_replace(Some(number));
            }
            Body::Pong(_) => {}
            Body::Ack(number) => {
                let sent = self.counters.sent.load(Ordering::Relaxed);
                if number > sent || number < self.acknowledged {
                    let problem =
                        format!("an acknowledgement of {number} frames, {sent} were sent");
                    return Err(LinkLost::Protocol(problem));
                }
                self.acknowledged = number;
            }
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
                    Message::Binary(bytes) => return Ok(bytes),
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
