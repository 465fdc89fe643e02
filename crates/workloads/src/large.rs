//! Large blocks: what a file is read into, or a column is sorted in.

use std::time::{Duration, Instant};

use crate::Subject;
use crate::chunk::{Held, free_in_order, room, take};
use crate::random::Random;

/// Blocks that are alive at once.
const BLOCKS: usize = 10;

/// Takes a block of 1 to 25 MiB and writes a byte of every 4 KiB of it.
fn block(subject: &impl Subject, random: &mut Random) -> Held {
    let held = take(subject, (1 << 20) + random.below(24 << 20));
    for at in (0..held.size).step_by(4096) {
        // SAFETY: `at` is within the block.
        unsafe { held.chunk.add(at).write(1) };
    }
    held
}

/// Of ten live blocks, one at random is replaced.
pub(crate) fn large<S: Subject>(open: &dyn Fn() -> S, iterations: u64) -> Duration {
    let subject = open();
    let mut random = Random::new(0x1a_49e);
    let mut held = room(BLOCKS);
    held.extend((0..BLOCKS).map(|_| block(&subject, &mut random)));
    let mut run = |count: u64| {
        for _ in 0..count {
            let slot = &mut held[random.below(BLOCKS)];
            // SAFETY: the slot has the only copy of its chunk, and gets another one.
            unsafe { slot.free(&subject) };
            *slot = block(&subject, &mut random);
        }
    };
    run(2 * BLOCKS as u64);
    let start = Instant::now();
    run(iterations);
    let time = start.elapsed();
    free_in_order(&subject, &mut held);
    time
}
