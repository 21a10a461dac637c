//! What Node.js may call. Management only: JSON text in, JSON text out. Errors that users see are
//! built in JS, because native ones are of no JS class under jest.

mod connections;
mod drain;
mod events;
mod mock;
mod placement;
mod stats;
mod user_connection;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
};

use napi_derive::napi;
use serde::{Deserialize, Serialize};

use self::{
    events::EventFunction,
    placement::{AppFunction, PlacementFunction},
    stats::StatsFunction,
};
use crate::{
    connection::user::UserConnection,
    core::{Core, Ticket, config, placement::Placement},
    monitor::EventStream,
};

/// Result of a call: exactly one of the two is not null.
#[derive(Serialize)]
struct Answer<T: Serialize> {
    ok: Option<T>,
    error: Option<String>,
}

fn answer<T: Serialize, E: std::fmt::Display>(result: Result<T, E>) -> String {
    let answer = match result {
        Ok(value) => Answer { ok: Some(value), error: None },
        Err(error) => Answer { ok: None, error: Some(error.to_string()) },
    };
    to_json(&answer)
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value)
        .unwrap_or_else(|error| format!("{{\"ok\":null,\"error\":\"{error}\"}}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TicketRequest {
    worker_bin: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureAnswer {
    ours: bool,
    message: String,
}

/// One core: the socket for stubs, the connections and their thread.
#[napi]
pub struct NativeCore {
    core: Option<Core>,
    options: config::Options,
    /// The app's own connections, by their names.
    own: HashMap<String, Weak<UserConnection>>,
    /// What happened since the start, until somebody hears it.
    events: Option<EventStream>,
}

const CLOSED: &str = "this Horizontal is closed";

#[napi]
#[allow(
    clippy::needless_pass_by_value,
    clippy::new_without_default,
    reason = "napi hands over owned strings, and only JS makes one of these"
)]
impl NativeCore {
    /// Makes one that is not started yet.
    #[napi(constructor)]
    pub fn new() -> Self {
        Self { core: None, options: config::Options::default(), own: HashMap::new(), events: None }
    }

    /// Starts the core. JSON in: the options, and the app's own function for placement. JSON out:
    /// `{ok: socket name, error}`.
    #[napi(catch_unwind)]
    pub fn start(&mut self, options: String, chooser: Option<PlacementFunction>) -> String {
        answer(self.try_start(&options, chooser))
    }

    fn try_start(
        &mut self,
        options: &str,
        chooser: Option<PlacementFunction>,
    ) -> Result<String, String> {
        self.options = serde_json::from_str(options)
            .map_err(|error| format!("options are not what the core expects: {error}"))?;
        let deadlines = self.options.deadlines().map_err(|error| error.to_string())?;
        let book = config::address_book(&self.options).map_err(|error| error.to_string())?;
        let Placement { spread, mut rules } =
            self.options.placement().map_err(|error| error.to_string())?;
        rules.chooser = chooser.map(|chooser| Arc::new(AppFunction(chooser)) as _);
        let core =
            Core::start_with(book, deadlines, spread, rules).map_err(|error| error.to_string())?;
        let socket = core.socket().to_owned();
        self.events = Some(core.events().listen());
        self.core = Some(core);
        Ok(socket)
    }

    /// Who hears of events, as JSON lists of them, from the start on. One may hear.
    #[napi(catch_unwind)]
    pub fn hear(&mut self, on_events: EventFunction) {
        if let (Some(core), Some(stream)) = (&self.core, self.events.take()) {
            core.handle().spawn(events::tell(stream, on_events));
        }
    }

    /// Removes the connection of that name and ends its workers. False if there is none.
    #[napi(catch_unwind)]
    pub fn remove(&self, name: String) -> bool {
        self.core.as_ref().is_some_and(|core| core.remove(&name))
    }

    /// JSON out: the names of all connections.
    #[napi(catch_unwind)]
    pub fn connections(&self) -> String {
        to_json(&self.core.as_ref().map(Core::connections).unwrap_or_default())
    }

    /// JSON out: the state of each connection by its name, also of those on their way into the set.
    #[napi(catch_unwind)]
    pub fn states(&self) -> String {
        let all = |core: &Core| [core.states(), core.joining_states()].concat();
        let states = self.core.as_ref().map(all).unwrap_or_default();
        let named = states.into_iter().map(|(name, state)| (name, state.name()));
        to_json(&named.collect::<BTreeMap<_, _>>())
    }

    /// Says whether anybody wants to hear of objects.
    #[napi(catch_unwind)]
    pub fn want_objects(&self, wanted: bool) {
        if let Some(core) = &self.core {
            core.events().want_objects(wanted);
        }
    }

    /// What there is now. JSON in: what is wanted, and who gets it, as JSON: `{ok: the stats, or the
    /// text of the metrics, error}`.
    #[napi(catch_unwind)]
    pub fn stats(&self, wanted: String, tell: StatsFunction) {
        stats::tell(self.core.as_ref(), &wanted, tell);
    }

    /// A ticket for the stub that is spawned next. JSON out: `{ok: ticket, error}`.
    #[napi(catch_unwind)]
    pub fn ticket(&self, request: String) -> String {
        answer(self.try_ticket(&request))
    }

    fn try_ticket(&self, request: &str) -> Result<String, String> {
        let core = self.core.as_ref().ok_or(CLOSED)?;
        let request: TicketRequest =
            serde_json::from_str(request).map_err(|error| format!("ticket: {error}"))?;
        Ok(core.issue(Ticket { worker_bin: request.worker_bin }))
    }

    /// Ends a ticket. JSON out: `{ours, message}` if its Worker could not be made, else `null`.
    #[napi(catch_unwind)]
    pub fn settle(&self, ticket: String) -> String {
        let failure = self.core.as_ref().and_then(|core| core.settle(&ticket));
        to_json(
            &failure.map(|failure| FailureAnswer { ours: failure.ours, message: failure.message }),
        )
    }

    /// The name of the connection on which the Worker with that pid lives, or an empty text.
    #[napi(catch_unwind)]
    pub fn where_is(&self, pid: u32) -> String {
        self.core.as_ref().and_then(|core| core.where_is(pid)).unwrap_or_default()
    }

    /// Why the Worker with that pid died, if that was with a host; else an empty text.
    #[napi(catch_unwind)]
    pub fn why_died(&self, pid: u32) -> String {
        self.core.as_ref().and_then(|core| core.why_died(pid)).unwrap_or_default()
    }

    /// Ends every Worker and connection. Idempotent.
    #[napi(catch_unwind)]
    pub fn close(&mut self) {
        self.events = None;
        if let Some(mut core) = self.core.take() {
            core.close();
        }
    }
}

/// JSON out: what this build is for.
#[napi(catch_unwind)]
pub fn identity() -> String {
    to_json(&serde_json::json!({
        "mediasoupVersion": crate::MEDIASOUP_VERSION,
        "schemaFingerprint": crate::SCHEMA_FINGERPRINT,
    }))
}
