//! Making pipes when something of the app needs a Producer of another part, and ending them.

use super::{
    Output, PartId, VirtualWorker,
    facts::{self, Socket},
    pipes::{EndState, Own, Pipe},
    recipes::{self, EndOptions, Names},
    relays::Feed,
    rewriting,
    tracking::{self, Effect},
};
use crate::channel::{
    Envelope, Message,
    compose::{self, ErrorKind},
    fbs::{request, request::Method, transport},
};

impl VirtualWorker {
    /// The pair of two parts of a Router; asked for if there is none.
    pub(super) fn pair(
        &mut self,
        router: &str,
        one: PartId,
        other: PartId,
        out: &mut Vec<Output>,
    ) -> Option<u64> {
        if let Some(pair) = self.pipes.pair_of(router, one, other) {
            return Some(pair);
        }
        if !self.parts.is_open(one) || !self.parts.is_open(other) {
            return None;
        }
        let between_hosts = self.crosses(one, other);
        let parts = [one, other];
        let (pair, transports) = self.pipes.add_pair(router, parts, between_hosts);
        for (end, (part, transport)) in parts.into_iter().zip(transports).enumerate() {
            self.ask_for_end(pair, end, router, part, transport, out);
        }
        Some(pair)
    }

    fn ask_for_end(
        &mut self,
        pair: u64,
        end: usize,
        router: &str,
        part: PartId,
        transport: String,
        out: &mut Vec<Output>,
    ) {
        let Some(host) = self.parts.host(part) else { return };
        let Some(found) = self.pipes.pair_mut(pair) else { return };
        let between_hosts = found.between_hosts;
        let port_range = host.addresses.port_range.filter(|_| !host.addresses.colocated);
        let options = EndOptions { transport, between_hosts, port_range, port: None };
        let method = Method::RouterCreatePipetransport;
        let mut body = recipes::create_end(options);
        if between_hosts {
            let message = compose::request(1, method, router, Some(body.clone()));
            match rewriting::rewrite(&self.book, host, router, method, &message) {
                Ok(rewriting) => {
                    found.ends[end].bound = rewriting.sockets;
                    if let Some(other) = rewriting.message.and_then(|one| body_of(&one)) {
                        body = other;
                    }
                }
                Err(error) => {
                    out.push(Output::Diagnostic(format!("a pipe's address: {error}")));
                }
            }
        }
        self.ask(part, method, router, Some(body), Own::End { pair, end }, out);
    }

    /// Takes the answer to a request of the core's own.
    pub(super) fn own_answer(
        &mut self,
        part: PartId,
        own: Own,
        accepted: bool,
        answer: &Message,
        out: &mut Vec<Output>,
    ) {
        let why = || compose::refusal(answer).unwrap_or_default();
        if let Own::Refeed { pipe } = own {
            self.resyncs.begin(pipe);
        }
        match own {
            Own::End { pair, end } => {
                let state = match facts::pipe_socket(answer) {
                    _ if !accepted => EndState::Refused(why()),
                    Ok(socket) => EndState::Made(socket),
                    Err(error) => EndState::Refused(error.to_string()),
                };
                self.end_answered(pair, end, state, answer, out);
            }
            Own::Server(server) if accepted => self.look_at_server(&server, part, out),
            Own::Look(server) if accepted => self.saw_server(&server, part, answer),
            Own::Refeed { pipe } if accepted => self.refed(pipe, out),
            Own::Resync { pipe } => self.resyncs.end(pipe),
            Own::Stats { pipe } => self.pipe_stats(pipe, answer),
            _ if accepted => {}
            Own::Any | Own::Look(_) => {}
            Own::Router(router) => {
                let text = format!("a part refused Router {router}: {}", why());
                out.push(Output::Diagnostic(text));
                if let Some(facts) = self.facts.routers.get_mut(&router) {
                    facts.parts.remove(&part);
                }
            }
            Own::Server(server) => {
                let text = format!("a part refused WebRtcServer {server}: {}", why());
                out.push(Output::Diagnostic(text));
                if let Some(server) = self.facts.servers.get_mut(&server) {
                    server.parts.remove(&part);
                    server.fixed_ports = true;
                }
            }
            Own::Connect { pair } => {
                out.push(Output::Diagnostic(format!("a pipe did not connect: {}", why())));
                self.drop_pair(pair, &why(), out);
            }
            // The Producer is gone there: consumers hear it from their own part.
            Own::Source { pipe } | Own::Refeed { pipe } => {
                self.refused_pipe(pipe, false, true, out);
            }
            Own::Sink { pipe } => self.refused_pipe(pipe, true, false, out),
        }
    }

