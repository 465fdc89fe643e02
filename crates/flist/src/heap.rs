//! The heap behind the magazines: pools by slab, retained memory, the budget.
//!
//! Everything here is a slow path: a magazine that ran empty or full, an extent,
//! statistics, release. The central equation is that of capacity:
//!
//! ```text
//! heap = Σ charged(pool) + Σ bytes(extent) + RUN × runs(retained)
//! budget ≥ heap at every time: charged before it is used, refunded after
//! ```
//!
//! Memory stays with the arena: a pool that is empty and fully charged becomes a
//! retained span, from which any slab's next pool, or an extent, is cut before the
//! process is asked for more.

use core::ptr::{self, NonNull};
use core::time::Duration;

use mallocer_core::{AllocError, Budget, Config, Hints, Info, Ladder, SlabUse};

use crate::cache::ThreadCache;
use crate::descriptor::{Descriptor, Descriptors, Kind, RUN, RUN_SHIFT, Tag};
use crate::meta::Meta;
use crate::os;
use crate::pool::{FREE, OS_PAGE, Pool, Slot, reciprocal};
use crate::reservation::{Reservation, Taken};
use crate::slab::{Magazine, MagazineBounds, Magazines, Slab, magazine_bytes};
use crate::spans::{Span, Spans};

/// Slabs up to this many bytes are served from pools, larger ones as extents.
pub(crate) const LARGEST_POOLED: usize = 32 << 10;

/// A new pool has room for this many chunks at least, where the limits allow.
const LEAST_CHUNKS: usize = 8;

/// And takes this many runs at most: 4 MiB.
const MOST_RUNS: usize = (4 << 20) / RUN;

/// What the first step of a pool charges in an arena that is known to grow.
const GROWING_STEP: usize = 64 << 10;

/// Where a request is served from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// The pools of the slab at this index.
    Pool(usize),
    /// An extent of its own.
    Extent,
    /// Nowhere: it is above the largest slab.
    Nowhere,
}

/// The pools, extents and retained memory of one arena.
pub(crate) struct Heap {
    pub(crate) id: u64,
    pub(crate) ladder: Ladder,
    /// How many slabs are served from pools.
    pub(crate) pooled: usize,
    pub(crate) budget: Budget,
    /// `None` until the first allocation, and after a release.
    attached: Option<Attached>,
    /// All pools.
    pools: *mut Pool,
    /// The first run of the first extent; 0 for none.
    pub(crate) extents: u32,
    /// Empty memory, charged in full.
    pub(crate) retained: Spans,
    retained_since_ms: u64,
    /// Bytes charged.
    pub(crate) heap: usize,
    /// Runs taken from the process for pools, extents and retained memory.
    pub(crate) runs: usize,
    /// The state byte of a chunk that is out of its pool, but not known to be live: the
    /// one-thread arena tells chunks in magazines from live ones by it, the shared arena
    /// does not (see `shared`).
    out_state: u8,
    /// A chunk that was in a magazine and in its pool at once, since the last look:
    /// freed twice.
    pub(crate) twice: Option<usize>,
    /// The magazines of the arena's threads, of its only one first of all.
    pub(crate) caches: *mut ThreadCache,
    magazines: MagazineBounds,
    max_pools: usize,
    max_chunks: usize,
    hints: Hints,
    decay: Option<Duration>,
}

/// What an arena that has memory has: a place in the process, and bookkeeping.
struct Attached {
    reservation: &'static Reservation,
    meta: Meta,
    slabs: *mut Slab,
}

impl Heap {
    pub(crate) fn new(config: &Config, id: u64, budget: Budget, out_state: u8) -> Heap {
        let slabs = config.ladder.slabs();
        Heap {
            id,
            pooled: slabs.partition_point(|&slab| slab <= LARGEST_POOLED),
            ladder: config.ladder.clone(),
            budget,
            attached: None,
            pools: ptr::null_mut(),
            extents: 0,
            retained: Spans::new(id, Kind::Dirty),
            retained_since_ms: 0,
            heap: 0,
            runs: 0,
            out_state,
            twice: None,
            caches: ptr::null_mut(),
            magazines: MagazineBounds::new(config.capacity),
            max_pools: config.max_pools,
            max_chunks: config.max_chunks,
            hints: config.hints,
            decay: config.decay,
        }
    }

