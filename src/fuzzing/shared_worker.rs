//! A worker that several virtual workers share, all of them hostile.

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::{
    channel::prefixed,
    program::{Step, steps},
};
use crate::{
    channel::{Envelope, Message},
    mock_worker::{LogLevel, MockOptions, MockWorker, Settings},
    shared_worker::{Leaving, Output, SharedWorker, SubId},
};

struct Bench {
    shared: SharedWorker,
    mock: MockWorker,
    told: VecDeque<Bytes>,
    subs: Vec<SubId>,
    /// How often each share asked with each id and got no answer.
    asked: HashMap<(SubId, u32), usize>,
}

/// Whatever the shares and the worker say, what the worker gets verifies, every share gets only
/// answers that it asked for, and an idle worker knows no names of anybody.
pub fn shared_worker(data: &[u8]) {
    let settings = Settings { log_level: LogLevel::None, ..Settings::default() };
    let mut bench = Bench {
        shared: SharedWorker::default(),
        mock: MockWorker::new(MockOptions { settings, ..MockOptions::default() }),
        told: VecDeque::new(),
        subs: Vec::new(),
        asked: HashMap::new(),
    };
    bench.attach();
    bench.attach();
    for step in steps(data) {
        bench.take(step);
    }
}

impl Bench {
    fn attach(&mut self) {
        if self.shared.takes_more() {
            let mut out = Vec::new();
            let sub = self.shared.attach(&mut out);
            self.subs.push(sub);
            self.carry_out(out);
        }
    }

    fn take(&mut self, step: Step<'_>) {
        let Step { kind, who, bytes } = step;
        if self.subs.is_empty() {
            return;
        }
        let sub = self.subs[usize::from(who) % self.subs.len()];
        match kind % 8 {
            0 => self.sub_says(sub, bytes),
            1 => self.with(|shared, out| shared.from_worker(prefixed(bytes), out)),
            2 => self.answer(bytes),
            3 => {
                while !self.told.is_empty() {
                    self.honest(1, &[]);
                }
            }
            4 => self.honest(1, bytes),
            5 => self.honest(2, &[]),
            6 => self.attach(),
            _ => {
                let mut out = Vec::new();
                if self.shared.leave(sub, &mut out) == Leaving::Alone {
                    self.subs.retain(|other| *other != sub);
                }
                self.carry_out(out);
            }
        }
    }

    /// Virtual workers say only what they have verified.
    fn sub_says(&mut self, sub: SubId, payload: &[u8]) {
        let bytes = prefixed(payload);
        let Ok(message) = Message::parse(bytes.clone()) else { return };
        if message.check_for_worker().is_err() {
            return;
        }
        if let Envelope::Request(request) = message.envelope() {
            *self.asked.entry((sub, request.id)).or_default() += 1;
        }
        self.with(|shared, out| shared.from_sub(sub, bytes, out));
    }

    fn answer(&mut self, payload: &[u8]) {
        let Some(told) = self.told.pop_front() else { return };
        let asked = Message::parse(BytesMut::from(&told[..])).ok();
        let id = asked.and_then(|message| message.request_id());
        let bytes = match (Message::parse_envelope(prefixed(payload)), id) {
            (Ok(mut message), Some(id)) => {
                let _ = message.patch_id(id);
                message.into_bytes()
            }
            (Ok(message), None) => message.into_bytes(),
            (Err(rejected), _) => rejected.bytes,
        };
        self.with(|shared, out| shared.from_worker(bytes, out));
    }

    fn honest(&mut self, times: usize, damage: &[u8]) {
        let Some(told) = self.told.pop_front() else { return };
        let Ok(message) = Message::parse(BytesMut::from(&told[..])) else {
            panic!("a worker was told what does not verify");
        };
        for reply in self.mock.handle(&message) {
            let mut bytes = reply.into_bytes();
            for change in damage.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
                let at = 4 + at % (bytes.len() - 4);
                bytes[at] = change[2];
            }
            for _ in 0..times {
                let bytes = bytes.clone();
                self.with(|shared, out| shared.from_worker(bytes, out));
            }
        }
    }

    fn with(&mut self, act: impl FnOnce(&mut SharedWorker, &mut Vec<Output>)) {
        let mut out = Vec::new();
        act(&mut self.shared, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Worker(bytes) => {
                    let message = Message::parse(BytesMut::from(&bytes[..]));
                    let checked = message.as_ref().map(Message::check_for_worker);
                    assert!(matches!(checked, Ok(Ok(()))), "would kill a worker: {checked:?}");
                    self.told.push_back(bytes);
                }
                Output::Sub(sub, bytes) => {
                    let Ok(message) = Message::parse_envelope(bytes) else {
                        panic!("a share gets what is no message");
                    };
                    let Envelope::Response(response) = message.envelope() else { continue };
                    let asked = self.asked.get_mut(&(sub, response.id)).filter(|count| **count > 0);
                    let Some(asked) = asked else { panic!("an answer that nobody asked for") };
                    *asked -= 1;
                }
                Output::Ended(sub) => self.subs.retain(|other| *other != sub),
                Output::Diagnostic(text) => assert!(text.len() <= 2000, "{text}"),
            }
        }
    }
}
