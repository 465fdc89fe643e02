//! How memory leaves: retired pools, retained memory, purge, decay, release.
//!
//! ```text
//! pool, extent ──empty──▶ retained ──purge, decay──▶ system
//!                            │ └──capacity is short──▶ process
//!                            └──release (of everything)──▶ process
//! ```
//!
//! What goes to the process keeps its contents and serves the next arena without a
//! system call; what goes to the system is decommitted.

use core::ptr::{self, NonNull};

use crate::cache::ThreadCache;
use crate::descriptor::{Kind, RUN, Tag};
use crate::heap::{Heap, states_bytes};
use crate::os;
use crate::pool::{Pool, Slot};
use crate::spans::{Span, Spans};

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

impl<S: Slot> Heap<S> {
    /// Dissolves a pool of which every chunk is free.
    ///
    /// # Safety
    ///
    /// The pool is this arena's and empty; it is gone afterwards.
    pub(crate) unsafe fn retire(&mut self, pool: *mut Pool, leaving: Leaving) {
        let table = self.table();
        // SAFETY: the caller's promise; neighbours in the list are alive.
        unsafe {
            debug_assert!((*pool).is_empty());
            let Pool { owner, states, charged, first_run, runs, stride, free, .. } = pool.read();
            let Pool { slab, prev, next, .. } = pool.read();
            (*ThreadCache::shelves::<S>(owner).at(slab as usize)).unlist(pool);
            let slab = self.slab(slab as usize);
            slab.pools -= 1;
            slab.ready -= free as usize;
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
                meta.give(states, states_bytes(runs, stride));
            }
            if let Some(pool) = NonNull::new(pool) {
                meta.give(pool.cast(), size_of::<Pool>());
            }
            let span = Span::new(first_run, runs);
            // What is retained is charged in full.
            let missing = span.runs as usize * RUN - charged;
            let full = missing == 0 || leaving == Leaving::Retained && self.charge(missing).is_ok();
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

    /// Gives up all that is charged and empty, also what this cache holds; returns how
    /// many bytes.
    ///
    /// # Safety
    ///
    /// The cache is the caller's own, or null.
    pub(crate) unsafe fn give_up(&mut self, cache: *mut ThreadCache, leaving: Leaving) -> usize {
        let before = self.heap;
        if self.attached.is_none() {
            return 0;
        }
        // SAFETY: passed on.
        unsafe {
            if !cache.is_null() {
                self.drain(cache);
            }
            self.drain_inboxes();
        }
        let mut pool = self.pools;
        while !pool.is_null() {
            // SAFETY: the list holds this arena's pools; the next one is read before a
            // pool is dissolved. A full-charged pool goes to the retained spans first, so
            // that neighbours leave in one piece.
            unsafe {
                let next = (*pool).next;
                if (*pool).is_empty() && !(*pool).kept {
                    let full = (*pool).charged == (*pool).span_bytes();
                    self.retire(pool, if full { Leaving::Retained } else { leaving });
                }
                pool = next;
            }
        }
        self.give_up_retained(leaving, self.kept_runs);
        before - self.heap
    }

    /// Gives up retained spans, the largest first, until `keep` runs are left.
    fn give_up_retained(&mut self, leaving: Leaving, keep: usize) {
        let Some(reservation) = self.reservation() else { return };
        let table = reservation.descriptors();
        while self.retained.runs() > keep {
            // SAFETY: the retained store is this arena's, and so are its spans.
            unsafe {
                let Some(mut span) = self.retained.pop(table) else { break };
                let surplus = (self.retained.runs() + span.runs as usize - keep) as u32;
                if surplus < span.runs {
                    let kept = Span::new(span.first, span.runs - surplus);
                    self.retained.put(table, kept);
                    span = Span::new(kept.end(), surplus);
                }
                self.leave(span, true, leaving);
            }
        }
    }

    /// Gives up what is empty so that a refused charge can be tried again.
    ///
    /// # Safety
    ///
    /// As [`give_up`](Heap::give_up).
    #[cold]
    pub(crate) unsafe fn reclaim(&mut self, cache: *mut ThreadCache) -> usize {
        // SAFETY: passed on.
        unsafe { self.give_up(cache, Leaving::Process) }
    }

    /// Gives retained memory back to the system if it was kept for the decay time.
    pub(crate) fn decay(&mut self) {
        let Some(decay) = self.decay else { return };
        if self.retained.runs() > self.kept_runs {
            let now = os::now_ms();
            if u128::from(now - self.retained_since_ms) >= decay.as_millis() {
                self.give_up_retained(Leaving::System, self.kept_runs);
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
        self.kept_runs = 0;
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
                self.advise((*descriptor).start, 0, (*descriptor).extent_bytes(), false);
                (*descriptor).set_tag(Tag::INNER);
                Some(Span::new(first, (*descriptor).runs))
            });
            let retained = core::iter::from_fn(|| retained.pop(table));
            let meta = attached.meta.drain();
            reservation.give(pools.chain(extents).chain(retained).chain(meta));
        }
        self.refund(self.heap);
    }
}
