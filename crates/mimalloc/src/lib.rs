//! mimalloc as a mallocer backend.
//!
//! mimalloc knows heaps, and every heap here is one: made when it is opened, destroyed
//! when it is released, with all that is allocated from it. Around it stand
//!
//! * a meter that charges the size of every chunk to the heap's budget before the chunk
//!   is handed out, and a count of chunks by size;
//! * a list of the few chunks that mimalloc's own destruction forgets;
//! * a gate between threads that end and heaps that are destroyed, which mimalloc 3.3.2
//!   does not survive at the same time.
//!
//! | file | idea |
//! |---|---|
//! | `heap.rs` | the heap: what an allocation and a free do, generic over sharing |
//! | `sharing.rs` | counting for one thread, or for many |
//! | `threads.rs` | the gate: threads that begin or end, and heaps that end |
//! | `classes.rs` | mimalloc's size classes |
//! | `apart.rs` | chunks outside of the size classes |
//! | `global.rs` | mimalloc as `#[global_allocator]` |
//! | `chunks.rs` | the same, for data structures |
//!
//! ```
//! use std::alloc::Layout;
//! use mallocer_core::{Config, Mallocer};
//! use mallocer_mimalloc::Mimalloc;
//!
//! let mut config = Config::default();
//! config.capacity = 1 << 20;
//! let heap = Mimalloc::open(&config)?;
//! let chunk = heap.try_alloc(Layout::new::<[u64; 10]>())?;
//! assert_eq!(heap.info().alloc, 80);
//! // SAFETY: the chunk is of this heap, and not used any more.
//! unsafe { heap.free(chunk.cast()) };
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apart;
mod chunks;
mod classes;
mod global;
mod heap;
mod sharing;
#[cfg(test)]
mod tests;
mod threads;

pub use global::Global;
pub use heap::Heap;
pub use sharing::{Alone, Shared, Sharing};

/// A mimalloc heap for one thread.
pub type Mimalloc = Heap<Alone>;

/// A mimalloc heap that any thread may use.
pub type SharedMimalloc = Heap<Shared>;
