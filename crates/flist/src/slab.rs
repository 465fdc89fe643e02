//! One slab of an arena, and the magazines in front of its pools.
//!
//! A magazine is a short stack of chunks that are ready. The one-thread arena has one
//! for each slab, the shared arena one for each slab and thread. A magazine that is
//! full goes to the slab's depot whole, and an empty one is replaced by one from there:
//! chunk by chunk they come from and go to the pools only when the depot is empty or
//! full (Bonwick and Adams, "Magazines and Vmem", 2001).
//!
//! ```text
//!           │ 0 │ 1 │ … │   │ …            │ link
//! base ──────▲            ▲ top             ▲ limit
//!                         the next chunk to hand out is the one below
//! depot ──▶ │ 0 │ 1 │ …                    │ link ──▶ next full magazine
//!
//! live chunks = ready − free − Σ (top − base) − full × room
//! ```
//!
//! Three pointers instead of one, a length and a room: the fast paths compare and store
//! one of them, and compute no address.

use core::ops::RangeInclusive;
use core::ptr;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::Relaxed;

use crate::pool::{Pool, Slot};

/// What a magazine of one slab holds at most, in bytes of chunks.
const MAGAZINE_BYTES: usize = 32 << 10;
/// And the part of the arena's capacity that this may be.
const MAGAZINE_SHARE: usize = 256;
/// And in chunks, at most and at least.
const MAGAZINE_MOST: u32 = 128;
const MAGAZINE_LEAST: u32 = 2;
/// A new magazine's room; it grows when it runs empty or full.
const MAGAZINE_FIRST: u32 = 16;
/// How many times a magazine's bytes a depot may hold.
const DEPOT_SHARE: usize = 8;
/// And how many magazines: those of small chunks have more slots than chunks.
const DEPOT_MOST: usize = 8;

/// A stack of chunks of one slab. All zero bytes is one without room.
#[repr(C, align(32))]
pub(crate) struct Magazine<S> {
    /// Behind the last chunk. Only its thread changes it (by a plain load and a plain
    /// store); other threads read it for statistics.
    top: AtomicPtr<S>,
    base: *mut S,
    limit: *mut S,
    /// The smallest request that the slab serves, in bytes, and how many sizes it
    /// serves: for a sized free. None as long as there is no room.
    least: u32,
    sizes: u32,
}

impl<S: Slot> Magazine<S> {
    pub(crate) const fn empty() -> Magazine<S> {
        let null = ptr::null_mut;
        Magazine { top: AtomicPtr::new(null()), base: null(), limit: null(), least: 0, sizes: 0 }
    }

    /// Says which sizes the slab serves.
    pub(crate) fn set_sizes(&mut self, sizes: RangeInclusive<usize>) {
        self.least = *sizes.start() as u32;
        self.sizes = (sizes.end() - sizes.start() + 1) as u32;
    }

    /// Whether the slab serves `size` bytes; `false` also if that is not known yet.
    #[inline(always)]
    pub(crate) fn serves(&self, size: usize) -> bool {
        size.wrapping_sub(self.least as usize) < self.sizes as usize
    }

    /// How many chunks there are.
    pub(crate) fn len(&self) -> u32 {
        ((self.top.load(Relaxed).addr() - self.base.addr()) / size_of::<S>()) as u32
    }

    /// How many chunks there is room for.
    pub(crate) fn cap(&self) -> u32 {
        ((self.limit.addr() - self.base.addr()) / size_of::<S>()) as u32
    }

    /// The slots, from the oldest chunk on; null if there is no room.
    pub(crate) fn slots(&self) -> *mut S {
        self.base
    }

    /// Says that the first `len` slots have chunks.
    pub(crate) fn set_len(&self, len: u32) {
        debug_assert!(len <= self.cap());
        self.top.store(self.base.wrapping_add(len as usize), Relaxed);
    }

