//! The address space of the process, shared by all arenas.
//!
//! One range is reserved when the first arena needs memory, and never given back:
//!
//! ```text
//! base                                                              frontier
//!  │ run 0 │ run 1 │ run 2 │ …                                     │ never used │ closed …
//!  closed    └── arenas' pools, extents, bookkeeping; free spans ──┘            open
//! ```
//!
//! Nobody has access to what is closed, so that a read or a write far from any chunk is a fault
//! and not silence. The frontier opens it ahead of itself, an eighth of what there is at a time.
//!
//! Beside it there is a table of 64-byte descriptors. `address − base`, a shift and a bounds
//! test answer for every address of the process.
//!
//! Arenas take spans of runs and give them back when they are released. What comes
//! back is kept as it is (*dirty*) and serves the next arena without a system call;
//! when that is more than [`DIRTY_RUNS_KEPT`], half of it is decommitted (*clean*: it reads
//! as zero).
//! Dirty spans go first, then clean ones, and only then the frontier moves:
//!
//! ```text
//! frontier = 1 + runs(arenas) + runs(dirty) + runs(clean)
//! ```
//!
//! Where the system refuses the full size, the reservation is halved until it is granted; where
//! it counts what may be written to (strict overcommit), it is at most twice the machine's
//! memory; under a limit on address space it takes at most half of that.

use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;

use crate::descriptor::{Descriptor, Descriptors, Kind, RUN, RUN_SHIFT};
use crate::lock::{Guard, Lock};
use crate::once::Once;
use crate::os;
use crate::pool::OS_PAGE;
use crate::primitive::{AtomicU32, process_wide};
use crate::spans::{Span, Spans};

/// The reservation that is tried first, in bytes: room for sixteen of the largest
/// arenas, one eighth of what a process may address.
const LARGEST: usize = if cfg!(mallocer_loom) { SMALLEST } else { 16 << 40 };
/// The smallest that is of use.
const SMALLEST: usize = 16 << 20;

/// The frontier opens this part of the runs below it, ahead of itself, but at least so many.
const AHEAD_SHARE: u32 = 8;
const AHEAD_LEAST: u32 = 8;

/// Runs that released arenas may leave committed for the next ones: 256 MiB.
pub(crate) const DIRTY_RUNS_KEPT: usize = (256 << 20) / RUN;

/// The address space of the process.
pub(crate) struct Reservation {
    base: NonNull<u8>,
    runs: u32,
    descriptors: Descriptors,
    strict: bool,
    /// Who says where huge pages are, a [`HugePages`].
    huge: AtomicU32,
    free: Lock<Free>,
}

struct Free {
    /// The first run that was never used.
    frontier: u32,
    /// The first run that is closed; in strict mode each span is committed by itself.
    open: u32,
    dirty: Spans,
    clean: Spans,
}

/// Who says where huge pages are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HugePages {
    /// The system: nobody has asked yet.
    Unasked,
    /// Pools, extents and arrays ask for their own.
    Asked,
    /// The program wants them everywhere,
    Everywhere,
    /// or nowhere.
    Nowhere,
}

/// A span that was taken, and whether it reads as zero.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) span: Span,
    pub(crate) zero: bool,
}

// SAFETY: base and descriptors are addresses of memory that is mapped for good;
// everything that changes is behind the lock.
unsafe impl Send for Reservation {}
// SAFETY: as above.
unsafe impl Sync for Reservation {}
// SAFETY: the spans' runs are owned by whoever holds the store.
unsafe impl Send for Free {}

process_wide! {
    static RESERVATION: Once<Reservation> = Once::new();
}

