//! mimalloc's size classes.
//!
//! 8, 16, 32, 48, 64, 80, then four to every doubling up to 512 KiB: a request wastes
//! less than a fifth of its chunk. Larger chunks have pages of their own, in steps that
//! depend on where they are put.

use std::sync::OnceLock;

use libmimalloc_sys::{mi_free, mi_good_size, mi_malloc, mi_usable_size};

/// Every chunk of at least so many bytes is aligned to so many bytes.
pub(crate) const QUANTUM: usize = 16;

/// Larger chunks have no class, in bytes.
const LARGEST: usize = 512 << 10;

/// Requests up to so many bytes find their class in a table.
const TABLE_BYTES: usize = 1024;

/// More than there are classes up to [`LARGEST`].
pub(crate) const MOST_CLASSES: usize = 80;

/// The size classes of the library, read from it once.
pub(crate) struct Classes {
    /// The chunk sizes, ascending; then `usize::MAX`.
    slabs: [usize; MOST_CLASSES],
    count: usize,
    /// For each key, the first class at or above the smallest size of that key.
    by_key: [u8; key(LARGEST) + 1],
    /// The class of `8 n` bytes in entry `n`, if chunks have exactly their class; else 0.
    table: [u8; TABLE_BYTES / 8 + 1],
}

/// What a request is going to get.
pub(crate) enum Expected {
    /// Exactly the chunks of this class.
    Class(usize),
    /// About so many bytes.
    Bytes(usize),
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
        let mut slabs = [usize::MAX; MOST_CLASSES];
        let mut by_key = [0; key(LARGEST) + 1];
        let mut count = 0;
        for slab in std::iter::successors(next(&0), next).take_while(|&slab| slab <= LARGEST) {
            slabs[count] = slab;
            by_key[key(slab)] = count as u8;
            count += 1;
        }
        let mut table = [0; TABLE_BYTES / 8 + 1];
        for (n, entry) in table.iter_mut().enumerate() {
            let class = slabs.partition_point(|&slab| slab < n * 8);
            if slabs[class] == usable_of_fresh(n * 8) {
                *entry = class as u8;
            }
        }
        Classes { slabs, count, by_key, table }
    }

    /// The chunk sizes in bytes, ascending.
    pub(crate) fn slabs(&self) -> &[usize] {
        &self.slabs[..self.count]
    }

    /// The chunk size of a class, in bytes.
    #[inline]
    pub(crate) fn bytes(&self, class: usize) -> usize {
        self.slabs[class]
    }

    /// What a request for `size` bytes is going to get from the plain functions.
    ///
    /// Chunks of a kibibyte and less have the size of their class, which is confirmed by
    /// one of each when the table is made (a build of mimalloc with padding differs); the
    /// others are asked. The class of 8 bytes, whose number is 0, is asked too.
    #[inline]
    pub(crate) fn expected(&self, size: usize) -> Expected {
        match self.table.get(size.div_ceil(8)) {
            Some(&class) if class != 0 => Expected::Class(usize::from(class)),
            // SAFETY: mi_good_size takes any size.
            _ => Expected::Bytes(unsafe { mi_good_size(size) }),
        }
    }

    /// The class whose chunks have exactly `bytes` bytes, if there is one.
    #[inline]
    pub(crate) fn index(&self, bytes: usize) -> Option<usize> {
        let class = match self.table.get(bytes / 8) {
            Some(&class) if class != 0 => class,
            _ if bytes <= LARGEST => self.by_key[key(bytes)],
            _ => return None,
        };
        (self.slabs[usize::from(class)] == bytes).then_some(usize::from(class))
    }
}

/// What a chunk for a request of `size` has, tried out.
fn usable_of_fresh(size: usize) -> usize {
    // SAFETY: the chunk is measured and freed right away; both functions take null.
    unsafe {
        let chunk = mi_malloc(size);
        let usable = mi_usable_size(chunk);
        mi_free(chunk);
        usable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_library() {
        let classes = Classes::get();
        assert!(classes.slabs().is_sorted());
        assert_eq!(classes.slabs()[..4], [8, 16, 32, 48]);
        assert_eq!(classes.slabs().last(), Some(&LARGEST));
        for (index, &slab) in classes.slabs().iter().enumerate() {
            assert_eq!(classes.index(slab), Some(index));
            assert_eq!(classes.index(slab + 1), None);
        }
        for size in (1..20_000).chain([100_000, LARGEST - 1, LARGEST]) {
            // SAFETY: the chunk is looked at, then freed.
            unsafe {
                let chunk = mi_malloc(size);
                let usable = mi_usable_size(chunk);
                let expected = match classes.expected(size) {
                    Expected::Class(class) => classes.bytes(class),
                    Expected::Bytes(bytes) => bytes,
                };
                assert_eq!(usable, expected, "{size}");
                assert!(classes.index(usable).is_some(), "{size} gets {usable}");
                let align = if size < QUANTUM { 8 } else { QUANTUM };
                assert!(chunk.addr().is_multiple_of(align), "{size} at {chunk:?}");
                mi_free(chunk);
            }
        }
    }
}
