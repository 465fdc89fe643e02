//! The C library as the program's global allocator.

use std::alloc::{GlobalAlloc, Layout, System};

/// The C library's allocator for `#[global_allocator]`.
///
/// It is what Rust programs run on anyway ([`System`]), by the name that the other
/// backends have, so that a program can switch between them.
///
/// # Examples
///
/// ```
/// #[global_allocator]
/// static GLOBAL: mallocer_malloc::Global = mallocer_malloc::Global;
///
/// assert_eq!(vec![7; 3].len(), 3);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Global;

// SAFETY: every call is passed on to `System` as it is.
unsafe impl GlobalAlloc for Global {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, chunk: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(chunk, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, chunk: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.realloc(chunk, layout, size) }
    }
}
