//! The heap: mimalloc's functions between a budget and a heap of its own.
//!
//! ```text
//! alloc: charge what is expected → mi_heap_malloc → correct the charge → count
//! free:  mi_usable_size → mi_free → refund, count
//! ```
//!
//! ```text
//! heap = alloc = Σ usable sizes handed out
//! ```
//!
//! What mimalloc keeps beyond that (free chunks of its pages, pages not yet given back)
//! is not charged.

use std::alloc::Layout;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicUsize};

use libc::c_void;
use libmimalloc_sys::{
    mi_free, mi_heap_collect, mi_heap_malloc, mi_heap_malloc_aligned, mi_heap_new, mi_heap_t,
    mi_heap_zalloc, mi_heap_zalloc_aligned, mi_usable_size, mi_version,
};
use mallocer_core::{AllocError, Budget, Config, ConfigError, Info, Mallocer, SlabUse};

use crate::apart::{Apart, SLICE};
use crate::classes::{Classes, Expected, QUANTUM};
use crate::sharing::Sharing;
use crate::threads;

/// A mimalloc heap, for one thread ([`Mimalloc`](crate::Mimalloc)) or for many
/// ([`SharedMimalloc`](crate::SharedMimalloc)).
pub struct Heap<S: Sharing> {
    /// mimalloc's heap; null if none could be made after a release.
    heap: AtomicPtr<mi_heap_t>,
    /// The number of that heap.
    number: AtomicUsize,
    sharing: S,
    classes: &'static Classes,
    apart: Apart,
}

// SAFETY: (1) and (2) of the trait are what mimalloc guarantees, whose chunks are passed on
// as they are, aligned by its own means; (3) nothing here moves a chunk but the trait's
// `try_realloc`. Every chunk is charged before it is handed out.
unsafe impl<S: Sharing> Mallocer for Heap<S> {
    fn open(config: &Config) -> Result<Heap<S>, ConfigError> {
        let classes = Classes::get();
        config.check("mimalloc", classes.bytes(0))?;
        // SAFETY: no condition.
        let version = unsafe { mi_version() };
        if version < S::LEAST_VERSION {
            // Before version 3, a heap allocates only on the thread that made it.
            let call = "mi_version";
            return Err(ConfigError::Library { backend: "mimalloc", call, code: version });
        }
        let heap = Heap {
            heap: AtomicPtr::new(ptr::null_mut()),
            number: AtomicUsize::new(0),
            sharing: S::new(config.budget()),
            classes,
            apart: Apart::default(),
        };
        if heap.renew() {
            Ok(heap)
        } else {
            let call = "mi_heap_new";
            Err(ConfigError::Library { backend: "mimalloc", call, code: libc::ENOMEM })
        }
    }

    fn name(&self) -> &'static str {
        "mimalloc"
    }

    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let size = request(layout);
        // SAFETY: the heap is one of mimalloc's.
        self.admit(size, layout.align(), |heap| unsafe {
            if layout.align() <= QUANTUM {
                mi_heap_malloc(heap, size)
            } else {
                mi_heap_malloc_aligned(heap, size, layout.align())
            }
        })
    }

    #[inline]
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let size = request(layout);
        // SAFETY: the heap is one of mimalloc's.
        let chunk = self.admit(size, layout.align(), |heap| unsafe {
            if layout.align() <= QUANTUM {
                mi_heap_zalloc(heap, size)
            } else {
                mi_heap_zalloc_aligned(heap, size, layout.align())
            }
        })?;
        // mimalloc promises zeroes for what was asked.
        let beyond = chunk.len().saturating_sub(size);
        // SAFETY: the chunk is `size + beyond` bytes long, if `beyond` is not 0.
        unsafe { chunk.cast::<u8>().add(chunk.len() - beyond).write_bytes(0, beyond) };
        Ok(chunk)
    }

    #[inline]
    unsafe fn free(&self, chunk: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe {
            let bytes = self.chunk_len(chunk);
            // Before the address can be handed out again.
            self.note_free(chunk.addr().get(), bytes);
            mi_free(chunk.as_ptr().cast());
            self.sharing.refund(bytes);
        }
    }

    #[inline]
    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: the caller's promise.
        unsafe { mi_usable_size(chunk.as_ptr().cast()) }
    }

    fn slabs(&self) -> &[usize] {
        self.classes.slabs()
    }

    fn info(&self) -> Info {
        let (used, nested) = (self.sharing.used(), self.sharing.nested());
        // Other threads may charge and refund between the two readings.
        let heap = (used + nested).min(self.budget().used());
        let overhead = size_of::<Self>() + self.apart.overhead();
        Info::new(self.budget().capacity(), heap, used.min(heap), overhead).with_nested(nested)
    }

    /// Chunks are counted here, not by mimalloc: its pages cannot be walked while other
    /// threads use them, and count chunks that another thread has freed as used.
    fn each_slab_use(&self, visit: &mut dyn FnMut(SlabUse)) {
        let mut counts = self.apart.counts();
        for (class, &slab) in self.classes.slabs().iter().enumerate() {
            let chunks = self.sharing.chunks(class);
            if chunks > 0 {
                *counts.entry(slab).or_insert(0) += chunks;
            }
        }
        for (slab, chunks) in counts {
            visit(SlabUse::new(slab, 0, chunks, chunks * slab, chunks * slab));
        }
    }

    unsafe fn release(&self) {
        // SAFETY: passed on.
        unsafe { self.empty() };
        self.renew();
    }

    fn budget(&self) -> &Budget {
        self.sharing.budget()
    }

    /// Has mimalloc give the calling thread's empty pages back. It does not say how much
    /// that is, and none of it counts as this heap's: returns 0.
    fn purge(&self) -> usize {
        let heap = self.heap.load(Acquire);
        if !heap.is_null() {
            // SAFETY: the heap is one of mimalloc's.
            self.sharing.allocating(self.number.load(Relaxed), || unsafe {
                mi_heap_collect(heap, true);
            });
        }
        0
    }
}

