//! On which of a virtual worker's parts a new transport goes.

use super::Policy;

/// What is known of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Thousandths of a core, recent placements included.
    pub cpu: u32,
    /// It is in the app's region.
    pub near: bool,
}

/// Where a transport goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The part at that position.
    Part(usize),
    /// A part that is yet to be opened.
    New,
}

/// Chooses among the parts. The first one is the home; `None` stands for one that must not be
/// used: it drains, its load is stale, or it cannot have the transport. `turn` counts placements.
/// Below the watermark the home takes all, whatever the policy.
pub fn choose_part(
    policy: Policy,
    parts: &[Option<Room>],
    watermark: u32,
    turn: usize,
    may_open: bool,
) -> Choice {
    let fits = |room: &Room| room.cpu < watermark;
    if policy == Policy::Home || parts.first().copied().flatten().is_some_and(|home| fits(&home)) {
        return Choice::Part(0);
    }
    let usable = || parts.iter().enumerate().filter_map(|(at, room)| Some((at, (*room)?)));
    let fitting: Vec<(usize, Room)> = usable().filter(|(_, room)| fits(room)).collect();
    // Of equal ones the first, so that a part that is no longer needed can empty.
    let found = match policy {
        Policy::LeastLoaded => fitting.iter().min_by_key(|(at, room)| (room.cpu, *at)),
        Policy::RoundRobin => fitting.get(turn % fitting.len().max(1)),
        Policy::Region => {
            fitting.iter().max_by_key(|(at, room)| (room.near, room.cpu, usize::MAX - at))
        }
        _ => fitting.iter().max_by_key(|(at, room)| (room.cpu, usize::MAX - at)),
    };
    if let Some((at, _)) = found {
        return Choice::Part(*at);
    }
    if may_open {
        return Choice::New;
    }
    let least = usable().min_by_key(|(at, room)| (room.cpu, *at));
    Choice::Part(least.map_or(0, |(at, _)| at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as the table has it")]
    fn cpu(cpu: u32) -> Option<Room> {
        Some(Room { cpu, near: false })
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the table has it")]
    fn near(cpu: u32) -> Option<Room> {
        Some(Room { cpu, near: true })
    }

    #[test]
    fn chooses_by_the_table() {
        use Choice::{New, Part};
        use Policy::{Home, LeastLoaded, Pack, Region, RoundRobin};
        let table = [
            ("below the watermark at home", Pack, vec![cpu(599), cpu(10)], 0, true, Part(0)),
            ("whatever the policy", LeastLoaded, vec![cpu(599), cpu(10)], 0, true, Part(0)),
            ("in turn too", RoundRobin, vec![cpu(0), cpu(10)], 1, true, Part(0)),
            ("home is told to keep all", Home, vec![cpu(990), cpu(10)], 0, true, Part(0)),
            ("at the watermark a new one", Pack, vec![cpu(600)], 0, true, New),
            ("the busiest with room", Pack, vec![cpu(700), cpu(10), cpu(599)], 0, true, Part(2)),
            ("of equal ones the first", Pack, vec![cpu(700), cpu(10), cpu(10)], 0, true, Part(1)),
            ("none with room", Pack, vec![cpu(700), cpu(900), cpu(600)], 0, true, New),
            ("none to be had", Pack, vec![cpu(700), cpu(900), cpu(650)], 0, false, Part(2)),
            ("the home if it is least", Pack, vec![cpu(700), cpu(900)], 0, false, Part(0)),
            ("least", LeastLoaded, vec![cpu(700), cpu(10), cpu(5)], 0, true, Part(2)),
            ("turn 0", RoundRobin, vec![cpu(700), cpu(10), cpu(5)], 0, true, Part(1)),
            ("turn 1", RoundRobin, vec![cpu(700), cpu(10), cpu(5)], 1, true, Part(2)),
            ("turn 2", RoundRobin, vec![cpu(700), cpu(10), cpu(5)], 2, true, Part(1)),
            ("near before busy", Region, vec![cpu(700), cpu(500), near(5)], 0, true, Part(2)),
            ("far before a new one", Region, vec![near(700), cpu(500)], 0, true, Part(1)),
            ("near and busy", Region, vec![cpu(700), near(5), near(6)], 0, true, Part(2)),
            ("an excluded home", Pack, vec![None, cpu(10)], 0, true, Part(1)),
            ("an excluded part", Pack, vec![cpu(700), None], 0, true, New),
            ("an excluded part, no new", Pack, vec![cpu(700), None], 0, false, Part(0)),
            ("nothing but an excluded home", Pack, vec![None], 0, false, Part(0)),
            ("excluded, but a new one", Pack, vec![None, None], 0, true, New),
        ];
        for (what, policy, parts, turn, may_open, expected) in table {
            assert_eq!(choose_part(policy, &parts, 600, turn, may_open), expected, "{what}");
        }
    }
}
