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
//! go to the inbox of their owner (see `foreign` and `post`).
//!
//! The owning thread changes its shelf without a lock, while others look at it under the arena's: at
//! how much there is, at the post, and at the list of pools, which changes under the lock alone. So a
//! shelf is never borrowed exclusively.

use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicPtr, AtomicU32};

use crate::cache::ThreadCache;
use crate::foreign::Foreign;
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
    depot: Cell<*mut Depot<S>>,
    /// Chunks that this thread freed, of pools that are not its own; on a shelf for extents,
    /// those at hand.
    pub(crate) foreign: AtomicPtr<Foreign<S>>,
    /// Where parcels of such chunks are sent from, and those of this shelf's own pools arrive; null
    /// before the first one.
    post: AtomicPtr<Post<S>>,
    /// This shelf's pools that have room, the one to take from first.
    listed: Cell<*mut Pool>,
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
    have: Cell<u16>,
    /// It gets no more than this.
    most: Cell<u16>,
    slots: [Cell<*mut S>; DEPOT_MOST],
}

impl<S> Depot<S> {
    /// The slots of its magazines, and whether they are full.
    pub(crate) fn magazines(&self) -> impl Iterator<Item = (*mut S, bool)> {
        let full = self.full.load(Relaxed) as usize;
        let have = &self.slots[..self.have.get() as usize];
        have.iter().enumerate().map(move |(at, slots)| (slots.get(), at < full))
    }
}

impl<S: Slot> Shelf<S> {
    pub(crate) const fn empty() -> Shelf<S> {
        Shelf {
            magazine: Magazine::empty(),
            depot: Cell::new(ptr::null_mut()),
            foreign: AtomicPtr::new(ptr::null_mut()),
            post: AtomicPtr::new(ptr::null_mut()),
            listed: Cell::new(ptr::null_mut()),
        }
    }

    /// This shelf's pools that have room, the one to take from first. The list changes under the lock.
    pub(crate) fn listed(&self) -> *mut Pool {
        self.listed.get()
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
    pub(crate) unsafe fn own(&self, pool: *mut Pool) {
        self.magazine.note_pool();
        // SAFETY: the caller's promise.
        unsafe { self.list(pool) };
    }

    /// Exchanges the full magazine for an empty one of the depot, if it has one.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    pub(crate) unsafe fn store(&self) -> bool {
        let Some(depot) = self.depot() else { return false };
        let full = depot.full.load(Relaxed);
        let cap = self.magazine.cap();
        if full == depot.have.get().into() || self.magazine.len() < cap {
            return false;
        }
        let empty = depot.slots[full as usize].replace(self.magazine.slots());
        depot.full.store(full + 1, Relaxed);
        self.magazine.replace(empty, cap, 0);
        self.note_depot();
        true
    }

