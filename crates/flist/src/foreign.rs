//! Chunks that a thread freed, of pools that are other threads'.
//!
//! A shelf gathers them in a *block*, until there are as many as go into a parcel: fewer of them than a
//! magazine has, where they are large, since their owner can do nothing with what is still being
//! gathered. How the block gets to the owner is said in `post`; those of several owners go back to their
//! pools.
//!
//! ```text
//! head: len, cap, owner, home, link, keep │ slot 0 │ slot 1 │ … │ slot cap − 1 │
//! ```
//!
//! On a shelf for extents the block has those that the thread keeps at hand (see `kept`).

use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;

use crate::pool::Slot;
use crate::post::Post;
use crate::shelf::Shelf;

/// Chunks for other threads' pools, in front of their slots: a block that is sent as a parcel, too.
///
/// Others look at a shelf's block for statistics, and it may be sent meanwhile: what changes is atomic,
/// or in a cell that they do not read.
#[repr(C, align(8))]
pub(crate) struct Foreign<S> {
    /// Other threads read it for statistics.
    pub(crate) len: AtomicU32,
    pub(crate) cap: u32,
    /// The shelf that all of them belong to; null if that is not one.
    pub(crate) owner: Cell<*mut ()>,
    /// The post of the shelf that a parcel was made for; null if the block is none.
    pub(crate) home: Cell<*mut Post<S>>,
    /// The next one on a stack of blocks.
    pub(crate) link: Cell<*mut Foreign<S>>,
    /// How many more are to go into the magazine instead.
    keep: Cell<u32>,
    slots: [S; 0],
}

/// Bytes of a block for `cap` foreign chunks.
pub(crate) const fn foreign_bytes<S>(cap: u32) -> usize {
    size_of::<Foreign<S>>() + cap as usize * size_of::<S>()
}

impl<S> Foreign<S> {
    /// Makes a block one for `cap` foreign chunks, with none in it. One that is to be sent has the
    /// post that it was made for.
    ///
    /// # Safety
    ///
    /// It is the caller's, with [`foreign_bytes`] of `cap`.
    pub(crate) unsafe fn make(
        block: NonNull<u8>,
        cap: u32,
        home: *mut Post<S>,
    ) -> NonNull<Foreign<S>> {
        let (len, keep) = (AtomicU32::new(0), Cell::new(0));
        let (owner, link) = (Cell::new(ptr::null_mut()), Cell::new(ptr::null_mut()));
        let home = Cell::new(home);
        let foreign = block.cast::<Foreign<S>>();
        // SAFETY: the caller's promise.
        unsafe { foreign.write(Foreign { len, cap, owner, home, link, keep, slots: [] }) };
        foreign
    }

    /// The slots behind a block's head, which they are not part of.
    #[inline(always)]
    pub(crate) fn slots(block: *mut Foreign<S>) -> *mut S {
        // As far as the block goes.
        block.wrapping_add(1).cast()
    }
}

impl<S: Slot> Shelf<S> {
    /// The head of the block, if there is one.
    fn foreign_head(&self) -> Option<&Foreign<S>> {
        // SAFETY: a block is a shelf's as long as the shelf leads to it, and its head is never borrowed
        // exclusively.
        unsafe { self.foreign.load(Relaxed).as_ref() }
    }

    /// The block of foreign chunks, if there is one.
    pub(crate) fn foreign_block(&self) -> Option<*mut Foreign<S>> {
        let foreign = self.foreign.load(Relaxed);
        (!foreign.is_null()).then_some(foreign)
    }

    /// Goes on with this block, which is empty.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's, and so is the block.
    pub(crate) unsafe fn set_foreign_block(&self, block: NonNull<Foreign<S>>) {
        // SAFETY: the caller's promise.
        unsafe { block.as_ref() }.keep.set(0);
        self.foreign.store(block.as_ptr(), Relaxed);
    }

    /// Adds a chunk of another cache's pool, which belongs to the shelf `owner`; `false` if
    /// there is no room.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    #[inline(always)]
    pub(crate) unsafe fn push_foreign(&self, slot: S, owner: *mut ()) -> bool {
        let block = self.foreign.load(Relaxed);
        // SAFETY: the block is this shelf's, with `cap` slots behind its head. Its head is
        // borrowed alone, since what is behind is not part of it.
        unsafe {
            let Some(foreign) = block.as_ref() else { return false };
            let len = foreign.len.load(Relaxed);
            if len == foreign.cap {
                return false;
            }
            if foreign.owner.get() != owner {
                foreign.owner.set(if len == 0 { owner } else { ptr::null_mut() });
            }
            slot.store(Foreign::slots(block).add(len as usize));
            foreign.len.store(len + 1, Relaxed);
        }
        true
    }

