//! What one thread has in one arena: its cache.
//!
//! ```text
//! Heap::caches ──▶ cache of thread 7 ──▶ cache of thread 3 ──▶ cache, free ──▶ …
//!                  │ thread, next        one shelf for each slab …           │
//! ```
//!
//! A cache has a magazine for each slab, and the pools that it refills them from: its
//! own, so that threads do not share cache lines by having each other's neighbours. The
//! one-thread arena has one cache, of thread [`ONLY`]. The shared arena owns the caches
//! of all its threads: they are blocks of its bookkeeping, and go with it when it is
//! released. A thread that ends flushes its cache and leaves it, pools and all, to the
//! next one. Only the thread that a cache belongs to uses its magazines; all else of it
//! changes under the arena's lock.

use core::ptr;

use mallocer_core::MAX_SLABS;

use crate::hardened::Shard;
use crate::heap::Heap;
use crate::pool::{Bare, Slot};
use crate::shelf::{Shelf, Shelves};

/// The number under which the one-thread arena has its cache.
pub(crate) const ONLY: u64 = 1;

/// The number of no thread: of a cache that is free.
pub(crate) const FREE_CACHE: u64 = 0;

/// The number under which the shared arena has a cache for all threads that cannot have
/// one of their own. It is used under the lock alone.
pub(crate) const ANYONE: u64 = u64::MAX;

/// The shelves of an arena that has no memory yet: none of them has anything.
static NO_SHELVES: NoShelves = NoShelves([const { Shelf::empty() }; MAX_SLABS + 1]);

struct NoShelves([Shelf<Bare>; MAX_SLABS + 1]);

// SAFETY: never written: a magazine without room is only ever read.
unsafe impl Sync for NoShelves {}

impl<S: Slot> Shelves<S> {
    /// Shelves without anything, and without room.
    pub(crate) fn none() -> Shelves<S> {
        Shelves(ptr::addr_of!(NO_SHELVES.0).cast::<Shelf<S>>().cast_mut())
    }
}

/// The head of a cache; the shelves follow it.
#[repr(C, align(64))]
pub(crate) struct ThreadCache {
    /// The number of the thread it belongs to.
    pub(crate) thread: u64,
    pub(crate) next: *mut ThreadCache,
    /// Bytes of chunks that it may hold back beyond its magazines.
    pub(crate) held_back: usize,
    /// Bytes of the heap when it was last scavenged, or else when it got its thread.
    pub(crate) scavenged_at: usize,
    /// What a hardened heap keeps back of this thread's; null before there is any.
    pub(crate) kept_back: *mut Shard,
}

impl ThreadCache {
    /// The shelves of a cache, one for each slab up to
    /// [`LARGEST_SHELVED`](crate::heap::LARGEST_SHELVED), and one behind.
    #[inline(always)]
    pub(crate) fn shelves<S>(cache: *mut ThreadCache) -> Shelves<S> {
        // They lie behind the head.
        Shelves(cache.wrapping_add(1).cast())
    }

    /// The cache of a shelf of the slab at `index`.
    pub(crate) fn of_shelf<S>(shelf: *mut Shelf<S>, index: usize) -> *mut ThreadCache {
        // The head is as long as a shelf.
        shelf.wrapping_sub(index + 1).cast()
    }

    /// Whether no thread has it for itself: others may take its pools.
    pub(crate) fn is_left(&self) -> bool {
        matches!(self.thread, FREE_CACHE | ANYONE)
    }
}

impl<S: Slot> Heap<S> {
    /// The cache of thread number `thread`: its own, else a free one, else a new one;
    /// null if there is no memory for it.
    pub(crate) fn cache_of(&mut self, thread: u64) -> *mut ThreadCache {
        // SAFETY: the list holds this arena's caches, whose heads change under its lock.
        unsafe {
            let own = self.find_cache(thread);
            if !own.is_null() {
                return own;
            }
            let free = self.find_cache(FREE_CACHE);
            if !free.is_null() {
                (*free).thread = thread;
                (*free).scavenged_at = self.heap;
                return free;
            }
            let shelves = (self.shelved + 1) * size_of::<Shelf<S>>();
            let bytes = size_of::<ThreadCache>() + shelves;
            let Ok(_) = self.attach() else { return ptr::null_mut() };
            let Some(cache) = self.meta().take_zeroed(bytes) else { return ptr::null_mut() };
            let cache = cache.cast::<ThreadCache>().as_ptr();
            // All zero bytes are shelves with nothing.
            let kept_back = ptr::null_mut();
            let (next, scavenged_at) = (self.caches, self.heap);
            cache.write(ThreadCache { thread, next, held_back: 0, scavenged_at, kept_back });
            self.caches = cache;
            cache
        }
    }

    /// Flushes the cache of a thread that ends, and leaves it to the next one.
    pub(crate) fn leave_cache(&mut self, thread: u64) {
        // SAFETY: the list holds this arena's caches; the thread that ends is the caller,
        // so its magazines are its own.
        unsafe {
            let cache = self.find_cache(thread);
            if !cache.is_null() {
                self.drain(cache);
                (*cache).thread = FREE_CACHE;
            }
        }
    }

    /// The cache of thread number `thread`; null if it has none.
    ///
    /// # Safety
    ///
    /// The arena's caches do not change meanwhile.
    pub(crate) unsafe fn find_cache(&self, thread: u64) -> *mut ThreadCache {
        let mut cache = self.caches;
        // SAFETY: the list holds this arena's caches.
        unsafe {
            while !cache.is_null() && (*cache).thread != thread {
                cache = (*cache).next;
            }
        }
        cache
    }
}
