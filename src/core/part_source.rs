//! Further workers for a virtual worker that is at work.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};

use super::{
    Inner,
    choice::{self, Found, Place, Role},
    relay::{Measured, OPEN_TIMEOUT, Opened, PartSource},
    sharing::Owner,
};
use crate::{
    addresses::book::Host,
    connection::{BoxFuture, SpawnRequest, WorkerLink},
    placement::Wish,
};

/// The connections of a core, for workers with the settings of one virtual worker.
pub struct Parts {
    inner: Arc<Inner>,
    request: SpawnRequest,
    /// What the app knows its Worker by.
    pid: u32,
}

impl Parts {
    /// `None` if this virtual worker may have one worker only.
    pub fn of(inner: &Arc<Inner>, request: SpawnRequest, pid: u32) -> Option<Arc<dyn PartSource>> {
        let inner = Arc::clone(inner);
        (inner.spread.max_parts > 1).then(|| Arc::new(Self { inner, request, pid }) as _)
    }
}

impl PartSource for Parts {
    fn open(&self, taken: &[String], wish: Wish) -> BoxFuture<'static, Result<Opened, String>> {
        let inner = Arc::clone(&self.inner);
        let request = self.request.clone();
        let (taken, pid) = (taken.to_vec(), self.pid);
        let owner = Owner(pid);
        Box::pin(async move {
            let sources = inner.sources();
            let role = Role::Part { taken: &taken, wish: &wish };
            // Ends before the relay gives up, so that the reasons are told.
            let deadline = Instant::now() + inner.connect_timeout.min(OPEN_TIMEOUT * 9 / 10);
            let seeker = Some(inner.sharing.seeker(owner));
            let rules = &inner.rules;
            let found =
                choice::find_or_share(&sources, &request, role, rules, pid, deadline, seeker);
            match found.await {
                Ok((Found::Linked(link), place)) => Ok(opened(link, place)),
                Ok((Found::InPlace(_), _)) => Err("a part cannot run in place".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn load_of(&self, place: &Place, pid: u32) -> Option<Measured> {
        Some(self.measured(place, pid))
    }

    fn drains(&self) -> watch::Receiver<()> {
        self.inner.drains.subscribe()
    }
}

impl Parts {
    fn measured(&self, place: &Place, pid: u32) -> Measured {
        let connection = place.connection.as_ref();
        let host = connection.host_load();
        let near =
            host.as_ref().is_some_and(|host| self.inner.rules.is_near(connection.is_local(), host));
        let drains = place.is_leaving() || host.as_ref().is_some_and(|host| host.draining);
        Measured {
            cpu: host.as_ref().and_then(|host| host.own.get(&pid).copied()),
            age: host.and_then(|host| host.age).unwrap_or_default(),
            near,
            avoid: connection.load().is_none(),
            drains,
        }
    }
}

/// A worker that was found, as the relay takes it.
pub fn opened(link: WorkerLink, place: Place) -> Opened {
    Opened {
        host: Host { key: place.connection.name(), addresses: Arc::new(link.addresses.clone()) },
        local: place.connection.is_local(),
        place: Some(place),
        link,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{collections::HashMap, time::Duration};

    use parking_lot::Mutex;

    use super::*;
    use crate::{
        MEDIASOUP_VERSION, SCHEMA_FINGERPRINT,
        connection::{
            DtlsFiles,
            mock::{MockConnection, MockConnectionOptions},
        },
        core::{
            choice::Source,
            config::{self, Options},
            rules::Rules,
        },
        placement::Policy,
        virtual_worker::Spread,
    };

    fn inner(names: &[(&str, usize)], max_parts: usize, policy: Policy) -> Arc<Inner> {
        let source = |(name, max_workers): &(&str, usize)| {
            Source::new(Arc::new(MockConnection::new(MockConnectionOptions {
                name: (*name).to_owned(),
                max_workers: *max_workers,
                ..MockConnectionOptions::default()
            })))
        };
        Arc::new(Inner {
            sources: Mutex::new(names.iter().map(source).collect()),
            tickets: Mutex::default(),
            workers: Mutex::new(HashMap::new()),
            book: config::address_book(&Options::default()).unwrap(),
            connect_timeout: Duration::from_secs(1),
            call_timeout: None,
            losses: crate::core::losses::Losses::default(),
            spread: Spread { policy, ..Spread::scatter(max_parts) },
            rules: Rules::of(policy),
            sharing: crate::core::sharing::Sharing::default(),
            observed: crate::core::observe::Observed::default(),
            events: crate::monitor::EventSink::default(),
            discoveries: crate::core::discovery::Discoveries::default(),
            joining: Mutex::default(),
            drains: watch::Sender::new(()),
        })
    }

    fn request() -> SpawnRequest {
        SpawnRequest {
            version: MEDIASOUP_VERSION.to_owned(),
            fingerprint: SCHEMA_FINGERPRINT.to_owned(),
            args: vec!["--logLevel=warn".to_owned()],
            dtls: DtlsFiles::default(),
            worker_bin: None,
        }
    }

    #[tokio::test]
    async fn scattered_parts_go_where_the_virtual_worker_has_none() {
        let inner = inner(&[("a", 8), ("full", 0), ("b", 8), ("c", 8)], 3, Policy::Scatter);
        open_in_turn(&inner, &["b"], &["a", "c", "b", "a"]).await;
    }

    #[tokio::test]
    async fn packed_parts_fill_the_home_s_host_first() {
        let inner = inner(&[("a", 8), ("b", 2), ("c", 1)], 9, Policy::Pack);
        // The home is not one of these: b has room for two more.
        open_in_turn(&inner, &["b"], &["b", "b", "a", "a"]).await;
    }

    async fn open_in_turn(inner: &Arc<Inner>, taken: &[&str], expected: &[&str]) {
        let source = Parts::of(inner, request(), 7).unwrap();
        let mut taken: Vec<String> = taken.iter().map(|name| (*name).to_owned()).collect();
        let mut parts = Vec::new();
        for expected in expected {
            let part = source.open(&taken, Wish::default()).await.unwrap();
            assert_eq!(part.host.key, *expected, "beside {taken:?}");
            taken.push(part.host.key.clone());
            parts.push(part);
        }
        let own = |inner: &Inner| inner.sources().iter().map(Source::own_workers).sum::<usize>();
        assert_eq!(own(inner), expected.len());
        drop(parts);
        assert_eq!(own(inner), 0);
    }

    #[tokio::test]
    async fn says_why_there_is_no_part() {
        let open = async |inner: &Arc<Inner>, taken: &[String], other_host| {
            let source = Parts::of(inner, request(), 7).unwrap();
            let wish = Wish { other_host, ..Wish::default() };
            source.open(taken, wish).await.err().unwrap()
        };
        let scattered = inner(&[("a", 0)], 3, Policy::Scatter);
        let error = open(&scattered, &["a".to_owned()], false).await;
        assert!(error.contains("a has no room for another worker"), "{error}");
        for source in scattered.sources() {
            source.connection.close();
        }
        let error = open(&scattered, &[], false).await;
        assert!(error.contains("a is closed"), "{error}");
        let packed = inner(&[("a", 0), ("b", 4)], 3, Policy::Pack);
        let error = open(&packed, &["b".to_owned()], true).await;
        assert_eq!(error, "no connection gave a mediasoup-worker: a: it runs 0 of 0 workers");
    }

    #[test]
    fn one_part_needs_no_source() {
        let inner = inner(&[("a", 8)], 1, Policy::Pack);
        assert!(Parts::of(&inner, request(), 7).is_none());
    }
}
