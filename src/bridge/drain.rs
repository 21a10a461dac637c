//! What Node.js may ask of connections that an app means to leave.

use napi::{
    Status,
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use napi_derive::napi;

use super::NativeCore;
use crate::core::Core;

/// Told once. Not weak: a process that waits for this stays alive.
pub type Told = ThreadsafeFunction<bool, (), bool, Status, false, false>;

/// Tells on its own end at the latest: a core that is gone has left everything.
struct Teller(Option<Told>);

impl Teller {
    fn tell(&mut self, left: bool) {
        if let Some(told) = self.0.take() {
            // A process that ends has nobody left to tell.
            let _ = told.call(left, ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.tell(true);
    }
}

#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands over owned values")]
impl NativeCore {
    /// Puts nothing new on the connection of that name. False if there is none.
    #[napi(catch_unwind)]
    pub fn drain(&self, name: String) -> bool {
        self.core.as_ref().is_some_and(|core| core.drain(&name))
    }

    /// Takes `drain` back. False if there is no connection of that name.
    #[napi(catch_unwind)]
    pub fn undrain(&self, name: String) -> bool {
        self.core.as_ref().is_some_and(|core| core.undrain(&name))
    }

    /// How many Workers of this core, and parts of them, are left on the connection of that name.
    #[napi(catch_unwind)]
    pub fn workers_left(&self, name: String) -> u32 {
        let left = self.core.as_ref().map_or(0, |core| core.left(&name));
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Tells once: true as soon as nothing of this core is left on the connection of that name,
    /// which closing the core brings about too; false if that was taken back, or there is none.
    #[napi(catch_unwind)]
    pub fn drained(&self, name: String, told: Told) {
        let mut teller = Teller(Some(told));
        if let Some(core) = &self.core {
            let drained = core.drained(&name);
            Core::handle(core).spawn(async move {
                let left = drained.await;
                teller.tell(left);
            });
        }
    }
}
