//! The ladder: ascending chunk sizes, and the smallest that holds a request.
//!
//! # The rule
//!
//! The first slab is `max(minblock, alignment)`. From a slab of `s` bytes the next
//! is `s + add` with
//!
//! ```text
//! add = max(alignment, round_up(floor(s × (1 − utilization)), alignment))
//! ```
//!
//! as long as it is below `maxblock`, and `maxblock` itself closes the ladder. So
//! no request above the first few slabs wastes more than about
//! `1 − utilization` of its chunk, and at 0.95 there are 479 slabs from 8 bytes to
//! 1 TiB. The rule is that of the slab allocator in gostore (`package malloc`).
//!
//! How a slab is found is told in `table`.

use alloc::sync::Arc;
use core::fmt;

use crate::config::MAX_CAPACITY;
use crate::error::{AllocError, ConfigError};

use table::WASTE_PARTS;
#[doc(hidden)]
pub use table::{SMALL_BYTES, Table};

/// The most slabs a ladder may have.
pub const MAX_SLABS: usize = 512;

/// The utilization of the default ladder.
pub const DEFAULT_UTILIZATION: f64 = 0.95;

/// Wasted parts of a slab in ten thousand, for [`DEFAULT_UTILIZATION`].
const DEFAULT_WASTE: usize = 500;

/// The position of a slab in its ladder, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlabIndex(u16);

impl SlabIndex {
    /// The slab at position `index`.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`MAX_SLABS`].
    pub const fn new(index: usize) -> SlabIndex {
        assert!(index < MAX_SLABS);
        SlabIndex(index as u16)
    }

    /// The position as a number.
    #[inline]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// The ascending slabs of an arena, and the smallest of them for a request.
///
/// Cheap to clone. The default ladder goes from 8 bytes to 1 TiB in 479 slabs.
///
/// # Examples
///
/// ```
/// use mallocer_core::Ladder;
///
/// let ladder = Ladder::between(96, 1 << 20)?;
/// assert_eq!(ladder.slabs().len(), 183);
/// assert_eq!(ladder.slabs()[..2], [96, 104]);
///
/// // A ladder given whole: alignment decides which slab serves.
/// let ladder = Ladder::from_slabs(&[70, 72, 96])?;
/// assert_eq!(ladder.slab_size(ladder.find(67, 2).unwrap()), 70);
/// assert_eq!(ladder.slab_size(ladder.find(67, 8).unwrap()), 72);
/// # Ok::<(), mallocer_core::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Ladder(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static Table),
    Shared(Arc<Table>),
}

static DEFAULT_8: Table = Table::by_rule(0, MAX_CAPACITY, 8, DEFAULT_WASTE, MAX_SLABS);
static DEFAULT_16: Table = Table::by_rule(0, MAX_CAPACITY, 16, DEFAULT_WASTE, MAX_SLABS);

static QUARTERS: Table = Table::by_doublings(16, 4);

impl Ladder {
    /// Four slabs for every doubling, from 16 bytes to 1 TiB at alignment 16: 16, 32, 48, 64,
    /// 80, 96, 112, 128, 160, 192, … Between 4 and 64 KiB, those that are no power of two are a
    /// cache line longer, so that their chunks do not all begin at the same place of an OS page.
    /// Behind 4, 8, 16 and 32 KiB there is one for as much with a header of up to a sixteenth of it, as
    /// databases have on the pages in their caches.
    ///
    /// A third as many slabs as by the rule, each of which wastes up to a fifth of a chunk. For
    /// programs whose chunks are of many sizes and few of each: what a slab costs before it is
    /// well used is then more than what rounding costs.
    pub const QUARTERS: Ladder = Ladder(Repr::Static(&QUARTERS));

    /// The 0.95 ladder from 16 bytes to 1 TiB at alignment 16, as C programs need.
    pub const ALIGNED_16: Ladder = Ladder(Repr::Static(&DEFAULT_16));

    /// The 0.95 ladder from 8 bytes to 1 TiB at alignment 8.
    pub const DEFAULT: Ladder = Ladder(Repr::Static(&DEFAULT_8));

    /// The ladder from `minblock` to `maxblock` bytes, alignment 8, utilization 0.95.
    ///
    /// # Errors
    ///
    /// As [`LadderBuilder::build`].
    pub fn between(minblock: usize, maxblock: usize) -> Result<Ladder, ConfigError> {
        Ladder::builder().min(minblock).max(maxblock).build()
    }

