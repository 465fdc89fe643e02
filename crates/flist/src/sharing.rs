//! The engine of the shared arena: magazines for each thread, pools under a lock.
//!
//! # The protocol
//!
//! A thread allocates from and frees to its own magazines, whichever thread allocated
//! the chunk: there is no ownership of pools, no list of remote frees, and no heap that
//! a thread leaves behind. All that is shared — pools, depots, extents, the list of
//! caches — is changed under the heap's lock, for a batch of chunks at a time.
//!
//! ```text
//! thread A            thread B            one short lock
//! │ magazines │       │ magazines │  ⇄  │ depots │ pools │ extents │
//! ```
//!
//! # Freed twice
//!
//! The one-thread arena writes a state byte at every allocation and free. Here 64
//! chunks' states share a cache line that all threads would write, so the state byte
//! only tells whether a chunk is out of its pool, and changes under the lock. For a
//! chunk in a magazine there is a *tag* in its first word:
//!
//! ```text
//! tag(chunk) = key ⊕ address        key: random for each arena, highest bit set
//! ```
//!
//! written by a free, tested by a free, cleared by an allocation. A chunk with its tag
//! is freed twice; that other data equals it has a chance of 2⁻⁶³. If the program
//! overwrites the tag of a chunk that it freed, or two threads free it at once, the
//! second free passes, and is found when the second copy reaches the pools.
//!
//! Slabs below eight bytes have no room for a tag. They have no magazines: their state
//! bytes are exact, under the lock.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mallocer_core::{AllocError, Budget, Config, ConfigError, Ladder, Misuse, MisuseKind};

use crate::cache::ThreadCache;
use crate::descriptor::{Descriptor, Kind, Tag};
use crate::flist::next_id;
use crate::heap::{Heap, Route};
use crate::leaving::Leaving;
use crate::local::{MAY_BE_NULL, local};
use crate::lock::{Guard, Lock};
use crate::misuse;
use crate::os;
use crate::place::{Found, Place};
use crate::pool::{LIVE, OS_PAGE, Slot};
use crate::registry::{Links, begin_thread};
use crate::reservation::Reservation;
use crate::slab::Magazines;

/// Chunks of fewer bytes have no room for a tag.
const TAG_BYTES: usize = size_of::<u64>();

/// A shared arena. It must stay where it is while it is in the registry.
pub(crate) struct Sharing {
    lookup: *const mallocer_core::Table,
    alignment: usize,
    place: Place,
    /// The arena's tag, as a number. A release changes it, so that every thread notices.
    tag: AtomicU64,
    key: u64,
    /// The first slab whose chunks may carry a tag, and how many there are.
    first_tagged: u16,
    tagged: u16,
    /// How the program is told of misuse: a process-wide heap must not unwind.
    pub(crate) tell: fn(Misuse) -> !,
    pub(crate) ladder: Ladder,
    pub(crate) budget: Budget,
    pub(crate) heap: Lock<Heap>,
    pub(crate) links: UnsafeCell<Links>,
}

// SAFETY: what threads share is atomic, behind the lock, or never changes; a cache is
// used by its own thread only, and the links change under the registry's lock.
unsafe impl Sync for Sharing {}
// SAFETY: an arena belongs to no thread.
unsafe impl Send for Sharing {}

impl Sharing {
    pub(crate) fn new(
        config: &Config,
        budget: Budget,
        tell: fn(Misuse) -> !,
    ) -> Result<Sharing, ConfigError> {
        let smallest = config.ladder.slabs()[0].next_multiple_of(OS_PAGE);
        config.check("flist", smallest)?;
        let reservation = Reservation::get().ok_or(ConfigError::Library {
            backend: "flist",
            call: "mmap",
            code: libc::ENOMEM,
        })?;
        let id = next_id();
        let ladder = config.ladder.clone();
        let heap = Heap::new(config, id, budget.clone(), LIVE);
        let first_tagged = ladder.slabs().partition_point(|&slab| slab < TAG_BYTES);
        Ok(Sharing {
            lookup: ladder.lookup(),
            alignment: ladder.alignment(),
            place: Place {
                base: reservation.base().as_ptr(),
                bytes: reservation.bytes(),
                descriptors: reservation.descriptors().0,
            },
            tag: AtomicU64::new(Tag::new(id, Kind::Live).as_number()),
            key: os::random() | 1 << 63,
            first_tagged: first_tagged as u16,
            tagged: heap.pooled.saturating_sub(first_tagged) as u16,
            heap: Lock::new(heap),
            tell,
            ladder,
            budget,
            links: UnsafeCell::new(Links::NONE),
        })
    }

