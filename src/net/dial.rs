//! Opening a link to an agent.

use std::{io, net::SocketAddr};

use tokio::net::{TcpStream, lookup_host};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        self,
        client::IntoClientRequest,
        error::ProtocolError,
        handshake::client::Response,
        http::{HeaderValue, Request, StatusCode, header},
    },
};

use super::{
    AgentUrl, BoxedTransport, ClientTlsOptions, Link, LinkLost, TlsError, Token,
    activity::Watched,
    link::websocket_config,
    tls::{self, ClientTls},
};
use crate::{
    compatibility::Incompatibility,
    connection::{BoxFuture, SpawnError},
    wire::{AgentReply, Hello, RefusalCode, SUBPROTOCOL, Welcome},
};

/// Why an agent could not be reached or did not let us in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    #[error("{0}")]
    Unreachable(String),
    /// Nobody listens there any more.
    #[error("{message}")]
    ConnectionRefused { message: String, addresses: Vec<SocketAddr> },
    #[error("{0}")]
    Unauthorized(String),
    #[error("{0}")]
    Incompatible(Incompatibility),
    #[error("{0}")]
    Busy(String),
}

impl DialError {
    /// Trying again without a change somewhere gives the same.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Unauthorized(_) | Self::Incompatible(_))
    }
}

impl From<DialError> for SpawnError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Unreachable(message) | DialError::ConnectionRefused { message, .. } => {
                Self::Unreachable(message)
            }
            DialError::Unauthorized(message) => Self::Unauthorized(message),
            DialError::Incompatible(why) => Self::Incompatible(why),
            DialError::Busy(message) => Self::Full(message),
        }
    }
}

/// A transport that was opened, and who is at its other end where that has an address.
pub struct Dialed {
    pub transport: BoxedTransport,
    pub peer: Option<SocketAddr>,
}

/// Opens transports to an agent. Tests dial memory instead of the network.
pub trait Dial: Send + Sync {
    fn dial(&self) -> BoxFuture<'_, Result<Dialed, DialError>>;
}

/// Dials TCP, and TLS for `wss://`.
pub struct NetworkDialer {
    url: AgentUrl,
    tls: Option<ClientTls>,
}

impl NetworkDialer {
    /// Reads the files for TLS at once, so that a wrong path is told early.
    pub fn new(url: AgentUrl, tls: &ClientTlsOptions) -> Result<Self, TlsError> {
        let tls = url.is_tls().then(|| ClientTls::open(tls, &url.host())).transpose()?;
        Ok(Self { url, tls })
    }

    async fn connect(&self) -> Result<Dialed, DialError> {
        let unreachable =
            |problem: String| DialError::Unreachable(format!("{}: {problem}", self.url));
        let host = self.url.host();
        let (stream, peer) = self.connect_tcp(&host).await?;
        stream.set_nodelay(true).map_err(|error| unreachable(plainly(&error)))?;
        let peer = Some(peer);
        let Some(tls) = &self.tls else {
            return Ok(Dialed { transport: Box::new(stream), peer });
        };
        let stream = tls.connect(stream).await.map_err(|error| io_problem(&self.url, &error))?;
        Ok(Dialed { transport: Box::new(stream), peer })
    }

    /// Tries every address of the name in turn. Being refused by all of them is an answer of its
    /// own.
    async fn connect_tcp(&self, host: &str) -> Result<(TcpStream, SocketAddr), DialError> {
        let failed = |error: &io::Error| format!("{}: {}", self.url, plainly(error));
        let addresses: Vec<SocketAddr> = lookup_host((host, self.url.port()))
            .await
            .map_err(|error| DialError::Unreachable(failed(&error)))?
            .collect();
        let mut last = io::Error::other("the name has no address");
        let mut refused = !addresses.is_empty();
        for address in &addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok((stream, *address)),
                Err(error) => {
                    refused &= error.kind() == io::ErrorKind::ConnectionRefused;
                    last = error;
                }
            }
        }
        let message = failed(&last);
        Err(if refused {
            DialError::ConnectionRefused { message, addresses }
        } else {
            DialError::Unreachable(message)
        })
    }
}

impl Dial for NetworkDialer {
    fn dial(&self) -> BoxFuture<'_, Result<Dialed, DialError>> {
        Box::pin(self.connect())
    }
}

/// System errors in few words, without the number that nobody reads.
fn plainly(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => error.kind().to_string(),
    }
}

/// A system error, or one of TLS. An agent says only after its own handshake what it has against
/// our certificate.
fn io_problem(url: &AgentUrl, error: &io::Error) -> DialError {
    let Some(inside) = tls::inside(error) else {
        return DialError::Unreachable(format!("{url}: {}", plainly(error)));
    };
    match tls::explain_refusal(inside) {
        Some(refusal) => DialError::Unauthorized(format!("agent {url} {refusal}")),
        None => DialError::Unreachable(format!("{url}: TLS: {}", tls::explain_agent(inside))),
    }
}