    fn end_answered(
        &mut self,
        pair: u64,
        end: usize,
        state: EndState,
        answer: &Message,
        out: &mut Vec<Output>,
    ) {
        let Some(found) = self.pipes.pair_mut(pair) else { return };
        let this = &mut found.ends[end];
        this.state = state;
        if found.between_hosts
            && let Some(host) = self.parts.host(this.part)
        {
            rewriting::learn(&self.book, host, &this.transport, &this.bound, answer);
        }
        let refused = found.ends.iter().find_map(|end| match &end.state {
            EndState::Refused(why) => Some(why.clone()),
            _ => None,
        });
        match [&found.ends[0].state, &found.ends[1].state] {
            [EndState::Asked, _] | [_, EndState::Asked] => {}
            [EndState::Made(one), EndState::Made(other)] => {
                let peers = [other.clone(), one.clone()];
                self.connect(pair, peers, out);
            }
            _ => {
                let why = refused.unwrap_or_default();
                if found.stands_in {
                    let text = format!("the end of a pipe that died could not be replaced: {why}");
                    out.push(Output::Diagnostic(text));
                }
                self.drop_pair(pair, &why, out);
            }
        }
    }

    fn connect(&mut self, pair: u64, peers: [Socket; 2], out: &mut Vec<Output>) {
        let Some(found) = self.pipes.pair_mut(pair) else { return };
        found.connected = true;
        let between_hosts = found.between_hosts;
        // The end that another one stands in for was connected already.
        let new = if found.stands_in { 1 } else { 2 };
        let ends = found.ends.iter().take(new);
        let ends: Vec<_> = ends.map(|end| (end.part, end.transport.clone())).collect();
        let method = Method::PipetransportConnect;
        for ((part, transport), peer) in ends.into_iter().zip(peers) {
            let mut body = recipes::connect_end(&peer);
            if between_hosts && let Some(host) = self.parts.host(part) {
                let message = compose::request(1, method, &transport, Some(body.clone()));
                let rewriting = rewriting::rewrite(&self.book, host, &transport, method, &message);
                let other = rewriting.ok().and_then(|one| body_of(&one.message?));
                body = other.unwrap_or(body);
            }
            self.ask(part, method, &transport, Some(body), Own::Connect { pair }, out);
        }
        for pipe in self.pipes.pipes_where(|pipe| pipe.pair == pair) {
            self.start_pipe(pipe, out);
        }
    }

    /// Ends a pair and all pipes in it.
    pub(super) fn drop_pair(&mut self, pair: u64, why: &str, out: &mut Vec<Output>) {
        for pipe in self.pipes.pipes_where(|pipe| pipe.pair == pair) {
            self.fail_pipe(pipe, why, out);
        }
        let Some(pair) = self.pipes.remove_pair(pair) else { return };
        for end in pair.ends {
            self.book.forget(&end.transport);
            if !matches!(end.state, EndState::Refused(_)) {
                let body = recipes::close_end(&end.transport);
                let method = Method::RouterCloseTransport;
                self.ask(end.part, method, &pair.router, Some(body), Own::Any, out);
            }
        }
    }

