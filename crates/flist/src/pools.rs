//! How pools come and grow.
//!
//! ```text
//! refill ──▶ more of a pool that has room ──none──▶ retained span, unit of huge pages ──none──▶ process
//!                     │                                    │ charged in full                      │
//!                     └──── step by step ─────────── new pool of the slab ◀───────────────────────┘
//! ```
//!
//! A pool takes addresses for all its chunks and is charged for the first few of them only, as the
//! slab needs them, unless it is cut from what is charged already. Its size follows its slab: the
//! first is small, and each further one at most a part of what the slab has by then, so that a
//! small arena pays for no pool that it never fills. How they go is told in `leaving`.

use core::ptr;

use mallocer_core::{AllocError, Hints};

use crate::cache::ThreadCache;
use crate::descriptor::RUN;
use crate::front::common_shelf;
use crate::heap::Heap;
use crate::leaving::Leaving;
use crate::os;
use crate::pool::{OS_PAGE, Pool, Slot, reciprocal};
use crate::reservation::Taken;
use crate::spans::Span;

/// A new pool has room for this many chunks at least, where the limits allow;
const LEAST_CHUNKS: usize = 8;

/// but one of larger chunks than this is a run, or a few. A program has few of them at once, and
/// what one slab has left over serves the next only if whole pools are empty.
pub(crate) const LARGE_CHUNK: usize = 4096;

/// And takes this many runs at most: 4 MiB.
pub(crate) const MOST_RUNS: usize = (4 << 20) / RUN;

/// Of a heap that gives memory back, it has room for this many chunks at most, or is a run: a chunk that
/// stays keeps all of its pool from other slabs, and from the system.
const LEAVING_CHUNKS: usize = 32;

/// Nor more than room for this many times what its slab has by then; of large chunks, for a
/// fourth of it.
const POOL_SHARE: usize = 4;
const LARGE_POOL_SHARE: usize = 4;

/// A slab with this part of the heap takes retained memory before it grows into fresh one,
const MAIN_SHARE: usize = 8;
/// and where as much is retained, one with so many bytes.
const WORTH_A_RUN: usize = 16 << 10;

/// A step of fresh memory of at least this many bytes is backed with pages at once.
const LEAST_POPULATED: usize = 16 << 10;
/// Only in pools of chunks up to this many bytes. Of longer ones a program may leave OS pages
/// untouched, and those are never backed.
const LARGEST_POPULATED: usize = 2 * OS_PAGE;

/// What the first step of a pool charges in an arena that is known to grow.
const GROWING_STEP: usize = 64 << 10;

impl<S: Slot> Heap<S> {
    /// Takes a pool for the slab at `index`, nothing of it charged unless it comes
    /// from retained memory; puts it first in the list of the cache's shelf.
    pub(crate) fn new_pool(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
    ) -> Result<*mut Pool, AllocError> {
        let (runs, least) = self.pool_runs(cache, index);
        self.new_pool_of(cache, index, runs, least)
    }

    /// Whether the slab at `index` is a good part of the heap, or much of the heap lies idle. Then its
    /// growth is worth a look at what else the heap has; a slab that has little would keep a run of
    /// that for a page.
    pub(crate) fn is_main(&mut self, index: usize) -> bool {
        let (part, slab) = (self.heap / MAIN_SHARE, self.slab(index).heap);
        let retained = self.retained.runs().saturating_sub(self.kept_runs) * RUN;
        slab >= part.max(RUN) || retained >= part && slab >= WORTH_A_RUN
    }

    /// A pool for the slab at `index` out of retained memory, if there is some.
    pub(crate) fn retained_pool(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
    ) -> Result<Option<*mut Pool>, AllocError> {
        let pools = self.slab(index).pools as usize;
        // Small ones must not use up the number of pools.
        if self.retained.runs() <= self.kept_runs || pools >= self.max_pools / 4 {
            return Ok(None);
        }
        let (most, least) = self.pool_runs(cache, index);
        let mut runs = most;
        while runs >= least {
            if let Some(span) = self.take_retained(runs, runs) {
                return self.pool_in(cache, index, Taken { span, zero: false }, true).map(Some);
            }
            runs /= 2;
        }
        Ok(None)
    }

