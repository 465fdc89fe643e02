//! The trait that every backend implements.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::budget::Budget;
use crate::config::Config;
use crate::error::{AllocError, ConfigError};
use crate::info::{Info, SlabUse};

/// A heap that serves one arena.
///
/// # Writing a backend
///
/// A backend is a type that implements this trait, in any crate: the trait is open
/// and `Arena<YourType>` takes it as it takes the four that come with mallocer. Ten
/// methods are required; the others have defaults that are right for every
/// backend, to be overridden where the backend can do better:
///
/// | default | override it when |
/// |---|---|
/// | [`try_alloc_zeroed`](Mallocer::try_alloc_zeroed) | some memory is known to be zero already |
/// | [`try_alloc_slab`](Mallocer::try_alloc_slab) | a slab is found faster by its size |
/// | [`try_realloc`](Mallocer::try_realloc) | chunks can move without copying |
/// | [`resize_in_place`](Mallocer::resize_in_place) | chunks can grow or shrink where they are |
/// | [`free_sized`](Mallocer::free_sized) | the size saves a look-up, or can be checked |
/// | [`slab_size`](Mallocer::slab_size) | a chunk is larger than what the caller may use |
/// | [`purge`](Mallocer::purge) | empty memory is kept |
///
/// The type is used from one thread unless it is [`Sync`]: then it also serves a
/// `SharedArena`. Dropping it must release it.
///
/// Whether a type is a backend is told by the conformance suite. Add
/// `mallocer-conformance` as a dev-dependency and write one test:
///
/// ```text
/// #[test]
/// fn conforms() {
///     mallocer_conformance::check::<MyHeap>();         // one thread
///     mallocer_conformance::check_shared::<MyHeap>();  // if it is Sync
/// }
/// ```
///
/// Beyond what each method promises, the suite asks of a heap that
///
/// * the least capacity it opens with holds a chunk of one byte, and is at most 64 KiB;
/// * at least half of its capacity can be handed out, whatever the one size;
/// * memory that chunks of one size leave serves chunks of any other;
/// * a release, and the drop, refund its budget at once and in full.
///
/// # Shapes and units
///
/// Sizes are bytes, alignments are powers of two in bytes. A size of 0 is served
/// like a size of 1: the pointer is unique and must be freed. A chunk's length is at
/// least what was asked, and all of it may be used.
///
/// # Safety
///
/// An implementation must guarantee that a chunk it returns
///
/// 1. is aligned as asked, and valid for reads and writes of its whole length;
/// 2. overlaps no other chunk that is handed out, of this heap or any other;
/// 3. stays where it is, contents untouched, until it is freed, reallocated, or the
///    heap is released or dropped. Moving the heap value does not move chunks.
///
/// It must also keep its budget: what it takes from the system for chunks is
/// charged to [`budget`](Mallocer::budget) before it is handed out, so that
/// `alloc ≤ heap ≤ capacity` always holds.
pub unsafe trait Mallocer: Sized {
    /// Opens an empty heap.
    ///
    /// # Errors
    ///
    /// [`Config::check`]'s errors, and [`ConfigError::Library`] if the library
    /// behind the backend refuses.
    fn open(config: &Config) -> Result<Self, ConfigError>;

    /// The name of the backend: `flist`, `malloc`, …
    fn name(&self) -> &'static str;

    /// Allocates a chunk for `layout`; its contents are undefined.
    ///
    /// The returned slice spans the whole chunk length.
    ///
    /// # Errors
    ///
    /// [`AllocError`]; nothing that was allocated before is touched.
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;

    /// Frees a chunk.
    ///
    /// # Safety
    ///
    /// `chunk` was returned by this heap and is not freed since, and is not used
    /// afterwards.
    ///
    /// # Panics
    ///
    /// Where the backend detects misuse, with a [`Misuse`](crate::Misuse) as message.
    unsafe fn free(&self, chunk: NonNull<u8>);

    /// The bytes of a chunk that the caller may use.
    ///
    /// # Safety
    ///
    /// `chunk` was returned by this heap and is not freed since.
    ///
    /// # Panics
    ///
    /// As [`free`](Mallocer::free).
    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize;

    /// The chunk sizes of this heap in bytes, ascending.
    ///
    /// On a library with size classes of its own, those.
    fn slabs(&self) -> &[usize];

    /// Capacity, heap, alloc and overhead, in bytes.
    fn info(&self) -> Info;

    /// Calls `visit` for every slab that has memory, ascending.
    fn each_slab_use(&self, visit: &mut dyn FnMut(SlabUse));

