//! OS pages of pools on which no chunk is in use.
//!
//! A pool is dissolved when its last chunk comes back, and one chunk that stays keeps all of it. But most of
//! its OS pages have no chunk in use then, and what a free chunk holds nobody needs: the free map is kept
//! outside. So where memory is given back, those pages go to the system by themselves: by a purge, and from pools that nobody
//! has used for the decay time:
//!
//! ```text
//! pool  │ free │ free │ live │ free │ free │ free │ free │ …
//! pages │        hole        │     │        hole         │ …
//!         ◀── no live chunk ─▶       contents to the system, addresses and charge kept
//! ```
//!
//! No list leads through free chunks, and no header lies before them, so there is nothing to keep of them, but in a
//! shared arena their marks, by which a second free of one is told (see `mark`). They go with the pages. So
//!
//! * the descriptors of a pool say of the chunks from the first hole on that they were never handed out. Then no
//!   fast path takes one for live, and the slow ones ask the state byte;
//! * a refill that takes chunks of such a pool writes their marks anew: at hand they look as they always do.
//!
//! A hardened heap has none: it looks at free chunks when the program ends.
//!
//! A hole stays charged: heap is what is charged, so capacity holds, whatever is resident.

use crate::descriptor::RUN_SHIFT;
use crate::heap::Heap;
use crate::mark::set_mark;
use crate::os;
use crate::pool::{OS_PAGE, Pool, Slot};

/// Pages of a pool are worth it if at most one in so many of its chunks is out.
const LIVE_SHARE: u32 = 4;

/// Decay looks at so many pools at most, and goes on there the next time, so that nobody waits long
/// for the lock of a large heap.
const MOST_LOOKED_AT: usize = 4096;

impl<S: Slot> Heap<S> {
    /// Gives the pages of pools back to the system on which no chunk is in use, of those pools that are mostly free;
    /// returns how many bytes. What is known to be given back already is not again. Only those that have had as
    /// many chunks at the last call if they are to be `idle`.
    ///
    /// # Safety
    ///
    /// The arena is attached.
    pub(crate) unsafe fn give_up_holes(&mut self, idle: bool) -> usize {
        if self.disorder != 0 {
            return 0;
        }
        let begin = if idle && !self.next_holed.is_null() { self.next_holed } else { self.pools };
        let (mut bytes, mut pool) = (0, begin);
        let mut left = if idle { MOST_LOOKED_AT } else { usize::MAX };
        // SAFETY: the list holds this arena's pools; what leaves it is not gone on from.
        unsafe {
            while !pool.is_null() && left > 0 {
                left -= 1;
                let free = (*pool).free();
                let settled = core::mem::replace(&mut (*pool).idle, free) == free || !idle;
                let much = (*pool).ready - free <= (*pool).ready / LIVE_SHARE;
                if (*pool).holes > free {
                    // Some of them were taken since, and have their pages again.
                    (*pool).holes = free.max(1);
                }
                if much && settled && free > (*pool).holes && !(*pool).kept {
                    bytes += self.give_up_holes_of(pool);
                }
                pool = (*pool).next;
            }
        }
        if idle {
            self.next_holed = pool;
        }
        bytes
    }

    /// # Safety
    ///
    /// The pool is this arena's.
    unsafe fn give_up_holes_of(&mut self, pool: *mut Pool) -> usize {
        let (mut bytes, mut first) = (0, u32::MAX);
        // SAFETY: the caller's promise. On the pages between two places in a row of free chunks there is nothing
        // else, and what is free in its pool is nobody's.
        unsafe {
            (*pool).each_row(|row| {
                let start = (row.start as usize * (*pool).stride).next_multiple_of(OS_PAGE);
                let end = (row.end as usize * (*pool).stride) & !(OS_PAGE - 1);
                if start < end && os::decommit((*pool).start.add(start), end - start, false) {
                    bytes += end - start;
                    first = first.min(row.start);
                }
            });
            (*pool).holes = (*pool).free();
            if first < (*pool).handed {
                self.set_handed(pool, first);
            }
        }
        bytes
    }

    /// Says in the descriptors that the first `handed` chunks of a pool were handed out, and perhaps no other.
    ///
    /// # Safety
    ///
    /// The pool is this arena's.
    unsafe fn set_handed(&mut self, pool: *mut Pool, handed: u32) {
        let table = self.table();
        // SAFETY: the caller's promise; the runs are the pool's.
        unsafe {
            (*pool).handed = handed;
            let from = (handed as usize * (*pool).stride) >> RUN_SHIFT;
            for run in from as u32..(*pool).runs {
                // Of the runs before, all chunks that begin there.
                (*table.at((*pool).first_run + run)).set_handed(handed, (*pool).stride);
            }
        }
    }
}

/// Writes the marks of chunks that were just taken from a pool which has had holes.
///
/// # Safety
///
/// The slots have `count` chunks, which are the caller's and have room for a mark.
#[cold]
pub(crate) unsafe fn mark_anew<S: Slot>(slots: *const S, count: u32, key: u64) {
    for at in 0..count as usize {
        // SAFETY: the caller's promise.
        unsafe { set_mark((*slots.add(at)).chunk(), key) };
    }
}

#[cfg(all(test, not(mallocer_loom)))]
mod tests {
    extern crate std;
    use core::alloc::Layout;
    use core::ptr::NonNull;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::vec::Vec;

    use mallocer_core::{Config, Mallocer};

    use crate::{Flist, SharedFlist};

    const CHUNKS: usize = 30_000;
    /// One in so many stays.
    const STAYS: usize = 150;

