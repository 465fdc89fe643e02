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

use core::alloc::Layout;
use core::marker::PhantomData;
use core::ptr;
use core::time::Duration;

use mallocer_core::{
    AllocError, Budget, Config, Hints, Info, Ladder, MAX_CAPACITY, Misuse, SlabUse, Table,
};

use crate::cache::{Index, ThreadCache};
use crate::descriptor::{Descriptor, Descriptors, Kind, Tag};
use crate::excess::Excess;
use crate::locate::Home;
use crate::magazine::MagazineBounds;
use crate::meta::Meta;
use crate::pool::{OS_PAGE, Pool, Slot};
use crate::reservation::Reservation;
use crate::slab::Slab;
use crate::spans::Spans;
use crate::statistics::Seen;
use crate::warm::Warm;

/// Slabs up to this many bytes are served from pools, larger ones as extents.
pub(crate) const LARGEST_POOLED: usize = 64 << 10;

/// A cache has shelves for slabs up to this many bytes, and one behind for all larger ones;
/// so there are counts for the slabs that a small arena may use, and others only once there is
/// an extent of theirs.
pub(crate) const LARGEST_SHELVED: usize = 1 << 20;
const _: () = assert!(LARGEST_SHELVED >= LARGEST_POOLED);

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
pub(crate) struct Heap<S> {
    pub(crate) id: u64,
    pub(crate) ladder: Ladder,
    /// How many slabs are served from pools.
    pub(crate) pooled: usize,
    /// How many slabs have a shelf in every cache.
    pub(crate) shelved: usize,
    /// How many of them have no magazines: see `front`.
    pub(crate) exact: usize,
    /// The first slab of which all threads share the pools: see `front`.
    pub(crate) common: usize,
    pub(crate) budget: Budget,
    /// Where the arena is, as long as it is not moved; chunks lead there.
    pub(crate) owner: *const (),
    /// `None` until the first allocation, and after a release.
    pub(crate) attached: Option<Attached>,
    /// All pools.
    pub(crate) pools: *mut Pool,
    /// The first run of the first extent; 0 for none.
    pub(crate) extents: u32,
    /// Empty memory, charged in full.
    pub(crate) retained: Spans,
    pub(crate) retained_since_ms: u64,
    pub(crate) excess: Excess,
    /// Bytes of it that were given back for extents that took fresh memory, since decay gave back the rest.
    pub(crate) trimmed: usize,
    /// Runs of it that decay leaves: those of clusters.
    pub(crate) kept_runs: usize,
    /// Bytes charged.
    pub(crate) heap: usize,
    /// Runs taken from the process for pools, extents and retained memory.
    pub(crate) runs: usize,
    pub(crate) seen: Seen,
    /// Not 0 if chunks are to be handed out in random order: where its numbers are.
    pub(crate) disorder: u64,
    /// What marks are made with: see `mark`. 0 in an arena for one thread, which has none.
    pub(crate) key: u64,
    /// The state byte of a chunk that is out of its pool, but not known to be live: the
    /// one-thread arena tells chunks in magazines from live ones by it, the shared arena
    /// does not (see `sharing`).
    pub(crate) out_state: u8,
    /// Memory of the last step of a pool, and its bytes, that is to be backed with pages: by
    /// who ends the slow path, once it has no lock.
    pub(crate) unbacked: Option<(*mut u8, usize)>,
    /// A chunk that was in a magazine and in its pool at once, since the last look:
    /// freed twice.
    pub(crate) twice: Option<Misuse>,
    /// The magazines of the arena's threads, of its only one first of all.
    pub(crate) caches: *mut ThreadCache,
    /// The same by their threads.
    pub(crate) by_thread: Index,
    /// Of those that no thread has, the ones with chunks at hand.
    pub(crate) warm: Warm,
    /// Where the next look for holes goes on; null for the first pool.
    pub(crate) next_holed: *mut Pool,
    /// Where the next search of other threads' pools goes on; null for the first cache.
    pub(crate) next_looked_at: *mut ThreadCache,
    pub(crate) magazines: MagazineBounds,
    pub(crate) max_pools: usize,
    pub(crate) max_chunks: usize,
    pub(crate) hints: Hints,
    /// Whether the system gives huge pages, once that was asked.
    pub(crate) gives_huge: Option<bool>,
    pub(crate) decay: Option<Duration>,
    slots: PhantomData<S>,
}

