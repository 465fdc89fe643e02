//! The slabs of a ladder, and the tables that find one.
//!
//! Sizes up to 1 KiB are looked up in a table with one entry for every 8 bytes, those up to
//! 64 KiB in one with an entry for every 64 bytes, if the slabs are multiples of that.
//! Above, and on other ladders, `x = size − 1` picks a bucket by its exponent and the five bits below its
//! leading one: 32 buckets for every power of two.
//!
//! ```text
//! x = 1 m m m m m b b b b b b        bucket = (exponent(x) − 4) × 32 + mmmmm
//!     │ └───┬───┘ └────┬────┘
//!     │  mantissa   ignored
//!     leading one
//! ```
//!
//! Each entry is the first slab that can hold the smallest size of its bucket.
//! Because a step of the 0.95 ladder (1/20) is wider than a bucket (1/32), at most
//! one slab boundary lies within a bucket: one load and one compare find the slab.
//! On a denser ladder the same loop takes a few steps more, and stays right.

use core::ops::Range;

use super::{MAX_SLABS, SlabIndex};
use crate::config::MAX_CAPACITY;

/// Sizes up to this many bytes are looked up in a table of their own.
#[doc(hidden)]
pub const SMALL_BYTES: usize = 1024;
const SMALL_ENTRIES: usize = SMALL_BYTES / 8 + 1;
/// Sizes up to this many bytes are looked up by cache lines.
const MEDIUM_BYTES: usize = 64 << 10;
const MEDIUM_ENTRIES: usize = MEDIUM_BYTES / CACHE_LINE + 1;
pub(super) const BUCKETS: usize = bucket(MAX_CAPACITY - 1) + 1;
const _: () = assert!(BUCKETS == 1152);

/// Between these sizes chunks that lie side by side would all begin at one of a few places in
/// their OS pages, for which a cache has few lines. A line more for each, and they begin
/// everywhere. Longer chunks have OS pages of their own.
const STAGGERED: Range<usize> = 4 << 10..64 << 10;
const CACHE_LINE: usize = 64;

/// Buffers of whole OS pages often have a header, as the pages of a database in its cache. Behind a
/// power of two between the sizes above there is a slab for as much and this part of it more, instead
/// of the one that is a quarter longer.
const HEADER_SHARE: usize = 16;

/// Parts of a slab in which its waste is counted.
pub(super) const WASTE_PARTS: usize = 10_000;

/// Slabs and the tables that find one.
#[doc(hidden)]
pub struct Table {
    /// How many slabs there are. Above `MAX_SLABS` only while building.
    pub count: usize,
    /// The power of two that divides every slab.
    pub alignment: usize,
    /// The slabs, ascending; past `count`, `usize::MAX`, where every search ends.
    pub slabs: [usize; MAX_SLABS + 1],
    /// Up to this size, in bytes, `small` has the slab itself: 1 KiB, or 0 if a slab below
    /// that is no multiple of 8.
    small_bytes: usize,
    /// For a size up to 1 KiB, at `(size + 7) / 8`: the first slab of at least that.
    small: [u16; SMALL_ENTRIES],
    /// Up to this size, in bytes, `medium` has the slab itself: 64 KiB, or 0 if a slab between 1 KiB
    /// and that is no multiple of 64.
    medium_bytes: usize,
    /// For a size from 1 to 64 KiB, at `(size + 63) / 64`: the first slab of at least that.
    medium: [u16; MEDIUM_ENTRIES],
    /// For larger sizes, at `bucket(size − 1)`: where to begin looking.
    buckets: [u16; BUCKETS],
}

impl Table {
    pub(super) const EMPTY: Table = Table {
        count: 0,
        alignment: 0,
        slabs: [usize::MAX; MAX_SLABS + 1],
        small_bytes: 0,
        small: [0; SMALL_ENTRIES],
        medium_bytes: 0,
        medium: [0; MEDIUM_ENTRIES],
        buckets: [0; BUCKETS],
    };

    /// The ladder by the rule; with `count > max_slabs` if it does not fit.
    pub(super) const fn by_rule(
        min: usize,
        max: usize,
        alignment: usize,
        waste: usize,
        max_slabs: usize,
    ) -> Table {
        let mut table = Table::EMPTY;
        let mut slab = if min > alignment { min } else { alignment };
        while slab < max {
            if table.count == max_slabs {
                table.count += 1;
                return table;
            }
            table.slabs[table.count] = slab;
            table.count += 1;
            let wasted = (slab as u128 * waste as u128 / WASTE_PARTS as u128) as usize;
            let add = wasted.next_multiple_of(alignment);
            slab += if add > alignment { add } else { alignment };
        }
        if table.count == max_slabs {
            table.count += 1;
            return table;
        }
        table.slabs[table.count] = max;
        table.count += 1;
        table.indexed()
    }

    /// The ladder of `parts` slabs, a power of two, for every doubling, from `alignment` to the
    /// largest capacity; those [`STAGGERED`] are a cache line longer, except for powers of two, behind
    /// which there is one for as much with a header.
    pub(super) const fn by_doublings(alignment: usize, parts: usize) -> Table {
        let mut table = Table::EMPTY;
        let mut slab = alignment;
        while slab <= MAX_CAPACITY {
            let staggered = STAGGERED.start < slab && slab < STAGGERED.end;
            let more = if staggered && !slab.is_power_of_two() { CACHE_LINE } else { 0 };
            table.slabs[table.count] = slab + more;
            table.count += 1;
            if STAGGERED.start <= slab && slab < STAGGERED.end && slab.is_power_of_two() {
                table.slabs[table.count] = slab + slab / HEADER_SHARE + CACHE_LINE;
                table.count += 1;
            }
            let step = (1 << slab.ilog2()) / parts;
            slab += if step > alignment { step } else { alignment };
        }
        table.indexed()
    }

