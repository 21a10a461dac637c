//! What an agent does with a connection, wherever it comes from.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Semaphore, oneshot, watch},
    time::{Instant, timeout},
};
use uuid::Uuid;

use super::{
    AgentOptions, Limit, LimitCounters, LimitExceeded, WorkerSource,
    brake::TokenBrake,
    counters::{Counters, NotLetIn},
    drain::Drain,
    limits::retry_seconds,
    roster::Roster,
    session::Session,
    sessions::{Handle, Request, Resumable, Sessions},
};
use crate::{
    addresses::HostAddresses,
    compatibility::FEATURES,
    net::{
        AcceptError, BoxedTransport, HostIdentity, Link, LinkLost, Meter, TlsRefused, accept,
        refuse_hasty,
    },
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
    /// Where it listens itself, where that is known.
    pub listen: Vec<SocketAddr>,
}

impl Identity {
    /// An agent on this host that listens on that port.
    pub fn new(port: u16) -> Self {
        let host = nix::unistd::gethostname()
            .map_or_else(|_| "agent".to_owned(), |name| name.to_string_lossy().into_owned());
        Self {
            agent_id: format!("{host}:{port}"),
            instance_id: Uuid::new_v4().to_string(),
            listen: Vec::new(),
        }
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
    pub(super) roster: Arc<Roster>,
    pub(super) drain: Drain,
    session_slots: Arc<Semaphore>,
    pub(super) sessions: Sessions,
    brake: TokenBrake,
    pub(super) limit_hits: LimitCounters,
    /// Measures the workers of every session.
    pub(super) sampler: CpuSampler,
    pub(super) stopping: watch::Sender<bool>,
    /// Of the links of every session.
    pub(super) meter: Arc<Meter>,
    pub(super) counters: Counters,
    /// Since 1970.
    pub(super) started_at: Duration,
}

impl Shared {
    pub(super) fn load(&self) -> LoadReport {
        LoadReport {
            workers: self.roster.count(),
            max_workers: self.roster.max(),
            draining: self.drain.is_on(),
            ..LoadReport::default()
        }
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
            roster: Roster::new(options.max_workers),
            drain: Drain::default(),
            session_slots: slots(options.max_sessions),
            sessions: Sessions::default(),
            brake: TokenBrake::default(),
            limit_hits: LimitCounters::default(),
            sampler: CpuSampler::default(),
            stopping: watch::Sender::new(false),
            meter: Arc::default(),
            counters: Counters::default(),
            started_at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
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

    /// How often each limit was reached.
    pub fn limits(&self) -> &LimitCounters {
        &self.shared.limit_hits
    }

    /// Ends every session: workers' inputs close, they have the grace time, then they are killed.
    pub fn stop(&self) {
        self.shared.stopping.send_replace(true);
    }

    /// Resolves when no worker runs and no session is left.
    pub async fn idle(&self) {
        let Shared { options, roster, session_slots, .. } = self.shared.as_ref();
        roster.emptied().await;
        let all = u32::try_from(options.max_sessions).unwrap_or(u32::MAX);
        // The semaphore is never closed, so this only waits.
        let _ = session_slots.acquire_many(all).await;
    }

    /// Serves one connection to its end. `peer` is where it comes from.
    pub async fn serve(&self, transport: BoxedTransport, peer: IpAddr) {
        self.serve_once(async { Ok(transport) }, peer, ()).await;
    }

    /// As [`Self::serve`], with something before that the peer must get through in the same time.
    /// `shaking` is dropped at the end of the handshake.
    pub(super) async fn serve_once(
        &self,
        opened: impl Future<Output = Result<BoxedTransport, TlsRefused>>,
        peer: IpAddr,
        shaking: impl Send,
    ) {
        let limit = self.shared.options.timing.handshake;
        let peer = peer.to_canonical();
        let mut stopping = self.shared.stopping.subscribe();
        let handshake = async {
            tokio::select! {
                // Not polled again when dropped: the connection is dropped with it.
                outcome = async { self.shake_hands(opened.await?, peer).await } => outcome,
                // Cancel-safe: nothing follows that the wait would have to remember.
                _ = stopping.wait_for(|stopping| *stopping) => Ok(None),
            }
        };
        let shaken = timeout(limit, handshake).await;
        drop(shaking);
        match shaken {
            Ok(Ok(Some(mut done))) => done.ended().await,
            // The agent ends.
            Ok(Ok(None)) => {}
            // What exceeds a limit is counted there too, and logged now and then.
            Ok(Err(problem @ HandshakeError::Hasty(_))) => {
                self.shared.counters.not_let_in(problem.kind());
            }
            Ok(Err(problem)) => {
                if let HandshakeError::Link(LinkLost::TooLong(text)) = &problem {
                    self.shared.limit_hits.hit(Limit::FrameBytes, text);
                }
                self.shared.counters.not_let_in(problem.kind());
                tracing::info!(%peer, %problem, "not let in");
            }
            Err(_) => {
                self.shared.counters.not_let_in(NotLetIn::Late);
                tracing::info!(%peer, ?limit, "no handshake in time");
            }
        }
    }

    /// Counts a connection that is closed at once, since there are too many.
    pub(super) fn turned_away(&self, error: LimitExceeded) {
        self.shared.limit_hits.exceeded(error);
        self.shared.counters.not_let_in(NotLetIn::Full);
    }

    /// Lets a controller in, or tells it why not.
    async fn shake_hands(
        &self,
        transport: BoxedTransport,
        peer: IpAddr,
    ) -> Result<Option<Done>, HandshakeError> {
        let mut link = self.let_in(transport, peer).await?;
        let text = link.receive_text().await?;
        let admitted = match Hello::parse(&text) {
            Err(problem) => Err(Refusal::from(problem)),
            Ok((hello, protocol)) => self.admit(&hello, protocol, peer).await,
        };
        match admitted {
            Ok(Admitted { welcome, handle, resumable, fresh }) => {
                reply(&mut link, &AgentReply::Welcome(welcome)).await?;
                match fresh {
                    Some(fresh) => fresh.keep(),
                    None => self.shared.counters.session_resumed(),
                }
                let (done, ended) = oneshot::channel();
                let Resumable { attempt, .. } = resumable;
                let attach = Request::Attach { attempt, link: Box::new(link), done };
                // A session that is over meanwhile drops the link, and `done` with it.
                let _ = handle.requests.send(attach).await;
                Ok(Some(Done(ended)))
            }
            Err(refusal) => {
                let message = refusal.message.clone();
                // Whoever does not stay to hear it is refused all the same.
                if reply(&mut link, &AgentReply::Refused(refusal)).await.is_ok() {
                    link.close().await;
                }
                Err(HandshakeError::Refused(message))
            }
        }
    }

    /// The HTTP part, where tokens are shown.
    async fn let_in(
        &self,
        transport: BoxedTransport,
        peer: IpAddr,
    ) -> Result<Link, HandshakeError> {
        let Shared { options, brake, limit_hits, .. } = self.shared.as_ref();
        let limits = &options.limits;
        if let Err(error) = brake.check(peer, Instant::now(), limits) {
            let error = limit_hits.exceeded(error);
            if let LimitExceeded::WrongTokens { retry_after, .. } = error {
                let (why, seconds) = (error.to_string(), retry_seconds(retry_after));
                // Whoever does not stay to hear it is refused all the same.
                let _ = refuse_hasty(transport, &why, seconds).await;
            }
            return Err(error.into());
        }
        let accepted = accept(transport, &options.current_tokens()).await;
        if let Err(AcceptError::WrongToken) = accepted {
            brake.wrong(peer, Instant::now(), limits);
        }
        Ok(accepted?)
    }

    /// Finds the session that the controller wants to resume, or opens one.
    async fn admit(&self, hello: &Hello, protocol: u32, peer: IpAddr) -> Result<Admitted, Refusal> {
        if *self.shared.stopping.borrow() {
            let message = "the agent is about to end".to_owned();
            return Err(Refusal { code: RefusalCode::Closing, message });
        }
        let controller = hello.controller.escape_debug();
        let known = hello.session.as_deref().and_then(|text| self.shared.sessions.find(text));
        if let (Some(handle), Some(id)) = (known, &hello.session) {
            let session = handle.about.number;
            if let Some(seen) = hello.last_seen {
                if let Some(resumable) = resume(&handle, seen).await? {
                    tracing::info!(session, %peer, %controller, "session resumed");
                    handle.about.came_from(peer);
                    let seen = Some(resumable.received);
                    let welcome = self.welcome(hello, protocol, id.clone(), seen, peer);
                    return Ok(Admitted { welcome, handle, resumable, fresh: None });
                }
            } else {
                let (done, ended) = oneshot::channel();
                let _ = handle.requests.send(Request::End { done }).await;
                Done(ended).ended().await;
            }
        }
        let slot = Arc::clone(&self.shared.session_slots).try_acquire_owned();
        let slot = slot.map_err(|_| Refusal {
            code: RefusalCode::Busy,
            message: self
                .shared
                .limit_hits
                .exceeded(LimitExceeded::Sessions { max: self.shared.options.max_sessions })
                .to_string(),
        })?;
        let (id, handle, requests) = self.shared.sessions.open(&hello.controller, peer);
        self.shared.counters.session_opened();
        tracing::info!(
            session = handle.about.number,
            %peer,
            %controller,
            mediasoup = %hello.mediasoup.escape_debug(),
            "session opened"
        );
        let welcome = self.welcome(hello, protocol, id.reveal(), None, peer);
        let addresses = welcome.addresses.clone();
        let shared = Arc::clone(&self.shared);
        let session = Session::new(shared, Arc::clone(&handle.about), requests, addresses, slot);
        self.run(handle.about.number, session);
        let fresh = Some(Fresh(Some(handle.clone())));
        // Nothing has happened in it yet, so its first attempt cannot fail.
        let resumable = Resumable { received: 0, attempt: 0 };
        Ok(Admitted { welcome, handle, resumable, fresh })
    }

    /// Runs a session in a task of its own: the end of one is not the end of others.
    fn run(&self, session: u64, task: Session) {
        let shared = Arc::clone(&self.shared);
        let running = tokio::spawn(task.run());
        tokio::spawn(async move {
            if let Err(error) = running.await {
                tracing::error!(session, %error, "a session failed; the others go on");
            }
            shared.sessions.close(session);
        });
    }

    /// `seen`: how many frames of a resumed session have arrived.
    fn welcome(
        &self,
        hello: &Hello,
        protocol: u32,
        session: String,
        seen: Option<u64>,
        peer: IpAddr,
    ) -> Box<Welcome> {
        let Shared { options, identity, source, addresses, host, .. } = self.shared.as_ref();
        let app = HostIdentity { boot_id: hello.boot_id.clone(), netns: hello.netns };
        let colocated = host.shares_network_with(&app);
        let offers = source.offers().into_iter();
        Box::new(Welcome {
            protocol,
            agent_id: identity.agent_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance_id: identity.instance_id.clone(),
            session,
            resumed: seen.is_some(),
            last_seen: seen,
            session_timeout_ms: options.session_timeout.map(millis),
            listen: identity.listen.clone(),
            workers: offers
                .map(|offer| WorkerOffer { version: offer.version, schema: offer.schema })
                .collect(),
            features: Some(FEATURES.map(str::to_owned).into()),
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
        })
    }
}

/// A controller that is about to be let in.
struct Admitted {
    welcome: Box<Welcome>,
    handle: Handle,
    resumable: Resumable,
    /// A session that is as new as its controller.
    fresh: Option<Fresh>,
}

/// Resolves when whoever holds the other end dropped it.
struct Done(oneshot::Receiver<()>);

impl Done {
    async fn ended(&mut self) {
        let _ = (&mut self.0).await;
    }
}

/// A session that nobody can know of before its welcome has left: without one it is not kept.
struct Fresh(Option<Handle>);

impl Fresh {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            let (done, _) = oneshot::channel();
            let _ = handle.requests.try_send(Request::End { done });
        }
    }
}

