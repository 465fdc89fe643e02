//! Chunks by the batch, from magazines to pools and to other threads.
//!
//! ```text
//! magazine ──full──▶ depot ──full──▶ pools
//! foreign chunks ──▶ their owner's inbox, or pools
//! a thread that ends ──▶ foreign chunks to pools; magazines and depots stay, or not: see `warm`
//! a purge ──▶ everything to pools
//! ```
//!
//! Every chunk that reaches its pool is looked at once more: one that is there already was
//! freed twice, and is noted for whoever ends the slow path to tell.

use core::ptr::NonNull;

use mallocer_core::{Misuse, MisuseKind};

use crate::cache::ThreadCache;
use crate::descriptor::RUN_SHIFT;
use crate::foreign::{Foreign, foreign_bytes};
use crate::heap::Heap;
use crate::leaving::Leaving;
use crate::magazine::{Magazine, magazine_bytes};
use crate::pool::{FREE, Pool, Slot, locate};
use crate::post::Post;
use crate::shelf::{Depot, Shelf};
use crate::slab::Slab;

/// What one thread may hold back beyond its magazines, in bytes of chunks, is [so much](crate::magazine::MagazineBounds::share),
/// or this part of the arena's heap.
const CACHE_SHARE: usize = 8;
/// In an arena for one thread, where no lock is spared by it.
const CACHE_SHARE_ALONE: usize = 32;

/// A thread that waits for the lock to put chunks of several other threads back keeps so many of
/// the next ones for itself, as long as it has room: threads that hand chunks to and fro at random
/// would else do little but wait.
const KEPT_FOREIGN: u32 = 4096;

/// Fewer chunks are put back one by one.
const LEAST_ROW: u32 = 8;

