//! The two kinds of arena: for one thread, and for many.

use std::alloc::Layout;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use mallocer_core::{AllocError, Budget, Config, Info, Mallocer, SlabUse};

use crate::builder::{BuildError, Builder, Settings, sealed, settings_of};
use crate::dynamic::{Dynamic, SharedDynamic};
use crate::methods::{arena_methods, not_null, or_panic};

/// What an arena is made of, of either kind.
pub struct Inner<M> {
    pub(crate) heap: M,
    /// What it was built from: a child is built from the same.
    pub(crate) settings: Settings<M>,
}

/// A space with a capacity, released as one, for one thread.
///
/// Memory that an arena handed out is valid until it is freed, or the arena is
/// released or dropped. An arena cannot leave its thread:
///
/// ```compile_fail,E0277
/// let arena = mallocer::Arena::new(1 << 20).unwrap();
/// std::thread::spawn(move || arena.info());
/// ```
///
/// and no other thread can borrow it:
///
/// ```compile_fail,E0277
/// let arena = mallocer::Arena::new(1 << 20).unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(|| arena.info());
/// });
/// ```
///
/// [`SharedArena`] can do both.
///
/// # Examples
///
/// ```
/// use std::alloc::Layout;
/// use mallocer::Arena;
///
/// let arena = Arena::new(64 << 20)?;
/// let chunk = arena.alloc(Layout::new::<[u64; 8]>());
/// assert!(chunk.len() >= 64);
/// // SAFETY: the chunk is from this arena, and nobody uses it afterwards.
/// unsafe { arena.free(chunk.cast()) };
/// arena.release();
/// # Ok::<(), mallocer::BuildError>(())
/// ```
pub struct Arena<M: Mallocer = Dynamic> {
    inner: Inner<M>,
    /// Keeps the arena on its thread, whatever the heap is.
    one_thread: PhantomData<*const ()>,
}

/// A space with a capacity, released as one, for any number of threads.
///
/// Clones are the same arena and cheap; the last one dropped releases it. It has the
/// methods of [`Arena`]; a chunk may be freed by any thread.
///
/// # Examples
///
/// ```
/// use std::alloc::Layout;
/// use mallocer::SharedArena;
///
/// let arena = SharedArena::new(64 << 20)?;
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         let arena = arena.clone();
///         scope.spawn(move || {
///             let chunk = arena.alloc(Layout::new::<u64>());
///             // SAFETY: the chunk is from this arena, and nobody uses it afterwards.
///             unsafe { arena.free(chunk.cast()) };
///         });
///     }
/// });
/// assert_eq!(arena.info().alloc, 0);
/// # Ok::<(), mallocer::BuildError>(())
/// ```
pub struct SharedArena<M: Mallocer + Send + Sync = SharedDynamic> {
    inner: Arc<Inner<M>>,
}

impl Arena {
    /// An arena of `capacity` bytes on the [preferred](crate::Backend::preferred)
    /// backend, everything else at its default.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn new(capacity: usize) -> Result<Arena, BuildError> {
        Arena::builder().capacity(capacity).build()
    }
}

impl SharedArena {
    /// An arena of `capacity` bytes on the [preferred](crate::Backend::preferred)
    /// backend, everything else at its default.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn new(capacity: usize) -> Result<SharedArena, BuildError> {
        SharedArena::builder().capacity(capacity).build()
    }
}

impl<M: Mallocer> Arena<M> {
    /// Sets an arena up setting by setting.
    ///
    /// The backend is chosen by [`backend`](Builder::backend), at run time, or by the
    /// type, at compile time and with no cost for dispatch. Where neither is said,
    /// the compiler asks for a type: `let arena: Arena = Arena::builder()…`, or
    /// [`Arena::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer::{Arena, Backend};
    ///
    /// let chosen = Arena::builder().backend(Backend::from_env()?).capacity(1 << 20).build()?;
    /// # #[cfg(feature = "flist")]
    /// let fixed = Arena::<mallocer::Flist>::builder().capacity(1 << 20).build()?;
    /// # Ok::<(), mallocer::BuildError>(())
    /// ```
    pub fn builder() -> Builder<Arena<M>> {
        Builder::new(Settings::new(Config::default()))
    }

    /// An arena around a heap that is open already.
    ///
    /// For heaps that need more than a [`Config`] to be opened. Its children are
    /// opened by [`Mallocer::open`] like any others.
    pub fn from_heap(heap: M) -> Arena<M> {
        let settings = settings_of(&heap);
        sealed::Assemble::assemble(Inner { heap, settings })
    }

    arena_methods!(Arena);

    /// Gives everything back at once and ends the arena: what dropping it does.
    ///
    /// The cost is that of the backend: flist gives back pool by pool, jemalloc and
    /// mimalloc destroy their heap, malloc frees chunk by chunk.
    pub fn release(self) {}
}

impl<M: Mallocer + Send + Sync> SharedArena<M> {
    /// Sets an arena up setting by setting.
    ///
    /// As [`Arena::builder`].
    pub fn builder() -> Builder<SharedArena<M>> {
        Builder::new(Settings::new(Config::default()))
    }

    /// An arena around a heap that is open already.
    ///
    /// As [`Arena::from_heap`].
    pub fn from_heap(heap: M) -> SharedArena<M> {
        let settings = settings_of(&heap);
        sealed::Assemble::assemble(Inner { heap, settings })
    }

    arena_methods!(SharedArena);

    /// Ends this handle; the last one gives everything back at once.
    ///
    /// As [`Arena::release`].
    pub fn release(self) {}
}

impl<M: Mallocer> sealed::Assemble for Arena<M> {
    type Heap = M;

    fn assemble(inner: Inner<M>) -> Arena<M> {
        Arena { inner, one_thread: PhantomData }
    }
}

impl<M: Mallocer + Send + Sync> sealed::Assemble for SharedArena<M> {
    type Heap = M;

    fn assemble(inner: Inner<M>) -> SharedArena<M> {
        SharedArena { inner: Arc::new(inner) }
    }
}

impl<M: Mallocer + Send + Sync> Clone for SharedArena<M> {
    fn clone(&self) -> SharedArena<M> {
        SharedArena { inner: Arc::clone(&self.inner) }
    }
}

impl<M: Mallocer> AsRef<Budget> for Arena<M> {
    fn as_ref(&self) -> &Budget {
        self.budget()
    }
}

impl<M: Mallocer + Send + Sync> AsRef<Budget> for SharedArena<M> {
    fn as_ref(&self) -> &Budget {
        self.budget()
    }
}

impl<M: Mallocer> fmt::Debug for Arena<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena({}: {})", self.backend_name(), self.info())
    }
}

impl<M: Mallocer + Send + Sync> fmt::Debug for SharedArena<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedArena({}: {})", self.backend_name(), self.info())
    }
}
