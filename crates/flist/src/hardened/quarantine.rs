//! Freed chunks, kept back for a while.
//!
//! A chunk that is freed goes to the end of a ring, and changes places with a random one in
//! the younger half; the oldest one leaves:
//!
//! ```text
//!         oldest     older half  │ younger half          youngest
//! heap ◀──── │ 7 │ 2 │ 5 │ 4 │ 9 │ 1 │ 8 │ 3 │ ◀── free
//!                                ▲ ──────── ▲ change places
//! ```
//!
//! So a chunk stays for at least as many frees as half of the ring is long, and nobody can
//! tell for how many (hardened_malloc does so with two arrays). There are three rings, for
//! chunks of different length: what is kept back should not push what the program uses out of
//! the processor's caches.
//!
//! Each thread has rings of its own, which hang on the cache that it has in the heap, and needs
//! no lock for them; one that ends leaves them, chunks and all, to the next thread with that
//! cache. Threads without a cache share some, under a lock.

use core::ptr;

use mallocer_core::MAX_SLABS;

use super::map_zeroed;
use crate::cache::ThreadCache;
use crate::heap::Heap;
use crate::lock::{Guard, Lock};
use crate::pool::Bare;
use crate::sharing::Sharing;
use crate::shelf::SHELF_BYTES;

/// The ring for chunks of up to so many bytes has so many places,
pub(super) const SHORT_BYTES: usize = 1024;
const SHORT: usize = 128;
/// the next one so many,
const MIDDLE_BYTES: usize = 8192;
const MIDDLE: usize = 16;
/// and that for all others so many.
const LONG: usize = 4;

