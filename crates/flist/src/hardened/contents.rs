//! Making chunks zero, and looking whether they are.
//!
//! Every chunk is made zero when it is freed, and looked at when it is handed out again: that
//! is what most of hardened mode costs. So it is done by the shortest way for each length:
//!
//! | bytes | how |
//! |---|---|
//! | up to [`SHORT`] | both ends by few instructions without a loop; in the middle they overlap |
//! | up to [`BLOCKS`] | a loop, or the C library's `memset` |
//! | more | block by block, and only a block that is not all zero is written |
//!
//! The last is for chunks of which the program has used a part only: what it never wrote to
//! is read, but not written, and need not go back to memory. It is some slower for chunks
//! that are full, as long as they are in the cache.

use super::canary::{HEADER, MARKED, TAIL};

/// From this many bytes on, what is zero already is not written again.
const BLOCKS: usize = 8192;

/// Nothing is shorter: a chunk is longer than header and tail together.
pub(super) const LEAST: usize = 64;
const _: () = assert!((HEADER + TAIL + 1).next_multiple_of(16) - MARKED >= LEAST);

/// Up to this many no loop is needed.
pub(super) const SHORT: usize = 256;

/// What is looked at before any of it is written.
const BLOCK: usize = 256;

/// Bytes that are read at once.
const WIDE: usize = 16;

/// They themselves. On x86-64 named as what they are: left to itself, the
/// compiler reads them in halves where several branches need the same.
#[cfg(target_arch = "x86_64")]
mod wide {
    use core::arch::x86_64 as arch;

    pub(super) type Wide = arch::__m128i;

    #[inline(always)]
    pub(super) fn or(one: Wide, other: Wide) -> Wide {
        // SAFETY: every x86-64 has SSE2.
        unsafe { arch::_mm_or_si128(one, other) }
    }

