//! What people are told of their connections and of what lives on them.

pub mod events;
pub mod metrics;
pub mod page;
pub mod stats;
mod tally;

pub use events::{Event, EventSink, EventStream, Kind, Object, Reason};
pub use tally::Tally;
