//! Whole heaps: filled from nothing, emptied chunk by chunk, and released at once.

use std::time::{Duration, Instant};

use crate::chunk::{self, Held, free_in_order, free_in_reverse, room};
use crate::{Sizes, Subject};

/// Chunks that are allocated or freed in one go.
pub(crate) const MANY: usize = 100_000;

/// Opens a heap and allocates [`MANY`] chunks. In the first iteration of a process all of
/// it is cold, for libraries without heaps too.
pub(crate) fn grow<S: Subject>(open: &dyn Fn() -> S, iterations: u64, sizes: Sizes) -> Duration {
    let mut held = room(MANY);
    let mut time = Duration::ZERO;
    for _ in 0..iterations {
        let start = Instant::now();
        let subject = open();
        chunk::grow(&subject, &mut held, MANY, sizes);
        time += start.elapsed();
        free_in_order(&subject, &mut held);
    }
    time
}

/// The order in which chunks are freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The first one first.
    Allocation,
    /// The last one first.
    Reverse,
    /// Any.
    Random,
}

/// Frees [`MANY`] chunks of 96 bytes that were allocated in one go.
pub(crate) fn free_all<S: Subject>(
    open: &dyn Fn() -> S,
    iterations: u64,
    order: Order,
) -> Duration {
    let mut held: Vec<Held> = room(MANY);
    let mut time = Duration::ZERO;
    let subject = open();
    for _ in 0..iterations {
        chunk::grow(&subject, &mut held, MANY, Sizes::Fixed);
        if order == Order::Random {
            chunk::shuffle(&mut held);
        }
        let start = Instant::now();
        match order {
            Order::Reverse => free_in_reverse(&subject, &mut held),
            Order::Allocation | Order::Random => free_in_order(&subject, &mut held),
        }
        time += start.elapsed();
    }
    time
}

/// Gives back [`MANY`] chunks of 16 to 1024 bytes at once.
pub(crate) fn release<S: Subject>(open: &dyn Fn() -> S, iterations: u64) -> Duration {
    let mut held = room(MANY);
    let mut time = Duration::ZERO;
    let mut subject = open();
    for _ in 0..iterations {
        chunk::grow(&subject, &mut held, MANY, Sizes::Mixed);
        held.clear();
        let start = Instant::now();
        // SAFETY: `held` had all chunks.
        unsafe { subject.release() };
        time += start.elapsed();
    }
    time
}
