//! Where an agent is reached.

use std::{fmt, net::IpAddr};

use url::{Host, Url};

/// `ws://host:port/path` or `wss://…`, without anything secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentUrl {
    url: Url,
}

/// Why a text is no agent's URL. Never quotes parts that may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    #[error("not a URL ({0}); an agent's URL looks like ws://10.0.0.5:4480 or wss://media.example")]
    Syntax(url::ParseError),
    #[error(
        "the scheme {0}: is not supported; an agent's URL starts with ws:// or wss://, that of the \
         agents behind a name with dns+ws:// or dns+wss://"
    )]
    Scheme(String),
    #[error("the URL of an agent has no host")]
    NoHost,
    #[error(
        "the URL of an agent carries no {0}: URLs end up in logs; give the token in the options \
         or in MEDIASOUP_HORIZONTAL_TOKEN"
    )]
    Secret(&'static str),
}

impl AgentUrl {
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let url = Url::parse(text.trim()).map_err(InvalidUrl::Syntax)?;
        if !matches!(url.scheme(), "ws" | "wss") {
            return Err(InvalidUrl::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidUrl::Secret("user name or password"));
        }
        if url.query().is_some() {
            return Err(InvalidUrl::Secret("query"));
        }
        if url.fragment().is_some() {
            return Err(InvalidUrl::Secret("fragment"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(InvalidUrl::NoHost);
        }
        Ok(Self { url })
    }

    /// The host as sockets and certificates want it, IPv6 without brackets.
    pub fn host(&self) -> String {
        match self.url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        }
    }

    /// The same at an address instead of a host name.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Self {
        let mut url = self.url.clone();
        // Fails only for URLs without a host, which this is not.
        let _ = url.set_ip_host(address);
        Self { url }
    }

    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "wss"
    }

    /// Whether the URL names this very host, so that nothing crosses a network.
    pub fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }

    /// The URL for the HTTP request line and headers.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }
}

impl fmt::Display for AgentUrl {
    /// As people write it: without the lone slash that parsing adds.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.url.as_str();
        formatter.write_str(if self.url.path() == "/" { text.trim_end_matches('/') } else { text })
    }
}

impl fmt::Debug for AgentUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AgentUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_and_ports() {
        for (text, host, port, tls, loopback) in [
            ("ws://10.0.0.5:4480", "10.0.0.5", 4480, false, false),
            ("ws://127.0.0.2:4480/", "127.0.0.2", 4480, false, true),
            ("wss://media.example/agents/1", "media.example", 443, true, false),
            ("ws://[::1]:9", "::1", 9, false, true),
            ("ws://localhost", "localhost", 80, false, true),
        ] {
            let url = AgentUrl::parse(text).expect("valid");
            assert_eq!(
                (url.host().as_str(), url.port(), url.is_tls(), url.is_loopback()),
                (host, port, tls, loopback)
            );
        }
        let url = AgentUrl::parse("ws://10.0.0.5:4480").expect("valid");
        assert_eq!(url.to_string(), "ws://10.0.0.5:4480");
        let named = AgentUrl::parse("wss://agents.example:4480/a").expect("valid");
        for (address, at) in
            [("10.0.0.5", "wss://10.0.0.5:4480/a"), ("2001:db8::5", "wss://[2001:db8::5]:4480/a")]
        {
            assert_eq!(named.at(address.parse().expect("valid")).to_string(), at);
        }
    }

    #[test]
    fn refuses_secrets_and_other_schemes() {
        for text in ["ws://user:hush@host", "ws://host/?token=hush", "ws://host/#hush"] {
            let problem = AgentUrl::parse(text).expect_err("a secret in a URL");
            assert!(matches!(problem, InvalidUrl::Secret(_)), "{text}: {problem}");
            assert!(!problem.to_string().contains("hush"));
        }
        assert!(matches!(AgentUrl::parse("http://host"), Err(InvalidUrl::Scheme(_))));
        assert!(matches!(AgentUrl::parse("10.0.0.5:4480"), Err(InvalidUrl::Syntax(_))));
    }
}
