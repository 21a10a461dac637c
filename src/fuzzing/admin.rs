//! An agent's admin socket: a line of an operator's, and lines of an agent's.

use super::handshake::block_on;
use crate::agent::admin::{Answer, REQUEST_MAX, Request, cli, hear};

/// The longest text about a request or an answer that is wrong, beside what it quotes.
const PROBLEM_MAX: usize = 500;

/// A request that is taken is one line, not too long, and says the same when it is written again;
/// so do answers. What is shown of either cannot take over a terminal or a log.
pub fn admin_lines(data: &[u8]) {
    let mut rest = data;
    match block_on(hear(&mut rest)) {
        Some(Ok(request)) => {
            let line = data.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
            assert!(line.len() as u64 <= REQUEST_MAX && line.ends_with(b"\n"));
            let again = serde_json::to_vec(&request);
            let again = again.as_deref().map(serde_json::from_slice::<Request>);
            assert!(matches!(&again, Ok(Ok(again)) if *again == request), "{request:?}");
        }
        Some(Err(problem)) => check_shown(&problem.to_string(), data),
        None => {}
    }
    for line in data.split(|byte| *byte == b'\n') {
        match cli::understand(line) {
            Ok(answer) => {
                let again = serde_json::to_vec(&answer);
                let again = again.as_deref().map(serde_json::from_slice::<Answer>);
                assert!(matches!(&again, Ok(Ok(again)) if *again == answer), "{answer:?}");
                for shown in answer.status.iter().map(cli::describe) {
                    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
                }
            }
            Err(problem) => check_shown(&problem, line),
        }
    }
}

fn check_shown(problem: &str, of: &[u8]) {
    assert!(!problem.chars().any(char::is_control), "{problem:?}");
    assert!(problem.len() <= of.len() * 12 + PROBLEM_MAX, "{} characters", problem.len());
}
