//! What a data structure needs of a heap, and how it finds the heap again.
//!
//! An array that keeps its heap beside its memory is a word larger than it need be. Two
//! kinds of heap are found without being carried:
//!
//! * one of which there is only one in the process: an [`Ambient`] heap is a type of no
//!   size, and any value of it is the same heap;
//! * one to which its chunks lead: [`Locate`] asks a chunk for its heap.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::error::AllocError;
use crate::mallocer::Mallocer;

/// A heap as a data structure sees it: chunks, and how long they are.
///
/// Every [`Mallocer`] is one, and so is the allocator of a whole process, which has no
/// capacity, no slabs of its own to show and no end.
///
/// Sizes are bytes; a size of 0 is served like a size of 1. A chunk's length is at least
/// what was asked, and all of it may be used.
///
/// # Safety
///
/// As for [`Mallocer`]: a chunk is valid for its whole length, overlaps no other, and
/// stays where it is until it is freed or reallocated.
pub unsafe trait Chunks {
    /// Allocates a chunk for `layout`; its contents are undefined.
    ///
    /// # Errors
    ///
    /// [`AllocError`]; nothing that was allocated before is touched.
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;

    /// Frees a chunk.
    ///
    /// # Safety
    ///
    /// `chunk` was returned by this heap, is not freed since, and is not used afterwards.
    unsafe fn free(&self, chunk: NonNull<u8>);

    /// The bytes of a chunk that the caller may use.
    ///
    /// # Safety
    ///
    /// `chunk` was returned by this heap and is not freed since.
    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize;

    /// As [`chunk_len`](Chunks::chunk_len), for a caller that is sure of its chunk: a
    /// heap that checks every pointer need not check this one.
    ///
    /// # Safety
    ///
    /// As [`chunk_len`](Chunks::chunk_len).
    #[inline]
    unsafe fn known_len(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: passed on.
        unsafe { self.chunk_len(chunk) }
    }

    /// Makes a chunk hold `size` bytes without moving it; its new length, or `None` if it
    /// stays as it is, as it does in a heap that knows no better.
    ///
    /// # Safety
    ///
    /// As [`chunk_len`](Chunks::chunk_len); on success, bytes past the returned length are
    /// not used any more.
    #[inline]
    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
        let _ = (chunk, size);
        None
    }

    /// Says that all of a chunk is going to be used, so that the system may back it with huge
    /// pages, or takes that back, before it is freed. A heap may ignore it.
    ///
    /// # Safety
    ///
    /// As [`chunk_len`](Chunks::chunk_len).
    #[inline]
    unsafe fn want_huge_pages(&self, chunk: NonNull<u8>, want: bool) {
        let _ = (chunk, want);
    }

    /// Makes a chunk hold `layout`, where it is if possible, else elsewhere, with the
    /// first `min(old chunk length, new size)` bytes as they were.
    ///
    /// # Errors
    ///
    /// As [`try_alloc`](Chunks::try_alloc); then the old chunk is as it was.
    ///
    /// # Safety
    ///
    /// As [`free`](Chunks::free), if this succeeds; the alignment is the one that the chunk
    /// was allocated with.
    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError>;
}

// SAFETY: the contracts are the same.
unsafe impl<M: Mallocer> Chunks for M {
    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Mallocer::try_alloc(self, layout)
    }

    #[inline]
    unsafe fn free(&self, chunk: NonNull<u8>) {
        // SAFETY: passed on.
        unsafe { Mallocer::free(self, chunk) }
    }

    #[inline]
    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: passed on.
        unsafe { Mallocer::chunk_len(self, chunk) }
    }

    #[inline]
    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
        // SAFETY: passed on.
        unsafe { Mallocer::resize_in_place(self, chunk, size) }
    }

    #[inline]
    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: passed on.
        unsafe { Mallocer::try_realloc(self, chunk, layout) }
    }
}

/// The one heap of a process: a type of no size.
///
/// What each backend's `Global` is. A data structure on it finds it by its type.
///
/// # Safety
///
/// The type has no size, and every value of it stands for the same heap: what one has
/// allocated, any other may free, on any thread.
pub unsafe trait Ambient: Chunks + Copy + Default + Send + Sync + 'static {}

/// A heap to which its chunks lead.
///
/// # Safety
///
/// [`locate`](Locate::locate) and [`located_len`](Locate::located_len) give what they
/// promise, for every chunk of every heap of this type that has settled.
pub unsafe trait Locate: Mallocer {
    /// Lets the heap's chunks, those it has and those to come, lead to `self`.
    ///
    /// It holds as long as the heap is not moved; a heap that was moved settles again.
    fn settle(&self);

    /// The heap that `chunk` is of.
    ///
    /// # Safety
    ///
    /// A heap of this type returned `chunk`, which is not freed since. It has settled, and
    /// was neither moved nor released since; `'a` ends before it is.
    unsafe fn locate<'a>(chunk: NonNull<u8>) -> &'a Self;

    /// The length of `chunk` in bytes, unchecked.
    ///
    /// # Safety
    ///
    /// As [`locate`](Locate::locate).
    unsafe fn located_len(chunk: NonNull<u8>) -> usize;

    /// As [`Chunks::want_huge_pages`].
    ///
    /// # Safety
    ///
    /// As [`locate`](Locate::locate).
    unsafe fn located_huge(chunk: NonNull<u8>, want: bool) {
        let _ = (chunk, want);
    }
}
