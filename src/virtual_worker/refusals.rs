//! Answers of the core's own to what goes to no worker.

use super::Output;
use crate::channel::compose::{self, ErrorKind};

pub fn refuse(library_id: u32, reason: &str, out: &mut Vec<Output>) {
    refuse_as(ErrorKind::Error, library_id, reason, out);
}

pub fn refuse_as(kind: ErrorKind, library_id: u32, reason: &str, out: &mut Vec<Output>) {
    let answer = compose::refused(library_id, kind, reason);
    out.push(Output::Library(answer.into_bytes().freeze()));
}

/// A message that no worker survives gets an answer of ours where its id can still be read.
pub fn refuse_malformed(id: Option<u32>, why: &str, out: &mut Vec<Output>) {
    out.push(Output::Diagnostic(format!("refused a message of the app: {why}")));
    if let Some(id) = id {
        let answer = compose::refused(id, ErrorKind::TypeError, why);
        out.push(Output::Library(answer.into_bytes().freeze()));
    }
}
