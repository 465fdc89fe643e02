//! What is written around a chunk, and checked.
//!
//! ```text
//! chunk                          user                          tail_end     end
//! │ w0 │ w1 │ w2 │ w3 │ gap …    │ … size bytes …              │ tail │ unused │
//!   header                canaries                       canaries
//! ```
//!
//! A chunk has one *canary*, a number that follows from its address by two keys that only
//! this process knows, so none can be copied from elsewhere. Gap and tail repeat it, the gap
//! backwards from the program's first byte, the tail from the very next byte behind its last.
//! The header mixes what is to be known of the chunk, its *mark*, into the canary:
//!
//! ```text
//! w0 = canary ⊕ turned mark            mark = size │ gap │ whether large │ whether freed
//! w1 = turned canary ⊕ mark
//! w2 = canary, w3 = canary             of a large chunk with its gap, which is any number
//! ```
//!
//! Whether a chunk is freed is in w1 alone, so that it changes in one word. Of a freed chunk w0
//! and w1 stay, until it leaves the quarantine; all else is zero.
//!
//! The tail of a small chunk has always the same length, so that writing it and looking at it
//! takes no loop; what a slab has behind it, since sizes are rounded, is zero. That of a large
//! chunk reaches to the guard page, but for at most 64 bytes. In front of a far aligned
//! chunk, whose gap is larger than a header, up to 64 bytes before it are canaries, too.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::os;
use crate::pool::OS_PAGE;

/// Bytes of a header.
pub(super) const HEADER: usize = 32;
/// Bytes of canaries behind a small chunk.
pub(super) const TAIL: usize = TAIL_WORDS * WORD;
const TAIL_WORDS: usize = 5;
/// And at most behind a large one, and in front of any.
const ZONE_MOST: usize = 64;

const WORD: usize = size_of::<u64>();
/// The bytes of a header that stay when a chunk is freed.
pub(super) const MARKED: usize = 2 * WORD;

const FREED: u64 = 1 << 63;
const LARGE: u64 = 1 << 62;
/// A size is below, and a small chunk's gap is a power of two, whose exponent is above.
const SIZE_BITS: u32 = 48;

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

    /// Whether this is that of a live small chunk at no far alignment.
    #[inline(always)]
    pub(super) fn is_usual(&self) -> bool {
        self.mark() >> SIZE_BITS == u64::from(HEADER.trailing_zeros())
    }

    #[inline(always)]
    fn mark(&self) -> u64 {
        let gap =
            if self.large { LARGE } else { u64::from(self.gap.trailing_zeros()) << SIZE_BITS };
        let freed = if self.freed { FREED } else { 0 };
        self.size as u64 | gap | freed
    }

    /// What a large chunk's canaries beside its mark are mixed with.
    #[inline(always)]
    fn large_gap(&self) -> u64 {
        if self.large { self.gap as u64 } else { 0 }
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
}

/// What canaries follow from.
#[derive(Clone, Copy)]
pub(super) struct Keys(u64, u64);

/// The canary of one chunk.
#[derive(Clone, Copy)]
pub(super) struct Canary(u64);

impl Keys {
    pub(super) fn random() -> Keys {
        Keys(os::random(), os::random())
    }