    /// Whether a foreign chunk is to go into the magazine, which has room to spare; if so, it is
    /// counted.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    #[inline(always)]
    pub(crate) unsafe fn keeps_foreign(&self) -> bool {
        let Some(foreign) = self.foreign_head() else { return false };
        let keep = foreign.keep.get();
        let keeps = keep > 0 && self.magazine.len() < self.magazine.cap() / 2;
        if keeps {
            foreign.keep.set(keep - 1);
        }
        keeps
    }

    /// Keeps the next `most` foreign chunks, if those that leave now belong to several threads.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    pub(crate) unsafe fn keep_if_mixed(&self, most: u32) {
        if let Some(foreign) = self.foreign_head()
            && foreign.owner.get().is_null()
        {
            foreign.keep.set(most);
        }
    }

    /// Takes the newest of the foreign chunks that `wanted` accepts.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    pub(crate) unsafe fn pop_foreign(&self, mut wanted: impl FnMut(S) -> bool) -> Option<S> {
        let (slots, len, _) = self.foreign();
        // SAFETY: the first `len` slots have chunks, and the block is this shelf's.
        unsafe {
            let at = (0..len as usize).rev().find(|&at| wanted(*slots.add(at)))?;
            let found = *slots.add(at);
            (at + 1..len as usize).for_each(|next| (*slots.add(next)).store(slots.add(next - 1)));
            self.foreign_head()?.len.store(len - 1, Relaxed);
            Some(found)
        }
    }

    /// The foreign chunks: where they are, how many, and how many there is room for.
    pub(crate) fn foreign(&self) -> (*mut S, u32, u32) {
        let block = self.foreign.load(Relaxed);
        // SAFETY: a block is a shelf's as long as the shelf leads to it.
        let Some(foreign) = (unsafe { block.as_ref() }) else { return (block.cast(), 0, 0) };
        (Foreign::slots(block), foreign.len.load(Relaxed), foreign.cap)
    }

    /// The shelf that all foreign chunks belong to, or belonged to when they were freed; null
    /// if that is not one.
    pub(crate) fn owner_of_foreign(&self) -> *mut () {
        self.foreign_head().map_or(ptr::null_mut(), |foreign| foreign.owner.get())
    }

    /// Forgets the foreign chunks.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    pub(crate) unsafe fn clear_foreign(&self) {
        if let Some(foreign) = self.foreign_head() {
            foreign.len.store(0, Relaxed);
        }
    }

    /// Goes on with this block for `cap` foreign chunks, and none in it; returns the old
    /// one.
    ///
    /// # Safety
    ///
    /// The block has [`foreign_bytes`] of `cap`, and the shelf is the calling thread's.
    pub(crate) unsafe fn replace_foreign(
        &self,
        block: NonNull<u8>,
        cap: u32,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        let foreign = unsafe { Foreign::make(block, cap, ptr::null_mut()) };
        let old = self.foreign.load(Relaxed);
        self.foreign.store(foreign.as_ptr(), Relaxed);
        NonNull::new(old.cast())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::pool::Bare;

    #[test]
    fn foreign_chunks_of_several_owners_are_kept_for_a_while() {
        let chunk = |at: usize| Bare(ptr::without_provenance_mut(64 + at * 64));
        let owner = |at: usize| ptr::without_provenance_mut::<()>(4096 * at);
        let mut words: Vec<u64> = std::vec![0; foreign_bytes::<Bare>(4).div_ceil(8)];
        let mut slots: Vec<Bare> = (0..8).map(chunk).collect();
        let shelf = Shelf::<Bare>::empty();
        shelf.magazine.replace(slots.as_mut_ptr(), 8, 0);
        let block = NonNull::new(words.as_mut_ptr()).unwrap().cast();
        // SAFETY: shelf, block and slots are this test's; no chunk is looked at.
        unsafe {
            assert!(!shelf.keeps_foreign(), "there is no block");
            assert!(shelf.replace_foreign(block, 4).is_none());
            (0..4).for_each(|at| assert!(shelf.push_foreign(chunk(at), owner(1))));
            assert!(!shelf.push_foreign(chunk(4), owner(1)), "it is full");
            shelf.keep_if_mixed(3);
            assert!(!shelf.keeps_foreign(), "all are of one owner");
            shelf.clear_foreign();
            (0..4).for_each(|at| assert!(shelf.push_foreign(chunk(at), owner(1 + at % 2))));
            assert!(shelf.owner_of_foreign().is_null());
            shelf.keep_if_mixed(3);
            shelf.magazine.set_len(4);
            assert!(!shelf.keeps_foreign(), "the magazine is half full");
            shelf.magazine.set_len(3);
            assert!((0..3).all(|_| shelf.keeps_foreign()));
            assert!(!shelf.keeps_foreign(), "those were three");
        }
    }
}
