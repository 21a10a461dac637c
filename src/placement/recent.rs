//! What was placed a moment ago, which no measured load shows yet.

use std::time::Duration;

/// How long a placement takes to show in the load, about.
const FADES_IN: Duration = Duration::from_secs(2);
/// Parts of a thousandth, so that fading in many small steps loses nothing.
const SCALE: u64 = 1_000_000;

/// The cost of recent placements. Each fades while the measured load catches up with it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recent {
    scaled: u64,
    at: Duration,
}

impl Recent {
    /// Adds a placement. `now` counts from any fixed start.
    pub fn add(&mut self, cost: u32, now: Duration) {
        self.scaled = self.faded(now).saturating_add(u64::from(cost) * SCALE);
        self.at = self.at.max(now);
    }

    /// What they cost together, in thousandths of a core.
    pub fn cost(&self, now: Duration) -> u32 {
        u32::try_from(self.faded(now) / SCALE).unwrap_or(u32::MAX)
    }

    fn faded(&self, now: Duration) -> u64 {
        let left = FADES_IN.saturating_sub(now.saturating_sub(self.at));
        let left = u128::from(self.scaled) * left.as_micros() / FADES_IN.as_micros();
        u64::try_from(left).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn costs_add_up_and_fade() {
        let mut recent = Recent::default();
        assert_eq!(recent.cost(at(0)), 0);
        for _ in 0..10 {
            recent.add(20, at(1000));
        }
        assert_eq!(recent.cost(at(1000)), 200);
        assert_eq!(recent.cost(at(2000)), 100);
        assert_eq!(recent.cost(at(3000)), 0);
        recent.add(20, at(2000));
        assert_eq!(recent.cost(at(2000)), 120);
        assert_eq!(recent.cost(at(1000)), 120, "time does not go back");
        assert_eq!(recent.cost(at(9000)), 0);
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut recent = Recent::default();
        recent.add(u32::MAX, at(0));
        recent.add(u32::MAX, at(0));
        assert_eq!(recent.cost(at(0)), u32::MAX);
    }
}