/// Asks a session whether it goes on with this controller. `None`: it is over by now.
async fn resume(handle: &Handle, seen: u64) -> Result<Option<Resumable>, Refusal> {
    let (reply, answer) = oneshot::channel();
    if handle.requests.send(Request::Resume { seen, reply }).await.is_err() {
        return Ok(None);
    }
    match answer.await {
        Ok(Ok(resumable)) => Ok(Some(resumable)),
        Ok(Err(problem)) => Err(Refusal {
            code: RefusalCode::Hello,
            message: format!("the hello cannot be this session's: {problem}"),
        }),
        Err(_) => Ok(None),
    }
}

#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error(transparent)]
    Tls(#[from] TlsRefused),
    #[error(transparent)]
    Accept(#[from] AcceptError),
    #[error(transparent)]
    Hasty(#[from] LimitExceeded),
    #[error("refused: {0}")]
    Refused(String),
    #[error(transparent)]
    Link(#[from] LinkLost),
}

impl HandshakeError {
    fn kind(&self) -> NotLetIn {
        match self {
            Self::Tls(_) => NotLetIn::Tls,
            Self::Hasty(_) => NotLetIn::Hasty,
            Self::Refused(_) => NotLetIn::Refused,
            Self::Accept(AcceptError::WrongToken) => NotLetIn::Token,
            Self::Accept(AcceptError::Refused { .. }) => NotLetIn::Http,
            Self::Accept(AcceptError::Io(_)) | Self::Link(_) => NotLetIn::Lost,
        }
    }
}

async fn reply(link: &mut Link, reply: &AgentReply) -> Result<(), LinkLost> {
    link.send_text(serde_json::to_string(reply).expect("a reply is strings and numbers")).await
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
