//! Random programs of valid and invalid requests.

use std::collections::BTreeSet;

use mediasoup_horizontal::channel::{
    fbs::{
        consumer::{self, ConsumerLayers},
        data_consumer,
        data_producer::SendNotification,
        notification, producer,
        request::Body,
        transport::{
            self, SendRtcpNotification, SetMaxIncomingBitrateRequest, SetMaxOutgoingBitrateRequest,
            SetMinOutgoingBitrateRequest,
        },
        web_rtc_transport::DtlsRole,
        worker::UpdateSettingsRequest,
    },
    method::{Event, Method},
};
use proptest::prelude::*;

use crate::{
    bench::{Bench, Reply},
    bodies::{self, Media},
    consistency,
};

/// One step: what to do, and to or with whom.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    action: usize,
    router: usize,
    transport: usize,
    object: usize,
    other: usize,
    flavour: usize,
    /// Addresses some other kind of object than it should.
    astray: bool,
}

/// A step as it is sent.
#[derive(Debug, Clone)]
pub enum Sent {
    Request(Method, String, Option<Body>),
    Notification(Event, String, notification::Body),
}

/// Actions past the methods are notifications; these come more often than others.
const OFTEN: [Method; 11] = [
    Method::WorkerCreateRouter,
    Method::RouterCreateWebrtctransport,
    Method::RouterCreatePlaintransport,
    Method::RouterCreatePipetransport,
    Method::RouterCreateDirecttransport,
    Method::TransportProduce,
    Method::TransportProduce,
    Method::TransportConsume,
    Method::TransportConsume,
    Method::TransportProduceData,
    Method::TransportConsumeData,
];
const METHODS: usize = Method::ENUM_VALUES.len();
const NOTIFICATIONS: usize = 3;

pub fn steps(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let often = METHODS + NOTIFICATIONS;
    let action = prop_oneof![0..often, often..often + OFTEN.len()];
    let astray = prop::bool::weighted(0.06);
    let step = (action, 0..2_usize, 0..5_usize, 0..5_usize, 0..5_usize, 0..8_usize, astray);
    prop::collection::vec(step, length).prop_map(|steps| {
        steps
            .into_iter()
            .map(|(action, router, transport, object, other, flavour, astray)| Step {
                action,
                router,
                transport,
                object,
                other,
                flavour,
                astray,
            })
            .collect()
    })
}

const MEDIA: [Media; 5] = [Media::Opus, Media::Vp8, Media::Simulcast, Media::Svc, Media::Opus];

/// The SSRCs of a producer; those of the last one collide with those of the first.
fn base(producer: usize) -> u32 {
    [10, 20, 30, 40, 10][producer]
}

impl Step {
    fn name(self, kind: &str, index: usize) -> String {
        if self.astray {
            let kinds = ["r", "s", "t", "p", "c", "dp", "dc", "o"];
            format!("{}{}", kinds[self.flavour], index % 2)
        } else {
            format!("{kind}{index}")
        }
    }

    pub fn sent(self) -> Sent {
        let method = match self.action {
            number if number < METHODS => Method::ENUM_VALUES[number],
            number if number < METHODS + NOTIFICATIONS => {
                return self.notification(number - METHODS);
            }
            number => OFTEN[number - METHODS - NOTIFICATIONS],
        };
        let number = method as u8;
        let handler = if number <= Method::WorkerCloseRouter as u8 {
            String::new()
        } else if method == Method::WebrtcserverDump {
            self.name("s", self.router)
        } else if number <= Method::RouterCloseRtpobserver as u8 {
            self.name("r", self.router)
        } else if number <= Method::WebrtctransportConnect as u8 {
            self.name("t", self.transport)
        } else if number <= Method::ProducerEnableTraceEvent as u8 {
            self.name("p", self.object)
        } else if number <= Method::ConsumerEnableTraceEvent as u8 {
            self.name("c", self.object)
        } else if number <= Method::DataproducerResume as u8 {
            self.name("dp", self.object)
        } else if number <= Method::DataconsumerRemoveSubchannel as u8 {
            self.name("dc", self.object)
        } else {
            self.name("o", self.object % 2)
        };
        let body = self.router_body(method).or_else(|| self.transport_body(method));
        Sent::Request(method, handler, body.or_else(|| self.object_body(method)))
    }

