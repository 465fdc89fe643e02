//! The arena for any number of threads.

use alloc::boxed::Box;
use core::alloc::Layout;
use core::ptr::NonNull;

use mallocer_core::{AllocError, Budget, Config, ConfigError, Info, Mallocer, Misuse, SlabUse};

use crate::local::Lane;
use crate::registry;
use crate::sharing::Sharing;
use crate::statistics::{Block, Statistics};

/// flist for any number of threads: each has magazines of its own, and any may free
/// what another allocated.
///
/// A thread that ends leaves what it has at hand to the next one, or to any that needs it. What a
/// thread holds back is bounded: for each slab by a magazine of 128 KiB or a 256th of the capacity,
/// and behind all magazines by 2 MiB or an eighth of the heap.
///
/// # Examples
///
/// ```
/// use core::alloc::Layout;
/// use mallocer_core::{Config, Mallocer};
/// use mallocer_flist::SharedFlist;
///
/// let heap = SharedFlist::open(&Config::default())?;
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         scope.spawn(|| {
///             let chunk = heap.try_alloc(Layout::new::<u64>()).unwrap();
///             // SAFETY: allocated above, and freed once.
///             unsafe { heap.free(chunk.cast()) };
///         });
///     }
/// });
/// assert_eq!(heap.info().alloc, 0);
/// # Ok::<(), mallocer_core::ConfigError>(())
/// ```
#[repr(transparent)]
pub struct SharedFlist {
    /// From a box that is taken apart by `drop`. Not kept as one, since the registry
    /// points to it, too.
    sharing: NonNull<Sharing>,
}

// SAFETY: a handle of something that any thread may use.
unsafe impl Send for SharedFlist {}
// SAFETY: as above.
unsafe impl Sync for SharedFlist {}

impl SharedFlist {
    /// Has `chunks` chunks ready that hold `size` bytes each, on top of what there is: they
    /// are charged and backed by memory at once, and stay until a release. While requests
    /// stay within what is ready there is no system call; what another thread's magazines
    /// hold back is not ready.
    ///
    /// # Errors
    ///
    /// As an allocation of so much; what is ready by then stays.
    pub fn prepare(&self, size: usize, chunks: usize) -> Result<(), AllocError> {
        self.sharing().prepare(size, chunks)
    }

    /// What the heap has seen: its peak, its misses, its blocks.
    pub fn statistics(&self) -> Statistics {
        self.sharing().heap.lock().statistics()
    }

    /// Writes the heap's blocks from number `skip` on to `into`, as many as fit; returns
    /// how many. While other calls use the heap, numbers change.
    pub fn blocks(&self, skip: usize, into: &mut [Block]) -> usize {
        self.sharing().heap.lock().blocks(skip, into)
    }

    /// Checks the equations that the heap keeps: for tests.
    ///
    /// # Panics
    ///
    /// When one does not hold.
    #[cfg(any(test, debug_assertions))]
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        self.sharing().heap.lock().check_invariants();
    }

    #[inline(always)]
    pub(crate) fn sharing(&self) -> &Sharing {
        // SAFETY: alive until `drop`.
        unsafe { self.sharing.as_ref() }
    }
}

// SAFETY: chunks come from pools and extents of this arena alone. A chunk leaves its pool
// once, under the lock, and is then in one magazine or with one caller: magazines are
// used by their own threads only, and move to and from the depot whole, under the lock.
// The rest is as for `Flist`.
unsafe impl Mallocer for SharedFlist {
    fn open(config: &Config) -> Result<SharedFlist, ConfigError> {
        let sharing =
            Box::new(Sharing::new(config, config.budget(), (Lane::Arena, false), Misuse::raise)?);
        let sharing = NonNull::from(Box::leak(sharing));
        // SAFETY: it stays where it is until `drop` takes it out, and nobody has it yet.
        unsafe {
            sharing.as_ref().heap.lock().settle(sharing.as_ptr().cast());
            registry::enter(sharing.as_ptr());
        }
        Ok(SharedFlist { sharing })
    }

    fn name(&self) -> &'static str {
        "flist"
    }

    #[inline(always)]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.sharing().alloc(Lane::Arena, layout)
    }

    #[inline]
    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.sharing().alloc_zeroed(Lane::Arena, layout)
    }

    fn try_alloc_slab(&self, slab: usize) -> Result<NonNull<[u8]>, AllocError> {
        let sharing = self.sharing();
        sharing.alloc_slab(sharing.ladder.position(slab)?.get())
    }

    #[inline(always)]
    unsafe fn free(&self, chunk: NonNull<u8>) {
        self.sharing().free(Lane::Arena, "free", chunk.addr().get());
    }

    #[inline(always)]
    unsafe fn free_sized(&self, chunk: NonNull<u8>, layout: Layout) {
        self.sharing().free_sized(Lane::Arena, "free_sized", chunk.addr().get(), layout);
    }

    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        self.sharing().len_of("chunk_len", chunk.addr().get())
    }

    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.sharing().realloc("realloc", chunk.addr().get(), layout)
    }

    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
        self.sharing().resize("resize_in_place", chunk.addr().get(), size, 1)
    }

    fn slabs(&self) -> &[usize] {
        self.sharing().ladder.slabs()
    }

    fn info(&self) -> Info {
        self.sharing().heap.lock().info()
    }

    fn each_slab_use(&self, visit: &mut dyn FnMut(SlabUse)) {
        for index in 0..=self.slabs().len() {
            // Not locked while `visit` runs.
            let slab_use = self.sharing().heap.lock().slab_use(index);
            if let Some(slab_use) = slab_use {
                visit(slab_use);
            }
        }
    }

    unsafe fn release(&self) {
        // SAFETY: passed on.
        unsafe { self.sharing().release() }
    }

    fn budget(&self) -> &Budget {
        &self.sharing().budget
    }

    fn purge(&self) -> usize {
        self.sharing().purge()
    }
}

impl Drop for SharedFlist {
    fn drop(&mut self) {
        // SAFETY: entered by `open`; after `leave` nobody else knows of it, and chunks end
        // with their heap. It was a box.
        unsafe {
            registry::leave(self.sharing.as_ptr());
            self.sharing().release();
            drop(Box::from_raw(self.sharing.as_ptr()));
        }
    }
}
