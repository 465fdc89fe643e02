//! Shelves: what one thread has of one slab.
//!
//! ```text
//! magazine    │ ready chunks                                │
//! depot ────▶ │ full │ full │ empty │ empty │ magazines behind it, of this thread alone
//! foreign ──▶ │ freed here, of pools that are other threads' │
//! post ─────▶ parcel ──link──▶ parcel                  sent by other threads: see `post`
//! listed ───▶ pool with room ──▶ pool with room
//!
//! live chunks = ready − free − Σ (magazine + full × room + foreign + parcels)   over all shelves
//! ```
//!
//! A magazine that is full changes places with an empty one of the depot, and one that ran
//! empty with a full one: chunk by chunk they come from and go to the pools only when the
//! depot is empty or full (Bonwick and Adams, "Magazines and Vmem", 2001). Foreign chunks
//! go to the inbox of their owner, a parcel at a time: fewer of them than a magazine has, where
//! they are large, since the owner can do nothing with what is still being gathered.

use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicPtr, AtomicU32};

use crate::cache::ThreadCache;
use crate::magazine::Magazine;
use crate::pool::{Pool, Slot};
use crate::post::Post;
use crate::primitive::{found, made};

/// What a thread has of one slab: in a cache line. All zero bytes is one with nothing.
///
/// ```text
/// │ magazine: top, base, limit, sizes │ depot │ foreign │ post      │ listed │
///   used by its thread alone                            │ by anybody │ under the arena's lock
/// ```
#[repr(C, align(64))]
pub(crate) struct Shelf<S> {
    pub(crate) magazine: Magazine<S>,
    depot: *mut Depot<S>,
    /// Chunks that this thread freed, of pools that are not its own; on a shelf for extents,
    /// those at hand.
    foreign: *mut Foreign<S>,
    /// Where parcels of such chunks are sent from, and those of this shelf's own pools arrive; null
    /// before the first one.
    post: AtomicPtr<Post<S>>,
    /// This shelf's pools that have room, the one to take from first.
    pub(crate) listed: *mut Pool,
}

/// Bytes from one shelf of a cache to the next, and of what is in front of the first.
pub(crate) const SHELF_BYTES: usize = 64;
const _: () = assert!(size_of::<Shelf<*mut u8>>() == SHELF_BYTES);
const _: () = assert!(size_of::<ThreadCache>() == SHELF_BYTES);

/// The most magazines that a depot has.
pub(crate) const DEPOT_MOST: usize = 32;

/// Magazines behind that of a shelf: the first `full` of `have` are full, the others
/// empty. Its thread exchanges its own for one of them without a lock.
#[repr(C)]
pub(crate) struct Depot<S> {
    /// Other threads read it for statistics.
    full: AtomicU32,
    have: u16,
    /// It gets no more than this.
    most: u16,
    slots: [*mut S; DEPOT_MOST],
}

/// Chunks for other threads' pools, in front of their slots: a block that is sent as a parcel, too.
#[repr(C, align(8))]
pub(crate) struct Foreign<S> {
    /// Other threads read it for statistics.
    pub(crate) len: AtomicU32,
    pub(crate) cap: u32,
    /// The shelf that all of them belong to; null if that is not one.
    pub(crate) owner: *mut (),
    /// The post of the shelf that a parcel was made for; null if the block is none.
    pub(crate) home: *mut Post<S>,
    /// The next one on a stack of blocks.
    pub(crate) link: *mut Foreign<S>,
    /// How many more are to go into the magazine instead.
    keep: AtomicU32,
    slots: [S; 0],
}

/// Bytes of a block for `cap` foreign chunks.
pub(crate) fn foreign_bytes<S>(cap: u32) -> usize {
    size_of::<Foreign<S>>() + cap as usize * size_of::<S>()
}

impl<S> Foreign<S> {
    /// Makes a block one for `cap` foreign chunks, with none in it. One that is to be sent has the
    /// post that it was made for.
    ///
    /// # Safety
    ///
    /// It is the caller's, with [`foreign_bytes`] of `cap`.
    pub(crate) unsafe fn make(
        block: NonNull<u8>,
        cap: u32,
        home: *mut Post<S>,
    ) -> NonNull<Foreign<S>> {
        let (len, keep) = (AtomicU32::new(0), AtomicU32::new(0));
        let (owner, link) = (ptr::null_mut(), ptr::null_mut());
        let foreign = block.cast::<Foreign<S>>();
        // SAFETY: the caller's promise.
        unsafe { foreign.write(Foreign { len, cap, owner, home, link, keep, slots: [] }) };
        foreign
    }

