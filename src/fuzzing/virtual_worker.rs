//! A virtual worker between a hostile app, hostile workers and honest ones.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use super::{
    channel::prefixed,
    program::{Step, steps},
};
use crate::{
    addresses::{
        AnnouncedMode, HostAddresses, PortPolicy, SelfSet,
        book::{AddressBook, Host},
    },
    channel::{Envelope, Message},
    mock_worker::{LogLevel, MockOptions, MockWorker, Settings},
    placement::Policy,
    virtual_worker::{Fate, OnPartLost, Output, PartId, PartLoad, Spread, VirtualWorker},
};

/// Messages that may pass before everything is at rest. Honest workers come to rest long before.
const UNREST_MAX: usize = 20_000;

/// How long a text for the people who run this may be.
const DIAGNOSTIC_MAX: usize = 2000;

/// A worker behind the virtual one, and what it was told and has not taken yet.
struct Behind {
    mock: MockWorker,
    told: VecDeque<Bytes>,
}

struct Fleet {
    worker: VirtualWorker,
    behind: BTreeMap<PartId, Behind>,
    opening: VecDeque<PartId>,
    slow: bool,
    apart: bool,
    now: Duration,
    /// How often each id was asked with and not answered.
    asked: HashMap<u32, usize>,
    dead: bool,
}

/// Whatever the app and the workers say, what comes out verifies, and no request is answered twice.
/// The first byte says what kind of virtual worker it is, steps follow.
pub fn virtual_worker(data: &[u8]) {
    let Some((shape, program)) = data.split_first() else { return };
    let mut fleet = Fleet::new(*shape);
    for step in steps(program) {
        fleet.take(step);
        if fleet.dead {
            return;
        }
    }
    fleet.settle();
}

impl Fleet {
    fn new(shape: u8) -> Self {
        let max_parts = [1, 2, 3, 5][usize::from(shape % 4)];
        let policy = match shape / 4 % 4 {
            0 | 1 => Policy::Scatter,
            2 => Policy::Pack,
            _ => Policy::RoundRobin,
        };
        let on_part_lost = [OnPartLost::Continue, OnPartLost::Careful][usize::from(shape >> 7)];
        let spread = if max_parts == 1 {
            Spread::ONE_PART
        } else {
            Spread { policy, max_fan_out: 2, on_part_lost, ..Spread::scatter(max_parts) }
        };
        let names: [&str; 0] = [];
        let own = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let set = SelfSet::new([own], names, |_| None, names);
        let book = Arc::new(AddressBook::new(set, AnnouncedMode::Auto));
        let (slow, apart) = (shape & 16 != 0, shape & 32 != 0);
        let home = PartId(0);
        let worker = VirtualWorker::new(4321, host(home, apart), book, spread);
        let mut fleet = Self {
            worker,
            behind: BTreeMap::new(),
            opening: VecDeque::new(),
            slow,
            apart,
            now: Duration::ZERO,
            asked: HashMap::new(),
            dead: false,
        };
        fleet.start(home);
        fleet
    }

    fn start(&mut self, part: PartId) {
        let settings = Settings { log_level: LogLevel::None, ..Settings::default() };
        let options = MockOptions {
            pid: 100 + part.0,
            seed: u64::from(part.0) + 1,
            settings,
            ..MockOptions::default()
        };
        let mock = MockWorker::new(options);
        self.behind.insert(part, Behind { mock, told: VecDeque::new() });
    }

    fn open(&mut self, part: PartId) {
        self.start(part);
        let host = host(part, self.apart);
        self.with(|worker, out| worker.part_opened(part, host, out));
    }

    fn part(&self, who: u8) -> Option<PartId> {
        let count = self.behind.len();
        self.behind.keys().nth(usize::from(who) % count.max(1)).copied()
    }

    fn take(&mut self, step: Step<'_>) {
        let Step { kind, who, bytes } = step;
        if kind % 12 == 0 {
            return self.app_says(bytes);
        }
        let Some(part) = self.part(who) else { return };
        let byte = bytes.first().copied().unwrap_or_default();
        match kind % 12 {
            1 => self.worker_says(part, prefixed(bytes)),
            2 => self.worker_answers(part, bytes),
            3 => self.settle(),
            4 => self.honest(part, Some(bytes), 1),
            5 => {
                self.behind.remove(&part);
                let mut out = Vec::new();
                let fate = self.worker.part_died(part, "killed", &mut out);
                self.carry_out(out);
                self.dead = fate == Fate::Dies;
            }
            6 => self.with(|worker, out| worker.part_link(part, byte & 1 == 0, out)),
            7 => {
                self.now += Duration::from_secs(u64::from(byte));
                let now = self.now;
                self.with(|worker, out| worker.tick(now, out));
            }
            8 => self.loads(bytes),
            9 => self.honest(part, None, 2),
            10 => {
                if let Some(part) = self.opening.pop_front() {
                    self.open(part);
                }
            }
            _ => {
                if let Some(part) = self.opening.pop_front() {
                    self.with(|worker, out| worker.part_failed(part, "none to be had", out));
                }
            }
        }
    }

