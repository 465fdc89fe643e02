//! What a thread does in a shared arena without a lock: the fast paths.
//!
//! A thread allocates from its own magazine of a slab, and frees to its own shelf of it,
//! whichever thread allocated the chunk: to the magazine if the chunk's pool is its own (or
//! everybody's), else to the chunks that it gathers for other threads. What the fast paths
//! read of the arena is one cache line, which nobody writes after the arena was made, except
//! for its tag, at a release.
//!
//! # Freed twice
//!
//! The one-thread arena writes a state byte at every allocation and free. Here 64
//! chunks' states share a cache line that all threads would write, so the state byte
//! only tells whether a chunk is out of its pool, and changes under the lock. For a
//! chunk in a magazine there is a *mark* in its first word:
//!
//! ```text
//! mark(chunk) = key ⊕ address        key: random for each arena, highest bit set
//! ```
//!
//! written by a free, tested by a free, cleared by an allocation. A chunk with its mark
//! is freed twice; that other data equals it has a chance of 2⁻⁶³. If the program
//! overwrites the mark of a chunk that it freed, or two threads free it at once, the
//! second free passes, and is found when the second copy reaches the pools.
//!
//! A chunk that was never handed out has no mark either. Chunks of a pool are handed out in
//! address order the first time, so its descriptor says up to which number they were.
//!
//! Slabs below eight bytes have no room for a mark. Their pools have another kind of
//! descriptor, which no fast path takes for its own: their state bytes are exact, under
//! the lock.
//!
//! # Shape
//!
//! A fast path either does all of its work or none of it: it says so by its result, and
//! the caller goes to a slow path that begins anew. So nothing is kept across the call,
//! and the fast path needs no stack frame.

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;

use mallocer_core::Table;

use crate::cache::ThreadCache;
use crate::descriptor::Tag;
use crate::heap::LARGEST_SHELVED;
use crate::local::{Lane, used_last};
use crate::place::{CHECKED, Found, Place};
use crate::pool::Bare;
use crate::primitive::AtomicU64;

/// Chunks of fewer bytes have no room for a mark.
pub(crate) const MARK_BYTES: usize = size_of::<u64>();

/// Slabs of this many bytes and more have pools that all threads share: their chunks are
/// so large that neighbours hardly share a cache line.
pub(crate) const COMMON_BYTES: usize = 1024;

/// What the fast paths of a shared arena read.
#[repr(C, align(64))]
pub(crate) struct Front {
    /// The arena's tag, as a number. A release changes it, so that every thread notices.
    pub(crate) tag: AtomicU64,
    pub(crate) place: Place,
    pub(crate) lookup: *const Table,
    /// Alignment that every slab has.
    pub(crate) alignment: usize,
    pub(crate) key: u64,
    /// The first slab whose pools all threads share.
    pub(crate) common: usize,
}

const _: () = assert!(cfg!(mallocer_loom) || size_of::<Front>() == 64);

impl Front {
    #[inline(always)]
    pub(crate) fn tag(&self) -> u64 {
        self.tag.load(Relaxed)
    }

    /// The calling thread's cache in this arena, if it used the arena last. Only this may be
    /// passed to the other methods.
    #[inline(always)]
    pub(crate) fn cache(&self, lane: Lane) -> Option<*mut ThreadCache> {
        let last = used_last(lane);
        // A tag that equals the arena's proves that the cache is one of it.
        (last.tag == self.tag()).then_some(last.cache)
    }

    /// Takes a chunk off one of this cache's magazines.
    #[inline(always)]
    pub(crate) fn alloc(&self, cache: *mut ThreadCache, layout: Layout) -> Option<NonNull<[u8]>> {
        if layout.align() > self.alignment || layout.size() > LARGEST_SHELVED {
            return None;
        }
        // SAFETY: the lookup table lives as long as the arena's ladder; the cache is this
        // thread's, and every index that such a size leads to has a shelf.
        unsafe {
            let lookup = &*self.lookup;
            let index = lookup.first_at_least(layout.size());
            let shelves = ThreadCache::shelves(cache);
            let Bare(chunk) = (*shelves.magazine(index)).pop()?;
            clear_mark(chunk);
            let len = *lookup.slabs.get_unchecked(index);
            Some(NonNull::slice_from_raw_parts(NonNull::new_unchecked(chunk), len))
        }
    }

    /// The same, once the magazine has run empty: from the depot behind it.
    pub(crate) fn alloc_from_depot(
        &self,
        cache: *mut ThreadCache,
        layout: Layout,
    ) -> Option<NonNull<[u8]>> {
        if layout.size() > LARGEST_SHELVED {
            return None;
        }
        // SAFETY: as in `alloc`.
        unsafe {
            let index = (*self.lookup).first_at_least(layout.size());
            let fetched = (*ThreadCache::shelves::<Bare>(cache).at(index)).fetch();
            fetched.then(|| self.alloc(cache, layout)).flatten()
        }
    }

