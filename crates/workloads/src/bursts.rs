//! The warm workloads: few chunks, over and over.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::Subject;
use crate::chunk::{free_in_reverse, room, take};
use crate::random::NODE_BYTES;

/// Chunks of one burst.
pub(crate) const BURST: usize = 1000;

/// One chunk is allocated and freed again.
pub(crate) fn pair<S: Subject>(open: &dyn Fn() -> S, iterations: u64) -> Duration {
    let subject = open();
    // A program often knows its sizes when it is compiled; what is measured does not.
    let size = black_box(NODE_BYTES);
    let run = |count: u64| {
        for _ in 0..count {
            // SAFETY: the chunk just came, and is not used afterwards.
            unsafe { take(&subject, size).free(&subject) };
        }
    };
    run(1000);
    let start = Instant::now();
    run(iterations);
    start.elapsed()
}

/// [`BURST`] chunks are allocated, then freed in reverse.
pub(crate) fn lifo<S: Subject>(open: &dyn Fn() -> S, iterations: u64) -> Duration {
    let subject = open();
    let mut held = room(BURST);
    let size = black_box(NODE_BYTES);
    let mut run = |count: u64| {
        for _ in 0..count {
            for _ in 0..BURST {
                held.push(take(&subject, size));
            }
            free_in_reverse(&subject, &mut held);
        }
    };
    run(2);
    let start = Instant::now();
    run(iterations);
    start.elapsed()
}
