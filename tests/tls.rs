//! Links over TLS, as through a TLS proxy in front of an agent.

#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, net::SocketAddr, sync::Arc};

use mediasoup_horizontal::{
    connection::{
        Connection, SpawnError, WorkerCommand,
        remote::{InvalidOptions, RemoteConnection, RemoteOptions},
    },
    net::{AgentUrl, Timing, TlsError},
};
use support::{
    FakeWorkers, agent_options, message, next_message, remote_options, request, server, within,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring::default_provider,
        pki_types::{PrivateKeyDer, pem::PemObject},
    },
};

/// An agent behind TLS, and the certificate that it shows for 127.0.0.1.
async fn agent() -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server(agent_options(), &FakeWorkers::new());
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            // A client that does not trust us ends here.
            if let Ok(stream) = acceptor.accept(stream).await {
                let server = server.clone();
                tokio::spawn(async move { server.serve(Box::new(stream), peer.ip()).await });
            }
        }
    });
    (address, made.cert.pem())
}

fn options(address: SocketAddr) -> RemoteOptions {
    let url = AgentUrl::parse(&format!("wss://{address}")).unwrap();
    RemoteOptions { url, ..remote_options() }
}

#[tokio::test]
async fn trusts_the_certificates_of_the_ca_file() {
    let (address, pem) = agent().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, pem).unwrap();
    let connection =
        RemoteConnection::new(RemoteOptions { ca_file: Some(file), ..options(address) }).unwrap();
    let mut link = within(connection.spawn(request(&[]))).await.unwrap();
    let sent = message(&vec![3; 2_000_000]);
    link.commands.send(WorkerCommand::Message(sent.clone())).await.unwrap();
    assert_eq!(next_message(&mut link).await, sent);
}

#[tokio::test]
async fn does_not_trust_just_anybody() {
    let (address, _) = agent().await;
    let (_, other_pem) = agent().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, other_pem).unwrap();
    let connection = RemoteConnection::new(RemoteOptions {
        ca_file: Some(file),
        connect_timeout: std::time::Duration::from_secs(1),
        timing: Timing::default(),
        ..options(address)
    })
    .unwrap();
    let error = within(connection.spawn(request(&[]))).await.err().unwrap();
    let SpawnError::Unreachable(text) = error else { panic!("{error:?}") };
    assert!(text.contains("TLS: invalid peer certificate"), "{text}");
}

#[tokio::test]
async fn tells_what_is_wrong_with_the_ca_file() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    let with = |file| RemoteOptions { ca_file: Some(file), ..options(([127, 0, 0, 1], 1).into()) };
    for content in [None, Some("no PEM")] {
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let error = RemoteConnection::new(with(file.clone())).err().unwrap();
        assert!(
            matches!(error, InvalidOptions::Tls(TlsError::CaFile { .. })),
            "{content:?}: {error}"
        );
    }
}
