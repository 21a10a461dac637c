//! The workers behind one virtual worker: their events merged, and what waits for each of them.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::watching::PartReport;
use crate::{
    addresses::book::Host,
    channel::framing::MESSAGE_MAX,
    connection::{BoxFuture, Exit, WorkerCommand, WorkerEvent, WorkerLink},
    core::choice::Place,
    placement::Wish,
    queue::{self, TrySendError, Weight},
    virtual_worker::{PartId, PartLoad},
};

/// How long a worker for a further part may take to start.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A part that takes nothing for two of these counts as dead. Two, so that a process that was
/// stopped itself gives its parts one more before it judges them.
pub const STALL_STRIKE: Duration = Duration::from_secs(5);
const STRIKES: u32 = 2;
/// Bytes that may wait for a part that is opening before the library is held back.
const OPENING_LIMIT: usize = 1024 * 1024;
/// Bytes that may wait for one of several parts at all, beside those that are in its link.
pub const WAITING_MAX: usize = 2 * MESSAGE_MAX;

/// A real worker at work.
pub struct Opened {
    pub link: WorkerLink,
    /// Where it lives. The key is the name of its connection.
    pub host: Host,
    /// Whether it is a process of this host.
    pub local: bool,
    /// Its place among its connection's workers, kept while it lives.
    pub place: Option<Place>,
}

/// Where further workers of a virtual worker come from.
pub trait PartSource: Send + Sync {
    /// Starts a worker for a virtual worker that has workers on these connections, the home's
    /// first.
    fn open(&self, taken: &[String], wish: Wish) -> BoxFuture<'static, Result<Opened, String>>;

    /// What was measured of a worker that has its place there.
    fn load_of(&self, _place: &Place, _pid: u32) -> Option<Measured> {
        None
    }

    /// Turns whenever a host begins to drain, or stays after all.
    fn drains(&self) -> watch::Receiver<()> {
        watch::channel(()).1
    }
}

/// What a connection tells of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Thousandths of a core, if it was measured.
    pub cpu: Option<u32>,
    pub age: Duration,
    /// Its host is in the app's region.
    pub near: bool,
    /// Its host cannot be reached.
    pub avoid: bool,
    /// Its host means to leave.
    pub drains: bool,
}

/// What happened to a part.
pub enum Step {
    /// An event of its worker, `None` when its connection dropped it.
    Event(PartId, Option<WorkerEvent>),
    Opened(PartId, Result<Opened, String>),
    /// Nothing waits for it any more.
    Flushed,
}

enum Link {
    Opening(BoxFuture<'static, Result<Opened, String>>),
    Open(OpenLink),
}

struct OpenLink {
    commands: queue::Sender<WorkerCommand>,
    events: queue::Receiver<WorkerEvent>,
    /// On its own host.
    pid: u32,
    local: bool,
    place: Option<Place>,
}

struct Part {
    id: PartId,
    connection: Option<String>,
    link: Link,
    waiting: VecDeque<WorkerCommand>,
    waiting_bytes: usize,
    /// Room for the first of those that wait. Kept, so that being asked again costs nothing.
    room: Option<BoxFuture<'static, Result<queue::Room, queue::Closed>>>,
    strikes: u32,
    /// When the next strike is due, while nothing moves.
    strike_at: Option<Instant>,
    /// False while the link to its host is down: then it is not to blame, and holds nobody back.
    reachable: bool,
    /// Why it counts as dead although nobody saw it end.
    broken: Option<String>,
}

/// All parts of one virtual worker.
pub struct Parts {
    home: PartId,
    list: Vec<Part>,
    /// Who is asked first, so that a busy part does not silence the others.
    turn: usize,
    source: Option<Arc<dyn PartSource>>,
}

impl Parts {
    pub fn new(id: PartId, home: Opened, source: Option<Arc<dyn PartSource>>) -> Self {
        let mut part = Part::new(id, Box::pin(std::future::pending()));
        part.open(home);
        Self { home: id, list: vec![part], turn: 0, source }
    }

    /// Whether there can be more than one part, and with them anything that takes its time.
    pub fn can_grow(&self) -> bool {
        self.source.is_some()
    }

    /// What was measured of the workers that run.
    pub fn loads(&self) -> Vec<PartLoad> {
        let load = |part: &Part| {
            let (Link::Open(link), Some(source)) = (&part.link, &self.source) else { return None };
            let Measured { cpu, age, near, avoid, drains } =
                source.load_of(link.place.as_ref()?, link.pid)?;
            Some(PartLoad { part: part.id, cpu, age, near, avoid, drains })
        };
        self.list.iter().filter_map(load).collect()
    }

