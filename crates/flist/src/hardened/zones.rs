//! Where the zones around a chunk are, and what is in them.
//!
//! ```text
//! chunk                          user                          tail_end     end
//! │ w0 │ w1 │ w2 │ w3 │ gap …    │ … size bytes …              │ tail │ unused │
//!   header                canaries                       canaries
//! ```
//!
//! Gap and tail repeat the chunk's canary, the gap backwards from the program's first byte, the
//! tail from the very next byte behind its last.
//!
//! The tail of a small chunk has always the same length, so that writing it and looking at it
//! takes no loop; what a slab has behind it, since sizes are rounded, is zero. That of a large
//! chunk reaches to the guard page, but for at most 64 bytes. In front of a far aligned
//! chunk, whose gap is larger than a header, up to 64 bytes before it are canaries, too.

use super::canary::{HEADER, Header, Keys, MARKED, TAIL, WORD};
use crate::pool::OS_PAGE;

/// Canaries behind a large chunk, and in front of any, are at most as many bytes.
const ZONE_MOST: usize = 64;

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

impl Header {
    /// The zones of a chunk with this header, of which the heap says `bytes`.
    pub(super) fn zones(self, chunk: *mut u8, bytes: usize) -> Zones {
        let end = if self.large { super::guarded::end(chunk, bytes) } else { chunk.addr() + bytes };
        Zones::new(chunk, end, self.gap, self.size, self.large)
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
        let gap_start = least.max(user.addr().saturating_sub(ZONE_MOST) & !(WORD - 1));
        Zones { chunk, user, size, gap_start, end, large }
    }

    /// Bytes from the header to the end.
    pub(super) fn bytes(&self) -> usize {
        self.end - self.chunk.addr()
    }

    /// The OS pages between the guards of a large chunk: where they begin and end.
    pub(super) fn between_guards(&self) -> (usize, usize) {
        (self.user.addr() & !(OS_PAGE - 1), self.end)
    }

    /// The first byte behind the program's.
    fn tail(&self) -> usize {
        self.user.addr() + self.size
    }

    /// The first byte behind the tail.
    fn tail_end(&self) -> usize {
        let most = if self.large { ZONE_MOST } else { TAIL };
        self.end.min(self.tail() + most)
    }

    /// The byte of the chunk at an address.
    fn at(&self, address: usize) -> *mut u8 {
        self.chunk.with_addr(address)
    }

    /// Writes header, gap and tail around a chunk that is handed out.
    ///
    /// # Safety
    ///
    /// The chunk is ours.
    pub(super) unsafe fn write(self, keys: Keys) {
        let gap = self.user.addr() - self.chunk.addr();
        let header = Header { size: self.size, gap, large: self.large };
        let canary = keys.of(self.chunk);
        // SAFETY: the header and both zones are within the chunk.
        unsafe {
            canary.write_header(self.chunk, header);
            for address in (self.gap_start..self.user.addr()).step_by(WORD) {
                self.at(address).cast::<u64>().write(canary.number());
            }
            for (address, byte) in (self.tail()..self.tail_end()).zip(canary.bytes()) {
                self.at(address).write(byte);
            }
        }
    }

    /// Whether the canaries between the header and what the program has are whole.
    ///
    /// # Safety
    ///
    /// The chunk is the heap's, and out of its pool.
    pub(super) unsafe fn is_gap_whole(self, keys: Keys) -> bool {
        let canary = keys.of(self.chunk);
        let mut words = (self.gap_start..self.user.addr()).step_by(WORD);
        // SAFETY: within the zone, which is aligned for words.
        words.all(|address| unsafe { self.at(address).cast::<u64>().read() == canary.number() })
    }

    /// Whether those behind it are.
    ///
    /// # Safety
    ///
    /// As [`is_gap_whole`](Zones::is_gap_whole).
    pub(super) unsafe fn is_tail_whole(self, keys: Keys) -> bool {
        let canary = keys.of(self.chunk);
        let mut bytes = (self.tail()..self.tail_end()).zip(canary.bytes());
        // SAFETY: within the zone.
        bytes.all(|(address, byte)| unsafe { self.at(address).read() == byte })
    }
}

/// Whether a chunk of `bytes` bytes is as the heap keeps chunks that are not handed out.
///
/// # Safety
///
/// The memory is a chunk of the heap's that is out of its pool.
#[cold]
pub(super) unsafe fn is_untouched(chunk: *mut u8, bytes: usize, key: u64) -> bool {
    let words = chunk.cast::<u64>();
    // SAFETY: the chunk has as many words.
    (0..bytes / WORD).all(|at| unsafe {
        let word = words.add(at);
        let value = word.read();
        value == 0 || value == key ^ word.addr() as u64
    })
}

/// Takes the marks off memory that is to be handed out: of chunks that were here, perhaps
/// when another slab had the memory, and were freed, and the heap's own. Whether it is zero
/// then.
///
/// # Safety
///
/// The chunk is ours.
#[cold]
pub(super) unsafe fn unmark(keys: Keys, chunk: *mut u8, bytes: usize, key: u64) -> bool {
    // SAFETY: the chunk has as many pairs of words.
    (0..bytes / MARKED).all(|at| unsafe {
        let start = chunk.add(at * MARKED);
        let [first, second] = start.cast::<[u64; 2]>().read();
        if first | second == 0 {
            return true;
        }
        let by_heap = first == 0 || first == key ^ start.addr() as u64;
        let ours = by_heap && (second == 0 || keys.of(start).says_freed(second));
        if ours {
            start.cast::<[u64; 2]>().write([0; 2]);
        }
        ours
    })
}
