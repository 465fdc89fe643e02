//! jemalloc's size classes.
//!
//! 8, 16, 32, 48, …, 128, then four to every doubling up to 32 KiB: a request wastes less
//! than a fifth of its chunk. Above, chunks are whole OS pages (unless the option
//! `disable_large_size_classes` is off, then the classes go on). Every chunk has exactly
//! the size that `nallocx` tells, so what a request will take is known before it is made.

use std::sync::OnceLock;

use mallocer_core::MAX_CAPACITY;
use tikv_jemalloc_sys::nallocx;

use crate::ctl::Control;

/// Every chunk of at least so many bytes is aligned to so many bytes.
pub(crate) const QUANTUM: usize = 16;

/// Requests up to so many bytes find their class in a table.
const TABLE_BYTES: usize = 4096;

/// The size classes of the library, read from it once.
pub(crate) struct Classes {
    /// The chunk sizes, ascending, as far as there are classes.
    pub(crate) slabs: Box<[usize]>,
    /// The last of them, in bytes.
    pub(crate) largest: usize,
    /// How many of them are small: cut from slabs of several OS pages.
    pub(crate) small: usize,
    /// The smallest class whose chunks have OS pages of their own, in bytes.
    pub(crate) least_large: usize,
    /// The class of `8 n` bytes in entry `n`.
    table: [u16; TABLE_BYTES / 8 + 1],
}

impl Classes {
    pub(crate) fn get() -> &'static Classes {
        static CLASSES: OnceLock<Classes> = OnceLock::new();
        CLASSES.get_or_init(Classes::read)
    }

    fn read() -> Classes {
        static NBINS: Control<2> = Control::new(b"arenas.nbins\0");
        static BIN_SIZE: Control<4> = Control::new(b"arenas.bin.0.size\0");
        static NLEXTENTS: Control<2> = Control::new(b"arenas.nlextents\0");
        static LEXTENT_SIZE: Control<4> = Control::new(b"arenas.lextent.0.size\0");
        // SAFETY: these are the types of these values.
        let (small, slabs): (usize, Vec<usize>) = unsafe {
            let count = |control: &Control<2>| control.read::<u32>(&[]).unwrap_or(0) as usize;
            let size = |control: &Control<4>, index| {
                control.read::<usize>(&[(2, index)]).expect("every class has a size")
            };
            let mut slabs: Vec<_> = (0..count(&NBINS)).map(|bin| size(&BIN_SIZE, bin)).collect();
            let small = slabs.len();
            slabs.extend((0..count(&NLEXTENTS)).map(|index| size(&LEXTENT_SIZE, index)));
            (small, slabs)
        };
        // A class is one if what is a byte more than the class below gets it.
        let mut below = 0;
        let slabs: Box<[usize]> = slabs
            .into_iter()
            .take_while(|&slab| {
                // SAFETY: the size is not 0.
                let is_class = slab <= MAX_CAPACITY && unsafe { nallocx(below + 1, 0) } == slab;
                below = slab;
                is_class
            })
            .collect();
        assert!(slabs.len() > small && slabs[slabs.len() - 1] >= TABLE_BYTES);
        let mut table = [0; TABLE_BYTES / 8 + 1];
        for (n, entry) in table.iter_mut().enumerate() {
            *entry = slabs[slabs.partition_point(|&slab| slab < n * 8)] as u16;
        }
        Classes { small, least_large: slabs[small], largest: slabs[slabs.len() - 1], slabs, table }
    }

    /// The size of the chunk that `size` bytes (not 0) with these flags come to, or 0
    /// if no chunk is so large. The flags tell of alignments above [`QUANTUM`].
    #[inline]
    pub(crate) fn chunk_bytes(&self, size: usize, flags: i32) -> usize {
        if flags == 0 && size <= TABLE_BYTES {
            usize::from(self.table[size.div_ceil(8)])
        } else {
            // SAFETY: the size is not 0.
            unsafe { nallocx(size, flags) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_library() {
        let classes = Classes::get();
        assert!(classes.slabs.is_sorted());
        assert_eq!(classes.slabs[..4], [8, 16, 32, 48]);
        assert_eq!(classes.slabs.last(), Some(&32_768));
        for size in (1..20_000).chain([32_767, 32_768]) {
            // SAFETY: the size is not 0.
            let class = unsafe { nallocx(size, 0) };
            assert_eq!(classes.chunk_bytes(size, 0), class, "{size}");
            let found = classes.slabs[classes.slabs.partition_point(|&slab| slab < size)];
            assert_eq!(found, class, "{size}");
        }
        assert_eq!(classes.chunk_bytes(32_769, 0), 36_864);
        assert_eq!(classes.chunk_bytes(isize::MAX as usize, 0), 0);
    }
}