impl<S: Slot> Heap<S> {
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
            if self.let_magazine_grow(cache, index) {
                return;
            }
            self.grow_depot(cache, index);
            if (*magazine).is_depot_full() {
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

    /// Whether a cache may hold back `bytes` more than it does, if that is up to so many `times` what
    /// one thread may; if so, it is counted.
    ///
    /// # Safety
    ///
    /// The cache is the caller's own.
    pub(crate) unsafe fn may_hold_back(
        &mut self,
        cache: *mut ThreadCache,
        bytes: usize,
        times: usize,
    ) -> bool {
        let share = if S::ALONE { CACHE_SHARE_ALONE } else { CACHE_SHARE };
        // Of many threads each has its part of that, or they would hold back more than there is.
        let crowd = self.magazines.crowd();
        let least = self.magazines.share() / (crowd / 2).max(1);
        let limit = (self.heap / share / crowd).max(least) * times;
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
            if (*shelf).depot_len().unwrap_or(0) >= depot_most
                || !self.may_hold_back(cache, bytes, 1)
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
    /// one living thread go to its inbox, others to their pools. If the caller `waited` for
    /// that, the next ones may stay with it.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    pub(crate) unsafe fn flush_foreign(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
        waited: bool,
    ) {
        self.decay();
        let parcel = self.parcel(index);
        // SAFETY: the shelf is the caller's, and its slots have the room it says. The owner's
        // inbox is changed under the lock.
        unsafe {
            let shelf = ThreadCache::shelves::<S>(cache).at(index);
            let (slots, len, cap) = (*shelf).foreign();
            if cap < parcel {
                let new_cap = self.magazines.larger(cap, self.stride(index)).min(parcel);
                let Some(larger) = self.meta().take(foreign_bytes::<S>(new_cap)) else {
                    return self.put_foreign(shelf, index);
                };
                // A thread that only frees has no magazine that was told so.
                (*shelf).magazine.set_sizes(self.sizes(index));
                let owner = (*shelf).owner_of_foreign();
                let old = (*shelf).replace_foreign(larger, new_cap);
                for at in 0..len as usize {
                    (*shelf).push_foreign(*slots.add(at), owner);
                }
                if let Some(old) = old {
                    self.meta().give(old, foreign_bytes::<S>(cap));
                }
                return;
            }
            if waited {
                (*shelf).keep_if_mixed(KEPT_FOREIGN);
            }
            if let Some(theirs) = self.owning_shelf(shelf, index)
                && self.send(shelf, theirs, index)
            {
                return;
            }
            self.put_foreign(shelf, index);
        }
    }

    /// How many chunks of the slab at `index` are sent to another thread at once.
    fn parcel(&mut self, index: usize) -> u32 {
        let heap = self.slab(index).heap;
        self.magazines.parcel(self.stride(index), heap)
    }

    /// Sends the full block of foreign chunks to the inbox of the shelf `theirs`, which they belong to,
    /// and goes on with another one; `false` if that takes no more.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill), and both shelves are this arena's, of the slab at `index`.
    unsafe fn send(&mut self, shelf: *mut Shelf<S>, theirs: *mut Shelf<S>, index: usize) -> bool {
        let parcel = self.parcel(index);
        // SAFETY: the caller's promise; blocks are taken for what they become.
        unsafe {
            let (Some(mine), Some(post)) = (self.post(shelf, index), self.post(theirs, index))
            else {
                return false;
            };
            let (_, len, _) = (*shelf).foreign();
            let make = || {
                let block = self.meta().take(foreign_bytes::<S>(parcel))?;
                Some(Foreign::make(block, parcel, mine))
            };
            len >= parcel && (*shelf).hand_over(mine, post, make)
        }
    }

    /// The post of a shelf, which may be another thread's; made if it has none. `None` if there is no
    /// memory for one.
    ///
    /// # Safety
    ///
    /// The shelf is this arena's, of the slab at `index`.
    unsafe fn post(&mut self, shelf: *mut Shelf<S>, index: usize) -> Option<*mut Post<S>> {
        // SAFETY: the caller's promise. Posts are made under the lock alone, one for a shelf.
        unsafe {
            let post = (*shelf).post();
            if !post.is_null() {
                return Some(post);
            }
            let block = self.meta().take(size_of::<Post<S>>())?;
            let post = block.cast::<Post<S>>().as_ptr();
            post.write(Post::new(self.magazines.in_flight(self.stride(index))));
            (*shelf).set_post(post);
            Some(post)
        }
    }

    /// The shelf that all foreign chunks of `shelf` belong to, if it is one, and it is in use.
    ///
    /// # Safety
    ///
    /// The shelf is the caller's own, of the slab at `index`, which threads have pools of for
    /// themselves.
    unsafe fn owning_shelf(&self, shelf: *mut Shelf<S>, index: usize) -> Option<*mut Shelf<S>> {
        // SAFETY: the caller's promise. A descriptor of a chunk led to the owner, so it is a shelf
        // of one of this arena's caches.
        unsafe {
            let owner = NonNull::new((*shelf).owner_of_foreign())?.cast::<Shelf<S>>().as_ptr();
            let left = (*ThreadCache::of_shelf(owner, index)).is_left();
            (!left).then_some(owner)
        }
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

    /// Puts all chunks that a cache holds back into their pools.
    ///
    /// # Safety
    ///
    /// The arena is attached, and the cache is the caller's own.
    pub(crate) unsafe fn drain(&mut self, cache: *mut ThreadCache) {
        for index in 0..self.pooled {
            // SAFETY: passed on; the index is one of the ladder's.
            unsafe { self.drain_own(cache, index) };
        }
        // SAFETY: passed on.
        unsafe { self.drain_all_but_own(cache) };
    }

    /// Puts back what a cache holds of other threads' pools and of those that all share, what was sent
    /// to it, and the extents that it has at hand.
    ///
    /// # Safety
    ///
    /// As [`drain`](Heap::drain).
    pub(crate) unsafe fn drain_all_but_own(&mut self, cache: *mut ThreadCache) {
        for index in 0..self.pooled {
            // SAFETY: passed on; the index is one of the ladder's.
            unsafe {
                if index >= self.common {
                    self.drain_own(cache, index);
                }
                let shelf = ThreadCache::shelves::<S>(cache).at(index);
                self.put_foreign(shelf, index);
                self.drain_inbox(shelf, index, true);
            }
        }
        // SAFETY: passed on.
        unsafe { self.drain_kept(cache) };
    }

    /// Puts back what a cache has in its magazine and depot of the slab at `index`, which has pools.
    ///
    /// # Safety
    ///
    /// As [`drain`](Heap::drain).
    pub(crate) unsafe fn drain_own(&mut self, cache: *mut ThreadCache, index: usize) {
        // SAFETY: passed on.
        unsafe {
            let magazine = ThreadCache::shelves::<S>(cache).magazine(index);
            self.put_back(magazine, index, (*magazine).len());
            self.drain_depot(cache, index);
        }
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
                    let shelf = ThreadCache::shelves::<S>(cache).at(index);
                    self.drain_inbox(shelf, index, (*cache).is_left());
                }
                cache = (*cache).next;
            }
        }
    }

    /// Puts chunks that were sent to a shelf back into their pools. All of them if it is `idle`, else
    /// those that its thread has not yet taken out of the inbox.
    ///
    /// # Safety
    ///
    /// The shelf is one of this arena's, of the slab at `index`. If it is idle, it is the caller's own,
    /// or no thread's.
    pub(crate) unsafe fn drain_inbox(&mut self, shelf: *mut Shelf<S>, index: usize, idle: bool) {
        // SAFETY: a post lives as long as the arena has memory; parcels are full of chunks of
        // pools of this slab.
        unsafe {
            if let Some(post) = (*shelf).post().as_ref() {
                post.empty(idle, |slots, count| self.put_chunks(slots, count, index));
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
        // SAFETY: passed on.
        let row = unsafe { self.put_row(slots, count, index) };
        for at in row as usize..count as usize {
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
                self.put_known((*one).pool, state, slab);
            }
        }
    }

    /// Puts chunks back as long as they are of one pool, if the first and the last of them are; returns
    /// how many.
    ///
    /// # Safety
    ///
    /// As [`put_chunks`](Heap::put_chunks).
    unsafe fn put_row(&mut self, slots: *const S, count: u32, index: usize) -> u32 {
        let Some(reservation) = self.reservation() else { return 0 };
        if count < LEAST_ROW {
            return 0;
        }
        let base = reservation.base().addr().get();
        let table = reservation.descriptors();
        // SAFETY: each chunk's run has a descriptor, and one with this tag is that of a pool of the
        // slab, if it leads to one.
        unsafe {
            let of = |at: u32| {
                let chunk = (*slots.add(at as usize)).chunk();
                table.at(((chunk.addr() - base) >> RUN_SHIFT) as u32)
            };
            let (first, last) = (of(0), of(count - 1));
            let pool = (*first).pool;
            if pool != (*last).pool || pool.is_null() || (*first).tag() != self.pool_tag(index) {
                return 0;
            }
            let put = (*pool).put_row(slots, count, (*first).reciprocal);
            self.slab(index).note_free::<S>(put as isize);
            put
        }
    }

    /// Puts a chunk back that is known to be out of its pool.
    ///
    /// # Safety
    ///
    /// The state byte is that of a chunk of `pool`, which is one of `slab`, one of this
    /// arena's; the pool may be gone afterwards.
    #[inline(always)]
    pub(crate) unsafe fn put_known(&mut self, pool: *mut Pool, state: *mut u8, slab: *mut Slab) {
        // SAFETY: the caller's promise.
        unsafe {
            (*slab).note_free::<S>(1);
            self.put_uncounted(pool, state);
        }
    }

    /// The same, but for the slab's count: all there is to it in an arena for one thread.
    ///
    /// # Safety
    ///
    /// As [`put_known`](Heap::put_known).
    #[inline(always)]
    pub(crate) unsafe fn put_uncounted(&mut self, pool: *mut Pool, state: *mut u8) {
        // SAFETY: passed on.
        unsafe {
            if (*pool).put(state) {
                self.note_put(pool);
            }
        }
    }

    /// Notes that the chunk at `address` was freed twice. In words at once: what comes
    /// next may dissolve its pool.
    #[cold]
    pub(crate) fn note_twice(&mut self, address: usize, index: usize) {
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
    unsafe fn note_put(&mut self, pool: *mut Pool) {
        // SAFETY: the caller's promise.
        unsafe {
            let index = (*pool).slab as usize;
            let shelf = ThreadCache::shelves::<S>((*pool).owner).at(index);
            if !(*pool).listed {
                (*shelf).list(pool);
                (*pool).waited();
            }
            let full_grown = (*pool).ready == (*pool).count;
            if !(*pool).is_empty() || !full_grown || (*pool).kept {
                return;
            }
            let enough = usize::from(self.slab(index).magazine_most);
            if self.others_have(shelf, pool, index, enough) {
                self.retire(pool, Leaving::Retained);
            }
        }
    }

    /// Whether pools of the slab at `index` beside this one have so many chunks: of all caches, or
    /// in an arena for one thread, of this shelf.
    ///
    /// # Safety
    ///
    /// Pool and shelf are this arena's.
    unsafe fn others_have(
        &self,
        shelf: *mut Shelf<S>,
        pool: *mut Pool,
        index: usize,
        enough: usize,
    ) -> bool {
        // SAFETY: the caller's promise; pools in lists are alive.
        unsafe {
            if !S::ALONE {
                return self.free_chunks(index) - (*pool).free() as usize >= enough;
            }
            let (mut others, mut other) = (0, (*shelf).listed());
            while others < enough && !other.is_null() {
                if other != pool {
                    others += (*other).free() as usize;
                }
                other = (*other).next_listed;
            }
            others >= enough
        }
    }
}
