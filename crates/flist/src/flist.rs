//! The single-threaded arena: magazines in front of the heap.
//!
//! # The life of an allocation
//!
//! 1. The size picks a slab: one table load, one compare.
//! 2. The slab's magazine, a stack of ready chunks, gives its top.
//! 3. The chunk's state byte becomes `LIVE`. The slot holds its address, so nothing
//!    is looked up.
//!
//! # The life of a free
//!
//! 1. `address − base` and a shift lead to the descriptor of the run.
//! 2. Its tag must be this arena's: else the pointer is foreign, another arena's or
//!    released.
//! 3. One multiplication gives index and remainder: else it is inside a chunk.
//! 4. The state byte must be `LIVE`: else it is freed twice. It becomes `CACHED`.
//! 5. The chunk goes on top of its slab's magazine.
//!
//! Neither has an atomic operation or a lock. All else — an empty or full magazine,
//! large chunks, far alignments, misuse — is a cold call into [`Heap`].

mod slow;

use core::alloc::Layout;
use core::cell::{Cell, UnsafeCell};
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering::Relaxed;

use mallocer_core::{AllocError, Budget, Config, ConfigError, Info, Ladder, Mallocer, SlabUse};

use crate::cache::{ONLY, ThreadCache};
use crate::descriptor::{Descriptor, Kind, Tag};
use crate::heap::{Heap, LARGEST_SHELVED, Route};
use crate::leaving::Leaving;
use crate::magazine::Magazine;
use crate::place::{CHECKED, Found, Place};
use crate::pool::{CACHED, LIVE, Marked, OS_PAGE};
use crate::primitive::{AtomicU64, process_wide};
use crate::reservation::Reservation;
use crate::sharing::zero_if;
use crate::shelf::Shelves;
use crate::statistics::{Block, Statistics};
use slow::NotLive;

/// A new arena's id. Ids are never used again.
pub(crate) fn next_id() -> u64 {
    process_wide! {
        static NEXT: AtomicU64 = AtomicU64::new(1);
    }
    NEXT.fetch_add(1, Relaxed)
}

/// flist for one thread: no lock, no atomic operation.
///
/// # Examples
///
/// ```
/// use core::alloc::Layout;
/// use mallocer_core::{Config, Mallocer};
/// use mallocer_flist::Flist;
///
/// let heap = Flist::open(&Config::default())?;
/// let chunk = heap.try_alloc(Layout::new::<[u8; 67]>()).unwrap();
/// assert_eq!(chunk.len(), 72);
/// // SAFETY: allocated above, and freed once.
/// unsafe { heap.free(chunk.cast()) };
/// # Ok::<(), mallocer_core::ConfigError>(())
/// ```
pub struct Flist {
    /// What the fast path reads, in one cache line.
    front: Front,
    ladder: Ladder,
    budget: Budget,
    heap: UnsafeCell<Heap<Marked>>,
}

#[repr(align(64))]
struct Front {
    lookup: *const mallocer_core::Table,
    /// Alignment that every slab has.
    alignment: usize,
    tag: Tag,
    /// The arena's shelves; until the first allocation empty ones.
    shelves: Cell<Shelves<Marked>>,
    /// The reservation; until the first allocation, of no bytes.
    base: Cell<*mut u8>,
    bytes: Cell<usize>,
    descriptors: Cell<*mut Descriptor>,
}

const _: () = assert!(size_of::<Front>() == 64);

impl Flist {
    /// Gives what released arenas left behind, single and shared, back to the system;
    /// returns how many bytes.
    ///
    /// Memory of a released arena stays with the process, up to 256 MiB, so that the next
    /// arena needs no system call and no page fault.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use mallocer_core::{Config, Mallocer};
    /// use mallocer_flist::Flist;
    ///
    /// let heap = Flist::open(&Config::default())?;
    /// heap.try_alloc(Layout::new::<[u8; 1 << 20]>()).unwrap();
    /// drop(heap);
    /// assert!(Flist::trim() >= 1 << 20);
    /// # Ok::<(), mallocer_core::ConfigError>(())
    /// ```
    pub fn trim() -> usize {
        Reservation::made().map_or(0, Reservation::trim)
    }

