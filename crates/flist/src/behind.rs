//! What a thread does in a shared arena without a lock, behind its magazines.
//!
//! A fast path that finds a magazine empty or full, or a chunk that is not of the thread's own
//! pools, comes here before it goes to the heap:
//!
//! ```text
//! allocation:  magazine ──empty──▶ depot, extents at hand ──none──▶ inbox ──none──▶ heap
//! free:        own chunk      ──▶ magazine ──full──▶ depot ──full──▶ heap
//!              other thread's ──▶ foreign chunks ───────────full──▶ their owner's inbox, or heap
//!              extent         ──▶ extents at hand ──────────full──▶ heap
//! ```
//!
//! A free takes the short way of `front` first; what is left are extents, found by their arena's
//! tag.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::cache::ThreadCache;
use crate::descriptor::Tag;
use crate::front::{Elsewhere, Front, common_distance};
use crate::heap::{LARGEST_POOLED, aligned_slab};
use crate::mark::has_mark;
use crate::place::Found;
use crate::pool::Bare;

impl Front {
    /// Allocates once the magazine has run empty: from the depot behind it, or an extent; or at an
    /// alignment that not every slab has, also from the magazine.
    #[inline(never)]
    pub(crate) fn alloc_behind(
        &self,
        cache: *mut ThreadCache,
        layout: Layout,
    ) -> Option<NonNull<[u8]>> {
        let (size, align) = (layout.size(), layout.align());
        if self.is_aligned(align) {
            return self.alloc_near(cache, size);
        }
        if size > LARGEST_POOLED {
            return self.take_kept(cache, size, align);
        }
        // SAFETY: the lookup table lives as long as the arena's ladder. The slab has a shelf in the
        // cache, which is this thread's.
        unsafe {
            let index = aligned_slab(&*self.lookup, size, align)?;
            let magazine = ThreadCache::shelves::<Bare>(cache).magazine(index);
            let Some(Bare(chunk)) = (*magazine).pop() else { return self.fetch(cache, index) };
            Some(self.hand_out(chunk, index))
        }
    }

    /// Puts the chunk at `address` on a shelf of this cache, whosever pool it is of, or an extent
    /// among those at hand; `false` if there is no room, or no such chunk. An `align` of 0 says
    /// that the layout is not known.
    #[inline(never)]
    pub(crate) fn free(
        &self,
        cache: *mut ThreadCache,
        address: usize,
        size: usize,
        align: usize,
    ) -> bool {
        let Some(descriptor) = self.finder.some_descriptor(address) else { return false };
        self.free_found(Elsewhere { cache, descriptor }, address, size, align)
    }

    /// The same, of a chunk in the run that was found.
    #[inline(always)]
    pub(crate) fn free_found(
        &self,
        elsewhere: Elsewhere,
        address: usize,
        size: usize,
        align: usize,
    ) -> bool {
        if self.is_aligned(align) {
            let known = (align != 0).then_some(size);
            return self.free_elsewhere(elsewhere, address, known);
        }
        // SAFETY: the cache is this thread's.
        unsafe { self.keep(elsewhere.cache, address, size, align) }
    }

    /// Sends the foreign chunks of this cache, of the slab that the chunk at `address` is of, to the
    /// thread that they are of; `false` if that is not possible without the lock. There is room for
    /// the chunk then.
    pub(crate) fn send(&self, cache: *mut ThreadCache, address: usize) -> bool {
        let Some(descriptor) = self.finder.some_descriptor(address) else { return false };
        // SAFETY: a descriptor with the arena's tag that leads to a shelf is that of a pool of it, whose
        // slab has a shelf in each cache. This one is the thread's.
        unsafe {
            let owner = (*descriptor).shelf();
            if (*descriptor).tag().as_number() != self.tag()
                || owner.is_null()
                || self.finder.is_of(owner, cache)
                || common_distance(owner).is_some()
            {
                return false;
            }
            let slab = (*descriptor).slab as usize;
            (*ThreadCache::shelves::<Bare>(cache).at(slab)).send_foreign(slab)
        }
    }

    /// Takes chunks that other threads have sent into the empty magazine of this cache that serves
    /// `layout`; `false` if there are none, or the lock is needed for it.
    pub(crate) fn receive(&self, cache: *mut ThreadCache, layout: Layout) -> bool {
        if layout.size() > LARGEST_POOLED || !self.is_aligned(layout.align()) {
            return false;
        }
        // SAFETY: the cache is this thread's, and has a shelf for every such size.
        unsafe {
            let shelf = ThreadCache::shelves::<Bare>(cache).at(self.first_at_least(layout.size()));
            (*shelf).magazine.len() == 0 && (*shelf).receive()
        }
    }

    /// Whether a chunk that was freed by the thread of `cache` goes to its magazine.
    #[inline(always)]
    pub(crate) fn is_own(&self, found: Found, cache: *mut ThreadCache) -> bool {
        // SAFETY: the descriptor of a live chunk of this arena.
        unsafe {
            self.finder.is_of((*found.descriptor).shelf(), cache)
                || u32::from((*found.descriptor).slab) >= self.common
        }
    }

    /// Finds the live chunk at `address` in a pool whose chunks carry marks, or an extent.
    #[inline(always)]
    pub(crate) fn find(&self, address: usize) -> Option<Found> {
        // SAFETY: the place is the reservation's. A chunk that is out of its pool may be
        // read, and those under this tag are long enough for a mark.
        unsafe {
            let found = self.finder.place.find_handed(Tag::from_number(self.tag()), address)?;
            (!has_mark(found.chunk, self.finder.key)).then_some(found)
        }
    }
}
