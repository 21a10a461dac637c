//! Links over TLS: who gets in, who does not, and what both ends say about it.

#![allow(clippy::unwrap_used)]

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::{
    fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration,
};

use certificates::{Authority, Valid, write_key};
use mediasoup_horizontal::{
    agent::{Agent, AgentOptions},
    connection::{
        Connection, SpawnError, WorkerCommand,
        remote::{InvalidOptions, RemoteConnection, RemoteOptions, Status},
    },
    net::{
        AgentUrl, Backoff, ClientTlsOptions, DialError, KeyPairFiles, ServerTls, ServerTlsFiles,
        TlsError, TlsRefused, Token, TokenFile, Tokens,
    },
};
use support::{
    FakeWorkers, agent_options, connected, message, next_message, remote_options, request, within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

const HOST: &str = "127.0.0.1";

fn server_tls(identity: &KeyPairFiles, client_ca: Option<PathBuf>) -> ServerTls {
    let files = ServerTlsFiles { identity: identity.clone(), client_ca };
    ServerTls::open(files, Duration::ZERO).unwrap()
}

async fn agent(options: AgentOptions) -> SocketAddr {
    let options = AgentOptions { listen: "127.0.0.1:0".to_owned(), ..options };
    let agent = Agent::bind(options, Arc::new(FakeWorkers::new())).await.unwrap();
    let address = agent.address();
    tokio::spawn(agent.run(std::future::pending()));
    address
}

async fn tls_agent(tls: ServerTls) -> SocketAddr {
    agent(AgentOptions { tls: Some(tls), ..agent_options() }).await
}

fn options(scheme: &str, address: SocketAddr, tls: ClientTlsOptions) -> RemoteOptions {
    let url = AgentUrl::parse(&format!("{scheme}://{address}")).unwrap();
    RemoteOptions { url, tls, ..remote_options() }
}

fn trusting(ca: PathBuf) -> ClientTlsOptions {
    ClientTlsOptions { ca: Some(ca), ..ClientTlsOptions::default() }
}

async fn gets_in(options: RemoteOptions) {
    let connection = RemoteConnection::new(options).unwrap();
    within(connection.spawn(request(&[]))).await.unwrap();
}

/// Why a controller with these options is not let in at its first attempt.
async fn turned_away(options: RemoteOptions) -> DialError {
    let connection = RemoteConnection::new(options).unwrap();
    let mut status = connection.status();
    connection.start();
    let told = status.wait_for(|status| !matches!(status, Status::Connecting(None)));
    match &*within(told).await.unwrap() {
        Status::Connecting(Some(problem)) | Status::Refused(problem) => problem.clone(),
        other => panic!("{other:?}"),
    }
}

/// What both ends say to a controller that the agent's TLS or its own turns away.
async fn refusal(tls: ServerTls, client: ClientTlsOptions) -> (DialError, TlsRefused) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (said, heard) = oneshot::channel();
    let agent = tokio::spawn(async move {
        let mut said = Some(said);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let refused = tls.accept(stream).await.err().unwrap();
            if let Some(said) = said.take() {
                said.send(refused).unwrap();
            }
        }
    });
    let error = turned_away(options("wss", address, client)).await;
    let refused = within(heard).await.unwrap();
    agent.abort();
    (error, refused)
}

#[tokio::test]
async fn trusts_the_authorities_of_the_ca_file() {
    let authority = Authority::new();
    let address = tls_agent(server_tls(&authority.issue(HOST, Valid::Now), None)).await;
    let options = options("wss", address, trusting(authority.ca()));
    let connection = RemoteConnection::new(options).unwrap();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    let sent = message(&vec![3; 2_000_000]);
    link.commands.send(WorkerCommand::Message(sent.clone())).await.unwrap();
    assert_eq!(next_message(&mut link).await, sent);
}

