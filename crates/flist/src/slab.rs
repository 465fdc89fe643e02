//! One slab of an arena: its magazine, and what it knows of its pools.

use crate::pool::{Pool, Slot};

/// What a magazine of one slab holds at most, in bytes of chunks.
const MAGAZINE_BYTES: usize = 32 << 10;
/// And in chunks, at most and at least.
const MAGAZINE_MOST: u32 = 128;
const MAGAZINE_LEAST: u32 = 2;
/// A new magazine's room; it grows when it runs empty or full.
const MAGAZINE_FIRST: u32 = 16;
/// What the full magazines of a depot hold at most, in bytes of chunks.
const DEPOT_BYTES: usize = 256 << 10;

/// One slab of an arena.
///
/// The first 16 bytes are all that an allocation or a free touches. All zero bytes
/// is a slab without a magazine: every operation on it takes the slow path.
///
/// ```text
/// slots ──▶ │ 0 │ 1 │ … │ len − 1 │ …      │ cap: link
///                          ▲ the next chunk to hand out
/// depot ──▶ │ 0 │ 1 │ …                    │ cap: link ──▶ next full magazine
///
/// live chunks = out − len − full × cap
/// ```
///
/// A magazine that is full goes to the depot whole, and an empty one is replaced by one
/// of those: chunk by chunk they come from and go to the pools only when the depot is
/// empty or full (Bonwick and Adams, "Magazines and Vmem", 2001).
#[repr(C, align(64))]
pub(crate) struct Slab {
    /// The magazine: a stack of chunks that are ready.
    pub(crate) slots: *mut Slot,
    pub(crate) len: u32,
    pub(crate) cap: u32,
    /// The depot: the first of `full` full magazines.
    pub(crate) depot: *mut Slot,
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

/// The room of a magazine that has `cap` slots now and is too small.
pub(crate) fn larger_magazine(cap: u32, stride: usize) -> u32 {
    let most = ((MAGAZINE_BYTES / stride) as u32).clamp(MAGAZINE_LEAST, MAGAZINE_MOST);
    if cap == 0 { MAGAZINE_FIRST.min(most) } else { (cap * 2).min(most) }
}

/// How many full magazines of `cap` chunks a depot may hold.
fn depot_room(cap: u32, stride: usize) -> u32 {
    (DEPOT_BYTES / (cap as usize * stride)) as u32
}

/// Bytes of a magazine with room for `cap` chunks, and a link.
pub(crate) fn magazine_bytes(cap: u32) -> usize {
    (cap as usize + 1) * size_of::<Slot>()
}

impl Slab {
    /// Chunks that callers hold.
    pub(crate) fn live(&self) -> usize {
        self.out - self.len as usize - self.full as usize * self.cap as usize
    }

    /// Whether the depot takes one more full magazine.
    pub(crate) fn depot_has_room(&self, stride: usize) -> bool {
        self.full < depot_room(self.cap, stride)
    }

    /// Sends the full magazine to the depot, and goes on with `empty`.
    ///
    /// # Safety
    ///
    /// `empty` has room for as many slots as the magazine, and a link.
    pub(crate) unsafe fn store(&mut self, empty: *mut Slot) {
        debug_assert!(self.len == self.cap);
        let link = Slot { chunk: self.depot.cast(), state: core::ptr::null_mut() };
        // SAFETY: a magazine has one slot more than its room.
        unsafe { self.slots.add(self.cap as usize).write(link) };
        self.depot = core::mem::replace(&mut self.slots, empty);
        self.len = 0;
        self.full += 1;
    }

    /// Goes on with a full magazine from the depot; returns the empty one, if there was
    /// one to swap for.
    pub(crate) fn fetch(&mut self) -> Option<*mut Slot> {
        if self.depot.is_null() {
            return None;
        }
        debug_assert!(self.len == 0);
        let empty = core::mem::replace(&mut self.slots, self.depot);
        // SAFETY: a magazine in the depot has a link behind its slots.
        self.depot = unsafe { (*self.slots.add(self.cap as usize)).chunk.cast() };
        self.len = self.cap;
        self.full -= 1;
        Some(empty)
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