    /// The slots behind a block's head, which they are not part of.
    #[inline(always)]
    pub(crate) fn slots(block: *mut Foreign<S>) -> *mut S {
        // As far as the block goes.
        block.wrapping_add(1).cast()
    }
}

impl<S> Depot<S> {
    /// The slots of its magazines, and whether they are full.
    pub(crate) fn magazines(&self) -> impl Iterator<Item = (*mut S, bool)> {
        let full = self.full.load(Relaxed) as usize;
        let have = &self.slots[..self.have as usize];
        have.iter().enumerate().map(move |(at, &slots)| (slots, at < full))
    }
}

impl<S: Slot> Shelf<S> {
    pub(crate) const fn empty() -> Shelf<S> {
        Shelf {
            magazine: Magazine::empty(),
            depot: ptr::null_mut(),
            foreign: ptr::null_mut(),
            post: AtomicPtr::new(ptr::null_mut()),
            listed: ptr::null_mut(),
        }
    }

    /// How many pools were made for this shelf; no more than can be counted.
    pub(crate) fn pools(&self) -> u32 {
        self.magazine.pools()
    }

    /// Notes a pool that is this shelf's from now on, and puts it first among those with
    /// room.
    ///
    /// # Safety
    ///
    /// It is in no list.
    pub(crate) unsafe fn own(&mut self, pool: *mut Pool) {
        self.magazine.note_pool();
        // SAFETY: the caller's promise.
        unsafe { self.list(pool) };
    }

