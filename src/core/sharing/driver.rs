//! Runs one shared worker: moves messages between its link and those of the virtual workers.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::Owner;
use crate::{
    connection::{BoxFuture, Exit, LINK_LIMIT, WorkerCommand, WorkerEvent, WorkerLink},
    net::{Patience, Timing},
    queue::{self, TrySendError},
    shared_worker::{Leaving, Output, SharedWorker, SubId},
    stub::signals,
};

/// How long the closing of what a virtual worker had may take before it hears of its end anyway.
const GRACE: Duration = Duration::from_secs(5);

/// A virtual worker's link to the shared worker, as the driver holds it.
pub struct Ends {
    pub owner: Owner,
    pub commands: queue::Receiver<WorkerCommand>,
    pub events: queue::Sender<WorkerEvent>,
}

/// Asks to let a virtual worker in. Dropping the reply refuses it.
pub struct Attach {
    pub ends: Ends,
    pub reply: oneshot::Sender<()>,
}

/// What others may know of a shared worker.
#[derive(Debug, Default)]
pub struct Users {
    /// Who uses it, the same one more than once at worst.
    pub owners: Vec<Owner>,
    /// It takes no more.
    pub closed: bool,
}

struct Member {
    id: SubId,
    ends: Ends,
    /// False once its virtual worker has no more to say.
    open: bool,
    /// It wants no more of the worker, and hears of its end by then.
    deadline: Option<Instant>,
}

enum Step {
    Attach(Option<Attach>),
    Worker(Option<WorkerEvent>),
    /// A command of the member at that place, `None` when its link was dropped.
    Command(usize, Option<WorkerCommand>),
    Flushed,
    /// Nobody holds the last member's link any more.
    Deserted,
}

pub struct Driver {
    machine: SharedWorker,
    commands: queue::Sender<WorkerCommand>,
    events: queue::Receiver<WorkerEvent>,
    members: Vec<Member>,
    attaches: mpsc::Receiver<Attach>,
    /// False once nobody can ask any more.
    asked: bool,
    users: Arc<Mutex<Users>>,
    outputs: VecDeque<Output>,
    /// What the worker has no room for yet. Nobody is listened to meanwhile.
    waiting: VecDeque<WorkerCommand>,
    room: Option<BoxFuture<'static, Result<queue::Room, queue::Closed>>>,
    deserted: Option<BoxFuture<'static, ()>>,
    patience: Patience,
    turn: usize,
}

impl Driver {
    /// A worker with its first user.
    pub fn new(
        link: WorkerLink,
        first: Ends,
        attaches: mpsc::Receiver<Attach>,
        users: Arc<Mutex<Users>>,
    ) -> Self {
        let WorkerLink { commands, events, .. } = link;
        let mut driver = Self {
            machine: SharedWorker::default(),
            commands,
            events,
            members: Vec::new(),
            attaches,
            asked: true,
            users,
            outputs: VecDeque::new(),
            waiting: VecDeque::new(),
            room: None,
            deserted: None,
            patience: Patience::new(Timing::default().stall),
            turn: 0,
        };
        driver.attach(first);
        driver
    }

