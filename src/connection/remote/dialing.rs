//! One attempt to reach the agent.

use std::{net::SocketAddr, time::Duration};

use tokio::time::timeout;

use super::{RemoteOptions, Shared};
use crate::{
    compatibility::{self, Difference, Incompatibility, Offer, Ours, Theirs},
    net::{Dial, DialError, Dialed, Link, open},
    wire::{Hello, ProtocolRange, Welcome, WorkerOffer},
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
    if let Err(differences) = offer(&opened.welcome, options) {
        opened.link.close().await;
        let agent = format!("agent {}", options.url);
        return Err(DialError::Incompatible(Incompatibility::new(&agent, differences)));
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

/// The worker on offer that runs this app's Workers, or everything that keeps the agent from it.
pub(super) fn offer<'a>(
    welcome: &'a Welcome,
    options: &RemoteOptions,
) -> Result<&'a WorkerOffer, Vec<Difference>> {
    let ProtocolRange { min, max } = ProtocolRange::OURS;
    let ours = Ours {
        protocol: (min, max),
        version: &options.version,
        schema: &options.fingerprint,
        level: options.compatibility,
    };
    let offers: Vec<Offer<'_>> = welcome
        .workers
        .iter()
        .map(|offer| Offer { version: &offer.version, schema: Some(&offer.schema) })
        .collect();
    let theirs = Theirs {
        protocol: Some(welcome.protocol),
        features: welcome.features.as_deref(),
        offers: &offers,
    };
    compatibility::check(&ours, &theirs).map(|position| &welcome.workers[position])
}
