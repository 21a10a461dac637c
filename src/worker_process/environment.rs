//! The environment of this process as it was at one moment.

use std::{
    env,
    ffi::{CString, OsStr, OsString},
    fmt,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use crate::stub::protocol::{ENV_PREFIX, INSIDE_ENV};

/// mediasoup's own settings for its worker. They are applied to the worker, not passed to it.
const APPLIED: [&str; 4] = [
    "MEDIASOUP_VERSION",
    "MEDIASOUP_USE_VALGRIND",
    "MEDIASOUP_VALGRIND_BIN",
    "MEDIASOUP_VALGRIND_OPTIONS",
];

/// A copy of an environment. Reading the live one beside a Node.js thread that writes to it is
/// undefined behaviour, so take the copy on the thread that owns it (in Node.js: the JS thread).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// Copies the environment of this process.
    pub fn of_process() -> Self {
        env::vars_os().collect()
    }

    /// The value of a variable. An empty one counts as absent, as in mediasoup.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// The same environment with one variable set.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.0.retain(|(key, _)| key != name);
        self.0.push((name.into(), value.into()));
        self
    }

    /// The environment of a worker: this one without our settings and secrets.
    pub(crate) fn of_worker(&self, version: &str) -> Vec<CString> {
        let inherited = self.0.iter().filter(|(name, _)| {
            !name.as_bytes().starts_with(ENV_PREFIX.as_bytes())
                && !APPLIED.iter().any(|applied| name == applied)
        });
        let own = [("MEDIASOUP_VERSION", version), (INSIDE_ENV, "1")]
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        inherited
            .chain(&own)
            // A value with a zero byte cannot be in an environment; only a made-up one has it.
            .filter_map(|(name, value)| {
                let mut entry = name.clone().into_vec();
                entry.push(b'=');
                entry.extend_from_slice(value.as_bytes());
                CString::new(entry).ok()
            })
            .collect()
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        formatter.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_sees_neither_our_settings_nor_our_secrets() {
        let environment = Environment::default()
            .with("PATH", "/bin")
            .with("MEDIASOUP_HORIZONTAL_TOKEN", "secret")
            .with("MEDIASOUP_USE_VALGRIND", "true")
            .with("MEDIASOUP_VERSION", "1.0.0");
        let entries = environment.of_worker("3.27.1");
        let texts: Vec<_> = entries.iter().map(|entry| entry.to_string_lossy()).collect();
        assert_eq!(
            texts,
            ["PATH=/bin", "MEDIASOUP_VERSION=3.27.1", "MEDIASOUP_HORIZONTAL_WORKER=1"]
        );
        assert!(!format!("{environment:?}").contains("secret"));
    }

    #[test]
    fn an_empty_value_counts_as_absent() {
        let environment = Environment::default().with("A", "").with("B", "1").with("B", "2");
        assert_eq!(environment.get("A"), None);
        assert_eq!(environment.get("B"), Some(OsStr::new("2")));
        assert_eq!(environment.get("C"), None);
    }
}
