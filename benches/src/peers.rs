//! Allocators that no backend is made of, by their fastest entry points.

use std::alloc::Layout;
use std::ptr::NonNull;

use bumpalo::Bump as BumpArena;
use mallocer_workloads::Subject;

/// bumpalo's arena, which frees nothing until it is reset.
#[derive(Default)]
pub struct Bump(BumpArena);

impl Subject for Bump {
    #[inline(always)]
    fn alloc(&self, layout: Layout) -> NonNull<u8> {
        self.0.alloc_layout(layout)
    }

    #[inline(always)]
    unsafe fn free(&self, _: NonNull<u8>, _: Layout) {}

    unsafe fn realloc(&self, _: NonNull<u8>, _: Layout, size: usize) -> NonNull<u8> {
        panic!("this subject frees nothing, so it does not grow a chunk to {size} bytes either")
    }

    unsafe fn release(&mut self) {
        self.0.reset();
    }
}

/// rpmalloc by its plain functions: the crate's `GlobalAlloc` goes through the aligned
/// ones. Threads say when they begin, or it crashes, and when they end, or their memory is
/// lost.
#[cfg(feature = "peers")]
pub struct Rpmalloc(());

#[cfg(feature = "peers")]
impl Rpmalloc {
    /// Sets the library up; further times do nothing.
    pub fn new() -> Rpmalloc {
        // SAFETY: may be called any number of times.
        unsafe { rpmalloc_sys::rpmalloc_initialize() };
        Rpmalloc(())
    }
}

#[cfg(feature = "peers")]
impl Default for Rpmalloc {
    fn default() -> Rpmalloc {
        Rpmalloc::new()
    }
}

#[cfg(feature = "peers")]
impl Subject for Rpmalloc {
    #[inline(always)]
    fn alloc(&self, layout: Layout) -> NonNull<u8> {
        debug_assert!(layout.align() <= 16, "plain chunks are aligned to 16");
        // SAFETY: the library is initialised, and so is this thread.
        let chunk = unsafe { rpmalloc_sys::rpmalloc(layout.size()) };
        NonNull::new(chunk.cast()).expect("the library has memory")
    }

    #[inline(always)]
    unsafe fn free(&self, chunk: NonNull<u8>, _: Layout) {
        // SAFETY: passed on.
        unsafe { rpmalloc_sys::rpfree(chunk.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn realloc(&self, chunk: NonNull<u8>, _: Layout, size: usize) -> NonNull<u8> {
        // SAFETY: passed on.
        let moved = unsafe { rpmalloc_sys::rprealloc(chunk.as_ptr().cast(), size) };
        NonNull::new(moved.cast()).expect("the library has memory")
    }

    unsafe fn release(&mut self) {}

    fn thread_begins(&self) {
        // SAFETY: the library is initialised.
        unsafe { rpmalloc_sys::rpmalloc_thread_initialize() }
    }

    fn thread_ends(&self) {
        // SAFETY: this thread uses the library no more.
        unsafe { rpmalloc_sys::rpmalloc_thread_finalize() }
    }
}
