//! Magazines: short stacks of chunks that are ready.
//!
//! ```text
//!           │ 0 │ 1 │ … │   │ …            │
//! base ──────▲            ▲ top             ▲ limit
//!                         the next chunk to hand out is the one below
//! ```
//!
//! Three pointers instead of one, a length and a room: the fast paths compare and store
//! one of them, and compute no address. Magazines are Bonwick and Adams's ("Magazines and
//! Vmem", 2001).

use core::alloc::Layout;
use core::cell::Cell;
use core::ops::RangeInclusive;
use core::ptr;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::Relaxed;

use crate::foreign::foreign_bytes;
use crate::heap::{rounded, serves_aligned};
use crate::pool::{Bare, Slot};
use crate::shelf::DEPOT_MOST;

/// What a magazine of one slab holds at most, in bytes of chunks.
const MAGAZINE_BYTES: usize = 128 << 10;
/// And the part of the arena's capacity that this may be.
const MAGAZINE_SHARE: usize = 256;
/// A thread may hold back as much as this many magazines.
const THREAD_MAGAZINES: usize = 8;
/// And in chunks, at most and at least.
const MAGAZINE_MOST: u32 = 128;
const MAGAZINE_LEAST: u32 = if cfg!(mallocer_loom) { MODELLED } else { 8 };
/// In a model, whose programs are to be small.
const MODELLED: u32 = 4;
/// A new magazine's room; it grows when it runs empty or full.
const MAGAZINE_FIRST: u32 = 16;
/// What is sent to another thread at once, in bytes of chunks.
const PARCEL_BYTES: usize = 16 << 10;
const _: () = assert!(PARCEL_BYTES <= MAGAZINE_BYTES);
/// If there are more threads than this, parcels and steps of pools are smaller in proportion, and no
/// refill is larger than a parcel: what each of them has of each slab lies idle,
const FEW_THREADS: usize = 4;
/// down to so many bytes,
const LEAST_PARCEL_BYTES: usize = 2 << 10;
/// but no smaller than makes this part of the slab's memory for all threads.
const PARCELS_SHARE: usize = 8;
/// Then the magazines of all threads together have room for so many bytes of chunks, but for those that
/// are as small as they come.
const CROWD_BYTES: usize = 16 << 20;
/// And in chunks: as many as have room in a KiB of bookkeeping.
const PARCEL_MOST: u32 = ((1024 - foreign_bytes::<Bare>(0)) / size_of::<Bare>()) as u32;
/// And that may be on its way to one, in chunks.
const IN_FLIGHT_MOST: usize = 1 << 15;
/// What a depot of one slab and thread holds at most, in bytes of chunks.
const DEPOT_BYTES: usize = 2048 << 10;
/// And the part of the arena's capacity that this may be.
const DEPOT_SHARE: usize = 2048;

/// A stack of chunks of one slab. All zero bytes is one without room.
///
/// Only its thread changes it, by plain loads and plain stores; other threads read the pointers for
/// statistics, and may see some of before and some of after a change.
#[repr(C)]
pub(crate) struct Magazine<S> {
    /// Behind the last chunk.
    top: AtomicPtr<S>,
    base: AtomicPtr<S>,
    limit: AtomicPtr<S>,
    /// The smallest request that the slab serves, in bytes, and how many sizes it
    /// serves: for a sized free. None as long as the shelf has had no chunk, or if they are too
    /// many. On a shelf for extents, OS pages of the one that was freed last, and whether as many
    /// were asked for since.
    least: Cell<u32>,
    sizes: Cell<u16>,
    /// How many pools were made for its shelf, up to [`POOLS_MOST`], and whether the shelf's depot
    /// is full and gets no more, see [`DEPOT_FULL`].
    /// They are here because there is room.
    made: Cell<u8>,
}

/// The bit that says that the depot is full and gets no more.
const DEPOT_FULL: u8 = 0x80;
/// More pools are not counted.
const POOLS_MOST: u8 = DEPOT_FULL - 1;

impl<S: Slot> Magazine<S> {
    pub(crate) const fn empty() -> Magazine<S> {
        Magazine {
            top: AtomicPtr::new(ptr::null_mut()),
            base: AtomicPtr::new(ptr::null_mut()),
            limit: AtomicPtr::new(ptr::null_mut()),
            least: Cell::new(0),
            sizes: Cell::new(0),
            made: Cell::new(0),
        }
    }

    /// How many pools were made for its shelf.
    pub(crate) fn pools(&self) -> u32 {
        (self.made.get() & POOLS_MOST).into()
    }

    /// Notes that a pool was made for its shelf.
    pub(crate) fn note_pool(&self) {
        if self.pools() < POOLS_MOST.into() {
            self.made.set(self.made.get() + 1);
        }
    }

    /// Whether the depot of its shelf is full and gets no more.
    #[inline(always)]
    pub(crate) fn is_depot_full(&self) -> bool {
        self.made.get() & DEPOT_FULL != 0
    }

