//! The objects of a worker. All ids are of one namespace, as in a real worker.

use std::collections::BTreeMap;

use super::{
    consumer::Consumer, data_consumer::DataConsumer, data_producer::DataProducer,
    producer::Producer, refusal::Refusal, router::Router, rtp_observer::RtpObserver,
    transport::Transport, web_rtc_server::WebRtcServer,
};

#[derive(Debug)]
pub(super) enum Object {
    WebRtcServer(Box<WebRtcServer>),
    Router(Box<Router>),
    Transport(Box<Transport>),
    Producer(Box<Producer>),
    Consumer(Box<Consumer>),
    DataProducer(Box<DataProducer>),
    DataConsumer(Box<DataConsumer>),
    RtpObserver(Box<RtpObserver>),
}

/// What kind of object an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    WebRtcServer,
    Router,
    Transport,
    Producer,
    Consumer,
    DataProducer,
    DataConsumer,
    RtpObserver,
}

/// How many objects of each kind are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Objects {
    pub web_rtc_servers: usize,
    pub routers: usize,
    pub transports: usize,
    pub producers: usize,
    pub consumers: usize,
    pub data_producers: usize,
    pub data_consumers: usize,
    pub rtp_observers: usize,
}

impl Objects {
    /// All of them.
    pub fn total(self) -> usize {
        self.web_rtc_servers
            + self.routers
            + self.transports
            + self.producers
            + self.consumers
            + self.data_producers
            + self.data_consumers
            + self.rtp_observers
    }
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    objects: BTreeMap<String, Object>,
}

macro_rules! accessors {
    ($($variant:ident: $type:ty, $get:ident, $get_mut:ident, $take:ident;)*) => {
        $(
            pub fn $get(&self, id: &str) -> Option<&$type> {
                match self.objects.get(id)? {
                    Object::$variant(object) => Some(object),
                    _ => None,
                }
            }

            pub fn $get_mut(&mut self, id: &str) -> Option<&mut $type> {
                match self.objects.get_mut(id)? {
                    Object::$variant(object) => Some(object),
                    _ => None,
                }
            }

            pub fn $take(&mut self, id: &str) -> Option<$type> {
                self.$get(id)?;
                match self.objects.remove(id)? {
                    Object::$variant(object) => Some(*object),
                    _ => None,
                }
            }
        )*
    };
}

impl Registry {
    accessors! {
        WebRtcServer: WebRtcServer, web_rtc_server, web_rtc_server_mut, take_web_rtc_server;
        Router: Router, router, router_mut, take_router;
        Transport: Transport, transport, transport_mut, take_transport;
        Producer: Producer, producer, producer_mut, take_producer;
        Consumer: Consumer, consumer, consumer_mut, take_consumer;
        DataProducer: DataProducer, data_producer, data_producer_mut, take_data_producer;
        DataConsumer: DataConsumer, data_consumer, data_consumer_mut, take_data_consumer;
        RtpObserver: RtpObserver, rtp_observer, rtp_observer_mut, take_rtp_observer;
    }

    pub fn kind(&self, id: &str) -> Option<Kind> {
        self.objects.get(id).map(Object::kind)
    }

    /// Refuses an id that any object has.
    pub fn check_free(&self, id: &str) -> Result<(), Refusal> {
        if self.objects.contains_key(id) {
            Err(Refusal::error(format!("Channel request handler with ID {id} already exists")))
        } else {
            Ok(())
        }
    }

    pub fn insert(&mut self, id: String, object: Object) {
        self.objects.insert(id, object);
    }

    pub fn clear(&mut self) {
        self.objects.clear();
    }

    /// The ids of these kinds.
    pub fn ids(&self, kinds: &[Kind]) -> Vec<String> {
        self.objects
            .iter()
            .filter(|(_, object)| kinds.is_empty() || kinds.contains(&object.kind()))
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub fn count(&self) -> Objects {
        let mut objects = Objects::default();
        for object in self.objects.values() {
            *match object.kind() {
                Kind::WebRtcServer => &mut objects.web_rtc_servers,
                Kind::Router => &mut objects.routers,
                Kind::Transport => &mut objects.transports,
                Kind::Producer => &mut objects.producers,
                Kind::Consumer => &mut objects.consumers,
                Kind::DataProducer => &mut objects.data_producers,
                Kind::DataConsumer => &mut objects.data_consumers,
                Kind::RtpObserver => &mut objects.rtp_observers,
            } += 1;
        }
        objects
    }
}

impl Object {
    fn kind(&self) -> Kind {
        match self {
            Self::WebRtcServer(_) => Kind::WebRtcServer,
            Self::Router(_) => Kind::Router,
            Self::Transport(_) => Kind::Transport,
            Self::Producer(_) => Kind::Producer,
            Self::Consumer(_) => Kind::Consumer,
            Self::DataProducer(_) => Kind::DataProducer,
            Self::DataConsumer(_) => Kind::DataConsumer,
            Self::RtpObserver(_) => Kind::RtpObserver,
        }
    }
}