    /// The canary of the chunk at an address. None of its bytes is below 128, so that no
    /// text, and no zero behind it, can equal them.
    #[inline(always)]
    pub(super) fn of(self, chunk: *mut u8) -> Canary {
        let mixed = (chunk.addr() as u64 ^ self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Canary((mixed.rotate_left(29) ^ self.1) | 0x8080_8080_8080_8080)
    }

    /// Writes the zones around a chunk that is handed out.
    ///
    /// # Safety
    ///
    /// The chunk is ours.
    pub(super) unsafe fn write(self, zones: Zones) {
        let gap = zones.user.addr() - zones.chunk.addr();
        let header = Header { size: zones.size, gap, large: zones.large, freed: false };
        let canary = self.of(zones.chunk);
        // SAFETY: the header and both zones are within the chunk.
        unsafe {
            canary.write_header(zones.chunk, header);
            for address in (zones.gap_start..zones.user.addr()).step_by(WORD) {
                zones.at(address).cast::<u64>().write(canary.0);
            }
            for (address, byte) in (zones.tail()..zones.tail_end()).zip(canary.bytes()) {
                zones.at(address).write(byte);
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
        // SAFETY: passed on.
        unsafe { self.of(chunk).read_header(chunk) }
    }

    /// Whether the canaries of both zones beside the header are whole.
    ///
    /// # Safety
    ///
    /// The chunk is the heap's, and out of its pool.
    pub(super) unsafe fn is_gap_whole(self, zones: Zones) -> bool {
        let canary = self.of(zones.chunk);
        let mut words = (zones.gap_start..zones.user.addr()).step_by(WORD);
        // SAFETY: within the zone, which is aligned for words.
        words.all(|address| unsafe { zones.at(address).cast::<u64>().read() == canary.0 })
    }

    /// # Safety
    ///
    /// As [`is_gap_whole`](Keys::is_gap_whole).
    pub(super) unsafe fn is_tail_whole(self, zones: Zones) -> bool {
        let canary = self.of(zones.chunk);
        let mut bytes = (zones.tail()..zones.tail_end()).zip(canary.bytes());
        // SAFETY: within the zone.
        bytes.all(|(address, byte)| unsafe { zones.at(address).read() == byte })
    }
}

impl Canary {
    /// Writes a header.
    ///
    /// # Safety
    ///
    /// The chunk is ours.
    #[inline(always)]
    pub(super) unsafe fn write_header(self, chunk: *mut u8, header: Header) {
        let word = chunk.cast::<u64>();
        let (mark, gap) = (header.mark(), header.large_gap());
        // SAFETY: the header is within the chunk, which is aligned for words.
        unsafe {
            word.write(self.0 ^ mark.rotate_left(32));
            word.add(1).write(self.turned() ^ mark);
            word.add(2).write(self.0 ^ gap);
            word.add(3).write(self.0 ^ gap);
        }
    }

    /// What the header at `chunk` says; `None` if it is not whole.
    ///
    /// # Safety
    ///
    /// The memory is a chunk of the heap's that is out of its pool.
    #[inline(always)]
    pub(super) unsafe fn read_header(self, chunk: *mut u8) -> Option<Header> {
        let word = chunk.cast::<u64>();
        // SAFETY: the chunk is longer than a header.
        unsafe {
            let mark = self.read_mark(chunk)?;
            let (freed, large) = (mark & FREED != 0, mark & LARGE != 0);
            let mut gap = 1 << (mark >> SIZE_BITS & 63);
            let (w2, w3) = (word.add(2).read() ^ self.0, word.add(3).read() ^ self.0);
            if large {
                gap = w2 as usize;
            }
            // Of a freed one they are zero, or soon will be.
            let whole = freed || if large { w2 == w3 } else { w2 | w3 == 0 };
            let size = (mark & ((1 << SIZE_BITS) - 1)) as usize;
            whole.then_some(Header { size, gap, large, freed })
        }
    }

    /// The mark of the chunk; `None` if it is not whole.
    ///
    /// # Safety
    ///
    /// As [`read_header`](Canary::read_header).
    #[inline(always)]
    unsafe fn read_mark(self, chunk: *mut u8) -> Option<u64> {
        let word = chunk.cast::<u64>();
        // SAFETY: the caller's promise. The second word may be changed by a thread that frees
        // the chunk at this moment.
        unsafe {
            let mark = AtomicU64::from_ptr(word.add(1)).load(Relaxed) ^ self.turned();
            let whole = word.read() == self.0 ^ (mark & !FREED).rotate_left(32);
            whole.then_some(mark)
        }
    }

    /// Whether the small chunk has the mark of a freed one.
    ///
    /// # Safety
    ///
    /// As [`read_header`](Canary::read_header).
    #[inline(always)]
    pub(super) unsafe fn is_marked_freed(self, chunk: *mut u8) -> bool {
        // SAFETY: passed on.
        let mark = unsafe { self.read_mark(chunk) };
        mark.is_some_and(|mark| mark & (FREED | LARGE) == FREED)
    }

    /// Changes a header from live to freed; `false` if another thread was faster. If that
    /// was at this very moment, both may get `true`: then the one chunk is kept back twice,
    /// and told of when the second of the two leaves the quarantine.
    ///
    /// # Safety
    ///
    /// The header was read there.
    #[inline(always)]
    pub(super) unsafe fn mark_freed(self, chunk: *mut u8, header: Header) -> bool {
        let live = self.turned() ^ header.mark();
        // SAFETY: the word is within the header.
        let word = unsafe { AtomicU64::from_ptr(chunk.cast::<u64>().add(1)) };
        let is_live = word.load(Relaxed) == live;
        if is_live {
            word.store(live ^ FREED, Relaxed);
        }
        is_live
    }

    /// Writes the tail of a small chunk.
    ///
    /// # Safety
    ///
    /// It is within the chunk.
    #[inline(always)]
    pub(super) unsafe fn write_tail(self, tail: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { tail.cast::<[u64; TAIL_WORDS]>().write_unaligned([self.0; TAIL_WORDS]) };
    }

    /// Whether the tail of a small chunk is whole.
    ///
    /// # Safety
    ///
    /// As [`write_tail`](Canary::write_tail).
    #[inline(always)]
    pub(super) unsafe fn has_tail(self, tail: *const u8) -> bool {
        // SAFETY: the caller's promise.
        let words = unsafe { tail.cast::<[u64; TAIL_WORDS]>().read_unaligned() };
        words.iter().fold(0, |wrong, word| wrong | word ^ self.0) == 0
    }

    #[inline(always)]
    fn turned(self) -> u64 {
        self.0.rotate_left(13)
    }

    fn bytes(self) -> impl Iterator<Item = u8> {
        self.0.to_ne_bytes().into_iter().cycle()
    }
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

/// Takes the heap's marks off a chunk that is to be handed out: the beginnings of chunks that
/// were here when another slab had the memory. Whether it is zero then.
///
/// # Safety
///
/// The chunk is ours.
#[cold]
pub(super) unsafe fn unmark(chunk: *mut u8, bytes: usize, key: u64) -> bool {
    let words = chunk.cast::<u64>();
    // SAFETY: the chunk has as many words.
    (0..bytes / WORD).all(|at| unsafe {
        let word = words.add(at);
        if word.read() == key ^ word.addr() as u64 {
            word.write(0);
        }
        word.read() == 0
    })
}