/// What an arena that has memory has: a place in the process, and bookkeeping.
///
/// ```text
/// bookkeeping │ … │ slab 2 │ slab 1 │ slab 0 │ home │ cache: head │ shelf 0 │ shelf 1 │ … │
///                                   └─ slabs
/// ```
///
/// The counts of slabs go downwards, so that those of the smallest slabs share an OS page with
/// their shelves: an arena of a few small chunks touches as few as possible.
pub(crate) struct Attached {
    pub(crate) reservation: &'static Reservation,
    pub(crate) meta: Meta,
    /// The counts of the first slab; those of others, as many as there are shelves for, in
    /// front of it.
    pub(crate) slabs: *mut Slab,
    /// The counts of the slabs that have no shelf, ascending; null until one has memory.
    beyond: *mut Slab,
    /// Where every chunk of the arena leads to.
    pub(crate) home: *mut Home,
}

/// The slab whose pools serve `size` bytes at an alignment that not every slab has; `None` if an
/// extent does, since a slab that is aligned far enough may be much larger than the request.
pub(crate) fn aligned_slab(table: &Table, size: usize, align: usize) -> Option<usize> {
    // It is as long as so many times the alignment at least, so that few slabs are looked at.
    let least = table.first_at_least(size.checked_next_multiple_of(align)?);
    let at = table.first_multiple(least, align)?.get();
    (table.slabs[at] <= largest_aligned(size)).then_some(at)
}

/// The largest slab that serves `size` bytes at such an alignment.
#[inline(always)]
fn largest_aligned(size: usize) -> usize {
    size.saturating_mul(2).clamp(OS_PAGE, LARGEST_POOLED)
}

/// What such a layout takes with its size rounded up to its alignment: the first slab for so many bytes
/// mostly [serves it](serves_aligned).
#[inline(always)]
pub(crate) fn rounded(layout: Layout) -> usize {
    layout.size().max(1).next_multiple_of(layout.align())
}

/// Whether `slab`, the first one for a layout's [`rounded`] size, is the one of [`aligned_slab`].
#[inline(always)]
pub(crate) fn serves_aligned(slab: usize, layout: Layout) -> bool {
    slab & (layout.align() - 1) == 0 && slab <= largest_aligned(layout.size())
}

