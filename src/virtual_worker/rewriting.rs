//! Addresses in requests: listen infos and connects become those of the worker's host.

use channel_schema::fbs::{
    message,
    request::{Body, Method},
    response, transport, web_rtc_transport,
};

use crate::{
    addresses::{
        KnownTransport, ListenInfo, PortRefused, Protocol, Purpose,
        book::{AddressBook, Host},
        retry_on_other_port,
    },
    channel::{
        Message,
        compose::{self, DecodeError},
    },
};

/// What became of a request.
#[derive(Debug, Default)]
pub struct Rewriting {
    /// The request to send instead, if anything in it changed.
    pub message: Option<Message>,
    /// The same request with another port, for when the one asked for is taken.
    pub other_port: Option<Message>,
    /// What a transport was asked to bind, socket by socket.
    pub sockets: Vec<Socket>,
}

/// One socket of a transport: what the app asked for, and what the worker was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    pub original: Vec<String>,
    pub bound: String,
}

/// Why a request goes nowhere.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Port(#[from] PortRefused),
}

/// Rewrites the addresses of a request for the host that gets it.
pub fn rewrite(
    book: &AddressBook,
    host: &Host,
    handler_id: &str,
    method: Method,
    message: &Message,
) -> Result<Rewriting, RewriteError> {
    let purpose = match method {
        Method::WorkerCreateWebrtcserver => Some(Purpose::WebRtcServer),
        Method::RouterCreateWebrtctransport => Some(Purpose::WebRtc),
        Method::RouterCreatePlaintransport => Some(Purpose::Plain),
        Method::RouterCreatePipetransport => Some(Purpose::Pipe),
        Method::PlaintransportConnect | Method::PipetransportConnect => None,
        _ => return Ok(Rewriting::default()),
    };
    // Nothing changes for a host that shares the app's network, and these are not connected to.
    let unknown = matches!(purpose, Some(Purpose::WebRtc | Purpose::WebRtcServer));
    if host.addresses.colocated && unknown {
        return Ok(Rewriting::default());
    }
    let mut owned = compose::to_owned(message)?;
    let message::Body::Request(request) = &mut owned else {
        return Err(DecodeError::new("not a request").into());
    };
    let Some(body) = &mut request.body else { return Ok(Rewriting::default()) };
    let Some(purpose) = purpose else {
        let changed = connect(book, host, handler_id, body);
        let message = changed.then(|| compose::compose(owned));
        return Ok(Rewriting { message, ..Rewriting::default() });
    };
    let changed = listen(book, host, purpose, body)?;
    Ok(Rewriting {
        other_port: changed.other_port.map(|body| {
            compose::request(request.id, request.method, &request.handler_id, Some(body))
        }),
        sockets: changed.sockets,
        message: changed.rewritten.then(|| compose::compose(owned)),
    })
}

struct Listening {
    rewritten: bool,
    other_port: Option<Body>,
    sockets: Vec<Socket>,
}

