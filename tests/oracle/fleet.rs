//! A virtual worker over mock workers. Between library, virtual worker and each worker there is a
//! queue each way; a program chooses which of them moves.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
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
    virtual_worker::{
        Fate, ObjectKind, OnPartLost, Output, PartId, PartLoad, Spread, VirtualWorker,
    },
};

use crate::{
    app::App,
    calls::{Call, Step},
    plain::mock,
    properties::Layout,
};

/// The transports that went with parts, by the step that killed them.
pub type Losses = BTreeMap<usize, Vec<String>>;

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
    on_a_host: u32,
    hosts: BTreeMap<u32, MockHost>,
    now: Duration,
    /// For loads that change, where they do.
    dice: Option<u64>,
    started: usize,
    /// All that must not be.
    pub wrong: Vec<String>,
    pub died: bool,
    pub losses: Losses,
    /// Parts that nothing reaches for now.
    down: BTreeSet<PartId>,
    kills: usize,
    at: usize,
}

#[derive(Debug, Clone, Copy)]
enum Queue {
    Virtual,
    Library,
    Opening,
    Inbox(PartId),
    Outbox(PartId),
}

fn place(host: u32) -> Host {
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
    Host { key: format!("host {host}"), addresses: Arc::new(addresses) }
}

impl Fleet {
    pub fn new(layout: Layout) -> Self {
        let spread =
            if layout.parts > 1 { Spread::scatter(layout.parts) } else { Spread::ONE_PART };
        Self::spread(layout, spread)
    }

    /// A virtual worker that grows and shrinks with loads that change all the time.
    pub fn growing(layout: Layout) -> Self {
        Self { dice: Some(1), ..Self::spread(layout, Spread::pack(layout.parts)) }
    }

    fn spread(layout: Layout, spread: Spread) -> Self {
        let Layout { max_fan_out, on_a_host, .. } = layout;
        // Programs are full of direct transports, and are to go on without them.
        let on_part_lost = OnPartLost::Continue;
        let spread = Spread { max_fan_out, on_part_lost, ..spread };
        let names: [&str; 0] = [];
        let set = SelfSet::new([], names, |_| None, names);
        let book = Arc::new(AddressBook::new(set, AnnouncedMode::Auto));
        let virtual_worker = VirtualWorker::new(1, place(0), book, spread);
        let home = virtual_worker.home();
        let mut fleet = Self {
            app: App::default(),
            virtual_worker,
            members: BTreeMap::new(),
            to_virtual: VecDeque::new(),
            to_library: VecDeque::new(),
            opening: VecDeque::new(),
            on_a_host,
            hosts: BTreeMap::new(),
            now: Duration::ZERO,
            dice: None,
            started: 0,
            wrong: Vec::new(),
            died: false,
            losses: Losses::new(),
            down: BTreeSet::new(),
            kills: 0,
            at: 0,
        };
        fleet.start(home, true);
        fleet
    }

    fn start(&mut self, part: PartId, opened: bool) {
        self.started += 1;
        let host = self.hosts.entry(part.0 / self.on_a_host).or_default();
        let mut worker = mock(u32::try_from(self.started).expect("few"), host);
        let outbox = worker.start().into_iter().map(Message::into_bytes);
        let outbox = outbox.map(|bytes| BytesMut::from(&bytes[..])).collect();
        let member = Member { worker, opened, inbox: VecDeque::new(), outbox };
        if self.members.insert(part, member).is_some() {
            self.wrong.push(format!("{part:?} was asked for twice"));
        }
    }

    /// Runs a program, or its end.
    pub fn run(&mut self, steps: &[Step], settled: bool) {
        for (index, step) in steps.iter().enumerate() {
            self.at = index;
            match step {
                Step::Call(call) => {
                    self.call(call);
                    if settled {
                        self.settle();
                    }
                }
                Step::Deliver { queue, count } => self.deliver(*queue, *count),
                Step::Settle => self.settle(),
                Step::Pass(seconds) => {
                    self.pass(Duration::from_secs(*seconds));
                    if settled {
                        self.settle();
                    }
                }
                Step::Kill(part) => {
                    self.kill(*part);
                    if settled {
                        self.settle();
                    }
                }
                Step::LinkDown(part) => self.cut(*part),
                Step::LinksUp => self.mend(),
            }
            if self.died {
                return;
            }
        }
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
        self.pass(Duration::from_secs(u64::from(roll(8))));
        let mut out = Vec::new();
        self.virtual_worker.tick(self.now, &mut out);
        self.take(out);
        let open = self.members.iter().filter(|(_, member)| member.opened);
        let loads: Vec<PartLoad> = open
            .map(|(part, _)| PartLoad {
                part: *part,
                cpu: Some(roll(1000)),
                age: Duration::ZERO,
                near: false,
                avoid: false,
                drains: roll(8) == 0,
            })
            .collect();
        self.dice = Some(dice);
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
        if self.app.uses_what_is_asked_for(call) {
            self.mend();
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
        let reached =
            |(part, member): &(&PartId, &Member)| member.opened && !self.down.contains(part);
        for (part, member) in self.members.iter().filter(reached) {
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
                let part = self.opening.pop_front();
                if let Some(part) = part
                    && let Some(member) = self.members.get_mut(&part)
                {
                    member.opened = true;
                    let place = place(part.0 / self.on_a_host);
                    self.virtual_worker.part_opened(part, place, &mut out);
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
                Output::Lost { kind, id, .. } => {
                    if kind == ObjectKind::Transport {
                        self.losses.entry(self.at).or_default().push(id);
                    }
                }
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

    fn open_part(&self, index: usize) -> Option<PartId> {
        let open = self.members.iter().filter(|(_, member)| member.opened);
        let parts: Vec<_> = open.map(|(part, _)| *part).collect();
        (!parts.is_empty()).then(|| parts[index % parts.len()])
    }

    fn cut(&mut self, index: usize) {
        let Some(part) = self.open_part(index) else { return };
        self.down.insert(part);
        let mut out = Vec::new();
        self.virtual_worker.part_link(part, false, &mut out);
        self.take(out);
    }

    fn mend(&mut self) {
        for part in std::mem::take(&mut self.down) {
            let mut out = Vec::new();
            self.virtual_worker.part_link(part, true, &mut out);
            self.take(out);
        }
    }

    /// A part dies with all that was on its way to it.
    fn kill(&mut self, index: usize) {
        let Some(part) = self.open_part(index) else { return };
        self.kills += 1;
        self.down.remove(&part);
        let Some(member) = self.members.remove(&part) else { return };
        self.note_violations(part, &member);
        let mut out = Vec::new();
        let fate = self.virtual_worker.part_died(part, "killed", &mut out);
        self.take(out);
        self.app.loses(self.losses.get(&self.at).map(Vec::as_slice).unwrap_or_default());
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

    /// Time passes while messages are under way.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.strike(until) {}
        self.now = until;
    }

    fn strike(&mut self, until: Duration) -> bool {
        let Some(at) = self.virtual_worker.next_tick().filter(|at| *at <= until) else {
            return false;
        };
        self.now = self.now.max(at);
        let mut out = Vec::new();
        self.virtual_worker.tick(self.now, &mut out);
        self.take(out);
        true
    }

    fn tick(&mut self, until: Duration) -> bool {
        let struck = self.strike(until);
        self.drain();
        struck
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

    /// Looks at what is left once all is closed.
    pub fn finish(&mut self) {
        if self.died {
            return;
        }
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
