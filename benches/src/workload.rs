//! The workloads.
//!
//! Every chunk gets its first word written when it is allocated, as a program
//! would: an allocator that leaves the first touch of memory to its caller shows no
//! better for it. What a workload keeps for itself is allocated before the measured
//! part, from Rust's global allocator.

use std::alloc::Layout;
use std::hint::black_box;
use std::ptr::NonNull;

use crate::Subject;

/// The chunks of the workloads with one size: 96 bytes, a small tree node.
pub const NODE: Layout = match Layout::from_size_align(96, 8) {
    Ok(layout) => layout,
    Err(_) => panic!("96 bytes are a layout"),
};

/// Chunks that are alive at once where that matters: more than any cache in front
/// of a heap holds, and about what the second-level cache of a processor does not.
pub const LIVE: usize = 100_000;

/// A fast sequence of random numbers: xorshift64* (Vigna 2016).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`, which is not 0.
    pub fn new(seed: u64) -> Random {
        assert!(seed != 0, "xorshift stays at 0 for ever; give another seed");
        Random(seed)
    }

    /// A number below `bound`, which is at most 2³².
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * bound as u64) >> 32) as usize
    }
}

/// Which sizes a workload asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// [`NODE`] alone.
    Fixed,
    /// Any from 16 to 1024 bytes, all as likely.
    Mixed,
}

impl Sizes {
    #[inline]
    fn next(self, random: &mut Random) -> Layout {
        match self {
            Sizes::Fixed => NODE,
            Sizes::Mixed => {
                let size = 16 + random.below(1009);
                // SAFETY: 8 is a power of two, and at most 1024 bytes cannot overflow.
                unsafe { Layout::from_size_align_unchecked(size, 8) }
            }
        }
    }
}

/// A chunk that a workload holds.
pub type Held = (NonNull<u8>, Layout);

#[inline]
fn take(subject: &impl Subject, layout: Layout) -> Held {
    let chunk = subject.alloc(layout);
    // SAFETY: every workload asks for 16 bytes at least, aligned to 8.
    unsafe { chunk.cast::<usize>().write(layout.size()) };
    (chunk, layout)
}

/// One chunk is allocated and freed again.
#[inline]
pub fn pair(subject: &impl Subject, layout: Layout) {
    let (chunk, layout) = take(subject, black_box(layout));
    // SAFETY: the chunk just came, and is not used afterwards.
    unsafe { subject.free(black_box(chunk), layout) };
}

/// As many chunks as `held` has room for are allocated, then freed in reverse.
///
/// Reserve the room before the measured part.
#[inline]
pub fn lifo(subject: &impl Subject, held: &mut Vec<Held>, layout: Layout) {
    while held.len() < held.capacity() {
        held.push(take(subject, layout));
    }
    free_in_reverse(subject, held);
}

/// Allocates `count` chunks.
pub fn grow(subject: &impl Subject, held: &mut Vec<Held>, count: usize, sizes: Sizes) {
    let mut random = Random::new(0x5eed);
    for _ in 0..count {
        let layout = sizes.next(&mut random);
        held.push(take(subject, layout));
    }
}

/// Frees all chunks, the first one first.
pub fn free_in_order(subject: &impl Subject, held: &mut Vec<Held>) {
    for (chunk, layout) in held.drain(..) {
        // SAFETY: `held` has each chunk once, and it is not used afterwards.
        unsafe { subject.free(chunk, layout) };
    }
}

/// Frees all chunks, the last one first.
pub fn free_in_reverse(subject: &impl Subject, held: &mut Vec<Held>) {
    for (chunk, layout) in held.drain(..).rev() {
        // SAFETY: as above.
        unsafe { subject.free(chunk, layout) };
    }
}

/// Brings `held` into random order: freeing it in order then is freeing at random.
pub fn shuffle(held: &mut [Held]) {
    let mut random = Random::new(0x5bf1e);
    for last in (1..held.len()).rev() {
        held.swap(last, random.below(last + 1));
    }
}

/// Many live chunks of which one at random is replaced, again and again: what an
/// index does that keeps new versions and drops old ones.
pub struct Replace<'s, S: Subject> {
    subject: &'s S,
    held: Vec<Held>,
    random: Random,
    sizes: Sizes,
}

