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
//! and w1 stay, until its memory is handed out again; all else is zero.
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

/// The mark of a live small chunk right behind its header, but for its size.
const USUAL: u64 = (HEADER.trailing_zeros() as u64) << SIZE_BITS;

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

    fn mark(&self) -> u64 {
        let gap =
            if self.large { LARGE } else { u64::from(self.gap.trailing_zeros()) << SIZE_BITS };
        let freed = if self.freed { FREED } else { 0 };
        self.size as u64 | gap | freed
    }

    /// What a large chunk's canaries beside its mark are mixed with.
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
    /// Writes header and tail of a small chunk at no far alignment, for `size` bytes.
    ///
    /// # Safety
    ///
    /// The chunk is ours, and long enough.
    #[inline(always)]
    pub(super) unsafe fn write_usual(self, chunk: *mut u8, size: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            self.write_words(chunk, USUAL | size as u64, 0);
            let tail = chunk.add(HEADER + size).cast::<[u64; TAIL_WORDS]>();
            tail.write_unaligned([self.0; TAIL_WORDS]);
        }
    }

    /// The size of a live small chunk at no far alignment, if it is one and its header and its
    /// tail are whole.
    ///
    /// # Safety
    ///
    /// The memory is a chunk of the heap's that is out of its pool.
    #[inline(always)]
    pub(super) unsafe fn read_usual(self, chunk: *mut u8) -> Option<usize> {
        let word = chunk.cast::<u64>();
        // SAFETY: the chunk is longer than a header. The second word may be changed by a thread
        // that frees the chunk at this moment. A header that is whole has a true size.
        unsafe {
            let mark = AtomicU64::from_ptr(word.add(1)).load(Relaxed) ^ self.turned();
            let mut wrong = (mark ^ USUAL) >> SIZE_BITS;
            wrong |= word.read() ^ self.0 ^ mark.rotate_left(32);
            wrong |= word.add(2).read() ^ self.0 | word.add(3).read() ^ self.0;
            if wrong != 0 {
                return None;
            }
            let size = (mark ^ USUAL) as usize;
            let tail = chunk.add(HEADER + size).cast::<[u64; TAIL_WORDS]>().read_unaligned();
            let wrong = tail.iter().fold(0, |wrong, word| wrong | word ^ self.0);
            (wrong == 0).then_some(size)
        }
    }

    /// Changes the header of such a chunk, which was just read, to freed. If another thread
    /// does so at this very moment, the one chunk is kept back twice; see the module
    /// `hardened`.
    ///
    /// # Safety
    ///
    /// The chunk was read here, with this size.
    #[inline(always)]
    pub(super) unsafe fn mark_usual_freed(self, chunk: *mut u8, size: usize) {
        let mark = USUAL | FREED | size as u64;
        // SAFETY: the word is within the header.
        let word = unsafe { AtomicU64::from_ptr(chunk.cast::<u64>().add(1)) };
        word.store(self.turned() ^ mark, Relaxed);
    }

    /// Writes a header.
    ///
    /// # Safety
    ///
    /// The chunk is ours.
    unsafe fn write_header(self, chunk: *mut u8, header: Header) {
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
    unsafe fn read_header(self, chunk: *mut u8) -> Option<Header> {
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
        // SAFETY: the caller's promise; as in `read_usual`.
        unsafe {
            let mark = AtomicU64::from_ptr(word.add(1)).load(Relaxed) ^ self.turned();
            let whole = word.read() == self.0 ^ (mark & !FREED).rotate_left(32);
            whole.then_some(mark)
        }
    }

    /// Whether the small chunk has the header of a freed one.
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

    /// The same, if the chunk's first word may have been used by the heap: a second word that
    /// says so by itself, as no other has a chance to.
    pub(super) fn says_freed(self, second: u64) -> bool {
        let mark = second ^ self.turned();
        let size = (mark & ((1 << SIZE_BITS) - 1)) as usize;
        mark & (FREED | LARGE) == FREED && size <= super::LARGEST_SMALL
    }

    /// Changes a header from live to freed; `false` if another thread was faster. If that
    /// was at this very moment, it is as in [`mark_usual_freed`](Canary::mark_usual_freed).
    ///
    /// # Safety
    ///
    /// The header was read there.
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

    /// A number that nobody else knows; always the same for one chunk.
    #[inline(always)]
    pub(super) fn number(self) -> u64 {
        self.0
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
        let canary = keys.of(start);
        let by_heap = first == 0 || first == key ^ start.addr() as u64;
        let by_us = canary.says_freed(second) && (by_heap || canary.is_marked_freed(start));
        if by_us || by_heap && second == 0 {
            start.cast::<[u64; 2]>().write([0; 2]);
            return true;
        }
        false
    })
}