    /// How many runs the next pool of a cache's shelf for the slab at `index` has, and how many
    /// it has at least.
    fn pool_runs(&mut self, cache: *mut ThreadCache, index: usize) -> (usize, usize) {
        let stride = self.stride(index);
        // SAFETY: the cache is one of this arena's, which has a shelf for each slab.
        let pools = unsafe { (*ThreadCache::shelves::<S>(cache).at(index)).pools() };
        let slab_heap = self.slab(index).heap;
        let (chunks, share) = if stride > LARGE_CHUNK {
            (1, slab_heap / LARGE_POOL_SHARE)
        } else {
            (LEAST_CHUNKS.min(self.max_chunks), slab_heap * POOL_SHARE)
        };
        let least = (chunks * stride).div_ceil(RUN);
        let leaving = if self.decay.is_some() { LEAVING_CHUNKS } else { usize::MAX };
        let most = (self.max_chunks.min(leaving) * stride / RUN).clamp(least, MOST_RUNS);
        // A pool costs a descriptor for each run, and room for the states of all of its chunks:
        // where pools come and go and the slab does not grow, larger ones would cost more than
        // they hold.
        let grown = share.div_ceil(RUN).max(least);
        ((least << pools.min(6)).min(most).min(grown), least)
    }

    /// The same, of `runs` runs, or of `least` if those are retained.
    pub(crate) fn new_pool_of(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
        runs: usize,
        least: usize,
    ) -> Result<*mut Pool, AllocError> {
        let reservation = self.attach()?;
        let pools = self.slab(index).pools as usize;
        if pools >= self.max_pools {
            return Err(AllocError::PoolLimit { slab: self.ladder.slabs()[index], pools });
        }
        let mut retained = self.take_retained(runs, least);
        if retained.is_none()
            && let Some(runs) = self.gather(index, runs)
        {
            retained = self.take_retained(runs, least);
        }
        let taken = match retained {
            Some(span) => Taken { span, zero: false },
            None => {
                let taken = reservation.take(runs as u32, RUN);
                let taken = taken.ok_or_else(|| self.refused(runs * RUN))?;
                self.note_taken();
                self.runs += runs;
                taken
            }
        };
        self.pool_in(cache, index, taken, retained.is_some())
    }

    /// Makes a span a pool for the slab at `index`, first in the list of the cache's shelf. It is
    /// this heap's, and charged in full if it was `retained`, else not at all; if there is no
    /// memory for the pool's record, it is given back.
    fn pool_in(
        &mut self,
        cache: *mut ThreadCache,
        index: usize,
        Taken { span, zero: fresh }: Taken,
        retained: bool,
    ) -> Result<*mut Pool, AllocError> {
        let reservation = self.attach()?;
        let table = reservation.descriptors();
        let stride = self.stride(index);
        let count = (span.runs as usize * RUN / stride).min(self.max_chunks);
        let states_bytes = states_bytes(span.runs, stride);
        let record = self.meta().take(size_of::<Pool>());
        let states = self.meta().take_zeroed(states_bytes);
        let (Some(record), Some(states)) = (record, states) else {
            // SAFETY: the blocks and the span were taken above and are not used.
            unsafe {
                if let Some(record) = record {
                    self.meta().give(record, size_of::<Pool>());
                }
                self.leave(span, retained, Leaving::Process);
            }
            return Err(self.refused(states_bytes));
        };
        let pool = record.cast::<Pool>().as_ptr();
        let start = reservation.start_of(span.first);
        let tag = self.pool_tag(index);
        let size = self.ladder.slabs()[index];
        // SAFETY: record, states and span are ours; every run of the span has a
        // descriptor, which nobody else writes.
        unsafe {
            let runs = (span.first, span.runs);
            let count = count as u32;
            pool.write(Pool::new(start, states, stride, index as u16, runs, count, cache));
            (*pool).fresh = fresh;
            (*pool).home = self.home();
            let shelf = ThreadCache::shelves::<S>(cache).at(index);
            // Without magazines no fast path is to take the pool for its own.
            let known = if index < self.exact {
                ptr::null_mut()
            } else if index >= self.common {
                common_shelf(index)
            } else {
                shelf.cast()
            };
            for run in span.first..span.end() {
                let descriptor = table.at(run);
                (*descriptor).start = start.as_ptr();
                (*descriptor).reciprocal = reciprocal(stride);
                (*descriptor).states = states.as_ptr();
                (*descriptor).pool = pool;
                (*descriptor).runs = size as u32;
                (*descriptor).slab = index as u16;
                (*descriptor).set_shelf(known);
                (*descriptor).set_handed(0, stride);
                (*descriptor).set_tag(tag);
            }
            (*pool).next = self.pools;
            if !self.pools.is_null() {
                (*self.pools).prev = pool;
            }
            self.pools = pool;
            if retained {
                self.seen.hit();
                (*pool).grow(span.runs as usize * RUN);
            }
            let (ready, charged) = ((*pool).ready as usize, (*pool).charged);
            let most = self.magazines.most(stride);
            let depot_most = self.magazines.depot(stride);
            let slab = self.slab(index);
            slab.magazine_most = most as u16;
            slab.depot_most = depot_most as u8;
            slab.pools += 1;
            slab.ready += ready;
            slab.note_free::<S>(ready as isize);
            slab.heap += charged;
            (*shelf).own(pool);
        }
        Ok(pool)
    }