impl<'s, S: Subject> Replace<'s, S> {
    /// Fills a table of `live` chunks, and replaces each of them once on average, so
    /// that what is measured is a heap in use, not a new one.
    pub fn new(subject: &'s S, live: usize, sizes: Sizes) -> Replace<'s, S> {
        let mut held = Vec::with_capacity(live);
        grow(subject, &mut held, live, sizes);
        let mut replace = Replace { subject, held, random: Random::new(0x4e91ace), sizes };
        for _ in 0..live {
            replace.step();
        }
        replace
    }

    /// Frees one chunk and allocates another in its place.
    #[inline]
    pub fn step(&mut self) {
        let index = self.random.below(self.held.len());
        let layout = self.sizes.next(&mut self.random);
        let slot = &mut self.held[index];
        // SAFETY: the slot has the only copy of its chunk, and gets another one.
        unsafe { self.subject.free(slot.0, slot.1) };
        *slot = take(self.subject, layout);
    }
}

impl<S: Subject> Drop for Replace<'_, S> {
    fn drop(&mut self) {
        free_in_order(self.subject, &mut self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::competitors::{self, Competitor, Visitor};
    use std::cell::Cell;

    /// Counts what is allocated and freed, so that workloads are seen to do what
    /// they say.
    struct Counted<'c, S> {
        subject: S,
        taken: &'c Cell<usize>,
        freed: &'c Cell<usize>,
    }

    impl<S: Subject> Subject for Counted<'_, S> {
        fn alloc(&self, layout: Layout) -> NonNull<u8> {
            self.taken.set(self.taken.get() + 1);
            self.subject.alloc(layout)
        }

        unsafe fn free(&self, chunk: NonNull<u8>, layout: Layout) {
            self.freed.set(self.freed.get() + 1);
            // SAFETY: the first word is what `take` wrote there.
            assert_eq!(unsafe { chunk.cast::<usize>().read() }, layout.size());
            // SAFETY: passed on.
            unsafe { self.subject.free(chunk, layout) }
        }

        unsafe fn release(&mut self) {
            // SAFETY: passed on.
            unsafe { self.subject.release() }
        }
    }

    struct All(usize);

    impl Visitor for All {
        fn visit<S: Subject>(&mut self, competitor: Competitor<S>) {
            self.0 += 1;
            let (taken, freed) = (Cell::new(0), Cell::new(0));
            let subject = (competitor.open)();
            let mut subject = Counted { subject, taken: &taken, freed: &freed };
            let counts = || (taken.replace(0), freed.replace(0));
            pair(&subject, NODE);
            assert_eq!(counts(), (1, 1), "{}", competitor.name);
            let mut held = Vec::with_capacity(1000);
            lifo(&subject, &mut held, NODE);
            assert_eq!(counts(), (held.capacity(), held.capacity()));
            let sizes: &[_] =
                if competitor.any_size { &[Sizes::Fixed, Sizes::Mixed] } else { &[Sizes::Fixed] };
            for &sizes in sizes {
                grow(&subject, &mut held, 500, sizes);
                shuffle(&mut held);
                free_in_order(&subject, &mut held);
                assert_eq!(counts(), (500, 500));
                let mut replace = Replace::new(&subject, 300, sizes);
                (0..50).for_each(|_| replace.step());
                drop(replace);
                assert_eq!(counts(), (650, 650));
                grow(&subject, &mut held, 500, sizes);
                if competitor.releases {
                    held.clear();
                    // SAFETY: `held` had all chunks.
                    unsafe { subject.release() };
                } else {
                    free_in_reverse(&subject, &mut held);
                }
                counts();
            }
        }
    }

    #[test]
    fn every_workload_runs_on_every_competitor() {
        let mut all = All(0);
        competitors::each(&mut all);
        assert!(all.0 >= 10, "only {} compete", all.0);
    }

    #[test]
    fn mixed_sizes_reach_both_ends() {
        let mut random = Random::new(1);
        let sizes: Vec<usize> =
            (0..100_000).map(|_| Sizes::Mixed.next(&mut random).size()).collect();
        assert_eq!(sizes.iter().min(), Some(&16));
        assert_eq!(sizes.iter().max(), Some(&1024));
    }
}
