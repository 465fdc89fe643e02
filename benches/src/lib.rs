//! The allocators that compete, each in its best configuration.
//!
//! What they are measured on is the crate `mallocer-workloads`, which the program has,
//! too. [`competitors`] is the table of those who compete; [`peers`] are the ways into
//! libraries that no backend is made of.
//!
//! [`structures`] is what arrays, texts and pools are measured on.
//!
//! The benchmarks themselves are in `allocators.rs`, `arrays.rs` and the examples, and
//! `README.md` says how to run and to read them.

pub mod competitors;
pub mod peers;
pub mod structures;
