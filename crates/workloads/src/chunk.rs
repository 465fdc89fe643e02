//! Chunks that a workload holds.

use std::ptr::NonNull;

use crate::random::{Drawer, Random, layout};
use crate::{Sizes, Subject};

/// A chunk and the size it was asked for with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) chunk: NonNull<u8>,
    pub(crate) size: usize,
}

// SAFETY: a chunk belongs to who holds it, and every subject that is measured with
// several threads takes chunks back from any of them.
unsafe impl Send for Held {}

/// Allocates `size` bytes, at least 16, and writes the first word: the size.
#[inline(always)]
pub(crate) fn take(subject: &impl Subject, size: usize) -> Held {
    let chunk = subject.alloc(layout(size));
    // SAFETY: the chunk has 16 bytes at least, aligned to 8.
    unsafe { chunk.cast::<usize>().write(size) };
    escape(chunk);
    Held { chunk, size }
}

/// Lets the compiler believe that somebody else sees the chunk, and all memory, now. It
/// knows what `malloc` is, and would leave out what nobody sees.
#[inline(always)]
pub(crate) fn escape(chunk: NonNull<u8>) {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    // SAFETY: there is no instruction in it.
    unsafe {
        std::arch::asm!("/* {0} */", in(reg) chunk.as_ptr(), options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    std::hint::black_box(chunk);
}

impl Held {
    /// Frees the chunk.
    ///
    /// # Safety
    ///
    /// The chunk is `subject`'s, is not freed yet, and is not used afterwards.
    #[inline(always)]
    pub(crate) unsafe fn free(self, subject: &impl Subject) {
        escape(self.chunk);
        // SAFETY: passed on.
        unsafe { subject.free(self.chunk, layout(self.size)) }
    }
}

/// Room for `count` chunks, resident already, so that no measured part faults it in.
pub(crate) fn room(count: usize) -> Vec<Held> {
    let mut held = vec![Held { chunk: NonNull::dangling(), size: usize::MAX }; count];
    held.clear();
    held
}

/// Allocates `count` chunks.
pub(crate) fn grow(subject: &impl Subject, held: &mut Vec<Held>, count: usize, sizes: Sizes) {
    let drawer = Drawer::new(sizes);
    let mut random = Random::new(0x5eed);
    for _ in 0..count {
        held.push(take(subject, drawer.draw(&mut random)));
    }
}

/// Frees all chunks, the first one first.
pub(crate) fn free_in_order(subject: &impl Subject, held: &mut Vec<Held>) {
    for each in held.drain(..) {
        // SAFETY: `held` has each chunk once, and it is not used afterwards.
        unsafe { each.free(subject) };
    }
}

/// Frees all chunks, the last one first.
pub(crate) fn free_in_reverse(subject: &impl Subject, held: &mut Vec<Held>) {
    while let Some(last) = held.pop() {
        // SAFETY: as above.
        unsafe { last.free(subject) };
    }
}

/// Brings `held` into random order: freeing it in order then is freeing at random.
pub(crate) fn shuffle(held: &mut [Held]) {
    let mut random = Random::new(0x5bf1e);
    for last in (1..held.len()).rev() {
        held.swap(last, random.below(last + 1));
    }
}
