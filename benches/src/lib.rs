//! What is measured, and on what: workloads, and the allocators that compete.
//!
//! * [`Subject`] is the little that a workload needs of an allocator;
//! * [`workload`] has the workloads, generic over it, so that every call is
//!   compiled as directly as in a program that uses that allocator;
//! * [`competitors`] is the table of those who compete, each in its best
//!   configuration;
//! * [`limit`] is the bare free list that nobody beats.
//!
//! The benchmarks themselves are in `allocators.rs`, and `README.md` says how to run
//! and to read them.

pub mod competitors;
pub mod limit;
mod subject;
pub mod workload;

pub use subject::{Bump, Library, Subject, WithoutSize};
