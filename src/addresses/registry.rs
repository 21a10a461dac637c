//! The transports of one app, by the addresses under which it knows them.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::{
    HostAddresses,
    text::{normal, parse_ip},
};

/// How many sockets a registry holds by default.
pub const MAX_KNOWN: usize = 65_536;

/// One socket of a Plain or Pipe transport. A transport with a socket of its own for RTCP is known
/// twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTransport {
    pub transport: String,
    /// Any key of its host, the same for all transports there.
    pub host: String,
    pub addresses: Arc<HostAddresses>,
    /// The local address that the app sees: `tuple.localAddress`, an IP or a host name.
    pub visible: String,
    /// The local port. NATs are expected to keep it.
    pub port: u16,
    /// What the app asked for: the `ip` and the announced address of its listen info.
    pub original: Vec<String>,
    /// The `ip` that the worker was asked for, wildcards included. `None` if that is no address.
    pub bound: Option<IpAddr>,
}

type Number = u64;
type Index<K> = HashMap<K, Vec<Number>>;

/// All known transports of one app. At the limit the oldest is forgotten.
#[derive(Debug)]
pub struct TupleRegistry {
    limit: usize,
    next: Number,
    known: BTreeMap<Number, KnownTransport>,
    by_transport: Index<String>,
    by_visible: Index<(String, u16)>,
    by_original: Index<(String, u16)>,
}

impl Default for TupleRegistry {
    fn default() -> Self {
        Self::new(MAX_KNOWN)
    }
}

impl TupleRegistry {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            next: 0,
            known: BTreeMap::new(),
            by_transport: HashMap::new(),
            by_visible: HashMap::new(),
            by_original: HashMap::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Replaces what is known of the same transport and port.
    pub fn insert(&mut self, mut transport: KnownTransport) {
        if self.limit == 0 {
            return;
        }
        transport.bound = transport.bound.map(|ip| ip.to_canonical());
        let same = self
            .of_transport(&transport.transport)
            .find(|(_, one)| one.port == transport.port)
            .map(|(number, _)| number);
        if let Some(number) = same {
            self.forget(number);
        }
        while self.known.len() >= self.limit
            && let Some(oldest) = self.known.keys().next().copied()
        {
            self.forget(oldest);
        }
        let number = self.next;
        self.next += 1;
        self.by_transport.entry(transport.transport.clone()).or_default().push(number);
        self.by_visible.entry(visible_key(&transport)).or_default().push(number);
        for key in original_keys(&transport) {
            self.by_original.entry(key).or_default().push(number);
        }
        self.known.insert(number, transport);
    }

    /// The transport is closed.
    pub fn remove(&mut self, transport: &str) {
        for number in self.by_transport.get(transport).cloned().unwrap_or_default() {
            self.forget(number);
        }
    }

    /// The host is gone with all its transports.
    pub fn remove_host(&mut self, host: &str) {
        let gone: Vec<_> = self
            .known
            .iter()
            .filter_map(|(number, one)| (one.host == host).then_some(*number))
            .collect();
        for number in gone {
            self.forget(number);
        }
    }

    /// What is known of a transport.
    pub fn get(&self, transport: &str) -> Option<&KnownTransport> {
        self.of_transport(transport).next().map(|(_, one)| one)
    }

    /// Transports that the app sees under the address, newest first.
    pub fn visible_at(&self, address: &str, port: u16) -> impl Iterator<Item = &KnownTransport> {
        self.all(self.by_visible.get(&(normal(address), port)))
    }

    /// Transports for which the app asked for the address (and got the port), newest first.
    pub fn original_at(&self, address: &str, port: u16) -> impl Iterator<Item = &KnownTransport> {
        self.all(self.by_original.get(&(normal(address), port)))
    }

    fn all<'a>(
        &'a self,
        numbers: Option<&'a Vec<Number>>,
    ) -> impl Iterator<Item = &'a KnownTransport> {
        numbers.into_iter().flatten().rev().filter_map(|number| self.known.get(number))
    }

    fn of_transport(&self, transport: &str) -> impl Iterator<Item = (Number, &KnownTransport)> {
        self.by_transport
            .get(transport)
            .into_iter()
            .flatten()
            .filter_map(|number| self.known.get(number).map(|one| (*number, one)))
    }

    fn forget(&mut self, number: Number) {
        let Some(transport) = self.known.remove(&number) else { return };
        drop_from(&mut self.by_visible, &visible_key(&transport), number);
        for key in original_keys(&transport) {
            drop_from(&mut self.by_original, &key, number);
        }
        drop_from(&mut self.by_transport, &transport.transport, number);
    }
}

impl KnownTransport {
    /// Whether the worker was asked for another address than the app asked for.
    pub(super) fn moved(&self) -> bool {
        self.bound
            .is_some_and(|bound| !self.original.iter().any(|text| parse_ip(text) == Some(bound)))
    }
}

fn visible_key(transport: &KnownTransport) -> (String, u16) {
    (normal(&transport.visible), transport.port)
}

fn original_keys(transport: &KnownTransport) -> Vec<(String, u16)> {
    let mut keys: Vec<_> =
        transport.original.iter().map(|text| (normal(text), transport.port)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn drop_from<K: std::hash::Hash + Eq>(index: &mut Index<K>, key: &K, number: Number) {
    if let Some(numbers) = index.get_mut(key) {
        numbers.retain(|one| *one != number);
        if numbers.is_empty() {
            index.remove(key);
        }
    }
}
