//! Connections that a core means to leave: nothing new goes there, and whoever waits for it hears
//! when nothing is left.

use std::{future::Future, sync::Arc};

use tokio::{runtime::Handle, sync::watch};

use super::{Core, Inner, choice::Source};

/// What a core has on a connection.
#[derive(Default)]
pub struct Presence {
    /// Workers and further parts of Workers there, started or being started.
    workers: watch::Sender<usize>,
    leaving: watch::Sender<bool>,
}

impl Presence {
    /// Workers and further parts of Workers there, started or being started.
    pub fn workers(&self) -> usize {
        *self.workers.borrow()
    }

    /// Whether the core puts nothing new there.
    pub fn is_leaving(&self) -> bool {
        *self.leaving.borrow()
    }

    pub(super) fn enter(&self) {
        self.workers.send_modify(|workers| *workers += 1);
    }

    pub(super) fn leave(&self) {
        self.workers.send_modify(|workers| *workers = workers.saturating_sub(1));
    }

    /// Resolves with true once nothing is left, with false once the core stays after all.
    async fn ended(&self) -> bool {
        let mut workers = self.workers.subscribe();
        let mut leaving = self.leaving.subscribe();
        tokio::select! {
            biased;
            // Cancel-safe: the watch keeps its value. Its sender is here, so it does not fail.
            Ok(_) = workers.wait_for(|workers| *workers == 0) => true,
            // Cancel-safe, as above.
            _ = leaving.wait_for(|leaving| !leaving) => false,
        }
    }
}

impl Core {
    /// Puts no Worker and no part on that connection any more. What is there goes on. False if
    /// there is no connection of that name.
    pub fn drain(&self, name: &str) -> bool {
        self.inner.set_leaving(name, true)
    }

    /// Takes [`Core::drain`] back. False if there is no connection of that name.
    pub fn undrain(&self, name: &str) -> bool {
        self.inner.set_leaving(name, false)
    }

    /// How many Workers, and parts of Workers that live elsewhere, this core has on that
    /// connection. Those that are being started count.
    pub fn left(&self, name: &str) -> usize {
        self.inner.source(name).map_or(0, |source| source.presence.workers())
    }

    /// Resolves with true once nothing of this core is left on that connection; with false if the
    /// core does not leave it (any more), or there is none of that name.
    pub fn drained(&self, name: &str) -> impl Future<Output = bool> + Send + use<> {
        self.inner.drained(name)
    }
}

impl Inner {
    fn source(&self, name: &str) -> Option<Source> {
        self.sources.lock().iter().find(|source| source.connection.name() == name).cloned()
    }

    pub(super) fn drained(&self, name: &str) -> impl Future<Output = bool> + Send + use<> {
        let presence = self.source(name).map(|source| source.presence);
        async move {
            match presence {
                Some(presence) => presence.ended().await,
                None => false,
            }
        }
    }

    pub(super) fn set_leaving(&self, name: &str, leaving: bool) -> bool {
        let Some(source) = self.source(name) else { return false };
        let changed = source.presence.leaving.send_if_modified(|now| {
            let before = std::mem::replace(now, leaving);
            before != leaving
        });
        if changed {
            tracing::info!(connection = name, leaving, "drain");
            self.drains.send_replace(());
        }
        true
    }

    /// Tells whoever places transports whenever the connection's host begins to drain, or stays
    /// after all.
    pub(super) fn watch_drain(
        self: &Arc<Self>,
        mut draining: watch::Receiver<bool>,
        handle: &Handle,
    ) {
        let inner = Arc::downgrade(self);
        let watched = async move {
            while draining.changed().await.is_ok() {
                let Some(inner) = inner.upgrade() else { return };
                inner.drains.send_replace(());
            }
        };
        handle.spawn(watched);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::{
        MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
        addresses::HostAddresses,
        connection::{
            BoxFuture, Connection, DtlsFiles, Load, SpawnError, SpawnRequest, WorkerLink,
            mock::{MockConnection, MockConnectionOptions},
        },
        core::{
            choice::{self, Found, NoWorker, Place, Role},
            config::{self, Options},
        },
        virtual_worker::Spread,
    };

    fn core(names: &[&str]) -> Core {
        let book = config::address_book(&Options::default()).unwrap();
        let core = Core::start(book, Duration::from_secs(2), Spread::ONE_PART).unwrap();
        for name in names {
            let options = MockConnectionOptions { name: (*name).to_owned(), ..Default::default() };
            core.add(Arc::new(MockConnection::new(options)));
        }
        core
    }

    /// A Worker of the app: whoever has the place has it.
    async fn worker(core: &Core) -> Result<(Found, Place), NoWorker> {
        let request = SpawnRequest {
            version: MEDIASOUP_VERSION.to_owned(),
            fingerprint: SCHEMA_FINGERPRINT.to_owned(),
            args: Vec::new(),
            dtls: DtlsFiles::default(),
            worker_bin: None,
        };
        let role = Role::Home { in_place: false };
        let deadline = Instant::now() + Duration::from_secs(2);
        choice::find(&core.inner.sources(), &request, role, &core.inner.rules, 7, deadline).await
    }

    async fn where_next(core: &Core) -> (String, Place) {
        let (_, place) = worker(core).await.unwrap_or_else(|why| panic!("{why}"));
        (place.connection.name(), place)
    }

    async fn within<T>(future: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(20), future).await.expect("took longer than a test may")
    }

