//! Large chunks: OS pages without access on both sides.
//!
//! ```text
//! e            e + 4096    e + 8192                                  end
//! │ header     │ no access │ canaries │ … the program's bytes … │ tail │ no access │
//! ```
//!
//! The program's bytes end as near to the second guard as their alignment allows, so that a
//! write past the end faults at once, or after the few bytes of the tail. What is aligned
//! further than an OS page begins where it must, with its first guard just before.
//!
//! A large chunk that is freed is zeroed where it was ever touched, and loses all access: a
//! use of it faults as long as it is here. The last few are in quarantine. What leaves that
//! is ready for the next chunk of about its length, with both guards where they are, so that
//! an allocation takes one call to the system instead of two, and no page has to be backed
//! again; the heap gets what is left over.
//!
//! ```text
//! free ──▶ quarantine, 8 ──▶ ready, 16 ──▶ heap
//! alloc ◀──────────────────────┘◀────────────┘
//! ```

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use super::Hardened;
use super::canary::HEADER;
use super::zones::Zones;
use crate::local::Lane;
use crate::lock::Lock;
use crate::os;
use crate::pool::OS_PAGE;
use crate::sharing::Sharing;

/// Header and first guard: what lies in front of a chunk at least.
pub(super) const BEFORE: usize = 2 * OS_PAGE;

/// How many freed chunks are in quarantine, and how many bytes of them, but always the last one.
const KEPT: usize = 8;
const KEPT_BYTES: usize = 32 << 20;
/// The same of those that are ready; longer ones go to the heap at once.
const READY: usize = 16;
const READY_BYTES: usize = 4 << 20;
/// A chunk may take a ready one that is longer by up to this part of it.
const LONGER: usize = 4;
/// Freed chunks of more bytes go back to the system instead of being zeroed.
const LARGEST_ZEROED: usize = 32 << 20;

pub(super) struct Guarded {
    freed: Lock<Freed>,
}

struct Freed {
    quarantine: Spans<KEPT>,
    ready: Spans<READY>,
}

/// Freed chunks, the oldest first.
struct Spans<const MOST: usize> {
    spans: [Span; MOST],
    count: usize,
    backed: usize,
}

/// A freed chunk: all of it but the header page has no access.
#[derive(Clone, Copy)]
struct Span {
    start: *mut u8,
    /// As the heap counts them.
    bytes: usize,
    /// Of memory that was not given back.
    backed: usize,
}

// SAFETY: a freed chunk belongs to whoever has it out of the lock.
unsafe impl Send for Freed {}

impl<const MOST: usize> Spans<MOST> {
    const NONE: Spans<MOST> = {
        let none = Span { start: ptr::null_mut(), bytes: 0, backed: 0 };
        Spans { spans: [none; MOST], count: 0, backed: 0 }
    };

    /// Whether another one with so many bytes backed would be too much.
    fn is_full(&self, backed: usize, most: usize) -> bool {
        self.count == MOST || (self.count > 0 && self.backed + backed > most)
    }

    fn push(&mut self, span: Span) {
        self.spans[self.count] = span;
        self.count += 1;
        self.backed += span.backed;
    }

    fn remove(&mut self, at: usize) -> Span {
        let span = self.spans[at];
        self.spans.copy_within(at + 1..self.count, at);
        self.count -= 1;
        self.backed -= span.backed;
        span
    }

    fn take_oldest(&mut self) -> Option<Span> {
        (self.count > 0).then(|| self.remove(0))
    }

    /// Takes the shortest of at least so many bytes that is not much longer.
    fn take_fitting(&mut self, bytes: usize) -> Option<Span> {
        let fits = |span: &Span| (bytes..=bytes + bytes / LONGER).contains(&span.bytes);
        let spans = self.spans[..self.count].iter().enumerate().filter(|(_, span)| fits(span));
        let (at, _) = spans.min_by_key(|(_, span)| span.bytes)?;
        Some(self.remove(at))
    }
}

/// Where the zones of a chunk end of which the heap says `bytes`.
pub(super) fn end(chunk: *mut u8, bytes: usize) -> usize {
    (chunk.addr() + bytes - 1) & !(OS_PAGE - 1)
}

impl Guarded {
    pub(super) fn new() -> Guarded {
        Guarded { freed: Lock::new(Freed { quarantine: Spans::NONE, ready: Spans::NONE }) }
    }

    /// Allocates a chunk between guards.
    pub(super) fn alloc(
        &self,
        hardened: &Hardened,
        heap: &Sharing,
        size: usize,
        align: usize,
        zeroed: bool,
    ) -> Option<NonNull<u8>> {
        let far = align > OS_PAGE;
        let before = if far { align.max(BEFORE) } else { BEFORE };
        let user_bytes = size.checked_next_multiple_of(OS_PAGE)?;
        let bytes = user_bytes.checked_add(before + OS_PAGE)?.max(super::LARGEST_SMALL + 1);
        let ready = if far { None } else { self.freed.lock().ready.take_fitting(bytes) };
        let (start, bytes) = match ready {
            Some(span) => (span.start, span.bytes),
            None => self.take_extent(heap, Layout::from_size_align(bytes, align).ok()?)?,
        };
        let end = end(start, bytes);
        let user = if far { start.addr() + before } else { (end - size) & !(align - 1) };
        let zones = Zones::new(start, end, user - start.addr(), size, true);
        let (first, _) = zones.between_guards();
        // SAFETY: the extent is ours; both guards are whole pages of it, beside header and
        // user.
        unsafe {
            if let Some(span) = ready {
                if !permit(heap, start.with_addr(first), end - first) {
                    self.keep(heap, span);
                    return None;
                }
            } else {
                // All that is in front, so that a longer chunk may have it one day.
                os::forbid(start.add(OS_PAGE), first - start.addr() - OS_PAGE);
                os::forbid(start.with_addr(end), OS_PAGE);
            }
            if zeroed {
                // It is, but for marks of the heap's.
                os::zero_touched(zones.user, size);
            }
            zones.write(hardened.keys);
            Some(NonNull::new_unchecked(zones.user))
        }
    }

