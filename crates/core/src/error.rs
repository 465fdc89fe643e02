//! Why an arena cannot be built, and why it cannot give memory.

use thiserror::Error;

/// Why an allocation failed.
///
/// Nothing that was allocated before is touched by a failure, and the arena goes
/// on working: free something, or raise the capacity, and ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocError {
    /// The arena, or an arena it draws on, would exceed its capacity.
    #[error(
        "out of memory: {requested} bytes requested, {used} of {limit} bytes of capacity used; \
         free or purge something, or build the arena with a larger capacity"
    )]
    Capacity {
        /// Bytes that the arena wanted to take for this request.
        requested: usize,
        /// Bytes already taken from the capacity that refused.
        used: usize,
        /// That capacity, in bytes.
        limit: usize,
    },
    /// The request is larger than the largest slab of the ladder.
    #[error(
        "{requested} bytes requested, above the largest slab of {largest} bytes; \
         build the arena with a ladder that reaches further"
    )]
    AboveLargestSlab {
        /// Bytes that the program asked for.
        requested: usize,
        /// The largest slab of the ladder, in bytes.
        largest: usize,
    },
    /// The backend cannot align a chunk that far.
    #[error("alignment {alignment} requested, above the largest supported alignment {largest}")]
    Alignment {
        /// The alignment asked for, in bytes.
        alignment: usize,
        /// The largest alignment this backend serves, in bytes.
        largest: usize,
    },
    /// A chunk was asked of a slab that the ladder does not have.
    #[error("no slab of {requested} bytes; the nearest slabs are {below} and {above} bytes")]
    NoSuchSlab {
        /// The slab size asked for, in bytes.
        requested: usize,
        /// The largest slab below it, or 0.
        below: usize,
        /// The smallest slab above it, or the largest slab of all.
        above: usize,
    },
    /// The slab that serves the request has as many pools as it may have, all full.
    #[error(
        "slab {slab} has {pools} pools, all full, and may have no more; \
         raise max_pools or max_chunks"
    )]
    PoolLimit {
        /// The slab, in bytes.
        slab: usize,
        /// How many pools it has.
        pools: usize,
    },
    /// The operating system, or the library behind the backend, refused memory.
    #[error(
        "the system refused {requested} bytes ({used} of {limit} bytes of capacity used); \
         check the memory limits of the process"
    )]
    System {
        /// Bytes that were asked of the system.
        requested: usize,
        /// Bytes already taken from the arena's capacity.
        used: usize,
        /// The arena's capacity, in bytes.
        limit: usize,
    },
}

/// Why an arena, or a ladder for one, cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The capacity is above what any arena may have.
    #[error("capacity of {requested} bytes is above the limit of {limit} bytes (1 TiB)")]
    CapacityTooLarge {
        /// The capacity asked for, in bytes.
        requested: usize,
        /// The largest capacity, in bytes.
        limit: usize,
    },
    /// The capacity does not even hold one chunk.
    #[error(
        "capacity of {requested} bytes is too small: the {backend} backend needs at least \
         {minimum} bytes to hold one chunk"
    )]
    CapacityTooSmall {
        /// The backend that was to be built.
        backend: &'static str,
        /// The capacity asked for, in bytes.
        requested: usize,
        /// The least capacity that holds one chunk, in bytes.
        minimum: usize,
    },
    /// The smallest block of a ladder is larger than its largest.
    #[error("minblock {min} is above maxblock {max}; give the smaller size first")]
    MinAboveMax {
        /// The smallest block, in bytes.
        min: usize,
        /// The largest block, in bytes.
        max: usize,
    },
    /// A bound of the ladder is not a multiple of its alignment.
    #[error("{name} {value} is not a multiple of the alignment {alignment}; use {remedy}")]
    UnalignedBound {
        /// Which bound: `minblock` or `maxblock`.
        name: &'static str,
        /// The bound, in bytes.
        value: usize,
        /// The alignment of the ladder, in bytes.
        alignment: usize,
        /// The next multiple of the alignment, in bytes.
        remedy: usize,
    },
    /// The alignment of a ladder is neither 8 nor 16.
    #[error("alignment {value} of a ladder must be 8 or 16")]
    LadderAlignment {
        /// The alignment asked for.
        value: usize,
    },
    /// The utilization of a ladder is outside of 0.5 to 0.999.
    #[error("utilization {value} must lie between 0.5 and 0.999; 0.95 is the default")]
    Utilization {
        /// The utilization asked for.
        value: f64,
    },
    /// The ladder has more slabs than allowed.
    #[error(
        "the ladder has {count} slabs, above the limit of {limit}; lower the utilization or \
         narrow the bounds"
    )]
    TooManySlabs {
        /// How many slabs the ladder would have (counting stops past the limit).
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The ladder has no slab.
    #[error("the ladder is empty; give at least one slab")]
    EmptyLadder,
    /// The slabs of a ladder do not ascend.
    #[error(
        "slab {value} at position {position} does not ascend: the slab before it is {previous}; \
         sort the ladder and remove duplicates"
    )]
    UnsortedLadder {
        /// Position in the ladder, from 0.
        position: usize,
        /// The slab before, in bytes.
        previous: usize,
        /// The slab at that position, in bytes.
        value: usize,
    },
    /// A slab is zero, or above 1 TiB.
    #[error("slab {value} at position {position} must lie between 1 and {limit} bytes")]
    SlabOutOfRange {
        /// Position in the ladder, from 0.
        position: usize,
        /// The slab, in bytes.
        value: usize,
        /// The largest slab there may be, in bytes.
        limit: usize,
    },
    /// A limit of the configuration is out of its range.
    #[error("{name} is {value}, and must lie between {least} and {most}")]
    OutOfRange {
        /// Which setting.
        name: &'static str,
        /// What it was set to.
        value: usize,
        /// The least it may be.
        least: usize,
        /// The most it may be.
        most: usize,
    },
    /// No backend is compiled in.
    #[error("no backend is compiled in; enable the Cargo feature of at least one")]
    NoBackend,
    /// The library or the system behind a backend refused to make a heap.
    #[error("the {backend} backend cannot make a heap: {call} failed with code {code}")]
    Library {
        /// The backend.
        backend: &'static str,
        /// What was called.
        call: &'static str,
        /// What it returned.
        code: i32,
    },
}
