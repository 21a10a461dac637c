//! What the core must know of the app's objects to pipe them: it is all in the requests that made
//! them.

use std::collections::{BTreeSet, HashMap, HashSet};

use channel_schema::fbs::{
    data_producer, request::BodyRef, response, rtp_parameters, sctp_parameters, transport,
};

use super::objects::PartId;
use crate::channel::{
    Message,
    compose::{self, DecodeError},
    fbs::request::Method,
};

/// A Producer as its sender described it.
#[derive(Debug, Clone)]
pub struct Media {
    pub kind: rtp_parameters::MediaKind,
    pub rtp_parameters: rtp_parameters::RtpParameters,
    pub mapping: rtp_parameters::RtpMapping,
    pub paused: bool,
}

/// A `DataProducer` as its sender described it.
#[derive(Debug, Clone)]
pub struct Data {
    pub stream: Option<sctp_parameters::SctpStreamParameters>,
    pub label: Option<String>,
    pub protocol: Option<String>,
    pub paused: bool,
}

/// What kind of transport it is, for those who must hear of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    WebRtc,
    Plain,
    Pipe,
    Direct,
}

/// A transport.
#[derive(Debug, Clone, Copy)]
pub struct TransportFacts {
    pub kind: TransportKind,
    pub sctp: bool,
}

/// An observer and how to make it again elsewhere.
#[derive(Debug, Clone)]
pub struct Observer {
    pub create: Message,
    pub producers: BTreeSet<String>,
    pub paused: bool,
}

/// Where a Router lives.
#[derive(Debug, Default)]
pub struct RouterFacts {
    pub parts: BTreeSet<PartId>,
    /// How many transports it was given.
    pub turn: usize,
}

/// A `WebRtcServer`.
#[derive(Debug)]
pub struct Server {
    pub create: Message,
    /// Another process on its host could not bind its ports.
    pub fixed_ports: bool,
    pub parts: BTreeSet<PartId>,
    pub warned: bool,
}

/// All facts, by the ids of the objects.
#[derive(Debug, Default)]
pub struct Facts {
    pub media: HashMap<String, Media>,
    /// The same, as far as a Worker needs it that stays on one part: the SSRCs that each Producer
    /// maps to.
    mapped: HashMap<String, Vec<u32>>,
    pub data: HashMap<String, Data>,
    pub transports: HashMap<String, TransportFacts>,
    pub observers: HashMap<String, Observer>,
    pub routers: HashMap<String, RouterFacts>,
    pub servers: HashMap<String, Server>,
    /// What a consumer of either kind consumes.
    pub consumed: HashMap<String, String>,
    /// Consumers of the app of type pipe and kind audio.
    pub audio_pipes: HashSet<String>,
}

impl Facts {
    /// Notes what a creating request says. `message` is the library's own, not rewritten.
    pub fn note(
        &mut self,
        id: &str,
        part: PartId,
        method: Method,
        message: &Message,
    ) -> Result<(), DecodeError> {
        match compose::request_body(message)? {
            BodyRef::TransportProduceRequest(body) => {
                let body: transport::ProduceRequest = body.try_into()?;
                let media = Media {
                    kind: body.kind,
                    rtp_parameters: *body.rtp_parameters,
                    mapping: *body.rtp_mapping,
                    paused: body.paused,
                };
                self.media.insert(id.to_owned(), media);
            }
            BodyRef::TransportProduceDataRequest(body) => {
                let body: transport::ProduceDataRequest = body.try_into()?;
                let sctp = body.type_ == data_producer::Type::Sctp;
                let data = Data {
                    stream: body.sctp_stream_parameters.filter(|_| sctp).map(|stream| *stream),
                    label: body.label,
                    protocol: body.protocol,
                    paused: body.paused,
                };
                self.data.insert(id.to_owned(), data);
            }
            BodyRef::TransportConsumeRequest(body) => {
                self.consumed.insert(id.to_owned(), body.producer_id()?.to_owned());
                if body.type_()? == rtp_parameters::Type::Pipe
                    && body.kind()? == rtp_parameters::MediaKind::Audio
                {
                    self.audio_pipes.insert(id.to_owned());
                }
            }
            BodyRef::TransportConsumeDataRequest(body) => {
                self.consumed.insert(id.to_owned(), body.data_producer_id()?.to_owned());
            }
            BodyRef::WorkerCreateRouterRequest(_) => {
                let parts = BTreeSet::from([part]);
                self.routers.insert(id.to_owned(), RouterFacts { parts, turn: 0 });
            }
            BodyRef::WorkerCreateWebRtcServerRequest(body) => {
                let mut fixed_ports = false;
                for info in body.listen_infos()?.into_iter().flatten() {
                    let info = info?;
                    let range = info.port_range()?;
                    // A range beats the port, and may have another one free.
                    let ranged = range.min()? != 0 && range.max()? != 0;
                    fixed_ports |= info.port()? != 0 && !ranged;
                }
                let server = Server {
                    create: message.clone(),
                    fixed_ports,
                    parts: BTreeSet::from([part]),
                    warned: false,
                };
                self.servers.insert(id.to_owned(), server);
            }
            body => self.note_in_router(id, method, message, &body)?,
        }
        Ok(())
    }

