//! The little that a workload needs of an allocator.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;

use bumpalo::Bump as BumpArena;
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

    /// Gives back all chunks at once. What cannot do that does nothing.
    ///
    /// # Safety
    ///
    /// No chunk of this subject is used any more.
    unsafe fn release(&mut self);
}

// All calls are inlined by force, for every competitor alike: the compiler otherwise
// decides by how often a workload is instantiated, and a call is a third of a pair.

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

            unsafe fn release(&mut self) {
                // SAFETY: passed on; there is no other handle of the arena.
                unsafe { self.reset() }
            }
        }
    )+};
}

arenas! {
    Arena: ;
    SharedArena: Send Sync;
}

/// An arena whose chunks are freed without their size, as programs do that do not
/// keep it.
pub struct WithoutSize<M: Mallocer>(pub Arena<M>);

impl<M: Mallocer> Subject for WithoutSize<M> {
    #[inline(always)]
    fn alloc(&self, layout: Layout) -> NonNull<u8> {
        self.0.alloc(layout).cast()
    }

    #[inline(always)]
    unsafe fn free(&self, chunk: NonNull<u8>, _: Layout) {
        // SAFETY: passed on.
        unsafe { self.0.free(chunk) }
    }

    unsafe fn release(&mut self) {
        // SAFETY: passed on.
        unsafe { self.0.reset() }
    }
}

/// A library through its own `GlobalAlloc`, called directly: what a program gets
/// that names it as `#[global_allocator]`.
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

    unsafe fn release(&mut self) {}
}

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

    unsafe fn release(&mut self) {
        self.0.reset();
    }
}
