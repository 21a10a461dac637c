//! The app's own connections: their JS is asked for workers, and tells what becomes of them.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use napi::{
    Status,
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use serde::Serialize;

use super::to_json;
use crate::connection::{SpawnRequest, user::Provider};

/// JSON text in; out comes [`TAKEN`] if file descriptors were in it and have another owner now.
/// Weak: it keeps no process alive that has nothing else to do.
pub type UserFunction = ThreadsafeFunction<String, String, String, Status, false, true>;

/// The answer by which JS takes over file descriptors.
const TAKEN: &str = "taken";

/// The app's own source of workers, as the core asks it.
pub struct UserProvider(pub UserFunction);

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Question<'a> {
    Spawn {
        id: u32,
        request: Request<'a>,
        /// File descriptors of what the worker reads from and writes to.
        input: i32,
        output: i32,
    },
    Signal {
        id: u32,
        signal: i32,
    },
    Close,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    version: &'a str,
    schema: &'a str,
    args: &'a [String],
    dtls_certificate: Option<&'a str>,
    dtls_private_key: Option<&'a str>,
}

impl UserProvider {
    fn tell(&self, question: &Question<'_>) {
        // An app that is about to end answers nothing any more.
        let _ = self.0.call(to_json(question), ThreadsafeFunctionCallMode::NonBlocking);
    }
}

impl Provider for UserProvider {
    fn spawn(&self, id: u32, request: &SpawnRequest, input: OwnedFd, output: OwnedFd) -> bool {
        let question = Question::Spawn {
            id,
            request: Request {
                version: &request.version,
                schema: &request.fingerprint,
                args: &request.args,
                dtls_certificate: request.dtls.certificate.as_deref(),
                dtls_private_key: request.dtls.private_key.as_deref(),
            },
            input: input.as_raw_fd(),
            output: output.as_raw_fd(),
        };
        let asked = self.0.call_with_return_value(
            to_json(&question),
            ThreadsafeFunctionCallMode::NonBlocking,
            move |result, _| {
                if result.is_ok_and(|answer| answer == TAKEN) {
                    // They are JS's now; in every other case they are closed here.
                    let _ = (input.into_raw_fd(), output.into_raw_fd());
                }
                Ok(())
            },
        );
        asked == Status::Ok
    }

    fn signal(&self, id: u32, signal: i32) {
        self.tell(&Question::Signal { id, signal });
    }

    fn close(&self) {
        self.tell(&Question::Close);
    }
}
