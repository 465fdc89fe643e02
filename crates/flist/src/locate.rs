//! From a chunk to its arena.
//!
//! A data structure that lives in an arena need not carry a reference to it: the chunk's
//! address leads there.
//!
//! ```text
//!                    ┌─▶ pool ──┐
//! chunk ─▶ descriptor           ├─▶ home ──▶ the arena, wherever it is now
//!                    └──────────┘
//!                     of an extent
//! ```
//!
//! The *home* is a block of the arena's bookkeeping, which stays where it is until the
//! arena is released, while the arena itself is a value that its owner may move. So the
//! home is told where the arena is when somebody is going to ask, and that somebody holds a
//! borrow, under which the arena does not move.
//!
//! An extent has no pool record, and its descriptor no room for one word more. But the
//! reciprocal of an extent says only that no offset in its run but 0 is right, and any
//! number up to 2⁴⁸ says that: it is the address of the home.
//!
//! ```text
//! offset < 2¹⁶, home < 2⁴⁸   ⇒   offset × home < 2⁶⁴, and below home for offset 0 alone
//! ```

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use mallocer_core::Locate;

use crate::descriptor::{Descriptor, RUN_SHIFT};
use crate::flist::Flist;
use crate::heap::Heap;
use crate::huge;
use crate::reservation::Reservation;
use crate::shared::SharedFlist;

/// Where an arena is.
#[repr(transparent)]
pub(crate) struct Home {
    /// The [`Flist`]; for a [`SharedFlist`], what that one points to, which never moves.
    owner: AtomicPtr<()>,
}

impl Home {
    pub(crate) fn new(owner: *const ()) -> Home {
        Home { owner: AtomicPtr::new(owner.cast_mut()) }
    }
}

impl<S> Heap<S> {
    /// The home of an arena that is attached.
    pub(crate) fn home(&self) -> *const Home {
        self.attached.as_ref().map_or(ptr::null(), |attached| attached.home)
    }

    /// The home's address, for the descriptor of an extent.
    pub(crate) fn home_number(&self) -> u64 {
        let number = self.home().addr() as u64;
        debug_assert!((1..1 << 48).contains(&number));
        number
    }

    /// Notes that the arena is at `owner` now.
    pub(crate) fn settle(&mut self, owner: *const ()) {
        self.owner = owner;
        if let Some(attached) = &self.attached {
            // SAFETY: the home is the arena's as long as it is attached.
            unsafe { (*attached.home).owner.store(owner.cast_mut(), Relaxed) };
        }
    }
}

/// The descriptor of the run that `chunk` is in.
///
/// # Safety
///
/// Some arena of the process handed it out.
#[inline(always)]
unsafe fn descriptor_of(chunk: NonNull<u8>) -> *const Descriptor {
    // SAFETY: where there is a chunk there is a reservation, and it is within.
    unsafe {
        let reservation = Reservation::made().unwrap_unchecked();
        let offset = chunk.addr().get() - reservation.base().addr().get();
        reservation.descriptors().0.add(offset >> RUN_SHIFT)
    }
}

/// The length of `chunk`, which is not checked.
///
/// # Safety
///
/// It is handed out.
#[inline(always)]
pub(crate) unsafe fn known_len(chunk: NonNull<u8>) -> usize {
    // SAFETY: the descriptor of a live chunk, which only its arena changes, and only
    // when the chunk is.
    unsafe { (*descriptor_of(chunk)).chunk_len() }
}

/// Asks for huge pages in `chunk`, as far as it fills them, or withdraws it.
///
/// # Safety
///
/// It is handed out.
pub(crate) unsafe fn want_huge_pages(chunk: NonNull<u8>, want: bool) {
    // SAFETY: the caller's promise.
    unsafe { huge::want_within(chunk.as_ptr(), known_len(chunk), want) };
}

/// The home that `chunk` leads to.
///
/// # Safety
///
/// It is handed out.
unsafe fn home_of(chunk: NonNull<u8>) -> *const Home {
    // SAFETY: as above; a pool is alive as long as one of its chunks is, and a home as
    // long as its arena is attached. It lies within the reservation.
    unsafe {
        let descriptor = descriptor_of(chunk);
        if (*descriptor).pool.is_null() {
            let base = Reservation::made().unwrap_unchecked().base().as_ptr();
            base.with_addr((*descriptor).reciprocal as usize).cast()
        } else {
            (*(*descriptor).pool).home
        }
    }
}

