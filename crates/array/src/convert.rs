//! From and into the standard library's vectors and boxes. Elements move; chunks cannot,
//! since they belong to different allocators.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use mallocer_core::Ambient;

use crate::array::Array;
use crate::source::Source;

impl<T, S: Source> Array<T, S> {
    /// An array in `source` with the elements of `values`, which are moved.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Array::reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_array::Array;
    /// use mallocer_flist::Global;
    ///
    /// let array = Array::from_vec_in(vec![1, 2, 3], Global);
    /// assert_eq!(array.into_vec(), [1, 2, 3]);
    /// ```
    #[track_caller]
    pub fn from_vec_in(mut values: Vec<T>, source: S) -> Array<T, S> {
        let len = values.len();
        let mut array: Array<T, S> = Array::with_capacity_in(len, source);
        // SAFETY: there is room, and the elements are the array's from here on.
        unsafe {
            values.set_len(0);
            array.as_mut_ptr().copy_from_nonoverlapping(values.as_ptr(), len);
            array.set_len(len);
        }
        array
    }

    /// A vector with the elements, which are moved.
    pub fn into_vec(mut self) -> Vec<T> {
        let len = self.len();
        let mut values = Vec::with_capacity(len);
        // SAFETY: there is room, and the elements are the vector's from here on.
        unsafe {
            self.set_len(0);
            self.as_ptr().copy_to_nonoverlapping(values.as_mut_ptr(), len);
            values.set_len(len);
        }
        values
    }

    /// A boxed slice with the elements, which are moved.
    pub fn into_boxed_slice(self) -> Box<[T]> {
        self.into_vec().into_boxed_slice()
    }
}

impl<T: Clone, S: Source> Array<T, S> {
    /// An array in `source` with clones of `values`.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Array::reserve).
    #[track_caller]
    pub fn from_slice_in(values: &[T], source: S) -> Array<T, S> {
        let mut array = Array::with_capacity_in(values.len(), source);
        array.extend_trusted(values.iter().cloned());
        array
    }
}

impl<T, P: Ambient> From<Vec<T>> for Array<T, P> {
    fn from(values: Vec<T>) -> Self {
        Array::from_vec_in(values, P::default())
    }
}

impl<T, P: Ambient> From<Box<[T]>> for Array<T, P> {
    fn from(values: Box<[T]>) -> Self {
        Array::from(values.into_vec())
    }
}

impl<T: Clone, P: Ambient> From<&[T]> for Array<T, P> {
    fn from(values: &[T]) -> Self {
        Array::from_slice_in(values, P::default())
    }
}

impl<T: Clone, P: Ambient> From<&mut [T]> for Array<T, P> {
    fn from(values: &mut [T]) -> Self {
        Array::from(&*values)
    }
}

impl<T: Clone, P: Ambient, const N: usize> From<&[T; N]> for Array<T, P> {
    fn from(values: &[T; N]) -> Self {
        Array::from(&values[..])
    }
}

impl<T: Clone, P: Ambient> From<Cow<'_, [T]>> for Array<T, P> {
    fn from(values: Cow<'_, [T]>) -> Self {
        match values {
            Cow::Borrowed(values) => Array::from(values),
            Cow::Owned(values) => Array::from(values),
        }
    }
}

impl<P: Ambient> From<&str> for Array<u8, P> {
    fn from(text: &str) -> Self {
        Array::from(text.as_bytes())
    }
}

impl<P: Ambient> From<String> for Array<u8, P> {
    fn from(text: String) -> Self {
        Array::from(text.into_bytes())
    }
}

impl<T, P: Ambient, const N: usize> From<[T; N]> for Array<T, P> {
    fn from(values: [T; N]) -> Self {
        values.into_iter().collect()
    }
}

impl<T, S: Source> From<Array<T, S>> for Vec<T> {
    fn from(array: Array<T, S>) -> Self {
        array.into_vec()
    }
}

impl<T, S: Source> From<Array<T, S>> for Box<[T]> {
    fn from(array: Array<T, S>) -> Self {
        array.into_boxed_slice()
    }
}

impl<T, S: Source, const N: usize> TryFrom<Array<T, S>> for [T; N] {
    type Error = Array<T, S>;

    /// The elements, if there are exactly `N`; else the array as it was.
    fn try_from(mut array: Array<T, S>) -> Result<[T; N], Array<T, S>> {
        if array.len() != N {
            return Err(array);
        }
        // SAFETY: there are `N` elements, which are the caller's from here on.
        unsafe {
            array.set_len(0);
            Ok(array.as_ptr().cast::<[T; N]>().read())
        }
    }
}
