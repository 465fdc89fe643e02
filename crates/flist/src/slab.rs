//! One slab of an arena: its magazine, and what it knows of its pools.

use crate::pool::{Pool, Slot};

/// What a magazine of one slab holds at most, in bytes of chunks.
const MAGAZINE_BYTES: usize = 32 << 10;
/// And in chunks, at most and at least.
const MAGAZINE_MOST: u32 = 128;
const MAGAZINE_LEAST: u32 = 2;
/// A new magazine's room; it grows when it runs empty or full.
const MAGAZINE_FIRST: u32 = 16;

/// One slab of an arena.
///
/// The first 16 bytes are all that an allocation or a free touches. All zero bytes
/// is a slab without a magazine: every operation on it takes the slow path.
///
/// ```text
/// slots ──▶ │ 0 │ 1 │ … │ len − 1 │ …      │ cap
///                          ▲ the next chunk to hand out
/// live chunks = out − len
/// ```
#[repr(C, align(64))]
pub(crate) struct Slab {
    /// The magazine: a stack of chunks that are ready.
    pub(crate) slots: *mut Slot,
    pub(crate) len: u32,
    pub(crate) cap: u32,
    /// Pools that have room, the one to take from first.
    pub(crate) listed: *mut Pool,
    /// Chunks out of their pools: with callers, and in the magazine. For extents,
    /// how many there are.
    pub(crate) out: usize,
    /// Chunks that are charged and in their pools.
    pub(crate) free: usize,
    /// Bytes charged for pools (extents) of this slab.
    pub(crate) heap: usize,
    /// How many pools (extents) there are.
    pub(crate) pools: usize,
}

const _: () = assert!(size_of::<Slab>() == 64);

/// The room of a magazine that has `cap` slots now and is too small.
pub(crate) fn larger_magazine(cap: u32, stride: usize) -> u32 {
    let most = ((MAGAZINE_BYTES / stride) as u32).clamp(MAGAZINE_LEAST, MAGAZINE_MOST);
    if cap == 0 { MAGAZINE_FIRST.min(most) } else { (cap * 2).min(most) }
}

impl Slab {
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
