//! The agent's command line.

use std::{collections::BTreeMap, env, net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{AddressOptions, AgentOptions, Limits, drain::LONGEST};
use crate::{
    addresses::PortPolicy,
    net::{KeyPairFiles, ServerTls, ServerTlsFiles, TlsError, TokenFile, TokenFileError, Tokens},
    session::INFINITE,
};

/// Another source of tokens beside the token file.
pub const TOKEN_VARIABLE: &str = "MEDIASOUP_HORIZONTAL_TOKEN";

/// How often at most the files with tokens and certificates are looked at.
const PACE: Duration = Duration::from_secs(1);

/// What an agent takes on its command line.
#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    /// Host and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4480")]
    pub listen: String,
    /// Host and port for `GET /metrics` (Prometheus), `/healthz` and `/readyz`; port 0 takes a free
    /// one. Without TLS and token: whoever reaches it can read how busy the agent is, and no more.
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<String>,
    /// File with the tokens that controllers may use, one a line; lines that begin with # are
    /// comments. Read again when it changes. The variable `MEDIASOUP_HORIZONTAL_TOKEN` adds one
    /// more.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file with this agent's certificate and those that link it to its authority: links are
    /// TLS, wss://. This file and the next two are read again when they change.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key, for its owner only.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// PEM file with authorities: only controllers with a certificate of theirs get in.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// A mediasoup-worker and its mediasoup version; may be repeated.
    #[arg(long, value_name = "VERSION=PATH")]
    pub worker_bin: Vec<String>,
    /// The most workers at a time; the number of cores if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_workers: Option<u32>,
    /// The most sessions at a time: apps, and those whose workers wait for one; 64 if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_sessions: Option<u32>,
    /// The most workers of one session at a time; as many as there are if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_workers_per_session: Option<u32>,
    /// Address that workers bind for clients; may be repeated, one of each family and scope.
    #[arg(long, value_name = "ADDRESS")]
    pub bind_address: Vec<IpAddr>,
    /// Address that other media hosts send to.
    #[arg(long, value_name = "ADDRESS")]
    pub pipe_address: Option<IpAddr>,
    /// Address or host name that clients reach this host under; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub announced_address: Vec<String>,
    /// Clients cannot reach the bound addresses themselves.
    #[arg(long)]
    pub behind_nat: bool,
    /// Ports that workers may use, both ends included.
    #[arg(long, value_name = "MIN-MAX", value_parser = parse_range)]
    pub port_range: Option<(u16, u16)>,
    /// What happens to a fixed port that is taken or out of range.
    #[arg(long, value_name = "POLICY", value_enum, default_value = "remap")]
    pub port_policy: Policy,
    /// A label such as region=eu; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    pub label: Vec<(String, String)>,
    /// How long the workers of an app whose link is lost wait for it: seconds such as 30 or 0.5, or
    /// the word infinite; 30 if not given.
    #[arg(long, value_name = "SECONDS", value_parser = parse_time_limit)]
    pub session_timeout: Option<TimeLimit>,
    /// On SIGTERM drain first: take no new workers and end once those that run have, or after so
    /// many seconds, or the word infinite. A second SIGTERM, or SIGINT, ends the agent at once.
    #[arg(long, value_name = "SECONDS", value_parser = parse_time_limit)]
    pub drain_on_sigterm: Option<TimeLimit>,
    /// Unix socket for `agent drain` and `agent status`, which take the same option; if not given,
    /// one named after the port, in the user's runtime folder or the system's temporary one.
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// Listen off loopback without TLS, on a network that you trust.
    #[arg(long)]
    pub insecure: bool,
}

/// How long something may take; `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimit(pub Option<Duration>);

/// `PortPolicy` on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Policy {
    /// Another free port of the range.
    Remap,
    /// The worker's own error.
    Strict,
}

