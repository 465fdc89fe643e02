//! The last look at freed chunks, when the program ends.
//!
//! A chunk that was written to after it was freed is found when it is handed out again. What
//! never is again is looked at here:
//!
//! | where | looked at |
//! |---|---|
//! | this thread's quarantine, that of threads without a cache, those of ended threads | all |
//! | pools: chunks with the header of a freed one | up to [`MOST_BYTES`] of them |
//! | magazines | the same, if no other thread is there that may take from one |

use mallocer_core::MisuseKind;

use super::canary::{HEADER, MARKED};
use super::contents::{LEAST, are_zero};
use super::quarantine::{self, Kept};
use super::zones;
use super::{Hardened, chunk_of};
use crate::heap::Heap;
use crate::local::Lane;
use crate::pool::{Bare, FREE};
use crate::sharing::Sharing;

/// How much is looked at, so that a program with a large heap ends as soon.
const MOST_BYTES: usize = 64 << 20;

impl Hardened {
    /// Tells if a small chunk was written to after it was freed, as far as that can be seen.
    #[inline(never)]
    pub(crate) fn check(&self, heap: &Sharing) {
        // SAFETY: the cache is this thread's; what is taken out of a shard is nobody else's.
        unsafe {
            if let Some(cache) = heap.front.cache(Lane::Process)
                && let Some(shard) = quarantine::own(heap, cache).as_mut()
            {
                while let Some(kept) = shard.take() {
                    self.check_kept(heap, kept);
                }
            }
            while let Some(kept) = self.take_shared() {
                self.check_kept(heap, kept);
            }
        }
        let mut written = None;
        let mut visit = |kept| {
            // SAFETY: in quarantine.
            if unsafe { !self.is_as_freed(heap, kept) } {
                written = Some(chunk_of(heap, kept));
            }
        };
        {
            let locked = heap.heap.lock();
            // SAFETY: they change under the lock.
            unsafe {
                quarantine::each_left(&locked, &mut visit);
                written = written.or_else(|| self.find_written(heap, &locked));
            }
        }
        if let Some(chunk) = written {
            self.tell_written(heap, chunk);
        }
    }

    #[cold]
    fn tell_written(&self, heap: &Sharing, chunk: *mut u8) -> ! {
        self.tell(heap, MisuseKind::WrittenAfterFree, "free", chunk.wrapping_add(HEADER))
    }

    fn take_shared(&self) -> Option<Kept> {
        self.quarantine.shared().take()
    }

    /// Checks a chunk that was taken out of the quarantine, and gives it back.
    ///
    /// # Safety
    ///
    /// Nobody else has it.
    unsafe fn check_kept(&self, heap: &Sharing, kept: Kept) {
        // SAFETY: the caller's promise.
        if unsafe { !self.is_as_freed(heap, kept) } {
            self.tell_written(heap, chunk_of(heap, kept));
        }
        heap.free(Lane::Process, "free", kept.address());
    }

    /// Whether a chunk in quarantine is as it was when it was freed.
    ///
    /// # Safety
    ///
    /// It is one.
    unsafe fn is_as_freed(&self, heap: &Sharing, kept: Kept) -> bool {
        let chunk = chunk_of(heap, kept);
        // SAFETY: the caller's promise.
        unsafe { self.keys.of(chunk).is_at_rest(chunk, heap.ladder.slabs()[kept.slab()]) }
    }

    /// A chunk with the header of a freed one that is not zero behind it, in a pool, or in a
    /// magazine if no other thread is there.
    ///
    /// # Safety
    ///
    /// The heap is locked.
    unsafe fn find_written(&self, heap: &Sharing, locked: &Heap<Bare>) -> Option<*mut u8> {
        let alone = is_alone(heap, locked);
        let key = heap.front.finder.key;
        let mut left = MOST_BYTES;
        let mut pool = locked.pools;
        // SAFETY: the list holds this heap's pools, which have a state byte for each chunk. Chunks
        // that were handed out are committed. What is free in its pool under the lock is nobody's,
        // and so is, if there is no other thread, what has the header of a freed one.
        unsafe {
            while let Some(one) = pool.as_ref() {
                for index in 0..one.handed.min(one.ready) as usize {
                    let chunk = one.start.add(index * one.stride);
                    if *one.states.add(index) != FREE && !alone || one.stride < MARKED + LEAST {
                        continue;
                    }
                    let second = chunk.cast::<u64>().add(1).read();
                    if second == 0 || !self.keys.of(chunk).says_freed(second) {
                        continue;
                    }
                    let as_freed = are_zero(chunk.add(MARKED), one.stride - MARKED)
                        || zones::unmark(self.keys, chunk, one.stride, key);
                    if !as_freed {
                        return Some(chunk);
                    }
                    left = left.saturating_sub(one.stride);
                    if left == 0 {
                        return None;
                    }
                }
                pool = one.next;
            }
        }
        None
    }
}

/// Whether no other thread is there that has a cache.
fn is_alone(heap: &Sharing, locked: &Heap<Bare>) -> bool {
    let own = heap.front.cache(Lane::Process);
    let mut cache = locked.caches;
    // SAFETY: the list holds this heap's caches, whose heads change under the lock.
    unsafe {
        while let Some(one) = cache.as_ref() {
            if !one.is_left() && Some(cache) != own {
                return false;
            }
            cache = one.next;
        }
    }
    true
}
