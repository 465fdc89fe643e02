//! The magazines of one thread in one arena.
//!
//! ```text
//! Heap::caches ──▶ cache of thread 7 ──▶ cache of thread 3 ──▶ cache, free ──▶ …
//!                  │ thread, next        one magazine for each slab …        │
//! ```
//!
//! The one-thread arena has one cache, of thread [`ONLY`]. The shared arena owns the caches
//! of all its threads: they are blocks of its bookkeeping, and go with it when it is released. A thread that ends flushes its cache and leaves
//! it to the next one. Only the thread that a cache belongs to uses its magazines;
//! `thread` and `next` are changed under the arena's lock.

use core::ptr;

use mallocer_core::MAX_SLABS;

use crate::heap::Heap;
use crate::pool::{Bare, Slot};
use crate::slab::{Magazine, Magazines};

/// The number under which the one-thread arena has its cache.
pub(crate) const ONLY: u64 = 1;

/// The magazines of an arena that has no memory yet: none of them has anything.
static NO_MAGAZINES: NoMagazines = NoMagazines([const { Magazine::empty() }; MAX_SLABS + 1]);

struct NoMagazines([Magazine<Bare>; MAX_SLABS + 1]);

// SAFETY: never written: a magazine without room is only ever read.
unsafe impl Sync for NoMagazines {}

impl<S: Slot> Magazines<S> {
    /// Magazines without anything, and without room.
    pub(crate) fn none() -> Magazines<S> {
        Magazines(ptr::addr_of!(NO_MAGAZINES.0).cast::<Magazine<S>>().cast_mut())
    }
}

/// The head of a cache; the magazines follow it.
#[repr(C, align(64))]
pub(crate) struct ThreadCache {
    /// The number of the thread it belongs to; 0 for none.
    pub(crate) thread: u64,
    pub(crate) next: *mut ThreadCache,
}

impl ThreadCache {
    /// The magazines of a cache, one for each slab.
    #[inline(always)]
    pub(crate) fn magazines<S>(cache: *mut ThreadCache) -> Magazines<S> {
        // They lie behind the head.
        Magazines(cache.wrapping_add(1).cast())
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
            let free = self.find_cache(0);
            if !free.is_null() {
                (*free).thread = thread;
                return free;
            }
            let magazines = (self.ladder.slabs().len() + 1) * size_of::<Magazine<S>>();
            let bytes = size_of::<ThreadCache>() + magazines;
            let Ok(_) = self.attach() else { return ptr::null_mut() };
            let Some(cache) = self.meta().take_zeroed(bytes) else { return ptr::null_mut() };
            let cache = cache.cast::<ThreadCache>().as_ptr();
            // All zero bytes are magazines without room.
            cache.write(ThreadCache { thread, next: self.caches });
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
                self.drain(ThreadCache::magazines(cache));
                (*cache).thread = 0;
            }
        }
    }

    unsafe fn find_cache(&self, thread: u64) -> *mut ThreadCache {
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