    /// What the heap has seen: its peak, its misses, its blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use mallocer_core::{Config, Mallocer};
    /// use mallocer_flist::Flist;
    ///
    /// let heap = Flist::open(&Config::default())?;
    /// heap.try_alloc(Layout::new::<[u8; 100]>()).unwrap();
    /// let seen = heap.statistics();
    /// assert_eq!((seen.blocks, seen.misses), (1, 1));
    /// assert!(seen.peak_heap >= seen.in_use);
    /// # Ok::<(), mallocer_core::ConfigError>(())
    /// ```
    pub fn statistics(&self) -> Statistics {
        // SAFETY: called from outside; calls nothing that comes back here.
        unsafe { self.heap() }.statistics()
    }

    /// Has `chunks` chunks ready that hold `size` bytes each, on top of what there is: they
    /// are charged and backed by memory at once, and stay until a release. While requests
    /// stay within what is ready there is no system call.
    ///
    /// # Errors
    ///
    /// As an allocation of so much; what is ready by then stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_core::{Config, Mallocer};
    /// use mallocer_flist::Flist;
    ///
    /// let heap = Flist::open(&Config::default())?;
    /// heap.prepare(64, 10_000).unwrap();
    /// assert!(heap.info().heap >= 640_000);
    /// # Ok::<(), mallocer_core::ConfigError>(())
    /// ```
    pub fn prepare(&self, size: usize, chunks: usize) -> Result<(), AllocError> {
        // SAFETY: called from outside; calls nothing that comes back here.
        let heap = unsafe { self.heap() };
        self.attach(heap)?;
        heap.prepare(size, chunks)
    }

    /// Writes the heap's blocks (pools, extents, retained spans) from number `skip` on to
    /// `into`, as many as fit; returns how many. As long as nobody uses the heap, a block
    /// keeps its number.
    pub fn blocks(&self, skip: usize, into: &mut [Block]) -> usize {
        // SAFETY: called from outside; calls nothing that comes back here.
        unsafe { self.heap() }.blocks(skip, into)
    }

    fn new(config: &Config) -> Result<Flist, ConfigError> {
        let smallest = config.ladder.slabs()[0].next_multiple_of(OS_PAGE);
        config.check("flist", smallest)?;
        let id = next_id();
        let budget = config.budget();
        let ladder = config.ladder.clone();
        let heap = Heap::new(config, id, budget.clone(), CACHED);
        let front = Front {
            lookup: ladder.lookup(),
            alignment: ladder.alignment(),
            tag: Tag::new(id, Kind::Live),
            shelves: Cell::new(Shelves::none()),
            base: Cell::new(ptr::null_mut()),
            bytes: Cell::new(0),
            descriptors: Cell::new(ptr::null_mut()),
        };
        Ok(Flist { front, ladder, budget, heap: UnsafeCell::new(heap) })
    }

