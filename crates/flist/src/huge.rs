//! Huge pages for the largest extents, and for pools of the largest slabs.
//!
//! Most of the time of filling fresh memory goes into page faults, one for every 4 KiB. Where
//! the system gives huge pages to those who ask, an extent of more than [`LARGEST_KEPT`]
//! bytes asks, for every whole huge page within what it is charged for, as it grows. So no
//! more than its charge becomes resident. With the hint [`Hints::HOT`] every extent asks that
//! holds a huge page: its program would rather have a little more resident than wait.
//!
//! ```text
//! start                                                   charged
//!   │    ┊ huge page ┊ huge page ┊ … ┊ huge page ┊         │
//!        └──────────────── advised ──────────────┘
//! ```
//!
//! When such an extent ends the advice is withdrawn: what the addresses serve next may be a
//! small arena's.
//!
//! Pools are charged step by step, and a huge page becomes resident at once. So only a slab that
//! has [`LEAST_SLAB`] bytes takes its further pools out of *units* of whole huge pages, which are
//! charged in full: the arena retains what a pool leaves of one. A slab that is at least half of
//! its arena's heap does so from [`LEAST_MAIN`] bytes on, one huge page at a time: hardly another
//! slab has as much, so at most one such unit is not used. A unit that is touched is resident, as
//! its advice wants it; the advice is withdrawn where memory goes back to the system.

use mallocer_core::Hints;

use crate::descriptor::RUN;
use crate::extent::LARGEST_KEPT;
use crate::heap::Heap;
use crate::leaving::Leaving;
use crate::os;
use crate::pool::Slot;

const HUGE_PAGE: usize = 2 << 20;

/// A slab with so many bytes takes units of huge pages: one of them is then a sixteenth of it.
const LEAST_SLAB: usize = 16 * HUGE_PAGE;

/// One that is most of its arena takes a huge page at a time from so many bytes on: its pools up
/// to 1 MiB.
const LEAST_MAIN: usize = HUGE_PAGE - HUGE_PAGE / 16;

impl<S: Slot> Heap<S> {
    /// Retains a unit of huge pages from which the next pool of the slab at `index` can be cut, if
    /// it is large enough for it; returns of how many runs, where `runs` are wanted.
    pub(crate) fn gather(&mut self, index: usize, runs: usize) -> Option<usize> {
        let reservation = self.reservation()?;
        let slab_heap = self.slab(index).heap;
        let large = slab_heap >= LEAST_SLAB;
        let runs = if large { runs } else { runs.min(HUGE_PAGE / RUN) };
        // Where there is a decay time, memory matters more.
        let main = slab_heap >= LEAST_MAIN && slab_heap >= self.heap / 2 && self.decay.is_none();
        if !(large || main) || reservation.is_strict() {
            return None;
        }
        if !*self.gives_huge.get_or_insert_with(os::gives_huge_pages) {
            return None;
        }
        let bytes = (runs * RUN).next_multiple_of(HUGE_PAGE);
        self.charge(bytes).ok()?;
        let Some(taken) = reservation.take((bytes / RUN) as u32, HUGE_PAGE) else {
            self.refund(bytes);
            return None;
        };
        self.runs += bytes / RUN;
        // SAFETY: the span is this arena's now, and in no use.
        unsafe {
            reservation.ask_huge(taken.span);
            self.leave(taken.span, true, Leaving::Retained);
        }
        Some(runs)
    }

    /// Asks for huge pages from byte `from` on, up to byte `to`, of an extent at `start`, or
    /// withdraws it; nothing for an extent whose `to` bytes are too few.
    ///
    /// # Safety
    ///
    /// The extent is this arena's.
    pub(crate) unsafe fn advise(&self, start: *mut u8, from: usize, to: usize, huge: bool) {
        let most = if self.hints.contains(Hints::HOT) { HUGE_PAGE - 1 } else { LARGEST_KEPT };
        if to > most {
            // SAFETY: passed on.
            unsafe { advise_within(start, from, to, huge) };
        }
    }
}

