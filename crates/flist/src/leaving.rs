//! How memory leaves: retired pools, retained memory, purge, decay, release.
//!
//! ```text
//! magazines ──scavenged──▶ pools
//! pool, extent ──empty──▶ retained ──purge, decay, excess──▶ system
//!                            │ └──capacity is short──▶ process
//!                            └──release (of everything)──▶ process
//! ```
//!
//! What goes to the process keeps its contents and serves the next arena without a
//! system call; what goes to the system is decommitted.

use core::ptr::{self, NonNull};

use crate::cache::{Index, ThreadCache};
use crate::descriptor::{Kind, RUN, Tag};
use crate::heap::Heap;
use crate::os;
use crate::pool::{Pool, Slot};
use crate::pools::{LARGE_CHUNK, states_bytes};
use crate::spans::{Span, Spans};
use crate::warm::Warm;

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

/// A cache is scavenged for a pool when what the heap uses has grown by this part of it,
const SCAVENGE_SHARE: usize = 4;
/// for an extent when the heap itself has grown by this part;
const SCAVENGE_SHARE_EXTENT: usize = 16;
/// and by this many bytes.
const SCAVENGE_LEAST: usize = 256 << 10;

/// The part of the heap that may be retained while extents take fresh memory,
const RETAINED_SHARE: usize = 4;
/// and more of it, up to this part, which is all of it, the more was given back so.
const MOST_RETAINED_SHARE: usize = 1;

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
            let free = (*pool).free();
            let Pool { owner, states, charged, first_run, runs, stride, .. } = pool.read();
            let Pool { slab, prev, next, fresh, .. } = pool.read();
            (*ThreadCache::shelves::<S>(owner).at(slab as usize)).unlist(pool);
            let slab = self.slab(slab as usize);
            slab.pools -= 1;
            slab.ready -= free as usize;
            slab.note_free::<S>(-(free as isize));
            slab.heap -= charged;
            if prev.is_null() {
                self.pools = next;
            } else {
                (*prev).next = next;
            }
            if !next.is_null() {
                (*next).prev = prev;
            }
            if self.next_holed == pool {
                self.next_holed = next;
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
            let span = match leaving {
                Leaving::Retained => self.give_uncharged(span, charged, fresh),
                Leaving::Process | Leaving::System => Some(span),
            };
            let Some(span) = span else { return };
            // What is retained is charged in full.
            let missing = span.runs as usize * RUN - charged;
            let full = missing == 0 || leaving == Leaving::Retained && self.charge(missing).is_ok();
            if !full {
                self.refund(charged);
            }
            self.leave(span, full, leaving);
        }
    }

    /// Gives the runs of a span of which nothing is charged to the process, as they came;
    /// returns the others, if there are any. `fresh` says that they read as zero.
    ///
    /// # Safety
    ///
    /// The span is this arena's, with its descriptors cleared, and `charged` of its bytes are.
    unsafe fn give_uncharged(&mut self, span: Span, charged: usize, fresh: bool) -> Option<Span> {
        let reservation = self.reservation()?;
        let used = charged.div_ceil(RUN) as u32;
        if used < span.runs {
            let rest = Span::new(span.first + used, span.runs - used);
            self.runs -= rest.runs as usize;
            // SAFETY: passed on. What is not charged was never written to.
            unsafe {
                match fresh {
                    true => reservation.give_emptied(rest),
                    false => reservation.give(core::iter::once(rest)),
                }
            }
        }
        (used > 0).then(|| Span::new(span.first, used))
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
                self.retained.idle();
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
                _ => {
                    self.withdraw_huge(reservation, span);
                    reservation.give(core::iter::once(span));
                }
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
            self.drain_warm();
        }
        self.retire_empty(leaving, 0);
        self.give_up_retained(leaving, self.kept_runs);
        if leaving == Leaving::System {
            // SAFETY: attached.
            unsafe { self.give_up_holes(false) };
        }
        before - self.heap
    }

    /// Dissolves all pools that are empty and have at least `least` bytes charged, or all that
    /// they can have, or are of large chunks: what one of those has serves any other.
    fn retire_empty(&mut self, leaving: Leaving, least: usize) {
        let mut pool = self.pools;
        while !pool.is_null() {
            // SAFETY: the list holds this arena's pools; the next one is read before a
            // pool is dissolved. A full-charged pool goes to the retained spans first, so
            // that neighbours leave in one piece.
            unsafe {
                let next = (*pool).next;
                let large = (*pool).stride > LARGE_CHUNK;
                let grown = large || (*pool).ready == (*pool).count || (*pool).charged >= least;
                if (*pool).is_empty() && grown && !(*pool).kept {
                    let full = (*pool).charged == (*pool).span_bytes();
                    self.retire(pool, if full { Leaving::Retained } else { leaving });
                }
                pool = next;
            }
        }
    }

    /// Makes what this cache holds, and does not need perhaps, memory for any slab, before
    /// a pool takes more: if the heap uses enough more than it did when the cache was last scavenged, or
    /// at any time since that somebody asked.
    ///
    /// A program that goes from one kind of work to the next leaves magazines, depots and pools of
    /// its old sizes. That it may not be done with them costs a refill then, and what is used must grow
    /// by a fourth before it can cost another. What is retained is not used: a program that comes back to
    /// its old sizes again and again, and needs no more than it did, would else be left with all of them.
    ///
    /// # Safety
    ///
    /// The arena is attached, and the cache is the caller's own, or null.
    pub(crate) unsafe fn scavenge(&mut self, cache: *mut ThreadCache) {
        if cache.is_null() {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe {
            let used = self.used();
            let before = (*cache).used_then.min(used);
            (*cache).used_then = before;
            if used - before >= (self.heap / SCAVENGE_SHARE).max(SCAVENGE_LEAST) {
                self.empty(cache);
            }
        }
    }

    /// The same before an extent takes memory: if the heap itself has grown. What is used goes up and down
    /// by a buffer that comes and goes.
    ///
    /// # Safety
    ///
    /// As [`scavenge`](Heap::scavenge).
    pub(crate) unsafe fn scavenge_for_extent(&mut self, cache: *mut ThreadCache) {
        // SAFETY: the caller's promise.
        unsafe {
            let enough = (self.heap / SCAVENGE_SHARE_EXTENT).max(SCAVENGE_LEAST);
            if !cache.is_null() && self.heap >= (*cache).heap_then.saturating_add(enough) {
                self.empty(cache);
            }
        }
    }

    /// Puts all that a cache holds back into the pools, and dissolves those that are empty then.
    ///
    /// # Safety
    ///
    /// The arena is attached, and the cache is the caller's own.
    unsafe fn empty(&mut self, cache: *mut ThreadCache) {
        // SAFETY: passed on.
        unsafe {
            (*cache).heap_then = self.heap;
            self.drain(cache);
            self.drain_warm();
            self.retire_empty(Leaving::Retained, RUN);
            (*cache).used_then = self.used();
        }
    }

    /// Bytes that are charged and not retained.
    pub(crate) fn used(&self) -> usize {
        self.heap - self.retained.runs() * RUN
    }

    /// Gives back to the system what is retained beyond a fourth of the heap: called when an
    /// extent takes fresh memory all the same, since no retained span is long enough. Only
    /// in an arena with a decay time: in others memory stays.
    ///
    /// A program may come to need just what was given back, again and again. So once that was a fourth of
    /// what the heap has, a third may be retained, once it was half of it, half, and from three fourths
    /// on, all, until decay has given back what nobody needs.
    pub(crate) fn trim_retained(&mut self) {
        let again = RETAINED_SHARE * self.trimmed / self.heap.max(1);
        let share = RETAINED_SHARE.saturating_sub(again).max(MOST_RETAINED_SHARE);
        let most = (self.heap / share / RUN).max(self.kept_runs);
        if self.decay.is_some() && self.retained.runs() > most {
            let before = self.heap;
            self.give_up_retained(Leaving::System, most);
            self.trimmed += before - self.heap;
        }
    }

    /// Gives up retained spans, the largest first, until `keep` runs are left.
    pub(crate) fn give_up_retained(&mut self, leaving: Leaving, keep: usize) {
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

    /// Gives retained memory back to the system that nobody has needed for the decay time, and makes
    /// memory of what warm caches have, if no thread has ended or begun for so long.
    pub(crate) fn decay(&mut self) {
        let Some(decay) = self.decay else { return };
        let retained = self.retained.runs() > self.kept_runs;
        if !retained && self.warm.is_empty() {
            return;
        }
        let now = os::now_ms();
        let is_over = |since: u64| u128::from(now.saturating_sub(since)) >= decay.as_millis();
        if retained && is_over(self.retained_since_ms) {
            self.retained_since_ms = now;
            self.give_up_idle();
            // SAFETY: what retains memory is attached.
            unsafe { self.give_up_holes(true) };
        } else if retained {
            self.give_up_excess(now);
        }
        if !self.warm.is_empty() && is_over(self.warm.changed_ms) {
            // SAFETY: what has warm caches is attached.
            unsafe { self.drain_warm() };
            self.retire_empty(Leaving::Retained, RUN);
        }
    }

    /// Gives back what was retained all the time since the last call.
    fn give_up_idle(&mut self) {
        let idle = self.retained.idle();
        let keep = (self.retained.runs() - idle).max(self.kept_runs);
        if keep < self.retained.runs() {
            self.trimmed = 0;
            self.give_up_retained(Leaving::System, keep);
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
        (self.kept_runs, self.trimmed) = (0, 0);
        (self.caches, self.by_thread) = (ptr::null_mut(), Index::EMPTY);
        self.warm = Warm::NONE;
        self.next_looked_at = ptr::null_mut();
        self.next_holed = ptr::null_mut();
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
            // Of pools it is not: their units were touched, and there may be many.
            let large =
                extents.chain(retained).inspect(|&span| self.withdraw_huge(reservation, span));
            let meta = attached.meta.drain();
            reservation.give(pools.chain(large).chain(meta));
        }
        self.refund(self.heap);
    }
}

#[cfg(all(test, not(mallocer_loom)))]
mod tests {
    extern crate std;
    use core::alloc::Layout;
    use core::time::Duration;
    use std::vec::Vec;

    use mallocer_core::{Config, Mallocer};

    use crate::SharedFlist;

    const MIB: usize = 1 << 20;

    /// A heap that decays, but not while a test runs.
    fn heap() -> SharedFlist {
        let mut config = Config::default();
        config.decay = Some(Duration::from_secs(100_000));
        SharedFlist::open(&config).unwrap()
    }

    fn layout(mib: usize) -> Layout {
        Layout::from_size_align(mib * MIB, 8).unwrap()
    }

    #[test]
    fn only_what_nobody_needed_decays() {
        let heap = heap();
        let take = || heap.try_alloc(layout(2)).unwrap().cast::<u8>();
        let chunks: Vec<_> = (0..10).map(|_| take()).collect();
        // SAFETY: allocated above and below, and freed once.
        unsafe { chunks.into_iter().for_each(|chunk| heap.free(chunk)) };
        assert_eq!(heap.info().heap, 20 * MIB);
        let decay = || {
            heap.sharing().heap.lock().give_up_idle();
            heap.info().heap / MIB
        };
        let (one, other) = (take(), take());
        // SAFETY: as above.
        unsafe {
            heap.free(one);
            heap.free(other);
        }
        assert_eq!(decay(), 4, "two were in use");
        let one = take();
        // SAFETY: as above.
        unsafe { heap.free(one) };
        assert_eq!((decay(), decay()), (2, 0));
        heap.check_invariants();
    }
}
