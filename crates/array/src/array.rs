//! The array: one word, elements behind a length.

use core::mem::{self, ManuallyDrop};
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::slice;

use mallocer_core::Ambient;

use crate::raw::{Raw, ReserveError, refuse};
use crate::source::Source;

/// A growable array whose capacity is what its heap knows of its chunk.
///
/// The handle is one word on an [`Ambient`] heap and [`In`](crate::In) a heap that chunks lead
/// to, and so is an `Option` of it; two words [`With`](crate::With) a reference to any
/// other heap. An array that never had an element has no chunk.
///
/// It has the methods of the standard library's `Vec`, and keeps what that one's
/// documentation promises (panics, bounds, drop order), but for the places where it is said
/// otherwise. Growing asks for the memory behind the chunk first, so a large array
/// grows without copying wherever the heap can do that.
///
/// Elements of no size need no memory, but their number does: such an array has a chunk for
/// its length.
///
/// # Examples
///
/// ```
/// use mallocer_array::Array;
/// use mallocer_flist::Global;
///
/// let mut primes = Array::<u32, Global>::new();
/// primes.extend([2, 3, 5, 7]);
/// primes.push(11);
/// primes.retain(|prime| prime % 2 == 1);
/// assert_eq!(primes, [3, 5, 7, 11]);
/// assert_eq!(size_of_val(&primes), size_of::<usize>());
/// ```
pub struct Array<T, S: Source> {
    pub(crate) raw: Raw<T, S>,
}

impl<T, P: Ambient> Array<T, P> {
    /// An empty array on the heap of a process.
    #[inline]
    pub fn new() -> Array<T, P> {
        Array::new_in(P::default())
    }

    /// An empty array with room for at least `capacity` elements.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Array::reserve).
    #[track_caller]
    pub fn with_capacity(capacity: usize) -> Array<T, P> {
        Array::with_capacity_in(capacity, P::default())
    }
}

impl<T, S: Source> Array<T, S> {
    /// An empty array in `source`. It takes no memory until it has an element.
    #[inline]
    pub fn new_in(source: S) -> Array<T, S> {
        Array { raw: Raw::new_in(source) }
    }

    /// An empty array with room for at least `capacity` elements.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Array::reserve).
    #[track_caller]
    pub fn with_capacity_in(capacity: usize, source: S) -> Array<T, S> {
        let mut array = Array::new_in(source);
        array.reserve_exact(capacity);
        array
    }

    /// Where the array's memory comes from.
    #[inline]
    pub fn source(&self) -> S {
        self.raw.source()
    }