    /// Fills in the lookup tables and the common alignment.
    pub(super) const fn indexed(mut self) -> Table {
        let mut union = 0;
        let mut index = 0;
        while index < self.count {
            union |= self.slabs[index];
            index += 1;
        }
        self.alignment = 1 << union.trailing_zeros();

        let (mut whole, mut whole_lines) = (true, true);
        let mut index = 0;
        while index < self.count && self.slabs[index] <= MEDIUM_BYTES {
            if self.slabs[index] <= SMALL_BYTES {
                whole &= self.slabs[index].is_multiple_of(8);
            } else {
                whole_lines &= self.slabs[index].is_multiple_of(CACHE_LINE);
            }
            index += 1;
        }
        self.small_bytes = if whole { SMALL_BYTES } else { 0 };
        self.medium_bytes = if whole && whole_lines { MEDIUM_BYTES } else { 0 };

        self.small = self.by_granules(8);
        self.medium = self.by_granules(CACHE_LINE);
        let mut at = 0;
        let mut index = 0;
        while at < BUCKETS {
            while self.slabs[index] < bucket_start(at) + 1 {
                index += 1;
            }
            self.buckets[at] = index as u16;
            at += 1;
        }
        self
    }

    /// For a size at `size.div_ceil(granule)`: the first slab of at least the smallest such size.
    const fn by_granules<const ENTRIES: usize>(&self, granule: usize) -> [u16; ENTRIES] {
        let mut entries = [0; ENTRIES];
        let mut at = 0;
        let mut index = 0;
        while at < ENTRIES {
            // One more than the last size of the entry before.
            let least = if at == 0 { 0 } else { (at - 1) * granule + 1 };
            while self.slabs[index] < least {
                index += 1;
            }
            entries[at] = index as u16;
            at += 1;
        }
        entries
    }

    /// The position of the first slab of at least `size` bytes, or `count`.
    #[inline(always)]
    pub fn first_at_least(&self, size: usize) -> usize {
        if let Some(index) = self.small(size) {
            return index;
        }
        if let Some(index) = self.medium(size) {
            return index;
        }
        let mut index = if size <= SMALL_BYTES {
            self.small[(size + 7) >> 3] as usize
        } else if size <= MAX_CAPACITY {
            let index = self.buckets[bucket(size - 1)] as usize;
            // Whether the one boundary in a bucket is below the size no processor can
            // predict, so this is a sum and not a jump.
            index + usize::from(self.slab_or_end(index) < size)
        } else {
            self.count
        };
        // Not even once on a ladder of multiples of 8 with utilization 0.95 or less.
        while self.slab_or_end(index) < size {
            index += 1;
        }
        index
    }

    /// The same, if one look at the table for small sizes tells: for requests up to 1 KiB on a
    /// ladder of multiples of 8.
    #[inline(always)]
    pub fn small(&self, size: usize) -> Option<usize> {
        // SAFETY: at most 1 KiB, so the entry is one of the table's.
        let index = || unsafe { *self.small.get_unchecked((size + 7) >> 3) } as usize;
        (size <= self.small_bytes).then(index)
    }

    /// The same for requests up to 64 KiB, more than 1 KiB, on a ladder of whole cache lines there.
    #[inline(always)]
    pub fn medium(&self, size: usize) -> Option<usize> {
        // SAFETY: at most 64 KiB, so the entry is one of the table's.
        let index =
            || unsafe { *self.medium.get_unchecked((size + CACHE_LINE - 1) >> CACHE_LINE.ilog2()) }
                as usize;
        (size <= self.medium_bytes).then(index)
    }

    /// The slab at a position up to `count`, where it is `usize::MAX`.
    #[inline(always)]
    fn slab_or_end(&self, index: usize) -> usize {
        debug_assert!(index <= self.count);
        // SAFETY: both tables hold positions up to `count`, and a search goes on only
        // from a slab that is too small, which that at `count` never is. (With the bounds
        // checked, the compiler counts the loop as well: a fifth of an allocation's
        // instructions.)
        unsafe { *self.slabs.get_unchecked(index) }
    }

    /// The first slab from position `index` on that is a multiple of `align`, a power of two.
    pub fn first_multiple(&self, index: usize, align: usize) -> Option<SlabIndex> {
        let slabs = self.slabs[..self.count].get(index..)?;
        // Without a division for each.
        let skipped = slabs.iter().position(|slab| slab & (align - 1) == 0)?;
        Some(SlabIndex((index + skipped) as u16))
    }
}

/// The bucket of `x = size − 1`.
#[inline(always)]
const fn bucket(x: usize) -> usize {
    let exponent = (usize::BITS - 1 - (x | 31).leading_zeros()) as usize;
    if x < 32 {
        return x;
    }
    (exponent - 4) * 32 + ((x >> (exponent - 5)) & 31)
}

/// The smallest `x` of a bucket.
pub(super) const fn bucket_start(bucket: usize) -> usize {
    if bucket < 32 {
        return bucket;
    }
    let exponent = bucket / 32 + 4;
    (32 + bucket % 32) << (exponent - 5)
}
