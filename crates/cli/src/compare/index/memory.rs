//! Where the index takes its memory from, and what is written down on the way.
//!
//! The index speaks to a [`Memory`]: an arena of either kind, seen through a
//! [`Counted`] that adds up calls and bytes, or through a [`Sampled`] that also
//! reads the clock before and after every 17th call. Both are chosen at compile time.
//! Counting costs two additions, the same on every backend; the clock costs more
//! than many a call, so rounds that measure latencies are not used for anything
//! else.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use hdrhistogram::Histogram;
use mallocer::{Arena, SharedArena};
use mallocer_core::{AllocError, Info, Mallocer};

use crate::compare::clock::Clock;
use crate::compare::quantile::intervals;
use crate::compare::round::{Latency, Percentiles};

/// The calls of an arena that the index makes.
pub(crate) trait Memory {
    /// Allocates a chunk.
    fn alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError>;

    /// Makes a chunk of layout `old` hold `new` bytes at the same alignment.
    ///
    /// # Safety
    ///
    /// `chunk` is a live chunk of this arena, allocated with `old`, and not used
    /// afterwards if this succeeds.
    unsafe fn realloc(
        &self,
        chunk: NonNull<u8>,
        old: Layout,
        new: usize,
    ) -> Result<NonNull<u8>, AllocError>;

    /// Frees a chunk without telling the arena its size; `layout` is for counting.
    ///
    /// # Safety
    ///
    /// `chunk` is a live chunk of this arena, allocated with `layout`, and not used
    /// afterwards.
    unsafe fn free(&self, chunk: NonNull<u8>, layout: Layout);

    /// Frees a chunk and tells the arena its size.
    ///
    /// # Safety
    ///
    /// As [`free`](Memory::free).
    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout);
}

/// An arena whose bytes can be asked for while it works.
pub(crate) trait Space: Memory {
    /// Capacity, heap, alloc and overhead of the arena.
    fn info(&self) -> Info;
}

/// Both kinds of arena have the same methods.
macro_rules! arena_is_memory {
    ($arena:ident, $($bound:tt)+) => {
        impl<M: $($bound)+> Memory for $arena<M> {
            #[inline]
            fn alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
                self.try_alloc(layout).map(NonNull::cast)
            }

            #[inline]
            unsafe fn realloc(
                &self,
                chunk: NonNull<u8>,
                old: Layout,
                new: usize,
            ) -> Result<NonNull<u8>, AllocError> {
                let layout = Layout::from_size_align(new, old.align()).expect("a small array");
                // SAFETY: the caller's promise.
                unsafe { self.try_realloc(chunk, layout) }.map(NonNull::cast)
            }

            #[inline]
            unsafe fn free(&self, chunk: NonNull<u8>, _: Layout) {
                // SAFETY: the caller's promise.
                unsafe { $arena::free(self, chunk) }
            }

            #[inline]
            unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
                // SAFETY: the caller's promise; `layout` is what was asked for.
                unsafe { $arena::free_sized(self, chunk, layout) }
            }
        }

        impl<M: $($bound)+> Space for $arena<M> {
            fn info(&self) -> Info {
                $arena::info(self)
            }
        }
    };
}

arena_is_memory!(Arena, Mallocer);
arena_is_memory!(SharedArena, Mallocer + Send + Sync);

/// What a worker's calls add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Calls of alloc.
    pub(crate) allocs: u64,
    /// Calls of free and of sized free.
    pub(crate) frees: u64,
    /// Calls of realloc.
    pub(crate) reallocs: u64,
    /// Bytes asked for and not freed. Below zero on a worker that frees what others
    /// have allocated.
    pub(crate) live: i64,
}

/// A memory that counts calls and bytes.
pub(crate) struct Counted<'a, A> {
    arena: &'a A,
    tally: Cell<Tally>,
}

impl<A: Space> Counted<'_, A> {
    #[inline]
    fn count(&self, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.get();
        change(&mut tally);
        self.tally.set(tally);
    }
}

impl<A: Space> Memory for Counted<'_, A> {
    #[inline]
    fn alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let chunk = self.arena.alloc(layout)?;
        self.count(|tally| {
            tally.allocs += 1;
            tally.live += layout.size() as i64;
        });
        Ok(chunk)
    }

    #[inline]
    unsafe fn realloc(
        &self,
        chunk: NonNull<u8>,
        old: Layout,
        new: usize,
    ) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: the caller's promise.
        let chunk = unsafe { self.arena.realloc(chunk, old, new)? };
        self.count(|tally| {
            tally.reallocs += 1;
            tally.live += new as i64 - old.size() as i64;
        });
        Ok(chunk)
    }

    #[inline]
    unsafe fn free(&self, chunk: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.arena.free(chunk, layout) };
        self.count(|tally| {
            tally.frees += 1;
            tally.live -= layout.size() as i64;
        });
    }

    #[inline]
    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.arena.free_sized(chunk, layout) };
        self.count(|tally| {
            tally.frees += 1;
            tally.live -= layout.size() as i64;
        });
    }
}

/// Every how many calls one is timed: a prime, so that sampling does not keep step
/// with a pattern of the work.
const SAMPLE_EVERY: u32 = 17;

