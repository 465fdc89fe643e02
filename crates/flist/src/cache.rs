//! What one thread has in one arena: its cache.
//!
//! ```text
//! Heap::caches ──▶ cache of thread 7 ──▶ cache of thread 3 ──▶ cache, free ──▶ …
//!                  │ thread, next        one shelf for each slab …           │
//! Index::taken[3] ─peer─▶ caches of threads 3, 67, 131, …
//! Index::free     ─peer─▶ caches of no thread ◀─before─
//! ```
//!
//! All of them are in one list, and by their threads in an index, so that thousands of threads
//! find theirs.
//!
//! A cache has a magazine for each slab, and the pools that it refills them from: its
//! own, so that threads do not share cache lines by having each other's neighbours. The
//! one-thread arena has one cache, of thread [`ONLY`]. The shared arena owns the caches
//! of all its threads: they are blocks of its bookkeeping, and go with it when it is
//! released. A thread that ends leaves it, pools and all, to the
//! next one, and what is in its magazines if it is little (see `warm`). Only the thread that a cache belongs to uses its magazines, anybody sends to its
//! inboxes, and all else of it changes under the arena's lock.

use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use mallocer_core::MAX_SLABS;

use crate::hardened::Shard;
use crate::heap::Heap;
use crate::os;
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
    /// The number of the thread it belongs to. It changes under the lock, and others look at it.
    thread: AtomicU64,
    pub(crate) next: *mut ThreadCache,
    /// The next one in the same part of the index.
    peer: *mut ThreadCache,
    /// The one before, as long as no thread has it.
    before: *mut ThreadCache,
    /// Bytes of chunks that it may hold back beyond its magazines.
    pub(crate) held_back: usize,
    /// Bytes of the heap when it was last scavenged, or else when it got its thread,
    pub(crate) heap_then: usize,
    /// and the least that the heap used since.
    pub(crate) used_then: usize,
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

    /// Whether no thread has it: the next one may.
    fn is_free(&self) -> bool {
        self.thread.load(Relaxed) == FREE_CACHE
    }

    /// Whether no thread has it for itself: others may take its pools.
    pub(crate) fn is_left(&self) -> bool {
        matches!(self.thread.load(Relaxed), FREE_CACHE | ANYONE)
    }
}

/// Parts of the index. Threads have numbers in a row.
const PARTS: usize = 64;

/// The caches of a heap by their threads.
pub(crate) struct Index {
    taken: [*mut ThreadCache; PARTS],
    free: *mut ThreadCache,
    /// How many have a thread.
    threads: usize,
}

impl Index {
    pub(crate) const EMPTY: Index =
        Index { taken: [ptr::null_mut(); PARTS], free: ptr::null_mut(), threads: 0 };

    /// The cache of thread number `thread`; null if it has none.
    ///
    /// # Safety
    ///
    /// The caches in here are alive, and do not change meanwhile.
    pub(crate) unsafe fn find(&self, thread: u64) -> *mut ThreadCache {
        let mut cache = self.taken[thread as usize % PARTS];
        // SAFETY: the caller's promise.
        unsafe {
            while !cache.is_null() && (*cache).thread.load(Relaxed) != thread {
                cache = (*cache).peer;
            }
        }
        cache
    }

    /// A cache of no thread, if there is one, which is in here no more: `wanted`, if no thread has it,
    /// else the one that was left last.
    ///
    /// # Safety
    ///
    /// As [`find`](Index::find), and `wanted` is one of them, or null.
    unsafe fn take_free(&mut self, wanted: *mut ThreadCache) -> Option<NonNull<ThreadCache>> {
        // SAFETY: the caller's promise.
        unsafe {
            let is_free = !wanted.is_null() && (*wanted).is_free();
            let cache = NonNull::new(if is_free { wanted } else { self.free })?;
            let (before, behind) = ((*cache.as_ptr()).before, (*cache.as_ptr()).peer);
            match before.is_null() {
                true => self.free = behind,
                false => (*before).peer = behind,
            }
            if !behind.is_null() {
                (*behind).before = before;
            }
            Some(cache)
        }
    }

    /// Makes a cache that is not in here the one of thread number `thread`.
    ///
    /// # Safety
    ///
    /// The cache is the heap's.
    unsafe fn put(&mut self, cache: *mut ThreadCache, thread: u64) {
        self.threads += 1;
        let part = &mut self.taken[thread as usize % PARTS];
        // SAFETY: the caller's promise.
        unsafe {
            (*cache).thread.store(thread, Relaxed);
            (*cache).peer = *part;
        }
        *part = cache;
    }

    /// Makes a cache in here one of no thread.
    ///
    /// # Safety
    ///
    /// It is a thread's.
    unsafe fn set_free(&mut self, cache: *mut ThreadCache) {
        self.threads -= 1;
        // SAFETY: the caller's promise: so it is in its part, whose caches are alive.
        unsafe {
            let mut place: *mut *mut ThreadCache =
                &raw mut self.taken[(*cache).thread.load(Relaxed) as usize % PARTS];
            while *place != cache {
                place = &raw mut (**place).peer;
            }
            *place = (*cache).peer;
            (*cache).thread.store(FREE_CACHE, Relaxed);
            (*cache).peer = self.free;
            (*cache).before = ptr::null_mut();
            if !self.free.is_null() {
                (*self.free).before = cache;
            }
        }
        self.free = cache;
    }
}

