//! One open link to an agent: from the handshake until it is lost or closed.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{Shared, Spawn, manager::told, workers::Workers};
use crate::{
    connection::{Exit, SpawnError},
    net::{Goodbye, Link, LinkLost, LinkParts, LinkReader, LinkWriter},
    wire::{Body, Frame, Welcome},
};

/// How a session ended.
pub(super) enum End {
    /// `close()` was called.
    Closed,
    Lost(String),
}

pub(super) struct Session {
    shared: Arc<Shared>,
    reader: LinkReader,
    writer: LinkWriter,
    workers: Workers,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, link: Link, welcome: Arc<Welcome>) -> Self {
        let timing = shared.options.timing;
        let LinkParts { reader, writer } = link.split(timing);
        let workers =
            Workers::new(Arc::clone(&shared), welcome, writer.outbound.clone(), timing.stall);
        Self { shared, reader, writer, workers }
    }

    /// Asks the agent for a worker.
    pub(super) fn spawn(&mut self, spawn: Spawn) {
        self.workers.spawn(spawn);
    }

    /// Moves frames until the link ends, then ends every worker.
    pub(super) async fn run(
        mut self,
        commands: &mut mpsc::Receiver<Spawn>,
        closed: &mut watch::Receiver<bool>,
    ) -> End {
        let lost = loop {
            tokio::select! {
                // Cancel-safe: the watch keeps its value.
                () = told(closed) => break None,
                // Cancel-safe: the channel keeps what was not received.
                spawn = commands.recv() => match spawn {
                    Some(spawn) => self.workers.spawn(spawn),
                    None => break None,
                },
                // Cancel-safe: it only polls the writing task.
                lost = self.writer.lost() => break Some(lost),
                // Cancel-safe, as `LinkReader::next` tells.
                frame = self.reader.next() => match frame {
                    Ok(frame) => {
                        if let Err(lost) = self.receive(frame).await {
                            break Some(lost);
                        }
                    }
                    Err(lost) => break Some(lost),
                },
            }
        };
        let url = &self.shared.options.url;
        let Some(lost) = lost else {
            let reason = format!("the connection to agent {url} was closed");
            self.workers.end(&Exit::Lost(reason.clone()), &SpawnError::Unreachable(reason));
            self.writer.close(Goodbye::Done).await;
            return End::Closed;
        };
        let reason = lost.to_string();
        let told = format!("agent {url}: {reason}");
        self.workers.end(&Exit::Lost(told.clone()), &SpawnError::Unreachable(told));
        if let LinkLost::Protocol(problem) = lost {
            self.writer.close(Goodbye::ProtocolError(problem)).await;
        }
        End::Lost(reason)
    }

    async fn receive(&mut self, frame: Frame) -> Result<(), LinkLost> {
        match frame.body {
            Body::Load(report) => {
                let mut host = self.shared.host.lock();
                host.load.own = self.workers.by_pid(&report.own);
                host.load.others.clone_from(&report.others);
                host.measured_at = Some(Instant::now());
                drop(host);
                self.shared.load.send_replace(Some(report));
                return Ok(());
            }
            Body::Drain(notice) => {
                tracing::info!(url = %self.shared.options.url, draining = notice.draining, "drain");
                self.shared.host.lock().load.draining = notice.draining;
                return Ok(());
            }
            _ => {}
        }
        self.workers.receive(frame).await?;
        self.reader.resume();
        Ok(())
    }
}
