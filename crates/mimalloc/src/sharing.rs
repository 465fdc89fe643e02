//! How a heap counts: for one thread, or for many.
//!
//! mimalloc itself has no lock to choose: in version 3 any thread may allocate from any
//! heap. What differs is how bytes and chunks are counted, and that the shared form passes
//! [the gate](crate::threads).

use std::array;
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::AtomicIsize;
use std::sync::atomic::Ordering::Relaxed;

use mallocer_core::{AllocError, Budget, Meter, SharedMeter};

use crate::classes::MOST_CLASSES;
use crate::threads;

/// How a heap is shared: [`Alone`] or [`Shared`]. Not to be implemented elsewhere.
pub trait Sharing: private::Sealed {}

impl Sharing for Alone {}
impl Sharing for Shared {}

pub(crate) mod private {
    use super::*;
    use libmimalloc_sys::mi_heap_t;

    /// What the two forms do differently.
    pub trait Sealed: Sized {
        /// The least `mi_version` that serves this form.
        const LEAST_VERSION: i32;

        fn new(budget: Budget) -> Self;
        fn charge(&self, bytes: usize) -> Result<(), AllocError>;
        fn refund(&self, bytes: usize);
        fn count_alloc(&self, class: usize);
        fn count_free(&self, class: usize);
        fn chunks(&self, class: usize) -> usize;
        fn clear(&self);
        fn used(&self) -> usize;
        fn nested(&self) -> usize;
        fn budget(&self) -> &Budget;

        /// Runs an allocation from the heap of this number; `None` if the calling thread
        /// has ended.
        fn allocating<R>(&self, heap: usize, allocate: impl FnOnce() -> R) -> Option<R>;

        /// Destroys a heap.
        ///
        /// # Safety
        ///
        /// Nothing of the heap is used afterwards.
        unsafe fn destroy(&self, heap: *mut mi_heap_t);
    }
}

/// A heap that belongs to one thread: no atomic operation, no lock, no gate.
pub struct Alone {
    meter: Meter,
    chunks: [Cell<usize>; MOST_CLASSES],
    /// Not `Send`: the thread's end must not meet the heap's.
    _one_thread: PhantomData<*mut ()>,
}

impl private::Sealed for Alone {
    const LEAST_VERSION: i32 = 0;

    fn new(budget: Budget) -> Alone {
        let chunks = array::from_fn(|_| Cell::new(0));
        Alone { meter: Meter::new(budget), chunks, _one_thread: PhantomData }
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
    fn count_alloc(&self, class: usize) {
        let count = &self.chunks[class];
        count.set(count.get() + 1);
    }

    #[inline]
    fn count_free(&self, class: usize) {
        let count = &self.chunks[class];
        count.set(count.get() - 1);
    }

    fn chunks(&self, class: usize) -> usize {
        self.chunks[class].get()
    }

    fn clear(&self) {
        self.meter.clear();
        self.chunks.iter().for_each(|count| count.set(0));
    }

    fn used(&self) -> usize {
        self.meter.used()
    }

    fn nested(&self) -> usize {
        self.meter.nested()
    }

    fn budget(&self) -> &Budget {
        self.meter.budget()
    }

    #[inline]
    fn allocating<R>(&self, _: usize, allocate: impl FnOnce() -> R) -> Option<R> {
        Some(allocate())
    }

    unsafe fn destroy(&self, heap: *mut libmimalloc_sys::mi_heap_t) {
        // SAFETY: the caller's promise; only this thread has a theap in the heap.
        unsafe { libmimalloc_sys::mi_heap_destroy(heap) };
    }
}

/// How many counters of chunks there are for each class: a power of two. Threads beyond
/// that share them.
const LANES: usize = 8;

/// A heap that any thread may use at any time.
pub struct Shared {
    meter: SharedMeter,
    lanes: Box<[Lane; LANES]>,
}

/// Chunks by class: taken minus freed, by the threads of this lane.
#[derive(Debug)]
#[repr(align(128))]
struct Lane([AtomicIsize; MOST_CLASSES]);

impl private::Sealed for Shared {
    const LEAST_VERSION: i32 = 300;

    fn new(budget: Budget) -> Shared {
        let lanes = array::from_fn(|_| Lane(array::from_fn(|_| AtomicIsize::new(0))));
        Shared { meter: SharedMeter::new(budget), lanes: Box::new(lanes) }
    }

    #[inline]
    fn charge(&self, bytes: usize) -> Result<(), AllocError> {
        self.meter.charge(threads::number(), bytes)
    }

    #[inline]
    fn refund(&self, bytes: usize) {
        self.meter.refund(threads::number(), bytes);
    }

    #[inline]
    fn count_alloc(&self, class: usize) {
        self.lanes[threads::number() % LANES].0[class].fetch_add(1, Relaxed);
    }

    #[inline]
    fn count_free(&self, class: usize) {
        self.lanes[threads::number() % LANES].0[class].fetch_sub(1, Relaxed);
    }

    fn chunks(&self, class: usize) -> usize {
        let sum: isize = self.lanes.iter().map(|lane| lane.0[class].load(Relaxed)).sum();
        sum.max(0) as usize
    }

    fn clear(&self) {
        self.meter.clear();
        for lane in &*self.lanes {
            lane.0.iter().for_each(|count| count.store(0, Relaxed));
        }
    }

    fn used(&self) -> usize {
        self.meter.used()
    }

    fn nested(&self) -> usize {
        self.meter.nested()
    }

    fn budget(&self) -> &Budget {
        self.meter.budget()
    }

    #[inline]
    fn allocating<R>(&self, heap: usize, allocate: impl FnOnce() -> R) -> Option<R> {
        threads::allocating(heap, allocate)
    }

    unsafe fn destroy(&self, heap: *mut libmimalloc_sys::mi_heap_t) {
        // SAFETY: the caller's promise.
        unsafe { threads::destroy(heap) };
    }
}
