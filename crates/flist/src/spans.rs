//! Free spans of runs: best fit by size bins, merged with their neighbours.
//!
//! A *span* is a number of adjacent runs that nobody uses. All spans in one store
//! have the same owner and the same kind (clean or dirty), and no two of them touch:
//! whatever is put in merges with the spans before and behind it.
//!
//! The store itself is a few words. Its lists run through the descriptors of the
//! spans' first runs, so it needs no memory however many spans there are.
//!
//! ```text
//! bins     1 run, 2 runs, … 32 runs, then 33–64, 65–128, …   one list each
//! occupied one bit for each bin that is not empty
//! ```

use crate::descriptor::{Descriptors, Kind, Tag};

const EXACT: usize = 32;
const BINS: usize = 64;

/// A number of adjacent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u32,
    pub(crate) runs: u32,
}

impl Span {
    pub(crate) fn new(first: u32, runs: u32) -> Span {
        debug_assert!(first > 0 && runs > 0);
        Span { first, runs }
    }

    pub(crate) fn end(self) -> u32 {
        self.first + self.runs
    }
}

/// A store of free spans.
pub(crate) struct Spans {
    /// First run of the first span in each bin; 0 for none.
    heads: [u32; BINS],
    occupied: u64,
    /// Runs in all spans.
    runs: usize,
    /// The fewest that there were after one was taken.
    fewest: usize,
    head: Tag,
    tail: Tag,
}

impl Spans {
    /// An empty store of `owner` for spans of `kind`, [`Kind::Clean`] or [`Kind::Dirty`].
    pub(crate) const fn new(owner: u64, kind: Kind) -> Spans {
        let tail = match kind {
            Kind::Clean => Kind::CleanTail,
            _ => Kind::DirtyTail,
        };
        Spans {
            heads: [0; BINS],
            occupied: 0,
            runs: 0,
            fewest: usize::MAX,
            head: Tag::new(owner, kind),
            tail: Tag::new(owner, tail),
        }
    }

    /// How many runs are in the store.
    pub(crate) fn runs(&self) -> usize {
        self.runs
    }

    /// How many of them nobody has needed since the last call.
    pub(crate) fn idle(&mut self) -> usize {
        core::mem::replace(&mut self.fewest, usize::MAX).min(self.runs)
    }

    /// Notes that some were needed.
    pub(crate) fn note_taken(&mut self) {
        self.fewest = self.fewest.min(self.runs);
    }

    /// Puts a span in, merged with its neighbours.
    ///
    /// # Safety
    ///
    /// The caller owns the span, whose descriptors are cleared, and gives it up.
    pub(crate) unsafe fn put(&mut self, table: Descriptors, span: Span) {
        let (mut first, mut end) = (span.first, span.end());
        // SAFETY: the runs before and behind the span have descriptors (run 0 is never
        // in a span, and there is one behind the last). A tag that equals this store's
        // proves that the neighbour is in it, so its descriptors are ours to change.
        unsafe {
            if table.tag(end) == self.head {
                let behind = Span::new(end, (*table.at(end)).runs);
                self.unlink(table, behind);
                end = behind.end();
            }
            let before = table.tag(first - 1);
            if before == self.head || before == self.tail {
                let runs = (*table.at(first - 1)).runs;
                let before = Span::new(first - runs, runs);
                self.unlink(table, before);
                first = before.first;
            }
            self.link(table, Span::new(first, end - first));
        }
    }

    /// Takes `runs` runs whose first is a multiple of `align` runs (a power of two),
    /// counted from `origin`; from the smallest bin that has enough.
    ///
    /// # Safety
    ///
    /// `table` is the table that every span was put in with.
    pub(crate) unsafe fn take(
        &mut self,
        table: Descriptors,
        runs: u32,
        align: u32,
        origin: u32,
    ) -> Option<Span> {
        let wanted = runs.checked_add(align - 1)?;
        // SAFETY: spans in the store are ours.
        unsafe {
            let found = self.find(table, wanted)?;
            self.unlink(table, found);
            let skipped = origin.wrapping_sub(found.first) & (align - 1);
            let taken = Span::new(found.first + skipped, runs);
            if skipped > 0 {
                self.link(table, Span::new(found.first, skipped));
            }
            if taken.end() < found.end() {
                self.link(table, Span::new(taken.end(), found.end() - taken.end()));
            }
            self.note_taken();
            Some(taken)
        }
    }

