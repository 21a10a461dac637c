//! See the architecture page.
