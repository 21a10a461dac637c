//! Where a new Worker goes. Pure: what is known goes in, an order of preference comes out.

use crate::connection::Load;

/// What placement knows about one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Workers of this app there, started or being started.
    pub own_workers: usize,
    /// What the connection itself tells; `None` while nobody can tell.
    pub load: Option<Load>,
}

/// The candidates' positions, best first: those that are reachable before those that are not,
/// fewest own Workers first, then the smallest share of the host's room, then as they were added.
/// Full ones come last: they may have room again by the time they are asked.
pub fn spread(candidates: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|position| {
        let candidate = &candidates[*position];
        let load = candidate.load.unwrap_or_default();
        let room = load.max_workers.max(1);
        let share = load.workers.saturating_mul(1000) / room;
        let full = candidate.load.is_some_and(|load| load.workers >= load.max_workers);
        (candidate.load.is_none(), full, candidate.own_workers, share)
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(own_workers: usize, load: Option<(usize, usize)>) -> Candidate {
        Candidate {
            own_workers,
            load: load.map(|(workers, max_workers)| Load { workers, max_workers }),
        }
    }

    #[test]
    fn spreads_by_the_table() {
        let table = [
            ("nothing known: as added", vec![candidate(0, None), candidate(0, None)], vec![0, 1]),
            (
                "fewest own first",
                vec![candidate(2, Some((2, 8))), candidate(1, Some((5, 8)))],
                vec![1, 0],
            ),
            (
                "others' workers count between equals",
                vec![candidate(0, Some((4, 8))), candidate(0, Some((1, 8)))],
                vec![1, 0],
            ),
            (
                "a larger host takes more",
                vec![candidate(1, Some((2, 2))), candidate(1, Some((2, 16)))],
                vec![1, 0],
            ),
            (
                "reachable before idle but unreachable",
                vec![candidate(0, None), candidate(5, Some((5, 8)))],
                vec![1, 0],
            ),
            (
                "full ones last",
                vec![candidate(0, Some((8, 8))), candidate(3, Some((3, 8))), candidate(0, None)],
                vec![1, 0, 2],
            ),
        ];
        for (what, candidates, expected) in table {
            assert_eq!(spread(&candidates), expected, "{what}");
        }
    }
}
