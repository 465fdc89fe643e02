//! The life of a small chunk.
//!
//! ```text
//!        alloc                    free                    later
//! heap ────────▶ live, with zones ────▶ zeroed, in quarantine ────▶ heap
//!   ▲ is it still zero?             are the zones whole?                       │
//!   └──────────────────────────────────────────────────────────────────────────┘
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
use super::zones::{self, Canary, HEADER, MARKED, TAIL, Zones};
use super::{Hardened, LARGEST_SMALL, chunk_of};
use crate::cache::ThreadCache;
use crate::descriptor::{RUN_SHIFT, Tag};
use crate::local::Lane;
use crate::os;
use crate::place::Found;
use crate::pool::Bare;
use crate::sharing::Sharing;

/// The alignment of a chunk right behind its header.
const ALIGN: usize = 16;

/// A live small chunk at no far alignment, of which nothing is wrong.
#[derive(Clone, Copy)]
pub(super) struct Usual {
    pub(super) chunk: *mut u8,
    /// All of it, as the heap has it.
    pub(super) bytes: usize,
    /// What the program has of it.
    pub(super) size: usize,
    canary: Canary,
}

/// What the heap is asked for, if this is a layout of a usual chunk: small, at no far
/// alignment, and not empty.
#[inline(always)]
pub(super) fn usual(layout: Layout) -> Option<Layout> {
    const LARGEST: usize = LARGEST_SMALL - HEADER - TAIL;
    let fits = layout.align() <= ALIGN && layout.size().wrapping_sub(1) < LARGEST;
    let whole = HEADER + TAIL + layout.size();
    // SAFETY: the alignment is a power of two, and the sum does not overflow.
    fits.then(|| unsafe { Layout::from_size_align_unchecked(whole, ALIGN) })
}

impl Hardened {
    /// Makes a chunk of the heap's a usual one of `size` bytes, which are zero.
    #[inline(always)]
    pub(super) fn hand_out(
        &self,
        heap: &Sharing,
        chunk: NonNull<[u8]>,
        size: usize,
    ) -> NonNull<[u8]> {
        let (start, bytes) = (chunk.cast::<u8>().as_ptr(), chunk.len());
        let canary = self.keys.of(start);
        // SAFETY: the chunk is ours, and has room for all of its zones.
        unsafe {
            self.check_at_rest(heap, canary, start, bytes);
            canary.write_usual(start, size);
            let user = NonNull::new_unchecked(start.add(HEADER));
            NonNull::slice_from_raw_parts(user, size)
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
            self.check_at_rest(heap, self.keys.of(start), start, bytes);
            self.keys.write(zones);
            Some(NonNull::new_unchecked(zones.user))
        }
    }

    /// Tells if a chunk that comes from the heap is not as it went there: with the header of a
    /// freed one, or none if it never was one, and zero behind.
    ///
    /// # Safety
    ///
    /// The chunk is ours, with this canary.
    #[inline(always)]
    unsafe fn check_at_rest(&self, heap: &Sharing, canary: Canary, chunk: *mut u8, bytes: usize) {
        #[cold]
        #[inline(never)]
        fn tell_unless_marks(this: &Hardened, heap: &Sharing, chunk: *mut u8, bytes: usize) {
            let key = heap.front.finder.key;
            // Mostly it is the mark of a chunk that the heap was given one by one.
            // SAFETY: the chunk is ours.
            let as_left = unsafe {
                zones::unmark(this.keys, chunk, MARKED, key)
                    && are_zero(chunk.add(MARKED), bytes - MARKED)
                    || zones::unmark(this.keys, chunk, bytes, key)
            };
            if !as_left {
                this.tell(heap, MisuseKind::WrittenAfterFree, "free", chunk.wrapping_add(HEADER));
            }
        }
        // SAFETY: the caller's promise.
        let as_left = unsafe {
            let [first, second] = [0, 1].map(|at| chunk.cast::<u64>().add(at).read());
            (canary.is_marked_freed(chunk) || first | second == 0)
                && are_zero(chunk.add(MARKED), bytes - MARKED)
        };
        if !as_left {
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
            let size = canary.read_usual(chunk)?;
            let bytes = (*found.descriptor).chunk_len();
            Some(Usual { chunk, bytes, size, canary })
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
        let Usual { chunk, bytes, canary, .. } = usual;
        let fits = align == 0 || size == usual.size && address & (align - 1) == 0;
        // SAFETY: found live, so all of it may be written. The cache is this thread's.
        unsafe {
            let shard = quarantine::own(heap, cache);
            if !fits || shard.is_null() {
                return false;
            }
            canary.mark_usual_freed(chunk, usual.size);
            zero(chunk.add(MARKED), bytes - MARKED);
            self.keep(heap, cache, shard, Kept::new(chunk, bytes), canary);
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
        canary: Canary,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            (*shard).put(kept, canary.number());
            while let Some(left) = (*shard).surplus() {
                leave(heap, cache, left);
            }
        }
    }
}

/// Takes a chunk off this thread's magazine. Unlike the heap's own way it takes off no mark:
/// the chunk's first word is ours.
#[inline(always)]
pub(super) fn pop(heap: &Sharing, whole: Layout) -> Option<NonNull<[u8]>> {
    let front = &heap.front;
    let cache = front.cache(Lane::Process)?;
    front.is_aligned(whole.align()).then(|| front.pop_size(cache, whole.size()))?
}

/// Gives a chunk that leaves the quarantine back to the heap: to this thread's magazine, if
/// it has room, as it is. It is looked at when it is handed out again.
///
/// # Safety
///
/// It was freed, and nobody else has it; the cache is this thread's.
#[inline(always)]
unsafe fn leave(heap: &Sharing, cache: *mut ThreadCache, kept: Kept) {
    #[cold]
    #[inline(never)]
    fn slow(heap: &Sharing, address: usize) {
        let errno = os::errno();
        heap.free_slow("free", address, 0, 0);
        os::set_errno(errno);
    }
    // SAFETY: the caller's promise; to the heap below it is a live chunk of one of its pools,
    // which have descriptors, and whose slabs have shelves.
    unsafe {
        let chunk = chunk_of(heap, kept);
        let place = heap.front.finder.place;
        let run = (chunk.addr() - place.base.addr()) >> RUN_SHIFT;
        let found = Found { descriptor: place.descriptors.add(run), chunk, state: ptr::null_mut() };
        let shelf = ThreadCache::shelves(cache).at((*found.descriptor).slab as usize);
        let pushed = if heap.front.is_own(found, cache) {
            (*shelf).magazine.push(Bare(chunk))
        } else {
            (*shelf).push_foreign(Bare(chunk))
        };
        if !pushed {
            slow(heap, chunk.addr());
        }
    }
}
