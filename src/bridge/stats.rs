//! Stats for the app's JS, put together on the core's own thread.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use napi::{Env, Task};
use serde::Deserialize;

use super::answer;
use crate::{
    core::{Core, observe::Wanted},
    monitor::metrics,
};

/// How long the core may take. It gives up by itself before that, unless its thread is held up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What JS asks for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    objects: bool,
    bitrates: bool,
    /// Metrics instead of JSON.
    metrics: bool,
}

/// Waits for stats on a thread of Node's pool.
pub struct StatsTask {
    told: Result<Receiver<String>, String>,
}

impl StatsTask {
    pub fn new(core: Option<&Core>, asked: &str) -> Self {
        Self { told: begin(core, asked) }
    }
}

fn begin(core: Option<&Core>, asked: &str) -> Result<Receiver<String>, String> {
    let core = core.ok_or(super::CLOSED)?;
    let Asked { objects, bitrates, metrics } =
        serde_json::from_str(asked).map_err(|error| format!("stats: {error}"))?;
    let stats = core.stats_later(Wanted { objects, bitrates });
    let (tell, told) = channel();
    core.handle().spawn(async move {
        let stats = stats.await;
        // The core may be closed by now.
        let _ = tell.send(if metrics {
            answer(metrics::page(&stats).map_err(|error| format!("metrics: {error}")))
        } else {
            answer::<_, String>(Ok(stats))
        });
    });
    Ok(told)
}

impl Task for StatsTask {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> napi::Result<String> {
        let told = match &self.told {
            Ok(told) => told.recv_timeout(PATIENCE).map_err(|error| match error {
                RecvTimeoutError::Disconnected => super::CLOSED.to_owned(),
                RecvTimeoutError::Timeout => format!("the core did not answer within {PATIENCE:?}"),
            }),
            Err(why) => Err(why.clone()),
        };
        Ok(told.unwrap_or_else(|why| answer::<(), _>(Err(why))))
    }

    fn resolve(&mut self, _env: Env, output: String) -> napi::Result<String> {
        Ok(output)
    }
}
