//! Letting a controller in: the HTTP part of the handshake, read by hand so that every refusal is
//! an HTTP answer that says why.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self,
        error::ProtocolError,
        handshake::{
            machine::TryParse,
            server::{Request, Response, create_response, write_response},
        },
        http::{HeaderValue, StatusCode, header},
        protocol::Role,
    },
};

use super::{BoxedTransport, Link, Tokens, activity::Watched, link::websocket_config};
use crate::wire::SUBPROTOCOL;

/// What a TLS handshake begins with.
const TLS_HANDSHAKE: u8 = 22;

/// The longest HTTP request head.
const MAX_HEAD: usize = 16 * 1024;

/// Why a controller was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("the connection failed during the handshake: {0}")]
    Io(#[from] io::Error),
    #[error("refused with HTTP {status}: {message}")]
    Refused { status: u16, message: String },
    #[error("refused with HTTP 401: {WRONG_TOKEN}")]
    WrongToken,
}

const WRONG_TOKEN: &str = "the token is not one of this agent's";

struct Refusal {
    status: StatusCode,
    message: String,
    /// Another header.
    extra: Option<String>,
    wrong_token: bool,
}

fn refuse(status: StatusCode, message: impl Into<String>) -> Refusal {
    Refusal { status, message: message.into(), extra: None, wrong_token: false }
}

/// Reads the HTTP request and answers it. The caller sets the deadline.
pub async fn accept(mut transport: BoxedTransport, tokens: &Tokens) -> Result<Link, AcceptError> {
    let mut head = Vec::with_capacity(1024);
    let verdict = loop {
        if transport.read_buf(&mut head).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if head.first() == Some(&TLS_HANDSHAKE) {
            let message =
                "this agent has no TLS: connect by WebSocket to ws://, or start it with --tls-cert";
            break Err(refuse(StatusCode::BAD_REQUEST, message));
        }
        match Request::try_parse(&head) {
            Ok(Some((length, _))) if length < head.len() => {
                break Err(refuse(StatusCode::BAD_REQUEST, "bytes follow the request too early"));
            }
            Ok(Some((_, request))) => break judge(&request, tokens),
            Ok(None) if head.len() > MAX_HEAD => {
                break Err(refuse(
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "the request head is too long",
                ));
            }
            Ok(None) => {}
            Err(error) => break Err(unusable(&error)),
        }
    };
    match verdict {
        Ok(response) => {
            let mut answer = Vec::new();
            write_response(&mut answer, &response).map_err(io::Error::other)?;
            transport.write_all(&answer).await?;
            transport.flush().await?;
            let config = Some(websocket_config());
            let watched = Watched::new(transport);
            Ok(Link::new(WebSocketStream::from_raw_socket(watched, Role::Server, config).await))
        }
        Err(refusal) => {
            answer(&mut transport, &refusal).await?;
            if refusal.wrong_token {
                return Err(AcceptError::WrongToken);
            }
            Err(AcceptError::Refused { status: refusal.status.as_u16(), message: refusal.message })
        }
    }
}

/// Answers a request for `ws://` where there is only TLS. The caller sets the deadline.
pub(super) async fn refuse_plain(mut transport: BoxedTransport) -> io::Result<()> {
    let message = "this agent takes TLS only: connect to wss://";
    read_head(&mut transport).await?;
    answer(&mut transport, &refuse(StatusCode::BAD_REQUEST, message)).await
}

/// Answers whoever tried too often, without a look at what they ask. The caller sets the deadline.
pub async fn refuse_hasty(
    mut transport: BoxedTransport,
    why: &str,
    retry_seconds: u64,
) -> io::Result<()> {
    read_head(&mut transport).await?;
    let refusal = refuse(StatusCode::TOO_MANY_REQUESTS, why);
    let extra = Some(format!("Retry-After: {retry_seconds}\r\n"));
    answer(&mut transport, &Refusal { extra, ..refusal }).await
}

async fn read_head(transport: &mut BoxedTransport) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    // Read to its end, since a socket that is closed with unread bytes takes back what it said.
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() <= MAX_HEAD {
        if transport.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(())
}

fn unusable(error: &tungstenite::Error) -> Refusal {
    use ProtocolError as Problem;
    let (status, what) = match error {
        tungstenite::Error::Protocol(Problem::WrongHttpMethod) => {
            (StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed".to_owned())
        }
        tungstenite::Error::Protocol(
            Problem::MissingConnectionUpgradeHeader
            | Problem::MissingUpgradeWebSocketHeader
            | Problem::MissingSecWebSocketVersionHeader,
        ) => (StatusCode::UPGRADE_REQUIRED, "this is an agent of mediasoup-horizontal".to_owned()),
        // Its texts describe the fault and do not quote the request.
        other => (StatusCode::BAD_REQUEST, other.to_string()),
    };
    refuse(status, format!("{what}; connect by WebSocket with the subprotocol {SUBPROTOCOL}"))
}

fn judge(request: &Request, tokens: &Tokens) -> Result<Response, Refusal> {
    let headers = request.headers();
    let mut response = create_response(request).map_err(|error| unusable(&error))?;
    // Browsers always send an Origin and controllers never do. Without this any web page that
    // somebody opens on this host could drive an agent that listens on loopback without a token.
    if headers.contains_key(header::ORIGIN) {
        return Err(refuse(StatusCode::FORBIDDEN, "web pages cannot use an agent"));
    }
    if !tokens.is_empty() {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        match token {
            None => {
                let message = "a token is needed: Authorization: Bearer TOKEN";
                return Err(refuse(StatusCode::UNAUTHORIZED, message));
            }
            Some(token) if !tokens.accept(token) => {
                let refusal = refuse(StatusCode::UNAUTHORIZED, WRONG_TOKEN);
                return Err(Refusal { wrong_token: true, ..refusal });
            }
            Some(_) => {}
        }
    }
    let speaks_ours = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == SUBPROTOCOL);
    if !speaks_ours {
        let message = format!("the subprotocol {SUBPROTOCOL} is not among those offered");
        return Err(refuse(StatusCode::BAD_REQUEST, message));
    }
    response
        .headers_mut()
        .insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

async fn answer(transport: &mut BoxedTransport, refusal: &Refusal) -> io::Result<()> {
    let extra = refusal.extra.as_deref().unwrap_or(match refusal.status {
        StatusCode::UNAUTHORIZED => "WWW-Authenticate: Bearer\r\n",
        StatusCode::UPGRADE_REQUIRED => "Upgrade: websocket\r\n",
        StatusCode::METHOD_NOT_ALLOWED => "Allow: GET\r\n",
        _ => "",
    });
    let body = format!("{}\n", refusal.message);
    let text = format!(
        "HTTP/1.1 {}\r\n{extra}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        refusal.status,
        body.len()
    );
    transport.write_all(text.as_bytes()).await?;
    transport.shutdown().await
}
