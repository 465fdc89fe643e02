//! The thread-safe arena: the single-threaded one behind a lock.
//!
//! A chunk may be freed by any thread. Misuse is told after the lock is free again,
//! because a panic allocates its message, perhaps in this very heap.

use core::alloc::Layout;
use core::ptr::NonNull;

use mallocer_core::{
    AllocError, Budget, Config, ConfigError, Info, Ladder, Mallocer, Misuse, SlabUse,
};

use crate::Flist;
use crate::flist::NotLive;
use crate::lock::Lock;

/// flist for any number of threads.
pub struct SharedFlist {
    ladder: Ladder,
    budget: Budget,
    heap: Lock<Movable>,
}

/// A heap that goes from thread to thread under a lock.
struct Movable(Flist);

// SAFETY: a heap holds pointers to memory that only it uses, wherever it is; its cells
// are reached by one thread at a time.
unsafe impl Send for Movable {}

impl SharedFlist {
    fn checked<T>(&self, work: impl FnOnce(&Flist) -> Result<T, Misuse>) -> T {
        let result = work(&self.heap.lock().0);
        match result {
            Ok(value) => value,
            Err(misuse) => misuse.raise(),
        }
    }
}

// SAFETY: as for `Flist`, of which one thread at a time has the use.
unsafe impl Mallocer for SharedFlist {
    fn open(config: &Config) -> Result<SharedFlist, ConfigError> {
        let budget = config.budget();
        let heap = Flist::with_budget(config, budget.clone())?;
        let ladder = config.ladder.clone();
        Ok(SharedFlist { ladder, budget, heap: Lock::new(Movable(heap)) })
    }

    fn name(&self) -> &'static str {
        "flist"
    }

    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.heap.lock().0.try_alloc(layout)
    }

    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.heap.lock().0.try_alloc_zeroed(layout)
    }

    fn try_alloc_slab(&self, slab: usize) -> Result<NonNull<[u8]>, AllocError> {
        self.heap.lock().0.try_alloc_slab(slab)
    }

    #[inline]
    unsafe fn free(&self, chunk: NonNull<u8>) {
        let address = chunk.addr().get();
        self.checked(|heap| match heap.put(address) {
            true => Ok(()),
            false => Err(heap.diagnose("free", address, None)),
        });
    }

    #[inline]
    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
        let address = chunk.addr().get();
        self.checked(|heap| match heap.put_sized(address, layout) {
            true => Ok(()),
            false => Err(heap.diagnose("free_sized", address, Some(layout))),
        });
    }

    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        let address = chunk.addr().get();
        self.checked(|heap| {
            heap.len_of(address).ok_or_else(|| heap.diagnose("chunk_len", address, None))
        })
    }

    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let address = chunk.addr().get();
        self.checked(|heap| {
            heap.realloc(address, layout).map_err(|NotLive| heap.diagnose("realloc", address, None))
        })
    }

    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
        let address = chunk.addr().get();
        self.checked(|heap| {
            heap.resize(address, size, 1)
                .map_err(|NotLive| heap.diagnose("resize_in_place", address, None))
        })
    }

    fn slabs(&self) -> &[usize] {
        self.ladder.slabs()
    }

    fn info(&self) -> Info {
        self.heap.lock().0.info()
    }

    fn each_slab_use(&self, visit: &mut dyn FnMut(SlabUse)) {
        self.heap.lock().0.each_slab_use(visit);
    }

    unsafe fn release(&self) {
        // SAFETY: passed on.
        unsafe { self.heap.lock().0.release() }
    }

    fn budget(&self) -> &Budget {
        &self.budget
    }

    fn purge(&self) -> usize {
        self.heap.lock().0.purge()
    }
}
