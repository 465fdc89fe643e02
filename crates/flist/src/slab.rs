//! One slab of an arena, and the magazines in front of its pools.
//!
//! A magazine is a short stack of chunks that are ready. The one-thread arena has one
//! for each slab, the shared arena one for each slab and thread. A magazine that is
//! full goes to the slab's depot whole, and an empty one is replaced by one from there:
//! chunk by chunk they come from and go to the pools only when the depot is empty or
//! full (Bonwick and Adams, "Magazines and Vmem", 2001).
//!
//! ```text
//! slots ──▶ │ 0 │ 1 │ … │ len − 1 │ …      │ cap: link
//!                          ▲ the next chunk to hand out
//! depot ──▶ │ 0 │ 1 │ …                    │ cap: link ──▶ next full magazine
//!
//! live chunks = out − Σ len(magazines) − full × cap
//! ```

use core::sync::atomic::AtomicU32;
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
const DEPOT_MAGAZINES: usize = 8;

/// A stack of chunks of one slab. All zero bytes is one without room.
#[repr(C)]
pub(crate) struct Magazine {
    pub(crate) slots: *mut Slot,
    /// How many chunks there are. Only its thread changes it (by a plain load and a
    /// plain store); other threads read it for statistics.
    len: AtomicU32,
    pub(crate) cap: u32,
}

impl Magazine {
    pub(crate) const fn empty() -> Magazine {
        Magazine { slots: core::ptr::null_mut(), len: AtomicU32::new(0), cap: 0 }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set_len(&self, len: u32) {
        debug_assert!(len <= self.cap);
        self.len.store(len, Relaxed);
    }
}

/// Where the magazines of one thread are: one for every slab, `stride` bytes apart.
#[derive(Clone, Copy)]
pub(crate) struct Magazines {
    pub(crate) first: *mut Magazine,
    pub(crate) stride: usize,
}

impl Magazines {
    /// The magazine of the slab at `index`.
    ///
    /// # Safety
    ///
    /// `index` is at most the number of slabs.
    #[inline(always)]
    pub(crate) unsafe fn at(self, index: usize) -> *mut Magazine {
        // SAFETY: there is one for every slab, and one behind.
        unsafe { self.first.byte_add(index * self.stride) }
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
        (self.bytes * DEPOT_MAGAZINES / (self.most(stride) as usize * stride)) as u32
    }
}

/// Bytes of a magazine with room for `cap` chunks, and a link.
pub(crate) fn magazine_bytes(cap: u32) -> usize {
    (cap as usize + 1) * size_of::<Slot>()
}

/// One slab of an arena. All zero bytes is one without memory.
#[repr(C, align(64))]
pub(crate) struct Slab {
    /// The magazine of the one-thread arena: all that its fast paths touch.
    pub(crate) magazine: Magazine,
    /// The depot: the first of `full` full magazines.
    depot: *mut Slot,
    /// Pools that have room, the one to take from first.
    pub(crate) listed: *mut Pool,
    /// Chunks out of their pools: with callers, and in magazines. For extents, how many
    /// there are.
    pub(crate) out: usize,
    /// Chunks that are charged and in their pools.
    pub(crate) free: usize,
    /// Bytes charged for pools (extents) of this slab.
    pub(crate) heap: usize,
    /// How many pools (extents) there are.
    pub(crate) pools: u32,
    pub(crate) full: u32,
}

const _: () = assert!(size_of::<Slab>() == 64);

impl Slab {
    pub(crate) const fn empty() -> Slab {
        Slab {
            magazine: Magazine::empty(),
            depot: core::ptr::null_mut(),
            listed: core::ptr::null_mut(),
            out: 0,
            free: 0,
            heap: 0,
            pools: 0,
            full: 0,
        }
    }

    /// Sends a full magazine to the depot, which goes on with `empty`.
    ///
    /// # Safety
    ///
    /// The magazine is one of this slab with the largest room there is, and `empty` has
    /// as much, and a link.
    pub(crate) unsafe fn store(&mut self, magazine: *mut Magazine, empty: *mut Slot) {
        let link = Slot { chunk: self.depot.cast(), state: core::ptr::null_mut() };
        // SAFETY: a magazine has one slot more than its room.
        unsafe {
            debug_assert!((*magazine).len() == (*magazine).cap);
            (*magazine).slots.add((*magazine).cap as usize).write(link);
            self.depot = core::mem::replace(&mut (*magazine).slots, empty);
            (*magazine).set_len(0);
        }
        self.full += 1;
    }

    /// The slots of a full magazine of `cap` chunks from the depot, if it has one.
    pub(crate) fn fetch(&mut self, cap: u32) -> Option<*mut Slot> {
        if self.depot.is_null() {
            return None;
        }
        let slots = self.depot;
        // SAFETY: a magazine in the depot has a link behind its `cap` slots.
        self.depot = unsafe { (*slots.add(cap as usize)).chunk.cast() };
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
            (*pool).prev_listed = core::ptr::null_mut();
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
