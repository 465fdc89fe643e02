//! Into an iterator, and out of one.

use core::fmt;
use core::iter::FusedIterator;
use core::mem::ManuallyDrop;
use core::ops::Range;
use core::ptr;
use core::slice;

use mallocer_core::Ambient;

use crate::array::Array;
use crate::raw::Raw;
use crate::source::Source;

/// The elements of an array that was given up, one by one.
pub struct IntoIter<T, S: Source> {
    /// The chunk, whose length means nothing any more.
    raw: Raw<T, S>,
    rest: Range<usize>,
}

impl<T, S: Source> IntoIter<T, S> {
    /// The elements that nobody has taken yet.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: they are initialised.
        unsafe { slice::from_raw_parts(self.raw.start().add(self.rest.start), self.rest.len()) }
    }

    /// The elements that nobody has taken yet, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts_mut(self.raw.start().add(self.rest.start), self.rest.len()) }
    }
}

impl<T, S: Source> Iterator for IntoIter<T, S> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        let index = self.rest.next()?;
        // SAFETY: the element is nobody else's from here on.
        Some(unsafe { self.raw.start().add(index).read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }
}

impl<T, S: Source> DoubleEndedIterator for IntoIter<T, S> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        let index = self.rest.next_back()?;
        // SAFETY: as above.
        Some(unsafe { self.raw.start().add(index).read() })
    }
}

impl<T, S: Source> ExactSizeIterator for IntoIter<T, S> {}
impl<T, S: Source> FusedIterator for IntoIter<T, S> {}

impl<T, S: Source> Drop for IntoIter<T, S> {
    fn drop(&mut self) {
        let left: *mut [T] = self.as_mut_slice();
        // SAFETY: nobody has taken them. The chunk is freed after them, by `raw`.
        unsafe { left.drop_in_place() };
    }
}

impl<T: Clone, S: Source> Clone for IntoIter<T, S> {
    /// Clones of the elements that nobody has taken yet, in the same heap.
    fn clone(&self) -> Self {
        Array::from_slice_in(self.as_slice(), self.raw.source()).into_iter()
    }
}

impl<T, S: Source> AsRef<[T]> for IntoIter<T, S> {
    fn as_ref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: fmt::Debug, S: Source> fmt::Debug for IntoIter<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IntoIter").field(&self.as_slice()).finish()
    }
}

impl<T, S: Source> IntoIterator for Array<T, S> {
    type Item = T;
    type IntoIter = IntoIter<T, S>;

    #[inline]
    fn into_iter(self) -> IntoIter<T, S> {
        let array = ManuallyDrop::new(self);
        // SAFETY: the array is not used any more; its words are moved out once.
        IntoIter { rest: 0..array.len(), raw: unsafe { ptr::read(&array.raw) } }
    }
}

impl<'a, T, S: Source> IntoIterator for &'a Array<T, S> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    #[inline]
    fn into_iter(self) -> slice::Iter<'a, T> {
        self.iter()
    }
}

impl<'a, T, S: Source> IntoIterator for &'a mut Array<T, S> {
    type Item = &'a mut T;
    type IntoIter = slice::IterMut<'a, T>;

    #[inline]
    fn into_iter(self) -> slice::IterMut<'a, T> {
        self.iter_mut()
    }
}

/// Sets an array's length when the adding ends, however it ends.
struct Adding<'a, T, S: Source> {
    array: &'a mut Array<T, S>,
    len: usize,
}

impl<T, S: Source> Drop for Adding<'_, T, S> {
    fn drop(&mut self) {
        // SAFETY: as many elements were written.
        unsafe { self.array.set_len(self.len) };
    }
}

impl<T, S: Source> Array<T, S> {
    /// Adds values for which there is room.
    #[inline]
    pub(crate) fn extend_trusted(&mut self, values: impl Iterator<Item = T>) {
        let start = self.raw.start();
        let mut adding = Adding { len: self.len(), array: self };
        for value in values {
            // SAFETY: the caller has made room.
            unsafe { start.add(adding.len).write(value) };
            adding.len += 1;
        }
    }

    /// An array in `source` with the elements of `values`.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Array::reserve).
    pub fn from_iter_in(values: impl IntoIterator<Item = T>, source: S) -> Array<T, S> {
        let values = values.into_iter();
        let mut array = Array::with_capacity_in(values.size_hint().0, source);
        array.extend(values);
        array
    }
}

impl<T, S: Source> Extend<T> for Array<T, S> {
    /// Puts `values` at the end. The heap is asked for room once for all that the
    /// iterator announces.
    #[track_caller]
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        let mut values = values.into_iter();
        loop {
            let room = self.capacity() - self.len();
            let (least, _) = values.size_hint();
            if room < least.max(1) {
                // Before memory is taken for a value, there must be one.
                let Some(value) = values.next() else { return };
                self.reserve(least.max(1));
                self.push(value);
                continue;
            }
            let mut added = 0;
            self.extend_trusted(values.by_ref().take(room).inspect(|_| added += 1));
            if added < room {
                return;
            }
        }
    }
}

impl<'a, T: Copy + 'a, S: Source> Extend<&'a T> for Array<T, S> {
    #[track_caller]
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, values: I) {
        self.extend(values.into_iter().copied());
    }
}

impl<T, P: Ambient> FromIterator<T> for Array<T, P> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Array<T, P> {
        Array::from_iter_in(values, P::default())
    }
}