    fn notification(self, number: usize) -> Sent {
        let data = b"some bytes".to_vec();
        match number {
            0 => Sent::Notification(
                Event::TransportSendRtcp,
                self.name("t", self.transport),
                notification::Body::TransportSendRtcpNotification(Box::new(SendRtcpNotification {
                    data,
                })),
            ),
            1 => Sent::Notification(
                Event::ProducerSend,
                self.name("p", self.object),
                notification::Body::ProducerSendNotification(Box::new(
                    producer::SendNotification { data },
                )),
            ),
            _ => Sent::Notification(
                Event::DataproducerSend,
                self.name("dp", self.object),
                notification::Body::DataProducerSendNotification(Box::new(SendNotification {
                    ppid: 51,
                    data,
                    subchannels: (self.flavour.is_multiple_of(2)).then(|| vec![self.small()]),
                    required_subchannel: (self.flavour.is_multiple_of(3)).then(|| self.small()),
                    ignored_subchannel: (self.flavour.is_multiple_of(5)).then_some(1),
                })),
            ),
        }
    }

    fn small(self) -> u16 {
        u16::try_from(self.other).expect("small")
    }

    fn listen_info(self) -> transport::ListenInfo {
        let mut info = bodies::udp(0);
        match self.flavour {
            0 => "chicken".clone_into(&mut info.ip),
            1 => info.announced_address = Some("host.example".to_owned()),
            2 => info.protocol = transport::Protocol::Tcp,
            3 => info.expose_internal_ip = true,
            _ => {}
        }
        info
    }

    fn router_body(self, method: Method) -> Option<Body> {
        let server = format!("s{}", self.other % 2);
        let router = self.name("r", self.router);
        let transport = self.name("t", self.transport);
        let observer = self.name("o", self.object % 2);
        Some(match method {
            Method::WorkerUpdateSettings => {
                let log_level = if self.flavour == 0 { "chicken" } else { "none" };
                Body::WorkerUpdateSettingsRequest(Box::new(UpdateSettingsRequest {
                    log_level: Some(log_level.to_owned()),
                    log_tags: None,
                }))
            }
            Method::WorkerCreateWebrtcserver => {
                let infos = vec![self.listen_info(); self.object % 3];
                bodies::create_server(&self.name("s", self.other % 2), infos)
            }
            Method::WorkerWebrtcserverClose => bodies::close_server(&server),
            Method::WorkerCreateRouter => bodies::create_router(&router),
            Method::WorkerCloseRouter => bodies::close_router(&router),
            Method::RouterCreateWebrtctransport => {
                bodies::create_web_rtc(&transport, vec![self.listen_info()])
            }
            Method::RouterCreateWebrtctransportWithServer => {
                bodies::create_web_rtc_with_server(&transport, &server)
            }
            Method::RouterCreatePlaintransport => {
                let mut options = bodies::plain_options();
                options.listen_info = Box::new(self.listen_info());
                options.rtcp_mux = self.object.is_multiple_of(2);
                options.enable_srtp = self.other == 0;
                options.comedia = self.other == 1;
                options.base.enable_sctp = self.object != 3;
                bodies::create_plain(&transport, options)
            }
            Method::RouterCreatePipetransport => bodies::create_pipe(&transport, self.flavour == 0),
            Method::RouterCreateDirecttransport => bodies::create_direct(&transport),
            Method::RouterCloseTransport => bodies::close_transport(&transport),
            Method::RouterCreateActivespeakerobserver => bodies::create_active_speaker(&observer),
            Method::RouterCreateAudiolevelobserver => {
                bodies::create_audio_level(&observer, if self.flavour == 0 { 1 } else { -80 })
            }
            Method::RouterCloseRtpobserver => bodies::close_observer(&observer),
            _ => return None,
        })
    }

