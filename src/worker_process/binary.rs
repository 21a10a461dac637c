//! Which worker binaries this host has, and of which version each is. A binary does not know its
//! own version: a manifest beside it, or who names it, tells.

use std::{
    fmt::Write,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Environment, runnable};
use crate::connection::SpawnError;

const OWN_VARIABLE: &str = "MEDIASOUP_HORIZONTAL_WORKER_BIN";
const MEDIASOUP_VARIABLE: &str = "MEDIASOUP_WORKER_BIN";
const INSTALL: &str = "npx mediasoup-horizontal worker install";

/// The name of a worker in the cache.
const BINARY: &str = "mediasoup-worker";

/// A worker binary on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerBinary {
    pub path: PathBuf,
    /// The mediasoup version that it belongs to.
    pub version: String,
    /// The fingerprint of its channel schema, where its manifest tells.
    pub schema: Option<String>,
}

/// The worker that an installed mediasoup package brought, whether or not the file is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledWorker {
    pub path: PathBuf,
    pub version: String,
}

/// Where to look besides the environment and the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BinarySources {
    /// `VERSION=PATH`, or a path with a manifest beside it. They come first.
    pub explicit: Vec<String>,
    /// Our own stub, which is never taken for a worker.
    pub stub: Option<PathBuf>,
    pub installed: Option<InstalledWorker>,
    /// The version of a binary that the environment names and nothing else tells about, as in
    /// mediasoup: the library's own. An agent has none and refuses such a binary.
    pub assumed_version: Option<String>,
}

/// The worker binaries on offer. It looks anew each time, so a worker that is installed while
/// the app runs is found.
#[derive(Debug, Clone, Default)]
pub struct Binaries {
    environment: Environment,
    sources: BinarySources,
}

/// What a file beside a worker tells of it.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    pub version: String,
    /// The fingerprint of its channel schema.
    pub schema: Option<String>,
}

/// One place that was looked at.
struct Candidate {
    place: String,
    found: Result<WorkerBinary, String>,
    /// Somebody named it on purpose: a fault is an error, not a reason to look elsewhere.
    strict: bool,
    /// The version that it would be of.
    version: Option<String>,
}

impl Binaries {
    pub fn new(environment: Environment, sources: BinarySources) -> Self {
        Self { environment, sources }
    }

    /// Every version on offer, the first binary of each.
    pub fn list(&self) -> Vec<WorkerBinary> {
        let mut binaries: Vec<WorkerBinary> = Vec::new();
        for binary in self.look().into_iter().filter_map(|candidate| candidate.found.ok()) {
            if binaries.iter().all(|known| known.version != binary.version) {
                binaries.push(binary);
            }
        }
        binaries
    }

    /// What is wrong with the binaries that were named on purpose. An agent starts with none.
    pub fn faults(&self) -> Vec<String> {
        let strict = self.look().into_iter().filter(|candidate| candidate.strict);
        strict.filter_map(Candidate::fault).collect()
    }

    /// The binary for a mediasoup version.
    pub fn find(&self, version: &str) -> Result<WorkerBinary, SpawnError> {
        let mut text = format!(
            "no mediasoup-worker of version {version} on this host; run `{INSTALL}`, or name one \
             in {OWN_VARIABLE}={version}=/path/to/{BINARY}. Looked at:"
        );
        for candidate in self.look() {
            let concerned = candidate.version.as_deref().is_none_or(|named| named == version);
            let note = match candidate.found {
                Ok(binary) if binary.version == version => return Ok(binary),
                Ok(binary) => format!("{} is of version {}", binary.path.display(), binary.version),
                Err(fault) if candidate.strict && concerned => {
                    return Err(SpawnError::NoBinary(format!("{}: {fault}", candidate.place)));
                }
                Err(fault) => fault,
            };
            write!(text, "\n- {}: {note}", candidate.place).expect("a String takes all");
        }
        Err(SpawnError::NoBinary(text))
    }

