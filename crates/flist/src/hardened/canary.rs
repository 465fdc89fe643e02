//! Canaries and headers: what only this process can have written.
//!
//! A chunk has one *canary*, a number that follows from its address by two keys that only
//! this process knows, so none can be copied from elsewhere. The header mixes what is to be
//! known of the chunk, its *mark*, into the canary:
//!
//! ```text
//!      live               at rest
//! w0   canary ⊕ mark      0                 mark = size │ kind, 8 bits
//! w1   canary             ¬ canary
//! w2   canary ⊕ gap       0                 the gap of a large chunk, else nothing
//! w3   the same           0
//! ```
//!
//! The kind of a small chunk says by its exponent how large the gap is, which is a power of
//! two. A size that is not true leads to a tail that is not there.
//!
//! That a chunk is freed is said by w1 alone, and says it by itself: no other number in that
//! place has a chance to. So the word proves what it is also where it is found in memory that
//! has gone to another slab since.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::contents;
use crate::os;

/// Bytes of a header.
pub(super) const HEADER: usize = 32;
/// Bytes of canaries behind a small chunk.
pub(super) const TAIL: usize = TAIL_WORDS * WORD;
const TAIL_WORDS: usize = 5;

pub(super) const WORD: usize = size_of::<u64>();
/// The bytes of a header in which a chunk at rest has a word that is not zero.
pub(super) const MARKED: usize = 2 * WORD;

/// Where a size begins in a mark.
const SIZE_SHIFT: u32 = 8;
/// The kind of a large chunk; that of a small one is the exponent of its gap.
const LARGE: u64 = 64;
/// That of a small one right behind its header.
const USUAL: u64 = HEADER.trailing_zeros() as u64;

/// What a live chunk's header says.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) size: usize,
    /// Bytes from the header to what the program has.
    pub(super) gap: usize,
    pub(super) large: bool,
}

/// What is found where a header should be.
pub(super) enum Said {
    Live(Header),
    Freed,
    /// It is not whole.
    Nothing,
}

impl Header {
    fn mark(&self) -> u64 {
        let kind = if self.large { LARGE } else { self.gap.trailing_zeros().into() };
        (self.size as u64) << SIZE_SHIFT | kind
    }

    /// What the canaries behind the mark are mixed with.
    fn large_gap(&self) -> u64 {
        if self.large { self.gap as u64 } else { 0 }
    }
}

/// What canaries follow from.
#[derive(Clone, Copy)]
pub(super) struct Keys(u64, u64);

/// The canary of one chunk.
#[derive(Clone, Copy)]
pub(super) struct Canary(u64);

impl Keys {
    pub(super) fn random() -> Keys {
        Keys(os::random(), os::random() | 1)
    }

    /// The canary of the chunk at an address. None of its bytes is below 128, so that no
    /// text, and no zero behind it, can equal them.
    #[inline(always)]
    pub(super) fn of(self, chunk: *mut u8) -> Canary {
        let mixed = (chunk.addr() as u64 ^ self.0).wrapping_mul(self.1);
        Canary(mixed.rotate_left(29) | 0x8080_8080_8080_8080)
    }
}

impl Canary {
    /// Whether a small chunk is as it is kept from its free on: with the header of a freed
    /// one, and zero else. What never was handed out is not.
    ///
    /// # Safety
    ///
    /// The memory is a chunk of the heap's that is out of its pool, `bytes` long.
    #[inline(always)]
    pub(super) unsafe fn is_at_rest(self, chunk: *const u8, bytes: usize) -> bool {
        // SAFETY: the caller's promise; it is longer than its header and a tail.
        unsafe {
            let [first, second] = chunk.cast::<[u64; 2]>().read();
            contents::are_zero_and(first | second ^ self.freed(), chunk.add(MARKED), bytes - MARKED)
        }
    }

    /// The same for a short one.
    ///
    /// # Safety
    ///
    /// As [`is_at_rest`](Canary::is_at_rest); behind the first words, it is no longer than what
    /// takes no loop.
    #[inline(always)]
    pub(super) unsafe fn is_at_rest_short(self, chunk: *const u8, bytes: usize) -> bool {
        // SAFETY: passed on.
        unsafe {
            let [first, second] = chunk.cast::<[u64; 2]>().read();
            let any = first | second ^ self.freed();
            contents::are_few_zero_and(any, chunk.add(MARKED), bytes - MARKED)
        }
    }

