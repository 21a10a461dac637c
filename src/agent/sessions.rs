//! The sessions that can be resumed, by their secrets.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use rand::RngCore;
use subtle::{Choice, ConstantTimeEq};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{net::Link, session::ImpossibleNumber};

/// How many requests may wait for a session that is busy. Their callers' deadlines are the
/// handshake's.
const REQUESTS: usize = 8;

/// What resumes a session: 128 random bits that only its controller knows.
#[derive(Clone)]
pub(super) struct SessionId([u8; 16]);

impl SessionId {
    pub(super) fn random() -> Self {
        let mut bytes = [0; 16];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// As the wire has it.
    pub(super) fn reveal(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u128::from_str_radix(text, 16).ok())??;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionId")
    }
}

/// What a session tells the one who would resume it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resumable {
    /// How many of the controller's data frames have arrived.
    pub(super) received: u64,
    /// Which attempt this is: only the latest may bring its link.
    pub(super) attempt: u64,
}

/// What a session is asked.
pub(super) enum Request {
    /// The controller is back and has seen so many frames: ends an older link.
    Resume { seen: u64, reply: oneshot::Sender<Result<Resumable, ImpossibleNumber>> },
    /// The link that goes with an attempt. `done` is dropped with it.
    Attach { attempt: u64, link: Box<Link>, done: oneshot::Sender<()> },
    /// The controller wants no more of it. `done` is dropped with the session.
    End { done: oneshot::Sender<()> },
}

/// How much of what a controller calls itself is kept.
const NAME_MAX: usize = 256;

/// What an operator may know of a session.
pub(super) struct About {
    /// For logs.
    pub(super) number: u64,
    pub(super) controller: String,
    pub(super) opened: Instant,
    /// Where the controller came from last.
    peer: Mutex<IpAddr>,
    linked: AtomicBool,
}

impl About {
    pub(super) fn peer(&self) -> IpAddr {
        *self.peer.lock()
    }

    pub(super) fn came_from(&self, peer: IpAddr) {
        *self.peer.lock() = peer;
    }

    pub(super) fn is_linked(&self) -> bool {
        self.linked.load(Ordering::Relaxed)
    }

    pub(super) fn set_linked(&self, linked: bool) {
        self.linked.store(linked, Ordering::Relaxed);
    }
}

/// A session as others reach it.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) about: Arc<About>,
    pub(super) requests: mpsc::Sender<Request>,
}

#[derive(Default)]
struct Table {
    entries: Vec<(SessionId, Handle)>,
    last: u64,
}

/// The sessions of an agent.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Table>);

impl Sessions {
    /// A new session's place, and where its requests come from.
    pub(super) fn open(
        &self,
        controller: &str,
        peer: IpAddr,
    ) -> (SessionId, Handle, mpsc::Receiver<Request>) {
        let (requests, received) = mpsc::channel(REQUESTS);
        let id = SessionId::random();
        let mut table = self.0.lock();
        table.last += 1;
        let about = Arc::new(About {
            number: table.last,
            controller: controller.chars().take(NAME_MAX).collect(),
            opened: Instant::now(),
            peer: Mutex::new(peer),
            linked: AtomicBool::new(false),
        });
        let handle = Handle { about, requests };
        table.entries.push((id.clone(), handle.clone()));
        (id, handle, received)
    }

    /// The session with that secret. Takes as long whichever it is, and if it is none.
    pub(super) fn find(&self, text: &str) -> Option<Handle> {
        let wanted = SessionId::parse(text)?;
        let table = self.0.lock();
        let mut found = None;
        for (id, handle) in &table.entries {
            let same: Choice = id.0.ct_eq(&wanted.0);
            if same.into() {
                found = Some(handle);
            }
        }
        found.cloned()
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().entries.len()
    }

    pub(super) fn close(&self, number: u64) {
        self.0.lock().entries.retain(|(_, handle)| handle.about.number != number);
    }

    /// All of them, oldest first.
    pub(super) fn abouts(&self) -> Vec<Arc<About>> {
        self.0.lock().entries.iter().map(|(_, handle)| Arc::clone(&handle.about)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn finds_a_session_by_its_secret_only() {
        let sessions = Sessions::default();
        let peer = IpAddr::from([10, 0, 0, 1]);
        let (first, one, _requests) = sessions.open("app", peer);
        let (second, other, _more) = sessions.open("app", peer);
        assert_ne!(first.reveal(), second.reveal());
        assert_eq!(sessions.find(&first.reveal()).unwrap().about.number, one.about.number);
        assert_eq!(sessions.find(&second.reveal()).unwrap().about.number, other.about.number);
        let text = first.reveal();
        let end = if text.ends_with('0') { "1" } else { "0" };
        let forged = format!("{}{end}", &text[..31]);
        for wrong in [forged.as_str(), "", &text[..31], "+0000000000000000000000000000001", "1"] {
            assert!(sessions.find(wrong).is_none(), "{wrong}");
        }
        sessions.close(one.about.number);
        assert!(sessions.find(&first.reveal()).is_none());
        assert!(!format!("{first:?}").contains(&text));
    }
}
