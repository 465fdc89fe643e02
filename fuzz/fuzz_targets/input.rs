//! What the bytes of an input stand for.

use mallocer_conformance::program::Op;

/// A capacity from the first byte, and a program from every eight bytes after it.
pub fn capacity_and_program(input: &[u8]) -> (usize, Vec<Op>) {
    let (first, rest) = input.split_first().unwrap_or((&0, &[]));
    // From 64 KiB, where most is refused, to 1 GiB, where nothing is.
    let capacity = 1 << (16 + usize::from(*first) % 15);
    let words = rest.chunks_exact(8).map(|word| word.try_into().expect("eight bytes"));
    (capacity, words.map(|word| Op::from_word(u64::from_le_bytes(word))).collect())
}