    /// Gives back everything that was handed out, at once. The heap is empty
    /// afterwards and may be used again.
    ///
    /// # Safety
    ///
    /// No chunk of this heap is used afterwards, and no other thread uses the heap
    /// meanwhile.
    unsafe fn release(&self);

    /// What this heap draws its memory from: its capacity, and behind it those of
    /// the arenas it is nested in.
    fn budget(&self) -> &Budget;

    /// Allocates a chunk for `layout` whose whole length is zero.
    ///
    /// # Errors
    ///
    /// As [`try_alloc`](Mallocer::try_alloc).
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let chunk = self.try_alloc(layout)?;
        // SAFETY: a chunk is valid for writes of its whole length.
        unsafe { chunk.cast::<u8>().write_bytes(0, chunk.len()) };
        Ok(chunk)
    }

    /// Allocates a chunk from the slab of exactly `slab` bytes.
    ///
    /// The chunk has the slab's natural alignment: the largest power of two that
    /// divides it, up to what the backend gives small chunks anyway.
    ///
    /// # Errors
    ///
    /// [`AllocError::NoSuchSlab`] with the nearest slabs, or as
    /// [`try_alloc`](Mallocer::try_alloc).
    fn try_alloc_slab(&self, slab: usize) -> Result<NonNull<[u8]>, AllocError> {
        let slabs = self.slabs();
        match (slabs.binary_search(&slab), Layout::from_size_align(slab, 1)) {
            (Ok(_), Ok(layout)) => self.try_alloc(layout),
            (Err(at), _) => Err(AllocError::NoSuchSlab {
                requested: slab,
                below: at.checked_sub(1).map_or(0, |below| slabs[below]),
                above: *slabs.get(at).or(slabs.last()).unwrap_or(&0),
            }),
            (Ok(_), Err(_)) => {
                Err(AllocError::AboveLargestSlab { requested: slab, largest: isize::MAX as usize })
            }
        }
    }

    /// Makes a chunk hold `layout`, where it is if possible, else elsewhere.
    ///
    /// The first `min(old chunk length, new size)` bytes keep their contents. The
    /// chunk becomes a new one even if it stays: use what is returned.
    ///
    /// # Errors
    ///
    /// As [`try_alloc`](Mallocer::try_alloc); then the old chunk is as it was.
    ///
    /// # Safety
    ///
    /// As [`free`](Mallocer::free), if this succeeds.
    ///
    /// # Panics
    ///
    /// As [`free`](Mallocer::free).
    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise covers every use of `chunk` here. Old and new
        // chunk do not overlap, and both are valid for the bytes copied.
        unsafe {
            let old_len = self.chunk_len(chunk);
            if chunk.addr().get().is_multiple_of(layout.align())
                && let Some(len) = self.resize_in_place(chunk, layout.size())
            {
                return Ok(NonNull::slice_from_raw_parts(chunk, len));
            }
            let new = self.try_alloc(layout)?;
            new.cast::<u8>().copy_from_nonoverlapping(chunk, old_len.min(layout.size()));
            self.free(chunk);
            Ok(new)
        }
    }

    /// Makes a chunk hold `size` bytes without moving it, or leaves it as it is.
    ///
    /// Returns the new chunk length, or `None` if the chunk would have to move, or
    /// moving it would save more than half of it.
    ///
    /// # Safety
    ///
    /// As [`chunk_len`](Mallocer::chunk_len); on success, bytes past the returned
    /// length are not used any more.
    ///
    /// # Panics
    ///
    /// As [`free`](Mallocer::free).
    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
        // SAFETY: passed on.
        let len = unsafe { self.chunk_len(chunk) };
        (size <= len && size >= len / 2).then_some(len)
    }

    /// Frees a chunk of which the layout is known.
    ///
    /// # Safety
    ///
    /// As [`free`](Mallocer::free); and `layout` has the alignment that the chunk was
    /// allocated with, and a size from the one asked for up to the chunk length.
    ///
    /// # Panics
    ///
    /// As [`free`](Mallocer::free); also for a wrong size or alignment, where the
    /// backend checks it.
    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
        let _ = layout;
        // SAFETY: passed on.
        unsafe { self.free(chunk) }
    }

    /// The full size of a chunk: its length, and what the backend keeps beside it.
    ///
    /// # Safety
    ///
    /// As [`chunk_len`](Mallocer::chunk_len).
    ///
    /// # Panics
    ///
    /// As [`free`](Mallocer::free).
    unsafe fn slab_size(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: passed on.
        unsafe { self.chunk_len(chunk) }
    }

    /// Gives empty memory back to the system; returns how many bytes, or 0 where the library
    /// behind the backend does not say. Chunks that are handed out stay as they are.
    fn purge(&self) -> usize {
        0
    }
}
