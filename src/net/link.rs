//! An open WebSocket between a controller and an agent.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{
    LinkLost, LinkReader, LinkWriter, Timing,
    activity::{Activity, Watched},
    writer,
};
use crate::wire::{MAX_JSON, MAX_MESSAGE};

pub(super) type Socket = WebSocketStream<Watched>;

/// What both halves of a link know of each other.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Data frames that arrived.
    pub(super) received: AtomicU64,
    /// Data frames that were sent.
    pub(super) sent: AtomicU64,
}

/// A link during its handshake.
pub struct Link {
    socket: Socket,
    activity: Activity,
}

/// Both halves of a link after its handshake.
pub struct LinkParts {
    pub reader: LinkReader,
    pub writer: LinkWriter,
}

pub(super) fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE))
}

impl Link {
    pub(super) fn new(socket: Socket) -> Self {
        let activity = socket.get_ref().activity();
        Self { socket, activity }
    }

    /// Sends one JSON text of the handshake.
    pub async fn send_text(&mut self, text: String) -> Result<(), LinkLost> {
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// Receives one JSON text of the handshake.
    pub async fn receive_text(&mut self) -> Result<String, LinkLost> {
        loop {
            match self.socket.next().await {
                None => return Err(LinkLost::Ended),
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(Message::Text(text))) if text.len() <= MAX_JSON => {
                    return Ok(text.as_str().to_owned());
                }
                Some(Ok(Message::Text(text))) => {
                    let problem = format!("a handshake text of {} bytes", text.len());
                    return Err(LinkLost::Protocol(problem));
                }
                Some(Ok(Message::Binary(_))) => {
                    let problem = "frames before the end of the handshake".to_owned();
                    return Err(LinkLost::Protocol(problem));
                }
                Some(Ok(Message::Close(frame))) => return Err(LinkLost::closed(frame.as_ref())),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            }
        }
    }

    /// Ends a link whose handshake failed, with a little time for the last words to arrive.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.socket.close(None)).await;
    }

    /// Ends the handshake: from here on there are frames. Needs a runtime for the writing task.
    pub fn split(self, timing: Timing) -> LinkParts {
        let counters = Arc::new(Counters::default());
        let (pong, pong_due) = watch::channel(None);
        let (sink, stream) = self.socket.split();
        let writer = writer::start(sink, Arc::clone(&counters), pong_due, timing);
        let reader = LinkReader::new(stream, self.activity, counters, pong, timing.silence);
        LinkParts { reader, writer }
    }
}
