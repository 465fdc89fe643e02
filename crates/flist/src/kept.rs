//! Extents that a thread keeps at hand.
//!
//! An extent is taken and freed under the arena's lock, out of spans that merge and split.
//! A program that uses buffers of a few sizes would take that way at every call. So a
//! thread keeps the extents that it freed last, a few of each slab, on the shelf of their
//! slab, and takes those back without a lock:
//!
//! ```text
//! shelf of 131 KiB  │ 132 KiB │ 128 KiB │      at most KEPT_BYTES and KEPT_MOST a slab
//! ```
//!
//! There is room only for slabs that come again: once a thread has asked for an extent of a slab of
//! which it has freed one. What is needed once would lie there.
//!
//! An extent at hand is charged, live to the heap, and marked as freed in its first word
//! like any chunk on a shelf. It serves any request of its slab that is not longer, and stays as long
//! as it is: nothing is charged or counted, which would take the lock. So that it serves all of them,
//! an extent of a slab that comes again is made as long as the slab. A sized free can tell
//! the slab of an extent, as of a chunk of a pool, and not the OS page.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::cache::ThreadCache;
use crate::descriptor::{RUN, Tag};
use crate::foreign::foreign_bytes;
use crate::front::{Finder, Front};
use crate::heap::{Heap, LARGEST_POOLED, LARGEST_SHELVED};
use crate::mark::{clear_mark, has_mark, set_mark};
use crate::place::Found;
use crate::pool::{Bare, OS_PAGE, Slot};
use crate::shelf::Shelf;

/// The most extents of one slab that a thread keeps at hand,
const KEPT_MOST: usize = 8;
/// and the most bytes of them.
const KEPT_BYTES: usize = LARGEST_SHELVED;

/// A thread may hold back so many times as much of chunks and extents as of small chunks alone.
const KEPT_SHARE: usize = 2;

impl Front {
    /// An extent of at least `size` bytes from a shelf of this cache.
    #[inline(never)]
    pub(crate) fn take_kept(
        &self,
        cache: *mut ThreadCache,
        size: usize,
        align: usize,
    ) -> Option<NonNull<[u8]>> {
        if align > RUN || !(LARGEST_POOLED + 1..=KEPT_BYTES).contains(&size) {
            return None;
        }
        let bytes = size.next_multiple_of(OS_PAGE);
        // SAFETY: the cache is this thread's. What is on a shelf are live extents of this arena, which
        // nobody else changes meanwhile.
        unsafe {
            // Extents are on the shelf of their own length, not of what was asked for.
            let index = self.first_at_least(bytes);
            let shelf = ThreadCache::shelves::<Bare>(cache).at(index);
            let mut len = 0;
            let Bare(chunk) = (*shelf).pop_foreign(|Bare(chunk)| {
                len = (*self.finder.place.descriptor_of(chunk.addr())).extent_bytes();
                len >= bytes
            })?;
            clear_mark(chunk);
            Some(NonNull::slice_from_raw_parts(NonNull::new_unchecked(chunk), len))
        }
    }

    /// Puts the extent at `address` on a shelf of this cache, if there is one of this arena that is
    /// live, can have been allocated for `size` and `align`, and there is room. An `align` of 0 says
    /// that the layout is not known.
    ///
    /// # Safety
    ///
    /// The cache is this thread's.
    #[inline(never)]
    pub(crate) unsafe fn keep(
        &self,
        cache: *mut ThreadCache,
        address: usize,
        size: usize,
        align: usize,
    ) -> bool {
        let Finder { place, key, .. } = self.finder;
        // SAFETY: the place is the reservation's; found in this arena, so that a live chunk may be
        // read, and is this arena's to write once it is freed.
        unsafe {
            let Some(found) = place.find_any(Tag::from_number(self.tag()), address) else {
                return false;
            };
            let Found { descriptor, chunk, .. } = found;
            if !(*descriptor).pool.is_null() || !found.is_live() || has_mark(chunk, key) {
                return false;
            }
            let slab = (*descriptor).slab as usize;
            let bytes = size.next_multiple_of(OS_PAGE);
            let fits = align == 0
                || align <= RUN
                    && bytes <= (*descriptor).extent_bytes()
                    && self.first_at_least(bytes) == slab;
            let shelf = ThreadCache::shelves::<Bare>(cache).at(slab);
            let kept = fits && (*shelf).push_foreign(Bare(chunk), ptr::null_mut());
            if kept {
                set_mark(chunk, key);
            }
            kept
        }
    }
}