    /// Runs until the worker is gone.
    pub async fn run(mut self) {
        loop {
            let deadline = self.members.iter().filter_map(|member| member.deadline).min();
            let step = tokio::select! {
                // Cancel-safe: what is under way stays here.
                step = poll_fn(|context| self.poll(context)) => Some(step),
                // Cancel-safe: made anew from the same moment each time.
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => None,
            };
            let ended = match step {
                None => {
                    self.end_overdue();
                    None
                }
                Some(Step::Flushed) => None,
                Some(Step::Deserted) => return self.end(&Exit::Code(0)),
                Some(Step::Attach(None)) => {
                    self.asked = false;
                    None
                }
                Some(Step::Attach(Some(Attach { ends, reply }))) => {
                    if self.machine.takes_more() && reply.send(()).is_ok() {
                        self.attach(ends);
                    } else {
                        self.leave_users(ends.owner);
                    }
                    None
                }
                Some(Step::Worker(event)) => self.worker_said(event).await,
                Some(Step::Command(index, command)) => self.obey(index, command),
            };
            if let Some(exit) = ended {
                return self.end(&exit);
            }
            self.carry_out().await;
            if !self.machine.takes_more() {
                self.users.lock().closed = true;
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if self.asked
            && let Poll::Ready(attach) = self.attaches.poll_recv(context)
        {
            return Poll::Ready(Step::Attach(attach));
        }
        if let Some(deserted) = &mut self.deserted
            && deserted.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Step::Deserted);
        }
        if !self.waiting.is_empty() && self.poll_room(context).is_ready() {
            return Poll::Ready(Step::Flushed);
        }
        // In turn, so that no one of them silences the others.
        let places = self.members.len() + 1;
        for offset in 0..places {
            let place = (self.turn + offset) % places;
            let step = match place.checked_sub(1) {
                None => self.events.poll_recv(context).map(Step::Worker),
                Some(index) if self.members[index].open && self.waiting.is_empty() => {
                    let commands = &mut self.members[index].ends.commands;
                    commands.poll_recv(context).map(|command| Step::Command(index, command))
                }
                Some(_) => Poll::Pending,
            };
            if step.is_ready() {
                self.turn = place + 1;
                return step;
            }
        }
        Poll::Pending
    }