    #[inline(always)]
    fn tag(&self) -> u64 {
        self.tag.load(Relaxed)
    }

    /// The calling thread's magazines in this arena, if it used the arena last.
    #[inline(always)]
    fn magazines(&self) -> Option<Magazines> {
        let local = local();
        // SAFETY: the words are this thread's. A tag that equals the arena's proves that
        // the cache is one of it.
        unsafe {
            if MAY_BE_NULL && local.is_null() {
                return None;
            }
            ((*local).last == self.tag()).then(|| ThreadCache::magazines((*local).cache))
        }
    }

    /// The same, found or made if it is not the last; `None` if there is no memory or
    /// no key for it.
    fn magazines_slow(&self, heap: &mut Heap, thread: Option<u64>) -> Option<Magazines> {
        if let Some(magazines) = self.magazines() {
            return Some(magazines);
        }
        let cache = heap.cache_of(thread?);
        if cache.is_null() {
            return None;
        }
        // SAFETY: the words are this thread's, and not null, since it has a number.
        unsafe { (*local()).remember(self.tag(), cache) };
        Some(ThreadCache::magazines(cache))
    }

    /// The number of the calling thread; makes the arena the last one used if the
    /// thread remembers it. Before the lock is taken, since a new thread takes another.
    fn thread(&self) -> Option<u64> {
        let local = local();
        if local.is_null() {
            return None;
        }
        // SAFETY: the words are this thread's.
        unsafe {
            if !(*local).recall(self.tag()) && (*local).thread == 0 {
                (*local).thread = begin_thread(local)?;
            }
            Some((*local).thread)
        }
    }

