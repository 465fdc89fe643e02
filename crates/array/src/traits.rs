//! What arrays have in common with slices: comparing, hashing, printing, indexing.

use alloc::vec::Vec;
use core::borrow::{Borrow, BorrowMut};
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Index, IndexMut};
use core::slice::SliceIndex;

use mallocer_core::Ambient;

use crate::array::Array;
use crate::source::Source;

impl<T: Clone, S: Source> Clone for Array<T, S> {
    /// An array with clones of the elements, in the same heap.
    #[track_caller]
    fn clone(&self) -> Self {
        let mut clone = Array::with_capacity_in(self.len(), self.source());
        clone.extend_trusted(self.iter().cloned());
        clone
    }

    fn clone_from(&mut self, other: &Self) {
        self.truncate(other.len());
        let (common, rest) = other.split_at(self.len());
        self.clone_from_slice(common);
        self.extend_from_slice(rest);
    }
}

impl<T, P: Ambient> Default for Array<T, P> {
    fn default() -> Self {
        Array::new()
    }
}

macro_rules! equal {
    ([$($generics:tt)*] $one:ty, $other:ty) => {
        impl<T: PartialEq<U>, U, $($generics)*> PartialEq<$other> for $one {
            #[inline]
            fn eq(&self, other: &$other) -> bool {
                self[..] == other[..]
            }
        }
    };
}

equal! { [S: Source, S2: Source] Array<T, S>, Array<U, S2> }
equal! { [S: Source] Array<T, S>, [U] }
equal! { [S: Source] Array<T, S>, &[U] }
equal! { [S: Source] Array<T, S>, &mut [U] }
equal! { [S: Source, const N: usize] Array<T, S>, [U; N] }
equal! { [S: Source, const N: usize] Array<T, S>, &[U; N] }
equal! { [S: Source] Array<T, S>, Vec<U> }
equal! { [S: Source] [T], Array<U, S> }
equal! { [S: Source] &[T], Array<U, S> }
equal! { [S: Source] Vec<T>, Array<U, S> }

impl<T: Eq, S: Source> Eq for Array<T, S> {}

impl<T: PartialOrd, S: Source, S2: Source> PartialOrd<Array<T, S2>> for Array<T, S> {
    #[inline]
    fn partial_cmp(&self, other: &Array<T, S2>) -> Option<Ordering> {
        self[..].partial_cmp(&other[..])
    }
}

impl<T: Ord, S: Source> Ord for Array<T, S> {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self[..].cmp(&other[..])
    }
}

impl<T: Hash, S: Source> Hash for Array<T, S> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self[..].hash(state)
    }
}

impl<T: fmt::Debug, S: Source> fmt::Debug for Array<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

impl<T, I: SliceIndex<[T]>, S: Source> Index<I> for Array<T, S> {
    type Output = I::Output;

    #[inline]
    fn index(&self, index: I) -> &I::Output {
        &(**self)[index]
    }
}

impl<T, I: SliceIndex<[T]>, S: Source> IndexMut<I> for Array<T, S> {
    #[inline]
    fn index_mut(&mut self, index: I) -> &mut I::Output {
        &mut (**self)[index]
    }
}

impl<T, S: Source> AsRef<[T]> for Array<T, S> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T, S: Source> AsMut<[T]> for Array<T, S> {
    fn as_mut(&mut self) -> &mut [T] {
        self
    }
}

impl<T, S: Source> Borrow<[T]> for Array<T, S> {
    fn borrow(&self) -> &[T] {
        self
    }
}

impl<T, S: Source> BorrowMut<[T]> for Array<T, S> {
    fn borrow_mut(&mut self) -> &mut [T] {
        self
    }
}
