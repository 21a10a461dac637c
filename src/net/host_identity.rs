//! Which machine and network namespace this process runs in.

use std::{fs, os::unix::fs::MetadataExt};

/// Tells whether two processes share their addresses. Unknown parts never match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostIdentity {
    /// New with each boot of each machine.
    pub boot_id: Option<String>,
    /// The inode of `/proc/self/ns/net`.
    pub netns: Option<u64>,
}

impl HostIdentity {
    /// Reads what the system tells; a system without these files tells nothing.
    pub fn of_this_process() -> Self {
        Self {
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .ok()
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty()),
            netns: fs::metadata("/proc/self/ns/net").ok().map(|metadata| metadata.ino()),
        }
    }

    /// Whether both see the same network interfaces.
    pub fn shares_network_with(&self, other: &Self) -> bool {
        self.boot_id.is_some()
            && self.netns.is_some()
            && self.boot_id == other.boot_id
            && self.netns == other.netns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_takes_unknown_for_equal() {
        let nobody = HostIdentity::default();
        assert!(!nobody.shares_network_with(&nobody));
        let here = HostIdentity { boot_id: Some("boot".to_owned()), netns: Some(1) };
        assert!(here.shares_network_with(&here.clone()));
        assert!(!here.shares_network_with(&HostIdentity { netns: Some(2), ..here.clone() }));
    }
}
