//! What an agent tells over HTTP to those who watch it: `/metrics`, `/healthz` and `/readyz`. It
//! shows counts and takes nothing.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Server;
use crate::monitor::page;

/// Connections at a time. Others wait in the backlog.
const CONNECTIONS: usize = 16;
/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection lasts at most, so that idle ones keep nobody out.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head, the least that the parser takes.
const HEAD_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PATHS: &str = "/metrics, /healthz or /readyz\n";

/// Where the watchers come in.
pub(super) struct Watchers {
    listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Watchers {
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        if !address.ip().to_canonical().is_loopback() {
            tracing::info!(%address, "whoever reaches this address can read the agent's metrics");
        }
        Ok(Self { listener, address })
    }

    /// Answers until it is dropped, and every connection with it.
    pub(super) async fn serve(self, server: Server) {
        let mut conversations = JoinSet::new();
        loop {
            tokio::select! {
                // Cancel-safe: a finished task stays in the set until it is taken.
                Some(_) = conversations.join_next() => {}
                // Cancel-safe: a connection that was not accepted stays in the backlog.
                accepted = self.listener.accept(), if conversations.len() < CONNECTIONS => {
                    match accepted {
                        Ok((stream, _)) => {
                            conversations.spawn(converse_for_a_while(stream, server.clone()));
                        }
                        Err(error) => {
                            // Most likely out of file descriptors: some time must pass.
                            tracing::warn!(%error, "cannot accept those who read metrics");
                            sleep(Duration::from_millis(100)).await;
                        }
                    }
                }
            }
        }
    }
}

async fn converse_for_a_while(stream: TcpStream, server: Server) {
    if timeout(CONNECTION_TIMEOUT, converse(stream, server)).await.is_err() {
        tracing::debug!("a watcher's connection lasted too long");
    }
}

async fn converse(stream: TcpStream, server: Server) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &server);
        async move { Ok::<_, Infallible>(response) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = conversation {
        tracing::debug!(%error, "a watcher's connection failed");
    }
}

fn respond(method: &Method, path: &str, server: &Server) -> Response<Full<Bytes>> {
    if !["/metrics", "/healthz", "/readyz"].contains(&path) {
        return answer(StatusCode::NOT_FOUND, TEXT, PATHS.to_owned());
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response =
            answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD only\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => match server.metrics() {
            Ok(text) => answer(StatusCode::OK, HeaderValue::from_static(page::CONTENT_TYPE), text),
            Err(error) => {
                let text = format!("cannot write the metrics: {error}\n");
                answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
            }
        },
        // An agent that answers lives: its sessions and links run on the same thread.
        "/healthz" => answer(StatusCode::OK, TEXT, "ok\n".to_owned()),
        _ => match server.readiness() {
            Ok(()) => answer(StatusCode::OK, TEXT, "ready\n".to_owned()),
            Err(why) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
    }
}

fn answer(status: StatusCode, content_type: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
