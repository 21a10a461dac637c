//! Connections on their way into the set: they are in it once they are connected and checked.

use std::sync::Arc;

use tokio::{runtime::Handle, time::timeout};

use super::{Core, Inner, choice::AbortOnDrop};
use crate::connection::{Connection, ConnectionState, SpawnError};

/// Why a connection did not come into the set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("there is a connection {0} already")]
    Taken(String),
    /// It cannot be used, for a reason of its own.
    #[error(transparent)]
    Unusable(SpawnError),
    #[error("{0}: no connection within the connect timeout")]
    Silent(String),
    #[error("{0}: it was closed before it was connected")]
    Closed(String),
}

/// A connection that is being tried.
pub struct Joining {
    connection: Arc<dyn Connection>,
    _trying: AbortOnDrop,
}

impl Core {
    /// Adds a source of workers once it is connected and checked, and then tells. One that cannot
    /// be used within the connect timeout is closed, and `done` hears why.
    pub fn join(
        &self,
        connection: Arc<dyn Connection>,
        done: impl FnOnce(Result<(), JoinError>) + Send + 'static,
    ) {
        let name = connection.name();
        let mut joining = self.inner.joining.lock();
        if joining.contains_key(&name) || self.connections().contains(&name) {
            drop(joining);
            connection.close();
            return done(Err(JoinError::Taken(name)));
        }
        let inner = Arc::downgrade(&self.inner);
        let limit = self.inner.connect_timeout;
        let handle = self.handle.clone();
        let trying = {
            let (connection, name) = (Arc::clone(&connection), name.clone());
            self.handle.spawn(async move {
                let result = match timeout(limit, usable(connection.as_ref())).await {
                    Ok(result) => result,
                    Err(_) => Err(connection
                        .problem()
                        .map_or(JoinError::Silent(name.clone()), JoinError::Unusable)),
                };
                let Some(inner) = inner.upgrade() else { return };
                // It holds this very task, which has nothing left to wait for.
                let Some(_joined) = inner.end_joining(&connection, result.is_ok(), &handle) else {
                    return;
                };
                if result.is_err() {
                    connection.close();
                }
                done(result);
            })
        };
        let trying = AbortOnDrop(trying.abort_handle());
        joining.insert(name, Joining { connection, _trying: trying });
    }

    /// The names of connections on their way into the set, with how they stand.
    pub fn joining_states(&self) -> Vec<(String, ConnectionState)> {
        let joining = self.inner.joining.lock();
        let state = |(name, joining): (&String, &Joining)| {
            (name.clone(), *joining.connection.state().borrow())
        };
        joining.iter().map(state).collect()
    }

    /// Gives up a connection that is on its way into the set. False if there is none.
    pub fn give_up(&self, name: &str) -> bool {
        self.inner.joining.lock().remove(name).is_some_and(|joining| {
            joining.connection.close();
            true
        })
    }
}

impl Inner {
    /// Takes the connection out of those on their way, and into the set if it is `usable`. `None`:
    /// it was given up meanwhile, and another may have its name by now.
    fn end_joining(
        self: &Arc<Self>,
        connection: &Arc<dyn Connection>,
        usable: bool,
        handle: &Handle,
    ) -> Option<Joining> {
        let mut joining = self.joining.lock();
        let name = connection.name();
        if !Arc::ptr_eq(&joining.get(&name)?.connection, connection) {
            return None;
        }
        let joined = joining.remove(&name);
        if usable {
            // Still under the lock: a name is never in neither place.
            self.admit(Arc::clone(connection), handle);
        }
        joined
    }

    /// Closes what is on its way into the set, as the core ends.
    pub(super) fn stop_joining(&self) -> Vec<Arc<dyn Connection>> {
        let joining = std::mem::take(&mut *self.joining.lock());
        let close = |joining: Joining| {
            joining.connection.close();
            joining.connection
        };
        joining.into_values().map(close).collect()
    }
}