    /// The heap, for a slow path.
    ///
    /// # Safety
    ///
    /// No other reference to it is alive: the caller is a method that was called from
    /// outside, and calls nothing that comes back here meanwhile.
    #[expect(clippy::mut_from_ref, reason = "the cell is single-threaded and never re-entered")]
    unsafe fn heap(&self) -> &mut Heap<Marked> {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.heap.get() }
    }

    /// Notes where this value is, for chunks that lead to it.
    pub(crate) fn settle_at(&self, place: *const ()) {
        // SAFETY: called from outside; the heap calls nothing back.
        unsafe { self.heap() }.settle(place);
    }

    /// Finds the heap a place in the process, if it has none yet.
    fn attach(&self, heap: &mut Heap<Marked>) -> Result<(), AllocError> {
        if self.front.bytes.get() != 0 {
            return Ok(());
        }
        let reservation = heap.attach()?;
        let cache = heap.cache_of(ONLY);
        if cache.is_null() {
            return Err(heap.refused(size_of::<ThreadCache>()));
        }
        self.front.shelves.set(ThreadCache::shelves(cache));
        self.front.base.set(reservation.base().as_ptr());
        self.front.descriptors.set(reservation.descriptors().0);
        self.front.bytes.set(reservation.bytes());
        Ok(())
    }

    /// The arena's cache; null if it has no memory yet.
    fn cache(&self) -> *mut ThreadCache {
        if self.front.bytes.get() == 0 {
            return ptr::null_mut();
        }
        // The shelves lie behind its head.
        self.front.shelves.get().0.cast::<ThreadCache>().wrapping_sub(1)
    }

    /// Takes a chunk for `layout` off its slab's magazine, if it has one.
    #[inline(always)]
    fn take(&self, layout: Layout) -> Option<NonNull<[u8]>> {
        if layout.align() > self.front.alignment {
            return None;
        }
        // SAFETY: the lookup table lives as long as the heap's ladder.
        let lookup = unsafe { &*self.front.lookup };
        let index = match lookup.small(layout.size()) {
            Some(index) => index,
            None if layout.size() > LARGEST_SHELVED => return None,
            None => lookup.first_at_least(layout.size()),
        };
        let chunk = self.pop(index)?;
        // SAFETY: an index that had a chunk is one of the ladder's.
        let len = unsafe { *lookup.slabs.get_unchecked(index) };
        Some(NonNull::slice_from_raw_parts(chunk, len))
    }

    /// Takes a chunk off the magazine of the slab at `index`, if it has one.
    #[inline(always)]
    fn pop(&self, index: usize) -> Option<NonNull<u8>> {
        // SAFETY: every index on the fast path is one of a slab with a shelf, or one behind. The
        // magazines are this arena's (or empty ones, of which nothing is written), and a
        // chunk and its state are not null.
        unsafe {
            let slot = (*self.front.shelves.get().magazine(index)).pop()?;
            if CHECKED {
                slot.state.write(LIVE);
            }
            Some(NonNull::new_unchecked(slot.chunk))
        }
    }

    /// Finds the live chunk at `address`, or nothing if it is not one of this arena's.
    #[inline(always)]
    fn find(&self, address: usize) -> Option<Found> {
        let place = Place {
            base: self.front.base.get(),
            bytes: self.front.bytes.get(),
            descriptors: self.front.descriptors.get(),
        };
        // SAFETY: the place is that of the reservation, or of no bytes.
        unsafe { place.find(self.front.tag, address) }
    }

    /// The magazine that a found chunk goes to.
    #[inline(always)]
    fn magazine(&self, found: Found) -> *mut Magazine<Marked> {
        // SAFETY: the chunk is live and this arena's, so its descriptor leads to a shelf of it: a
        // pool that nobody owned, of a cluster, was adopted before a chunk of it was handed out.
        let (shelf, slab) = unsafe { ((*found.descriptor).shelf(), (*found.descriptor).slab) };
        debug_assert_eq!(
            shelf.addr(),
            // SAFETY: every descriptor of this arena names one of its shelves.
            unsafe { self.front.shelves.get().at(slab.into()) }.addr()
        );
        // A magazine is the first of its shelf.
        shelf.cast()
    }

    /// Puts a found chunk on its magazine.
    #[inline(always)]
    fn push(&self, magazine: *mut Magazine<Marked>, found: Found) {
        let Found { descriptor, chunk, state } = found;
        // SAFETY: the chunk is live and this arena's, and so is the magazine.
        unsafe {
            if !(*magazine).push(Marked { chunk, state }) {
                // In single words, so that nothing is spilled on the way not taken.
                return self.push_full(descriptor, chunk, state);
            }
            if CHECKED {
                state.write(CACHED);
            }
        }
    }

    /// Frees the chunk at `address`; `false` if there is none.
    #[inline(always)]
    fn put(&self, address: usize) -> bool {
        match self.find(address) {
            Some(found) => {
                self.push(self.magazine(found), found);
                true
            }
            None => false,
        }
    }

    /// Frees the chunk at `address` if it can surely have been allocated for `layout`; `false` says
    /// that nothing was done.
    #[inline(always)]
    fn put_sized(&self, address: usize, layout: Layout) -> bool {
        let Some(found) = self.find(address) else { return false };
        let magazine = self.magazine(found);
        // SAFETY: the magazine is this arena's.
        let serves = unsafe { (*magazine).serves(layout.size()) };
        let fits = serves && layout.align() <= self.front.alignment;
        if fits {
            self.push(magazine, found);
        }
        fits
    }

    /// The length of the live chunk at `address`, if there is one.
    #[inline]
    pub(crate) fn len_of(&self, address: usize) -> Option<usize> {
        let found = self.find(address)?;
        // SAFETY: a live chunk of this arena.
        Some(unsafe { found.len(&self.ladder) })
    }

    /// Checks every equation of the engine.
    #[cfg(any(test, debug_assertions))]
    pub fn check_invariants(&self) {
        // SAFETY: the heap is only read.
        unsafe { self.heap() }.check_invariants();
    }
}

