//! The `Allocator` traits, so that collections live in an arena.
//!
//! There are three of them: allocator-api2 has it for stable Rust, its versions 0.2
//! and 0.4 are different traits, and `core` has its own on nightly. They say the same,
//! so the logic is here once, on any [`Mallocer`], and a macro puts it behind each.
//!
//! A layout of size 0 never reaches a heap: its block is a dangling pointer with a
//! length of 0. That is sound because a block is given back with a size from what was
//! asked for up to the length that was returned: only a block of length 0 comes back
//! with size 0.

use std::alloc::Layout;
use std::ptr::{self, NonNull};

use mallocer_core::{AllocError, Mallocer};

use crate::arena::{Arena, SharedArena};

/// A block of size 0, aligned as `layout` asks.
fn empty(layout: Layout) -> NonNull<[u8]> {
    // SAFETY: an alignment is not 0.
    let dangling = unsafe { NonNull::new_unchecked(ptr::without_provenance_mut(layout.align())) };
    NonNull::slice_from_raw_parts(dangling, 0)
}

#[inline]
fn allocate<M: Mallocer>(heap: &M, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    if layout.size() == 0 { Ok(empty(layout)) } else { heap.try_alloc(layout) }
}

#[inline]
fn allocate_zeroed<M: Mallocer>(heap: &M, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    if layout.size() == 0 { Ok(empty(layout)) } else { heap.try_alloc_zeroed(layout) }
}

/// # Safety
///
/// `block` is from `heap`, is held, fits `layout`, and is not used afterwards.
#[inline]
unsafe fn deallocate<M: Mallocer>(heap: &M, block: NonNull<u8>, layout: Layout) {
    if layout.size() != 0 {
        // SAFETY: the block is a chunk of this heap, and a layout that fits it has the
        // alignment it was allocated with and a size up to its length.
        unsafe { heap.free_sized(block, layout) }
    }
}

/// Both grow and shrink: `block` holds `new` afterwards, with the bytes that both sizes
/// have in common.
///
/// # Safety
///
/// As [`deallocate`] with `old`, if this succeeds.
#[inline]
unsafe fn resize<M: Mallocer>(
    heap: &M,
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    if old.size() == 0 {
        allocate(heap, new)
    } else if new.size() == 0 {
        // SAFETY: passed on.
        unsafe { deallocate(heap, block, old) };
        Ok(empty(new))
    } else {
        // SAFETY: the block is a chunk of this heap, and the caller gives it up.
        unsafe { heap.try_realloc(block, new) }
    }
}

/// Grows `block`, and zeroes all behind the bytes that `old` asked for.
///
/// # Safety
///
/// As [`resize`].
#[inline]
unsafe fn grow_zeroed<M: Mallocer>(
    heap: &M,
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    if old.size() == 0 {
        return allocate_zeroed(heap, new);
    }
    // SAFETY: passed on. What comes back is at least as long as `old`, and valid for
    // writes of its whole length.
    unsafe {
        let grown = resize(heap, block, old, new)?;
        let behind = grown.cast::<u8>().add(old.size());
        behind.write_bytes(0, grown.len() - old.size());
        Ok(grown)
    }
}

/// Implements the `Allocator` of the module `$api` for both kinds of arena.
macro_rules! allocator {
    ($($api:ident)::+) => {
        allocator!(@ $($api)::+, [M: Mallocer], &Arena<M>);
        allocator!(@ $($api)::+, [M: Mallocer + Send + Sync], SharedArena<M>);
    };
    (@ $($api:ident)::+, [$($generics:tt)+], $arena:ty) => {
        // SAFETY: a block is a chunk of the heap, which stays valid where it is until
        // it is given back, as long as the arena lives: this borrows or owns it.
        // Copies and clones are handles of the same heap. Resetting an arena is unsafe,
        // and who does it promises that no block is used.
        unsafe impl<$($generics)+> $($api)::+::Allocator for $arena {
            #[inline]
            fn allocate(
                &self,
                layout: Layout,
            ) -> Result<NonNull<[u8]>, $($api)::+::AllocError> {
                allocate(self.heap(), layout).map_err(|_| $($api)::+::AllocError)
            }

            #[inline]
            fn allocate_zeroed(
                &self,
                layout: Layout,
            ) -> Result<NonNull<[u8]>, $($api)::+::AllocError> {
                allocate_zeroed(self.heap(), layout).map_err(|_| $($api)::+::AllocError)
            }

            #[inline]
            unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
                // SAFETY: the contract is the same, and the caller keeps it.
                unsafe { deallocate(self.heap(), block, layout) }
            }

            #[inline]
            unsafe fn grow(
                &self,
                block: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $($api)::+::AllocError> {
                debug_assert!(new.size() >= old.size());
                // SAFETY: as above.
                unsafe { resize(self.heap(), block, old, new) }
                    .map_err(|_| $($api)::+::AllocError)
            }

            #[inline]
            unsafe fn grow_zeroed(
                &self,
                block: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $($api)::+::AllocError> {
                debug_assert!(new.size() >= old.size());
                // SAFETY: as above.
                unsafe { grow_zeroed(self.heap(), block, old, new) }
                    .map_err(|_| $($api)::+::AllocError)
            }

            #[inline]
            unsafe fn shrink(
                &self,
                block: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $($api)::+::AllocError> {
                debug_assert!(new.size() <= old.size());
                // SAFETY: as above.
                unsafe { resize(self.heap(), block, old, new) }
                    .map_err(|_| $($api)::+::AllocError)
            }
        }
    };
}

allocator!(allocator_api2::alloc);

#[cfg(feature = "allocator-api2-04")]
allocator!(allocator_api2_04::alloc);

#[cfg(mallocer_nightly)]
allocator!(core::alloc);
