//! Where an agent's admin socket is, and that it is its own.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg, OFlag};
use tokio::net::UnixListener;

/// Where the user's programs keep their sockets, on systems that say so.
const RUNTIME_FOLDER: &str = "XDG_RUNTIME_DIR";
const FOLDER: &str = "mediasoup-horizontal";
/// What anybody but the owner may do.
const OTHERS: u32 = 0o077;
/// How often another agent may take its leave while this one looks.
const ATTEMPTS: usize = 8;

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum AdminSocketError {
    #[error("the admin socket {} is another agent's", .0.display())]
    InUse(PathBuf),
    #[error("{} is there and no socket: it is not replaced by the admin socket", .0.display())]
    NoSocket(PathBuf),
    #[error("the folder {} of the admin socket is not its user's alone (mode 0700)", .0.display())]
    Shared(PathBuf),
    #[error("cannot open the admin socket {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// An admin socket that listens. Dropped, it is gone.
#[derive(Debug)]
pub struct AdminSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Held while the socket is ours: a system that ends a process lets go of it.
    _lock: Lock,
}

#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _held: Flock<File>,
}

/// Where the admin socket of an agent that listens on that port may be, the best place first.
pub fn default_paths(port: u16) -> Vec<PathBuf> {
    let runtime = env::var_os(RUNTIME_FOLDER).map(PathBuf::from).filter(|path| path.is_absolute());
    let private = format!("{FOLDER}-{}", nix::unistd::geteuid());
    let folders = runtime.map(|folder| folder.join(FOLDER)).into_iter();
    folders
        .chain([env::temp_dir().join(private)])
        .map(|folder| folder.join(format!("agent-{port}.sock")))
        .collect()
}

impl AdminSocket {
    /// Listens in the first place for an agent on that port that can be had. Must be called within
    /// a runtime.
    pub fn open_default(port: u16) -> Result<Self, AdminSocketError> {
        let mut result = Err(AdminSocketError::InUse(PathBuf::new()));
        for path in default_paths(port) {
            result = own_folder(&path).and_then(|()| Self::open(&path));
            // One that is taken is found there: not in the next place, where nobody looks.
            if matches!(result, Ok(_) | Err(AdminSocketError::InUse(_))) {
                break;
            }
        }
        result
    }

    /// Listens at that path. A socket that an agent left behind is replaced. Must be called within
    /// a runtime.
    pub fn open(path: &Path) -> Result<Self, AdminSocketError> {
        let failed = |error| AdminSocketError::Io { path: path.to_owned(), error };
        let lock = Lock::take(path)?;
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                fs::remove_file(path).map_err(failed)?;
            }
            Ok(_) => return Err(AdminSocketError::NoSocket(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Self { listener, path: path.to_owned(), _lock: lock };
        // Whoever was quicker is asked who they are, as everybody is.
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(socket)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // While it is locked: the next one's socket may have the same path.
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // It is let go after this, and whoever locks the file then sees that it is no longer there.
        let _ = fs::remove_file(&self.path);
    }
}

impl Lock {
    fn take(socket: &Path) -> Result<Self, AdminSocketError> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let failed = |error: io::Error| AdminSocketError::Io { path: path.clone(), error };
        for _ in 0..ATTEMPTS {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(OFlag::O_NOFOLLOW.bits())
                .open(&path)
                .map_err(failed)?;
            let held =
                Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
                    if error == nix::errno::Errno::EWOULDBLOCK {
                        AdminSocketError::InUse(socket.to_owned())
                    } else {
                        failed(error.into())
                    }
                })?;
            // An agent that took its leave meanwhile removed the file that is locked now.
            let ours = held.metadata().map_err(failed)?;
            let there = fs::symlink_metadata(&path);
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                return Ok(Self { path, _held: held });
            }
        }
        Err(AdminSocketError::InUse(socket.to_owned()))
    }
}

/// Makes the folder of a default path, or sees that nobody else may write to it.
fn own_folder(path: &Path) -> Result<(), AdminSocketError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let failed = |error| AdminSocketError::Io { path: path.to_owned(), error };
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let found = fs::symlink_metadata(folder).map_err(failed)?;
    let own = found.uid() == nix::unistd::geteuid().as_raw();
    if found.is_dir() && own && found.mode() & OTHERS == 0 {
        Ok(())
    } else {
        Err(AdminSocketError::Shared(folder.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::{fs::symlink, net::UnixStream};

    use super::*;

    #[tokio::test]
    async fn it_is_its_user_s_alone_and_gone_with_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin");
        let socket = AdminSocket::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[tokio::test]
    async fn a_stale_one_is_replaced_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin");
        // What a killed agent leaves: both files, and nobody at either.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        fs::write(folder.path().join("admin.lock"), "").unwrap();
        let first = AdminSocket::open(&path).unwrap();
        let error = AdminSocket::open(&path).unwrap_err().to_string();
        assert_eq!(error, format!("the admin socket {} is another agent's", path.display()));
        UnixStream::connect(&path).unwrap();
        drop(first);
        AdminSocket::open(&path).unwrap();
    }

    #[tokio::test]
    async fn nothing_else_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin");
        fs::write(&path, "precious").unwrap();
        let error = AdminSocket::open(&path).unwrap_err().to_string();
        assert!(error.ends_with("is there and no socket: it is not replaced by the admin socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nor is anything added");
        let missing = folder.path().join("missing/admin");
        let error = AdminSocket::open(&missing).unwrap_err().to_string();
        assert!(error.contains("missing/admin"), "{error}");
    }

    #[test]
    fn a_default_folder_that_others_may_use_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let shared = folder.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(own_folder(&shared.join("a.sock")), Err(AdminSocketError::Shared(_))));
        let link = folder.path().join("link");
        fs::set_permissions(&shared, Permissions::from_mode(0o700)).unwrap();
        symlink(&shared, &link).unwrap();
        assert!(matches!(own_folder(&link.join("a.sock")), Err(AdminSocketError::Shared(_))));
        let fresh = folder.path().join("fresh");
        own_folder(&fresh.join("a.sock")).unwrap();
        assert_eq!(fs::metadata(&fresh).unwrap().mode() & 0o777, 0o700);
        own_folder(&fresh.join("a.sock")).unwrap();
    }
}
