//! What is made of files, made again when they change.

use std::{fmt, time::Duration};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// Files, and what they are made into.
pub(super) trait Files: Send + Sync {
    type Made: Clone + Send;
    type Problem: fmt::Display;

    /// The content of every file, always in the same order.
    fn read(&self) -> Result<Vec<Vec<u8>>, Self::Problem>;

    fn make(&self, contents: &[Vec<u8>]) -> Result<Self::Made, Self::Problem>;
}

/// Keeps what was made last and looks at the files again, at most once in a while. Contents are
/// compared, not times: two changes may have the same time, and renewed links keep old ones.
pub(super) struct Reread<F: Files> {
    files: F,
    pace: Duration,
    state: Mutex<State<F::Made>>,
}

struct State<T> {
    made: T,
    digest: [u8; 32],
    looked: Instant,
    /// What was wrong at the last look, so that it is logged once.
    problem: Option<String>,
}

impl<F: Files> Reread<F> {
    /// Reads the files for the first time; from here on nothing fails.
    pub(super) fn open(files: F, pace: Duration) -> Result<Self, F::Problem> {
        let contents = files.read()?;
        let state = State {
            made: files.make(&contents)?,
            digest: digest(&contents),
            looked: Instant::now(),
            problem: None,
        };
        Ok(Self { files, pace, state: Mutex::new(state) })
    }

    pub(super) fn files(&self) -> &F {
        &self.files
    }

    /// What the files say now. While they say nothing usable, as between the changes of two files
    /// that belong together, it is what they said before.
    pub(super) fn current(&self) -> F::Made {
        let mut state = self.state.lock();
        let now = Instant::now();
        if now - state.looked >= self.pace {
            state.looked = now;
            self.look(&mut state);
        }
        state.made.clone()
    }

    /// What is wrong with the files, as far as they were looked at.
    pub(super) fn problem(&self) -> Option<String> {
        self.current();
        self.state.lock().problem.clone()
    }

    fn look(&self, state: &mut State<F::Made>) {
        let read = self.files.read().and_then(|contents| {
            let digest = digest(&contents);
            if digest == state.digest {
                return Ok(None);
            }
            Ok(Some((self.files.make(&contents)?, digest)))
        });
        match read {
            Ok(changed) => {
                state.problem = None;
                if let Some((made, digest)) = changed {
                    (state.made, state.digest) = (made, digest);
                    tracing::info!("certificates or tokens have changed and are used from now on");
                }
            }
            Err(problem) => {
                let problem = problem.to_string();
                if state.problem.as_ref() != Some(&problem) {
                    tracing::warn!(problem, "changed files cannot be used; the former ones count");
                    state.problem = Some(problem);
                }
            }
        }
    }
}

fn digest(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for content in contents {
        digest.update(content.len().to_le_bytes());
        digest.update(content);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    /// Files in memory; a number each, `x` is unusable.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<(Vec<String>, usize)>>);

    impl Memory {
        fn say(&self, contents: &[&str]) {
            self.0.lock().0 = contents.iter().map(ToString::to_string).collect();
        }

        fn reads(&self) -> usize {
            self.0.lock().1
        }
    }

    impl Files for Memory {
        type Made = Vec<u32>;
        type Problem = String;

        fn read(&self) -> Result<Vec<Vec<u8>>, String> {
            let mut memory = self.0.lock();
            memory.1 += 1;
            Ok(memory.0.iter().map(|text| text.clone().into_bytes()).collect())
        }

        fn make(&self, contents: &[Vec<u8>]) -> Result<Vec<u32>, String> {
            let number = |content: &Vec<u8>| {
                String::from_utf8_lossy(content).parse().map_err(|_| "unusable".to_owned())
            };
            contents.iter().map(number).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn looks_again_after_a_while_only() {
        let memory = Memory::default();
        memory.say(&["1"]);
        let reread = Reread::open(memory.clone(), Duration::from_secs(1)).unwrap();
        memory.say(&["2"]);
        for _ in 0..3 {
            assert_eq!(reread.current(), [1]);
        }
        assert_eq!(memory.reads(), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(reread.current(), [2]);
        assert_eq!((reread.current(), memory.reads()), (vec![2], 2));
    }

    #[test]
    fn keeps_what_it_has_while_the_files_are_unusable() {
        let memory = Memory::default();
        memory.say(&["x"]);
        assert!(Reread::open(memory.clone(), Duration::ZERO).is_err());
        memory.say(&["1", "23"]);
        let reread = Reread::open(memory.clone(), Duration::ZERO).unwrap();
        memory.say(&["x", "23"]);
        assert_eq!(reread.current(), [1, 23]);
        // The same bytes, but another file's.
        memory.say(&["12", "3"]);
        assert_eq!(reread.current(), [12, 3]);
    }
}