/// Why there are no options. Never quotes a token.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    #[error(transparent)]
    TokenFile(#[from] TokenFileError),
    #[error("{TOKEN_VARIABLE}: {0}")]
    Variable(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl AgentArgs {
    /// Reads tokens and certificates and gives the agent's options.
    pub fn into_options(self) -> Result<AgentOptions, ArgsError> {
        let variable = env::var_os(TOKEN_VARIABLE).filter(|value| !value.is_empty());
        let mut tokens = Tokens::default();
        if let Some(value) = variable {
            let text = value
                .into_string()
                .map_err(|_| ArgsError::Variable("the token is not text".to_owned()))?;
            tokens.extend(
                Tokens::parse(&text)
                    .map_err(|(_, problem)| ArgsError::Variable(problem.to_string()))?,
            );
        }
        let token_file = self.token_file.map(|path| TokenFile::open(path, PACE)).transpose()?;
        let tls = self
            .tls_cert
            .zip(self.tls_key)
            .map(|(cert, key)| {
                let identity = KeyPairFiles { cert, key };
                let files = ServerTlsFiles { identity, client_ca: self.tls_client_ca };
                ServerTls::open(files, PACE)
            })
            .transpose()?;
        let defaults = AgentOptions::default();
        Ok(AgentOptions {
            listen: self.listen,
            metrics: self.metrics,
            tokens,
            token_file,
            tls,
            insecure: self.insecure,
            max_workers: self.max_workers.map_or(defaults.max_workers, |max| max as usize),
            max_sessions: self.max_sessions.map_or(defaults.max_sessions, |max| max as usize),
            limits: Limits {
                workers_per_session: self.max_workers_per_session.map(|max| max as usize),
                ..Limits::default()
            },
            addresses: AddressOptions {
                bind: self.bind_address,
                pipe: self.pipe_address,
                announced: self.announced_address,
                behind_nat: self.behind_nat,
                port_range: self.port_range,
                port_policy: match self.port_policy {
                    Policy::Remap => PortPolicy::Remap,
                    Policy::Strict => PortPolicy::Strict,
                },
            },
            session_timeout: self
                .session_timeout
                .map_or(defaults.session_timeout, |timeout| timeout.0),
            labels: self.label.into_iter().collect::<BTreeMap<_, _>>(),
            ..defaults
        })
    }
}

fn parse_range(text: &str) -> Result<(u16, u16), String> {
    let (min, max) = text.split_once('-').ok_or("a range looks like 40000-49999")?;
    let port = |text: &str| {
        text.trim().parse::<u16>().ok().filter(|port| *port > 0).ok_or("a port is 1 to 65535")
    };
    let (min, max) = (port(min)?, port(max)?);
    if min > max {
        return Err(format!("{min} is above {max}"));
    }
    Ok((min, max))
}

/// Reads seconds, or the word for a time without end.
pub(super) fn parse_time_limit(text: &str) -> Result<TimeLimit, String> {
    if text == INFINITE {
        return Ok(TimeLimit(None));
    }
    let wrong = || format!("a time limit is 0 to {} seconds, or {INFINITE}", LONGEST.as_secs());
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if !(0.0..=LONGEST.as_secs_f64()).contains(&seconds) {
        return Err(wrong());
    }
    Ok(TimeLimit(Some(Duration::from_secs_f64(seconds))))
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label looks like region=eu".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    #[test]
    fn reads_time_limits() {
        let read = |text| parse_time_limit(text).map(|timeout| timeout.0);
        assert_eq!(read("30"), Ok(Some(Duration::from_secs(30))));
        assert_eq!(read("0.5"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(read("0"), Ok(Some(Duration::ZERO)));
        assert_eq!(read("infinite"), Ok(None));
        for text in ["", "-1", "30s", "inf", "NaN", "1e300", "forever"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_limits() {
        let read = |more: &[&str]| {
            let command = AgentArgs::augment_args(clap::Command::new("agent"));
            let matches = command.try_get_matches_from(["agent"].iter().chain(more))?;
            AgentArgs::from_arg_matches(&matches)
        };
        let options = |more| read(more).map(|args| args.into_options().expect("options"));
        let defaults = options(&[]).expect("defaults");
        assert_eq!((defaults.max_sessions, defaults.limits), (64, Limits::default()));
        let given = ["--max-sessions", "5", "--max-workers-per-session", "2"];
        let given = options(&given).expect("limits");
        assert_eq!((given.max_sessions, given.limits.workers_per_session), (5, Some(2)));
        for (option, value) in [("--max-sessions", "0"), ("--max-workers-per-session", "-1")] {
            assert!(read(&[option, value]).is_err(), "{option} {value}");
        }
    }

    #[test]
    fn reads_ranges_and_labels() {
        assert_eq!(parse_range("40000-49999"), Ok((40000, 49999)));
        for text in ["40000", "0-5", "9-8", "a-b", "1-70000"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
        assert_eq!(parse_label("region=eu=1"), Ok(("region".to_owned(), "eu=1".to_owned())));
        assert!(parse_label("=eu").is_err() && parse_label("region").is_err());
    }
}
