//! The channel protocol of mediasoup-worker as Rust types, generated from the installed mediasoup
//! package, and what identifies it. A crate of its own so that it compiles once.

/// Typed views, owned types and builders, one module per schema file.
#[allow(
    warnings,
    clippy::all,
    clippy::pedantic,
    reason = "generated code; it is not ours to polish"
)]
mod views {
    include!(concat!(env!("OUT_DIR"), "/views.rs"));
}

pub use planus;
pub use views::fbs;

include!(concat!(env!("OUT_DIR"), "/identity.rs"));

/// What a field of a table holds. Numbers index [`TYPES`] and [`UNIONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    /// A plain number of this many bytes.
    Scalar(usize),
    /// A one-byte enum whose values run without holes.
    Enum {
        first: u8,
        last: u8,
    },
    String,
    Table(usize),
    Union(usize),
    Vector(&'static Kind),
}

/// One field of a table: its slot in the vtable and what may stand there.
#[derive(Debug, Clone, Copy)]
pub struct FieldTable {
    pub name: &'static str,
    pub slot: usize,
    pub required: bool,
    pub kind: Kind,
}

/// One table of the schema.
#[derive(Debug, Clone, Copy)]
pub struct TypeTable {
    pub name: &'static str,
    pub fields: &'static [FieldTable],
}

/// Every table of the schema by index, and the members of every union by tag (tag 1 first).
pub mod tables {
    use super::{FieldTable, Kind, TypeTable};
    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}
