//! The life of a small chunk.
//!
//! ```text
//!        alloc                    free                    later
//! heap ────────▶ live, with zones ────▶ zeroed, in quarantine ────▶ heap
//!   ▲ is it still zero?             are the zones whole?     is its header whole?    │
//!   └────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A free that finds nothing wrong and needs nothing of the system is [`free_fast`]; it does
//! all of its work or none of it.
//!
//! [`free_fast`]: Hardened::free_fast

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use mallocer_core::MisuseKind;

use super::contents::{are_zero, zero};
use super::quarantine::{self, Kept, Shard};
use super::zones::{self, Canary, HEADER, Header, MARKED, TAIL, Zones};
use super::{Hardened, LARGEST_SMALL, chunk_of};
use crate::cache::ThreadCache;
use crate::descriptor::{RUN_SHIFT, Tag};
use crate::local::Lane;
use crate::os;
use crate::place::Found;
use crate::sharing::Sharing;

/// The alignment of a chunk right behind its header.
const ALIGN: usize = 16;

/// A live small chunk at no far alignment, of which nothing is wrong.
#[derive(Clone, Copy)]
pub(super) struct Usual {
    pub(super) chunk: *mut u8,
    /// All of it, as the heap has it.
    pub(super) bytes: usize,
    pub(super) header: Header,
    canary: Canary,
}

/// What a chunk of these bytes at no far alignment is asked for as.
#[inline(always)]
pub(super) fn usual(size: usize, align: usize) -> Option<Layout> {
    let fits = align <= ALIGN && size <= LARGEST_SMALL - HEADER - TAIL;
    // SAFETY: the alignment is a power of two, and the sum does not overflow.
    fits.then(|| unsafe { Layout::from_size_align_unchecked(HEADER + size + TAIL, ALIGN) })
}

impl Hardened {
    /// Allocates a small chunk for `size` bytes of the program's, all zero.
    #[inline(always)]
    pub(super) fn alloc_usual(
        &self,
        heap: &Sharing,
        whole: Layout,
        size: usize,
    ) -> Option<NonNull<u8>> {
        let chunk = heap.alloc(Lane::Process, whole).ok()?;
        let (start, bytes) = (chunk.cast::<u8>().as_ptr(), chunk.len());
        let header = Header { size, gap: HEADER, large: false, freed: false };
        // SAFETY: the chunk is ours, and has room for all of its zones.
        unsafe {
            self.check_zero(heap, start, bytes);
            let canary = self.keys.of(start);
            canary.write_header(start, header);
            canary.write_tail(start.add(HEADER + size));
            Some(NonNull::new_unchecked(start.add(HEADER)))
        }
    }

    /// Allocates a small chunk whose alignment is further than a header is long.
    pub(super) fn alloc_aligned(
        &self,
        heap: &Sharing,
        whole: Layout,
        gap: usize,
        size: usize,
    ) -> Option<NonNull<u8>> {
        let chunk = heap.alloc(Lane::Process, whole).ok()?;
        let (start, bytes) = (chunk.cast::<u8>().as_ptr(), chunk.len());
        let zones = Zones::small(start, bytes, gap, size);
        // SAFETY: as in `alloc_usual`.
        unsafe {
            self.check_zero(heap, start, bytes);
            self.keys.write(zones);
            Some(NonNull::new_unchecked(zones.user))
        }
    }

    /// Tells if a chunk that comes from the heap is not as it went there.
    ///
    /// # Safety
    ///
    /// The chunk is ours.
    #[inline(always)]
    unsafe fn check_zero(&self, heap: &Sharing, chunk: *mut u8, bytes: usize) {
        #[cold]
        #[inline(never)]
        fn tell_unless_marks(this: &Hardened, heap: &Sharing, chunk: *mut u8, bytes: usize) {
            // SAFETY: the chunk is ours.
            if unsafe { !zones::unmark(chunk, bytes, heap.front.finder.key) } {
                this.tell(heap, MisuseKind::WrittenAfterFree, "free", chunk.wrapping_add(HEADER));
            }
        }
        // The heap has just taken its mark off the first word: a load of more than this word
        // would wait for the store to leave the processor.
        // SAFETY: the caller's promise.
        let zero = unsafe {
            are_zero(chunk.add(ALIGN), bytes - ALIGN) && chunk.cast::<u64>().add(1).read() == 0
        };
        if !zero {
            tell_unless_marks(self, heap, chunk, bytes);
        }
    }

