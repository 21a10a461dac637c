//! One attempt to reach the agent.

use tokio::time::timeout;

use super::{RemoteOptions, Shared};
use crate::{
    net::{Dial, DialError, Link, open},
    wire::{Hello, ProtocolRange, Welcome},
};

/// Dials, shakes hands and checks that the agent has what this app needs.
pub(super) async fn attempt(
    shared: &Shared,
    dialer: &dyn Dial,
) -> Result<(Link, Welcome), DialError> {
    let options = &shared.options;
    let all = async {
        let transport = dialer.dial().await?;
        open(transport, &options.url, options.token.as_ref(), &hello(options)).await
    };
    let limit = options.connect_timeout.min(options.timing.handshake);
    let (link, welcome) = timeout(limit, all).await.map_err(|_| {
        DialError::Unreachable(format!("{}: no answer within {limit:?}", options.url))
    })??;
    if let Some(differences) = differences(&welcome, &options.version, &options.fingerprint) {
        link.close().await;
        let problem = format!("agent {} does not fit: {differences}", options.url);
        return Err(DialError::Incompatible(problem));
    }
    Ok((link, welcome))
}

fn hello(options: &RemoteOptions) -> Hello {
    Hello {
        protocol: ProtocolRange::OURS,
        mediasoup: options.version.clone(),
        schema: options.fingerprint.clone(),
        session: None,
        last_seen: None,
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
