//! How much CPU workers take, as the system counts it: all threads of a process.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, Weak},
    thread::available_parallelism,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

/// How often it is measured.
const INTERVAL: Duration = Duration::from_secs(1);
/// Two looks that are closer tell nothing: the system counts in hundredths of a second.
const WINDOW_MIN: Duration = Duration::from_millis(200);

/// Cores that workers of this host may use: affinity and the cgroup's quota count.
pub fn cores() -> usize {
    available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Measures the CPU of worker processes each second while there are any.
#[derive(Debug, Clone, Default)]
pub struct CpuSampler {
    state: Arc<Mutex<State>>,
}

/// A process is measured while this lives.
#[derive(Debug)]
pub struct Watched {
    state: Weak<Mutex<State>>,
    pid: u32,
}

#[derive(Debug, Default)]
struct State {
    meters: BTreeMap<u32, Meter>,
    sampling: bool,
    sampled_at: Option<Instant>,
}

/// One process.
#[derive(Debug, Default)]
struct Meter {
    /// When it was looked at, and the CPU time that it had had by then.
    seen: Option<(Instant, Duration)>,
    /// Thousandths of a core, once it was looked at twice.
    load: Option<u32>,
}

/// What was measured last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Thousandths of a core by process.
    pub loads: BTreeMap<u32, u32>,
    /// `None` if nothing was measured yet, or nothing can be.
    pub age: Option<Duration>,
}

impl CpuSampler {
    /// Begins to measure a process. Must be called within a tokio runtime.
    pub fn watch(&self, pid: u32) -> Watched {
        let mut state = self.state.lock();
        state.meters.insert(pid, Meter { seen: look(pid), load: None });
        if !std::mem::replace(&mut state.sampling, true) {
            tokio::spawn(sample_while_watched(Arc::downgrade(&self.state)));
        }
        Watched { state: Arc::downgrade(&self.state), pid }
    }

    /// What was measured last.
    pub fn sample(&self) -> Sample {
        let state = self.state.lock();
        let loads = state.meters.iter().filter_map(|(pid, meter)| Some((*pid, meter.load?)));
        Sample { loads: loads.collect(), age: state.sampled_at.map(|at| at.elapsed()) }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            state.lock().meters.remove(&self.pid);
        }
    }
}

async fn sample_while_watched(state: Weak<Mutex<State>>) {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(state) = state.upgrade() else { return };
        let mut state = state.lock();
        if state.meters.is_empty() {
            state.sampling = false;
            // An idle host's load is not old, it is none.
            state.sampled_at = None;
            return;
        }
        let mut any = false;
        for (pid, meter) in &mut state.meters {
            any |= meter.update(look(*pid));
        }
        if any {
            state.sampled_at = Some(Instant::now());
        }
    }
}

impl Meter {
    /// Whether there was anything to see.
    fn update(&mut self, now: Option<(Instant, Duration)>) -> bool {
        let (Some((at, used)), Some((before, used_before))) = (now, self.seen) else {
            self.seen = now;
            return now.is_some();
        };
        let window = at.saturating_duration_since(before);
        if window >= WINDOW_MIN {
            let used = used.saturating_sub(used_before);
            let load = used.as_micros() * 1000 / window.as_micros();
            self.load = u32::try_from(load).ok();
            self.seen = now;
        }
        true
    }
}

fn look(pid: u32) -> Option<(Instant, Duration)> {
    Some((Instant::now(), cpu_time(pid)?))
}

/// The CPU time that a process has had, with that of all its threads, those that are gone too.
#[cfg(target_os = "linux")]
fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // SAFETY: no memory is involved.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let per_second = u64::try_from(per_second).ok().filter(|ticks| *ticks > 0)?;
    Some(Duration::from_micros(ticks(&stat)?.saturating_mul(1_000_000) / per_second))
}

#[cfg(not(target_os = "linux"))]
fn cpu_time(_pid: u32) -> Option<Duration> {
    None
}

/// `utime` plus `stime` of `/proc/PID/stat`. The name of the process before them may hold anything.
#[cfg(target_os = "linux")]
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    utime.checked_add(stime)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn reads_the_system_s_count() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 4 0 1234 0 0";
        assert_eq!(ticks(stat), Some(300));
        for broken in ["", "7 (worker) S 1", "7 worker S 1 7 7 0 -1 4 1 0 0 0 x 5 9 9"] {
            assert_eq!(ticks(broken), None, "{broken}");
        }
        assert!(cpu_time(std::process::id()).is_some());
        assert_eq!(cpu_time(0), None);
    }

    #[test]
    fn measures_between_two_looks() {
        let start = Instant::now();
        let look = |at: u64, used: u64| {
            Some((start + Duration::from_millis(at), Duration::from_millis(used)))
        };
        let mut meter = Meter::default();
        assert!(!meter.update(None));
        assert!(meter.update(look(0, 5000)));
        assert_eq!(meter.load, None);
        meter.update(look(1000, 5400));
        assert_eq!(meter.load, Some(400));
        meter.update(look(1100, 5500));
        assert_eq!(meter.load, Some(400), "too early to tell");
        meter.update(look(2000, 8400));
        assert_eq!(meter.load, Some(3000), "threads add up");
        meter.update(look(3000, 10));
        assert_eq!(meter.load, Some(0), "another process with that number");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_busy_process_shows_and_a_gone_one_does_not() {
        let sampler = CpuSampler::default();
        assert_eq!(sampler.sample(), Sample::default());
        let mut busy = std::process::Command::new("/bin/sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let watched = sampler.watch(busy.id());
        let shown = tokio::time::timeout(Duration::from_secs(30), async {
            let mut look = interval(Duration::from_millis(50));
            loop {
                look.tick().await;
                let sample = sampler.sample();
                if sample.loads.get(&busy.id()).is_some_and(|load| *load > 0) {
                    return sample;
                }
            }
        });
        assert!(shown.await.unwrap().age.unwrap() < Duration::from_secs(5));
        busy.kill().unwrap();
        busy.wait().unwrap();
        drop(watched);
        assert_eq!(sampler.sample().loads, BTreeMap::new());
    }
}
