//! A virtual worker over mock workers. Between library, virtual worker and each worker there is a
//! queue each way; a program chooses which of them moves.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use mediasoup_horizontal::{
    addresses::{
        AnnouncedMode, HostAddresses, PortPolicy, SelfSet,
        book::{AddressBook, Host},
    },
    channel::Message,
    mock_worker::{MockHost, MockWorker},
    virtual_worker::{Fate, Output, PartId, PartLoad, Spread, VirtualWorker},
};

use crate::{
    app::App,
    calls::{Call, Step},
    plain::mock,
};

/// No program keeps a fleet busy for so many rounds.
const ROUNDS: usize = 20_000;
/// As long as deadlines and lingers could last.
const LONG: Duration = Duration::from_secs(120);

struct Member {
    worker: MockWorker,
    opened: bool,
    inbox: VecDeque<Bytes>,
    outbox: VecDeque<BytesMut>,
}

pub struct Fleet {
    pub app: App,
    virtual_worker: VirtualWorker,
    members: BTreeMap<PartId, Member>,
    to_virtual: VecDeque<BytesMut>,
    to_library: VecDeque<Bytes>,
    opening: VecDeque<PartId>,
    host: MockHost,
    now: Duration,
    /// For loads that change, where they do.
    dice: Option<u64>,
    started: usize,
    /// All that must not be.
    pub wrong: Vec<String>,
    pub died: bool,
    pub kills: usize,
}

#[derive(Debug, Clone, Copy)]
enum Queue {
    Virtual,
    Library,
    Opening,
    Inbox(PartId),
    Outbox(PartId),
}

fn place() -> Host {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let addresses = HostAddresses {
        colocated: true,
        bind: vec![loopback],
        pipe: Some(loopback),
        announced: Vec::new(),
        behind_nat: false,
        port_range: None,
        port_policy: PortPolicy::default(),
        app_seen_as: None,
    };
    Host { key: "local".to_owned(), addresses: Arc::new(addresses) }
}

impl Fleet {
    pub fn new(max_parts: usize) -> Self {
        let spread = if max_parts > 1 { Spread::scatter(max_parts) } else { Spread::ONE_PART };
        Self::spread(spread)
    }

    /// A virtual worker that grows and shrinks with loads that change all the time.
    pub fn growing(max_parts: usize) -> Self {
        Self { dice: Some(1), ..Self::spread(Spread::pack(max_parts)) }
    }

    fn spread(spread: Spread) -> Self {
        let names: [&str; 0] = [];
        let set = SelfSet::new([], names, |_| None, names);
        let book = Arc::new(AddressBook::new(set, AnnouncedMode::Auto));
        let virtual_worker = VirtualWorker::new(1, place(), book, spread);
        let home = virtual_worker.home();
        let mut fleet = Self {
            app: App::default(),
            virtual_worker,
            members: BTreeMap::new(),
            to_virtual: VecDeque::new(),
            to_library: VecDeque::new(),
            opening: VecDeque::new(),
            host: MockHost::new(),
            now: Duration::ZERO,
            dice: None,
            started: 0,
            wrong: Vec::new(),
            died: false,
            kills: 0,
        };
        fleet.start(home, true);
        fleet
    }

    fn start(&mut self, part: PartId, opened: bool) {
        self.started += 1;
        let mut worker = mock(u32::try_from(self.started).expect("few"), &self.host);
        let outbox = worker.start().into_iter().map(Message::into_bytes);
        let outbox = outbox.map(|bytes| BytesMut::from(&bytes[..])).collect();
        let member = Member { worker, opened, inbox: VecDeque::new(), outbox };
        if self.members.insert(part, member).is_some() {
            self.wrong.push(format!("{part:?} was asked for twice"));
        }
    }

