//! RTP through real workers over two hops: one pipe between two hosts and one inside the second.

#[allow(dead_code, clippy::unnecessary_box_returns, reason = "shared with tests of the mock")]
#[path = "mock_worker/bodies.rs"]
mod bodies;
#[path = "support/real_worker.rs"]
mod real_worker;
#[path = "relayed_media/rtp.rs"]
mod rtp;
#[path = "relayed_media/world.rs"]
mod world;

use std::time::Duration;

use bodies::Media;
use mediasoup_horizontal::{
    channel::{
        fbs::{notification, plain_transport, request, response},
        method::{Event, Method},
    },
    virtual_worker::PartId,
};
use rtp::{Packet, Receiver, Sender};
use world::World;

const SOURCE: PartId = PartId(1);
const RELAY: PartId = PartId(2);
const SINK: PartId = PartId(3);
const BASE: u32 = 1000;
/// SSRC of the app's consumer.
const OWN: u32 = 9000;
const MANY: usize = 60;
/// As long as a pipe stays awake when all its users are paused.
const QUIET: Duration = Duration::from_secs(10);

/// The Producer on the first host; the relay and the sink on the second one.
async fn two_hosts(media: Media) -> (World, Sender, Receiver) {
    room(World::new(4, 8, |part| part.0 / 2).await, media).await
}

async fn room(mut world: World, media: Media) -> (World, Sender, Receiver) {
    let options = plain_transport::PlainTransportOptions {
        base: Box::new(bodies::options(false)),
        comedia: true,
        ..bodies::plain_options()
    };
    let body = bodies::create_plain("source", options.clone());
    let made = world.call(Method::RouterCreatePlaintransport, "r", body).await;
    let Some(response::Body::PlainTransportDumpResponse(made)) = made else { panic!("a dump") };
    let body = bodies::create_web_rtc("relay", vec![bodies::udp(0)]);
    world.call(Method::RouterCreateWebrtctransport, "r", body).await;
    let options = plain_transport::PlainTransportOptions { comedia: false, ..options };
    let body = bodies::create_plain("sink", options);
    world.call(Method::RouterCreatePlaintransport, "r", body).await;
    let receiver = Receiver::bind().await;
    let connect = bodies::connect_plain("127.0.0.1", receiver.port());
    let connect = plain_transport::ConnectRequest { rtcp_port: None, ..connect };
    let body = request::Body::PlainTransportConnectRequest(Box::new(connect));
    world.call(Method::PlaintransportConnect, "sink", body).await;
    world.call(Method::TransportProduce, "source", bodies::produce("p", media, BASE)).await;
    let layers = if media == Media::Simulcast { 3 } else { 1 };
    let ssrcs = (0..layers).map(|index| bodies::ssrc(BASE, index)).collect();
    let sender = Sender::start(made.tuple.local_port, ssrcs).await;
    let count = usize::try_from(layers).expect("few");
    world.until("all streams at their source", |world| alive(world, SOURCE, count)).await;
    (world, sender, receiver)
}

fn alive(world: &World, part: PartId, count: usize) -> bool {
    let scores = world.scores.get(&part);
    scores.is_some_and(|scores| scores.iter().filter(|score| **score > 0).count() == count)
}

async fn consume(world: &mut World, transport: &str, id: &str, media: Media) {
    let request = bodies::consume_request(id, "p", media, BASE, OWN);
    let body = request::Body::TransportConsumeRequest(Box::new(request));
    world.call(Method::TransportConsume, transport, body).await;
}

/// Packets without a hole, of the consumer that the app made.
async fn contiguous(receiver: &Receiver, last: Option<Packet>) -> Packet {
    let mut last = match last {
        Some(last) => last,
        None => receiver.next().await,
    };
    for _ in 0..MANY {
        let packet = receiver.next().await;
        assert_eq!((packet.ssrc, packet.payload_type), (OWN, 100));
        assert_eq!(packet.sequence, last.sequence.wrapping_add(1), "{packet:?} after {last:?}");
        last = packet;
    }
    last
}

