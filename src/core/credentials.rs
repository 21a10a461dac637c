//! What an app shows to agents and what it trusts, from settings and from the environment.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::config::{Options, RemoteSettings};
use crate::{
    connection::remote::{InvalidOptions, RemoteOptions},
    net::{InvalidToken, KeyPairFiles, TlsError, Token, TokenFile, TokenFileError},
};

/// The token for agents.
pub const TOKEN: &str = "MEDIASOUP_HORIZONTAL_TOKEN";
/// The file with it.
pub const TOKEN_FILE: &str = "MEDIASOUP_HORIZONTAL_TOKEN_FILE";
/// PEM file with the authorities of agents' certificates.
pub const CA: &str = "MEDIASOUP_HORIZONTAL_CA";
/// PEM file with the certificate to show to agents.
pub const CERT: &str = "MEDIASOUP_HORIZONTAL_CERT";
/// PEM file with its private key.
pub const KEY: &str = "MEDIASOUP_HORIZONTAL_KEY";

/// Why the credentials cannot be used. Never quotes a token.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error(transparent)]
    Token(#[from] InvalidToken),
    #[error(transparent)]
    TokenFile(#[from] TokenFileError),
    #[error("{TOKEN}: {0}")]
    TokenVariable(InvalidToken),
    #[error("{TOKEN_FILE}: {0}")]
    TokenFileVariable(TokenFileError),
    #[error("token and tokenFile are both given; one is enough")]
    TwoTokens,
    #[error("{TOKEN} and {TOKEN_FILE} are both set; one is enough")]
    TwoTokenVariables,
    #[error("a certificate needs its key and a key its certificate: give both cert and key")]
    Half,
    #[error("{CERT} and {KEY} belong together: set both")]
    HalfVariables,
    #[error("{0} is for TLS: the URL must begin with wss://")]
    NoTls(&'static str),
}

/// Puts the credentials into a connection's options. What the settings say counts before what the
/// environment says.
pub(super) fn put(
    remote: &mut RemoteOptions,
    options: &Options,
    settings: &RemoteSettings,
) -> Result<(), CredentialsError> {
    let RemoteSettings { token, token_file, ca, cert, key, server_name, .. } = settings;
    // Whoever wants TLS must not get a link without it.
    let wanted = [("ca", ca.is_some()), ("cert", cert.is_some()), ("key", key.is_some())];
    for (name, given) in wanted.into_iter().chain([("serverName", server_name.is_some())]) {
        if given && !remote.url.is_tls() {
            return Err(CredentialsError::NoTls(name));
        }
    }
    let file = |path: PathBuf| TokenFile::open(path, Duration::ZERO);
    match (token, token_file, options.variable(TOKEN), options.variable(TOKEN_FILE)) {
        (Some(_), Some(_), ..) => return Err(CredentialsError::TwoTokens),
        (Some(token), None, ..) => remote.token = Some(Token::new(token)?),
        (None, Some(path), ..) => remote.token_file = Some(file(path.clone())?),
        (None, None, Some(_), Some(_)) => return Err(CredentialsError::TwoTokenVariables),
        (None, None, Some(token), None) => {
            remote.token = Some(Token::new(token).map_err(CredentialsError::TokenVariable)?);
        }
        (None, None, None, Some(path)) => {
            let file = file(path.into()).map_err(CredentialsError::TokenFileVariable)?;
            remote.token_file = Some(file);
        }
        (None, None, None, None) => {}
    }
    let path = |name| options.variable(name).map(PathBuf::from);
    remote.tls.ca = ca.clone().or_else(|| path(CA));
    remote.tls.identity = match (cert.clone(), key.clone()) {
        (Some(cert), Some(key)) => Some(KeyPairFiles { cert, key }),
        (None, None) => match (path(CERT), path(KEY)) {
            (Some(cert), Some(key)) => Some(KeyPairFiles { cert, key }),
            (None, None) => None,
            _ => return Err(CredentialsError::HalfVariables),
        },
        _ => return Err(CredentialsError::Half),
    };
    remote.tls.server_name.clone_from(server_name);
    Ok(())
}

/// The variable that named a file which cannot be used.
pub(super) fn variable_of(
    error: &InvalidOptions,
    options: &Options,
    settings: &RemoteSettings,
) -> Option<&'static str> {
    let InvalidOptions::Tls(
        TlsError::File { path, .. } | TlsError::Content { path, .. } | TlsError::Mismatch(path, _),
    ) = error
    else {
        return None;
    };
    let RemoteSettings { ca, cert, key, .. } = settings;
    [(CA, ca), (CERT, cert), (KEY, key)].into_iter().find_map(|(name, own)| {
        let named = options.variable(name).filter(|_| own.is_none());
        named.filter(|named| Path::new(named) == path).map(|_| name)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn read(
        url: &str,
        settings: serde_json::Value,
        variables: &[(&str, &str)],
    ) -> Result<RemoteOptions, String> {
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let options = Options::of_environment(environment.collect());
        let mut settings = settings;
        settings["url"] = url.into();
        let settings: RemoteSettings = serde_json::from_value(settings).unwrap();
        let mut remote = RemoteOptions::new(url).unwrap();
        put(&mut remote, &options, &settings).map_err(|error| error.to_string())?;
        Ok(remote)
    }

    const WSS: &str = "wss://media.example";

    #[test]
    fn tokens_come_from_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let path = path.to_str().unwrap();
        fs::write(path, "# ours\nfiled\nolder\n").unwrap();
        let token = |text| Some(Token::new(text).unwrap());
        let given = serde_json::json!({"token": "given"});
        let filed = serde_json::json!({"tokenFile": path});
        let nothing = serde_json::json!({});
        let found = |settings: &serde_json::Value, variables: &[(&str, &str)]| {
            let remote = read(WSS, settings.clone(), variables)?;
            Ok::<_, String>(
                remote.token.or_else(|| remote.token_file.and_then(|file| file.first())),
            )
        };
        assert_eq!(found(&nothing, &[]), Ok(None));
        assert_eq!(found(&given, &[(TOKEN, "other")]), Ok(token("given")));
        assert_eq!(found(&filed, &[(TOKEN, "other")]), Ok(token("filed")));
        assert_eq!(found(&given, &[(TOKEN_FILE, path)]), Ok(token("given")));
        assert_eq!(found(&nothing, &[(TOKEN, "other")]), Ok(token("other")));
        assert_eq!(found(&nothing, &[(TOKEN_FILE, path)]), Ok(token("filed")));
        let two = found(&serde_json::json!({"token": "a", "tokenFile": path}), &[]).unwrap_err();
        assert!(two.contains("both given"), "{two}");
        let two = found(&nothing, &[(TOKEN, "hush"), (TOKEN_FILE, path)]).unwrap_err();
        assert!(two.contains("both set") && !two.contains("hush"), "{two}");
        let bad = found(&nothing, &[(TOKEN, "hush hush")]).unwrap_err();
        assert!(bad.starts_with(&format!("{TOKEN}: the token")), "{bad}");
        assert!(!bad.contains("hush"), "{bad}");
        let missing = found(&nothing, &[(TOKEN_FILE, "/nonexistent")]).unwrap_err();
        assert!(missing.starts_with(&format!("{TOKEN_FILE}: ")), "{missing}");
        assert!(missing.contains("/nonexistent"), "{missing}");
    }

    #[test]
    fn certificates_and_keys_belong_together() {
        let both = KeyPairFiles { cert: "c.pem".into(), key: "k.pem".into() };
        let given = serde_json::json!({"cert": "c.pem", "key": "k.pem", "serverName": "media"});
        let remote = read(WSS, given, &[(CERT, "other"), (CA, "ca.pem")]).unwrap();
        assert_eq!(remote.tls.identity, Some(both.clone()));
        assert_eq!(remote.tls.ca, Some("ca.pem".into()));
        assert_eq!(remote.tls.server_name.as_deref(), Some("media"));
        let variables = [(CERT, "c.pem"), (KEY, "k.pem")];
        let remote = read(WSS, serde_json::json!({"ca": "own.pem"}), &variables).unwrap();
        assert_eq!((remote.tls.identity, remote.tls.ca), (Some(both), Some("own.pem".into())));
        for (settings, variables, words) in [
            (serde_json::json!({"cert": "c.pem"}), &[(KEY, "k.pem")][..], "both cert and key"),
            (serde_json::json!({"key": "k.pem"}), &[], "both cert and key"),
            (serde_json::json!({}), &[(CERT, "c.pem")], "belong together"),
        ] {
            let error = read(WSS, settings, variables).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn tells_which_variable_named_a_file() {
        let missing = |path: &str| {
            InvalidOptions::Tls(TlsError::Mismatch(path.into(), PathBuf::from("other")))
        };
        let variables =
            [(CA, "ca.pem"), (CERT, "c.pem"), (KEY, "k.pem")].map(|(n, v)| (n.into(), v.into()));
        let options = Options::of_environment(variables.into_iter().collect());
        let nothing = RemoteSettings::default();
        let own = RemoteSettings { ca: Some("ca.pem".into()), ..RemoteSettings::default() };
        for (path, settings, expected) in [
            ("ca.pem", &nothing, Some(CA)),
            ("c.pem", &nothing, Some(CERT)),
            ("k.pem", &own, Some(KEY)),
            ("ca.pem", &own, None),
            ("elsewhere.pem", &nothing, None),
        ] {
            assert_eq!(variable_of(&missing(path), &options, settings), expected, "{path}");
        }
        let name = InvalidOptions::Tls(TlsError::ServerName("x".to_owned()));
        assert_eq!(variable_of(&name, &options, &nothing), None);
    }

    #[test]
    fn settings_for_tls_are_not_dropped_without_a_word() {
        for name in ["ca", "cert", "key", "serverName"] {
            let error = read("ws://10.0.0.5", serde_json::json!({name: "x"}), &[]).unwrap_err();
            assert_eq!(error, format!("{name} is for TLS: the URL must begin with wss://"));
        }
        // The environment's are for those of its agents that have TLS.
        assert!(read("ws://10.0.0.5", serde_json::json!({}), &[(CA, "ca.pem")]).is_ok());
    }
}
