//! How a heap counts and marks: for one thread, or for many.
//!
//! Both forms have the same registry of atomic words. The form for
//! one thread reads and writes them plainly (relaxed loads and stores are ordinary
//! ones on every processor), the shared one with one atomic operation each.

use std::cell::Cell;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize};

use mallocer_core::{AllocError, Budget, Meter, SharedMeter};

/// How a heap is shared: [`Alone`] or [`Shared`]. Not to be implemented elsewhere.
pub trait Sharing: private::Sealed {}

impl Sharing for Alone {}
impl Sharing for Shared {}

pub(crate) mod private {
    use super::*;

    /// What the two forms do differently.
    pub trait Sealed: Sized {
        /// Whether other threads may use the heap at the same time.
        const CONCURRENT: bool;

        fn new(budget: Budget) -> Self;
        fn charge(&self, bytes: usize) -> Result<(), AllocError>;
        fn refund(&self, bytes: usize);
        fn count_alloc(&self);
        fn count_free(&self);
        fn clear(&self);
        fn used(&self) -> usize;
        fn nested(&self) -> usize;
        fn chunks(&self) -> usize;
        fn budget(&self) -> &Budget;

        /// Sets the bits of `mask`; returns the word as it was.
        fn set(word: &AtomicU64, mask: u64) -> u64;
        /// Clears the bits of `mask`; returns the word as it was.
        fn unset(word: &AtomicU64, mask: u64) -> u64;
    }
}

/// A heap that one thread uses at a time: no atomic operation, no lock.
pub struct Alone {
    meter: Meter,
    chunks: Cell<usize>,
}

impl private::Sealed for Alone {
    const CONCURRENT: bool = false;

    fn new(budget: Budget) -> Alone {
        Alone { meter: Meter::new(budget), chunks: Cell::new(0) }
    }

    #[inline]
    fn charge(&self, bytes: usize) -> Result<(), AllocError> {
        self.meter.charge(bytes)
    }

    #[inline]
    fn refund(&self, bytes: usize) {
        self.meter.refund(bytes);
    }

    #[inline]
    fn count_alloc(&self) {
        self.chunks.set(self.chunks.get() + 1);
    }

    #[inline]
    fn count_free(&self) {
        self.chunks.set(self.chunks.get() - 1);
    }

    fn clear(&self) {
        self.meter.clear();
        self.chunks.set(0);
    }

    fn used(&self) -> usize {
        self.meter.used()
    }

    fn nested(&self) -> usize {
        self.meter.nested()
    }

    fn chunks(&self) -> usize {
        self.chunks.get()
    }

    fn budget(&self) -> &Budget {
        self.meter.budget()
    }

    #[inline]
    fn set(word: &AtomicU64, mask: u64) -> u64 {
        let was = word.load(Relaxed);
        word.store(was | mask, Relaxed);
        was
    }

    #[inline]
    fn unset(word: &AtomicU64, mask: u64) -> u64 {
        let was = word.load(Relaxed);
        word.store(was & !mask, Relaxed);
        was
    }
}

/// A heap that any thread may use at any time.
pub struct Shared {
    meter: SharedMeter,
}

impl private::Sealed for Shared {
    const CONCURRENT: bool = true;

    fn new(budget: Budget) -> Shared {
        Shared { meter: SharedMeter::new(budget) }
    }

    #[inline]
    fn charge(&self, bytes: usize) -> Result<(), AllocError> {
        self.meter.charge(lane(), bytes)
    }

    #[inline]
    fn refund(&self, bytes: usize) {
        self.meter.refund(lane(), bytes);
    }

    #[inline]
    fn count_alloc(&self) {
        self.meter.count_alloc(lane());
    }

    #[inline]
    fn count_free(&self) {
        self.meter.count_free(lane());
    }

    fn clear(&self) {
        self.meter.clear();
    }

    fn used(&self) -> usize {
        self.meter.used()
    }

    fn nested(&self) -> usize {
        self.meter.nested()
    }

    fn chunks(&self) -> usize {
        self.meter.chunks()
    }

    fn budget(&self) -> &Budget {
        self.meter.budget()
    }

    #[inline]
    fn set(word: &AtomicU64, mask: u64) -> u64 {
        word.fetch_or(mask, SeqCst)
    }

    #[inline]
    fn unset(word: &AtomicU64, mask: u64) -> u64 {
        word.fetch_and(!mask, SeqCst)
    }
}

/// The meter lane of the calling thread: threads count round the lanes.
#[inline]
fn lane() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(1);
    thread_local! {
        /// The number of this thread; 0 until it first asks.
        static NUMBER: Cell<usize> = const { Cell::new(0) };
    }
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(THREADS.fetch_add(1, Relaxed));
        }
        number.get()
    })
}
