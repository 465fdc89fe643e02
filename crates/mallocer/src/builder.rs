//! Setting up an arena.

use std::time::Duration;

use mallocer_core::{
    Budget, Callbacks, Config, ConfigError, Hints, Ladder, MAX_CAPACITY, Mallocer,
};
use thiserror::Error;

use crate::arena::{Arena, Inner, SharedArena};
use crate::backend::{Backend, BackendError};
use crate::dynamic::{Dynamic, SharedDynamic};

/// Opens the heap of an arena.
///
/// A function instead of a [`Backend`], because an arena of somebody else's heap has
/// none; and it is all that tells the arenas of a run-time choice from the others.
type Open<M> = fn(&Config) -> Result<M, BuildError>;

/// What an arena is built from. It stays with the arena, for its children.
pub(crate) struct Settings<M> {
    config: Config,
    open: Open<M>,
}

impl<M: Mallocer> Settings<M> {
    pub(crate) fn new(config: Config) -> Settings<M> {
        Settings { config, open: |config| Ok(M::open(config)?) }
    }

    /// The same settings for an arena that draws on `budget`.
    pub(crate) fn child(&self, budget: &Budget) -> Settings<M> {
        let mut child = self.clone();
        child.config.parent = budget.clone();
        // The parent's are told of the child's bytes anyway.
        child.config.callbacks = Callbacks::none();
        child
    }
}

impl<M> Clone for Settings<M> {
    fn clone(&self) -> Settings<M> {
        Settings { config: self.config.clone(), open: self.open }
    }
}

/// An arena in the making: what [`Arena::builder`] and [`SharedArena::builder`] give.
///
/// Every setting has a default. A bad one is a named error of
/// [`build`](Builder::build).
///
/// # Examples
///
/// ```
/// use mallocer::{Arena, Backend, BuildError, ConfigError, Ladder};
///
/// let arena = Arena::builder()
///     .backend(Backend::preferred()?)
///     .capacity(1 << 30)
///     .ladder(Ladder::between(96, 1 << 20)?)
///     .build()?;
/// assert_eq!(arena.info().capacity, 1 << 30);
///
/// let refused = Arena::builder().backend(Backend::preferred()?).capacity(2 << 40).build();
/// assert!(matches!(
///     refused.unwrap_err(),
///     BuildError::Config(ConfigError::CapacityTooLarge { .. })
/// ));
/// # Ok::<(), BuildError>(())
/// ```
#[must_use = "a builder makes no arena until `build` is called"]
pub struct Builder<A: ArenaKind> {
    settings: Settings<A::Heap>,
}

impl<A: ArenaKind> Builder<A> {
    pub(crate) fn new(settings: Settings<A::Heap>) -> Builder<A> {
        Builder { settings }
    }

