//! Caches that their threads have left with chunks at hand.
//!
//! A thread that ends need not put back what its magazines hold: the next thread takes its cache over,
//! and begins with all of it. A program that starts a thread for each task would else put hundreds of
//! chunks back into pools and take them out again, one by one and under the lock, for each of them.
//!
//! Who begins with a free takes the cache that the chunk belongs to, so that what threads hand down to
//! their successors stays their own; who begins with an allocation, the cache that was left last.
//!
//! ```text
//! thread ends ──▶ cache, warm ──▶ next thread
//!                    │
//!                    └──somebody needs memory──▶ pools
//! ```
//!
//! What is in a warm cache is as good as free: before the heap grows by much, or gives memory up, all of
//! it goes back; also where no thread has come or gone for the heap's decay time. In a small heap whoever
//! finds no chunk in the pools of a slab takes it from there at once. In a large one that would be one
//! thread taking what the successor of another one is about to need.
//!
//! Chunks that go back to their pools are found if they were freed twice. Those that stay in a
//! magazine are compared with each other instead; what a depot has is looked at when it goes back.

use core::ptr;

use crate::cache::ThreadCache;
use crate::heap::Heap;
use crate::magazine::Magazine;
use crate::os;
use crate::pool::Slot;

/// At most so many caches are warm,
const WARM_MOST: usize = 8;
/// with so many bytes of chunks in all,
const WARM_BYTES: usize = 16 << 20;
/// or this part of the heap.
const WARM_SHARE: usize = 8;

/// The warm caches of a heap, the one that was left last behind the others.
pub(crate) struct Warm {
    caches: [(*mut ThreadCache, usize); WARM_MOST],
    len: usize,
    /// When one became warm, or a thread took one over; kept in a heap with a decay time.
    pub(crate) changed_ms: u64,
}

impl Warm {
    pub(crate) const NONE: Warm =
        Warm { caches: [(ptr::null_mut(), 0); WARM_MOST], len: 0, changed_ms: 0 };

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of chunks in all of them.
    fn bytes(&self) -> usize {
        self.caches[..self.len].iter().map(|&(_, bytes)| bytes).sum()
    }

    /// Adds a cache with so many bytes of chunks, if there is room.
    fn push(&mut self, cache: *mut ThreadCache, bytes: usize) -> bool {
        let Some(place) = self.caches.get_mut(self.len) else { return false };
        *place = (cache, bytes);
        self.len += 1;
        true
    }

    /// A cache is not warm any more, since it is to be a thread's; whether it was.
    pub(crate) fn remove(&mut self, cache: *mut ThreadCache) -> bool {
        let warm = &self.caches[..self.len];
        let Some(at) = warm.iter().rposition(|&(warm, _)| warm == cache) else { return false };
        self.caches.copy_within(at + 1..self.len, at);
        self.len -= 1;
        true
    }

    /// Whether a cache is warm.
    pub(crate) fn has(&self, cache: *mut ThreadCache) -> bool {
        self.caches[..self.len].iter().any(|&(warm, _)| warm == cache)
    }

    fn pop(&mut self) -> Option<*mut ThreadCache> {
        self.len = self.len.checked_sub(1)?;
        Some(self.caches[self.len].0)
    }
}

impl<S: Slot> Heap<S> {
    /// Puts back what the cache of a thread that ends is not to keep: all of it, if it is much.
    ///
    /// # Safety
    ///
    /// The arena is attached, and the cache is the caller's own, who uses it no more.
    pub(crate) unsafe fn drain_or_warm(&mut self, cache: *mut ThreadCache) {
        // SAFETY: passed on; there is a shelf for each of these slabs.
        unsafe {
            self.drain_all_but_own(cache);
            let shelves = ThreadCache::shelves::<S>(cache);
            let mut bytes = 0;
            for index in 0..self.common.min(self.pooled) {
                let chunks = (*shelves.magazine(index)).len()
                    + (*shelves.at(index)).full() * (*shelves.magazine(index)).cap();
                bytes += chunks as usize * self.stride(index);
            }
            let most = WARM_BYTES.max(self.heap / WARM_SHARE);
            if self.warm.bytes() + bytes > most || !self.warm.push(cache, bytes) {
                return self.drain(cache);
            }
            if self.decay.is_some() {
                self.warm.changed_ms = os::now_ms();
            }
            for index in 0..self.common.min(self.pooled) {
                if let Some(address) = drop_repeated(shelves.magazine(index)) {
                    self.note_twice(address, index);
                }
            }
        }
    }

