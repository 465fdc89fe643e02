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
    /// `ceil(2^64 / stride)` of a pool, which is above 2⁴⁸. For an extent the address of its
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
    /// pool, from how many bytes behind its start on no chunk begins in this run that was ever
    /// handed out.
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

    /// Whether `address` is below those places of a pool from which on no chunk was ever
    /// handed out. It may be any address at all: the others are not of this pool, and what
    /// begins before the pool's start is far behind it.
    #[inline(always)]
    pub(crate) fn was_handed(&self, address: usize) -> bool {
        address.wrapping_sub(self.start.addr()) < self.prev.load(Relaxed) as usize
    }

    /// Says that chunks in this run of a pool that begin before `handed`, in bytes from the
    /// pool's start, were handed out; at most where the run ends, so that an address of
    /// another run is not taken for one of this. Others may look at it meanwhile.
    pub(crate) fn set_handed(&self, handed: usize) {
        debug_assert!(u32::try_from(handed).is_ok());
        self.prev.store(handed as u32, Relaxed);
    }

    /// Whether a chunk of a pool begins at `address`, which [`was_handed`](Self::was_handed).
    ///
    /// As `locate` in `pool`, of which this is the half that tells of the remainder.
    #[inline(always)]
    pub(crate) fn begins(&self, address: usize) -> bool {
        let distance = address.wrapping_sub(self.start.addr()) as u64;
        distance.wrapping_mul(self.reciprocal) < self.reciprocal
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