    /// The number of elements.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there are no elements.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many elements fit without more memory: asked of the heap, not stored.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.raw.capacity()
    }

    /// Sets the length without touching elements.
    ///
    /// # Safety
    ///
    /// `len` is at most the capacity, and there are that many initialised elements.
    #[inline(always)]
    pub unsafe fn set_len(&mut self, len: usize) {
        // An array without a chunk has its length in static memory.
        if len != self.len() {
            // SAFETY: the caller's promise; another length than 0 needs a chunk.
            unsafe { self.raw.set_len(len) };
        }
    }

    /// The first element; dangling, but aligned, if there is none.
    #[inline(always)]
    pub fn as_ptr(&self) -> *const T {
        self.raw.start()
    }

    /// The first element, to be written; dangling, but aligned, if there is none.
    #[inline(always)]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.raw.start()
    }

    /// All elements.
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        self
    }

    /// All elements, to be written.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self
    }

    /// Puts `value` at the end.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Array::reserve); then `value` is dropped, and the array as it was.
    #[inline]
    #[track_caller]
    pub fn push(&mut self, value: T) {
        let len = self.raw.len_for(1);
        self.raw.make_room(len, 1);
        // SAFETY: there is room for one behind the last.
        unsafe {
            self.raw.at(len).write(value);
            self.raw.set_len(len + 1);
        }
    }

    /// Takes the last element.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let last = self.len().checked_sub(1)?;
        // SAFETY: there is a last element, which is the caller's from here on.
        unsafe {
            self.raw.set_len(last);
            Some(self.raw.at(last).read())
        }
    }

    /// Puts `value` at the end, if there is memory for it.
    ///
    /// # Errors
    ///
    /// The value, and why there is no memory for it; then the array is as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_array::{Array, In};
    /// use mallocer_core::{Config, Mallocer};
    /// use mallocer_flist::Flist;
    ///
    /// let mut config = Config::default();
    /// config.capacity = 64 << 10;
    /// let heap = Flist::open(&config)?;
    /// let mut numbers = Array::new_in(In::new(&heap));
    /// let (number, _) = (0u64..).find_map(|number| numbers.try_push(number).err()).unwrap();
    /// assert_eq!(number as usize, numbers.len());
    /// # Ok::<(), mallocer_core::ConfigError>(())
    /// ```
    #[inline]
    pub fn try_push(&mut self, value: T) -> Result<(), (T, ReserveError)> {
        match self.try_reserve(1) {
            Ok(()) => {
                self.push(value);
                Ok(())
            }
            Err(refusal) => Err((value, refusal)),
        }
    }

    /// Takes the last element, if `take` is true of it.
    pub fn pop_if(&mut self, take: impl FnOnce(&mut T) -> bool) -> Option<T> {
        let last = self.last_mut()?;
        if take(last) { self.pop() } else { None }
    }

    /// Puts `value` at `index`, and what was there and behind one further.
    ///
    /// # Panics
    ///
    /// If `index` is above the length, and as [`reserve`](Array::reserve).
    #[track_caller]
    pub fn insert(&mut self, index: usize, value: T) {
        let len = self.len();
        if index > len {
            panic!("insertion index (is {index}) should be <= len (is {len})");
        }
        self.raw.make_room(len, 1);
        // SAFETY: there is room for one behind the last, and `index` is at most there.
        unsafe {
            let at = self.raw.start().add(index);
            at.copy_to(at.add(1), len - index);
            at.write(value);
            self.raw.set_len(len + 1);
        }
    }

    /// Takes the element at `index`, and moves those behind it one forward.
    ///
    /// # Panics
    ///
    /// If there is none at `index`.
    #[track_caller]
    pub fn remove(&mut self, index: usize) -> T {
        let len = self.len();
        if index >= len {
            panic!("removal index (is {index}) should be < len (is {len})");
        }
        // SAFETY: there is an element at `index`, which is the caller's from here on.
        unsafe {
            let at = self.raw.start().add(index);
            let value = at.read();
            at.copy_from(at.add(1), len - index - 1);
            self.raw.set_len(len - 1);
            value
        }
    }

    /// Takes the element at `index`, and puts the last one there.
    ///
    /// # Panics
    ///
    /// If there is none at `index`.
    #[track_caller]
    pub fn swap_remove(&mut self, index: usize) -> T {
        let len = self.len();
        if index >= len {
            panic!("swap_remove index (is {index}) should be < len (is {len})");
        }
        // SAFETY: there is an element at `index`, and a last one, perhaps the same.
        unsafe {
            let start = self.raw.start();
            let value = start.add(index).read();
            start.add(index).copy_from(start.add(len - 1), 1);
            self.raw.set_len(len - 1);
            value
        }
    }

    /// Drops what is behind the first `len` elements, if there is anything.
    pub fn truncate(&mut self, len: usize) {
        let before = self.len();
        if len >= before {
            return;
        }
        // SAFETY: the elements from `len` on are nobody's once the length is less. It is
        // set first, in case a drop panics.
        unsafe {
            self.raw.set_len(len);
            let tail = ptr::slice_from_raw_parts_mut(self.raw.start().add(len), before - len);
            tail.drop_in_place();
        }
    }

    /// Drops all elements; the memory stays.
    #[inline]
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Makes room for at least `more` elements, and for some that may come after them.
    ///
    /// # Panics
    ///
    /// Where [`try_reserve`](Array::try_reserve) has an error, with its message.
    #[inline]
    #[track_caller]
    pub fn reserve(&mut self, more: usize) {
        if let Err(refusal) = self.try_reserve(more) {
            refuse(refusal);
        }
    }

    /// Makes room for at least `more` elements, as [`reserve`](Array::reserve) does.
    ///
    /// # Errors
    ///
    /// [`ReserveError`]; then the array is as it was.
    #[inline]
    pub fn try_reserve(&mut self, more: usize) -> Result<(), ReserveError> {
        let len = self.len();
        if self.capacity() - len >= more { Ok(()) } else { self.raw.grow(len, more) }
    }

    /// Makes room for `more` elements, and for no more than their chunk has anyway.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Array::reserve).
    #[track_caller]
    pub fn reserve_exact(&mut self, more: usize) {
        if let Err(refusal) = self.try_reserve_exact(more) {
            refuse(refusal);
        }
    }

    /// Makes room for `more` elements, as [`reserve_exact`](Array::reserve_exact) does.
    ///
    /// # Errors
    ///
    /// [`ReserveError`]; then the array is as it was.
    pub fn try_reserve_exact(&mut self, more: usize) -> Result<(), ReserveError> {
        let capacity = self.len().checked_add(more).ok_or(ReserveError::CapacityOverflow)?;
        self.raw.grow_exact(capacity)
    }

    /// Gives back what the elements do not need.
    pub fn shrink_to_fit(&mut self) {
        self.shrink_to(0);
    }

    /// Gives back what the elements do not need beyond room for `capacity` of them.
    pub fn shrink_to(&mut self, capacity: usize) {
        // A heap that has no smaller chunk leaves the array as it is.
        let _ = self.raw.shrink(self.len().max(capacity));
    }

    /// Moves the elements from `at` on into an array of their own, in the same heap.
    ///
    /// # Panics
    ///
    /// If `at` is above the length, and as [`reserve`](Array::reserve).
    #[track_caller]
    pub fn split_off(&mut self, at: usize) -> Array<T, S> {
        let len = self.len();
        if at > len {
            panic!("`at` split index (is {at}) should be <= len (is {len})");
        }
        let mut tail: Array<T, S> = Array::with_capacity_in(len - at, self.source());
        // SAFETY: the elements from `at` on move to the other array, which has room.
        unsafe {
            self.set_len(at);
            tail.raw.start().copy_from_nonoverlapping(self.raw.start().add(at), len - at);
            tail.set_len(len - at);
        }
        tail
    }

    /// Moves all elements of `other` to the end of this array.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Array::reserve).
    #[track_caller]
    pub fn append<S2: Source>(&mut self, other: &mut Array<T, S2>) {
        let (len, more) = (self.len(), other.len());
        self.raw.make_room(len, more);
        // SAFETY: there is room, and the elements are this array's from here on.
        unsafe {
            other.set_len(0);
            self.raw.start().add(len).copy_from_nonoverlapping(other.raw.start(), more);
            self.set_len(len + more);
        }
    }

    /// Makes the length `len`: drops what is too much, or adds what `make` gives.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Array::reserve).
    #[track_caller]
    pub fn resize_with(&mut self, len: usize, mut make: impl FnMut() -> T) {
        let before = self.len();
        if len <= before {
            return self.truncate(len);
        }
        self.reserve(len - before);
        self.extend((before..len).map(|_| make()));
    }

    /// The elements as a slice that lives as long as the heap; the array is never freed by
    /// itself.
    pub fn leak<'s>(self) -> &'s mut [T]
    where
        S: 's,
    {
        let mut array = ManuallyDrop::new(self);
        // SAFETY: the chunk is not freed any more but with its heap, which `S` borrows.
        unsafe { slice::from_raw_parts_mut(array.as_mut_ptr(), array.len()) }
    }

    /// The room behind the elements.
    pub fn spare_capacity_mut(&mut self) -> &mut [mem::MaybeUninit<T>] {
        let (len, capacity) = (self.len(), self.capacity());
        // SAFETY: the chunk is valid up to its capacity.
        unsafe { slice::from_raw_parts_mut(self.raw.start().add(len).cast(), capacity - len) }
    }
}

