//! Making chunks zero, and looking whether they are.
//!
//! Every chunk is made zero when it is freed, and looked at when it is handed out again: that
//! is what most of hardened mode costs. So it is done by the shortest way for each length:
//!
//! | bytes | how |
//! |---|---|
//! | up to 256 | both ends by few instructions without a loop; in the middle they overlap |
//! | up to [`LINES`] | a loop, or the C library's `memset` |
//! | more | cache line by cache line, and only what is not zero is written |
//!
//! The last is for chunks of which the program has used a part only: what it never wrote to
//! is read, but not written, and need not go back to memory. It is some slower for chunks
//! that are full, as long as they are in the cache.

/// From this many bytes on, what is zero already is not written again.
const LINES: usize = 8192;

/// Two words, which are read at once.
type Pair = [u64; 2];
/// A cache line.
type Line = [Pair; 4];

/// All bits of a part of a chunk together.
///
/// # Safety
///
/// It may be read.
#[inline(always)]
unsafe fn bits<const PAIRS: usize>(start: *const u8) -> u64 {
    // SAFETY: the caller's promise.
    let pairs = unsafe { start.cast::<[Pair; PAIRS]>().read_unaligned() };
    let [one, two] = pairs.iter().fold([0; 2], |[one, two], pair| [one | pair[0], two | pair[1]]);
    one | two
}

/// Whether `bytes` bytes are zero: a multiple of 16, at least 32.
///
/// # Safety
///
/// They may be read, and begin at a multiple of 16.
#[inline(always)]
pub(super) unsafe fn are_zero(start: *const u8, bytes: usize) -> bool {
    // SAFETY: the caller's promise; an end is no longer than the whole.
    unsafe {
        match bytes {
            ..=64 => bits::<2>(start) | bits::<2>(start.add(bytes - 32)) == 0,
            65..=128 => bits::<4>(start) | bits::<4>(start.add(bytes - 64)) == 0,
            129..=256 => bits::<8>(start) | bits::<8>(start.add(bytes - 128)) == 0,
            _ => are_many_zero(start, bytes),
        }
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
            any |= bits::<8>(start.add(at));
        }
        any == 0
    }
}

/// Makes `bytes` bytes zero: at least 32.
///
/// # Safety
///
/// They are the caller's, and begin at a multiple of 16.
#[inline(always)]
pub(super) unsafe fn zero(start: *mut u8, bytes: usize) {
    /// Both ends, which together are all of it.
    #[inline(always)]
    unsafe fn ends<const BYTES: usize>(start: *mut u8, bytes: usize) {
        // SAFETY: the caller's promise; an end is no longer than the whole.
        unsafe {
            start.cast::<[u8; BYTES]>().write([0; BYTES]);
            start.add(bytes - BYTES).cast::<[u8; BYTES]>().write([0; BYTES]);
        }
    }
    // SAFETY: the caller's promise.
    unsafe {
        match bytes {
            ..=64 => ends::<32>(start, bytes),
            65..=128 => ends::<64>(start, bytes),
            129..=256 => ends::<128>(start, bytes),
            257..LINES => start.write_bytes(0, bytes),
            _ => zero_lines(start, bytes),
        }
    }
}

/// # Safety
///
/// As [`zero`].
#[inline(never)]
unsafe fn zero_lines(start: *mut u8, bytes: usize) {
    const LINE: usize = size_of::<Line>();
    // SAFETY: the caller's promise; the last line overlaps the one before.
    unsafe {
        let last = bytes - LINE;
        for at in (0..last).step_by(LINE).chain([last]) {
            let line = start.add(at);
            if bits::<4>(line) != 0 {
                line.cast::<[u8; LINE]>().write([0; LINE]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec;

    use super::*;

    /// Lengths of every kind, and what they end with.
    fn lengths() -> impl Iterator<Item = usize> {
        (32..1200).step_by(16).chain([LINES - 16, LINES, LINES + 16, 65536 - 32, 65536])
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
