//! Freed chunks, kept back for a while.
//!
//! A chunk that is freed goes to the end of a queue, and changes places with a random one in
//! the younger half. When the queue is too long, in chunks or in bytes, its head leaves:
//!
//! ```text
//!         head     older half  │ younger half           end
//! heap ◀──── │ 7 │ 2 │ 5 │ 4 │ 9 │ 1 │ 8 │ 3 │ ◀── free
//!                                ▲ ──────── ▲ change places
//! ```
//!
//! So a chunk stays for at least as many frees as half of the queue is long, and nobody can
//! tell for how many (hardened_malloc does so with two arrays). Each thread has a queue of its
//! own, which hangs on the cache that it has in the heap, and needs no lock for it; one that
//! ends leaves it, chunks and all, to the next thread with that cache. Threads without a
//! cache share one queue, under a lock.

use core::ptr;

use super::{LARGEST_SMALL, map_zeroed};
use crate::cache::ThreadCache;
use crate::heap::Heap;
use crate::lock::{Guard, Lock};
use crate::pool::Bare;
use crate::sharing::Sharing;

/// How many chunks one thread keeps at most,
const MOST: usize = 128;
/// and how many bytes of them.
const MOST_BYTES: usize = 256 << 10;

/// The youngest never leaves at once, however large it is.
const _: () = assert!(MOST_BYTES >= 4 * LARGEST_SMALL);

/// What threads without a cache keep.
pub(super) struct Quarantine(&'static Lock<Shard>);

/// What one thread keeps. All zero bytes is nothing.
#[repr(align(64))]
pub(crate) struct Shard {
    /// How many came since the beginning, and how many left.
    came: usize,
    left: usize,
    bytes: usize,
    /// A ring: the oldest is at `left`, the next one comes at `came`.
    queue: [Kept; MOST],
}

/// A chunk that is kept: its address and its bytes, both in units of 16 bytes, in one word,
/// since two of them change places again and again.
#[derive(Clone, Copy)]
pub(super) struct Kept(u64);

const UNIT: usize = 16;
const BYTES_BITS: u32 = 13;

const _: () = assert!(LARGEST_SMALL / UNIT < 1 << BYTES_BITS);

impl Kept {
    #[inline(always)]
    pub(super) fn new(chunk: *mut u8, bytes: usize) -> Kept {
        let (address, units) = (chunk.addr() / UNIT, bytes / UNIT);
        Kept((address << BYTES_BITS | units) as u64)
    }

    #[inline(always)]
    pub(super) fn address(self) -> usize {
        (self.0 >> BYTES_BITS) as usize * UNIT
    }

    #[inline(always)]
    pub(super) fn bytes(self) -> usize {
        (self.0 as usize & ((1 << BYTES_BITS) - 1)) * UNIT
    }
}

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
    /// Keeps a chunk. There is room, if all that [`surplus`](Shard::surplus) has were taken
    /// before. Where it goes follows from `secret`, a number that nobody knows, and from how
    /// many came before, so that it takes no further random number.
    #[inline(always)]
    pub(super) fn put(&mut self, kept: Kept, secret: u64) {
        let young = (self.came - self.left) / 2 + 1;
        let mixed = (secret ^ self.came as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let other = self.came - ((mixed as usize * young) >> 32);
        let moved = *self.at(other);
        *self.at(self.came) = moved;
        *self.at(other) = kept;
        self.came += 1;
        self.bytes += kept.bytes();
    }

    /// The oldest, if there are too many.
    #[inline(always)]
    pub(super) fn surplus(&mut self) -> Option<Kept> {
        let too_many = self.came - self.left == MOST || self.bytes > MOST_BYTES;
        too_many.then(|| self.take_oldest())
    }

    /// The oldest, if there is one.
    pub(super) fn take(&mut self) -> Option<Kept> {
        (self.came > self.left).then(|| self.take_oldest())
    }

    #[inline(always)]
    fn take_oldest(&mut self) -> Kept {
        let kept = *self.at(self.left);
        self.left += 1;
        self.bytes -= kept.bytes();
        kept
    }

    #[inline(always)]
    fn at(&mut self, number: usize) -> &mut Kept {
        &mut self.queue[number % MOST]
    }

    /// All that is kept.
    pub(super) fn each(&self) -> impl Iterator<Item = Kept> {
        (self.left..self.came).map(|number| self.queue[number % MOST])
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::HashSet;
    use std::vec::Vec;

    use super::*;

    fn empty() -> Shard {
        // SAFETY: all zero bytes is an empty one.
        unsafe { core::mem::zeroed() }
    }

    /// Frees chunks of these bytes; returns how many frees each stayed for.
    fn stays(bytes: usize, frees: usize) -> Vec<usize> {
        let (mut shard, mut stays) = (empty(), Vec::new());
        for number in 1..=frees {
            shard.put(Kept::new(ptr::without_provenance_mut(number * UNIT), bytes), 5);
            while let Some(kept) = shard.surplus() {
                assert_eq!(kept.bytes(), bytes);
                stays.push(number - kept.address() / UNIT);
            }
        }
        let kept: HashSet<_> = shard.each().map(Kept::address).collect();
        assert_eq!(kept.len() + stays.len(), frees, "none is lost, and none there twice");
        assert_eq!(shard.bytes, kept.len() * bytes);
        stays
    }

    #[test]
    fn a_chunk_stays_for_half_of_the_queue_at_least_and_nobody_knows_how_long() {
        for (bytes, least) in [(96, MOST / 2 - 2), (MOST_BYTES / 16, 7), (LARGEST_SMALL, 2)] {
            let stays = stays(bytes, 10_000);
            assert!(stays.iter().all(|&stay| stay >= least), "{bytes}: {:?}", stays.iter().min());
            assert!(stays.iter().collect::<HashSet<_>>().len() > 2, "{bytes}");
        }
    }

    #[test]
    fn what_is_taken_is_no_more_kept() {
        let mut shard = empty();
        shard.put(Kept::new(ptr::without_provenance_mut(48), 16), 5);
        assert_eq!(shard.take().map(Kept::address), Some(48));
        assert!(shard.take().is_none() && shard.bytes == 0);
    }
}
