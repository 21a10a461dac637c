//! The same programs on the mock and on a real worker.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use bytes::BytesMut;
use mediasoup_horizontal::{
    MEDIASOUP_VERSION,
    channel::{
        Message, compose,
        fbs::{
            message, request, response,
            rtp_stream::{Stats, StatsData},
            transport::{Dump, Stats as TransportStats, Tuple},
            worker::ResourceUsageResponse,
        },
        method::{Event, Method},
    },
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    bench::{Bench, Reply},
    programs::{self, Sent, Step},
    real_worker::real_worker,
};

/// How long a real worker may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A real worker, spoken to over pipes.
struct RealWorker {
    child: Child,
    input: Option<ChildStdin>,
    output: mpsc::Receiver<message::Body>,
    next_id: u32,
}

impl RealWorker {
    fn start(binary: &Path) -> Self {
        // The worker speaks on fd 3 and fd 4.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exec \"$0\" --logLevel=none 3<&0 4>&1 0</dev/null 1>&2"])
            .arg(binary)
            .env("MEDIASOUP_VERSION", MEDIASOUP_VERSION)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the worker starts");
        let input = child.stdin.take();
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, output) = mpsc::channel();
        // A thread, so that a request that is never answered fails the test and hangs nothing.
        thread::spawn(move || read_messages(stdout, &sender));
        let mut worker = Self { child, input, output, next_id: 1_000_000 };
        let running = worker.receive();
        assert!(
            matches!(running, message::Body::Notification(n) if n.event == Event::WorkerRunning)
        );
        worker
    }

    fn write(&mut self, message: Message) {
        let input = self.input.as_mut().expect("open");
        input.write_all(&message.into_bytes()).expect("the worker reads");
    }

    fn receive(&mut self) -> message::Body {
        self.output.recv_timeout(PATIENCE).expect("the worker lives and answers")
    }

    /// Sends a step and waits for all that comes of it.
    fn run(&mut self, sent: Sent) -> Reply {
        self.next_id += 2;
        let (id, barrier) = (self.next_id, self.next_id + 1);
        self.write(match sent {
            Sent::Request(method, handler, body) => compose::request(id, method, &handler, body),
            Sent::Notification(event, handler, body) => {
                compose::notification(&handler, event, Some(body))
            }
        });
        self.write(compose::request(barrier, Method::WorkerGetResourceUsage, "", None));
        let mut reply =
            Reply { before: Vec::new(), answer: None, after: Vec::new(), logs: Vec::new() };
        loop {
            match self.receive() {
                message::Body::Response(response) if response.id == barrier => return reply,
                message::Body::Response(response) => reply.answer = Some(*response),
                message::Body::Notification(notification) => match reply.answer {
                    None => reply.before.push(*notification),
                    Some(_) => reply.after.push(*notification),
                },
                message::Body::Log(log) => reply.logs.push(log.data),
                message::Body::Request(_) => panic!("a worker asks nothing"),
            }
        }
    }
}

fn read_messages(mut stdout: ChildStdout, sender: &mpsc::Sender<message::Body>) {
    let mut prefix = [0; 4];
    while stdout.read_exact(&mut prefix).is_ok() {
        let length = usize::try_from(u32::from_le_bytes(prefix)).expect("small");
        let mut bytes = BytesMut::from(&prefix[..]);
        bytes.resize(4 + length, 0);
        stdout.read_exact(&mut bytes[4..]).expect("a whole message");
        let message = Message::parse(bytes).expect("it verifies");
        if sender.send(compose::to_owned(&message).expect("it decodes")).is_err() {
            return;
        }
    }
}

