//! What a program may tell an arena about how it is going to be used.

use core::fmt;
use core::ops::BitOr;

/// A set of usage hints for an arena.
///
/// A hint changes cost, never meaning: a backend may ignore every one of them.
/// Hints combine with `|`.
///
/// # Examples
///
/// ```
/// use mallocer_core::Hints;
///
/// let hints = Hints::LONG_LIVED | Hints::GROWING;
/// assert!(hints.contains(Hints::GROWING));
/// assert_eq!(hints.to_string(), "long-lived, growing");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Hints(u8);

impl Hints {
    /// No hint at all: the backend's own defaults.
    pub const NONE: Hints = Hints(0);
    /// The arena is filled and released soon: do not spend on compactness.
    pub const SHORT_LIVED: Hints = Hints(1);
    /// The arena lives as long as the program: spend on compactness.
    pub const LONG_LIVED: Hints = Hints(1 << 1);
    /// The arena will grow to many times its first size: commit ahead.
    pub const GROWING: Hints = Hints(1 << 2);
    /// The program overwrites what it gets: no memory needs to be zero.
    pub const NO_ZERO: Hints = Hints(1 << 3);
    /// Latency matters most: prepare more chunks at a time, and back large ones by huge
    /// pages.
    pub const HOT: Hints = Hints(1 << 4);

    const NAMES: [(Hints, &'static str); 5] = [
        (Hints::SHORT_LIVED, "short-lived"),
        (Hints::LONG_LIVED, "long-lived"),
        (Hints::GROWING, "growing"),
        (Hints::NO_ZERO, "do-not-zero"),
        (Hints::HOT, "hot"),
    ];

    /// Whether every hint of `other` is in this set.
    pub const fn contains(self, other: Hints) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Hints {
    type Output = Hints;

    fn bitor(self, other: Hints) -> Hints {
        Hints(self.0 | other.0)
    }
}

impl fmt::Display for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (hint, name) in Hints::NAMES {
            if self.contains(hint) {
                if !first {
                    f.write_str(", ")?;
                }
                f.write_str(name)?;
                first = false;
            }
        }
        if first { f.write_str("none") } else { Ok(()) }
    }
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hints({self})")
    }
}
