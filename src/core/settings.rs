//! What the app's `createWorker` settings ask of a real worker, read off the stub's arguments.

use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
};

use crate::{
    SCHEMA_FINGERPRINT,
    connection::{DtlsFiles, SpawnRequest},
};

/// A PEM file is a few kilobytes; more is a mistake.
const PEM_MAX: u64 = 256 * 1024;

const CERTIFICATE: &str = "--dtlsCertificateFile=";
const PRIVATE_KEY: &str = "--dtlsPrivateKeyFile=";

/// Whether the argument names a file of this host.
pub fn names_file(arg: &str) -> bool {
    arg.starts_with(CERTIFICATE) || arg.starts_with(PRIVATE_KEY)
}

/// A file that the settings name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {setting} {path}: {source}")]
    Read { setting: &'static str, path: String, source: io::Error },
    #[error("{setting} {path} is larger than {PEM_MAX} bytes")]
    TooLarge { setting: &'static str, path: String },
    #[error("{setting} {path} is not a regular file")]
    NoFile { setting: &'static str, path: String },
}

/// Takes the two DTLS files out of the arguments, as content: they are files of this host.
pub fn spawn_request(
    version: String,
    args: Vec<String>,
    worker_bin: Option<PathBuf>,
) -> Result<SpawnRequest, SettingsError> {
    let mut dtls = DtlsFiles::default();
    let mut rest = Vec::with_capacity(args.len());
    for arg in args {
        if let Some(path) = arg.strip_prefix(CERTIFICATE) {
            dtls.certificate = Some(read("dtlsCertificateFile", path)?);
        } else if let Some(path) = arg.strip_prefix(PRIVATE_KEY) {
            dtls.private_key = Some(read("dtlsPrivateKeyFile", path)?);
        } else {
            rest.push(arg);
        }
    }
    Ok(SpawnRequest {
        version,
        fingerprint: SCHEMA_FINGERPRINT.to_owned(),
        args: rest,
        dtls,
        worker_bin,
    })
}

/// Reads on the core's one thread, so it must not wait: a pipe would hold up every Worker.
fn read(setting: &'static str, path: &str) -> Result<String, SettingsError> {
    let failed = |source| SettingsError::Read { setting, path: path.to_owned(), source };
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(SettingsError::NoFile { setting, path: path.to_owned() });
    }
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    if file.take(PEM_MAX + 1).read_to_string(&mut text).map_err(failed)? as u64 > PEM_MAX {
        return Err(SettingsError::TooLarge { setting, path: path.to_owned() });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_travel_as_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cert.pem");
        fs::write(&path, "PEM").unwrap();
        let args = vec![
            "--logLevel=debug".to_owned(),
            format!("--dtlsCertificateFile={}", path.display()),
        ];
        let request = spawn_request("3.27.1".to_owned(), args, None).unwrap();
        assert_eq!(request.args, ["--logLevel=debug"]);
        assert_eq!(request.dtls.certificate.as_deref(), Some("PEM"));
        assert_eq!(request.dtls.private_key, None);
        assert!(!format!("{request:?}").contains("PEM"), "contents stay out of logs");
    }

    #[test]
    fn a_missing_file_names_itself() {
        let args = vec!["--dtlsPrivateKeyFile=/notfound/key.pem".to_owned()];
        let error = spawn_request("3.27.1".to_owned(), args, None).unwrap_err().to_string();
        assert!(error.contains("dtlsPrivateKeyFile /notfound/key.pem"), "{error}");
    }

    #[test]
    fn only_a_file_of_a_sensible_size_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let large = dir.path().join("large");
        fs::write(&large, vec![b'x'; usize::try_from(PEM_MAX).unwrap() + 1]).unwrap();
        for (path, why) in [
            (pipe.as_path(), "is not a regular file"),
            (dir.path(), "is not a regular file"),
            (std::path::Path::new("/dev/zero"), "is not a regular file"),
            (large.as_path(), "is larger than"),
        ] {
            let args = vec![format!("--dtlsCertificateFile={}", path.display())];
            let error = spawn_request("3.27.1".to_owned(), args, None).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
