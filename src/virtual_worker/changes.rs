//! What comes into being and goes among the app's objects, for those who watch.

use std::collections::HashMap;

use super::{Object, ObjectKind, PartId, VirtualWorker};

/// Why an object is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The app closed it, or what it lived in or consumed.
    Closed,
    /// The worker that it lived on is gone, and its Worker lives on.
    PartLost,
    /// Its Worker is gone.
    WorkerGone,
}

/// One object of the app is there, or is gone. Objects of the core's own are nobody's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectChange {
    pub kind: ObjectKind,
    pub id: String,
    pub part: PartId,
    /// The Router that it is in, or is.
    pub router: Option<String>,
    /// What kind of transport it is.
    pub transport: Option<&'static str>,
    /// `None`: it is new.
    pub closed: Option<CloseReason>,
}

/// The changes that nobody has taken yet, while somebody watches.
#[derive(Debug, Default)]
pub struct Changes(Option<Vec<ObjectChange>>);

impl Changes {
    fn push(&mut self, change: impl FnOnce() -> ObjectChange) {
        if let Some(list) = &mut self.0 {
            list.push(change());
        }
    }
}

impl VirtualWorker {
    /// From now on changes are noted until [`VirtualWorker::take_changes`] takes them.
    pub fn watch_objects(&mut self) {
        self.changes.0.get_or_insert_default();
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Vec<ObjectChange> {
        self.changes.0.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// A worker has made the object.
    pub(super) fn tell_new(&mut self, id: &str) {
        if !self.objects.tell(id) {
            return;
        }
        let Some(Object { kind, part, transport, .. }) = self.objects.get(id) else { return };
        let router = self.objects.router_of(id);
        self.changes.push(|| ObjectChange {
            kind: *kind,
            id: id.to_owned(),
            part: *part,
            router: router.map(str::to_owned),
            transport: *transport,
            closed: None,
        });
    }

    /// Objects are gone, parents first.
    pub(super) fn tell_gone(&mut self, removed: &[(String, Object)], reason: CloseReason) {
        if self.changes.0.is_none() {
            return;
        }
        let mut routers: HashMap<&str, &str> = HashMap::new();
        for (id, object) in removed {
            let parent = object.parent.as_deref();
            let router = match object.kind {
                ObjectKind::WebRtcServer => None,
                ObjectKind::Router => Some(id.as_str()),
                ObjectKind::Transport | ObjectKind::RtpObserver => parent,
                _ => parent.and_then(|parent| {
                    let known = routers.get(parent).copied();
                    known.or_else(|| self.objects.router_of(parent))
                }),
            };
            if let Some(router) = router {
                routers.insert(id, router);
            }
            if object.told {
                self.changes.push(|| ObjectChange {
                    kind: object.kind,
                    id: id.clone(),
                    part: object.part,
                    router: router.map(str::to_owned),
                    transport: object.transport,
                    closed: Some(reason),
                });
            }
        }
    }

    /// Whether the app has closed it.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// The virtual worker ends, and with it all that is left.
    pub fn end_objects(&mut self, reason: CloseReason) {
        let roots = [ObjectKind::Router, ObjectKind::WebRtcServer];
        let roots = roots.map(|kind| self.objects.of_kind(kind).map(str::to_owned).collect());
        for id in roots.into_iter().flat_map(|ids: Vec<String>| ids) {
            let removed = self.objects.remove(&id);
            for (id, _) in removed.iter().filter(|(_, one)| one.kind == ObjectKind::Transport) {
                self.book.forget(id);
            }
            self.tell_gone(&removed, reason);
        }
    }
}
