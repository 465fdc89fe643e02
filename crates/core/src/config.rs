//! What an arena is asked to be.

use core::time::Duration;

use crate::budget::Budget;
use crate::callbacks::Callbacks;
use crate::error::ConfigError;
use crate::hints::Hints;
use crate::ladder::Ladder;

/// The largest capacity of an arena: 1 TiB.
pub const MAX_CAPACITY: usize = 1 << 40;

/// How many chunks a pool holds at most, unless [`Config::max_chunks`] says otherwise.
pub const DEFAULT_MAX_CHUNKS: usize = 20_480;

/// What [`Config::max_chunks`] may be at most.
const MOST_CHUNKS: usize = (1 << 16) - 1;

/// What a backend needs to know to open a heap for an arena.
///
/// # Examples
///
/// ```
/// use mallocer_core::{Config, Ladder};
///
/// let mut config = Config::default();
/// config.capacity = 64 << 20;
/// config.ladder = Ladder::between(16, 1 << 20)?;
/// config.check("mine", 16)?;
/// # Ok::<(), mallocer_core::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Bytes that the heap may take at most; default [`MAX_CAPACITY`].
    pub capacity: usize,
    /// What those bytes are drawn from; default unlimited.
    pub parent: Budget,
    /// The slabs. Backends with size classes of their own go by those.
    pub ladder: Ladder,
    /// How the arena is going to be used.
    pub hints: Hints,
    /// The most pools that one slab may have, at least 1; default: as many as fit.
    pub max_pools: usize,
    /// The most chunks that one pool may have, 1 to 65 535; default [`DEFAULT_MAX_CHUNKS`].
    pub max_chunks: usize,
    /// How long empty memory stays with the arena; default: until release.
    pub decay: Option<Duration>,
    /// Who is told when the arena takes memory, gives some back, or has none left.
    pub callbacks: Callbacks,
}

impl Config {
    /// Checks what every backend must check, for a `backend` that needs at least
    /// `minimum` bytes for its smallest chunk.
    ///
    /// # Errors
    ///
    /// [`ConfigError::CapacityTooLarge`], [`ConfigError::CapacityTooSmall`] or
    /// [`ConfigError::OutOfRange`].
    pub fn check(&self, backend: &'static str, minimum: usize) -> Result<(), ConfigError> {
        let requested = self.capacity;
        if requested > MAX_CAPACITY {
            return Err(ConfigError::CapacityTooLarge { requested, limit: MAX_CAPACITY });
        }
        if requested < minimum {
            return Err(ConfigError::CapacityTooSmall { backend, requested, minimum });
        }
        for (name, value, most) in [
            ("max_pools", self.max_pools, usize::MAX),
            ("max_chunks", self.max_chunks, MOST_CHUNKS),
        ] {
            if value == 0 || value > most {
                return Err(ConfigError::OutOfRange { name, value, least: 1, most });
            }
        }
        Ok(())
    }

    /// A budget for this arena: its capacity, drawn from the parent, with the callbacks.
    pub fn budget(&self) -> Budget {
        self.parent.child_with(self.capacity, self.callbacks.clone())
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            capacity: MAX_CAPACITY,
            parent: Budget::UNLIMITED,
            ladder: Ladder::DEFAULT,
            hints: Hints::NONE,
            max_pools: usize::MAX,
            max_chunks: DEFAULT_MAX_CHUNKS,
            decay: None,
            callbacks: Callbacks::none(),
        }
    }
}
