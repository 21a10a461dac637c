//! Addresses as texts.

use std::net::IpAddr;

/// The address that a text means. IPv4-mapped IPv6 counts as IPv4; a zone (`fe80::1%eth0`) is
/// legal for IPv6, as in the worker, and left out.
pub(super) fn parse_ip(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        Some((address, zone)) if address.contains(':') && !zone.is_empty() => address,
        Some(_) => return None,
        None => text,
    };
    address.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// The same for texts that people write into settings: spaces around, brackets around IPv6.
pub(super) fn parse_setting(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    parse_ip(inner.unwrap_or(text))
}

/// A host name as it is compared: lower case, without the dot of a fully qualified name.
pub(super) fn host_name(text: &str) -> String {
    let text = text.trim();
    text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()
}

/// The one spelling of an address or a host name that lookups use.
pub(super) fn normal(text: &str) -> String {
    parse_ip(text).map_or_else(|| host_name(text), |ip| ip.to_string())
}
