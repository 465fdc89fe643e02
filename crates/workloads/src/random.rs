//! Random numbers, and the sizes that workloads ask for.

use std::alloc::Layout;

/// A fast sequence of random numbers: xorshift64* (Vigna 2016).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`, which is not 0.
    ///
    /// # Panics
    ///
    /// If it is.
    pub fn new(seed: u64) -> Random {
        assert!(seed != 0, "xorshift stays at 0 for ever; give another seed");
        Random(seed)
    }

    /// A number below `bound`, which is at most 2³².
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * bound as u64) >> 32) as usize
    }
}

/// The size of workloads with one size: 96 bytes, a small tree node.
pub(crate) const NODE_BYTES: usize = 96;

/// Which sizes a workload asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// 96 bytes.
    Fixed,
    /// Any from 16 to 1024 bytes, all as likely.
    Mixed,
    /// From 16 bytes to 64 KiB by Pareto's law with exponent 1.2: nine of ten are below
    /// 128 bytes, and the few large ones hold half of the memory.
    Pareto,
}

/// How many sizes are drawn in advance for [`Sizes::Pareto`].
const DRAWN: usize = 4096;

/// Gives sizes by their law, without arithmetic that would be measured.
#[derive(Clone, Debug)]
pub(crate) struct Drawer {
    sizes: Sizes,
    /// The law's quantiles, for [`Sizes::Pareto`].
    quantiles: Vec<u32>,
}

impl Drawer {
    pub(crate) fn new(sizes: Sizes) -> Drawer {
        let quantiles = match sizes {
            Sizes::Pareto => (0..DRAWN).map(quantile).collect(),
            Sizes::Fixed | Sizes::Mixed => Vec::new(),
        };
        Drawer { sizes, quantiles }
    }

    /// The next size, in bytes.
    #[inline]
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        match self.sizes {
            Sizes::Fixed => NODE_BYTES,
            Sizes::Mixed => 16 + random.below(1009),
            Sizes::Pareto => self.quantiles[random.below(DRAWN)] as usize,
        }
    }
}

/// The size that `rank` of [`DRAWN`] sizes are below.
fn quantile(rank: usize) -> u32 {
    let above = 1.0 - (rank as f64 + 0.5) / DRAWN as f64;
    (16.0 * above.powf(-1.0 / 1.2)).min(65536.0) as u32
}

/// The layout of every chunk: `size` bytes, aligned to 8.
#[inline(always)]
pub(crate) fn layout(size: usize) -> Layout {
    debug_assert!(Layout::from_size_align(size, 8).is_ok());
    // SAFETY: 8 is a power of two, and workloads ask for some hundred MiB at most.
    unsafe { Layout::from_size_align_unchecked(size, 8) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(sizes: Sizes) -> Vec<usize> {
        let (drawer, mut random) = (Drawer::new(sizes), Random::new(1));
        let mut drawn: Vec<usize> = (0..100_000).map(|_| drawer.draw(&mut random)).collect();
        drawn.sort_unstable();
        drawn
    }

    #[test]
    fn mixed_sizes_reach_both_ends() {
        let drawn = drawn(Sizes::Mixed);
        assert_eq!((drawn[0], drawn[99_999]), (16, 1024));
    }

    #[test]
    fn pareto_sizes_are_small_but_for_a_heavy_tail() {
        let drawn = drawn(Sizes::Pareto);
        assert_eq!(drawn[0], 16);
        assert!(drawn[90_000] < 128, "{}", drawn[90_000]);
        assert!(drawn[99_999] > 10_000, "{}", drawn[99_999]);
        let bytes = |part: &[usize]| part.iter().sum::<usize>() as f64;
        let share = bytes(&drawn[90_000..]) / bytes(&drawn);
        assert!((0.4..0.7).contains(&share), "the largest tenth has {share}");
    }
}
