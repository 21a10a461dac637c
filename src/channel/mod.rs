//! See the architecture page.

pub mod framing;