fn listen(
    book: &AddressBook,
    host: &Host,
    purpose: Purpose,
    body: &mut Body,
) -> Result<Listening, RewriteError> {
    let originals = listen_infos(body);
    let plain: Vec<ListenInfo> = originals.iter().map(to_plain).collect();
    let rewritten = book.listen_infos(host, purpose, &plain)?;
    let sockets = rewritten.iter().map(|one| Socket {
        original: [Some(&plain[one.index].ip), plain[one.index].announced_address.as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
        bound: one.info.ip.clone(),
    });
    let mut listening = Listening {
        rewritten: rewritten.len() != plain.len()
            || rewritten.iter().any(|one| one.info != plain[one.index]),
        other_port: None,
        sockets: sockets.collect(),
    };
    let elsewhere: Vec<_> =
        rewritten.iter().map(|one| retry_on_other_port(&host.addresses, &one.info)).collect();
    if elsewhere.iter().any(Option::is_some) {
        let infos = rewritten.iter().zip(elsewhere).map(|(one, elsewhere)| {
            from_plain(&originals[one.index], elsewhere.as_ref().unwrap_or(&one.info))
        });
        let mut other = body.clone();
        set_listen_infos(&mut other, infos.collect());
        listening.other_port = Some(other);
    }
    if listening.rewritten {
        let infos = rewritten.iter().map(|one| from_plain(&originals[one.index], &one.info));
        set_listen_infos(body, infos.collect());
    }
    Ok(listening)
}

fn listen_infos(body: &Body) -> Vec<transport::ListenInfo> {
    match body {
        Body::WorkerCreateWebRtcServerRequest(body) => {
            body.listen_infos.clone().unwrap_or_default()
        }
        Body::RouterCreateWebRtcTransportRequest(body) => match &body.options.listen {
            web_rtc_transport::Listen::ListenIndividual(listen) => listen.listen_infos.clone(),
            web_rtc_transport::Listen::ListenServer(_) => Vec::new(),
        },
        Body::RouterCreatePlainTransportRequest(body) => {
            let options = &body.options;
            let rtcp = options.rtcp_listen_info.as_deref().cloned();
            [Some(options.listen_info.as_ref().clone()), rtcp].into_iter().flatten().collect()
        }
        Body::RouterCreatePipeTransportRequest(body) => {
            vec![body.options.listen_info.as_ref().clone()]
        }
        _ => Vec::new(),
    }
}

fn set_listen_infos(body: &mut Body, infos: Vec<transport::ListenInfo>) {
    match body {
        Body::WorkerCreateWebRtcServerRequest(body) => body.listen_infos = Some(infos),
        Body::RouterCreateWebRtcTransportRequest(body) => {
            if let web_rtc_transport::Listen::ListenIndividual(listen) = &mut body.options.listen {
                listen.listen_infos = infos;
            }
        }
        Body::RouterCreatePlainTransportRequest(body) => {
            let mut infos = infos.into_iter();
            if let Some(info) = infos.next() {
                *body.options.listen_info = info;
            }
            body.options.rtcp_listen_info = infos.next().map(Box::new);
        }
        Body::RouterCreatePipeTransportRequest(body) => {
            if let Some(info) = infos.into_iter().next() {
                *body.options.listen_info = info;
            }
        }
        _ => {}
    }
}

fn to_plain(info: &transport::ListenInfo) -> ListenInfo {
    ListenInfo {
        protocol: match info.protocol {
            transport::Protocol::Udp => Protocol::Udp,
            transport::Protocol::Tcp => Protocol::Tcp,
        },
        ip: info.ip.clone(),
        announced_address: info.announced_address.clone(),
        expose_internal_ip: info.expose_internal_ip,
        port: info.port,
        port_range: (info.port_range.min, info.port_range.max),
    }
}

/// Flags, buffer sizes and protocol stay as the app gave them.
fn from_plain(original: &transport::ListenInfo, info: &ListenInfo) -> transport::ListenInfo {
    let (min, max) = info.port_range;
    transport::ListenInfo {
        ip: info.ip.clone(),
        announced_address: info.announced_address.clone(),
        expose_internal_ip: info.expose_internal_ip,
        port: info.port,
        port_range: Box::new(transport::PortRange { min, max }),
        ..original.clone()
    }
}

fn connect(book: &AddressBook, host: &Host, transport: &str, body: &mut Body) -> bool {
    let (ip, port) = match body {
        Body::PlainTransportConnectRequest(body) => match (&mut body.ip, body.port) {
            (Some(ip), Some(port)) => (ip, port),
            _ => return false,
        },
        Body::PipeTransportConnectRequest(body) => match body.port {
            Some(port) => (&mut body.ip, port),
            None => return false,
        },
        _ => return false,
    };
    match book.connect_target(host, transport, ip, port) {
        Some(target) => {
            *ip = target;
            true
        }
        None => false,
    }
}

/// Whether a refusal says that a port is taken. The worker has no other sign of it.
pub fn is_port_taken(answer: &Message) -> bool {
    compose::refusal(answer).is_some_and(|reason| reason.contains("address already in use"))
}

/// Remembers where a new transport listens.
pub fn learn(
    book: &AddressBook,
    host: &Host,
    transport: &str,
    sockets: &[Socket],
    answer: &Message,
) {
    let Ok(body) = compose::response_body(answer) else { return };
    let tuples = match body {
        response::BodyRef::PlainTransportDumpResponse(dump) => {
            [dump.tuple().ok(), dump.rtcp_tuple().ok().flatten()]
        }
        response::BodyRef::PipeTransportDumpResponse(dump) => [dump.tuple().ok(), None],
        _ => return,
    };
    for (index, tuple) in tuples.into_iter().flatten().enumerate() {
        // RTCP on a socket of its own without listen infos of its own shares the first one's.
        let Some(socket) = sockets.get(index).or(sockets.first()) else { continue };
        let (Ok(visible), Ok(port)) = (tuple.local_address(), tuple.local_port()) else { continue };
        book.learn(KnownTransport {
            transport: transport.to_owned(),
            host: host.key.clone(),
            addresses: std::sync::Arc::clone(&host.addresses),
            visible: visible.to_owned(),
            port,
            original: socket.original.clone(),
            bound: socket.bound.parse().ok(),
        });
    }
}
