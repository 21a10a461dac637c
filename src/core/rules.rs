//! By what rules a Core places its workers, and the app's own say in it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use crate::{
    connection::{BoxFuture, HostLoad, Load},
    placement::{Candidate, Policy, Wish},
};

/// How long the app's function may take.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// The app's own function. JSON text in, JSON text out: `{"index", "error"}`.
pub trait Chooser: Send + Sync {
    fn choose(&self, question: String) -> BoxFuture<'static, Result<String, String>>;

    /// Tells the app that its function was passed over, and why.
    fn warn(&self, why: &str);
}

/// How connections are chosen.
#[derive(Clone, Default)]
pub struct Rules {
    pub policy: Policy,
    /// Where the app is.
    pub region: Option<String>,
    /// How many real workers a host may run for this app; further Workers share them.
    pub workers_per_host: Option<usize>,
    pub chooser: Option<Arc<dyn Chooser>>,
    /// The app heard that its function was of no use.
    pub warned: Arc<AtomicBool>,
}

/// What the app's function is asked.
pub struct Question<'a> {
    /// What the app knows its Worker by.
    pub pid: u32,
    /// `None` for the home of a new Worker.
    pub wish: Option<&'a Wish>,
    pub names: &'a [String],
    pub candidates: &'a [Candidate],
}

#[derive(Serialize)]
struct QuestionText<'a> {
    request: RequestText<'a>,
    candidates: Vec<CandidateText<'a>>,
}

#[derive(Serialize)]
struct RequestText<'a> {
    worker: u32,
    router: Option<&'a str>,
    transport: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CandidateText<'a> {
    name: &'a str,
    reachable: bool,
    draining: bool,
    near: bool,
    cores: usize,
    /// Thousandths of a core.
    cpu: u32,
    workers: usize,
    max_workers: usize,
    own_workers: usize,
    parts: usize,
}

#[derive(Deserialize)]
struct AnswerText {
    index: Option<usize>,
    error: Option<String>,
}

impl Rules {
    /// The rules of one policy and nothing else.
    pub fn of(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// What placement counts on of a host's room. Here the app may count on more than cores.
    pub fn limit(&self, load: Load, local: bool) -> Load {
        let max_workers = match self.workers_per_host {
            Some(max) if local => max,
            Some(max) => max.min(load.max_workers),
            None => load.max_workers,
        };
        Load { max_workers, ..load }
    }

    /// Whether a host is in the app's region. The app's own host is.
    pub fn is_near(&self, local: bool, host: &HostLoad) -> bool {
        self.region.as_deref().is_some_and(|region| local || host.region() == Some(region))
    }

    /// What the app's function says, if there is one and it says something of use.
    pub async fn ask(&self, question: &Question<'_>, deadline: Instant) -> Option<usize> {
        let chooser = self.chooser.as_ref()?;
        let asked = chooser.choose(question.text());
        let deadline = deadline.min(Instant::now() + ANSWER_TIME);
        let answer = match timeout_at(deadline, asked).await {
            Ok(Ok(text)) => read(&text, question),
            Ok(Err(why)) => Err(why),
            Err(_) => Err(format!("it gave no answer within {ANSWER_TIME:?}")),
        };
        answer.unwrap_or_else(|why| {
            if !self.warned.swap(true, Ordering::Relaxed) {
                chooser.warn(&why);
            }
            None
        })
    }
}

fn read(text: &str, question: &Question<'_>) -> Result<Option<usize>, String> {
    let count = question.names.len();
    let answer: AnswerText =
        serde_json::from_str(text).map_err(|error| format!("its answer is malformed: {error}"))?;
    match (answer.error, answer.index) {
        (Some(error), _) => Err(error),
        (None, Some(index)) if index >= count => {
            Err(format!("it returned index {index}, and there are {count} candidates"))
        }
        (None, Some(index)) if question.candidates[index].draining => {
            Err(format!("it returned index {index}, and {} drains", question.names[index]))
        }
        (None, index) => Ok(index),
    }
}

impl Question<'_> {
    fn text(&self) -> String {
        let request = RequestText {
            worker: self.pid,
            router: self.wish.map(|wish| wish.router.as_str()),
            transport: self.wish.map(|wish| wish.transport),
        };
        let texts = self.names.iter().zip(self.candidates);
        let candidates = texts.map(|(name, candidate)| CandidateText::of(name, candidate));
        let text = QuestionText { request, candidates: candidates.collect() };
        // Text, numbers and truths always have a JSON form.
        serde_json::to_string(&text).unwrap_or_default()
    }
}

