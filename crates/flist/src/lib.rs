//! flist, the engine (placeholder types; the engine lands on top of this).
#![allow(missing_docs, clippy::missing_safety_doc, clippy::todo)]
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use mallocer_core::*;

macro_rules! stub {
    ($name:ident) => {
        pub struct $name;
        unsafe impl Mallocer for $name {
            fn open(_: &Config) -> Result<Self, ConfigError> {
                todo!()
            }
            fn name(&self) -> &'static str {
                "flist"
            }
            fn try_alloc(&self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
                todo!()
            }
            unsafe fn free(&self, _: NonNull<u8>) {
                todo!()
            }
            unsafe fn chunk_len(&self, _: NonNull<u8>) -> usize {
                todo!()
            }
            fn slabs(&self) -> &[usize] {
                todo!()
            }
            fn info(&self) -> Info {
                todo!()
            }
            fn each_slab_use(&self, _: &mut dyn FnMut(SlabUse)) {
                todo!()
            }
            unsafe fn release(&self) {
                todo!()
            }
            fn budget(&self) -> &Budget {
                todo!()
            }
        }
    };
}
stub!(Flist);
stub!(SharedFlist);

/// flist as the `#[global_allocator]`.
pub struct Global;
unsafe impl GlobalAlloc for Global {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        todo!()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {
        todo!()
    }
}
