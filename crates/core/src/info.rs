//! What an arena says of itself.

use core::fmt;

/// The bytes of an arena.
///
/// ```text
/// alloc ≤ heap ≤ capacity
/// ```
///
/// at every time and on every backend; overhead comes on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Info {
    /// Bytes that the arena may take.
    pub capacity: usize,
    /// Bytes that it, and its children, have taken for pools and extents.
    pub heap: usize,
    /// Of `heap`, the bytes that child arenas have taken.
    pub nested: usize,
    /// Bytes that callers hold, each chunk with its slab size.
    pub alloc: usize,
    /// Bytes of bookkeeping, outside of `heap`.
    pub overhead: usize,
}

impl Info {
    /// The figures of an arena without children, all in bytes.
    pub fn new(capacity: usize, heap: usize, alloc: usize, overhead: usize) -> Info {
        Info { capacity, heap, nested: 0, alloc, overhead }
    }

    /// The same with `nested` bytes of children, which `heap` includes.
    pub fn with_nested(self, nested: usize) -> Info {
        Info { nested, ..self }
    }

    /// The part of the arena's own heap that callers hold, in percent (100 if the
    /// heap is empty).
    pub fn utilization_percent(&self) -> f64 {
        percent(self.alloc, self.heap - self.nested)
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "capacity {}, heap {}, alloc {} ({} %), overhead {}",
            Bytes(self.capacity),
            Bytes(self.heap),
            Bytes(self.alloc),
            Tenths::percent(self.alloc, self.heap - self.nested),
            Bytes(self.overhead)
        )?;
        if self.nested > 0 {
            write!(f, ", nested {}", Bytes(self.nested))?;
        }
        Ok(())
    }
}

/// How one slab of an arena is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SlabUse {
    /// The slab, in bytes.
    pub slab: usize,
    /// Pools (or extents) of this slab.
    pub pools: usize,
    /// Chunks that callers hold.
    pub chunks: usize,
    /// Bytes taken for them.
    pub heap: usize,
    /// Bytes that callers hold.
    pub alloc: usize,
}

impl SlabUse {
    /// How one slab is used: `chunks` held from `pools` that take `heap` bytes.
    pub fn new(slab: usize, pools: usize, chunks: usize, heap: usize, alloc: usize) -> SlabUse {
        SlabUse { slab, pools, chunks, heap, alloc }
    }

    /// The part of the heap of this slab that callers hold, in percent.
    pub fn percent(&self) -> f64 {
        percent(self.alloc, self.heap)
    }
}

impl fmt::Display for SlabUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "slab {}: {} chunks in {} pools, {} of {} ({} %)",
            self.slab,
            self.chunks,
            self.pools,
            Bytes(self.alloc),
            Bytes(self.heap),
            Tenths::percent(self.alloc, self.heap)
        )
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 100.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// A number that displays with one decimal, rounded half up. Whole numbers alone make it: what
/// displays floating-point numbers is 20 KB of code and tables, and libmallocer.so has no other
/// use for it.
struct Tenths {
    whole: u64,
    tenths: u64,
}

impl Tenths {
    /// `part / whole`; `whole` is not 0, and at most 2⁶⁰.
    fn quotient(part: u64, whole: u64) -> Tenths {
        let (quotient, rest) = (part / whole, part % whole);
        let tenths = (rest * 10 + whole / 2) / whole;
        Tenths { whole: quotient + tenths / 10, tenths: tenths % 10 }
    }

    /// As [`percent`], of the same two numbers; the part is not more than the whole.
    fn percent(part: usize, whole: usize) -> Tenths {
        let (mut part, mut whole) = (part as u64, whole as u64);
        // A hundred times as much has room, and 2⁵³ is precise enough for one decimal.
        while part.max(whole) >> 53 > 0 {
            (part, whole) = (part >> 1, whole >> 1);
        }
        if whole == 0 {
            Tenths { whole: 100, tenths: 0 }
        } else {
            Tenths::quotient(part * 100, whole)
        }
    }
}

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.whole, self.tenths)
    }
}

/// A number of bytes that displays with a binary unit: `512 B`, `1.5 KiB`, `1 TiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut unit, mut scale) = ("B", 1usize);
        for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
            if self.0 / scale < 1024 {
                break;
            }
            (unit, scale) = (larger, scale * 1024);
        }
        if self.0.is_multiple_of(scale) {
            write!(f, "{} {unit}", self.0 / scale)
        } else {
            write!(f, "{} {unit}", Tenths::quotient(self.0 as u64, scale as u64))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn bytes_display_with_units() {
        let shown = |bytes| Bytes(bytes).to_string();
        assert_eq!(shown(0), "0 B");
        assert_eq!(shown(1023), "1023 B");
        assert_eq!(shown(1536), "1.5 KiB");
        assert_eq!(shown(1 << 40), "1 TiB");
        assert_eq!(shown(usize::MAX), "16.0 EiB");
    }

    #[test]
    fn one_decimal_is_that_of_floating_point() {
        let near = |shown: Tenths, exact: f64| {
            let shown = shown.whole as f64 + shown.tenths as f64 / 10.0;
            assert!((shown - exact).abs() <= 0.0501 + exact * 1e-12, "{shown} for {exact}");
        };
        let mut number = 1u64;
        for _ in 0..100_000 {
            // Knuth's multiplier; what comes out is as large as it may be, or any smaller.
            number = number.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (part, whole) = ((number >> 4) >> (number % 60), (number >> 7) % 100_000 + 1);
            near(Tenths::quotient(part, whole), part as f64 / whole as f64);
            let (held, heap) = (part.min(whole) as usize, part.max(whole) as usize);
            near(Tenths::percent(held, heap), percent(held, heap));
        }
        assert_eq!(Tenths::percent(0, 0).to_string(), "100.0");
        assert_eq!(Tenths::percent(2, 3).to_string(), "66.7");
        assert_eq!(Tenths::percent(9999, 10000).to_string(), "100.0");
        assert_eq!(Tenths::percent(usize::MAX / 2, usize::MAX).to_string(), "50.0");
    }

    #[test]
    fn info_says_all_four() {
        let info = Info::new(1 << 30, 1 << 20, 1 << 19, 4096);
        let text = info.to_string();
        assert_eq!(text, "capacity 1 GiB, heap 1 MiB, alloc 512 KiB (50.0 %), overhead 4 KiB");
        assert!(info.with_nested(8).to_string().ends_with("nested 8 B"));
    }
}
