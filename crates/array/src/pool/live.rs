//! Going through the values of a pool that are alive.
//!
//! The list of free slots says which are not. It is in no order, so it is sorted first, beside
//! the list of all slots that were ever used; neither inserting nor freeing pays for it. In
//! blocks, their maps say it.

use alloc::vec::Vec;
use core::ptr::NonNull;

use super::near::Block;
use super::{Placing, Pool, Slots};
use crate::source::Source;

impl<T, S: Source, R: Placing> Pool<T, S, R> {
    /// Where the values are that are alive, in the order of their addresses.
    ///
    /// A list of the moment: what is inserted or dropped afterwards does not change it.
    pub fn live(&self) -> Vec<NonNull<T>> {
        let mut slots = self.used();
        slots.sort_unstable();
        if R::NEAR {
            // SAFETY: it is the first slot of a block that was used.
            let blocks = slots.into_iter().map(|first| unsafe { Block::<T, R>::of(first).0 });
            return blocks.flat_map(Block::live).collect();
        }
        let mut free = Vec::new();
        let mut next = self.control().free.get();
        while let Some(slot) = NonNull::new(next) {
            free.push(slot.cast::<T>());
            // SAFETY: a free slot says which is the next one.
            next = unsafe { slot.as_ref() }.next;
        }
        free.sort_unstable();
        let mut free = free.into_iter().peekable();
        slots.retain(|slot| free.next_if_eq(slot).is_none());
        slots
    }

    /// The values that are alive though no handle is: those that were leaked.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_array::Pool;
    /// use mallocer_flist::Global;
    ///
    /// let mut pool = Pool::new_in(Global);
    /// pool.insert(1).leak();
    /// pool.insert(2);
    /// pool.insert(3).leak();
    /// pool.iter_mut().for_each(|value| *value *= 10);
    /// assert_eq!(pool.iter_mut().map(|value| *value).sum::<i32>(), 40);
    /// ```
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        // SAFETY: the pool is borrowed mutably, so nobody else has one of the values, and
        // each is there once.
        self.live().into_iter().map(|mut slot| unsafe { slot.as_mut() })
    }

    /// All slots that were ever used; of blocks, the first one of each.
    fn used(&self) -> Vec<NonNull<T>> {
        let control = self.control();
        let mut slots = Vec::new();
        let mut group = control.group.get();
        let mut newest = true;
        while let Some(one) = NonNull::new(group) {
            // SAFETY: the list holds this pool's groups.
            let (older, bytes) = unsafe { (one.as_ref().older, one.as_ref().bytes) };
            for segment in (0..bytes).step_by(Slots::<T, R>::SEGMENT) {
                // SAFETY: within the group.
                let first = unsafe { one.cast::<u8>().add(segment + Slots::<T, R>::FIRST) };
                for slot in 0..Slots::<T, R>::BLOCKS {
                    // SAFETY: within the segment.
                    let slot = unsafe { first.add(slot * Slots::<T, R>::BLOCK) };
                    // In the newest group, what is behind `fresh` was never used.
                    if newest && slot.as_ptr() >= control.fresh.get() {
                        break;
                    }
                    slots.push(slot.cast());
                }
            }
            newest = false;
            group = older;
        }
        slots
    }
}
