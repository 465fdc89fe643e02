//! mimalloc as the program's global allocator.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{mi_free, mi_malloc, mi_realloc, mi_zalloc};
use mimalloc::MiMalloc;

use crate::classes::QUANTUM;

/// mimalloc for `#[global_allocator]`, with its own heaps and threads.
///
/// The crate `mimalloc` always calls the entry points for aligned chunks, which are slower;
/// this type calls the plain ones wherever alignment allows, and the crate for the rest.
///
/// # Examples
///
/// ```
/// #[global_allocator]
/// static GLOBAL: mallocer_mimalloc::Global = mallocer_mimalloc::Global;
///
/// assert_eq!(vec![7; 3].len(), 3);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Global;

/// The size to ask the plain functions for, if they serve the layout.
#[inline]
pub(crate) fn plain(align: usize, size: usize) -> Option<usize> {
    // A chunk of at least the quantum is aligned to it, a smaller one to 8.
    (align <= QUANTUM).then_some(size.max(align))
}

// SAFETY: mimalloc's chunks are valid and distinct, and aligned as `plain` says or as the
// crate asks for. A chunk may be freed and reallocated whichever function it came from.
unsafe impl GlobalAlloc for Global {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the plain function takes any size; the rest is the caller's promise.
        unsafe {
            match plain(layout.align(), layout.size()) {
                Some(size) => mi_malloc(size).cast(),
                None => MiMalloc.alloc(layout),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            match plain(layout.align(), layout.size()) {
                Some(size) => mi_zalloc(size).cast(),
                None => MiMalloc.alloc_zeroed(layout),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, chunk: *mut u8, _: Layout) {
        // SAFETY: the caller's promise.
        unsafe { mi_free(chunk.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, chunk: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            match plain(layout.align(), size) {
                Some(size) => mi_realloc(chunk.cast(), size).cast(),
                None => MiMalloc.realloc(chunk, layout, size),
            }
        }
    }
}
