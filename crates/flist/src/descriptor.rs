//! One descriptor for every run of 64 KiB: from an address to what is there.
//!
//! ```text
//! reservation   │ run 0 │ run 1 │ run 2 │ run 3 │ …        64 KiB each
//! descriptors   │   0   │   1   │   2   │   3   │ …        64 bytes each
//!
//! descriptor(address) = descriptors + (address − base) >> 16
//! ```
//!
//! A pool fills in the descriptor of each of its runs, so one load answers for any
//! address within it. An extent, which may have millions of runs, fills in the first
//! one only: no other address of it is ever valid to free.
//!
//! A free span has its tag at its first and at its last run, and zero between, so
//! that neighbours find each other (Knuth's boundary tags).

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::pool::{OS_PAGE, Pool};

/// Bytes in a run, the unit in which address space is taken.
pub(crate) const RUN: usize = 1 << RUN_SHIFT;
pub(crate) const RUN_SHIFT: u32 = 16;

/// What a run is and whom it belongs to, in one word: `owner << 3 | kind`.
///
/// The owner is an arena's id (0 is the process). Ids are never used again, so a
/// tag that equals an arena's own proves that the run belongs to it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u64);

/// The kind of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Never used, or within a span whose first run says what it is.
    Inner = 0,
    /// Part of a pool, or the first run of an extent.
    Live = 1,
    /// Bookkeeping of an arena.
    Meta = 2,
    /// The first run of a free span that reads as zero.
    Clean = 3,
    /// The first run of a free span that was written to.
    Dirty = 4,
    /// The last run of such spans, if they have several.
    CleanTail = 5,
    DirtyTail = 6,
    /// Part of a pool without magazines, in a shared arena.
    Exact = 7,
}

impl Tag {
    pub(crate) const INNER: Tag = Tag(0);

    pub(crate) const fn new(owner: u64, kind: Kind) -> Tag {
        Tag(owner << 3 | kind as u64)
    }

    /// The tag as a number that is kept elsewhere.
    pub(crate) const fn as_number(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_number(number: u64) -> Tag {
        Tag(number)
    }

    pub(crate) const fn owner(self) -> u64 {
        self.0 >> 3
    }

    pub(crate) fn kind(self) -> Kind {
        match self.0 & 7 {
            1 => Kind::Live,
            2 => Kind::Meta,
            3 => Kind::Clean,
            4 => Kind::Dirty,
            5 => Kind::CleanTail,
            6 => Kind::DirtyTail,
            7 => Kind::Exact,
            _ => Kind::Inner,
        }
    }
}

/// What one run is. All zero bytes is the descriptor of a run that was never used.
///
/// Only the tag may be read by others than the run's owner, since neighbours look
/// at it; the owner alone writes the descriptor. A pool's counts change often and
/// are kept elsewhere, so that this cache line stays shared between all who free.
#[repr(C, align(64))]
pub(crate) struct Descriptor {
    tag: AtomicU64,
    /// First byte of the pool or extent.
    pub(crate) start: *mut u8,
    /// `floor(2^64 / stride) + 1` of a pool, which is above 2⁴⁸. For an extent the address of its
    /// arena's home: any number from 1 to 2⁴⁸ makes only offset 0 of a run exact.
    pub(crate) reciprocal: u64,
    /// State byte of the first chunk; for an extent, `state` below.
    pub(crate) states: *mut u8,
    /// The pool, or null for an extent.
    pub(crate) pool: *mut Pool,
    /// The shelf of the cache that a pool belongs to; where all caches share the pool, how far
    /// their shelves for it are behind their heads; null for a pool without magazines, for an
    /// extent of a shared arena, and for what is neither. So whoever finds a shelf of its own here
    /// has found a live pool of its own; in an arena for one thread, or an extent.
    shelf: AtomicPtr<()>,
    /// Runs in the extent or free span that begins (or, in a tail, ends) here; for a pool,
    /// its slab in bytes.
    pub(crate) runs: u32,
    /// The neighbour before in the list of extents or of free spans, 0 for none; for a
    /// pool, what says which chunks were ever handed out: see [`set_handed`](Self::set_handed).
    prev: AtomicU32,
    /// The neighbour behind.
    pub(crate) next: u32,
    /// Which slab the chunks here belong to; of an extent, which shelf.
    pub(crate) slab: u16,
    /// The state byte of an extent's one chunk.
    pub(crate) state: u8,
    /// OS pages of an extent's last run that are not part of it.
    pub(crate) slack: u8,
}

const _: () = assert!(size_of::<Descriptor>() == 64);

impl Descriptor {
    /// The shelf that a pool belongs to. It may change while others look.
    #[inline(always)]
    pub(crate) fn shelf(&self) -> *mut () {
        self.shelf.load(Relaxed)
    }

    pub(crate) fn set_shelf(&self, shelf: *mut ()) {
        self.shelf.store(shelf, Relaxed);
    }

    pub(crate) fn prev(&self) -> u32 {
        self.prev.load(Relaxed)
    }

    pub(crate) fn set_prev(&self, prev: u32) {
        self.prev.store(prev, Relaxed);
    }