    fn look(&self) -> Vec<Candidate> {
        let mut all: Vec<_> = self
            .sources
            .explicit
            .iter()
            .map(|entry| self.named("explicit worker binary", entry))
            .collect();
        match self.environment.get(OWN_VARIABLE) {
            None => all.push(Candidate::unset(OWN_VARIABLE)),
            Some(entries) => all.extend(
                entries.to_string_lossy().split(',').map(|entry| self.named(OWN_VARIABLE, entry)),
            ),
        }
        all.push(match self.environment.get(MEDIASOUP_VARIABLE) {
            None => Candidate::unset(MEDIASOUP_VARIABLE),
            // Not strict: people set it to anything to keep mediasoup from downloading.
            Some(path) => self.candidate(MEDIASOUP_VARIABLE, Path::new(path), None, false),
        });
        all.push(match &self.sources.installed {
            None => Candidate::absent("installed mediasoup", "none is known"),
            Some(InstalledWorker { path, version }) => {
                self.candidate("installed mediasoup", path, Some(version), false)
            }
        });
        all.extend(self.cached());
        all
    }

    /// `VERSION=PATH` or a path.
    fn named(&self, place: &str, entry: &str) -> Candidate {
        match entry.trim().split_once('=') {
            Some((version, path)) if is_version(version) => {
                self.candidate(place, Path::new(path), Some(version), true)
            }
            _ => self.candidate(place, Path::new(entry.trim()), None, true),
        }
    }

    fn candidate(
        &self,
        place: &str,
        path: &Path,
        version: Option<&str>,
        strict: bool,
    ) -> Candidate {
        Candidate {
            place: place.to_owned(),
            found: self.inspect(path, version),
            strict,
            version: version.map(str::to_owned),
        }
    }

    fn inspect(&self, path: &Path, version: Option<&str>) -> Result<WorkerBinary, String> {
        let shown = path.display();
        runnable(path)
            .map_err(|errno| format!("{shown} cannot be run ({errno:?}: {})", errno.desc()))?;
        if self.sources.stub.as_deref().is_some_and(|stub| same_file(stub, path)) {
            return Err(format!("{shown} is mediasoup-horizontal's own stub, not a worker"));
        }
        let manifest = read_manifest(path)?;
        let told = manifest.as_ref().map(|manifest| manifest.version.as_str());
        if let (Some(version), Some(told)) = (version, told)
            && version != told
        {
            return Err(format!(
                "{shown} is named as version {version}, its manifest.json says {told}"
            ));
        }
        let version = version.or(told).or(self.sources.assumed_version.as_deref());
        let Some(version) = version else {
            return Err(format!(
                "nothing tells the mediasoup version of {shown}: name it as VERSION={shown} or \
                 put a manifest.json with its version beside it"
            ));
        };
        Ok(WorkerBinary {
            path: path.to_owned(),
            version: version.to_owned(),
            schema: manifest.and_then(|manifest| manifest.schema),
        })
    }

    fn cached(&self) -> Vec<Candidate> {
        let Some(root) = cache_root(&self.environment) else {
            return vec![Candidate::absent(
                "cache",
                "none of MEDIASOUP_HORIZONTAL_CACHE, XDG_CACHE_HOME and HOME is set",
            )];
        };
        let root = root.join("worker");
        let suffix = format!("-{}-{}", platform(), architecture());
        let mut versions: Vec<_> = fs::read_dir(&root)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(&suffix).map(str::to_owned))
            .filter(|version| is_version(version))
            .collect();
        versions.sort();
        if versions.is_empty() {
            let missing = format!("{} has no VERSION{suffix}", root.display());
            return vec![Candidate::absent("cache", &missing)];
        }
        let inspect = |version: &String| {
            let path = root.join(format!("{version}{suffix}")).join(BINARY);
            let mut candidate = self.candidate("cache", &path, Some(version), false);
            // The manifest is what a build writes last.
            if candidate.found.is_ok() && matches!(read_manifest(&path), Ok(None)) {
                let unfinished = format!("{} has no manifest.json beside it", path.display());
                candidate.found = Err(unfinished);
            }
            candidate
        };
        versions.iter().map(inspect).collect()
    }
}

