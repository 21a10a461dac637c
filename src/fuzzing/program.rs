//! Bytes as a program: steps that a state machine is driven by.

/// One step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub kind: u8,
    /// Which worker, part or share it is about.
    pub who: u8,
    pub bytes: &'a [u8],
}

/// More steps than this are not taken, so that one input takes a bounded time.
const STEPS_MAX: usize = 256;

/// Bytes of a step before its own: kind, who, length.
const HEAD: usize = 4;

/// Appends a step to a program.
pub fn step(program: &mut Vec<u8>, kind: u8, who: u8, bytes: &[u8]) {
    program.extend([kind, who]);
    program.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
    program.extend(&bytes[..bytes.len().min(usize::from(u16::MAX))]);
}

/// The steps of a program. The last one may be cut short.
pub(super) fn steps(mut rest: &[u8]) -> impl Iterator<Item = Step<'_>> {
    std::iter::from_fn(move || {
        let (head, after) = rest.split_first_chunk::<HEAD>()?;
        let [kind, who, low, high] = *head;
        let length = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (bytes, later) = after.split_at(length);
        rest = later;
        Some(Step { kind, who, bytes })
    })
    .take(STEPS_MAX)
}
