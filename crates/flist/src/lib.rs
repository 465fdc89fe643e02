//! flist, mallocer's own engine: slabs, pools and magazines, with all metadata out of
//! band and misuse caught always.
//!
//! # How it works
//!
//! Layers, bottom up; each uses only those before it:
//!
//! | module | what it is |
//! |---|---|
//! | `os`, `primitive` | system calls; what threads are told apart by |
//! | `lock`, `once` | a lock of one word; a value made once |
//! | `descriptor` | from an address to what is there |
//! | `spans` | free address space, best fit, merged |
//! | `reservation` | the address space of the process |
//! | `meta` | memory for bookkeeping |
//! | `pool`, `slab` | chunks of one size; their counts |
//! | `magazine`, `shelf` | short stacks of ready chunks; what a thread has of a slab |
//! | `foreign`, `post` | chunks that are other threads'; how they get there |
//! | `heap`, `extent`, `kept`, `huge` | one arena's pools and large chunks, on its budget; those at hand; huge pages |
//! | `refill`, `flush` | chunks between shelves and pools |
//! | `leaving`, `excess`, `holes` | memory that is given back; so much of it that it does not wait; parts of pools |
//! | `statistics` | what a heap has seen, and what it is made of |
//! | `clusters` | chunks that are ready before they are asked for |
//! | `place`, `misuse` | from an address to its chunk; what was wrong with a pointer |
//! | `flist` | the arena for one thread |
//! | `cache`, `local`, `registry` | a thread's magazines; how it finds them; how it ends |
//! | `locate` | from a chunk to its arena |
//! | `front`, `sharing`, `shared` | the arena for any thread: without its lock, with it, as a `Mallocer` |
//! | `process`, `global` | the heap of a whole process |
//! | `hardened` | a layer in front of a heap that finds what costs more to find |
//!
//! A request picks a slab from the ladder; the slab's magazine has a chunk ready. A
//! free finds the chunk's pool by its address alone, checks that it is the start of a
//! chunk that is handed out, and puts it on the magazine. Only every few dozen
//! operations a magazine is refilled from the pools, or flushed to them.
//!
//! # What is caught
//!
//! Every free, realloc and length query checks its pointer, in release builds too. A
//! pointer that is foreign, of another arena, inside a chunk, freed already, or into
//! released memory stops the program by a panic whose message names chunk, slab and
//! pool; so does a wrong size or alignment on a sized free.
#![no_std]

extern crate alloc;
#[cfg(mallocer_loom)]
extern crate std;

mod behind;
mod cache;
mod clusters;
mod descriptor;
mod excess;
mod extent;
mod flist;
mod flush;
mod foreign;
mod front;
#[cfg(not(mallocer_loom))]
mod global;
mod hardened;
mod heap;
mod holes;
mod huge;
mod kept;
mod leaving;
mod local;
mod locate;
mod lock;
mod magazine;
mod mark;
mod meta;
mod misuse;
#[cfg(all(test, mallocer_loom))]
mod models;
mod once;
mod os;
mod place;
mod pool;
mod pools;
mod post;
mod primitive;
#[cfg(not(mallocer_loom))]
mod process;
mod refill;
mod registry;
mod reservation;
mod resizing;
mod shared;
mod sharing;
mod shelf;
mod slab;
mod spans;
mod statistics;
#[cfg(all(test, not(mallocer_loom)))]
mod tests;
mod warm;

pub use flist::Flist;
#[cfg(not(mallocer_loom))]
pub use front::Elsewhere;
#[cfg(not(mallocer_loom))]
pub use global::Global;
#[cfg(not(mallocer_loom))]
pub use process::{Process, abort};
pub use shared::SharedFlist;
pub use statistics::{Block, BlockKind, Statistics};