    /// Exchanges the empty magazine for a full one of the depot, if it has one.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    pub(crate) unsafe fn fetch(&self) -> bool {
        // What has a depot has a magazine of the largest room.
        let Some(depot) = self.depot() else { return false };
        let full = depot.full.load(Relaxed);
        if full == 0 || self.magazine.len() > 0 {
            return false;
        }
        let cap = self.magazine.cap();
        let slots = depot.slots[full as usize - 1].replace(self.magazine.slots());
        depot.full.store(full - 1, Relaxed);
        self.magazine.replace(slots, cap, cap);
        self.note_depot();
        true
    }

    /// The depot, if there is one. It goes under the lock alone, and its thread is the one that takes
    /// it away.
    fn depot(&self) -> Option<&Depot<S>> {
        // SAFETY: a depot is this shelf's own, and what others read of it is atomic.
        unsafe { self.depot.get().as_ref() }
    }

    /// How many magazines the depot has, full or empty; `None` if there is no depot.
    pub(crate) fn depot_len(&self) -> Option<u32> {
        self.depot().map(|depot| depot.have.get().into())
    }

    /// Has this block for a depot from now on.
    ///
    /// # Safety
    ///
    /// There is none yet, and the block has the bytes of a [`Depot`].
    pub(crate) unsafe fn set_depot(&self, block: NonNull<u8>) {
        let depot = block.cast::<Depot<S>>().as_ptr();
        let (full, have) = (AtomicU32::new(0), Cell::new(0));
        let most = Cell::new(DEPOT_MOST as u16);
        let slots = [const { Cell::new(ptr::null_mut()) }; DEPOT_MOST];
        // SAFETY: the caller's promise.
        unsafe { depot.write(Depot { full, have, most, slots }) };
        self.depot.set(depot);
    }

    /// Adds an empty magazine to the depot.
    ///
    /// # Safety
    ///
    /// There is a depot, with fewer than [`DEPOT_MOST`], and the shelf is the calling
    /// thread's. `slots` has as much room as its magazine.
    pub(crate) unsafe fn add_to_depot(&self, slots: *mut S) {
        let depot = self.depot().expect("the caller's promise");
        let have = depot.have.get();
        depot.slots[have as usize].set(slots);
        depot.have.set(have + 1);
    }

    /// How many full magazines there are in the depot.
    pub(crate) fn full(&self) -> u32 {
        self.depot().map_or(0, |depot| depot.full.load(Relaxed))
    }

    /// How many chunks were sent here and are in no magazine yet.
    pub(crate) fn sent_here(&self) -> u32 {
        // SAFETY: a post lives as long as the arena has memory.
        unsafe { self.post().as_ref() }.map_or(0, Post::chunks)
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
    pub(crate) unsafe fn empty_half(&self, mut take: impl FnMut(*mut S)) {
        let Some(depot) = self.depot() else { return };
        let full = depot.full.load(Relaxed);
        for slots in &depot.slots[full as usize / 2..full as usize] {
            take(slots.get());
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
    pub(crate) unsafe fn fill_half(&self, mut fill: impl FnMut(*mut S) -> bool) {
        let Some(depot) = self.depot() else { return };
        let full = depot.full.load(Relaxed);
        for at in full..u32::from(depot.have.get()) / 2 {
            if !fill(depot.slots[at as usize].get()) {
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
    pub(crate) unsafe fn close_depot(&self) {
        if let Some(depot) = self.depot() {
            depot.most.set(depot.have.get());
        }
        self.note_depot();
    }

    /// Notes in the magazine whether the depot takes no more. To be called when that may have
    /// changed.
    fn note_depot(&self) {
        let full = self.is_depot_full();
        self.magazine.set_depot_full(full);
    }

    /// Whether there is a depot that takes no more: it has all it gets, and they are full.
    fn is_depot_full(&self) -> bool {
        self.depot().is_some_and(|depot| depot.full.load(Relaxed) >= depot.most.get().into())
    }

    /// Checks that the magazine knows of its depot what is so.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.magazine.is_depot_full(), self.is_depot_full());
    }

    /// The depot's block and the slots of its magazines, of which the first `full` are full;
    /// the shelf has none afterwards.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's, or no thread's.
    pub(crate) unsafe fn take_depot(&self) -> Option<(NonNull<u8>, Depot<S>)> {
        let block = NonNull::new(self.depot.replace(ptr::null_mut()))?;
        self.note_depot();
        // SAFETY: the block is this shelf's, and read once.
        Some((block.cast(), unsafe { block.read() }))
    }

    /// Puts a pool first in the list of those with room.
    ///
    /// # Safety
    ///
    /// The pool is one of this shelf's.
    pub(crate) unsafe fn list(&self, pool: *mut Pool) {
        // SAFETY: the pool and those in the list are alive and this shelf's.
        unsafe {
            debug_assert!(!(*pool).listed);
            (*pool).listed = true;
            (*pool).prev_listed = ptr::null_mut();
            (*pool).next_listed = self.listed();
            if !self.listed().is_null() {
                (*self.listed()).prev_listed = pool;
            }
        }
        self.listed.set(pool);
    }

    /// Takes a pool off that list, if it is in it.
    ///
    /// # Safety
    ///
    /// As [`list`](Shelf::list).
    pub(crate) unsafe fn unlist(&self, pool: *mut Pool) {
        // SAFETY: the pool and its neighbours are alive and this shelf's.
        unsafe {
            if !core::mem::replace(&mut (*pool).listed, false) {
                return;
            }
            let (prev, next) = ((*pool).prev_listed, (*pool).next_listed);
            if prev.is_null() {
                self.listed.set(next);
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
