//! Between magazines and pools: chunks by the batch.
//!
//! ```text
//! magazine ──full──▶ depot ──full──▶ pools        flush
//! magazine ◀─empty── depot ◀─empty── pools        refill
//! ```
//!
//! A whole magazine moves to and from the depot by a swap of pointers. Half a magazine
//! at a time moves to and from the pools, so that a program at the edge does not go
//! back and forth.

use core::ptr::{self, NonNull};

use mallocer_core::{AllocError, Misuse, MisuseKind};

use crate::cache::{ANYONE, ThreadCache};
use crate::descriptor::RUN_SHIFT;
use crate::hardened::shuffle;
use crate::heap::Heap;
use crate::leaving::Leaving;
use crate::pool::{FREE, Pool, Slot, locate};
use crate::slab::{Depot, Magazine, Shelf, Slab, foreign_bytes, magazine_bytes};

/// What one thread may hold back beyond its magazines, in bytes of chunks: so much,
const CACHE_BYTES: usize = 2 << 20;
/// or this part of the arena's heap.
const CACHE_SHARE: usize = 8;

/// A cache takes from other threads' pools, before it takes memory, where more is free
/// than this many magazines hold,
const MUCH_MAGAZINES: usize = 4;
/// and than this part of the slab's chunks.
const MUCH_SHARE: usize = 4;

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
            if (*shelf).fetch() || self.receive(shelf, index) {
                return Ok(());
            }
            let magazine = &raw mut (*shelf).magazine;
            self.grow_magazine(cache, index);
            if (*magazine).cap() == 0 {
                return Err(self.refused(size_of::<S>()));
            }
            debug_assert!((*magazine).len() == 0);
            let wanted = ((*magazine).cap() / 2).max(1);
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
        let cache = self.refilled_from(cache, index);
        let slab: *mut Slab = self.slab(index);
        let mut got = 0;
        // SAFETY: slab and shelf are this arena's, and so are the pools in their lists.
        unsafe {
            let shelf = ThreadCache::shelves::<S>(cache).at(index);
            while got < wanted {
                let mut pool = (*shelf).listed;
                if pool.is_null() || (*pool).free == 0 {
                    // Not for the sake of a full batch.
                    if got > 0 {
                        break;
                    }
                    pool = self.pool_with_chunks(cache, index)?;
                } else if got == 0 {
                    self.seen.hit();
                }
                let taken = (*pool).take(slots.add(got as usize), wanted - got, out_state);
                self.note_handed(pool);
                got += taken;
                (*slab).free -= taken as usize;
                if !(*pool).has_room() {
                    let owner = ThreadCache::shelves::<S>((*pool).owner);
                    (*owner.at(index)).unlist(pool);
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
            let pool = (*ThreadCache::shelves::<S>(from).at(index)).listed;
            !pool.is_null()
                && (*pool).free >= wanted
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
                (*table.at((*pool).first_run + run)).set_handed(new);
            }
        }
    }

    /// A pool of the slab at `index` that has a chunk, for a cache of which no pool has:
    /// one that was left by its thread, one of another thread if much is free there, or
    /// else more of its own.
    ///
    /// # Safety
    ///
    /// As [`take_chunks`](Heap::take_chunks).
    #[cold]
    unsafe fn pool_with_chunks(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
    ) -> Result<*mut Pool, AllocError> {
        // SAFETY: passed on; pools in lists are alive.
        unsafe {
            let slab: *mut Slab = self.slab(index);
            let much = (*slab).common
                || (*slab).free > MUCH_MAGAZINES * usize::from((*slab).magazine_most)
                    && (*slab).free > (*slab).ready / MUCH_SHARE;
            if (*slab).free > 0 {
                let found = self.others_pool(cache, index, much);
                if !found.is_null() {
                    self.seen.hit();
                    return Ok(found);
                }
            }
            match self.more_of_own(cache, index) {
                // Then sharing is better than nothing.
                Err(error) => {
                    let found = self.others_pool(cache, index, true);
                    if found.is_null() { Err(error) } else { Ok(found) }
                }
                own => own,
            }
        }
    }

    /// # Safety
    ///
    /// As [`take_chunks`](Heap::take_chunks).
    unsafe fn more_of_own(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
    ) -> Result<*mut Pool, AllocError> {
        // SAFETY: passed on.
        unsafe {
            let mut pool = (*ThreadCache::shelves::<S>(cache).at(index)).listed;
            if pool.is_null() {
                pool = self.new_pool(cache, index)?;
            }
            if (*pool).free == 0 {
                self.grow_pool(pool)?;
            }
            Ok(pool)
        }
    }

    /// A pool of another cache that has a chunk; null if there is none. One that its thread
    /// left, or of which half is free, changes its owner. Those of living threads are
    /// looked at only if `much`.
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
        let mut other = self.caches;
        // SAFETY: the list holds this arena's caches, and theirs this arena's pools.
        unsafe {
            while !other.is_null() {
                let left = (*other).is_left();
                if other != cache && (left || much) {
                    let mut pool = (*ThreadCache::shelves::<S>(other).at(index)).listed;
                    while !pool.is_null() && (*pool).free == 0 {
                        pool = (*pool).next_listed;
                    }
                    if !pool.is_null() {
                        if left || (*pool).free > (*pool).ready / 2 {
                            self.adopt(pool, cache);
                        }
                        return pool;
                    }
                }
                other = (*other).next;
            }
        }
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
            for run in (*pool).first_run..(*pool).first_run + (*pool).runs {
                (*table.at(run)).set_owner(cache);
            }
        }
    }

    /// Makes room in a cache's full magazine of the slab at `index`.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    pub(crate) unsafe fn flush(&mut self, cache: *mut ThreadCache, index: usize) {
        self.decay();
        // SAFETY: the magazine is the caller's; a block taken for it has its room.
        unsafe {
            let shelf = ThreadCache::shelves::<S>(cache).at(index);
            let magazine = &raw mut (*shelf).magazine;
            if self.grow_magazine(cache, index) {
                return;
            }
            self.grow_depot(cache, index);
            if (*shelf).is_depot_full() {
                // Several at once, since the lock is worth more than their places.
                let most = (*magazine).cap();
                (*shelf).empty_half(|slots| self.put_chunks(slots, most, index));
            }
            if !(*shelf).store() {
                let cap = (*magazine).cap();
                self.put_back(magazine, index, (cap / 2).max(1));
            }
        }
    }

    /// Whether a cache may hold back `bytes` more than it does; if so, it is counted.
    ///
    /// # Safety
    ///
    /// The cache is the caller's own.
    pub(crate) unsafe fn may_hold_back(&mut self, cache: *mut ThreadCache, bytes: usize) -> bool {
        let limit = (self.heap / CACHE_SHARE).max(CACHE_BYTES.min(self.magazines.share()));
        // SAFETY: the caller's promise.
        unsafe {
            let fits = (*cache).held_back + bytes <= limit;
            if fits {
                (*cache).held_back += bytes;
            }
            fits
        }
    }

    /// Adds an empty magazine to the depot of a cache's shelf, if it may have more.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    unsafe fn grow_depot(&mut self, cache: *mut ThreadCache, index: usize) {
        let stride = self.stride(index);
        let slab = self.slab(index);
        let (most, depot_most) = (u32::from(slab.magazine_most), u32::from(slab.depot_most));
        let bytes = most as usize * stride;
        // SAFETY: the caller's promise; the blocks are taken for what they are used for.
        unsafe {
            let shelf = ThreadCache::shelves::<S>(cache).at(index);
            if (*shelf).magazine.cap() != most {
                return;
            }
            if (*shelf).depot_len().unwrap_or(0) >= depot_most || !self.may_hold_back(cache, bytes)
            {
                return (*shelf).close_depot();
            }
            if (*shelf).depot_len().is_none() {
                let Some(block) = self.meta().take(size_of::<Depot<S>>()) else { return };
                (*shelf).set_depot(block);
            }
            if let Some(slots) = self.meta().take(magazine_bytes::<S>(most)) {
                (*shelf).add_to_depot(slots.cast().as_ptr());
            }
        }
    }

    /// Makes room among a cache's foreign chunks of the slab at `index`: those that are of
    /// one living thread go to its depot, others to their pools.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    pub(crate) unsafe fn flush_foreign(&mut self, cache: *mut ThreadCache, index: usize) {
        self.decay();
        let most = self.magazines.most(self.stride(index));
        // SAFETY: the shelf is the caller's, and its slots have the room it says. The owner's
        // depot is changed under the lock.
        unsafe {
            let shelf = ThreadCache::shelves::<S>(cache).at(index);
            let (slots, len, cap) = (*shelf).foreign();
            if cap < most {
                let new_cap = self.magazines.larger(cap, self.stride(index));
                let Some(larger) = self.meta().take(foreign_bytes::<S>(new_cap)) else {
                    return self.put_foreign(shelf, index);
                };
                let old = (*shelf).replace_foreign(larger, new_cap);
                for at in 0..len as usize {
                    (*shelf).push_foreign(*slots.add(at));
                }
                if let Some(old) = old {
                    self.meta().give(old, foreign_bytes::<S>(cap));
                }
                return;
            }
            let owner = self.common_owner(slots, len).filter(|&owner| !(*owner).is_left());
            if let Some(owner) = owner {
                let theirs = ThreadCache::shelves::<S>(owner).at(index);
                if self.send(theirs, slots, len, index) {
                    return (*shelf).clear_foreign();
                }
            }
            self.put_foreign(shelf, index);
        }
    }

    /// Sends full many chunks to the inbox of a shelf, which they belong to; `false` if it
    /// takes no more.
    ///
    /// # Safety
    ///
    /// The shelf is this arena's, of the slab at `index`, and all of the chunks are of its
    /// pools, and in no other place.
    unsafe fn send(
        &mut self,
        shelf: *mut Shelf<S>,
        slots: *const S,
        count: u32,
        index: usize,
    ) -> bool {
        let slab = self.slab(index);
        let (most, depot_most) = (u32::from(slab.magazine_most), slab.depot_most);
        if count != most {
            return false;
        }
        let Some(block) = self.meta().take(magazine_bytes::<S>(count)) else { return false };
        let copy = block.cast::<S>().as_ptr();
        // SAFETY: the block has room for as many, and a link.
        unsafe {
            copy.copy_from_nonoverlapping(slots, count as usize);
            let sent = (*shelf).send(copy, count, depot_most);
            if !sent {
                self.meta().give(block, magazine_bytes::<S>(count));
            }
            sent
        }
    }

    /// The cache whose pools all these chunks are of, if it is one.
    ///
    /// # Safety
    ///
    /// They were chunks of this arena's pools.
    unsafe fn common_owner(&self, slots: *const S, count: u32) -> Option<*mut ThreadCache> {
        let reservation = self.reservation()?;
        let (base, table) = (reservation.base().addr().get(), reservation.descriptors());
        // SAFETY: the caller's promise: so every chunk's run has a descriptor.
        let owner_of = |at: u32| unsafe {
            let chunk = (*slots.add(at as usize)).chunk();
            (*table.at(((chunk.addr() - base) >> RUN_SHIFT) as u32)).owner()
        };
        let first = (count > 0).then(|| owner_of(0)).filter(|owner| !owner.is_null())?;
        (1..count).all(|at| owner_of(at) == first).then_some(first)
    }

    /// Puts a shelf's foreign chunks back into their pools.
    ///
    /// # Safety
    ///
    /// The shelf is the caller's own, of the slab at `index`.
    unsafe fn put_foreign(&mut self, shelf: *mut Shelf<S>, index: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let (slots, len, _) = (*shelf).foreign();
            self.put_chunks(slots, len, index);
            (*shelf).clear_foreign();
        }
    }

    /// Replaces a shelf's empty magazine by a full one from its inbox.
    ///
    /// # Safety
    ///
    /// The shelf is the caller's own, of the slab at `index`.
    unsafe fn receive(&mut self, shelf: *mut Shelf<S>, index: usize) -> bool {
        let most = self.magazines.most(self.stride(index));
        // SAFETY: the magazine is the caller's and empty; its slots are a block that was
        // taken for its room.
        unsafe {
            let Some(slots) = (*shelf).receive(most) else { return false };
            let magazine = &raw mut (*shelf).magazine;
            let (empty, cap) = ((*magazine).slots(), (*magazine).cap());
            if let Some(empty) = NonNull::new(empty) {
                self.meta().give(empty.cast(), magazine_bytes::<S>(cap));
            }
            (*magazine).replace(slots.as_ptr(), most, most);
            (*magazine).set_sizes(self.sizes(index));
        }
        true
    }

    /// Puts all chunks that a cache holds back into their pools.
    ///
    /// # Safety
    ///
    /// The arena is attached, and the cache is the caller's own.
    pub(crate) unsafe fn drain(&mut self, cache: *mut ThreadCache) {
        for index in 0..self.pooled {
            // SAFETY: passed on; the index is one of the ladder's.
            unsafe {
                let shelf = ThreadCache::shelves::<S>(cache).at(index);
                let magazine = &raw mut (*shelf).magazine;
                self.put_back(magazine, index, (*magazine).len());
                self.put_foreign(shelf, index);
                self.drain_depot(cache, index);
                self.drain_inbox(shelf, index);
            }
        }
        // SAFETY: passed on.
        unsafe { self.drain_kept(cache) };
    }

    /// Puts all chunks that were sent and not received back into their pools.
    ///
    /// # Safety
    ///
    /// The arena is attached.
    pub(crate) unsafe fn drain_inboxes(&mut self) {
        let mut cache = self.caches;
        // SAFETY: the list holds this arena's caches, whose inboxes change under the lock.
        unsafe {
            while !cache.is_null() {
                for index in 0..self.pooled {
                    self.drain_inbox(ThreadCache::shelves::<S>(cache).at(index), index);
                }
                cache = (*cache).next;
            }
        }
    }

    /// # Safety
    ///
    /// The shelf is one of this arena's, of the slab at `index`.
    unsafe fn drain_inbox(&mut self, shelf: *mut Shelf<S>, index: usize) {
        let most = self.magazines.most(self.stride(index));
        // SAFETY: what is in an inbox are full magazines' slots, each a block of its room.
        unsafe {
            while let Some(slots) = (*shelf).receive(most) {
                self.put_chunks(slots.as_ptr(), most, index);
                self.meta().give(slots.cast(), magazine_bytes::<S>(most));
            }
        }
    }

    /// # Safety
    ///
    /// As [`drain`](Heap::drain).
    unsafe fn drain_depot(&mut self, cache: *mut ThreadCache, index: usize) {
        let stride = self.stride(index);
        let most = self.magazines.most(stride);
        // SAFETY: a depot's block and its magazines' are taken for what they are.
        unsafe {
            let shelf = ThreadCache::shelves::<S>(cache).at(index);
            let Some((block, depot)) = (*shelf).take_depot() else { return };
            let held_back = depot.magazines().count() * most as usize * stride;
            (*cache).held_back = (*cache).held_back.saturating_sub(held_back);
            for (slots, full) in depot.magazines() {
                if full {
                    self.put_chunks(slots, most, index);
                }
                if let Some(slots) = NonNull::new(slots) {
                    self.meta().give(slots.cast(), magazine_bytes::<S>(most));
                }
            }
            self.meta().give(block, size_of::<Depot<S>>());
        }
    }

    /// Gives a magazine more room, up to its limit.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    unsafe fn grow_magazine(&mut self, cache: *mut ThreadCache, index: usize) -> bool {
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
    fn sizes(&self, index: usize) -> core::ops::RangeInclusive<usize> {
        let slabs = self.ladder.slabs();
        let least = if index == 0 { 0 } else { slabs[index - 1] + 1 };
        least..=slabs[index]
    }

    /// Puts the `count` oldest chunks of a magazine back into their pools.
    ///
    /// # Safety
    ///
    /// The magazine is the caller's own, of the slab at `index`, and has as many.
    unsafe fn put_back(&mut self, magazine: *mut Magazine<S>, index: usize, count: u32) {
        if count == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe {
            debug_assert!(count <= (*magazine).len());
            let slots = (*magazine).slots();
            self.put_chunks(slots, count, index);
            let rest = (*magazine).len() - count;
            if rest > 0 {
                slots.copy_from(slots.add(count as usize), rest as usize);
            }
            (*magazine).set_len(rest);
        }
    }

    /// Puts one chunk back into its pool, or notes that it is there already.
    ///
    /// # Safety
    ///
    /// The slot was a chunk of a pool of the slab at `index`.
    pub(crate) unsafe fn put_chunk(&mut self, slot: S, index: usize) {
        // SAFETY: passed on.
        unsafe { self.put_chunks(&slot, 1, index) };
    }

    /// Puts `count` chunks back into their pools. Notes a chunk that is there already.
    ///
    /// Chunks that were freed at random come from another pool each: no branch here
    /// depends on which.
    ///
    /// # Safety
    ///
    /// All were chunks of pools of the slab at `index`.
    unsafe fn put_chunks(&mut self, slots: *const S, count: u32, index: usize) {
        let Some(reservation) = self.reservation() else { return };
        let base = reservation.base().addr().get();
        let table = reservation.descriptors();
        let tag = self.pool_tag(index);
        let slab: *mut Slab = self.slab(index);
        for at in 0..count as usize {
            // SAFETY: the chunk's run has a descriptor. If that is of a pool of this arena,
            // and leads from a chunk to the same state, the chunk is one of that pool.
            unsafe {
                let slot = *slots.add(at);
                let one = table.at(((slot.chunk().addr() - base) >> RUN_SHIFT) as u32);
                let (start, states) = ((*one).start.addr(), (*one).states);
                let (place, exact) =
                    locate(slot.chunk().addr().wrapping_sub(start), (*one).reciprocal);
                let state = states.wrapping_add(place);
                // A chunk that was freed twice may come when it is in its pool already, or
                // its pool is gone.
                let known =
                    (*one).tag() == tag && exact && slot.may_have(state) && !(*one).pool.is_null();
                if !known || *state == FREE {
                    self.note_twice(slot.chunk().addr(), index);
                    continue;
                }
                self.put_known((*one).pool, place as u32, slab);
            }
        }
    }

    /// Puts a chunk back that is known to be out of its pool.
    ///
    /// # Safety
    ///
    /// There is a chunk number `place` of `pool`, which is one of `slab`, one of this
    /// arena's; the pool may be gone afterwards.
    #[inline(always)]
    pub(crate) unsafe fn put_known(&mut self, pool: *mut Pool, place: u32, slab: *mut Slab) {
        // SAFETY: the caller's promise.
        unsafe {
            (*pool).put(place);
            (*slab).free += 1;
            if !(*pool).listed || (*pool).is_empty() {
                self.note_put(pool, slab);
            }
        }
    }

    /// Notes that the chunk at `address` was freed twice. In words at once: what comes
    /// next may dissolve its pool.
    #[cold]
    fn note_twice(&mut self, address: usize, index: usize) {
        let mut misuse = Misuse::new(MisuseKind::DoubleFree, "free", address);
        misuse.chunk = Some(address);
        misuse.slab = Some(self.ladder.slabs()[index]);
        self.twice = Some(misuse);
    }

    /// Lists a pool that chunks came back to, or dissolves it.
    ///
    /// # Safety
    ///
    /// The pool is one of `slab`, which is this arena's, and is not used by the caller
    /// afterwards.
    #[cold]
    unsafe fn note_put(&mut self, pool: *mut Pool, slab: *mut Slab) {
        // SAFETY: the caller's promise.
        unsafe {
            if !(*pool).listed {
                let owner = ThreadCache::shelves::<S>((*pool).owner);
                (*owner.at((*pool).slab as usize)).list(pool);
            }
            let full_grown = (*pool).ready == (*pool).count;
            let others = (*slab).free - (*pool).free as usize;
            let enough = usize::from((*slab).magazine_most);
            if (*pool).is_empty() && full_grown && others >= enough && !(*pool).kept {
                self.retire(pool, Leaving::Retained);
            }
        }
    }
}