// SAFETY: each chunk leads to the home of its arena, and that says where the arena is
// since `settle` was called. A run's length is set with its descriptor.
unsafe impl Locate for Flist {
    fn settle(&self) {
        self.settle_at(ptr::from_ref(self).cast());
    }

    unsafe fn locate<'a>(chunk: NonNull<u8>) -> &'a Flist {
        // SAFETY: the caller's promise: the arena is where it was when it settled.
        unsafe { &*(*home_of(chunk)).owner.load(Relaxed).cast::<Flist>() }
    }

    #[inline(always)]
    unsafe fn located_len(chunk: NonNull<u8>) -> usize {
        // SAFETY: passed on.
        unsafe { known_len(chunk) }
    }

    unsafe fn located_huge(chunk: NonNull<u8>, want: bool) {
        // SAFETY: passed on.
        unsafe { want_huge_pages(chunk, want) };
    }
}

// SAFETY: as above. A shared arena is settled from the start, since what it points to
// does not move.
unsafe impl Locate for SharedFlist {
    fn settle(&self) {}

    unsafe fn locate<'a>(chunk: NonNull<u8>) -> &'a SharedFlist {
        // SAFETY: the home is a word that points to the engine, and so is a `SharedFlist`.
        // It is not written again, since a shared arena settles before it has chunks.
        unsafe { &*home_of(chunk).cast::<SharedFlist>() }
    }

    #[inline(always)]
    unsafe fn located_len(chunk: NonNull<u8>) -> usize {
        // SAFETY: passed on.
        unsafe { known_len(chunk) }
    }

    unsafe fn located_huge(chunk: NonNull<u8>, want: bool) {
        // SAFETY: passed on.
        unsafe { want_huge_pages(chunk, want) };
    }
}

const _: () = assert!(size_of::<Home>() == size_of::<SharedFlist>());
const _: () = assert!(align_of::<Home>() == align_of::<SharedFlist>());

#[cfg(test)]
mod tests {
    extern crate std;
    use core::alloc::Layout;
    use core::ptr::NonNull;
    use std::boxed::Box;
    use std::vec::Vec;

    use mallocer_core::{Config, Locate, Mallocer};

    use crate::{Flist, SharedFlist};

    const SIZES: [usize; 6] = [1, 24, 1000, 32 << 10, 33 << 10, 5 << 20];

    fn chunks<M: Mallocer>(heap: &M) -> Vec<NonNull<[u8]>> {
        let layout = |size| Layout::from_size_align(size, 8).unwrap();
        SIZES.map(|size| heap.try_alloc(layout(size)).unwrap()).to_vec()
    }

    fn check<M: Locate>(heap: &M, chunks: &[NonNull<[u8]>], identity: impl Fn(&M) -> usize) {
        heap.settle();
        for chunk in chunks {
            // SAFETY: the chunk is handed out, and the heap has settled where it is.
            unsafe {
                assert_eq!(identity(M::locate(chunk.cast())), identity(heap));
                assert_eq!(M::located_len(chunk.cast()), chunk.len());
                assert_eq!(heap.chunk_len(chunk.cast()), chunk.len());
            }
        }
    }

    #[test]
    fn every_chunk_leads_to_its_arena_wherever_that_is() {
        let (one, other) =
            (Flist::open(&Config::default()).unwrap(), Flist::open(&Config::default()).unwrap());
        one.settle();
        let (of_one, of_other) = (chunks(&one), chunks(&other));
        let address = |heap: &Flist| core::ptr::from_ref(heap).addr();
        check(&one, &of_one, address);
        check(&other, &of_other, address);
        let moved = Box::new(one);
        check(&*moved, &of_one, address);
        // SAFETY: no chunk is used any more.
        unsafe { moved.release() };
        check(&*moved, &chunks(&*moved), address);
    }

    #[test]
    fn every_shared_chunk_leads_to_its_arena() {
        let heap = SharedFlist::open(&Config::default()).unwrap();
        let other = SharedFlist::open(&Config::default()).unwrap();
        let (of_heap, of_other) = (chunks(&heap), chunks(&other));
        let budget = |heap: &SharedFlist| core::ptr::from_ref(heap.budget()).addr();
        check(&heap, &of_heap, budget);
        check(&other, &of_other, budget);
        let moved = heap;
        check(&moved, &of_heap, budget);
    }
}