    /// Goes on with other slots, of which there are `cap`; the first `len` have chunks.
    pub(crate) fn replace(&mut self, slots: *mut S, cap: u32, len: u32) {
        self.base = slots;
        self.limit = slots.wrapping_add(cap as usize);
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
        if top == self.base {
            return None;
        }
        // SAFETY: above its base there is a chunk below the top.
        unsafe {
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
        if top == self.limit {
            return false;
        }
        // SAFETY: below its limit there is a slot at the top.
        unsafe {
            top.write(slot);
            self.top.store(top.add(1), Relaxed);
        }
        true
    }
}

/// The magazines of one thread in one arena: one for every slab, and one behind.
pub(crate) struct Magazines<S>(pub(crate) *mut Magazine<S>);

impl<S> Clone for Magazines<S> {
    fn clone(&self) -> Magazines<S> {
        *self
    }
}

impl<S> Copy for Magazines<S> {}

impl<S> Magazines<S> {
    /// The magazine of the slab at `index`.
    ///
    /// # Safety
    ///
    /// `index` is at most the number of slabs.
    #[inline(always)]
    pub(crate) unsafe fn at(self, index: usize) -> *mut Magazine<S> {
        // SAFETY: there is one for every slab, and one behind.
        unsafe { self.0.add(index) }
    }
}

/// Bounds of the magazines of an arena, in bytes of chunks.
#[derive(Clone, Copy)]
pub(crate) struct MagazineBounds {
    bytes: usize,
}

impl MagazineBounds {
    /// Those of an arena with `capacity` bytes: what magazines hold back must stay a
    /// small part of it.
    pub(crate) fn new(capacity: usize) -> MagazineBounds {
        MagazineBounds { bytes: MAGAZINE_BYTES.min(capacity / MAGAZINE_SHARE) }
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

    /// How many full magazines of `stride` bytes a chunk a depot may hold.
    pub(crate) fn depot(self, stride: usize) -> u32 {
        let full = self.most(stride) as usize * stride;
        (self.bytes * DEPOT_SHARE / full).min(DEPOT_MOST) as u32
    }
}

/// Bytes of a magazine with room for `cap` chunks, and a link.
pub(crate) fn magazine_bytes<S>(cap: u32) -> usize {
    (cap as usize + 1) * size_of::<S>()
}

/// One slab of an arena, in a cache line. All zero bytes is one without memory.
#[repr(C, align(64))]
pub(crate) struct Slab {
    /// The depot: the first of `full` full magazines.
    depot: *mut u8,
    /// Pools that have room, the one to take from first.
    pub(crate) listed: *mut Pool,
    /// Chunks that are charged. For extents, how many there are.
    pub(crate) ready: usize,
    /// Of those, how many are in their pools: neither with callers nor in magazines.
    pub(crate) free: usize,
    /// Bytes charged for pools (extents) of this slab.
    pub(crate) heap: usize,
    /// How many pools (extents) there are.
    pub(crate) pools: u32,
    pub(crate) full: u32,
    /// The largest room of a magazine, in chunks.
    pub(crate) magazine_most: u32,
    /// The most full magazines that the depot holds.
    pub(crate) depot_most: u32,
}

const _: () = assert!(size_of::<Slab>() == 64);

impl Slab {
    /// Chunks out of their pools: with callers, and in magazines.
    pub(crate) fn out(&self) -> usize {
        self.ready - self.free
    }

    /// Whether the depot takes no more full magazines.
    #[inline(always)]
    pub(crate) fn is_depot_full(&self) -> bool {
        self.full >= self.depot_most
    }

    /// Sends a full magazine to the depot, which goes on with `empty`.
    ///
    /// # Safety
    ///
    /// The magazine is one of this slab with the largest room there is, and `empty` has
    /// as much, and a link.
    pub(crate) unsafe fn store<S: Slot>(&mut self, magazine: *mut Magazine<S>, empty: *mut S) {
        // SAFETY: a magazine has one slot more than its room.
        unsafe {
            let (full, cap) = ((*magazine).slots(), (*magazine).cap());
            debug_assert!((*magazine).len() == cap);
            full.add(cap as usize).write(S::new(self.depot, ptr::null_mut()));
            self.depot = full.cast();
            (*magazine).replace(empty, cap, 0);
        }
        self.full += 1;
    }

    /// The slots of a full magazine of `cap` chunks from the depot, if it has one.
    pub(crate) fn fetch<S: Slot>(&mut self, cap: u32) -> Option<*mut S> {
        if self.depot.is_null() {
            return None;
        }
        let slots = self.depot.cast::<S>();
        // SAFETY: a magazine in the depot has a link behind its `cap` slots.
        self.depot = unsafe { (*slots.add(cap as usize)).chunk() };
        self.full -= 1;
        Some(slots)
    }

    /// Puts a pool first in the list of those with room.
    ///
    /// # Safety
    ///
    /// The pool is one of this slab's.
    pub(crate) unsafe fn list(&mut self, pool: *mut Pool) {
        // SAFETY: the pool and those in the list are alive and this slab's.
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
    /// As [`list`](Slab::list).
    pub(crate) unsafe fn unlist(&mut self, pool: *mut Pool) {
        // SAFETY: the pool and its neighbours are alive and this slab's.
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
