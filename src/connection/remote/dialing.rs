//! One attempt to reach the agent.

use std::{net::SocketAddr, time::Duration};

use tokio::time::timeout;

use super::{RemoteOptions, Shared};
use crate::{
    net::{Dial, DialError, Dialed, Link, open},
    wire::{Hello, ProtocolRange, Welcome},
};

/// How long one attempt to resume a session may take. Behind a cut that swallows everything a
/// fresh one is through sooner than one that waits for its packets to be sent again.
const RESUME_ATTEMPT: Duration = Duration::from_secs(4);

/// Which session an attempt asks for.
pub(super) enum Wanted {
    New,
    /// The one with that name, of which so many frames have arrived.
    Resumed {
        session: String,
        seen: u64,
    },
    /// A new one; nobody wants the one with that name any more.
    Instead(String),
}

/// A link that was let in.
pub(super) struct Opened {
    pub(super) link: Link,
    pub(super) welcome: Welcome,
    /// Where the agent was found.
    pub(super) peer: Option<SocketAddr>,
}

/// Dials, shakes hands and checks that the agent has what this app needs.
pub(super) async fn attempt(
    shared: &Shared,
    dialer: &dyn Dial,
    wanted: &Wanted,
) -> Result<Opened, DialError> {
    let options = &shared.options;
    let all = async {
        let Dialed { transport, peer } = dialer.dial().await?;
        let hello = hello(options, wanted);
        let token = options.current_token();
        let (link, welcome) = open(transport, &options.url, token.as_ref(), &hello).await?;
        Ok(Opened { link, welcome, peer })
    };
    let mut limit = options.connect_timeout.min(options.timing.handshake);
    if let Wanted::Resumed { .. } = wanted {
        limit = limit.min(RESUME_ATTEMPT);
    }
    let opened = timeout(limit, all).await.map_err(|_| {
        DialError::Unreachable(format!("{}: no answer within {limit:?}", options.url))
    })??;
    if let Some(differences) = differences(&opened.welcome, &options.version, &options.fingerprint)
    {
        opened.link.close().await;
        let problem = format!("agent {} does not fit: {differences}", options.url);
        return Err(DialError::Incompatible(problem));
    }
    Ok(opened)
}

fn hello(options: &RemoteOptions, wanted: &Wanted) -> Hello {
    let (session, last_seen) = match wanted {
        Wanted::New => (None, None),
        Wanted::Resumed { session, seen } => (Some(session.clone()), Some(*seen)),
        Wanted::Instead(session) => (Some(session.clone()), None),
    };
    Hello {
        protocol: ProtocolRange::OURS,
        mediasoup: options.version.clone(),
        schema: options.fingerprint.clone(),
        session,
        last_seen,
        boot_id: options.app.host.boot_id.clone(),
        netns: options.app.host.netns,
        controller: options.app.controller.clone(),
    }
}

/// Everything that keeps the agent from running the app's workers, in one text.
pub(super) fn differences(welcome: &Welcome, version: &str, schema: &str) -> Option<String> {
    let mut found = Vec::new();
    let ours = ProtocolRange::OURS;
    if !(ours.min..=ours.max).contains(&welcome.protocol) {
        found.push(format!(
            "it speaks protocol {}, this app {} to {}",
            welcome.protocol, ours.min, ours.max
        ));
    }
    let same_version = || welcome.workers.iter().filter(|offer| offer.version == version);
    if welcome.workers.is_empty() {
        found.push(format!("it has no mediasoup-worker at all, this app needs {version}"));
    } else if same_version().next().is_none() {
        let offers = welcome.workers.iter().map(|offer| offer.version.as_str()).collect::<Vec<_>>();
        found.push(format!(
            "it has mediasoup-worker {}, this app needs {version}",
            offers.join(", ").escape_debug()
        ));
    }
    if !welcome.workers.iter().any(|offer| offer.schema == schema) && !welcome.workers.is_empty() {
        let offers = welcome.workers.iter().map(|offer| offer.schema.as_str()).collect::<Vec<_>>();
        found.push(format!(
            "the channel schema of its workers is {}, this app's is {schema}",
            offers.join(", ").escape_debug()
        ));
    } else if same_version().next().is_some() && same_version().all(|offer| offer.schema != schema)
    {
        let offers = same_version().map(|offer| offer.schema.as_str()).collect::<Vec<_>>();
        found.push(format!(
            "the channel schema of its mediasoup-worker {version} is {}, this app's is {schema}",
            offers.join(", ").escape_debug()
        ));
    }
    (!found.is_empty()).then(|| found.join("; "))
}
