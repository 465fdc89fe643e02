//! The arena: the C library's functions between a budget and a registry.
//!
//! ```text
//! alloc: charge what is expected → malloc → correct the charge → register
//! free:  unregister (or catch a misuse) → measure → free → refund
//! ```
//!
//! A chunk counts with what the C library really gave, and with its header:
//!
//! ```text
//! heap = Σ (usable + 8)        alloc = Σ usable        overhead = the registry
//! ```

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;

use mallocer_core::{
    AllocError, Budget, Config, ConfigError, Info, Mallocer, Misuse, MisuseKind, SlabUse,
};

use crate::classes::{self, GRAIN, HEADER};
use crate::registry::Registry;
use crate::sharing::Sharing;

/// A heap on the C library's `malloc`, for one thread ([`Malloc`](crate::Malloc)) or
/// for many ([`SharedMalloc`](crate::SharedMalloc)).
pub struct Heap<S: Sharing> {
    registry: Registry,
    sharing: S,
}

// SAFETY: (1) and (2) of the trait are what the C library guarantees, whose chunks are
// passed on as they are, aligned by its own means; (3) nothing moves a chunk but
// `realloc`. Every chunk is charged before it is handed out.
unsafe impl<S: Sharing> Mallocer for Heap<S> {
    fn open(config: &Config) -> Result<Heap<S>, ConfigError> {
        config.check("malloc", classes::expected_usable(0) + HEADER)?;
        Ok(Heap { registry: Registry::new(), sharing: S::new(config.budget()) })
    }