    /// Both halves together.
    #[inline(always)]
    pub(super) fn fold(wide: Wide) -> u64 {
        // SAFETY: as above.
        unsafe { arch::_mm_cvtsi128_si64(or(wide, arch::_mm_unpackhi_epi64(wide, wide))) as u64 }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod wide {
    pub(super) type Wide = [u64; 2];

    pub(super) fn or(one: Wide, other: Wide) -> Wide {
        [one[0] | other[0], one[1] | other[1]]
    }

    pub(super) fn fold(wide: Wide) -> u64 {
        wide[0] | wide[1]
    }
}

/// All bits of a part of a chunk together.
///
/// # Safety
///
/// It may be read.
#[inline(always)]
unsafe fn bits<const WIDES: usize>(start: *const u8) -> wide::Wide {
    // SAFETY: the caller's promise.
    let part = |at| unsafe { start.cast::<wide::Wide>().add(at).read_unaligned() };
    (1..WIDES).fold(part(0), |all, at| wide::or(all, part(at)))
}

/// Whether `bytes` bytes are zero: a multiple of 16, at least 64.
///
/// # Safety
///
/// They may be read, and begin at a multiple of 16.
#[inline(always)]
pub(super) unsafe fn are_zero(start: *const u8, bytes: usize) -> bool {
    // SAFETY: passed on.
    unsafe { are_zero_and(0, start, bytes) }
}

/// The same, and `any` is zero, too.
///
/// # Safety
///
/// As [`are_zero`].
#[inline(always)]
pub(super) unsafe fn are_zero_and(any: u64, start: *const u8, bytes: usize) -> bool {
    debug_assert!(bytes >= LEAST);
    // SAFETY: the caller's promise; an end is no longer than the whole.
    unsafe {
        match bytes {
            ..=SHORT => are_few_zero_and(any, start, bytes),
            _ => any == 0 && are_many_zero(start, bytes),
        }
    }
}

/// The same for up to [`SHORT`] bytes.
///
/// # Safety
///
/// As [`are_zero`].
#[inline(always)]
pub(super) unsafe fn are_few_zero_and(any: u64, start: *const u8, bytes: usize) -> bool {
    // SAFETY: the caller's promise; an end is no longer than the whole.
    unsafe {
        let all = if bytes <= 128 {
            wide::or(bits::<4>(start), bits::<4>(start.add(bytes - 64)))
        } else {
            wide::or(bits::<8>(start), bits::<8>(start.add(bytes - 128)))
        };
        any | wide::fold(all) == 0
    }
}

/// # Safety
///
/// As [`are_zero`].
#[inline(never)]
unsafe fn are_many_zero(start: *const u8, bytes: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let mut any = bits::<8>(start.add(bytes - 128));
        for at in (0..bytes - 127).step_by(128) {
            any = wide::or(any, bits::<8>(start.add(at)));
        }
        wide::fold(any) == 0
    }
}

/// Makes `bytes` bytes zero: at least 64.
///
/// # Safety
///
/// They are the caller's, and begin at a multiple of 16.
#[inline(always)]
pub(super) unsafe fn zero(start: *mut u8, bytes: usize) {
    // SAFETY: passed on.
    unsafe {
        if bytes <= SHORT {
            zero_few(start, bytes);
        } else if bytes < BLOCKS {
            start.write_bytes(0, bytes);
        } else {
            zero_blocks(start, bytes);
        }
    }
}

/// The same for up to [`SHORT`] bytes.
///
/// # Safety
///
/// As [`zero`].
#[inline(always)]
pub(super) unsafe fn zero_few(start: *mut u8, bytes: usize) {
    /// Both ends, which together are all of it.
    #[inline(always)]
    unsafe fn ends<const BYTES: usize>(start: *mut u8, bytes: usize) {
        // SAFETY: the caller's promise; an end is no longer than the whole.
        unsafe {
            start.cast::<[u8; BYTES]>().write([0; BYTES]);
            start.add(bytes - BYTES).cast::<[u8; BYTES]>().write([0; BYTES]);
        }
    }
    debug_assert!((LEAST..=SHORT).contains(&bytes));
    // SAFETY: the caller's promise.
    unsafe { if bytes <= 128 { ends::<64>(start, bytes) } else { ends::<128>(start, bytes) } }
}

/// # Safety
///
/// As [`zero`].
#[inline(never)]
unsafe fn zero_blocks(start: *mut u8, bytes: usize) {
    #[inline(always)]
    unsafe fn zero_block(block: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            if wide::fold(bits::<{ BLOCK / WIDE }>(block)) != 0 {
                block.cast::<[u8; BLOCK]>().write([0; BLOCK]);
            }
        }
    }
    // SAFETY: the caller's promise; the last block overlaps the one before.
    unsafe {
        let last = bytes - BLOCK;
        let mut at = 0;
        while at < last {
            zero_block(start.add(at));
            at += BLOCK;
        }
        zero_block(start.add(last));
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec;

    use super::*;

    /// Lengths of every kind, and what they end with.
    fn lengths() -> impl Iterator<Item = usize> {
        (LEAST..1200).step_by(16).chain([BLOCKS - 16, BLOCKS, BLOCKS + 16, 65536 - 32, 65536])
    }

    #[test]
    fn each_byte_counts_and_none_beside() {
        for bytes in lengths() {
            let mut memory = vec![0u128; bytes / 16 + 2];
            let base = memory.as_mut_ptr().cast::<u8>();
            // SAFETY: one unit is on either side of the bytes.
            unsafe {
                let start = base.add(16);
                base.add(15).write(1);
                start.add(bytes).write(1);
                assert!(are_zero(start, bytes));
                let step = if bytes > 2048 { 97 } else { 1 };
                for at in (0..bytes).step_by(step).chain([bytes - 1]) {
                    start.add(at).write(1 << (at % 8));
                    assert!(!are_zero(start, bytes), "{at} of {bytes}");
                    start.add(at).write(0);
                }
            }
        }
    }

    #[test]
    fn all_of_it_is_zero_and_nothing_beside() {
        for bytes in lengths() {
            for step in [1, 200] {
                let mut memory = vec![u128::MAX; bytes / 16 + 2];
                if step > 1 {
                    memory.fill(0);
                    memory.iter_mut().step_by(step).for_each(|unit| *unit = 1);
                    *memory.last_mut().expect("it is not empty") = u128::MAX;
                    memory[0] = u128::MAX;
                }
                // SAFETY: one unit is on either side of the bytes.
                unsafe { zero(memory.as_mut_ptr().add(1).cast(), bytes) };
                let (first, rest) = memory.split_first().expect("it is not empty");
                let (last, middle) = rest.split_last().expect("it is longer");
                assert_eq!((*first, *last), (u128::MAX, u128::MAX));
                assert!(middle.iter().all(|&unit| unit == 0), "{bytes}");
            }
        }
    }
}
