//! An open WebSocket between a controller and an agent.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{
    Exchange, Goodbye, LinkLost, LinkReader, LinkWriter, Timing,
    activity::{Activity, Watched},
    reader::Due,
    writer,
};
use crate::wire::{MAX_JSON, MAX_MESSAGE};

pub(super) type Socket = WebSocketStream<Watched>;

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
                    return Err(LinkLost::TooLong(problem));
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

    /// As [`Self::close`], with a reason.
    pub async fn close_with(mut self, goodbye: Goodbye) {
        let close = self.socket.close(Some(goodbye.frame()));
        let _ = tokio::time::timeout(Duration::from_secs(1), close).await;
    }

    /// Ends the handshake: from here on there are frames, those of this session. Needs a runtime
    /// for the writing task.
    pub fn split(self, timing: Timing, exchange: &Arc<Exchange>) -> LinkParts {
        let (due, asked) = watch::channel(Due::default());
        let (sink, stream) = self.socket.split();
        let writer = writer::start(sink, Arc::clone(exchange), asked, timing);
        let exchange = Arc::clone(exchange);
        let reader = LinkReader::new(stream, self.activity, exchange, due, timing.silence);
        LinkParts { reader, writer }
    }
}