/// The latencies of alloc and of free, in tenths of a nanosecond.
#[derive(Clone)]
pub(crate) struct Latencies {
    alloc: Histogram<u32>,
    /// Of free, sized or not.
    free: Histogram<u32>,
}

impl Latencies {
    /// Nothing measured yet.
    fn new() -> Latencies {
        let histogram = intervals();
        Latencies { alloc: histogram.clone(), free: histogram }
    }

    /// The percentiles of what was measured by `clock`, in nanoseconds.
    pub(crate) fn percentiles(&self, clock: &Clock) -> Latency {
        let percentiles = |histogram: &Histogram<u32>| {
            let at = |share| clock.nanoseconds(histogram, share);
            Percentiles { p50: at(0.5), p99: at(0.99), p99_9: at(0.999) }
        };
        Latency {
            alloc: percentiles(&self.alloc),
            free: percentiles(&self.free),
            samples: self.alloc.len() + self.free.len(),
        }
    }

    /// Adds the samples of another worker.
    pub(crate) fn add(&mut self, other: &Latencies) {
        self.alloc += &other.alloc;
        self.free += &other.free;
    }
}

/// A memory that counts, and times every 17th call.
pub(crate) struct Sampled<'a, A> {
    counted: Counted<'a, A>,
    clock: &'a Clock,
    turn: Cell<u32>,
    latencies: RefCell<Latencies>,
}

impl<A: Space> Sampled<'_, A> {
    /// Makes the call, and times it if it is its turn.
    #[inline]
    fn sample<T>(
        &self,
        call: impl FnOnce() -> T,
        into: impl FnOnce(&mut Latencies) -> &mut Histogram<u32>,
    ) -> T {
        let turn = self.turn.get() + 1;
        self.turn.set(turn);
        if !turn.is_multiple_of(SAMPLE_EVERY) {
            return call();
        }
        let start = self.clock.ticks();
        let result = call();
        let elapsed = self.clock.tenths_since(start);
        into(&mut self.latencies.borrow_mut()).saturating_record(elapsed);
        result
    }
}

impl<A: Space> Memory for Sampled<'_, A> {
    fn alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.sample(|| self.counted.alloc(layout), |latencies| &mut latencies.alloc)
    }

    unsafe fn realloc(
        &self,
        chunk: NonNull<u8>,
        old: Layout,
        new: usize,
    ) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: the caller's promise.
        unsafe { self.counted.realloc(chunk, old, new) }
    }

    unsafe fn free(&self, chunk: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        let call = || unsafe { self.counted.free(chunk, layout) };
        self.sample(call, |latencies| &mut latencies.free);
    }

    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        let call = || unsafe { self.counted.free_sized(chunk, layout) };
        self.sample(call, |latencies| &mut latencies.free);
    }
}

/// A memory that a round can read out.
pub(crate) trait Probe: Memory {
    /// The calls and bytes so far.
    fn tally(&self) -> Tally;

    /// Capacity, heap, alloc and overhead of the arena behind.
    fn info(&self) -> Info;

    /// The latencies so far, if they are measured.
    fn latencies(&self) -> Option<Latencies>;
}

impl<A: Space> Probe for Counted<'_, A> {
    fn tally(&self) -> Tally {
        self.tally.get()
    }

    fn info(&self) -> Info {
        self.arena.info()
    }

    fn latencies(&self) -> Option<Latencies> {
        None
    }
}

impl<A: Space> Probe for Sampled<'_, A> {
    fn tally(&self) -> Tally {
        self.counted.tally()
    }

    fn info(&self) -> Info {
        self.counted.info()
    }

    fn latencies(&self) -> Option<Latencies> {
        Some(self.latencies.borrow().clone())
    }
}

/// What a round puts in front of an arena: one probe for each worker.
pub(crate) trait Instrument: Sync {
    /// The probe that it makes.
    type Probe<'a, A: Space + 'a>: Probe
    where
        Self: 'a;

    /// A probe on `arena`, with nothing counted.
    fn probe<'a, A: Space>(&'a self, arena: &'a A) -> Self::Probe<'a, A>;

    /// The clock that its probes read, if they do.
    fn clock(&self) -> Option<&Clock>;
}

/// The instrument that only counts.
pub(crate) struct Counting;

impl Instrument for Counting {
    type Probe<'a, A: Space + 'a> = Counted<'a, A>;

    fn probe<'a, A: Space>(&'a self, arena: &'a A) -> Counted<'a, A> {
        Counted { arena, tally: Cell::default() }
    }

    fn clock(&self) -> Option<&Clock> {
        None
    }
}

/// A clock counts, and times some of the calls.
impl Instrument for Clock {
    type Probe<'a, A: Space + 'a> = Sampled<'a, A>;

    fn probe<'a, A: Space>(&'a self, arena: &'a A) -> Sampled<'a, A> {
        Sampled {
            counted: Counting.probe(arena),
            clock: self,
            turn: Cell::new(0),
            latencies: RefCell::new(Latencies::new()),
        }
    }

    fn clock(&self) -> Option<&Clock> {
        Some(self)
    }
}