#[tokio::test]
async fn turns_away_agents_that_are_not_who_they_should_be() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (name, valid, ca, here, there) in [
        (HOST, Valid::Now, other.ca(), "UnknownIssuer", "UnknownCA"),
        (HOST, Valid::LongAgo, authority.ca(), "certificate expired", "CertificateExpired"),
        (HOST, Valid::Later, authority.ca(), "certificate not valid yet", "CertificateExpired"),
        ("10.0.0.5", Valid::Now, authority.ca(), "not valid for name \"127.0.0.1\"", "BadCert"),
    ] {
        let tls = server_tls(&authority.issue(name, valid), None);
        let (error, refused) = refusal(tls, trusting(ca)).await;
        let DialError::Unreachable(text) = error else { panic!("{error:?}") };
        assert!(text.contains("TLS: invalid peer certificate"), "{text}");
        assert!(text.contains(here), "{text}");
        let refused = refused.to_string();
        assert!(refused.contains("does not take this agent's certificate"), "{refused}");
        assert!(refused.contains(there), "{refused}");
    }
}

#[tokio::test]
async fn a_name_can_be_pinned() {
    let authority = Authority::new();
    let pinned = |name: &str| ClientTlsOptions {
        server_name: Some(name.to_owned()),
        ..trusting(authority.ca())
    };
    let tls = server_tls(&authority.issue("media-1.example", Valid::Now), None);
    let address = tls_agent(tls.clone()).await;
    gets_in(options("wss", address, pinned("media-1.example"))).await;
    let (error, _) = refusal(tls, pinned("media-2.example")).await;
    assert!(error.to_string().contains("not valid for name \"media-2.example\""), "{error}");
    let wrong = options("wss", address, pinned("no name"));
    let error = RemoteConnection::new(wrong).err().unwrap();
    assert!(matches!(error, InvalidOptions::Tls(TlsError::ServerName(_))), "{error}");
}

#[tokio::test]
async fn lets_in_only_controllers_with_a_certificate_that_it_trusts() {
    let (authority, clients, other) = (Authority::new(), Authority::new(), Authority::new());
    let tls = server_tls(&authority.issue(HOST, Valid::Now), Some(clients.ca()));
    let with = |identity| ClientTlsOptions { identity, ..trusting(authority.ca()) };
    // Certificates do without tokens.
    let no_tokens = AgentOptions { tokens: Tokens::default(), ..agent_options() };
    let address = agent(AgentOptions { tls: Some(tls.clone()), ..no_tokens }).await;
    let good = options("wss", address, with(Some(clients.issue("app-1", Valid::Now))));
    gets_in(RemoteOptions { token: None, ..good }).await;
    for (identity, here, there) in [
        (None, "asks for a client certificate and none is set", "it showed no client certificate"),
        (
            Some(other.issue("app-1", Valid::Now)),
            "does not take our client certificate (UnknownCA)",
            "its client certificate is not good here: UnknownIssuer",
        ),
        (
            Some(clients.issue("app-1", Valid::LongAgo)),
            "does not take our client certificate (CertificateExpired)",
            "its client certificate is not good here: certificate expired",
        ),
    ] {
        let (error, refused) = refusal(tls.clone(), with(identity)).await;
        let DialError::Unauthorized(text) = error else { panic!("{error:?}") };
        assert!(text.contains(here), "{text}");
        assert!(refused.to_string().contains(there), "{refused}");
    }
    // A certificate is no token where there are tokens.
    let both = tls_agent(tls).await;
    let identified = options("wss", both, with(Some(clients.issue("app-1", Valid::Now))));
    let wrong = RemoteOptions { token: Some(Token::new("hush").unwrap()), ..identified.clone() };
    let DialError::Unauthorized(text) = turned_away(wrong).await else { panic!("let in") };
    assert!(text.contains("does not take our token") && !text.contains("hush"), "{text}");
    gets_in(identified).await;
}

#[tokio::test]
async fn there_is_no_way_around_tls() {
    let authority = Authority::new();
    let tls = server_tls(&authority.issue(HOST, Valid::Now), None);
    let address = tls_agent(tls).await;
    let plain = options("ws", address, ClientTlsOptions::default());
    let DialError::Incompatible(text) = turned_away(plain).await else { panic!("let in") };
    let text = text.message;
    assert!(text.contains("this agent takes TLS only: connect to wss://"), "{text}");
    let address = agent(agent_options()).await;
    let secure = options("wss", address, trusting(authority.ca()));
    let DialError::Unreachable(text) = turned_away(secure).await else { panic!("let in") };
    assert!(text.contains("the peer does not speak TLS"), "{text}");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.contains("400 Bad Request") && answer.contains("has no TLS"), "{answer}");
}

