//! The chunk sizes of the C library.
//!
//! glibc on 64 bits puts a header of 8 bytes in front of each chunk, and lets the
//! chunk use the first 8 bytes of its neighbour, which that one needs only when this
//! one is free. Chunks with their header are multiples of 16 bytes, at least 32:
//!
//! ```text
//! │ size │ usable …………………………………………… │ size │ usable …
//! └──8───┴── 24, 40, 56, … 16 n + 8 ──┘
//! ```
//!
//! From the mmap threshold on (128 KiB at first; it grows by itself up to 32 MiB as
//! such chunks are freed) a chunk is a mapping of its own, in whole OS pages.
//!
//! Elsewhere the sizes are measured.

use std::sync::OnceLock;

/// Every chunk address is a multiple of this, in bytes: two words.
pub(crate) const GRAIN: usize = 2 * size_of::<usize>();

/// Bytes of a chunk that the C library keeps for itself.
pub(crate) const HEADER: usize = size_of::<usize>();

/// Where glibc begins to map chunks one by one, in bytes, before it adapts.
const MMAP_THRESHOLD: usize = 128 << 10;

/// The bytes that a chunk for a request of `size` can be expected to have.
///
/// A guess to charge by: the C library may give more, and is asked how much.
#[inline]
pub(crate) const fn expected_usable(size: usize) -> usize {
    if cfg!(target_env = "gnu") {
        let chunk = (size + HEADER).next_multiple_of(GRAIN);
        if chunk < 2 * GRAIN { 2 * GRAIN - HEADER } else { chunk - HEADER }
    } else if size == 0 {
        1
    } else {
        size
    }
}

/// A bound on what a chunk for a request of `size` can have, in bytes.
///
/// glibc leaves up to two grains in a chunk rather than splitting off less than it can
/// use, and rounds mappings up to whole OS pages.
pub(crate) fn most_usable(size: usize) -> usize {
    static GRANULE: OnceLock<usize> = OnceLock::new();
    let granule = *GRANULE.get_or_init(|| {
        // Larger than the mmap threshold can become: always a mapping of its own,
        // from which nothing is touched but its header.
        let size = (64 << 20) + 1;
        usable_of_fresh(size).map_or(4096, |usable| usable - size + 2 * HEADER)
    });
    expected_usable(size) + 2 * GRAIN + granule
}

/// The sizes of all chunks below the mmap threshold, in bytes, ascending.
pub(crate) fn slabs() -> &'static [usize] {
    static SLABS: OnceLock<Box<[usize]>> = OnceLock::new();
    SLABS.get_or_init(|| {
        let next = |&slab: &usize| {
            let usable = if cfg!(target_env = "gnu") {
                Some(expected_usable(slab + 1))
            } else {
                usable_of_fresh(slab + 1)
            };
            usable.filter(|&usable| usable + 2 * HEADER <= MMAP_THRESHOLD)
        };
        std::iter::successors(next(&0), next).collect()
    })
}

/// What a chunk for a request of `size` has, tried out.
fn usable_of_fresh(size: usize) -> Option<usize> {
    // SAFETY: the chunk is measured and freed right away; free takes null.
    unsafe {
        let chunk = libc::malloc(size);
        let usable = (!chunk.is_null()).then(|| libc::malloc_usable_size(chunk));
        libc::free(chunk);
        usable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_are_those_of_the_c_library() {
        let slabs = slabs();
        assert!(slabs.is_sorted() && slabs.len() > 100);
        if cfg!(target_env = "gnu") {
            assert_eq!(slabs[..3], [24, 40, 56]);
            assert_eq!(slabs.last(), Some(&131_048));
        }
        for size in 0..=100_000 {
            // SAFETY: the chunk is measured and freed right away.
            let usable = unsafe {
                let chunk = libc::malloc(size);
                let usable = libc::malloc_usable_size(chunk);
                libc::free(chunk);
                usable
            };
            assert!(slabs.binary_search(&usable).is_ok(), "{size} gets {usable}");
            assert!(expected_usable(size) <= usable && usable <= most_usable(size));
        }
    }

    #[test]
    fn mapped_chunks_stay_within_the_bound() {
        for size in [1 << 20, (33 << 20) + 1, (40 << 20) - 1, 100 << 20] {
            let usable = usable_of_fresh(size).unwrap();
            assert!(expected_usable(size) <= usable + HEADER && usable <= most_usable(size));
        }
    }
}
