//! This host as a source of workers, from settings.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::config::{ConfigError, EXEC_IN_PLACE, Options};
use crate::{
    MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
    addresses::{HostAddresses, PortPolicy, bind_defaults, interfaces},
    compatibility::{self, Incompatibility, Offer, Ours, Theirs},
    connection::local::{LocalConnection, LocalOptions},
    wire::ProtocolRange,
    worker_process::{Binaries, BinarySources, InstalledWorker, read_manifest},
};

/// Name of the connection to this host, where it has no other.
const LOCAL: &str = "local";

/// What is told of this host as a source of workers.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalSettings {
    pub name: Option<String>,
    pub worker_bin: Option<PathBuf>,
    /// The mediasoup version of the workers.
    pub version: Option<String>,
    /// `None`: where its Worker has one part only.
    pub exec_in_place: Option<bool>,
}

impl Options {
    /// Whether the process that mediasoup spawns becomes the worker, where the environment tells.
    pub(super) fn exec_in_place(&self) -> Result<Option<bool>, ConfigError> {
        match self.variable(EXEC_IN_PLACE) {
            None => Ok(None),
            Some("0") => Ok(Some(false)),
            Some("1") => Ok(Some(true)),
            Some(other) => Err(ConfigError::ExecInPlace(other.to_owned())),
        }
    }
}

/// Makes the connection to this host.
pub fn local(options: &Options, settings: LocalSettings) -> Result<LocalConnection, ConfigError> {
    let LocalSettings { name, worker_bin, version, exec_in_place } = settings;
    let in_place = match exec_in_place {
        Some(in_place) => in_place,
        None => options.placement()?.spread.max_parts == 1,
    };
    let name = name.unwrap_or_else(|| LOCAL.to_owned());
    let version = version_of(options, &name, worker_bin.as_deref(), version)?;
    let explicit = worker_bin.map(|path| format!("{version}={}", path.display()));
    let installed = options.mediasoup_dir.as_ref().map(|dir| InstalledWorker {
        path: dir.join("worker/out/Release/mediasoup-worker"),
        version: MEDIASOUP_VERSION.to_owned(),
    });
    let environment = options.environment();
    let binaries = Binaries::new(
        environment.clone(),
        BinarySources {
            explicit: explicit.into_iter().collect(),
            stub: options.stub.clone(),
            installed,
            assumed_version: Some(MEDIASOUP_VERSION.to_owned()),
        },
    );
    Ok(LocalConnection::new(LocalOptions {
        name,
        addresses: this_host()?,
        binaries,
        version: (version != MEDIASOUP_VERSION).then_some(version),
        environment,
        max_workers: None,
        in_place,
    }))
}

/// The version of the workers, if they fit. What nothing is told of counts as the library's own.
fn version_of(
    options: &Options,
    name: &str,
    worker_bin: Option<&Path>,
    version: Option<String>,
) -> Result<String, ConfigError> {
    // A file that is broken is told when the worker is looked for.
    let told = worker_bin.and_then(|path| read_manifest(path).ok().flatten());
    let of_file = told.as_ref().map(|manifest| manifest.version.clone());
    let version = version.or(of_file).unwrap_or_else(|| MEDIASOUP_VERSION.to_owned());
    let schema = told.as_ref().and_then(|manifest| manifest.schema.as_deref());
    let who = match worker_bin {
        Some(path) => format!("the connection {name} with the worker {}", path.display()),
        None => format!("the connection {name}"),
    };
    check(options, &who, &version, schema)?;
    Ok(version)
}

/// Whether workers of that version and schema fit.
pub fn check(
    options: &Options,
    who: &str,
    version: &str,
    schema: Option<&str>,
) -> Result<(), ConfigError> {
    let ProtocolRange { min, max } = ProtocolRange::OURS;
    let ours = Ours {
        protocol: (min, max),
        version: MEDIASOUP_VERSION,
        schema: SCHEMA_FINGERPRINT,
        level: options.level()?,
    };
    let offers = [Offer { version, schema }];
    let theirs = Theirs { protocol: None, features: None, offers: &offers };
    let fits = compatibility::check(&ours, &theirs).map(|_| ());
    fits.map_err(|differences| ConfigError::Incompatible(Incompatibility::new(who, differences)))
}

/// This host as one that binds what the app names, except where pipes must reach other hosts.
pub fn this_host() -> Result<HostAddresses, ConfigError> {
    Ok(HostAddresses {
        colocated: true,
        bind: bind_defaults(&interfaces()?),
        pipe: None,
        announced: Vec::new(),
        behind_nat: false,
        port_range: None,
        port_policy: PortPolicy::Strict,
        app_seen_as: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{collections::HashMap, fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::{compatibility::Aspect, core::config::COMPATIBILITY};

    fn options(level: &str) -> Options {
        let variable = (COMPATIBILITY.to_owned(), level.to_owned());
        Options::of_environment(HashMap::from([variable]))
    }

    fn worker(folder: &Path, manifest: &str) -> PathBuf {
        let path = folder.join("mediasoup-worker");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join("manifest.json"), manifest).unwrap();
        path
    }

    fn differences(level: &str, settings: LocalSettings) -> Vec<Aspect> {
        match local(&options(level), settings) {
            Ok(_) => Vec::new(),
            Err(ConfigError::Incompatible(why)) => {
                why.differences.into_iter().map(|one| one.what).collect()
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_worker_of_another_version_is_told_by_whoever_knows() {
        let told = |version: &str| LocalSettings {
            version: Some(version.to_owned()),
            ..LocalSettings::default()
        };
        assert_eq!(differences("strict", LocalSettings::default()), []);
        assert_eq!(differences("strict", told(MEDIASOUP_VERSION)), []);
        let all = [Aspect::Version, Aspect::Schema, Aspect::Pipes];
        assert_eq!(differences("schema", told("3.19.0")), all);
        let folder = tempfile::tempdir().unwrap();
        let manifest = format!(r#"{{"version":"3.26.9","schema":"{SCHEMA_FINGERPRINT}"}}"#);
        let worker_bin = Some(worker(folder.path(), &manifest));
        let by_file = || LocalSettings { worker_bin: worker_bin.clone(), ..Default::default() };
        assert_eq!(differences("strict", by_file()), [Aspect::Version]);
        assert_eq!(differences("pipes", by_file()), []);
        let Err(wrong) = local(&options("loose"), by_file()) else { panic!("no such level") };
        assert!(wrong.to_string().contains("COMPATIBILITY=loose: it is one of strict, pipes"));
    }

    #[test]
    fn workers_start_in_place_where_the_environment_says_so() {
        let read = |value: &str| {
            let variables = [(EXEC_IN_PLACE.to_owned(), value.to_owned())];
            let options = Options::of_environment(variables.into_iter().collect());
            options.exec_in_place().map_err(|error| error.to_string())
        };
        assert_eq!(read(""), Ok(None));
        assert_eq!(read(" 0 "), Ok(Some(false)));
        assert_eq!(read("1"), Ok(Some(true)));
        assert_eq!(read("no"), Err(format!("{EXEC_IN_PLACE}=no: it is 0 or 1")));
    }
}