impl Candidate {
    fn unset(variable: &str) -> Self {
        Self::absent(variable, "not set")
    }

    fn absent(place: &str, why: &str) -> Self {
        Self { place: place.to_owned(), found: Err(why.to_owned()), strict: false, version: None }
    }

    fn fault(self) -> Option<String> {
        self.found.err().map(|fault| format!("{}: {fault}", self.place))
    }
}

/// The folder for what is built or downloaded once for this user.
pub fn cache_root(environment: &Environment) -> Option<PathBuf> {
    let get = |name| environment.get(name).map(PathBuf::from);
    get("MEDIASOUP_HORIZONTAL_CACHE")
        .or_else(|| get("XDG_CACHE_HOME").map(|folder| folder.join("mediasoup-horizontal")))
        .or_else(|| get("HOME").map(|home| home.join(".cache/mediasoup-horizontal")))
}

/// What the file beside a worker tells, if there is one.
pub fn read_manifest(binary: &Path) -> Result<Option<Manifest>, String> {
    let path = binary.with_file_name("manifest.json");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| format!("{} is not a manifest of a worker: {error}", path.display()))
}

/// Dots, digits and what semantic versions add to them.
fn is_version(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && text.contains('.')
        && text.chars().all(|char| char.is_ascii_alphanumeric() || ".-+".contains(char))
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// This platform in the words of Node.js.
fn platform() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    struct Host {
        folder: TempDir,
        environment: Environment,
        sources: BinarySources,
    }

    impl Host {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let environment =
                Environment::default().with("MEDIASOUP_HORIZONTAL_CACHE", folder.path());
            Self { folder, environment, sources: BinarySources::default() }
        }

        fn file(&self, name: &str, manifest: Option<&str>) -> PathBuf {
            let path = self.folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(&path, "#!/bin/sh\n").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
            if let Some(manifest) = manifest {
                fs::write(path.with_file_name("manifest.json"), manifest).expect("written");
            }
            path
        }

        fn cache(&self, version: &str) -> PathBuf {
            let name = format!("worker/{version}-{}-{}/{BINARY}", platform(), architecture());
            self.file(&name, Some(&format!(r#"{{"version":"{version}","schema":"abc"}}"#)))
        }

        fn set(&mut self, name: &str, value: impl Into<std::ffi::OsString>) {
            self.environment = self.environment.clone().with(name, value);
        }

        fn binaries(&self) -> Binaries {
            Binaries::new(self.environment.clone(), self.sources.clone())
        }

        fn found(&self) -> PathBuf {
            self.binaries().find("3.27.1").expect("a worker").path
        }

        fn missing(&self) -> String {
            match self.binaries().find("3.27.1") {
                Err(SpawnError::NoBinary(text)) => text,
                other => panic!("must not be found, was {other:?}"),
            }
        }
    }

    #[test]
    fn looks_in_order() {
        let mut host = Host::new();
        let cached = host.cache("3.27.1");
        assert_eq!(host.found(), cached);
        let installed = host.file("installed/worker", None);
        host.sources.installed =
            Some(InstalledWorker { path: installed.clone(), version: "3.27.1".into() });
        assert_eq!(host.found(), installed);
        let mediasoup = host.file("own/worker", Some(r#"{"version":"3.27.1"}"#));
        host.set(MEDIASOUP_VARIABLE, &mediasoup);
        assert_eq!(host.found(), mediasoup);
        let named = host.file("named/worker", None);
        host.set(OWN_VARIABLE, format!("1.0.0={0},3.27.1={0}", named.display()));
        assert_eq!(host.found(), named);
        let explicit = host.file("explicit/worker", None);
        host.sources.explicit = vec![format!("3.27.1={}", explicit.display())];
        assert_eq!(host.found(), explicit);
    }

    #[test]
    fn never_takes_the_stub_for_a_worker() {
        let mut host = Host::new();
        let stub = host.file("stub", None);
        let link = host.folder.path().join("link");
        std::os::unix::fs::symlink(&stub, &link).expect("linked");
        host.set(MEDIASOUP_VARIABLE, &link);
        host.sources.stub = Some(stub);
        host.sources.assumed_version = Some("3.27.1".into());
        assert!(host.missing().contains("own stub"));
        let cached = host.cache("3.27.1");
        assert_eq!(host.found(), cached);
    }

    #[test]
    fn refuses_a_version_that_nothing_tells() {
        let mut host = Host::new();
        let path = host.file("plain/worker", None);
        host.sources.explicit = vec![path.display().to_string()];
        assert!(host.missing().contains("nothing tells the mediasoup version"));
        assert_eq!(host.binaries().faults().len(), 1);
        assert!(host.binaries().list().is_empty());
        host.sources.assumed_version = Some("3.27.1".into());
        assert_eq!(host.found(), path);
        assert!(host.binaries().faults().is_empty());
    }

    #[test]
    fn a_named_binary_that_is_broken_is_an_error() {
        let mut host = Host::new();
        let cached = host.cache("3.27.1");
        host.set(OWN_VARIABLE, "3.27.1=/nonexistent/worker");
        let text = host.missing();
        assert!(text.contains("/nonexistent/worker") && text.contains("ENOENT"), "{text}");
        host.set(OWN_VARIABLE, "3.26.0=/nonexistent/worker");
        assert_eq!(host.found(), cached, "another version's fault does not matter");
        let wrong = host.file("wrong/worker", Some(r#"{"version":"3.20.0"}"#));
        host.set(OWN_VARIABLE, format!("3.27.1={}", wrong.display()));
        assert!(host.missing().contains("manifest.json says 3.20.0"));
    }

    #[test]
    fn mediasoups_variable_may_be_set_to_anything() {
        let mut host = Host::new();
        let cached = host.cache("3.27.1");
        host.set(MEDIASOUP_VARIABLE, "skip");
        assert_eq!(host.found(), cached);
    }

    #[test]
    fn lists_several_versions_with_their_schemas() {
        let host = Host::new();
        host.cache("3.27.1");
        host.cache("3.26.0");
        let unfinished = host.cache("3.25.0");
        fs::remove_file(unfinished.with_file_name("manifest.json")).expect("removed");
        host.file("worker/3.24.0-plan9-mips/mediasoup-worker", None);
        let list = host.binaries().list();
        let told: Vec<_> =
            list.iter().map(|binary| (binary.version.as_str(), binary.schema.as_deref())).collect();
        assert_eq!(told, [("3.26.0", Some("abc")), ("3.27.1", Some("abc"))]);
    }

    #[test]
    fn says_where_it_looked_and_what_to_do() {
        let mut host = Host::new();
        host.cache("3.26.0");
        host.set(MEDIASOUP_VARIABLE, "skip");
        let text = host.missing();
        for words in
            [INSTALL, OWN_VARIABLE, MEDIASOUP_VARIABLE, "installed mediasoup", "3.26.0", "skip"]
        {
            assert!(text.contains(words), "{words} is missing in: {text}");
        }
        let nowhere = Binaries::default().find("3.27.1").expect_err("nothing is known");
        assert!(nowhere.to_string().contains("HOME"), "{nowhere}");
    }

    #[test]
    fn finds_the_cache() {
        let root = |pairs: &[(&str, &str)]| {
            let environment = pairs
                .iter()
                .fold(Environment::default(), |all, (name, value)| all.with(name, *value));
            cache_root(&environment)
        };
        assert_eq!(root(&[("HOME", "/h")]), Some("/h/.cache/mediasoup-horizontal".into()));
        assert_eq!(
            root(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]),
            Some("/x/mediasoup-horizontal".into())
        );
        assert_eq!(
            root(&[("XDG_CACHE_HOME", "/x"), ("MEDIASOUP_HORIZONTAL_CACHE", "/c")]),
            Some("/c".into())
        );
        assert_eq!(root(&[]), None);
    }
}
