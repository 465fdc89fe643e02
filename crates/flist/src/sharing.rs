//! The engine of the shared arena: magazines for each thread, pools under a lock.
//!
//! # The protocol
//!
//! A thread allocates from its own magazines, and frees to its own shelves, whichever thread
//! allocated the chunk: no free waits for another thread. Pools of small slabs belong to a
//! thread's cache, and chunks of other threads' pools are sent there a parcel at a time; a
//! thread that ends leaves cache and pools to the next one. All that is shared but the inboxes (pools,
//! extents, the list of caches) is changed under the heap's lock, for a batch of chunks at a time.
//!
//! ```text
//! thread A               thread B               one short lock
//! │ magazines, depots │  │ magazines, depots │  ⇄  │ pools │ extents │
//!   foreign ──parcels──▶   inbox
//! ```
//!
//! What needs no lock is in `front`, `behind` and `post`; here is the rest. Every slow path begins anew: it
//! knows nothing of why the fast path did not serve.

mod freeing;

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::NonNull;

use mallocer_core::{AllocError, Budget, Config, ConfigError, Ladder, Misuse, MisuseKind};

use crate::cache::{ANYONE, ThreadCache};
use crate::descriptor::{Kind, Tag};
use crate::flist::next_id;
use crate::front::{COMMON_BYTES, Front};
use crate::heap::{Heap, Route};
use crate::leaving::Leaving;
use crate::local::{Lane, Used, local};
use crate::lock::{Guard, Lock};
use crate::mark::{MARK_BYTES, clear_mark, has_mark};
use crate::misuse;
use crate::os;
use crate::place::{Found, Place};
use crate::pool::{Bare, LIVE, OS_PAGE};
use crate::pools::back;
use crate::registry::{Links, begin_thread};
use crate::reservation::Reservation;

