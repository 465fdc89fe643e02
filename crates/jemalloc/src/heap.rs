//! The heap: jemalloc's extended functions between a budget and an arena.
//!
//! ```text
//! alloc: size class → charge it → mallocx(arena, tcache)
//! free:  sallocx says the class → sdallocx(tcache) → refund it
//! ```
//!
//! ```text
//! heap = alloc = Σ size classes handed out        overhead = the arena's metadata
//! ```
//!
//! What jemalloc keeps beyond that (free chunks of its slabs, OS pages that are free
//! but not yet given back) shows in the utilization and is bounded by its decay.

use std::alloc::Layout;
use std::ptr::NonNull;

use libc::{c_int, c_void};
use mallocer_core::{AllocError, Budget, Config, ConfigError, Info, Mallocer, SlabUse};
use tikv_jemalloc_sys::{
    MALLOCX_LG_ALIGN, MALLOCX_ZERO, mallocx, rallocx, sallocx, sdallocx, xallocx,
};

use crate::arena::Arena;
use crate::classes::{Classes, QUANTUM};
use crate::outsize::Outsize;
use crate::sharing::Sharing;

/// A jemalloc arena, for one thread ([`Jemalloc`](crate::Jemalloc)) or for many
/// ([`SharedJemalloc`](crate::SharedJemalloc)).
pub struct Heap<S: Sharing> {
    // Declared, and so dropped, before the arena whose chunks its tcaches hold.
    sharing: S,
    arena: Arena,
    classes: &'static Classes,
    outsize: Outsize,
}

// SAFETY: (1) and (2) of the trait are what jemalloc guarantees, whose chunks are passed
// on as they are, aligned by its own means; (3) nothing moves a chunk but `rallocx`.
// Every chunk is charged before it is handed out.
unsafe impl<S: Sharing> Mallocer for Heap<S> {
    fn open(config: &Config) -> Result<Heap<S>, ConfigError> {
        let classes = Classes::get();
        config.check("jemalloc", classes.slabs[0])?;
        let sharing = S::new(config.budget())?;
        Ok(Heap { sharing, arena: Arena::create()?, classes, outsize: Outsize::default() })
    }

    fn name(&self) -> &'static str {
        "jemalloc"
    }

    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.alloc_with(layout, 0)
    }

    #[inline]
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.alloc_with(layout, MALLOCX_ZERO)
    }

    #[inline]
    unsafe fn free(&self, chunk: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe {
            let bytes = self.chunk_len(chunk);
            self.discard(chunk, bytes, bytes, 0);
        }
    }

    #[inline]
    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
        let (size, flags) = request(layout);
        // The class of the layout is the class of the chunk: no look-up is needed.
        let bytes = self.classes.chunk_bytes(size, flags);
        // SAFETY: the caller's promise.
        unsafe { self.discard(chunk, size, bytes, flags) }
    }

    #[inline]
    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: the caller's promise.
        unsafe { sallocx(chunk.as_ptr().cast(), 0) }
    }

    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let (size, flags) = request(layout);
        let new = self.class(size, flags)?;
        // SAFETY: the caller's promise.
        let old = unsafe { self.chunk_len(chunk) };
        if new == old && chunk.addr().get().is_multiple_of(layout.align()) {
            return Ok(NonNull::slice_from_raw_parts(chunk, old));
        }
        if flags != 0 {
            // SAFETY: the caller's promise.
            return unsafe { self.realloc_aligned(chunk, old, layout, new) };
        }
        if new > old {
            self.sharing.charge(new - old)?;
        }
        // SAFETY: the chunk is handed out, the size is not 0, and the caller uses only
        // what is returned.
        let moved = self.sharing.with_tcache(|tcache| unsafe {
            rallocx(chunk.as_ptr().cast(), size, self.arena.flags | tcache)
        });
        let Some(moved) = NonNull::new(moved.cast()) else {
            return Err(self.refused(new, new.saturating_sub(old)));
        };
        if new < old {
            self.sharing.refund(old - new);
        }
        self.note_free(old);
        self.note_alloc(new);
        Ok(NonNull::slice_from_raw_parts(moved, new))
    }

    /// A chunk changes only if the new size has a class of its own pages, or the class
    /// that the chunk has: [`free_sized`](Mallocer::free_sized) goes by the class of the
    /// size.
    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
        // SAFETY: the caller's promise.
        let old = unsafe { self.chunk_len(chunk) };
        let new = self.classes.chunk_bytes(size.max(1), 0);
        if new == old {
            return Some(old);
        }
        if old < self.classes.least_large || new < self.classes.least_large {
            return None;
        }
        if new > old {
            self.sharing.charge(new - old).ok()?;
        }
        // SAFETY: the chunk is handed out, and the size is not 0.
        let done = self.sharing.with_tcache(|tcache| unsafe {
            xallocx(chunk.as_ptr().cast(), size, 0, self.arena.flags | tcache)
        });
        self.sharing.refund(old.max(new) - done);
        self.note_free(old);
        self.note_alloc(done);
        (done == new).then_some(done)
    }

    fn slabs(&self) -> &[usize] {
        &self.classes.slabs
    }

    fn info(&self) -> Info {
        let (used, nested) = (self.sharing.used(), self.sharing.nested());
        // Other threads may charge and refund between the two readings.
        let heap = (used + nested).min(self.budget().used());
        let overhead = size_of::<Self>() + self.arena.metadata(used);
        Info::new(self.budget().capacity(), heap, used.min(heap), overhead).with_nested(nested)
    }

    /// Pools are jemalloc's slabs, of which `heap` counts every byte. The tcaches are
    /// flushed first, so that chunks in them do not count as handed out.
    fn each_slab_use(&self, visit: &mut dyn FnMut(SlabUse)) {
        self.sharing.flush();
        self.arena.each_slab_use(visit);
        for (bytes, count) in self.outsize.counts() {
            visit(SlabUse::new(bytes, count, count, count * bytes, count * bytes));
        }
    }

    unsafe fn release(&self) {
        self.sharing.flush();
        // SAFETY: the caller's promise; the tcaches are empty.
        unsafe { self.arena.reset() };
        self.outsize.clear();
        self.sharing.clear();
    }

    fn budget(&self) -> &Budget {
        self.sharing.budget()
    }

    fn purge(&self) -> usize {
        self.sharing.flush();
        let before = self.arena.dirty();
        self.arena.purge();
        let after = self.arena.dirty();
        before.saturating_sub(after)
    }
}

