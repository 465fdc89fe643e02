//! An ordered index as a storage engine would keep it, wholly in an arena.
//!
//! From the bottom up, each layer knowing only those before it:
//!
//! * [`memory`]: the calls of an arena, counted and sometimes timed;
//! * `key`: bytes with their length in front;
//! * [`version`]: values that are superseded while readers still hold them;
//! * `tree`: a B+ tree of raw chunks;
//! * [`store`]: key → posting array and current version.
//!
//! Nothing of it is on the global heap, and it frees nothing when dropped: what is
//! live goes when the arena is released, which is one of the things measured.

mod key;
pub(crate) mod memory;
pub(crate) mod store;
mod tree;
pub(crate) mod version;

#[cfg(test)]
mod tests;
