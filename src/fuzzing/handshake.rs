//! How a link opens: HTTP and WebSocket on both sides, hello, welcome, refusal, agents' URLs.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    runtime::Builder,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    net::{AcceptError, AgentUrl, DialError, Token, Tokens, accept, open},
    wire::{AgentReply, Hello, ProtocolRange, SUBPROTOCOL},
};

/// The token of the agent under test, and of the controller under test.
pub const TOKEN: &str = "a-token-of-the-fuzzer";

/// What a test's wire holds.
const WIRE: usize = 64 * 1024;

/// The longest answer of an agent that refuses by HTTP.
const ANSWER_MAX: usize = 2048;

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Option<T> {
    // Nothing here waits for time or a socket of the system.
    let runtime = Builder::new_current_thread().build().ok()?;
    Some(runtime.block_on(future))
}

/// Writes all bytes and hangs up, then takes what comes.
async fn say(mut wire: DuplexStream, bytes: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    // The other end may hang up first.
    let _ = wire.write_all(bytes).await;
    let _ = wire.shutdown().await;
    let _ = wire.read_to_end(&mut heard).await;
    heard
}

/// An agent lets nobody in without its token and its subprotocol, refuses in HTTP that says why,
/// and never tells the token.
pub fn handshake_request(data: &[u8]) {
    let Ok(token) = Token::new(TOKEN) else { return };
    let tokens = Tokens::new(vec![token]);
    let outcome = block_on(async {
        let (near, far) = duplex(WIRE);
        let accepting = async {
            let link = accept(Box::new(near), &tokens).await;
            match link {
                // Whatever follows, its text or its end is taken.
                Ok(mut link) => drop(link.receive_text().await),
                Err(AcceptError::Refused { status, message }) => {
                    assert!((400..500).contains(&status), "{status} {message}");
                    return false;
                }
                Err(AcceptError::WrongToken | AcceptError::Io(_)) => return false,
            }
            true
        };
        tokio::join!(accepting, say(far, data))
    });
    let Some((let_in, answer)) = outcome else { return };
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains(TOKEN), "{answer}");
    if let_in {
        let request = String::from_utf8_lossy(data);
        assert!(request.contains(TOKEN) && request.contains(SUBPROTOCOL), "{request}");
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    } else if !answer.is_empty() {
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert!(answer.len() <= ANSWER_MAX, "{answer}");
    }
}

/// A controller survives whatever answers it. The first byte tells where the bytes stand: instead
/// of the HTTP answer, behind a good one, or as the text of a good WebSocket message.
pub fn handshake_answer(data: &[u8]) {
    let Some((place, bytes)) = data.split_first() else { return };
    let (Ok(url), Ok(token)) = (AgentUrl::parse("ws://agent:4480"), Token::new(TOKEN)) else {
        return;
    };
    let hello = Hello {
        protocol: ProtocolRange::OURS,
        mediasoup: "3".to_owned(),
        schema: "s".to_owned(),
        session: Some("a-secret-session".to_owned()),
        last_seen: Some(1),
        boot_id: None,
        netns: None,
        controller: "fuzzer".to_owned(),
    };
    let opened = block_on(async {
        let (near, far) = duplex(WIRE);
        // The link is dropped at once, or its peer would wait for more.
        let opening = async { open(Box::new(near), &url, Some(&token), &hello).await.map(drop) };
        tokio::join!(opening, answer(far, place % 3, bytes)).0
    });
    let problem = match opened {
        None | Some(Ok(())) => return,
        Some(Err(problem)) => problem,
    };
    let text = problem.to_string();
    assert!(text.contains("ws://agent:4480"), "{text}");
    assert!(!text.contains(TOKEN) && !text.contains("a-secret-session"), "{text}");
    assert!(!matches!(problem, DialError::ConnectionRefused { .. }), "{text}");
    assert!(text.len() <= bytes.len() * 12 + 1000, "{} characters", text.len());
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

async fn answer(mut wire: DuplexStream, place: u8, bytes: &[u8]) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match wire.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let mut answer = Vec::new();
    if place > 0 {
        let head = String::from_utf8_lossy(&head);
        let key = head.lines().find_map(|line| {
            line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        });
        let key = derive_accept_key(key.map_or("", |(_, key)| key.trim()).as_bytes());
        answer.extend_from_slice(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {key}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
            )
            .as_bytes(),
        );
    }
    if place == 2 {
        answer.extend([0x81, 127]);
        answer.extend((bytes.len() as u64).to_be_bytes());
    }
    answer.extend_from_slice(bytes);
    say(wire, &answer).await;
}

/// Texts of the handshake that are understood say the same when they are written again.
pub fn handshake_texts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Hello::parse(text) {
        Ok((hello, protocol)) => {
            assert!((ProtocolRange::OURS.min..=ProtocolRange::OURS.max).contains(&protocol));
            let again = serde_json::to_string(&hello).map(|text| Hello::parse(&text));
            assert!(matches!(&again, Ok(Ok((again, _))) if *again == hello), "{hello:?}");
        }
        Err(problem) => {
            let problem = problem.to_string();
            assert!(problem.len() <= text.len() * 12 + 500);
            assert!(!problem.chars().any(char::is_control), "{problem:?}");
        }
    }
    if let Ok(reply) = serde_json::from_str::<AgentReply>(text) {
        let again = serde_json::to_string(&reply);
        let again = again.as_deref().map(serde_json::from_str::<AgentReply>);
        assert!(matches!(&again, Ok(Ok(again)) if *again == reply), "{reply:?}");
    }
    if let Ok(url) = AgentUrl::parse(text) {
        let shown = url.to_string();
        let authority = shown.split('/').nth(2).unwrap_or_default();
        assert!(!shown.contains(['?', '#']) && !authority.contains('@'), "{shown}");
        let again = AgentUrl::parse(&shown);
        assert!(again.as_ref() == Ok(&url), "{shown} became {again:?}");
        assert!(!url.host().is_empty());
        let _ = (url.port(), url.is_tls(), url.is_loopback());
    }
}
