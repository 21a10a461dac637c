//! On which connection a mediasoup-worker starts.

use std::{cmp::Reverse, time::Duration};

use super::{Policy, STALE};
use crate::connection::Load;

/// Loads that differ by less, in thousandths of a host, count as the same: what was measured
/// wavers.
const STEP: u64 = 100;

/// What placement knows about one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Workers of this app there, started or being started.
    pub own_workers: usize,
    /// What the connection itself tells; `None` while nobody can tell.
    pub load: Option<Load>,
    /// What all workers there take, everyone's, recent placements included.
    pub cpu: u32,
    /// Cores that workers there may use; 0 where nobody tells.
    pub cores: usize,
    /// How old the measured load is, where it is measured.
    pub age: Option<Duration>,
    /// It means to leave and takes nothing new.
    pub draining: bool,
    /// It is in the app's region.
    pub near: bool,
    /// How many parts of the Worker in question it has.
    pub parts: usize,
    /// It has the Worker's home.
    pub has_home: bool,
}

impl Candidate {
    pub fn is_full(&self) -> bool {
        self.load.is_some_and(|load| load.workers >= load.max_workers)
    }

    /// How much of its room is in use, in words.
    pub fn room(&self) -> String {
        let load = self.load.unwrap_or_default();
        format!("it runs {} of {} workers", load.workers, load.max_workers)
    }

    fn is_stale(&self) -> bool {
        self.age.is_some_and(|age| age > STALE)
    }

    /// Thousandths of the host's room for workers that are in use.
    fn share(&self) -> usize {
        let load = self.load.unwrap_or_default();
        load.workers.saturating_mul(1000) / load.max_workers.max(1)
    }

    /// Thousandths of the host's cores that are in use.
    fn busy(&self) -> u64 {
        u64::from(self.cpu) / u64::try_from(self.cores.max(1)).unwrap_or(u64::MAX)
    }

    fn takes_parts(&self) -> bool {
        self.load.is_some() && !self.is_stale() && !self.draining
    }
}

/// The candidates' positions for a new Worker of the app, best first; those that drain are left
/// out. Workers are spread, since each may grow: over hosts that are about as busy, those with the
/// fewest own Workers first, then the smallest share of the host's room, then as they were added.
/// Full, stale and unreachable ones come last: they may be well by the time they are asked.
pub fn home_order(policy: Policy, candidates: &[Candidate]) -> Vec<usize> {
    let mut order = positions(candidates, |candidate| !candidate.draining);
    order.sort_by_key(|position| {
        let candidate = &candidates[*position];
        let busy = match policy {
            Policy::LeastLoaded => candidate.busy(),
            Policy::RoundRobin => 0,
            _ => candidate.busy() / STEP,
        };
        (
            candidate.load.is_none(),
            candidate.is_full(),
            candidate.is_stale(),
            policy == Policy::Region && !candidate.near,
            busy,
            candidate.own_workers,
            candidate.share(),
        )
    });
    order
}

/// The candidates' positions for a further part of a Worker, best first; with `other_host` only
/// those that have no part yet. The home's host comes first, since a pipe inside a host costs
/// least, then hosts that have a part already. Those without a free core come last: they start no
/// further worker, but may have one to share.
pub fn part_order(policy: Policy, candidates: &[Candidate], other_host: bool) -> Vec<usize> {
    if policy == Policy::Scatter {
        return apart(candidates);
    }
    let fits =
        |candidate: &Candidate| candidate.takes_parts() && !(other_host && candidate.parts > 0);
    let mut order = positions(candidates, fits);
    match policy {
        Policy::LeastLoaded => order.sort_by_key(|position| {
            let candidate = &candidates[*position];
            (candidate.is_full(), candidate.busy(), !candidate.has_home)
        }),
        Policy::RoundRobin => order.sort_by_key(|position| {
            let candidate = &candidates[*position];
            (candidate.is_full(), candidate.parts)
        }),
        _ => order.sort_by_key(|position| {
            let candidate = &candidates[*position];
            (
                candidate.is_full(),
                policy == Policy::Region && !candidate.near,
                !candidate.has_home,
                candidate.parts == 0,
                Reverse(candidate.busy()),
            )
        }),
    }
    order
}