#[tokio::test]
async fn slow_and_garbage_peers_hold_up_nobody() {
    let authority = Authority::new();
    let tls = server_tls(&authority.issue(HOST, Valid::Now), None);
    let address = tls_agent(tls).await;
    let mut peers = Vec::new();
    for bytes in [&b""[..], &[22], &[22, 3, 1, 2, 0, 1, 0, 1, 252], &[0xff; 40], b"GET / HT"] {
        for _ in 0..3 {
            let mut peer = TcpStream::connect(address).await.unwrap();
            peer.write_all(bytes).await.unwrap();
            peers.push(peer);
        }
    }
    gets_in(options("wss", address, trusting(authority.ca()))).await;
}

#[tokio::test]
async fn a_slow_peer_has_only_the_time_of_the_handshake() {
    let authority = Authority::new();
    let mut slow = AgentOptions {
        tls: Some(server_tls(&authority.issue(HOST, Valid::Now), None)),
        ..agent_options()
    };
    slow.timing.handshake = Duration::from_millis(50);
    let address = agent(slow).await;
    for bytes in [&b""[..], &[22, 3, 1, 2, 0, 1], b"GET / HT"] {
        let mut peer = TcpStream::connect(address).await.unwrap();
        peer.write_all(bytes).await.unwrap();
        // The end of the stream or a reset: either way it is let go.
        let _ = within(peer.read(&mut [0])).await;
    }
}

#[tokio::test]
async fn an_agent_that_ends_does_not_wait_for_handshakes() {
    let authority = Authority::new();
    let options = AgentOptions {
        listen: "127.0.0.1:0".to_owned(),
        tls: Some(server_tls(&authority.issue(HOST, Valid::Now), None)),
        grace: Duration::from_secs(3600),
        ..agent_options()
    };
    let mut options = options;
    options.timing.handshake = Duration::from_secs(3600);
    let agent = Agent::bind(options, Arc::new(FakeWorkers::new())).await.unwrap();
    let address = agent.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(agent.run(async move {
        let _ = stopped.await;
    }));
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let other = options_in(&authority, address);
    // Served after the peer, so that its handshake is under way.
    gets_in(other).await;
    stop.send(()).unwrap();
    within(running).await.unwrap();
}

fn options_in(authority: &Authority, address: SocketAddr) -> RemoteOptions {
    options("wss", address, trusting(authority.ca()))
}

#[tokio::test]
async fn certificates_are_changed_without_a_restart() {
    let (before, after) = (Authority::new(), Authority::new());
    let files = before.issue(HOST, Valid::Now);
    let address = tls_agent(server_tls(&files, None)).await;
    let old = RemoteConnection::new(options_in(&before, address)).unwrap();
    let mut link = within(old.spawn(request(&[]))).await.unwrap();
    let (cert, key) = after.made(HOST, Valid::Now);
    fs::write(&files.cert, cert).unwrap();
    // Until its key is there too the former pair counts.
    gets_in(options_in(&before, address)).await;
    write_key(&files.key, &key);
    gets_in(options_in(&after, address)).await;
    let error = turned_away(options_in(&before, address)).await;
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    // Links that are open go on.
    let sent = message(b"still here");
    link.commands.send(WorkerCommand::Message(sent.clone())).await.unwrap();
    assert_eq!(next_message(&mut link).await, sent);
}

#[tokio::test]
async fn client_certificates_are_changed_without_a_restart() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let tls = server_tls(&authority.issue(HOST, Valid::Now), Some(clients.ca()));
    let address = tls_agent(tls).await;
    let files = clients.issue("app", Valid::LongAgo);
    let tls = ClientTlsOptions { identity: Some(files.clone()), ..trusting(authority.ca()) };
    let connection = RemoteConnection::new(options("wss", address, tls)).unwrap();
    let error = within(connection.spawn(request(&[]))).await.err().unwrap();
    assert!(matches!(error, SpawnError::Unauthorized(_)), "{error}");
    let (cert, key) = clients.made("app", Valid::Now);
    fs::write(&files.cert, cert).unwrap();
    write_key(&files.key, &key);
    // It tries again by itself.
    connected(&connection).await;
}