#[tokio::test]
async fn two_hops_and_the_death_of_the_one_between() {
    let (mut world, _sender, receiver) = two_hosts(Media::Vp8).await;
    consume(&mut world, "relay", "c1", Media::Vp8).await;
    consume(&mut world, "sink", "c2", Media::Vp8).await;
    assert_eq!(world.count(SOURCE, Method::TransportConsume), 1, "one copy crosses");
    assert_eq!(world.count(RELAY, Method::TransportConsume), 2, "and goes on from there");
    outlives(world, &receiver).await;
}

#[tokio::test]
async fn two_hops_between_three_hosts_and_the_death_of_the_one_between() {
    let world = World::new(4, 1, |part| part.0).await;
    let (mut world, _sender, receiver) = room(world, Media::Vp8).await;
    consume(&mut world, "relay", "c1", Media::Vp8).await;
    consume(&mut world, "sink", "c2", Media::Vp8).await;
    assert_eq!(world.count(SOURCE, Method::TransportConsume), 1, "it feeds one only");
    assert_eq!(world.count(RELAY, Method::TransportConsume), 2);
    outlives(world, &receiver).await;
}

/// The relay dies, and the sink's consumer goes on.
async fn outlives(mut world: World, receiver: &Receiver) {
    let last = contiguous(receiver, None).await;
    world.events.clear();
    world.kill(RELAY).await;
    let again = |world: &World| world.diagnostics.iter().any(|text| text.contains("is on part 3"));
    world.until("the Producer on the sink's part", again).await;
    // All that was under way when the relay died came before.
    let last = contiguous(receiver, Some(last)).await;
    let before = last.number;
    let last = contiguous(receiver, Some(last)).await;
    assert!(last.number > before);
    world.call(Method::ConsumerDump, "c2", None).await;
    let heard = world.heard("c2");
    assert!(heard.iter().all(|event| *event == Event::ConsumerScore), "{heard:?}");
    // Pause, resume and close of the Producer still reach it.
    world.call(Method::ProducerPause, "p", None).await;
    world.call(Method::ProducerResume, "p", None).await;
    world.call(Method::TransportCloseProducer, "source", bodies::close_producer("p")).await;
    world.until("the end", |world| world.heard("c2").contains(&Event::ConsumerProducerClose)).await;
    let mut heard = world.heard("c2");
    heard.retain(|event| *event != Event::ConsumerScore);
    let wanted =
        [Event::ConsumerProducerPause, Event::ConsumerProducerResume, Event::ConsumerProducerClose];
    assert_eq!(heard, wanted);
}

fn layer(world: &World) -> Option<i16> {
    let last = world.events.iter().rev().find_map(|event| match &event.body {
        Some(notification::Body::ConsumerLayersChangeNotification(body))
            if event.handler_id == "c2" =>
        {
            Some(body.layers.as_ref().map(|layers| i16::from(layers.spatial_layer)))
        }
        _ => None,
    });
    last.flatten()
}

#[tokio::test]
async fn simulcast_sleeps_and_wakes_in_its_top_layer() {
    let (mut world, _sender, receiver) = two_hosts(Media::Simulcast).await;
    let mut relayed = bodies::consume_request("c1", "p", Media::Simulcast, BASE, OWN);
    relayed.paused = true;
    let body = request::Body::TransportConsumeRequest(Box::new(relayed));
    world.call(Method::TransportConsume, "relay", body).await;
    consume(&mut world, "sink", "c2", Media::Simulcast).await;
    world.until("the top layer", |world| layer(world) == Some(2)).await;
    assert_eq!(contiguous(&receiver, None).await.layer, 2);
    world.call(Method::ConsumerPause, "c2", None).await;
    world.pass(QUIET).await;
    assert_eq!(world.count(SOURCE, Method::ConsumerPause), 1);
    // The sink's worker finds that nothing comes, and the app hears nothing of it.
    world.events.clear();
    world.until("silence", |world| alive(world, SINK, 0)).await;
    world.call(Method::ConsumerDump, "c2", None).await;
    assert_eq!(world.heard("c2"), [] as [Event; 0]);
    receiver.drain();
    world.call(Method::ConsumerResume, "c2", None).await;
    let first = receiver.next().await;
    assert_eq!((first.layer, first.ssrc), (2, OWN), "none of the lower layers comes before");
    world.until("the top layer", |world| layer(world) == Some(2)).await;
    contiguous(&receiver, Some(first)).await;
}
