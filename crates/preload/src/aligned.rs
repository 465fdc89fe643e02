//! Chunks at an alignment of the program's choice.

use core::ffi::c_void;

use libc::{EINVAL, ENOMEM, size_t};

use crate::errno::fail;
use crate::heap::{ALIGN, HEAP, layout};

const OS_PAGE: usize = 4096;

/// A chunk of `size` bytes at `align`, or the code of the error.
#[inline]
fn allocate(align: size_t, size: size_t) -> Result<*mut c_void, i32> {
    if !align.is_power_of_two() {
        return Err(EINVAL);
    }
    let layout = layout(size, align.max(ALIGN)).ok_or(ENOMEM)?;
    HEAP.alloc(layout).map(|chunk| chunk.cast().as_ptr()).ok_or(ENOMEM)
}

/// Allocates `size` bytes at `align`, a power of two and a multiple of a pointer's size.
/// Returns an error code, and leaves `errno` and `*place` as they are if there is one.
///
/// # Safety
///
/// `place` is valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, align: size_t, size: size_t) -> i32 {
    if !align.is_multiple_of(size_of::<*mut c_void>()) {
        return EINVAL;
    }
    match allocate(align, size) {
        Ok(chunk) => {
            // SAFETY: the caller's promise.
            unsafe { place.write(chunk) };
            0
        }
        Err(code) => code,
    }
}

/// Allocates `size` bytes at `align`, a power of two (C11).
#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(align: size_t, size: size_t) -> *mut c_void {
    allocate(align, size).unwrap_or_else(fail)
}

/// An old name of [`aligned_alloc`].
#[unsafe(no_mangle)]
extern "C" fn memalign(align: size_t, size: size_t) -> *mut c_void {
    allocate(align, size).unwrap_or_else(fail)
}

/// Allocates `size` bytes at an OS page.
#[unsafe(no_mangle)]
extern "C" fn valloc(size: size_t) -> *mut c_void {
    allocate(OS_PAGE, size).unwrap_or_else(fail)
}

/// Allocates `size` bytes, rounded up to whole OS pages, at an OS page.
#[unsafe(no_mangle)]
extern "C" fn pvalloc(size: size_t) -> *mut c_void {
    let bytes = size.checked_next_multiple_of(OS_PAGE).ok_or(ENOMEM);
    bytes.and_then(|bytes| allocate(OS_PAGE, bytes)).unwrap_or_else(fail)
}
