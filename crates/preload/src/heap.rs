//! The heap behind every symbol.
//!
//! It lies in a static and is opened by the first call, whichever that is: calls come
//! before any initialiser has run, from inside the loader, and after the last destructor.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

use mallocer_flist::{Process, abort};

use crate::foreign;
use crate::start::{configure, is_hardened, opened};

/// The alignment that `malloc` gives: that of the largest plain C type.
pub(crate) const ALIGN: usize = 16;

/// The heap of the process.
// SAFETY: the library has no other one, and its copy of flist is its own.
pub(crate) static HEAP: Process<true> = unsafe { Process::sole(configure, abort) }
    .hardened_if(is_hardened)
    .passing_on(foreign::free)
    .when_opened(opened);

/// The layout of `size` bytes at `align`, a power of two; `None` if no memory is as large.
#[inline(always)]
pub(crate) fn layout(size: usize, align: usize) -> Option<Layout> {
    Layout::from_size_align(size, align).ok()
}

/// The heap for Rust code of this library.
pub(crate) struct Rust;

// SAFETY: chunks are as flist promises; nothing unwinds.
unsafe impl GlobalAlloc for Rust {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.alloc(layout).map_or(ptr::null_mut(), |chunk| chunk.cast().as_ptr())
    }

    unsafe fn dealloc(&self, chunk: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { HEAP.free_sized("dealloc", chunk, layout) }
    }
}
