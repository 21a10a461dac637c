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
            let deadline = Instant::now() + inner.connect_timeout.min(OPEN_TIMEOUT);
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