    fn transport_body(self, method: Method) -> Option<Body> {
        let bitrate = [0, 1, 29_999, 30_000, 100_000, u64::MAX, 50_000, 30_001][self.flavour];
        let port = 9;
        let stream = (self.flavour.is_multiple_of(2)).then(|| self.small());
        Some(match method {
            Method::TransportSetMaxIncomingBitrate => Body::TransportSetMaxIncomingBitrateRequest(
                Box::new(SetMaxIncomingBitrateRequest { max_incoming_bitrate: bitrate }),
            ),
            Method::TransportSetMaxOutgoingBitrate => Body::TransportSetMaxOutgoingBitrateRequest(
                Box::new(SetMaxOutgoingBitrateRequest { max_outgoing_bitrate: bitrate }),
            ),
            Method::TransportSetMinOutgoingBitrate => Body::TransportSetMinOutgoingBitrateRequest(
                Box::new(SetMinOutgoingBitrateRequest { min_outgoing_bitrate: bitrate }),
            ),
            Method::TransportEnableTraceEvent => {
                let events = transport::TraceEventType::ENUM_VALUES[..self.other % 3].to_vec();
                Body::TransportEnableTraceEventRequest(Box::new(
                    transport::EnableTraceEventRequest { events },
                ))
            }
            Method::TransportProduce => self.produce(),
            Method::TransportConsume => self.consume(),
            Method::TransportProduceData => {
                bodies::produce_data(&self.name("dp", self.object), stream)
            }
            Method::TransportConsumeData => bodies::consume_data(
                &self.name("dc", self.object),
                &format!("dp{}", self.other),
                stream,
                if self.flavour > 5 { &[1, 2] } else { &[] },
            ),
            Method::TransportCloseProducer => bodies::close_producer(&self.name("p", self.object)),
            Method::TransportCloseConsumer => bodies::close_consumer(&self.name("c", self.object)),
            Method::TransportCloseDataproducer => {
                bodies::close_data_producer(&self.name("dp", self.object))
            }
            Method::TransportCloseDataconsumer => {
                bodies::close_data_consumer(&self.name("dc", self.object))
            }
            Method::PlaintransportConnect => {
                let mut body = bodies::connect_plain("127.0.0.1", port);
                body.rtcp_port = (self.flavour.is_multiple_of(2)).then_some(port);
                Body::PlainTransportConnectRequest(Box::new(body))
            }
            Method::PipetransportConnect => {
                let ip = if self.flavour == 0 { "chicken" } else { "127.0.0.1" };
                Body::PipeTransportConnectRequest(Box::new(bodies::connect_pipe(ip, port)))
            }
            Method::WebrtctransportConnect => {
                let role = DtlsRole::ENUM_VALUES[self.other % 3];
                bodies::connect_web_rtc(role, self.flavour % 2)
            }
            _ => return None,
        })
    }

    fn produce(self) -> Body {
        let name = self.name("p", self.object);
        let media = MEDIA[self.object];
        let mut body = bodies::produce_request(&name, media, base(self.object));
        body.paused = self.flavour == 0;
        match self.flavour {
            1 => body.rtp_mapping.encodings[0].mapped_ssrc = 0,
            2 => body.rtp_parameters.mid = Some("mid".to_owned()),
            3 => body.rtp_parameters.rtcp.cname = None,
            _ => {}
        }
        Body::TransportProduceRequest(Box::new(body))
    }

    fn consume(self) -> Body {
        let producer = format!("p{}", self.other);
        let name = self.name("c", self.object);
        let media = MEDIA[self.other];
        if self.flavour.is_multiple_of(3) {
            return bodies::consume_pipe(&name, &producer, media, base(self.other));
        }
        let mut body = bodies::consume_request(&name, &producer, media, base(self.other), 9000);
        body.paused = self.flavour == 1;
        body.preferred_layers = (self.flavour == 2)
            .then(|| Box::new(ConsumerLayers { spatial_layer: 1, temporal_layer: None }));
        if self.flavour == 4 {
            body.rtp_parameters.encodings[0].ssrc = None;
        }
        Body::TransportConsumeRequest(Box::new(body))
    }