    /// Says whether the depot of its shelf is full and gets no more.
    pub(crate) fn set_depot_full(&self, full: bool) {
        self.made.set(self.made.get() & POOLS_MOST | if full { DEPOT_FULL } else { 0 });
    }

    /// Says which sizes the slab serves.
    pub(crate) fn set_sizes(&self, sizes: RangeInclusive<usize>) {
        self.least.set(*sizes.start() as u32);
        self.sizes.set(u16::try_from(sizes.end() - sizes.start() + 1).unwrap_or(0));
    }

    /// Notes that an extent of its slab was freed.
    pub(crate) fn note_freed(&self) {
        self.least.set(1);
    }

    /// Notes that an extent of its slab was asked for.
    pub(crate) fn note_wanted(&self) {
        if self.least.get() != 0 {
            self.sizes.set(1);
        }
    }

    /// Whether an extent was asked for, of as many OS pages as the one had that was freed last.
    pub(crate) fn was_wanted(&self) -> bool {
        self.sizes.get() != 0
    }

    /// Whether the slab serves `size` bytes; `false` also if that is not known yet.
    #[inline(always)]
    pub(crate) fn serves(&self, size: usize) -> bool {
        size.wrapping_sub(self.least.get() as usize) < self.sizes.get() as usize
    }

    /// Whether the slab serves a layout whose alignment not every slab has: it is the first one for as
    /// much, rounded up to the alignment, and a multiple of it. `false` also if it is further up, or
    /// not known.
    #[inline(always)]
    pub(crate) fn serves_aligned(&self, layout: Layout) -> bool {
        let slab = (self.least.get() as usize + self.sizes.get() as usize).wrapping_sub(1);
        serves_aligned(slab, layout) && self.serves(rounded(layout))
    }

    /// How many chunks there are.
    pub(crate) fn len(&self) -> u32 {
        self.behind(&self.top)
    }

    /// How many chunks there is room for.
    pub(crate) fn cap(&self) -> u32 {
        self.behind(&self.limit)
    }

    /// How many slots there are between the first one and `end`.
    fn behind(&self, end: &AtomicPtr<S>) -> u32 {
        let bytes = end.load(Relaxed).addr().wrapping_sub(self.slots().addr());
        (bytes / size_of::<S>()) as u32
    }

    /// The slots, from the oldest chunk on; null if there is no room.
    #[inline(always)]
    pub(crate) fn slots(&self) -> *mut S {
        self.base.load(Relaxed)
    }

    /// Says that the first `len` slots have chunks.
    pub(crate) fn set_len(&self, len: u32) {
        debug_assert!(len <= self.cap());
        self.top.store(self.slots().wrapping_add(len as usize), Relaxed);
    }

    /// Adds `count` chunks, of which the last is the next to hand out.
    ///
    /// # Safety
    ///
    /// There is room for them, and the magazine is the calling thread's.
    pub(crate) unsafe fn append(&self, slots: *const S, count: u32) {
        let len = self.len();
        debug_assert!(count <= self.cap() - len);
        // SAFETY: the caller's promise.
        unsafe {
            let top = self.slots().add(len as usize);
            top.copy_from_nonoverlapping(slots, count as usize);
        }
        self.set_len(len + count);
    }

    /// Goes on with other slots, of which there are `cap`; the first `len` have chunks.
    pub(crate) fn replace(&self, slots: *mut S, cap: u32, len: u32) {
        self.base.store(slots, Relaxed);
        self.limit.store(slots.wrapping_add(cap as usize), Relaxed);
        self.set_len(len);
    }

    /// Takes the newest chunk.
    ///
    /// # Safety
    ///
    /// The magazine is the calling thread's.
    #[inline(always)]
    pub(crate) unsafe fn pop(&self) -> Option<S> {
        let top = self.top.load(Relaxed);
        // SAFETY: 1. Only this thread changes the pointer, so that a plain load of it races with no
        // store; an atomic one is not made part of the comparison. 2. Above its base there is a
        // chunk below the top.
        unsafe {
            if top == self.base.as_ptr().read() {
                return None;
            }
            let last = top.sub(1);
            self.top.store(last, Relaxed);
            Some(*last)
        }
    }

    /// Adds a chunk; `false` if the magazine is full.
    ///
    /// # Safety
    ///
    /// The magazine is the calling thread's.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, slot: S) -> bool {
        let top = self.top.load(Relaxed);
        // SAFETY: 1. As in `pop`. 2. Below its limit there is a slot at the top.
        unsafe {
            if top == self.limit.as_ptr().read() {
                return false;
            }
            top.write(slot);
            self.top.store(top.add(1), Relaxed);
        }
        true
    }
}

/// Bounds of the magazines of an arena, in bytes of chunks.
#[derive(Clone, Copy)]
pub(crate) struct MagazineBounds {
    bytes: usize,
    depot_bytes: usize,
    threads: usize,
}

