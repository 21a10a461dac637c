//! TLS of a `wss://` link: certificates from files, and the controller's side.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, RootCertStore,
    crypto::{CryptoProvider, ring::default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    FileProblem,
    reread::{Files, Reread},
    small_file::SmallFile,
};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot use the {what} file {}: {problem}", path.display())]
    File { what: &'static str, path: PathBuf, problem: FileProblem },
    #[error("the {what} file {}: {problem}", path.display())]
    Content { what: &'static str, path: PathBuf, problem: String },
    #[error("the certificate {} and the key {} do not belong together", .0.display(), .1.display())]
    Mismatch(PathBuf, PathBuf),
    #[error(
        "no trusted root certificates: the system has none that can be read and no CA file is given"
    )]
    NoRoots,
    #[error("{0} cannot be the name in a certificate")]
    ServerName(String),
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] Error),
}

/// A certificate, with those that link it to its authority, and its private key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPairFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// What a controller trusts and shows.
#[derive(Debug, Clone, Default)]
pub struct ClientTlsOptions {
    /// The authorities to trust instead of the system's, as a PEM file.
    pub ca: Option<PathBuf>,
    /// What to show to agents that ask for a certificate.
    pub identity: Option<KeyPairFiles>,
    /// The name that the agent's certificate must have; the URL's host if not given.
    pub server_name: Option<String>,
}

/// The controller's side of TLS. Its files are read again at each dial.
pub(super) struct ClientTls {
    config: Reread<ClientFiles>,
    name: ServerName<'static>,
}

impl ClientTls {
    pub(super) fn open(options: &ClientTlsOptions, host: &str) -> Result<Self, TlsError> {
        let name = options.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| TlsError::ServerName(name.to_owned()))?;
        let system = if options.ca.is_none() { system_roots() } else { RootCertStore::empty() };
        let files = ClientFiles {
            ca: options.ca.clone(),
            identity: options.identity.clone(),
            system: Arc::new(system),
        };
        Ok(Self { config: Reread::open(files, Duration::ZERO)?, name })
    }

    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(self.config.current());
        connector.connect(self.name.clone(), stream).await
    }
}

struct ClientFiles {
    ca: Option<PathBuf>,
    identity: Option<KeyPairFiles>,
    /// Where no CA is given.
    system: Arc<RootCertStore>,
}

impl Files for ClientFiles {
    type Made = Arc<ClientConfig>;
    type Problem = TlsError;

    fn read(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        let mut contents = Vec::new();
        if let Some(ca) = &self.ca {
            contents.push(read(CA, ca)?);
        }
        if let Some(identity) = &self.identity {
            contents.extend(identity.read()?);
        }
        Ok(contents)
    }

    fn make(&self, contents: &[Vec<u8>]) -> Result<Arc<ClientConfig>, TlsError> {
        let mut contents = contents.iter();
        let roots = match &self.ca {
            Some(path) => Arc::new(roots(path, next(&mut contents))?),
            None if self.system.is_empty() => return Err(TlsError::NoRoots),
            None => Arc::clone(&self.system),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        Ok(Arc::new(match &self.identity {
            Some(identity) => {
                let (certificates, key) =
                    identity.parse(next(&mut contents), next(&mut contents))?;
                builder
                    .with_client_auth_cert(certificates, key)
                    .map_err(|error| identity.unusable(error))?
            }
            None => builder.with_no_client_auth(),
        }))
    }
}

const CA: &str = "CA";

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

/// The next file's content.
pub(super) fn next<'a>(contents: &mut impl Iterator<Item = &'a Vec<u8>>) -> &'a [u8] {
    contents.next().map_or(&[], Vec::as_slice)
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Some systems have unreadable or odd certificates beside good ones: those are left out.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The authorities in a PEM file.
pub(crate) fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(CA, path, pem)? {
        roots.add(certificate).map_err(|error| content(CA, path, &error))?;
    }
    Ok(roots)
}

impl KeyPairFiles {
    pub(super) fn read(&self) -> Result<[Vec<u8>; 2], TlsError> {
        let cert = read("certificate", &self.cert)?;
        let failed = |problem| TlsError::File { what: "key", path: self.key.clone(), problem };
        let key = SmallFile::read(&self.key).map_err(failed)?;
        key.private().map_err(failed)?;
        Ok([cert, key.bytes])
    }

    pub(crate) fn parse(
        &self,
        cert: &[u8],
        key: &[u8],
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let certificates = certificates("certificate", &self.cert, cert)?;
        // The parser's own text could quote what it found.
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| content("key", &self.key, &"no private key in it (PEM expected)"))?;
        Ok((certificates, key))
    }

    pub(super) fn unusable(&self, error: Error) -> TlsError {
        match error {
            Error::InconsistentKeys(_) => TlsError::Mismatch(self.cert.clone(), self.key.clone()),
            error => TlsError::Rustls(error),
        }
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    SmallFile::read(path).map(|file| file.bytes).map_err(|problem| TlsError::File {
        what,
        path: path.to_owned(),
        problem,
    })
}

pub(super) fn read_ca(path: &Path) -> Result<Vec<u8>, TlsError> {
    read(CA, path)
}

fn certificates(
    what: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| content(what, path, &error))?;
    if certificates.is_empty() {
        return Err(content(what, path, &"no certificate in it (PEM expected)"));
    }
    Ok(certificates)
}

fn content(what: &'static str, path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::Content { what, path: path.to_owned(), problem: problem.to_string() }
}

/// The TLS error inside an I/O error.
pub(super) fn inside(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Why the agent's end is no good, in words.
pub(super) fn explain_agent(error: &Error) -> String {
    match error {
        Error::InvalidMessage(_) => {
            "the peer does not speak TLS; is it an agent that listens for ws://?".to_owned()
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            format!("{error}: its authority is not among those that this app trusts (ca)")
        }
        other => other.to_string(),
    }
}

/// What the agent has against our certificate, or that we have none.
pub(super) fn explain_refusal(error: &Error) -> Option<String> {
    use AlertDescription as Alert;
    let Error::AlertReceived(alert) = error else { return None };
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            Some(format!("asks for a client certificate and none is set (cert and key; {alert:?})"))
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::DecryptError => Some(format!("does not take our client certificate ({alert:?})")),
        _ => None,
    }
}