    /// Takes exactly the `runs` runs from `first` on, if a span begins there and has
    /// as many.
    ///
    /// # Safety
    ///
    /// As [`take`](Spans::take), and `first` is within the table.
    pub(crate) unsafe fn take_at(&mut self, table: Descriptors, first: u32, runs: u32) -> bool {
        // SAFETY: a tag that equals this store's proves that the span is in it.
        unsafe {
            if table.tag(first) != self.head || (*table.at(first)).runs < runs {
                return false;
            }
            let found = Span::new(first, (*table.at(first)).runs);
            self.unlink(table, found);
            if found.runs > runs {
                self.link(table, Span::new(first + runs, found.runs - runs));
            }
            self.note_taken();
            true
        }
    }

    /// Takes a span out whole, one of the largest.
    ///
    /// # Safety
    ///
    /// As [`take`](Spans::take).
    pub(crate) unsafe fn pop(&mut self, table: Descriptors) -> Option<Span> {
        let bin = 63u32.checked_sub(self.occupied.leading_zeros())?;
        let first = self.heads[bin as usize];
        // SAFETY: spans in the store are ours.
        unsafe {
            let span = Span::new(first, (*table.at(first)).runs);
            self.unlink(table, span);
            Some(span)
        }
    }

    /// The same, the largest of the first few of these.
    ///
    /// # Safety
    ///
    /// As [`take`](Spans::take).
    pub(crate) unsafe fn pop_largest(&mut self, table: Descriptors) -> Option<Span> {
        const FEW: usize = 8;
        let bin = 63u32.checked_sub(self.occupied.leading_zeros())?;
        let mut next = self.heads[bin as usize];
        // SAFETY: spans in the store are ours; a bin is a list of them.
        unsafe {
            let spans = core::iter::from_fn(|| {
                let first = (next != 0).then_some(next)?;
                next = (*table.at(first)).next;
                Some(Span::new(first, (*table.at(first)).runs))
            });
            let largest = spans.take(FEW).max_by_key(|span| span.runs)?;
            self.unlink(table, largest);
            Some(largest)
        }
    }

    /// Calls `visit` for every span.
    ///
    /// # Safety
    ///
    /// As [`take`](Spans::take); `visit` does not change the store.
    pub(crate) unsafe fn each(&self, table: Descriptors, visit: &mut dyn FnMut(Span)) {
        for mut first in self.heads {
            while first != 0 {
                // SAFETY: lists run through spans of this store.
                let (runs, next) = unsafe { ((*table.at(first)).runs, (*table.at(first)).next) };
                visit(Span::new(first, runs));
                first = next;
            }
        }
    }

    /// A span of at least `runs` runs.
    ///
    /// # Safety
    ///
    /// As [`take`](Spans::take).
    unsafe fn find(&self, table: Descriptors, runs: u32) -> Option<Span> {
        let mut bin = bin(runs);
        loop {
            bin += (self.occupied.checked_shr(bin as u32)?).trailing_zeros() as usize;
            let mut first = *self.heads.get(bin)?;
            while first != 0 {
                // SAFETY: lists run through spans of this store.
                let (length, next) = unsafe {
                    let descriptor = table.at(first);
                    ((*descriptor).runs, (*descriptor).next)
                };
                if length >= runs {
                    return Some(Span::new(first, length));
                }
                first = next;
            }
            bin += 1;
        }
    }

    /// # Safety
    ///
    /// The caller owns the span.
    unsafe fn link(&mut self, table: Descriptors, span: Span) {
        let bin = bin(span.runs);
        let next = core::mem::replace(&mut self.heads[bin], span.first);
        self.occupied |= 1 << bin;
        self.runs += span.runs as usize;
        // SAFETY: first and last run belong to the span, `next` to another in the store.
        unsafe {
            let last = table.at(span.end() - 1);
            (*last).runs = span.runs;
            (*last).set_tag(self.tail);
            let head = table.at(span.first);
            (*head).runs = span.runs;
            (*head).set_prev(0);
            (*head).next = next;
            (*head).set_tag(self.head);
            if next != 0 {
                (*table.at(next)).set_prev(span.first);
            }
        }
    }

