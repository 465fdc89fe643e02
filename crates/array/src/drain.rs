//! Taking elements out of the middle: ranges, draining, splicing.
//!
//! ```text
//! │ head │ taken │ drained │ tail │          the array's length is that of the head
//!                ▲ rest ──▶ ▲ tail
//! ```
//!
//! While elements are taken out, the array ends before them, so that nothing is dropped
//! twice if the one who drains is forgotten; the tail moves back when it is dropped.

use core::fmt;
use core::iter::FusedIterator;
use core::marker::PhantomData;
use core::ops::{Bound, Range, RangeBounds};
use core::ptr::{self, NonNull};
use core::{mem, slice};

use crate::array::Array;
use crate::source::Source;

/// `range` as indices below `len`.
#[track_caller]
pub(crate) fn checked(range: impl RangeBounds<usize>, len: usize) -> Range<usize> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => match before.checked_add(1) {
            Some(start) => start,
            None => panic!("attempted to index slice from after maximum usize"),
        },
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => match last.checked_add(1) {
            Some(end) => end,
            None => panic!("attempted to index slice up to maximum usize"),
        },
        Bound::Excluded(&end) => end,
        Bound::Unbounded => len,
    };
    if start > end {
        panic!("slice index starts at {start} but ends at {end}");
    }
    if end > len {
        panic!("range end index {end} out of range for slice of length {len}");
    }
    start..end
}

impl<T, S: Source> Array<T, S> {
    /// Takes the elements of `range` out, one by one; those that nobody takes are dropped
    /// with the iterator.
    ///
    /// # Panics
    ///
    /// If the range is not one of this array.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mallocer_array::Array;
    /// # use mallocer_flist::Global;
    /// let mut letters: Array<char, Global> = "abcdef".chars().collect();
    /// let middle: String = letters.drain(1..4).collect();
    /// assert_eq!(middle, "bcd");
    /// assert_eq!(letters, ['a', 'e', 'f']);
    /// ```
    #[track_caller]
    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> Drain<'_, T, S> {
        let len = self.len();
        let Range { start, end } = checked(range, len);
        // SAFETY: fewer elements than there are.
        unsafe { self.set_len(start) };
        Drain {
            rest: start..end,
            tail: end..len,
            array: NonNull::from(&mut *self),
            borrow: PhantomData,
        }
    }

    /// Replaces the elements of `range` by those of `values`; gives the old ones.
    ///
    /// The new ones are put in when the iterator is dropped.
    ///
    /// # Panics
    ///
    /// If the range is not one of this array.
    #[track_caller]
    pub fn splice<I: IntoIterator<Item = T>>(
        &mut self,
        range: impl RangeBounds<usize>,
        values: I,
    ) -> Splice<'_, I::IntoIter, S> {
        Splice { drain: self.drain(range), values: values.into_iter() }
    }
}

/// What [`Array::drain`] gives.
pub struct Drain<'a, T, S: Source> {
    /// The elements that are still to be taken.
    rest: Range<usize>,
    /// Those behind them, which move back.
    tail: Range<usize>,
    array: NonNull<Array<T, S>>,
    borrow: PhantomData<&'a mut Array<T, S>>,
}

// SAFETY: a drain is a mutable borrow of an array.
unsafe impl<T: Send, S: Source + Send> Send for Drain<'_, T, S> {}
// SAFETY: as above; a shared one only reads the elements.
unsafe impl<T: Sync, S: Source + Sync> Sync for Drain<'_, T, S> {}

