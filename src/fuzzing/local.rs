//! What comes from this host, or names things of it: the stub's socket, private files, arguments.

use std::path::PathBuf;

use crate::{
    connection::{SpawnError, SpawnRequest},
    core::{
        config::{ConnectionSettings, Options},
        settings,
    },
    net::{KeyPairFiles, Tokens, tls},
    stub::protocol::{self, HEADER, MESSAGE_MAX},
    wire::SpawnSpec,
    worker_process::arguments,
};

/// A message of the stub's socket that decodes encodes to itself.
pub fn stub_messages(data: &[u8]) {
    if let Some(field) = protocol::number(data) {
        assert_eq!(field.to_le_bytes(), data);
    }
    let Some((kind, length)) = protocol::header(data) else { return };
    assert!(length <= MESSAGE_MAX);
    let Some(body) = data.get(HEADER..HEADER + length) else { return };
    let Some(fields) = protocol::fields(body) else { return };
    assert!(fields.len() <= body.len() / 4);
    let again = protocol::encode(kind, &fields);
    assert_eq!(again, &data[..HEADER + length]);
}

/// Tokens, certificates and keys: used or refused, and no text about them quotes a secret.
pub fn private_files(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        match Tokens::parse(text) {
            Ok(tokens) => {
                let shown = format!("{tokens:?}");
                for line in text.lines().map(str::trim) {
                    let is_token = !line.is_empty() && !line.starts_with('#');
                    assert!(!is_token || tokens.accept(line), "one of its own");
                    assert!(!is_token || line.len() < 16 || !shown.contains(line), "{shown}");
                }
                assert!(!tokens.accept(""));
            }
            Err((line, problem)) => {
                assert!(line >= 1 && line <= text.lines().count());
                assert!(problem.to_string().len() < 200, "{problem}");
            }
        }
    }
    let path = PathBuf::from("/certificates");
    if let Ok(roots) = tls::roots(&path, data) {
        assert!(!roots.is_empty());
    }
    let files = KeyPairFiles { cert: path.clone(), key: path };
    match files.parse(data, data) {
        Ok((certificates, _)) => assert!(!certificates.is_empty()),
        Err(problem) => assert!(problem.to_string().len() <= data.len() * 4 + 300, "{problem}"),
    }
}

/// Arguments that may reach a worker are on the list, name no file, and keep its host's ports.
/// The bytes are arguments with zeros between them, and JSON that asks for a worker.
pub fn worker_arguments(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    check(&text.split('\0').map(ToOwned::to_owned).collect::<Vec<_>>());
    if let Ok(spec) = serde_json::from_slice::<SpawnSpec>(data) {
        let secret = spec.dtls_private_key.clone().filter(|key| key.len() > 32);
        let request = SpawnRequest::from(spec);
        assert_eq!(request.worker_bin, None, "no binary is taken from a wire");
        let shown = format!("{request:?}");
        assert!(secret.is_none_or(|secret| !shown.contains(&secret)), "{shown}");
        check(&request.args);
    }
    // Settings that the app's own JS hands over: any error is fine, no panic.
    let _ = serde_json::from_slice::<Options>(data).is_ok();
    let _ = serde_json::from_slice::<Vec<ConnectionSettings>>(data).is_ok();
}

fn check(args: &[String]) {
    const RANGE: (u16, u16) = (40_000, 40_100);
    match arguments::check(args, None) {
        Ok(passed) => {
            assert_eq!(passed, args);
            assert!(passed.len() <= 64, "{}", passed.len());
            for arg in &passed {
                assert!(arg.starts_with("--") && arg.contains('='), "{arg}");
                assert!(!arg.contains('\0') && arg.len() <= 16 * 1024, "{arg}");
                assert!(!settings::names_file(arg), "{arg}");
            }
        }
        Err(SpawnError::WrongSettings(text)) => {
            assert!(text.len() <= 64 * 500 + 500, "{} characters", text.len());
        }
        Err(other) => panic!("{other}"),
    }
    let Ok(within) = arguments::check(args, Some(RANGE)) else { return };
    let last = |option: &str| {
        let text = within.iter().rev().find_map(|arg| arg.strip_prefix(option))?;
        text.parse::<u16>().ok()
    };
    // What the worker will refuse by itself is left to it.
    let (min, max) = (last("--rtcMinPort="), last("--rtcMaxPort="));
    if let (Some(min), Some(max)) = (min, max)
        && min <= max
    {
        assert!(
            (RANGE.0..=RANGE.1).contains(&min) && (RANGE.0..=RANGE.1).contains(&max),
            "{within:?}"
        );
    }
}
