//! The worker's methods: their names in error texts and the body that each one needs.

pub use channel_schema::fbs::{notification::Event, request::Method};
use channel_schema::tables;

/// How many methods there are.
pub const COUNT: usize = 68;

/// One row a method, in the order of the enum: the name as the worker prints it in errors, and the
/// table that its body must be. A worker that gets another body, or none, crashes.
static METHODS: [(&str, Option<usize>); COUNT] = [
    ("worker.dump", None),
    ("worker.getResourceUsage", None),
    ("worker.updateSettings", Some(tables::FBS_WORKER_UPDATESETTINGSREQUEST)),
    ("worker.createWebRtcServer", Some(tables::FBS_WORKER_CREATEWEBRTCSERVERREQUEST)),
    ("worker.createRouter", Some(tables::FBS_WORKER_CREATEROUTERREQUEST)),
    ("worker.closeWebRtcServer", Some(tables::FBS_WORKER_CLOSEWEBRTCSERVERREQUEST)),
    ("worker.closeRouter", Some(tables::FBS_WORKER_CLOSEROUTERREQUEST)),
    ("webRtcServer.dump", None),
    ("router.dump", None),
    ("router.createWebRtcTransport", Some(tables::FBS_ROUTER_CREATEWEBRTCTRANSPORTREQUEST)),
    (
        "router.createWebRtcTransportWithServer",
        Some(tables::FBS_ROUTER_CREATEWEBRTCTRANSPORTREQUEST),
    ),
    ("router.createPlainTransport", Some(tables::FBS_ROUTER_CREATEPLAINTRANSPORTREQUEST)),
    ("router.createPipeTransport", Some(tables::FBS_ROUTER_CREATEPIPETRANSPORTREQUEST)),
    ("router.createDirectTransport", Some(tables::FBS_ROUTER_CREATEDIRECTTRANSPORTREQUEST)),
    ("router.closeTransport", Some(tables::FBS_ROUTER_CLOSETRANSPORTREQUEST)),
    (
        "router.createActiveSpeakerObserver",
        Some(tables::FBS_ROUTER_CREATEACTIVESPEAKEROBSERVERREQUEST),
    ),
    ("router.createAudioLevelObserver", Some(tables::FBS_ROUTER_CREATEAUDIOLEVELOBSERVERREQUEST)),
    ("router.closeRtpObserver", Some(tables::FBS_ROUTER_CLOSERTPOBSERVERREQUEST)),
    ("transport.dump", None),
    ("transport.getStats", None),
    ("transport.connect", None),
    ("transport.setMaxIncomingBitrate", Some(tables::FBS_TRANSPORT_SETMAXINCOMINGBITRATEREQUEST)),
    ("transport.setMaxOutgoingBitrate", Some(tables::FBS_TRANSPORT_SETMAXOUTGOINGBITRATEREQUEST)),
    ("transport.setMinOutgoingBitrate", Some(tables::FBS_TRANSPORT_SETMINOUTGOINGBITRATEREQUEST)),
    ("transport.restartIce", None),
    ("transport.produce", Some(tables::FBS_TRANSPORT_PRODUCEREQUEST)),
    ("transport.produceData", Some(tables::FBS_TRANSPORT_PRODUCEDATAREQUEST)),
    ("transport.consume", Some(tables::FBS_TRANSPORT_CONSUMEREQUEST)),
    ("transport.consumeData", Some(tables::FBS_TRANSPORT_CONSUMEDATAREQUEST)),
    ("transport.enableTraceEvent", Some(tables::FBS_TRANSPORT_ENABLETRACEEVENTREQUEST)),
    ("transport.closeProducer", Some(tables::FBS_TRANSPORT_CLOSEPRODUCERREQUEST)),
    ("transport.closeConsumer", Some(tables::FBS_TRANSPORT_CLOSECONSUMERREQUEST)),
    ("transport.closeDataProducer", Some(tables::FBS_TRANSPORT_CLOSEDATAPRODUCERREQUEST)),
    ("transport.closeDataConsumer", Some(tables::FBS_TRANSPORT_CLOSEDATACONSUMERREQUEST)),
    ("plainTransport.connect", Some(tables::FBS_PLAINTRANSPORT_CONNECTREQUEST)),
    ("pipeTransport.connect", Some(tables::FBS_PIPETRANSPORT_CONNECTREQUEST)),
    ("webRtcTransport.connect", Some(tables::FBS_WEBRTCTRANSPORT_CONNECTREQUEST)),
    ("producer.dump", None),
    ("producer.getStats", None),
    ("producer.pause", None),
    ("producer.resume", None),
    ("producer.enableTraceEvent", Some(tables::FBS_PRODUCER_ENABLETRACEEVENTREQUEST)),
    ("consumer.dump", None),
    ("consumer.getStats", None),
    ("consumer.pause", None),
    ("consumer.resume", None),
    ("consumer.setPreferredLayers", Some(tables::FBS_CONSUMER_SETPREFERREDLAYERSREQUEST)),
    ("consumer.setPriority", Some(tables::FBS_CONSUMER_SETPRIORITYREQUEST)),
    ("consumer.requestKeyFrame", None),
    ("consumer.enableTraceEvent", Some(tables::FBS_CONSUMER_ENABLETRACEEVENTREQUEST)),
    ("dataProducer.dump", None),
    ("dataProducer.getStats", None),
    ("dataProducer.pause", None),
    ("dataProducer.resume", None),
    ("dataConsumer.dump", None),
    ("dataConsumer.getStats", None),
    ("dataConsumer.pause", None),
    ("dataConsumer.resume", None),
    ("dataConsumer.getBufferedAmount", None),
    (
        "dataConsumer.setBufferedAmountLowThreshold",
        Some(tables::FBS_DATACONSUMER_SETBUFFEREDAMOUNTLOWTHRESHOLDREQUEST),
    ),
    ("dataConsumer.send", Some(tables::FBS_DATACONSUMER_SENDREQUEST)),
    ("dataConsumer.setSubchannels", Some(tables::FBS_DATACONSUMER_SETSUBCHANNELSREQUEST)),
    ("dataConsumer.addSubchannel", Some(tables::FBS_DATACONSUMER_ADDSUBCHANNELREQUEST)),
    ("dataConsumer.removeSubchannel", Some(tables::FBS_DATACONSUMER_REMOVESUBCHANNELREQUEST)),
    ("rtpObserver.pause", None),
    ("rtpObserver.resume", None),
    ("rtpObserver.addProducer", Some(tables::FBS_RTPOBSERVER_ADDPRODUCERREQUEST)),
    ("rtpObserver.removeProducer", Some(tables::FBS_RTPOBSERVER_REMOVEPRODUCERREQUEST)),
];

