//! Stats for the app's JS, put together on the core's own thread.

use napi::{
    Status,
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use serde::Deserialize;

use super::answer;
use crate::{
    core::{Core, observe::Wanted},
    monitor::metrics,
};

/// JSON text in, once. It keeps the process alive until then. A promise of napi's own would borrow
/// the core meanwhile, and nobody could close it.
pub type StatsFunction = ThreadsafeFunction<String, (), String, Status, false, false>;

/// What JS asks for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    objects: bool,
    bitrates: bool,
    /// Metrics instead of JSON.
    metrics: bool,
}

/// Whoever waits. Dropped, it hears that the core is closed.
struct Reply(Option<StatsFunction>);

impl Reply {
    fn tell(mut self, text: String) {
        self.call(text);
    }

    fn call(&mut self, text: String) {
        if let Some(function) = self.0.take() {
            function.call(text, ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.call(answer::<(), _>(Err(super::CLOSED)));
    }
}

/// Tells the stats as soon as they are there.
pub fn tell(core: Option<&Core>, asked: &str, function: StatsFunction) {
    let reply = Reply(Some(function));
    let Some(core) = core else { return };
    let Asked { objects, bitrates, metrics } = match serde_json::from_str(asked) {
        Ok(asked) => asked,
        Err(error) => return reply.tell(answer::<(), _>(Err(format!("stats: {error}")))),
    };
    let stats = core.stats_later(Wanted { objects, bitrates });
    core.handle().spawn(async move {
        let stats = stats.await;
        reply.tell(if metrics {
            answer(metrics::page(&stats).map_err(|error| format!("metrics: {error}")))
        } else {
            answer::<_, String>(Ok(stats))
        });
    });
}
