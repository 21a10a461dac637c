//! The agent's end of its admin socket.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::{sleep, sleep_until, timeout},
};

use super::{AdminSocket, Answer, Event, REQUEST_MAX, Request};
use crate::agent::{
    Server,
    drain::{AgentState, DrainOrder, Draining},
    session::told,
};

/// How long a request may take to come, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is told at least what is left.
const PACE: Duration = Duration::from_secs(5);
/// How many operators are listened to at a time.
const OPERATORS: usize = 16;
/// How long those may take to hear how it ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("only the agent's own user may ask")]
    User,
    #[error("no request within {} s", PATIENCE.as_secs())]
    Late,
    #[error("a request has at most {REQUEST_MAX} bytes and ends with a new line")]
    Long,
    #[error("the request is malformed: {}", .0.to_string().escape_debug())]
    Malformed(#[from] serde_json::Error),
    #[error("too many are asking")]
    Busy,
    #[error("{0}")]
    Closing(#[from] crate::agent::IsClosing),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Serves operators until it is ended.
pub struct Admin {
    task: JoinHandle<()>,
    ending: watch::Sender<bool>,
}

impl Admin {
    /// Must be called within a runtime.
    pub fn start(socket: AdminSocket, server: Server) -> Self {
        let ending = watch::Sender::new(false);
        let task = tokio::spawn(accept(socket, server, ending.subscribe()));
        Self { task, ending }
    }

    /// Lets those who wait hear how the agent ended, and removes the socket.
    pub async fn end(mut self) {
        self.ending.send_replace(true);
        let _ = timeout(LAST_WORDS, &mut self.task).await;
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(socket: AdminSocket, server: Server, mut ending: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(OPERATORS));
    let mut asking = JoinSet::new();
    loop {
        tokio::select! {
            // Cancel-safe: a connection that was not accepted stays in the backlog.
            accepted = socket.listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let place = Arc::clone(&places).try_acquire_owned();
                    let server = server.clone();
                    asking.spawn(async move {
                        // Kept to the end.
                        let place = place.map_err(|_| Refused::Busy);
                        serve(stream, place.as_ref().map(|_| &server)).await;
                    });
                }
                Err(error) => {
                    // Most likely out of file descriptors: some time must pass.
                    tracing::warn!(%error, "cannot accept an operator");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            // Cancel-safe: a finished task stays in the set until it is taken.
            Some(_) = asking.join_next() => {}
            // Cancel-safe: the watch keeps its value.
            () = told(&mut ending) => break,
        }
    }
    while asking.join_next().await.is_some() {}
}

async fn serve(stream: UnixStream, server: Result<&Server, &Refused>) {
    let credentials = stream.peer_cred();
    let (mut reader, mut writer) = stream.into_split();
    let outcome = async {
        let server = server.map_err(|_| Refused::Busy)?;
        let uid = credentials?.uid();
        if !may_ask(uid, nix::unistd::geteuid().as_raw()) {
            return Err(Refused::User);
        }
        let request = timeout(PATIENCE, hear(&mut reader)).await.map_err(|_| Refused::Late)??;
        obey(request, server, reader, &mut writer).await
    };
    if let Err(refused) = outcome.await {
        tracing::info!(problem = %refused, "an operator is not served");
        let message = Some(refused.to_string());
        let _ = say(&mut writer, &Answer { event: Event::Error, status: None, message }).await;
    }
}

/// The system lets root do as it likes anyway.
fn may_ask(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// The one request of an operator. The caller sets the deadline.
pub async fn hear(reader: &mut (impl AsyncRead + Unpin)) -> Result<Request, Refused> {
    let mut line = Vec::new();
    BufReader::new(reader.take(REQUEST_MAX)).read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return Err(Refused::Long);
    }
    Ok(serde_json::from_slice(&line)?)
}

async fn obey(
    request: Request,
    server: &Server,
    reader: OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
) -> Result<(), Refused> {
    match request {
        Request::Status => tell(server, Event::Status, writer).await,
        Request::Cancel => {
            server.cancel_drain();
            tell(server, Event::Cancelled, writer).await
        }
        Request::Drain { timeout_ms, exit, wait } => {
            let timeout = timeout_ms.map(Duration::from_millis);
            let reason = "its operator asked for it".to_owned();
            server.drain(DrainOrder { timeout, exit, reason })?;
            if !wait {
                return tell(server, Event::Draining, writer).await;
            }
            tokio::select! {
                told = follow(server, writer) => told,
                // Cancel-safe, both: either ends all of it. The drain goes on.
                () = hung_up(reader) => Ok(()),
            }
        }
    }
}

/// Tells what is left until nothing is, or the drain is over in another way.
async fn follow(server: &Server, writer: &mut OwnedWriteHalf) -> Result<(), Refused> {
    let mut stopping = server.shared.stopping.subscribe();
    let mut counts = server.shared.roster.counts();
    let mut drain = server.shared.drain.changes();
    loop {
        let left = *counts.borrow_and_update();
        let draining = drain.borrow_and_update().clone();
        let event = match (&draining, server.state()) {
            (Some(_), _) if left == 0 => Event::Drained,
            (Some(draining), _) if draining.is_overdue() => Event::Deadline,
            (_, AgentState::Closing) => Event::Closing,
            (None, _) => Event::Cancelled,
            (Some(_), _) => Event::Draining,
        };
        tell(server, event, writer).await?;
        if event != Event::Draining {
            return Ok(());
        }
        tokio::select! {
            // Cancel-safe, all of them: what is not seen is seen in the next turn.
            _ = counts.changed() => {}
            _ = drain.changed() => {}
            () = told(&mut stopping) => {}
            () = late(draining.as_ref()) => {}
            () = sleep(PACE) => {}
        }
    }
}

async fn late(draining: Option<&Draining>) {
    match draining.and_then(|draining| draining.deadline) {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the operator is gone. What is said meanwhile is not listened to.
async fn hung_up(mut reader: OwnedReadHalf) {
    let mut ignored = [0; 64];
    while let Ok(1..) = reader.read(&mut ignored).await {}
}

async fn tell(server: &Server, event: Event, writer: &mut OwnedWriteHalf) -> Result<(), Refused> {
    say(writer, &Answer { event, status: Some(server.status()), message: None }).await
}

async fn say(writer: &mut OwnedWriteHalf, answer: &Answer) -> Result<(), Refused> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    match timeout(PATIENCE, writer.write_all(&line)).await {
        Ok(written) => Ok(written?),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_user_and_root_may_ask() {
        assert!(may_ask(1000, 1000) && may_ask(0, 1000) && may_ask(0, 0));
        assert!(!may_ask(1001, 1000) && !may_ask(1000, 0));
    }
}
