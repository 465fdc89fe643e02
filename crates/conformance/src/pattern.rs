//! Bytes written all over a chunk, by which a change of any of them is found.
//!
//! A pattern is 251 bytes made from a seed and repeated to the end of the chunk.
//! The period is a prime, so memory that is moved or mapped twice at a distance of
//! a power of two does not match itself. No byte of it is zero, so memory that
//! should be zero and was used before is told apart. Repeating makes both writing
//! and comparing a matter of `memcpy` and `memcmp`: in a debug build, too, a chunk
//! of megabytes costs less than a millisecond.

use core::ptr::NonNull;
use core::slice;

use crate::random::Random;

const PERIOD: usize = 251;

/// The first `len` bytes of the period that belongs to `seed`.
fn period(seed: u64, len: usize) -> [u8; PERIOD] {
    let mut random = Random::new(seed);
    let mut bytes = [0; PERIOD];
    for word in bytes[..len].chunks_mut(8) {
        // Each byte gets a lowest bit of one: it is never zero.
        let random = (random.word() | 0x0101_0101_0101_0101).to_le_bytes();
        word.copy_from_slice(&random[..word.len()]);
    }
    bytes
}

/// Writes the pattern of `seed` over `len` bytes.
///
/// # Safety
///
/// `start` is valid for writes of `len` bytes that nobody else uses.
pub(crate) unsafe fn fill(start: NonNull<u8>, len: usize, seed: u64) {
    let head = PERIOD.min(len);
    // SAFETY: every copy stays within `len` bytes, and each reads only bytes below
    // `done`, which are written, into bytes from `done` on.
    unsafe {
        start.copy_from_nonoverlapping(NonNull::from(&period(seed, head)).cast(), head);
        let mut done = head;
        while done < len {
            // A multiple of the period, so that the copy continues the pattern.
            let count = (done / PERIOD * PERIOD).min(len - done);
            start.add(done).copy_from_nonoverlapping(start, count);
            done += count;
        }
    }
}

/// Finds the first byte of `len` that is not the pattern of `seed`: its offset,
/// what it is, and what it should be.
///
/// # Safety
///
/// `start` is valid for reads of `len` bytes, which are initialised and which
/// nobody writes meanwhile.
pub(crate) unsafe fn difference(
    start: NonNull<u8>,
    len: usize,
    seed: u64,
) -> Option<(usize, u8, u8)> {
    // SAFETY: as the caller promises.
    let bytes = unsafe { slice::from_raw_parts(start.as_ptr(), len) };
    let head = PERIOD.min(len);
    let period = period(seed, head);
    if bytes[..head] == period[..head] && bytes[head..] == bytes[..len - head] {
        return None;
    }
    let at = (0..len).find(|&at| bytes[at] != period[at % PERIOD])?;
    Some((at, bytes[at], period[at % PERIOD]))
}

/// Finds the first byte of `len` that is not zero: its offset and what it is.
///
/// # Safety
///
/// As [`difference`].
pub(crate) unsafe fn nonzero(start: NonNull<u8>, len: usize) -> Option<(usize, u8)> {
    // SAFETY: as the caller promises.
    let bytes = unsafe { slice::from_raw_parts(start.as_ptr(), len) };
    let (first, rest) = bytes.split_first()?;
    if *first == 0 && *rest == bytes[..len - 1] {
        return None;
    }
    let at = bytes.iter().position(|&byte| byte != 0)?;
    Some((at, bytes[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_is_found() {
        for len in [0, 1, 8, 250, 251, 252, 502, 503, 4096, 100_003] {
            let mut bytes = vec![0u8; len];
            let start = NonNull::new(bytes.as_mut_ptr()).unwrap();
            // SAFETY: the vector holds `len` initialised bytes.
            unsafe {
                assert_eq!(nonzero(start, len), None);
                fill(start, len, 42);
                assert_eq!(difference(start, len, 42), None);
                assert_eq!(difference(start, len, 43).is_some(), len > 0, "length {len}");
                for at in [0, len / 2, len.saturating_sub(1)] {
                    if at < len {
                        let good = start.add(at).read();
                        assert_ne!(good, 0);
                        start.add(at).write(good ^ 0x40);
                        assert_eq!(difference(start, len, 42), Some((at, good ^ 0x40, good)));
                        start.add(at).write(good);
                        fill(start, len, 42);
                    }
                }
            }
        }
    }

    #[test]
    fn any_nonzero_byte_is_found() {
        let mut bytes = [0u8; 1000];
        for at in [0, 1, 500, 999] {
            bytes[at] = 9;
            let start = NonNull::from(&mut bytes).cast();
            // SAFETY: the array holds 1000 initialised bytes.
            assert_eq!(unsafe { nonzero(start, 1000) }, Some((at, 9)));
            bytes[at] = 0;
        }
    }
}
