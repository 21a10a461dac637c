//! What tests want of calls that are still to come: that they fail, or wait until they are let go.

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;

use super::{Control, MockHandle};
use crate::channel::{
    Message,
    compose::{self, ErrorKind},
    method::{self, Method},
};

/// How rules and counts name a Worker's start, which is no method of a worker.
pub const CREATE_WORKER: &str = "createWorker";

/// A call that mock workers get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    CreateWorker,
    Method(&'static str),
}

/// A name that is no call's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mock workers get no call '{0}'; it is {CREATE_WORKER} or a method such as {example}", example = method::name(Method::TransportProduce))]
pub struct UnknownCall(String);

impl Call {
    pub fn parse(name: &str) -> Result<Self, UnknownCall> {
        if name == CREATE_WORKER {
            return Ok(Self::CreateWorker);
        }
        let known = method::all().map(method::name).find(|known| *known == name);
        known.map(Self::Method).ok_or_else(|| UnknownCall(name.to_owned()))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::CreateWorker => CREATE_WORKER,
            Self::Method(name) => name,
        }
    }
}

/// The error that a call is to end in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: ErrorKind,
    pub message: String,
}

/// Who is to know that a held call has come.
pub type Arrived = Box<dyn FnOnce() + Send>;

/// What becomes of a call.
pub enum Action {
    Fail(Failure),
    Hold(Arrived),
}

/// Which calls a rule is for, and what becomes of them.
pub struct Rule {
    pub call: Call,
    /// The object that is called, or any.
    pub on: Option<String>,
    /// How many calls it is for; `None` for all. Only one call is held by the same rule.
    pub times: Option<u32>,
    pub action: Action,
}

/// The rules of all mock connections of one core, and what calls came.
#[derive(Clone, Default)]
pub struct MockRules {
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for MockRules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        formatter
            .debug_struct("MockRules")
            .field("rules", &state.rules.len())
            .field("held", &state.held.len())
            .finish()
    }
}

#[derive(Default)]
struct State {
    last_id: u32,
    rules: BTreeMap<u32, Rule>,
    held: BTreeMap<u32, HeldCall>,
    calls: BTreeMap<&'static str, u64>,
    /// How many calls of the mock's own are under way.
    own_calls: u32,
}

/// A call that waits.
pub(super) struct HeldCall {
    pub worker: UnboundedSender<Control>,
    /// `None` for a worker that is to start.
    pub request: Option<(u32, Message)>,
}

/// What becomes of a call that came.
pub(super) enum Verdict {
    Pass,
    Fail(Failure),
    Held,
}

impl MockRules {
    /// Adds a rule for calls to come; the oldest that fits a call counts. Returns its id.
    pub fn add(&self, rule: Rule) -> u32 {
        let mut state = self.state.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.rules.insert(id, rule);
        id
    }

    /// Ends a rule and lets go the call that it holds, which then fails if there is a failure.
    /// False if there is neither any more.
    pub fn end(&self, id: u32, failure: Option<Failure>) -> bool {
        let (rule, held) = {
            let mut state = self.state.lock();
            (state.rules.remove(&id), state.held.remove(&id))
        };
        let was_there = rule.is_some() || held.is_some();
        if let Some(held) = held {
            held.release(failure);
        }
        was_there
    }

    /// Ends all rules, lets go all calls that are held, and forgets what calls came.
    pub fn reset(&self) {
        let State { held, .. } = {
            let mut state = self.state.lock();
            let (last_id, own_calls) = (state.last_id, state.own_calls);
            std::mem::replace(&mut *state, State { last_id, own_calls, ..State::default() })
        };
        for call in held.into_values() {
            call.release(None);
        }
    }

    /// How often each call came since the last reset.
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().calls.clone()
    }

    /// Says that a call of the mock's own begins or ends. Rules and counts pass it over, with all of
    /// its method until it ends: a virtual worker asks the same of several workers.
    pub fn own_call(&self, begins: bool) {
        let mut state = self.state.lock();
        state.own_calls = if begins {
            state.own_calls.saturating_add(1)
        } else {
            state.own_calls.saturating_sub(1)
        };
    }

    /// What becomes of a call; `hold` makes the one that may have to wait.
    pub(super) fn judge(&self, call: Call, on: &str, hold: impl FnOnce() -> HeldCall) -> Verdict {
        let mut state = self.state.lock();
        if state.own_calls > 0 && call == Call::Method(method::name(OWN_CALL)) {
            return Verdict::Pass;
        }
        *state.calls.entry(call.name()).or_default() += 1;
        let fits =
            |rule: &Rule| rule.call == call && rule.on.as_deref().is_none_or(|wanted| wanted == on);
        let found = state.rules.iter().find(|(_, rule)| fits(rule)).map(|(id, _)| *id);
        let Some((id, mut rule)) = found.and_then(|id| state.rules.remove_entry(&id)) else {
            return Verdict::Pass;
        };
        match rule.action {
            Action::Hold(arrived) => {
                state.held.insert(id, hold());
                drop(state);
                arrived();
                Verdict::Held
            }
            Action::Fail(ref failure) => {
                let failure = failure.clone();
                rule.times = rule.times.map(|times| times.saturating_sub(1));
                if rule.times != Some(0) {
                    state.rules.insert(id, rule);
                }
                Verdict::Fail(failure)
            }
        }
    }
}

impl HeldCall {
    /// The worker may be gone meanwhile, and then nobody waits for the answer.
    fn release(self, failure: Option<Failure>) {
        let order = match (self.request, failure) {
            (None, None) => Control::Start,
            (None, Some(failure)) => Control::FailStart(failure),
            (Some((_, message)), None) => Control::Handle(message),
            (Some((id, _)), Some(failure)) => Control::Emit(vec![failure.answer(id)]),
        };
        let _ = self.worker.send(order);
    }
}

impl Failure {
    /// The answer to the request with that id.
    pub(super) fn answer(&self, id: u32) -> Message {
        compose::refused(id, self.kind, &self.message)
    }
}

/// What the JS side asks to know that all before it has arrived.
const OWN_CALL: Method = Method::WorkerGetResourceUsage;

/// All mock connections of one core.
#[derive(Clone, Default)]
pub struct Mocks {
    pub rules: MockRules,
    handles: Arc<Mutex<Vec<MockHandle>>>,
}

impl Mocks {
    pub fn add(&self, handle: MockHandle) {
        let mut handles = self.handles.lock();
        handles.retain(|other| !other.is_closed());
        handles.push(handle);
    }

    /// Those that are open.
    pub fn all(&self) -> Vec<MockHandle> {
        self.handles.lock().iter().filter(|handle| !handle.is_closed()).cloned().collect()
    }
}
