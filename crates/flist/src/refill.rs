//! Chunks by the batch, from pools to magazines.
//!
//! ```text
//! magazine ◀─empty── depot, inbox ◀─empty── pools: own, left by others, new
//! ```
//!
//! What a depot has needs no lock; what is here does. Half a magazine at a time comes from
//! the pools, so that a program at the edge does not go back and forth, and the lowest
//! addresses of a pool first.

use core::ptr::{self, NonNull};

use mallocer_core::AllocError;

use crate::cache::{ANYONE, ThreadCache};
use crate::descriptor::{RUN, RUN_SHIFT};
use crate::hardened::shuffle;
use crate::heap::Heap;
use crate::holes::mark_anew;
use crate::magazine::magazine_bytes;
use crate::pool::{Pool, Slot};
use crate::slab::Slab;

/// A cache takes from other threads' pools, before it takes memory, where more is free
/// than this many magazines hold,
const MUCH_MAGAZINES: usize = 4;
/// or than are so many bytes,
const MUCH_BYTES: usize = 16 << 10;
/// and than this part of the slab's chunks.
const MUCH_SHARE: usize = 4;

/// In a heap with fewer bytes than this, what warm caches have is taken from them one by one. In a larger
/// one they keep it until the heap has grown enough for all of it to be worth a look: threads that come
/// and go would take from each other what the next ones need.
const SMALL_HEAP: usize = 4 << 20;

/// A search of other threads' pools looks at so many caches at most; the next one goes on there,
/// so that thousands of threads do not search each other.
const MOST_LOOKED_AT: usize = 256;

impl<S: Slot> Heap<S> {
    /// Fills a cache's empty magazine of the slab at `index` with at least one chunk. If
    /// capacity refuses, what the arena and this cache keep is given up first.
    ///
    /// # Safety
    ///
    /// The arena is attached, the slab has pools, and the cache is the caller's own.
    pub(crate) unsafe fn refill(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
    ) -> Result<(), AllocError> {
        self.decay();
        // SAFETY: passed on.
        unsafe {
            match self.try_refill(cache, index) {
                Err(AllocError::Capacity { .. } | AllocError::System { .. })
                    if self.reclaim(cache) > 0 =>
                {
                    self.try_refill(cache, index)
                }
                result => result,
            }
        }
    }

    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    unsafe fn try_refill(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
    ) -> Result<(), AllocError> {
        // SAFETY: the magazine is the caller's and empty; `slots` has room for `cap`.
        unsafe {
            let shelf = ThreadCache::shelves::<S>(cache).at(index);
            if (*shelf).fetch() || self.receive(cache, index) {
                return Ok(());
            }
            let magazine = &raw mut (*shelf).magazine;
            self.let_magazine_grow(cache, index);
            if (*magazine).cap() == 0 {
                return Err(self.refused(size_of::<S>()));
            }
            debug_assert!((*magazine).len() == 0);
            let heap = self.slab(index).heap;
            let wanted = self.magazines.refill((*magazine).cap(), self.stride(index), heap);
            let got = self.take_chunks(cache, index, (*magazine).slots(), wanted)?;
            (*magazine).set_len(got);
            let most = (*magazine).cap();
            (*shelf).fill_half(|slots| self.take_ready(cache, index, slots, most));
            if self.disorder != 0 {
                shuffle((*magazine).slots(), got as usize, &mut self.disorder);
            }
        }
        Ok(())
    }

    /// Takes up to `wanted` chunks, and at least one, out of the pools of a slab.
    ///
    /// # Safety
    ///
    /// The arena is attached, the slab has pools, `slots` has room for `wanted`, and the
    /// cache is one of this arena's.
    pub(crate) unsafe fn take_chunks(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
        slots: *mut S,
        wanted: u32,
    ) -> Result<u32, AllocError> {
        let out_state = self.out_state;
        let from = self.refilled_from(cache, index);
        let slab: *mut Slab = self.slab(index);
        let mut got = 0;
        // SAFETY: slab and shelf are this arena's, and so are the pools in their lists.
        unsafe {
            let shelf = ThreadCache::shelves::<S>(from).at(index);
            while got < wanted {
                let mut pool = (*shelf).listed();
                if pool.is_null() || (*pool).free() == 0 {
                    // Not for the sake of a full batch.
                    if got > 0 {
                        break;
                    }
                    pool = self.pool_with_chunks(cache, from, index)?;
                } else if got == 0 {
                    self.seen.hit();
                }
                let taken = (*pool).take(slots.add(got as usize), wanted - got, out_state);
                self.note_handed(pool);
                if !S::ALONE && (*pool).holes > 0 && index >= self.exact {
                    mark_anew(slots.add(got as usize), taken, self.key);
                }
                got += taken;
                (*slab).note_free::<S>(-(taken as isize));
                if !(*pool).has_room() {
                    let owner = ThreadCache::shelves::<S>((*pool).owner);
                    (*owner.at(index)).unlist(pool);
                    (*pool).wait();
                }
            }
        }
        Ok(got)
    }