    /// Moves what waits for the worker; ready once nothing does.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(first) = self.waiting.front() {
            let room = self.room.get_or_insert_with(|| Box::pin(self.commands.room_for(first)));
            let Poll::Ready(room) = room.as_mut().poll(context) else { return Poll::Pending };
            self.room = None;
            // Into a queue that nobody reads any more: the worker's end is about to be heard.
            if let (Some(command), Ok(room)) = (self.waiting.pop_front(), room) {
                let _ = self.commands.send_into(room, command);
            }
        }
        Poll::Ready(())
    }

    fn attach(&mut self, ends: Ends) {
        let id = self.drive(SharedWorker::attach);
        self.members.push(Member { id, ends, open: true, deadline: None });
    }

    fn drive<T>(&mut self, act: impl FnOnce(&mut SharedWorker, &mut Vec<Output>) -> T) -> T {
        let mut out = Vec::new();
        let result = act(&mut self.machine, &mut out);
        self.outputs.extend(out);
        result
    }

    /// Tells how the worker ended, if it did.
    async fn worker_said(&mut self, event: Option<WorkerEvent>) -> Option<Exit> {
        match event {
            None => return Some(Exit::Lost("its connection dropped it".to_owned())),
            Some(WorkerEvent::Exited(exit)) => return Some(exit),
            Some(WorkerEvent::Message(bytes)) => {
                self.drive(|machine, out| machine.from_worker(bytes, out));
            }
            Some(text @ (WorkerEvent::Stdout(_) | WorkerEvent::Stderr(_))) => {
                if let Some(oldest) = self.machine.oldest() {
                    self.deliver(oldest, text).await;
                }
            }
        }
        None
    }

    /// Tells how the worker ended, if that is to be taken for granted.
    fn obey(&mut self, index: usize, command: Option<WorkerCommand>) -> Option<Exit> {
        let id = self.members[index].id;
        match command {
            Some(WorkerCommand::Message(bytes)) => {
                self.drive(|machine, out| machine.from_sub(id, BytesMut::from(bytes), out));
                None
            }
            None => {
                self.members[index].open = false;
                self.leave(index, WorkerCommand::CloseInput)
            }
            Some(WorkerCommand::Signal(signal)) if signals::IGNORED.contains(&signal) => None,
            Some(how) => self.leave(index, how),
        }
    }

    /// A member wants no more of the worker. The last one's wish is the worker's own end.
    fn leave(&mut self, index: usize, how: WorkerCommand) -> Option<Exit> {
        let Member { id, ends, open, .. } = &self.members[index];
        let (id, owner, open, events) = (*id, ends.owner, *open, ends.events.clone());
        let killed = match how {
            WorkerCommand::Signal(libc::SIGINT | libc::SIGTERM) => None,
            WorkerCommand::Signal(signal) => Some(Exit::Signal(signal)),
            WorkerCommand::CloseInput | WorkerCommand::Message(_) => None,
        };
        if self.drive(|machine, out| machine.leave(id, out)) == Leaving::WithWorker {
            self.users.lock().closed = true;
            if !open {
                self.deserted = Some(Box::pin(async move { events.closed().await }));
            }
            if killed.is_some() && !self.waiting.is_empty() {
                // Behind all that waits a kill comes too late. Whoever holds the other end of a
                // link that is dropped ends the worker.
                return killed;
            }
            self.command(how);
            return None;
        }
        self.leave_users(owner);
        match killed {
            Some(exit) => self.tell_end(id, exit),
            None => {
                self.members[index].deadline.get_or_insert_with(|| Instant::now() + GRACE);
            }
        }
        None
    }

    fn leave_users(&self, owner: Owner) {
        let mut users = self.users.lock();
        if let Some(position) = users.owners.iter().position(|other| *other == owner) {
            users.owners.swap_remove(position);
        }
    }

    async fn carry_out(&mut self) {
        while let Some(output) = self.outputs.pop_front() {
            match output {
                Output::Worker(bytes) => self.command(WorkerCommand::Message(bytes)),
                Output::Sub(id, bytes) => self.deliver(id, WorkerEvent::Message(bytes)).await,
                Output::Ended(id) => self.tell_end(id, Exit::Code(0)),
                Output::Diagnostic(text) => tracing::warn!("shared worker: {text}"),
            }
        }
    }

    fn command(&mut self, command: WorkerCommand) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(command);
        } else if let Err((command, TrySendError::Full)) = self.commands.offer(command) {
            self.waiting.push_back(command);
        }
    }

    /// Waits for a virtual worker that does not read, but not for ever: the others wait with it.
    async fn deliver(&mut self, id: SubId, event: WorkerEvent) {
        let Some(index) = self.members.iter().position(|member| member.id == id) else { return };
        let events = &self.members[index].ends.events;
        let Err((event, TrySendError::Full)) = events.offer(event) else { return };
        let sent = timeout(self.patience.left(), events.send(event)).await;
        self.patience.spend();
        if sent.is_ok() {
            return;
        }
        let reason = format!(
            "the app did not read what its worker sent ({} MiB wait), and others share that worker",
            LINK_LIMIT / 1024 / 1024
        );
        tracing::warn!(reason, "a virtual worker is cut off");
        let owner = self.members[index].ends.owner;
        self.leave_users(owner);
        self.tell_end(id, Exit::Lost(reason));
        if self.drive(|machine, out| machine.leave(id, out)) == Leaving::WithWorker {
            self.command(WorkerCommand::Signal(libc::SIGKILL));
        }
    }

    /// The last that a virtual worker hears.
    fn tell_end(&mut self, id: SubId, exit: Exit) {
        let Some(index) = self.members.iter().position(|member| member.id == id) else { return };
        self.members.remove(index).ends.events.send_last(WorkerEvent::Exited(exit));
    }

    fn end_overdue(&mut self) {
        let now = Instant::now();
        let overdue = |member: &&Member| member.deadline.is_some_and(|deadline| deadline <= now);
        let overdue: Vec<_> = self.members.iter().filter(overdue).map(|member| member.id).collect();
        for id in overdue {
            self.tell_end(id, Exit::Code(0));
        }
    }

    /// The worker is gone, and with it all who use it.
    fn end(mut self, exit: &Exit) {
        self.users.lock().closed = true;
        for member in std::mem::take(&mut self.members) {
            // Who was leaving has left.
            let exit = if member.deadline.is_some() { Exit::Code(0) } else { exit.clone() };
            member.ends.events.send_last(WorkerEvent::Exited(exit));
        }
    }
}