    /// The pipe of a Producer to a part, made if there is none. `None`: there is no way.
    pub(super) fn pipe(
        &mut self,
        producer: &str,
        data: bool,
        to: PartId,
        out: &mut Vec<Output>,
    ) -> Option<u64> {
        if let Some(pipe) = self.pipes.pipe_of(producer, to) {
            return Some(pipe);
        }
        let Feed { from, feeder } = self.feed(producer, to, None)?;
        let router = self.objects.router_of(producer)?.to_owned();
        if feeder.is_some() && self.crosses(from, to) {
            return self.pipe_by_itself(producer, &router, to, out);
        }
        let pair = self.pair(&router, from, to, out)?;
        let pipe = self.pipes.add_pipe(Pipe::new(producer, data, [from, to], pair, &router));
        self.set_feeder(pipe, feeder, out);
        self.start_pipe(pipe, out);
        Some(pipe)
    }

    /// Notes which pipe brings the Producer to where this one begins.
    pub(super) fn set_feeder(&mut self, id: u64, feeder: Option<u64>, out: &mut Vec<Output>) {
        let Some(pipe) = self.pipes.pipe_mut(id) else { return };
        pipe.feeder = feeder;
        let (consumer, active) = (pipe.consumer.clone(), !pipe.active.is_empty());
        if let Some(feeder) = feeder {
            self.link_pipe(feeder, &consumer, active, out);
        }
    }

    /// Sends a pipe's requests once both ends can take them: its pair is connected, and the
    /// Producer is where it begins, or on its way there.
    pub(super) fn start_pipe(&mut self, id: u64, out: &mut Vec<Output>) {
        let Some(pipe) = self.pipes.pipe(id).filter(|pipe| !pipe.fed) else { return };
        let feeder = pipe.feeder.map(|feeder| self.pipes.pipe(feeder));
        let source = match feeder {
            None => Some(pipe.producer.clone()),
            Some(feeder) => {
                feeder.filter(|feeder| feeder.started).map(|feeder| feeder.sink.clone())
            }
        };
        let connected = self.pipes.pair(pipe.pair).is_some_and(|pair| pair.connected);
        let Some(source) =
            source.filter(|_| connected && pipe.lost.is_none_or(|_| pipe.feeder.is_some()))
        else {
            return;
        };
        let had_sink = pipe.started;
        self.ask_for_pipe(id, &source, out);
        let Some(pipe) = self.pipes.pipe_mut(id) else { return };
        let (to, producer) = (pipe.to, pipe.producer.clone());
        let waiting = std::mem::take(&mut pipe.waiting);
        let observers = std::mem::take(&mut pipe.observers);
        if had_sink {
            self.resync(id, out);
        }
        for observer in observers {
            self.feed_observer(&observer, &producer, to, out);
        }
        for message in waiting {
            self.forward_waiting(to, message, out);
        }
        for fed in self.pipes.fed_by(id) {
            self.start_pipe(fed, out);
        }
    }

    fn ask_for_pipe(&mut self, id: u64, source: &str, out: &mut Vec<Output>) {
        let Some(pipe) = self.pipes.pipe_mut(id) else { return };
        pipe.fed = true;
        let had_sink = std::mem::replace(&mut pipe.started, true);
        let (from, to, number) = (pipe.from, pipe.to, pipe.pair);
        let (producer, consumer, sink) =
            (pipe.producer.clone(), pipe.consumer.clone(), pipe.sink.clone());
        let (stream, visible) = (pipe.stream, pipe.is_visible());
        let mut drawn = std::mem::take(&mut pipe.ssrcs).into_iter();
        let mut ssrcs = Vec::new();
        let Some(pair) = self.pipes.pair_mut(number) else { return };
        let rtx = pair.between_hosts;
        let ends = (pair.sender(from).map(str::to_owned), pair.receiver(to).map(str::to_owned));
        let bodies = if let Some(media) = self.facts.media.get(&producer) {
            // A sink that stays knows those of the first time.
            let mut fresh = || {
                let ssrc = drawn.next().unwrap_or_else(|| pair.fresh_ssrc());
                ssrcs.push(ssrc);
                ssrc
            };
            let names = Names { producer: source, consumer: &consumer, sink: &sink };
            let paused = media.paused && visible;
            let (source, sink) = recipes::media(names, media, paused, rtx, &mut fresh);
            Some(((Method::TransportConsume, source), (Method::TransportProduce, sink)))
        } else {
            self.facts.data.get(&producer).zip(stream).map(|(data, stream)| {
                let (source, sink) = recipes::data(&producer, &consumer, data, stream);
                ((Method::TransportConsumeData, source), (Method::TransportProduceData, sink))
            })
        };
        if let Some(pipe) = self.pipes.pipe_mut(id) {
            pipe.ssrcs = ssrcs;
        }
        let (Some(source), Some(sink)) = ends else { return };
        let Some(((consume, source_body), (produce, sink_body))) = bodies else { return };
        let own = if had_sink { Own::Refeed { pipe: id } } else { Own::Source { pipe: id } };
        self.ask(from, consume, &source, Some(source_body), own, out);
        if !had_sink {
            // On the way to one worker order is kept: the app's own request comes behind.
            self.ask(to, produce, &sink, Some(sink_body), Own::Sink { pipe: id }, out);
        }
    }