    /// Exchanges the full magazine for an empty one of the depot, if it has one.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    pub(crate) unsafe fn store(&mut self) -> bool {
        // SAFETY: a depot is this shelf's own; `full` of its slots are below `have`.
        unsafe {
            let Some(depot) = self.depot.as_mut() else { return false };
            let full = depot.full.load(Relaxed);
            let cap = self.magazine.cap();
            if full == depot.have.into() || self.magazine.len() < cap {
                return false;
            }
            let empty = depot.slots[full as usize];
            depot.slots[full as usize] = self.magazine.slots();
            depot.full.store(full + 1, Relaxed);
            self.magazine.replace(empty, cap, 0);
        }
        self.note_depot();
        true
    }

    /// Exchanges the empty magazine for a full one of the depot, if it has one.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    pub(crate) unsafe fn fetch(&mut self) -> bool {
        // SAFETY: as in `store`. What has a depot has a magazine of the largest room.
        unsafe {
            let Some(depot) = self.depot.as_mut() else { return false };
            let full = depot.full.load(Relaxed);
            if full == 0 || self.magazine.len() > 0 {
                return false;
            }
            let cap = self.magazine.cap();
            let slots = depot.slots[full as usize - 1];
            depot.slots[full as usize - 1] = self.magazine.slots();
            depot.full.store(full - 1, Relaxed);
            self.magazine.replace(slots, cap, cap);
        }
        self.note_depot();
        true
    }

    /// How many magazines the depot has, full or empty; `None` if there is no depot.
    pub(crate) fn depot_len(&self) -> Option<u32> {
        // SAFETY: a depot is this shelf's own.
        unsafe { self.depot.as_ref() }.map(|depot| depot.have.into())
    }

    /// Has this block for a depot from now on.
    ///
    /// # Safety
    ///
    /// There is none yet, and the block has the bytes of a [`Depot`].
    pub(crate) unsafe fn set_depot(&mut self, block: NonNull<u8>) {
        let depot = block.cast::<Depot<S>>().as_ptr();
        let slots = [ptr::null_mut(); DEPOT_MOST];
        // SAFETY: the caller's promise.
        unsafe {
            depot.write(Depot { full: AtomicU32::new(0), have: 0, most: DEPOT_MOST as u16, slots })
        };
        self.depot = depot;
    }

    /// Adds an empty magazine to the depot.
    ///
    /// # Safety
    ///
    /// There is a depot, with fewer than [`DEPOT_MOST`], and the shelf is the calling
    /// thread's. `slots` has as much room as its magazine.
    pub(crate) unsafe fn add_to_depot(&mut self, slots: *mut S) {
        // SAFETY: the caller's promise.
        unsafe {
            let depot = &mut *self.depot;
            depot.slots[depot.have as usize] = slots;
            depot.have += 1;
        }
    }

    /// How many full magazines there are in the depot.
    pub(crate) fn full(&self) -> u32 {
        // SAFETY: a depot is this shelf's own, and goes under the lock alone.
        let depot = unsafe { self.depot.as_ref() };
        depot.map_or(0, |depot| depot.full.load(Relaxed))
    }

    /// How many parcels were sent here and are in no magazine yet.
    pub(crate) fn parcels(&self) -> u32 {
        // SAFETY: a post lives as long as the arena has memory.
        unsafe { self.post().as_ref() }.map_or(0, Post::parcels)
    }

    /// The post of this shelf; null if it has none yet.
    pub(crate) fn post(&self) -> *mut Post<S> {
        let post = self.post.load(Acquire);
        if !post.is_null() {
            found();
        }
        post
    }

    /// Has this post from now on.
    pub(crate) fn set_post(&self, post: *mut Post<S>) {
        made();
        self.post.store(post, Release);
    }

    /// Empties half of the depot's full magazines, if it has more than one, by `take`, which
    /// gets the slots of each.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's, and `take` does not use it.
    pub(crate) unsafe fn empty_half(&mut self, mut take: impl FnMut(*mut S)) {
        // SAFETY: a depot is this shelf's own.
        let Some(depot) = (unsafe { self.depot.as_mut() }) else { return };
        let full = depot.full.load(Relaxed);
        for at in full / 2..full {
            take(depot.slots[at as usize]);
        }
        depot.full.store(full / 2, Relaxed);
        self.note_depot();
    }

    /// Fills up to half of the depot's magazines by `fill`, which gets the slots of an empty
    /// one and says whether it filled them.
    ///
    /// # Safety
    ///
    /// As [`empty_half`](Shelf::empty_half).
    pub(crate) unsafe fn fill_half(&mut self, mut fill: impl FnMut(*mut S) -> bool) {
        // SAFETY: a depot is this shelf's own.
        let Some(depot) = (unsafe { self.depot.as_mut() }) else { return };
        let full = depot.full.load(Relaxed);
        for at in full..u32::from(depot.have) / 2 {
            if !fill(depot.slots[at as usize]) {
                break;
            }
            depot.full.store(at + 1, Relaxed);
        }
        self.note_depot();
    }

    /// Says that the depot, if there is one, gets no more magazines.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    pub(crate) unsafe fn close_depot(&mut self) {
        // SAFETY: a depot is this shelf's own.
        if let Some(depot) = unsafe { self.depot.as_mut() } {
            depot.most = depot.have;
        }
        self.note_depot();
    }

    /// Notes in the magazine whether the depot takes no more. To be called when that may have
    /// changed.
    fn note_depot(&mut self) {
        let full = self.is_depot_full();
        self.magazine.set_depot_full(full);
    }

    /// Whether there is a depot that takes no more: it has all it gets, and they are full.
    fn is_depot_full(&self) -> bool {
        // SAFETY: a depot is this shelf's own.
        let depot = unsafe { self.depot.as_ref() };
        depot.is_some_and(|depot| depot.full.load(Relaxed) >= u32::from(depot.most))
    }

    /// Checks that the magazine knows of its depot what is so.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.magazine.is_depot_full(), self.is_depot_full());
    }

    /// The block of foreign chunks, if there is one.
    pub(crate) fn foreign_block(&self) -> Option<*mut Foreign<S>> {
        (!self.foreign.is_null()).then_some(self.foreign)
    }

    /// Goes on with this block, which is empty.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's, and so is the block.
    pub(crate) unsafe fn set_foreign_block(&mut self, block: NonNull<Foreign<S>>) {
        // SAFETY: the caller's promise.
        unsafe { block.as_ref() }.keep.store(0, Relaxed);
        self.foreign = block.as_ptr();
    }

    /// Adds a chunk of another cache's pool, which belongs to the shelf `owner`; `false` if
    /// there is no room.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    #[inline(always)]
    pub(crate) unsafe fn push_foreign(&self, slot: S, owner: *mut ()) -> bool {
        if self.foreign.is_null() {
            return false;
        }
        // SAFETY: the block is this shelf's, with `cap` slots behind its head. Its head is
        // borrowed alone, since what is behind is not part of it.
        unsafe {
            let len = (*self.foreign).len.load(Relaxed);
            if len == (*self.foreign).cap {
                return false;
            }
            if (*self.foreign).owner != owner {
                (*self.foreign).owner = if len == 0 { owner } else { ptr::null_mut() };
            }
            slot.store(Foreign::slots(self.foreign).add(len as usize));
            (*self.foreign).len.store(len + 1, Relaxed);
        }
        true
    }

    /// Whether a foreign chunk is to go into the magazine, which has room to spare; if so, it is
    /// counted.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    #[inline(always)]
    pub(crate) unsafe fn keeps_foreign(&self) -> bool {
        // SAFETY: the block is this shelf's.
        let Some(foreign) = (unsafe { self.foreign.as_ref() }) else { return false };
        let keep = foreign.keep.load(Relaxed);
        let keeps = keep > 0 && self.magazine.len() < self.magazine.cap() / 2;
        if keeps {
            foreign.keep.store(keep - 1, Relaxed);
        }
        keeps
    }

    /// Keeps the next `most` foreign chunks, if those that leave now belong to several threads.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    pub(crate) unsafe fn keep_if_mixed(&self, most: u32) {
        // SAFETY: the block is this shelf's.
        if let Some(foreign) = unsafe { self.foreign.as_ref() }
            && foreign.owner.is_null()
        {
            foreign.keep.store(most, Relaxed);
        }
    }

    /// Takes the newest of the foreign chunks that `wanted` accepts.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    pub(crate) unsafe fn pop_foreign(&self, mut wanted: impl FnMut(S) -> bool) -> Option<S> {
        let (slots, len, _) = self.foreign();
        // SAFETY: the first `len` slots have chunks, and the block is this shelf's.
        unsafe {
            let at = (0..len as usize).rev().find(|&at| wanted(*slots.add(at)))?;
            let found = *slots.add(at);
            (at + 1..len as usize).for_each(|next| (*slots.add(next)).store(slots.add(next - 1)));
            (*self.foreign).len.store(len - 1, Relaxed);
            Some(found)
        }
    }

    /// The foreign chunks: where they are, how many, and how many there is room for.
    pub(crate) fn foreign(&self) -> (*mut S, u32, u32) {
        if self.foreign.is_null() {
            return (ptr::null_mut(), 0, 0);
        }
        // SAFETY: the block is this shelf's.
        unsafe {
            let len = (*self.foreign).len.load(Relaxed);
            (Foreign::slots(self.foreign), len, (*self.foreign).cap)
        }
    }

    /// The shelf that all foreign chunks belong to, or belonged to when they were freed; null
    /// if that is not one.
    pub(crate) fn owner_of_foreign(&self) -> *mut () {
        // SAFETY: the block is this shelf's.
        unsafe { self.foreign.as_ref() }.map_or(ptr::null_mut(), |foreign| foreign.owner)
    }

    /// Forgets the foreign chunks.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    pub(crate) unsafe fn clear_foreign(&self) {
        // SAFETY: the block is this shelf's.
        if let Some(foreign) = unsafe { self.foreign.as_ref() } {
            foreign.len.store(0, Relaxed);
        }
    }

    /// Goes on with this block for `cap` foreign chunks, and none in it; returns the old
    /// one.
    ///
    /// # Safety
    ///
    /// The block has [`foreign_bytes`] of `cap`, and the shelf is the calling thread's.
    pub(crate) unsafe fn replace_foreign(
        &mut self,
        block: NonNull<u8>,
        cap: u32,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        let foreign = unsafe { Foreign::make(block, cap, ptr::null_mut()) };
        NonNull::new(core::mem::replace(&mut self.foreign, foreign.as_ptr()).cast())
    }

    /// The depot's block and the slots of its magazines, of which the first `full` are full;
    /// the shelf has none afterwards.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's, or no thread's.
    pub(crate) unsafe fn take_depot(&mut self) -> Option<(NonNull<u8>, Depot<S>)> {
        let block = NonNull::new(core::mem::replace(&mut self.depot, ptr::null_mut()))?;
        self.note_depot();
        // SAFETY: the block is this shelf's, and read once.
        Some((block.cast(), unsafe { block.read() }))
    }

    /// Puts a pool first in the list of those with room.
    ///
    /// # Safety
    ///
    /// The pool is one of this shelf's.
    pub(crate) unsafe fn list(&mut self, pool: *mut Pool) {
        // SAFETY: the pool and those in the list are alive and this shelf's.
        unsafe {
            debug_assert!(!(*pool).listed);
            (*pool).listed = true;
            (*pool).prev_listed = ptr::null_mut();
            (*pool).next_listed = self.listed;
            if !self.listed.is_null() {
                (*self.listed).prev_listed = pool;
            }
        }
        self.listed = pool;
    }

    /// Takes a pool off that list, if it is in it.
    ///
    /// # Safety
    ///
    /// As [`list`](Shelf::list).
    pub(crate) unsafe fn unlist(&mut self, pool: *mut Pool) {
        // SAFETY: the pool and its neighbours are alive and this shelf's.
        unsafe {
            if !core::mem::replace(&mut (*pool).listed, false) {
                return;
            }
            let (prev, next) = ((*pool).prev_listed, (*pool).next_listed);
            if prev.is_null() {
                self.listed = next;
            } else {
                (*prev).next_listed = next;
            }
            if !next.is_null() {
                (*next).prev_listed = prev;
            }
        }
    }
}

