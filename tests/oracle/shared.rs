//! Several apps on one worker that they share, each of which must see what it would see of a
//! worker of its own. Their programs give the same ids to everything, so nearly all of them
//! collide.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use mediasoup_horizontal::{
    channel::Message,
    mock_worker::{MockHost, MockWorker},
    shared_worker::{Leaving, Output, SharedWorker, SubId},
};

use crate::{
    app::App,
    calls::{Step, listing},
    comparison,
    differences::Differences,
    plain::{self, Run, mock},
    plan::{Limits, plan},
    program::{self, Raw},
    properties::{cases, try_raw},
};

const LIMITS: Limits = Limits { media: true, real: false };

struct Member {
    id: SubId,
    app: App,
    to_shared: VecDeque<BytesMut>,
    to_app: VecDeque<BytesMut>,
    /// It went in the middle.
    left: bool,
}

struct Shared {
    machine: SharedWorker,
    worker: MockWorker,
    members: Vec<Member>,
    to_worker: VecDeque<Bytes>,
    from_worker: VecDeque<BytesMut>,
    ended: BTreeMap<SubId, usize>,
    wrong: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
enum Queue {
    Shared(usize),
    App(usize),
    ToWorker,
    FromWorker,
}

impl Shared {
    fn new(count: usize) -> Self {
        let mut worker = mock(1, &MockHost::new());
        let from_worker = worker.start().into_iter().map(Message::into_bytes).collect();
        let mut shared = Self {
            machine: SharedWorker::default(),
            worker,
            members: Vec::new(),
            to_worker: VecDeque::new(),
            from_worker,
            ended: BTreeMap::new(),
            wrong: Vec::new(),
        };
        for _ in 0..count {
            let mut out = Vec::new();
            let id = shared.machine.attach(&mut out);
            shared.members.push(Member {
                id,
                app: App::default(),
                to_shared: VecDeque::new(),
                to_app: VecDeque::new(),
                left: false,
            });
            shared.take(out);
        }
        shared
    }

    fn busy(&self) -> Vec<Queue> {
        let members = self.members.iter().enumerate().flat_map(|(index, member)| {
            let shared = (!member.to_shared.is_empty()).then_some(Queue::Shared(index));
            let app = (!member.to_app.is_empty()).then_some(Queue::App(index));
            [shared, app]
        });
        let to_worker = (!self.to_worker.is_empty()).then_some(Queue::ToWorker);
        let from_worker = (!self.from_worker.is_empty()).then_some(Queue::FromWorker);
        members.chain([to_worker, from_worker]).flatten().collect()
    }

    fn advance(&mut self, queue: Queue) {
        let mut out = Vec::new();
        match queue {
            Queue::Shared(index) => {
                let member = &mut self.members[index];
                if let Some(bytes) = member.to_shared.pop_front() {
                    self.machine.from_sub(member.id, bytes, &mut out);
                }
            }
            Queue::App(index) => {
                let member = &mut self.members[index];
                if let Some(bytes) = member.to_app.pop_front() {
                    member.app.hear(&bytes);
                }
            }
            Queue::ToWorker => {
                let Some(bytes) = self.to_worker.pop_front() else { return };
                match Message::parse(BytesMut::from(bytes)) {
                    Ok(message) => {
                        let said = self.worker.handle(&message).into_iter();
                        self.from_worker.extend(said.map(Message::into_bytes));
                    }
                    Err(error) => self.wrong.push(format!("the worker crashes: {error}")),
                }
            }
            Queue::FromWorker => {
                if let Some(bytes) = self.from_worker.pop_front() {
                    self.machine.from_worker(bytes, &mut out);
                }
            }
        }
        self.take(out);
    }