/// The same for a chunk of any size: who asks uses all of it.
///
/// # Safety
///
/// The chunk is the caller's.
pub(crate) unsafe fn advise_within(start: *mut u8, from: usize, to: usize, huge: bool) {
    let first = start.addr().next_multiple_of(HUGE_PAGE);
    let begin = first.max((start.addr() + from) & !(HUGE_PAGE - 1));
    let end = (start.addr() + to) & !(HUGE_PAGE - 1);
    if begin < end {
        // SAFETY: within the extent.
        unsafe { os::advise_huge(start.with_addr(begin), end - begin, huge) };
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use core::alloc::Layout;
    use core::time::Duration;
    use std::fs;

    use mallocer_core::{Config, Hints, Mallocer};

    use crate::Flist;

    /// Whether the mapping of `address` asks for huge pages; `None` if this system does not
    /// say.
    fn asks(address: usize) -> Option<bool> {
        let maps = fs::read_to_string("/proc/self/smaps").ok()?;
        let mut within = false;
        for line in maps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let bound = |text| usize::from_str_radix(text, 16).ok();
            if let Some((start, end)) = range.and_then(|(s, e)| Some((bound(s)?, bound(e)?))) {
                within = (start..end).contains(&address);
            } else if let (true, Some(flags)) = (within, line.strip_prefix("VmFlags:")) {
                return Some(flags.split(' ').any(|flag| flag == "hg"));
            }
        }
        None
    }

    #[test]
    fn extents_of_a_hot_arena_ask_from_a_huge_page_on() {
        if fs::metadata("/sys/kernel/mm/transparent_hugepage").is_err() {
            return;
        }
        for (hints, expected) in [(Hints::NONE, false), (Hints::HOT, true)] {
            let mut config = Config::default();
            config.hints = hints;
            let heap = Flist::open(&config).unwrap();
            let layout = |size| Layout::from_size_align(size, super::HUGE_PAGE).unwrap();
            let chunk = heap.try_alloc(layout(super::HUGE_PAGE)).unwrap().cast::<u8>();
            let small = heap.try_alloc(layout(super::HUGE_PAGE - 4096)).unwrap().cast::<u8>();
            let (at, small_at) = (chunk.addr().get(), small.addr().get());
            // SAFETY: the chunks are this heap's, and freed once.
            unsafe {
                chunk.write(1);
                small.write(1);
                assert_eq!(asks(at), Some(expected));
                assert_eq!(asks(small_at), Some(false));
                heap.free(chunk);
                assert_eq!(asks(at), Some(false), "what comes after it need not be hot");
                heap.free(small);
            }
        }
    }

    #[test]
    fn pools_of_a_large_slab_ask() {
        if !crate::os::gives_huge_pages() {
            return;
        }
        let heap = Flist::open(&Config::default()).unwrap();
        let layout = Layout::from_size_align(1024, 8).unwrap();
        let take = |count: usize| {
            let chunks = (0..count).map(|_| heap.try_alloc(layout).unwrap().cast::<u8>());
            chunks.last().unwrap().addr().get()
        };
        let few = take(1000);
        let many = take(2 * super::LEAST_SLAB / 1024);
        assert_eq!((asks(few), asks(many)), (Some(false), Some(true)));
        // What is charged and not used is a unit, and what pools are charged ahead, at most.
        let info = heap.info();
        assert!(info.heap - info.alloc <= 2 * super::HUGE_PAGE, "{info}");
        heap.check_invariants();
        // Its memory keeps the advice until it goes back to the system: no other test is to get
        // it, and find itself advised.
        core::mem::forget(heap);
    }

    #[test]
    fn a_slab_that_is_most_of_its_arena_takes_a_huge_page_at_a_time() {
        let strict = crate::reservation::Reservation::get().unwrap().is_strict();
        if strict || !crate::os::gives_huge_pages() {
            return;
        }
        // The most bytes of heap that nobody holds, as the slab grows to 12 MiB beside another
        // that has `beside` chunks of 1 MiB.
        let most_unused = |beside: usize, decay: Option<Duration>| {
            let mut config = Config::default();
            config.decay = decay;
            let heap = Flist::open(&config).unwrap();
            let layout = |size| Layout::from_size_align(size, 8).unwrap();
            for _ in 0..beside {
                heap.try_alloc(layout(1 << 20)).unwrap();
            }
            let mut most = 0;
            for _ in 0..12 << 10 {
                heap.try_alloc(layout(1 << 10)).unwrap();
                let info = heap.info();
                most = most.max(info.heap - info.alloc);
            }
            heap.check_invariants();
            core::mem::forget(heap);
            most
        };
        let unit = super::HUGE_PAGE - (256 << 10)..=super::HUGE_PAGE + (64 << 10);
        assert!(unit.contains(&most_unused(0, None)));
        assert!(most_unused(20, None) < 512 << 10);
        assert!(most_unused(0, Some(Duration::from_secs(1000))) < 512 << 10);
    }
}
