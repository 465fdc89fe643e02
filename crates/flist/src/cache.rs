//! The magazines of one thread in one shared arena.
//!
//! ```text
//! Heap::caches ──▶ cache of thread 7 ──▶ cache of thread 3 ──▶ cache, free ──▶ …
//!                  │ thread, next        one magazine for each slab …        │
//! ```
//!
//! The arena owns the caches of all its threads: they are blocks of its bookkeeping,
//! and go with it when it is released. A thread that ends flushes its cache and leaves
//! it to the next one. Only the thread that a cache belongs to uses its magazines;
//! `thread` and `next` are changed under the arena's lock.

use core::ptr;

use crate::heap::Heap;
use crate::slab::{Magazine, Magazines};

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
    pub(crate) fn magazines(cache: *mut ThreadCache) -> Magazines {
        // The magazines lie behind the head.
        let first = cache.wrapping_add(1).cast::<Magazine>();
        Magazines { first, stride: size_of::<Magazine>() }
    }
}

impl Heap {
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
            let magazines = (self.ladder.slabs().len() + 1) * size_of::<Magazine>();
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