    fn name(&self) -> &'static str {
        "malloc"
    }

    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let expected = classes::expected_usable(layout.size());
        self.sharing.charge(expected + HEADER)?;
        let chunk = if layout.align() <= GRAIN {
            // SAFETY: malloc takes any size.
            unsafe { libc::malloc(layout.size()) }
        } else {
            malloc_aligned(layout)
        };
        self.admit(chunk.cast(), expected)
    }

    #[inline]
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.align() > GRAIN {
            let chunk = self.try_alloc(layout)?;
            // SAFETY: a chunk is valid for writes of its whole length.
            unsafe { chunk.cast::<u8>().write_bytes(0, chunk.len()) };
            return Ok(chunk);
        }
        let expected = classes::expected_usable(layout.size());
        self.sharing.charge(expected + HEADER)?;
        // SAFETY: calloc takes any size.
        let chunk = self.admit(unsafe { libc::calloc(1, expected) }.cast(), expected)?;
        let beyond = chunk.len().saturating_sub(expected);
        // SAFETY: the chunk is `expected + beyond` bytes long, if `beyond` is not 0.
        unsafe { chunk.cast::<u8>().add(chunk.len() - beyond).write_bytes(0, beyond) };
        Ok(chunk)
    }

    #[inline]
    unsafe fn free(&self, chunk: NonNull<u8>) {
        let address = chunk.addr().get();
        if !self.registry.remove::<S>(address) {
            self.misuse("free", address).raise();
        }
        // SAFETY: the registry says that the chunk is this heap's and handed out, and
        // the caller that nobody uses it any more.
        unsafe { self.discard(chunk, usable(chunk)) }
    }

    #[inline]
    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
        let address = chunk.addr().get();
        if !self.registry.remove::<S>(address) {
            self.misuse("free_sized", address).raise();
        }
        // SAFETY: as in `free`.
        unsafe {
            let usable = usable(chunk);
            if layout.size() > usable || !address.is_multiple_of(layout.align()) {
                self.registry.restore::<S>(address);
                wrong_layout(address, usable, layout).raise();
            }
            self.discard(chunk, usable);
        }
    }

    #[inline]
    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        self.expect_live("chunk_len", chunk);
        // SAFETY: the registry says that the chunk is handed out.
        unsafe { usable(chunk) }
    }

    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let address = chunk.addr().get();
        self.expect_live("realloc", chunk);
        // SAFETY: the registry says that the chunk is handed out.
        let old = unsafe { usable(chunk) };
        let aligned = address.is_multiple_of(layout.align());
        if aligned && layout.size() <= old && layout.size() >= old / 2 {
            return Ok(NonNull::slice_from_raw_parts(chunk, old));
        }
        // The library's realloc cannot be undone, so everything that may fail comes
        // before it: the most that the chunk may come to is charged, and memory to
        // register it is set aside.
        let most = classes::most_usable(layout.size()).max(old);
        if layout.align() <= GRAIN && self.sharing.charge(most - old).is_ok() {
            if let Some(spare) = self.registry.spare() {
                self.registry.remove::<S>(address);
                // SAFETY: the chunk is handed out, the size is not zero, and the
                // caller uses only what is returned.
                let moved = unsafe { libc::realloc(chunk.as_ptr().cast(), layout.size().max(1)) };
                if let Some(moved) = NonNull::new(moved.cast::<u8>()) {
                    self.registry.insert_with::<S>(moved.as_ptr().expose_provenance(), spare);
                    // SAFETY: just returned.
                    let new = unsafe { usable(moved) };
                    debug_assert!(new <= most, "{} bytes became {new}", layout.size());
                    self.sharing.refund(most - new);
                    return Ok(NonNull::slice_from_raw_parts(moved, new));
                }
                self.registry.restore::<S>(address);
            }
            self.sharing.refund(most - old);
        }
        // Near the limit, or aligned further than the library's realloc can.
        let new = self.try_alloc(layout)?;
        // SAFETY: old and new chunk do not overlap and are valid for what is copied;
        // the caller uses only what is returned.
        unsafe {
            new.cast::<u8>().copy_from_nonoverlapping(chunk, old.min(new.len()));
            self.free(chunk);
        }
        Ok(new)
    }

    fn slabs(&self) -> &[usize] {
        classes::slabs()
    }

    fn info(&self) -> Info {
        let (used, nested) = (self.sharing.used(), self.sharing.nested());
        // Other threads may charge and refund between the two readings.
        let heap = (used + nested).min(self.budget().used());
        let headers = self.sharing.chunks() * HEADER;
        let overhead = size_of::<Self>() + self.registry.overhead();
        Info::new(self.budget().capacity(), heap, used.saturating_sub(headers), overhead)
            .with_nested(nested)
    }

    fn each_slab_use(&self, visit: &mut dyn FnMut(SlabUse)) {
        let mut chunks = BTreeMap::new();
        self.registry.each_live(|address| {
            // SAFETY: the chunk is handed out, and not freed while it is visited.
            let usable = unsafe { usable(chunk_at(address)) };
            *chunks.entry(usable).or_insert(0) += 1;
        });
        for (slab, count) in chunks {
            // No pools: the C library mixes chunks of all sizes.
            visit(SlabUse::new(slab, 0, count, count * (slab + HEADER), count * slab));
        }
    }

    unsafe fn release(&self) {
        self.registry.each_live(|address| {
            // SAFETY: the chunk is handed out, and the caller says that nobody uses it
            // any more, or this heap at this time.
            unsafe { libc::free(chunk_at(address).as_ptr().cast()) }
        });
        // SAFETY: nobody else uses the heap, by the caller's promise.
        unsafe { self.registry.clear() };
        self.sharing.clear();
    }

    fn budget(&self) -> &Budget {
        self.sharing.budget()
    }

    /// Asks the C library to give free memory of the whole process back. It does not
    /// say how much that was, and none of it counts as this heap's: returns 0.
    fn purge(&self) -> usize {
        #[cfg(target_env = "gnu")]
        // SAFETY: malloc_trim may be called at any time.
        unsafe {
            libc::malloc_trim(0);
        }
        0
    }
}

impl<S: Sharing> Heap<S> {
    /// Takes a fresh chunk in, for which `expected` bytes and a header are charged.
    #[inline]
    fn admit(&self, chunk: *mut u8, expected: usize) -> Result<NonNull<[u8]>, AllocError> {
        let Some(chunk) = NonNull::new(chunk) else { return Err(self.refused(expected)) };
        // SAFETY: the C library has just returned it.
        let usable = unsafe { usable(chunk) };
        if usable != expected {
            self.correct(chunk, expected, usable)?;
        }
        if !self.registry.insert::<S>(chunk.as_ptr().expose_provenance()) {
            // SAFETY: nobody has seen the chunk yet.
            unsafe { libc::free(chunk.as_ptr().cast()) };
            return Err(self.refused(usable));
        }
        self.sharing.count_alloc();
        Ok(NonNull::slice_from_raw_parts(chunk, usable))
    }

