//! Which real workers of a core run where, and who may share them.

mod driver;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};

use self::driver::{Attach, Driver, Ends, Users};
use crate::{
    addresses::HostAddresses,
    connection::{Connection, LINK_LIMIT, SpawnError, SpawnRequest, WorkerLink},
    queue,
};

/// How many virtual workers may ask for the same worker at once.
const ATTACHES: usize = 64;

/// A virtual worker, as one that may have several parts but no two on the same real worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(u64);

/// A real worker and the way to its driver.
struct Shared {
    connection: String,
    request: SpawnRequest,
    pid: u32,
    addresses: HostAddresses,
    users: Arc<Mutex<Users>>,
    attaches: mpsc::Sender<Attach>,
}

#[derive(Default)]
struct Workers {
    running: Vec<Arc<Shared>>,
    /// Those that are being started, by connection and settings.
    starting: Vec<(String, SpawnRequest)>,
}

/// The real workers of a core.
#[derive(Clone, Default)]
pub struct Sharing {
    workers: Arc<Mutex<Workers>>,
    /// Turns whenever a worker came, or did not come.
    changed: Arc<watch::Sender<()>>,
    /// The most real workers of this core on one host; else as many as this one has cores, and as
    /// any other takes.
    per_host: Option<usize>,
    owners: Arc<AtomicU64>,
}

/// Somebody who looks for a worker of their own, or else for a share of one.
#[derive(Clone, Copy)]
pub struct Seeker<'a> {
    sharing: &'a Sharing,
    owner: Owner,
    limited: bool,
}

/// A worker that is being started. Dropped, it is not.
pub struct Starting<'a> {
    seeker: Seeker<'a>,
    connection: String,
    request: &'a SpawnRequest,
}

impl Sharing {
    /// At most so many real workers on one host.
    #[must_use]
    pub fn with_limit(per_host: Option<usize>) -> Self {
        Self { per_host, ..Self::default() }
    }

    /// A name for a new virtual worker.
    pub fn owner(&self) -> Owner {
        Owner(self.owners.fetch_add(1, Ordering::Relaxed))
    }

    /// Looks for a worker for that virtual worker.
    pub fn seeker(&self, owner: Owner) -> Seeker<'_> {
        Seeker { sharing: self, owner, limited: true }
    }

    fn candidates(&self, connection: &str, request: &SpawnRequest, owner: Owner) -> Candidates {
        let workers = self.workers.lock();
        let fits = |shared: &&Arc<Shared>| {
            let users = shared.users.lock();
            let may = !users.closed && !users.owners.contains(&owner);
            may && shared.connection == connection && shared.request == *request
        };
        let mut running: Vec<_> = workers.running.iter().filter(fits).cloned().collect();
        running.sort_by_key(|shared| shared.users.lock().owners.len());
        let starting =
            workers.starting.iter().any(|(of, other)| of == connection && other == request);
        Candidates { running, starting }
    }
}

struct Candidates {
    /// Least used first.
    running: Vec<Arc<Shared>>,
    /// Another one may be there soon.
    starting: bool,
}

impl<'a> Seeker<'a> {
    /// The same without a limit of our own.
    #[must_use]
    pub fn unlimited(self) -> Self {
        Self { limited: false, ..self }
    }

    /// Notes that a worker is being started, if this core may have one more there.
    /// `None` for one that can never be shared: an app's own binary may be anything.
    pub fn begin(
        self,
        connection: &dyn Connection,
        request: &'a SpawnRequest,
    ) -> Result<Option<Starting<'a>>, SpawnError> {
        if request.worker_bin.is_some() {
            return Ok(None);
        }
        // Others refuse by themselves what they have no room for.
        let cores = || {
            let load = connection.load().filter(|_| connection.is_local());
            load.map(|load| load.max_workers)
        };
        let limit = if self.limited { self.sharing.per_host.or_else(cores) } else { None };
        let name = connection.name();
        let mut workers = self.sharing.workers.lock();
        let running = workers.running.iter().filter(|shared| shared.connection == name).count();
        let starting = workers.starting.iter().filter(|(of, _)| *of == name).count();
        if let Some(limit) = limit.filter(|limit| running + starting >= *limit) {
            return Err(SpawnError::Full(format!(
                "{name} runs {} workers of this app and may run {limit}",
                running + starting
            )));
        }
        workers.starting.push((name.clone(), request.clone()));
        Ok(Some(Starting { seeker: self, connection: name, request }))
    }

    /// A share of a worker with these settings on that connection, if there is one or about to be.
    pub async fn share(
        self,
        connection: &str,
        request: &SpawnRequest,
        deadline: Instant,
    ) -> Option<WorkerLink> {
        if request.worker_bin.is_some() {
            return None;
        }
        loop {
            let mut changed = self.sharing.changed.subscribe();
            let Candidates { running, starting } =
                self.sharing.candidates(connection, request, self.owner);
            for shared in running {
                if let Some(link) = shared.attach(self.owner).await {
                    tracing::debug!(pid = shared.pid, connection, "a worker is shared");
                    return Some(link);
                }
            }
            if !starting || timeout_at(deadline, changed.changed()).await.is_err() {
                return None;
            }
        }
    }
}

impl Starting<'_> {
    /// The worker runs. Gives its first user a link to it. Must be called within a runtime.
    pub fn finish(self, link: WorkerLink) -> WorkerLink {
        let (attaches, asked) = mpsc::channel(ATTACHES);
        let owner = self.seeker.owner;
        let users = Arc::new(Mutex::new(Users { owners: vec![owner], closed: false }));
        let shared = Arc::new(Shared {
            connection: self.connection.clone(),
            request: self.request.clone(),
            pid: link.pid,
            addresses: link.addresses.clone(),
            users: Arc::clone(&users),
            attaches,
        });
        let (own, ends) = shared.link(owner);
        let workers = Arc::clone(&self.seeker.sharing.workers);
        workers.lock().running.push(Arc::clone(&shared));
        let driver = Driver::new(link, ends, asked, users);
        tokio::spawn(async move {
            driver.run().await;
            workers.lock().running.retain(|other| !Arc::ptr_eq(other, &shared));
        });
        own
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        let sharing = self.seeker.sharing;
        let mut workers = sharing.workers.lock();
        let this = |(of, request): &(String, SpawnRequest)| {
            *of == self.connection && request == self.request
        };
        if let Some(position) = workers.starting.iter().position(this) {
            workers.starting.swap_remove(position);
        }
        drop(workers);
        sharing.changed.send_replace(());
    }
}

impl Shared {
    fn link(&self, owner: Owner) -> (WorkerLink, Ends) {
        let (commands, commanded) = queue::bounded(LINK_LIMIT);
        let (events, heard) = queue::bounded(LINK_LIMIT);
        let (pid, addresses) = (self.pid, self.addresses.clone());
        let link = WorkerLink { pid, addresses, commands, events: heard };
        (link, Ends { owner, commands: commanded, events })
    }

    /// `None` if it takes no more.
    async fn attach(&self, owner: Owner) -> Option<WorkerLink> {
        // Before it is asked, so that those who ask at once are spread.
        self.users.lock().owners.push(owner);
        let (link, ends) = self.link(owner);
        let (reply, answer) = oneshot::channel();
        // A driver that is gone takes its list of users along.
        self.attaches.send(Attach { ends, reply }).await.ok()?;
        answer.await.ok()?;
        Some(link)
    }
}
