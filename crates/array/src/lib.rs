//! Arrays, strings and pools of one type, in a mallocer heap.
//!
//! An [`Array`] is a `Vec` that keeps nothing twice: its capacity is the length of its
//! chunk, which the heap knows, its length stands at the start of the chunk, and the handle
//! is one word wherever the heap is found without being carried. [`Text`] is a `String` on it,
//! and a [`Pool`] holds many values of one type that come and go in any order.
//!
//! ```
//! use mallocer_array::{Array, In};
//! use mallocer_core::{Config, Mallocer};
//! use mallocer_flist::Flist;
//!
//! let heap = Flist::open(&Config::default())?;
//! let mut postings = Array::new_in(In::new(&heap));
//! postings.extend([3u32, 14, 15]);
//! postings.push(92);
//! assert_eq!(postings, [3, 14, 15, 92]);
//! assert_eq!(size_of_val(&postings), 8);
//! # Ok::<(), mallocer_core::ConfigError>(())
//! ```
//!
//! # What is where
//!
//! | module | idea |
//! |---|---|
//! | `source` | where memory comes from, and how one word leads there |
//! | `raw` | the chunk: its length, how much fits, growing |
//! | `array` | the array's methods |
//! | `chunk` | an array of bytes and its chunk, the one as the other |
//! | `edit`, `drain`, `iter` | keeping some, taking some, taking all |
//! | `traits`, `convert`, `io`, `serde` | what others expect of an array |
//! | `text` | UTF-8 on an array of bytes |
//! | `pool` | many values of one type: handles like boxes, and keys with generations |
//!
//! # Features
//!
//! `std` (default) adds `std::io::Write` for arrays of bytes, `serde` (de)serialisation.
//! Without both the crate needs `alloc` only.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod array;
mod chunk;
mod convert;
mod drain;
mod edit;
#[cfg(feature = "std")]
mod io;
mod iter;
mod pool;
mod raw;
#[cfg(feature = "serde")]
mod serde;
mod source;
mod text;
mod traits;

pub use array::Array;
pub use drain::{Drain, Splice};
pub use iter::IntoIter;
pub use pool::{Anywhere, Key, KeyedPool, Near, Placing, Pool, Pooled};
pub use raw::ReserveError;
pub use source::{In, Source, With};
pub use text::{Characters, Text};
