//! Reads a `FlatBuffers` payload by position, with every access checked.

use std::ops::Range;

/// A payload: one channel message without its size prefix.
#[derive(Clone, Copy)]
pub(super) struct Buffer<'a>(pub &'a [u8]);

/// A table in a payload.
#[derive(Clone, Copy)]
pub(super) struct Table {
    start: usize,
    vtable: usize,
    vtable_size: usize,
    size: usize,
}

impl<'a> Buffer<'a> {
    pub fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub fn u16(self, at: usize) -> Option<u16> {
        let bytes = self.0.get(at..at.checked_add(2)?)?;
        Some(u16::from_le_bytes(bytes.try_into().ok()?))
    }

    pub fn u32(self, at: usize) -> Option<u32> {
        let bytes = self.0.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Follows the offset that stands at this position.
    pub fn follow(self, at: usize) -> Option<usize> {
        let offset = usize::try_from(self.u32(at)?).ok()?;
        let target = at.checked_add(offset)?;
        (offset != 0 && target < self.0.len()).then_some(target)
    }

    pub fn root(self) -> Option<Table> {
        self.table(self.follow(0)?)
    }

    pub fn table(self, start: usize) -> Option<Table> {
        let back = i64::from(i32::from_le_bytes(
            self.0.get(start..start.checked_add(4)?)?.try_into().ok()?,
        ));
        let vtable = usize::try_from(i64::try_from(start).ok()? - back).ok()?;
        let vtable_size = usize::from(self.u16(vtable)?);
        let size = usize::from(self.u16(vtable.checked_add(2)?)?);
        let fits = start.is_multiple_of(4)
            && vtable.is_multiple_of(2)
            && vtable_size >= 4
            && vtable_size % 2 == 0
            && vtable.checked_add(vtable_size)? <= self.0.len()
            && size >= 4
            && start.checked_add(size)? <= self.0.len();
        fits.then_some(Table { start, vtable, vtable_size, size })
    }

    /// The bytes of a table's vtable, and those that lead to it.
    pub fn vtable(table: Table) -> [Range<usize>; 2] {
        [table.vtable..table.vtable + table.vtable_size, table.start..table.start + 4]
    }

    /// Where the field of that slot stands, if the table has it. `width` bytes of it are in bounds
    /// and aligned, to four bytes at most: builders that count the size prefix in shift the rest.
    pub fn field(self, table: Table, slot: usize, width: usize) -> Option<Field> {
        let entry = 4 + slot * 2;
        if entry + 2 > table.vtable_size {
            return Some(Field::Absent);
        }
        match usize::from(self.u16(table.vtable + entry)?) {
            0 => Some(Field::Absent),
            offset
                if offset >= 4
                    && offset + width <= table.size
                    && offset.is_multiple_of(width.min(4)) =>
            {
                Some(Field::At(table.start + offset))
            }
            _ => None,
        }
    }

    /// The elements of the vector at this position: where the first stands, and how many there are.
    pub fn vector(self, at: usize, stride: usize) -> Option<(usize, usize)> {
        if !at.is_multiple_of(4) {
            return None;
        }
        let count = usize::try_from(self.u32(at)?).ok()?;
        let first = at.checked_add(4)?;
        let end = first.checked_add(count.checked_mul(stride)?)?;
        (end <= self.0.len()).then_some((first, count))
    }

    /// The string at this position.
    pub fn string(self, at: usize) -> Option<&'a [u8]> {
        let (first, length) = self.vector(at, 1)?;
        // The worker hands some of them to C functions.
        (self.u8(first + length)? == 0).then(|| &self.0[first..first + length])
    }
}

impl Table {
    /// Whether its vtable stands behind that position. Builders write what is referred to first,
    /// and behind: anything else was made by hand.
    pub fn follows(self, position: usize) -> bool {
        self.vtable >= position
    }
}

/// Where a field stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Field {
    Absent,
    At(usize),
}

impl Field {
    pub fn position(self) -> Option<usize> {
        match self {
            Self::Absent => None,
            Self::At(position) => Some(position),
        }
    }
}