    #[inline(always)]
    pub(crate) fn alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.align() <= self.alignment
            && let Some(magazines) = self.magazines()
        {
            // SAFETY: the lookup table lives as long as the ladder.
            let lookup = unsafe { &*self.lookup };
            let index = lookup.first_at_least(layout.size());
            // SAFETY: the magazines are this thread's.
            if let Some(chunk) = unsafe { pop(magazines, index) } {
                return Ok(NonNull::slice_from_raw_parts(chunk, lookup.slabs[index]));
            }
        }
        self.alloc_slow(layout, false)
    }

    #[inline]
    pub(crate) fn alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.align() <= self.alignment
            && let Some(magazines) = self.magazines()
        {
            // SAFETY: the lookup table lives as long as the ladder.
            let lookup = unsafe { &*self.lookup };
            let index = lookup.first_at_least(layout.size());
            // SAFETY: the magazines are this thread's; a chunk has its slab's bytes.
            unsafe {
                if let Some(chunk) = pop(magazines, index) {
                    chunk.write_bytes(0, lookup.slabs[index]);
                    return Ok(NonNull::slice_from_raw_parts(chunk, lookup.slabs[index]));
                }
            }
        }
        self.alloc_slow(layout, true)
    }

    #[cold]
    #[inline(never)]
    fn alloc_slow(&self, layout: Layout, zeroed: bool) -> Result<NonNull<[u8]>, AllocError> {
        let thread = self.thread();
        let heap = self.heap.lock();
        let route = heap.route(layout.size(), layout.align());
        self.alloc_routed(heap, thread, route, layout, zeroed)
    }

    /// Allocates from exactly the slab at `index`.
    pub(crate) fn alloc_slab(&self, index: usize) -> Result<NonNull<[u8]>, AllocError> {
        let size = self.ladder.slabs()[index];
        let thread = self.thread();
        let heap = self.heap.lock();
        let route = if index < heap.pooled { Route::Pool(index) } else { Route::Extent };
        // A slab is at most 1 TiB, so its layout is valid.
        let layout = Layout::from_size_align(size, 1).map_err(|_| heap.refused(size))?;
        self.alloc_routed(heap, thread, route, layout, false)
    }

    fn alloc_routed(
        &self,
        mut heap: Guard<'_, Heap>,
        thread: Option<u64>,
        route: Route,
        layout: Layout,
        zeroed: bool,
    ) -> Result<NonNull<[u8]>, AllocError> {
        heap.attach()?;
        let magazines = self.magazines_slow(&mut heap, thread);
        // SAFETY: attached; the magazines are this thread's, or unused ones under the lock.
        let (chunk, zero) = unsafe {
            match route {
                Route::Nowhere => {
                    return Err(AllocError::AboveLargestSlab {
                        requested: layout.size(),
                        largest: self.ladder.largest(),
                    });
                }
                Route::Extent => {
                    let own = magazines.unwrap_or(Magazines::none());
                    let extent = heap.take_extent(own, layout.size(), layout.align())?;
                    (NonNull::slice_from_raw_parts(extent.start, extent.bytes), extent.zero)
                }
                Route::Pool(index) => {
                    let size = self.ladder.slabs()[index];
                    let chunk = match magazines {
                        Some(magazines) if self.is_tagged(index as u16) => {
                            self.refill_and_pop(&mut heap, magazines, index)?
                        }
                        _ => {
                            let mut slot = Slot::NONE;
                            heap.take_chunks(index, &mut slot, 1)?;
                            if self.is_tagged(index as u16) {
                                clear_tag(slot.chunk);
                            }
                            NonNull::new_unchecked(slot.chunk)
                        }
                    };
                    (NonNull::slice_from_raw_parts(chunk, size), false)
                }
            }
        };
        self.unlock(heap);
        if zeroed && !zero {
            // SAFETY: a chunk has its length.
            unsafe { chunk.cast::<u8>().write_bytes(0, chunk.len()) };
        }
        Ok(chunk)
    }

    /// # Safety
    ///
    /// The magazines are this thread's.
    unsafe fn refill_and_pop(
        &self,
        heap: &mut Heap,
        magazines: Magazines,
        index: usize,
    ) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: passed on; after a refill there is a chunk.
        unsafe {
            if let Some(chunk) = pop(magazines, index) {
                return Ok(chunk);
            }
            heap.refill(magazines, index)?;
            pop(magazines, index).ok_or_else(|| heap.refused(self.ladder.slabs()[index]))
        }
    }

    /// Finds the live chunk at `address`: `Err` with whether it carries its tag, that is
    /// if it was freed already.
    #[inline(always)]
    fn find(&self, address: usize) -> Result<Found, bool> {
        // SAFETY: the place is the reservation's. A chunk that is out of its pool may be
        // read, and those of tagged slabs are long enough.
        unsafe {
            let found = self.place.find(Tag::from_number(self.tag()), address).ok_or(false)?;
            if self.is_tagged((*found.descriptor).slab) && has_tag(found.slot.chunk, self.key) {
                return Err(true);
            }
            Ok(found)
        }
    }

    /// Whether chunks of the slab at `index` carry a tag while they are in a magazine:
    /// those with pools and room for it.
    #[inline(always)]
    fn is_tagged(&self, index: u16) -> bool {
        index.wrapping_sub(self.first_tagged) < self.tagged
    }

    #[inline(always)]
    fn push(&self, found: Found) {
        if let Some(magazines) = self.magazines() {
            // SAFETY: the magazines are this thread's; the chunk is live and this arena's,
            // so its slab has one. Magazines of slabs with no room for a tag, and of
            // extents, have no slots.
            unsafe {
                if (*magazines.at((*found.descriptor).slab as usize)).push(found.slot) {
                    set_tag(found.slot.chunk, self.key);
                    return;
                }
            }
        }
        self.push_slow(found.slot.chunk, found.slot.state);
    }

    /// Frees a chunk whose magazine is full, or that has none.
    #[cold]
    #[inline(never)]
    fn push_slow(&self, chunk: *mut u8, state: *mut u8) {
        let thread = self.thread();
        let mut heap = self.heap.lock();
        let tag = Tag::from_number(self.tag());
        // What was found before the lock may be gone by now, if it is freed twice at once.
        // SAFETY: the place is the reservation's.
        let Some(found) = (unsafe { self.place.find(tag, chunk.addr()) }) else {
            let misuse = diagnose(&heap, "free", chunk.addr(), None, true);
            drop(heap);
            (self.tell)(misuse)
        };
        // SAFETY: the chunk is live and this arena's; the magazines are this thread's.
        unsafe {
            let index = (*found.descriptor).slab as usize;
            if index >= heap.pooled {
                heap.free_extent(found.descriptor);
                return self.unlock(heap);
            }
            let slot = Slot { chunk, state };
            match self.magazines_slow(&mut heap, thread) {
                Some(magazines) if self.is_tagged(index as u16) => {
                    let magazine = magazines.at(index);
                    if (*magazine).len() == (*magazine).cap() {
                        heap.flush(magazine, index);
                    }
                    if (*magazine).push(slot) {
                        set_tag(chunk, self.key);
                    } else {
                        heap.put_chunk(slot, index);
                    }
                }
                _ => heap.put_chunk(slot, index),
            }
        }
        self.unlock(heap);
    }

    /// Ends a slow path: unlocks, and tells if a chunk was found twice meanwhile.
    fn unlock(&self, mut heap: Guard<'_, Heap>) {
        let twice = heap.twice.take();
        drop(heap);
        if let Some(misuse) = twice {
            (self.tell)(misuse);
        }
    }

    /// Frees the chunk at `address`; `Err` says whether it was freed already, as far as
    /// that is known without a lock.
    #[inline(always)]
    pub(crate) fn put(&self, address: usize) -> Result<(), bool> {
        self.push(self.find(address)?);
        Ok(())
    }

    /// Frees the chunk at `address` if it can have been allocated for `layout`.
    #[inline(always)]
    pub(crate) fn put_sized(&self, address: usize, layout: Layout) -> Result<(), bool> {
        let found = self.find(address)?;
        if !self.fits(found, layout) {
            return Err(false);
        }
        self.push(found);
        Ok(())
    }

    #[inline(always)]
    fn fits(&self, found: Found, layout: Layout) -> bool {
        let serves = self.magazines().is_some_and(|magazines| {
            // SAFETY: the chunk is live and this arena's, so its slab has a magazine.
            unsafe { (*magazines.at((*found.descriptor).slab as usize)).serves(layout.size()) }
        });
        (serves && layout.align() <= self.alignment)
            || self.fits_slow(found.descriptor, found.slot.chunk.addr(), layout)
    }

    /// As `fits`, looked at closely. In single words, so that nothing is spilled on the
    /// way not taken.
    #[cold]
    #[inline(never)]
    fn fits_slow(&self, descriptor: *mut Descriptor, address: usize, layout: Layout) -> bool {
        let heap = self.heap.lock();
        // SAFETY: a descriptor of a live chunk of this arena, which the lock keeps.
        let one = unsafe { &*descriptor };
        misuse::fits(&heap, one, address, layout.size(), layout.align())
    }

    /// The length of the live chunk at `address`.
    pub(crate) fn len_of(&self, operation: &'static str, address: usize) -> Result<usize, Misuse> {
        match self.find(address) {
            // SAFETY: a descriptor of a live chunk of this arena.
            Ok(found) => Ok(unsafe { found.len(&self.ladder) }),
            Err(freed) => Err(self.diagnose(operation, address, None, freed)),
        }
    }

    /// Makes the live chunk at `address` hold `size` bytes where it is, if it can.
    pub(crate) fn resize(
        &self,
        operation: &'static str,
        address: usize,
        size: usize,
        align: usize,
    ) -> Result<Option<usize>, Misuse> {
        let found = match self.find(address) {
            Ok(found) => found,
            Err(freed) => return Err(self.diagnose(operation, address, None, freed)),
        };
        let mut heap = self.heap.lock();
        // SAFETY: a live chunk of this arena.
        Ok(unsafe { found.resize(&mut heap, size, align) })
    }

    /// Reallocates the live chunk at `address`.
    pub(crate) fn realloc(
        &self,
        operation: &'static str,
        address: usize,
        layout: Layout,
    ) -> Result<Result<NonNull<[u8]>, AllocError>, Misuse> {
        let found = match self.find(address) {
            Ok(found) => found,
            Err(freed) => return Err(self.diagnose(operation, address, None, freed)),
        };
        // SAFETY: a live chunk of this arena; a moved one does not overlap it.
        unsafe {
            let chunk = NonNull::new_unchecked(found.slot.chunk);
            if let Some(len) = self.resize(operation, address, layout.size(), layout.align())? {
                return Ok(Ok(NonNull::slice_from_raw_parts(chunk, len)));
            }
            let old_len = found.len(&self.ladder);
            let new = match self.alloc(layout) {
                Ok(new) => new,
                Err(error) => return Ok(Err(error)),
            };
            let bytes = old_len.min(layout.size());
            new.cast::<u8>().copy_from_nonoverlapping(chunk, bytes);
            self.push(found);
            Ok(Ok(new))
        }
    }

    /// Whether `address` lies in the reservation.
    pub(crate) fn may_hold(&self, address: usize) -> bool {
        address.wrapping_sub(self.place.base.addr()) < self.place.bytes
    }

    /// What is wrong with `address`, after it was refused.
    #[cold]
    pub(crate) fn diagnose(
        &self,
        operation: &'static str,
        address: usize,
        layout: Option<Layout>,
        freed: bool,
    ) -> Misuse {
        diagnose(&self.heap.lock(), operation, address, layout, freed)
    }

    /// Gives empty memory back to the system, also what this thread's magazines hold;
    /// returns how many bytes.
    pub(crate) fn purge(&self) -> usize {
        let thread = self.thread();
        let mut heap = self.heap.lock();
        if heap.reservation().is_none() {
            return 0;
        }
        let magazines = self.magazines_slow(&mut heap, thread).unwrap_or(Magazines::none());
        // SAFETY: the magazines are this thread's, or unused ones under the lock.
        let bytes = unsafe { heap.give_up(magazines, Leaving::System) };
        self.unlock(heap);
        bytes
    }

    /// Gives back everything.
    ///
    /// # Safety
    ///
    /// No chunk is used any more, and no other thread uses the arena meanwhile.
    pub(crate) unsafe fn release(&self) {
        let mut heap = self.heap.lock();
        // Threads know their caches by the tag; these are gone.
        heap.id = next_id();
        // SAFETY: passed on.
        unsafe { heap.release() };
        self.tag.store(Tag::new(heap.id, Kind::Live).as_number(), Relaxed);
    }

    /// Flushes what a thread that ends has here; returns misuse that is found by it.
    pub(crate) fn end_thread(&self, thread: u64) -> Option<Misuse> {
        let mut heap = self.heap.lock();
        heap.leave_cache(thread);
        heap.twice.take()
    }
}