/// Tags of the union `FBS.WebRtcTransport.Listen`.
const LISTEN_INDIVIDUAL: u8 = 1;
const LISTEN_SERVER: u8 = 2;

/// The method of that number.
pub fn from_number(number: u8) -> Option<Method> {
    Method::try_from(number).ok()
}

/// All methods, in the order of their numbers.
pub fn all() -> impl Iterator<Item = Method> {
    (0..=u8::MAX).map_while(from_number)
}

/// The method's name as mediasoup writes it in errors, such as `transport.produce`.
pub fn name(method: Method) -> &'static str {
    METHODS[usize::from(method as u8)].0
}

/// The table that the method's body is, if it has one.
pub(super) fn body(method: Method) -> Option<usize> {
    METHODS[usize::from(method as u8)].1
}

/// The tag of what a new `WebRtcTransport` must listen on. The worker takes it for that, whatever
/// it is, and crashes on the other.
pub(super) fn listen(method: Method) -> Option<u8> {
    match method {
        Method::RouterCreateWebrtctransport => Some(LISTEN_INDIVIDUAL),
        Method::RouterCreateWebrtctransportWithServer => Some(LISTEN_SERVER),
        _ => None,
    }
}

/// Whether the worker itself handles the method; all others go to the object of their handler id.
pub fn is_worker_method(method: Method) -> bool {
    (method as u8) <= (Method::WorkerCloseRouter as u8)
}

/// Whether the method closes an object.
pub fn closes(method: Method) -> bool {
    use Method as M;
    matches!(
        method,
        M::WorkerWebrtcserverClose
            | M::WorkerCloseRouter
            | M::RouterCloseTransport
            | M::RouterCloseRtpobserver
            | M::TransportCloseProducer
            | M::TransportCloseConsumer
            | M::TransportCloseDataproducer
            | M::TransportCloseDataconsumer
    )
}

/// Whether a worker takes the notification with this table as its body.
pub(super) fn takes_notification(event: Event, body: Option<usize>) -> bool {
    let needed = match event {
        Event::WorkerClose => None,
        Event::TransportSendRtcp => Some(tables::FBS_TRANSPORT_SENDRTCPNOTIFICATION),
        Event::ProducerSend => Some(tables::FBS_PRODUCER_SENDNOTIFICATION),
        Event::DataproducerSend => Some(tables::FBS_DATAPRODUCER_SENDNOTIFICATION),
        _ => return false,
    };
    needed == body
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method names and bodies as the schema spells them, without what the spellings differ in.
    fn plain(name: &str) -> String {
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
    }

    #[test]
    fn every_row_stands_at_its_method() {
        for (number, (name, body)) in METHODS.iter().enumerate() {
            let number = u8::try_from(number).expect("68 methods");
            let method = from_number(number).expect("the enum has it");
            let expected = match method {
                // The only one that the worker's texts call otherwise.
                Method::WorkerWebrtcserverClose => "WorkerCloseWebRtcServer".to_owned(),
                _ => format!("{method:?}"),
            };
            assert_eq!(plain(name), plain(&expected));
            let Some(body) = body else { continue };
            let table = tables::TYPES[*body].name;
            let owner = table.strip_prefix("FBS.").and_then(|name| name.strip_suffix("Request"));
            let with_server = plain("WithServer");
            assert_eq!(plain(owner.expect("a request")), plain(name).replace(&with_server, ""));
        }
        assert!(from_number(68).is_none());
    }

    #[test]
    fn every_body_has_a_method() {
        let request = &tables::TYPES[tables::FBS_REQUEST_REQUEST];
        let bodies = request.fields.iter().find_map(|field| match field.kind {
            channel_schema::Kind::Union(union) => Some(tables::UNIONS[union]),
            _ => None,
        });
        for body in bodies.expect("a request has a body") {
            let name = tables::TYPES[*body].name;
            assert!(METHODS.iter().any(|(_, taken)| *taken == Some(*body)), "{name}");
        }
    }
}