impl<'a> CandidateText<'a> {
    fn of(name: &'a str, candidate: &Candidate) -> Self {
        let load = candidate.load.unwrap_or_default();
        Self {
            name,
            reachable: candidate.load.is_some(),
            draining: candidate.draining,
            near: candidate.near,
            cores: candidate.cores,
            cpu: candidate.cpu,
            workers: load.workers,
            max_workers: load.max_workers,
            own_workers: candidate.own_workers,
            parts: candidate.parts,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::{pending, ready};

    use parking_lot::Mutex;

    use super::*;

    struct Scripted {
        answer: Option<&'static str>,
        asked: Mutex<Vec<serde_json::Value>>,
        warnings: Mutex<Vec<String>>,
    }

    impl Chooser for Scripted {
        fn choose(&self, question: String) -> BoxFuture<'static, Result<String, String>> {
            self.asked.lock().push(serde_json::from_str(&question).unwrap());
            match self.answer {
                Some("down") => Box::pin(ready(Err("it is gone".to_owned()))),
                Some(answer) => Box::pin(ready(Ok(answer.to_owned()))),
                None => Box::pin(pending()),
            }
        }

        fn warn(&self, why: &str) {
            self.warnings.lock().push(why.to_owned());
        }
    }

    async fn ask(answer: Option<&'static str>) -> (Option<usize>, Arc<Scripted>) {
        let scripted =
            Arc::new(Scripted { answer, asked: Mutex::default(), warnings: Mutex::default() });
        let rules = Rules { chooser: Some(scripted.clone()), ..Rules::default() };
        let wish = Wish { router: "r".to_owned(), transport: "plain", other_host: false };
        let load = Some(Load { workers: 2, max_workers: 4 });
        let known = Candidate { load, cpu: 250, cores: 4, parts: 1, ..Candidate::default() };
        let leaving = Candidate { draining: true, ..Candidate::default() };
        let question = Question {
            pid: 7,
            wish: Some(&wish),
            names: &["a".to_owned(), "b".to_owned(), "c".to_owned()],
            candidates: &[known, Candidate::default(), leaving],
        };
        let deadline = Instant::now() + 10 * ANSWER_TIME;
        let chosen = rules.ask(&question, deadline).await;
        assert_eq!(rules.ask(&question, deadline).await, chosen, "the same again");
        (chosen, scripted)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_use_is_followed() {
        for (answer, expected) in
            [(r#"{"index":1,"error":null}"#, Some(1)), (r#"{"index":null,"error":null}"#, None)]
        {
            let (chosen, scripted) = ask(Some(answer)).await;
            assert_eq!(chosen, expected);
            assert!(scripted.warnings.lock().is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn any_other_is_passed_over_with_one_warning() {
        for (answer, why) in [
            (Some(r#"{"index":3,"error":null}"#), "returned index 3, and there are 3 candidates"),
            (Some(r#"{"index":2,"error":null}"#), "returned index 2, and c drains"),
            (Some(r#"{"index":null,"error":"it threw"}"#), "it threw"),
            (Some("nonsense"), "malformed"),
            (Some("down"), "it is gone"),
            (None, "no answer within 1s"),
        ] {
            let (chosen, scripted) = ask(answer).await;
            assert_eq!(chosen, None);
            let warnings = scripted.warnings.lock();
            assert_eq!(warnings.len(), 1, "{answer:?}");
            assert!(warnings[0].contains(why), "{warnings:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_question_tells_what_is_known() {
        let (_, scripted) = ask(Some(r#"{"index":0,"error":null}"#)).await;
        let candidate = |name, reachable, cpu, cores, workers, max_workers, parts| {
            serde_json::json!({
                "name": name, "reachable": reachable, "draining": name == "c", "near": false,
                "cores": cores, "cpu": cpu, "workers": workers, "maxWorkers": max_workers,
                "ownWorkers": 0, "parts": parts,
            })
        };
        assert_eq!(
            scripted.asked.lock()[0],
            serde_json::json!({
                "request": { "worker": 7, "router": "r", "transport": "plain" },
                "candidates": [
                    candidate("a", true, 250, 4, 2, 4, 1),
                    candidate("b", false, 0, 0, 0, 0, 0),
                    candidate("c", false, 0, 0, 0, 0, 0),
                ],
            })
        );
    }

    #[test]
    fn limits_and_regions() {
        let load = Load { workers: 1, max_workers: 4 };
        let limited = |max, local| {
            Rules { workers_per_host: max, ..Rules::default() }.limit(load, local).max_workers
        };
        assert_eq!((limited(None, true), limited(None, false)), (4, 4));
        assert_eq!((limited(Some(8), true), limited(Some(8), false)), (8, 4));
        assert_eq!((limited(Some(2), true), limited(Some(2), false)), (2, 2));
        let labels = [("region".to_owned(), "eu".to_owned())].into();
        let host = HostLoad { labels, ..HostLoad::default() };
        let near = |region: Option<&str>, local| {
            Rules { region: region.map(str::to_owned), ..Rules::default() }.is_near(local, &host)
        };
        assert!(near(Some("eu"), false) && !near(Some("us"), false) && !near(None, false));
        assert!(near(Some("us"), true), "this host is where the app is");
    }
}
