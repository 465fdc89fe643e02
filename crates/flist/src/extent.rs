//! Extents: memory of its own for one chunk that is too large for a pool, or aligned
//! further than a pool can.
//!
//! ```text
//! first run                                                     end of the span
//!   │ chunk: extent_bytes, a multiple of an OS page │ not charged │
//! ```
//!
//! An extent takes whole runs of address space but is charged by OS pages, and not
//! rounded to its slab, unless a thread asks for those again and again (see `kept`).
//! When it is freed it becomes retained memory (charged in full, if capacity allows), which neighbours merge with and which the best-fitting next
//! request is cut from. Extents above [`LARGEST_KEPT`] go back to the system at once.

use core::ptr::{self, NonNull};

use mallocer_core::{AllocError, MAX_CAPACITY};

use crate::cache::{ONLY, ThreadCache};
use crate::descriptor::{Descriptor, Kind, RUN, Tag};
use crate::heap::{Heap, Route};
use crate::leaving::Leaving;
use crate::os;
use crate::pool::{CACHED, LIVE, OS_PAGE, Slot};
use crate::reservation::Taken;
use crate::spans::Span;

/// The largest extent that stays with the arena when it is freed: 64 MiB.
pub(crate) const LARGEST_KEPT: usize = 64 << 20;

/// The least that is moved by its pages: 256 KiB. Below, a copy takes less than the call.
const LEAST_MOVED: usize = 256 << 10;

/// A retained span is made longer by so many parts of it at most.
const LENGTHENED: u32 = 8;

/// The largest alignment of a chunk: 4 GiB.
pub(crate) const LARGEST_ALIGN: usize = 4 << 30;

/// An extent as it is handed out.
pub(crate) struct Extent {
    pub(crate) start: NonNull<u8>,
    pub(crate) bytes: usize,
    /// Whether it reads as zero.
    pub(crate) zero: bool,
}

impl<S: Slot> Heap<S> {
    /// Takes an extent of at least `size` bytes at a multiple of `align`. If capacity
    /// refuses, what the arena and this cache keep is given up first.
    ///
    /// # Safety
    ///
    /// The arena is attached, and the cache is the caller's own, or null.
    pub(crate) unsafe fn take_extent(
        &mut self,
        cache: *mut ThreadCache,
        size: usize,
        align: usize,
    ) -> Result<Extent, AllocError> {
        if align > LARGEST_ALIGN {
            return Err(AllocError::Alignment { alignment: align, largest: LARGEST_ALIGN });
        }
        self.decay();
        let bytes = size.max(1).next_multiple_of(OS_PAGE);
        // SAFETY: passed on.
        unsafe {
            self.note_wanted(cache, bytes);
            let whole = self.rounded_to_keep(cache, bytes);
            match self.try_take_extent(cache, whole, align) {
                Err(AllocError::Capacity { .. } | AllocError::System { .. })
                    if self.reclaim(cache) > 0 || whole > bytes =>
                {
                    self.try_take_extent(cache, bytes, align)
                }
                result => result,
            }
        }
    }

    /// # Safety
    ///
    /// As [`take_extent`](Heap::take_extent).
    unsafe fn try_take_extent(
        &mut self,
        cache: *mut ThreadCache,
        bytes: usize,
        align: usize,
    ) -> Result<Extent, AllocError> {
        let reservation = self.attach()?;
        let table = reservation.descriptors();
        let slab = self.extent_slab(bytes);
        if !self.make_counts(slab) {
            return Err(self.refused(bytes));
        }
        let runs = bytes.div_ceil(RUN) as u32;
        let (align_runs, origin) = reservation.alignment(align);
        // SAFETY: the retained store is this arena's; passed on.
        let retained = unsafe {
            self.retained.take(table, runs, align_runs, origin).or_else(|| {
                self.scavenge_for_extent(cache);
                self.retained.take(table, runs, align_runs, origin)
            })
        };
        let retained =
            retained.or_else(|| if align_runs <= 1 { self.lengthen(runs) } else { None });
        let Taken { span, zero } = match retained {
            Some(span) => {
                self.seen.hit();
                self.refund(runs as usize * RUN - bytes);
                Taken { span, zero: false }
            }
            None => {
                self.seen.miss();
                self.charge(bytes)?;
                self.trim_retained();
                let Some(taken) = reservation.take(runs, align) else {
                    self.refund(bytes);
                    return Err(self.refused(bytes));
                };
                self.note_taken();
                self.runs += runs as usize;
                taken
            }
        };
        let start = reservation.start_of(span.first);
        debug_assert!(start.addr().get().is_multiple_of(align));
        let next = core::mem::replace(&mut self.extents, span.first);
        // SAFETY: the span is this arena's now, and so is every extent in the list.
        unsafe {
            let descriptor = table.at(span.first);
            (*descriptor).start = start.as_ptr();
            (*descriptor).reciprocal = self.home_number();
            (*descriptor).states = ptr::addr_of_mut!((*descriptor).state);
            (*descriptor).pool = ptr::null_mut();
            (*descriptor).set_shelf(ptr::null_mut());
            (*descriptor).set_extent_bytes(bytes);
            (*descriptor).set_prev(0);
            (*descriptor).next = next;
            self.put_on_shelf(descriptor, slab);
            (*descriptor).state = LIVE;
            (*descriptor).set_tag(Tag::new(self.id, Kind::Live));
            if next != 0 {
                (*table.at(next)).set_prev(span.first);
            }
        }
        self.count_extent(slab, 1, bytes as isize);
        if zero {
            // SAFETY: as above.
            unsafe { self.ask_huge(bytes, span) };
        }
        Ok(Extent { start, bytes, zero })
    }

