use std::sync::Arc;

use super::{host, ip};
use crate::addresses::{KnownTransport, TupleRegistry};

fn known(transport: &str, host_key: &str, visible: &str, port: u16) -> KnownTransport {
    KnownTransport {
        transport: transport.to_owned(),
        host: host_key.to_owned(),
        addresses: Arc::new(host(&["10.9.0.5"])),
        visible: visible.to_owned(),
        port,
        original: vec!["127.0.0.1".to_owned(), "127.0.0.1".to_owned()],
        bound: Some(ip("::ffff:10.9.0.5")),
    }
}

fn names<'a>(found: impl Iterator<Item = &'a KnownTransport>) -> Vec<&'a str> {
    found.map(|one| one.transport.as_str()).collect()
}

#[test]
fn insert_look_up_remove() {
    let mut registry = TupleRegistry::default();
    registry.insert(known("a", "x", "10.9.0.5", 1000));
    registry.insert(known("a", "x", "10.9.0.5", 1001));
    registry.insert(known("b", "y", "Media.example.org", 1000));
    assert_eq!(registry.len(), 3);
    assert_eq!(names(registry.visible_at("::ffff:10.9.0.5", 1000)), ["a"]);
    assert_eq!(names(registry.visible_at("media.EXAMPLE.org", 1000)), ["b"]);
    assert_eq!(names(registry.visible_at("10.9.0.5", 1002)), [""; 0]);
    assert_eq!(names(registry.original_at("127.0.0.1", 1000)), ["b", "a"]);
    assert_eq!(registry.get("a").unwrap().bound, Some(ip("10.9.0.5")));

    // The same socket again.
    registry.insert(known("a", "x", "203.0.113.5", 1000));
    assert_eq!(registry.len(), 3);
    assert_eq!(names(registry.visible_at("10.9.0.5", 1000)), [""; 0]);
    assert_eq!(names(registry.original_at("127.0.0.1", 1000)), ["a", "b"]);

    registry.remove("a");
    registry.remove("a");
    assert_eq!(registry.len(), 1);
    registry.remove_host("x");
    assert_eq!(registry.len(), 1);
    registry.remove_host("y");
    assert!(registry.is_empty());
    assert_eq!(format!("{registry:?}").matches("1000").count(), 0);
}

#[test]
fn bounded() {
    let mut registry = TupleRegistry::new(2);
    for port in 1..=5 {
        registry.insert(known(&port.to_string(), "x", "10.9.0.5", port));
    }
    assert_eq!(registry.len(), 2);
    assert!(registry.get("3").is_none() && registry.get("4").is_some());
    let mut none = TupleRegistry::new(0);
    none.insert(known("a", "x", "10.9.0.5", 1));
    assert!(none.is_empty());
}