    /// Sets bounds, alignment and utilization one by one.
    pub fn builder() -> LadderBuilder {
        LadderBuilder {
            min: 0,
            max: MAX_CAPACITY,
            alignment: 8,
            utilization: DEFAULT_UTILIZATION,
            max_slabs: MAX_SLABS,
        }
    }

    /// A ladder of exactly these slabs, in bytes, ascending.
    ///
    /// Sizes need not be multiples of anything: a chunk is aligned to the largest
    /// power of two that divides its slab, and a request goes to the first slab
    /// that is both large and aligned enough.
    ///
    /// # Errors
    ///
    /// [`ConfigError::EmptyLadder`], [`ConfigError::UnsortedLadder`],
    /// [`ConfigError::SlabOutOfRange`] or [`ConfigError::TooManySlabs`].
    pub fn from_slabs(slabs: &[usize]) -> Result<Ladder, ConfigError> {
        if slabs.is_empty() {
            return Err(ConfigError::EmptyLadder);
        }
        if slabs.len() > MAX_SLABS {
            return Err(ConfigError::TooManySlabs { count: slabs.len(), limit: MAX_SLABS });
        }
        let mut table = Table::EMPTY;
        let mut previous = 0;
        for (position, &value) in slabs.iter().enumerate() {
            if value == 0 || value > MAX_CAPACITY {
                return Err(ConfigError::SlabOutOfRange { position, value, limit: MAX_CAPACITY });
            }
            if value <= previous {
                return Err(ConfigError::UnsortedLadder { position, previous, value });
            }
            previous = value;
            table.slabs[position] = value;
        }
        table.count = slabs.len();
        Ok(Ladder(Repr::Shared(Arc::new(table.indexed()))))
    }

    /// The slabs in bytes, ascending.
    #[inline]
    pub fn slabs(&self) -> &[usize] {
        let table = self.table();
        &table.slabs[..table.count]
    }

    /// The size in bytes of the slab at `index`.
    #[inline]
    pub fn slab_size(&self, index: SlabIndex) -> usize {
        self.table().slabs[index.get()]
    }

    /// The largest slab, in bytes.
    pub fn largest(&self) -> usize {
        self.table().slabs[self.table().count - 1]
    }

    /// The power of two that divides every slab: every chunk is aligned at least so.
    #[inline]
    pub fn alignment(&self) -> usize {
        self.table().alignment
    }

    /// The smallest slab that holds `size` bytes and is a multiple of `align`.
    ///
    /// A `size` of 0 counts as 1. `align` must be a power of two, in bytes. `None`
    /// if no slab is large or aligned enough.
    #[inline]
    pub fn find(&self, size: usize, align: usize) -> Option<SlabIndex> {
        let table = self.table();
        let index = table.first_at_least(size);
        if align > table.alignment || index == table.count {
            return table.first_multiple(index, align);
        }
        Some(SlabIndex(index as u16))
    }

    /// The position of the slab of exactly `size` bytes.
    ///
    /// # Errors
    ///
    /// [`AllocError::NoSuchSlab`] with the nearest slabs.
    pub fn position(&self, size: usize) -> Result<SlabIndex, AllocError> {
        let slabs = self.slabs();
        slabs.binary_search(&size).map(SlabIndex::new).map_err(|at| AllocError::NoSuchSlab {
            requested: size,
            below: at.checked_sub(1).map_or(0, |below| slabs[below]),
            above: *slabs.get(at).unwrap_or(&self.largest()),
        })
    }

    /// Each slab with what it costs, from the smallest.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = Step> + '_ {
        self.slabs().iter().enumerate().map(|(index, &size)| {
            let least = if index == 0 { 1 } else { self.slabs()[index - 1] + 1 };
            Step { size, least }
        })
    }

    #[inline]
    fn table(&self) -> &Table {
        match &self.0 {
            Repr::Static(table) => table,
            Repr::Shared(table) => table,
        }
    }

    /// The lookup tables, at an address that is stable as long as a clone lives.
    ///
    /// For engines that look up on their fast path without the branch on where
    /// the ladder is kept.
    #[doc(hidden)]
    pub fn lookup(&self) -> &Table {
        self.table()
    }
}

impl Default for Ladder {
    fn default() -> Ladder {
        Ladder::DEFAULT
    }
}

impl PartialEq for Ladder {
    fn eq(&self, other: &Ladder) -> bool {
        self.slabs() == other.slabs()
    }
}