    /// # Safety
    ///
    /// The span is in the store.
    unsafe fn unlink(&mut self, table: Descriptors, span: Span) {
        let bin = bin(span.runs);
        self.runs -= span.runs as usize;
        // SAFETY: all three spans are in the store.
        unsafe {
            let head = table.at(span.first);
            let (prev, next) = ((*head).prev(), (*head).next);
            if next != 0 {
                (*table.at(next)).set_prev(prev);
            }
            if prev != 0 {
                (*table.at(prev)).next = next;
            } else {
                self.heads[bin] = next;
                if next == 0 {
                    self.occupied &= !(1 << bin);
                }
            }
            (*head).set_tag(Tag::INNER);
            (*table.at(span.end() - 1)).set_tag(Tag::INNER);
        }
    }
}

/// The bin of spans of `runs` runs.
fn bin(runs: u32) -> usize {
    let runs = runs as usize;
    if runs <= EXACT {
        return runs - 1;
    }
    EXACT + ((runs - 1).ilog2() - EXACT.ilog2()) as usize
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::descriptor::Descriptor;
    use std::vec::Vec;

    fn table(runs: usize) -> Vec<Descriptor> {
        // SAFETY: all zero bytes is a valid descriptor.
        (0..=runs).map(|_| unsafe { core::mem::zeroed() }).collect()
    }

    #[test]
    fn bins_ascend_and_hold_what_they_say() {
        assert_eq!(bin(1), 0);
        assert_eq!(bin(32), 31);
        assert_eq!(bin(33), 32);
        assert_eq!(bin(64), 32);
        assert_eq!(bin(65), 33);
        assert!(bin(u32::MAX) < BINS);
    }

    /// Random puts and takes against a plain map of who owns which run.
    #[test]
    fn a_run_is_in_one_place_and_neighbours_merge() {
        const RUNS: u32 = 500;
        let mut descriptors = table(RUNS as usize + 1);
        let table = Descriptors(descriptors.as_mut_ptr());
        let mut spans = Spans::new(7, Kind::Dirty);
        let mut held: Vec<Span> = std::vec![Span::new(1, RUNS - 1)];
        let mut seed = 1u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        for _ in 0..20_000 {
            // SAFETY: the test keeps track of what it holds.
            unsafe {
                if !held.is_empty() && random(2) == 0 {
                    let span = held.swap_remove(random(held.len()));
                    spans.put(table, span);
                } else if random(8) == 0 {
                    let large = random(2) == 0;
                    let span = if large { spans.pop_largest(table) } else { spans.pop(table) };
                    held.extend(span);
                } else {
                    let (runs, align) = (1 + random(40) as u32, 1 << random(4));
                    if let Some(span) = spans.take(table, runs, align, 0) {
                        assert_eq!(span.runs, runs);
                        assert_eq!(span.first % align, 0);
                        held.push(span);
                        let behind = Span::new(span.end(), 1);
                        if spans.take_at(table, behind.first, 1) {
                            held.push(behind);
                        }
                    }
                }
            }
            let mut owned = [false; RUNS as usize];
            for span in &held {
                for run in span.first..span.end() {
                    assert!(!core::mem::replace(&mut owned[run as usize], true), "run {run}");
                }
            }
            let free = owned[1..].iter().filter(|owned| !**owned).count();
            assert_eq!(spans.runs(), free);
            // SAFETY: the table is ours.
            let heads = (1..RUNS).filter(|&run| unsafe { table.tag(run) == spans.head }).count();
            let gaps = (1..RUNS as usize)
                .filter(|&run| !owned[run] && (run == 1 || owned[run - 1]))
                .count();
            assert_eq!(heads, gaps, "free neighbours are one span");
        }
    }
}
