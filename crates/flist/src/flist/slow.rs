//! The slow paths of the one-thread arena: an empty or full magazine, extents, far alignments,
//! reallocation, misuse.
//!
//! Each takes over whole, and is out of line, so that the fast paths need no stack frame.

use core::alloc::Layout;
use core::ptr::NonNull;

use mallocer_core::{AllocError, Mallocer, Misuse};

use super::Flist;
use crate::descriptor::Descriptor;
use crate::heap::{Heap, LARGEST_SHELVED, Route};
use crate::magazine::Magazine;
use crate::misuse;
use crate::place::{CHECKED, Found};
use crate::pool::{CACHED, Marked, locate};
use crate::pools::back;

/// There is no live chunk of this arena at an address.
pub(super) struct NotLive;

impl Flist {
    /// Frees a chunk whose magazine is full, or that is an extent.
    ///
    /// Where the depot is full, too, it goes back into its pool at once: there is no lock
    /// to take for it, and nothing is gained by moving older chunks there instead. That is
    /// all but one in a hundred frees of a program that frees much at once, so the calls
    /// that need more are left to another function, and this one is a leaf.
    #[inline(never)]
    pub(super) fn push_full(&self, descriptor: *mut Descriptor, chunk: *mut u8, state: *mut u8) {
        // SAFETY: called from outside through `free`; the heap calls nothing back. The
        // chunk is live and this arena's, so its descriptor leads to a shelf, and its state lies
        // as many bytes behind the first as there are chunks before it. An extent's shelf has no
        // depot, so what is behind the test is a pool's.
        unsafe {
            let magazine: *mut Magazine<Marked> = (*descriptor).shelf().cast();
            if !(*magazine).is_depot_full() {
                return self.push_slow(descriptor, chunk, state);
            }
            let pool = (*descriptor).pool;
            debug_assert!(!pool.is_null());
            let state = if CHECKED {
                state
            } else {
                let distance = chunk.addr() - (*descriptor).start.addr();
                (*descriptor).states.add(locate(distance, (*descriptor).reciprocal).0)
            };
            self.heap().put_uncounted(pool, state);
        }
    }

    /// Frees a chunk whose magazine is full and may go to the depot, or that is an extent.
    #[cold]
    #[inline(never)]
    pub(super) fn push_slow(&self, descriptor: *mut Descriptor, chunk: *mut u8, state: *mut u8) {
        // SAFETY: called from outside through `free`; the heap calls nothing back. The
        // chunk is live and this arena's.
        unsafe {
            let heap = self.heap();
            let index = (*descriptor).slab as usize;
            if (*descriptor).pool.is_null() {
                return heap.free_extent(descriptor);
            }
            let magazine = self.front.shelves.get().magazine(index);
            let slot = Marked { chunk, state };
            heap.flush(self.cache(), index);
            if CHECKED {
                state.write(CACHED);
            }
            if !(*magazine).push(slot) {
                heap.put_chunk(slot, index);
            }
        }
    }

    /// Allocates what the fast path cannot.
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_slow(
        &self,
        layout: Layout,
        zeroed: bool,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.budget.retry(|| {
            // SAFETY: called from outside through an allocation; the heap calls nothing back.
            let heap = unsafe { self.heap() };
            let route = heap.route(layout.size(), layout.align());
            self.alloc_routed(heap, route, layout, zeroed)
        })
    }

    pub(super) fn alloc_routed(
        &self,
        heap: &mut Heap<Marked>,
        route: Route,
        layout: Layout,
        zeroed: bool,
    ) -> Result<NonNull<[u8]>, AllocError> {
        match route {
            Route::Nowhere => Err(AllocError::AboveLargestSlab {
                requested: layout.size(),
                largest: heap.ladder.largest(),
            }),
            Route::Extent => {
                self.attach(heap)?;
                let cache = self.cache();
                // SAFETY: attached, and this arena has no other thread.
                let extent = unsafe { heap.take_extent(cache, layout.size(), layout.align()) }?;
                if zeroed && !extent.zero {
                    // SAFETY: an extent has its bytes.
                    unsafe { extent.start.write_bytes(0, extent.bytes) };
                }
                Ok(NonNull::slice_from_raw_parts(extent.start, extent.bytes))
            }
            Route::Pool(index) => {
                self.attach(heap)?;
                let size = heap.ladder.slabs()[index];
                let chunk = match self.pop(index) {
                    Some(chunk) => chunk,
                    None => {
                        // SAFETY: attached, and this arena has no other thread.
                        unsafe {
                            heap.refill(self.cache(), index)?;
                            back(heap.unbacked.take());
                        }
                        self.pop(index).ok_or_else(|| heap.refused(size))?
                    }
                };
                if zeroed {
                    // SAFETY: a chunk has its slab's bytes.
                    unsafe { chunk.write_bytes(0, size) };
                }
                Ok(NonNull::slice_from_raw_parts(chunk, size))
            }
        }
    }

