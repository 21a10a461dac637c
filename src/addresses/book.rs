//! What an app knows of addresses, shared by all its Workers: its own host's identity, the shape
//! of the fleet, and the transports that were made so far.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    AnnouncedMode, Fleet, HostAddresses, KnownTransport, ListenInfo, MAX_KNOWN, Origin,
    PortRefused, Purpose, Rewritten, SelfSet, TupleRegistry, connect_target, listen_infos,
};

/// A media host: any key that names it, and its addresses.
#[derive(Debug, Clone)]
pub struct Host {
    pub key: String,
    pub addresses: Arc<HostAddresses>,
}

/// The addresses that all Workers of one app share.
pub struct AddressBook {
    set: SelfSet,
    announced: AnnouncedMode,
    state: Mutex<State>,
}

struct State {
    all_colocated: bool,
    registry: TupleRegistry,
}

impl AddressBook {
    pub fn new(set: SelfSet, announced: AnnouncedMode) -> Self {
        let registry = TupleRegistry::new(MAX_KNOWN);
        Self { set, announced, state: Mutex::new(State { all_colocated: true, registry }) }
    }

    /// Tells which hosts there are; a host that is not known yet counts as another one.
    pub fn set_fleet(&self, hosts: impl Iterator<Item = Option<HostAddresses>>) {
        let mut hosts = hosts.peekable();
        let all_colocated =
            hosts.peek().is_none() || hosts.all(|host| host.is_some_and(|host| host.colocated));
        self.state.lock().all_colocated = all_colocated;
    }

    fn fleet(&self) -> Fleet {
        Fleet { all_colocated: self.state.lock().all_colocated, announced: self.announced }
    }

    /// The listen infos that this host gets.
    pub fn listen_infos(
        &self,
        host: &Host,
        purpose: Purpose,
        infos: &[ListenInfo],
    ) -> Result<Vec<Rewritten>, PortRefused> {
        listen_infos(&self.set, &host.addresses, purpose, self.fleet(), infos)
    }

    /// The address that stands for `ip` when this transport connects, `None` if it is right as is.
    pub fn connect_target(
        &self,
        host: &Host,
        transport: &str,
        ip: &str,
        port: u16,
    ) -> Option<String> {
        let from = Origin { transport, host: &host.key, addresses: &host.addresses };
        connect_target(&self.set, &self.state.lock().registry, from, ip, port)
    }

    /// Remembers a socket of a transport.
    pub fn learn(&self, transport: KnownTransport) {
        self.state.lock().registry.insert(transport);
    }

    /// Forgets all sockets of a transport.
    pub fn forget(&self, transport: &str) {
        self.state.lock().registry.remove(transport);
    }
}