    fn app_says(&mut self, payload: &[u8]) {
        let bytes = prefixed(payload);
        let id = match Message::parse(bytes.clone()) {
            Ok(message) => message.request_id().or(match message.envelope() {
                Envelope::Request(request) => Some(request.id),
                _ => None,
            }),
            Err(rejected) => rejected.request_id(),
        };
        if let Some(id) = id {
            *self.asked.entry(id).or_default() += 1;
        }
        self.with(|worker, out| worker.from_library(bytes, out));
    }

    fn worker_says(&mut self, part: PartId, bytes: BytesMut) {
        self.with(|worker, out| worker.from_worker(part, bytes, out));
    }

    /// Says something else than the answer that is due, under the id that is waited for.
    fn worker_answers(&mut self, part: PartId, payload: &[u8]) {
        let Some(behind) = self.behind.get_mut(&part) else { return };
        let Some(told) = behind.told.pop_front() else { return };
        let asked = Message::parse(BytesMut::from(&told[..])).ok();
        let id = asked.and_then(|message| message.request_id());
        let bytes = match (Message::parse(prefixed(payload)), id) {
            (Ok(mut message), Some(id)) => {
                let _ = message.patch_id(id);
                message.into_bytes()
            }
            (Ok(message), None) => message.into_bytes(),
            (Err(rejected), _) => rejected.bytes,
        };
        self.worker_says(part, bytes);
    }

    /// Lets a worker take one message. Its answers come so many times, and with a byte changed if
    /// that is said.
    fn honest(&mut self, part: PartId, damage: Option<&[u8]>, times: usize) {
        let Some(behind) = self.behind.get_mut(&part) else { return };
        let Some(told) = behind.told.pop_front() else { return };
        let Ok(message) = Message::parse(BytesMut::from(&told[..])) else {
            panic!("a worker was told what does not verify");
        };
        for reply in behind.mock.handle(&message) {
            let mut bytes = reply.into_bytes();
            for change in damage.unwrap_or_default().chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
                let at = 4 + at % (bytes.len() - 4);
                bytes[at] = change[2];
            }
            for _ in 0..times {
                self.worker_says(part, bytes.clone());
            }
        }
    }

    fn loads(&mut self, bytes: &[u8]) {
        let load = |bytes: &[u8]| {
            let [part, flags, a, b, c, d] = *bytes.first_chunk::<6>()?;
            Some(PartLoad {
                part: PartId(u32::from(part)),
                cpu: (flags & 1 == 0).then_some(u32::from_le_bytes([a, b, c, d])),
                age: Duration::from_secs(u64::from(flags >> 4)),
                near: flags & 2 != 0,
                avoid: flags & 4 != 0,
                drains: flags & 8 != 0,
            })
        };
        let loads: Vec<PartLoad> = bytes.chunks_exact(6).filter_map(load).collect();
        self.worker.part_loads(&loads);
    }

    /// Lets every worker take what it was told, until all is at rest.
    fn settle(&mut self) {
        for _ in 0..UNREST_MAX {
            let next = self.behind.iter().find(|(_, behind)| !behind.told.is_empty());
            let Some((part, _)) = next else { return };
            let part = *part;
            self.honest(part, None, 1);
        }
        panic!("honest workers do not come to rest");
    }

    fn with(&mut self, act: impl FnOnce(&mut VirtualWorker, &mut Vec<Output>)) {
        let mut out = Vec::new();
        act(&mut self.worker, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Library(bytes) => self.app_hears(&bytes),
                Output::Worker(part, bytes) => {
                    let message = Message::parse(BytesMut::from(&bytes[..]));
                    let checked = message.as_ref().map(Message::check_for_worker);
                    assert!(matches!(checked, Ok(Ok(()))), "would kill a worker: {checked:?}");
                    if let Some(behind) = self.behind.get_mut(&part) {
                        behind.told.push_back(bytes);
                    }
                }
                Output::Diagnostic(text) => {
                    assert!(text.len() <= DIAGNOSTIC_MAX, "{} characters: {text}", text.len());
                }
                Output::OpenPart(part) if self.slow => self.opening.push_back(part),
                Output::OpenPart(part) => self.open(part),
                Output::ClosePart(part) => {
                    self.behind.remove(&part);
                    self.opening.retain(|opening| *opening != part);
                }
                Output::Lost { .. } => {}
            }
        }
    }

    fn app_hears(&mut self, bytes: &Bytes) {
        let message = Message::parse(BytesMut::from(&bytes[..]));
        let Ok(message) = message else { panic!("the library gets what does not verify") };
        match message.envelope() {
            Envelope::Response(response) => {
                let asked = self.asked.get_mut(&response.id).filter(|asked| **asked > 0);
                let Some(asked) = asked else { panic!("an answer that nobody asked for") };
                *asked -= 1;
            }
            Envelope::Request(_) => panic!("the library gets a request"),
            Envelope::Notification(_) | Envelope::Log(_) => {}
        }
    }
}

fn host(part: PartId, apart: bool) -> Host {
    let last = u8::try_from(part.0 % 200).unwrap_or_default() + 2;
    let address = if apart { [10, 0, 0, last] } else { [127, 0, 0, 1] };
    let address = IpAddr::V4(Ipv4Addr::from(address));
    Host {
        key: format!("ws://{address}"),
        addresses: Arc::new(HostAddresses {
            colocated: !apart,
            bind: vec![address],
            pipe: None,
            announced: Vec::new(),
            behind_nat: false,
            port_range: None,
            port_policy: PortPolicy::Remap,
            app_seen_as: None,
        }),
    }
}