    /// What there is to tell of each worker.
    pub fn report(&self) -> Vec<PartReport> {
        let report = |part: &Part| {
            let (pid, held) = match &part.link {
                Link::Open(link) => (Some(link.pid), link.commands.held()),
                Link::Opening(_) => (None, 0),
            };
            PartReport {
                part: part.id,
                connection: part.connection.clone(),
                pid,
                reachable: part.reachable,
                queued_bytes: part.waiting_bytes + held,
            }
        };
        self.list.iter().map(report).collect()
    }

    /// Starts a worker for a further part.
    pub fn open(&mut self, id: PartId, wish: Wish) {
        if self.list.iter().any(|part| part.id == id) {
            tracing::warn!("part {} is open already", id.0);
            return;
        }
        let taken: Vec<String> =
            self.list.iter().filter_map(|part| part.connection.clone()).collect();
        let opening: BoxFuture<'static, Result<Opened, String>> = match &self.source {
            Some(source) => {
                let opening = source.open(&taken, wish);
                Box::pin(async {
                    let late = |_| Err("it did not start in time".to_owned());
                    timeout(OPEN_TIMEOUT, opening).await.unwrap_or_else(late)
                })
            }
            None => {
                Box::pin(std::future::ready(Err("this Worker cannot have further parts".into())))
            }
        };
        self.list.push(Part::new(id, opening));
    }

    /// Takes the worker that was started for that part.
    pub fn opened(&mut self, id: PartId, opened: Opened) {
        if let Some(part) = self.part(id) {
            part.open(opened);
        }
    }

    /// Notes whether the link to a part's host is up.
    pub fn set_link(&mut self, id: PartId, up: bool) {
        if let Some(part) = self.part(id) {
            part.reachable = up;
        }
    }

    /// Forgets a part; its worker is freed with its link.
    pub fn remove(&mut self, id: PartId) {
        self.list.retain(|part| part.id != id);
    }

