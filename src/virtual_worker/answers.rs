//! Requests of the library on their way to a part, and their answers on the way back.

use super::{
    ObjectKind, Output, PartId, VirtualWorker, refuse,
    requests::{AppRequest, Pending},
    rewriting::{self, Rewriting},
    shadows, taken,
    tracking::Effect,
};
use crate::channel::{
    Envelope, Message, compose,
    envelope::{RequestEnvelope, ResponseEnvelope},
    fbs::request::Method,
};

impl VirtualWorker {
    /// Sends a request of the library to a part. `registered`: the table has its object already.
    pub(super) fn forward(
        &mut self,
        part: PartId,
        message: Message,
        effect: Effect,
        registered: bool,
        out: &mut Vec<Output>,
    ) {
        let Envelope::Request(request) = message.envelope() else { return };
        let RequestEnvelope { id: library_id, method, handler_id } = request;
        let rewriting = match self.host(part) {
            Some(host) => rewriting::rewrite(&self.book, host, handler_id, method, &message)
                .map_err(|error| error.to_string()),
            None => Ok(Rewriting::default()),
        };
        let noted = rewriting.and_then(|rewriting| {
            let new = self.register(part, &effect);
            if new {
                self.note(part, &effect, method, &message)?;
            }
            Ok((rewriting, registered || new))
        });
        let (rewriting, registered) = match noted {
            Ok(noted) => noted,
            Err(why) => {
                self.take_back(&effect, registered, out);
                return refuse(library_id, &why, out);
            }
        };
        let handler = handler_id.to_owned();
        let shadowed = match &effect {
            Effect::Create { kind: ObjectKind::Consumer, id, .. } => self.shadows.sent(id),
            _ => false,
        };
        let again = self.outlives_parts(handler_id, method).then(|| Box::new(message.clone()));
        let mut message = rewriting.message.unwrap_or(message);
        let app = AppRequest {
            again,
            library_id,
            method,
            handler,
            effect,
            registered,
            shadowed,
            other_port: rewriting.other_port.map(Box::new),
            sockets: rewriting.sockets,
        };
        let id = self.requests.add(part, Pending::App(Box::new(app)));
        if message.patch_id(id) {
            out.push(Output::Worker(part, message.into_bytes().freeze()));
        } else {
            // The library counts from 1, so only a client of another make gets here.
            if let Some(Pending::App(app)) = self.requests.take(part, id) {
                self.take_back(&app.effect, app.registered, out);
            }
            refuse(library_id, "a request needs an id other than 0", out);
        }
    }

    pub(super) fn response(
        &mut self,
        part: PartId,
        response: ResponseEnvelope,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        match self.requests.take(part, response.id) {
            Some(Pending::App(app)) => self.app_answer(part, *app, response.accepted, message, out),
            Some(Pending::Piece(id)) => {
                self.piece(part, id, Some(message), response.accepted, out);
            }
            Some(Pending::Taken(app, id)) => taken::answer(&app, &id, &message, out),
            Some(Pending::Own(own)) => {
                self.own_answer(part, own, response.accepted, &message, out);
            }
            Some(Pending::Late) => {}
            None => out.push(Output::Diagnostic(format!(
                "dropped an answer to request {} that nobody waits for",
                response.id
            ))),
        }
    }

    fn app_answer(
        &mut self,
        part: PartId,
        mut app: AppRequest,
        accepted: bool,
        mut message: Message,
        out: &mut Vec<Output>,
    ) {
        if !accepted
            && let Some(other) = app.other_port.take()
            && rewriting::is_port_taken(&message)
        {
            return self.ask_again(part, app, *other, out);
        }
        if accepted {
            self.accepted(part, &app, &message, out);
        } else {
            self.take_back(&app.effect, app.registered, out);
        }
        if accepted && app.shadowed {
            message = shadows::unpaused(&message).unwrap_or(message);
        }
        if accepted && app.method == Method::WorkerDump {
            match compose::worker_dump_with_pid(&message, app.library_id, self.library_pid) {
                Ok(dump) => message = dump,
                Err(error) => return refuse(app.library_id, &error.to_string(), out),
            }
        } else if !message.patch_id(app.library_id) {
            return;
        }
        out.push(Output::Library(message.into_bytes().freeze()));
    }

    fn ask_again(
        &mut self,
        part: PartId,
        app: AppRequest,
        mut message: Message,
        out: &mut Vec<Output>,
    ) {
        let id = self.requests.add(part, Pending::App(Box::new(app)));
        if message.patch_id(id) {
            out.push(Output::Worker(part, message.into_bytes().freeze()));
        }
    }

    fn accepted(
        &mut self,
        part: PartId,
        app: &AppRequest,
        answer: &Message,
        out: &mut Vec<Output>,
    ) {
        match &app.effect {
            Effect::Create { kind, id, .. } => {
                // With several parts closes are noted when they leave: what is gone stays gone.
                if !app.registered || !self.spreads() {
                    self.register(part, &app.effect);
                }
                if *kind == ObjectKind::Transport
                    && self.objects.get(id).is_some()
                    && let Some(host) = self.host(part)
                {
                    rewriting::learn(&self.book, host, id, &app.sockets, answer);
                }
                self.tell_new(id);
            }
            Effect::Close { id } => self.forget(id, out),
            Effect::None => {}
        }
        if self.spreads() {
            self.learn_of_server(part, app, answer, out);
        }
    }
}
