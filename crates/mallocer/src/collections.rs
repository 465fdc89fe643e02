//! Collections that live in an arena.
//!
//! `Vec` and `Box` are those of allocator-api2 0.2, the maps those of hashbrown, so
//! they fit every crate that takes them. All of them take `&arena` of an
//! [`Arena`](crate::Arena), or a clone of a [`SharedArena`](crate::SharedArena).
//!
//! ```
//! use mallocer::Arena;
//! use mallocer::collections::{HashMap, Vec};
//!
//! let arena = Arena::new(64 << 20)?;
//! let mut postings = HashMap::new_in(&arena);
//! for (position, word) in "to be or not to be".split(' ').enumerate() {
//!     postings.entry(word).or_insert_with(|| Vec::new_in(&arena)).push(position);
//! }
//! assert_eq!(postings["be"], [1, 5]);
//! # Ok::<(), mallocer::BuildError>(())
//! ```

pub use allocator_api2::boxed::Box;
pub use allocator_api2::vec::Vec;
use hashbrown::DefaultHashBuilder;

/// hashbrown's `HashMap` with the allocator `A`.
pub type HashMap<K, V, A, S = DefaultHashBuilder> = hashbrown::HashMap<K, V, S, A>;

/// hashbrown's `HashSet` with the allocator `A`.
pub type HashSet<T, A, S = DefaultHashBuilder> = hashbrown::HashSet<T, S, A>;
