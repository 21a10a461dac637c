//! Events for the app's JS, in batches.

use napi::{
    Status,
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use tokio::sync::oneshot;

use super::to_json;
use crate::monitor::EventStream;

/// JSON text in. Weak: it keeps no process alive that has nothing else to do.
pub type EventFunction = ThreadsafeFunction<String, (), String, Status, false, true>;

/// Hands over every event. One batch at a time: what the app's thread has no time for waits in the
/// stream, which is bounded.
pub async fn tell(mut events: EventStream, function: EventFunction) {
    loop {
        let batch = to_json(&events.next().await);
        let (taken, done) = oneshot::channel();
        let called = function.call_with_return_value(
            batch,
            ThreadsafeFunctionCallMode::NonBlocking,
            move |_, _| {
                // The core may be closed by now.
                let _ = taken.send(());
                Ok(())
            },
        );
        if called != Status::Ok || done.await.is_err() {
            return;
        }
    }
}
