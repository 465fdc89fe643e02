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

use core::ptr::NonNull;

use mallocer_core::{AllocError, Misuse, MisuseKind};

use crate::descriptor::RUN_SHIFT;
use crate::hardened::shuffle;
use crate::heap::Heap;
use crate::leaving::Leaving;
use crate::pool::{FREE, Pool, Slot, locate};
use crate::slab::{Magazine, Magazines, Slab, magazine_bytes};

impl<S: Slot> Heap<S> {
    /// Fills the empty magazine of the slab at `index` with at least one chunk. If
    /// capacity refuses, what the arena and these magazines keep is given up first.
    ///
    /// # Safety
    ///
    /// The arena is attached, the slab has pools, and the magazines are the caller's
    /// own.
    pub(crate) unsafe fn refill(
        &mut self,
        magazines: Magazines<S>,
        index: usize,
    ) -> Result<(), AllocError> {
        self.decay();
        // SAFETY: passed on.
        unsafe {
            match self.try_refill(magazines.at(index), index) {
                Err(AllocError::Capacity { .. }) if self.reclaim(magazines) > 0 => {
                    self.try_refill(magazines.at(index), index)
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
        magazine: *mut Magazine<S>,
        index: usize,
    ) -> Result<(), AllocError> {
        // SAFETY: the magazine is the caller's and empty; `slots` has room for `cap`.
        unsafe {
            if self.fetch(magazine, index) {
                return Ok(());
            }
            self.grow_magazine(magazine, index);
            if (*magazine).cap() == 0 {
                return Err(self.refused(size_of::<S>()));
            }
            debug_assert!((*magazine).len() == 0);
            let wanted = ((*magazine).cap() / 2).max(1);
            let got = self.take_chunks(index, (*magazine).slots(), wanted)?;
            (*magazine).set_len(got);
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
    /// The arena is attached, the slab has pools, and `slots` has room for `wanted`.
    pub(crate) unsafe fn take_chunks(
        &mut self,
        index: usize,
        slots: *mut S,
        wanted: u32,
    ) -> Result<u32, AllocError> {
        let out_state = self.out_state;
        let slab: *mut Slab = self.slab(index);
        let (mut got, mut found) = (0, true);
        // SAFETY: the slab is this arena's, and so are the pools in its list.
        unsafe {
            while got < wanted {
                let mut pool = (*slab).listed;
                if pool.is_null() || (*pool).free == 0 {
                    // Not for the sake of a full batch.
                    if got > 0 {
                        break;
                    }
                    if pool.is_null() {
                        pool = self.new_pool(index)?;
                    }
                    if (*pool).free == 0 {
                        found = false;
                        self.grow_pool(pool)?;
                    }
                }
                let taken = (*pool).take(slots.add(got as usize), wanted - got, out_state);
                got += taken;
                (*slab).free -= taken as usize;
                if !(*pool).has_room() {
                    (*slab).unlist(pool);
                }
            }
        }
        if found {
            self.seen.hit();
        }
        Ok(got)
    }

    /// Makes room in the full magazine of the slab at `index`.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    pub(crate) unsafe fn flush(&mut self, magazine: *mut Magazine<S>, index: usize) {
        self.decay();
        let stride = self.stride(index);
        // SAFETY: the magazine is the caller's; a block taken for it has its room.
        unsafe {
            if self.grow_magazine(magazine, index) {
                return;
            }
            let cap = (*magazine).cap();
            if cap == self.magazines.most(stride)
                && self.slab(index).full < self.magazines.depot(stride)
                && let Some(empty) = self.meta().take(magazine_bytes::<S>(cap))
            {
                self.slab(index).store(magazine, empty.cast().as_ptr());
                return;
            }
            self.put_back(magazine, index, (cap / 2).max(1));
        }
    }

    /// Replaces an empty magazine by a full one from the depot.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    unsafe fn fetch(&mut self, magazine: *mut Magazine<S>, index: usize) -> bool {
        let most = self.magazines.most(self.stride(index));
        let Some(slots) = self.slab(index).fetch(most) else { return false };
        // SAFETY: the magazine is the caller's and empty; its slots are a block that was
        // taken for its room.
        unsafe {
            let (empty, cap) = ((*magazine).slots(), (*magazine).cap());
            if let Some(empty) = NonNull::new(empty) {
                self.meta().give(empty.cast(), magazine_bytes::<S>(cap));
            }
            (*magazine).replace(slots, most, most);
            (*magazine).set_sizes(self.sizes(index));
        }
        true
    }

    /// Puts all chunks of a thread's magazines back into their pools.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    pub(crate) unsafe fn drain(&mut self, magazines: Magazines<S>) {
        for index in 0..self.pooled {
            // SAFETY: passed on; the index is one of the ladder's.
            unsafe {
                let magazine = magazines.at(index);
                self.put_back(magazine, index, (*magazine).len());
            }
        }
    }

    /// Puts all chunks of the depots back into their pools.
    ///
    /// # Safety
    ///
    /// The arena is attached.
    pub(crate) unsafe fn drain_depots(&mut self) {
        for index in 0..self.pooled {
            let mut depot = Magazine::<S>::empty();
            // SAFETY: an empty magazine of the caller's.
            unsafe {
                while self.fetch(&mut depot, index) {
                    self.put_back(&mut depot, index, depot.len());
                }
                if let Some(slots) = NonNull::new(depot.slots()) {
                    self.meta().give(slots.cast(), magazine_bytes::<S>(depot.cap()));
                }
            }
        }
    }

    /// Gives a magazine more room, up to its limit.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    unsafe fn grow_magazine(&mut self, magazine: *mut Magazine<S>, index: usize) -> bool {
        let stride = self.stride(index);
        // SAFETY: the magazine is the caller's; old and new slots are blocks of
        // bookkeeping with room for `old` and `cap` slots.
        unsafe {
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
    /// As [`refill`](Heap::refill), and the magazine has as many.
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
                (*slab).list(pool);
            }
            let full_grown = (*pool).ready == (*pool).count;
            let others = (*slab).free - (*pool).free as usize;
            let enough = (*slab).magazine_most as usize;
            if (*pool).is_empty() && full_grown && others >= enough && !(*pool).kept {
                self.retire(pool, Leaving::Retained);
            }
        }
    }
}
