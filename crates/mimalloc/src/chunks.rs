//! mimalloc's heap of the process, for data structures that find it by its type.

use std::alloc::Layout;
use std::ffi::c_void;
use std::ptr::NonNull;

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_usable_size,
};
use mallocer_core::{AllocError, Ambient, Chunks, MAX_CAPACITY};

use crate::global::{Global, plain};

/// The chunk at `start`, or the error if there is none.
#[inline]
fn chunk(start: *mut c_void, requested: usize) -> Result<NonNull<[u8]>, AllocError> {
    let refused = AllocError::System { requested, used: 0, limit: MAX_CAPACITY };
    let start = NonNull::new(start).ok_or(refused)?;
    // SAFETY: just given by mimalloc.
    let len = unsafe { mi_usable_size(start.as_ptr()) };
    Ok(NonNull::slice_from_raw_parts(start.cast(), len))
}

// SAFETY: mimalloc's chunks are valid for what it calls usable, and distinct.
unsafe impl Chunks for Global {
    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: no conditions but an alignment that is a power of two.
        let start = unsafe {
            match plain(layout.align(), layout.size()) {
                Some(size) => mi_malloc(size),
                None => mi_malloc_aligned(layout.size(), layout.align()),
            }
        };
        chunk(start, layout.size())
    }

    #[inline]
    unsafe fn free(&self, chunk: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { mi_free(chunk.as_ptr().cast()) }
    }

    #[inline]
    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: the caller's promise.
        unsafe { mi_usable_size(chunk.as_ptr().cast()) }
    }

    unsafe fn try_realloc(
        &self,
        old: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        let start = unsafe {
            match plain(layout.align(), layout.size()) {
                Some(size) => mi_realloc(old.as_ptr().cast(), size),
                None => mi_realloc_aligned(old.as_ptr().cast(), layout.size(), layout.align()),
            }
        };
        chunk(start, layout.size())
    }
}

// SAFETY: any thread may use what any thread has allocated.
unsafe impl Ambient for Global {}
