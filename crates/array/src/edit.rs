//! Going through all elements and keeping some: retain, dedup, extract.
//!
//! ```text
//! │ kept │ gap │ not looked at yet │        the array's length is 0 meanwhile
//!        ▲ kept ▲ at               ▲ len
//! ```
//!
//! A predicate or a drop may panic. Then what was not looked at moves up to what was kept,
//! and the length is set for both: nothing is lost and nothing dropped twice.

use core::ptr;

use crate::array::Array;
use crate::source::Source;

/// An array that is being gone through.
struct Sieve<'a, T, S: Source> {
    array: &'a mut Array<T, S>,
    len: usize,
    kept: usize,
    at: usize,
}

impl<'a, T, S: Source> Sieve<'a, T, S> {
    fn new(array: &'a mut Array<T, S>) -> Self {
        let len = array.len();
        // SAFETY: fewer elements than there are.
        unsafe { array.set_len(0) };
        Sieve { array, len, kept: 0, at: 0 }
    }

    fn element(&mut self, index: usize) -> &mut T {
        debug_assert!(index < self.kept || (self.at..self.len).contains(&index));
        // SAFETY: the element is initialised: kept, or not looked at yet.
        unsafe { &mut *self.array.raw.start().add(index) }
    }

    /// Keeps the next element.
    fn keep(&mut self) {
        if self.kept != self.at {
            // SAFETY: the gap is large enough for one.
            unsafe {
                let start = self.array.raw.start();
                start.add(self.kept).copy_from_nonoverlapping(start.add(self.at), 1);
            }
        }
        self.kept += 1;
        self.at += 1;
    }

    /// Takes the next element.
    fn take(&mut self) -> T {
        self.at += 1;
        // SAFETY: nobody has the element from here on but the caller.
        unsafe { self.array.raw.start().add(self.at - 1).read() }
    }

    /// Drops the next element where it is.
    fn discard(&mut self) {
        self.at += 1;
        // SAFETY: nobody has the element from here on.
        unsafe { ptr::drop_in_place(self.array.raw.start().add(self.at - 1)) };
    }
}

impl<T, S: Source> Drop for Sieve<'_, T, S> {
    fn drop(&mut self) {
        // SAFETY: both parts are initialised, and there is room for them.
        unsafe {
            let start = self.array.raw.start();
            let rest = self.len - self.at;
            start.add(self.kept).copy_from(start.add(self.at), rest);
            self.array.set_len(self.kept + rest);
        }
    }
}

impl<T, S: Source> Array<T, S> {
    /// Keeps the elements for which `keep` is true, in their order, and drops the others.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.retain_mut(|value| keep(value));
    }

    /// Keeps the elements for which `keep` is true, which may change them.
    pub fn retain_mut(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let mut sieve = Sieve::new(self);
        while sieve.at < sieve.len {
            let at = sieve.at;
            if keep(sieve.element(at)) {
                sieve.keep();
            } else {
                sieve.discard();
            }
        }
    }

    /// Takes out the elements of `range` for which `take` is true, and gives them to `to`.
    ///
    /// As `Vec::extract_if`, but all at once.
    ///
    /// # Panics
    ///
    /// If the range is not one of this array.
    #[track_caller]
    pub fn extract(
        &mut self,
        range: impl core::ops::RangeBounds<usize>,
        mut take: impl FnMut(&mut T) -> bool,
        mut to: impl FnMut(T),
    ) {
        let range = crate::drain::checked(range, self.len());
        let mut sieve = Sieve::new(self);
        (sieve.kept, sieve.at) = (range.start, range.start);
        while sieve.at < range.end {
            let at = sieve.at;
            if take(sieve.element(at)) {
                to(sieve.take());
            } else {
                sieve.keep();
            }
        }
    }

    /// Drops each element that `same` says is the same as the one kept before it, which is
    /// its second argument.
    pub fn dedup_by(&mut self, mut same: impl FnMut(&mut T, &mut T) -> bool) {
        let mut sieve = Sieve::new(self);
        while sieve.at < sieve.len {
            let is_same = sieve.kept > 0 && {
                let start = sieve.array.raw.start();
                // SAFETY: two elements that are initialised, and not the same one.
                unsafe { same(&mut *start.add(sieve.at), &mut *start.add(sieve.kept - 1)) }
            };
            if is_same {
                sieve.discard();
            } else {
                sieve.keep();
            }
        }
    }

    /// Drops each element whose key is that of the one before it.
    pub fn dedup_by_key<K: PartialEq>(&mut self, mut key: impl FnMut(&mut T) -> K) {
        self.dedup_by(|one, before| key(one) == key(before));
    }

    /// Drops each element that equals the one before it.
    pub fn dedup(&mut self)
    where
        T: PartialEq,
    {
        self.dedup_by(|one, before| one == before);
    }
}