impl fmt::Debug for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Ladder({} slabs, {} to {} bytes, alignment {})",
            self.slabs().len(),
            self.slabs()[0],
            self.largest(),
            self.alignment()
        )
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Ladder {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.slabs().serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Ladder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Ladder, D::Error> {
        let slabs = alloc::vec::Vec::<usize>::deserialize(deserializer)?;
        Ladder::from_slabs(&slabs).map_err(serde::de::Error::custom)
    }
}

/// One slab of a ladder, and the requests it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Step {
    /// The slab, in bytes.
    pub size: usize,
    /// The smallest request that it serves (at alignment 1), in bytes.
    pub least: usize,
}

impl Step {
    /// The largest part of a chunk of this slab that one request can waste, in percent.
    pub fn worst_waste_percent(&self) -> f64 {
        (self.size - self.least) as f64 * 100.0 / self.size as f64
    }

    /// The wasted part, in percent, if requests are spread evenly over the step.
    pub fn mean_waste_percent(&self) -> f64 {
        self.worst_waste_percent() / 2.0
    }
}

/// Builds a [`Ladder`] by the rule of this module. See [`Ladder::builder`].
#[derive(Clone, Debug)]
pub struct LadderBuilder {
    min: usize,
    max: usize,
    alignment: usize,
    utilization: f64,
    max_slabs: usize,
}

impl LadderBuilder {
    /// The smallest block in bytes, a multiple of the alignment; 0 stands for one
    /// alignment. Default 0.
    pub fn min(mut self, minblock: usize) -> Self {
        self.min = minblock;
        self
    }

    /// The largest block in bytes, a multiple of the alignment. Default 1 TiB.
    pub fn max(mut self, maxblock: usize) -> Self {
        self.max = maxblock;
        self
    }

    /// What every slab is a multiple of: 8 or 16 bytes. Default 8.
    pub fn alignment(mut self, alignment: usize) -> Self {
        self.alignment = alignment;
        self
    }

    /// Which part of a chunk is used at least, from 0.5 to 0.999. Default 0.95.
    pub fn utilization(mut self, utilization: f64) -> Self {
        self.utilization = utilization;
        self
    }

    /// The most slabs the ladder may have, at most and by default [`MAX_SLABS`].
    pub fn max_slabs(mut self, max_slabs: usize) -> Self {
        self.max_slabs = max_slabs;
        self
    }

    /// Builds the ladder.
    ///
    /// # Errors
    ///
    /// [`ConfigError::LadderAlignment`], [`ConfigError::Utilization`],
    /// [`ConfigError::UnalignedBound`], [`ConfigError::MinAboveMax`],
    /// [`ConfigError::SlabOutOfRange`], [`ConfigError::OutOfRange`] for `max_slabs`,
    /// or [`ConfigError::TooManySlabs`].
    pub fn build(&self) -> Result<Ladder, ConfigError> {
        let &LadderBuilder { min, max, alignment, utilization, max_slabs } = self;
        if alignment != 8 && alignment != 16 {
            return Err(ConfigError::LadderAlignment { value: alignment });
        }
        if !(0.5..=0.999).contains(&utilization) {
            return Err(ConfigError::Utilization { value: utilization });
        }
        if max_slabs == 0 || max_slabs > MAX_SLABS {
            return Err(ConfigError::OutOfRange {
                name: "max_slabs",
                value: max_slabs,
                least: 1,
                most: MAX_SLABS,
            });
        }
        for (name, value) in [("minblock", min), ("maxblock", max)] {
            if !value.is_multiple_of(alignment) {
                let remedy = value.saturating_add(alignment - value % alignment);
                return Err(ConfigError::UnalignedBound { name, value, alignment, remedy });
            }
        }
        if min > max {
            return Err(ConfigError::MinAboveMax { min, max });
        }
        if max == 0 || max > MAX_CAPACITY {
            return Err(ConfigError::SlabOutOfRange {
                position: 0,
                value: max,
                limit: MAX_CAPACITY,
            });
        }
        let waste = ((1.0 - utilization) * WASTE_PARTS as f64 + 0.5) as usize;
        let table = Table::by_rule(min, max, alignment, waste, max_slabs);
        if table.count > max_slabs {
            return Err(ConfigError::TooManySlabs { count: table.count, limit: max_slabs });
        }
        Ok(Ladder(Repr::Shared(Arc::new(table))))
    }
}

mod table;

#[cfg(test)]
mod tests;
