//! Counting calls and bytes.

use std::alloc::Layout;
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mallocer_core::{AllocError, Bytes, Config, ConfigError, Mallocer};

use super::pass_on;

/// A heap that counts what is asked of the heap inside.
///
/// Counts are exact when no other thread is at work; each is one atomic addition.
#[derive(Debug, Default)]
pub struct Counted<M> {
    inner: M,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    allocs: AtomicU64,
    frees: AtomicU64,
    moved: AtomicU64,
    stayed: AtomicU64,
    refused: AtomicU64,
    requested: AtomicU64,
    granted: AtomicU64,
    live: AtomicU64,
    peak: AtomicU64,
}

/// What a [`Counted`] heap has counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Counts {
    /// Chunks that were allocated, those that a reallocation moved to among them.
    pub allocs: u64,
    /// Chunks that were freed, those that a reallocation moved from among them; a release
    /// counts none.
    pub frees: u64,
    /// Reallocations that moved a chunk.
    pub moved: u64,
    /// Reallocations that left a chunk where it was.
    pub stayed: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Bytes that were asked for.
    pub requested: u64,
    /// Bytes that were given: the lengths of the chunks.
    pub granted: u64,
    /// Bytes in chunks that are out.
    pub live: u64,
    /// The most that these have been.
    pub peak: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |bytes: u64| Bytes(bytes as usize);
        write!(
            f,
            "{} allocs, {} frees, {} moved, {} stayed, {} refused; {} asked for, {} given; \
             {} live, {} at peak",
            self.allocs,
            self.frees,
            self.moved,
            self.stayed,
            self.refused,
            bytes(self.requested),
            bytes(self.granted),
            bytes(self.live),
            bytes(self.peak)
        )
    }
}

impl<M> Counted<M> {
    /// Goes around a heap that is open already and has no chunk out.
    pub fn around(inner: M) -> Counted<M> {
        Counted { inner, tally: Tally::default() }
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        let tally = &self.tally;
        Counts {
            allocs: tally.allocs.load(Relaxed),
            frees: tally.frees.load(Relaxed),
            moved: tally.moved.load(Relaxed),
            stayed: tally.stayed.load(Relaxed),
            refused: tally.refused.load(Relaxed),
            requested: tally.requested.load(Relaxed),
            granted: tally.granted.load(Relaxed),
            live: tally.live.load(Relaxed),
            peak: tally.peak.load(Relaxed),
        }
    }

    /// The heap inside.
    pub fn inner(&self) -> &M {
        &self.inner
    }
}

impl Tally {
    /// Counts an allocation for `requested` bytes, or its refusal.
    fn alloc(
        &self,
        requested: usize,
        chunk: Result<NonNull<[u8]>, AllocError>,
    ) -> Result<NonNull<[u8]>, AllocError> {
        match chunk {
            Ok(chunk) => self.take(requested, chunk.len()),
            Err(_) => _ = self.refused.fetch_add(1, Relaxed),
        }
        chunk
    }

    fn take(&self, requested: usize, granted: usize) {
        self.allocs.fetch_add(1, Relaxed);
        self.requested.fetch_add(requested as u64, Relaxed);
        self.granted.fetch_add(granted as u64, Relaxed);
        self.grow(granted);
    }

    fn grow(&self, bytes: usize) {
        let live = self.live.fetch_add(bytes as u64, Relaxed) + bytes as u64;
        self.peak.fetch_max(live, Relaxed);
    }

    fn give(&self, bytes: usize) {
        self.frees.fetch_add(1, Relaxed);
        self.live.fetch_sub(bytes as u64, Relaxed);
    }

    /// Counts that a chunk of `old` bytes has `new` where it is.
    fn stay(&self, old: usize, new: usize) {
        self.stayed.fetch_add(1, Relaxed);
        self.grow(new);
        self.live.fetch_sub(old as u64, Relaxed);
    }
}

// SAFETY: every chunk is the inner heap's, passed on as it is.
unsafe impl<M: Mallocer> Mallocer for Counted<M> {
    pass_on!(self => self.inner);

    fn open(config: &Config) -> Result<Counted<M>, ConfigError> {
        Ok(Counted::around(M::open(config)?))
    }

    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.tally.alloc(layout.size(), self.inner.try_alloc(layout))
    }

    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.tally.alloc(layout.size(), self.inner.try_alloc_zeroed(layout))
    }

    fn try_alloc_slab(&self, slab: usize) -> Result<NonNull<[u8]>, AllocError> {
        self.tally.alloc(slab, self.inner.try_alloc_slab(slab))
    }

    unsafe fn free(&self, chunk: NonNull<u8>) {
        // SAFETY: passed on.
        unsafe {
            let bytes = self.inner.chunk_len(chunk);
            self.inner.free(chunk);
            self.tally.give(bytes);
        }
    }

    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
        // SAFETY: passed on.
        unsafe {
            let bytes = self.inner.chunk_len(chunk);
            self.inner.free_sized(chunk, layout);
            self.tally.give(bytes);
        }
    }

    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: passed on.
        let (old, new) = unsafe {
            let old = self.inner.chunk_len(chunk);
            (old, self.inner.try_realloc(chunk, layout))
        };
        match new {
            Ok(new) if new.cast() == chunk => self.tally.stay(old, new.len()),
            Ok(new) => {
                self.tally.moved.fetch_add(1, Relaxed);
                self.tally.take(layout.size(), new.len());
                self.tally.give(old);
            }
            Err(_) => _ = self.tally.refused.fetch_add(1, Relaxed),
        }
        new
    }

    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
        // SAFETY: passed on.
        unsafe {
            let old = self.inner.chunk_len(chunk);
            let new = self.inner.resize_in_place(chunk, size)?;
            self.tally.stay(old, new);
            Some(new)
        }
    }

    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: passed on.
        unsafe { self.inner.chunk_len(chunk) }
    }

    unsafe fn slab_size(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: passed on.
        unsafe { self.inner.slab_size(chunk) }
    }

    unsafe fn release(&self) {
        // SAFETY: passed on.
        unsafe { self.inner.release() };
        self.tally.live.store(0, Relaxed);
    }
}
