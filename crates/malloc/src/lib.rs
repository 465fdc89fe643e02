//! The C library's `malloc` as a mallocer backend.
//!
//! The C library has one heap for the whole process. To make arenas of it, this
//! backend keeps beside it
//!
//! * a registry of the chunks that an arena holds: one bit for every 16
//!   bytes of address space in use. Release frees what is set in it, and a free of
//!   anything that is not set is caught;
//! * a meter that charges the size of every chunk, header included, to the arena's
//!   budget before the chunk is handed out.
//!
//! | file | idea |
//! |---|---|
//! | `heap.rs` | the arena: what an allocation and a free do, generic over sharing |
//! | `sharing.rs` | one thread without atomics, or many with as few as possible |
//! | `registry.rs` | which addresses are handed out |
//! | `classes.rs` | the chunk sizes of the C library |
//! | `global.rs` | the C library as `#[global_allocator]` |
//! | `chunks.rs` | the same, for data structures |
//!
//! ```
//! use std::alloc::Layout;
//! use mallocer_core::{Config, Mallocer};
//! use mallocer_malloc::Malloc;
//!
//! let mut config = Config::default();
//! config.capacity = 1 << 20;
//! let heap = Malloc::open(&config)?;
//! let chunk = heap.try_alloc(Layout::new::<[u64; 10]>())?;
//! assert_eq!(heap.info().alloc, chunk.len());
//! // SAFETY: the chunk is of this heap, and not used any more.
//! unsafe { heap.free(chunk.cast()) };
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chunks;
mod classes;
mod global;
mod heap;
mod registry;
mod sharing;
#[cfg(test)]
mod tests;

pub use global::Global;
pub use heap::Heap;
pub use sharing::{Alone, Shared, Sharing};

/// A heap of the C library's for one thread.
pub type Malloc = Heap<Alone>;

/// A heap of the C library's that any thread may use.
pub type SharedMalloc = Heap<Shared>;
