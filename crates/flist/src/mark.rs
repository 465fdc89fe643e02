//! Marks: what tells in a shared arena that a chunk was freed already.
//!
//! A one-thread arena writes a state byte at every allocation and free. In a
//! shared one 64 chunks' states share a cache line that all threads would write, so the state byte
//! only tells whether a chunk is out of its pool, and changes under the lock. For a
//! chunk in a magazine there is a *mark* in its first word:
//!
//! ```text
//! mark(chunk) = key ⊕ address        key: random for each arena, highest bit set
//! ```
//!
//! written by a free, tested by a free, cleared by an allocation. A chunk with its mark
//! is freed twice; that other data equals it has a chance of 2⁻⁶³. If the program
//! overwrites the mark of a chunk that it freed, or two threads free it at once, the
//! second free passes, and is found when the second copy reaches the pools.
//!
//! A chunk that was never handed out has no mark either. Chunks of a pool are handed out in
//! address order the first time, so the descriptor of a run says up to which place they were.
//!
//! Slabs below eight bytes have no room for a mark. Their pools have another kind of
//! descriptor, which no fast path takes for its own: their state bytes are exact, under
//! the lock.

use crate::place::CHECKED;

/// Chunks of fewer bytes have no room for a mark.
pub(crate) const MARK_BYTES: usize = size_of::<u64>();

/// Whether the first half of a chunk's mark is there: for all but one in 2³² chunks, whether
/// all of it is. A program writes a word whole or its first half first, so that a load of that
/// half need not wait for two stores to leave the processor.
///
/// # Safety
///
/// The chunk is out of its pool and has room for a mark.
#[inline(always)]
pub(crate) unsafe fn may_have_mark(chunk: *mut u8, key: u64) -> bool {
    let mark = key ^ chunk.addr() as u64;
    // SAFETY: the caller's promise.
    CHECKED && unsafe { chunk.cast::<u32>().read_unaligned() } == mark as u32
}

/// Whether the chunk carries its mark.
///
/// # Safety
///
/// The chunk is out of its pool and has room for a mark.
#[inline(always)]
pub(crate) unsafe fn has_mark(chunk: *mut u8, key: u64) -> bool {
    let mark = key ^ chunk.addr() as u64;
    // SAFETY: the caller's promise.
    unsafe { may_have_mark(chunk, key) && chunk.cast::<u64>().read_unaligned() == mark }
}

/// # Safety
///
/// The chunk is the caller's and has room for a mark.
#[inline(always)]
pub(crate) unsafe fn set_mark(chunk: *mut u8, key: u64) {
    if CHECKED {
        // SAFETY: the caller's promise.
        unsafe { chunk.cast::<u64>().write_unaligned(key ^ chunk.addr() as u64) };
    }
}

/// # Safety
///
/// As [`set_mark`].
#[inline(always)]
pub(crate) unsafe fn clear_mark(chunk: *mut u8) {
    if CHECKED {
        // SAFETY: the caller's promise. No mark is zero.
        unsafe { chunk.cast::<u64>().write_unaligned(0) };
    }
}