    fn forward_waiting(&mut self, to: PartId, message: Message, out: &mut Vec<Output>) {
        let Envelope::Request(request) = message.envelope() else { return };
        let effect = match tracking::effect(&request, &message) {
            Ok(effect) => effect,
            Err(error) => return super::refuse(request.id, &error.to_string(), out),
        };
        let gone = match &effect {
            Effect::Create { id, .. } => self.objects.get(id).is_none(),
            _ => self.objects.get(request.handler_id).is_none(),
        };
        if gone && asks_observer(request.method) {
            return answer_observer(request.id, out);
        }
        if gone {
            return super::routing::refuse_unknown(&request, out);
        }
        self.forward(to, message, effect, true, out);
    }

    /// Sends a request of the library that needs a Producer of another part, once the pipe is
    /// there. `user` is what the pipe feeds.
    pub(super) fn send_piped(
        &mut self,
        producer: &str,
        data: bool,
        to: PartId,
        user: &str,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        let Some(pipe) = self.pipe(producer, data, to, out) else {
            return self.refuse_waiting(&message, "no way to the part of the Producer", out);
        };
        self.use_pipe(pipe, user, out);
        match self.pipes.pipe_mut(pipe) {
            Some(pipe) if !pipe.started => pipe.waiting.push(message),
            _ => self.forward_waiting(to, message, out),
        }
    }

    fn refuse_waiting(&mut self, message: &Message, why: &str, out: &mut Vec<Output>) {
        self.refuse_waiting_as(ErrorKind::Error, message, why, out);
    }

    fn refuse_waiting_as(
        &mut self,
        kind: ErrorKind,
        message: &Message,
        why: &str,
        out: &mut Vec<Output>,
    ) {
        let Envelope::Request(request) = message.envelope() else { return };
        if let Ok(Effect::Create { id, .. }) = tracking::effect(&request, message) {
            self.forget(&id, out);
        }
        super::refuse_as(kind, request.id, why, out);
    }

    /// A pipe cannot be made: those who wait for it hear why.
    fn fail_pipe(&mut self, id: u64, why: &str, out: &mut Vec<Output>) {
        let Some(pipe) = self.remove_pipe(id, out) else { return };
        for message in pipe.waiting {
            self.refuse_waiting(&message, why, out);
        }
    }

    /// Takes a pipe out of the tables. What it fed gets its media from elsewhere, or ends.
    fn remove_pipe(&mut self, id: u64, out: &mut Vec<Output>) -> Option<Pipe> {
        self.end_nap(id, out);
        let orphans = self.pipes.fed_by(id);
        let pipe = self.pipes.remove_pipe(id)?;
        self.resyncs.leave(id, &pipe.users);
        self.release(&pipe.consumer, out);
        let producer = self.objects.get(&pipe.producer);
        if producer.is_some_and(|producer| self.parts.is_open(producer.part)) {
            for orphan in orphans {
                self.leave_orphan(orphan, out);
            }
        }
        Some(pipe)
    }

