//! What is written around a chunk, and checked.
//!
//! ```text
//! chunk                          user                          tail_end     end
//! │ w0 │ w1 │ w2 │ w3 │ gap …    │ … size bytes …              │ tail │ unused │
//!   header                canaries                       canaries
//! ```
//!
//! Each word of a zone is its *canary*, a number that follows from its own address by two
//! keys that only this process knows, so none can be copied from elsewhere. The header
//! mixes what is to be known of the chunk into its canaries:
//!
//! ```text
//! w0 = canary                          w2 = canary ⊕ (gap, whether large, whether freed)
//! w1 = canary ⊕ size                   w3 = canary ⊕ check(size, gap)
//! ```
//!
//! A tail begins with the very next byte behind what was asked for. In a small chunk it
//! reaches to the chunk's end, but for at most 64 bytes; in front of a far aligned chunk,
//! whose gap is larger than a header, up to 64 bytes before it are canaries, too.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::os;
use crate::pool::OS_PAGE;

/// Bytes of a header.
pub(super) const HEADER: usize = 32;
/// Bytes of canaries behind a small chunk, at least and at most.
pub(super) const TAIL_LEAST: usize = 40;
const TAIL_MOST: usize = 64;

const WORD: usize = size_of::<u64>();
const FREED: usize = 1 << 63;
const LARGE: usize = 1 << 62;
const GAP: usize = LARGE - 1;

/// Where a chunk and its zones are.
#[derive(Clone, Copy)]
pub(super) struct Zones {
    /// The header.
    pub(super) chunk: *mut u8,
    /// What the program has.
    pub(super) user: *mut u8,
    /// How many bytes of it.
    pub(super) size: usize,
    /// The first byte in front of `user` that has a canary.
    gap_start: usize,
    /// The first byte behind the chunk's last, or a guard page.
    end: usize,
    large: bool,
}

/// What a header says.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) size: usize,
    /// Bytes from the header to what the program has.
    pub(super) gap: usize,
    pub(super) large: bool,
    pub(super) freed: bool,
}

impl Header {
    /// The zones of a chunk with this header, of which the heap says `bytes`.
    pub(super) fn zones(self, chunk: *mut u8, bytes: usize) -> Zones {
        let end = if self.large { super::guarded::end(chunk, bytes) } else { chunk.addr() + bytes };
        Zones::new(chunk, end, self.gap, self.size, self.large)
    }

    fn check(self) -> u64 {
        (self.size as u64).rotate_left(32) ^ self.gap as u64
    }

    fn gap_word(self) -> u64 {
        let freed = if self.freed { FREED } else { 0 };
        let large = if self.large { LARGE } else { 0 };
        (self.gap | large | freed) as u64
    }
}

impl Zones {
    /// Those of a small chunk of the heap's with `bytes` bytes.
    pub(super) fn small(chunk: *mut u8, bytes: usize, gap: usize, size: usize) -> Zones {
        Zones::new(chunk, chunk.addr() + bytes, gap, size, false)
    }

    /// Those of a chunk whose zones end at `end`.
    pub(super) fn new(chunk: *mut u8, end: usize, gap: usize, size: usize, large: bool) -> Zones {
        let user = chunk.wrapping_add(gap);
        // Before the page of a large one there is a guard.
        let least = if large { user.addr() & !(OS_PAGE - 1) } else { chunk.addr() + HEADER };
        let gap_start = least.max(user.addr().saturating_sub(TAIL_MOST) & !(WORD - 1));
        Zones { chunk, user, size, gap_start, end, large }
    }

    /// The same around another number of the program's bytes.
    pub(super) fn resized(self, size: usize) -> Zones {
        Zones { size, ..self }
    }

    /// Bytes from the header to the end.
    pub(super) fn bytes(&self) -> usize {
        self.end - self.chunk.addr()
    }

    /// Gap, the program's bytes and tail: where they begin and end.
    pub(super) fn without_header(&self) -> (usize, usize) {
        (self.gap_start, self.tail_end())
    }

    /// The first byte behind the tail.
    pub(super) fn tail_end(&self) -> usize {
        let most = (self.user.addr() + self.size + TAIL_MOST) & !(WORD - 1);
        most.min(self.end & !(WORD - 1))
    }