    #[tokio::test]
    async fn nothing_new_goes_there_and_the_end_of_what_was_there_is_told() {
        let core = core(&["a", "b"]);
        let (first, on_a) = where_next(&core).await;
        assert_eq!((first.as_str(), core.left("a"), core.left("b")), ("a", 1, 0));
        assert!(core.drain("a"));
        let mut others = Vec::new();
        for _ in 0..4 {
            let (name, place) = where_next(&core).await;
            assert_eq!(name, "b");
            others.push(place);
        }
        assert_eq!((core.left("a"), core.left("b")), (1, 4));
        let drained = tokio::spawn(core.drained("a"));
        tokio::task::yield_now().await;
        assert!(!drained.is_finished());
        drop(on_a);
        assert!(within(drained).await.unwrap());
        assert_eq!(core.left("a"), 0);
        assert!(within(core.drained("a")).await, "again, at once");
    }

    #[tokio::test]
    async fn a_drain_can_be_taken_back() {
        let core = core(&["a", "b"]);
        let (_, _on_a) = where_next(&core).await;
        core.drain("a");
        let drained = tokio::spawn(core.drained("a"));
        tokio::task::yield_now().await;
        let (_, _on_b) = where_next(&core).await;
        let (second, more) = where_next(&core).await;
        assert_eq!(second, "b");
        drop(more);
        assert!(core.undrain("a"));
        assert!(!within(drained).await.unwrap());
        let (_, _third) = where_next(&core).await;
        assert_eq!((core.left("a"), core.left("b")), (2, 1), "as if nothing had been");
        assert!(!within(core.drained("a")).await, "it does not leave");
    }

    #[tokio::test]
    async fn a_connection_that_is_removed_meanwhile_is_left_once_its_workers_are_gone() {
        let core = core(&["a"]);
        let (_, on_a) = where_next(&core).await;
        core.drain("a");
        let drained = tokio::spawn(core.drained("a"));
        tokio::task::yield_now().await;
        assert!(core.remove("a"));
        drop(on_a);
        assert!(within(drained).await.unwrap());
    }

    #[tokio::test]
    async fn a_worker_that_starts_meanwhile_does_not_stay() {
        let core = core(&["b"]);
        let (slow, give) = Slow::new();
        core.add(Arc::new(slow));
        let (first, _on_b) = where_next(&core).await;
        assert_eq!(first, "b");
        let leave = async {
            while core.left("slow") == 0 {
                tokio::task::yield_now().await;
            }
            core.drain("slow");
            give.notify_one();
        };
        let ((second, _on_b), ()) = within(async { tokio::join!(where_next(&core), leave) }).await;
        assert_eq!(second, "b");
        assert!(within(core.drained("slow")).await);
    }

    /// Gives a worker once it may.
    struct Slow {
        mock: MockConnection,
        may: Arc<tokio::sync::Notify>,
    }

    impl Slow {
        fn new() -> (Self, Arc<tokio::sync::Notify>) {
            let options = MockConnectionOptions { name: "slow".to_owned(), ..Default::default() };
            let may = Arc::new(tokio::sync::Notify::new());
            (Self { mock: MockConnection::new(options), may: Arc::clone(&may) }, may)
        }
    }

    impl Connection for Slow {
        fn name(&self) -> String {
            self.mock.name()
        }

        fn addresses(&self) -> Option<HostAddresses> {
            self.mock.addresses()
        }

        fn load(&self) -> Option<Load> {
            self.mock.load()
        }

        fn spawn(&self, request: SpawnRequest) -> BoxFuture<'_, Result<WorkerLink, SpawnError>> {
            Box::pin(async move {
                self.may.notified().await;
                self.mock.spawn(request).await
            })
        }

        fn close(&self) {
            self.mock.close();
        }
    }

    #[tokio::test]
    async fn unknown_names_are_told() {
        let core = core(&["a"]);
        assert!(!core.drain("b") && !core.undrain("b") && !within(core.drained("b")).await);
        assert_eq!(core.left("b"), 0);
    }

    #[tokio::test]
    async fn an_error_tells_that_all_drain() {
        let core = core(&["a", "b"]);
        core.drain("a");
        core.drain("b");
        let Err(why) = worker(&core).await else { panic!("there is no worker") };
        assert_eq!(
            why.to_string(),
            "every host drains and takes no new Worker (a, b): add another one, or take the drain \
             of one back"
        );
    }

    #[tokio::test]
    async fn whoever_places_transports_hears_of_every_change() {
        let core = core(&[]);
        let options = MockConnectionOptions::default();
        let mock = MockConnection::new(options.clone());
        let (name, handle) = (mock.name(), mock.handle());
        core.add(Arc::new(mock));
        let mut drains = core.inner.drains.subscribe();
        let mut heard = async || {
            within(drains.changed()).await.unwrap();
        };
        core.drain(&name);
        heard().await;
        core.undrain(&name);
        heard().await;
        let host = options.host_load;
        handle.set_host_load(crate::connection::HostLoad { draining: true, ..host.clone() });
        heard().await;
        handle.set_host_load(host);
        heard().await;
    }
}
