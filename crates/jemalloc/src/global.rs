//! jemalloc as the program's global allocator.

use std::alloc::{GlobalAlloc, Layout};

use tikv_jemallocator::Jemalloc;

/// jemalloc for `#[global_allocator]`, with its own arenas and thread caches.
///
/// The crate `tikv-jemallocator` as it is, by the name that the other backends have: it
/// calls the plain functions wherever alignment allows.
///
/// # Examples
///
/// ```
/// #[global_allocator]
/// static GLOBAL: mallocer_jemalloc::Global = mallocer_jemalloc::Global;
///
/// assert_eq!(vec![7; 3].len(), 3);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Global;

// SAFETY: every call is passed on to `Jemalloc` as it is.
unsafe impl GlobalAlloc for Global {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { Jemalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { Jemalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, chunk: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { Jemalloc.dealloc(chunk, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, chunk: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { Jemalloc.realloc(chunk, layout, size) }
    }
}