    /// A heap of which most chunks were freed: those that stay, and the others.
    fn holed<M: Mallocer>(size: usize) -> (M, Vec<NonNull<u8>>, Vec<NonNull<u8>>) {
        let heap = M::open(&Config::default()).unwrap();
        let layout = Layout::from_size_align(size, 8).unwrap();
        let alloc = |at: usize| {
            let chunk = heap.try_alloc(layout).unwrap().cast::<u8>();
            // SAFETY: the chunk is ours, and has as many bytes.
            unsafe { chunk.write_bytes(at as u8, size) };
            chunk
        };
        let chunks: Vec<_> = (0..CHUNKS).map(alloc).collect();
        let (mut stay, mut freed) = (Vec::new(), Vec::new());
        for (at, &chunk) in chunks.iter().enumerate() {
            if at % STAYS == 0 {
                stay.push(chunk);
            } else {
                freed.push(chunk);
                // SAFETY: allocated above, and freed once.
                unsafe { heap.free(chunk) };
            }
        }
        (heap, stay, freed)
    }

    fn are_whole(stay: &[NonNull<u8>], size: usize) {
        for (at, chunk) in stay.iter().enumerate() {
            // SAFETY: the chunk stays.
            let bytes = unsafe { core::slice::from_raw_parts(chunk.as_ptr(), size) };
            assert!(bytes.iter().all(|&byte| byte == (at * STAYS) as u8), "{chunk:?}");
        }
    }

    #[test]
    fn what_stays_is_whole_and_all_else_goes() {
        for size in [16, 104, 552, 5_000, 20_000] {
            let (heap, stay, _) = holed::<SharedFlist>(size);
            let before = heap.info().heap;
            heap.purge();
            let given: usize = {
                let locked = heap.sharing().heap.lock();
                let (mut holes, mut pool) = (0, locked.pools);
                while !pool.is_null() {
                    // SAFETY: the list holds the heap's pools.
                    unsafe {
                        holes += (*pool).holes as usize * (*pool).stride;
                        pool = (*pool).next;
                    }
                }
                holes
            };
            assert!(before - heap.info().heap + given > before * 9 / 10, "{size}: {given}");
            are_whole(&stay, size);
            heap.check_invariants();
            // SAFETY: they stayed until now.
            stay.iter().for_each(|&chunk| unsafe { heap.free(chunk) });
            heap.check_invariants();
            heap.purge();
            assert_eq!(heap.info().heap, 0, "{size}");
        }
    }

    #[test]
    fn a_second_free_is_caught_in_a_hole_and_at_hand_again() {
        let caught = |heap: &SharedFlist, chunk: NonNull<u8>| {
            // SAFETY: it is not, which is told.
            let freed = catch_unwind(AssertUnwindSafe(|| unsafe { heap.free(chunk) }));
            let told = freed.expect_err("it was freed twice");
            assert!(told.downcast_ref::<std::string::String>().unwrap().contains("twice"));
        };
        let (heap, stay, freed) = holed::<SharedFlist>(104);
        heap.purge();
        freed.iter().step_by(97).for_each(|&chunk| caught(&heap, chunk));
        // Chunks come out of the holes again.
        let layout = Layout::from_size_align(104, 8).unwrap();
        let again: Vec<_> =
            (0..100).map(|_| heap.try_alloc(layout).unwrap().cast::<u8>()).collect();
        for &chunk in freed.iter().step_by(13).filter(|chunk| !again.contains(chunk)) {
            caught(&heap, chunk);
        }
        // SAFETY: allocated above, and freed once.
        again.into_iter().chain(stay).for_each(|chunk| unsafe { heap.free(chunk) });
        heap.check_invariants();
    }

    #[test]
    fn pools_that_are_idle_have_them_when_memory_decays_and_again_when_they_were_used() {
        let (heap, stay, _) = holed::<SharedFlist>(104);
        // SAFETY: attached, since it has chunks.
        let give_up = || unsafe { heap.sharing().heap.lock().give_up_holes(true) };
        assert_eq!(give_up(), 0, "nobody knows yet whether they are used");
        let first = give_up();
        assert!(first > 1 << 20, "{first}");
        assert_eq!(give_up(), 0, "they are given back");
        let layout = Layout::from_size_align(104, 8).unwrap();
        let again: Vec<_> =
            (0..5_000).map(|_| heap.try_alloc(layout).unwrap().cast::<u8>()).collect();
        assert_eq!((give_up(), give_up()), (0, 0), "they are in use");
        // SAFETY: allocated above, and freed once.
        again.into_iter().for_each(|chunk| unsafe { heap.free(chunk) });
        heap.sharing().heap.lock().check_invariants();
        // What magazines and depots have goes back to the pools with the thread's end, or a purge.
        heap.purge();
        assert_eq!((give_up(), give_up()), (0, 0), "a purge gives back all of it");
        // SAFETY: they stayed until now.
        stay.iter().for_each(|&chunk| unsafe { heap.free(chunk) });
    }

    #[test]
    fn a_heap_of_one_thread_has_them_too() {
        let (heap, stay, freed) = holed::<Flist>(104);
        heap.purge();
        are_whole(&stay, 104);
        // SAFETY: it is not, which is told.
        assert!(catch_unwind(AssertUnwindSafe(|| unsafe { heap.free(freed[7_000]) })).is_err());
        // SAFETY: they stayed until now.
        stay.iter().for_each(|&chunk| unsafe { heap.free(chunk) });
        heap.check_invariants();
        heap.purge();
        assert_eq!(heap.info().heap, 0);
    }
}
