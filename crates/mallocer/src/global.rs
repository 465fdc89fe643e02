//! Each backend as the allocator of the whole program.
//!
//! ```
//! # #[cfg(feature = "flist")]
//! #[global_allocator]
//! static GLOBAL: mallocer::global::Flist = mallocer::global::Flist;
//! ```

#[cfg(feature = "flist")]
pub use mallocer_flist::Global as Flist;
#[cfg(feature = "jemalloc")]
pub use mallocer_jemalloc::Global as Jemalloc;
#[cfg(feature = "malloc")]
pub use mallocer_malloc::Global as Malloc;
#[cfg(feature = "mimalloc")]
pub use mallocer_mimalloc::Global as Mimalloc;