    /// Whether a small chunk that comes from the heap is zero, as it was when it went there,
    /// but for the heap's own marks, which are taken off.
    ///
    /// # Safety
    ///
    /// The chunk is ours.
    pub(super) unsafe fn is_untouched(&self, key: u64) -> bool {
        // The heap has used the first word.
        let (first, words) = (self.chunk.cast::<u64>(), self.bytes() / WORD);
        // SAFETY: all words are within the chunk, which is aligned for them.
        unsafe {
            let mut any = 0;
            for at in 1..words {
                any |= first.add(at).read();
            }
            if any == 0 {
                return true;
            }
            // The beginning of some chunk that was here, when another slab had the memory.
            (1..words).all(|at| {
                let word = first.add(at);
                let value = word.read();
                if value == key ^ word.addr() as u64 {
                    word.write(0);
                    return true;
                }
                value == 0
            })
        }
    }

    /// Whether all bytes of the program's are zero.
    ///
    /// # Safety
    ///
    /// The chunk is ours.
    pub(super) unsafe fn is_zero(&self) -> bool {
        let words = self.size / WORD;
        // SAFETY: within the program's bytes, which begin at a multiple of a word.
        unsafe {
            let mut any = 0;
            for at in 0..words {
                any |= self.user.cast::<u64>().add(at).read();
            }
            for at in words * WORD..self.size {
                any |= u64::from(self.user.add(at).read());
            }
            any == 0
        }
    }

    /// Makes header, gap and tail zero.
    ///
    /// # Safety
    ///
    /// The chunk is ours.
    pub(super) unsafe fn clear(&self) {
        // SAFETY: the zones are within the chunk.
        unsafe {
            self.chunk.write_bytes(0, HEADER);
            self.at(self.gap_start).write_bytes(0, self.user.addr() - self.gap_start);
            let tail = self.user.addr() + self.size;
            self.at(tail).write_bytes(0, self.tail_end() - tail);
        }
    }

    /// The byte of the chunk at an address.
    fn at(&self, address: usize) -> *mut u8 {
        self.chunk.with_addr(address)
    }
}

/// What canaries follow from.
#[derive(Clone, Copy)]
pub(super) struct Keys(u64, u64);

impl Keys {
    pub(super) fn random() -> Keys {
        Keys(os::random(), os::random())
    }

