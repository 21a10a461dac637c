//! Data producers and consumers.

use mediasoup_horizontal::channel::{
    compose::ErrorKind,
    fbs::{
        data_consumer::{AddSubchannelRequest, SendRequest},
        data_producer::SendNotification,
        notification,
        request::Body,
        response,
        sctp_association::SctpState,
    },
    method::{Event, Method},
};

use crate::{
    bench::{Bench, assert_refused},
    bodies::{
        close_data_producer, close_router, connect_plain, consume_data, create_direct,
        create_plain, create_router, options, plain_options, produce_data,
    },
};

/// A router with two direct transports and a plain one with SCTP.
fn with_transports() -> Bench {
    let mut bench = Bench::new();
    bench.call(Method::WorkerCreateRouter, "", create_router("r"));
    for id in ["d1", "d2"] {
        bench.call(Method::RouterCreateDirecttransport, "r", create_direct(id));
    }
    bench.call(Method::RouterCreatePlaintransport, "r", create_plain("sctp", plain_options()));
    bench
}

fn message(subchannels: &[u16], required: Option<u16>, ignored: Option<u16>) -> notification::Body {
    notification::Body::DataProducerSendNotification(Box::new(SendNotification {
        ppid: 51,
        data: b"hello".to_vec(),
        subchannels: Some(subchannels.to_vec()),
        required_subchannel: required,
        ignored_subchannel: ignored,
    }))
}

#[test]
fn messages_reach_direct_consumers_by_subchannel() {
    let mut bench = with_transports();
    bench.call(Method::TransportProduceData, "d1", produce_data("p", None));
    for (id, subchannels) in [("all", vec![]), ("one", vec![1]), ("both", vec![1, 2])] {
        let body = consume_data(id, "p", None, &subchannels);
        bench.call(Method::TransportConsumeData, "d2", body);
    }
    let heard = |bench: &mut Bench, body| -> Vec<String> {
        let reply = bench.notify(Event::DataproducerSend, "p", body);
        assert!(reply.before.iter().all(|n| n.event == Event::DataconsumerMessage));
        reply.before.into_iter().map(|notification| notification.handler_id).collect()
    };
    assert_eq!(heard(&mut bench, message(&[], None, None)), ["all", "one", "both"]);
    assert_eq!(heard(&mut bench, message(&[1], None, None)), ["one", "both"]);
    assert_eq!(heard(&mut bench, message(&[1, 9], Some(2), None)), ["both"]);
    assert_eq!(heard(&mut bench, message(&[], None, Some(2))), ["all", "one"]);
    bench.call(
        Method::DataconsumerAddSubchannel,
        "all",
        Body::DataConsumerAddSubchannelRequest(Box::new(AddSubchannelRequest { subchannel: 9 })),
    );
    assert_eq!(heard(&mut bench, message(&[9], None, None)), ["all"]);
    bench.call(Method::DataconsumerPause, "both", None);
    assert_eq!(heard(&mut bench, message(&[], None, None)), ["all", "one"]);
    let reply = bench.request(Method::DataproducerPause, "p", None);
    assert_eq!(reply.events().len(), 3);
    assert!(heard(&mut bench, message(&[], None, None)).is_empty());
    let Some(response::Body::DataProducerGetStatsResponse(stats)) =
        bench.call(Method::DataproducerGetStats, "p", None)
    else {
        panic!("stats")
    };
    assert_eq!((stats.messages_received, stats.bytes_received), (7, 35));
    let reply = bench.request(Method::TransportCloseDataproducer, "d1", close_data_producer("p"));
    assert_eq!(reply.events()[0], ("all", Event::DataconsumerDataproducerClose));
    assert_eq!(bench.worker.objects().data_consumers, 0);
}

#[test]
fn a_message_over_the_limit_is_dropped() {
    let mut bench = with_transports();
    bench.call(Method::TransportProduceData, "d1", produce_data("p", None));
    bench.call(Method::TransportConsumeData, "d2", consume_data("c", "p", None, &[]));
    let body = notification::Body::DataProducerSendNotification(Box::new(SendNotification {
        data: vec![0; 262_145],
        ..SendNotification::default()
    }));
    assert!(bench.notify(Event::DataproducerSend, "p", body).before.is_empty());
}

