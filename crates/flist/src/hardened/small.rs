//! The life of a small chunk.
//!
//! ```text
//!        alloc                    free                    later
//! heap ────────▶ live, with zones ────▶ zeroed, in quarantine ────▶ heap
//!   ▲ is it still zero?             are the zones whole?                       │
//!   └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The short ways are for chunks of up to some 270 bytes, of which nothing is wrong, by a
//! thread that has chunks at hand: without a loop, and without anything to be kept across a
//! call, so that they need no stack frame. What else comes is handed on whole.

use core::alloc::Layout;
use core::ptr::NonNull;

use mallocer_core::MisuseKind;

use super::canary::{Canary, HEADER, MARKED, TAIL};
use super::contents::{SHORT, are_zero, zero, zero_few};
use super::quarantine::{self, Kept, SHORT_BYTES, Shard, Target};
use super::zones::{self, Zones};
use super::{Hardened, LARGEST_SMALL, chunk_of};
use crate::cache::ThreadCache;
use crate::descriptor::{Descriptor, RUN_SHIFT};
use crate::front::{Front, common_distance};
use crate::local::Lane;
use crate::os;
use crate::pool::Bare;
use crate::sharing::Sharing;
use crate::shelf::Shelf;

/// The alignment of a chunk right behind its header.
const ALIGN: usize = 16;

/// Chunks of more bytes take the longer ways.
const SHORT_CHUNK: usize = MARKED + SHORT;
const _: () = assert!(SHORT_CHUNK <= SHORT_BYTES);

/// A live small chunk at no far alignment, of which nothing is wrong.
#[derive(Clone, Copy)]
pub(crate) struct Usual {
    pub(super) chunk: *mut u8,
    /// All of it, as the heap has it.
    pub(super) bytes: usize,
    /// What the program has of it.
    pub(super) size: usize,
    pub(super) canary: Canary,
    /// Where it goes in the end.
    target: Target,
}

