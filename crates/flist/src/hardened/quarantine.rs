//! Freed chunks, kept back for a while.
//!
//! A chunk that is freed takes the place of a random one among [`RANDOM`]; that one goes to
//! the end of a queue of [`QUEUED`]; and the one at the head of the queue leaves:
//!
//! ```text
//! free ──▶ │ random places │ ──▶ │ queue … │ ──▶ to the heap
//! ```
//!
//! So a chunk stays for at least as many frees as the queue is long, and nobody can tell for
//! how many (the scheme is hardened_malloc's), within a bound in bytes. Each thread has such
//! a place of its own, which hangs on the cache that it has in the heap, and needs no lock
//! for it; one that ends leaves it, chunks and all, to the next thread with that cache.
//! Threads without a cache share one place, under a lock.

use core::ptr;

use super::map_zeroed;
use super::random::Random;
use crate::cache::ThreadCache;
use crate::heap::Heap;
use crate::lock::{Guard, Lock};
use crate::pool::Bare;
use crate::sharing::Sharing;

/// How many chunks are kept in random places, and in the queue.
const RANDOM: usize = 64;
const QUEUED: usize = 64;
/// The most bytes that one thread keeps.
const MOST_BYTES: usize = 256 << 10;

/// What threads without a cache keep.
pub(super) struct Quarantine(&'static Lock<Shard>);

/// What one thread keeps. All zero bytes is nothing.
#[repr(align(64))]
pub(crate) struct Shard {
    random: [Kept; RANDOM],
    queue: [Kept; QUEUED],
    /// The oldest in the queue.
    head: usize,
    bytes: usize,
    numbers: Random,
}

/// A chunk that is kept, or null.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) chunk: *mut u8,
    pub(super) bytes: usize,
}

impl Kept {
    const NONE: Kept = Kept { chunk: ptr::null_mut(), bytes: 0 };
}

// SAFETY: a freed chunk belongs to whoever has it out of the shard.
unsafe impl Send for Shard {}

impl Quarantine {
    pub(super) fn new() -> Option<Quarantine> {
        // SAFETY: mapped for good; all zero bytes are a free lock of an empty shard.
        let shared = unsafe { map_zeroed::<Lock<Shard>>()?.as_ref() };
        Some(Quarantine(shared))
    }

    pub(super) fn shared(&self) -> Guard<'_, Shard> {
        self.0.lock()
    }

    pub(super) fn hold(&self) {
        self.0.hold();
    }

    /// # Safety
    ///
    /// This thread holds it.
    pub(super) unsafe fn let_go(&self) {
        // SAFETY: passed on.
        unsafe { self.0.let_go() };
    }
}

/// What the thread of a cache keeps; null if there is no memory for it.
///
/// # Safety
///
/// The cache is the calling thread's.
#[inline(always)]
pub(super) unsafe fn own(heap: &Sharing, cache: *mut ThreadCache) -> *mut Shard {
    #[cold]
    #[inline(never)]
    unsafe fn make(heap: &Sharing, cache: *mut ThreadCache) -> *mut Shard {
        let block = heap.heap.lock().meta().take_zeroed(size_of::<Shard>());
        let shard = block.map_or(ptr::null_mut(), |block| block.cast().as_ptr());
        // SAFETY: the caller's promise: nobody else uses this word.
        unsafe { (*cache).kept_back = shard };
        shard
    }
    // SAFETY: as above.
    unsafe {
        let shard = (*cache).kept_back;
        if shard.is_null() { make(heap, cache) } else { shard }
    }
}

/// Visits what threads that have ended left here.
///
/// # Safety
///
/// The heap's caches are alive, and `visit` does not use the heap.
pub(super) unsafe fn each_left(heap: &Heap<Bare>, visit: &mut dyn FnMut(Kept)) {
    let mut cache = heap.caches;
    // SAFETY: the list holds this arena's caches; a shard of one that no thread has is used
    // by nobody, since a thread gets the cache under the lock.
    unsafe {
        while !cache.is_null() {
            if (*cache).is_left()
                && let Some(shard) = (*cache).kept_back.as_ref()
            {
                shard.each().for_each(&mut *visit);
            }
            cache = (*cache).next;
        }
    }
}

impl Shard {
    /// Keeps a chunk; returns one that leaves for it, or nothing.
    #[inline(always)]
    pub(super) fn put(&mut self, kept: Kept) -> Kept {
        let place = self.numbers.below(RANDOM);
        let moved = core::mem::replace(&mut self.random[place], kept);
        self.bytes += kept.bytes;
        self.turn(moved)
    }

    /// Whether more should leave, since there are too many bytes.
    #[inline(always)]
    pub(super) fn has_too_many(&self) -> bool {
        self.bytes > MOST_BYTES
    }

    /// One that leaves because of that, or nothing.
    pub(super) fn surplus(&mut self) -> Kept {
        for _ in 0..QUEUED {
            if !self.has_too_many() {
                break;
            }
            let left = self.turn(Kept::NONE);
            if !left.chunk.is_null() {
                return left;
            }
        }
        Kept::NONE
    }

    /// Puts something, or nothing, at the end of the queue; returns what was at its head.
    #[inline(always)]
    fn turn(&mut self, last: Kept) -> Kept {
        let left = core::mem::replace(&mut self.queue[self.head % QUEUED], last);
        self.head = (self.head + 1) % QUEUED;
        self.bytes -= left.bytes;
        left
    }

    /// All that is kept.
    pub(super) fn each(&self) -> impl Iterator<Item = Kept> {
        let kept = self.random.iter().chain(&self.queue);
        kept.copied().filter(|kept| !kept.chunk.is_null())
    }
}
