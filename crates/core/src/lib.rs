//! What every mallocer backend shares: one trait, and the words it speaks.
//!
//! This crate knows no backend. It holds
//!
//! * [`Mallocer`], the trait a backend implements, and how to write one;
//! * [`Chunks`], the part of it that data structures need, and [`Ambient`] and [`Locate`], by
//!   which they find their heap without carrying it;
//! * [`Config`], what an arena is asked to be, and [`ConfigError`], why it
//!   cannot be that;
//! * [`Ladder`], the ascending chunk sizes of an arena, with lookup in O(1);
//! * [`Budget`], [`Meter`] and [`SharedMeter`], which keep the promise that an arena never takes
//!   more than its capacity, through any number of nested arenas;
//! * [`Callbacks`], by which a program is told of all that, and may free something when
//!   capacity runs out;
//! * [`Info`] and [`SlabUse`], what an arena says of itself;
//! * [`AllocError`], why there is no memory, with the figures;
//! * [`Misuse`], what a program did wrong, with the chunk, slab and pool.
//!
//! It is `no_std` and needs only `alloc`.
//!
//! ```
//! use mallocer_core::Ladder;
//!
//! let ladder = Ladder::default(); // 8 bytes to 1 TiB, utilization 0.95
//! assert_eq!(ladder.slabs().len(), 479);
//! let slab = ladder.find(67, 1).unwrap();
//! assert_eq!(ladder.slab_size(slab), 72);
//! ```
#![no_std]

extern crate alloc;

mod budget;
mod callbacks;
mod chunks;
mod config;
mod error;
mod hints;
mod info;
mod ladder;
mod mallocer;
mod misuse;
mod shared_meter;

pub use budget::{Budget, Meter};
pub use callbacks::Callbacks;
pub use chunks::{Ambient, Chunks, Locate};
pub use config::{Config, DEFAULT_MAX_CHUNKS, MAX_CAPACITY};
pub use error::{AllocError, ConfigError};
pub use hints::Hints;
pub use info::{Bytes, Info, SlabUse};
#[doc(hidden)]
pub use ladder::Table;
pub use ladder::{
    DEFAULT_UTILIZATION, Ladder, LadderBuilder, MAX_SLABS, SMALL_BYTES, SlabIndex, Step,
};
pub use mallocer::Mallocer;
pub use misuse::{Misuse, MisuseKind};
pub use shared_meter::SharedMeter;
