//! Calls that make producers and consumers.

use mediasoup_horizontal::channel::{
    fbs::{
        consumer::ConsumerLayers, data_producer::SendNotification, notification, request::Body,
        transport::ConsumeRequest,
    },
    method::{Event, Method},
};

use super::{Kind, Pick, Planner, Thing};
use crate::{
    bodies::{self, Media},
    calls::{Call, Effect, Sent},
    program::Wrong,
};

const MEDIA: [Media; 4] = [Media::Opus, Media::Vp8, Media::Simulcast, Media::Svc];

impl Planner {
    fn producer_of(&mut self, router: &str, pick: Pick) -> Option<Thing> {
        let wanted = |thing: &Thing| matches!(thing.kind, Kind::Producer(..));
        let here = |thing: &Thing| wanted(thing) && thing.router == router;
        // One in eight asks for a producer of another router.
        if pick.flavour == 7
            && let Some(other) = self.some(pick.whom, |thing| wanted(thing) && !here(thing))
        {
            return Some(other);
        }
        if self.some(0, here).is_none() {
            self.produce(Pick { who: pick.whom, ..pick.right() });
        }
        self.target(pick.whom, pick.wrong, here)
    }

    pub(super) fn produce(&mut self, pick: Pick) {
        let not_pipe = |thing: &Thing| thing.kind != Kind::Pipe;
        let transport = self.transport(pick.who, pick, not_pipe);
        let number = self.number();
        let media = MEDIA[pick.flavour % MEDIA.len()];
        let base = 1000 * number;
        let id = self.new_id("producer", pick);
        let mut body = bodies::produce_request(&id, media, base);
        body.paused = pick.whom == 0;
        let paused = if body.paused { " paused" } else { "" };
        self.push(
            Call::request(
                format!("{id} {media:?}{paused}"),
                Method::TransportProduce,
                &transport.id,
                Body::TransportProduceRequest(Box::new(body)),
            )
            .creating(&id, Some(&transport.id), None),
        );
        if transport.id != "nobody" {
            self.add(Thing {
                id,
                kind: Kind::Producer(media, base),
                parent: Some(transport.id),
                router: transport.router,
                server: None,
                source: None,
            });
        }
    }

    pub(super) fn consume(&mut self, pick: Pick) {
        let transport = self.transport(pick.who, pick.right(), |_| true);
        let Some(producer) = self.producer_of(&transport.router, pick) else { return };
        let Kind::Producer(media, base) = producer.kind else { return };
        let number = self.number();
        let id = self.new_id("consumer", pick);
        let pipe = transport.kind == Kind::Pipe || pick.flavour == 6;
        let mut body = if pipe {
            let body = bodies::consume_pipe(&id, &producer.id, media, base);
            let Body::TransportConsumeRequest(body) = body else { return };
            *body
        } else {
            bodies::consume_request(&id, &producer.id, media, base, 9000)
        };
        own_ssrcs(&mut body, number);
        body.paused = pick.flavour % 2 == 1;
        if pick.flavour == 2 && !pipe {
            body.preferred_layers =
                Some(Box::new(ConsumerLayers { spatial_layer: 1, temporal_layer: None }));
        }
        let text = format!(
            "{id} of {}{}{}",
            producer.id,
            if pipe { " as a pipe" } else { "" },
            if body.paused { " paused" } else { "" }
        );
        let body = Body::TransportConsumeRequest(Box::new(body));
        self.push(Call::request(text, Method::TransportConsume, &transport.id, body).creating(
            &id,
            Some(&transport.id),
            None,
        ));
        if producer.router == transport.router && pick.wrong == Wrong::Nothing {
            self.add(Thing {
                id,
                kind: Kind::Consumer(media, pipe),
                parent: Some(transport.id),
                router: transport.router,
                server: None,
                source: Some(producer.id),
            });
        }
    }

    /// A stream id, absent on direct transports.
    fn stream(&mut self, transport: &Thing) -> Option<u16> {
        let number = self.number();
        (transport.kind != Kind::Direct).then(|| u16::try_from(number % 60_000).expect("it fits"))
    }

    pub(super) fn produce_data(&mut self, pick: Pick) {
        let transport = self.transport(pick.who, pick, |_| true);
        let stream = self.stream(&transport);
        let id = self.new_id("dataproducer", pick);
        let body = bodies::produce_data(&id, stream);
        self.push(Call::request(&id, Method::TransportProduceData, &transport.id, body).creating(
            &id,
            Some(&transport.id),
            None,
        ));
        if transport.id != "nobody" {
            self.add(Thing {
                id,
                kind: Kind::DataProducer,
                parent: Some(transport.id),
                router: transport.router,
                server: None,
                source: None,
            });
        }
    }

    pub(super) fn consume_data(&mut self, pick: Pick) {
        let transport = self.transport(pick.who, pick.right(), |_| true);
        let router = transport.router.clone();
        let here = |thing: &Thing| thing.kind == Kind::DataProducer && thing.router == router;
        if self.some(0, here).is_none() {
            self.produce_data(Pick { who: pick.whom, ..pick.right() });
        }
        let Some(producer) = self.target(pick.whom, pick.wrong, here) else { return };
        let stream = self.stream(&transport);
        let id = self.new_id("dataconsumer", pick);
        let subchannels: &[u16] = if pick.flavour > 5 { &[1, 2] } else { &[] };
        let body = bodies::consume_data(&id, &producer.id, stream, subchannels);
        let text = format!("{id} of {}", producer.id);
        self.push(Call::request(text, Method::TransportConsumeData, &transport.id, body).creating(
            &id,
            Some(&transport.id),
            None,
        ));
        if pick.wrong == Wrong::Nothing {
            self.add(Thing {
                id,
                kind: Kind::DataConsumer,
                parent: Some(transport.id),
                router: transport.router,
                server: None,
                source: Some(producer.id),
            });
        }
    }

    /// Puts a message in by hand.
    pub(super) fn send(&mut self, pick: Pick) {
        if !self.limits.media {
            return;
        }
        let wanted = |thing: &Thing| thing.kind == Kind::DataProducer;
        let Some(producer) = self.target(pick.who, pick.wrong, wanted) else { return };
        let body = SendNotification {
            ppid: 51,
            data: vec![u8::try_from(pick.whom).expect("small"); 5],
            subchannels: (pick.flavour > 3).then(|| vec![1]),
            required_subchannel: None,
            ignored_subchannel: None,
        };
        let body = notification::Body::DataProducerSendNotification(Box::new(body));
        self.push(Call {
            text: "a message".to_owned(),
            sent: Sent::Notification(Event::DataproducerSend, producer.id, body),
            effect: Effect::None,
        });
    }
}

/// Consumers of a transport never share an SSRC.
fn own_ssrcs(body: &mut ConsumeRequest, number: u32) {
    let encodings = body.rtp_parameters.encodings.iter_mut();
    for (index, encoding) in (0_u32..).zip(encodings) {
        encoding.ssrc = Some(20_000_000 + 100 * number + index);
        if let Some(rtx) = &mut encoding.rtx {
            rtx.ssrc = 20_000_050 + 100 * number + index;
        }
    }
}
