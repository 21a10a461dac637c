//! SRTP keys as mediasoup writes them.

use super::{numbers::Numbers, refusal::Refusal};
use crate::channel::fbs::srtp_parameters::{SrtpCryptoSuite, SrtpParameters};

/// Bytes of a master key with its salt.
fn master_length(suite: SrtpCryptoSuite) -> usize {
    match suite {
        SrtpCryptoSuite::AeadAes256Gcm => 44,
        SrtpCryptoSuite::AeadAes128Gcm => 28,
        SrtpCryptoSuite::AesCm128HmacSha180 | SrtpCryptoSuite::AesCm128HmacSha132 => 30,
    }
}

/// A fresh key for the suite.
pub(super) fn generate(suite: SrtpCryptoSuite, numbers: &mut Numbers) -> SrtpParameters {
    let key = numbers.text(master_length(suite));
    SrtpParameters { crypto_suite: suite, key_base64: encode(key.as_bytes()) }
}

/// Whether a remote key fits its suite.
pub(super) fn check(remote: &SrtpParameters) -> Result<(), Refusal> {
    if decoded_length(&remote.key_base64)? == master_length(remote.crypto_suite) {
        Ok(())
    } else {
        Err(Refusal::type_error("invalid decoded SRTP key length"))
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .chain(std::iter::repeat(&0))
            .take(3)
            .fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        for position in 0..4 {
            if position <= chunk.len() {
                text.push(char::from(ALPHABET[group >> (18 - 6 * position) & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// How many bytes the text stands for. Characters outside the alphabet are passed over.
fn decoded_length(text: &str) -> Result<usize, Refusal> {
    let counted = text.bytes().filter(|byte| *byte == b'=' || ALPHABET.contains(byte)).count();
    if counted == 0 || counted % 4 != 0 {
        return Err(Refusal::type_error("invalid data"));
    }
    match text.bytes().filter(|byte| *byte == b'=').count() {
        padding @ 0..=2 => Ok(counted / 4 * 3 - padding),
        _ => Err(Refusal::type_error("integer padding")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_as_others_do() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn own_keys_fit_their_suite() {
        let mut numbers = Numbers::new(1);
        for suite in SrtpCryptoSuite::ENUM_VALUES {
            assert_eq!(check(&generate(suite, &mut numbers)), Ok(()));
        }
        let short = SrtpParameters {
            crypto_suite: SrtpCryptoSuite::AeadAes256Gcm,
            key_base64: "Zm9v".to_owned(),
        };
        assert_eq!(check(&short).expect_err("too short").reason, "invalid decoded SRTP key length");
    }
}
