//! The workload set `arena`: what allocators are measured on.
//!
//! `mallocer compare --workload arena` and the criterion benches run the same code
//! from here, on whatever implements [`Subject`].
//!
//! * [`Subject`] is the little that a workload needs of an allocator; [`Library`]
//!   makes one of a `GlobalAlloc`, and [`ByPointer`] one of an arena whose chunks are
//!   freed without their size.
//! * [`Workload`] is one of the set: a name, what counts as one operation, and how to
//!   measure it. [`SET`] has all of them.
//! * [`Competitor`] and [`Visitor`] go through allocators that are types of their own,
//!   so that nothing stands between a workload and the allocator.
//! * [`race`] takes the rounds in turns, each measurement in a process of its own, and
//!   sums them up.
//! * [`FreeList`] is the bare free list, the limit that nobody beats.
//!
//! Every chunk gets its first word written when it is allocated, as a program would:
//! an allocator that leaves the first touch of memory to its caller shows no better
//! for it. What a workload keeps for itself is allocated before the measured part, from
//! Rust's global allocator.

mod bursts;
mod chunk;
mod competitor;
mod large;
mod limit;
pub mod race;
mod random;
mod replace;
mod set;
mod strings;
mod subject;
mod threads;
mod whole;

pub use competitor::{Competitor, Visitor};
pub use limit::FreeList;
pub use random::{Random, Sizes};
pub use set::{Needs, SET, Workload};
pub use subject::{ByPointer, Library, Subject};