/// The shelves of one thread in one arena: one for every slab, and one behind.
pub(crate) struct Shelves<S>(pub(crate) *mut Shelf<S>);

impl<S> Clone for Shelves<S> {
    fn clone(&self) -> Shelves<S> {
        *self
    }
}

impl<S> Copy for Shelves<S> {}

impl<S> Shelves<S> {
    /// The shelf of the slab at `index`.
    ///
    /// # Safety
    ///
    /// `index` is at most the number of slabs.
    #[inline(always)]
    pub(crate) unsafe fn at(self, index: usize) -> *mut Shelf<S> {
        // SAFETY: there is one for every slab, and one behind.
        unsafe { self.0.add(index) }
    }

    /// The magazine of the slab at `index`.
    ///
    /// # Safety
    ///
    /// As [`at`](Shelves::at).
    #[inline(always)]
    pub(crate) unsafe fn magazine(self, index: usize) -> *mut Magazine<S> {
        // It is the first of its shelf.
        // SAFETY: passed on.
        unsafe { self.at(index).cast() }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::pool::Bare;

    #[test]
    fn foreign_chunks_of_several_owners_are_kept_for_a_while() {
        let chunk = |at: usize| Bare(ptr::without_provenance_mut(64 + at * 64));
        let owner = |at: usize| ptr::without_provenance_mut::<()>(4096 * at);
        let mut words: Vec<u64> = std::vec![0; foreign_bytes::<Bare>(4).div_ceil(8)];
        let mut slots: Vec<Bare> = (0..8).map(chunk).collect();
        let mut shelf = Shelf::<Bare>::empty();
        shelf.magazine.replace(slots.as_mut_ptr(), 8, 0);
        let block = NonNull::new(words.as_mut_ptr()).unwrap().cast();
        // SAFETY: shelf, block and slots are this test's; no chunk is looked at.
        unsafe {
            assert!(!shelf.keeps_foreign(), "there is no block");
            assert!(shelf.replace_foreign(block, 4).is_none());
            (0..4).for_each(|at| assert!(shelf.push_foreign(chunk(at), owner(1))));
            assert!(!shelf.push_foreign(chunk(4), owner(1)), "it is full");
            shelf.keep_if_mixed(3);
            assert!(!shelf.keeps_foreign(), "all are of one owner");
            shelf.clear_foreign();
            (0..4).for_each(|at| assert!(shelf.push_foreign(chunk(at), owner(1 + at % 2))));
            assert!(shelf.owner_of_foreign().is_null());
            shelf.keep_if_mixed(3);
            shelf.magazine.set_len(4);
            assert!(!shelf.keeps_foreign(), "the magazine is half full");
            shelf.magazine.set_len(3);
            assert!((0..3).all(|_| shelf.keeps_foreign()));
            assert!(!shelf.keeps_foreign(), "those were three");
        }
    }
}
