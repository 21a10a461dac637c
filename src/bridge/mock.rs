//! What tests may ask of the mock connections of a core.

use napi::{
    Status,
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use napi_derive::napi;
use serde::Deserialize;
use serde_json::Value;

use super::{CLOSED, NativeCore, answer, to_json};
use crate::{
    channel::{compose::ErrorKind, method},
    connection::{
        Exit,
        mock::{Action, CREATE_WORKER, Call, Failure, MockHandle, Rule},
    },
    core::Home,
    mock_worker::EventError,
};

/// Hears that a held call has come. Weak: it keeps no process alive that has nothing else to do.
pub type ArrivedFunction = ThreadsafeFunction<(), (), (), Status, false, true>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventRequest {
    id: String,
    /// Where the object is one of a transport's.
    transport: Option<String>,
    event: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleRequest {
    method: String,
    on: Option<String>,
    times: Option<u32>,
    /// Without it, the call is held.
    failure: Option<FailureRequest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailureRequest {
    name: String,
    message: String,
}

impl From<FailureRequest> for Failure {
    fn from(FailureRequest { name, message }: FailureRequest) -> Self {
        let kind = match name.as_str() {
            "TypeError" => ErrorKind::TypeError,
            "NotFoundError" => ErrorKind::NotFoundError,
            _ => ErrorKind::Error,
        };
        Self { kind, message }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KillRequest {
    pid: u32,
    code: Option<i32>,
    signal: Option<i32>,
}

fn parse<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{what}: {error}"))
}

#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands over owned strings")]
impl NativeCore {
    /// Lets an event happen on an object. JSON in: `{id, transport, event: {event, payload}}`.
    #[napi(catch_unwind)]
    pub fn mock_event(&self, request: String) -> String {
        answer(self.try_mock_event(&request))
    }

    fn try_mock_event(&self, request: &str) -> Result<bool, String> {
        let EventRequest { id, transport, event } = parse("event", request)?;
        let transport = transport.as_deref();
        let mocks = self.options.mocks.all();
        let mock = mocks.iter().find(|mock| mock.has_in(&id, transport));
        let mock = mock.ok_or_else(|| EventError::UnknownObject(id.clone()).to_string())?;
        mock.happen(&id, transport, event).map_err(|error| error.to_string())?;
        Ok(true)
    }

    /// Adds a rule for calls to come. JSON in: `{method, on, times, failure}`. JSON out: its id.
    #[napi(catch_unwind)]
    pub fn mock_rule(&self, request: String, arrived: Option<ArrivedFunction>) -> String {
        answer(self.try_mock_rule(&request, arrived))
    }

    fn try_mock_rule(
        &self,
        request: &str,
        arrived: Option<ArrivedFunction>,
    ) -> Result<u32, String> {
        let request: RuleRequest = parse("rule", request)?;
        let call = Call::parse(&request.method).map_err(|error| error.to_string())?;
        let action = match request.failure {
            Some(failure) => Action::Fail(failure.into()),
            None => Action::Hold(Box::new(move || {
                if let Some(arrived) = arrived {
                    // An app that is about to end need not know.
                    let _ = arrived.call((), ThreadsafeFunctionCallMode::NonBlocking);
                }
            })),
        };
        let rule = Rule { call, on: request.on, times: request.times, action };
        Ok(self.options.mocks.rules.add(rule))
    }

    /// Ends a rule and lets go the call that it holds, which then fails if there is a failure
    /// (JSON). JSON out: whether the rule or its call was still there.
    #[napi(catch_unwind)]
    pub fn mock_end_rule(&self, id: u32, failure: Option<String>) -> String {
        let failure = failure.map(|text| parse::<FailureRequest>("failure", &text)).transpose();
        answer(failure.map(|failure| self.options.mocks.rules.end(id, failure.map(Failure::from))))
    }

    /// Ends all rules, lets go all calls that are held, and forgets what calls came.
    #[napi(catch_unwind)]
    pub fn mock_reset(&self) {
        self.options.mocks.rules.reset();
    }

    /// JSON out: how often each call came.
    #[napi(catch_unwind)]
    pub fn mock_calls(&self) -> String {
        to_json(&self.options.mocks.rules.calls())
    }

    /// Ends the mock worker that the Worker with that pid began with. JSON in: `{pid, code, signal}`.
    #[napi(catch_unwind)]
    pub fn mock_kill(&self, request: String) -> String {
        answer(self.try_mock_kill(&request))
    }

    fn try_mock_kill(&self, request: &str) -> Result<bool, String> {
        let KillRequest { pid, code, signal } = parse("kill", request)?;
        let exit = match (code, signal) {
            (Some(code), None) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            _ => return Err("kill: either a code or a signal is needed".to_owned()),
        };
        let (mock, worker) = self.mock_of(pid)?;
        Ok(mock.kill(worker, exit))
    }

    /// Says that a `worker.getResourceUsage` of the mock's own begins or ends.
    #[napi(catch_unwind)]
    pub fn mock_own_call(&self, begins: bool) {
        self.options.mocks.rules.own_call(begins);
    }

    fn mock_of(&self, pid: u32) -> Result<(MockHandle, u32), String> {
        let core = self.core.as_ref().ok_or(CLOSED)?;
        let Home { connection, worker } =
            core.home_of(pid).ok_or_else(|| format!("no Worker with the pid {pid} lives here"))?;
        let mocks = self.options.mocks.all();
        let mock = mocks.into_iter().find(|mock| mock.name() == connection);
        let mock = mock.ok_or_else(|| format!("{connection} is no mock connection"))?;
        Ok((mock, worker))
    }

    /// JSON out: every call that rules can be for.
    #[napi(catch_unwind)]
    pub fn mock_methods(&self) -> String {
        let methods = method::all().map(method::name);
        to_json(&std::iter::once(CREATE_WORKER).chain(methods).collect::<Vec<_>>())
    }
}
