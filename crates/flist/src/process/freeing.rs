//! What a process-wide heap does to free a chunk.
//!
//! ```text
//! free ──▶ here: own pool, room ──▶ elsewhere: another thread's, an extent ──▶ slow: all else, under the lock
//!                                                                         └──▶ hardened, foreign, misuse
//! ```
//!
//! Each step does all of its work or none of it, so that a caller may take them one by one, and keep
//! what needs no stack frame apart from what does.

use core::alloc::Layout;
use core::ptr;

use super::Process;
use crate::front::Elsewhere;
use crate::os;

impl<const SOLE: bool> Process<SOLE> {
    /// Frees a chunk. Misuse is told as one of `operation`.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::free`](mallocer_core::Mallocer::free).
    #[inline(always)]
    pub unsafe fn free(&'static self, operation: &'static str, chunk: *mut u8) {
        // SAFETY: passed on.
        match unsafe { self.free_here(chunk) } {
            Ok(()) => {}
            Err(Some(elsewhere)) => self.free_found(elsewhere, operation, chunk.addr(), 0, 0),
            Err(None) => self.free_slow(operation, chunk.addr(), 0, 0),
        }
    }

    /// Frees a chunk if that is a matter of a few instructions: if it is of this thread's own
    /// pools, and there is room for it at hand. `false` says that nothing was done, and that
    /// the chunk, or whatever it is, is to be passed to [`free_beyond`](Process::free_beyond).
    ///
    /// # Safety
    ///
    /// As [`Mallocer::free`](mallocer_core::Mallocer::free).
    #[inline(always)]
    pub unsafe fn free_at_hand(&'static self, chunk: *mut u8) -> bool {
        // SAFETY: passed on.
        unsafe { self.free_here(chunk) }.is_ok()
    }

    /// The same; what was found of a chunk that is another thread's, or large, is handed on to
    /// [`free_elsewhere`](Process::free_elsewhere).
    ///
    /// # Errors
    ///
    /// Where to go on, if that is known. Nothing was done then.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::free`](mallocer_core::Mallocer::free).
    #[inline(always)]
    pub unsafe fn free_here(&'static self, chunk: *mut u8) -> Result<(), Option<Elsewhere>> {
        let ready = self.find_or(chunk.addr())?;
        // SAFETY: the shelf is this thread's.
        unsafe { ready.free() }.then_some(()).ok_or(None)
    }

    /// Frees the chunk of which [`free_here`](Process::free_here) said where it is, if that takes no
    /// lock; `false` says that nothing was done.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::free`](mallocer_core::Mallocer::free), and this was said by the call before.
    #[inline(always)]
    pub unsafe fn free_elsewhere(&'static self, chunk: *mut u8, elsewhere: Elsewhere) -> bool {
        // SAFETY: only a heap that was made says so.
        unsafe { self.heap.get_unchecked() }.front.free_elsewhere(elsewhere, chunk.addr(), None)
    }

    /// The same, if the chunk can have been allocated for `size` bytes at the alignment that
    /// every slab has. Who gets `false` asks [`free_sized`](Process::free_sized).
    ///
    /// # Safety
    ///
    /// As [`Mallocer::free_sized`](mallocer_core::Mallocer::free_sized).
    #[inline(always)]
    pub unsafe fn free_sized_at_hand(&'static self, chunk: *mut u8, size: usize) -> bool {
        // SAFETY: the shelf is this thread's.
        self.find(chunk.addr()).is_some_and(|ready| unsafe { ready.serves(size) && ready.free() })
    }

    /// Frees a chunk of which the layout is known. A wrong one is misuse.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::free_sized`](mallocer_core::Mallocer::free_sized).
    #[inline(always)]
    pub unsafe fn free_sized(
        &'static self,
        operation: &'static str,
        chunk: *mut u8,
        layout: Layout,
    ) {
        let address = chunk.addr();
        let (size, align) = (layout.size(), layout.align());
        match self.find_or(address) {
            // SAFETY: a chunk of this heap was found, so it was made.
            Ok(ready) if unsafe { self.heap.get_unchecked() }.front.free_sized(ready, layout) => {}
            Err(Some(elsewhere)) => self.free_found(elsewhere, operation, address, size, align),
            _ => self.free_slow(operation, address, size, align),
        }
    }

