//! What a close reaches on other parts.

use channel_schema::fbs::{request, worker};

use super::{
    Object, ObjectKind, Output, PartId, VirtualWorker, pipes::Own, refuse_as,
    routing::refuse_unknown, shadows, tracking::Effect,
};
use crate::channel::{Envelope, Message, compose::ErrorKind, fbs::request::Method, method};

impl VirtualWorker {
    /// Closes an object of the app. The table loses it as the request leaves: what is sent behind
    /// it to the same worker comes too late there too.
    pub(super) fn close(&mut self, message: Message, id: &str, out: &mut Vec<Output>) {
        let Envelope::Request(request) = message.envelope() else { return };
        let (what, kind) = closed(request.method);
        let found = self.objects.get(id).filter(|object| {
            let parent = object.parent.as_deref();
            object.kind == kind && parent.is_none_or(|parent| parent == request.handler_id)
        });
        let Some(found) = found else {
            let handler = self.objects.get(request.handler_id).map(|handler| handler.part);
            if let Some(part) = handler.filter(|part| self.parts.is_open(*part)) {
                // A worker knows best what is wrong with that.
                return self.forward(part, message, Effect::None, false, out);
            }
            let reason = format!("{what} not found [method:{}]", method::name(request.method));
            return refuse_as(ErrorKind::NotFoundError, request.id, &reason, out);
        };
        let part = found.part;
        if self.is_waiting(id) {
            // The worker has not heard of it.
            let answer = crate::channel::compose::accepted(request.id, None);
            self.forget(id, out);
            return out.push(Output::Library(answer.into_bytes().freeze()));
        }
        self.forward(part, message, Effect::None, false, out);
        self.forget(id, out);
    }

    /// Whether the request that makes the object is still held here.
    fn is_waiting(&self, id: &str) -> bool {
        let open = self.objects.get(id).is_some_and(|object| self.parts.is_open(object.part));
        let held = |pipe: &u64| self.pipes.pipe(*pipe).is_some_and(|pipe| !pipe.started);
        let consumer = self.objects.get(id).is_some_and(|object| {
            matches!(object.kind, ObjectKind::Consumer | ObjectKind::DataConsumer)
        });
        !open || (consumer && self.pipes.uses(id).iter().any(held))
    }

    /// Carries closes on to other parts.
    pub(super) fn after_removed(&mut self, removed: Vec<(String, Object)>, out: &mut Vec<Output>) {
        for (id, object) in &removed {
            match object.kind {
                ObjectKind::Router => self.close_router_parts(id, object.part, out),
                ObjectKind::WebRtcServer => self.close_replicas(id, object.part, out),
                _ => {}
            }
        }
        for (id, object) in removed {
            match object.kind {
                ObjectKind::Producer | ObjectKind::DataProducer => {
                    // On its own part the pipe's consumers go with it.
                    let pipes: Vec<u64> = self.pipes.pipes_of(&id).map(|(pipe, _)| pipe).collect();
                    for pipe in pipes {
                        self.close_pipe(pipe, false, true, out);
                    }
                    for observer in self.facts.observers.values_mut() {
                        observer.producers.remove(&id);
                    }
                }
                ObjectKind::Consumer | ObjectKind::DataConsumer | ObjectKind::RtpObserver => {
                    self.release(&id, out);
                }
                ObjectKind::Transport => {
                    // Its id may be used again before that part opens, and elsewhere.
                    if let Some(message) = self.parts.take_creation(object.part, &id)
                        && let Envelope::Request(request) = message.envelope()
                    {
                        refuse_unknown(&request, out);
                    }
                }
                _ => {}
            }
            let held = self.shadows.forget(&id);
            shadows::answer_held(held, out);
            self.naps.forget(&id);
            self.known.forget_transport(&id);
            self.facts.forget(&id);
        }
        self.growth.look_soon(self.now);
    }

    fn close_router_parts(&mut self, id: &str, owner: PartId, out: &mut Vec<Output>) {
        let Some(facts) = self.facts.routers.remove(id) else { return };
        for pair in self.pipes.pairs_where(|pair| pair.router == id) {
            // The ends go with the Router.
            let Some(pair) = self.pipes.remove_pair(pair) else { continue };
            for end in pair.ends {
                self.book.forget(&end.transport);
            }
        }
        for pipe in self.pipes.pipes_where(|pipe| pipe.router == id) {
            self.close_pipe(pipe, false, false, out);
        }
        for part in facts.parts.into_iter().filter(|part| *part != owner) {
            let body = worker::CloseRouterRequest { router_id: id.to_owned() };
            let body = request::Body::WorkerCloseRouterRequest(Box::new(body));
            self.ask(part, Method::WorkerCloseRouter, "", Some(body), Own::Any, out);
        }
    }

    fn close_replicas(&mut self, id: &str, owner: PartId, out: &mut Vec<Output>) {
        let Some(facts) = self.facts.servers.remove(id) else { return };
        self.known.forget_server(id);
        for part in facts.parts.into_iter().filter(|part| *part != owner) {
            let body = worker::CloseWebRtcServerRequest { web_rtc_server_id: id.to_owned() };
            let body = request::Body::WorkerCloseWebRtcServerRequest(Box::new(body));
            self.ask(part, Method::WorkerWebrtcserverClose, "", Some(body), Own::Any, out);
        }
    }
}

fn closed(method: Method) -> (&'static str, ObjectKind) {
    match method {
        Method::WorkerWebrtcserverClose => ("WebRtcServer", ObjectKind::WebRtcServer),
        Method::WorkerCloseRouter => ("Router", ObjectKind::Router),
        Method::RouterCloseRtpobserver => ("RtpObserver", ObjectKind::RtpObserver),
        Method::TransportCloseProducer => ("Producer", ObjectKind::Producer),
        Method::TransportCloseConsumer => ("Consumer", ObjectKind::Consumer),
        Method::TransportCloseDataproducer => ("DataProducer", ObjectKind::DataProducer),
        Method::TransportCloseDataconsumer => ("DataConsumer", ObjectKind::DataConsumer),
        _ => ("Transport", ObjectKind::Transport),
    }
}
