//! jemalloc's heap of the process, for data structures that find it by its type.

use std::alloc::Layout;
use std::ptr::NonNull;

use libc::{c_int, c_void};
use mallocer_core::{AllocError, Ambient, Chunks, MAX_CAPACITY};
use tikv_jemalloc_sys::{MALLOCX_ALIGN, dallocx, mallocx, rallocx, sallocx, xallocx};

use crate::classes::QUANTUM;
use crate::global::Global;

/// Size and flags of a request.
#[inline]
fn request(layout: Layout) -> (usize, c_int) {
    let flags = if layout.align() <= QUANTUM { 0 } else { MALLOCX_ALIGN(layout.align()) };
    // A class of less than the quantum is aligned to less.
    (layout.size().max(layout.align().min(QUANTUM)), flags)
}

/// The chunk at `start`, or the error if there is none.
#[inline]
fn chunk(start: *mut c_void, requested: usize) -> Result<NonNull<[u8]>, AllocError> {
    let refused = AllocError::System { requested, used: 0, limit: MAX_CAPACITY };
    let start = NonNull::new(start).ok_or(refused)?;
    // SAFETY: just given by jemalloc.
    let len = unsafe { sallocx(start.as_ptr(), 0) };
    Ok(NonNull::slice_from_raw_parts(start.cast(), len))
}

// SAFETY: jemalloc's chunks are valid for the whole class, and distinct.
unsafe impl Chunks for Global {
    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let (size, flags) = request(layout);
        // SAFETY: the size is not 0.
        chunk(unsafe { mallocx(size, flags) }, size)
    }

    #[inline]
    unsafe fn free(&self, chunk: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { dallocx(chunk.as_ptr().cast(), 0) }
    }

    #[inline]
    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: the caller's promise.
        unsafe { sallocx(chunk.as_ptr().cast(), 0) }
    }

    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
        let size = size.max(1);
        // SAFETY: the caller's promise; the size is not 0.
        let len = unsafe { xallocx(chunk.as_ptr().cast(), size, 0, 0) };
        (len >= size).then_some(len)
    }

    unsafe fn try_realloc(
        &self,
        old: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let (size, flags) = request(layout);
        // SAFETY: the caller's promise; the size is not 0.
        chunk(unsafe { rallocx(old.as_ptr().cast(), size, flags) }, size)
    }
}

// SAFETY: any thread may use what any thread has allocated.
unsafe impl Ambient for Global {}
