//! Looking closely at every chunk, on any backend.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mallocer_core::{AllocError, Config, ConfigError, Mallocer, Misuse, MisuseKind};

use super::pass_on;

/// What a fresh chunk is filled with: a value that is read before it is written shows.
const FRESH: u8 = 0xA5;
/// What a freed chunk is filled with.
const FREED: u8 = 0xDD;
/// The most bytes that are filled: those at a chunk's start.
const FILLED: usize = 4096;

/// A heap that knows every chunk of the heap inside.
///
/// A pointer that is not one of its chunks panics with a [`Misuse`], on any backend, also
/// where the library behind it would let it pass. The first 4 KiB of fresh chunks are filled
/// with `0xA5` and those of freed ones with `0xDD`, so that stale data is not taken for good.
/// What was never freed is listed by [`held`](Traced::held).
///
/// It takes a lock and some bookkeeping, which no budget counts, for each chunk: it is for
/// finding mistakes.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "malloc")] {
/// use std::alloc::Layout;
/// use mallocer::debug::Traced;
/// use mallocer::{Arena, Malloc};
///
/// let arena = Arena::<Traced<Malloc>>::builder().capacity(1 << 20).build()?;
/// let chunk = arena.alloc(Layout::new::<u64>()).cast();
/// assert_eq!(arena.heap().held(), [(chunk, Layout::new::<u64>())]);
/// // SAFETY: the chunk is freed once.
/// unsafe { arena.free(chunk) };
/// assert!(arena.heap().held().is_empty());
/// # }
/// # Ok::<(), mallocer::BuildError>(())
/// ```
pub struct Traced<M> {
    inner: M,
    chunks: Mutex<BTreeMap<usize, Chunk>>,
}

/// A chunk that is out.
#[derive(Clone, Copy)]
struct Chunk {
    start: NonNull<u8>,
    len: usize,
    asked: Layout,
}

// SAFETY: the pointers are kept for their addresses.
unsafe impl Send for Chunk {}

impl<M: Mallocer> Traced<M> {
    /// Goes around a heap that is open already and has no chunk out.
    pub fn around(inner: M) -> Traced<M> {
        Traced { inner, chunks: Mutex::default() }
    }

    /// The chunks that are out, by address, with what they were asked for.
    pub fn held(&self) -> Vec<(NonNull<u8>, Layout)> {
        self.chunks().values().map(|chunk| (chunk.start, chunk.asked)).collect()
    }

    /// The heap inside.
    pub fn inner(&self) -> &M {
        &self.inner
    }

    fn chunks(&self) -> MutexGuard<'_, BTreeMap<usize, Chunk>> {
        // A misuse panics with no lock held; nothing else does.
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, chunk: NonNull<[u8]>, asked: Layout) -> NonNull<[u8]> {
        let start = chunk.cast::<u8>();
        self.chunks().insert(start.addr().get(), Chunk { start, len: chunk.len(), asked });
        chunk
    }

    fn fresh(&self, chunk: NonNull<[u8]>, asked: Layout) -> NonNull<[u8]> {
        // SAFETY: a chunk is valid for writes of its length.
        unsafe { chunk.cast::<u8>().write_bytes(FRESH, chunk.len().min(FILLED)) };
        self.note(chunk, asked)
    }

    /// The chunk at `address`; panics if there is none.
    fn known(&self, operation: &'static str, address: usize) -> Chunk {
        let found = {
            let chunks = self.chunks();
            let below = chunks.range(..=address).next_back().map(|(_, chunk)| *chunk);
            below.filter(|chunk| address - chunk.start.addr().get() < chunk.len.max(1))
        };
        match found {
            Some(chunk) if chunk.start.addr().get() == address => chunk,
            Some(chunk) => {
                let mut misuse = Misuse::new(MisuseKind::Interior, operation, address);
                misuse.chunk = Some(chunk.start.addr().get());
                misuse.raise()
            }
            None => Misuse::new(MisuseKind::NotThisArena, operation, address).raise(),
        }
    }

    /// Takes a chunk that is going to be freed off the list, and overwrites it.
    ///
    /// # Safety
    ///
    /// Nobody uses the chunk any more.
    unsafe fn forget(&self, chunk: Chunk) {
        self.chunks().remove(&chunk.start.addr().get());
        // SAFETY: the chunk is out, and the caller gives it up.
        unsafe { chunk.start.write_bytes(FREED, chunk.len.min(FILLED)) };
    }
}

// SAFETY: every chunk is the inner heap's, passed on with other contents at most where they
// are undefined.
unsafe impl<M: Mallocer> Mallocer for Traced<M> {
    pass_on!(self => self.inner);

    fn open(config: &Config) -> Result<Traced<M>, ConfigError> {
        Ok(Traced::around(M::open(config)?))
    }

    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Ok(self.fresh(self.inner.try_alloc(layout)?, layout))
    }

    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Ok(self.note(self.inner.try_alloc_zeroed(layout)?, layout))
    }

    fn try_alloc_slab(&self, slab: usize) -> Result<NonNull<[u8]>, AllocError> {
        let chunk = self.inner.try_alloc_slab(slab)?;
        // Whoever asks for a slab asks for all of it, at no alignment.
        let asked = Layout::from_size_align(chunk.len(), 1).unwrap_or(Layout::new::<u8>());
        Ok(self.fresh(chunk, asked))
    }

    unsafe fn free(&self, chunk: NonNull<u8>) {
        let known = self.known("free", chunk.addr().get());
        // SAFETY: passed on.
        unsafe {
            self.forget(known);
            self.inner.free(chunk);
        }
    }

    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
        let address = chunk.addr().get();
        let known = self.known("free_sized", address);
        if layout.size() > known.len {
            Misuse::new(MisuseKind::WrongSize, "free_sized", address).raise();
        }
        if !address.is_multiple_of(layout.align()) {
            Misuse::new(MisuseKind::WrongAlignment, "free_sized", address).raise();
        }
        // SAFETY: passed on.
        unsafe {
            self.forget(known);
            self.inner.free_sized(chunk, layout);
        }
    }

    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let known = self.known("realloc", chunk.addr().get());
        // SAFETY: passed on. Off the list before the inner heap may give its address to
        // another thread.
        unsafe {
            self.chunks().remove(&known.start.addr().get());
            match self.inner.try_realloc(chunk, layout) {
                Ok(new) => Ok(self.note(new, layout)),
                Err(refusal) => {
                    self.note(NonNull::slice_from_raw_parts(chunk, known.len), known.asked);
                    Err(refusal)
                }
            }
        }
    }

    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
        let known = self.known("resize_in_place", chunk.addr().get());
        // SAFETY: passed on.
        let len = unsafe { self.inner.resize_in_place(chunk, size) }?;
        let asked = Layout::from_size_align(size, known.asked.align()).unwrap_or(known.asked);
        self.note(NonNull::slice_from_raw_parts(chunk, len), asked);
        Some(len)
    }

    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        self.known("chunk_len", chunk.addr().get()).len
    }

    unsafe fn slab_size(&self, chunk: NonNull<u8>) -> usize {
        self.known("slab_size", chunk.addr().get());
        // SAFETY: passed on.
        unsafe { self.inner.slab_size(chunk) }
    }

    unsafe fn release(&self) {
        self.chunks().clear();
        // SAFETY: passed on.
        unsafe { self.inner.release() };
    }
}
