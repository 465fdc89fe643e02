//! Huge pages for large extents, and for pools of the largest slabs.
//!
//! Most of the time of filling fresh memory goes into page faults, one for every 4 KiB. Where
//! the system gives huge pages to those who ask, an extent of at least [`LEAST_EXTENT`]
//! bytes asks, for all of its runs. With the hint [`Hints::HOT`] every extent asks that
//! is as long as a huge page: its program would rather have a little more resident than wait.
//! An arena with a decay time does not ask unless it has that hint: what its program gives back
//! comes again, and a huge page costs much where the machine, itself virtual, has to find the memory first.
//!
//! ```text
//!      ┊ huge page ┊ huge page ┊ huge page ┊ huge page ┊ huge page ┊
//!   extent             │ extent                  │ extent        │ a small one │
//!   └──────────────────────── ask ───────────────────────────────┘
//! ```
//!
//! So those that lie side by side share a huge page, and a mapping of the kernel's. What becomes
//! resident beyond what is charged is at most the end of an extent's last run. Memory that is
//! fresh asks, once: as long as it is used, or retained, it stays as it is, and no further call
//! is made. Where it leaves the arena, to the system or to the process, the advice is withdrawn:
//! what the addresses serve next may be a small arena's, and not all of it was touched perhaps.
//!
//! Pools are charged step by step, and a huge page becomes resident at once. So only a slab that
//! has [`LEAST_SLAB`] bytes takes its further pools out of *units* of whole huge pages, which are
//! charged in full: the arena retains what a pool leaves of one. A slab that is at least half of
//! its arena's heap does so from [`LEAST_MAIN`] bytes on, one huge page at a time: hardly another
//! slab has as much, so at most one such unit is not used. A unit that is touched is resident, as
//! its advice wants it.

use mallocer_core::Hints;

use crate::descriptor::RUN;
use crate::heap::Heap;
use crate::leaving::Leaving;
use crate::pool::Slot;
use crate::reservation::Reservation;
use crate::spans::Span;

const HUGE_PAGE: usize = 2 << 20;

/// Runs to a huge page. Run 0 is at a multiple of one.
const UNIT: u32 = (HUGE_PAGE / RUN) as u32;

/// The least extent that asks for huge pages.
const LEAST_EXTENT: usize = 32 * HUGE_PAGE;

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
        let main = slab_heap >= LEAST_MAIN && slab_heap >= self.heap / 2;
        if !(large || main) || !self.asks() || reservation.is_strict() {
            return None;
        }
        if !*self.gives_huge.get_or_insert_with(|| reservation.gives_huge()) {
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

    /// Whether it asks for huge pages at all.
    fn asks(&self) -> bool {
        self.decay.is_none() || self.hints.contains(Hints::HOT)
    }

    /// The least extent that asks.
    pub(crate) fn least_huge(&self) -> usize {
        if !self.asks() {
            return usize::MAX;
        }
        if self.hints.contains(Hints::HOT) { HUGE_PAGE } else { LEAST_EXTENT }
    }

    /// Asks for huge pages for `fresh` runs of an extent of `bytes` bytes, if it is large enough.
    ///
    /// # Safety
    ///
    /// The extent is this arena's.
    pub(crate) unsafe fn ask_huge(&self, bytes: usize, fresh: Span) {
        if let (true, Some(reservation)) = (bytes >= self.least_huge(), self.reservation()) {
            // SAFETY: passed on.
            unsafe { reservation.ask_huge(fresh) };
        }
    }

    /// The same for an extent that has become longer, from run `from` on: once for every huge page
    /// that it fills, and not for every run.
    ///
    /// # Safety
    ///
    /// As [`ask_huge`](Heap::ask_huge).
    pub(crate) unsafe fn ask_huge_behind(&self, bytes: usize, extent: Span, from: u32) {
        let begin = extent.first.max(from / UNIT * UNIT);
        let end = extent.end() / UNIT * UNIT;
        if begin < end {
            // SAFETY: passed on.
            unsafe { self.ask_huge(bytes, Span::new(begin, end - begin)) };
        }
    }

    /// Withdraws it for a span that leaves the arena, and may be of an extent that asked.
    ///
    /// # Safety
    ///
    /// The span is this arena's, which has its memory there.
    pub(crate) unsafe fn withdraw_huge(&self, reservation: &Reservation, span: Span) {
        if self.asks() && span.runs >= UNIT {
            // SAFETY: passed on.
            unsafe { reservation.withdraw_huge(span) };
        }
    }
}

/// Asks for huge pages within a chunk of any size, of whoever uses all of it, or withdraws it.
///
/// # Safety
///
/// The chunk is the caller's, and has `bytes` bytes.
pub(crate) unsafe fn want_within(chunk: *mut u8, bytes: usize, want: bool) {
    let begin = chunk.addr().next_multiple_of(HUGE_PAGE);
    let end = (chunk.addr() + bytes) & !(HUGE_PAGE - 1);
    if let (true, Some(reservation)) = (begin < end, Reservation::made()) {
        // SAFETY: within the chunk.
        unsafe { reservation.want_huge(chunk.with_addr(begin), end - begin, want) };
    }
}