/// What threads without a cache keep.
pub(super) struct Quarantine(&'static Lock<Shard>);

/// What one thread keeps. All zero bytes is nothing.
#[repr(C, align(64))]
pub(crate) struct Shard {
    short: Ring<SHORT>,
    middle: Ring<MIDDLE>,
    long: Ring<LONG>,
}

struct Ring<const PLACES: usize> {
    /// How many came since the beginning. The next one comes where the oldest is.
    came: usize,
    kept: [Kept; PLACES],
}

/// A chunk that is kept, in one word, since two of them change places again and again: its
/// address and how far behind the head of a cache the shelf is that it goes to, with one bit
/// that says that its pool was another thread's when it was freed. (A pool that has changed
/// hands meanwhile gets it back by a longer way.) Zero is none.
///
/// ```text
/// │ address, 48 bits │ distance of the shelf, 16 bits, the lowest one: foreign │
/// ```
#[derive(Clone, Copy)]
pub(super) struct Kept(u64);

const DISTANCE_BITS: u32 = 16;
const FOREIGN: usize = 1;

const _: () = assert!((MAX_SLABS + 1) * SHELF_BYTES < 1 << DISTANCE_BITS);

/// Where a chunk goes in the end: to which shelf, and whether as one of a foreign pool.
#[derive(Clone, Copy)]
pub(super) struct Target(usize);

impl Target {
    /// The shelf so many bytes behind the head of a cache, as one of its own chunks.
    #[inline(always)]
    pub(super) fn own(distance: usize) -> Target {
        Target(distance)
    }

    /// The shelf of the slab at an index, as a chunk of another cache's pool.
    #[inline(always)]
    pub(super) fn foreign(slab: usize) -> Target {
        Target(((slab + 1) * SHELF_BYTES) | FOREIGN)
    }

    /// How far the shelf is behind the head of a cache.
    #[inline(always)]
    pub(super) fn distance(self) -> usize {
        self.0 & !FOREIGN
    }

    #[inline(always)]
    pub(super) fn is_own(self) -> bool {
        self.0 & FOREIGN == 0
    }
}

impl Kept {
    #[inline(always)]
    pub(super) fn new(chunk: *mut u8, target: Target) -> Kept {
        debug_assert!(chunk.addr() >> (u64::BITS - DISTANCE_BITS) == 0);
        Kept((chunk.addr() << DISTANCE_BITS | target.0) as u64)
    }

    #[inline(always)]
    pub(super) fn address(self) -> usize {
        (self.0 >> DISTANCE_BITS) as usize
    }

    #[inline(always)]
    pub(super) fn target(self) -> Target {
        Target(self.0 as usize & ((1 << DISTANCE_BITS) - 1))
    }

    /// The index of its slab.
    pub(super) fn slab(self) -> usize {
        self.target().distance() / SHELF_BYTES - 1
    }

    #[inline(always)]
    fn or_none(self) -> Option<Kept> {
        (self.0 != 0).then_some(self)
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

impl<const PLACES: usize> Ring<PLACES> {
    /// Keeps a chunk; returns the oldest, if there are too many. Where the chunk goes follows
    /// from `secret`, a number that nobody knows, and from how many came before, so that it
    /// takes no further random number.
    #[inline(always)]
    fn exchange(&mut self, kept: Kept, secret: u64) -> Option<Kept> {
        const { assert!(PLACES.is_power_of_two() && PLACES > 2) };
        let young = const { PLACES.trailing_zeros() - 1 };
        let mixed = (secret ^ self.came as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let back = (mixed >> (u64::BITS - young)) as usize;
        let (last, other) = (self.came % PLACES, self.came.wrapping_sub(back) % PLACES);
        let oldest = self.kept[last];
        self.kept[last] = self.kept[other];
        self.kept[other] = kept;
        self.came = self.came.wrapping_add(1);
        oldest.or_none()
    }

    fn take(&mut self) -> Option<Kept> {
        let place = self.kept.iter_mut().find(|kept| kept.0 != 0)?;
        Some(core::mem::replace(place, Kept(0)))
    }

    fn each(&self) -> impl Iterator<Item = Kept> {
        self.kept.iter().filter_map(|kept| kept.or_none())
    }
}

impl Shard {
    /// Keeps a chunk of at most [`SHORT_BYTES`]; returns the one that leaves instead.
    #[inline(always)]
    pub(super) fn exchange_short(&mut self, kept: Kept, secret: u64) -> Option<Kept> {
        self.short.exchange(kept, secret)
    }

    /// The same, of so many bytes.
    #[inline(always)]
    pub(super) fn exchange(&mut self, kept: Kept, bytes: usize, secret: u64) -> Option<Kept> {
        if bytes <= SHORT_BYTES {
            self.short.exchange(kept, secret)
        } else if bytes <= MIDDLE_BYTES {
            self.middle.exchange(kept, secret)
        } else {
            self.long.exchange(kept, secret)
        }
    }

    /// Takes one out, whichever.
    pub(super) fn take(&mut self) -> Option<Kept> {
        self.short.take().or_else(|| self.middle.take()).or_else(|| self.long.take())
    }

    /// All that is kept.
    pub(super) fn each(&self) -> impl Iterator<Item = Kept> {
        self.short.each().chain(self.middle.each()).chain(self.long.each())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::HashSet;
    use std::vec::Vec;

    use super::super::LARGEST_SMALL;
    use super::*;

    const UNIT: usize = 16;

    fn empty() -> Shard {
        // SAFETY: all zero bytes is an empty one.
        unsafe { core::mem::zeroed() }
    }

    fn kept(number: usize) -> Kept {
        Kept::new(ptr::without_provenance_mut(number * UNIT), Target::foreign(3))
    }

    /// Frees chunks of these bytes; returns how many frees each stayed for.
    fn stays(bytes: usize, frees: usize) -> Vec<usize> {
        let (mut shard, mut stays) = (empty(), Vec::new());
        for number in 1..=frees {
            let left = shard.exchange(kept(number), bytes, 5);
            stays.extend(left.map(|left| number - left.address() / UNIT));
        }
        let kept: HashSet<_> = shard.each().map(Kept::address).collect();
        assert_eq!(kept.len() + stays.len(), frees, "none is lost, and none there twice");
        stays
    }

    #[test]
    fn a_chunk_stays_for_half_of_the_ring_at_least_and_nobody_knows_how_long() {
        for (bytes, places) in [(96, SHORT), (MIDDLE_BYTES, MIDDLE), (LARGEST_SMALL, LONG)] {
            let stays = stays(bytes, 10_000);
            assert!(stays.iter().all(|&stay| stay > places / 2), "{bytes}");
            assert!(stays.iter().collect::<HashSet<_>>().len() > 2, "{bytes}");
        }
    }

    #[test]
    fn what_is_taken_is_no_more_kept() {
        for bytes in [96, MIDDLE_BYTES, LARGEST_SMALL] {
            let mut shard = empty();
            assert!(shard.exchange(kept(3), bytes, 5).is_none());
            assert_eq!(shard.take().map(Kept::address), Some(48));
            assert!(shard.take().is_none() && shard.each().next().is_none());
        }
    }

    #[test]
    fn what_is_kept_is_known_by_its_word() {
        let address = (1 << 47) - UNIT;
        for slab in [0, 7, MAX_SLABS - 1] {
            for (target, own) in
                [(Target::own((slab + 1) * SHELF_BYTES), true), (Target::foreign(slab), false)]
            {
                let kept = Kept::new(ptr::without_provenance_mut(address), target);
                let is_own = kept.target().is_own();
                assert_eq!((kept.address(), kept.slab(), is_own), (address, slab, own));
            }
        }
    }
}
