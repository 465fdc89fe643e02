//! Arenas with a capacity over a choice of allocators, behind one API.
//!
//! A program asks an *arena* for memory. What serves it is a choice, made by a type or
//! at run time: mallocer's own slab engine `flist`, the C library's `malloc`,
//! `jemalloc` or `mimalloc`. The API, the accounting and the guarantees are the same:
//!
//! * **Capacity** is a promise: an arena never takes more, and says requested, used and
//!   limit when it refuses. What was allocated before stays as it is.
//! * **Release** gives back at once everything that an arena handed out.
//! * **Arenas nest**: a child draws on its parent's capacity.
//! * **Misuse** that a backend detects panics with the pointer, the chunk and what was
//!   wrong. flist detects all of it, in release builds too.
//!
//! # Example
//!
//! ```
//! use std::alloc::Layout;
//! use mallocer::{Arena, Backend, Ladder};
//!
//! let arena = Arena::builder()
//!     .backend(Backend::preferred()?)          // or Arena::<Flist>::builder()
//!     .capacity(1 << 30)
//!     .ladder(Ladder::between(96, 1 << 20)?)   // default: 8 bytes to 1 TiB
//!     .build()?;                               // every bad setting is a named error here
//! let chunk = arena.try_alloc(Layout::new::<[u64; 14]>())?; // its whole chunk length
//! println!("{}", arena.info());                // capacity, heap, alloc, overhead
//! unsafe { arena.free(chunk.cast()) };         // misuse panics, and says what was wrong
//! arena.release();                             // dropping does the same
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Safe code uses an arena through its [`collections`]:
//!
//! ```
//! use mallocer::{Arena, collections::Vec};
//!
//! let arena = Arena::new(64 << 20)?;
//! let mut squares = Vec::new_in(&arena);
//! squares.extend((0..1000u64).map(|number| number * number));
//! assert!(arena.info().alloc >= 8000);
//! # Ok::<(), mallocer::BuildError>(())
//! ```
//!
//! # What is where
//!
//! | | |
//! |---|---|
//! | [`Arena`], [`SharedArena`] | one thread, the compiler keeps it there; any thread, clones are the same arena |
//! | [`Builder`], [`BuildError`] | the settings, and which of them was wrong |
//! | [`Backend`] | the backends by name: parsed, from the environment, compiled in |
//! | [`Dynamic`], [`SharedDynamic`] | the heap behind a run-time choice: one predicted compare a call |
//! | [`Mallocer`] | the trait of a backend; any type with it can stand behind an arena |
//! | [`Config`], [`Meter`], [`SharedMeter`], [`Misuse`] | what a backend of your own needs |
//! | [`Ladder`], [`Budget`], [`Info`], [`SlabUse`] | chunk sizes, shares of memory, statistics |
//! | [`AllocError`] | why there is no memory, with the figures |
//! | [`collections`] | `Vec`, `Box`, `HashMap`, `HashSet` in an arena |
//! | [`mod@array`] | arrays, strings and typed pools with handles of one word |
//! | [`debug`] | heaps around heaps, that count or look closely |
//! | [`global`] | each backend as the `#[global_allocator]` |
//!
//! # Features
//!
//! All of them add, none takes away. Where several backends are compiled in and nobody
//! says which, the first of this list serves.
//!
//! | feature | adds | default |
//! |---|---|---|
//! | `flist` | the slab engine | yes |
//! | `malloc` | the C library's malloc | yes |
//! | `jemalloc` | jemalloc, built from its C source | |
//! | `mimalloc` | mimalloc, built from its C source | |
//! | `array` | arrays, strings and typed pools | yes |
//! | `serde` | `Serialize` and `Deserialize` on backends, ladders and statistics | |
//! | `allocator-api2-04` | `Allocator` of allocator-api2 0.4 (that of 0.2 is always there) | |
//! | `nightly` | `core::alloc::Allocator` on a nightly compiler; nothing on stable | |
//!
//! # What it is not good for
//!
//! * A handful of objects: an arena takes its memory in pools, and pays for the first
//!   pool of every slab it uses.
//! * Objects that are never freed one by one and die together: a bump arena is faster
//!   still, and needs no slabs.
//! * Targets without an operating system, or without 64-bit addresses: the backends
//!   need both.
#![cfg_attr(mallocer_nightly, feature(allocator_api))]

#[cfg(not(all(
    feature = "flist",
    feature = "malloc",
    feature = "jemalloc",
    feature = "mimalloc"
)))]
mod absent;
mod allocator;
mod arena;
#[cfg(feature = "array")]
pub mod array;
mod backend;
mod builder;
pub mod collections;
pub mod debug;
mod dynamic;
pub mod global;
mod methods;

pub use arena::{Arena, SharedArena};
pub use backend::{Backend, BackendError};
pub use builder::{ArenaKind, BuildError, Builder};
pub use dynamic::{Dynamic, SharedDynamic};

pub use mallocer_core::{
    AllocError, Ambient, Budget, Bytes, Callbacks, Chunks, Config, ConfigError, DEFAULT_MAX_CHUNKS,
    DEFAULT_UTILIZATION, Hints, Info, Ladder, LadderBuilder, Locate, MAX_CAPACITY, MAX_SLABS,
    Mallocer, Meter, Misuse, MisuseKind, SharedMeter, SlabIndex, SlabUse, Step,
};
#[cfg(feature = "flist")]
pub use mallocer_flist::{Flist, SharedFlist};
#[cfg(feature = "jemalloc")]
pub use mallocer_jemalloc::{Jemalloc, SharedJemalloc};
#[cfg(feature = "malloc")]
pub use mallocer_malloc::{Malloc, SharedMalloc};
#[cfg(feature = "mimalloc")]
pub use mallocer_mimalloc::{Mimalloc, SharedMimalloc};

/// The pages of documentation: their code compiles and runs as this crate's does.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/adding-a-backend.md")]
    struct AddingABackend;
    #[doc = include_str!("../../../docs/ladder.md")]
    struct Ladder;
}
