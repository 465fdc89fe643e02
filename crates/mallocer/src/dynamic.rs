//! A heap whose backend is chosen at run time.
//!
//! [`Dynamic`] is an enum over the backends, and every call is a `match` on it:
//! compares that a processor predicts, where a trait object would be a call that
//! nobody can inline. `enum_dispatch` writes the matches; it needs trait and enum in
//! one crate, so the trait it dispatches on lives here and says again what
//! [`Mallocer`] says.
//!
//! flist's fast path is so short that it would feel a call, or a jump table, which is
//! what a match of four becomes. So the match is in two steps: flist or a library, then
//! which library; the first step of the fast path is inlined into the caller always.
//! Its tag has a byte of its own at the start of the heap, where a tag that hides in an
//! unused value of some field would have to be fetched and decoded.
//!
//! A backend that is not compiled in is a type without values, `absent::Absent`. Its
//! variant takes no space and its match arm is never reached, so the compiler drops
//! both, and nothing else here asks which features are on.

use std::alloc::Layout;
use std::fmt;
use std::ptr::NonNull;

use enum_dispatch::enum_dispatch;
use mallocer_core::{AllocError, Budget, Config, ConfigError, Info, Mallocer, SlabUse};

use crate::backend::Backend;
use crate::builder::BuildError;

#[cfg(feature = "flist")]
use mallocer_flist::{Flist, SharedFlist};
#[cfg(not(feature = "flist"))]
type Flist = crate::absent::Absent<0>;
#[cfg(not(feature = "flist"))]
type SharedFlist = crate::absent::Absent<0>;

#[cfg(feature = "malloc")]
use mallocer_malloc::{Malloc, SharedMalloc};
#[cfg(not(feature = "malloc"))]
type Malloc = crate::absent::Absent<1>;
#[cfg(not(feature = "malloc"))]
type SharedMalloc = crate::absent::Absent<1>;

#[cfg(feature = "jemalloc")]
use mallocer_jemalloc::{Jemalloc, SharedJemalloc};
#[cfg(not(feature = "jemalloc"))]
type Jemalloc = crate::absent::Absent<2>;
#[cfg(not(feature = "jemalloc"))]
type SharedJemalloc = crate::absent::Absent<2>;

#[cfg(feature = "mimalloc")]
use mallocer_mimalloc::{Mimalloc, SharedMimalloc};
#[cfg(not(feature = "mimalloc"))]
type Mimalloc = crate::absent::Absent<3>;
#[cfg(not(feature = "mimalloc"))]
type SharedMimalloc = crate::absent::Absent<3>;

/// The methods of [`Mallocer`] that have a receiver, all of them: defaults too, so
/// that what a backend overrides is what is called.
#[enum_dispatch]
trait Heap {
    fn name(&self) -> &'static str;
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError>;
    fn try_alloc_slab(&self, slab: usize) -> Result<NonNull<[u8]>, AllocError>;
    /// # Safety
    ///
    /// As [`Mallocer::try_realloc`].
    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError>;
    /// # Safety
    ///
    /// As [`Mallocer::resize_in_place`].
    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize>;
    /// # Safety
    ///
    /// As [`Mallocer::free`].
    unsafe fn free(&self, chunk: NonNull<u8>);
    /// # Safety
    ///
    /// As [`Mallocer::free_sized`].
    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout);
    /// # Safety
    ///
    /// As [`Mallocer::chunk_len`].
    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize;
    /// # Safety
    ///
    /// As [`Mallocer::slab_size`].
    unsafe fn slab_size(&self, chunk: NonNull<u8>) -> usize;
    fn slabs(&self) -> &[usize];
    fn info(&self) -> Info;
    fn each_slab_use(&self, visit: &mut dyn FnMut(SlabUse));
    fn purge(&self) -> usize;
    /// # Safety
    ///
    /// As [`Mallocer::release`].
    unsafe fn release(&self);
    fn budget(&self) -> &Budget;
}

/// Writes the methods of [`Heap`], but for those of the fast path, as calls of the same
/// methods of `$trait` on `$heap`: once from [`Mallocer`] to [`Heap`] and once back.
macro_rules! forward {
    ($self:ident => $trait:ident, $heap:expr) => {
        #[inline]
        fn name(&$self) -> &'static str {
            $trait::name($heap)
        }

        #[inline]
        fn try_alloc_zeroed(&$self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
            $trait::try_alloc_zeroed($heap, layout)
        }

        #[inline]
        fn try_alloc_slab(&$self, slab: usize) -> Result<NonNull<[u8]>, AllocError> {
            $trait::try_alloc_slab($heap, slab)
        }

        #[inline]
        unsafe fn try_realloc(
            &$self,
            chunk: NonNull<u8>,
            layout: Layout,
        ) -> Result<NonNull<[u8]>, AllocError> {
            // SAFETY: the contract is the same, and the caller keeps it.
            unsafe { $trait::try_realloc($heap, chunk, layout) }
        }

        #[inline]
        unsafe fn resize_in_place(&$self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
            // SAFETY: as above.
            unsafe { $trait::resize_in_place($heap, chunk, size) }
        }

        #[inline]
        unsafe fn chunk_len(&$self, chunk: NonNull<u8>) -> usize {
            // SAFETY: as above.
            unsafe { $trait::chunk_len($heap, chunk) }
        }

        #[inline]
        unsafe fn slab_size(&$self, chunk: NonNull<u8>) -> usize {
            // SAFETY: as above.
            unsafe { $trait::slab_size($heap, chunk) }
        }

        #[inline]
        fn slabs(&$self) -> &[usize] {
            $trait::slabs($heap)
        }

        fn info(&$self) -> Info {
            $trait::info($heap)
        }

        fn each_slab_use(&$self, visit: &mut dyn FnMut(SlabUse)) {
            $trait::each_slab_use($heap, visit)
        }

        fn purge(&$self) -> usize {
            $trait::purge($heap)
        }

        unsafe fn release(&$self) {
            // SAFETY: as above.
            unsafe { $trait::release($heap) }
        }

        #[inline]
        fn budget(&$self) -> &Budget {
            $trait::budget($heap)
        }
    };
}