    /// Finds the chunk at `address`, if it is such a one; what else it is, or what is wrong
    /// with it, is not known.
    #[inline(always)]
    pub(super) fn find_usual(&self, heap: &Sharing, address: usize) -> Option<Usual> {
        let front = &heap.front;
        // SAFETY: the place is the reservation's. A chunk that was handed out may be read; one
        // with a whole header that says so is live, and as long as its pool's stride.
        unsafe {
            let tag = Tag::from_number(front.tag());
            let found = front.finder.place.find_handed(tag, address.wrapping_sub(HEADER))?;
            let chunk = found.chunk;
            let canary = self.keys.of(chunk);
            let header = canary.read_header(chunk).filter(Header::is_usual)?;
            let bytes = (*found.descriptor).chunk_len();
            let whole = canary.has_tail(chunk.add(HEADER + header.size));
            whole.then_some(Usual { chunk, bytes, header, canary })
        }
    }

    /// Frees the chunk at `address`, if it is such a one. An `align` of 0 says that the layout
    /// is not known.
    #[inline]
    pub(crate) fn free_fast(
        &self,
        heap: &Sharing,
        address: usize,
        size: usize,
        align: usize,
    ) -> bool {
        let Some(cache) = heap.front.cache(Lane::Process) else { return false };
        let Some(usual) = self.find_usual(heap, address) else { return false };
        let Usual { chunk, bytes, header, canary } = usual;
        let fits = align == 0 || size == header.size && address & (align - 1) == 0;
        // SAFETY: found live, so all of it may be written. Whoever changes the header is the one
        // that frees. The cache is this thread's.
        unsafe {
            let shard = quarantine::own(heap, cache);
            if !fits || shard.is_null() || !canary.mark_freed(chunk, header) {
                return false;
            }
            zero(chunk.add(MARKED), bytes - MARKED);
            self.keep(heap, cache, shard, Kept::new(chunk, bytes));
        }
        true
    }

    /// Puts a zeroed chunk in this thread's quarantine.
    ///
    /// # Safety
    ///
    /// The chunk was freed by this thread; cache and shard are this thread's.
    #[inline(always)]
    pub(super) unsafe fn keep(
        &self,
        heap: &Sharing,
        cache: *mut ThreadCache,
        shard: *mut Shard,
        kept: Kept,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            (*shard).put(kept);
            while let Some(left) = (*shard).surplus() {
                self.leave(heap, cache, left);
            }
        }
    }

    /// Gives a chunk that leaves the quarantine back to the heap: all zero, if nobody wrote
    /// to it.
    ///
    /// # Safety
    ///
    /// It was freed, and nobody else has it; the cache is this thread's.
    #[inline(always)]
    unsafe fn leave(&self, heap: &Sharing, cache: *mut ThreadCache, kept: Kept) {
        #[cold]
        #[inline(never)]
        fn slow(heap: &Sharing, address: usize) {
            let errno = os::errno();
            heap.free_slow("free", address, 0, 0);
            os::set_errno(errno);
        }
        // SAFETY: the caller's promise; to the heap below it is a live chunk of one of its
        // pools, which have descriptors.
        unsafe {
            let chunk = chunk_of(heap, kept);
            self.end_header(heap, chunk);
            let place = heap.front.finder.place;
            let run = (chunk.addr() - place.base.addr()) >> RUN_SHIFT;
            let descriptor = place.descriptors.add(run);
            if !heap.front.push(cache, Found { descriptor, chunk, state: ptr::null_mut() }) {
                slow(heap, chunk.addr());
            }
        }
    }

    /// Takes the header off a chunk that leaves the quarantine.
    ///
    /// # Safety
    ///
    /// It was freed, and nobody else has it.
    #[inline(always)]
    pub(super) unsafe fn end_header(&self, heap: &Sharing, chunk: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            if !self.keys.of(chunk).is_marked_freed(chunk) {
                self.tell(heap, MisuseKind::WrittenAfterFree, "free", chunk.add(HEADER));
            }
            chunk.cast::<[u64; MARKED / 8]>().write([0; MARKED / 8]);
        }
    }

    /// Whether a chunk in quarantine is as it was when it was freed.
    ///
    /// # Safety
    ///
    /// It is one.
    pub(super) unsafe fn is_as_freed(&self, heap: &Sharing, kept: Kept) -> bool {
        let chunk = chunk_of(heap, kept);
        // SAFETY: the caller's promise.
        unsafe {
            self.keys.of(chunk).is_marked_freed(chunk)
                && are_zero(chunk.add(MARKED), kept.bytes() - MARKED)
        }
    }
}