    /// Notes the SSRCs that a Producer maps to, and nothing else.
    pub fn note_mapped(&mut self, id: &str, message: &Message) -> Result<(), DecodeError> {
        let BodyRef::TransportProduceRequest(body) = compose::request_body(message)? else {
            return Ok(());
        };
        let mut mapped = Vec::new();
        for encoding in body.rtp_mapping()?.encodings()? {
            mapped.push(encoding?.mapped_ssrc()?);
        }
        self.mapped.insert(id.to_owned(), mapped);
        Ok(())
    }

    /// Whether these are the SSRCs that the Producer maps to. A worker that is told others aborts
    /// on the next packet.
    pub fn maps_to(&self, producer: &str, ssrcs: &[Option<u32>]) -> bool {
        if let Some(media) = self.media.get(producer) {
            let encodings = media.mapping.encodings.iter();
            return encodings.map(|encoding| Some(encoding.mapped_ssrc)).eq(ssrcs.iter().copied());
        }
        let same = |mapped: &Vec<u32>| mapped.iter().copied().map(Some).eq(ssrcs.iter().copied());
        self.mapped.get(producer).is_none_or(same)
    }

    fn note_in_router(
        &mut self,
        id: &str,
        method: Method,
        message: &Message,
        body: &BodyRef<'_>,
    ) -> Result<(), DecodeError> {
        let (kind, base) = match body {
            BodyRef::RouterCreateWebRtcTransportRequest(body) => {
                (TransportKind::WebRtc, body.options()?.base()?)
            }
            BodyRef::RouterCreatePlainTransportRequest(body) => {
                (TransportKind::Plain, body.options()?.base()?)
            }
            BodyRef::RouterCreatePipeTransportRequest(body) => {
                (TransportKind::Pipe, body.options()?.base()?)
            }
            BodyRef::RouterCreateDirectTransportRequest(body) => {
                (TransportKind::Direct, body.options()?.base()?)
            }
            _ => {
                if matches!(
                    method,
                    Method::RouterCreateActivespeakerobserver
                        | Method::RouterCreateAudiolevelobserver
                ) {
                    let producers = BTreeSet::new();
                    let observer = Observer { create: message.clone(), producers, paused: false };
                    self.observers.insert(id.to_owned(), observer);
                }
                return Ok(());
            }
        };
        self.transports.insert(id.to_owned(), TransportFacts { kind, sctp: base.enable_sctp()? });
        Ok(())
    }

    /// Drops what is known of an object that is gone, Routers and `WebRtcServers` aside.
    pub fn forget(&mut self, id: &str) {
        self.media.remove(id);
        self.mapped.remove(id);
        self.data.remove(id);
        self.transports.remove(id);
        self.observers.remove(id);
        self.consumed.remove(id);
        self.audio_pipes.remove(id);
    }

    pub fn set_paused(&mut self, id: &str, paused: bool) {
        if let Some(media) = self.media.get_mut(id) {
            media.paused = paused;
        }
        if let Some(data) = self.data.get_mut(id) {
            data.paused = paused;
        }
        if let Some(observer) = self.observers.get_mut(id) {
            observer.paused = paused;
        }
    }
}

/// Where a new `PipeTransport` listens, and its keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Socket {
    pub ip: String,
    pub port: u16,
    pub srtp: Option<channel_schema::fbs::srtp_parameters::SrtpParameters>,
}

/// Reads the answer to the creation of a `PipeTransport`.
pub fn pipe_socket(answer: &Message) -> Result<Socket, DecodeError> {
    let response::BodyRef::PipeTransportDumpResponse(dump) = compose::response_body(answer)? else {
        return Err(DecodeError::new("not the dump of a PipeTransport"));
    };
    let tuple = dump.tuple()?;
    Ok(Socket {
        ip: tuple.local_address()?.to_owned(),
        port: tuple.local_port()?,
        srtp: dump.srtp_parameters()?.map(TryInto::try_into).transpose()?,
    })
}