impl<S: Slot> Heap<S> {
    /// The cache of thread number `thread`: its own, else a free one, else a new one;
    /// null if there is no memory for it.
    pub(crate) fn cache_of(&mut self, thread: u64) -> *mut ThreadCache {
        // SAFETY: no cache is wanted.
        unsafe { self.cache_like(thread, ptr::null_mut()) }
    }

    /// The same; if it is to be a free one, `wanted` if that is free, or else the one that was left last.
    ///
    /// # Safety
    ///
    /// `wanted` is one of this arena's caches, or null.
    pub(crate) unsafe fn cache_like(
        &mut self,
        thread: u64,
        wanted: *mut ThreadCache,
    ) -> *mut ThreadCache {
        // SAFETY: the caller's promise. The index holds this arena's caches, whose heads change under
        // its lock.
        unsafe {
            let own = self.by_thread.find(thread);
            if !own.is_null() {
                return own;
            }
            let cache = match self.by_thread.take_free(wanted) {
                Some(free) => {
                    let warm = self.warm.remove(free.as_ptr());
                    if warm && self.decay.is_some() {
                        self.warm.changed_ms = os::now_ms();
                    }
                    if warm && thread == ANYONE {
                        // No thread allocates from its magazines.
                        self.drain(free.as_ptr());
                    }
                    free.as_ptr()
                }
                None => match self.new_cache() {
                    Some(new) => new.as_ptr(),
                    None => return ptr::null_mut(),
                },
            };
            (*cache).heap_then = self.heap;
            (*cache).used_then = self.used();
            self.by_thread.put(cache, thread);
            self.magazines.share_among(self.by_thread.threads);
            cache
        }
    }

    /// A cache that is no thread's yet, nor in the index.
    fn new_cache(&mut self) -> Option<NonNull<ThreadCache>> {
        let shelves = (self.shelved + 1) * size_of::<Shelf<S>>();
        let bytes = size_of::<ThreadCache>() + shelves;
        self.attach().ok()?;
        // All zero bytes are a head and shelves with nothing.
        let cache = self.meta().take_zeroed(bytes)?.cast::<ThreadCache>();
        // SAFETY: the block was taken for it.
        unsafe { (*cache.as_ptr()).next = self.caches };
        self.caches = cache.as_ptr();
        Some(cache)
    }

    /// Leaves the cache of a thread that ends to the next one.
    pub(crate) fn leave_cache(&mut self, thread: u64) {
        self.decay();
        // SAFETY: the index holds this arena's caches; the thread that ends is the caller,
        // so its magazines are its own.
        unsafe {
            let cache = self.by_thread.find(thread);
            if !cache.is_null() {
                self.drain_or_warm(cache);
                self.by_thread.set_free(cache);
                self.magazines.share_among(self.by_thread.threads);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::{HashMap, HashSet};
    use std::vec::Vec;

    use super::*;

    #[test]
    fn each_thread_finds_its_own_cache_and_a_free_one_is_no_threads() {
        // SAFETY: all zero bytes is the head of a cache of no thread.
        let mut caches: Vec<ThreadCache> =
            (0..300).map(|_| unsafe { core::mem::zeroed() }).collect();
        let mut unused: Vec<*mut ThreadCache> =
            caches.iter_mut().map(|cache| &raw mut *cache).collect();
        let (mut index, mut model) = (Index::EMPTY, HashMap::new());
        let (all, mut left) = (unused.clone(), HashSet::new());
        let mut as_wanted = 0;
        for round in 0..5_000_u64 {
            // Many threads to a part, and the one of all that have none.
            let thread = if round % 97 == 0 { ANYONE } else { 1 + round * 37 % 400 };
            let used = &all[unused.len()..];
            let wanted =
                used.get(round as usize * 7 % all.len()).copied().unwrap_or(ptr::null_mut());
            // SAFETY: the heads outlive the index.
            unsafe {
                let was_free = left.contains(&wanted);
                let found = index.find(thread);
                assert_eq!(model.get(&thread).copied().unwrap_or(ptr::null_mut()), found);
                if !found.is_null() {
                    index.set_free(found);
                    assert!((*found).is_left() && model.remove(&thread).is_some());
                    assert!(left.insert(found));
                } else if let Some(cache) = index.take_free(wanted) {
                    assert!(!was_free || cache.as_ptr() == wanted);
                    assert!(left.remove(&cache.as_ptr()));
                    as_wanted += usize::from(was_free);
                    index.put(cache.as_ptr(), thread);
                    model.insert(thread, cache.as_ptr());
                } else if let Some(cache) = unused.pop() {
                    assert!(left.is_empty());
                    index.put(cache, thread);
                    model.insert(thread, cache);
                }
                assert!(
                    model.iter().all(|(&thread, &cache)| (*cache).thread.load(Relaxed) == thread)
                );
            }
        }
        assert!(model.len() > 50 && !left.is_empty() && as_wanted > 50);
    }
}