/// A shared arena. It must stay where it is while it is in the registry.
pub(crate) struct Sharing {
    pub(crate) front: Front,
    pub(crate) lane: Lane,
    /// Whether threads find their caches in it without a tag, too.
    sole: bool,
    /// How the program is told of misuse: a process-wide heap must not unwind.
    pub(crate) tell: fn(Misuse) -> !,
    pub(crate) ladder: Ladder,
    pub(crate) budget: Budget,
    pub(crate) heap: Lock<Heap<Bare>>,
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
        (lane, sole): (Lane, bool),
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
        let mut heap = Heap::new(config, id, budget.clone(), LIVE);
        heap.exact = ladder.slabs().partition_point(|&slab| slab < MARK_BYTES).min(heap.pooled);
        heap.common = ladder.slabs().partition_point(|&slab| slab < COMMON_BYTES);
        let place = Place {
            base: reservation.base().as_ptr(),
            bytes: reservation.bytes(),
            descriptors: reservation.descriptors().0,
        };
        let (tag, key) = (Tag::new(id, Kind::Live), os::random() | 1 << 63);
        heap.key = key;
        let front = Front::new(tag, place, &ladder, &heap, key);
        let (heap, links) = (Lock::new(heap), UnsafeCell::new(Links::NONE));
        Ok(Sharing { front, lane, sole, tell, ladder, budget, heap, links })
    }

    #[inline(always)]
    pub(crate) fn alloc(&self, lane: Lane, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let cache = self.front.cache(lane);
        match cache.and_then(|cache| self.front.alloc(cache, layout)) {
            Some(chunk) => Ok(chunk),
            None => self.alloc_slow(layout, false),
        }
    }

    #[inline(always)]
    pub(crate) fn alloc_zeroed(
        &self,
        lane: Lane,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let cache = self.front.cache(lane);
        match cache.and_then(|cache| self.front.alloc(cache, layout)) {
            Some(chunk) => Ok(zero_if(true, chunk)),
            None => self.alloc_slow(layout, true),
        }
    }

    /// The number of the calling thread; makes the arena the last one used if the
    /// thread remembers it. Before the lock is taken, since a new thread takes another.
    pub(crate) fn thread(&self) -> Option<u64> {
        let local = local();
        if local.is_null() {
            return None;
        }
        // SAFETY: the words are this thread's.
        unsafe {
            if !(*local).recall(self.lane, self.front.tag()) && (*local).thread == 0 {
                (*local).thread = begin_thread(local)?;
            }
            Some((*local).thread)
        }
    }

    /// This thread's cache, found or made. A thread that cannot be noted has one together
    /// with all others like it, which it may use as long as it has the lock. Null if there
    /// is no memory for any.
    pub(crate) fn cache(&self, heap: &mut Heap<Bare>, thread: Option<u64>) -> *mut ThreadCache {
        // SAFETY: no cache is wanted.
        unsafe { self.cache_like(heap, thread, core::ptr::null_mut()) }
    }

    /// The same; if it has none yet, and no thread has `wanted`, it is that one.
    ///
    /// # Safety
    ///
    /// `wanted` is one of this arena's caches, or null.
    unsafe fn cache_like(
        &self,
        heap: &mut Heap<Bare>,
        thread: Option<u64>,
        wanted: *mut ThreadCache,
    ) -> *mut ThreadCache {
        if let Some(cache) = self.front.cache(self.lane) {
            return cache;
        }
        // SAFETY: passed on.
        let cache = unsafe { heap.cache_like(thread.unwrap_or(ANYONE), wanted) };
        if thread.is_some() && !cache.is_null() {
            // SAFETY: the words are this thread's, and not null, since it has a number.
            unsafe {
                (*local()).remember(self.lane, Used { tag: self.front.tag(), cache });
                if self.sole {
                    (*local()).set_sole(cache);
                }
            }
        }
        cache
    }

    /// Allocates what is not at hand.
    #[inline(never)]
    pub(crate) fn alloc_slow(
        &self,
        layout: Layout,
        zeroed: bool,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let cache = self.front.cache(self.lane);
        match cache.and_then(|cache| self.front.alloc_behind(cache, layout)) {
            Some(chunk) => Ok(zero_if(zeroed, chunk)),
            None => self.alloc_slower(layout, zeroed),
        }
    }

    /// The same, once the shelves of the cache at hand, if there is one, have none.
    #[cold]
    #[inline(never)]
    pub(crate) fn alloc_slower(
        &self,
        layout: Layout,
        zeroed: bool,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let front = &self.front;
        let at_hand = front.cache(self.lane).is_some();
        if let Some(cache) = front.cache(self.lane)
            && front.receive(cache, layout)
            && let Some(chunk) = front.alloc(cache, layout)
        {
            return Ok(zero_if(zeroed, chunk));
        }
        let thread = self.thread();
        if !at_hand
            && let Some(cache) = front.cache(self.lane)
            && let Some(chunk) =
                front.alloc(cache, layout).or_else(|| front.alloc_behind(cache, layout))
        {
            // The thread had used another arena in between.
            return Ok(zero_if(zeroed, chunk));
        }
        self.budget.retry(|| {
            let heap = self.heap.lock();
            let route = heap.route(layout.size(), layout.align());
            self.alloc_routed(heap, thread, route, layout, zeroed)
        })
    }

    /// Allocates from exactly the slab at `index`.
    pub(crate) fn alloc_slab(&self, index: usize) -> Result<NonNull<[u8]>, AllocError> {
        let size = self.ladder.slabs()[index];
        let thread = self.thread();
        self.budget.retry(|| {
            let heap = self.heap.lock();
            let route = if index < heap.pooled { Route::Pool(index) } else { Route::Extent };
            // A slab is at most 1 TiB, so its layout is valid.
            let layout = Layout::from_size_align(size, 1).map_err(|_| heap.refused(size))?;
            self.alloc_routed(heap, thread, route, layout, false)
        })
    }

    fn alloc_routed(
        &self,
        mut heap: Guard<'_, Heap<Bare>>,
        thread: Option<u64>,
        route: Route,
        layout: Layout,
        zeroed: bool,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let taken = self.take_routed(&mut heap, thread, route, layout);
        // What touches the chunk waits for its pages, and needs no lock for that.
        self.unlock(heap);
        let Taken { chunk, zero, marked } = taken?;
        if marked {
            // SAFETY: the chunk is the caller's, and has room for a mark.
            unsafe { clear_mark(chunk.cast().as_ptr()) };
        }
        Ok(zero_if(zeroed && !zero, chunk))
    }

    fn take_routed(
        &self,
        heap: &mut Heap<Bare>,
        thread: Option<u64>,
        route: Route,
        layout: Layout,
    ) -> Result<Taken, AllocError> {
        heap.attach()?;
        let cache = self.cache(heap, thread);
        // SAFETY: attached; the cache is this thread's, or used under the lock.
        unsafe {
            match route {
                Route::Nowhere => Err(AllocError::AboveLargestSlab {
                    requested: layout.size(),
                    largest: self.ladder.largest(),
                }),
                Route::Extent => {
                    let extent = heap.take_extent(cache, layout.size(), layout.align())?;
                    let chunk = NonNull::slice_from_raw_parts(extent.start, extent.bytes);
                    // A chunk of a pool may have begun here, and been freed.
                    Ok(Taken { chunk, zero: extent.zero, marked: !extent.zero })
                }
                Route::Pool(index) => {
                    let size = self.ladder.slabs()[index];
                    if cache.is_null() {
                        return Err(heap.refused(size_of::<ThreadCache>()));
                    }
                    let chunk = if index >= heap.exact {
                        Self::refill_and_pop(heap, cache, index)?
                    } else {
                        let mut slot = Bare(core::ptr::null_mut());
                        heap.take_chunks(cache, index, &mut slot, 1)?;
                        slot.0
                    };
                    let chunk = NonNull::slice_from_raw_parts(NonNull::new_unchecked(chunk), size);
                    Ok(Taken { chunk, zero: false, marked: index >= heap.exact })
                }
            }
        }
    }

    /// # Safety
    ///
    /// The arena is attached, and the cache is this thread's, or used under the lock.
    unsafe fn refill_and_pop(
        heap: &mut Heap<Bare>,
        cache: *mut ThreadCache,
        index: usize,
    ) -> Result<*mut u8, AllocError> {
        // SAFETY: passed on; after a refill there is a chunk.
        unsafe {
            let magazine = ThreadCache::shelves(cache).magazine(index);
            if let Some(Bare(chunk)) = (*magazine).pop() {
                return Ok(chunk);
            }
            heap.refill(cache, index)?;
            let Some(Bare(chunk)) = (*magazine).pop() else {
                return Err(heap.refused(size_of::<Bare>()));
            };
            Ok(chunk)
        }
    }

    /// Finds the live chunk at `address`: `Err` with whether it carries its mark, that is
    /// if it was freed already.
    fn find(&self, address: usize) -> Result<Found, bool> {
        let tag = Tag::from_number(self.front.tag());
        // SAFETY: the place is the reservation's. A chunk that is out of its pool may be
        // read, and those under the arena's own tag are long enough for a mark.
        unsafe {
            if let Some(found) = self.front.finder.place.find(tag, address) {
                let freed = has_mark(found.chunk, self.front.finder.key);
                return if freed { Err(true) } else { Ok(found) };
            }
            self.front.finder.place.find(Tag::new(tag.owner(), Kind::Exact), address).ok_or(false)
        }
    }

    /// Ends a slow path: unlocks, backs fresh memory with pages, and tells if a chunk was
    /// found twice meanwhile.
    pub(crate) fn unlock(&self, mut heap: Guard<'_, Heap<Bare>>) {
        let (unbacked, twice) = (heap.unbacked.take(), heap.twice.take());
        drop(heap);
        // SAFETY: of a step that a pool grew by so that this thread gets chunks of it.
        unsafe { back(unbacked) };
        if let Some(misuse) = twice {
            (self.tell)(misuse);
        }
    }

    /// What is wrong with `address`, as far as this heap can say.
    #[cold]
    pub(crate) fn diagnose(&self, operation: &'static str, address: usize) -> Misuse {
        misuse::diagnose(&self.heap.lock(), operation, address, None)
    }

    /// The live chunk at `address`; if there is none, tells what is wrong with it.
    pub(crate) fn find_or_tell(&self, operation: &'static str, address: usize) -> Found {
        match self.find(address) {
            Ok(found) => found,
            Err(freed) => {
                let misuse = diagnose(&self.heap.lock(), operation, address, None, freed);
                (self.tell)(misuse)
            }
        }
    }

    /// The length of the live chunk at `address`.
    pub(crate) fn len_of(&self, operation: &'static str, address: usize) -> usize {
        let found = self.front.find(address);
        let found = found.unwrap_or_else(|| self.find_or_tell(operation, address));
        // SAFETY: the descriptor of a live chunk of this arena.
        unsafe { (*found.descriptor).chunk_len() }
    }

    /// Whether `address` lies where this process's arenas have their chunks.
    pub(crate) fn may_hold(&self, address: usize) -> bool {
        address.wrapping_sub(self.front.finder.place.base.addr()) < self.front.finder.place.bytes
    }

    /// Has `chunks` chunks ready that hold `size` bytes each: see [`Heap::prepare`]. Compiled here, so
    /// that a crate with a heap of the process does not have all that it uses once more.
    #[cold]
    #[inline(never)]
    pub(crate) fn prepare(&self, size: usize, chunks: usize) -> Result<(), AllocError> {
        self.heap.lock().prepare(size, chunks)
    }

    /// Gives empty memory back to the system, also what this thread's magazines hold;
    /// returns how many bytes.
    pub(crate) fn purge(&self) -> usize {
        let thread = self.thread();
        let mut heap = self.heap.lock();
        if heap.reservation().is_none() {
            return 0;
        }
        let cache = self.cache(&mut heap, thread);
        // SAFETY: the cache is this thread's, or used under the lock.
        let bytes = unsafe { heap.give_up(cache, Leaving::System) };
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
        self.front.set_tag(Tag::new(heap.id, Kind::Live));
    }

    /// Leaves to others what a thread that ends has here; returns misuse that is found by it.
    pub(crate) fn end_thread(&self, thread: u64) -> Option<Misuse> {
        let mut heap = self.heap.lock();
        heap.leave_cache(thread);
        heap.twice.take()
    }
}

/// A chunk as it comes from the heap.
struct Taken {
    chunk: NonNull<[u8]>,
    /// Whether it reads as zero.
    zero: bool,
    /// Whether its mark may be there.
    marked: bool,
}

/// A chunk that was just allocated, with all of it zero if that is wanted.
#[inline(always)]
pub(crate) fn zero_if(wanted: bool, chunk: NonNull<[u8]>) -> NonNull<[u8]> {
    if wanted {
        // SAFETY: a chunk has its length.
        unsafe { chunk.cast::<u8>().write_bytes(0, chunk.len()) };
    }
    chunk
}

fn diagnose(
    heap: &Heap<Bare>,
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
