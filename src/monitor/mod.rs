//! What an app is told of its connections and of what lives on them.

pub mod events;

pub use events::{Event, EventSink, EventStream, Kind, Object, Reason};