    /// Runs a program to its end.
    pub fn run(&mut self, steps: &[Step], settled: bool) {
        for step in steps {
            match step {
                Step::Call(call) => {
                    self.call(call);
                    if settled {
                        self.settle();
                    }
                }
                Step::Deliver { queue, count } => self.deliver(*queue, *count),
                Step::Settle => self.settle(),
                Step::Kill(part) => self.kill(*part),
            }
            if self.died {
                return;
            }
        }
        self.finish();
    }

    /// Loads by which every part is chosen at times, and time for parts to empty.
    fn change_loads(&mut self) {
        let Some(mut dice) = self.dice else { return };
        let mut roll = |sides: u32| {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            u32::try_from(dice >> 33).unwrap_or_default() % sides
        };
        let now = self.now + Duration::from_secs(u64::from(roll(8)));
        let open = self.members.iter().filter(|(_, member)| member.opened);
        let loads: Vec<PartLoad> = open
            .map(|(part, _)| PartLoad {
                part: *part,
                cpu: Some(roll(1000)),
                age: Duration::ZERO,
                near: false,
                avoid: false,
            })
            .collect();
        self.dice = Some(dice);
        self.now = now;
        let mut out = Vec::new();
        self.virtual_worker.tick(now, &mut out);
        self.take(out);
        self.virtual_worker.part_loads(&loads);
    }

    fn call(&mut self, call: &Call) {
        self.change_loads();
        self.wait_for(call);
        let message = self.app.call(call);
        self.to_virtual.push_back(message);
    }

    /// mediasoup's JS knows an object once its creation is answered, and lets the app use it then.
    fn wait_for(&mut self, call: &Call) {
        for _ in 0..ROUNDS {
            let busy = self.busy();
            if !self.app.uses_what_is_asked_for(call) || busy.is_empty() {
                break;
            }
            for queue in busy {
                self.advance(queue);
            }
        }
        if self.app.uses_what_is_asked_for(call) {
            self.settle();
        }
    }

    fn busy(&self) -> Vec<Queue> {
        let mut busy = Vec::new();
        if !self.to_virtual.is_empty() {
            busy.push(Queue::Virtual);
        }
        if !self.to_library.is_empty() {
            busy.push(Queue::Library);
        }
        if !self.opening.is_empty() {
            busy.push(Queue::Opening);
        }
        for (part, member) in self.members.iter().filter(|(_, member)| member.opened) {
            if !member.inbox.is_empty() {
                busy.push(Queue::Inbox(*part));
            }
            if !member.outbox.is_empty() {
                busy.push(Queue::Outbox(*part));
            }
        }
        busy
    }

    fn deliver(&mut self, queue: usize, count: usize) {
        for _ in 0..count {
            let busy = self.busy();
            if busy.is_empty() {
                return;
            }
            self.advance(busy[queue % busy.len()]);
        }
    }

    fn advance(&mut self, queue: Queue) {
        let mut out = Vec::new();
        match queue {
            Queue::Virtual => {
                if let Some(bytes) = self.to_virtual.pop_front() {
                    self.virtual_worker.from_library(bytes, &mut out);
                }
            }
            Queue::Library => {
                if let Some(bytes) = self.to_library.pop_front() {
                    self.app.hear(&bytes);
                }
            }
            Queue::Opening => {
                if let Some(part) = self.opening.pop_front()
                    && let Some(member) = self.members.get_mut(&part)
                {
                    member.opened = true;
                    self.virtual_worker.part_opened(part, place(), &mut out);
                }
            }
            Queue::Inbox(part) => {
                let Some(member) = self.members.get_mut(&part) else { return };
                let Some(bytes) = member.inbox.pop_front() else { return };
                match Message::parse(BytesMut::from(&bytes[..])) {
                    Ok(message) => {
                        let answers = member.worker.handle(&message).into_iter();
                        let answers = answers.map(|one| BytesMut::from(&one.into_bytes()[..]));
                        member.outbox.extend(answers);
                    }
                    Err(error) => self.wrong.push(format!("{part:?} crashes: {error}")),
                }
            }
            Queue::Outbox(part) => {
                let Some(member) = self.members.get_mut(&part) else { return };
                if let Some(bytes) = member.outbox.pop_front() {
                    self.virtual_worker.from_worker(part, bytes, &mut out);
                }
            }
        }
        self.take(out);
    }