    /// A span of `runs` runs that is a retained one, a little too short, with the process's memory behind it;
    /// charged in full. Something that grows by ever longer copies of itself needs it: what
    /// the copies leave is as long as the next one, but for a little.
    fn lengthen(&mut self, runs: u32) -> Option<Span> {
        let reservation = self.reservation()?;
        let table = reservation.descriptors();
        // SAFETY: the retained store is this arena's, and so are its spans.
        unsafe {
            let span = self.retained.pop_largest(table)?;
            let missing = runs.saturating_sub(span.runs);
            let bytes = missing as usize * RUN;
            if (1..=span.runs / LENGTHENED).contains(&missing) && self.charge(bytes).is_ok() {
                if reservation.take_at(span.end(), missing).is_some() {
                    self.note_taken();
                    self.retained.note_taken();
                    self.runs += missing as usize;
                    self.trim_retained();
                    self.ask_huge(runs as usize * RUN, Span::new(span.end(), missing));
                    return Some(Span::new(span.first, runs));
                }
                self.refund(bytes);
            }
            self.retained.put(table, span);
            None
        }
    }

    /// Makes an extent that is not used a retained span, however large it is.
    ///
    /// # Safety
    ///
    /// `start` is that of one of this arena's extents, which is all charged.
    pub(crate) unsafe fn retain_extent(&mut self, start: NonNull<u8>) {
        let Some(reservation) = self.reservation() else { return };
        let first = reservation.run_of(start.addr().get()).expect("an extent is ours");
        // SAFETY: the caller's promise.
        unsafe {
            let (span, bytes) = self.end_extent(reservation.descriptors().at(first));
            debug_assert!(span.runs as usize * RUN == bytes);
            self.leave(span, true, Leaving::Retained);
        }
    }

    /// Frees an extent.
    ///
    /// # Safety
    ///
    /// `descriptor` is that of one of this arena's extents, which is not used any more.
    pub(crate) unsafe fn free_extent(&mut self, descriptor: *mut Descriptor) {
        self.decay();
        // SAFETY: passed on.
        let (span, bytes) = unsafe { self.end_extent(descriptor) };
        // What is kept is charged in full.
        let missing = span.runs as usize * RUN - bytes;
        let kept = bytes <= LARGEST_KEPT && self.charge(missing).is_ok();
        if !kept {
            self.refund(bytes);
        }
        let leaving = if bytes > LARGEST_KEPT { Leaving::System } else { Leaving::Retained };
        // SAFETY: the span is this arena's, and its descriptor is cleared.
        unsafe { self.leave(span, kept, leaving) };
    }

    /// Takes an extent off the books; returns its span, and the bytes charged for it.
    ///
    /// # Safety
    ///
    /// As [`free_extent`](Heap::free_extent).
    unsafe fn end_extent(&mut self, descriptor: *mut Descriptor) -> (Span, usize) {
        // SAFETY: the caller's promise; neighbours in the list are this arena's.
        unsafe {
            let extent_bytes = (*descriptor).extent_bytes();
            let &Descriptor { start, next, runs, .. } = &*descriptor;
            let prev = (*descriptor).prev();
            (*descriptor).state = CACHED;
            (*descriptor).set_tag(Tag::INNER);
            if prev == 0 {
                self.extents = next;
            } else {
                (*self.descriptor(prev)).next = next;
            }
            if next != 0 {
                (*self.descriptor(next)).set_prev(prev);
            }
            self.count_extent(self.extent_slab(extent_bytes), -1, -(extent_bytes as isize));
            let first = self.reservation().and_then(|ours| ours.run_of(start.addr()));
            (Span::new(first.expect("an extent is within the reservation"), runs), extent_bytes)
        }
    }