#[test]
fn data_is_refused_in_the_workers_words() {
    let mut bench = with_transports();
    let without = {
        let mut without = plain_options();
        without.base = Box::new(options(false));
        without
    };
    bench.call(Method::RouterCreatePlaintransport, "r", create_plain("none", without));
    let produce = Method::TransportProduceData;
    let consume = Method::TransportConsumeData;
    let mut refused = |method, transport: &str, body: Body, kind, reason: &str| {
        assert_refused(bench.request(method, transport, body), kind, reason);
    };
    refused(
        produce,
        "none",
        produce_data("p", Some(1)),
        ErrorKind::Error,
        "SCTP not enabled and not a direct Transport",
    );
    refused(
        Method::TransportCloseDataproducer,
        "none",
        close_data_producer("p"),
        ErrorKind::Error,
        "cannot close DataProducer, SCTP not enabled and not a direct Transport",
    );
    refused(
        produce,
        "d1",
        produce_data("p", Some(1)),
        ErrorKind::TypeError,
        "cannot create a DataProducer of type 'sctp', SCTP not enabled in this Transport",
    );
    refused(
        produce,
        "sctp",
        produce_data("p", None),
        ErrorKind::TypeError,
        "cannot create a DataProducer of type 'direct', not a direct Transport",
    );
    refused(
        produce,
        "sctp",
        produce_data("p", Some(u16::MAX)),
        ErrorKind::TypeError,
        "streamId must not be greater than 65534",
    );
    refused(
        consume,
        "sctp",
        consume_data("c", "nobody", Some(1), &[]),
        ErrorKind::NotFoundError,
        "DataProducer not found [dataProducerId:nobody]",
    );
    bench.call(produce, "sctp", produce_data("p", Some(1)));
    bench.call(consume, "sctp", consume_data("c", "p", Some(1), &[]));
    assert_refused(
        bench.request(produce, "sctp", produce_data("q", Some(1))),
        ErrorKind::Error,
        "streamId already exists in SCTP listener [streamId:1]",
    );
    assert_refused(
        bench.request(consume, "sctp", consume_data("d", "p", Some(1), &[])),
        ErrorKind::Error,
        "an SCTP DataConsumer with same streamId 1 already exists [method:transport.consumeData]",
    );
}

#[test]
fn sctp_starts_with_the_first_data_and_holds_what_is_sent() {
    let mut bench = with_transports();
    let connect = Body::PlainTransportConnectRequest(Box::new(connect_plain("127.0.0.1", 9)));
    let reply = bench.request(Method::PlaintransportConnect, "sctp", connect);
    assert!(reply.after.is_empty(), "nothing to carry yet");
    bench.call(Method::TransportProduceData, "d1", produce_data("p", None));
    let body = consume_data("c", "p", Some(1), &[]);
    let reply = bench.request(Method::TransportConsumeData, "sctp", body);
    assert_eq!(reply.after.len(), 1);
    assert_eq!(reply.after[0].event, Event::TransportSctpStateChange);
    let send = |length| {
        let data = vec![0; length];
        Body::DataConsumerSendRequest(Box::new(SendRequest { ppid: 51, data }))
    };
    let method = Method::DataconsumerSend;
    for round in 1..=8 {
        let Some(response::Body::DataConsumerSendResponse(answer)) =
            bench.call(method, "c", send(250_000))
        else {
            panic!("an amount")
        };
        assert_eq!(answer.buffered_amount, round * 250_000);
    }
    let reply = bench.request(method, "c", send(1));
    assert_eq!(reply.after[0].event, Event::DataconsumerSctpSendbufferFull);
    assert_refused(reply, ErrorKind::Error, "sctpsendbufferfull");
    assert_refused(
        bench.request(method, "c", send(262_145)),
        ErrorKind::TypeError,
        "given message exceeds maxMessageSize value [maxMessageSize:262144, len:262145]",
    );
    bench.call(Method::TransportConsumeData, "d2", consume_data("direct", "p", None, &[]));
    assert_refused(
        bench.request(method, "direct", send(1)),
        ErrorKind::TypeError,
        "invalid DataConsumer type",
    );
    let reply = bench.request(Method::WorkerCloseRouter, "", close_router("r"));
    let Some(notification::Body::TransportSctpStateChangeNotification(state)) =
        &reply.before[0].body
    else {
        panic!("a state")
    };
    assert_eq!(state.sctp_state, SctpState::Closed);
}
