//! Clusters: chunks that are ready before they are asked for.
//!
//! A program that knows its needs says how many chunks of which size it wants ready. They
//! are charged, and backed by the system, at once; and they stay:
//!
//! ```text
//! prepare(64, 100 000)      pools, whole and backed      kept: never dissolved
//! prepare(1 MiB, 20)        a retained span of 20 MiB    kept: decay leaves as much
//! ```
//!
//! While requests stay within them, there is no system call at all: a magazine is refilled
//! from a pool, an extent is cut from a span, and bookkeeping lies in memory that is
//! reserved already.
//!
//! What magazines hold is not in its pool, and other threads do not reach it, so a cluster
//! is made larger by what one thread may hold back: a magazine and a depot of its slab.

use core::ptr;

use mallocer_core::AllocError;

use crate::cache::{ANYONE, ThreadCache};
use crate::descriptor::RUN;
use crate::heap::{Heap, Route};
use crate::os;
use crate::pool::{OS_PAGE, Slot};
use crate::pools::MOST_RUNS;

impl<S: Slot> Heap<S> {
    /// Has `chunks` chunks ready that hold `size` bytes each, on top of what there is.
    ///
    /// # Errors
    ///
    /// As an allocation of so much; what is ready by then stays.
    pub(crate) fn prepare(&mut self, size: usize, chunks: usize) -> Result<(), AllocError> {
        // Backing more than there is would take the machine down.
        if size.saturating_mul(chunks) > os::memory() {
            return Err(self.refused(size.saturating_mul(chunks)));
        }
        match self.route(size, 1) {
            Route::Pool(index) => self.prepare_pools(index, chunks),
            Route::Extent => self.prepare_span(size, chunks),
            Route::Nowhere => {
                let largest = self.ladder.largest();
                Err(AllocError::AboveLargestSlab { requested: size, largest })
            }
        }
    }

    fn prepare_pools(&mut self, index: usize, chunks: usize) -> Result<(), AllocError> {
        let reservation = self.attach()?;
        // Whoever needs them takes them from there.
        let cache = self.cache_of(ANYONE);
        if cache.is_null() {
            return Err(self.refused(size_of::<ThreadCache>()));
        }
        let stride = self.stride(index);
        let held_back = self.magazines.most(stride) * (1 + self.magazines.depot(stride));
        let wanted = self.free_chunks(index) + chunks + held_back as usize;
        loop {
            let missing = wanted.saturating_sub(self.free_chunks(index)) * stride;
            if missing == 0 {
                return Ok(());
            }
            let runs = missing.div_ceil(RUN).clamp(1, MOST_RUNS);
            let pool = self.new_pool_of(cache, index, runs, runs)?;
            self.slab(index).common = true;
            // SAFETY: a new pool of this arena, of which nothing is used; it is listed, so it
            // may as well stay if it cannot be charged.
            unsafe {
                (*pool).kept = true;
                let end = ((*pool).count as usize * stride).next_multiple_of(OS_PAGE);
                let step = end - (*pool).charged;
                if step > 0 {
                    self.charge(step)?;
                    let start = reservation.start_of((*pool).first_run).add((*pool).charged);
                    os::populate(start.as_ptr(), step);
                    self.make_ready(pool, step);
                }
            }
        }
    }

    /// Extents are cut from one span, which is had by taking one extent of its size and
    /// giving it up.
    fn prepare_span(&mut self, size: usize, chunks: usize) -> Result<(), AllocError> {
        let runs = size.div_ceil(RUN) * chunks;
        if runs == 0 {
            return Ok(());
        }
        self.attach()?;
        let bytes = runs.checked_mul(RUN).ok_or_else(|| self.refused(size))?;
        // SAFETY: the arena is attached; no magazines are given up. The extent is of this
        // arena, and not used.
        unsafe {
            let extent = self.take_extent(ptr::null_mut(), bytes, 1)?;
            os::populate(extent.start.as_ptr(), extent.bytes);
            self.kept_runs += runs;
            self.retain_extent(extent.start);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::alloc::Layout;
    use core::time::Duration;
    use std::vec::Vec;

    use mallocer_core::{Config, Mallocer};

    use crate::Flist;

    #[test]
    fn what_is_prepared_is_charged_once_and_stays() {
        let mut config = Config::default();
        config.decay = Some(Duration::ZERO);
        let heap = Flist::open(&config).unwrap();
        heap.prepare(64, 100_000).unwrap();
        heap.prepare(1 << 20, 20).unwrap();
        let ready = heap.info().heap;
        assert!(ready >= 64 * 100_000 + (20 << 20));
        assert!(ready < 64 * 120_000 + (21 << 20), "{ready}");
        let (small, large) =
            (Layout::from_size_align(60, 8).unwrap(), Layout::from_size_align(1 << 20, 8).unwrap());
        for _ in 0..3 {
            let mut chunks = Vec::new();
            chunks.extend((0..100_000).map(|_| heap.try_alloc(small).unwrap()));
            chunks.extend((0..20).map(|_| heap.try_alloc(large).unwrap()));
            assert_eq!(heap.info().heap, ready);
            for chunk in chunks {
                // SAFETY: allocated above, and not used afterwards.
                unsafe { heap.free(chunk.cast()) };
            }
            assert_eq!((heap.info().alloc, heap.info().heap), (0, ready));
        }
        // Given up with everything else.
        // SAFETY: no chunk is in use.
        unsafe { heap.release() };
        assert_eq!(heap.info().heap, 0);
    }

    #[test]
    fn more_than_the_capacity_is_an_error_and_less_still_works() {
        let mut config = Config::default();
        config.capacity = 1 << 20;
        let heap = Flist::open(&config).unwrap();
        assert!(heap.prepare(64, 100_000).is_err());
        assert!(heap.prepare(1 << 20, 2).is_err());
        assert!(heap.prepare(2 << 40, 1).is_err());
        assert!(heap.info().heap <= 1 << 20);
        let chunk = heap.try_alloc(Layout::new::<[u64; 8]>()).unwrap();
        // SAFETY: allocated above.
        unsafe { heap.free(chunk.cast()) };
    }
}