    fn take(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Library(bytes) => self.to_library.push_back(bytes),
                Output::Worker(part, bytes) => match self.members.get_mut(&part) {
                    Some(member) => member.inbox.push_back(bytes),
                    None => self.wrong.push(format!("a message for {part:?}, which is not there")),
                },
                Output::Diagnostic(text) => {
                    if self.kills == 0 && !text.starts_with("refused a message of the app") {
                        self.wrong.push(format!("diagnostic: {text}"));
                    }
                }
                Output::OpenPart(part) => {
                    self.start(part, false);
                    self.opening.push_back(part);
                }
                Output::ClosePart(part) => self.close_part(part),
            }
        }
    }

    fn close_part(&mut self, part: PartId) {
        let Some(member) = self.members.remove(&part) else {
            return self.wrong.push(format!("{part:?} is closed and was not there"));
        };
        self.opening.retain(|other| *other != part);
        self.note_violations(part, &member);
    }

    fn note_violations(&mut self, part: PartId, member: &Member) {
        for violation in member.worker.violations() {
            self.wrong.push(format!("{part:?} would crash or hang: {violation}"));
        }
    }

    /// A part dies with all that was on its way to it.
    fn kill(&mut self, index: usize) {
        let parts: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.opened)
            .map(|(part, _)| *part)
            .collect();
        if parts.is_empty() {
            return;
        }
        self.kills += 1;
        let part = parts[index % parts.len()];
        let Some(member) = self.members.remove(&part) else { return };
        self.note_violations(part, &member);
        let mut out = Vec::new();
        let fate = self.virtual_worker.part_died(part, "killed", &mut out);
        self.take(out);
        self.died = fate == Fate::Dies;
    }

    fn drain(&mut self) {
        for _ in 0..ROUNDS {
            let busy = self.busy();
            if busy.is_empty() {
                return;
            }
            for queue in busy {
                self.advance(queue);
            }
        }
        self.wrong.push("it never comes to rest".to_owned());
    }

    fn tick(&mut self, until: Duration) -> bool {
        let Some(at) = self.virtual_worker.next_tick().filter(|at| *at <= until) else {
            return false;
        };
        self.now = self.now.max(at);
        let mut out = Vec::new();
        self.virtual_worker.tick(self.now, &mut out);
        self.take(out);
        self.drain();
        true
    }

    /// Everything arrives; deadlines pass only where a call waits for them.
    fn settle(&mut self) {
        self.drain();
        let until = self.now + LONG;
        for _ in 0..ROUNDS {
            if self.app.unanswered().next().is_none() || !self.tick(until) {
                return;
            }
        }
    }

    fn finish(&mut self) {
        self.drain();
        let until = self.now + LONG;
        for _ in 0..ROUNDS {
            if !self.tick(until) {
                break;
            }
        }
        for (part, member) in std::mem::take(&mut self.members) {
            let objects = member.worker.objects();
            if objects.total() != 0 {
                self.wrong.push(format!("{part:?} keeps what nobody asked for: {objects:?}"));
            }
            self.note_violations(part, &member);
        }
        if !self.virtual_worker.objects().is_empty() {
            self.wrong.push("the virtual worker knows objects after all closed".to_owned());
        }
        let under_way = self.virtual_worker.requests_under_way();
        if under_way != 0 {
            self.wrong.push(format!("{under_way} requests are still under way"));
        }
        for made in self.app.unanswered() {
            self.wrong.push(format!("never answered: {}", made.call));
        }
        self.wrong.append(&mut self.app.wrong);
    }
}