// SAFETY: chunks come from pools and extents of this arena alone, which nobody else
// has; a chunk is handed out only by taking it off its pool (state FREE to CACHED) and
// magazine (CACHED to LIVE), each of which happens once until it is put back. Pools and
// extents start at multiples of a run and a slab that is a multiple of the alignment is
// picked. Chunks do not move; the heap is charged before it hands anything out.
unsafe impl Mallocer for Flist {
    fn open(config: &Config) -> Result<Flist, ConfigError> {
        Flist::new(config)
    }

    fn name(&self) -> &'static str {
        "flist"
    }

    #[inline(always)]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match self.take(layout) {
            Some(chunk) => Ok(chunk),
            None => self.alloc_slow(layout, false),
        }
    }

    #[inline]
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match self.take(layout) {
            Some(chunk) => Ok(zero_if(true, chunk)),
            None => self.alloc_slow(layout, true),
        }
    }

    fn try_alloc_slab(&self, slab: usize) -> Result<NonNull<[u8]>, AllocError> {
        self.budget.retry(|| {
            // SAFETY: called from outside; the heap calls nothing back.
            let heap = unsafe { self.heap() };
            let at = heap.ladder.position(slab)?.get();
            let route = if at < heap.pooled { Route::Pool(at) } else { Route::Extent };
            // A slab is at most 1 TiB, so its layout is valid.
            let layout = Layout::from_size_align(slab, 1).map_err(|_| heap.refused(slab))?;
            self.alloc_routed(heap, route, layout, false)
        })
    }

    #[inline(always)]
    unsafe fn free(&self, chunk: NonNull<u8>) {
        let address = chunk.addr().get();
        if !self.put(address) {
            self.misused("free", address, None);
        }
    }

    #[inline(always)]
    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
        let address = chunk.addr().get();
        if !self.put_sized(address, layout) {
            self.free_sized_slow(address, layout);
        }
    }

    #[inline]
    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        let address = chunk.addr().get();
        match self.len_of(address) {
            Some(len) => len,
            None => self.diagnose("chunk_len", address, None).raise(),
        }
    }

    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let address = chunk.addr().get();
        match self.realloc(address, layout) {
            Ok(result) => result,
            Err(NotLive) => self.diagnose("realloc", address, None).raise(),
        }
    }

    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
        let address = chunk.addr().get();
        match self.resize(address, size, 1) {
            Ok(len) => len,
            Err(NotLive) => self.diagnose("resize_in_place", address, None).raise(),
        }
    }

    fn slabs(&self) -> &[usize] {
        self.ladder.slabs()
    }

    fn info(&self) -> Info {
        // SAFETY: the heap is only read.
        unsafe { self.heap() }.info()
    }

    fn each_slab_use(&self, visit: &mut dyn FnMut(SlabUse)) {
        for index in 0..=self.ladder.slabs().len() {
            // SAFETY: the heap is only read, and not borrowed while `visit` runs.
            let slab_use = unsafe { self.heap() }.slab_use(index);
            if let Some(slab_use) = slab_use {
                visit(slab_use);
            }
        }
    }

    unsafe fn release(&self) {
        // SAFETY: called from outside; the heap calls nothing back. The caller promises
        // that no chunk is used any more.
        unsafe {
            let heap = self.heap();
            heap.release();
            self.front.shelves.set(Shelves::none());
            self.front.bytes.set(0);
        }
    }

    fn budget(&self) -> &Budget {
        &self.budget
    }

    fn purge(&self) -> usize {
        // SAFETY: called from outside; the heap calls nothing back. This arena has no other
        // thread.
        unsafe { self.heap().give_up(self.cache(), Leaving::System) }
    }
}

impl Drop for Flist {
    fn drop(&mut self) {
        // SAFETY: chunks end with their heap.
        unsafe { self.heap.get_mut().release() };
    }
}
