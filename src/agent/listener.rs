//! An agent on the network.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, lookup_host},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    addresses::interfaces,
    net::{BoxedTransport, ServerTls},
};

use super::{
    AddressProblem, AgentOptions, Identity, LimitExceeded, Offer, Server, WorkerSource,
    brake::ByAddress, http::Watchers,
};

/// How many addresses a welcome tells at most.
const MAX_TOLD: usize = 64;

/// What ending takes beyond the workers' grace time.
const LAST_STEPS: Duration = Duration::from_secs(1);

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("cannot listen on {address}: {problem}")]
    Listen { address: String, problem: String },
    #[error("cannot listen on {address} for those who read metrics: {problem}")]
    Metrics { address: String, problem: String },
    #[error("refusing to listen on {address}, off loopback, {}", Missing::list(missing))]
    Exposed { address: SocketAddr, missing: Vec<Missing> },
    #[error("{0}")]
    Addresses(#[from] AddressProblem),
    #[error("no mediasoup-worker to run: {0}")]
    NoWorkers(String),
}

/// What an agent lacks that listens where others reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// A way to tell who may come in.
    Token,
    Tls,
}

impl Missing {
    fn list(missing: &[Self]) -> String {
        missing.iter().map(|missing| missing.words()).collect::<Vec<_>>().join("; and ")
    }

    fn words(self) -> &'static str {
        match self {
            Self::Token => {
                "without a token: anybody who reaches it could run workers; add --token-file FILE \
                 (or the variable MEDIASOUP_HORIZONTAL_TOKEN), or ask for client certificates with \
                 --tls-client-ca FILE"
            }
            Self::Tls => {
                "without TLS: tokens and keys would cross the network in clear text; add \
                 --tls-cert FILE --tls-key FILE, or --insecure on a network that you trust"
            }
        }
    }
}

/// An agent that listens.
pub struct Agent {
    listener: TcpListener,
    address: SocketAddr,
    server: Server,
    offers: Vec<Offer>,
    watchers: Option<Watchers>,
}

impl Agent {
    /// Checks the options and listens.
    pub async fn bind(
        options: AgentOptions,
        source: Arc<dyn WorkerSource>,
    ) -> Result<Self, AgentError> {
        let failed = |error: io::Error| AgentError::Listen {
            address: options.listen.clone(),
            problem: explain(&error),
        };
        let asked = lookup_host(&options.listen)
            .await
            .and_then(|mut found| {
                found.next().ok_or_else(|| io::Error::other("the name has no address"))
            })
            .map_err(failed)?;
        if !asked.ip().to_canonical().is_loopback() {
            let missing = missing(&options);
            if !missing.is_empty() {
                return Err(AgentError::Exposed { address: asked, missing });
            }
        }
        let addresses = options.addresses.resolve(asked.ip())?;
        let offers = source.offers();
        if offers.is_empty() {
            return Err(AgentError::NoWorkers(
                "name one with --worker-bin VERSION=PATH".to_owned(),
            ));
        }
        let listener = TcpListener::bind(asked).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listen = reached_at(address).map_err(failed)?;
        let watchers = match &options.metrics {
            Some(address) => Some(watchers(address).await?),
            None => None,
        };
        let identity = Identity { listen, ..Identity::new(address.port()) };
        let server = Server::new(options, identity, addresses, source);
        Ok(Self { listener, address, server, offers, watchers })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it tells metrics and health.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.watchers.as_ref().map(|watchers| watchers.address)
    }

    /// Whether it is reached by `wss://`.
    pub fn is_tls(&self) -> bool {
        self.server.shared.options.tls.is_some()
    }

    /// Its workers when it began.
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// The part that can be asked while it runs.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Serves until `stop` resolves or a drain that ends the agent is over, then ends every session
    /// and worker.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, server, watchers, .. } = self;
        // Until the very end: whoever watches shall see it end.
        let mut watching = JoinSet::new();
        if let Some(watchers) = watchers {
            watching.spawn(watchers.serve(server.clone()));
        }
        let options = &server.shared.options;
        let limits = &options.limits;
        let handshakes = Arc::new(Semaphore::new(limits.handshakes.min(Semaphore::MAX_PERMITS)));
        let addresses = ByAddress::default();
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                // Cancel-safe: pinned outside of the loop.
                () = &mut stop => break,
                // Cancel-safe, as told there.
                () = server.drained() => break,
                // Cancel-safe: a finished task stays in the set until it is taken.
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a session failed; the others go on");
                    }
                }
                // Cancel-safe: a connection that was not accepted stays in the backlog.
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let max = limits.handshakes;
                        let Ok(place) = Arc::clone(&handshakes).try_acquire_owned() else {
                            server.turned_away(LimitExceeded::Handshakes { max });
                            continue;
                        };
                        let max = limits.handshakes_per_address;
                        let Some(counted) = addresses.one_more(peer.ip(), max) else {
                            server.turned_away(LimitExceeded::HandshakesPerAddress { max });
                            continue;
                        };
                        let server = server.clone();
                        connections.spawn(async move {
                            serve(&server, stream, peer.ip(), (place, counted)).await;
                        });
                    }
                    Err(error) => {
                        // Most likely out of file descriptors: some time must pass.
                        tracing::warn!(%error, "cannot accept");
                        sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        drop(listener);
        tracing::info!(workers = server.load().workers, "ending");
        server.stop();
        let ended = async {
            while connections.join_next().await.is_some() {}
            server.idle().await;
        };
        if timeout(options.grace + LAST_STEPS, ended).await.is_err() {
            tracing::warn!(workers = server.load().workers, "not everything ended in time");
        }
    }
}

/// Listens for those who read metrics.
async fn watchers(address: &str) -> Result<Watchers, AgentError> {
    let listening = async {
        let mut found = lookup_host(address).await?;
        let found = found.next().ok_or_else(|| io::Error::other("the name has no address"))?;
        Watchers::bind(found).await
    };
    listening.await.map_err(|error| AgentError::Metrics {
        address: address.to_owned(),
        problem: explain(&error),
    })
}

/// What these options lack off loopback.
fn missing(options: &AgentOptions) -> Vec<Missing> {
    let tls = options.tls.as_ref();
    let certificates = tls.is_some_and(ServerTls::asks_for_certificates);
    let identified = certificates || !options.current_tokens().is_empty();
    let encrypted = tls.is_some() || options.insecure;
    [(identified, Missing::Token), (encrypted, Missing::Tls)]
        .into_iter()
        .filter_map(|(there, missing)| (!there).then_some(missing))
        .collect()
}

/// The addresses of this host under which a listener is reached directly.
fn reached_at(address: SocketAddr) -> io::Result<Vec<SocketAddr>> {
    let ip = address.ip();
    if !ip.is_unspecified() {
        return Ok(vec![address]);
    }
    let both = ip.is_ipv6();
    let own = interfaces()?.into_iter().map(|interface| interface.ip);
    Ok(own
        .filter(|own| both || own.is_ipv4())
        .take(MAX_TOLD)
        .map(|own| SocketAddr::new(own, address.port()))
        .collect())
}

async fn serve(server: &Server, stream: TcpStream, peer: IpAddr, shaking: impl Send) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let opened = async {
        match &server.shared.options.tls {
            Some(tls) => tls.accept(stream).await,
            None => Ok(Box::new(stream) as BoxedTransport),
        }
    };
    server.serve_once(opened, peer, shaking).await;
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use by another process".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this host does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "not permitted (ports below 1024 are reserved)".to_owned()
        }
        _ => error.to_string(),
    }
}