impl MagazineBounds {
    /// Those of an arena with `capacity` bytes: what magazines hold back must stay a
    /// small part of it.
    pub(crate) fn new(capacity: usize) -> MagazineBounds {
        MagazineBounds {
            bytes: MAGAZINE_BYTES.min(capacity / MAGAZINE_SHARE),
            depot_bytes: DEPOT_BYTES.min(capacity / DEPOT_SHARE),
            threads: 1,
        }
    }

    /// Says how many threads there are.
    pub(crate) fn share_among(&mut self, threads: usize) {
        self.threads = threads.max(1);
    }

    /// How many times more threads there are than [a few](FEW_THREADS), and 1 if there are fewer.
    pub(crate) fn crowd(self) -> usize {
        (self.threads / FEW_THREADS).max(1)
    }

    /// The bytes of chunks that all magazines of one thread may have room for; `None` if there are few
    /// threads.
    pub(crate) fn room(self) -> Option<usize> {
        (self.crowd() > 1).then(|| CROWD_BYTES / self.threads)
    }

    /// What one thread may hold back of an arena however small its heap, in bytes.
    pub(crate) fn share(self) -> usize {
        self.bytes * THREAD_MAGAZINES
    }

    /// The most chunks of `stride` bytes that a magazine has room for.
    pub(crate) fn most(self, stride: usize) -> u32 {
        ((self.bytes / stride) as u32).clamp(MAGAZINE_LEAST, MAGAZINE_MOST)
    }

    /// The room of a magazine that has `cap` slots now and is too small.
    pub(crate) fn larger(self, cap: u32, stride: usize) -> u32 {
        let most = self.most(stride);
        if cap == 0 { MAGAZINE_FIRST.min(most) } else { (cap * 2).min(most) }
    }

    /// How many chunks of `stride` bytes an empty magazine with room for `cap` gets from the pools of a
    /// slab that has `heap` bytes.
    pub(crate) fn refill(self, cap: u32, stride: usize, heap: usize) -> u32 {
        let most = if self.crowd() > 1 { self.parcel(stride, heap) } else { u32::MAX };
        (cap / 2).min(most).max(1)
    }

    /// How many chunks of `stride` bytes are sent to another thread at once, of a slab that has `heap`
    /// bytes.
    pub(crate) fn parcel(self, stride: usize, heap: usize) -> u32 {
        let share = (PARCEL_BYTES / self.crowd()).max(heap / PARCELS_SHARE / self.threads);
        self.parcel_of(share.clamp(LEAST_PARCEL_BYTES, PARCEL_BYTES), stride)
    }

    /// The most that it may be.
    pub(crate) fn largest_parcel(self, stride: usize) -> u32 {
        self.parcel_of(PARCEL_BYTES, stride)
    }

    fn parcel_of(self, bytes: usize, stride: usize) -> u32 {
        ((bytes.min(self.bytes) / stride) as u32).clamp(MAGAZINE_LEAST, PARCEL_MOST)
    }

    /// A thread to which so many chunks of `stride` bytes are on their way gets no more: as many bytes as
    /// its depot may hold.
    pub(crate) fn in_flight(self, stride: usize) -> u32 {
        (self.depot_bytes / stride).clamp(1, IN_FLIGHT_MOST) as u32
    }

    /// How many full magazines of `stride` bytes a chunk a depot may hold.
    pub(crate) fn depot(self, stride: usize) -> u32 {
        let full = self.most(stride) as usize * stride;
        (self.depot_bytes / full).min(DEPOT_MOST) as u32
    }
}

/// Bytes of a magazine with room for `cap` chunks.
pub(crate) fn magazine_bytes<S>(cap: u32) -> usize {
    cap as usize * size_of::<S>()
}

#[cfg(test)]
mod tests {
    use mallocer_core::Ladder;

    use super::*;
    use crate::heap::aligned_slab;
    use crate::pool::Bare;

    #[test]
    fn a_layout_that_is_aligned_further_fits_only_the_slab_that_it_is_served_from() {
        let own = Ladder::from_slabs(&[16, 48, 64, 200, 256, 65_536]).unwrap();
        let mut found = 0;
        for ladder in [Ladder::DEFAULT, Ladder::QUARTERS, own] {
            let slabs = ladder.slabs();
            for (index, &slab) in slabs.iter().enumerate().take_while(|(_, slab)| **slab <= 1 << 16)
            {
                let magazine = Magazine::<Bare>::empty();
                let least = if index == 0 { 0 } else { slabs[index - 1] + 1 };
                magazine.set_sizes(least..=slab);
                for align in (4..15).map(|power| 1_usize << power) {
                    for size in [0, 1, slab / 4, slab / 2, least, slab - 1, slab, slab + 1] {
                        let layout = Layout::from_size_align(size, align).unwrap();
                        let fits = magazine.serves_aligned(layout);
                        let served = aligned_slab(ladder.lookup(), size, align) == Some(index);
                        assert!(served || !fits, "{size} at {align} in {slab}");
                        found += usize::from(fits);
                    }
                }
            }
        }
        assert!(found > 500, "{found}");
    }
}
