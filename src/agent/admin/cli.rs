//! The operator's end of the admin socket: `agent drain` and `agent status`.

use std::{
    fmt::{self, Write as _},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};

use super::{ANSWER_MAX, Answer, Event, Request, default_paths};
use crate::agent::{
    cli::{TimeLimit, parse_time_limit},
    server::millis,
    status::{SessionStatus, Status, WorkerStatus},
};

/// How long an agent may take to say something. It says more often what is left.
const PATIENCE: Duration = Duration::from_secs(15);

/// The time was over before nothing was left.
const DEADLINE: u8 = 3;
/// Somebody took the drain back.
const CANCELLED: u8 = 4;

/// Which agent.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The admin socket of the agent, as its ready line tells it.
    #[arg(long, value_name = "PATH", conflicts_with = "listen_port")]
    pub admin_socket: Option<PathBuf>,
    /// The port that the agent listens on, where it was not told a path for its admin socket.
    #[arg(long, value_name = "N", default_value = "4480")]
    pub listen_port: u16,
}

/// What `agent drain` takes.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    pub which: Which,
    /// How long workers may take to end by themselves: seconds, or the word infinite, which is the
    /// default.
    #[arg(long, value_name = "SECONDS", value_parser = parse_time_limit, conflicts_with = "cancel")]
    pub timeout: Option<TimeLimit>,
    /// Do not wait for it to be done.
    #[arg(long, conflicts_with = "cancel")]
    pub no_wait: bool,
    /// The agent does not end with it: it goes on draining until --cancel.
    #[arg(long, conflicts_with = "cancel")]
    pub no_exit: bool,
    /// Let the agent take new workers again.
    #[arg(long)]
    pub cancel: bool,
}

/// What `agent status` takes.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub which: Which,
    /// One line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Why an operator gets no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(
        "no agent of this user listens at {}: is it running, with the same --admin-socket or port?",
        list(.0)
    )]
    Nobody(Vec<PathBuf>),
    #[error("the agent at {}: {problem}", path.display())]
    Agent { path: PathBuf, problem: String },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// Drains an agent and prints what it says, a line of JSON each. The exit status: 0 nothing is
/// left, or what was wanted is done; 3 the time was over; 4 somebody else took it back.
pub async fn drain(args: DrainArgs, out: &mut impl Write) -> Result<u8, AdminError> {
    let DrainArgs { which, timeout, no_wait, no_exit, cancel } = args;
    let request = if cancel {
        Request::Cancel
    } else {
        Request::Drain {
            timeout_ms: timeout.and_then(|TimeLimit(limit)| limit).map(millis),
            exit: !no_exit,
            wait: !no_wait,
        }
    };
    let mut agent = Conversation::begin(&which, &request).await?;
    loop {
        let (answer, line) = agent.next().await?;
        // Whoever read it may be gone; the drain goes on.
        let _ = out.write_all(&line).and_then(|()| out.flush());
        match answer.event {
            Event::Draining if !no_wait => {}
            Event::Deadline => return Ok(DEADLINE),
            Event::Cancelled if !cancel => return Ok(CANCELLED),
            Event::Closing => return Err(agent.problem(&"it ends before all of its workers have")),
            _ => return Ok(0),
        }
    }
}

/// Prints what an agent tells of itself.
pub async fn status(args: StatusArgs, out: &mut impl Write) -> Result<u8, AdminError> {
    let mut agent = Conversation::begin(&args.which, &Request::Status).await?;
    let (answer, line) = agent.next().await?;
    let text = match answer.status {
        Some(status) if !args.json => describe(&status).into_bytes(),
        _ => line,
    };
    let _ = out.write_all(&text).and_then(|()| out.flush());
    Ok(0)
}

struct Conversation {
    path: PathBuf,
    stream: BufReader<tokio::io::Take<UnixStream>>,
}

impl Conversation {
    async fn begin(which: &Which, request: &Request) -> Result<Self, AdminError> {
        let paths = match &which.admin_socket {
            Some(path) => vec![path.clone()],
            None => default_paths(which.listen_port),
        };
        for path in &paths {
            if let Some(stream) = connect(path).await? {
                let stream = BufReader::new(stream.take(ANSWER_MAX));
                let mut conversation = Self { path: path.clone(), stream };
                conversation.ask(request).await?;
                return Ok(conversation);
            }
        }
        Err(AdminError::Nobody(paths))
    }

