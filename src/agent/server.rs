//! What an agent does with a connection, wherever it comes from.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use uuid::Uuid;

use super::{AgentOptions, WorkerSource, session::Session};
use crate::{
    addresses::HostAddresses,
    net::{AcceptError, BoxedTransport, HostIdentity, Link, LinkLost, accept},
    wire::{
        AgentReply, Hello, Limits, LoadReport, MAX_MESSAGE, MAX_PAYLOAD, Refusal, RefusalCode,
        Welcome, WorkerOffer,
    },
    worker_process::cpu::{CpuSampler, cores},
};

/// Who an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The same after a restart: host name and port.
    pub agent_id: String,
    /// New with each process.
    pub instance_id: String,
}

impl Identity {
    /// An agent on this host that listens on that port.
    pub fn new(port: u16) -> Self {
        let host = nix::unistd::gethostname()
            .map_or_else(|_| "agent".to_owned(), |name| name.to_string_lossy().into_owned());
        Self { agent_id: format!("{host}:{port}"), instance_id: Uuid::new_v4().to_string() }
    }
}

/// The part of an agent that all sessions share.
pub(super) struct Shared {
    pub(super) options: AgentOptions,
    pub(super) identity: Identity,
    pub(super) source: Arc<dyn WorkerSource>,
    /// As controllers elsewhere see them.
    addresses: HostAddresses,
    host: HostIdentity,
    /// One permit for each worker that may still start.
    pub(super) worker_slots: Arc<Semaphore>,
    session_slots: Arc<Semaphore>,
    /// Measures the workers of every session.
    pub(super) sampler: CpuSampler,
    pub(super) stopping: watch::Sender<bool>,
}

/// A controller that was let in.
struct Admitted {
    link: Link,
    session: String,
    /// This host's addresses, as they are for that controller.
    addresses: HostAddresses,
    slot: OwnedSemaphorePermit,
}

impl Shared {
    pub(super) fn load(&self) -> LoadReport {
        let max_workers = self.options.max_workers;
        let free = self.worker_slots.available_permits();
        let workers = max_workers.saturating_sub(free);
        LoadReport { workers, max_workers, ..LoadReport::default() }
    }
}

/// Serves controllers over any transport.
#[derive(Clone)]
pub struct Server {
    pub(super) shared: Arc<Shared>,
}

impl Server {
    /// `addresses` is what `AddressOptions::resolve` made of the options.
    pub fn new(
        options: AgentOptions,
        identity: Identity,
        addresses: HostAddresses,
        source: Arc<dyn WorkerSource>,
    ) -> Self {
        let slots = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let shared = Shared {
            worker_slots: slots(options.max_workers),
            session_slots: slots(options.max_sessions),
            sampler: CpuSampler::default(),
            stopping: watch::Sender::new(false),
            host: HostIdentity::of_this_process(),
            options,
            identity,
            source,
            addresses,
        };
        Self { shared: Arc::new(shared) }
    }

    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// Where workers bind, as controllers on other hosts see it.
    pub fn addresses(&self) -> &HostAddresses {
        &self.shared.addresses
    }

    /// Workers that run now.
    pub fn load(&self) -> LoadReport {
        self.shared.load()
    }

    /// Ends every session: workers' inputs close, they have the grace time, then they are killed.
    pub fn stop(&self) {
        self.shared.stopping.send_replace(true);
    }

    /// Resolves when no worker runs.
    pub async fn idle(&self) {
        let all = u32::try_from(self.shared.options.max_workers).unwrap_or(u32::MAX);
        // The semaphore is never closed, so this only waits.
        let _ = self.shared.worker_slots.acquire_many(all).await;
    }