impl<T, S: Source> Drain<'_, T, S> {
    /// The elements that nobody has taken yet.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: they are initialised, and borrowed with the array.
        unsafe { slice::from_raw_parts(self.at(self.rest.start), self.rest.len()) }
    }

    fn at(&self, index: usize) -> *mut T {
        // SAFETY: the array is borrowed, and the index at most the length that it had.
        unsafe { self.array.as_ref().raw.start().add(index) }
    }

    /// Fills the gap, from the array's end up to the tail, while there are values; `true`
    /// if it is full.
    fn fill(&mut self, values: &mut impl Iterator<Item = T>) -> bool {
        // SAFETY: the array is borrowed, and what is between its end and the tail is
        // nobody's.
        unsafe {
            loop {
                let len = self.array.as_ref().len();
                if len == self.tail.start {
                    return true;
                }
                let Some(value) = values.next() else { return false };
                self.at(len).write(value);
                self.array.as_mut().raw.set_len(len + 1);
            }
        }
    }

    /// Moves the tail so that `more` elements fit before it.
    fn move_tail(&mut self, more: usize) {
        // SAFETY: the array is borrowed. The tail counts as elements while memory is
        // found for it, and moves within that.
        unsafe {
            let array = self.array.as_mut();
            array.raw.make_room(self.tail.end, more);
            let from = array.raw.start().add(self.tail.start);
            from.copy_to(from.add(more), self.tail.len());
        }
        self.tail = self.tail.start + more..self.tail.end + more;
    }
}

impl<T, S: Source> Iterator for Drain<'_, T, S> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        let index = self.rest.next()?;
        // SAFETY: the element is nobody else's from here on.
        Some(unsafe { self.at(index).read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }
}

impl<T, S: Source> DoubleEndedIterator for Drain<'_, T, S> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        let index = self.rest.next_back()?;
        // SAFETY: as above.
        Some(unsafe { self.at(index).read() })
    }
}

impl<T, S: Source> ExactSizeIterator for Drain<'_, T, S> {}
impl<T, S: Source> FusedIterator for Drain<'_, T, S> {}

impl<T, S: Source> Drop for Drain<'_, T, S> {
    fn drop(&mut self) {
        /// Moves the tail back, also if a drop panics.
        struct Close<'d, 'a, T, S: Source>(&'d mut Drain<'a, T, S>);

        impl<T, S: Source> Drop for Close<'_, '_, T, S> {
            fn drop(&mut self) {
                let drain = &mut *self.0;
                // SAFETY: the array is borrowed; between its end and the tail there is
                // nothing any more.
                unsafe {
                    let array = drain.array.as_mut();
                    let len = array.len();
                    let tail = drain.tail.len();
                    if drain.tail.start != len {
                        let start = array.raw.start();
                        start.add(len).copy_from(start.add(drain.tail.start), tail);
                    }
                    array.set_len(len + tail);
                }
            }
        }

        let rest = mem::take(&mut self.rest);
        let left = ptr::slice_from_raw_parts_mut(self.at(rest.start), rest.len());
        let _close = Close(self);
        // SAFETY: nobody has taken them, and nobody will.
        unsafe { left.drop_in_place() };
    }
}

impl<T, S: Source> AsRef<[T]> for Drain<'_, T, S> {
    fn as_ref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: fmt::Debug, S: Source> fmt::Debug for Drain<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(&self.as_slice()).finish()
    }
}

/// What [`Array::splice`] gives.
pub struct Splice<'a, I: Iterator, S: Source> {
    drain: Drain<'a, I::Item, S>,
    values: I,
}

impl<I: Iterator, S: Source> Iterator for Splice<'_, I, S> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.drain.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.drain.size_hint()
    }
}

impl<I: Iterator, S: Source> DoubleEndedIterator for Splice<'_, I, S> {
    fn next_back(&mut self) -> Option<I::Item> {
        self.drain.next_back()
    }
}

impl<I: Iterator, S: Source> ExactSizeIterator for Splice<'_, I, S> {}

impl<I: Iterator, S: Source> Drop for Splice<'_, I, S> {
    fn drop(&mut self) {
        // What nobody took is dropped; the gap is between the array's end and the tail.
        self.drain.by_ref().for_each(drop);
        while self.drain.fill(&mut self.values) {
            let Some(value) = self.values.next() else { return };
            let (least, _) = self.values.size_hint();
            self.drain.move_tail(least.saturating_add(1));
            let full = self.drain.fill(&mut core::iter::once(value));
            debug_assert!(full || least > 0);
        }
    }
}