    /// A worker takes no half of a pipe. What hangs on it would fare no better by another one.
    fn refused_pipe(&mut self, id: u64, source: bool, sink: bool, out: &mut Vec<Output>) {
        if self.pipes.pipe(id).is_some_and(|pipe| !pipe.is_visible()) {
            for fed in self.pipes.fed_by(id) {
                self.close_pipe(fed, true, true, out);
            }
        }
        self.close_pipe(id, source, sink, out);
    }

    /// Ends a pipe, at the ends that still have their half of it.
    pub(super) fn close_pipe(&mut self, id: u64, source: bool, sink: bool, out: &mut Vec<Output>) {
        let Some(pipe) = self.remove_pipe(id, out) else { return };
        let ends = self.pipes.pair(pipe.pair).map(|pair| {
            (pair.sender(pipe.from).map(str::to_owned), pair.receiver(pipe.to).map(str::to_owned))
        });
        if let Some((Some(from), Some(to))) = ends {
            if source && pipe.fed {
                let (method, body) = close_consumer(&pipe);
                self.ask(pipe.from, method, &from, Some(body), Own::Any, out);
            }
            if sink && pipe.started {
                let (method, body) = close_producer(&pipe);
                self.ask(pipe.to, method, &to, Some(body), Own::Any, out);
            }
        }
        let why = if pipe.data {
            format!("DataProducer not found [dataProducerId:{}]", pipe.producer)
        } else {
            format!("Producer not found [producerId:{}]", pipe.producer)
        };
        let closed = self.objects.get(&pipe.producer).is_none();
        for message in pipe.waiting {
            match message.envelope() {
                Envelope::Request(request) if closed && asks_observer(request.method) => {
                    answer_observer(request.id, out);
                }
                _ => self.refuse_waiting_as(ErrorKind::NotFoundError, &message, &why, out),
            }
        }
        let stands_in = self.pipes.pair(pipe.pair).is_some_and(|pair| pair.stands_in);
        if stands_in && self.pipes.pipes_where(|other| other.pair == pipe.pair).is_empty() {
            // No other pipe can use it.
            self.drop_pair(pipe.pair, "", out);
        }
    }

    /// A consumer or observer needs its pipes no more.
    pub(super) fn release(&mut self, user: &str, out: &mut Vec<Output>) {
        for pipe in self.pipes.uses(user) {
            self.release_one(pipe, user, out);
        }
    }
}

fn asks_observer(method: Method) -> bool {
    matches!(method, Method::RtpobserverAddProducer | Method::RtpobserverRemoveProducer)
}

/// What an observer was asked about a Producer before one of the two closed: one worker would have
/// done it, and then undone it.
fn answer_observer(library_id: u32, out: &mut Vec<Output>) {
    let answer = compose::accepted(library_id, None);
    out.push(Output::Library(answer.into_bytes().freeze()));
}

fn body_of(message: &Message) -> Option<request::Body> {
    compose::request_body(message).ok()?.try_into().ok()
}

pub fn close_consumer(pipe: &Pipe) -> (Method, request::Body) {
    if pipe.data {
        let body = transport::CloseDataConsumerRequest { data_consumer_id: pipe.consumer.clone() };
        let body = request::Body::TransportCloseDataConsumerRequest(Box::new(body));
        (Method::TransportCloseDataconsumer, body)
    } else {
        let body = transport::CloseConsumerRequest { consumer_id: pipe.consumer.clone() };
        let body = request::Body::TransportCloseConsumerRequest(Box::new(body));
        (Method::TransportCloseConsumer, body)
    }
}

fn close_producer(pipe: &Pipe) -> (Method, request::Body) {
    if pipe.data {
        let body = transport::CloseDataProducerRequest { data_producer_id: pipe.sink.clone() };
        let body = request::Body::TransportCloseDataProducerRequest(Box::new(body));
        (Method::TransportCloseDataproducer, body)
    } else {
        let body = transport::CloseProducerRequest { producer_id: pipe.sink.clone() };
        let body = request::Body::TransportCloseProducerRequest(Box::new(body));
        (Method::TransportCloseProducer, body)
    }
}
