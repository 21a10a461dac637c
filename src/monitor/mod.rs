//! What people are told of their connections and of what lives on them.

pub mod metrics;
pub mod page;
pub mod stats;
mod tally;

pub use tally::Tally;