impl<S: Sharing> Heap<S> {
    /// Makes a fresh heap of mimalloc's. `false` if there is no memory for it.
    fn renew(&self) -> bool {
        // SAFETY: no condition.
        let heap = unsafe { mi_heap_new() };
        self.number.store(threads::heap_number(), Relaxed);
        self.heap.store(heap, Release);
        !heap.is_null()
    }

    /// Gives all back, and leaves no heap of mimalloc's behind.
    ///
    /// # Safety
    ///
    /// As [`release`](Mallocer::release).
    unsafe fn empty(&self) {
        for address in self.apart.take() {
            // SAFETY: the chunk is handed out, and nobody uses it any more.
            unsafe { mi_free(ptr::with_exposed_provenance_mut(address)) };
        }
        let heap = self.heap.swap(ptr::null_mut(), Acquire);
        if !heap.is_null() {
            // SAFETY: nobody uses anything of it any more.
            unsafe { self.sharing.destroy(heap) };
        }
        self.sharing.clear();
    }

    /// Charges for a chunk, has it allocated, and takes it in.
    #[inline]
    fn admit(
        &self,
        size: usize,
        align: usize,
        allocate: impl FnOnce(*mut mi_heap_t) -> *mut c_void,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let expected = self.classes.expected(size);
        let charged = match expected {
            Expected::Class(class) => self.classes.bytes(class),
            Expected::Bytes(bytes) => bytes,
        };
        self.sharing.charge(charged)?;
        let heap = self.heap.load(Acquire);
        if heap.is_null() {
            return Err(self.refused(charged));
        }
        let number = self.number.load(Relaxed);
        let chunk = self.sharing.allocating(number, || allocate(heap));
        let Some(chunk) = chunk.and_then(|chunk| NonNull::new(chunk.cast::<u8>())) else {
            return Err(self.refused(charged));
        };
        match expected {
            Expected::Class(class) if align <= QUANTUM => {
                self.sharing.count_alloc(class);
                Ok(NonNull::slice_from_raw_parts(chunk, charged))
            }
            _ => self.measure(chunk, charged, align),
        }
    }

    /// Takes in a chunk of which the size is not certain, for which `charged` bytes are
    /// charged.
    fn measure(
        &self,
        chunk: NonNull<u8>,
        charged: usize,
        align: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: mimalloc has just returned it.
        let bytes = unsafe { self.chunk_len(chunk) };
        if bytes != charged {
            self.correct(chunk, charged, bytes)?;
        }
        match self.classes.index(bytes) {
            Some(class) if align <= SLICE => self.sharing.count_alloc(class),
            _ => self.apart.insert(chunk.as_ptr().expose_provenance(), bytes),
        }
        Ok(NonNull::slice_from_raw_parts(chunk, bytes))
    }

    /// Takes a chunk out of the statistics.
    #[inline]
    fn note_free(&self, address: usize, bytes: usize) {
        match self.classes.index(bytes) {
            // A chunk that is aligned beyond a slice may be listed, whatever its size.
            Some(class) if !address.is_multiple_of(2 * SLICE) || !self.apart.remove(address) => {
                self.sharing.count_free(class);
            }
            Some(_) => {}
            None => {
                self.apart.remove(address);
            }
        }
    }

    /// Brings the charge of a fresh chunk from `expected` to `bytes`; frees it if the
    /// budget does not allow that.
    #[cold]
    fn correct(&self, chunk: NonNull<u8>, expected: usize, bytes: usize) -> Result<(), AllocError> {
        if bytes < expected {
            self.sharing.refund(expected - bytes);
            return Ok(());
        }
        self.sharing.charge(bytes - expected).map_err(|refusal| {
            // SAFETY: nobody has seen the chunk yet.
            unsafe { mi_free(chunk.as_ptr().cast()) };
            self.sharing.refund(expected);
            match refusal {
                AllocError::Capacity { used, limit, .. } => AllocError::Capacity {
                    requested: bytes,
                    used: used.saturating_sub(expected),
                    limit,
                },
                other => other,
            }
        })
    }

    /// The error if mimalloc refuses, with `bytes` refunded.
    #[cold]
    fn refused(&self, bytes: usize) -> AllocError {
        self.sharing.refund(bytes);
        let (used, limit) = (self.budget().used(), self.budget().capacity());
        AllocError::System { requested: bytes, used, limit }
    }
}

impl<S: Sharing> Drop for Heap<S> {
    fn drop(&mut self) {
        // SAFETY: whoever drops a heap says that its chunks are not used any more;
        // `&mut self`: nobody else uses it.
        unsafe { self.empty() }
    }
}

/// The size to ask mimalloc for: up to the quantum, asking for at least as many bytes as
/// the alignment is enough, and the plain functions serve.
#[inline]
fn request(layout: Layout) -> usize {
    if layout.align() <= QUANTUM { layout.size().max(layout.align()) } else { layout.size().max(1) }
}
