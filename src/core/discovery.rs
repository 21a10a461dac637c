//! Agents behind a name: `dns+wss://name:port` stands for one agent at each address of the name,
//! which is looked up again and again. Agents come as addresses appear; one whose address is gone
//! gets nothing new, and goes once nothing of this core is left there.

mod roster;

use std::{
    collections::BTreeSet,
    fmt, io,
    net::IpAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{
    net::lookup_host,
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};

use self::roster::{Change, Roster};
use super::{
    Core, Inner,
    choice::{self, Found, NoWorker, Place, Role},
    sharing::Owner,
};
use crate::{
    connection::{BoxFuture, Connection, SpawnRequest},
    net::{AgentUrl, InvalidUrl},
};

/// When a name is looked up.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How often.
    pub every: Duration,
    /// How soon again where it never had an answer.
    pub retry: Duration,
    /// How long one look may take.
    pub limit: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { every: seconds(10), retry: seconds(1), limit: seconds(5) }
    }
}

/// What an agent's URL begins with where its host is a name to look up.
const PREFIX: &str = "dns+";

/// Looks a name up. Tests answer by themselves.
pub trait Resolve: Send + Sync {
    fn resolve(&self) -> BoxFuture<'_, io::Result<BTreeSet<IpAddr>>>;
}

/// Asks the system, as a dial would.
struct SystemResolver {
    host: String,
    port: u16,
}

impl Resolve for SystemResolver {
    fn resolve(&self) -> BoxFuture<'_, io::Result<BTreeSet<IpAddr>>> {
        Box::pin(async {
            let found = lookup_host((self.host.as_str(), self.port)).await?;
            Ok(found.map(|address| address.ip().to_canonical()).collect())
        })
    }
}

/// Makes the connection to the agent at an address.
pub type Make = Box<dyn Fn(&AgentUrl) -> Result<Arc<dyn Connection>, String> + Send + Sync>;

/// A name that stands for agents.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentsUrl(AgentUrl);

impl AgentsUrl {
    /// `None`: the text is none of these, but may be one agent's.
    pub fn parse(text: &str) -> Option<Result<Self, InvalidUrl>> {
        let url = text.trim().strip_prefix(PREFIX)?;
        Some(AgentUrl::parse(url).map(Self))
    }

    /// The URL of an agent under that name.
    pub fn agent(&self) -> &AgentUrl {
        &self.0
    }
}

impl fmt::Display for AgentsUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", self.0)
    }
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Pending,
    Failed(String),
    Known,
}

/// The names of a core, for whoever waits for the first answers.
#[derive(Default)]
pub(super) struct Discoveries(Mutex<Vec<(AgentsUrl, watch::Receiver<Answer>)>>);

impl Discoveries {
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Why there are no agents, if a name is the reason.
    pub(super) fn problem(&self) -> Option<String> {
        let told = |(url, answer): &(AgentsUrl, watch::Receiver<Answer>)| match &*answer.borrow() {
            Answer::Pending => format!("{url}: no answer yet"),
            Answer::Failed(why) => format!("{url}: {why}"),
            Answer::Known => format!("{url}: none of its agents is left"),
        };
        let problems: Vec<String> = self.0.lock().iter().map(told).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// Waits until every name had an answer that is accepted.
    async fn answered(&self, deadline: Instant, accepted: fn(&Answer) -> bool) {
        let answers: Vec<_> = self.0.lock().iter().map(|(_, answer)| answer.clone()).collect();
        for mut answer in answers {
            // Too late, or its task is over: then there is none.
            let _ = timeout_at(deadline, answer.wait_for(accepted)).await;
        }
    }
}

impl Core {
    /// Adds the agents of a name, now and as it changes. Ends with the core.
    pub fn discover(&self, url: AgentsUrl, make: Make) {
        let resolver =
            Arc::new(SystemResolver { host: url.agent().host(), port: url.agent().port() });
        self.discover_by(url, resolver, Pace::default(), make);
    }

    /// The same with another way to look names up, and another pace.
    pub fn discover_by(&self, url: AgentsUrl, resolver: Arc<dyn Resolve>, pace: Pace, make: Make) {
        let (tell, answer) = watch::channel(Answer::Pending);
        self.inner.discoveries.0.lock().push((url.clone(), answer));
        let inner = Arc::downgrade(&self.inner);
        let (roster, failure) = (Roster::default(), None);
        let handle = self.handle.clone();
        let discovery =
            Discovery { url, resolver, pace, make, inner, handle, roster, tell, failure };
        self.handle.spawn(discovery.run());
    }
}

impl Inner {
    /// A worker for the home of a Worker of the app, once names had the time to be looked up.
    pub(super) async fn find_home(
        &self,
        request: &SpawnRequest,
        role: Role<'_>,
        pid: u32,
    ) -> Result<(Found, Place), NoWorker> {
        let deadline = Instant::now() + self.connect_timeout;
        self.discoveries.answered(deadline, |answer| *answer != Answer::Pending).await;
        if self.sources.lock().is_empty() {
            self.discoveries.answered(deadline, |answer| *answer == Answer::Known).await;
        }
        let sources = self.sources();
        if sources.is_empty()
            && let Some(problem) = self.discoveries.problem()
        {
            return Err(NoWorker::Undiscovered(problem));
        }
        let seeker = Some(self.sharing.seeker(Owner(pid)));
        choice::find_or_share(&sources, request, role, &self.rules, pid, deadline, seeker).await
    }

