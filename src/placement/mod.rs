//! Where a new Worker, or a further part of one, goes. Pure: what is known goes in, an order of preference comes out.

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
        (candidate.load.is_none(), candidate.is_full(), candidate.own_workers, candidate.share())
    });
    order
}

/// The candidates' positions for a further part of a Worker, best first. `taken` tells how many of
/// its parts each candidate has: those with the fewest come first, then the smallest share of the
/// host's room, then fewest Workers of this app, then as they were added. Unreachable and full ones
/// are asked as late as [`spread`] asks them.
pub fn apart(candidates: &[Candidate], taken: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|position| {
        let candidate = &candidates[*position];
        (
            candidate.load.is_none(),
            candidate.is_full(),
            taken.get(*position).copied().unwrap_or_default(),
            candidate.share(),
            candidate.own_workers,
        )
    });
    order
}

impl Candidate {
    fn is_full(&self) -> bool {
        self.load.is_some_and(|load| load.workers >= load.max_workers)
    }

    /// Thousandths of the host's room that are in use.
    fn share(&self) -> usize {
        let load = self.load.unwrap_or_default();
        load.workers.saturating_mul(1000) / load.max_workers.max(1)
    }
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

    #[test]
    fn keeps_parts_apart_by_the_table() {
        let free = || candidate(0, Some((0, 8)));
        let table = [
            ("none taken: as added", vec![free(), free()], vec![0, 0], vec![0, 1]),
            ("not the home's", vec![free(), free(), free()], vec![1, 0, 0], vec![1, 2, 0]),
            (
                "fewest parts, however busy",
                vec![candidate(0, Some((0, 8))), candidate(7, Some((7, 8)))],
                vec![1, 0],
                vec![1, 0],
            ),
            (
                "least loaded between equals, not fewest own",
                vec![candidate(0, Some((6, 8))), candidate(2, Some((2, 8)))],
                vec![1, 1],
                vec![1, 0],
            ),
            (
                "fewest own between equally loaded",
                vec![candidate(2, Some((2, 8))), candidate(1, Some((2, 8)))],
                vec![0, 0],
                vec![1, 0],
            ),
            (
                "the same one again rather than one that is full or unreachable",
                vec![candidate(1, Some((1, 8))), candidate(0, Some((8, 8))), candidate(0, None)],
                vec![1, 0, 0],
                vec![0, 1, 2],
            ),
            ("one connection", vec![candidate(2, Some((2, 8)))], vec![2], vec![0]),
            ("what is not told counts as none", vec![free(), free()], vec![1], vec![1, 0]),
            ("nobody", vec![], vec![], vec![]),
        ];
        for (what, candidates, taken, expected) in table {
            assert_eq!(apart(&candidates, &taken), expected, "{what}");
        }
    }
}