/// Shakes hands with the agent at the other end. The caller sets the deadline.
pub async fn open(
    transport: BoxedTransport,
    url: &AgentUrl,
    token: Option<&Token>,
    hello: &Hello,
) -> Result<(Link, Welcome), DialError> {
    let request = request(url, token)?;
    let watched = Watched::new(transport);
    let (socket, _) = client_async_with_config(request, watched, Some(websocket_config()))
        .await
        .map_err(|error| http_problem(url, token.is_some(), error))?;
    let mut link = Link::new(socket);
    let text = serde_json::to_string(hello).expect("a hello is strings and numbers");
    let failed = |error: LinkLost| match error {
        LinkLost::Protocol(problem) | LinkLost::TooLong(problem) => {
            let message = format!("agent {url} broke the protocol: {problem}");
            misfit(message, &problem)
        }
        other => DialError::Unreachable(format!("{url}: {other} during the handshake")),
    };
    link.send_text(text).await.map_err(failed)?;
    let text = link.receive_text().await.map_err(failed)?;
    let refusal = match serde_json::from_str::<AgentReply>(&text) {
        Ok(AgentReply::Welcome(welcome)) => return Ok((link, *welcome)),
        Ok(AgentReply::Refused(refusal)) => refusal,
        Err(error) => {
            // Names that it made up are quoted there as they are.
            let error = error.to_string();
            let error = error.escape_debug();
            let problem = format!("agent {url} answers neither welcome nor refused: {error}");
            return Err(misfit(problem, "neither welcome nor refused"));
        }
    };
    let message = format!("agent {url} refused: {}", refusal.message.escape_debug());
    Err(match refusal.code {
        RefusalCode::Protocol | RefusalCode::Hello => misfit(message, &refusal.message),
        RefusalCode::Busy => DialError::Busy(message),
        RefusalCode::Closing | RefusalCode::Other => DialError::Unreachable(message),
    })
}

/// The two sides do not even speak of workers.
fn misfit(message: String, theirs: &str) -> DialError {
    let theirs = theirs.escape_debug().to_string();
    DialError::Incompatible(Incompatibility::protocol(message, SUBPROTOCOL, &theirs))
}

fn request(url: &AgentUrl, token: Option<&Token>) -> Result<Request<()>, DialError> {
    let unusable = || DialError::Unreachable(format!("{url} is not usable as a WebSocket address"));
    let mut request = url.as_str().into_client_request().map_err(|_| unusable())?;
    let headers = request.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    if let Some(token) = token {
        let value = format!("Bearer {}", token.reveal());
        let mut value = HeaderValue::from_str(&value).map_err(|_| unusable())?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(request)
}

fn http_problem(url: &AgentUrl, with_token: bool, error: tungstenite::Error) -> DialError {
    use tungstenite::Error;
    match error {
        Error::Http(response) => refused(url, with_token, &response),
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => misfit(
            format!("{url} is a WebSocket server, but does not speak {SUBPROTOCOL}"),
            "another subprotocol",
        ),
        Error::Protocol(
            ProtocolError::HandshakeIncomplete | ProtocolError::ResetWithoutClosingHandshake,
        ) => DialError::Unreachable(format!("{url}: the peer ended the connection at once")),
        Error::Protocol(problem) => {
            DialError::Unreachable(format!("{url} is not an agent: {problem}"))
        }
        Error::Io(error) => io_problem(url, &error),
        other => DialError::Unreachable(format!("{url}: {other}")),
    }
}

fn refused(url: &AgentUrl, with_token: bool, response: &Response) -> DialError {
    let status = response.status();
    let said = response
        .body()
        .as_deref()
        .map(|body| String::from_utf8_lossy(&body[..body.len().min(500)]).trim().to_owned())
        .filter(|body| !body.is_empty())
        .map(|body| format!(": {}", body.escape_debug()))
        .unwrap_or_default();
    match status {
        StatusCode::UNAUTHORIZED if with_token => {
            DialError::Unauthorized(format!("agent {url} does not take our token ({status}){said}"))
        }
        StatusCode::UNAUTHORIZED => DialError::Unauthorized(format!(
            "agent {url} asks for a token and none is set ({status}){said}"
        )),
        StatusCode::TOO_MANY_REQUESTS => {
            DialError::Busy(format!("agent {url} does not take us for now ({status}){said}"))
        }
        StatusCode::FORBIDDEN => {
            DialError::Unauthorized(format!("agent {url} does not let us in ({status}){said}"))
        }
        StatusCode::BAD_REQUEST | StatusCode::UPGRADE_REQUIRED => {
            let message = format!("agent {url} refused the handshake ({status}){said}");
            misfit(message, &format!("{status}{said}"))
        }
        _ => DialError::Unreachable(format!("{url} answers {status} instead of an agent{said}")),
    }
}