    /// The canary of the word at `address`.
    #[inline(always)]
    fn canary(self, address: usize) -> u64 {
        let mixed = (address as u64 ^ self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed.rotate_left(29) ^ self.1
    }

    /// Writes the zones around a chunk that is handed out.
    ///
    /// # Safety
    ///
    /// The chunk is ours.
    #[inline]
    pub(super) unsafe fn write(self, zones: Zones) {
        let gap = zones.user.addr() - zones.chunk.addr();
        let header = Header { size: zones.size, gap, large: zones.large, freed: false };
        let word = zones.chunk.cast::<u64>();
        // SAFETY: the header and both zones are within the chunk; words are aligned.
        unsafe {
            word.write(self.canary(word.addr()));
            word.add(1).write(self.canary(word.addr() + WORD) ^ zones.size as u64);
            word.add(2).write(self.canary(word.addr() + 2 * WORD) ^ header.gap_word());
            word.add(3).write(self.canary(word.addr() + 3 * WORD) ^ header.check());
            let mut address = zones.gap_start;
            while address < zones.user.addr() {
                zones.at(address).cast::<u64>().write(self.canary(address));
                address += WORD;
            }
            let mut address = zones.user.addr() + zones.size;
            if !address.is_multiple_of(WORD) {
                let first = address & !(WORD - 1);
                let word = zones.at(first).cast::<u64>();
                let kept = low_bytes(address - first);
                word.write(word.read() & kept | self.canary(first) & !kept);
                address = first + WORD;
            }
            while address < zones.tail_end() {
                zones.at(address).cast::<u64>().write(self.canary(address));
                address += WORD;
            }
        }
    }

    /// What the header at `chunk` says; `None` if it is not whole.
    ///
    /// # Safety
    ///
    /// The memory is a chunk of the heap's that is out of its pool.
    #[inline]
    pub(super) unsafe fn read(self, chunk: *mut u8) -> Option<Header> {
        let word = chunk.cast::<u64>();
        // SAFETY: the chunk is longer than a header. The third word may be changed by a
        // thread that frees it at this moment.
        let (w0, w1, w2, w3) = unsafe {
            let changing = AtomicU64::from_ptr(word.add(2)).load(Relaxed);
            (word.read(), word.add(1).read(), changing, word.add(3).read())
        };
        let size = (w1 ^ self.canary(word.addr() + WORD)) as usize;
        let gap = (w2 ^ self.canary(word.addr() + 2 * WORD)) as usize;
        let (large, freed) = (gap & LARGE != 0, gap & FREED != 0);
        let header = Header { size, gap: gap & GAP, large, freed };
        let whole = w0 == self.canary(word.addr())
            && w3 == self.canary(word.addr() + 3 * WORD) ^ header.check();
        whole.then_some(header)
    }

    /// Changes a header from live to freed; `false` if another thread was faster.
    ///
    /// # Safety
    ///
    /// The header was read there.
    #[inline]
    pub(super) unsafe fn mark_freed(self, zones: Zones, header: Header) -> bool {
        let word = zones.chunk.cast::<u64>().wrapping_add(2);
        let canary = self.canary(word.addr());
        let live = canary ^ header.gap_word();
        let freed = canary ^ Header { freed: true, ..header }.gap_word();
        // SAFETY: the word is within the header.
        let word = unsafe { AtomicU64::from_ptr(word) };
        word.compare_exchange(live, freed, Relaxed, Relaxed).is_ok()
    }

    /// Whether the canaries of both zones beside the header are whole.
    ///
    /// # Safety
    ///
    /// The chunk is the heap's, and out of its pool.
    pub(super) unsafe fn are_whole(self, zones: Zones) -> bool {
        // SAFETY: passed on.
        unsafe { self.is_gap_whole(zones) && self.is_tail_whole(zones) }
    }

    /// # Safety
    ///
    /// As [`are_whole`](Keys::are_whole).
    #[inline]
    pub(super) unsafe fn is_gap_whole(self, zones: Zones) -> bool {
        let mut address = zones.gap_start;
        let mut wrong = 0;
        while address < zones.user.addr() {
            // SAFETY: within the zone.
            wrong |= unsafe { zones.at(address).cast::<u64>().read() } ^ self.canary(address);
            address += WORD;
        }
        wrong == 0
    }

    /// # Safety
    ///
    /// As [`are_whole`](Keys::are_whole).
    #[inline]
    pub(super) unsafe fn is_tail_whole(self, zones: Zones) -> bool {
        let mut address = zones.user.addr() + zones.size;
        let mut wrong = 0;
        // SAFETY: within the zone.
        unsafe {
            if !address.is_multiple_of(WORD) {
                let first = address & !(WORD - 1);
                let word = zones.at(first).cast::<u64>().read();
                wrong |= (word ^ self.canary(first)) & !low_bytes(address - first);
                address = first + WORD;
            }
            while address < zones.tail_end() {
                wrong |= zones.at(address).cast::<u64>().read() ^ self.canary(address);
                address += WORD;
            }
        }
        wrong == 0
    }
}

/// A word whose `count` bytes at the lowest addresses are all ones, and the rest zero.
fn low_bytes(count: usize) -> u64 {
    u64::from_le((1 << (8 * count)) - 1)
}

/// Whether a chunk of `bytes` bytes is as the heap keeps chunks that are not handed out.
///
/// # Safety
///
/// As [`Keys::read`].
#[cold]
pub(super) unsafe fn is_at_rest(chunk: *mut u8, bytes: usize, key: u64) -> bool {
    let words = chunk.cast::<u64>();
    // SAFETY: the chunk has as many words.
    (0..bytes / WORD).all(|at| unsafe {
        let word = words.add(at);
        let value = word.read();
        value == 0 || value == key ^ word.addr() as u64
    })
}
