//! Links between a controller and an agent: dialing, accepting, heartbeats, batches.

mod accept;
mod activity;
mod agent_url;
mod backoff;
mod dial;
mod exchange;
mod goodbye;
mod host_identity;
mod link;
mod meter;
mod patience;
mod reader;
mod reread;
mod server_tls;
mod small_file;
mod timing;
pub(crate) mod tls;
mod token;
mod token_file;
mod writer;

use tokio::io::{AsyncRead, AsyncWrite};

pub use accept::{AcceptError, accept, refuse_hasty};
pub use agent_url::{AgentUrl, InvalidUrl};
pub use backoff::Backoff;
pub use dial::{Dial, DialError, Dialed, NetworkDialer, open};
pub use exchange::Exchange;
pub use goodbye::Goodbye;
pub use host_identity::HostIdentity;
pub use link::{Link, LinkParts};
pub use meter::{Meter, Traffic};
pub use patience::Patience;
pub use reader::{LinkLost, LinkReader};
pub use server_tls::{ServerTls, ServerTlsFiles, TlsRefused};
pub use small_file::FileProblem;
pub use timing::Timing;
pub use tls::{ClientTlsOptions, KeyPairFiles, TlsError};
pub use token::{InvalidToken, Token, Tokens};
pub use token_file::{TokenFile, TokenFileError};
pub use writer::LinkWriter;

/// Anything that carries bytes both ways: TCP, TLS, memory.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A transport of some kind.
pub type BoxedTransport = Box<dyn Transport>;
