//! Chunks that grow by `realloc`, as strings and buffers do.

use std::time::{Duration, Instant};

use crate::Subject;
use crate::chunk::{Held, escape, free_in_order, room, take};
use crate::random::{Random, layout};

/// Strings that grow side by side.
const STRINGS: usize = 1000;

/// The size that a string begins with, and the one that it ends with: reached by
/// doubling.
const FIRST_BYTES: usize = 16;
const LAST_BYTES: usize = 4096;

/// How often a string doubles before it is dropped.
pub(crate) const DOUBLINGS: u64 = (LAST_BYTES / FIRST_BYTES).ilog2() as u64;
const _: () = assert!(FIRST_BYTES << DOUBLINGS == LAST_BYTES);

/// Makes a chunk hold `size` bytes and writes the last one of them.
#[inline(always)]
fn lengthen(subject: &impl Subject, held: &mut Held, size: usize) {
    // SAFETY: the chunk is the subject's with this size, and the old one is forgotten.
    held.chunk = unsafe { subject.realloc(held.chunk, layout(held.size), size) };
    held.size = size;
    // SAFETY: the chunk has `size` bytes.
    unsafe { held.chunk.add(size - 1).write(1) };
    escape(held.chunk);
}

/// Of a thousand strings, one at random doubles; one that has reached its last size is
/// dropped, and another begins.
pub(crate) fn strings<S: Subject>(open: &dyn Fn() -> S, iterations: u64) -> Duration {
    let subject = open();
    let mut held = room(STRINGS);
    held.extend((0..STRINGS).map(|_| take(&subject, FIRST_BYTES)));
    let mut random = Random::new(0x57_2146);
    let mut run = |count: u64| {
        for _ in 0..count {
            let string = &mut held[random.below(STRINGS)];
            if string.size < LAST_BYTES {
                let size = 2 * string.size;
                lengthen(&subject, string, size);
            } else {
                // SAFETY: the slot has the only copy of its chunk, and gets another one.
                unsafe { string.free(&subject) };
                *string = take(&subject, FIRST_BYTES);
            }
        }
    };
    run(10 * STRINGS as u64);
    let start = Instant::now();
    run(iterations);
    let time = start.elapsed();
    free_in_order(&subject, &mut held);
    time
}

/// The last size of a buffer.
const BUFFER_BYTES: usize = 64 << 20;

/// How often a buffer doubles, from 4 KiB.
pub(crate) const BUFFER_DOUBLINGS: u64 = (BUFFER_BYTES >> 12).ilog2() as u64;

/// A buffer grows from 4 KiB to 64 MiB by doubling, each half written when it is there,
/// and is dropped.
pub(crate) fn buffer<S: Subject>(open: &dyn Fn() -> S, iterations: u64) -> Duration {
    let subject = open();
    let start = Instant::now();
    for _ in 0..iterations {
        let mut held = take(&subject, 4096);
        while held.size < BUFFER_BYTES {
            let old = held.size;
            lengthen(&subject, &mut held, 2 * old);
            // SAFETY: the chunk has twice `old` bytes.
            unsafe { held.chunk.add(old).write_bytes(1, old) };
        }
        // SAFETY: the chunk is the subject's, and is not used afterwards.
        unsafe { held.free(&subject) };
    }
    start.elapsed()
}