    /// Frees the chunk at `address` if it can have been allocated for `layout`, looked at closely,
    /// or tells that it cannot.
    #[cold]
    #[inline(never)]
    pub(super) fn free_sized_slow(&self, address: usize, layout: Layout) {
        let found = self.find(address).filter(|found| {
            let (size, align) = (layout.size(), layout.align());
            // SAFETY: a descriptor of a live chunk of this arena; the heap is only read.
            unsafe { misuse::fits(self.heap(), &*found.descriptor, address, size, align) }
        });
        match found {
            Some(found) => self.push(self.magazine(found), found),
            None => self.misused("free_sized", address, Some(layout)),
        }
    }

    /// Ends the program over `address`. Not inlined: a message needs a stack frame, and
    /// with it a free would not be inlined either.
    #[cold]
    #[inline(never)]
    pub(super) fn misused(
        &self,
        operation: &'static str,
        address: usize,
        layout: Option<Layout>,
    ) -> ! {
        self.diagnose(operation, address, layout).raise()
    }

    /// What is wrong with `address`, after `put` or `len_of` refused it.
    #[cold]
    pub(super) fn diagnose(
        &self,
        operation: &'static str,
        address: usize,
        layout: Option<Layout>,
    ) -> Misuse {
        // SAFETY: the heap is only read.
        misuse::diagnose(unsafe { self.heap() }, operation, address, layout)
    }

    /// Makes the live chunk at `address` hold `size` bytes where it is: `Err` if there
    /// is no such chunk, `None` if it would have to move.
    pub(super) fn resize(
        &self,
        address: usize,
        size: usize,
        align: usize,
    ) -> Result<Option<usize>, NotLive> {
        let found = self.find(address).ok_or(NotLive)?;
        // SAFETY: called from outside; the heap calls nothing back. The chunk is live.
        Ok(unsafe { found.resize(self.heap(), size, align) })
    }

    /// Reallocates the live chunk at `address`.
    ///
    /// A chunk of a pool stays if its slab is the one that serves the new size; nothing else
    /// needs to be known of it.
    pub(super) fn realloc(
        &self,
        address: usize,
        layout: Layout,
    ) -> Result<Result<NonNull<[u8]>, AllocError>, NotLive> {
        let found = self.find(address).ok_or(NotLive)?;
        // SAFETY: the descriptor is that of a live chunk; the lookup table lives as long as the
        // heap's ladder.
        let (pooled, slab, old_len, lookup) = unsafe {
            let one = &*found.descriptor;
            (!one.pool.is_null(), one.slab as usize, one.chunk_len(), &*self.front.lookup)
        };
        let near = layout.align() <= self.front.alignment && layout.size() <= LARGEST_SHELVED;
        if !(pooled && near) {
            if let Some(chunk) = self.realloc_in_place(found, layout) {
                return Ok(Ok(chunk));
            }
        } else if lookup.first_at_least(layout.size()) == slab {
            // SAFETY: the address is that of a live chunk.
            let chunk = unsafe { NonNull::new_unchecked(found.chunk) };
            return Ok(Ok(NonNull::slice_from_raw_parts(chunk, old_len)));
        }
        let new = match self.try_alloc(layout) {
            Ok(new) => new,
            Err(error) => return Ok(Err(error)),
        };
        // SAFETY: both chunks are live, do not overlap, and have that many bytes.
        unsafe {
            let bytes = old_len.min(layout.size());
            new.cast::<u8>().as_ptr().copy_from_nonoverlapping(found.chunk, bytes);
        }
        self.push(self.magazine(found), found);
        Ok(Ok(new))
    }

    /// The live chunk with as much as `layout` says, without a copy of its bytes: where it is, or
    /// an extent by moving its OS pages.
    #[inline(never)]
    fn realloc_in_place(&self, found: Found, layout: Layout) -> Option<NonNull<[u8]>> {
        // SAFETY: called from outside; the heap calls nothing back. The chunk is live.
        unsafe {
            let heap = self.heap();
            if let Some(len) = found.resize(heap, layout.size(), layout.align()) {
                let chunk = NonNull::new_unchecked(found.chunk);
                return Some(NonNull::slice_from_raw_parts(chunk, len));
            }
            if !(*found.descriptor).pool.is_null() {
                return None;
            }
            let (size, align) = (layout.size(), layout.align());
            let extent = heap.move_extent(self.cache(), found.descriptor, size, align)?;
            Some(NonNull::slice_from_raw_parts(extent.start, extent.bytes))
        }
    }
}