    /// Takes exactly `wanted` chunks if one pool has them ready; else none.
    ///
    /// # Safety
    ///
    /// As [`take_chunks`](Heap::take_chunks).
    unsafe fn take_ready(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
        slots: *mut S,
        wanted: u32,
    ) -> bool {
        let from = self.refilled_from(cache, index);
        // SAFETY: passed on; a pool in the list is alive.
        unsafe {
            let pool = (*ThreadCache::shelves::<S>(from).at(index)).listed();
            !pool.is_null()
                && (*pool).free() >= wanted
                && self.take_chunks(cache, index, slots, wanted) == Ok(wanted)
        }
    }

    /// The cache whose pools serve `cache`: its own, except for slabs whose pools all share.
    fn refilled_from(&mut self, cache: *mut ThreadCache, index: usize) -> *mut ThreadCache {
        if index < self.common {
            return cache;
        }
        let common = self.cache_of(ANYONE);
        if common.is_null() { cache } else { common }
    }

    /// Notes in the descriptors which chunks of a pool were ever handed out.
    ///
    /// # Safety
    ///
    /// The pool is this arena's.
    #[inline]
    unsafe fn note_handed(&mut self, pool: *mut Pool) {
        // SAFETY: the caller's promise; the runs that chunks begin in are the pool's.
        unsafe {
            let (old, new) = ((*pool).handed, (*pool).hint());
            if new <= old {
                return;
            }
            (*pool).handed = new;
            let table = self.table();
            let run_of = |chunk: u32| ((chunk as usize * (*pool).stride) >> RUN_SHIFT) as u32;
            for run in run_of(old)..=run_of(new - 1) {
                let within = ((run as usize + 1) * RUN).div_ceil((*pool).stride) as u32;
                let descriptor = table.at((*pool).first_run + run);
                (*descriptor).set_handed(new.min(within), (*pool).stride);
            }
        }
    }

    /// A pool of the slab at `index` that has a chunk, for `cache`, if none of those of `from`
    /// has, which serves it: one that was left by its thread, one of another thread if much is
    /// free there, or else more of its own.
    ///
    /// # Safety
    ///
    /// As [`take_chunks`](Heap::take_chunks).
    #[cold]
    unsafe fn pool_with_chunks(
        &mut self,
        cache: *mut ThreadCache,
        from: *mut ThreadCache,
        index: usize,
    ) -> Result<*mut Pool, AllocError> {
        // SAFETY: passed on; pools in lists are alive.
        unsafe {
            if self.heap < SMALL_HEAP {
                self.collect_warm(index);
            }
            let free = self.free_chunks(index);
            let &mut Slab { common, ready, .. } = self.slab(index);
            let much = common || free > self.much(index) && free > ready / MUCH_SHARE;
            if free > 0 {
                let found = self.others_pool(from, index, much);
                if !found.is_null() {
                    self.seen.hit();
                    return Ok(found);
                }
            }
            match self.more_of_own(cache, from, index) {
                // Then sharing is better than nothing.
                Err(error) => {
                    let found = self.others_pool(from, index, true);
                    if found.is_null() { Err(error) } else { Ok(found) }
                }
                own => own,
            }
        }
    }

    /// So many free chunks of the slab at `index` are much.
    fn much(&mut self, index: usize) -> usize {
        let most = usize::from(self.slab(index).magazine_most);
        (MUCH_MAGAZINES * most).min(MUCH_BYTES / self.stride(index))
    }

    /// # Safety
    ///
    /// As [`take_chunks`](Heap::take_chunks).
    unsafe fn more_of_own(
        &mut self,
        cache: *mut ThreadCache,
        from: *mut ThreadCache,
        index: usize,
    ) -> Result<*mut Pool, AllocError> {
        // SAFETY: passed on.
        unsafe {
            let shelf = ThreadCache::shelves::<S>(from).at(index);
            let main = self.is_main(index);
            if main || (*shelf).listed().is_null() {
                self.scavenge(cache);
            }
            let mut pool = (*shelf).listed();
            if main
                && (pool.is_null() || (*pool).free() == 0)
                && let Some(retained) = self.retained_pool(from, index)?
            {
                // Rather than more of a pool that has room, which is fresh memory.
                return Ok(retained);
            }
            if pool.is_null() {
                pool = self.new_pool(from, index)?;
            }
            if (*pool).free() == 0 {
                self.grow_pool(pool)?;
            }
            Ok(pool)
        }
    }

