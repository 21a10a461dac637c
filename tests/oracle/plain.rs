//! Plain mediasoup: one worker, spoken to directly. A worker takes its messages in order and
//! answers each at once, so delays change nothing for it.

use mediasoup_horizontal::{
    channel::Message,
    mock_worker::{LogLevel, MockHost, MockOptions, MockWorker, Settings},
};

use crate::{
    app::App,
    calls::{Call, Step},
};

pub fn mock(pid: u32, host: &MockHost) -> MockWorker {
    let settings = Settings { log_level: LogLevel::None, ..Settings::default() };
    MockWorker::new(MockOptions { pid, seed: u64::from(pid), settings, host: host.clone() })
}

/// A program with its end, and what the app saw of plain mediasoup.
pub struct Run {
    pub app: App,
    pub steps: Vec<Step>,
    /// What would have crashed or hung a real worker.
    pub violations: Vec<String>,
}

/// Runs a program and adds its end: a look at everything, and closes.
pub fn run(mut steps: Vec<Step>) -> Run {
    let mut worker = mock(1, &MockHost::new());
    let mut app = App::default();
    let mut make = |app: &mut App, call: &Call| {
        let message = Message::parse(app.call(call)).expect("the app's messages are well formed");
        for message in worker.handle(&message) {
            app.hear(&message.into_bytes());
        }
    };
    for step in &steps {
        if let Step::Call(call) = step {
            make(&mut app, call);
        }
    }
    let (looks, closes) = app.epilogue();
    for calls in [looks, closes] {
        steps.push(Step::Settle);
        for call in calls {
            make(&mut app, &call);
            steps.push(Step::Call(Box::new(call)));
        }
    }
    steps.push(Step::Settle);
    assert_eq!(worker.objects().total(), 0, "plain mediasoup holds nothing at the end");
    Run { app, steps, violations: worker.violations().to_vec() }
}
