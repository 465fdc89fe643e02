//! The heap of a backend that is not compiled in: a type without values.

use std::alloc::Layout;
use std::ptr::NonNull;

use mallocer_core::{AllocError, Budget, Config, ConfigError, Info, Mallocer, SlabUse};

/// Stands for the backend at this position of [`Backend::ALL`](crate::Backend::ALL) where it is not
/// compiled in. There is no such heap, so no method is ever called.
pub(crate) enum Absent<const POSITION: usize> {}

// SAFETY: there is no value that could break a promise.
unsafe impl<const POSITION: usize> Mallocer for Absent<POSITION> {
    fn open(_: &Config) -> Result<Self, ConfigError> {
        Err(ConfigError::NoBackend)
    }

    fn name(&self) -> &'static str {
        match *self {}
    }

    fn try_alloc(&self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match *self {}
    }

    unsafe fn free(&self, _: NonNull<u8>) {
        match *self {}
    }

    unsafe fn chunk_len(&self, _: NonNull<u8>) -> usize {
        match *self {}
    }

    fn slabs(&self) -> &[usize] {
        match *self {}
    }

    fn info(&self) -> Info {
        match *self {}
    }

    fn each_slab_use(&self, _: &mut dyn FnMut(SlabUse)) {
        match *self {}
    }

    unsafe fn release(&self) {
        match *self {}
    }

    fn budget(&self) -> &Budget {
        match *self {}
    }
}