    /// A pool of another cache that has a chunk; null if there is none. One that its thread
    /// left, or of which half is free, changes its owner. Those of living threads are
    /// looked at only if `much`, and not all of them at once if they are many.
    ///
    /// # Safety
    ///
    /// As [`take_chunks`](Heap::take_chunks).
    unsafe fn others_pool(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
        much: bool,
    ) -> *mut Pool {
        let mut other = self.next_looked_at;
        if other.is_null() {
            other = self.caches;
        }
        let mut looked_at = 0;
        // SAFETY: the list holds this arena's caches, and theirs this arena's pools.
        unsafe {
            while !other.is_null() && looked_at < MOST_LOOKED_AT {
                looked_at += 1;
                let warm = self.heap >= SMALL_HEAP && self.warm.has(other);
                let left = (*other).is_left() && !warm;
                if other != cache && (left || much) {
                    if left {
                        // A parcel may have come when its thread had just left.
                        let shelf = ThreadCache::shelves::<S>(other).at(index);
                        self.drain_inbox(shelf, index, true);
                    }
                    let mut pool = (*ThreadCache::shelves::<S>(other).at(index)).listed();
                    while !pool.is_null() && (*pool).free() == 0 {
                        pool = (*pool).next_listed;
                    }
                    if !pool.is_null() {
                        if left || (*pool).free() > (*pool).ready / 2 {
                            self.adopt(pool, cache);
                        }
                        return pool;
                    }
                }
                other = (*other).next;
            }
        }
        self.next_looked_at = other;
        ptr::null_mut()
    }

    /// Makes a pool that has room one of `cache`.
    ///
    /// # Safety
    ///
    /// Pool and cache are this arena's, and the pool is listed.
    unsafe fn adopt(&mut self, pool: *mut Pool, cache: *mut ThreadCache) {
        let table = self.table();
        // SAFETY: the caller's promise. Descriptors of a pool's runs are this arena's; a
        // thread that frees at this moment sees the old or the new owner, and both will do.
        unsafe {
            let index = (*pool).slab as usize;
            (*ThreadCache::shelves::<S>((*pool).owner).at(index)).unlist(pool);
            (*pool).owner = cache;
            let shelf = ThreadCache::shelves::<S>(cache).at(index);
            (*shelf).own(pool);
            if index >= self.common {
                return;
            }
            for run in (*pool).first_run..(*pool).first_run + (*pool).runs {
                (*table.at(run)).set_shelf(shelf.cast());
            }
        }
    }

    /// Takes parcels from a cache's inbox of the slab at `index`, as many as its magazine has
    /// room for; `false` if there are none.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    unsafe fn receive(&mut self, cache: *mut ThreadCache, index: usize) -> bool {
        let count = self.magazines.largest_parcel(self.stride(index));
        // SAFETY: shelf and magazine are the caller's.
        unsafe {
            let shelf = ThreadCache::shelves::<S>(cache).at(index);
            if (*shelf).sent_here() == 0 {
                return false;
            }
            while (*shelf).magazine.cap() < count {
                if !self.grow_magazine(cache, index) {
                    return false;
                }
            }
            (*shelf).receive()
        }
    }

    /// Gives a magazine more room, up to its limit, if it has none, or the magazines of the cache
    /// together have not as much as they may.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    pub(crate) unsafe fn let_magazine_grow(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
    ) -> bool {
        // SAFETY: passed on.
        unsafe {
            let cap = (*ThreadCache::shelves::<S>(cache).magazine(index)).cap();
            if let Some(most) = self.magazines.room()
                && cap > 0
            {
                let more = self.magazines.larger(cap, self.stride(index)) - cap;
                if self.magazine_room(cache) + more as usize * self.stride(index) > most {
                    return false;
                }
            }
            self.grow_magazine(cache, index)
        }
    }

    /// For how many bytes of chunks the magazines of a cache have room.
    ///
    /// # Safety
    ///
    /// The cache is this arena's.
    pub(crate) unsafe fn magazine_room(&self, cache: *mut ThreadCache) -> usize {
        let shelves = ThreadCache::shelves::<S>(cache);
        // SAFETY: there is a shelf for each of these slabs.
        let room =
            |index| unsafe { (*shelves.magazine(index)).cap() as usize * self.stride(index) };
        (0..self.pooled).map(room).sum()
    }

    /// Gives a magazine more room, up to its own limit.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    pub(crate) unsafe fn grow_magazine(&mut self, cache: *mut ThreadCache, index: usize) -> bool {
        let stride = self.stride(index);
        // SAFETY: the magazine is the caller's; old and new slots are blocks of
        // bookkeeping with room for `old` and `cap` slots.
        unsafe {
            let magazine = ThreadCache::shelves::<S>(cache).magazine(index);
            let (old_slots, old, len) = ((*magazine).slots(), (*magazine).cap(), (*magazine).len());
            let cap = self.magazines.larger(old, stride);
            if cap == old {
                return false;
            }
            let Some(slots) = self.meta().take(magazine_bytes::<S>(cap)) else {
                return false;
            };
            let slots = slots.cast::<S>().as_ptr();
            if let Some(old_slots) = NonNull::new(old_slots) {
                slots.copy_from_nonoverlapping(old_slots.as_ptr(), len as usize);
                self.meta().give(old_slots.cast(), magazine_bytes::<S>(old));
            }
            (*magazine).replace(slots, cap, len);
            (*magazine).set_sizes(self.sizes(index));
        }
        true
    }

    /// The requests that the slab at `index` serves at its own alignment, in bytes.
    pub(crate) fn sizes(&self, index: usize) -> core::ops::RangeInclusive<usize> {
        let slabs = self.ladder.slabs();
        let least = if index == 0 { 0 } else { slabs[index - 1] + 1 };
        least..=slabs[index]
    }
}
