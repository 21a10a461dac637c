//! Worker programs that say what a test made up: on stdout's channel, fd 4, after the first bytes
//! of a request have come.

#![allow(dead_code, clippy::unwrap_used, reason = "not every test uses all of it")]

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use mediasoup_horizontal::channel::{
    Message, compose,
    fbs::{log, message},
    method::{Event, Method},
};
use tempfile::TempDir;

/// What the program does once it has said everything.
#[derive(Debug, Clone, Copy)]
pub enum Then {
    /// Reads its channel to the end.
    Stay,
    /// Closes its output first.
    CloseOutput,
    /// Reads nothing more and ignores whoever asks it to end.
    Hang,
    /// Writes 64 MiB each to stdout and stderr, without a newline, and ends with code 4.
    Flood,
    /// Says it again and again.
    Repeat,
    /// Ends with code 3.
    Exit,
}

impl Then {
    fn script(self) -> &'static str {
        match self {
            Self::Stay => "exec cat <&3 >/dev/null",
            Self::CloseOutput => "exec 4>&-; exec cat <&3 >/dev/null",
            Self::Hang => "trap '' TERM INT HUP; while :; do sleep 1; done",
            Self::Flood => "head -c 67108864 /dev/zero; head -c 67108864 /dev/zero >&2; exit 4",
            Self::Repeat => "while :; do cat \"${0%/*}/said\" >&4 || exit; done",
            Self::Exit => "exit 3",
        }
    }
}

/// A program that lives as long as this value.
pub struct Spewing(TempDir);

impl Spewing {
    pub fn new(said: &[u8], then: Then) -> Self {
        let folder = TempDir::new().unwrap();
        let (program, file) = (folder.path().join("worker"), folder.path().join("said"));
        fs::write(file, said).unwrap();
        let text = format!(
            "#!/bin/sh\nhead -c 4 <&3 >/dev/null\ncat \"${{0%/*}}/said\" >&4\n{}\n",
            then.script()
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub fn program(&self) -> PathBuf {
        self.0.path().join("worker")
    }
}

/// Bytes that look like nothing, the same each time.
pub fn random(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    })
    .take(length)
    .collect()
}

/// The beginning of a message of 4 GB.
pub fn huge_prefix() -> Vec<u8> {
    [&u32::MAX.to_le_bytes()[..], &[1; 1000]].concat()
}

fn bytes(message: Message) -> Vec<u8> {
    message.into_bytes().to_vec()
}

/// An answer to that request of the core.
pub fn answer(id: u32) -> Vec<u8> {
    bytes(compose::accepted(id, None))
}

/// A log line of a megabyte.
pub fn large_log() -> Vec<u8> {
    let data = format!("D{}", "x".repeat(1024 * 1024));
    bytes(compose::compose(message::Body::Log(Box::new(log::Log { data }))))
}

/// Whole messages that nobody can use, each with a part of what is told of it.
pub fn nonsense() -> Vec<(Vec<u8>, &'static str)> {
    let zeros = [&64_u32.to_le_bytes()[..], &[0; 64]].concat();
    let ones = [&64_u32.to_le_bytes()[..], &[0xff; 64]].concat();
    let mut cut = answer(1);
    let length = cut.len() - 4;
    cut.truncate(length);
    cut[..4].copy_from_slice(&u32::try_from(length - 4).unwrap().to_le_bytes());
    let notification = |id: &str, event| bytes(compose::notification(id, event, None));
    vec![
        (zeros, "dropped a message of a worker"),
        (ones, "dropped a message of a worker"),
        (cut, "dropped a message of a worker"),
        (answer(99), "an answer to request 99 that nobody waits for"),
        (answer(1), "an answer to request 1 that nobody waits for"),
        (
            bytes(compose::request(1, Method::WorkerDump, "", None)),
            "dropped a request that came from a worker",
        ),
        (notification("nobody", Event::ConsumerProducerClose), ""),
        (notification("nobody", Event::ProducerScore), ""),
    ]
}
