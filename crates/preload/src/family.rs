//! `malloc`, `calloc`, `realloc`, `free`, and their variants.
//!
//! What the manual pages leave open is done as glibc does it:
//!
//! * zero bytes are a chunk like any other: unique, and to be freed;
//! * `realloc` to zero bytes frees the chunk and returns null, with `errno` untouched;
//! * `free` leaves `errno` as it is.

use core::ffi::c_void;
use core::ptr;

use libc::{ENOMEM, size_t};
use mallocer_flist::Elsewhere;

use crate::errno::fail;
use crate::foreign;
use crate::heap::{ALIGN, HEAP, layout};

/// Allocates `size` bytes.
#[unsafe(no_mangle)]
extern "C" fn malloc(size: size_t) -> *mut c_void {
    match HEAP.alloc_at_hand(size) {
        Some(chunk) => chunk.cast().as_ptr(),
        None => malloc_slow(size),
    }
}

#[inline(never)]
pub(crate) extern "C" fn malloc_slow(size: size_t) -> *mut c_void {
    match HEAP.alloc_near(size) {
        Some(chunk) => chunk.cast().as_ptr(),
        None => malloc_slower(size),
    }
}

#[cold]
#[inline(never)]
extern "C" fn malloc_slower(size: size_t) -> *mut c_void {
    match layout(size, ALIGN).and_then(|layout| HEAP.alloc_beyond(layout)) {
        Some(chunk) => chunk.cast().as_ptr(),
        None => fail(ENOMEM),
    }
}

/// Allocates `count` times `size` bytes, all zero.
#[unsafe(no_mangle)]
extern "C" fn calloc(count: size_t, size: size_t) -> *mut c_void {
    let layout = count.checked_mul(size).and_then(|bytes| layout(bytes, ALIGN));
    match layout.and_then(|layout| HEAP.alloc_zeroed(layout)) {
        Some(chunk) => chunk.cast().as_ptr(),
        None => fail(ENOMEM),
    }
}

/// Frees a chunk; null is nothing to free.
///
/// # Safety
///
/// The chunk is from here, and is not used afterwards.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free(chunk: *mut c_void) {
    // SAFETY: passed on.
    unsafe {
        match HEAP.free_here(chunk.cast()) {
            Ok(()) => {}
            Err(Some(elsewhere)) => free_elsewhere(chunk, elsewhere),
            Err(None) => free_slow(chunk),
        }
    }
}

/// Frees a chunk of another thread, or a large one.
///
/// # Safety
///
/// As [`free`], which has found where the chunk is.
#[inline(never)]
unsafe fn free_elsewhere(chunk: *mut c_void, elsewhere: Elsewhere) {
    // SAFETY: passed on.
    unsafe {
        // A null pointer finds some descriptor, too.
        if !HEAP.free_elsewhere(chunk.cast(), elsewhere) && !chunk.is_null() {
            free_slower(chunk);
        }
    }
}

/// Frees what is not at hand, a null pointer for one.
///
/// # Safety
///
/// As [`free`].
#[inline(never)]
unsafe extern "C" fn free_slow(chunk: *mut c_void) {
    // SAFETY: passed on.
    unsafe {
        if !chunk.is_null() && !HEAP.free_near(chunk.cast()) {
            free_slower(chunk);
        }
    }
}

/// # Safety
///
/// As [`free`], and the chunk is not null.
#[cold]
#[inline(never)]
unsafe extern "C" fn free_slower(chunk: *mut c_void) {
    // SAFETY: passed on.
    unsafe { HEAP.free_beyond("free", chunk.cast()) }
}

/// An old name of [`free`].
///
/// # Safety
///
/// As [`free`].
#[unsafe(no_mangle)]
unsafe extern "C" fn cfree(chunk: *mut c_void) {
    // SAFETY: passed on.
    unsafe { free(chunk) }
}

/// Frees a chunk that was asked for with `size` bytes (C23).
///
/// # Safety
///
/// As [`free`].
#[unsafe(no_mangle)]
unsafe extern "C" fn free_sized(chunk: *mut c_void, size: size_t) {
    // SAFETY: passed on.
    unsafe { free_known("free_sized", chunk, size, ALIGN) }
}