    /// Serves one connection to its end. `peer` is where it comes from.
    pub async fn serve(&self, transport: BoxedTransport, peer: IpAddr) {
        let limit = self.shared.options.timing.handshake;
        let peer = peer.to_canonical();
        let mut stopping = self.shared.stopping.subscribe();
        let handshake = async {
            tokio::select! {
                // Not polled again when dropped: the connection is dropped with it.
                outcome = self.shake_hands(transport, peer) => outcome,
                // Cancel-safe: nothing follows that the wait would have to remember.
                _ = stopping.wait_for(|stopping| *stopping) => Ok(None),
            }
        };
        match timeout(limit, handshake).await {
            Ok(Ok(Some(Admitted { link, session, addresses, slot }))) => {
                let shared = Arc::clone(&self.shared);
                Session::new(shared, link, session, addresses, slot).run().await;
            }
            Ok(Ok(None)) => {}
            Ok(Err(problem)) => tracing::info!(%peer, %problem, "not let in"),
            Err(_) => tracing::info!(%peer, ?limit, "no handshake in time"),
        }
    }

    async fn shake_hands(
        &self,
        transport: BoxedTransport,
        peer: IpAddr,
    ) -> Result<Option<Admitted>, HandshakeError> {
        let mut link = accept(transport, &self.shared.options.tokens).await?;
        let text = link.receive_text().await?;
        let refusal = match Hello::parse(&text) {
            Err(problem) => Refusal::from(problem),
            Ok((hello, protocol)) => match self.admit() {
                Ok(slot) => {
                    let session = Uuid::new_v4().to_string();
                    tracing::info!(
                        session,
                        %peer,
                        controller = %hello.controller.escape_debug(),
                        mediasoup = %hello.mediasoup.escape_debug(),
                        "session opened"
                    );
                    let welcome = self.welcome(&hello, protocol, session.clone(), peer);
                    let addresses = welcome.addresses.clone();
                    reply(&mut link, &AgentReply::Welcome(Box::new(welcome))).await?;
                    return Ok(Some(Admitted { link, session, addresses, slot }));
                }
                Err(refusal) => refusal,
            },
        };
        tracing::info!(%peer, problem = refusal.message, "refused");
        reply(&mut link, &AgentReply::Refused(refusal)).await?;
        link.close().await;
        Ok(None)
    }

    fn admit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        if *self.shared.stopping.borrow() {
            let message = "the agent is about to end".to_owned();
            return Err(Refusal { code: RefusalCode::Closing, message });
        }
        Arc::clone(&self.shared.session_slots).try_acquire_owned().map_err(|_| Refusal {
            code: RefusalCode::Busy,
            message: format!("it has {} sessions already", self.shared.options.max_sessions),
        })
    }

    fn welcome(&self, hello: &Hello, protocol: u32, session: String, peer: IpAddr) -> Welcome {
        let Shared { options, identity, source, addresses, host, .. } = self.shared.as_ref();
        let app = HostIdentity { boot_id: hello.boot_id.clone(), netns: hello.netns };
        let colocated = host.shares_network_with(&app);
        let offers = source.offers().into_iter();
        Welcome {
            protocol,
            agent_id: identity.agent_id.clone(),
            instance_id: identity.instance_id.clone(),
            session,
            resumed: false,
            workers: offers
                .map(|offer| WorkerOffer { version: offer.version, schema: offer.schema })
                .collect(),
            cores: cores(),
            max_workers: options.max_workers,
            addresses: HostAddresses {
                colocated,
                // On its own host an app's ports are its own choice, like its addresses.
                port_range: addresses.port_range.filter(|_| !colocated),
                app_seen_as: Some(peer),
                ..addresses.clone()
            },
            limits: Limits {
                max_message: MAX_MESSAGE,
                max_payload: MAX_PAYLOAD,
                max_sessions: options.max_sessions,
                silence_ms: millis(options.timing.silence),
            },
            labels: options.labels.clone(),
            load: self.shared.load(),
            heartbeat_ms: millis(options.timing.heartbeat),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error(transparent)]
    Accept(#[from] AcceptError),
    #[error(transparent)]
    Link(#[from] LinkLost),
}

async fn reply(link: &mut Link, reply: &AgentReply) -> Result<(), LinkLost> {
    link.send_text(serde_json::to_string(reply).expect("a reply is strings and numbers")).await
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