impl<S: Slot> Heap<S> {
    /// Notes that an extent of `bytes` bytes is asked for, which a cache had none of at hand.
    ///
    /// # Safety
    ///
    /// The cache is the caller's own, or null.
    pub(crate) unsafe fn note_wanted(&mut self, cache: *mut ThreadCache, bytes: usize) {
        let index = self.extent_slab(bytes);
        if cache.is_null() || index >= self.shelved {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe { (*ThreadCache::shelves::<S>(cache).at(index)).magazine.note_wanted() };
    }

    /// How long an extent is made that is to hold `bytes` bytes: as long as its slab if those come
    /// again, so that it serves the next request of the slab, whichever that is. Where most of the
    /// capacity is taken, no longer than it must be.
    ///
    /// # Safety
    ///
    /// The cache is the caller's own, or null.
    pub(crate) unsafe fn rounded_to_keep(&self, cache: *mut ThreadCache, bytes: usize) -> usize {
        let index = self.extent_slab(bytes);
        let scarce = self.heap > self.budget.capacity() / 2;
        if S::ALONE || scarce || cache.is_null() || index >= self.shelved {
            return bytes;
        }
        // SAFETY: the caller's promise.
        let wanted = unsafe { (*ThreadCache::shelves::<S>(cache).at(index)).magazine.was_wanted() };
        let whole = self.ladder.slabs()[index] & !(OS_PAGE - 1);
        if wanted { whole.max(bytes) } else { bytes }
    }

    /// Makes room for one more extent of `bytes` bytes on a cache's shelf for the slab at
    /// `index`, unless it has enough, or nobody has asked for another one of that length.
    ///
    /// # Safety
    ///
    /// The cache is the caller's own.
    pub(crate) unsafe fn make_room_to_keep(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
        bytes: usize,
    ) {
        // SAFETY: the caller's promise; blocks are taken for the room they have.
        unsafe {
            let shelf: *mut Shelf<S> = ThreadCache::shelves::<S>(cache).at(index);
            let (slots, len, cap) = (*shelf).foreign();
            let new_cap = cap + 1;
            if index < self.shelved {
                (*shelf).magazine.note_freed();
            }
            if index >= self.shelved
                || !(*shelf).magazine.was_wanted()
                || len < cap
                || new_cap as usize > KEPT_MOST
                || new_cap as usize * bytes > KEPT_BYTES
                || !self.may_hold_back(cache, bytes, KEPT_SHARE)
            {
                return;
            }
            let Some(block) = self.meta().take(foreign_bytes::<S>(new_cap)) else { return };
            let old = (*shelf).replace_foreign(block, new_cap);
            for at in 0..len as usize {
                (*shelf).push_foreign(*slots.add(at), ptr::null_mut());
            }
            if let Some(old) = old {
                self.meta().give(old, foreign_bytes::<S>(cap));
            }
        }
    }

    /// Frees all extents that a cache has at hand.
    ///
    /// # Safety
    ///
    /// The arena is attached, and the cache is the caller's own.
    pub(crate) unsafe fn drain_kept(&mut self, cache: *mut ThreadCache) {
        let Some(reservation) = self.reservation() else { return };
        for index in self.pooled..self.shelved {
            // SAFETY: the shelf is the caller's; what is on it are live extents of this arena.
            unsafe {
                let shelf = ThreadCache::shelves::<S>(cache).at(index);
                while let Some(slot) = (*shelf).pop_foreign(|_| true) {
                    if let Some(run) = reservation.run_of(slot.chunk().addr()) {
                        self.free_extent(self.descriptor(run));
                    }
                }
            }
        }
    }

    /// Bytes of the extents of the slab at `index` that threads have at hand, and how many
    /// there are. While other threads are at work, theirs are counted a little before or
    /// after.
    pub(crate) fn kept(&self, index: usize) -> (usize, usize) {
        let Some(reservation) = self.reservation() else { return (0, 0) };
        let (mut bytes, mut count) = (0, 0);
        if index >= self.shelved {
            return (0, 0);
        }
        let mut cache = self.caches;
        // SAFETY: the list holds this arena's caches, and their shelves extents of it.
        unsafe {
            while !cache.is_null() {
                let (slots, len, _) = (*ThreadCache::shelves::<S>(cache).at(index)).foreign();
                for at in 0..len as usize {
                    // A slot begins with its chunk.
                    let slot = slots.add(at).cast::<*mut u8>();
                    let chunk = AtomicPtr::from_ptr(slot).load(Relaxed);
                    if let Some(run) = reservation.run_of(chunk.addr()) {
                        bytes += (*self.descriptor(run)).extent_bytes();
                        count += 1;
                    }
                }
                cache = (*cache).next;
            }
        }
        (bytes, count)
    }
}