    /// The place in the process, once something was allocated.
    pub(crate) fn reservation(&self) -> Option<&'static Reservation> {
        Some(self.attached.as_ref()?.reservation)
    }

    /// The descriptor of a run.
    ///
    /// # Safety
    ///
    /// The arena is attached, and `run` is within the reservation.
    pub(crate) unsafe fn descriptor(&self, run: u32) -> *mut Descriptor {
        // SAFETY: passed on.
        unsafe { self.table().at(run) }
    }

    pub(crate) fn table(&self) -> Descriptors {
        self.reservation().expect("the arena has memory").descriptors()
    }

    /// The slab at `index`, which is at most the number of slabs. The arena is attached.
    pub(crate) fn slab(&mut self, index: usize) -> &mut Slab {
        let attached = self.attached.as_ref().expect("the arena has memory");
        assert!(index <= self.ladder.slabs().len());
        // SAFETY: the table has one slab for each of the ladder and one behind, and the
        // heap is borrowed mutably.
        unsafe { &mut *attached.slabs.add(index) }
    }

    /// Where a request for `size` bytes at `align` is served from.
    pub(crate) fn route(&self, size: usize, align: usize) -> Route {
        let table = self.ladder.lookup();
        let index = table.first_at_least(size);
        if index == table.count {
            return Route::Nowhere;
        }
        if align <= table.alignment {
            return if index < self.pooled { Route::Pool(index) } else { Route::Extent };
        }
        // A slab that is aligned far enough may be much larger than the request.
        match table.first_multiple(index, align) {
            Some(at)
                if at.get() < self.pooled
                    && table.slabs[at.get()] <= size.saturating_mul(2).max(OS_PAGE) =>
            {
                Route::Pool(at.get())
            }
            _ => Route::Extent,
        }
    }

    /// Finds the arena a place in the process, and memory for its slabs.
    pub(crate) fn attach(&mut self) -> Result<&'static Reservation, AllocError> {
        if let Some(attached) = &self.attached {
            return Ok(attached.reservation);
        }
        let bytes = (self.ladder.slabs().len() + 1) * size_of::<Slab>();
        let reservation = Reservation::get().ok_or_else(|| self.refused(bytes))?;
        let mut meta = Meta::new(reservation, self.id);
        let slabs = meta.take_zeroed(bytes).ok_or_else(|| self.refused(bytes))?;
        self.attached = Some(Attached { reservation, meta, slabs: slabs.cast().as_ptr() });
        Ok(reservation)
    }

    pub(crate) fn refused(&self, requested: usize) -> AllocError {
        AllocError::System { requested, used: self.heap, limit: self.budget.capacity() }
    }

    pub(crate) fn meta(&mut self) -> &mut Meta {
        &mut self.attached.as_mut().expect("the arena has memory").meta
    }

    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), AllocError> {
        self.budget.charge(bytes)?;
        self.heap += bytes;
        Ok(())
    }

    pub(crate) fn refund(&mut self, bytes: usize) {
        self.heap -= bytes;
        self.budget.refund(bytes);
    }

    /// Fills the empty magazine of the slab at `index` with at least one chunk. If
    /// capacity refuses, what the arena and these magazines keep is given up first.
    ///
    /// # Safety
    ///
    /// The arena is attached, the slab has pools, and the magazines are the caller's
    /// own.
    pub(crate) unsafe fn refill(
        &mut self,
        magazines: Magazines,
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
        magazine: *mut Magazine,
        index: usize,
    ) -> Result<(), AllocError> {
        // SAFETY: the magazine is the caller's and empty; `slots` has room for `cap`.
        unsafe {
            if self.fetch(magazine, index) {
                return Ok(());
            }
            self.grow_magazine(magazine, index);
            if (*magazine).cap() == 0 {
                return Err(self.refused(size_of::<Slot>()));
            }
            debug_assert!((*magazine).len() == 0);
            let wanted = ((*magazine).cap() / 2).max(1);
            let got = self.take_chunks(index, (*magazine).slots(), wanted)?;
            (*magazine).set_len(got);
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
        slots: *mut Slot,
        wanted: u32,
    ) -> Result<u32, AllocError> {
        let out_state = self.out_state;
        let slab: *mut Slab = self.slab(index);
        let mut got = 0;
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
                        self.grow_pool(pool)?;
                    }
                }
                let taken = (*pool).take(slots.add(got as usize), wanted - got, out_state);
                got += taken;
                (*slab).free -= taken as usize;
                (*slab).out += taken as usize;
                if !(*pool).has_room() {
                    (*slab).unlist(pool);
                }
            }
        }
        Ok(got)
    }

    /// Makes room in the full magazine of the slab at `index`.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    pub(crate) unsafe fn flush(&mut self, magazine: *mut Magazine, index: usize) {
        self.decay();
        let stride = self.stride(index);
        // SAFETY: the magazine is the caller's; a block taken for it has its room.
        unsafe {
            if self.grow_magazine(magazine, index) {
                return;
            }
            let cap = (*magazine).cap();
            if self.slab(index).full < self.magazines.depot(stride)
                && let Some(empty) = self.meta().take(magazine_bytes(cap))
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
    unsafe fn fetch(&mut self, magazine: *mut Magazine, index: usize) -> bool {
        let most = self.magazines.most(self.stride(index));
        let Some(slots) = self.slab(index).fetch(most) else { return false };
        // SAFETY: the magazine is the caller's and empty; its slots are a block that was
        // taken for its room.
        unsafe {
            let (empty, cap) = ((*magazine).slots(), (*magazine).cap());
            if let Some(empty) = NonNull::new(empty) {
                self.meta().give(empty.cast(), magazine_bytes(cap));
            }
            (*magazine).replace(slots, most, most);
        }
        true
    }

    /// Puts all chunks of a thread's magazines back into their pools.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    pub(crate) unsafe fn drain(&mut self, magazines: Magazines) {
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
    unsafe fn drain_depots(&mut self) {
        for index in 0..self.pooled {
            let mut depot = Magazine::empty();
            // SAFETY: an empty magazine of the caller's.
            unsafe {
                while self.fetch(&mut depot, index) {
                    self.put_back(&mut depot, index, depot.len());
                }
                if let Some(slots) = NonNull::new(depot.slots()) {
                    self.meta().give(slots.cast(), magazine_bytes(depot.cap()));
                }
            }
        }
    }

    /// Gives a magazine more room, up to its limit.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill).
    unsafe fn grow_magazine(&mut self, magazine: *mut Magazine, index: usize) -> bool {
        let stride = self.stride(index);
        // SAFETY: the magazine is the caller's; old and new slots are blocks of
        // bookkeeping with room for `old` and `cap` slots.
        unsafe {
            let (old_slots, old, len) = ((*magazine).slots(), (*magazine).cap(), (*magazine).len());
            let cap = self.magazines.larger(old, stride);
            if cap == old {
                return false;
            }
            let Some(slots) = self.meta().take(magazine_bytes(cap)) else {
                return false;
            };
            let slots = slots.cast::<Slot>().as_ptr();
            if let Some(old_slots) = NonNull::new(old_slots) {
                slots.copy_from_nonoverlapping(old_slots.as_ptr(), len as usize);
                self.meta().give(old_slots.cast(), magazine_bytes(old));
            }
            (*magazine).replace(slots, cap, len);
        }
        true
    }

    /// Puts the `count` oldest chunks of a magazine back into their pools.
    ///
    /// # Safety
    ///
    /// As [`refill`](Heap::refill), and the magazine has as many.
    unsafe fn put_back(&mut self, magazine: *mut Magazine, index: usize, count: u32) {
        if count == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe {
            debug_assert!(count <= (*magazine).len());
            for at in 0..count as usize {
                self.put_chunk(*(*magazine).slots().add(at), index);
            }
            let rest = (*magazine).len() - count;
            if rest > 0 {
                let slots = (*magazine).slots();
                slots.copy_from(slots.add(count as usize), rest as usize);
            }
            (*magazine).set_len(rest);
        }
    }

    /// Puts one chunk back into its pool, or notes that it is there already.
    ///
    /// # Safety
    ///
    /// The slot is a chunk of a pool of the slab at `index`.
    pub(crate) unsafe fn put_chunk(&mut self, slot: Slot, index: usize) {
        let Some(reservation) = self.reservation() else { return };
        let base = reservation.base().addr().get();
        let enough = self.magazines.most(self.stride(index)) as usize;
        let slab: *mut Slab = self.slab(index);
        // SAFETY: the chunk's run has a descriptor that leads to its pool.
        unsafe {
            if *slot.state == FREE {
                self.twice = Some(slot.chunk.addr());
                return;
            }
            let run = (slot.chunk.addr() - base) >> RUN_SHIFT;
            let pool = (*self.descriptor(run as u32)).pool;
            (*pool).put(slot);
            (*slab).free += 1;
            (*slab).out -= 1;
            if !(*pool).listed {
                (*slab).list(pool);
            }
            let full_grown = (*pool).ready == (*pool).count;
            let others = (*slab).free - (*pool).free as usize;
            if (*pool).is_empty() && full_grown && others >= enough {
                self.retire(pool, Leaving::Retained);
            }
        }
    }

    /// Bytes from one chunk of a slab to the next: its size, except that two chunks
    /// of one byte do not share an address pair (the reciprocal of 1 has no 64 bits).
    pub(crate) fn stride(&self, index: usize) -> usize {
        self.ladder.slabs()[index].max(2)
    }

    /// Takes a pool for the slab at `index`, nothing of it charged unless it comes
    /// from retained memory; puts it first in the slab's list.
    fn new_pool(&mut self, index: usize) -> Result<*mut Pool, AllocError> {
        let reservation = self.attach()?;
        let table = reservation.descriptors();
        let stride = self.stride(index);
        let pools = self.slab(index).pools;
        if pools as usize >= self.max_pools {
            let slab = self.ladder.slabs()[index];
            return Err(AllocError::PoolLimit { slab, pools: pools as usize });
        }
        let least = (LEAST_CHUNKS.min(self.max_chunks) * stride).div_ceil(RUN);
        let most = (self.max_chunks * stride).div_ceil(RUN).clamp(least, MOST_RUNS);
        let runs = (least << pools.min(6)).min(most);

        // SAFETY: the retained store is this arena's.
        let retained = unsafe {
            let taken = self.retained.take(table, runs as u32, 1, 0);
            taken.or_else(|| self.retained.take(table, least as u32, 1, 0))
        };
        let span = match retained {
            Some(span) => span,
            None => {
                let Taken { span, .. } =
                    reservation.take(runs as u32, RUN).ok_or_else(|| self.refused(runs * RUN))?;
                self.runs += runs;
                span
            }
        };
        let count = (span.runs as usize * RUN / stride).min(self.max_chunks);
        let record = self.meta().take(size_of::<Pool>());
        let states = self.meta().take_zeroed(states_bytes(count));
        let (Some(record), Some(states)) = (record, states) else {
            // SAFETY: the blocks and the span were taken above and are not used.
            unsafe {
                if let Some(record) = record {
                    self.meta().give(record, size_of::<Pool>());
                }
                self.leave(span, retained.is_some(), Leaving::Process);
            }
            return Err(self.refused(states_bytes(count)));
        };
        let pool = record.cast::<Pool>().as_ptr();
        let start = reservation.start_of(span.first);
        let tag = Tag::new(self.id, Kind::Live);
        // SAFETY: record, states and span are ours; every run of the span has a
        // descriptor, which nobody else writes.
        unsafe {
            let runs = (span.first, span.runs);
            pool.write(Pool::new(start, states, stride, index as u16, runs, count as u32));
            for run in span.first..span.end() {
                let descriptor = table.at(run);
                (*descriptor).start = start.as_ptr();
                (*descriptor).reciprocal = reciprocal(stride);
                (*descriptor).states = states.as_ptr();
                (*descriptor).pool = pool;
                (*descriptor).slab = index as u16;
                (*descriptor).set_tag(tag);
            }
            (*pool).next = self.pools;
            if !self.pools.is_null() {
                (*self.pools).prev = pool;
            }
            self.pools = pool;
            if retained.is_some() {
                (*pool).grow(span.runs as usize * RUN);
            }
            let (free, charged) = ((*pool).free as usize, (*pool).charged);
            let slab = self.slab(index);
            slab.pools += 1;
            slab.free += free;
            slab.heap += charged;
            slab.list(pool);
        }
        Ok(pool)
    }

    /// Charges the next step of a pool, the smallest possible if capacity is short.
    ///
    /// # Safety
    ///
    /// The pool is this arena's, and has chunks that are not ready.
    unsafe fn grow_pool(&mut self, pool: *mut Pool) -> Result<(), AllocError> {
        let ahead = self.hints.contains(Hints::GROWING) || self.hints.contains(Hints::HOT);
        let least = if ahead { GROWING_STEP } else { OS_PAGE };
        // SAFETY: the caller's promise.
        unsafe {
            let slab_heap = self.slab((*pool).slab as usize).heap;
            let mut step = (*pool).next_step(slab_heap, least);
            if self.charge(step).is_err() {
                step = ((*pool).ready as usize + 1) * (*pool).stride;
                step = step.next_multiple_of(OS_PAGE) - (*pool).charged;
                self.charge(step)?;
            }
            let ready = (*pool).ready;
            (*pool).grow(step);
            let more = ((*pool).ready - ready) as usize;
            let slab = self.slab((*pool).slab as usize);
            slab.heap += step;
            slab.free += more;
        }
        Ok(())
    }

    /// Dissolves a pool of which every chunk is free.
    ///
    /// # Safety
    ///
    /// The pool is this arena's and empty; it is gone afterwards.
    unsafe fn retire(&mut self, pool: *mut Pool, leaving: Leaving) {
        let table = self.table();
        // SAFETY: the caller's promise; neighbours in the list are alive.
        unsafe {
            debug_assert!((*pool).is_empty());
            let Pool { states, charged, first_run, runs, count, free, slab, prev, next, .. } =
                pool.read();
            let slab = self.slab(slab as usize);
            slab.unlist(pool);
            slab.pools -= 1;
            slab.free -= free as usize;
            slab.heap -= charged;
            if prev.is_null() {
                self.pools = next;
            } else {
                (*prev).next = next;
            }
            if !next.is_null() {
                (*next).prev = prev;
            }
            table.clear(first_run, runs);
            let meta = self.meta();
            if let Some(states) = NonNull::new(states) {
                meta.give(states, states_bytes(count as usize));
            }
            if let Some(pool) = NonNull::new(pool) {
                meta.give(pool.cast(), size_of::<Pool>());
            }
            let span = Span::new(first_run, runs);
            let full = charged == span.runs as usize * RUN;
            if !full {
                self.refund(charged);
            }
            self.leave(span, full, leaving);
        }
    }

    /// Puts a span that is not used any more where it is to go. If it is `charged`,
    /// then in full.
    ///
    /// # Safety
    ///
    /// The span is this arena's, with its descriptors cleared.
    pub(crate) unsafe fn leave(&mut self, span: Span, charged: bool, leaving: Leaving) {
        let Some(reservation) = self.reservation() else { return };
        if charged && leaving == Leaving::Retained {
            if self.retained.runs() == 0 && self.decay.is_some() {
                self.retained_since_ms = os::now_ms();
            }
            // SAFETY: passed on.
            unsafe { self.retained.put(reservation.descriptors(), span) };
            return;
        }
        if charged {
            self.refund(span.runs as usize * RUN);
        }
        self.runs -= span.runs as usize;
        // SAFETY: passed on.
        unsafe {
            match leaving {
                Leaving::System => reservation.give_clean(span),
                _ => reservation.give(core::iter::once(span)),
            }
        }
    }

    /// Gives up all that is charged and empty, also what these magazines hold; returns
    /// how many bytes.
    ///
    /// # Safety
    ///
    /// The magazines are the caller's own, or those of an arena that is not attached.
    pub(crate) unsafe fn give_up(&mut self, magazines: Magazines, leaving: Leaving) -> usize {
        let before = self.heap;
        if self.attached.is_none() {
            return 0;
        }
        // SAFETY: passed on.
        unsafe {
            self.drain(magazines);
            self.drain_depots();
        }
        let mut pool = self.pools;
        while !pool.is_null() {
            // SAFETY: the list holds this arena's pools; the next one is read before a
            // pool is dissolved. A full-charged pool goes to the retained spans first, so
            // that neighbours leave in one piece.
            unsafe {
                let next = (*pool).next;
                if (*pool).is_empty() {
                    let full = (*pool).charged == (*pool).span_bytes();
                    self.retire(pool, if full { Leaving::Retained } else { leaving });
                }
                pool = next;
            }
        }
        self.give_up_retained(leaving);
        before - self.heap
    }

    fn give_up_retained(&mut self, leaving: Leaving) {
        let Some(reservation) = self.reservation() else { return };
        // SAFETY: the retained store is this arena's.
        while let Some(span) = unsafe { self.retained.pop(reservation.descriptors()) } {
            // SAFETY: as above.
            unsafe { self.leave(span, true, leaving) };
        }
    }

    /// Gives up what is empty so that a refused charge can be tried again.
    ///
    /// # Safety
    ///
    /// As [`give_up`](Heap::give_up).
    #[cold]
    pub(crate) unsafe fn reclaim(&mut self, magazines: Magazines) -> usize {
        // SAFETY: passed on.
        unsafe { self.give_up(magazines, Leaving::Process) }
    }

    /// Gives retained memory back to the system if it was kept for the decay time.
    pub(crate) fn decay(&mut self) {
        let Some(decay) = self.decay else { return };
        if self.retained.runs() > 0 {
            let now = os::now_ms();
            if u128::from(now - self.retained_since_ms) >= decay.as_millis() {
                self.give_up_retained(Leaving::System);
            }
        }
    }

    /// Gives back everything. The arena is as new, and not attached.
    ///
    /// # Safety
    ///
    /// No chunk is used any more.
    pub(crate) unsafe fn release(&mut self) {
        let Some(mut attached) = self.attached.take() else { return };
        let reservation = attached.reservation;
        let table = reservation.descriptors();
        let (mut pool, mut extent) = (self.pools, self.extents);
        let mut retained = core::mem::replace(&mut self.retained, Spans::new(self.id, Kind::Dirty));
        (self.pools, self.extents, self.runs) = (ptr::null_mut(), 0, 0);
        self.caches = ptr::null_mut();
        // SAFETY: all lists hold this arena's own memory, which nothing uses any more. The
        // bookkeeping that the lists run through is given back last, and nobody can take
        // it before the call is over.
        unsafe {
            let pools = core::iter::from_fn(|| {
                let Pool { first_run, runs, next, .. } = pool.as_ref()?;
                pool = *next;
                table.clear(*first_run, *runs);
                Some(Span::new(*first_run, *runs))
            });
            let extents = core::iter::from_fn(|| {
                let first = (extent != 0).then_some(extent)?;
                let descriptor = table.at(first);
                extent = (*descriptor).next;
                (*descriptor).set_tag(Tag::INNER);
                Some(Span::new(first, (*descriptor).runs))
            });
            let retained = core::iter::from_fn(|| retained.pop(table));
            let meta = attached.meta.drain();
            reservation.give(pools.chain(extents).chain(retained).chain(meta));
        }
        self.refund(self.heap);
    }

    pub(crate) fn info(&self) -> Info {
        let mut alloc = 0;
        if let Some(attached) = &self.attached {
            for (index, &size) in self.ladder.slabs().iter().chain(&[0]).enumerate() {
                // SAFETY: the table has a slab for each of the ladder and one behind.
                let slab = unsafe { &*attached.slabs.add(index) };
                alloc += self.live_bytes(index, size, slab);
            }
        }
        let overhead = size_of::<crate::Flist>()
            + self.attached.as_ref().map_or(0, |attached| attached.meta.used())
            + self.runs * size_of::<Descriptor>();
        let heap = self.budget.used().max(self.heap);
        Info::new(self.budget.capacity(), heap, alloc, overhead).with_nested(heap - self.heap)
    }

    /// How the slab at `index` is used, if it has memory.
    pub(crate) fn slab_use(&self, index: usize) -> Option<SlabUse> {
        let attached = self.attached.as_ref()?;
        let slabs = self.ladder.slabs();
        // SAFETY: as in `info`.
        let slab = unsafe { &*attached.slabs.add(index) };
        if slab.pools == 0 {
            return None;
        }
        // Extents above the largest slab are counted with it.
        let size = slabs[index.min(slabs.len() - 1)];
        let chunks = if index < self.pooled { self.live(index, slab) } else { slab.out };
        let alloc = self.live_bytes(index, size, slab);
        Some(SlabUse::new(size, slab.pools as usize, chunks, slab.heap, alloc))
    }

    fn live_bytes(&self, index: usize, size: usize, slab: &Slab) -> usize {
        if index < self.pooled { self.live(index, slab) * size } else { slab.heap }
    }

    /// Chunks of a slab with pools that callers hold. While other threads are at work,
    /// their magazines are counted a little before or after.
    fn live(&self, index: usize, slab: &Slab) -> usize {
        let full = slab.full as usize * self.magazines.most(self.stride(index)) as usize;
        let mut ready = full;
        let mut cache = self.caches;
        // SAFETY: the list holds this arena's caches, which have a magazine for each slab.
        unsafe {
            while !cache.is_null() {
                ready += (*ThreadCache::magazines(cache).at(index)).len() as usize;
                cache = (*cache).next;
            }
        }
        slab.out.saturating_sub(ready)
    }

    /// Checks the equations of this module, and those of every pool.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check_invariants(&self) {
        let mut heap = self.retained.runs() * RUN;
        let mut pool = self.pools;
        // SAFETY: the lists hold this arena's pools and extents.
        unsafe {
            while let Some(one) = pool.as_ref() {
                one.check_invariants();
                heap += one.charged;
                pool = one.next;
            }
            let mut extent = self.extents;
            while extent != 0 {
                let descriptor = self.descriptor(extent);
                assert!((*descriptor).extent_bytes <= (*descriptor).runs as usize * RUN);
                heap += (*descriptor).extent_bytes;
                extent = (*descriptor).next;
            }
        }
        assert_eq!(heap, self.heap);
        assert!(self.heap <= self.budget.capacity());
    }
}

/// Where memory goes that is not used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It stays with the arena.
    Retained,
    /// To the process, for other arenas.
    Process,
    /// To the process, and its contents to the system.
    System,
}

/// State bytes of a pool of `count` chunks: one more, for what a pointer behind the
/// last chunk leads to.
fn states_bytes(count: usize) -> usize {
    count + 1
}