    fn object_body(self, method: Method) -> Option<Body> {
        let subchannel = self.small();
        let byte = u8::try_from(self.other).expect("small");
        Some(match method {
            Method::ProducerEnableTraceEvent => {
                let events = producer::TraceEventType::ENUM_VALUES[self.other..].to_vec();
                Body::ProducerEnableTraceEventRequest(Box::new(producer::EnableTraceEventRequest {
                    events,
                }))
            }
            Method::ConsumerSetPreferredLayers => {
                let preferred_layers = ConsumerLayers {
                    spatial_layer: byte,
                    temporal_layer: (self.flavour.is_multiple_of(2)).then_some(byte),
                };
                Body::ConsumerSetPreferredLayersRequest(Box::new(
                    consumer::SetPreferredLayersRequest {
                        preferred_layers: Box::new(preferred_layers),
                    },
                ))
            }
            Method::ConsumerSetPriority => {
                Body::ConsumerSetPriorityRequest(Box::new(consumer::SetPriorityRequest {
                    priority: byte,
                }))
            }
            Method::ConsumerEnableTraceEvent => {
                let events = consumer::TraceEventType::ENUM_VALUES[self.other..].to_vec();
                Body::ConsumerEnableTraceEventRequest(Box::new(consumer::EnableTraceEventRequest {
                    events,
                }))
            }
            Method::DataconsumerSetBufferedAmountLowThreshold => {
                Body::DataConsumerSetBufferedAmountLowThresholdRequest(Box::new(
                    data_consumer::SetBufferedAmountLowThresholdRequest { threshold: 7 },
                ))
            }
            Method::DataconsumerSend => {
                Body::DataConsumerSendRequest(Box::new(data_consumer::SendRequest {
                    ppid: 51,
                    data: vec![0; self.other],
                }))
            }
            Method::DataconsumerSetSubchannels => Body::DataConsumerSetSubchannelsRequest(
                Box::new(data_consumer::SetSubchannelsRequest {
                    subchannels: vec![subchannel, subchannel, 1],
                }),
            ),
            Method::DataconsumerAddSubchannel => Body::DataConsumerAddSubchannelRequest(Box::new(
                data_consumer::AddSubchannelRequest { subchannel },
            )),
            Method::DataconsumerRemoveSubchannel => Body::DataConsumerRemoveSubchannelRequest(
                Box::new(data_consumer::RemoveSubchannelRequest { subchannel }),
            ),
            Method::RtpobserverAddProducer => bodies::add_producer(&self.name("p", self.other)),
            Method::RtpobserverRemoveProducer => {
                bodies::remove_producer(&self.name("p", self.other))
            }
            _ => return None,
        })
    }
}

/// Runs one step.
pub fn run(bench: &mut Bench, sent: Sent) -> Reply {
    match sent {
        Sent::Request(method, handler, body) => bench.request(method, &handler, body),
        Sent::Notification(event, handler, body) => bench.notify(event, &handler, body),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// Every request is answered once, dumps agree with the objects at any time, and what closes
    /// takes along what is under it and nothing else.
    #[test]
    fn dumps_agree_and_nothing_leaks(steps in steps(1..90)) {
        let mut bench = Bench::new();
        let mut view = consistency::check(&mut bench);
        for step in steps {
            let sent = step.sent();
            let reply = run(&mut bench, sent.clone());
            let next = consistency::check(&mut bench);
            if let Sent::Request(Method::WorkerCloseRouter, _, Some(body)) = &sent
                && reply.is_accepted()
            {
                let Body::WorkerCloseRouterRequest(body) = body else { panic!("that body") };
                let under = &view.routers[&body.router_id];
                prop_assert!(next.all.is_disjoint(under));
                let gone: BTreeSet<_> = view.all.difference(&next.all).collect();
                prop_assert_eq!(gone.len(), under.len() + 1);
            } else if !reply.is_accepted() {
                prop_assert_eq!(&view.all, &next.all, "what is refused changes nothing");
            }
            view = next;
        }
        for router in view.routers.keys() {
            bench.call(Method::WorkerCloseRouter, "", bodies::close_router(router));
        }
        let left = consistency::check(&mut bench).all;
        for server in &left {
            bench.call(Method::WorkerWebrtcserverClose, "", bodies::close_server(server));
        }
        prop_assert_eq!(bench.worker.objects().total(), 0);
        prop_assert_eq!(bench.host.sockets(), 0);
    }
}
