//! Which addresses of a name are agents of ours, and what a new answer changes; pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The most agents of one name.
pub(super) const MOST: usize = 1024;

/// How an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Present,
    Leaving,
}

/// What an answer changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Add(IpAddr),
    /// It gets nothing new.
    Leave(IpAddr),
    /// It was about to leave, and does not.
    Stay(IpAddr),
}

/// The agents of a name.
#[derive(Debug, Default)]
pub(super) struct Roster(BTreeMap<IpAddr, Standing>);

impl Roster {
    /// Takes an answer. Tells what it changes, and how many addresses are too many.
    pub(super) fn update(&mut self, found: &BTreeSet<IpAddr>) -> (Vec<Change>, usize) {
        let mut changes = Vec::new();
        for (address, standing) in &mut self.0 {
            let (next, change) = match (*standing, found.contains(address)) {
                (Standing::Present, false) => (Standing::Leaving, Change::Leave(*address)),
                (Standing::Leaving, true) => (Standing::Present, Change::Stay(*address)),
                (Standing::Present, true) | (Standing::Leaving, false) => continue,
            };
            *standing = next;
            changes.push(change);
        }
        let mut ignored = 0;
        for address in found {
            if self.0.contains_key(address) {
                continue;
            }
            if self.0.len() == MOST {
                ignored += 1;
                continue;
            }
            self.0.insert(*address, Standing::Present);
            changes.push(Change::Add(*address));
        }
        (changes, ignored)
    }

    /// Takes out an agent that was about to leave. False if it was not, or not any more.
    pub(super) fn left(&mut self, address: IpAddr) -> bool {
        let leaving = self.0.get(&address) == Some(&Standing::Leaving);
        if leaving {
            self.0.remove(&address);
        }
        leaving
    }

    /// Takes out an agent that is none of ours: the next answer may make it one.
    pub(super) fn forget(&mut self, address: IpAddr) {
        self.0.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addresses(last: &[u8]) -> BTreeSet<IpAddr> {
        last.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn agents_come_leave_stay_and_go() {
        let mut roster = Roster::default();
        let mut next = |found: &[u8]| roster.update(&addresses(found)).0;
        assert_eq!(next(&[1, 2]), [Change::Add(address(1)), Change::Add(address(2))]);
        assert_eq!(next(&[1, 2]), []);
        assert_eq!(next(&[2, 3]), [Change::Leave(address(1)), Change::Add(address(3))]);
        assert_eq!(next(&[2, 3]), [], "it is told once");
        assert_eq!(next(&[1, 2, 3]), [Change::Stay(address(1))]);
        assert_eq!(next(&[2, 3]), [Change::Leave(address(1))]);
        assert!(!roster.left(address(2)), "it does not leave");
        assert!(roster.left(address(1)));
        assert!(!roster.left(address(1)));
        assert_eq!(roster.update(&addresses(&[1, 2, 3])).0, [Change::Add(address(1))]);
    }

    #[test]
    fn one_name_has_no_end_of_agents_but_a_bound() {
        let many = |count: usize| -> BTreeSet<IpAddr> {
            (0..count).map(|index| IpAddr::from((index as u128).to_be_bytes())).collect()
        };
        let mut roster = Roster::default();
        let (changes, ignored) = roster.update(&many(MOST + 7));
        assert_eq!((changes.len(), ignored), (MOST, 7));
        assert_eq!(roster.update(&many(MOST)).0, []);
    }

    proptest! {
        /// Whoever does what is asked has, after each answer, the agents that were found, and
        /// beside them only such as leave.
        #[test]
        fn what_is_asked_leads_to_what_was_found(
            answers in proptest::collection::vec(
                (proptest::collection::btree_set(0u8..8, 0..8), proptest::option::of(0u8..8)),
                1..40,
            )
        ) {
            let mut roster = Roster::default();
            let mut agents: BTreeMap<IpAddr, bool> = BTreeMap::new();
            for (found, gone) in answers {
                let found: BTreeSet<IpAddr> = found.into_iter().map(address).collect();
                for change in roster.update(&found).0 {
                    match change {
                        Change::Add(address) => prop_assert_eq!(agents.insert(address, false), None),
                        Change::Leave(address) => {
                            prop_assert_eq!(agents.insert(address, true), Some(false));
                        }
                        Change::Stay(address) => {
                            prop_assert_eq!(agents.insert(address, false), Some(true));
                        }
                    }
                }
                let staying = agents.iter().filter(|(_, leaving)| !**leaving);
                prop_assert_eq!(staying.map(|(address, _)| *address).collect::<BTreeSet<_>>(), found);
                if let Some(gone) = gone.map(address) {
                    let left = roster.left(gone);
                    prop_assert_eq!(left, agents.get(&gone) == Some(&true));
                    if left {
                        agents.remove(&gone);
                    }
                }
            }
        }
    }
}