    /// Writes header and tail of a small chunk at no far alignment, for `size` bytes.
    ///
    /// # Safety
    ///
    /// The chunk is ours, and long enough.
    #[inline(always)]
    pub(super) unsafe fn write_usual(self, chunk: *mut u8, size: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            self.write_words(chunk, (size as u64) << SIZE_SHIFT | USUAL, 0);
            let tail = chunk.add(HEADER + size).cast::<[u64; TAIL_WORDS]>();
            tail.write_unaligned([self.0; TAIL_WORDS]);
        }
    }

    /// The size of a live small chunk at no far alignment, if it is one, and its header and its
    /// tail are whole.
    ///
    /// # Safety
    ///
    /// The memory is a chunk of a pool of the heap's that was handed out, `bytes` long.
    #[inline(always)]
    pub(super) unsafe fn read_usual(self, chunk: *mut u8, bytes: usize) -> Option<usize> {
        let word = chunk.cast::<u64>();
        // SAFETY: the chunk is longer than a header, and the tail is within it.
        unsafe {
            let mark = word.read() ^ self.0;
            let size = (mark >> SIZE_SHIFT) as usize;
            if mark as u8 != USUAL as u8 || size + (HEADER + TAIL) > bytes {
                return None;
            }
            let tail = chunk.add(HEADER + size).cast::<u64>();
            let header = (1..HEADER / WORD).all(|at| self.is_at(word.add(at)));
            let whole = header && (0..TAIL_WORDS).all(|at| self.is_at(tail.add(at)));
            whole.then_some(size)
        }
    }

    /// Whether that is a word of canaries.
    #[inline(always)]
    unsafe fn is_at(self, word: *mut u64) -> bool {
        // SAFETY: the caller's promise.
        unsafe { word.read_unaligned() == self.0 }
    }

    /// Writes a header.
    ///
    /// # Safety
    ///
    /// The chunk is ours.
    pub(super) unsafe fn write_header(self, chunk: *mut u8, header: Header) {
        // SAFETY: passed on.
        unsafe { self.write_words(chunk, header.mark(), header.large_gap()) };
    }

    /// # Safety
    ///
    /// As [`write_header`](Canary::write_header).
    #[inline(always)]
    unsafe fn write_words(self, chunk: *mut u8, mark: u64, gap: u64) {
        let word = chunk.cast::<u64>();
        // SAFETY: the header is within the chunk, which is aligned for words.
        unsafe {
            word.write(self.0 ^ mark);
            word.add(1).write(self.0);
            word.add(2).write(self.0 ^ gap);
            word.add(3).write(self.0 ^ gap);
        }
    }

    /// What the header at `chunk` says.
    ///
    /// # Safety
    ///
    /// The memory is a chunk of the heap's that is out of its pool.
    pub(super) unsafe fn read_header(self, chunk: *mut u8) -> Said {
        // SAFETY: the chunk is longer than a header.
        let words = unsafe { chunk.cast::<[u64; 4]>().read() };
        let [mark, second, gap, again] = words.map(|word| word ^ self.0);
        if self.says_freed(words[1]) {
            return Said::Freed;
        }
        let (kind, size) = (mark & ((1 << SIZE_SHIFT) - 1), (mark >> SIZE_SHIFT) as usize);
        if second != 0 || gap != again {
            return Said::Nothing;
        }
        match (kind, gap) {
            (LARGE, gap) => Said::Live(Header { size, gap: gap as usize, large: true }),
            (USUAL..LARGE, 0) => Said::Live(Header { size, gap: 1 << kind, large: false }),
            _ => Said::Nothing,
        }
    }

    /// Whether a chunk that has this as its second word is freed.
    pub(super) fn says_freed(self, second: u64) -> bool {
        second == self.freed()
    }

    /// Changes the header of a live chunk, which was just read, to freed; `false` if another
    /// thread was faster: it frees the chunk.
    ///
    /// # Safety
    ///
    /// The header was read there.
    #[inline(always)]
    pub(super) unsafe fn mark_freed(self, chunk: *mut u8) -> bool {
        let words = chunk.cast::<u64>();
        // SAFETY: the words are within the header. Who changes the second one has the chunk.
        unsafe {
            let first = AtomicU64::from_ptr(words.add(1)).swap(self.freed(), Relaxed) == self.0;
            if first {
                words.write(0);
            }
            first
        }
    }

    /// A number that nobody else knows; always the same for one chunk.
    #[inline(always)]
    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// The second word of a freed chunk.
    #[inline(always)]
    fn freed(self) -> u64 {
        !self.0
    }

    pub(super) fn bytes(self) -> impl Iterator<Item = u8> {
        self.0.to_ne_bytes().into_iter().cycle()
    }
}
