//! A jemalloc arena: created, reset, destroyed, and asked what it holds.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use libc::c_int;
use mallocer_core::{ConfigError, SlabUse};
use tikv_jemalloc_sys::MALLOCX_ARENA;

use crate::classes::Classes;
use crate::ctl::Control;

/// An arena of jemalloc's that belongs to one heap. Dropping it destroys it, with all
/// that is allocated from it.
pub(crate) struct Arena {
    index: usize,
    /// What tells jemalloc's functions to use this arena.
    pub(crate) flags: c_int,
    /// Bytes of jemalloc's own when last asked, or 0.
    metadata: AtomicUsize,
    /// Bytes that were handed out then.
    metadata_used: AtomicUsize,
}

impl Arena {
    /// Creates an arena.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Library`] if there are as many arenas as jemalloc can have
    /// (about 4090), or no memory for one.
    pub(crate) fn create() -> Result<Arena, ConfigError> {
        static CREATE: Control<2> = Control::new(b"arenas.create\0");
        // SAFETY: the value is an `unsigned`.
        let index = unsafe { CREATE.read::<u32>(&[]) }.map_err(|code| ConfigError::Library {
            backend: "jemalloc",
            call: "arenas.create",
            code,
        })? as usize;
        Ok(Arena {
            index,
            flags: MALLOCX_ARENA(index),
            metadata: AtomicUsize::new(0),
            metadata_used: AtomicUsize::new(0),
        })
    }

    /// Takes back everything that is allocated, and gives its memory to the system.
    ///
    /// # Safety
    ///
    /// Nothing of the arena is used afterwards, none of it is in a tcache, and no
    /// other thread uses the arena meanwhile.
    pub(crate) unsafe fn reset(&self) {
        static RESET: Control<3> = Control::new(b"arena.0.reset\0");
        // SAFETY: the caller's promise.
        let done = unsafe { RESET.run(&[(1, self.index)]) };
        debug_assert_eq!(done, Ok(()));
        self.purge();
    }

    /// Gives OS pages that are not in use back to the system.
    pub(crate) fn purge(&self) {
        static PURGE: Control<3> = Control::new(b"arena.0.purge\0");
        // SAFETY: an arena may be purged at any time.
        let done = unsafe { PURGE.run(&[(1, self.index)]) };
        debug_assert_eq!(done, Ok(()));
    }

    /// Bytes of memory that jemalloc itself uses for this arena, of which `used` bytes
    /// are handed out.
    ///
    /// Gathering statistics takes jemalloc many microseconds, so the figure is taken
    /// anew only when the arena has changed by a quarter.
    pub(crate) fn metadata(&self, used: usize) -> usize {
        static BASE: Control<4> = Control::new(b"stats.arenas.0.base\0");
        let known = self.metadata.load(Relaxed);
        let then = self.metadata_used.load(Relaxed);
        if known != 0 && used.abs_diff(then) <= then / 4 + (1 << 20) {
            return known;
        }
        refresh();
        // SAFETY: the value is a `size_t`.
        let now = unsafe { BASE.read(&[(2, self.index)]).unwrap_or(0) };
        self.metadata.store(now, Relaxed);
        self.metadata_used.store(used, Relaxed);
        now
    }

    /// Bytes that are free in the arena and not given back to the system.
    pub(crate) fn dirty(&self) -> usize {
        static DIRTY: Control<4> = Control::new(b"stats.arenas.0.pdirty\0");
        static MUZZY: Control<4> = Control::new(b"stats.arenas.0.pmuzzy\0");
        static PAGE: Control<2> = Control::new(b"arenas.page\0");
        refresh();
        // SAFETY: all of them are of type `size_t`.
        unsafe {
            let read = |control: &Control<4>| control.read(&[(2, self.index)]).unwrap_or(0_usize);
            (read(&DIRTY) + read(&MUZZY)) * PAGE.read::<usize>(&[]).unwrap_or(0)
        }
    }

    /// Calls `visit` for every class that has memory, ascending. Chunks in tcaches
    /// count as handed out.
    pub(crate) fn each_slab_use(&self, visit: &mut dyn FnMut(SlabUse)) {
        static REGS: Control<6> = Control::new(b"stats.arenas.0.bins.0.curregs\0");
        static SLABS: Control<6> = Control::new(b"stats.arenas.0.bins.0.curslabs\0");
        static SLAB_SIZE: Control<4> = Control::new(b"arenas.bin.0.slab_size\0");
        static EXTENTS: Control<6> = Control::new(b"stats.arenas.0.lextents.0.curlextents\0");
        refresh();
        let classes = Classes::get();
        for (index, &slab) in classes.slabs.iter().enumerate() {
            // SAFETY: all of them are of type `size_t`.
            let read = |control: &Control<6>, class| unsafe {
                control.read(&[(2, self.index), (4, class)]).unwrap_or(0_usize)
            };
            let (pools, chunks, pool_bytes) = if index < classes.small {
                // SAFETY: as above.
                let bytes = unsafe { SLAB_SIZE.read(&[(2, index)]).unwrap_or(0_usize) };
                (read(&SLABS, index), read(&REGS, index), bytes)
            } else {
                let extents = read(&EXTENTS, index - classes.small);
                (extents, extents, slab)
            };
            if pools > 0 {
                visit(SlabUse::new(slab, pools, chunks, pools * pool_bytes, chunks * slab));
            }
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        static DESTROY: Control<3> = Control::new(b"arena.0.destroy\0");
        // SAFETY: the heap is gone, and with it its tcaches and all users of its chunks.
        let done = unsafe { DESTROY.run(&[(1, self.index)]) };
        debug_assert_eq!(done, Ok(()));
    }
}

/// Has jemalloc gather its statistics anew.
fn refresh() {
    static EPOCH: Control<1> = Control::new(b"epoch\0");
    // SAFETY: the value is a `uint64_t`.
    let done = unsafe { EPOCH.write(&[], 1_u64) };
    debug_assert_eq!(done, Ok(()));
}

/// An explicit tcache: a cache of ready chunks, to be used by one thread at a time.
pub(crate) struct Tcache {
    index: u32,
}

impl Tcache {
    /// Creates a tcache, or returns jemalloc's error code: there can be about 4090.
    pub(crate) fn create() -> Result<Tcache, c_int> {
        static CREATE: Control<2> = Control::new(b"tcache.create\0");
        // SAFETY: the value is an `unsigned`.
        unsafe { CREATE.read(&[]) }.map(|index| Tcache { index })
    }

    /// What tells jemalloc's functions to use this tcache.
    pub(crate) fn flags(&self) -> c_int {
        tikv_jemalloc_sys::MALLOCX_TCACHE(self.index as usize)
    }

    /// Gives all chunks in the tcache back to their arena.
    ///
    /// # Safety
    ///
    /// No other thread uses the tcache meanwhile.
    pub(crate) unsafe fn flush(&self) {
        static FLUSH: Control<2> = Control::new(b"tcache.flush\0");
        // SAFETY: the value is an `unsigned`; the rest is the caller's promise.
        let done = unsafe { FLUSH.write(&[], self.index) };
        debug_assert_eq!(done, Ok(()));
    }
}

impl Drop for Tcache {
    fn drop(&mut self) {
        static DESTROY: Control<2> = Control::new(b"tcache.destroy\0");
        // SAFETY: the value is an `unsigned`; nobody else has this tcache.
        let done = unsafe { DESTROY.write(&[], self.index) };
        debug_assert_eq!(done, Ok(()));
    }
}