    /// The bytes that the arena may take, at most 1 TiB, which is the default.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.settings.config.capacity = bytes;
        self
    }

    /// The chunk sizes; default [`Ladder::DEFAULT`]. Backends with size classes of
    /// their own go by those.
    pub fn ladder(mut self, ladder: Ladder) -> Self {
        self.settings.config.ladder = ladder;
        self
    }

    /// The arena or [`Budget`] that every byte is drawn from too; default none.
    ///
    /// Any arena can be the parent of any other: of another backend, or shared by
    /// threads where the parent is not. See also [`Arena::child`].
    pub fn parent(mut self, parent: &impl AsRef<Budget>) -> Self {
        self.settings.config.parent = parent.as_ref().clone();
        self
    }

    /// How the arena is going to be used; default [`Hints::NONE`].
    pub fn hints(mut self, hints: Hints) -> Self {
        self.settings.config.hints = hints;
        self
    }

    /// The most pools that one slab may have, at least 1; default as many as fit.
    pub fn max_pools(mut self, pools: usize) -> Self {
        self.settings.config.max_pools = pools;
        self
    }

    /// The most chunks that one pool may have, 1 to 65 535; default
    /// [`DEFAULT_MAX_CHUNKS`](crate::DEFAULT_MAX_CHUNKS).
    pub fn max_chunks(mut self, chunks: usize) -> Self {
        self.settings.config.max_chunks = chunks;
        self
    }

    /// How long memory that is empty stays with the arena; default until release.
    pub fn decay(mut self, time: Duration) -> Self {
        self.settings.config.decay = Some(time);
        self
    }

    /// Who is told when the arena takes memory, gives some back, or has none left; default
    /// nobody. A child arena starts without, since its parent's are told of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::alloc::Layout;
    /// use std::ptr::NonNull;
    /// use std::sync::Mutex;
    /// use mallocer::{Callbacks, SharedArena};
    ///
    /// struct Cache(Mutex<Option<(SharedArena, Vec<usize>)>>);
    /// static CACHE: Cache = Cache(Mutex::new(None));
    ///
    /// // When capacity runs out, the oldest entry of the cache goes.
    /// let evict = Callbacks::none().on_exhausted(|_| {
    ///     let mut cache = CACHE.0.lock().unwrap();
    ///     let Some((arena, chunks)) = cache.as_mut().filter(|(_, chunks)| !chunks.is_empty())
    ///     else {
    ///         return false;
    ///     };
    ///     let oldest = chunks.remove(0);
    ///     let chunk = NonNull::new(std::ptr::with_exposed_provenance_mut(oldest)).unwrap();
    ///     // SAFETY: the chunk is the arena's, and the cache's alone.
    ///     unsafe { arena.free(chunk) };
    ///     true
    /// });
    /// let arena = SharedArena::builder()
    ///     .backend(mallocer::Backend::preferred()?)
    ///     .capacity(1 << 20)
    ///     .callbacks(evict)
    ///     .build()?;
    /// *CACHE.0.lock().unwrap() = Some((arena.clone(), Vec::new()));
    /// for _ in 0..100 {
    ///     let chunk = arena.alloc(Layout::new::<[u8; 100_000]>()).cast::<u8>();
    ///     let entry = chunk.as_ptr().expose_provenance();
    ///     CACHE.0.lock().unwrap().as_mut().unwrap().1.push(entry);
    /// }
    /// # CACHE.0.lock().unwrap().take();
    /// # Ok::<(), mallocer::BuildError>(())
    /// ```
    pub fn callbacks(mut self, callbacks: Callbacks) -> Self {
        self.settings.config.callbacks = callbacks;
        self
    }

    /// Opens the arena.
    ///
    /// # Errors
    ///
    /// [`BuildError::Backend`] if the backend is not compiled in, and
    /// [`BuildError::Config`] if a setting is out of its range or the library behind
    /// the backend refuses.
    pub fn build(self) -> Result<A, BuildError> {
        let heap = (self.settings.open)(&self.settings.config)?;
        Ok(A::assemble(Inner { heap, settings: self.settings }))
    }
}

impl<A: ArenaKind> Clone for Builder<A> {
    fn clone(&self) -> Builder<A> {
        Builder { settings: self.settings.clone() }
    }
}

impl<A: ArenaKind> std::fmt::Debug for Builder<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Builder").field(&self.settings.config).finish()
    }
}

macro_rules! choose_backend {
    ($arena:ty, $heap:ident) => {
        impl Builder<$arena> {
            /// Which backend serves the arena; default [`Backend::preferred`].
            pub fn backend(mut self, backend: Backend) -> Self {
                self.settings.open = match backend {
                    Backend::Flist => |config| $heap::open_backend(Backend::Flist, config),
                    Backend::Malloc => |config| $heap::open_backend(Backend::Malloc, config),
                    Backend::Jemalloc => |config| $heap::open_backend(Backend::Jemalloc, config),
                    Backend::Mimalloc => |config| $heap::open_backend(Backend::Mimalloc, config),
                };
                self
            }
        }
    };
}

choose_backend!(Arena<Dynamic>, Dynamic);
choose_backend!(SharedArena<SharedDynamic>, SharedDynamic);

/// The two kinds of arena that a [`Builder`] makes: [`Arena`] and [`SharedArena`].
///
/// Sealed: nothing else implements it.
pub trait ArenaKind: sealed::Assemble {}

impl<A: sealed::Assemble> ArenaKind for A {}

pub(crate) mod sealed {
    use mallocer_core::Mallocer;

    use crate::arena::Inner;

    pub trait Assemble {
        type Heap: Mallocer;

        fn assemble(inner: Inner<Self::Heap>) -> Self;
    }
}

/// Why an arena cannot be built.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The backend cannot be had.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A setting is out of its range, or the backend refuses.
    #[error(transparent)]
    Config(ConfigError),
}

impl From<ConfigError> for BuildError {
    fn from(refusal: ConfigError) -> BuildError {
        match refusal {
            ConfigError::NoBackend => BuildError::Backend(BackendError::None),
            other => BuildError::Config(other),
        }
    }
}

/// The settings of an arena around a heap that was opened elsewhere.
pub(crate) fn settings_of<M: Mallocer>(heap: &M) -> Settings<M> {
    let mut config = Config::default();
    config.capacity = heap.budget().capacity().min(MAX_CAPACITY);
    Settings::new(config)
}
