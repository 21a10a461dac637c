//! Calls that make servers, transports and observers, calls to any object, and closes.

use mediasoup_horizontal::channel::{
    fbs::{
        consumer::{self, ConsumerLayers},
        data_consumer, producer,
        request::Body,
        transport::SetMaxIncomingBitrateRequest,
        web_rtc_transport::DtlsRole,
        worker::UpdateSettingsRequest,
    },
    method::Method,
};

use super::{Kind, Pick, Planner, Thing};
use crate::{
    bodies::{self, Media},
    calls::Call,
    program::{Act, Wrong},
};

impl Planner {
    pub(super) fn create_server(&mut self, pick: Pick) {
        let id = self.new_id("server", pick);
        let body = bodies::create_server(&id, vec![bodies::udp(0)]);
        self.push(
            Call::request(&id, Method::WorkerCreateWebrtcserver, "", body)
                .creating(&id, None, None),
        );
        self.add(Thing {
            id,
            kind: Kind::Server,
            parent: None,
            router: String::new(),
            server: None,
            source: None,
        });
    }

    pub(super) fn create_transport(&mut self, act: Act, pick: Pick) {
        let router = self.router(Pick {
            wrong: if pick.wrong == Wrong::Stale { Wrong::Nothing } else { pick.wrong },
            ..pick
        });
        if act == Act::WebRtcWithServer && self.some(0, |t| t.kind == Kind::Server).is_none() {
            self.create_server(pick.right());
        }
        let id = self.new_id("transport", pick);
        let mut server = None;
        let (kind, method, body) = match act {
            Act::Plain => {
                let options = bodies::plain_options();
                let body = bodies::create_plain(&id, options);
                (Kind::Plain, Method::RouterCreatePlaintransport, body)
            }
            Act::Pipe => {
                let body = bodies::create_pipe(&id, pick.flavour == 0);
                (Kind::Pipe, Method::RouterCreatePipetransport, body)
            }
            Act::Direct => {
                (Kind::Direct, Method::RouterCreateDirecttransport, bodies::create_direct(&id))
            }
            Act::WebRtcWithServer => {
                let wrong = if pick.flavour == 0 { Wrong::Stale } else { Wrong::Nothing };
                let Some(on) = self.target(pick.whom, wrong, |t| t.kind == Kind::Server) else {
                    return;
                };
                let body = bodies::create_web_rtc_with_server(&id, &on.id);
                server = Some(on.id);
                (Kind::WebRtc, Method::RouterCreateWebrtctransportWithServer, body)
            }
            _ => {
                let body = bodies::create_web_rtc(&id, vec![bodies::udp(0)]);
                (Kind::WebRtc, Method::RouterCreateWebrtctransport, body)
            }
        };
        let text = server.as_ref().map_or(id.clone(), |server| format!("{id} on {server}"));
        self.push(Call::request(text, method, &router.id, body).creating(
            &id,
            Some(&router.id),
            server.as_deref(),
        ));
        if router.id != "nobody" {
            let parent = Some(router.id.clone());
            self.add(Thing { id, kind, parent, router: router.id, server, source: None });
        }
    }

    pub(super) fn create_observer(&mut self, act: Act, pick: Pick) {
        let router = self.router(pick);
        let id = self.new_id("observer", pick);
        let (method, body) = if act == Act::ActiveSpeaker {
            (Method::RouterCreateActivespeakerobserver, bodies::create_active_speaker(&id))
        } else {
            let threshold = if pick.flavour == 0 { 1 } else { -80 };
            (Method::RouterCreateAudiolevelobserver, bodies::create_audio_level(&id, threshold))
        };
        self.push(Call::request(&id, method, &router.id, body).creating(
            &id,
            Some(&router.id),
            None,
        ));
        if router.id != "nobody" {
            self.add(Thing {
                id,
                kind: Kind::Observer,
                parent: Some(router.id.clone()),
                router: router.id,
                server: None,
                source: None,
            });
        }
    }

    pub(super) fn observe(&mut self, act: Act, pick: Pick) {
        if self.some(0, |thing| thing.kind == Kind::Observer).is_none() {
            self.create_observer(Act::ActiveSpeaker, pick.right());
        }
        let wrong = if pick.flavour.is_multiple_of(2) { pick.wrong } else { Wrong::Nothing };
        let observer = self.target(pick.who, wrong, |thing| thing.kind == Kind::Observer);
        let producer = self.target(pick.whom, pick.wrong, |t| matches!(t.kind, Kind::Producer(..)));
        let (Some(observer), Some(producer)) = (observer, producer) else { return };
        let (method, body) = if act == Act::AddProducer {
            (Method::RtpobserverAddProducer, bodies::add_producer(&producer.id))
        } else {
            (Method::RtpobserverRemoveProducer, bodies::remove_producer(&producer.id))
        };
        self.push(Call::request(&producer.id, method, &observer.id, body));
    }

