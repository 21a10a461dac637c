//! Certificates of authorities that live as long as a test.

#![allow(dead_code, clippy::unwrap_used, reason = "not every test uses all of it")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use mediasoup_horizontal::net::KeyPairFiles;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// Days between which a certificate is good.
#[derive(Debug, Clone, Copy)]
pub enum Valid {
    Now,
    LongAgo,
    Later,
}

/// An authority, and the folder that its files are in.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = TempDir::new().unwrap();
        // Of a name of its own, so that it is not taken for another.
        let name = folder.path().display().to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// The file with its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A certificate for this name and its key, in new files.
    pub fn issue(&self, name: &str, valid: Valid) -> KeyPairFiles {
        let count = fs::read_dir(self.folder.path()).unwrap().count();
        let folder = self.folder.path().join(count.to_string());
        fs::create_dir(&folder).unwrap();
        let files = KeyPairFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        let (cert, key) = self.made(name, valid);
        fs::write(&files.cert, cert).unwrap();
        write_key(&files.key, &key);
        files
    }

    /// A certificate for this name and its key, as PEM.
    pub fn made(&self, name: &str, valid: Valid) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        let (from, to) = match valid {
            Valid::Now => (2020, 3000),
            Valid::LongAgo => (2020, 2021),
            Valid::Later => (2999, 3000),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }
}

pub fn write_key(path: &Path, pem: &str) {
    fs::write(path, pem).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