/// What is this thread's.
#[derive(Clone, Copy)]
pub(crate) struct Own {
    pub(super) cache: *mut ThreadCache,
    shard: *mut Shard,
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
            if bytes > SHORT_CHUNK || !canary.is_at_rest_short(start, bytes) {
                return self.hand_out_long(heap, start, bytes, size);
            }
            canary.write_usual(start, size);
            user_of(start, size)
        }
    }

    /// The same for one that is longer, or has no header yet, or is not as it was left.
    ///
    /// # Safety
    ///
    /// The chunk is ours, `bytes` long, and has room for `size` of them with their zones.
    #[inline(never)]
    unsafe fn hand_out_long(
        &self,
        heap: &Sharing,
        start: *mut u8,
        bytes: usize,
        size: usize,
    ) -> NonNull<[u8]> {
        let canary = self.keys.of(start);
        // SAFETY: passed on.
        unsafe {
            self.check_at_rest(heap, canary, start, bytes);
            canary.write_usual(start, size);
            user_of(start, size)
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
        // SAFETY: as in `hand_out`.
        unsafe {
            self.check_at_rest(heap, self.keys.of(start), start, bytes);
            zones.write(self.keys);
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
            // Mostly it was never handed out, or has the mark of a chunk that the heap was given
            // one by one.
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
        if unsafe { !canary.is_at_rest(chunk, bytes) } {
            tell_unless_marks(self, heap, chunk, bytes);
        }
    }

    /// Finds the chunk at `address`, if it is such a one; what else it is, or what is wrong
    /// with it, is not known. The cache is the calling thread's.
    ///
    /// As [`Finder::find`](crate::front::Finder::find), with the header in place of the mark.
    #[inline(always)]
    pub(super) fn find_usual(
        &self,
        front: &Front,
        cache: *mut ThreadCache,
        address: usize,
    ) -> Option<Usual> {
        let place = front.finder.place;
        let start = address.wrapping_sub(HEADER);
        let offset = start.wrapping_sub(place.base.addr());
        if offset >= place.bytes {
            return None;
        }
        // SAFETY: the offset is within the reservation, so the run has a descriptor. A pool of
        // this heap fills the run, so it says where chunks begin in it, and how many of them
        // were handed out: those may be read.
        unsafe {
            let descriptor = place.descriptors.add(offset >> RUN_SHIFT);
            let shelf = (*descriptor).shelf();
            let target = if front.finder.is_of(shelf, cache) {
                Target::own(shelf.addr() - cache.addr())
            } else {
                not_own(front, descriptor)?
            };
            if !(*descriptor).begins_handed(start) {
                return None;
            }
            let bytes = (*descriptor).runs as usize;
            let chunk = place.base.add(offset);
            let canary = self.keys.of(chunk);
            let size = canary.read_usual(chunk, bytes)?;
            Some(Usual { chunk, bytes, size, canary, target })
        }
    }

    /// Finds the chunk at `address` for a free, if it is such a one, and the thread has a
    /// quarantine. An `align` of 0 says that the layout is not known.
    #[inline(always)]
    pub(crate) fn find_to_free(
        &self,
        heap: &Sharing,
        address: usize,
        size: usize,
        align: usize,
    ) -> Option<(Usual, Own)> {
        let cache = heap.front.cache(Lane::Process)?;
        // SAFETY: the cache is this thread's.
        let shard = unsafe { (*cache).kept_back };
        if shard.is_null() {
            return None;
        }
        let usual = self.find_usual(&heap.front, cache, address)?;
        let fits = align == 0 || size == usual.size && address & (align - 1) == 0;
        fits.then_some((usual, Own { cache, shard }))
    }

    /// Frees such a chunk; `false` if another thread just did.
    #[inline(always)]
    pub(crate) fn free_usual(&self, heap: &Sharing, usual: Usual, own: Own) -> bool {
        let Usual { chunk, bytes, canary, target, .. } = usual;
        let kept = Kept::new(chunk, target);
        // SAFETY: found live, so all of it may be written, and it has its length. What is own is
        // this thread's.
        unsafe {
            if !canary.mark_freed(chunk) {
                return false;
            }
            if bytes > SHORT_CHUNK {
                self.free_long(heap, kept, bytes, own);
                return true;
            }
            zero_few(chunk.add(MARKED), bytes - MARKED);
            if let Some(left) = (*own.shard).exchange_short(kept, canary.number()) {
                leave(heap, own.cache, left);
            }
        }
        true
    }

    /// Makes a chunk that is marked freed zero, and keeps it back.
    ///
    /// # Safety
    ///
    /// The chunk was freed by this thread, it has that length, and what is own is this thread's.
    #[inline(never)]
    pub(super) unsafe fn free_long(&self, heap: &Sharing, kept: Kept, bytes: usize, own: Own) {
        let chunk = chunk_of(heap, kept);
        // SAFETY: the caller's promise.
        unsafe {
            zero(chunk.add(MARKED), bytes - MARKED);
            let secret = self.keys.of(chunk).number();
            if let Some(left) = (*own.shard).exchange(kept, bytes, secret) {
                leave(heap, own.cache, left);
            }
        }
    }
}

/// What is this thread's; `None` if it has no cache, or there is no memory for a quarantine.
pub(super) fn own(heap: &Sharing) -> Option<Own> {
    let cache = heap.front.cache(Lane::Process)?;
    // SAFETY: the cache is this thread's.
    let shard = unsafe { quarantine::own(heap, cache) };
    (!shard.is_null()).then_some(Own { cache, shard })
}

/// Where a chunk goes in the end that is out of its pool.
pub(super) fn target_of(heap: &Sharing, own: Own, chunk: *mut u8) -> Target {
    let place = heap.front.finder.place;
    // SAFETY: the chunk is of a pool of the heap's, whose runs have descriptors.
    unsafe {
        let descriptor = place.descriptors.add((chunk.addr() - place.base.addr()) >> RUN_SHIFT);
        let shelf = (*descriptor).shelf();
        if heap.front.finder.is_of(shelf, own.cache) {
            return Target::own(shelf.addr() - own.cache.addr());
        }
        let slab = (*descriptor).slab.into();
        not_own(&heap.front, descriptor).unwrap_or(Target::foreign(slab))
    }
}

/// The same for a run that is not of the thread's own pools; `None` if it is of no pool of the
/// heap's.
///
/// # Safety
///
/// It is a descriptor of the reservation's.
unsafe fn not_own(front: &Front, descriptor: *mut Descriptor) -> Option<Target> {
    // SAFETY: the caller's promise.
    unsafe {
        let shelf = (*descriptor).shelf();
        if shelf.is_null() || (*descriptor).tag().as_number() != front.tag() {
            return None;
        }
        let common = common_distance(shelf).map(Target::own);
        Some(common.unwrap_or_else(|| Target::foreign((*descriptor).slab.into())))
    }
}

/// What the program gets of a chunk.
///
/// # Safety
///
/// It is longer than its header.
#[inline(always)]
unsafe fn user_of(chunk: *mut u8, size: usize) -> NonNull<[u8]> {
    // SAFETY: the caller's promise.
    let user = unsafe { NonNull::new_unchecked(chunk.add(HEADER)) };
    NonNull::slice_from_raw_parts(user, size)
}

/// Takes a chunk off this thread's magazine. Unlike the heap's own way it takes off no mark:
/// the chunk's first word is ours.
#[inline(always)]
pub(super) fn pop(heap: &Sharing, whole: Layout) -> Option<NonNull<[u8]>> {
    let front = &heap.front;
    let cache = front.cache(Lane::Process)?;
    front.is_aligned(whole.align()).then(|| front.pop_size(cache, whole.size()))?
}

/// The same, once the magazine has run empty: from the depot behind it.
pub(super) fn pop_behind(heap: &Sharing, whole: Layout) -> Option<NonNull<[u8]>> {
    let cache = heap.front.cache(Lane::Process)?;
    // SAFETY: the cache is this thread's, and has a shelf for every such size.
    let fetched = unsafe {
        let index = heap.front.first_at_least(whole.size());
        (*ThreadCache::shelves::<Bare>(cache).at(index)).fetch()
    };
    fetched.then(|| pop(heap, whole)).flatten()
}

/// Gives a chunk that leaves the quarantine back to the heap: to this thread's magazine, or the
/// depot behind it, if there is room, as it is. It is looked at when it is handed out again.
///
/// # Safety
///
/// It was freed, and nobody else has it; the cache is this thread's.
#[inline(always)]
unsafe fn leave(heap: &Sharing, cache: *mut ThreadCache, kept: Kept) {
    #[cold]
    #[inline(never)]
    unsafe fn slow(heap: &Sharing, shelf: *mut Shelf<Bare>, kept: Kept) {
        let chunk = Bare(chunk_of(heap, kept));
        // SAFETY: as in `leave`.
        let stored =
            unsafe { kept.target().is_own() && (*shelf).store() && (*shelf).magazine.push(chunk) };
        if !stored {
            let errno = os::errno();
            heap.free_slow("free", kept.address(), 0, 0);
            os::set_errno(errno);
        }
    }
    let target = kept.target();
    // SAFETY: the caller's promise; its slab has a shelf.
    unsafe {
        let chunk = Bare(chunk_of(heap, kept));
        let shelf: *mut Shelf<Bare> = cache.byte_add(target.distance()).cast();
        let pushed = if target.is_own() {
            (*shelf).magazine.push(chunk)
        } else {
            let place = heap.front.finder.place;
            let run = (chunk.0.addr() - place.base.addr()) >> RUN_SHIFT;
            (*shelf).push_foreign(chunk, (*place.descriptors.add(run)).shelf())
        };
        if !pushed {
            slow(heap, shelf, kept);
        }
    }
}
