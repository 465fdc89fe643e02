//! What a heap has seen, and what it is made of.
//!
//! A heap that has no room for a request must take memory: that is a *miss*. A program
//! that frees as much as it allocates has few; one that grows has nothing else. So misses
//! in a row, with no search between them that found room, tell the one from the other
//! while it happens, and a heap in such a run takes more than was asked:
//!
//! ```text
//! misses in a row     1     2     4     8    16    32 …
//! takes ahead         –     –    ×2    ×4    ×8    ×8       at most heap / 64
//! ```
//!
//! The bound keeps what a run that ends leaves unused below a sixty-fourth of the heap.
//! All of it is counted where memory is searched and taken, under the heap's lock, and
//! never where a magazine serves.

use core::fmt;

use mallocer_core::Bytes;

use crate::descriptor::RUN;
use crate::heap::Heap;
use crate::pool::{OS_PAGE, Slot};

/// Misses in a row from which on a heap takes ahead.
const RUN_OF_MISSES: u64 = 4;
/// It takes at most eight times what it would.
const MOST_DOUBLINGS: u32 = 3;
/// And at most this part of the heap.
const AHEAD_SHARE: usize = 64;

/// What a heap has seen.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    peak: usize,
    misses: u64,
    most_misses: u64,
    all_misses: u64,
}

impl Seen {
    /// Notes that the heap has `heap` bytes.
    pub(crate) fn grown(&mut self, heap: usize) {
        self.peak = self.peak.max(heap);
    }

    /// Notes a search that found room.
    pub(crate) fn hit(&mut self) {
        self.misses = 0;
    }

    /// Notes a search that found none.
    pub(crate) fn miss(&mut self) {
        self.misses += 1;
        self.all_misses += 1;
        self.most_misses = self.most_misses.max(self.misses);
    }

    /// What to take where `bytes` bytes would do, in a heap that has `heap`: more in a run
    /// of misses, in OS pages.
    pub(crate) fn ahead(&self, bytes: usize, heap: usize) -> usize {
        if self.misses < RUN_OF_MISSES {
            return bytes;
        }
        let doublings = (self.misses / RUN_OF_MISSES).ilog2() + 1;
        let most = (heap / AHEAD_SHARE) & !(OS_PAGE - 1);
        bytes.max((bytes << doublings.min(MOST_DOUBLINGS)).min(most))
    }
}

/// Statistics of a heap, all of them since it was opened; sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// What the heap may take at most: its capacity.
    pub max_heap: usize,
    /// The most it ever had.
    pub peak_heap: usize,
    /// What it has now.
    pub heap: usize,
    /// What callers hold of it.
    pub in_use: usize,
    /// What bookkeeping takes beside it.
    pub overhead: usize,
    /// Searches in a row, up to now, that found no room.
    pub misses: u64,
    /// The longest such row.
    pub most_misses: u64,
    /// All such searches.
    pub all_misses: u64,
    /// How many blocks the heap is made of: pools, extents and retained spans.
    pub blocks: usize,
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "heap {} of {}, peak {}; in use {}; overhead {}; {} blocks; \
             misses {} in a row, at most {}, {} in all",
            Bytes(self.heap),
            Bytes(self.max_heap),
            Bytes(self.peak_heap),
            Bytes(self.in_use),
            Bytes(self.overhead),
            self.blocks,
            self.misses,
            self.most_misses,
            self.all_misses
        )
    }
}

/// One block of a heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Where it begins.
    pub start: usize,
    /// Bytes of memory charged for it.
    pub bytes: usize,
    /// The slab of its chunks, in bytes; for an extent, its length; 0 if it has none.
    pub slab: usize,
    /// Bytes of it in chunks that are out: with callers, or in magazines.
    pub used: usize,
}

/// What a [`Block`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockKind {
    /// Chunks of one slab.
    Pool,
    /// One large chunk.
    Extent,
    #[default]
    /// Empty memory that is kept for the next pool or extent.
    Retained,
}

impl BlockKind {
    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            BlockKind::Pool => "pool",
            BlockKind::Extent => "extent",
            BlockKind::Retained => "retained",
        }
    }
}

impl<S: Slot> Heap<S> {
    /// What there is to say of the heap.
    pub(crate) fn statistics(&self) -> Statistics {
        let info = self.info();
        let mut blocks = 0;
        self.each_block(&mut |_| blocks += 1);
        Statistics {
            max_heap: info.capacity,
            peak_heap: self.seen.peak,
            heap: self.heap,
            in_use: info.alloc,
            overhead: info.overhead,
            misses: self.seen.misses,
            most_misses: self.seen.most_misses,
            all_misses: self.seen.all_misses,
            blocks,
        }
    }

    /// Writes the blocks from number `skip` on to `into`; returns how many.
    pub(crate) fn blocks(&self, skip: usize, into: &mut [Block]) -> usize {
        let (mut number, mut written) = (0, 0);
        self.each_block(&mut |block| {
            if number >= skip
                && let Some(place) = into.get_mut(written)
            {
                *place = block;
                written += 1;
            }
            number += 1;
        });
        written
    }

    fn each_block(&self, visit: &mut dyn FnMut(Block)) {
        let Some(reservation) = self.reservation() else { return };
        let table = reservation.descriptors();
        // SAFETY: the lists hold this arena's pools, extents and spans.
        unsafe {
            let mut pool = self.pools;
            while let Some(one) = pool.as_ref() {
                let out = (one.ready - one.free()) as usize;
                visit(Block {
                    kind: BlockKind::Pool,
                    start: one.start.addr(),
                    bytes: one.charged,
                    slab: self.ladder.slabs()[one.slab as usize],
                    used: out * one.stride,
                });
                pool = one.next;
            }
            let mut extent = self.extents;
            while extent != 0 {
                let one = &*table.at(extent);
                let (start, bytes) = (one.start.addr(), one.extent_bytes());
                visit(Block { kind: BlockKind::Extent, start, bytes, slab: bytes, used: bytes });
                extent = one.next;
            }
            self.retained.each(table, &mut |span| {
                let start = reservation.start_of(span.first).addr().get();
                let bytes = span.runs as usize * RUN;
                visit(Block { kind: BlockKind::Retained, start, bytes, slab: 0, used: 0 });
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_misses_takes_ahead_within_a_bound() {
        let mut seen = Seen::default();
        for _ in 0..3 {
            seen.miss();
        }
        assert_eq!(seen.ahead(OS_PAGE, 1 << 30), OS_PAGE);
        seen.miss();
        assert_eq!(seen.ahead(OS_PAGE, 1 << 30), 2 * OS_PAGE);
        for _ in 0..1000 {
            seen.miss();
        }
        assert_eq!(seen.ahead(OS_PAGE, 1 << 30), 8 * OS_PAGE);
        // A small heap does not take ahead, and what is asked is always taken.
        assert_eq!(seen.ahead(OS_PAGE, 100 << 10), OS_PAGE);
        assert_eq!(seen.ahead(1 << 20, 1 << 20), 1 << 20);
        seen.hit();
        assert_eq!(seen.ahead(OS_PAGE, 1 << 30), OS_PAGE);
        assert_eq!((seen.most_misses, seen.all_misses), (1004, 1004));
    }
}
