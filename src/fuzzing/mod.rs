//! Entry points for fuzzers: one function a target, which takes any bytes and panics where a
//! promise about hostile input is broken. `cargo nextest` runs them on damaged and random input,
//! `scripts/fuzz` by libFuzzer.

mod admin;
mod channel;
mod handshake;
mod local;
mod program;
mod shared_worker;
mod virtual_worker;
mod wire;

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;

pub use self::{
    admin::admin_lines,
    channel::{channel_framing, channel_message},
    handshake::{handshake_answer, handshake_request, handshake_texts},
    local::{private_files, stub_messages, worker_arguments},
    program::step,
    shared_worker::shared_worker,
    virtual_worker::virtual_worker,
    wire::wire_frames,
};

/// What a fuzzer calls.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 12] = [
    ("channel_framing", channel_framing),
    ("channel_message", channel_message),
    ("wire_frames", wire_frames),
    ("handshake_request", handshake_request),
    ("handshake_answer", handshake_answer),
    ("handshake_texts", handshake_texts),
    ("stub_messages", stub_messages),
    ("admin_lines", admin_lines),
    ("private_files", private_files),
    ("worker_arguments", worker_arguments),
    ("virtual_worker", virtual_worker),
    ("shared_worker", shared_worker),
];