impl<S: Slot> Heap<S> {
    pub(crate) fn new(config: &Config, id: u64, budget: Budget, out_state: u8) -> Heap<S> {
        let slabs = config.ladder.slabs();
        Heap {
            id,
            pooled: slabs.partition_point(|&slab| slab <= LARGEST_POOLED),
            shelved: slabs.partition_point(|&slab| slab <= LARGEST_SHELVED),
            exact: 0,
            common: usize::MAX,
            ladder: config.ladder.clone(),
            budget,
            owner: ptr::null(),
            attached: None,
            pools: ptr::null_mut(),
            extents: 0,
            retained: Spans::new(id, Kind::Dirty),
            retained_since_ms: 0,
            excess: Excess::NONE,
            trimmed: 0,
            kept_runs: 0,
            heap: 0,
            runs: 0,
            seen: Seen::default(),
            disorder: 0,
            key: 0,
            out_state,
            unbacked: None,
            twice: None,
            caches: ptr::null_mut(),
            by_thread: Index::EMPTY,
            warm: Warm::NONE,
            next_holed: ptr::null_mut(),
            next_looked_at: ptr::null_mut(),
            magazines: MagazineBounds::new(config.capacity),
            max_pools: config.max_pools,
            max_chunks: config.max_chunks,
            hints: config.hints,
            gives_huge: None,
            decay: config.decay,
            slots: PhantomData,
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

    /// The slab at `index`, which has memory or a shelf. The arena is attached.
    pub(crate) fn slab(&mut self, index: usize) -> &mut Slab {
        let slab = self.counts(index).expect("the slab has memory or a shelf");
        // SAFETY: the counts are this heap's, which is borrowed mutably.
        unsafe { &mut *slab }
    }

    /// Where the counts of the slab at `index`, at most the number of slabs, are; `None` if
    /// there are none yet.
    fn counts(&self, index: usize) -> Option<*mut Slab> {
        let attached = self.attached.as_ref()?;
        assert!(index <= self.ladder.slabs().len());
        // SAFETY: the tables have one slab for each of the ladder and one behind.
        unsafe {
            if index < self.shelved {
                return Some(attached.slabs.sub(index));
            }
            (!attached.beyond.is_null()).then(|| attached.beyond.add(index - self.shelved))
        }
    }

    /// Sees to it that the slab at `index` has counts; `false` if there is no memory for them.
    pub(crate) fn make_counts(&mut self, index: usize) -> bool {
        if self.counts(index).is_some() {
            return true;
        }
        let bytes = (self.ladder.slabs().len() + 1 - self.shelved) * size_of::<Slab>();
        let Some(attached) = &mut self.attached else { return false };
        // All zero bytes are counts of nothing.
        let Some(block) = attached.meta.take_zeroed(bytes) else { return false };
        attached.beyond = block.cast().as_ptr();
        true
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
        aligned_slab(table, size, align).map_or(Route::Extent, Route::Pool)
    }

    /// Finds the arena a place in the process, and memory for its slabs.
    pub(crate) fn attach(&mut self) -> Result<&'static Reservation, AllocError> {
        if let Some(attached) = &self.attached {
            return Ok(attached.reservation);
        }
        let bytes = self.shelved.max(1) * size_of::<Slab>();
        let reservation = Reservation::get().ok_or_else(|| self.refused(bytes))?;
        let mut meta = Meta::new(reservation, self.id);
        let table = meta.take_zeroed(bytes).ok_or_else(|| self.refused(bytes))?;
        let home = meta.take(size_of::<Home>()).ok_or_else(|| self.refused(bytes))?;
        let home = home.cast::<Home>().as_ptr();
        // SAFETY: the block was taken above, for this.
        unsafe { home.write(Home::new(self.owner)) };
        // SAFETY: the table has one slab at least. Its last place is that of the first slab.
        let slabs = unsafe { table.cast::<Slab>().add(self.shelved.max(1) - 1).as_ptr() };
        let beyond = ptr::null_mut();
        self.attached = Some(Attached { reservation, meta, slabs, beyond, home });
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
        self.seen.grown(self.heap);
        Ok(())
    }

    pub(crate) fn refund(&mut self, bytes: usize) {
        self.heap -= bytes;
        self.budget.refund(bytes);
    }

    /// The tag of a pool of the slab at `index`.
    pub(crate) fn pool_tag(&self, index: usize) -> Tag {
        Tag::new(self.id, if index < self.exact { Kind::Exact } else { Kind::Live })
    }

    /// Bytes from one chunk of a slab to the next: its size, except that two chunks
    /// of one byte do not share an address pair (the reciprocal of 1 has no 64 bits).
    pub(crate) fn stride(&self, index: usize) -> usize {
        self.ladder.slabs()[index].max(2)
    }

    pub(crate) fn info(&self) -> Info {
        let mut alloc = 0;
        for (index, &size) in self.ladder.slabs().iter().chain(&[0]).enumerate() {
            let Some(slab) = self.counts(index) else { break };
            // SAFETY: the counts are this heap's.
            alloc += self.live_bytes(index, size, unsafe { &*slab });
        }
        let overhead = size_of::<crate::Flist>()
            + self.attached.as_ref().map_or(0, |attached| attached.meta.used())
            + self.runs * size_of::<Descriptor>();
        let heap = self.budget.used().max(self.heap);
        // A heap without a budget may take all there is to take.
        let capacity = self.budget.capacity().min(MAX_CAPACITY);
        Info::new(capacity, heap, alloc, overhead).with_nested(heap - self.heap)
    }

    /// How the slab at `index` is used, if it has memory.
    pub(crate) fn slab_use(&self, index: usize) -> Option<SlabUse> {
        let slabs = self.ladder.slabs();
        // SAFETY: the counts are this heap's.
        let slab = unsafe { &*self.counts(index)? };
        if slab.pools == 0 {
            return None;
        }
        // Extents above the largest slab are counted with it.
        let size = slabs[index.min(slabs.len() - 1)];
        let chunks = if index < self.pooled {
            self.live(index, slab)
        } else {
            slab.ready - self.kept(index).1
        };
        let alloc = self.live_bytes(index, size, slab);
        Some(SlabUse::new(size, slab.pools as usize, chunks, slab.heap, alloc))
    }

    fn live_bytes(&self, index: usize, size: usize, slab: &Slab) -> usize {
        if index < self.pooled {
            self.live(index, slab) * size
        } else {
            slab.heap - self.kept(index).0
        }
    }

    /// How many chunks of the slab at `index`, which has memory, are in their pools.
    ///
    /// A shared arena counts them. One for a single thread looks, so that a free that goes straight
    /// to its pool writes to that alone: only pools that are listed have any.
    pub(crate) fn free_chunks(&self, index: usize) -> usize {
        if S::ALONE {
            return self.listed_free(index);
        }
        // SAFETY: the counts are this heap's.
        self.counts(index).map_or(0, |slab| unsafe { (*slab).free })
    }

    /// The same, from the pools.
    fn listed_free(&self, index: usize) -> usize {
        let (mut free, mut cache) = (0, self.caches);
        // SAFETY: the list holds this arena's caches, and theirs its pools.
        unsafe {
            while !cache.is_null() {
                let mut pool = (*ThreadCache::shelves::<S>(cache).at(index)).listed();
                while let Some(one) = pool.as_ref() {
                    free += one.free() as usize;
                    pool = one.next_listed;
                }
                cache = (*cache).next;
            }
        }
        free
    }

    /// Chunks of a slab with pools that callers hold. While other threads are at work,
    /// their magazines are counted a little before or after.
    fn live(&self, index: usize, slab: &Slab) -> usize {
        let most = self.magazines.most(self.stride(index)) as usize;
        let mut ready = 0;
        let mut cache = self.caches;
        // SAFETY: the list holds this arena's caches, which have a shelf for each slab.
        unsafe {
            while !cache.is_null() {
                let shelf = ThreadCache::shelves::<S>(cache).at(index);
                let (_, foreign, _) = (*shelf).foreign();
                ready += (*shelf).full() as usize * most;
                ready += ((*shelf).magazine.len() + foreign + (*shelf).sent_here()) as usize;
                cache = (*cache).next;
            }
        }
        (slab.ready - self.free_chunks(index)).saturating_sub(ready)
    }

    /// Checks the equations of this module, and those of every pool.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check_invariants(&self) {
        use crate::descriptor::RUN;
        let mut heap = self.retained.runs() * RUN;
        // One for a single thread counts none, and its pools' own equations say that those that are
        // not listed have none; nor does a thread of it change a shelf meanwhile.
        for index in 0..self.pooled {
            if !S::ALONE {
                assert_eq!(self.free_chunks(index), self.listed_free(index));
            } else if !self.caches.is_null() {
                // SAFETY: a cache is this arena's, with a shelf for each slab.
                unsafe { (*ThreadCache::shelves::<S>(self.caches).at(index)).check_invariants() };
            }
        }
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
                assert!((*descriptor).extent_bytes() <= (*descriptor).runs as usize * RUN);
                heap += (*descriptor).extent_bytes();
                extent = (*descriptor).next;
            }
        }
        assert_eq!(heap, self.heap);
        assert!(self.heap <= self.budget.capacity());
    }
}
