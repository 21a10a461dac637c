//! How a connection stands, told as events whenever that changes.

use std::sync::Arc;

use crate::{
    compatibility::Incompatibility,
    connection::{Connection, ConnectionState, SpawnError},
    monitor::{Event, EventSink},
};

/// What was told of a connection so far.
#[derive(Default)]
struct Standing {
    name: String,
    was_connected: bool,
    last: Option<Event>,
}

impl Standing {
    /// What is to be told now, if anything.
    fn next(&mut self, state: ConnectionState, problem: Option<SpawnError>) -> Option<Event> {
        let connection = self.name.clone();
        let message = |problem: &SpawnError| problem.to_string();
        let event = match (state, problem) {
            (ConnectionState::Connected, _) => {
                if std::mem::replace(&mut self.was_connected, true) {
                    Event::Reconnected { connection }
                } else {
                    Event::Connected { connection }
                }
            }
            (ConnectionState::Refused, Some(problem)) => match problem {
                SpawnError::Incompatible(Incompatibility { message, differences }) => {
                    Event::Incompatible { connection, message, differences }
                }
                problem => Event::Refused { connection, message: message(&problem) },
            },
            (ConnectionState::Connecting, Some(problem)) => {
                // It goes on dialing, and then every attempt may fail in words of its own.
                if self.last.is_some() {
                    return None;
                }
                Event::Unreachable { connection, message: message(&problem) }
            }
            (ConnectionState::Disconnected, problem) => {
                let message = problem.as_ref().map(message).unwrap_or_default();
                if let Some(Event::Disconnected { .. }) = self.last {
                    return None;
                }
                Event::Disconnected { connection, message }
            }
            (
                ConnectionState::Connecting | ConnectionState::Refused | ConnectionState::Closed,
                _,
            ) => return None,
        };
        // Found connected once more, after a look that saw nothing new.
        let again = matches!(
            (&event, &self.last),
            (Event::Reconnected { .. }, Some(Event::Connected { .. } | Event::Reconnected { .. }))
        );
        if again || self.last.as_ref() == Some(&event) {
            return None;
        }
        self.last = Some(event.clone());
        Some(event)
    }
}

/// Tells how the connection stands until it is closed, or nothing can change any more.
pub async fn tell(connection: Arc<dyn Connection>, events: EventSink) {
    let mut state = connection.state();
    let mut standing = Standing { name: connection.name(), ..Standing::default() };
    let mut draining = connection.draining();
    let mut drains = false;
    // What may still change.
    let (mut standing_open, mut draining_open, mut settled) = (true, true, false);
    loop {
        let now = *state.borrow_and_update();
        if let Some(event) = standing.next(now, connection.problem()) {
            events.emit(event);
        }
        if now == ConnectionState::Closed {
            return;
        }
        let now_drains = *draining.borrow_and_update();
        if std::mem::replace(&mut drains, now_drains) != now_drains {
            let connection = connection.name();
            events.emit(Event::Draining { connection, draining: now_drains });
        }
        tokio::select! {
            // Cancel-safe, both: a change that is not seen stays one.
            changed = state.changed(), if standing_open => standing_open = changed.is_ok(),
            changed = draining.changed(), if draining_open => draining_open = changed.is_ok(),
            // Cancel-safe: it only waits.
            () = connection.settled(), if !settled => settled = true,
            else => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compatibility::{Aspect, Difference};

    fn standing() -> Standing {
        Standing { name: "ws://a".to_owned(), ..Standing::default() }
    }

    fn unreachable(text: &str) -> SpawnError {
        SpawnError::Unreachable(text.to_owned())
    }

    #[test]
    fn each_change_is_told_once() {
        use ConnectionState::{Closed, Connected, Connecting, Disconnected, Refused};
        let mut standing = standing();
        let connection = || "ws://a".to_owned();
        let unauthorized = Some(SpawnError::Unauthorized("who are you".to_owned()));
        let problem = |text| Some(unreachable(text));
        let never = |message: &str| {
            Some(Event::Unreachable { connection: connection(), message: message.to_owned() })
        };
        let disconnected = |message: &str| {
            Some(Event::Disconnected { connection: connection(), message: message.to_owned() })
        };
        let refused =
            Some(Event::Refused { connection: connection(), message: "who are you".to_owned() });
        let differences = vec![Difference {
            what: Aspect::Workers,
            ours: "one".to_owned(),
            theirs: "none".to_owned(),
            why: Aspect::Workers.why(),
        }];
        let why = Incompatibility::new("ws://a", differences.clone());
        let incompatible = Some(Event::Incompatible {
            connection: connection(),
            message: why.message.clone(),
            differences,
        });
        let misfit = Some(SpawnError::Incompatible(why));
        let back = || Some(Event::Reconnected { connection: connection() });
        for (step, (state, problem, told)) in [
            (Connecting, None, None),
            (Connecting, problem("no"), never("no")),
            (Connecting, problem("still no"), None),
            (Connected, None, Some(Event::Connected { connection: connection() })),
            (Connected, None, None),
            // Gone, but not for long.
            (Connected, problem("reset"), None),
            (Disconnected, problem("reset"), disconnected("reset")),
            (Disconnected, problem("refused"), None),
            (Connected, None, back()),
            (Connected, None, None),
            (Refused, unauthorized.clone(), refused),
            (Refused, unauthorized, None),
            (Refused, misfit.clone(), incompatible.clone()),
            (Refused, misfit, None),
            (Disconnected, None, disconnected("")),
            (Connected, None, back()),
            (Closed, None, None),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(standing.next(state, problem), told, "step {step}");
        }
    }
}