#[tokio::test]
async fn tokens_are_changed_without_a_restart() {
    let authority = Authority::new();
    let agents = authority.folder().join("agent");
    let apps = authority.folder().join("app");
    fs::write(&agents, "old\n").unwrap();
    fs::write(&apps, "new\n").unwrap();
    let file = |path: &PathBuf| TokenFile::open(path.clone(), Duration::ZERO).unwrap();
    let address = agent(AgentOptions {
        tokens: Tokens::default(),
        token_file: Some(file(&agents)),
        tls: Some(server_tls(&authority.issue(HOST, Valid::Now), None)),
        ..agent_options()
    })
    .await;
    let with = |token: &str| RemoteOptions {
        token: Some(Token::new(token).unwrap()),
        ..options_in(&authority, address)
    };
    let filed = || RemoteOptions { token: None, token_file: Some(file(&apps)), ..with("unused") };
    gets_in(with("old")).await;
    let waiting = RemoteConnection::new(filed()).unwrap();
    let error = within(waiting.spawn(request(&[]))).await.err().unwrap();
    assert!(matches!(error, SpawnError::Unauthorized(_)), "{error}");
    fs::write(&agents, "# both, for a while\nold\nnew\n").unwrap();
    connected(&waiting).await;
    gets_in(with("old")).await;
    fs::write(&agents, "new\n").unwrap();
    let DialError::Unauthorized(text) = turned_away(with("old")).await else { panic!("let in") };
    assert!(text.contains("does not take our token (401 Unauthorized)"), "{text}");
    gets_in(filed()).await;
    // A controller reads its file again at each dial.
    fs::write(&agents, "newer\n").unwrap();
    let late = RemoteConnection::new(RemoteOptions {
        backoff: Backoff::new(|_| Duration::ZERO),
        ..filed()
    })
    .unwrap();
    let error = within(late.spawn(request(&[]))).await.err().unwrap();
    assert!(matches!(error, SpawnError::Unauthorized(_)), "{error}");
    fs::write(&apps, "newer\n").unwrap();
    connected(&late).await;
}

#[tokio::test]
async fn tells_what_is_wrong_with_the_files() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (good, odd) = (authority.issue(HOST, Valid::Now), other.issue(HOST, Valid::Now));
    let open = authority.issue(HOST, Valid::Now);
    fs::set_permissions(&open.key, fs::Permissions::from_mode(0o644)).unwrap();
    let nonsense = authority.folder().join("nonsense.pem");
    write_key(&nonsense, "hush");
    let pair =
        |cert: &PathBuf, key: &PathBuf| KeyPairFiles { cert: cert.clone(), key: key.clone() };
    let missing = PathBuf::from("/nonexistent.pem");
    let cases = [
        (open.clone(), None, "every user of this host may use it (mode 644): chmod 600"),
        (pair(&good.cert, &odd.key), None, "do not belong together"),
        (pair(&missing, &good.key), None, "certificate file /nonexistent.pem: No such file"),
        (pair(&good.cert, &missing), None, "key file /nonexistent.pem: No such file"),
        (pair(&nonsense, &good.key), None, "no certificate in it (PEM expected)"),
        (pair(&good.cert, &nonsense), None, "no private key in it (PEM expected)"),
        (good.clone(), Some(nonsense.clone()), "no certificate in it (PEM expected)"),
        (good.clone(), Some(missing.clone()), "CA file /nonexistent.pem: No such file"),
    ];
    for (identity, ca, words) in cases {
        let files = ServerTlsFiles { identity: identity.clone(), client_ca: ca.clone() };
        let agents = ServerTls::open(files, Duration::ZERO).err().unwrap().to_string();
        let ca = ca.or_else(|| Some(authority.ca()));
        let tls = ClientTlsOptions { ca, identity: Some(identity), server_name: None };
        let app = options("wss", ([127, 0, 0, 1], 1).into(), tls);
        let apps = RemoteConnection::new(app).err().unwrap().to_string();
        for text in [agents, apps] {
            assert!(text.contains(words) && !text.contains("hush"), "{text}");
        }
    }
}
