//! Reading the small files that certificates, keys and tokens are kept in.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Certificates and tokens are a few kilobytes; more is a mistake.
const LIMIT: u64 = 256 * 1024;

/// What lets users who are neither the owner nor in the group read or write a file.
const OTHERS: u32 = 0o006;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is not a regular file")]
    NoFile,
    #[error("it is larger than {LIMIT} bytes")]
    TooLarge,
    #[error("every user of this host may use it (mode {0:03o}): chmod 600 it")]
    OpenToOthers(u32),
}

/// Content of a file, and who may use it.
pub(super) struct SmallFile {
    pub(super) bytes: Vec<u8>,
    mode: u32,
}

impl SmallFile {
    /// Never waits, as opening a pipe would: this runs on the one thread that serves everybody.
    pub(super) fn read(path: &Path) -> Result<Self, FileProblem> {
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(FileProblem::NoFile);
        }
        let mut bytes = Vec::new();
        if file.take(LIMIT + 1).read_to_end(&mut bytes)? as u64 > LIMIT {
            return Err(FileProblem::TooLarge);
        }
        Ok(Self { bytes, mode: metadata.permissions().mode() & 0o777 })
    }

    /// Fails where every user of this host may read or write the file.
    pub(super) fn private(&self) -> Result<(), FileProblem> {
        if self.mode & OTHERS == 0 { Ok(()) } else { Err(FileProblem::OpenToOthers(self.mode)) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn only_a_file_of_a_sensible_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let large = folder.path().join("large");
        fs::write(&large, vec![b'x'; usize::try_from(LIMIT).unwrap() + 1]).unwrap();
        for (path, words) in [
            (pipe.as_path(), "not a regular file"),
            (folder.path(), "not a regular file"),
            (Path::new("/dev/zero"), "not a regular file"),
            (large.as_path(), "larger than"),
            (Path::new("/nonexistent"), "No such file"),
        ] {
            let problem = SmallFile::read(path).err().unwrap().to_string();
            assert!(problem.contains(words), "{}: {problem}", path.display());
        }
    }

    #[test]
    fn knows_which_files_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "secret").unwrap();
        for (mode, private) in
            [(0o600, true), (0o640, true), (0o400, true), (0o644, false), (0o602, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let file = SmallFile::read(&path).unwrap();
            assert_eq!(file.private().is_ok(), private, "{mode:o}");
            assert_eq!(file.bytes, b"secret");
        }
    }
}