    /// Puts the chunk at `address` on a shelf of this cache; `false` if that cannot be
    /// done here, or there is no such chunk.
    #[inline(always)]
    pub(crate) fn free(&self, cache: *mut ThreadCache, address: usize) -> bool {
        let Some(found) = self.find(address) else { return false };
        // SAFETY: found live in this arena, and the cache is this thread's.
        unsafe { self.push(cache, found) }
    }

    /// The same, if the chunk can have been allocated for `layout`.
    #[inline(always)]
    pub(crate) fn free_sized(
        &self,
        cache: *mut ThreadCache,
        address: usize,
        layout: Layout,
    ) -> bool {
        let Some(found) = self.find(address) else { return false };
        // SAFETY: found live in this arena, so its slab has a shelf, of this thread.
        unsafe {
            let slab = (*found.descriptor).slab as usize;
            (*ThreadCache::shelves::<Bare>(cache).magazine(slab)).serves(layout.size())
                && layout.align() <= self.alignment
                && self.push(cache, found)
        }
    }

    /// The same, once the magazine is full: it goes to the depot behind it. An `align` of 0
    /// says that the layout is not known.
    pub(crate) fn free_to_depot(
        &self,
        cache: *mut ThreadCache,
        address: usize,
        size: usize,
        align: usize,
    ) -> bool {
        let Some(found) = self.find(address) else { return false };
        // SAFETY: found live in this arena, so its slab has a shelf, of this thread.
        unsafe {
            let shelf = ThreadCache::shelves::<Bare>(cache).at((*found.descriptor).slab as usize);
            let fits = align == 0 || (*shelf).magazine.serves(size) && align <= self.alignment;
            fits && self.is_own(found, cache) && (*shelf).store() && self.push(cache, found)
        }
    }

    /// Whether a chunk that was freed by the thread of `cache` goes to its magazine.
    #[inline(always)]
    pub(crate) fn is_own(&self, found: Found, cache: *mut ThreadCache) -> bool {
        // SAFETY: the descriptor of a live chunk of this arena.
        unsafe {
            (*found.descriptor).owner() == cache || (*found.descriptor).slab as usize >= self.common
        }
    }

    /// Finds the live chunk at `address` in a pool whose chunks carry marks, or an extent.
    #[inline(always)]
    pub(crate) fn find(&self, address: usize) -> Option<Found> {
        // SAFETY: the place is the reservation's. A chunk that is out of its pool may be
        // read, and those under this tag are long enough for a mark.
        unsafe {
            let found = self.place.find_handed(Tag::from_number(self.tag()), address)?;
            (!has_mark(found.chunk, self.key)).then_some(found)
        }
    }

    /// Puts a chunk on a shelf of this cache; `false` if there is no room.
    ///
    /// # Safety
    ///
    /// The chunk was found live in this arena, and the cache is this thread's.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, cache: *mut ThreadCache, found: Found) -> bool {
        // SAFETY: the caller's promise: so the chunk's slab has a shelf (for extents it has no
        // room), and the chunk is the arena's to write.
        unsafe {
            let index = (*found.descriptor).slab as usize;
            let shelf = ThreadCache::shelves(cache).at(index);
            let pushed = if self.is_own(found, cache) {
                (*shelf).magazine.push(Bare(found.chunk))
            } else {
                (*shelf).push_foreign(Bare(found.chunk))
            };
            if pushed {
                set_mark(found.chunk, self.key);
            }
            pushed
        }
    }
}

/// Looks at the upper half first: a program that has just written two halves of the word
/// would make a load of the whole wait for both stores to leave the processor.
///
/// # Safety
///
/// The chunk is out of its pool and has room for a mark.
#[inline(always)]
pub(crate) unsafe fn has_mark(chunk: *mut u8, key: u64) -> bool {
    let mark = key ^ chunk.addr() as u64;
    // SAFETY: the caller's promise.
    unsafe {
        CHECKED
            && chunk.add(4).cast::<u32>().read_unaligned() == (mark >> 32) as u32
            && chunk.cast::<u64>().read_unaligned() == mark
    }
}

/// # Safety
///
/// The chunk is the caller's and has room for a mark.
#[inline(always)]
pub(crate) unsafe fn set_mark(chunk: *mut u8, key: u64) {
    if CHECKED {
        // SAFETY: the caller's promise.
        unsafe { chunk.cast::<u64>().write_unaligned(key ^ chunk.addr() as u64) };
    }
}

/// # Safety
///
/// As [`set_mark`].
#[inline(always)]
pub(crate) unsafe fn clear_mark(chunk: *mut u8) {
    if CHECKED {
        // SAFETY: the caller's promise. No mark is zero.
        unsafe { chunk.cast::<u64>().write_unaligned(0) };
    }
}