    /// Whether a chunk of a pool that was ever handed out begins at `address`, which may be any
    /// address of user space: one multiplication and one comparison.
    ///
    /// With `c = floor(2^64 / d) + 1`, `c × d` is `2^64 + e`, and `e` is from 1 to `d`. The lower half of
    /// `n × c`, for a distance `n = k × d + r` from the pool's start, is
    ///
    /// ```text
    /// r = 0:   k × e
    /// r > 0:   k × e + r × c      from c to 2^64 − c + k × e + e
    /// ```
    ///
    /// and so below `K × e` exactly for the starts of the first `K` chunks: `d` is at most 2¹⁶, so
    /// `c` is above 2⁴⁸, while `k × e`, being at most `n`, is below 2⁴⁷, and `K × e` below 2³². An address
    /// below the pool's start has a negative distance, and its product is as far below 2⁶⁴ as that
    /// of the positive one is above 0: never below `K × e`. (For the theory see `locate` in `pool`.)
    /// An address that is none of user space passes with a chance of 2⁻³² at most, and is a fault when
    /// it is read.
    #[inline(always)]
    pub(crate) fn begins_handed(&self, address: usize) -> bool {
        let distance = address.wrapping_sub(self.start.addr()) as u64;
        distance.wrapping_mul(self.reciprocal) < self.prev.load(Relaxed).into()
    }

    /// Says that the first `chunks` chunks of a pool, of `stride` bytes each, were handed out; no more
    /// than begin before this run ends, so that the number stays short. Others may look at
    /// it meanwhile.
    pub(crate) fn set_handed(&self, chunks: u32, stride: usize) {
        let excess = self.reciprocal.wrapping_mul(stride as u64);
        let handed = u64::from(chunks) * excess;
        debug_assert!(u32::try_from(handed).is_ok() && excess <= stride as u64);
        self.prev.store(handed as u32, Relaxed);
    }

    /// The length of the chunks here: an extent's committed bytes, a pool's slab.
    #[inline]
    pub(crate) fn chunk_len(&self) -> usize {
        if self.pool.is_null() { self.extent_bytes() } else { self.runs as usize }
    }

    /// Bytes of an extent that are committed: its chunk length.
    pub(crate) fn extent_bytes(&self) -> usize {
        self.runs as usize * RUN - self.slack as usize * OS_PAGE
    }

    /// Makes the descriptor that of an extent of `bytes` bytes, a multiple of an OS page.
    pub(crate) fn set_extent_bytes(&mut self, bytes: usize) {
        self.runs = bytes.div_ceil(RUN) as u32;
        self.slack = ((self.runs as usize * RUN - bytes) / OS_PAGE) as u8;
    }

    #[inline(always)]
    pub(crate) fn tag(&self) -> Tag {
        Tag(self.tag.load(Relaxed))
    }

    #[inline(always)]
    pub(crate) fn set_tag(&self, tag: Tag) {
        self.tag.store(tag.0, Relaxed);
    }
}

/// The table of all descriptors.
#[derive(Clone, Copy)]
pub(crate) struct Descriptors(pub(crate) *mut Descriptor);

impl Descriptors {
    /// The descriptor of run `run`.
    ///
    /// # Safety
    ///
    /// `run` is at most the number of runs (there is one descriptor behind the last).
    #[inline(always)]
    pub(crate) unsafe fn at(self, run: u32) -> *mut Descriptor {
        // SAFETY: the caller keeps `run` within the table.
        unsafe { self.0.add(run as usize) }
    }

    /// The tag of run `run`, whoever owns it.
    ///
    /// # Safety
    ///
    /// As [`at`](Descriptors::at).
    #[inline]
    pub(crate) unsafe fn tag(self, run: u32) -> Tag {
        // SAFETY: `at` is within the table; the tag is atomic, so it may be read while
        // another thread writes it.
        unsafe { Tag((*core::ptr::addr_of!((*self.at(run)).tag)).load(Relaxed)) }
    }

    /// Forgets what `runs` runs from `first` on were.
    ///
    /// # Safety
    ///
    /// As [`at`](Descriptors::at), and the caller owns the runs.
    pub(crate) unsafe fn clear(self, first: u32, runs: u32) {
        for run in first..first + runs {
            // SAFETY: within the table, and ours.
            unsafe {
                (*self.at(run)).set_tag(Tag::INNER);
                (*self.at(run)).set_shelf(core::ptr::null_mut());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::reciprocal;

    /// Whether the answer is that of the definition, for one address.
    fn check(one: &Descriptor, stride: usize, handed: usize, address: usize) {
        let distance = address.checked_sub(one.start.addr());
        let begins = distance.is_some_and(|n| n % stride == 0 && n / stride < handed);
        assert_eq!(one.begins_handed(address), begins, "{address:#x}, {handed} × {stride}");
    }

    #[test]
    fn only_starts_of_chunks_that_were_handed_out_begin_there() {
        const USER: usize = 1 << 47;
        // SAFETY: all zero bytes is the descriptor of a run that was never used.
        let mut one: Descriptor = unsafe { core::mem::zeroed() };
        let mut random = 1_u64;
        for start in [RUN, USER / 3 / RUN * RUN, USER - 64 * RUN] {
            one.start = core::ptr::without_provenance_mut(start);
            for stride in (2..600).chain([1000, 1024, 4095, 4096, 32_768, 65_528, 65_535, RUN]) {
                one.reciprocal = reciprocal(stride);
                for handed in [0, 1, 2, 17, 64 * RUN / stride] {
                    one.set_handed(handed as u32, stride);
                    let mut check = |address: usize| check(&one, stride, handed, address);
                    for k in [0, 1, 2, 16, 17, handed.saturating_sub(1), handed, handed + 1] {
                        (start + k * stride - 1..=start + k * stride + 1).for_each(&mut check);
                    }
                    // Far away, at multiples of the stride and beside them.
                    for power in 17..47 {
                        let far = (1_usize << power).next_multiple_of(stride);
                        for address in [start.wrapping_add(far), start.wrapping_sub(far)] {
                            for near in address.wrapping_sub(1)..=address.wrapping_add(1) {
                                if near < USER {
                                    check(near);
                                }
                            }
                        }
                    }
                    for _ in 0..100 {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        check((random >> 17) as usize);
                    }
                    [0, 1, USER - 1].into_iter().for_each(check);
                }
            }
        }
    }
}