    fn has(&self, name: &str) -> bool {
        self.sources.lock().iter().any(|source| source.connection.name() == name)
    }
}

/// The task of a name.
struct Discovery {
    url: AgentsUrl,
    resolver: Arc<dyn Resolve>,
    pace: Pace,
    make: Make,
    inner: Weak<Inner>,
    handle: Handle,
    roster: Roster,
    tell: watch::Sender<Answer>,
    /// Why the last look failed, which is logged once.
    failure: Option<String>,
}

impl Discovery {
    async fn run(mut self) {
        let mut leaving = FuturesUnordered::new();
        loop {
            let found = match timeout(self.pace.limit, self.resolver.resolve()).await {
                Ok(Ok(found)) if found.is_empty() => Err("the name has no address".to_owned()),
                Ok(Ok(found)) => Ok(found),
                Ok(Err(error)) => Err(format!("cannot look up the name: {error}")),
                Err(_) => Err(format!("looking up the name took more than {:?}", self.pace.limit)),
            };
            let Some(inner) = self.inner.upgrade() else { return };
            match found {
                Ok(found) => {
                    for address in self.apply(&inner, &found) {
                        leaving.push(self.left(&inner, address));
                    }
                    self.failure = None;
                    self.tell.send_replace(Answer::Known);
                }
                Err(why) => self.failed(why),
            }
            drop(inner);
            let pause = sleep(self.pause());
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    // Cancel-safe: the pause is kept between the rounds.
                    () = &mut pause => break,
                    // Cancel-safe: what is not taken stays in the set.
                    Some((address, drained)) = leaving.next() => {
                        let Some(inner) = self.inner.upgrade() else { return };
                        self.gone(&inner, address, drained);
                    }
                }
            }
        }
    }

    /// Takes out an agent on which nothing is left. Somebody else may have been quicker.
    fn gone(&mut self, inner: &Inner, address: IpAddr, drained: bool) {
        let name = self.name(address);
        if (drained || !inner.has(&name)) && self.roster.left(address) {
            inner.remove(&name);
        }
    }

    /// A name that was found once and is not any more changes nothing: its servers may be down.
    fn failed(&mut self, why: String) {
        if self.failure.as_ref() != Some(&why) {
            tracing::warn!(url = %self.url, why, "its agents stay as they are");
        }
        self.failure = Some(why.clone());
        if *self.tell.borrow() != Answer::Known {
            self.tell.send_replace(Answer::Failed(why));
        }
    }

    fn pause(&self) -> Duration {
        if *self.tell.borrow() == Answer::Known { self.pace.every } else { self.pace.retry }
    }

    /// What an agent's connection is called.
    fn name(&self, address: IpAddr) -> String {
        self.url.agent().at(address).to_string()
    }

    /// Does what a new answer asks for, and tells which agents begin to leave.
    fn apply(&mut self, inner: &Arc<Inner>, found: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
        let mut leaving = Vec::new();
        let (changes, ignored) = self.roster.update(found);
        if ignored > 0 {
            tracing::warn!(url = %self.url, ignored, "the name has too many addresses");
        }
        for change in changes {
            match change {
                Change::Add(address) => self.add(inner, address),
                Change::Leave(address) => {
                    tracing::info!(url = %self.url, %address, "its address is gone: it drains");
                    inner.set_leaving(&self.name(address), true);
                    leaving.push(address);
                }
                Change::Stay(address) => {
                    inner.set_leaving(&self.name(address), false);
                }
            }
        }
        leaving
    }

    fn add(&mut self, inner: &Arc<Inner>, address: IpAddr) {
        if inner.has(&self.name(address)) {
            // Somebody named it by itself, and takes it out by himself.
            self.roster.forget(address);
            return;
        }
        match (self.make)(&self.url.agent().at(address)) {
            Ok(connection) => inner.admit(connection, &self.handle),
            Err(why) => {
                tracing::warn!(url = %self.url, %address, why, "no connection to it");
                self.roster.forget(address);
            }
        }
    }

    /// Resolves once nothing is left on an agent, with false if it stays after all.
    fn left(
        &self,
        inner: &Arc<Inner>,
        address: IpAddr,
    ) -> impl Future<Output = (IpAddr, bool)> + Send + use<> {
        let drained = inner.drained(&self.name(address));
        async move { (address, drained.await) }
    }
}

#[cfg(test)]
mod tests;
