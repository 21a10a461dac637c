//! Workers that died with a host: what the app is told of it.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use super::Inner;
use crate::connection::{ConnectionState, Loss};

/// So many deaths are remembered, the latest: their Workers' own events ask for them at once.
const REMEMBERED: usize = 256;

/// What is known of lost hosts.
#[derive(Default)]
pub struct Losses(Mutex<State>);

#[derive(Default)]
struct State {
    /// The last loss of each connection that was told, by its number.
    told: HashMap<String, u64>,
    /// Why Workers died, by their pids.
    deaths: VecDeque<(u32, String)>,
}

impl Losses {
    /// Why the Worker with that pid died.
    pub fn why_died(&self, pid: u32) -> Option<String> {
        let state = self.0.lock();
        state.deaths.iter().find(|(of, _)| *of == pid).map(|(_, why)| why.clone())
    }

    /// Another Worker has that pid now.
    pub fn forget(&self, pid: u32) {
        self.0.lock().deaths.retain(|(of, _)| *of != pid);
    }

    fn note(&self, pid: u32, why: &str) {
        let deaths = &mut self.0.lock().deaths;
        if deaths.len() == REMEMBERED {
            deaths.pop_front();
        }
        deaths.push_back((pid, why.to_owned()));
    }

    /// Whether nobody was told of that loss yet.
    fn is_news(&self, connection: &str, number: u64) -> bool {
        let told = &mut self.0.lock().told;
        told.insert(connection.to_owned(), number) != Some(number)
    }
}

impl Inner {
    /// A Worker died although nobody saw its mediasoup-worker end. Gives the lines that tell why:
    /// the first Worker of a lost host also has what the app can do about that.
    pub(super) fn died(&self, pid: u32, why: &str) -> Vec<String> {
        self.losses.note(pid, why);
        let mut lines = vec![format!("the worker is lost: {why}")];
        let sources = self.sources();
        let lost = sources.iter().find_map(|source| {
            let loss = source.connection.last_loss()?;
            (loss.reason == why).then(|| (source.connection.name(), loss))
        });
        if let Some((name, Loss { number, .. })) = lost
            && self.losses.is_news(&name, number)
        {
            let others = sources.iter().map(|source| &source.connection);
            let others = others.filter(|one| {
                one.name() != name && *one.state().borrow() == ConnectionState::Connected
            });
            lines.push(hint(&name, &others.map(|one| one.name()).collect::<Vec<_>>()));
        }
        lines
    }
}

fn hint(lost: &str, others: &[String]) -> String {
    let live = match others {
        [] => "no other host can be reached".to_owned(),
        others => format!("Workers on other hosts live on ({})", others.join(", ")),
    };
    format!(
        "every Worker on {lost} emits 'died', since that host is lost; {live}. An app that exits \
         on 'died' would take them along: let it make a new Worker instead (README.md, \"When a \
         Worker dies\")"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_is_told_once() {
        let losses = Losses::default();
        let news =
            [("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 2)].map(|(on, n)| losses.is_news(on, n));
        assert_eq!(news, [true, false, true, true, false]);
    }

    #[test]
    fn the_latest_deaths_are_remembered() {
        let losses = Losses::default();
        for pid in 0..=u32::try_from(REMEMBERED).expect("few") {
            losses.note(pid, "first");
        }
        losses.forget(7);
        assert_eq!(losses.why_died(0), None, "too long ago");
        assert_eq!(losses.why_died(7), None, "another Worker's by now");
        losses.note(7, "second");
        assert_eq!(losses.why_died(7).as_deref(), Some("second"));
        assert_eq!(losses.why_died(8).as_deref(), Some("first"));
    }

    #[test]
    fn the_hint_names_who_lives_on() {
        let alone = hint("ws://a", &[]);
        assert!(alone.contains("no other host can be reached"), "{alone}");
        let others = hint("ws://a", &["ws://b".to_owned(), "local".to_owned()]);
        assert!(others.contains("every Worker on ws://a"), "{others}");
        assert!(others.contains("live on (ws://b, local)"), "{others}");
    }
}