    pub(super) fn consumer_call(&mut self, act: Act, pick: Pick) {
        let wanted = |thing: &Thing| matches!(thing.kind, Kind::Consumer(..));
        let Some(consumer) = self.target(pick.who, pick.wrong, wanted) else { return };
        let byte = u8::try_from(pick.whom % 4).expect("small");
        match act {
            Act::PreferLayers => {
                let preferred_layers = Box::new(ConsumerLayers {
                    spatial_layer: byte,
                    temporal_layer: (pick.flavour.is_multiple_of(2)).then_some(byte),
                });
                let body = consumer::SetPreferredLayersRequest { preferred_layers };
                let body = Body::ConsumerSetPreferredLayersRequest(Box::new(body));
                let method = Method::ConsumerSetPreferredLayers;
                self.push(Call::request(format!("{byte}"), method, &consumer.id, body));
            }
            Act::Priority => {
                let body = consumer::SetPriorityRequest { priority: byte };
                let body = Body::ConsumerSetPriorityRequest(Box::new(body));
                let method = Method::ConsumerSetPriority;
                self.push(Call::request(format!("{byte}"), method, &consumer.id, body));
            }
            _ => {
                // Plain mediasoup never answers these.
                if consumer.kind != Kind::Consumer(Media::Opus, true) {
                    let method = Method::ConsumerRequestKeyFrame;
                    self.push(Call::request("", method, &consumer.id, None));
                }
            }
        }
    }

    pub(super) fn object_call(&mut self, act: Act, pick: Pick) {
        let wanted = |thing: &Thing| method(act, thing.kind).is_some();
        let Some(thing) = self.target(pick.who + 5 * pick.whom, pick.wrong, wanted) else { return };
        let Some(method) = method(act, thing.kind) else { return };
        let body = match method {
            Method::ProducerEnableTraceEvent => Some(Body::ProducerEnableTraceEventRequest(
                Box::new(producer::EnableTraceEventRequest {
                    events: producer::TraceEventType::ENUM_VALUES[1..].to_vec(),
                }),
            )),
            Method::ConsumerEnableTraceEvent => Some(Body::ConsumerEnableTraceEventRequest(
                Box::new(consumer::EnableTraceEventRequest {
                    events: consumer::TraceEventType::ENUM_VALUES[1..].to_vec(),
                }),
            )),
            _ => None,
        };
        self.push(Call::request("", method, &thing.id, body));
    }

    pub(super) fn subchannels(&mut self, pick: Pick) {
        let wanted = |thing: &Thing| thing.kind == Kind::DataConsumer;
        let Some(consumer) = self.target(pick.who, pick.wrong, wanted) else { return };
        let subchannel = u16::try_from(pick.whom).expect("small");
        let (method, body) = if pick.flavour.is_multiple_of(2) {
            let body = data_consumer::AddSubchannelRequest { subchannel };
            let body = Body::DataConsumerAddSubchannelRequest(Box::new(body));
            (Method::DataconsumerAddSubchannel, body)
        } else {
            let body = data_consumer::SetSubchannelsRequest { subchannels: vec![subchannel, 1] };
            let body = Body::DataConsumerSetSubchannelsRequest(Box::new(body));
            (Method::DataconsumerSetSubchannels, body)
        };
        self.push(Call::request(format!("{subchannel}"), method, &consumer.id, body));
    }

    pub(super) fn transport_call(&mut self, act: Act, pick: Pick) {
        let transport = self.transport(pick.who, pick, |_| true);
        let (method, body) = match (act, transport.kind) {
            (Act::RestartIce, _) => (Method::TransportRestartIce, None),
            (Act::Connect, Kind::WebRtc) => {
                let role = DtlsRole::ENUM_VALUES[pick.whom % 3];
                let body = bodies::connect_web_rtc(role, pick.flavour % 2);
                (Method::WebrtctransportConnect, Some(body))
            }
            // These would make a real worker speak to a port that nobody has.
            (Act::Connect, _) if self.limits.real => return,
            (Act::Connect, Kind::Plain) => {
                let body = Box::new(bodies::connect_plain("127.0.0.1", 9));
                (Method::PlaintransportConnect, Some(Body::PlainTransportConnectRequest(body)))
            }
            (Act::Connect, Kind::Pipe) => {
                let body = Box::new(bodies::connect_pipe("127.0.0.1", 9));
                (Method::PipetransportConnect, Some(Body::PipeTransportConnectRequest(body)))
            }
            (Act::Connect, _) => return,
            _ => {
                let max_incoming_bitrate = [0, 30_000, 1 << 63, 500][pick.flavour % 4];
                let body = SetMaxIncomingBitrateRequest { max_incoming_bitrate };
                let body = Body::TransportSetMaxIncomingBitrateRequest(Box::new(body));
                (Method::TransportSetMaxIncomingBitrate, Some(body))
            }
        };
        self.push(Call::request("", method, &transport.id, body));
    }