/// Frees a chunk that was asked for with `size` bytes at `align` (C23).
///
/// # Safety
///
/// As [`free`].
#[unsafe(no_mangle)]
unsafe extern "C" fn free_aligned_sized(chunk: *mut c_void, align: size_t, size: size_t) {
    // SAFETY: passed on.
    unsafe { free_known("free_aligned_sized", chunk, size, align) }
}

/// Frees a chunk whose size and alignment the program says. Where they cannot be those of
/// any chunk, they are not believed.
///
/// # Safety
///
/// As [`free`].
#[inline(always)]
pub(crate) unsafe fn free_known(
    operation: &'static str,
    chunk: *mut c_void,
    size: size_t,
    align: size_t,
) {
    if chunk.is_null() {
        return;
    }
    // SAFETY: passed on.
    unsafe {
        match layout(size, align.max(ALIGN)) {
            Some(layout) => HEAP.free_sized(operation, chunk.cast(), layout),
            None => HEAP.free(operation, chunk.cast()),
        }
    }
}

/// Makes a chunk hold `size` bytes; the old one is as it was if there is no memory.
///
/// # Safety
///
/// As [`free`], if this succeeds.
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(chunk: *mut c_void, size: size_t) -> *mut c_void {
    // SAFETY: passed on. Null is no chunk.
    unsafe {
        match (size > 0).then(|| HEAP.look(chunk.cast(), size)).flatten() {
            Some((_, true)) => chunk,
            Some((len, false)) => realloc_near(chunk, size, len),
            None => realloc_slow(chunk, size),
        }
    }
}

/// Moves a live chunk of `len` bytes to one at hand, if there is one.
///
/// # Safety
///
/// As [`realloc`].
#[inline(never)]
unsafe fn realloc_near(chunk: *mut c_void, size: size_t, len: size_t) -> *mut c_void {
    // SAFETY: passed on. Two live chunks do not overlap, and both have as many bytes.
    unsafe {
        let Some(new) = HEAP.alloc_at_hand(size) else { return realloc_slow(chunk, size) };
        let new = new.cast::<c_void>().as_ptr();
        new.copy_from_nonoverlapping(chunk, len.min(size));
        // Not by `free`, which may be one that the program has put in front of ours.
        HEAP.free("realloc", chunk.cast());
        new
    }
}

/// The same, where that takes more than a look.
///
/// # Safety
///
/// As [`realloc`].
#[inline(never)]
unsafe extern "C" fn realloc_slow(chunk: *mut c_void, size: size_t) -> *mut c_void {
    if chunk.is_null() {
        return malloc(size);
    }
    if !HEAP.may_hold(chunk.addr())
        && size > 0
        && foreign::is_of_libc(chunk.addr())
        && let Some(moved) = foreign::realloc(chunk, size)
    {
        return moved;
    }
    // SAFETY: passed on.
    unsafe {
        if size == 0 {
            HEAP.free("realloc", chunk.cast());
            return ptr::null_mut();
        }
        match layout(size, ALIGN).and_then(|to| HEAP.realloc("realloc", chunk.cast(), to)) {
            Some(moved) => moved.cast().as_ptr(),
            None => fail(ENOMEM),
        }
    }
}

/// Makes a chunk hold `count` times `size` bytes.
///
/// # Safety
///
/// As [`realloc`].
#[unsafe(no_mangle)]
unsafe extern "C" fn reallocarray(chunk: *mut c_void, count: size_t, size: size_t) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: passed on.
        Some(bytes) => unsafe { realloc(chunk, bytes) },
        None => fail(ENOMEM),
    }
}

/// The bytes of a chunk that the program may use; 0 for null.
///
/// # Safety
///
/// The chunk is from here, and not freed.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_usable_size(chunk: *mut c_void) -> size_t {
    if chunk.is_null() {
        return 0;
    }
    if !HEAP.may_hold(chunk.addr())
        && foreign::is_of_libc(chunk.addr())
        && let Some(size) = foreign::usable_size(chunk)
    {
        return size;
    }
    // SAFETY: passed on.
    unsafe { HEAP.chunk_len("malloc_usable_size", chunk.cast()) }
}
