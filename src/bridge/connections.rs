//! What Node.js may call about the set of connections.

use std::sync::{Arc, Weak};

use napi::{
    Status,
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use napi_derive::napi;
use serde::{Deserialize, Serialize};

use super::{
    CLOSED, NativeCore, to_json,
    user_connection::{UserFunction, UserProvider},
};
use crate::{
    compatibility::Difference,
    connection::{Connection, SpawnError, user::UserConnection},
    core::{
        Core, JoinError,
        config::{self, ConfigError},
        user_source::{self, Told, UserSettings},
    },
};

/// Told once, a JSON text. Not weak: a process that waits for this stays alive.
pub type JoinFunction = ThreadsafeFunction<String, (), String, Status, false, false>;

/// Why there is no connection, with all that is different where that is why.
#[derive(Default, Serialize)]
struct Refused {
    ok: Option<()>,
    error: String,
    differences: Option<Vec<Difference>>,
}

impl From<String> for Refused {
    fn from(error: String) -> Self {
        Self { error, ..Self::default() }
    }
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Incompatible(why) => {
                Self { ok: None, error: why.message, differences: Some(why.differences) }
            }
            other => other.to_string().into(),
        }
    }
}

impl From<JoinError> for Refused {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Unusable(SpawnError::Incompatible(why)) => {
                Self { ok: None, error: why.message, differences: Some(why.differences) }
            }
            other => other.to_string().into(),
        }
    }
}

#[derive(Serialize)]
struct Done<T> {
    ok: T,
    error: Option<String>,
}

fn answer<T: Serialize>(result: Result<T, Refused>) -> String {
    match result {
        Ok(ok) => to_json(&Done { ok, error: None }),
        Err(refused) => to_json(&refused),
    }
}

/// The settings of an app's own connection, which has the rest in JS.
#[derive(Deserialize)]
struct Own {
    own: UserSettings,
}

#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands over owned values")]
impl NativeCore {
    /// Adds connections at once. JSON in: settings, and who is asked for workers of the app's own.
    /// JSON out: `{ok: their names, error, differences}`.
    #[napi(catch_unwind)]
    pub fn add(&mut self, connection: String, own: Option<UserFunction>) -> String {
        answer(self.try_add(&connection, own))
    }

    fn try_add(
        &mut self,
        connection: &str,
        own: Option<UserFunction>,
    ) -> Result<Vec<String>, Refused> {
        let connections = self.make(connection, own)?;
        let core = self.core()?;
        let mut names = core.connections();
        for connection in &connections {
            let name = connection.name();
            if names.contains(&name) {
                for connection in &connections {
                    connection.close();
                }
                return Err(JoinError::Taken(name).into());
            }
            names.push(name);
        }
        let added = connections.iter().map(|connection| connection.name()).collect();
        for connection in connections {
            core.add(connection);
        }
        Ok(added)
    }

    /// Adds a connection once it is connected and checked, and then tells `{ok, error,
    /// differences}`. The same as JSON out if it is none at all. A core that is closed meanwhile
    /// tells nothing.
    #[napi(catch_unwind)]
    pub fn join(
        &mut self,
        connection: String,
        own: Option<UserFunction>,
        done: JoinFunction,
    ) -> String {
        answer(self.try_join(&connection, own, done))
    }

    fn try_join(
        &mut self,
        connection: &str,
        own: Option<UserFunction>,
        done: JoinFunction,
    ) -> Result<(), Refused> {
        let made = self.make(connection, own)?;
        let core = self.core()?;
        let tell = move |result: Result<(), JoinError>| {
            let text = answer(result.map_err(Refused::from));
            // A process that ends has nobody left to tell.
            let _ = done.call(text, ThreadsafeFunctionCallMode::NonBlocking);
        };
        match <[_; 1]>::try_from(made) {
            Ok([connection]) => core.join(connection, tell),
            // What stands for others is not waited for: they come by themselves.
            Err(several) => {
                for connection in several {
                    core.add(connection);
                }
                tell(Ok(()));
            }
        }
        Ok(())
    }

    fn core(&self) -> Result<&Core, Refused> {
        self.core.as_ref().ok_or_else(|| CLOSED.to_owned().into())
    }

    fn make(
        &mut self,
        connection: &str,
        own: Option<UserFunction>,
    ) -> Result<Vec<Arc<dyn Connection>>, Refused> {
        let core = self.core()?;
        let wrong = |error: serde_json::Error| format!("connection settings: {error}");
        let Some(function) = own else {
            let settings = serde_json::from_str(connection).map_err(wrong)?;
            return Ok(config::connect(core, &self.options, settings)?);
        };
        let Own { own } = serde_json::from_str(connection).map_err(wrong)?;
        let name = own.name.clone();
        let provider = Arc::new(UserProvider(function));
        let made = Arc::new(user_source::user(&self.options, own, provider)?);
        self.own.retain(|_, connection| connection.strong_count() > 0);
        self.own.insert(name, Arc::downgrade(&made));
        Ok(vec![made])
    }

    /// Gives up a connection that is on its way into the set. False if there is none.
    #[napi(catch_unwind)]
    pub fn give_up(&self, name: String) -> bool {
        self.core.as_ref().is_some_and(|core| core.give_up(&name))
    }

    /// What becomes of the workers of the app's own connection of that name. JSON in. JSON out:
    /// `{ok, error}`.
    #[napi(catch_unwind)]
    pub fn tell_own(&self, name: String, told: String) -> String {
        let told = serde_json::from_str::<Told>(&told)
            .map_err(|error| Refused::from(format!("the connection {name}: {error}")));
        answer(told.map(|told| {
            // One that is gone needs to know nothing.
            if let Some(connection) = self.own.get(&name).and_then(Weak::<UserConnection>::upgrade)
            {
                told.to(&connection);
            }
        }))
    }
}