/// Resolves once the connection can be used, or cannot without a change somewhere. While it only
/// cannot be reached, it may be about to come up.
async fn usable(connection: &dyn Connection) -> Result<(), JoinError> {
    let mut state = connection.state();
    loop {
        let now = *state.borrow_and_update();
        match now {
            ConnectionState::Connected => return Ok(()),
            ConnectionState::Closed => return Err(JoinError::Closed(connection.name())),
            ConnectionState::Refused => {
                if let Some(problem) = connection.problem() {
                    return Err(JoinError::Unusable(problem));
                }
            }
            ConnectionState::Connecting | ConnectionState::Disconnected => {}
        }
        if state.changed().await.is_err() {
            return Err(JoinError::Closed(connection.name()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use tokio::sync::{oneshot, watch};

    use super::*;
    use crate::{
        addresses::HostAddresses,
        compatibility::Incompatibility,
        connection::{BoxFuture, Load, SpawnRequest, WorkerLink},
        core::config::{self, Options},
        monitor::Event,
        virtual_worker::Spread,
    };

    struct Scripted {
        state: watch::Sender<ConnectionState>,
        problem: SpawnError,
    }

    impl Scripted {
        fn new(state: ConnectionState) -> Arc<Self> {
            let problem = SpawnError::Incompatible(Incompatibility::told("another".to_owned()));
            Arc::new(Self { state: watch::Sender::new(state), problem })
        }
    }

    impl Connection for Scripted {
        fn name(&self) -> String {
            "scripted".to_owned()
        }

        fn addresses(&self) -> Option<HostAddresses> {
            None
        }

        fn load(&self) -> Option<Load> {
            None
        }

        fn state(&self) -> watch::Receiver<ConnectionState> {
            self.state.subscribe()
        }

        fn problem(&self) -> Option<SpawnError> {
            Some(self.problem.clone())
        }

        fn spawn(&self, _: SpawnRequest) -> BoxFuture<'_, Result<WorkerLink, SpawnError>> {
            Box::pin(std::future::pending())
        }

        fn close(&self) {
            self.state.send_replace(ConnectionState::Closed);
        }
    }

    /// One whose connect timeout no test reaches, however busy the machine is.
    fn core() -> Core {
        core_with(Duration::from_secs(600))
    }

    fn core_with(connect_timeout: Duration) -> Core {
        let book = config::address_book(&Options::default()).unwrap();
        Core::start(book, connect_timeout, Spread::ONE_PART).unwrap()
    }

    fn join(core: &Core, connection: &Arc<Scripted>) -> oneshot::Receiver<Result<(), JoinError>> {
        let (told, result) = oneshot::channel();
        core.join(Arc::clone(connection) as _, move |result| {
            let _ = told.send(result);
        });
        result
    }

    #[tokio::test]
    async fn it_is_in_the_set_once_it_is_connected() {
        let core = core();
        let mut events = core.events().listen();
        let connection = Scripted::new(ConnectionState::Connecting);
        let result = join(&core, &connection);
        assert!(core.connections().is_empty());
        let second = join(&core, &Scripted::new(ConnectionState::Connected)).await.unwrap();
        assert_eq!(second, Err(JoinError::Taken("scripted".to_owned())));
        connection.state.send_replace(ConnectionState::Connected);
        assert_eq!(result.await.unwrap(), Ok(()));
        assert_eq!(core.connections(), ["scripted"]);
        let name = || "scripted".to_owned();
        let mut told = events.next().await;
        if told.len() == 1 {
            told.extend(events.next().await);
        }
        assert_eq!(
            told,
            [Event::Add { connection: name() }, Event::Connected { connection: name() }]
        );
        assert!(core.remove("scripted"));
        assert_eq!(events.next().await, [Event::Delete { connection: name() }]);
    }

    #[tokio::test]
    async fn what_cannot_be_used_stays_out_and_is_closed() {
        let core = core_with(Duration::from_secs(1));
        let mut events = core.events().listen();
        let connection = Scripted::new(ConnectionState::Connecting);
        let result = join(&core, &connection);
        connection.state.send_replace(ConnectionState::Refused);
        let unusable = Err(JoinError::Unusable(connection.problem.clone()));
        assert_eq!(result.await.unwrap(), unusable);
        assert_eq!(*connection.state.borrow(), ConnectionState::Closed);
        // One that cannot be reached has the connect timeout.
        let away = Scripted::new(ConnectionState::Connecting);
        assert_eq!(join(&core, &away).await.unwrap(), unusable);
        assert_eq!(*away.state.borrow(), ConnectionState::Closed);
        assert!(core.connections().is_empty());
        core.events().emit(Event::Missed { count: 0 });
        assert_eq!(events.next().await, [Event::Missed { count: 0 }], "nothing was told of them");
    }

    #[tokio::test]
    async fn what_is_given_up_as_it_connects_stays_out() {
        let core = core();
        let connection = Scripted::new(ConnectionState::Connecting);
        let result = join(&core, &connection);
        // Kept, so that its task goes on as one does that has had its answer already.
        let given_up = core.inner.joining.lock().remove("scripted");
        let second = Scripted::new(ConnectionState::Connecting);
        let waiting = join(&core, &second);
        connection.state.send_replace(ConnectionState::Connected);
        assert!(result.await.is_err(), "nobody is told");
        assert!(core.connections().is_empty());
        second.state.send_replace(ConnectionState::Connected);
        assert_eq!(waiting.await.unwrap(), Ok(()), "it has the name now");
        assert_eq!(core.connections(), ["scripted"]);
        drop(given_up);
    }

    #[tokio::test]
    async fn it_can_be_given_up() {
        let mut core = core();
        let connection = Scripted::new(ConnectionState::Connecting);
        let result = join(&core, &connection);
        assert!(core.give_up("scripted"));
        assert!(!core.give_up("scripted"));
        assert_eq!(*connection.state.borrow(), ConnectionState::Closed);
        assert!(result.await.is_err());
        let again = Scripted::new(ConnectionState::Connecting);
        let _waiting = join(&core, &again);
        core.close();
        assert_eq!(*again.state.borrow(), ConnectionState::Closed);
    }
}
