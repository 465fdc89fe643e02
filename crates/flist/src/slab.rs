//! The counts of one slab.

use crate::pool::Slot;

/// The counts of one slab of an arena. All zero bytes is one without memory.
#[repr(C)]
pub(crate) struct Slab {
    /// Chunks that are charged. For extents, how many there are.
    pub(crate) ready: usize,
    /// Of those, how many are in their pools: neither with callers nor in magazines. Counted in
    /// shared arenas alone: see [`free_chunks`](crate::heap::Heap::free_chunks).
    pub(crate) free: usize,
    /// Bytes charged for pools (extents) of this slab.
    pub(crate) heap: usize,
    /// How many pools (extents) there are.
    pub(crate) pools: u32,
    /// The largest room of a magazine, in chunks.
    pub(crate) magazine_most: u16,
    /// The most full magazines that one shelf's depot holds.
    pub(crate) depot_most: u8,
    /// Whether all threads share the pools: those of clusters.
    pub(crate) common: bool,
}

const _: () = assert!(size_of::<Slab>() == 32);

impl Slab {
    /// Notes that so many chunks came into their pools, or left them, in an arena that counts.
    #[inline(always)]
    pub(crate) fn note_free<S: Slot>(&mut self, change: isize) {
        if !S::ALONE {
            self.free = self.free.wrapping_add_signed(change);
        }
    }
}
