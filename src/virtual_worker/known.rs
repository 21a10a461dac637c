//! What merged views show of a part whose link is down. The tables know its objects better than
//! any earlier dump: all that the app made and closed there since. Figures and sockets are what
//! the part said last.

use std::collections::HashMap;

use channel_schema::fbs::{
    common::{StringString, StringStringArray},
    request::Method,
    response::{self, Body},
    router, web_rtc_server,
    worker::{self, ChannelMessageHandlers},
};

use super::{
    Object, ObjectKind, Output, PartId, VirtualWorker, pipes::Own, requests::AppRequest,
    tracking::Effect,
};
use crate::channel::{Message, compose};

/// What parts said last of what only they can know.
#[derive(Debug, Default)]
pub struct Known {
    usage: HashMap<PartId, worker::ResourceUsageResponse>,
    servers: HashMap<(String, PartId), web_rtc_server::DumpResponse>,
    /// By transport, what its `WebRtcServer` tells it by.
    fragments: HashMap<String, String>,
}

impl Known {
    pub fn remember(&mut self, part: PartId, handler: &str, body: &Body) {
        match body {
            Body::WorkerResourceUsageResponse(usage) => {
                self.usage.insert(part, usage.as_ref().clone());
            }
            Body::WebRtcServerDumpResponse(dump) => {
                self.servers.insert((handler.to_owned(), part), dump.as_ref().clone());
            }
            _ => {}
        }
    }

    /// Takes from the answer to a request of a transport's what its server's dump will show.
    pub fn learn_fragment(&mut self, transport: &str, answer: &Message) {
        use response::BodyRef as B;
        let fragment = match compose::response_body(answer) {
            Ok(B::WebRtcTransportDumpResponse(body)) => body.ice_parameters(),
            Ok(B::TransportRestartIceResponse(body)) => {
                let fragment = body.username_fragment().map(str::to_owned);
                self.fragments.extend(fragment.map(|one| (transport.to_owned(), one)));
                return;
            }
            _ => return,
        };
        let fragment = fragment.and_then(|one| Ok(one.username_fragment()?.to_owned()));
        self.fragments.extend(fragment.map(|one| (transport.to_owned(), one)));
    }

    pub fn forget_transport(&mut self, id: &str) {
        self.fragments.remove(id);
    }

    pub fn forget_part(&mut self, part: PartId) {
        self.usage.remove(&part);
        self.servers.retain(|(_, on), _| *on != part);
    }

    pub fn forget_server(&mut self, id: &str) {
        self.servers.retain(|(server, _), _| server != id);
    }
}

impl VirtualWorker {
    /// Takes from an answer for the app what views of a `WebRtcServer` need.
    pub(super) fn learn_of_server(
        &mut self,
        part: PartId,
        app: &AppRequest,
        answer: &Message,
        out: &mut Vec<Output>,
    ) {
        match (&app.effect, app.method) {
            (Effect::Create { kind: ObjectKind::WebRtcServer, id, .. }, _) => {
                self.look_at_server(id, part, out);
            }
            (Effect::Create { server: Some(_), id, .. }, _) if self.objects.get(id).is_some() => {
                self.known.learn_fragment(id, answer);
            }
            (_, Method::TransportRestartIce) => {
                let served = |object: &Object| object.server.is_some();
                if self.objects.get(&app.handler).is_some_and(served) {
                    self.known.learn_fragment(&app.handler, answer);
                }
            }
            _ => {}
        }
    }

    /// Asks a new `WebRtcServer` for its sockets.
    pub(super) fn look_at_server(&mut self, id: &str, part: PartId, out: &mut Vec<Output>) {
        if self.facts.servers.get(id).is_some_and(|server| server.parts.contains(&part)) {
            self.ask(part, Method::WebrtcserverDump, id, None, Own::Look(id.to_owned()), out);
        }
    }

    /// Takes the answer to that.
    pub(super) fn saw_server(&mut self, id: &str, part: PartId, answer: &Message) {
        if self.facts.servers.contains_key(id)
            && let Ok(body) = compose::response_body(answer)
            && let Ok(body) = Body::try_from(body)
        {
            self.known.remember(part, id, &body);
        }
    }

    /// The answer of a part that cannot be asked now, if the request has one with a body.
    pub(super) fn last_known(&self, part: PartId, method: Method, handler: &str) -> Option<Body> {
        Some(match method {
            Method::WorkerDump => Body::WorkerDumpResponse(Box::new(self.known_worker(part))),
            Method::WorkerGetResourceUsage => {
                let usage = self.known.usage.get(&part).cloned().unwrap_or_default();
                Body::WorkerResourceUsageResponse(Box::new(usage))
            }
            Method::RouterDump => {
                Body::RouterDumpResponse(Box::new(self.known_router(part, handler)))
            }
            Method::WebrtcserverDump => {
                Body::WebRtcServerDumpResponse(Box::new(self.known_server(part, handler)))
            }
            _ => return None,
        })
    }

