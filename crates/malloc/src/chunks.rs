//! The C library's one heap, for data structures that find it by its type.

use std::alloc::Layout;
use std::ptr::{self, NonNull};

use mallocer_core::{AllocError, Ambient, Chunks, MAX_CAPACITY};

use crate::classes::GRAIN;
use crate::global::Global;

/// The chunk at `start`, or the error if there is none.
fn chunk(start: *mut libc::c_void, requested: usize) -> Result<NonNull<[u8]>, AllocError> {
    let refused = AllocError::System { requested, used: 0, limit: MAX_CAPACITY };
    let start = NonNull::new(start).ok_or(refused)?;
    // SAFETY: just given by the C library.
    let len = unsafe { libc::malloc_usable_size(start.as_ptr()) };
    Ok(NonNull::slice_from_raw_parts(start.cast(), len))
}

// SAFETY: the C library's chunks are valid for what it calls usable, and distinct.
unsafe impl Chunks for Global {
    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let size = layout.size().max(1);
        if layout.align() <= GRAIN {
            // SAFETY: no conditions.
            return chunk(unsafe { libc::malloc(size) }, size);
        }
        let mut start = ptr::null_mut();
        // SAFETY: `start` may be written; an alignment above a word's is right.
        let refused = unsafe { libc::posix_memalign(&mut start, layout.align(), size) };
        chunk(if refused == 0 { start } else { ptr::null_mut() }, size)
    }

    #[inline]
    unsafe fn free(&self, chunk: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { libc::free(chunk.as_ptr().cast()) }
    }

    #[inline]
    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: the caller's promise.
        unsafe { libc::malloc_usable_size(chunk.as_ptr().cast()) }
    }

    unsafe fn try_realloc(
        &self,
        old: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let size = layout.size().max(1);
        // SAFETY: the caller's promise. `realloc` does not keep far alignments; there the
        // chunk moves to one that does not overlap it.
        unsafe {
            if layout.align() <= GRAIN {
                return chunk(libc::realloc(old.as_ptr().cast(), size), size);
            }
            let new = self.try_alloc(layout)?;
            new.cast::<u8>().copy_from_nonoverlapping(old, self.chunk_len(old).min(size));
            self.free(old);
            Ok(new)
        }
    }
}

// SAFETY: the C library has one heap, and any thread may use it.
unsafe impl Ambient for Global {}