    /// Gives up on every part that is not open yet.
    pub fn remove_opening(&mut self) {
        self.list.retain(|part| matches!(part.link, Link::Open(_)));
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The part whose end is the virtual worker's: home, or the first of those that are left.
    pub fn leader(&self) -> Option<PartId> {
        let home = self.list.iter().find(|part| part.id == self.home);
        home.or_else(|| self.list.first()).map(|part| part.id)
    }

    pub fn ids(&self) -> Vec<PartId> {
        self.list.iter().map(|part| part.id).collect()
    }

    /// Process ids of those that run on this host.
    pub fn local_pids(&self) -> Vec<u32> {
        let local_pid = |part: &Part| match &part.link {
            Link::Open(link) => link.local.then_some(link.pid),
            Link::Opening(_) => None,
        };
        self.list.iter().filter_map(local_pid).collect()
    }

    /// Sends a command, after those that wait. To a part that is gone it goes nowhere.
    pub fn command(&mut self, id: PartId, command: WorkerCommand) {
        let alone = self.list.len() == 1;
        if let Some(part) = self.part(id) {
            part.command(command, alone);
        }
    }

    /// Sends a command if that can be done at once.
    pub fn urgent(&mut self, id: PartId, command: WorkerCommand) -> bool {
        self.part(id).is_some_and(|part| match &part.link {
            Link::Open(link) if part.waiting.is_empty() => {
                link.commands.try_send(command) != Err(TrySendError::Full)
            }
            _ => false,
        })
    }

    /// Whether the library must wait before it says more.
    pub fn hold_back(&self) -> bool {
        let alone = self.list.len() == 1;
        self.list.iter().any(|part| match part.link {
            Link::Open(_) => !part.waiting.is_empty() && (part.reachable || alone),
            Link::Opening(_) => part.waiting_bytes > OPENING_LIMIT,
        })
    }

    /// The next event of that part, if one waits now.
    pub fn try_event(&mut self, id: PartId) -> Option<WorkerEvent> {
        match &mut self.part(id)?.link {
            Link::Open(link) => link.events.try_recv(),
            Link::Opening(_) => None,
        }
    }

    /// What happens next. Cancel-safe: whatever is under way stays here. Events of workers are left
    /// where they are unless they are to be `read`.
    pub async fn next(&mut self, read: bool) -> Step {
        poll_fn(|context| self.poll_next(context, read)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>, read: bool) -> Poll<Step> {
        let count = self.list.len();
        for offset in 0..count {
            let index = (self.turn + offset) % count;
            if let Poll::Ready(step) = self.list[index].poll(context, read) {
                self.turn = index + 1;
                return Poll::Ready(step);
            }
        }
        Poll::Pending
    }

    /// When to look for parts that take nothing. A single worker is waited for without end, as
    /// mediasoup waits for its own; and while the library does not read, nobody can be blamed.
    pub fn next_strike(&mut self, read: bool) -> Option<Instant> {
        if self.list.len() == 1
            && self.list[0].strike_at.is_none()
            && self.list[0].waiting.is_empty()
        {
            return None;
        }
        let judged = read && self.list.len() > 1;
        for part in &mut self.list {
            let open = matches!(part.link, Link::Open(_));
            let stuck = open && part.reachable && !part.waiting.is_empty();
            match (judged && stuck, part.strike_at) {
                (true, None) => part.strike_at = Some(Instant::now() + STALL_STRIKE),
                (true, Some(_)) => {}
                (false, _) => part.moved(),
            }
        }
        self.list.iter().filter_map(|part| part.strike_at).min()
    }

    /// Notes who took nothing for too long.
    pub fn strike(&mut self, now: Instant) {
        for part in &mut self.list {
            if part.strike_at.is_none_or(|at| at > now) {
                continue;
            }
            part.strikes += 1;
            part.strike_at = Some(now + STALL_STRIKE);
            if part.strikes >= STRIKES {
                part.broken = Some("it takes no messages any more".to_owned());
            }
        }
    }

    fn part(&mut self, id: PartId) -> Option<&mut Part> {
        self.list.iter_mut().find(|part| part.id == id)
    }
}

impl Part {
    fn new(id: PartId, opening: BoxFuture<'static, Result<Opened, String>>) -> Self {
        Self {
            id,
            connection: None,
            link: Link::Opening(opening),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            room: None,
            strikes: 0,
            strike_at: None,
            reachable: true,
            broken: None,
        }
    }

    fn open(&mut self, opened: Opened) {
        let Opened { link: WorkerLink { pid, commands, events, .. }, host, local, place } = opened;
        self.connection = Some(host.key);
        self.link = Link::Open(OpenLink { commands, events, pid, local, place });
        self.flush();
    }

    fn command(&mut self, command: WorkerCommand, alone: bool) {
        let command = match &self.link {
            Link::Open(link) if self.waiting.is_empty() => match link.commands.offer(command) {
                Ok(()) | Err((_, TrySendError::Closed)) => return,
                Err((command, TrySendError::Full)) => command,
            },
            _ => command,
        };
        self.waiting_bytes += command.weight();
        self.waiting.push_back(command);
        // A single worker is fed by the library alone, and that is held back.
        if !alone && self.waiting_bytes > WAITING_MAX {
            self.waiting.clear();
            self.waiting_bytes = 0;
            self.room = None;
            self.broken = Some(format!("more than {WAITING_MAX} bytes wait for it"));
        }
    }

    fn moved(&mut self) {
        self.strikes = 0;
        self.strike_at = None;
    }

    /// Sends of what waits as much as there is room for.
    fn flush(&mut self) {
        let Link::Open(link) = &self.link else { return };
        while let Some(command) = self.waiting.pop_front() {
            let weight = command.weight();
            if let Err((command, TrySendError::Full)) = link.commands.offer(command) {
                self.waiting.push_front(command);
                return;
            }
            self.waiting_bytes -= weight;
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, read: bool) -> Poll<Step> {
        if let Some(why) = self.broken.take() {
            return Poll::Ready(match self.link {
                Link::Opening(_) => Step::Opened(self.id, Err(why)),
                Link::Open(_) => Step::Event(self.id, Some(WorkerEvent::Exited(Exit::Lost(why)))),
            });
        }
        if !self.waiting.is_empty() && self.poll_room(context).is_ready() {
            return Poll::Ready(Step::Flushed);
        }
        match &mut self.link {
            Link::Opening(opening) => {
                opening.as_mut().poll(context).map(|opened| Step::Opened(self.id, opened))
            }
            Link::Open(link) if read => {
                link.events.poll_recv(context).map(|event| Step::Event(self.id, event))
            }
            Link::Open(_) => Poll::Pending,
        }
    }

    /// Moves what waits; ready once nothing does.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Link::Open(link) = &self.link else { return Poll::Pending };
            let Some(first) = self.waiting.front() else { return Poll::Ready(()) };
            let room = self.room.get_or_insert_with(|| Box::pin(link.commands.room_for(first)));
            let Poll::Ready(room) = room.as_mut().poll(context) else { return Poll::Pending };
            self.room = None;
            if let Some(command) = self.waiting.pop_front() {
                self.waiting_bytes -= command.weight();
                // Into a queue that nobody reads any more: the worker's end is about to be heard.
                if let Ok(room) = room {
                    let _ = link.commands.send_into(room, command);
                }
            }
            self.strikes = 0;
            self.strike_at = None;
            self.flush();
        }
    }
}
