//! The objects that the app has on a virtual worker: which part each lives on, and the tree that
//! closes follow.

use std::collections::HashMap;

/// One real worker behind a virtual worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(pub u32);

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    WebRtcServer,
    Router,
    Transport,
    RtpObserver,
    Producer,
    Consumer,
    DataProducer,
    DataConsumer,
}

impl ObjectKind {
    /// What mediasoup calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebRtcServer => "WebRtcServer",
            Self::Router => "Router",
            Self::Transport => "Transport",
            Self::RtpObserver => "RtpObserver",
            Self::Producer => "Producer",
            Self::Consumer => "Consumer",
            Self::DataProducer => "DataProducer",
            Self::DataConsumer => "DataConsumer",
        }
    }
}

/// One object of the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub kind: ObjectKind,
    /// The part that owns it.
    pub part: PartId,
    /// What it closes with: a transport's Router, a Producer's transport.
    pub parent: Option<String>,
    /// What else ends it: a transport's `WebRtcServer`.
    pub server: Option<String>,
    /// What kind of transport it is.
    pub transport: Option<&'static str>,
    /// A worker has made it: those who watch know of it.
    pub told: bool,
}

/// All objects of one virtual worker by id. Ids are unique in it, as they are in a worker.
#[derive(Debug, Default)]
pub struct Objects {
    by_id: HashMap<String, Object>,
    children: HashMap<String, Vec<String>>,
}

impl Objects {
    pub fn get(&self, id: &str) -> Option<&Object> {
        self.by_id.get(id)
    }

    /// All objects with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Object)> {
        self.by_id.iter().map(|(id, object)| (id.as_str(), object))
    }

    /// Notes that a worker has made it. False if that was known, or there is none.
    pub fn tell(&mut self, id: &str) -> bool {
        let object = self.by_id.get_mut(id);
        object.is_some_and(|object| !std::mem::replace(&mut object.told, true))
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many objects of that kind there are.
    pub fn count(&self, kind: ObjectKind) -> usize {
        self.of_kind(kind).count()
    }

    /// The ids of all objects of that kind.
    pub fn of_kind(&self, kind: ObjectKind) -> impl Iterator<Item = &str> {
        self.by_id.iter().filter(move |(_, object)| object.kind == kind).map(|(id, _)| id.as_str())
    }

    /// Adds an object. False, and nothing changes, if the id is taken.
    pub fn insert(&mut self, id: &str, object: Object) -> bool {
        if self.by_id.contains_key(id) {
            return false;
        }
        for owner in [&object.parent, &object.server].into_iter().flatten() {
            self.children.entry(owner.clone()).or_default().push(id.to_owned());
        }
        self.by_id.insert(id.to_owned(), object);
        true
    }

    /// One object belongs to another part from now on.
    pub fn move_one(&mut self, id: &str, to: PartId) {
        if let Some(object) = self.by_id.get_mut(id) {
            object.part = to;
        }
    }

    /// All objects of one part.
    pub fn on(&self, part: PartId) -> Vec<String> {
        let on = self.by_id.iter().filter(|(_, object)| object.part == part);
        on.map(|(id, _)| id.clone()).collect()
    }

    /// Whether any object is on that part.
    pub fn any_on(&self, part: PartId) -> bool {
        self.by_id.values().any(|object| object.part == part)
    }

    /// The Router that an object is in: itself, its parent's or that one's. No further: a library
    /// that gives one id twice can make a circle.
    pub fn router_of(&self, id: &str) -> Option<&str> {
        let (mut id, mut object) = self.by_id.get_key_value(id)?;
        for _ in 0..2 {
            if object.kind == ObjectKind::Router {
                break;
            }
            (id, object) = self.by_id.get_key_value(object.parent.as_deref()?)?;
        }
        (object.kind == ObjectKind::Router).then_some(id)
    }

    /// Removes an object and all that closes with it. Returns every removed object, parents first.
    pub fn remove(&mut self, id: &str) -> Vec<(String, Object)> {
        let mut removed = Vec::new();
        let mut queue = vec![id.to_owned()];
        while let Some(id) = queue.pop() {
            let Some(object) = self.by_id.remove(&id) else { continue };
            queue.extend(self.children.remove(&id).unwrap_or_default());
            for owner in [&object.parent, &object.server].into_iter().flatten() {
                if let Some(siblings) = self.children.get_mut(owner) {
                    siblings.retain(|sibling| *sibling != id);
                    if siblings.is_empty() {
                        self.children.remove(owner);
                    }
                }
            }
            removed.push((id, object));
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: ObjectKind, parent: Option<&str>) -> Object {
        Object {
            kind,
            part: PartId(0),
            parent: parent.map(str::to_owned),
            server: None,
            transport: None,
            told: false,
        }
    }

    #[test]
    fn closing_takes_the_tree_along() {
        let mut objects = Objects::default();
        assert!(objects.insert("router", object(ObjectKind::Router, None)));
        assert!(objects.insert("server", object(ObjectKind::WebRtcServer, None)));
        let transport = Object {
            server: Some("server".to_owned()),
            ..object(ObjectKind::Transport, Some("router"))
        };
        assert!(objects.insert("transport", transport));
        assert!(!objects.insert("transport", object(ObjectKind::Router, None)));
        assert!(objects.insert("producer", object(ObjectKind::Producer, Some("transport"))));
        let removed: Vec<_> = objects.remove("server").into_iter().map(|(id, _)| id).collect();
        assert_eq!(removed, ["server", "transport", "producer"]);
        assert_eq!(objects.len(), 1);
        assert_eq!(objects.remove("router").len(), 1);
        assert!(objects.is_empty() && objects.children.is_empty());
    }

    #[test]
    fn a_circle_is_in_no_router() {
        let mut objects = Objects::default();
        assert!(objects.insert("a", object(ObjectKind::Transport, Some("b"))));
        assert!(objects.insert("b", object(ObjectKind::Producer, Some("a"))));
        assert_eq!(objects.router_of("a"), None);
        assert!(objects.insert("router", object(ObjectKind::Router, None)));
        assert!(objects.insert("transport", object(ObjectKind::Transport, Some("router"))));
        assert!(objects.insert("producer", object(ObjectKind::Producer, Some("transport"))));
        for id in ["router", "transport", "producer"] {
            assert_eq!(objects.router_of(id), Some("router"));
        }
        assert_eq!(objects.remove("a").len(), 2);
    }
}
