//! What the app saw of plain mediasoup, held against what it saw of ours.

use std::collections::BTreeSet;

use crate::{
    app::{App, Made, Outcome, State},
    calls::{Effect, Sent},
    differences::Differences,
    fleet::Losses,
    value::Value,
};

/// What races decided.
#[derive(Default)]
struct Raced {
    /// These objects are there on one side only, and differ from there on.
    other_way: BTreeSet<String>,
    /// These were made with another state, which the one side told later, by an event.
    crossed: BTreeSet<String>,
}

/// All illegal differences, a line each.
pub fn differences(
    plain: &App,
    ours: &App,
    legal: &Differences,
    settled: bool,
    losses: &Losses,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut raced = Raced::default();
    for (index, (mine, theirs)) in plain.made.iter().zip(&ours.made).enumerate() {
        let ended = |id: &str| {
            let object = plain.objects.get(id);
            object.is_some_and(|object| {
                matches!(object.state, State::Closed | State::Gone | State::Lost | State::Refused)
            })
        };
        compare_call(index, (mine, theirs), legal, settled, ended, &mut raced, &mut found);
    }
    let lost: BTreeSet<&String> = losses.values().flatten().collect();
    // What may miss the last events of a part that is gone.
    let touched = plain.touched(&lost);
    for (id, mine) in &plain.objects {
        let Some(theirs) = ours.objects.get(id) else { continue };
        if raced.other_way.contains(id) {
            continue;
        }
        let heard = |object: &crate::app::Object| {
            let events = object.events.iter().map(|(event, body)| (format!("{event:?}"), body));
            let crossed = raced.crossed.contains(id);
            let events = events.filter(|(event, _)| {
                let over = legal.event(event) || (crossed && legal.crossed_event(event));
                !over
            });
            events
                .map(|(event, body)| format!("{event} {}", Value::parse(body)))
                .collect::<Vec<_>>()
        };
        let (mine_heard, theirs_heard) = (heard(mine), heard(theirs));
        // An app that closes while events are under way misses the last of them.
        let may_miss = !settled && theirs.state == State::Closed;
        let same = if !settled && touched.contains(id) {
            is_part_of(&theirs_heard, &mine_heard)
        } else if may_miss {
            mine_heard.starts_with(&theirs_heard)
        } else {
            mine_heard == theirs_heard
        };
        if !same {
            found.push(format!(
                "events of {id}: plain [{}], ours [{}]",
                mine_heard.join(", "),
                theirs_heard.join(", ")
            ));
        }
    }
    found
}

fn compare_call(
    index: usize,
    (mine, theirs): (&Made, &Made),
    legal: &Differences,
    settled: bool,
    ended: impl Fn(&str) -> bool,
    raced: &mut Raced,
    found: &mut Vec<String>,
) {
    let call = &mine.call;
    let (Some(plain), Some(ours)) = (&mine.outcome, &theirs.outcome) else {
        if mine.outcome.is_some() != theirs.outcome.is_some() {
            found.push(format!("call {index}, {call}: answered by one side only"));
        }
        return;
    };
    if mentions(made_strings(mine), &raced.other_way) {
        return;
    }
    if theirs.at_loss && legal.at_loss() {
        if let Effect::Create { id, .. } = &call.effect
            && std::mem::discriminant(plain) != std::mem::discriminant(ours)
        {
            raced.other_way.insert(id.clone());
        }
        return;
    }
    let race = !settled && theirs.crossed && legal.race(call.name());
    match (plain, ours) {
        (Outcome::Accepted(plain), Outcome::Accepted(ours)) if race => {
            if let Effect::Create { id, .. } = &call.effect
                && plain != ours
            {
                raced.crossed.insert(id.clone());
            }
        }
        (Outcome::Accepted(plain), Outcome::Accepted(ours)) => {
            let mut paths = Vec::new();
            // Mostly they are equal to the last byte.
            if plain != ours {
                Value::parse(plain).differences(&Value::parse(ours), "", &mut paths);
            }
            for (path, what) in paths {
                if !legal.result(call.name(), &path) {
                    found.push(format!("call {index}, {call}: at {path}: {what}"));
                }
            }
        }
        (plain, ours) if plain == ours => {}
        (Outcome::Refused(class, plain), Outcome::Refused(other, ours))
            if class == "NotFoundError" && class == other && legal.became(plain, ours) => {}
        (plain, ours) => {
            if race
                && let Effect::Create { id, .. } = &call.effect
                && ended(id)
            {
                raced.other_way.insert(id.clone());
                return;
            }
            found.push(format!("call {index}, {call}: plain {}, ours {}", show(plain), show(ours)));
        }
    }
}

/// Whether the few are among all of them, in order.
fn is_part_of(few: &[String], all: &[String]) -> bool {
    let mut rest = all.iter();
    few.iter().all(|one| rest.any(|other| other == one))
}

fn show(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted(value) => format!("accepted {value}"),
        Outcome::Refused(class, reason) => format!("{class}: {reason}"),
    }
}

fn made_strings(made: &Made) -> Vec<&str> {
    let (Sent::Request(_, handler, _) | Sent::Notification(_, handler, _)) = &made.call.sent;
    made.call.text.split(' ').chain([handler.as_str()]).collect()
}

fn mentions(strings: Vec<&str>, ids: &BTreeSet<String>) -> bool {
    strings.into_iter().any(|one| ids.contains(one))
}
