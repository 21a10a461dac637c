//! The app's own function for placement, which runs on the thread of its JS.

use napi::{
    Status,
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use tokio::sync::oneshot;

use crate::{connection::BoxFuture, core::rules::Chooser};

/// JSON text in, JSON text out. Weak: it keeps no process alive that has nothing else to do.
pub type PlacementFunction = ThreadsafeFunction<String, String, String, Status, false, true>;

/// It, for the core.
pub struct AppFunction(pub PlacementFunction);

impl Chooser for AppFunction {
    fn choose(&self, question: String) -> BoxFuture<'static, Result<String, String>> {
        let (reply, answer) = oneshot::channel();
        let asked = self.0.call_with_return_value(
            question,
            ThreadsafeFunctionCallMode::NonBlocking,
            move |result, _| {
                // Nobody may wait any more.
                let _ = reply.send(result.map_err(|error| error.to_string()));
                Ok(())
            },
        );
        Box::pin(async move {
            if asked != Status::Ok {
                return Err(format!("it cannot be called: {asked}"));
            }
            answer.await.unwrap_or_else(|_| Err("it was not called any more".to_owned()))
        })
    }

    fn warn(&self, why: &str) {
        let text = serde_json::json!({ "warning": why }).to_string();
        // An app that is about to end needs no warning.
        let _ = self.0.call(text, ThreadsafeFunctionCallMode::NonBlocking);
    }
}
