//! The method set that both kinds of arena have.
//!
//! Written once, as a macro, instead of a trait or a common type behind `Deref`: so
//! both kinds have the methods as their own, and nothing must be imported. Each is a
//! thin call of the heap, inlined; what can fail ends in a cold function.

use std::ptr::NonNull;

use mallocer_core::{AllocError, Misuse, MisuseKind};

/// The chunk, or a panic that says why there is none.
#[inline]
#[track_caller]
pub(crate) fn or_panic(chunk: Result<NonNull<[u8]>, AllocError>) -> NonNull<[u8]> {
    match chunk {
        Ok(chunk) => chunk,
        Err(refusal) => refuse(refusal),
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn refuse(refusal: AllocError) -> ! {
    panic!("{refusal}")
}

/// The pointer, or a panic that says it is null.
#[inline]
#[track_caller]
pub(crate) fn not_null(chunk: *mut u8) -> NonNull<u8> {
    match NonNull::new(chunk) {
        Some(chunk) => chunk,
        None => Misuse::new(MisuseKind::Null, "free", 0).raise(),
    }
}

macro_rules! arena_methods {
    ($arena:ident) => {
        /// Allocates a chunk for `layout`; its contents are undefined.
        ///
        /// The slice spans the whole chunk length: at least the size asked for, and
        /// all of it may be used. A size of 0 gives a chunk of its own, to be freed
        /// like any other.
        ///
        /// # Panics
        ///
        /// Where [`try_alloc`](Self::try_alloc) has an error, with its message.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::alloc::Layout;
        ///
        #[doc = concat!("let arena = mallocer::", stringify!($arena), "::new(1 << 20)?;")]
        /// let chunk = arena.alloc(Layout::array::<u8>(67).unwrap());
        /// // SAFETY: a chunk is valid for writes of its whole length, and is freed once.
        /// unsafe {
        ///     chunk.cast::<u8>().write_bytes(7, chunk.len());
        ///     arena.free(chunk.cast());
        /// }
        /// # Ok::<(), mallocer::BuildError>(())
        /// ```
        #[inline]
        #[track_caller]
        pub fn alloc(&self, layout: Layout) -> NonNull<[u8]> {
            or_panic(self.try_alloc(layout))
        }

        /// Allocates a chunk for `layout`, as [`alloc`](Self::alloc) does.
        ///
        /// # Errors
        ///
        /// [`AllocError`] with the figures; nothing that was allocated before is
        /// touched, and the arena goes on working.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::alloc::Layout;
        /// use mallocer::AllocError;
        ///
        #[doc = concat!("let arena = mallocer::", stringify!($arena), "::new(1 << 20)?;")]
        /// let refused = arena.try_alloc(Layout::new::<[u8; 2 << 20]>()).unwrap_err();
        /// assert!(matches!(refused, AllocError::Capacity { limit: 1_048_576, .. }));
        /// # Ok::<(), mallocer::BuildError>(())
        /// ```
        #[inline]
        pub fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
            self.inner.heap.try_alloc(layout)
        }

        /// Allocates a chunk for `layout` whose whole length is zero.
        ///
        /// # Panics
        ///
        /// As [`alloc`](Self::alloc).
        #[inline]
        #[track_caller]
        pub fn alloc_zeroed(&self, layout: Layout) -> NonNull<[u8]> {
            or_panic(self.try_alloc_zeroed(layout))
        }

        /// Allocates a chunk for `layout` whose whole length is zero.
        ///
        /// # Errors
        ///
        /// As [`try_alloc`](Self::try_alloc).
        #[inline]
        pub fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
            self.inner.heap.try_alloc_zeroed(layout)
        }

        /// Allocates a chunk from the slab of exactly `slab` bytes, one of
        /// [`slabs`](Self::slabs).
        ///
        /// # Panics
        ///
        /// Where [`try_alloc_slab`](Self::try_alloc_slab) has an error, with its
        /// message.
        #[inline]
        #[track_caller]
        pub fn alloc_slab(&self, slab: usize) -> NonNull<[u8]> {
            or_panic(self.try_alloc_slab(slab))
        }

        /// Allocates a chunk from the slab of exactly `slab` bytes, one of
        /// [`slabs`](Self::slabs).
        ///
        /// # Errors
        ///
        /// [`AllocError::NoSuchSlab`] with the nearest slabs, or as
        /// [`try_alloc`](Self::try_alloc).
        ///
        /// # Examples
        ///
        /// ```
        /// # use mallocer::AllocError;
        #[doc = concat!("let arena = mallocer::", stringify!($arena), "::new(1 << 20)?;")]
        /// let slab = arena.slabs()[3];
        /// let chunk = arena.try_alloc_slab(slab).unwrap();
        /// assert!(chunk.len() <= slab);
        /// assert!(matches!(arena.try_alloc_slab(slab + 1), Err(AllocError::NoSuchSlab { .. })));
        /// # Ok::<(), mallocer::BuildError>(())
        /// ```
        #[inline]
        pub fn try_alloc_slab(&self, slab: usize) -> Result<NonNull<[u8]>, AllocError> {
            self.inner.heap.try_alloc_slab(slab)
        }

        /// Makes a chunk hold `layout`: where it is if possible, else elsewhere.
        ///
        /// The first `min(old chunk length, new size)` bytes keep their contents. The
        /// chunk becomes a new one even if it stays: use what is returned.
        ///
        /// # Panics
        ///
        /// As [`alloc`](Self::alloc) and [`free`](Self::free).
        ///
        /// # Safety
        ///
        /// As [`free`](Self::free).
        ///
        /// # Examples
        ///
        /// ```
        /// use std::alloc::Layout;
        ///
        #[doc = concat!("let arena = mallocer::", stringify!($arena), "::new(1 << 20)?;")]
        /// let posting = arena.alloc(Layout::array::<u32>(4).unwrap()).cast::<u32>();
        /// // SAFETY: the chunk is valid, from this arena, and used only as returned last.
        /// unsafe {
        ///     posting.write(7);
        ///     let longer = arena.realloc(posting.cast(), Layout::array::<u32>(4000).unwrap());
        ///     assert_eq!(longer.cast::<u32>().read(), 7);
        ///     arena.free(longer.cast());
        /// }
        /// # Ok::<(), mallocer::BuildError>(())
        /// ```
        #[inline]
        #[track_caller]
        pub unsafe fn realloc(&self, chunk: NonNull<u8>, layout: Layout) -> NonNull<[u8]> {
            // SAFETY: the contract is the same, and the caller keeps it.
            or_panic(unsafe { self.try_realloc(chunk, layout) })
        }

        /// Makes a chunk hold `layout`, as [`realloc`](Self::realloc) does.
        ///
        /// # Errors
        ///
        /// As [`try_alloc`](Self::try_alloc); then the old chunk is as it was.
        ///
        /// # Panics
        ///
        /// As [`free`](Self::free).
        ///
        /// # Safety
        ///
        /// As [`free`](Self::free), if this succeeds.
        #[inline]
        pub unsafe fn try_realloc(
            &self,
            chunk: NonNull<u8>,
            layout: Layout,
        ) -> Result<NonNull<[u8]>, AllocError> {
            // SAFETY: the contract is the same, and the caller keeps it.
            unsafe { self.inner.heap.try_realloc(chunk, layout) }
        }

        /// Makes a chunk hold `size` bytes without moving it, or leaves it as it is.
        ///
        /// Returns the new chunk length; `None` if the chunk would have to move, or moving
        /// it would save more than half of it.
        ///
        /// # Panics
        ///
        /// As [`free`](Self::free).
        ///
        /// # Safety
        ///
        /// As [`chunk_len`](Self::chunk_len); on success, bytes past the returned
        /// length are not used any more.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::alloc::Layout;
        ///
        #[doc = concat!("let arena = mallocer::", stringify!($arena), "::new(1 << 20)?;")]
        /// let chunk = arena.alloc(Layout::array::<u8>(1000).unwrap());
        /// // SAFETY: the chunk is from this arena, and is freed once.
        /// unsafe {
        ///     assert!(arena.resize_in_place(chunk.cast(), chunk.len()).is_some());
        ///     assert!(arena.resize_in_place(chunk.cast(), 2 << 20).is_none());
        ///     arena.free(chunk.cast());
        /// }
        /// # Ok::<(), mallocer::BuildError>(())
        /// ```
        #[inline]
        pub unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
            // SAFETY: the contract is the same, and the caller keeps it.
            unsafe { self.inner.heap.resize_in_place(chunk, size) }
        }

        /// Frees a chunk.
        ///
        /// # Panics
        ///
        /// Where the backend detects misuse: the message begins with
        /// `mallocer: misuse in free` and says pointer, slab, pool and what was wrong.
        /// flist detects all of it; the others what their libraries detect.
        ///
        /// # Safety
        ///
        /// `chunk` is from this arena, is not freed since, and is not used afterwards.
        #[inline]
        pub unsafe fn free(&self, chunk: NonNull<u8>) {
            // SAFETY: the contract is the same, and the caller keeps it.
            unsafe { self.inner.heap.free(chunk) }
        }

        /// Frees a chunk of which the layout is known, which saves some backends a
        /// look-up and lets others check it.
        ///
        /// # Panics
        ///
        /// As [`free`](Self::free); also for a wrong size or alignment, where the
        /// backend checks it.
        ///
        /// # Safety
        ///
        /// As [`free`](Self::free); and `layout` has the alignment that the chunk was
        /// allocated with, and a size from the one asked for up to the chunk length.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::alloc::Layout;
        ///
        #[doc = concat!("let arena = mallocer::", stringify!($arena), "::new(1 << 20)?;")]
        /// let layout = Layout::new::<[u64; 14]>();
        /// let chunk = arena.alloc(layout);
        /// // SAFETY: the chunk is from this arena, was asked for with this layout, and is
        /// // freed once.
        /// unsafe { arena.free_sized(chunk.cast(), layout) };
        /// # Ok::<(), mallocer::BuildError>(())
        /// ```
        #[inline]
        pub unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
            // SAFETY: the contract is the same, and the caller keeps it.
            unsafe { self.inner.heap.free_sized(chunk, layout) }
        }

        /// Frees a chunk by the raw pointer that C code gives back.
        ///
        /// Unlike C's `free`, null is a misuse.
        ///
        /// # Panics
        ///
        /// As [`free`](Self::free); and always if the pointer is null.
        ///
        /// # Safety
        ///
        /// As [`free`](Self::free), unless the pointer is null.
        #[inline]
        #[track_caller]
        pub unsafe fn free_ptr(&self, chunk: *mut u8) {
            let chunk = not_null(chunk);
            // SAFETY: the contract is the same, and the caller keeps it.
            unsafe { self.inner.heap.free(chunk) }
        }

        /// The bytes of a chunk that the caller may use.
        ///
        /// # Panics
        ///
        /// As [`free`](Self::free).
        ///
        /// # Safety
        ///
        /// `chunk` is from this arena and is not freed since.
        #[inline]
        pub unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
            // SAFETY: the contract is the same, and the caller keeps it.
            unsafe { self.inner.heap.chunk_len(chunk) }
        }

        /// The full size of a chunk in bytes: its length, and what the backend keeps
        /// beside it.
        ///
        /// # Panics
        ///
        /// As [`free`](Self::free).
        ///
        /// # Safety
        ///
        /// As [`chunk_len`](Self::chunk_len).
        #[inline]
        pub unsafe fn slab_size(&self, chunk: NonNull<u8>) -> usize {
            // SAFETY: the contract is the same, and the caller keeps it.
            unsafe { self.inner.heap.slab_size(chunk) }
        }

        /// The chunk sizes in bytes, ascending; on a backend with size classes of its
        /// own, those.
        #[inline]
        pub fn slabs(&self) -> &[usize] {
            self.inner.heap.slabs()
        }

        /// Capacity, heap, alloc and overhead, in bytes.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = concat!("let arena = mallocer::", stringify!($arena), "::new(1 << 20)?;")]
        /// let info = arena.info();
        /// assert_eq!((info.capacity, info.alloc), (1 << 20, 0));
        /// println!("{info}");
        /// # Ok::<(), mallocer::BuildError>(())
        /// ```
        pub fn info(&self) -> Info {
            self.inner.heap.info()
        }

        /// How every slab that has memory is used, ascending.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::alloc::Layout;
        ///
        #[doc = concat!("let arena = mallocer::", stringify!($arena), "::new(1 << 20)?;")]
        /// arena.alloc(Layout::new::<[u64; 14]>());
        /// for slab in arena.utilization() {
        ///     println!("{slab}");
        /// }
        /// assert_eq!(arena.utilization().iter().map(|slab| slab.chunks).sum::<usize>(), 1);
        /// # Ok::<(), mallocer::BuildError>(())
        /// ```
        pub fn utilization(&self) -> Vec<SlabUse> {
            let mut uses = Vec::new();
            self.inner.heap.each_slab_use(&mut |slab| uses.push(slab));
            uses
        }

        /// Gives empty memory back to the system; returns how many bytes.
        ///
        /// Chunks that are held stay as they are. What other threads have ready for
        /// themselves is not taken from them. malloc and mimalloc give back as well, but do
        /// not say how much: there it is 0.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::alloc::Layout;
        ///
        #[doc = concat!("let arena = mallocer::", stringify!($arena), "::new(8 << 20)?;")]
        /// let chunk = arena.alloc(Layout::new::<[u8; 1 << 20]>());
        /// // SAFETY: the chunk is from this arena, and is freed once.
        /// unsafe { arena.free(chunk.cast()) };
        /// println!("{} bytes are given back", arena.purge());
        /// # Ok::<(), mallocer::BuildError>(())
        /// ```
        pub fn purge(&self) -> usize {
            self.inner.heap.purge()
        }

        /// The name of the backend: `flist`, `malloc`, …
        pub fn backend_name(&self) -> &'static str {
            self.inner.heap.name()
        }

        /// What the arena draws its memory from. It outlives the arena where a clone
        /// is kept.
        pub fn budget(&self) -> &Budget {
            self.inner.heap.budget()
        }

        /// The heap itself, for what only this backend can do.
        #[inline]
        pub fn heap(&self) -> &M {
            &self.inner.heap
        }

        /// Sets up an arena that draws on this one's budget: what it takes counts in
        /// this one's heap, and cannot exceed what is left here.
        ///
        /// The settings are those of this arena, backend and capacity included, until
        /// they are changed. Dropping the child gives its bytes back; a child may
        /// outlive its parent.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = concat!("let parent = mallocer::", stringify!($arena), "::new(64 << 20)?;")]
        /// let child = parent.child().capacity(16 << 20).build()?;
        /// let chunk = child.alloc_slab(child.slabs()[0]);
        /// assert!(chunk.len() <= child.info().heap);
        /// assert!(child.info().heap <= parent.info().nested);
        /// child.release();
        /// assert_eq!(parent.info().nested, 0);
        /// # Ok::<(), mallocer::BuildError>(())
        /// ```
        pub fn child(&self) -> Builder<Self> {
            Builder::new(self.inner.settings.child(self.budget()))
        }

        /// Gives back everything that the arena handed out, at once. The arena is
        /// empty afterwards and may be used again; its children keep what they have.
        ///
        /// # Safety
        ///
        /// No chunk of this arena is used afterwards, not by a collection either, and
        /// no other thread uses the arena meanwhile.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::alloc::Layout;
        ///
        #[doc = concat!("let arena = mallocer::", stringify!($arena), "::new(1 << 20)?;")]
        /// for request in 0..10 {
        ///     for _ in 0..100 {
        ///         arena.alloc(Layout::new::<[u64; 14]>());
        ///     }
        ///     // SAFETY: nothing of this request is used any more.
        ///     unsafe { arena.reset() };
        /// }
        /// assert_eq!(arena.info().alloc, 0);
        /// # Ok::<(), mallocer::BuildError>(())
        /// ```
        pub unsafe fn reset(&self) {
            // SAFETY: the contract is the same, and the caller keeps it.
            unsafe { self.inner.heap.release() }
        }
    };
}

pub(crate) use arena_methods;
