//! mimalloc's size classes.
//!
//! 8, 16, 32, 48, 64, 80, then four to every doubling up to 512 KiB: a request wastes
//! less than a fifth of its chunk. Larger chunks have pages of their own, in steps that
//! depend on where they are put.

use std::sync::OnceLock;

use libmimalloc_sys::mi_good_size;

/// Every chunk of at least so many bytes is aligned to so many bytes.
pub(crate) const QUANTUM: usize = 16;

/// Larger chunks have no class, in bytes.
const LARGEST: usize = 512 << 10;

/// More than there are classes up to [`LARGEST`].
pub(crate) const MOST_CLASSES: usize = 80;

/// The size classes of the library, read from it once.
pub(crate) struct Classes {
    /// The chunk sizes, ascending.
    pub(crate) slabs: Box<[usize]>,
    /// For each key, the first class at or above the smallest size of that key.
    by_key: [u8; key(LARGEST) + 1],
}

/// A size by its leading one and the three bits below it: no two classes above 32 bytes
/// have the same key, and it grows with the size.
const fn key(size: usize) -> usize {
    let exponent = (size | 8).ilog2() as usize;
    (exponent - 3) * 8 + ((size >> (exponent - 3)) & 7)
}

impl Classes {
    pub(crate) fn get() -> &'static Classes {
        static CLASSES: OnceLock<Classes> = OnceLock::new();
        CLASSES.get_or_init(Classes::read)
    }

    fn read() -> Classes {
        // SAFETY: mi_good_size takes any size.
        let next = |&slab: &usize| Some(unsafe { mi_good_size(slab + 1) });
        let slabs: Box<[usize]> =
            std::iter::successors(next(&0), next).take_while(|&slab| slab <= LARGEST).collect();
        assert!(slabs.len() <= MOST_CLASSES);
        let mut by_key = [0; key(LARGEST) + 1];
        for (index, &slab) in slabs.iter().enumerate() {
            by_key[key(slab)] = index as u8;
        }
        Classes { slabs, by_key }
    }

    /// The class whose chunks have exactly `bytes` bytes, if there is one.
    #[inline]
    pub(crate) fn index(&self, bytes: usize) -> Option<usize> {
        if bytes > LARGEST {
            return None;
        }
        let index = usize::from(self.by_key[key(bytes)]);
        (self.slabs[index] == bytes).then_some(index)
    }
}

/// The bytes that a chunk for a request of `size` can be expected to have.
#[inline]
pub(crate) fn expected(size: usize) -> usize {
    // SAFETY: mi_good_size takes any size.
    unsafe { mi_good_size(size) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmimalloc_sys::{mi_free, mi_malloc, mi_usable_size};

    #[test]
    fn classes_are_those_of_the_library() {
        let classes = Classes::get();
        assert!(classes.slabs.is_sorted());
        assert_eq!(classes.slabs[..4], [8, 16, 32, 48]);
        assert_eq!(classes.slabs.last(), Some(&LARGEST));
        for (index, &slab) in classes.slabs.iter().enumerate() {
            assert_eq!(classes.index(slab), Some(index));
            assert_eq!(classes.index(slab + 1), None);
        }
        for size in (1..20_000).chain([100_000, LARGEST - 1, LARGEST]) {
            // SAFETY: the chunk is looked at, then freed.
            unsafe {
                let chunk = mi_malloc(size);
                let usable = mi_usable_size(chunk);
                assert_eq!(usable, expected(size), "{size}");
                assert!(classes.index(usable).is_some(), "{size} gets {usable}");
                let align = if size < QUANTUM { 8 } else { QUANTUM };
                assert!(chunk.addr().is_multiple_of(align), "{size} at {chunk:?}");
                mi_free(chunk);
            }
        }
    }
}