/// Those with the fewest parts first, then the smallest share of the host's room, then fewest
/// Workers of this app, then as they were added. Unreachable and full ones are asked last.
fn apart(candidates: &[Candidate]) -> Vec<usize> {
    let mut order = positions(candidates, |candidate| !candidate.draining);
    order.sort_by_key(|position| {
        let candidate = &candidates[*position];
        (
            candidate.load.is_none(),
            candidate.is_full(),
            candidate.parts,
            candidate.share(),
            candidate.own_workers,
        )
    });
    order
}

fn positions(candidates: &[Candidate], wanted: impl Fn(&Candidate) -> bool) -> Vec<usize> {
    (0..candidates.len()).filter(|position| wanted(&candidates[*position])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(own_workers: usize, load: Option<(usize, usize)>) -> Candidate {
        Candidate {
            own_workers,
            load: load.map(|(workers, max_workers)| Load { workers, max_workers }),
            cores: 8,
            ..Candidate::default()
        }
    }

    fn free() -> Candidate {
        candidate(0, Some((0, 8)))
    }

    fn busy(cpu: u32) -> Candidate {
        Candidate { cpu, age: Some(Duration::from_secs(1)), ..free() }
    }

    fn stale() -> Candidate {
        Candidate { age: Some(Duration::from_millis(5001)), ..free() }
    }

    fn draining() -> Candidate {
        Candidate { draining: true, ..free() }
    }

    fn near(candidate: Candidate) -> Candidate {
        Candidate { near: true, ..candidate }
    }

    fn with_parts(parts: usize, candidate: Candidate) -> Candidate {
        Candidate { parts, ..candidate }
    }

    fn home(candidate: Candidate) -> Candidate {
        Candidate { parts: 1, has_home: true, ..candidate }
    }

    #[test]
    fn spreads_homes_by_the_table() {
        use Policy::{LeastLoaded, Pack, Region, RoundRobin};
        let table = [
            ("nothing known: as added", Pack, vec![candidate(0, None); 2], vec![0, 1]),
            (
                "fewest own first",
                Pack,
                vec![candidate(2, Some((2, 8))), candidate(1, Some((5, 8)))],
                vec![1, 0],
            ),
            (
                "others' workers count between equals",
                Pack,
                vec![candidate(0, Some((4, 8))), candidate(0, Some((1, 8)))],
                vec![1, 0],
            ),
            (
                "a larger host takes more",
                Pack,
                vec![candidate(1, Some((2, 2))), candidate(1, Some((2, 16)))],
                vec![1, 0],
            ),
            (
                "reachable before idle but unreachable",
                Pack,
                vec![candidate(0, None), candidate(5, Some((5, 8)))],
                vec![1, 0],
            ),
            (
                "full ones last",
                Pack,
                vec![candidate(0, Some((8, 8))), candidate(3, Some((3, 8))), candidate(0, None)],
                vec![1, 0, 2],
            ),
            ("less busy before fewer own", Pack, vec![busy(4000), busy(100)], vec![1, 0]),
            (
                "about as busy: fewest own",
                Pack,
                vec![
                    Candidate { own_workers: 2, ..busy(100) },
                    Candidate { own_workers: 1, ..busy(700) },
                ],
                vec![1, 0],
            ),
            (
                "busy by its own cores",
                Pack,
                vec![Candidate { cores: 1, ..busy(700) }, Candidate { cores: 16, ..busy(1500) }],
                vec![1, 0],
            ),
            ("to the thousandth", LeastLoaded, vec![busy(108), busy(100)], vec![1, 0]),
            (
                "in turn, however busy",
                RoundRobin,
                vec![Candidate { own_workers: 1, ..busy(0) }, busy(7000)],
                vec![1, 0],
            ),
            ("the region, however busy", Region, vec![free(), near(busy(7000))], vec![1, 0]),
            (
                "outside it rather than a full one",
                Region,
                vec![near(candidate(0, Some((8, 8)))), free()],
                vec![1, 0],
            ),
            ("a region is nothing to others", Pack, vec![free(), near(free())], vec![0, 1]),
            ("stale after well", Pack, vec![stale(), busy(7000)], vec![1, 0]),
            ("draining never", Pack, vec![draining(), free()], vec![1]),
            ("nobody", Pack, vec![], vec![]),
        ];
        for (what, policy, candidates, expected) in table {
            assert_eq!(home_order(policy, &candidates), expected, "{what}");
        }
    }

    #[test]
    fn a_host_that_drains_is_chosen_by_no_policy() {
        for (name, policy) in Policy::NAMED {
            let best = Candidate { near: true, ..draining() };
            let only = [Candidate { has_home: true, parts: 1, ..best }];
            for candidates in [&[best, free()][..], &[best, busy(7999)], &[home(best), free()]] {
                assert_eq!(home_order(policy, candidates), [1], "{name}");
                assert_eq!(part_order(policy, candidates, false), [1], "{name}");
            }
            assert!(home_order(policy, &only).is_empty(), "{name}");
            assert!(part_order(policy, &only, false).is_empty(), "{name}");
        }
    }

    #[test]
    fn finds_room_for_parts_by_the_table() {
        use Policy::{LeastLoaded, Pack, Region, RoundRobin};
        let full = || candidate(0, Some((8, 8)));
        let table = [
            ("the home's host", Pack, vec![busy(10), home(busy(4000))], false, vec![1, 0]),
            ("another if it is full", Pack, vec![home(full()), free()], false, vec![1, 0]),
            (
                "one with a part before one without, then the busiest",
                Pack,
                vec![busy(10), busy(500), with_parts(1, busy(0)), home(full())],
                false,
                vec![2, 1, 0, 3],
            ),
            ("only another host will do", Pack, vec![home(free()), free()], true, vec![1]),
            (
                "unreachable, stale and draining ones are left out",
                Pack,
                vec![full(), candidate(0, None), stale(), draining()],
                false,
                vec![0],
            ),
            (
                "five seconds are not stale yet",
                Pack,
                vec![Candidate { age: Some(STALE), ..free() }],
                false,
                vec![0],
            ),
            ("least", LeastLoaded, vec![home(busy(900)), busy(800)], false, vec![1, 0]),
            ("home between equals", LeastLoaded, vec![busy(0), home(busy(0))], false, vec![1, 0]),
            (
                "fewest parts",
                RoundRobin,
                vec![home(free()), with_parts(2, free()), free()],
                false,
                vec![2, 0, 1],
            ),
            ("the region before home", Region, vec![home(free()), near(free())], false, vec![1, 0]),
            ("nobody", Pack, vec![], false, vec![]),
        ];
        for (what, policy, candidates, other_host, expected) in table {
            assert_eq!(part_order(policy, &candidates, other_host), expected, "{what}");
        }
    }

    #[test]
    fn scatters_by_the_table() {
        let table = [
            ("none taken: as added", vec![free(), free()], vec![0, 1]),
            ("not the home's", vec![home(free()), free(), free()], vec![1, 2, 0]),
            (
                "fewest parts, however busy",
                vec![with_parts(1, free()), candidate(7, Some((7, 8)))],
                vec![1, 0],
            ),
            (
                "least loaded between equals, not fewest own",
                vec![candidate(0, Some((6, 8))), candidate(2, Some((2, 8)))],
                vec![1, 0],
            ),
            (
                "fewest own between equally loaded",
                vec![candidate(2, Some((2, 8))), candidate(1, Some((2, 8)))],
                vec![1, 0],
            ),
            (
                "the same one again rather than one that is full or unreachable",
                vec![
                    with_parts(1, candidate(1, Some((1, 8)))),
                    candidate(0, Some((8, 8))),
                    candidate(0, None),
                ],
                vec![0, 1, 2],
            ),
            ("one connection", vec![with_parts(2, candidate(2, Some((2, 8))))], vec![0]),
            ("nobody", vec![], vec![]),
        ];
        for (what, candidates, expected) in table {
            assert_eq!(part_order(Policy::Scatter, &candidates, false), expected, "{what}");
        }
    }
}