    pub(super) fn worker_call(&mut self, pick: Pick) {
        let (method, body) = match pick.flavour {
            0..=3 => (Method::WorkerDump, None),
            4 => (Method::WorkerGetResourceUsage, None),
            level => {
                let log_level = if level == 5 { "chicken" } else { "none" };
                let body =
                    UpdateSettingsRequest { log_level: Some(log_level.to_owned()), log_tags: None };
                let body = Body::WorkerUpdateSettingsRequest(Box::new(body));
                (Method::WorkerUpdateSettings, Some(body))
            }
        };
        self.push(Call::request("", method, "", body));
    }

    pub(super) fn close(&mut self, act: Act, pick: Pick) {
        let wanted = |thing: &Thing| match act {
            Act::CloseConsumer => matches!(thing.kind, Kind::Consumer(..)),
            Act::CloseDataConsumer => thing.kind == Kind::DataConsumer,
            Act::CloseProducer => matches!(thing.kind, Kind::Producer(..)),
            Act::CloseDataProducer => thing.kind == Kind::DataProducer,
            Act::CloseObserver => thing.kind == Kind::Observer,
            Act::CloseTransport => thing.kind.is_transport(),
            Act::CloseRouter => thing.kind == Kind::Router,
            _ => thing.kind == Kind::Server,
        };
        let Some(thing) = self.target(pick.who, pick.wrong, wanted) else { return };
        let id = thing.id.clone();
        let (method, body) = match act {
            Act::CloseConsumer => (Method::TransportCloseConsumer, bodies::close_consumer(&id)),
            Act::CloseDataConsumer => {
                (Method::TransportCloseDataconsumer, bodies::close_data_consumer(&id))
            }
            Act::CloseProducer => (Method::TransportCloseProducer, bodies::close_producer(&id)),
            Act::CloseDataProducer => {
                (Method::TransportCloseDataproducer, bodies::close_data_producer(&id))
            }
            Act::CloseObserver => (Method::RouterCloseRtpobserver, bodies::close_observer(&id)),
            Act::CloseTransport => (Method::RouterCloseTransport, bodies::close_transport(&id)),
            Act::CloseRouter => (Method::WorkerCloseRouter, bodies::close_router(&id)),
            _ => (Method::WorkerWebrtcserverClose, bodies::close_server(&id)),
        };
        let handler = thing.parent.unwrap_or_default();
        self.push(Call::request(&id, method, &handler, body).closing(&id));
        self.remove(&id);
    }
}

/// The method of a call that several kinds of objects know.
fn method(act: Act, kind: Kind) -> Option<Method> {
    use Method as M;
    Some(match (act, kind) {
        (Act::Pause, Kind::Producer(..)) => M::ProducerPause,
        (Act::Pause, Kind::Consumer(..)) => M::ConsumerPause,
        (Act::Pause, Kind::DataProducer) => M::DataproducerPause,
        (Act::Pause, Kind::DataConsumer) => M::DataconsumerPause,
        (Act::Pause, Kind::Observer) => M::RtpobserverPause,
        (Act::Resume, Kind::Producer(..)) => M::ProducerResume,
        (Act::Resume, Kind::Consumer(..)) => M::ConsumerResume,
        (Act::Resume, Kind::DataProducer) => M::DataproducerResume,
        (Act::Resume, Kind::DataConsumer) => M::DataconsumerResume,
        (Act::Resume, Kind::Observer) => M::RtpobserverResume,
        (Act::Dump, Kind::Server) => M::WebrtcserverDump,
        (Act::Dump, Kind::Router) => M::RouterDump,
        (Act::Dump, Kind::Producer(..)) => M::ProducerDump,
        (Act::Dump, Kind::Consumer(..)) => M::ConsumerDump,
        (Act::Dump, Kind::DataProducer) => M::DataproducerDump,
        (Act::Dump, Kind::DataConsumer) => M::DataconsumerDump,
        (Act::Dump, kind) if kind.is_transport() => M::TransportDump,
        (Act::Stats, Kind::Producer(..)) => M::ProducerGetStats,
        (Act::Stats, Kind::Consumer(..)) => M::ConsumerGetStats,
        (Act::Stats, Kind::DataProducer) => M::DataproducerGetStats,
        (Act::Stats, Kind::DataConsumer) => M::DataconsumerGetStats,
        (Act::Stats, kind) if kind.is_transport() => M::TransportGetStats,
        (Act::Trace, Kind::Producer(..)) => M::ProducerEnableTraceEvent,
        (Act::Trace, Kind::Consumer(..)) => M::ConsumerEnableTraceEvent,
        _ => return None,
    })
}
