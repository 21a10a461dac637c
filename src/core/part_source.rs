//! Further workers for a virtual worker that is at work.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Inner,
    choice::{self, Found, Place, Role},
    relay::{OPEN_TIMEOUT, Opened, PartSource},
};
use crate::{
    addresses::book::Host,
    connection::{BoxFuture, SpawnRequest, WorkerLink},
};

/// The connections of a core, for workers with the settings of one virtual worker.
pub struct Parts {
    inner: Arc<Inner>,
    request: SpawnRequest,
}

impl Parts {
    /// `None` if this virtual worker may have one worker only.
    pub fn of(inner: &Arc<Inner>, request: SpawnRequest) -> Option<Arc<dyn PartSource>> {
        let inner = Arc::clone(inner);
        (inner.spread.max_parts > 1).then(|| Arc::new(Self { inner, request }) as _)
    }
}

impl PartSource for Parts {
    fn open(&self, taken: &[String]) -> BoxFuture<'static, Result<Opened, String>> {
        let inner = Arc::clone(&self.inner);
        let request = self.request.clone();
        let taken = taken.to_vec();
        Box::pin(async move {
            let sources = inner.sources();
            let role = Role::Part { taken: &taken };
            // Ends before the relay gives up, so that the reasons are told.
            let deadline = Instant::now() + inner.connect_timeout.min(OPEN_TIMEOUT * 9 / 10);
            match choice::find(&sources, &request, role, deadline).await {
                Ok((Found::Linked(link), place)) => Ok(opened(link, place)),
                Ok((Found::InPlace(_), _)) => Err("a part cannot run in place".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
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
        },
        virtual_worker::Spread,
    };

    fn inner(names: &[(&str, usize)], max_parts: usize) -> Arc<Inner> {
        let source = |(name, max_workers): &(&str, usize)| Source {
            connection: Arc::new(MockConnection::new(MockConnectionOptions {
                name: (*name).to_owned(),
                max_workers: *max_workers,
                ..MockConnectionOptions::default()
            })),
            own_workers: Arc::default(),
        };
        Arc::new(Inner {
            sources: Mutex::new(names.iter().map(source).collect()),
            tickets: Mutex::default(),
            workers: Mutex::new(HashMap::new()),
            book: config::address_book(&Options::default()).unwrap(),
            connect_timeout: Duration::from_secs(1),
            spread: Spread { max_parts, scatter: true, ..Spread::default() },
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
    async fn parts_go_where_the_virtual_worker_has_none() {
        let inner = inner(&[("a", 8), ("full", 0), ("b", 8), ("c", 8)], 3);
        let source = Parts::of(&inner, request()).unwrap();
        let mut taken = vec!["b".to_owned()];
        let mut parts = Vec::new();
        for expected in ["a", "c", "b", "a"] {
            let part = source.open(&taken).await.unwrap();
            assert_eq!(part.host.key, expected, "beside {taken:?}");
            taken.push(part.host.key.clone());
            parts.push(part);
        }
        let own = |inner: &Inner| {
            let count =
                |source: Source| source.own_workers.load(std::sync::atomic::Ordering::Relaxed);
            inner.sources().into_iter().map(count).collect::<Vec<_>>()
        };
        assert_eq!(own(&inner), [2, 0, 1, 1]);
        drop(parts);
        assert_eq!(own(&inner), [0, 0, 0, 0]);
    }

    #[tokio::test]
    async fn says_why_there_is_no_part() {
        let inner = inner(&[("a", 0)], 3);
        let source = Parts::of(&inner, request()).unwrap();
        let error = source.open(&["a".to_owned()]).await.err().unwrap();
        assert!(error.contains("a has no room for another worker"), "{error}");
        for source in inner.sources() {
            source.connection.close();
        }
        let error = source.open(&[]).await.err().unwrap();
        assert!(error.contains("a is closed"), "{error}");
    }

    #[test]
    fn one_part_needs_no_source() {
        assert!(Parts::of(&inner(&[("a", 8)], 1), request()).is_none());
    }
}