    fn problem(&self, problem: &dyn fmt::Display) -> AdminError {
        AdminError::Agent { path: self.path.clone(), problem: problem.to_string() }
    }

    async fn ask(&mut self, request: &Request) -> Result<(), AdminError> {
        let mut line = serde_json::to_vec(request).map_err(|error| self.problem(&error))?;
        line.push(b'\n');
        let written = self.stream.get_mut().get_mut().write_all(&line);
        let written = timeout(PATIENCE, written).await;
        // An agent that refuses has said so already, and reads no more.
        let _ = written.map_err(|_| self.problem(&"it does not listen"))?;
        Ok(())
    }

    /// What it says next, and the very line.
    async fn next(&mut self) -> Result<(Answer, Vec<u8>), AdminError> {
        let mut line = Vec::new();
        self.stream.get_mut().set_limit(ANSWER_MAX);
        match timeout(PATIENCE, self.stream.read_until(b'\n', &mut line)).await {
            Err(_) => return Err(self.problem(&format!("it has said nothing for {PATIENCE:?}"))),
            Ok(Err(error)) => return Err(self.problem(&error)),
            Ok(Ok(_)) if line.last() != Some(&b'\n') => {
                return Err(self.problem(&"it ended before it had answered"));
            }
            Ok(Ok(_)) => {}
        }
        let answer = understand(&line).map_err(|problem| self.problem(&problem))?;
        Ok((answer, line))
    }
}

/// What an agent said, or what is wrong in words for a terminal.
pub(crate) fn understand(line: &[u8]) -> Result<Answer, String> {
    let in_words = |text: &str| text.escape_debug().to_string();
    let answer: Answer =
        serde_json::from_slice(line).map_err(|error| in_words(&error.to_string()))?;
    match (answer.event, &answer.message) {
        (Event::Error, message) => Err(in_words(message.as_deref().unwrap_or("it refuses"))),
        _ => Ok(answer),
    }
}

/// `None` where nobody listens.
async fn connect(path: &Path) -> Result<Option<UnixStream>, AdminError> {
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(AdminError::Agent { path: path.to_owned(), problem: error.to_string() }),
        },
    }
}

/// What an agent tells of itself, for a terminal.
pub(crate) fn describe(status: &Status) -> String {
    let seconds = |ms: u64| format!("{} s", ms / 1000);
    let (agent, state) = (status.agent_id.escape_debug(), status.state.escape_debug());
    let mut text = format!("{agent} {state}");
    if let Some(drain) = &status.draining {
        let left = drain.left_ms.map_or("no deadline".to_owned(), |ms| seconds(ms) + " left");
        let then = if drain.exit { "then it ends" } else { "and it stays" };
        let (drains, why) = (seconds(drain.for_ms), drain.reason.escape_debug());
        let _ = write!(text, " for {drains}, {left}, {then} ({why})");
    }
    let _ = write!(text, "\n{} of {} workers", status.workers, status.max_workers);
    for SessionStatus { session, controller, peer, linked, age_ms, workers } in &status.sessions {
        let _ = write!(text, "\nsession {session}");
        match (controller, peer) {
            (Some(controller), Some(peer)) => {
                let _ = write!(text, " of {} from {peer}", controller.escape_debug());
            }
            _ => text += " is over",
        }
        text += &age_ms.map_or(String::new(), |ms| format!(", {} old", seconds(ms)));
        text += if *linked { ", linked" } else { ", without a link" };
        for WorkerStatus { pid, age_ms, cpu } in workers {
            let pid = pid.map_or("starting".to_owned(), |pid| format!("pid {pid}"));
            let cpu =
                cpu.map_or(String::new(), |cpu| format!(", {}.{} % of a core", cpu / 10, cpu % 10));
            let _ = write!(text, "\n  {pid}, {} old{cpu}", seconds(*age_ms));
        }
    }
    if status.unlisted_sessions > 0 {
        let _ = write!(text, "\nand {} more sessions", status.unlisted_sessions);
    }
    if status.unlisted > 0 {
        let _ = write!(text, "\n  and {} more workers", status.unlisted);
    }
    text + "\n"
}
