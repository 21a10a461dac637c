//! The agents behind a name, from settings to Workers.

#![allow(clippy::unwrap_used)]

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::{collections::HashMap, sync::Arc, time::Duration};

use certificates::{Authority, Valid};
use mediasoup_horizontal::{
    SCHEMA_FINGERPRINT,
    addresses::HostAddresses,
    agent::{Agent, AgentOptions, Offer, WorkerSource},
    connection::{ConnectionState, SpawnError, SpawnRequest, WorkerLink},
    core::{
        Core,
        config::{self, AGENTS, ConnectionSettings, Options},
        credentials,
    },
    net::{ServerTls, ServerTlsFiles},
    virtual_worker::Spread,
};
use support::{FakeWorkers, agent_options, within};

/// Workers that the library's own version fits.
struct Fitting(FakeWorkers);

impl WorkerSource for Fitting {
    fn offers(&self) -> Vec<Offer> {
        let fit = |offer| Offer { schema: SCHEMA_FINGERPRINT.to_owned(), ..offer };
        self.0.offers().into_iter().map(fit).collect()
    }

    fn start(
        &self,
        request: &SpawnRequest,
        addresses: HostAddresses,
        guard: Box<dyn Send>,
    ) -> Result<WorkerLink, SpawnError> {
        self.0.start(request, addresses, guard)
    }
}

async fn start(options: AgentOptions) -> u16 {
    let options = AgentOptions { listen: "127.0.0.1:0".to_owned(), ..options };
    let agent = Agent::bind(options, Arc::new(Fitting(FakeWorkers::new()))).await.unwrap();
    let port = agent.address().port();
    tokio::spawn(agent.run(std::future::pending()));
    port
}

fn core(environment: &[(&str, &str)]) -> (Core, Options) {
    let environment = environment.iter().chain(&[(credentials::TOKEN, "good")]);
    let pairs = environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = Options::of_environment(pairs.collect::<HashMap<_, _>>());
    let book = config::address_book(&options).unwrap();
    let core = Core::start(book, Duration::from_secs(10), Spread::ONE_PART).unwrap();
    (core, options)
}

async fn connected(core: &Core, name: &str) {
    let all = async {
        loop {
            let state = |(known, state)| (known == name).then_some(state);
            match core.states().into_iter().find_map(state) {
                Some(ConnectionState::Connected) => return,
                Some(ConnectionState::Refused) => panic!("{name} does not let us in"),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    within(all).await;
}

#[tokio::test]
async fn a_certificate_names_what_the_agents_are_called() {
    let authority = Authority::new();
    let identity = authority.issue("localhost", Valid::Now);
    let files = ServerTlsFiles { identity, client_ca: None };
    let tls = Some(ServerTls::open(files, Duration::ZERO).unwrap());
    let port = start(AgentOptions { tls, ..agent_options() }).await;
    let url = format!("dns+wss://localhost:{port}");
    let ca = authority.ca().to_string_lossy().into_owned();
    let (core, options) = core(&[(AGENTS, &url), (credentials::CA, &ca)]);
    let made = config::connect(&core, &options, ConnectionSettings::Environment).unwrap();
    assert!(made.is_empty(), "they come by themselves");
    connected(&core, &format!("wss://127.0.0.1:{port}")).await;
}

#[tokio::test]
async fn names_and_agents_may_stand_side_by_side() {
    let port = start(agent_options()).await;
    let other = start(agent_options()).await;
    let urls = format!("ws://127.0.0.1:{other}, dns+ws://localhost:{port}");
    let (core, options) = core(&[(AGENTS, &urls)]);
    for connection in config::connect(&core, &options, ConnectionSettings::Environment).unwrap() {
        core.add(connection);
    }
    connected(&core, &format!("ws://127.0.0.1:{other}")).await;
    connected(&core, &format!("ws://127.0.0.1:{port}")).await;
}

#[tokio::test]
async fn wrong_settings_are_told_at_once() {
    for (url, words) in [
        ("dns+wss://agents:hush@name", "user name or password"),
        ("dns+ftp://name", "ftp"),
        ("dns+wss://localhost:1", "/nonexistent/ca.pem"),
    ] {
        let (core, options) = core(&[(AGENTS, url), (credentials::CA, "/nonexistent/ca.pem")]);
        let Err(problem) = config::connect(&core, &options, ConnectionSettings::Environment) else {
            panic!("{url} is fine");
        };
        let text = problem.to_string();
        assert!(text.contains(words) && !text.contains("hush"), "{url}: {text}");
    }
}
