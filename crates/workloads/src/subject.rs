//! The little that a workload needs of an allocator.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;

use mallocer::{Arena, Mallocer, SharedArena};

/// An allocator under measurement.
///
/// Methods are called in the measured loop: implementations pass on and do no
/// more.
pub trait Subject {
    /// Allocates a chunk, of contents undefined.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    fn alloc(&self, layout: Layout) -> NonNull<u8>;

    /// Frees a chunk. What cannot free single chunks does nothing.
    ///
    /// # Safety
    ///
    /// `chunk` came from this subject with this `layout`, and is not used any more.
    unsafe fn free(&self, chunk: NonNull<u8>, layout: Layout);

    /// Makes a chunk hold `size` bytes, here or elsewhere; contents move along.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    ///
    /// # Safety
    ///
    /// `chunk` came from this subject with this `layout`; only the returned one is used
    /// afterwards. `size` is not 0, and no more than a layout can have.
    unsafe fn realloc(&self, chunk: NonNull<u8>, layout: Layout, size: usize) -> NonNull<u8>;

    /// Gives back all chunks at once. What cannot do that does nothing.
    ///
    /// # Safety
    ///
    /// No chunk of this subject is used any more.
    unsafe fn release(&mut self);

    /// Tells the subject that the calling thread has just begun, for those that do not
    /// find out by themselves.
    fn thread_begins(&self) {}

    /// As [`thread_begins`](Subject::thread_begins), when the thread is about to end.
    fn thread_ends(&self) {}
}

// All calls are inlined by force, for every subject alike: the compiler otherwise
// decides by how often a workload is instantiated, and a call is a third of a pair.

/// `layout` with another size.
#[inline(always)]
fn resized(layout: Layout, size: usize) -> Layout {
    debug_assert!(Layout::from_size_align(size, layout.align()).is_ok());
    // SAFETY: the alignment is a layout's, and the caller of `realloc` has promised that
    // the size is no more than a layout can have.
    unsafe { Layout::from_size_align_unchecked(size, layout.align()) }
}

/// An arena whose chunks are freed by their pointer alone, as programs do that do not
/// keep sizes.
pub struct ByPointer<A>(pub A);

macro_rules! arenas {
    ($($arena:ident: $($bound:ident)*;)+) => {$(
        impl<M: Mallocer $(+ $bound)*> Subject for $arena<M> {
            #[inline(always)]
            fn alloc(&self, layout: Layout) -> NonNull<u8> {
                $arena::alloc(self, layout).cast()
            }

            #[inline(always)]
            unsafe fn free(&self, chunk: NonNull<u8>, layout: Layout) {
                // SAFETY: passed on.
                unsafe { self.free_sized(chunk, layout) }
            }

            #[inline(always)]
            unsafe fn realloc(&self, chunk: NonNull<u8>, old: Layout, size: usize) -> NonNull<u8> {
                // SAFETY: passed on.
                unsafe { $arena::realloc(self, chunk, resized(old, size)).cast() }
            }

            unsafe fn release(&mut self) {
                // SAFETY: passed on; there is no other handle of the arena.
                unsafe { self.reset() }
            }
        }

        impl<M: Mallocer $(+ $bound)*> Subject for ByPointer<$arena<M>> {
            #[inline(always)]
            fn alloc(&self, layout: Layout) -> NonNull<u8> {
                self.0.alloc(layout).cast()
            }

            #[inline(always)]
            unsafe fn free(&self, chunk: NonNull<u8>, _: Layout) {
                // SAFETY: passed on.
                unsafe { self.0.free(chunk) }
            }

            #[inline(always)]
            unsafe fn realloc(&self, chunk: NonNull<u8>, old: Layout, size: usize) -> NonNull<u8> {
                // SAFETY: passed on.
                unsafe { self.0.realloc(chunk, resized(old, size)).cast() }
            }

            unsafe fn release(&mut self) {
                // SAFETY: passed on; there is no other handle of the arena.
                unsafe { self.0.reset() }
            }
        }
    )+};
}

arenas! {
    Arena: ;
    SharedArena: Send Sync;
}

/// A library through a `GlobalAlloc`, called directly: what a program gets that names
/// it as `#[global_allocator]`.
pub struct Library<A: GlobalAlloc>(pub A);

impl<A: GlobalAlloc> Subject for Library<A> {
    #[inline(always)]
    fn alloc(&self, layout: Layout) -> NonNull<u8> {
        debug_assert!(layout.size() > 0);
        // SAFETY: workloads do not ask for nothing.
        NonNull::new(unsafe { self.0.alloc(layout) }).expect("the library has memory")
    }

    #[inline(always)]
    unsafe fn free(&self, chunk: NonNull<u8>, layout: Layout) {
        // SAFETY: passed on.
        unsafe { self.0.dealloc(chunk.as_ptr(), layout) }
    }

    #[inline(always)]
    unsafe fn realloc(&self, chunk: NonNull<u8>, layout: Layout, size: usize) -> NonNull<u8> {
        // SAFETY: passed on.
        let moved = unsafe { self.0.realloc(chunk.as_ptr(), layout, size) };
        NonNull::new(moved).expect("the library has memory")
    }

    unsafe fn release(&mut self) {}
}