    /// Makes an extent hold `size` bytes where it is, if the memory behind it allows.
    ///
    /// # Safety
    ///
    /// `descriptor` is that of one of this arena's extents.
    pub(crate) unsafe fn resize_extent(
        &mut self,
        descriptor: *mut Descriptor,
        size: usize,
    ) -> Option<usize> {
        if size > MAX_CAPACITY || self.route(size, 1) != Route::Extent {
            return None;
        }
        let reservation = self.reservation()?;
        let bytes = size.max(1).next_multiple_of(OS_PAGE);
        // SAFETY: the caller's promise.
        let (start, runs, old_bytes) = unsafe {
            let one = &*descriptor;
            (one.start, one.runs, one.extent_bytes())
        };
        let (old_slab, slab) = (self.extent_slab(old_bytes), self.extent_slab(bytes));
        if !self.make_counts(slab) {
            return None;
        }
        let first = reservation.run_of(start.addr())?;
        let new_runs = bytes.div_ceil(RUN) as u32;
        if bytes > old_bytes {
            self.charge(bytes - old_bytes).ok()?;
            if new_runs > runs && !self.extend(first + runs, new_runs - runs) {
                self.refund(bytes - old_bytes);
                return None;
            }
            let from = if old_bytes < self.least_huge() { 0 } else { runs };
            // SAFETY: the extent has these runs now.
            unsafe { self.ask_huge_behind(bytes, Span::new(first, new_runs), first + from) };
        } else {
            self.refund(old_bytes - bytes);
            if new_runs < runs {
                let tail = Span::new(first + new_runs, runs - new_runs);
                // SAFETY: inner runs of the extent, which have no descriptors set, and
                // which it gives up.
                unsafe { self.leave(tail, false, Leaving::Process) };
            }
        }
        // SAFETY: as above.
        unsafe {
            (*descriptor).set_extent_bytes(bytes);
            self.put_on_shelf(descriptor, slab);
        }
        self.count_extent(old_slab, -1, -(old_bytes as isize));
        self.count_extent(slab, 1, bytes as isize);
        Some(bytes)
    }

    /// Makes an extent one of at least `size` bytes at a multiple of `align` elsewhere, by
    /// moving its pages and not its bytes; `None` if that is not worth it or not possible.
    /// The old one is gone then.
    ///
    /// It is worth it into fresh memory. Pages that are moved into memory which has its own make the system drop
    /// those, and whoever needs as many next has them made anew, one by one, which takes longer than a copy. An
    /// extent that would not be kept if it were given back is used all the same.
    ///
    /// # Safety
    ///
    /// `descriptor` is that of one of this arena's extents, and the cache is the caller's
    /// own, or null.
    pub(crate) unsafe fn move_extent(
        &mut self,
        cache: *mut ThreadCache,
        descriptor: *mut Descriptor,
        size: usize,
        align: usize,
    ) -> Option<Extent> {
        let reservation = self.reservation()?;
        // SAFETY: the caller's promise.
        let (from, bytes, runs) = unsafe {
            ((*descriptor).start, (*descriptor).extent_bytes(), (*descriptor).runs as usize)
        };
        if bytes < LEAST_MOVED || size < bytes || reservation.is_strict() {
            return None;
        }
        // SAFETY: passed on. The new extent is not in use yet, and both are whole OS pages.
        unsafe {
            let extent = self.take_extent(cache, size, align).ok()?;
            // Whole runs, so that nothing is left in the old ones.
            let fresh = extent.zero || extent.bytes > LARGEST_KEPT;
            if !fresh || !os::remap(from, runs * RUN, extent.start.as_ptr()) {
                let run = reservation.run_of(extent.start.addr().get())?;
                self.free_extent(self.descriptor(run));
                return None;
            }
            let (span, bytes) = self.end_extent(descriptor);
            self.refund(bytes);
            self.runs -= span.runs as usize;
            self.withdraw_huge(reservation, span);
            reservation.give_emptied(span);
            Some(extent)
        }
    }

    /// Takes the `runs` runs from `first` on, retained or the process's, if they are
    /// free. They are charged by the caller.
    fn extend(&mut self, first: u32, runs: u32) -> bool {
        let Some(reservation) = self.reservation() else { return false };
        // SAFETY: `first` ends one of this arena's spans; the store is this arena's.
        if unsafe { self.retained.take_at(reservation.descriptors(), first, runs) } {
            self.refund(runs as usize * RUN);
            return true;
        }
        if reservation.take_at(first, runs).is_some() {
            self.note_taken();
            self.trim_retained();
            self.runs += runs as usize;
            return true;
        }
        false
    }

    /// The slab that an extent of `bytes` bytes is counted under; never one with pools.
    pub(crate) fn extent_slab(&self, bytes: usize) -> usize {
        self.ladder.lookup().first_at_least(bytes).max(self.pooled)
    }

    /// Notes which shelf an extent is on that is counted under the slab at `index`, and in an arena
    /// for one thread, where that is.
    ///
    /// # Safety
    ///
    /// The descriptor is that of one of this arena's extents.
    unsafe fn put_on_shelf(&self, descriptor: *mut Descriptor, index: usize) {
        let shelf = index.min(self.shelved);
        // SAFETY: the caller's promise; a cache has a shelf for every extent. That of an arena for
        // one thread is there before any extent that a program can free.
        unsafe {
            (*descriptor).slab = shelf as u16;
            let only = if S::ALONE { self.by_thread.find(ONLY) } else { ptr::null_mut() };
            if !only.is_null() {
                (*descriptor).set_shelf(ThreadCache::shelves::<S>(only).at(shelf).cast());
            }
        }
    }

    fn count_extent(&mut self, slab: usize, extents: isize, bytes: isize) {
        let slab = self.slab(slab);
        slab.ready = slab.ready.wrapping_add_signed(extents);
        slab.pools = slab.pools.wrapping_add_signed(extents as i32);
        slab.heap = slab.heap.wrapping_add_signed(bytes);
    }
}