    /// Puts back what warm caches have of the slab at `index`.
    ///
    /// # Safety
    ///
    /// The arena is attached.
    pub(crate) unsafe fn collect_warm(&mut self, index: usize) {
        for at in 0..self.warm.len {
            let (cache, _) = self.warm.caches[at];
            // SAFETY: warm caches are this arena's, and no thread's.
            unsafe {
                self.drain_own(cache, index);
                let shelf = ThreadCache::shelves::<S>(cache).at(index);
                self.drain_inbox(shelf, index, true);
            }
        }
    }

    /// Puts back all that warm caches have.
    ///
    /// # Safety
    ///
    /// The arena is attached.
    pub(crate) unsafe fn drain_warm(&mut self) {
        while let Some(cache) = self.warm.pop() {
            // SAFETY: warm caches are this arena's, and no thread's.
            unsafe { self.drain(cache) };
        }
    }
}

/// Takes a chunk out of a magazine that is in there once more, if there is one; returns its address.
///
/// A bit for each value of a hash tells most of the chunks apart, and only those that it does not are
/// looked for.
///
/// # Safety
///
/// The magazine is the caller's own.
unsafe fn drop_repeated<S: Slot>(magazine: *mut Magazine<S>) -> Option<usize> {
    const BITS: u32 = 13;
    let mut seen = [0_u64; (1 << BITS) / 64];
    // SAFETY: the caller's promise; the first `len` slots have chunks.
    unsafe {
        let (slots, len) = ((*magazine).slots(), (*magazine).len() as usize);
        let address = |at: usize| (*slots.add(at)).chunk().addr();
        for at in 0..len {
            // Fibonacci hashing (Knuth, volume 3, 6.4).
            let hash = (address(at) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - BITS);
            let (word, bit) = (&mut seen[hash as usize / 64], 1 << (hash % 64));
            if *word & bit != 0 && (0..at).any(|before| address(before) == address(at)) {
                let repeated = address(at);
                slots.add(at).write(*slots.add(len - 1));
                (*magazine).set_len(len as u32 - 1);
                return Some(repeated);
            }
            *word |= bit;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::pool::Bare;

    #[test]
    fn a_chunk_that_is_in_a_magazine_twice_is_taken_out_once() {
        for len in 0..128_usize {
            let chunks = |at: usize| ptr::without_provenance_mut::<u8>((1 << 20) + at * 48);
            let mut slots: Vec<Bare> = (0..128).map(|at| Bare(chunks(at))).collect();
            let mut magazine = Magazine::empty();
            magazine.replace(slots.as_mut_ptr(), 128, len as u32);
            // SAFETY: magazine and slots are this test's.
            unsafe {
                assert_eq!(drop_repeated(&raw mut magazine), None);
                assert_eq!(magazine.len(), len as u32);
                for first in 0..len {
                    let last = magazine.slots().add(len - 1);
                    let (kept, twice) = (*last, chunks(first));
                    last.write(Bare(twice));
                    let found = drop_repeated(&raw mut magazine);
                    assert_eq!(found, (first < len - 1).then_some(twice.addr()));
                    assert_eq!(magazine.len(), (len - usize::from(first < len - 1)) as u32);
                    magazine.set_len(len as u32);
                    magazine.slots().add(len - 1).write(kept);
                }
            }
        }
    }
}