impl Drop for RealWorker {
    fn drop(&mut self) {
        self.input = None;
        // A test that failed must not leave it; one that ended already needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn answers_as_a_real_worker_does() {
    let binary = real_worker().path;
    let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    for _ in 0..40 {
        let program = programs::steps(60..120).new_tree(&mut runner).expect("a program").current();
        let mut mock = Bench::new();
        let mut real = RealWorker::start(&binary);
        let program = programs::prelude().into_iter().chain(program.into_iter().map(Step::sent));
        for (number, sent) in program.enumerate() {
            if let Sent::Request(method, _, body) = &sent
                && kills_or_hangs(&mock, *method, body.as_ref())
            {
                continue;
            }
            let expected = shown(real.run(sent.clone()));
            let got = shown(programs::run(&mut mock, sent.clone()));
            assert_eq!(got, expected, "step {number}: {sent:?}");
        }
    }
}

/// What a real worker does not survive, or never answers.
fn kills_or_hangs(mock: &Bench, method: Method, body: Option<&request::Body>) -> bool {
    match (method, body) {
        // Of an audio pipe it is never answered.
        (Method::ConsumerRequestKeyFrame, _) => true,
        // Refused because of its id it leaves a dangling pointer in the server.
        (
            Method::RouterCreateWebrtctransportWithServer,
            Some(request::Body::RouterCreateWebRtcTransportRequest(body)),
        ) => mock.worker.has(&body.transport_id),
        _ => false,
    }
}

/// A reply as text without what is drawn by lot, timed or ordered by hash.
fn shown(mut reply: Reply) -> Vec<String> {
    let mut lines: Vec<String> = reply
        .before
        .iter()
        .map(|n| format!("before: {} {:?} {:?}", n.handler_id, n.event, n.body))
        .chain(
            reply
                .after
                .iter()
                .map(|n| format!("after: {} {:?} {:?}", n.handler_id, n.event, n.body)),
        )
        .collect();
    lines.sort();
    if let Some(answer) = &mut reply.answer {
        if let Some(body) = &mut answer.body {
            mask(body);
        }
        lines.push(format!("{:?} {:?} {:?}", answer.body, answer.error, answer.reason));
    }
    lines
}

fn mask(body: &mut response::Body) {
    use response::Body;
    match body {
        Body::WorkerDumpResponse(dump) => {
            dump.pid = 0;
            dump.web_rtc_server_ids.sort();
            dump.router_ids.sort();
            dump.channel_message_handlers.channel_request_handlers.sort();
            dump.channel_message_handlers.channel_notification_handlers.sort();
        }
        Body::WorkerResourceUsageResponse(usage) => **usage = ResourceUsageResponse::default(),
        Body::WebRtcServerDumpResponse(dump) => {
            for socket in dump.udp_sockets.iter_mut().chain(&mut dump.tcp_servers) {
                socket.port = 0;
            }
            dump.web_rtc_transport_ids.sort();
            for fragment in &mut dump.local_ice_username_fragments {
                fragment.local_ice_username_fragment.clear();
            }
            dump.local_ice_username_fragments.sort();
        }
        Body::RouterDumpResponse(dump) => {
            dump.transport_ids.sort();
            dump.rtp_observer_ids.sort();
            dump.map_consumer_id_producer_id.sort();
            dump.map_data_consumer_id_data_producer_id.sort();
            for map in [
                &mut dump.map_producer_id_consumer_ids,
                &mut dump.map_producer_id_observer_ids,
                &mut dump.map_data_producer_id_data_consumer_ids,
            ] {
                for entry in map.iter_mut() {
                    entry.values.sort();
                }
                map.sort();
            }
        }
        Body::TransportRestartIceResponse(ice) => {
            ice.username_fragment = ice.username_fragment.len().to_string();
            ice.password = ice.password.len().to_string();
        }
        Body::ProducerDumpResponse(dump) => dump.rtp_mapping.codecs.sort(),
        Body::ConsumerGetStatsResponse(stats) => stats.stats.iter_mut().for_each(mask_stream),
        Body::DataProducerGetStatsResponse(stats) => stats.timestamp = 0,
        Body::DataConsumerGetStatsResponse(stats) => stats.timestamp = 0,
        Body::DataConsumerDumpResponse(dump) => dump.subchannels.sort_unstable(),
        Body::DataConsumerSetSubchannelsResponse(answer) => answer.subchannels.sort_unstable(),
        Body::DataConsumerAddSubchannelResponse(answer) => answer.subchannels.sort_unstable(),
        Body::DataConsumerRemoveSubchannelResponse(answer) => answer.subchannels.sort_unstable(),
        other => mask_transport(other),
    }
}

fn mask_transport(body: &mut response::Body) {
    use response::Body;
    let mut keys = Vec::new();
    let mut tuples = Vec::new();
    match body {
        Body::DirectTransportDumpResponse(dump) => mask_base(&mut dump.base),
        Body::PlainTransportDumpResponse(dump) => {
            mask_base(&mut dump.base);
            tuples.push(&mut dump.tuple);
            tuples.extend(&mut dump.rtcp_tuple);
            keys.extend(&mut dump.srtp_parameters);
        }
        Body::PipeTransportDumpResponse(dump) => {
            mask_base(&mut dump.base);
            tuples.push(&mut dump.tuple);
            keys.extend(&mut dump.srtp_parameters);
        }
        Body::WebRtcTransportDumpResponse(dump) => {
            mask_base(&mut dump.base);
            let ice = &mut dump.ice_parameters;
            ice.username_fragment = ice.username_fragment.len().to_string();
            ice.password = ice.password.len().to_string();
            dump.ice_candidates.iter_mut().for_each(|candidate| candidate.port = 0);
            for fingerprint in &mut dump.dtls_parameters.fingerprints {
                fingerprint.value = fingerprint.value.len().to_string();
            }
            dump.dtls_parameters.fingerprints.sort();
        }
        Body::DirectTransportGetStatsResponse(stats) => mask_stats(&mut stats.base),
        Body::PlainTransportGetStatsResponse(stats) => {
            mask_stats(&mut stats.base);
            tuples.push(&mut stats.tuple);
            tuples.extend(&mut stats.rtcp_tuple);
        }
        Body::PipeTransportGetStatsResponse(stats) => {
            mask_stats(&mut stats.base);
            tuples.push(&mut stats.tuple);
        }
        Body::WebRtcTransportGetStatsResponse(stats) => mask_stats(&mut stats.base),
        Body::PlainTransportConnectResponse(answer) => {
            tuples.extend(&mut answer.tuple);
            tuples.extend(&mut answer.rtcp_tuple);
            keys.extend(&mut answer.srtp_parameters);
        }
        Body::PipeTransportConnectResponse(answer) => tuples.push(&mut answer.tuple),
        _ => {}
    }
    for tuple in tuples {
        let tuple: &mut Tuple = tuple;
        tuple.local_port = 0;
    }
    for key in keys {
        key.key_base64 = key.key_base64.len().to_string();
    }
}

fn mask_base(dump: &mut Dump) {
    dump.producer_ids.sort();
    dump.consumer_ids.sort();
    dump.data_producer_ids.sort();
    dump.data_consumer_ids.sort();
    dump.map_ssrc_consumer_id.clear();
    dump.map_rtx_ssrc_consumer_id.sort();
    dump.rtp_listener.ssrc_table.sort();
    dump.rtp_listener.mid_table.sort();
    dump.rtp_listener.rid_table.sort();
    if let Some(listener) = &mut dump.sctp_listener {
        listener.stream_id_table.sort();
    }
}

/// Bytes and bitrates go: the real worker's SCTP knocks at the other end.
fn mask_stats(stats: &mut TransportStats) {
    *stats = TransportStats {
        transport_id: std::mem::take(&mut stats.transport_id),
        sctp_state: stats.sctp_state,
        available_incoming_bitrate: stats.available_incoming_bitrate,
        available_outgoing_bitrate: stats.available_outgoing_bitrate,
        max_incoming_bitrate: stats.max_incoming_bitrate,
        max_outgoing_bitrate: stats.max_outgoing_bitrate,
        min_outgoing_bitrate: stats.min_outgoing_bitrate,
        rtp_packet_loss_received: stats.rtp_packet_loss_received,
        rtp_packet_loss_sent: stats.rtp_packet_loss_sent,
        ..TransportStats::default()
    };
}

fn mask_stream(stats: &mut Stats) {
    match &mut stats.data {
        StatsData::BaseStats(base) => base.timestamp = 0,
        StatsData::RecvStats(stats) => mask_stream(&mut stats.base),
        StatsData::SendStats(stats) => mask_stream(&mut stats.base),
    }
}