impl Reservation {
    /// The reservation of the process, made by the first call; `None` if the system
    /// refuses even the smallest (a later call tries again).
    pub(crate) fn get() -> Option<&'static Reservation> {
        RESERVATION.get_or_make(|| {
            // Under a limit, half of it is left to stacks, files and whatever else.
            let most = os::address_limit() / 2 / RUN * RUN;
            Reservation::make(most.min(LARGEST))
        })
    }

    /// The reservation of the process, if there is one yet.
    pub(crate) fn made() -> Option<&'static Reservation> {
        RESERVATION.get()
    }

    /// Keeps other threads out, or lets them in again: around a fork.
    pub(crate) fn hold(&self) {
        self.free.hold();
    }

    /// # Safety
    ///
    /// This thread holds it.
    pub(crate) unsafe fn let_go(&self) {
        // SAFETY: passed on.
        unsafe { self.free.let_go() };
    }

    /// Reserves `bytes`, or the largest half, quarter, … of it that is granted.
    fn make(mut bytes: usize) -> Option<Reservation> {
        while bytes >= SMALLEST {
            if let Some(made) = Reservation::try_make(bytes) {
                return Some(made);
            }
            bytes = bytes / 2 / RUN * RUN;
        }
        None
    }

    /// The most that is reserved where the system counts what may be written to, in bytes: the
    /// table is counted whole then, also once more for each process that is forked, and more
    /// than this nobody is granted.
    fn most_strict() -> usize {
        os::memory().saturating_mul(2).max(SMALLEST)
    }

    fn try_make(bytes: usize) -> Option<Reservation> {
        let runs = bytes / RUN;
        let table = (runs + 1) * size_of::<Descriptor>();
        // Huge pages need addresses at multiples of 2 MiB.
        const ALIGN: usize = 2 << 20;
        let whole = table.next_multiple_of(ALIGN) + ALIGN + bytes;
        let reserved = os::reserve(whole)?;
        let start = reserved.start;
        if reserved.strict && bytes > Reservation::most_strict() {
            // SAFETY: reserved above, and used by nobody.
            unsafe { os::unreserve(start.as_ptr(), whole) };
            return None;
        }
        let gap = start.addr().get().next_multiple_of(ALIGN) - start.addr().get();
        let base_offset = gap + table.next_multiple_of(ALIGN);
        // What is behind the table is closed: in strict mode it is already, and the table, too.
        let closed = (gap + table).next_multiple_of(OS_PAGE);
        // SAFETY: both parts lie within what was reserved, and nobody uses it yet.
        let ready = unsafe {
            match reserved.strict {
                true => os::commit(start.as_ptr(), gap + table),
                false => os::close(start.add(closed).as_ptr(), whole - closed),
            }
        };
        if !ready {
            // SAFETY: reserved above, and used by nobody.
            unsafe { os::unreserve(start.as_ptr(), whole) };
            return None;
        }
        // SAFETY: both offsets are within what was reserved. Fresh memory is zero, and
        // that is a valid descriptor.
        let (descriptors, base) = unsafe { (start.add(gap), start.add(base_offset)) };
        // For the fast path of a free.
        base.as_ptr().expose_provenance();
        Some(Reservation {
            base,
            runs: runs as u32,
            descriptors: Descriptors(descriptors.cast().as_ptr()),
            strict: reserved.strict,
            huge: AtomicU32::new(HugePages::Unasked as u32),
            free: Lock::new(Free {
                frontier: 1,
                open: 1,
                dirty: Spans::new(0, Kind::Dirty),
                clean: Spans::new(0, Kind::Clean),
            }),
        })
    }

    #[inline]
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes reserved for runs.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.runs as usize * RUN
    }

    #[inline]
    pub(crate) fn descriptors(&self) -> Descriptors {
        self.descriptors
    }

    /// The run that `address` is in, if it is ours at all.
    pub(crate) fn run_of(&self, address: usize) -> Option<u32> {
        let offset = address.wrapping_sub(self.base.addr().get());
        (offset < self.bytes()).then_some((offset >> RUN_SHIFT) as u32)
    }

    /// The first byte of `run`.
    pub(crate) fn start_of(&self, run: u32) -> NonNull<u8> {
        debug_assert!(run <= self.runs);
        // SAFETY: the run lies within the reservation.
        unsafe { self.base.add(run as usize * RUN) }
    }

    /// The first run that was never used.
    pub(crate) fn frontier(&self) -> u32 {
        self.free.lock().frontier
    }

    /// Takes `runs` runs whose address is a multiple of `align` bytes (at least a
    /// run's alignment is given anyway). `None` if there is no room, or the system
    /// refuses to commit.
    pub(crate) fn take(&self, runs: u32, align: usize) -> Option<Taken> {
        let (align, origin) = self.alignment(align);
        let table = self.descriptors;
        let mut free = self.free.lock();
        // SAFETY: the stores hold spans of this table.
        unsafe {
            if let Some(span) = free.dirty.take(table, runs, align, origin) {
                return Some(Taken { span, zero: false });
            }
            let span = match free.clean.take(table, runs, align, origin) {
                Some(span) => span,
                None => self.advance(&mut free, runs, align, origin)?,
            };
            self.committed(&mut free, span)
        }
    }

    /// Takes exactly the `runs` runs from `first` on, if they are free; returns
    /// whether they read as zero.
    pub(crate) fn take_at(&self, first: u32, runs: u32) -> Option<Taken> {
        let table = self.descriptors;
        let span = Span::new(first, runs);
        let mut free = self.free.lock();
        // SAFETY: the stores hold spans of this table, and `first` ends a span of it.
        unsafe {
            if free.dirty.take_at(table, first, runs) {
                return Some(Taken { span, zero: false });
            }
            if !free.clean.take_at(table, first, runs) {
                let room = first == free.frontier && runs <= self.runs - first;
                if !(room && self.open(&mut free, first + runs)) {
                    return None;
                }
                free.frontier += runs;
            }
            self.committed(&mut free, span)
        }
    }

    /// Gives spans back, with their contents.
    ///
    /// # Safety
    ///
    /// The caller owns the spans, whose descriptors are cleared, and gives them up.
    pub(crate) unsafe fn give(&self, spans: impl Iterator<Item = Span>) {
        let mut free = self.free.lock();
        for span in spans {
            // SAFETY: passed on.
            unsafe { free.dirty.put(self.descriptors, span) };
        }
        if free.dirty.runs() > DIRTY_RUNS_KEPT {
            // Down to half, so that it is long until the next time: span by span at the
            // limit, every release would decommit as much as it gives, and cut all dirty
            // spans to pieces too small for a large pool.
            self.clean(&mut free, DIRTY_RUNS_KEPT / 2);
        }
    }

    /// Gives a span back, and its contents to the system.
    ///
    /// # Safety
    ///
    /// As [`give`](Reservation::give).
    pub(crate) unsafe fn give_clean(&self, span: Span) {
        // SAFETY: the span is the caller's, and holds nothing any more.
        let clean = unsafe { self.decommit(span) };
        let mut free = self.free.lock();
        let store = if clean { &mut free.clean } else { &mut free.dirty };
        // SAFETY: passed on.
        unsafe { store.put(self.descriptors, span) };
    }

    /// Gives a span back whose contents are gone already: it reads as zero.
    ///
    /// # Safety
    ///
    /// As [`give`](Reservation::give).
    pub(crate) unsafe fn give_emptied(&self, span: Span) {
        // SAFETY: passed on.
        unsafe { self.free.lock().clean.put(self.descriptors, span) };
    }

    /// Whether memory must be committed before it is used.
    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Gives all that released arenas left back to the system; returns how many bytes.
    pub(crate) fn trim(&self) -> usize {
        let mut free = self.free.lock();
        let before = free.dirty.runs();
        self.clean(&mut free, 0);
        (before - free.dirty.runs()) * RUN
    }

    /// Decommits dirty spans, the largest first, until `keep` runs are left.
    #[cold]
    fn clean(&self, free: &mut Guard<'_, Free>, keep: usize) {
        while free.dirty.runs() > keep {
            // SAFETY: the store holds spans of this table, which hold nothing.
            unsafe {
                let Some(mut span) = free.dirty.pop(self.descriptors) else { break };
                let surplus = (free.dirty.runs() + span.runs as usize - keep) as u32;
                if surplus < span.runs {
                    let kept = Span::new(span.first, span.runs - surplus);
                    free.dirty.put(self.descriptors, kept);
                    span = Span::new(kept.end(), surplus);
                }
                if self.decommit(span) {
                    free.clean.put(self.descriptors, span);
                } else {
                    free.dirty.put(self.descriptors, span);
                    break;
                }
            }
        }
    }

    /// # Safety
    ///
    /// The span holds nothing that is in use.
    unsafe fn decommit(&self, span: Span) -> bool {
        let (start, bytes) = (self.start_of(span.first).as_ptr(), span.runs as usize * RUN);
        // SAFETY: passed on; the span lies within the reservation.
        unsafe {
            let done = os::decommit(start, bytes, self.strict);
            if done {
                // What it serves next may be a small arena's.
                self.withdraw_huge(span);
            }
            done
        }
    }

    /// Withdraws what [`ask_huge`](Reservation::ask_huge) asked for.
    ///
    /// # Safety
    ///
    /// The span is the caller's.
    pub(crate) unsafe fn withdraw_huge(&self, span: Span) {
        let (start, bytes) = (self.start_of(span.first).as_ptr(), span.runs as usize * RUN);
        // SAFETY: the span lies within the reservation.
        unsafe { self.want_huge(start, bytes, false) };
    }

    /// Asks for huge pages for a span, until it is decommitted.
    ///
    /// # Safety
    ///
    /// The span is the caller's.
    pub(crate) unsafe fn ask_huge(&self, span: Span) {
        let (start, bytes) = (self.start_of(span.first).as_ptr(), span.runs as usize * RUN);
        // SAFETY: the span lies within the reservation.
        unsafe { self.want_huge(start, bytes, true) };
    }

    /// Asks for huge pages in a range, or withdraws it, unless the program has
    /// [settled](Reservation::settle_huge) it.
    ///
    /// # Safety
    ///
    /// The range lies within the reservation, and is the caller's.
    pub(crate) unsafe fn want_huge(&self, start: *mut u8, bytes: usize, want: bool) {
        let (unasked, asked) = (HugePages::Unasked as u32, HugePages::Asked as u32);
        if want {
            let _ = self.huge.compare_exchange(unasked, asked, Relaxed, Relaxed);
        }
        if self.huge.load(Relaxed) == asked {
            // SAFETY: the caller's promise.
            unsafe { os::advise_huge(start, bytes, want) };
        }
    }

    /// Wants huge pages everywhere, or nowhere, from now on.
    pub(crate) fn settle_huge(&self, everywhere: bool) {
        let settled = if everywhere { HugePages::Everywhere } else { HugePages::Nowhere };
        self.huge.store(settled as u32, Relaxed);
        // SAFETY: the range is the reservation.
        unsafe { os::advise_huge(self.base.as_ptr(), self.bytes(), everywhere) };
    }

    /// Whether who asks for huge pages may get some.
    pub(crate) fn gives_huge(&self) -> bool {
        self.huge.load(Relaxed) != HugePages::Nowhere as u32 && os::gives_huge_pages()
    }

    /// In strict mode, makes a clean span usable, or puts it back.
    unsafe fn committed(&self, free: &mut Guard<'_, Free>, span: Span) -> Option<Taken> {
        let bytes = span.runs as usize * RUN;
        // SAFETY: the span lies within the reservation, and was taken by the caller.
        unsafe {
            if self.strict && !os::commit(self.start_of(span.first).as_ptr(), bytes) {
                free.clean.put(self.descriptors, span);
                return None;
            }
        }
        Some(Taken { span, zero: true })
    }

    /// Opens all runs below `end`, and some ahead; `false` if the system refuses.
    fn open(&self, free: &mut Guard<'_, Free>, end: u32) -> bool {
        if self.strict || end <= free.open {
            return true;
        }
        let ahead = (end / AHEAD_SHARE).max(AHEAD_LEAST);
        let to = end.saturating_add(ahead).min(self.runs);
        let start = self.start_of(free.open).as_ptr();
        // SAFETY: runs that were never used, within the reservation.
        let opened = unsafe { os::commit(start, (to - free.open) as usize * RUN) };
        if opened {
            free.open = to;
        }
        opened
    }

    /// Moves the frontier over `runs` runs at a multiple of `align`.
    unsafe fn advance(
        &self,
        free: &mut Guard<'_, Free>,
        runs: u32,
        align: u32,
        origin: u32,
    ) -> Option<Span> {
        let skipped = origin.wrapping_sub(free.frontier) & (align - 1);
        let first = free.frontier.checked_add(skipped)?;
        let end = first.checked_add(runs)?;
        if end > self.runs || !self.open(free, end) {
            return None;
        }
        if first > free.frontier {
            let skipped = Span::new(free.frontier, first - free.frontier);
            // SAFETY: these runs were never used, so they are clean and nobody's.
            unsafe { free.clean.put(self.descriptors, skipped) };
        }
        free.frontier = end;
        Some(Span::new(first, runs))
    }

    /// An alignment of `align` bytes in runs, and a run from which multiples of it
    /// count: an address is a multiple of more than the base's alignment only if its
    /// run counts from the address 0.
    pub(crate) fn alignment(&self, align: usize) -> (u32, u32) {
        let align = align.div_ceil(RUN) as u32;
        let base = (self.base.addr().get() >> RUN_SHIFT) as u32;
        (align, base.wrapping_neg() % align)
    }
}

