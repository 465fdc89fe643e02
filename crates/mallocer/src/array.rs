//! Arrays, strings and typed pools in an arena, with handles of one word.
//!
//! The crate `mallocer-array`, with this one's arenas as places for them. Where an array
//! lives is its last type argument; without one it is on the heap of the process that the
//! [preferred](crate::Backend::preferred) backend has.
//!
//! | `Array<T, …>` | lives | words |
//! |---|---|---|
//! | `Array<T>`, `Array<T, global::Malloc>` | on a heap of the process | 1 |
//! | `Array<T, In<Flist>>`, `Array<T, In<SharedFlist>>` | in an arena on flist | 1 |
//! | `Array<T, With<M>>` | in any arena | 2 |
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "flist")] {
//! use mallocer::array::{Array, In, Text};
//! use mallocer::{Arena, Flist};
//!
//! let arena = Arena::<Flist>::builder().capacity(64 << 20).build()?;
//! let mut words = Array::new_in(In::from(&arena));
//! for word in "to be or not".split(' ') {
//!     words.push(Text::from_str_in(word, words.source()));
//! }
//! assert_eq!(words[3], "not");
//! assert_eq!(size_of_val(&words), 8);
//!
//! let numbers: Array<u32> = (0..10).collect();
//! assert_eq!(numbers.iter().sum::<u32>(), 45);
//! # }
//! # Ok::<(), mallocer::BuildError>(())
//! ```

use mallocer_core::{Locate, Mallocer};

pub use mallocer_array::{
    Anywhere, Characters, Drain, In, IntoIter, Key, Near, Placing, Pooled, ReserveError, Source,
    Splice, With,
};

use crate::arena::{Arena, SharedArena};

/// The heap of the process that the preferred backend has.
#[cfg(feature = "flist")]
pub type Preferred = crate::global::Flist;
/// The heap of the process that the preferred backend has.
#[cfg(all(feature = "malloc", not(feature = "flist")))]
pub type Preferred = crate::global::Malloc;
/// The heap of the process that the preferred backend has.
#[cfg(all(feature = "jemalloc", not(any(feature = "flist", feature = "malloc"))))]
pub type Preferred = crate::global::Jemalloc;
/// The heap of the process that the preferred backend has.
#[cfg(all(
    feature = "mimalloc",
    not(any(feature = "flist", feature = "malloc", feature = "jemalloc"))
))]
pub type Preferred = crate::global::Mimalloc;

/// A growable array of one word: [`mallocer_array::Array`], on a heap of the process unless
/// it is said where.
#[cfg(any(feature = "flist", feature = "malloc", feature = "jemalloc", feature = "mimalloc"))]
pub type Array<T, S = Preferred> = mallocer_array::Array<T, S>;
/// A growable string of one word: [`mallocer_array::Text`], on a heap of the process unless
/// it is said where.
#[cfg(any(feature = "flist", feature = "malloc", feature = "jemalloc", feature = "mimalloc"))]
pub type Text<S = Preferred> = mallocer_array::Text<S>;
/// Many values of one type: [`mallocer_array::Pool`], on a heap of the process unless it is
/// said where.
#[cfg(any(feature = "flist", feature = "malloc", feature = "jemalloc", feature = "mimalloc"))]
pub type Pool<T, S = Preferred, R = Anywhere> = mallocer_array::Pool<T, S, R>;
/// The same by keys that are checked: [`mallocer_array::KeyedPool`].
#[cfg(any(feature = "flist", feature = "malloc", feature = "jemalloc", feature = "mimalloc"))]
pub type KeyedPool<T, S = Preferred> = mallocer_array::KeyedPool<T, S>;

#[cfg(not(any(
    feature = "flist",
    feature = "malloc",
    feature = "jemalloc",
    feature = "mimalloc"
)))]
pub use mallocer_array::{Array, KeyedPool, Pool, Text};

impl<'a, M: Locate> From<&'a Arena<M>> for In<'a, M> {
    fn from(arena: &'a Arena<M>) -> In<'a, M> {
        In::new(arena.heap())
    }
}

impl<'a, M: Locate + Send + Sync> From<&'a SharedArena<M>> for In<'a, M> {
    fn from(arena: &'a SharedArena<M>) -> In<'a, M> {
        In::new(arena.heap())
    }
}

impl<'a, M: Mallocer> From<&'a Arena<M>> for With<'a, M> {
    fn from(arena: &'a Arena<M>) -> With<'a, M> {
        With::new(arena.heap())
    }
}

impl<'a, M: Mallocer + Send + Sync> From<&'a SharedArena<M>> for With<'a, M> {
    fn from(arena: &'a SharedArena<M>) -> With<'a, M> {
        With::new(arena.heap())
    }
}
