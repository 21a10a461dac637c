use bytes::{BufMut, BytesMut};
use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::wire::{DrainNotice, ExitReport, LoadReport, SpawnFailure, SpawnSpec, Spawned, encode};

fn with_prefix(content: &[u8]) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u32_le(u32::try_from(content.len()).expect("short"));
    message.put_slice(content);
    message.freeze()
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn any_data() -> impl Strategy<Value = Body> {
    prop_oneof![
        (any::<String>(), vec(any::<String>(), 0..4), option::of(any::<String>())).prop_map(
            |(version, args, dtls_private_key)| Body::Spawn(SpawnSpec {
                version,
                schema: "schema".to_owned(),
                args,
                dtls_certificate: None,
                dtls_private_key,
            })
        ),
        any::<u32>().prop_map(|pid| Body::Spawned(Spawned { pid })),
        (any::<String>(), any::<String>(), option::of(any::<String>())).prop_map(
            |(code, message, path)| Body::Failed(SpawnFailure { code, message, path, errno: None })
        ),
        vec(any::<u8>(), 1..300).prop_map(|content| Body::Channel(with_prefix(&content))),
        Just(Body::CloseInput),
        any::<i32>().prop_map(Body::Signal),
        any_bytes().prop_map(Body::Stdout),
        any_bytes().prop_map(Body::Stderr),
        any::<i32>().prop_map(|code| Body::Exited(ExitReport {
            code: Some(code),
            signal: None,
            lost: None
        })),
    ]
}

fn any_control() -> impl Strategy<Value = Body> {
    prop_oneof![
        any::<u64>().prop_map(Body::Ack),
        any::<u64>().prop_map(Body::Ping),
        any::<u64>().prop_map(Body::Pong),
        (
            any::<usize>(),
            any::<usize>(),
            vec(any::<(u32, u32)>(), 0..5),
            vec(any::<u32>(), 0..5),
            any::<bool>()
        )
            .prop_map(|(workers, max_workers, own, others, draining)| {
                Body::Load(LoadReport { workers, max_workers, own, others, draining })
            }),
        (any::<bool>(), option::of(any::<u64>())).prop_map(|(draining, deadline_ms)| Body::Drain(
            DrainNotice { draining, deadline_ms, reason: None }
        )),
    ]
}

fn any_frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (1..=u32::MAX, any_data()).prop_map(|(worker, body)| Frame { worker, body }),
        any_control().prop_map(Frame::link),
    ]
}

proptest! {
    #[test]
    fn gives_back_what_was_encoded(frames in vec(any_frame(), 1..20)) {
        let mut message = BytesMut::new();
        for frame in &frames {
            encode(frame, &mut message);
        }
        let decoded: Result<Vec<_>, _> = Frames::new(message.freeze()).collect();
        prop_assert_eq!(decoded, Ok(frames));
    }

    #[test]
    fn survives_garbage(bytes in vec(any::<u8>(), 0..2000)) {
        let frames = Frames::new(Bytes::from(bytes)).collect::<Vec<_>>();
        let errors = frames.iter().filter(|frame| frame.is_err()).count();
        prop_assert!(errors <= 1);
    }

    #[test]
    fn survives_damage(frames in vec(any_frame(), 1..8), at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let mut message = BytesMut::new();
        for frame in &frames {
            encode(frame, &mut message);
        }
        let at = at.index(message.len());
        message[at] = byte;
        message.truncate(cut.index(message.len()));
        let count = Frames::new(message.freeze()).count();
        prop_assert!(count <= frames.len() * 40 + 1);
    }
}

fn raw(kind: u8, worker: u32, length: u32, payload: &[u8]) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(kind);
    message.put_u32_le(worker);
    message.put_u32_le(length);
    message.put_slice(payload);
    message.freeze()
}

#[test]
fn names_what_is_wrong() {
    let prefixed = with_prefix(b"abc");
    let cases = [
        (Bytes::new(), DecodeError::Empty),
        (raw(99, 1, 0, &[]), DecodeError::UnknownKind(99)),
        (raw(4, 1, 0, &[]).slice(..5), DecodeError::CutHeader),
        (
            raw(7, 1, 10, b"short"),
            DecodeError::CutPayload { kind: Kind::Stdout, length: 10, left: 5 },
        ),
        (
            raw(4, 1, u32::MAX, b"short"),
            DecodeError::PayloadTooLong {
                kind: Kind::Channel,
                length: u32::MAX as usize,
                limit: MAX_PAYLOAD,
            },
        ),
        (
            raw(6, 1, 3, b"abc"),
            DecodeError::WrongLength { kind: Kind::Signal, length: 3, expected: 4 },
        ),
        (raw(4, 0, 7, &prefixed), DecodeError::WrongHandle { kind: Kind::Channel, worker: 0 }),
        (raw(17, 3, 8, &[0; 8]), DecodeError::WrongHandle { kind: Kind::Ping, worker: 3 }),
        (raw(4, 1, 6, &prefixed[..6]), DecodeError::WrongSizePrefix { length: 6 }),
        (raw(4, 1, 4, &[0; 4]), DecodeError::WrongSizePrefix { length: 4 }),
    ];
    for (message, expected) in cases {
        assert_eq!(Frames::new(message).next(), Some(Err(expected)));
    }
}

#[test]
fn refuses_a_message_above_the_limit() {
    let message = Bytes::from(vec![0; MAX_MESSAGE + 1]);
    let error = DecodeError::MessageTooLong { length: MAX_MESSAGE + 1 };
    assert_eq!(Frames::new(message).collect::<Vec<_>>(), [Err(error)]);
}

#[test]
fn quotes_no_secret_of_a_damaged_spawn() {
    let json = br#"{"version":"3.27.1","dtlsPrivateKey":"SECRET","args":"SECRET"}"#;
    let message = raw(1, 1, u32::try_from(json.len()).expect("short"), json);
    let error = Frames::new(message).next().expect("one frame").expect_err("args is no list");
    assert!(!format!("{error} {error:?}").contains("SECRET"), "{error}");
}