/// In a model it ends with each of thousands of runs.
#[cfg(mallocer_loom)]
impl Drop for Reservation {
    fn drop(&mut self) {
        let start = self.descriptors.0.cast::<u8>();
        let end = self.start_of(self.runs);
        // SAFETY: all between table and last run was reserved, and is not used any more.
        unsafe { os::unreserve(start, end.addr().get() - start.addr()) };
    }
}

#[cfg(all(test, not(mallocer_loom)))]
mod tests {
    extern crate std;
    use super::*;
    use crate::os::faults::refusing_after;
    use std::vec::Vec;

    #[test]
    fn a_refused_reservation_is_tried_smaller() {
        // Lazy and strict are tried for each size; the table of a strict one must be
        // committed, too.
        let (made, refused) = refusing_after(0, || Reservation::make(LARGEST));
        assert!(made.is_none());
        assert!(refused >= 2 * (LARGEST / SMALLEST).ilog2());
    }

    #[test]
    fn frontier_counts_every_run() {
        let reservation = Reservation::make(64 << 20).unwrap();
        let mut taken = Vec::new();
        for round in 0..200u32 {
            let runs = 1 + round % 7;
            if let Some(one) = reservation.take(runs, RUN << (round % 4)) {
                let start = reservation.start_of(one.span.first).addr().get();
                assert_eq!(start % (RUN << (round % 4)), 0);
                taken.push(one.span);
            }
            if round % 3 == 0 {
                let span: Span = taken.swap_remove(round as usize % taken.len());
                // SAFETY: taken above, never used.
                unsafe { reservation.give(core::iter::once(span)) };
            }
            let held: usize = taken.iter().map(|span| span.runs as usize).sum();
            let free = reservation.free.lock();
            let counted = 1 + held + free.dirty.runs() + free.clean.runs();
            assert_eq!(free.frontier as usize, counted);
        }
    }