    /// A retained span of `runs` runs, or of `least`, if there is one.
    fn take_retained(&mut self, runs: usize, least: usize) -> Option<Span> {
        let table = self.table();
        // What is kept for extents is not cut into pools.
        let spare = self.retained.runs().saturating_sub(self.kept_runs);
        let wanted = [runs, least].into_iter().filter(|&runs| runs <= spare);
        // SAFETY: the retained store is this arena's.
        wanted.into_iter().find_map(|runs| unsafe { self.retained.take(table, runs as u32, 1, 0) })
    }

    /// Charges the next step of a pool, the smallest possible if capacity is short.
    ///
    /// # Safety
    ///
    /// The pool is this arena's, and has chunks that are not ready.
    pub(crate) unsafe fn grow_pool(&mut self, pool: *mut Pool) -> Result<(), AllocError> {
        let ahead = self.hints.contains(Hints::GROWING) || self.hints.contains(Hints::HOT);
        let least = if ahead { GROWING_STEP } else { OS_PAGE };
        // SAFETY: the caller's promise.
        unsafe {
            let slab_heap = self.slab((*pool).slab as usize).heap / self.magazines.crowd();
            self.seen.miss();
            let mut step = (*pool).next_step(slab_heap, self.seen.ahead(least, self.heap));
            if self.charge(step).is_err() {
                step = ((*pool).ready as usize + 1) * (*pool).stride;
                step = step.next_multiple_of(OS_PAGE) - (*pool).charged;
                self.charge(step)?;
            }
            if (*pool).fresh && step >= LEAST_POPULATED && (*pool).stride <= LARGEST_POPULATED {
                let before = self.unbacked.replace(((*pool).start.add((*pool).charged), step));
                back(before);
            }
            self.make_ready(pool, step);
        }
        Ok(())
    }

    /// Makes the chunks in the next `step` bytes of a pool ready, which are charged.
    ///
    /// # Safety
    ///
    /// As [`grow_pool`](Heap::grow_pool).
    pub(crate) unsafe fn make_ready(&mut self, pool: *mut Pool, step: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let ready = (*pool).ready;
            (*pool).grow(step);
            let more = ((*pool).ready - ready) as usize;
            let slab = self.slab((*pool).slab as usize);
            slab.heap += step;
            slab.ready += more;
            slab.note_free::<S>(more as isize);
        }
    }
}

/// Backs with pages what a slow path has left to back.
///
/// # Safety
///
/// It was noted by a heap that still has it: a chunk of it is with the caller.
pub(crate) unsafe fn back(unbacked: Option<(*mut u8, usize)>) {
    if let Some((start, bytes)) = unbacked {
        // SAFETY: passed on.
        unsafe { os::populate(start, bytes) };
    }
}

/// State bytes of a pool: one for every place in its runs where a chunk could start, also
/// behind the last, since any address in them leads to one.
pub(crate) fn states_bytes(runs: u32, stride: usize) -> usize {
    (runs as usize * RUN).div_ceil(stride)
}