impl<T: Clone, S: Source> Array<T, S> {
    /// Makes the length `len`: drops what is too much, or adds clones of `value`.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Array::reserve).
    #[track_caller]
    pub fn resize(&mut self, len: usize, value: T) {
        let before = self.len();
        if len <= before {
            return self.truncate(len);
        }
        self.reserve(len - before);
        self.extend(core::iter::repeat_n(value, len - before));
    }

    /// Puts clones of `values` at the end.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Array::reserve).
    #[inline]
    #[track_caller]
    pub fn extend_from_slice(&mut self, values: &[T]) {
        self.raw.make_room(self.len(), values.len());
        self.extend_trusted(values.iter().cloned());
    }

    /// Puts clones of the elements in `range` at the end.
    ///
    /// # Panics
    ///
    /// If the range is not one of this array, and as [`reserve`](Array::reserve).
    #[track_caller]
    pub fn extend_from_within(&mut self, range: impl core::ops::RangeBounds<usize>) {
        let range = crate::drain::checked(range, self.len());
        self.raw.make_room(self.len(), range.len());
        for index in range {
            let value = self[index].clone();
            // SAFETY: there is room for all of them.
            unsafe {
                let len = self.len();
                self.raw.start().add(len).write(value);
                self.raw.set_len(len + 1);
            }
        }
    }
}

impl<S: Source> Array<u8, S> {
    /// Puts `bytes` at the end, by one copy.
    #[inline]
    #[track_caller]
    pub(crate) fn extend_from_bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let len = self.raw.len_for(bytes.len());
        self.raw.make_room(len, bytes.len());
        // SAFETY: there is room for them behind the last.
        unsafe {
            self.raw.at(len).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.raw.set_len(len + bytes.len());
        }
    }

    /// Puts `bytes` at `index`, which is at most the length, and what was there behind them.
    #[track_caller]
    pub(crate) fn insert_bytes(&mut self, index: usize, bytes: &[u8]) {
        let (len, more) = (self.len(), bytes.len());
        self.raw.make_room(len, more);
        debug_assert!(index <= len);
        // SAFETY: there is room for them behind the last, and `index` is at most there.
        unsafe {
            let at = self.raw.start().add(index);
            at.copy_to(at.add(more), len - index);
            at.copy_from_nonoverlapping(bytes.as_ptr(), more);
            self.set_len(len + more);
        }
    }
}

impl<T, S: Source> Deref for Array<T, S> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: there are `len` elements.
        unsafe { slice::from_raw_parts(self.raw.start(), self.raw.len()) }
    }
}

impl<T, S: Source> DerefMut for Array<T, S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; the array is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.raw.start(), self.raw.len()) }
    }
}

impl<T, S: Source> Drop for Array<T, S> {
    #[inline]
    fn drop(&mut self) {
        if mem::needs_drop::<T>() {
            let all = ptr::slice_from_raw_parts_mut(self.raw.start(), self.raw.len());
            // SAFETY: the elements are nobody's any more. If one panics, the others are
            // dropped, and the chunk is freed, nevertheless.
            unsafe { all.drop_in_place() };
        }
    }
}
