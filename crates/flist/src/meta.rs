//! Memory for an arena's bookkeeping: pools, state bytes, magazines.
//!
//! It comes from runs of its own, so that no stray write to a chunk and no overflow
//! of one reaches it from the same run, and a free of a pointer into it is told
//! apart. Blocks are cut off a run in address order and come back to a list for
//! their size, of which there are four for every power of two.
//!
//! All of it is given back at once when the arena is released.

use core::ptr::{self, NonNull};

use crate::descriptor::{Descriptors, Kind, RUN, Tag};
use crate::reservation::{Reservation, Taken};
use crate::spans::Span;

/// Blocks are multiples of a cache line.
const LINE: usize = 64;
const CLASSES: usize = 4 * 9;
const _: () = assert!(class(RUN).0 == CLASSES - 1);

/// An arena's bookkeeping memory.
pub(crate) struct Meta {
    reservation: &'static Reservation,
    tag: Tag,
    /// What is left of the newest run.
    next: *mut u8,
    left: usize,
    /// Whether it reads as zero.
    zero: bool,
    /// The first of this arena's runs of bookkeeping, linked by their descriptors.
    first: u32,
    /// Bytes in blocks that are in use.
    used: usize,
    runs: usize,
    free: [*mut Block; CLASSES],
}

struct Block {
    next: *mut Block,
}

impl Meta {
    pub(crate) fn new(reservation: &'static Reservation, owner: u64) -> Meta {
        Meta {
            reservation,
            tag: Tag::new(owner, Kind::Meta),
            next: ptr::null_mut(),
            left: 0,
            zero: false,
            first: 0,
            used: 0,
            runs: 0,
            free: [ptr::null_mut(); CLASSES],
        }
    }

    /// A block of `bytes` bytes, at most a run, that reads as zero; `None` if there
    /// is no more address space or the system refuses.
    pub(crate) fn take_zeroed(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        let (block, zero) = self.take_block(bytes)?;
        if !zero {
            // SAFETY: the block has at least `bytes` bytes.
            unsafe { block.write_bytes(0, bytes) };
        }
        Some(block)
    }

    /// A block of `bytes` bytes, at most a run, with undefined contents.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        Some(self.take_block(bytes)?.0)
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// It was taken here with the same number of bytes, and is not used any more.
    pub(crate) unsafe fn give(&mut self, block: NonNull<u8>, bytes: usize) {
        let (class, size) = class(bytes);
        let block = block.cast::<Block>().as_ptr();
        // SAFETY: the block is ours again, and large enough for a link.
        unsafe { block.write(Block { next: self.free[class] }) };
        self.free[class] = block;
        self.used -= size;
    }

    /// Bytes of bookkeeping: blocks in use, and the descriptors of their runs.
    pub(crate) fn used(&self) -> usize {
        self.used + self.runs * LINE
    }

    /// Every run of bookkeeping, with its descriptor cleared. After that nothing is
    /// left of it.
    ///
    /// # Safety
    ///
    /// No block is used any more.
    pub(crate) unsafe fn drain(&mut self) -> impl Iterator<Item = Span> + use<> {
        let table: Descriptors = self.reservation.descriptors();
        let mut run = self.first;
        *self = Meta::new(self.reservation, self.tag.owner());
        core::iter::from_fn(move || {
            let span = (run != 0).then(|| Span::new(run, 1))?;
            // SAFETY: the list runs through this arena's own runs.
            unsafe {
                let descriptor = table.at(run);
                run = (*descriptor).next;
                (*descriptor).set_tag(Tag::INNER);
            }
            Some(span)
        })
    }

    fn take_block(&mut self, bytes: usize) -> Option<(NonNull<u8>, bool)> {
        let (class, size) = class(bytes);
        let block = self.free[class];
        let taken = if let Some(block) = NonNull::new(block) {
            // SAFETY: the list holds free blocks of this class.
            self.free[class] = unsafe { block.as_ref().next };
            (block.cast(), false)
        } else {
            if self.left < size {
                self.next_run()?;
            }
            let block = NonNull::new(self.next)?;
            // SAFETY: `left` bytes follow `next`, and `size` is not more.
            self.next = unsafe { self.next.add(size) };
            self.left -= size;
            (block, self.zero)
        };
        self.used += size;
        Some(taken)
    }

    #[cold]
    fn next_run(&mut self) -> Option<()> {
        let Taken { span, zero } = self.reservation.take(1, RUN)?;
        // What is left of the old run serves smaller requests.
        while self.left >= LINE {
            let (class, size) = class_within(self.left);
            let block = self.next.cast::<Block>();
            // SAFETY: `size` bytes of the old run are left.
            unsafe {
                block.write(Block { next: self.free[class] });
                self.next = self.next.add(size);
            }
            self.free[class] = block;
            self.left -= size;
        }
        // SAFETY: the run is ours now.
        unsafe {
            let descriptor = self.reservation.descriptors().at(span.first);
            (*descriptor).next = core::mem::replace(&mut self.first, span.first);
            (*descriptor).set_tag(self.tag);
        }
        self.next = self.reservation.start_of(span.first).as_ptr();
        self.left = RUN;
        self.zero = zero;
        self.runs += 1;
        Some(())
    }
}

/// The class that holds `bytes`, and its size: 64, 128, … in steps of a quarter.
const fn class(bytes: usize) -> (usize, usize) {
    let lines = if bytes == 0 { 1 } else { bytes.div_ceil(LINE) };
    if lines <= 4 {
        return (lines - 1, lines * LINE);
    }
    let exponent = (lines - 1).ilog2() as usize; // 2 for 5 to 8 lines
    let quarter = (lines - 1) >> (exponent - 2); // 4 to 7
    let class = (exponent - 1) * 4 + quarter - 4;
    (class, (quarter + 1) << (exponent - 2) << LINE.ilog2())
}

/// The largest class of at most `bytes` bytes.
const fn class_within(bytes: usize) -> (usize, usize) {
    let (mut at, mut size) = class(bytes);
    while size > bytes {
        at -= 1;
        size = if at < 4 { (at + 1) * LINE } else { (at % 4 + 5) << (at / 4 - 1) << LINE.ilog2() };
    }
    (at, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_are_asked_for() {
        let mut last = (0, 64);
        for bytes in 1..=RUN {
            let (at, size) = class(bytes);
            assert!(size >= bytes && size % LINE == 0);
            assert!(size <= bytes.next_multiple_of(LINE).max(bytes + bytes / 4), "{bytes}: {size}");
            assert!(at == last.0 && size == last.1 || at == last.0 + 1 && size > last.1);
            last = (at, size);
            if bytes >= LINE {
                let (within_at, within) = class_within(bytes);
                assert!(within <= bytes && class(within) == (within_at, within));
            }
        }
    }
}
