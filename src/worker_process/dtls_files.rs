//! DTLS certificate and key as private files that a worker can read.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::Environment;
use crate::connection::{DtlsFiles, SpawnError};

/// The longest PEM text. Real ones have a few thousand bytes.
const PEM_MAX: usize = 256 * 1024;

/// Files that live as long as this value.
#[derive(Debug, Default)]
pub struct DtlsFolder {
    folder: Option<PathBuf>,
    args: Vec<String>,
}

impl DtlsFolder {
    /// Writes the texts into a fresh folder that only this user can open. Without any text it
    /// makes nothing.
    pub fn write(dtls: &DtlsFiles, environment: &Environment) -> Result<Self, SpawnError> {
        let texts = [
            ("--dtlsCertificateFile", "certificate.pem", &dtls.certificate),
            ("--dtlsPrivateKeyFile", "private-key.pem", &dtls.private_key),
        ];
        let mut this = Self::default();
        for (option, name, text) in texts {
            let Some(text) = text else { continue };
            if text.len() > PEM_MAX {
                return Err(SpawnError::WrongSettings(format!(
                    "the content for {option} has {} bytes, at most {PEM_MAX} are allowed",
                    text.len()
                )));
            }
            let path = this.folder(environment)?.join(name);
            write_private(&path, text).map_err(|error| cannot_write(&path, &error))?;
            this.args.push(format!("{option}={}", path.display()));
        }
        Ok(this)
    }

    /// The arguments that name the files.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    fn folder(&mut self, environment: &Environment) -> Result<&Path, SpawnError> {
        if self.folder.is_none() {
            let parent = environment.get("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from);
            let folder = parent.join(format!("mediasoup-horizontal-{}", Uuid::new_v4()));
            DirBuilder::new()
                .mode(0o700)
                .create(&folder)
                .map_err(|error| cannot_write(&folder, &error))?;
            self.folder = Some(folder);
        }
        Ok(self.folder.as_deref().expect("it was set above"))
    }
}

impl Drop for DtlsFolder {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder
            && let Err(error) = fs::remove_dir_all(folder)
        {
            tracing::warn!(folder = %folder.display(), %error, "DTLS files were not removed");
        }
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn cannot_write(path: &Path, error: &io::Error) -> SpawnError {
    SpawnError::WrongSettings(format!(
        "the DTLS file for the worker cannot be written to {}: {error}; set TMPDIR to a folder \
         that can be written",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn environment(folder: &Path) -> Environment {
        Environment::default().with("TMPDIR", folder)
    }

    #[test]
    fn writes_private_files_and_removes_them() {
        let temporary = tempfile::tempdir().expect("a folder");
        let dtls = DtlsFiles { certificate: Some("CERT".into()), private_key: Some("KEY".into()) };
        let files = DtlsFolder::write(&dtls, &environment(temporary.path())).expect("written");
        let folder = files.folder.clone().expect("a folder was made");
        let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        let path = |at: usize| {
            let (_, path) = files.args()[at].split_once('=').expect("an option");
            PathBuf::from(path)
        };
        assert!(files.args()[0].starts_with("--dtlsCertificateFile="));
        assert!(files.args()[1].starts_with("--dtlsPrivateKeyFile="));
        assert_eq!(fs::read_to_string(path(0)).expect("read"), "CERT");
        assert_eq!(fs::read_to_string(path(1)).expect("read"), "KEY");
        assert_eq!(mode(&path(1)), 0o600);
        drop(files);
        assert!(!folder.exists());
    }

    #[test]
    fn makes_nothing_without_texts_and_one_file_for_one_text() {
        let temporary = tempfile::tempdir().expect("a folder");
        let none = DtlsFolder::write(&DtlsFiles::default(), &environment(temporary.path()));
        assert!(none.expect("nothing to do").args().is_empty());
        assert_eq!(fs::read_dir(temporary.path()).expect("read").count(), 0);
        let dtls = DtlsFiles { certificate: None, private_key: Some("KEY".into()) };
        let one = DtlsFolder::write(&dtls, &environment(temporary.path())).expect("written");
        assert_eq!(one.args().len(), 1);
    }

    #[test]
    fn says_what_went_wrong() {
        let dtls = DtlsFiles { certificate: Some("x".into()), private_key: None };
        let error = DtlsFolder::write(&dtls, &environment(Path::new("/nonexistent-folder")))
            .expect_err("no such folder");
        assert!(error.to_string().contains("set TMPDIR"), "{error}");
        let long = DtlsFiles { certificate: Some("x".repeat(PEM_MAX + 1)), private_key: None };
        let error = DtlsFolder::write(&long, &Environment::default()).expect_err("too long");
        assert!(error.to_string().contains("--dtlsCertificateFile"), "{error}");
    }
}
