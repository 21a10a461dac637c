//! An honest app beside hostile peers: it calls its worker all the time.

#![allow(dead_code, clippy::unwrap_used, reason = "not every test uses all of it")]

use std::{sync::Arc, time::Duration};

use mediasoup_horizontal::{
    agent::Server,
    connection::{Connection, WorkerCommand, remote::RemoteConnection},
};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::support::{Memory, message, next_message, remote_options, request, within};

/// Between two calls.
const PAUSE: Duration = Duration::from_millis(20);

/// A session that must not notice anything.
pub struct Honest {
    calls: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
    _memory: Arc<Memory>,
}

impl Honest {
    /// Calls a worker of that agent from now on.
    pub async fn at(server: &Server) -> Self {
        let memory = Memory::new(server.clone());
        let connection = RemoteConnection::with_dialer(remote_options(), Arc::clone(&memory) as _);
        let mut link = within(connection.spawn(request(&[]))).await.unwrap();
        let (count, calls) = watch::channel(0_u64);
        let (stop, mut stopped) = watch::channel(false);
        let running = tokio::spawn(async move {
            let _connection = connection;
            while !*stopped.borrow_and_update() {
                let text = message(&count.borrow().to_le_bytes());
                link.commands.send(WorkerCommand::Message(text.clone())).await.unwrap();
                assert_eq!(next_message(&mut link).await, text);
                count.send_modify(|count| *count += 1);
                sleep(PAUSE).await;
            }
        });
        Self { calls, stop, running, _memory: memory }
    }

    /// Waits for a few calls that begin after this moment.
    pub async fn goes_on(&mut self) {
        let now = *self.calls.borrow_and_update();
        within(self.calls.wait_for(|calls| *calls >= now + 3)).await.expect("it goes on calling");
    }

    /// All of its calls were answered.
    pub async fn ends_well(&mut self) {
        self.goes_on().await;
        self.stop.send_replace(true);
        within(&mut self.running).await.unwrap();
    }
}