    fn known_worker(&self, part: PartId) -> worker::DumpResponse {
        let servers = self.facts.servers.iter().filter(|(_, facts)| facts.parts.contains(&part));
        let routers = self.facts.routers.iter().filter(|(_, facts)| facts.parts.contains(&part));
        let web_rtc_server_ids: Vec<String> = servers.map(|(id, _)| id.clone()).collect();
        let router_ids: Vec<String> = routers.map(|(id, _)| id.clone()).collect();
        let mut channel_request_handlers = self.objects.on(part);
        channel_request_handlers.extend(web_rtc_server_ids.iter().chain(&router_ids).cloned());
        let notified = |id: &&String| {
            self.objects.get(id).is_some_and(|object| {
                use ObjectKind::{DataProducer, Producer, Transport};
                matches!(object.kind, Transport | Producer | DataProducer)
            })
        };
        let channel_notification_handlers =
            channel_request_handlers.iter().filter(notified).cloned().collect();
        worker::DumpResponse {
            pid: self.library_pid,
            web_rtc_server_ids,
            router_ids,
            channel_message_handlers: Box::new(ChannelMessageHandlers {
                channel_request_handlers,
                channel_notification_handlers,
            }),
        }
    }

    fn known_router(&self, part: PartId, router: &str) -> router::DumpResponse {
        let mut on: Vec<(String, &Object)> = Vec::new();
        for id in self.objects.on(part) {
            if let Some(object) = self.objects.get(&id)
                && self.objects.router_of(&id) == Some(router)
            {
                on.push((id, object));
            }
        }
        let of = |kind: ObjectKind| {
            on.iter().filter(move |(_, object)| object.kind == kind).map(|(id, _)| id)
        };
        let consumed = |kind: ObjectKind| -> Vec<StringString> {
            let pair = |id: &String| {
                let value = self.facts.consumed.get(id)?.clone();
                Some(StringString { key: id.clone(), value })
            };
            of(kind).filter_map(pair).collect()
        };
        let consumers = consumed(ObjectKind::Consumer);
        let data_consumers = consumed(ObjectKind::DataConsumer);
        let observed = of(ObjectKind::RtpObserver).flat_map(|observer| {
            let facts = self.facts.observers.get(observer);
            let producers = facts.into_iter().flat_map(|facts| &facts.producers);
            producers.map(|id| StringString { key: observer.clone(), value: id.clone() })
        });
        let observed: Vec<StringString> = observed.collect();
        router::DumpResponse {
            id: router.to_owned(),
            transport_ids: of(ObjectKind::Transport).cloned().collect(),
            rtp_observer_ids: of(ObjectKind::RtpObserver).cloned().collect(),
            map_producer_id_consumer_ids: lists(of(ObjectKind::Producer), &consumers),
            map_producer_id_observer_ids: lists(of(ObjectKind::Producer), &observed),
            map_data_producer_id_data_consumer_ids: lists(
                of(ObjectKind::DataProducer),
                &data_consumers,
            ),
            map_consumer_id_producer_id: consumers,
            map_data_consumer_id_data_producer_id: data_consumers,
        }
    }

    fn known_server(&self, part: PartId, server: &str) -> web_rtc_server::DumpResponse {
        let last = self.known.servers.get(&(server.to_owned(), part)).cloned();
        let last = last.unwrap_or_default();
        let on = |id: &&str| {
            self.objects.get(id).is_some_and(|object| {
                object.part == part && object.server.as_deref() == Some(server)
            })
        };
        let transports = self.objects.of_kind(ObjectKind::Transport).filter(on);
        let web_rtc_transport_ids: Vec<String> = transports.map(str::to_owned).collect();
        let fragment = |id: &String| {
            let fragment = self.known.fragments.get(id)?.clone();
            Some(web_rtc_server::IceUserNameFragment {
                local_ice_username_fragment: fragment,
                web_rtc_transport_id: id.clone(),
            })
        };
        let fragments = web_rtc_transport_ids.iter().filter_map(fragment).collect();
        web_rtc_server::DumpResponse {
            id: server.to_owned(),
            local_ice_username_fragments: fragments,
            web_rtc_transport_ids,
            ..last
        }
    }
}

/// What each of these is used by. Those of other parts, and those that nothing uses, have a key
/// too, as in a worker.
fn lists<'a>(
    own: impl Iterator<Item = &'a String>,
    uses: &[StringString],
) -> Vec<StringStringArray> {
    let mut lists: Vec<StringStringArray> =
        own.map(|id| StringStringArray { key: id.clone(), values: Vec::new() }).collect();
    let mut index: HashMap<String, usize> =
        lists.iter().enumerate().map(|(at, list)| (list.key.clone(), at)).collect();
    for StringString { key, value } in uses {
        let at = *index.entry(value.clone()).or_insert_with(|| {
            lists.push(StringStringArray { key: value.clone(), values: Vec::new() });
            lists.len() - 1
        });
        lists[at].values.push(key.clone());
    }
    lists
}