    /// Brings the charge of a fresh chunk from `expected` to `usable` bytes; frees it
    /// if the budget does not allow that.
    #[cold]
    fn correct(
        &self,
        chunk: NonNull<u8>,
        expected: usize,
        usable: usize,
    ) -> Result<(), AllocError> {
        if usable < expected {
            self.sharing.refund(expected - usable);
            return Ok(());
        }
        self.sharing.charge(usable - expected).map_err(|refusal| {
            // SAFETY: nobody has seen the chunk yet.
            unsafe { libc::free(chunk.as_ptr().cast()) };
            self.sharing.refund(expected + HEADER);
            match refusal {
                AllocError::Capacity { used, limit, .. } => AllocError::Capacity {
                    requested: usable + HEADER,
                    used: used - (expected + HEADER),
                    limit,
                },
                other => other,
            }
        })
    }

    /// The error if the C library refuses, with `usable` bytes and a header refunded.
    #[cold]
    fn refused(&self, usable: usize) -> AllocError {
        self.sharing.refund(usable + HEADER);
        AllocError::System {
            requested: usable + HEADER,
            used: self.budget().used(),
            limit: self.budget().capacity(),
        }
    }

    /// Frees a chunk of `usable` bytes that is out of the registry.
    ///
    /// # Safety
    ///
    /// It was in the registry, and nobody uses it any more.
    #[inline]
    unsafe fn discard(&self, chunk: NonNull<u8>, usable: usize) {
        // SAFETY: the caller's promise.
        unsafe { libc::free(chunk.as_ptr().cast()) };
        self.sharing.count_free();
        self.sharing.refund(usable + HEADER);
    }

    #[inline]
    fn expect_live(&self, operation: &'static str, chunk: NonNull<u8>) {
        let address = chunk.addr().get();
        if !self.registry.contains(address) {
            self.misuse(operation, address).raise();
        }
    }

    /// What is wrong with an address that is not handed out.
    #[cold]
    fn misuse(&self, operation: &'static str, address: usize) -> Misuse {
        let mut misuse = Misuse::new(MisuseKind::NotThisArena, operation, address);
        if self.registry.has_been(address) {
            misuse.kind = MisuseKind::DoubleFree;
            return misuse;
        }
        self.registry.each_live(|start| {
            // SAFETY: the chunk is handed out, and not freed while it is visited.
            let usable = unsafe { usable(chunk_at(start)) };
            if start < address && address - start < usable {
                misuse.kind = MisuseKind::Interior;
                misuse.chunk = Some(start);
                misuse.slab = Some(usable);
            }
        });
        misuse
    }
}

impl<S: Sharing> Drop for Heap<S> {
    fn drop(&mut self) {
        // SAFETY: whoever drops a heap says that its chunks are not used any more;
        // `&mut self`: nobody else uses it.
        unsafe { self.release() }
    }
}

/// The bytes that a chunk of the C library has for its user.
///
/// # Safety
///
/// The chunk is handed out.
#[inline]
unsafe fn usable(chunk: NonNull<u8>) -> usize {
    // SAFETY: the caller's promise.
    unsafe { libc::malloc_usable_size(chunk.as_ptr().cast()) }
}

/// A registered chunk by its address.
fn chunk_at(address: usize) -> NonNull<u8> {
    NonNull::new(std::ptr::with_exposed_provenance_mut(address))
        .expect("the registry holds addresses of chunks")
}

/// A chunk of the C library for a layout aligned further than all its chunks are.
#[cold]
fn malloc_aligned(layout: Layout) -> *mut libc::c_void {
    let mut chunk = std::ptr::null_mut();
    // SAFETY: the alignment is a power of two and above that of a pointer.
    let refused = unsafe { libc::posix_memalign(&mut chunk, layout.align(), layout.size()) };
    if refused == 0 { chunk } else { std::ptr::null_mut() }
}

#[cold]
fn wrong_layout(address: usize, usable: usize, layout: Layout) -> Misuse {
    let kind =
        if layout.size() > usable { MisuseKind::WrongSize } else { MisuseKind::WrongAlignment };
    let mut misuse = Misuse::new(kind, "free_sized", address);
    misuse.chunk = Some(address);
    misuse.slab = Some(usable);
    misuse.layout = Some((layout.size(), layout.align()));
    misuse
}
