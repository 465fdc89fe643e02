//! jemalloc as a mallocer backend.
//!
//! jemalloc knows arenas, and every heap here is one: created when the heap is
//! opened, reset when it is released, destroyed when it is dropped. Around it stand
//!
//! * explicit thread caches (tcaches), since the automatic ones of jemalloc keep
//!   chunks beyond the life of an arena: one for [`Jemalloc`], which one thread uses
//!   at a time, and a few behind try-locks for [`SharedJemalloc`];
//! * a meter that charges the size class of every chunk to the heap's budget before
//!   the chunk is handed out.
//!
//! | file | idea |
//! |---|---|
//! | `heap.rs` | the heap: what an allocation and a free do, generic over sharing |
//! | `sharing.rs` | one tcache, or several with a lock each |
//! | `arena.rs` | a jemalloc arena and its statistics |
//! | `classes.rs` | jemalloc's size classes |
//! | `outsize.rs` | chunks above the last size class |
//! | `ctl.rs` | jemalloc's control interface, names resolved once |
//! | `global.rs` | jemalloc as `#[global_allocator]` |
//! | `chunks.rs` | the same, for data structures |
//!
//! ```
//! use std::alloc::Layout;
//! use mallocer_core::{Config, Mallocer};
//! use mallocer_jemalloc::Jemalloc;
//!
//! let mut config = Config::default();
//! config.capacity = 1 << 20;
//! let heap = Jemalloc::open(&config)?;
//! let chunk = heap.try_alloc(Layout::new::<[u64; 10]>())?;
//! assert_eq!(heap.info().alloc, 80);
//! // SAFETY: the chunk is of this heap, and not used any more.
//! unsafe { heap.free(chunk.cast()) };
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The library's symbols keep their prefix (`_rjem_`): the program's own `malloc` is
//! not replaced.

mod arena;
mod chunks;
mod classes;
mod ctl;
mod global;
mod heap;
mod outsize;
mod sharing;
#[cfg(test)]
mod tests;

pub use global::Global;
pub use heap::Heap;
pub use sharing::{Alone, Shared, Sharing};

/// A jemalloc arena for one thread.
pub type Jemalloc = Heap<Alone>;

/// A jemalloc arena that any thread may use.
pub type SharedJemalloc = Heap<Shared>;
