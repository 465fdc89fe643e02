//! A bare free list: the limit.
//!
//! Free chunks of one size are linked through their first word. There is no check,
//! no count, no second size and no second thread, so nothing that offers any of
//! these is faster, and what an allocator takes above it is the price of what it
//! offers.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use crate::Subject;

/// Bytes taken from the system at a time.
const BLOCK_BYTES: usize = 1 << 20;

/// Chunks of one size, which is that of the first request.
#[derive(Default)]
pub struct FreeList {
    /// The first free chunk; its first word leads to the next.
    head: Cell<Option<NonNull<u8>>>,
    /// From here on, the last block is untouched, up to `end`.
    fresh: Cell<usize>,
    end: Cell<usize>,
    blocks: RefCell<Vec<Box<[u128]>>>,
}

impl FreeList {
    #[cold]
    fn grow(&self, layout: Layout) -> NonNull<u8> {
        assert!(layout.align() <= 16 && layout.size() >= 8, "the limit serves plain chunks");
        let mut blocks = self.blocks.borrow_mut();
        if self.fresh.get() + layout.size() > self.end.get() {
            blocks.push(vec![0; BLOCK_BYTES / 16].into_boxed_slice());
            self.fresh.set(0);
            self.end.set(BLOCK_BYTES);
        }
        let block = blocks.last_mut().expect("one was just pushed, if there was none");
        let start = NonNull::from(&mut **block).cast::<u8>();
        let at = self.fresh.replace(self.fresh.get() + layout.size().next_multiple_of(16));
        // SAFETY: `at` plus the size is within the block.
        unsafe { start.add(at) }
    }
}

impl Subject for FreeList {
    #[inline(always)]
    fn alloc(&self, layout: Layout) -> NonNull<u8> {
        let Some(chunk) = self.head.get() else { return self.grow(layout) };
        // SAFETY: a free chunk holds the link to the next, written by `free`.
        self.head.set(unsafe { chunk.cast().read() });
        chunk
    }

    #[inline(always)]
    unsafe fn free(&self, chunk: NonNull<u8>, _: Layout) {
        // SAFETY: the chunk is free, aligned to 8 at least and holds a word.
        unsafe { chunk.cast().write(self.head.get()) };
        self.head.set(Some(chunk));
    }

    unsafe fn realloc(&self, _: NonNull<u8>, _: Layout, size: usize) -> NonNull<u8> {
        panic!("the limit has one size; it cannot give a chunk {size} bytes")
    }

    unsafe fn release(&mut self) {
        *self = FreeList::default();
    }
}
