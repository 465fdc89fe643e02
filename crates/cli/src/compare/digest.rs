//! A digest of the contents of an index, in the order of a scan.
//!
//! With the elements `e₀ … eₙ₋₁`, the digest is
//!
//! ```text
//! D(e₀ … eₙ₋₁) = Σ eᵢ · Bⁿ⁻¹⁻ⁱ  mod 2⁶⁴
//! D(a ‖ b)     = D(a) · B^|b| + D(b)
//! ```
//!
//! so the order counts, and the digests of workers that hold one range of the keys
//! each combine into that of the whole: it does not depend on the number of threads.

/// B: odd, with bits all over.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The digest of a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest {
    hash: u64,
    count: u64,
}

impl Digest {
    /// Adds one element at the end.
    pub(crate) fn push(&mut self, element: u64) {
        self.hash = self.hash.wrapping_mul(BASE).wrapping_add(element);
        self.count += 1;
    }

    /// Adds the sequence of another digest at the end.
    pub(crate) fn append(&mut self, other: Digest) {
        let (mut power, mut base, mut exponent) = (1u64, BASE, other.count);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = power.wrapping_mul(base);
            }
            base = base.wrapping_mul(base);
            exponent >>= 1;
        }
        self.hash = self.hash.wrapping_mul(power).wrapping_add(other.hash);
        self.count += other.count;
    }

    /// The hash of all elements in their order.
    pub(crate) fn hash(self) -> u64 {
        self.hash
    }

    /// How many elements there are.
    pub(crate) fn count(self) -> u64 {
        self.count
    }
}

/// Hashes one element: byte strings and numbers, eight bytes at a time.
///
/// Not meant against an adversary, only to tell contents apart.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Words(u64);

impl Words {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(BASE);
    }

    /// Adds bytes, with their length, so that neighbours do not run together.
    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        let (chunks, rest) = bytes.as_chunks::<8>();
        chunks.iter().for_each(|&chunk| self.add(u64::from_le_bytes(chunk)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.add(u64::from_le_bytes(last));
    }

    /// Adds numbers, with their count.
    pub(crate) fn add_numbers(&mut self, numbers: &[u32]) {
        self.add(numbers.len() as u64);
        numbers.iter().for_each(|&number| self.add(u64::from(number)));
    }

    /// The hash of all that was added.
    pub(crate) fn finish(self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(elements: &[u64]) -> Digest {
        let mut digest = Digest::default();
        elements.iter().for_each(|&element| digest.push(element));
        digest
    }

    #[test]
    fn parts_combine_into_the_whole() {
        let elements: Vec<u64> = (1..100u64).map(|i| i.wrapping_mul(BASE)).collect();
        for cut in 0..=elements.len() {
            let mut parts = digest(&elements[..cut]);
            parts.append(digest(&elements[cut..]));
            assert_eq!(parts, digest(&elements));
        }
    }

    #[test]
    fn order_and_borders_count() {
        assert_ne!(digest(&[1, 2]), digest(&[2, 1]));
        let hash = |parts: &[&[u8]]| {
            let mut words = Words::default();
            parts.iter().for_each(|part| words.add_bytes(part));
            words.finish()
        };
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_ne!(hash(&[b"a"]), hash(&[b"a\0"]));
    }
}
