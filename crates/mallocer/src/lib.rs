//! Arenas over a choice of allocators, behind one API.
#![cfg_attr(mallocer_nightly, feature(allocator_api))]

mod allocator;
mod arena;
mod backend;
mod builder;
pub mod collections;
mod dynamic;
pub mod global;
mod methods;

pub use arena::{Arena, SharedArena};
pub use backend::{Backend, BackendError};
pub use builder::{ArenaKind, BuildError, Builder};
pub use dynamic::{Dynamic, SharedDynamic};

pub use mallocer_core::{
    AllocError, Budget, Bytes, Config, ConfigError, Hints, Info, Ladder, LadderBuilder,
    MAX_CAPACITY, Mallocer, Misuse, MisuseKind, SlabIndex, SlabUse, Step,
};
#[cfg(feature = "flist")]
pub use mallocer_flist::{Flist, SharedFlist};
#[cfg(feature = "jemalloc")]
pub use mallocer_jemalloc::{Jemalloc, SharedJemalloc};
#[cfg(feature = "malloc")]
pub use mallocer_malloc::{Malloc, SharedMalloc};
#[cfg(feature = "mimalloc")]
pub use mallocer_mimalloc::{Mimalloc, SharedMimalloc};