    #[test]
    fn spans_come_back_zero_only_if_clean() {
        let reservation = Reservation::make(64 << 20).unwrap();
        let one = reservation.take(4, RUN).unwrap();
        assert!(one.zero);
        let start = reservation.start_of(one.span.first).as_ptr();
        // SAFETY: the span is ours.
        unsafe {
            start.write_bytes(7, 4 * RUN);
            reservation.give(core::iter::once(one.span));
        }
        let again = reservation.take(4, RUN).unwrap();
        assert_eq!((again.span, again.zero), (one.span, false));
        // SAFETY: the span is ours.
        unsafe {
            assert_eq!(start.read(), 7);
            reservation.give(core::iter::once(again.span));
        }
        assert_eq!(reservation.trim(), 4 * RUN);
        let clean = reservation.take(4, RUN).unwrap();
        assert_eq!((clean.span, clean.zero), (one.span, true));
        // SAFETY: the span is ours.
        unsafe { assert_eq!(start.add(3 * RUN).read(), 0) };
    }

    #[test]
    fn what_small_arenas_leave_serves_large_pools_too() {
        let reservation = Reservation::make(1 << 30).unwrap();
        let spans: Vec<Span> = (0..6_000).map(|_| reservation.take(2, RUN).unwrap().span).collect();
        for span in spans {
            // SAFETY: taken above, never used.
            unsafe { reservation.give(core::iter::once(span)) };
        }
        let kept = reservation.free.lock().dirty.runs();
        assert!((DIRTY_RUNS_KEPT / 2..=DIRTY_RUNS_KEPT).contains(&kept));
        for pool in 0..kept / 64 {
            assert!(!reservation.take(64, RUN).unwrap().zero, "pool {pool} of {kept} runs");
        }
    }

    #[test]
    fn a_refused_decommit_leaves_spans_dirty() {
        let reservation = Reservation::make(64 << 20).unwrap();
        let one = reservation.take(4, RUN).unwrap();
        let (_, refused) = refusing_after(0, || {
            // SAFETY: taken above, never used.
            unsafe { reservation.give_clean(one.span) };
        });
        assert_eq!(refused, 1);
        assert!(!reservation.take(4, RUN).unwrap().zero);
    }
}
