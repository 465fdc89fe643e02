//! Heaps around heaps: counting, and looking closely, for those who ask for it by type.
//!
//! `Arena<Counted<Flist>>` counts, `Arena<Flist>` does not: what is not asked for is not
//! compiled, and its fast paths have the instructions that they have anyway
//! (`.ci/options.sh` compares them). Both go around any backend, and around each other.
//!
//! | | |
//! |---|---|
//! | [`Counted`] | how often each method was called, how many bytes, the peak |
//! | [`Traced`] | every chunk that is out, on any backend: wrong frees panic, freed memory is overwritten, leaks are listed |
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "flist")] {
//! use mallocer::debug::Counted;
//! use mallocer::{Arena, Flist};
//! use mallocer::collections::Vec;
//!
//! let arena = Arena::<Counted<Flist>>::builder().capacity(1 << 20).build()?;
//! let mut numbers = Vec::new_in(&arena);
//! numbers.extend(0..1000u32);
//! drop(numbers);
//! let counts = arena.heap().counts();
//! assert_eq!((counts.allocs, counts.frees), (1, 1));
//! println!("{counts}");
//! # }
//! # Ok::<(), mallocer::BuildError>(())
//! ```

mod counted;
mod traced;

pub use counted::{Counted, Counts};
pub use traced::Traced;

/// Writes the methods of `Mallocer` that a heap passes on to the one inside as they are.
macro_rules! pass_on {
    ($self:ident => $inner:expr) => {
        fn name(&$self) -> &'static str {
            $inner.name()
        }

        fn slabs(&$self) -> &[usize] {
            $inner.slabs()
        }

        fn info(&$self) -> mallocer_core::Info {
            $inner.info()
        }

        fn each_slab_use(&$self, visit: &mut dyn FnMut(mallocer_core::SlabUse)) {
            $inner.each_slab_use(visit)
        }

        fn budget(&$self) -> &mallocer_core::Budget {
            $inner.budget()
        }

        fn purge(&$self) -> usize {
            $inner.purge()
        }
    };
}

use pass_on;