    /// Frees a chunk of another thread's pool, or an extent, of which it was found where it is; or tells
    /// what is wrong with it. An `align` of 0 says that the layout is not known.
    #[inline(never)]
    fn free_found(
        &'static self,
        elsewhere: Elsewhere,
        operation: &'static str,
        address: usize,
        size: usize,
        align: usize,
    ) {
        // SAFETY: only a heap that was made finds where a chunk is.
        let front = &unsafe { self.heap.get_unchecked() }.front;
        if !front.free_found(elsewhere, address, size, align) {
            self.free_slower(operation, address, size, align);
        }
    }

    /// Frees a chunk of another thread's pool, or one whose magazine is full, if that takes no
    /// lock: what is to be asked once [`free_at_hand`](Process::free_at_hand) says `false`. If
    /// this does as well, nothing was done.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::free`](mallocer_core::Mallocer::free).
    #[inline(always)]
    pub unsafe fn free_near(&'static self, chunk: *mut u8) -> bool {
        self.fast().is_some_and(|(front, cache)| front.free_near(cache, chunk.addr(), None))
    }

    /// The same, if the chunk can have been allocated for `size` bytes at the alignment that
    /// every slab has.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::free_sized`](mallocer_core::Mallocer::free_sized).
    #[inline(always)]
    pub unsafe fn free_sized_near(&'static self, chunk: *mut u8, size: usize) -> bool {
        let address = chunk.addr();
        self.fast().is_some_and(|(front, cache)| front.free_near(cache, address, Some(size)))
    }

    /// What [`free`](Process::free) does once the chunk is not at hand.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::free`](mallocer_core::Mallocer::free).
    #[inline]
    pub unsafe fn free_beyond(&'static self, operation: &'static str, chunk: *mut u8) {
        let address = chunk.addr();
        if let (Some(hardened), Some(heap)) = (self.hardened.get(), self.heap.get())
            && let Some((usual, own)) = hardened.find_to_free(heap, address, 0, 0)
            && hardened.free_usual(heap, usual, own)
        {
            return;
        }
        self.free_slow(operation, address, 0, 0);
    }

    /// Frees a chunk of another thread's pool, mostly, or one that needs the heap; or tells
    /// what is wrong with it. An `align` of 0 says that the layout is not known.
    #[inline(never)]
    fn free_slow(
        &'static self,
        operation: &'static str,
        address: usize,
        size: usize,
        align: usize,
    ) {
        let fast = self.fast();
        let freed = fast.is_some_and(|(front, cache)| front.free(cache, address, size, align));
        if !freed {
            self.free_slower(operation, address, size, align);
        }
    }

    #[cold]
    #[inline(never)]
    fn free_slower(
        &'static self,
        operation: &'static str,
        address: usize,
        size: usize,
        align: usize,
    ) {
        if let (Some(hardened), Some(heap)) = (self.hardened.get(), self.heap.get())
            && let Some((usual, own)) = hardened.find_to_free(heap, address, size, align)
            && hardened.free_usual(heap, usual, own)
        {
            return;
        }
        // Whatever the system is asked for, a free leaves it as it was.
        let errno = os::errno();
        let Some(heap) = self.heap() else { self.foreign(operation, address) };
        if !heap.may_hold(address) && (self.pass_on)(ptr::without_provenance_mut(address)) {
            return os::set_errno(errno);
        }
        match self.hardened.get() {
            None => heap.free_slower(operation, address, size, align),
            Some(hardened) => {
                let layout = (align > 0).then_some((size, align));
                hardened.free(heap, operation, address, layout);
            }
        }
        os::set_errno(errno);
    }
}
