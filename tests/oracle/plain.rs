//! Plain mediasoup: one worker, spoken to directly. A worker takes its messages in order and
//! answers each at once, so delays change nothing for it.

use mediasoup_horizontal::{
    channel::{Message, compose, method::Method},
    mock_worker::{LogLevel, MockHost, MockOptions, MockWorker, Settings},
};

use crate::{
    app::App,
    bodies,
    calls::{Call, Step},
    fleet::Losses,
};

/// An id that no call of an app has.
const HIDDEN: u32 = u32::MAX;

pub fn mock(pid: u32, host: &MockHost) -> MockWorker {
    let settings = Settings { log_level: LogLevel::None, ..Settings::default() };
    MockWorker::new(MockOptions { pid, seed: u64::from(pid), settings, host: host.clone() })
}

/// A program's end, and what the app saw of plain mediasoup.
pub struct Run {
    pub app: App,
    /// A look at everything, and closes.
    pub epilogue: Vec<Step>,
    /// What would have crashed or hung a real worker.
    pub violations: Vec<String>,
}

/// Runs a program and its end. To lose a part is as if the transports there were closed without
/// the app's doing.
pub fn run(steps: &[Step], losses: &Losses) -> Run {
    let mut worker = mock(1, &MockHost::new());
    let mut app = App::default();
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::Call(call) => make(&mut worker, &mut app, call),
            Step::Kill(_) => {
                let lost = losses.get(&index).map(Vec::as_slice).unwrap_or_default();
                app.loses(lost);
                for transport in lost {
                    close_unseen(&mut worker, &mut app, transport);
                }
            }
            _ => {}
        }
    }
    let (looks, closes) = app.epilogue();
    let mut epilogue = vec![Step::LinksUp];
    for calls in [looks, closes] {
        epilogue.push(Step::Settle);
        for call in calls {
            make(&mut worker, &mut app, &call);
            epilogue.push(Step::Call(Box::new(call)));
        }
    }
    epilogue.push(Step::Settle);
    assert_eq!(worker.objects().total(), 0, "plain mediasoup holds nothing at the end");
    Run { app, epilogue, violations: worker.violations().to_vec() }
}

fn make(worker: &mut MockWorker, app: &mut App, call: &Call) {
    let message = Message::parse(app.call(call)).expect("the app's messages are well formed");
    for message in worker.handle(&message) {
        app.hear(&message.into_bytes());
    }
}

fn close_unseen(worker: &mut MockWorker, app: &mut App, transport: &str) {
    let Some(router) = app.parent(transport).map(str::to_owned) else { return };
    let body = bodies::close_transport(transport);
    let close = compose::request(HIDDEN, Method::RouterCloseTransport, &router, Some(body));
    for message in worker.handle(&close) {
        if !matches!(message.envelope(), mediasoup_horizontal::channel::Envelope::Response(_)) {
            app.hear(&message.into_bytes());
        }
    }
}
