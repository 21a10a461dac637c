//! TLS on the agent's side.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    AlertDescription, CertificateError, Error, ServerConfig,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    BoxedTransport, KeyPairFiles, TlsError,
    accept::refuse_plain,
    reread::{Files, Reread},
    tls,
};

/// How long a peer that is not let in may take to hear why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How much of what it still sends is read meanwhile: a socket that is closed with unread bytes
/// takes back what it said.
const LINGER: u64 = 64 * 1024;

/// What an agent shows and whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsFiles {
    pub identity: KeyPairFiles,
    /// The authorities of controllers' certificates, as a PEM file: without one of theirs nobody
    /// gets in. None: no certificate is asked for.
    pub client_ca: Option<PathBuf>,
}

/// Why a peer did not get through TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsRefused {
    #[error("TLS: {0}")]
    Io(io::Error),
    #[error("TLS: the peer does not speak it")]
    NoTls,
    #[error("TLS: it asked for ws://, which this agent does not have")]
    Plain,
    #[error("TLS: it showed no client certificate")]
    NoCertificate,
    #[error("TLS: its client certificate is not good here: {0}")]
    Certificate(CertificateError),
    #[error("TLS: it does not take this agent's certificate ({0:?})")]
    Refuses(AlertDescription),
    #[error("TLS: {0}")]
    Other(Error),
}

/// The agent's side of TLS. Its files are read again when they change.
#[derive(Clone)]
pub struct ServerTls(Arc<Reread<ServerTlsFiles>>);

impl ServerTls {
    /// Reads the files at once, so that a mistake is told early, and later at most once per `pace`.
    pub fn open(files: ServerTlsFiles, pace: Duration) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(Reread::open(files, pace)?)))
    }

    /// Whether only controllers with a certificate get in.
    pub fn asks_for_certificates(&self) -> bool {
        self.0.files().client_ca.is_some()
    }

    /// What keeps the files from being used that are there now. The former ones count meanwhile.
    pub fn problem(&self) -> Option<String> {
        self.0.problem()
    }

    /// Shakes hands. The caller sets the deadline.
    pub async fn accept(&self, stream: TcpStream) -> Result<BoxedTransport, TlsRefused> {
        // No TLS record begins with a letter and every HTTP request does.
        let mut first = [0];
        if stream.peek(&mut first).await.map_err(TlsRefused::Io)? == 1
            && first[0].is_ascii_uppercase()
        {
            refuse_plain(Box::new(stream)).await.map_err(TlsRefused::Io)?;
            return Err(TlsRefused::Plain);
        }
        let acceptor = TlsAcceptor::from(self.0.current());
        match acceptor.accept(stream).into_fallible().await {
            Ok(stream) => Ok(Box::new(stream)),
            Err((error, stream)) => {
                let _ = timeout(LAST_WORDS, let_hear(stream)).await;
                Err(refused(error))
            }
        }
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("ServerTls").field(self.0.files()).finish()
    }
}

impl Files for ServerTlsFiles {
    type Made = Arc<ServerConfig>;
    type Problem = TlsError;

    fn read(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        let mut contents = self.identity.read()?.to_vec();
        if let Some(path) = &self.client_ca {
            contents.push(tls::read_ca(path)?);
        }
        Ok(contents)
    }

    fn make(&self, contents: &[Vec<u8>]) -> Result<Arc<ServerConfig>, TlsError> {
        let mut contents = contents.iter();
        let (certificates, key) =
            self.identity.parse(tls::next(&mut contents), tls::next(&mut contents))?;
        let builder = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca {
            Some(path) => {
                let roots = Arc::new(tls::roots(path, tls::next(&mut contents))?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, tls::provider())
                    .build()
                    .map_err(|error| Error::General(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(|error| self.identity.unusable(error))?;
        // A resumed TLS session would not show its certificate again, which may have expired.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

/// Ends a connection so that its peer gets the alert rather than a reset.
async fn let_hear(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(LINGER), &mut tokio::io::sink()).await?;
    Ok(())
}

fn refused(error: io::Error) -> TlsRefused {
    match tls::inside(&error) {
        Some(Error::NoCertificatesPresented) => TlsRefused::NoCertificate,
        Some(Error::InvalidCertificate(problem)) => TlsRefused::Certificate(problem.clone()),
        Some(Error::InvalidMessage(_)) => TlsRefused::NoTls,
        Some(Error::AlertReceived(alert)) => TlsRefused::Refuses(*alert),
        Some(other) => TlsRefused::Other(other.clone()),
        None => TlsRefused::Io(error),
    }
}