impl<S: Sharing> Heap<S> {
    #[inline]
    fn alloc_with(&self, layout: Layout, zero: c_int) -> Result<NonNull<[u8]>, AllocError> {
        let (size, flags) = request(layout);
        let bytes = self.class(size, flags)?;
        self.sharing.charge(bytes)?;
        // SAFETY: the size is not 0.
        let chunk = self.sharing.with_tcache(|tcache| unsafe {
            mallocx(size, flags | zero | self.arena.flags | tcache)
        });
        match NonNull::new(chunk.cast()) {
            Some(chunk) => {
                self.note_alloc(bytes);
                Ok(NonNull::slice_from_raw_parts(chunk, bytes))
            }
            None => Err(self.refused(bytes, bytes)),
        }
    }

    /// The size class of a request.
    #[inline]
    fn class(&self, size: usize, flags: c_int) -> Result<usize, AllocError> {
        match self.classes.chunk_bytes(size, flags) {
            0 => Err(self.beyond(size)),
            bytes => Ok(bytes),
        }
    }

    /// Reallocates to an alignment above the quantum. Here `rallocx` is of no use: it
    /// may leave a chunk that happens to be aligned in a class that others of the
    /// layout do not have.
    ///
    /// # Safety
    ///
    /// As [`try_realloc`](Mallocer::try_realloc), for a chunk of `old` bytes.
    #[cold]
    unsafe fn realloc_aligned(
        &self,
        chunk: NonNull<u8>,
        old: usize,
        layout: Layout,
        new: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let least = self.classes.least_large;
        if old.min(new) >= least
            && chunk.addr().get().is_multiple_of(layout.align())
            // SAFETY: the caller's promise.
            && let Some(len) = unsafe { self.resize_in_place(chunk, layout.size().max(least)) }
        {
            return Ok(NonNull::slice_from_raw_parts(chunk, len));
        }
        let moved = self.try_alloc(layout)?;
        // SAFETY: old and new chunk do not overlap and are valid for what is copied; the
        // caller uses only what is returned.
        unsafe {
            moved.cast::<u8>().copy_from_nonoverlapping(chunk, old.min(new));
            self.free(chunk);
        }
        Ok(moved)
    }

    /// Frees a chunk of `bytes` bytes that was asked for with `size` and `flags`.
    ///
    /// # Safety
    ///
    /// The chunk is handed out, and nobody uses it any more.
    #[inline]
    unsafe fn discard(&self, chunk: NonNull<u8>, size: usize, bytes: usize, flags: c_int) {
        let chunk: *mut c_void = chunk.as_ptr().cast();
        // SAFETY: the caller's promise.
        self.sharing.with_tcache(|tcache| unsafe { sdallocx(chunk, size, flags | tcache) });
        self.sharing.refund(bytes);
        self.note_free(bytes);
    }

    #[inline]
    fn note_alloc(&self, bytes: usize) {
        if bytes > self.classes.largest {
            self.outsize.add(bytes);
        }
    }

    #[inline]
    fn note_free(&self, bytes: usize) {
        if bytes > self.classes.largest {
            self.outsize.remove(bytes);
        }
    }

    /// The error if jemalloc refuses `requested` bytes, of which `charged` go back.
    #[cold]
    fn refused(&self, requested: usize, charged: usize) -> AllocError {
        self.sharing.refund(charged);
        let (used, limit) = (self.budget().used(), self.budget().capacity());
        AllocError::System { requested, used, limit }
    }

    /// The error for a request above the largest class there is (some exbibytes).
    #[cold]
    fn beyond(&self, requested: usize) -> AllocError {
        let (used, limit) = (self.budget().used(), self.budget().capacity());
        AllocError::Capacity { requested, used, limit }
    }
}

impl<S: Sharing> Drop for Heap<S> {
    fn drop(&mut self) {
        // What is charged and what is cached goes back here; then the tcaches and, after
        // them, the arena are destroyed.
        self.sharing.flush();
        self.sharing.clear();
    }
}

/// The size and the flags that ask jemalloc for a layout.
///
/// Up to the quantum, asking for at least as many bytes as the alignment is enough, and
/// spares jemalloc its slower path for alignments. Both branches fold where the
/// alignment is known at compile time.
#[inline]
fn request(layout: Layout) -> (usize, c_int) {
    if layout.align() <= QUANTUM {
        (layout.size().max(layout.align()), 0)
    } else {
        (layout.size().max(1), MALLOCX_LG_ALIGN(layout.align().trailing_zeros() as usize))
    }
}
