//! From an address to the live chunk there: what every free begins with.

use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use mallocer_core::Ladder;

use crate::descriptor::{Descriptor, RUN_SHIFT, Tag};
use crate::heap::Heap;
use crate::misuse;
use crate::pool::{LIVE, Slot, locate};

/// Whether misuse is looked for: always, but in a build with `--cfg mallocer_unchecked`,
/// which is there to measure what looking costs, and for nothing else: a wrong pointer
/// breaks it.
pub(crate) const CHECKED: bool = !cfg!(mallocer_unchecked);

/// Where the reservation is: of no bytes, as long as an arena has no memory.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) base: *mut u8,
    pub(crate) bytes: usize,
    pub(crate) descriptors: *mut Descriptor,
}

/// A chunk that was found to be out of its pool and the asking arena's.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) descriptor: *mut Descriptor,
    pub(crate) chunk: *mut u8,
    pub(crate) state: *mut u8,
}

impl Found {
    /// Whether the chunk is out of its pool, or the extent not given back.
    ///
    /// # Safety
    ///
    /// The place is still of the arena that it was found in.
    #[inline(always)]
    pub(crate) unsafe fn is_live(self) -> bool {
        // SAFETY: the caller's promise. The state may be written by another thread at this
        // moment only if the program frees a chunk twice at once.
        !CHECKED || unsafe { AtomicU8::from_ptr(self.state).load(Relaxed) } == LIVE
    }

    /// Whether the chunk of a pool was ever handed out.
    ///
    /// # Safety
    ///
    /// As [`is_live`](Found::is_live).
    #[inline(always)]
    pub(crate) unsafe fn was_handed(self) -> bool {
        // SAFETY: passed on; found, so its descriptor is one.
        !CHECKED || unsafe { (*self.descriptor).begins_handed(self.chunk.addr()) }
    }

    /// The chunk's length.
    ///
    /// # Safety
    ///
    /// The chunk is live, and of an arena with that ladder.
    #[inline]
    pub(crate) unsafe fn len(self, ladder: &Ladder) -> usize {
        // SAFETY: the descriptor is that of a live chunk, so nobody changes it.
        let one = unsafe { &*self.descriptor };
        if one.pool.is_null() { one.extent_bytes() } else { ladder.slabs()[one.slab as usize] }
    }

    /// Makes the chunk hold `size` bytes at a multiple of `align` where it is; `None` if
    /// it would have to move.
    ///
    /// # Safety
    ///
    /// The chunk is live and of that heap.
    pub(crate) unsafe fn resize(
        self,
        heap: &mut Heap<impl Slot>,
        size: usize,
        align: usize,
    ) -> Option<usize> {
        let address = self.chunk.addr();
        // SAFETY: the descriptor is that of a live chunk of the heap.
        unsafe {
            if (*self.descriptor).pool.is_null() {
                if !address.is_multiple_of(align) {
                    return None;
                }
                return heap.resize_extent(self.descriptor, size);
            }
            let one = &*self.descriptor;
            misuse::fits(heap, one, address, size, align)
                .then(|| heap.ladder.slabs()[one.slab as usize])
        }
    }
}

impl Place {
    /// The descriptor of the run that `address` is in.
    ///
    /// # Safety
    ///
    /// The address is in the process's reservation, and the place is that.
    #[inline(always)]
    pub(crate) unsafe fn descriptor_of(self, address: usize) -> *mut Descriptor {
        // SAFETY: the caller's promise: every run of the reservation has a descriptor.
        unsafe { self.descriptors.add(address.wrapping_sub(self.base.addr()) >> RUN_SHIFT) }
    }

    /// Finds the chunk that begins at `address`, if it is one of the arena with that
    /// tag and its state is [`LIVE`].
    ///
    /// # Safety
    ///
    /// The place is that of the process's reservation, or of no bytes.
    #[inline(always)]
    pub(crate) unsafe fn find(self, tag: Tag, address: usize) -> Option<Found> {
        // SAFETY: passed on; found just now.
        unsafe { self.find_any(tag, address).filter(|found| found.is_live()) }
    }

    /// The same, whatever its state, if it was ever handed out; of an extent, perhaps not.
    ///
    /// # Safety
    ///
    /// As [`find`](Place::find).
    #[inline(always)]
    pub(crate) unsafe fn find_handed(self, tag: Tag, address: usize) -> Option<Found> {
        // SAFETY: passed on; found just now.
        unsafe { self.find_any(tag, address).filter(|found| found.was_handed()) }
    }

    /// Finds the place of a chunk that begins at `address`.
    ///
    /// # Safety
    ///
    /// As [`find`](Place::find).
    #[inline(always)]
    pub(crate) unsafe fn find_any(self, tag: Tag, address: usize) -> Option<Found> {
        let offset = address.wrapping_sub(self.base.addr());
        if CHECKED && offset >= self.bytes {
            return None;
        }
        // SAFETY: the offset is within the reservation, so the run has a descriptor. A tag
        // that equals the arena's proves that a pool or extent of it fills the run, so
        // start, reciprocal and states belong together, and the index is that of a chunk,
        // or of the byte behind the last.
        unsafe {
            let descriptor = self.descriptor_of(address);
            if CHECKED && (*descriptor).tag() != tag {
                return None;
            }
            if !CHECKED {
                let chunk = self.base.with_addr(address);
                return Some(Found { descriptor, chunk, state: core::ptr::null_mut() });
            }
            let start = (*descriptor).start.addr();
            let (index, exact) = locate(address - start, (*descriptor).reciprocal);
            if !exact {
                return None;
            }
            let state = (*descriptor).states.add(index);
            // As `base.with_addr(address)`, which costs a register and a sum here: the
            // reservation has exposed its provenance.
            let chunk = with_exposed_provenance_mut(address);
            Some(Found { descriptor, chunk, state })
        }
    }
}
