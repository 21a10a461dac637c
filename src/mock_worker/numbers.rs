//! Values that look random and depend on nothing but the seed.

/// A stream of them (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Letters and digits, as the worker makes them.
    pub fn text(&mut self, length: usize) -> String {
        const CHARACTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        (0..length)
            .map(|_| {
                let index = usize::try_from(self.next() % 36).unwrap_or_default();
                char::from(CHARACTERS[index])
            })
            .collect()
    }

    /// A fingerprint of that many bytes, as SDP writes it.
    pub fn fingerprint(&mut self, bytes: usize) -> String {
        let bytes: Vec<String> =
            (0..bytes).map(|_| format!("{:02X}", self.next() & 0xff)).collect();
        bytes.join(":")
    }
}