    fn take(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Worker(bytes) => self.to_worker.push_back(bytes),
                Output::Sub(id, bytes) => {
                    match self.members.iter_mut().find(|member| member.id == id) {
                        Some(member) if self.ended.contains_key(&id) => {
                            self.wrong.push(format!("a message for {:?}, which ended", member.id));
                        }
                        Some(member) => member.to_app.push_back(bytes),
                        None => self.wrong.push(format!("a message for {id:?}")),
                    }
                }
                Output::Ended(id) => *self.ended.entry(id).or_default() += 1,
                Output::Diagnostic(text) => self.wrong.push(format!("diagnostic: {text}")),
            }
        }
    }

    fn settle(&mut self) {
        while let Some(queue) = self.busy().first() {
            self.advance(*queue);
        }
    }

    fn leave(&mut self, index: usize) {
        let staying = self.members.iter().filter(|member| !member.left).count();
        let member = &mut self.members[index];
        if member.left || staying < 2 {
            return;
        }
        member.left = true;
        let mut out = Vec::new();
        if self.machine.leave(member.id, &mut out) != Leaving::Alone {
            self.wrong.push(format!("{:?} ends the worker although others use it", member.id));
        }
        self.take(out);
    }

    fn step(&mut self, index: usize, step: &Step) {
        match step {
            Step::Call(call) => {
                // mediasoup's JS lets the app use an object once its creation is answered.
                if self.members[index].app.uses_what_is_asked_for(call) {
                    self.settle();
                }
                let member = &mut self.members[index];
                if !member.left {
                    let message = member.app.call(call);
                    member.to_shared.push_back(message);
                }
            }
            Step::Deliver { queue, count } => {
                for _ in 0..*count {
                    let busy = self.busy();
                    if !busy.is_empty() {
                        self.advance(busy[queue % busy.len()]);
                    }
                }
            }
            Step::Settle => self.settle(),
            Step::Kill(_) => self.leave(index),
        }
    }

    /// Runs all programs at once, a step of each in turn.
    fn run(&mut self, programs: &[Run]) {
        let longest = programs.iter().map(|program| program.steps.len()).max().unwrap_or_default();
        for position in 0..longest {
            for (index, program) in programs.iter().enumerate() {
                if let Some(step) = program.steps.get(position) {
                    self.step(index, step);
                }
            }
        }
        self.settle();
        self.wrong.extend(self.worker.violations().iter().cloned());
        if self.worker.objects().total() != 0 {
            self.wrong.push(format!("the worker keeps {:?}", self.worker.objects()));
        }
        if self.machine.names() != 0 {
            self.wrong.push("names are known of objects that are closed".to_owned());
        }
        for member in &mut self.members {
            if member.left {
                if self.ended.get(&member.id) != Some(&1) {
                    self.wrong.push(format!("{:?} left and did not end once", member.id));
                }
                continue;
            }
            for made in member.app.unanswered() {
                self.wrong.push(format!("never answered: {}", made.call));
            }
            self.wrong.append(&mut member.app.wrong);
        }
    }
}

/// The program of each app: they take turns with the steps.
fn programs(raw: &[Raw], count: usize) -> Vec<Vec<Step>> {
    let of = |index: usize| raw.iter().skip(index).step_by(count).cloned().collect::<Vec<_>>();
    (0..count).map(|index| plan(&of(index), LIMITS)).collect()
}

fn show(raw: &[Raw], count: usize) -> String {
    programs(raw, count).iter().map(|steps| format!("--\n{}", listing(steps))).collect()
}

fn check(raw: &[Raw], count: usize) -> Vec<String> {
    let programs: Vec<Run> = programs(raw, count).into_iter().map(plain::run).collect();
    // What would have crashed plain mediasoup has nothing to be compared with.
    if programs.iter().any(|program| !program.violations.is_empty()) {
        return Vec::new();
    }
    let mut shared = Shared::new(count);
    shared.run(&programs);
    let mut found = std::mem::take(&mut shared.wrong);
    let legal = Differences::of(1);
    for (program, member) in programs.iter().zip(&shared.members) {
        if !member.left {
            found.extend(comparison::differences(&program.app, &member.app, &legal, false));
        }
    }
    found
}

#[test]
fn each_sees_a_worker_of_its_own() {
    for count in 2..=3 {
        let raw = program::settled();
        try_raw(cases() / 6, &raw, |raw| show(raw, count), |raw| check(raw, count));
    }
}

#[test]
fn each_sees_a_worker_of_its_own_with_messages_under_way() {
    for count in 2..=3 {
        let raw = program::raced();
        try_raw(cases() / 6, &raw, |raw| show(raw, count), |raw| check(raw, count));
    }
}

#[test]
fn who_leaves_takes_all_along_and_nothing_of_others() {
    for count in 2..=3 {
        let raw = program::deadly();
        try_raw(cases() / 6, &raw, |raw| show(raw, count), |raw| check(raw, count));
    }
}
