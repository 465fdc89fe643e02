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
//! use of it faults as long as it is in quarantine, which keeps the last few.

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

/// How many freed chunks are kept, and how many bytes of them, but always the last one.
const KEPT: usize = 8;
const KEPT_BYTES: usize = 32 << 20;
/// Freed chunks of more bytes go back to the system instead of being zeroed.
const LARGEST_ZEROED: usize = 32 << 20;

pub(super) struct Guarded {
    kept: Lock<Kept>,
}

struct Kept {
    /// The oldest first; bytes as the heap counts them, of memory that is not given back.
    chunks: [(*mut u8, usize); KEPT],
    count: usize,
    bytes: usize,
}

// SAFETY: a freed chunk belongs to whoever has it out of the lock.
unsafe impl Send for Kept {}

/// Where the zones of a chunk end of which the heap says `bytes`.
pub(super) fn end(chunk: *mut u8, bytes: usize) -> usize {
    (chunk.addr() + bytes - 1) & !(OS_PAGE - 1)
}

impl Guarded {
    pub(super) fn new() -> Guarded {
        let chunks = [(ptr::null_mut(), 0); KEPT];
        Guarded { kept: Lock::new(Kept { chunks, count: 0, bytes: 0 }) }
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
        let bytes = user_bytes.checked_add(before + OS_PAGE)?;
        // Not by a magazine: an extent has pages of its own.
        let layout = Layout::from_size_align(bytes.max(super::LARGEST_SMALL + 1), align).ok()?;
        let chunk = heap.alloc_slow(layout, false).ok()?;
        let start = chunk.cast::<u8>().as_ptr();
        let end = end(start, chunk.len());
        let user = if far { start.addr() + before } else { (end - size) & !(align - 1) };
        let zones = Zones::new(start, end, user - start.addr(), size, true);
        // SAFETY: the extent is ours; both guards are whole pages of it, beside header and
        // user.
        unsafe {
            if zeroed {
                // It is, but for marks of the heap's.
                os::zero_touched(zones.user, size);
            }
            zones.write(hardened.keys);
            os::forbid(start.with_addr((user & !(OS_PAGE - 1)) - OS_PAGE), OS_PAGE);
            os::forbid(start.with_addr(end), OS_PAGE);
            Some(NonNull::new_unchecked(zones.user))
        }
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
            let body = start.add(OS_PAGE);
            let kept = if zones.size > LARGEST_ZEROED {
                os::discard(body, bytes - OS_PAGE);
                0
            } else {
                // All of it, not what the program had: where that began and ended, it cut
                // through marks of chunks that were here before.
                let (first, end) = zones.between_guards();
                os::zero_touched(start.with_addr(first), end - first);
                bytes
            };
            os::forbid(body, bytes - OS_PAGE);
            self.keep(heap, start, kept);
        }
    }

    /// Puts a chunk in quarantine, and gives up the oldest ones in it.
    unsafe fn keep(&self, heap: &Sharing, start: *mut u8, bytes: usize) {
        let mut kept = self.kept.lock();
        let mut leaving = [ptr::null_mut(); KEPT];
        let mut count = 0;
        while kept.count == KEPT || (kept.count > 0 && kept.bytes + bytes > KEPT_BYTES) {
            let (oldest, its_bytes) = kept.chunks[0];
            kept.chunks.copy_within(1.., 0);
            kept.count -= 1;
            kept.bytes -= its_bytes;
            leaving[count] = oldest;
            count += 1;
        }
        let last = kept.count;
        kept.chunks[last] = (start, bytes);
        kept.count += 1;
        kept.bytes += bytes;
        drop(kept);
        for &chunk in &leaving[..count] {
            // SAFETY: taken out, so it is ours; it is an extent of the heap's, with its
            // length.
            unsafe {
                let bytes = heap.len_of("free", chunk.addr());
                os::permit(chunk, bytes);
                chunk.write_bytes(0, HEADER);
            }
            heap.free(Lane::Process, "free", chunk.addr());
        }
    }

    pub(super) fn hold(&self) {
        self.kept.hold();
    }

    /// # Safety
    ///
    /// This thread holds it.
    pub(super) unsafe fn let_go(&self) {
        // SAFETY: passed on.
        unsafe { self.kept.let_go() };
    }
}