impl<M: Mallocer> Heap for M {
    forward!(self => Mallocer, self);

    #[inline(always)]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Mallocer::try_alloc(self, layout)
    }

    #[inline(always)]
    unsafe fn free(&self, chunk: NonNull<u8>) {
        // SAFETY: the contract is the same, and the caller keeps it.
        unsafe { Mallocer::free(self, chunk) }
    }

    #[inline(always)]
    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
        // SAFETY: as above.
        unsafe { Mallocer::free_sized(self, chunk, layout) }
    }
}

#[enum_dispatch(Heap)]
#[repr(u8)]
enum OneThread {
    Flist(Flist),
    Library(Library),
}

#[enum_dispatch(Heap)]
enum Library {
    Malloc(Malloc),
    Jemalloc(Jemalloc),
    Mimalloc(Mimalloc),
}

#[enum_dispatch(Heap)]
#[repr(u8)]
enum AnyThread {
    Flist(SharedFlist),
    Library(SharedLibrary),
}

#[enum_dispatch(Heap)]
enum SharedLibrary {
    Malloc(SharedMalloc),
    Jemalloc(SharedJemalloc),
    Mimalloc(SharedMimalloc),
}

/// A heap of any backend that is compiled in, for one thread.
///
/// What an [`Arena`](crate::Arena) has if no type is named.
pub struct Dynamic(OneThread);

/// A heap of any backend that is compiled in, for any number of threads.
///
/// What a [`SharedArena`](crate::SharedArena) has if no type is named.
pub struct SharedDynamic(AnyThread);

macro_rules! dynamic {
    (
        $dynamic:ident($heap:ident: $flist:ty, $library:ident: $malloc:ty, $jemalloc:ty, $mimalloc:ty)
    ) => {
        impl $dynamic {
            /// Opens an empty heap of `backend`.
            ///
            /// # Errors
            ///
            /// [`BuildError::Backend`] if it is not compiled in, and what the backend's
            /// [`open`](Mallocer::open) says.
            pub fn open_backend(
                backend: Backend,
                config: &Config,
            ) -> Result<$dynamic, BuildError> {
                let library = match backend.checked()? {
                    Backend::Flist => {
                        return Ok($dynamic($heap::Flist(<$flist>::open(config)?)));
                    }
                    Backend::Malloc => $library::Malloc(<$malloc>::open(config)?),
                    Backend::Jemalloc => $library::Jemalloc(<$jemalloc>::open(config)?),
                    Backend::Mimalloc => $library::Mimalloc(<$mimalloc>::open(config)?),
                };
                Ok($dynamic($heap::Library(library)))
            }

            /// Which backend this heap has.
            pub fn backend(&self) -> Backend {
                match &self.0 {
                    $heap::Flist(_) => Backend::Flist,
                    $heap::Library($library::Malloc(_)) => Backend::Malloc,
                    $heap::Library($library::Jemalloc(_)) => Backend::Jemalloc,
                    $heap::Library($library::Mimalloc(_)) => Backend::Mimalloc,
                }
            }
        }

        // SAFETY: every call goes to the one heap inside, which keeps the promises of
        // the trait.
        unsafe impl Mallocer for $dynamic {
            /// Opens a heap of the [preferred](Backend::preferred) backend.
            fn open(config: &Config) -> Result<$dynamic, ConfigError> {
                let backend = Backend::preferred().map_err(|_| ConfigError::NoBackend)?;
                $dynamic::open_backend(backend, config).map_err(|refusal| match refusal {
                    BuildError::Config(refusal) => refusal,
                    BuildError::Backend(_) => ConfigError::NoBackend,
                })
            }

            forward!(self => Heap, &self.0);

            #[inline(always)]
            fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                match &self.0 {
                    $heap::Flist(flist) => Heap::try_alloc(flist, layout),
                    $heap::Library(library) => Heap::try_alloc(library, layout),
                }
            }

            #[inline(always)]
            unsafe fn free(&self, chunk: NonNull<u8>) {
                // SAFETY: the contract is the same, and the caller keeps it.
                unsafe {
                    match &self.0 {
                        $heap::Flist(flist) => Heap::free(flist, chunk),
                        $heap::Library(library) => Heap::free(library, chunk),
                    }
                }
            }

            #[inline(always)]
            unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
                // SAFETY: as above.
                unsafe {
                    match &self.0 {
                        $heap::Flist(flist) => Heap::free_sized(flist, chunk, layout),
                        $heap::Library(library) => Heap::free_sized(library, chunk, layout),
                    }
                }
            }
        }

        impl fmt::Debug for $dynamic {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($dynamic), "({})"), self.backend())
            }
        }
    };
}

dynamic!(Dynamic(OneThread: Flist, Library: Malloc, Jemalloc, Mimalloc));
dynamic!(SharedDynamic(
    AnyThread: SharedFlist,
    SharedLibrary: SharedMalloc, SharedJemalloc, SharedMimalloc
));
