//! A chunk of a shared arena becomes larger or smaller.
//!
//! ```text
//! same slab ──▶ stays, and no lock is taken
//! extent    ──▶ stays if its neighbours have room, else its OS pages move
//! otherwise ──▶ a new chunk, a copy, and a free
//! ```

use core::alloc::Layout;
use core::ptr::NonNull;

use mallocer_core::AllocError;

use crate::misuse;
use crate::place::Found;
use crate::sharing::Sharing;

impl Sharing {
    /// Makes the live chunk at `address` hold `size` bytes where it is, if it can.
    pub(crate) fn resize(
        &self,
        operation: &'static str,
        address: usize,
        size: usize,
        align: usize,
    ) -> Option<usize> {
        // SAFETY: a live chunk of this arena.
        unsafe {
            let found = self.find_or_tell(operation, address);
            self.resize_found(found, size, align)
        }
    }

    /// # Safety
    ///
    /// The chunk was found live in this arena.
    unsafe fn resize_found(&self, found: Found, size: usize, align: usize) -> Option<usize> {
        // SAFETY: the caller's promise: nobody changes the descriptor.
        unsafe {
            if (*found.descriptor).pool.is_null() {
                return found.resize(&mut self.heap.lock(), size, align);
            }
            // Whether a pool's chunk has the right size, no lock is needed to see.
            let slab = (*found.descriptor).slab as usize;
            let len = (*found.descriptor).chunk_len();
            // At a further alignment a chunk may be an extent where a slab would do.
            let same = if self.front.is_aligned(align) {
                self.front.first_at_least(size) == slab
            } else {
                misuse::fits(&self.heap.lock(), &*found.descriptor, found.chunk.addr(), size, align)
            };
            same.then_some(len)
        }
    }

    /// Reallocates the live chunk at `address`.
    pub(crate) fn realloc(
        &self,
        operation: &'static str,
        address: usize,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let found = match self.front.find(address) {
            Some(found) => found,
            None => self.find_or_tell(operation, address),
        };
        // SAFETY: a live chunk of this arena; a moved one does not overlap it.
        unsafe {
            let chunk = NonNull::new_unchecked(found.chunk);
            if let Some(len) = self.resize_found(found, layout.size(), layout.align()) {
                return Ok(NonNull::slice_from_raw_parts(chunk, len));
            }
            let old_len = (*found.descriptor).chunk_len();
            if (*found.descriptor).pool.is_null()
                && let Some(extent) = self.move_extent(found, layout)
            {
                return Ok(extent);
            }
            let new = self.alloc(self.lane, layout)?;
            let bytes = old_len.min(layout.size());
            new.cast::<u8>().copy_from_nonoverlapping(chunk, bytes);
            self.free(self.lane, operation, address);
            Ok(new)
        }
    }

    /// # Safety
    ///
    /// The extent was found live in this arena.
    unsafe fn move_extent(&self, found: Found, layout: Layout) -> Option<NonNull<[u8]>> {
        let thread = self.thread();
        let mut heap = self.heap.lock();
        let cache = self.cache(&mut heap, thread);
        // SAFETY: passed on; the cache is this thread's, or used under the lock.
        let extent =
            unsafe { heap.move_extent(cache, found.descriptor, layout.size(), layout.align())? };
        self.unlock(heap);
        Some(NonNull::slice_from_raw_parts(extent.start, extent.bytes))
    }
}