    /// Takes an extent from the heap; where there is no memory, the heap gets what is ready.
    fn take_extent(&self, heap: &Sharing, layout: Layout) -> Option<(*mut u8, usize)> {
        // Not by a magazine: an extent has pages of its own.
        let mut chunk = heap.alloc_slow(layout, false);
        while chunk.is_err() {
            // Not locked while the heap is used.
            let oldest = self.freed.lock().ready.take_oldest();
            give_back(heap, oldest?);
            chunk = heap.alloc_slow(layout, false);
        }
        let chunk = chunk.ok()?;
        Some((chunk.cast().as_ptr(), chunk.len()))
    }

    /// Frees a chunk whose header says already that it is freed.
    ///
    /// # Safety
    ///
    /// Nobody else has it.
    pub(super) unsafe fn free(&self, heap: &Sharing, zones: Zones) {
        let start = zones.chunk;
        let bytes = zones.bytes() + OS_PAGE;
        // SAFETY: the extent is ours, header page and all; behind the header nothing is used
        // any more.
        unsafe {
            let (first, end) = zones.between_guards();
            let body = start.with_addr(first);
            let backed = if zones.size > LARGEST_ZEROED {
                os::discard(body, end - first);
                0
            } else {
                // All of it, not what the program had: where that began and ended, it cut
                // through marks of chunks that were here before.
                os::zero_touched(body, end - first);
                bytes
            };
            os::forbid(body, end - first);
            self.keep(heap, Span { start, bytes, backed });
        }
    }

    /// Puts a chunk in quarantine; the oldest ones go on from there.
    fn keep(&self, heap: &Sharing, span: Span) {
        let mut left = Spans::<{ KEPT + READY }>::NONE;
        {
            let freed = &mut *self.freed.lock();
            while freed.quarantine.is_full(span.backed, KEPT_BYTES)
                && let Some(oldest) = freed.quarantine.take_oldest()
            {
                if oldest.backed == 0 || oldest.backed > READY_BYTES {
                    left.push(oldest);
                    continue;
                }
                while freed.ready.is_full(oldest.backed, READY_BYTES)
                    && let Some(oldest) = freed.ready.take_oldest()
                {
                    left.push(oldest);
                }
                freed.ready.push(oldest);
            }
            freed.quarantine.push(span);
        }
        while let Some(span) = left.take_oldest() {
            give_back(heap, span);
        }
    }

    pub(super) fn hold(&self) {
        self.freed.hold();
    }

    /// # Safety
    ///
    /// This thread holds it.
    pub(super) unsafe fn let_go(&self) {
        // SAFETY: passed on.
        unsafe { self.freed.let_go() };
    }
}

/// Gives access to a part of an extent again; whether the system allows it.
///
/// # Safety
///
/// The part is whole OS pages of an extent that is the caller's.
unsafe fn permit(heap: &Sharing, start: *mut u8, bytes: usize) -> bool {
    // SAFETY: passed on.
    unsafe {
        os::permit(start, bytes) || {
            // What the heap keeps empty counts as data, too.
            heap.purge();
            os::permit(start, bytes)
        }
    }
}

/// Gives a span that was taken out back to the heap. Where the system does not give access to
/// it again, it stays out of use for good.
fn give_back(heap: &Sharing, span: Span) {
    // SAFETY: taken out, so it is ours; it is an extent of the heap's, with its length.
    unsafe {
        if !permit(heap, span.start, span.bytes) {
            return;
        }
        span.start.write_bytes(0, HEADER);
    }
    heap.free(Lane::Process, "free", span.start.addr());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(bytes: usize) -> Span {
        Span { start: ptr::null_mut(), bytes, backed: bytes }
    }

    #[test]
    fn what_is_taken_fits_and_is_the_shortest_that_does() {
        let mut spans = Spans::<8>::NONE;
        for bytes in [900, 1300, 1200, 1000, 1251] {
            spans.push(span(bytes));
        }
        let mut take = |bytes| spans.take_fitting(bytes).map(|span| span.bytes);
        assert_eq!([take(1001), take(1001), take(1001)], [Some(1200), Some(1251), None]);
        assert_eq!([take(1000), take(1000)], [Some(1000), None]);
        assert_eq!((spans.count, spans.backed), (2, 2200));
    }

    #[test]
    fn there_is_always_room_for_one() {
        let mut spans = Spans::<2>::NONE;
        assert!(!spans.is_full(1000, 10));
        spans.push(span(5));
        assert!(spans.is_full(6, 10) && !spans.is_full(5, 10));
        spans.push(span(5));
        assert!(spans.is_full(0, 10));
        assert_eq!(spans.take_oldest().map(|span| span.bytes), Some(5));
        assert!(!spans.is_full(5, 10));
    }
}
