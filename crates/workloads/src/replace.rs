//! Many live chunks of which one at random is replaced, again and again: what an
//! index does that keeps new versions and drops old ones.

use std::time::{Duration, Instant};

use crate::chunk::{Held, free_in_order, grow, room, take};
use crate::random::{Drawer, Random};
use crate::{Sizes, Subject};

/// The table of live chunks.
pub(crate) struct Replace<'s, S: Subject> {
    subject: &'s S,
    held: Vec<Held>,
    random: Random,
    drawer: Drawer,
}

impl<'s, S: Subject> Replace<'s, S> {
    /// Fills a table of `live` chunks, and replaces each of them once on average, so
    /// that what is measured is a heap in use, not a new one.
    pub(crate) fn new(subject: &'s S, live: usize, sizes: Sizes, seed: u64) -> Replace<'s, S> {
        let mut held = room(live);
        grow(subject, &mut held, live, sizes);
        let mut replace =
            Replace { subject, held, random: Random::new(seed), drawer: Drawer::new(sizes) };
        replace.run(live as u64);
        replace
    }

    /// Replaces `count` chunks.
    #[inline(never)]
    pub(crate) fn run(&mut self, count: u64) {
        for _ in 0..count {
            let index = self.random.below(self.held.len());
            let size = self.drawer.draw(&mut self.random);
            let slot = &mut self.held[index];
            // SAFETY: the slot has the only copy of its chunk, and gets another one.
            unsafe { slot.free(self.subject) };
            *slot = take(self.subject, size);
        }
    }
}

impl<S: Subject> Drop for Replace<'_, S> {
    fn drop(&mut self) {
        free_in_order(self.subject, &mut self.held);
    }
}

/// Replaces `iterations` of `live` chunks.
pub(crate) fn replace<S: Subject>(
    open: &dyn Fn() -> S,
    iterations: u64,
    live: usize,
    sizes: Sizes,
) -> Duration {
    let subject = open();
    let mut replace = Replace::new(&subject, live, sizes, 0x4e91_0ace);
    let start = Instant::now();
    replace.run(iterations);
    start.elapsed()
}