fn diagnose(
    heap: &Heap,
    operation: &'static str,
    address: usize,
    layout: Option<Layout>,
    freed: bool,
) -> Misuse {
    let mut misuse = misuse::diagnose(heap, operation, address, layout);
    if freed {
        misuse.kind = MisuseKind::DoubleFree;
    }
    misuse
}

/// Takes a chunk off a thread's magazine, and its tag off the chunk.
///
/// # Safety
///
/// The magazines are this thread's, and `index` is at most the number of slabs.
#[inline(always)]
unsafe fn pop(magazines: Magazines, index: usize) -> Option<NonNull<u8>> {
    // SAFETY: chunks in magazines are not null and have room for a tag.
    unsafe {
        let slot = (*magazines.at(index)).pop()?;
        clear_tag(slot.chunk);
        Some(NonNull::new_unchecked(slot.chunk))
    }
}

/// # Safety
///
/// The chunk is out of its pool and has room for a tag.
#[inline(always)]
unsafe fn has_tag(chunk: *mut u8, key: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { chunk.cast::<u64>().read_unaligned() == key ^ chunk.addr() as u64 }
}

/// # Safety
///
/// The chunk is the caller's and has room for a tag.
#[inline(always)]
unsafe fn set_tag(chunk: *mut u8, key: u64) {
    // SAFETY: the caller's promise.
    unsafe { chunk.cast::<u64>().write_unaligned(key ^ chunk.addr() as u64) };
}

/// # Safety
///
/// As [`set_tag`].
#[inline(always)]
unsafe fn clear_tag(chunk: *mut u8) {
    // SAFETY: the caller's promise. No tag is zero.
    unsafe { chunk.cast::<u64>().write_unaligned(0) };
}
