//! Going through the values of a pool that are alive.
//!
//! The list of free slots says which are not. It is in no order, so it is sorted first, beside
//! the list of all slots that were ever used; neither inserting nor freeing pays for it.

use alloc::vec::Vec;
use core::ptr::NonNull;

use super::{Pool, Slots};
use crate::source::Source;

impl<T, S: Source> Pool<T, S> {
    /// Where the values are that are alive, in the order of their addresses.
    ///
    /// A list of the moment: what is inserted or dropped afterwards does not change it.
    pub fn live(&self) -> Vec<NonNull<T>> {
        let mut slots = self.used();
        slots.sort_unstable();
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

    /// All slots that were ever used.
    fn used(&self) -> Vec<NonNull<T>> {
        let control = self.control();
        let mut slots = Vec::new();
        let mut group = control.group.get();
        let mut newest = true;
        while let Some(one) = NonNull::new(group) {
            // SAFETY: the list holds this pool's groups.
            let (older, bytes) = unsafe { (one.as_ref().older, one.as_ref().bytes) };
            for segment in (0..bytes).step_by(Slots::<T>::SEGMENT) {
                // SAFETY: within the group.
                let first = unsafe { one.cast::<u8>().add(segment + Slots::<T>::FIRST) };
                for slot in 0..Slots::<T>::PER_SEGMENT {
                    // SAFETY: within the segment.
                    let slot = unsafe { first.add(slot * Slots::<T>::STRIDE) };
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
