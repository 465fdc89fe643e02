//! Random programs against the ledger's model of live chunks.

use mallocer_core::Mallocer;

use crate::program::{self, Op};

fn seeds<M: Mallocer>(capacity: usize, operations: usize) {
    for seed in 0..4 {
        program::run::<M>(capacity, Op::program(seed, operations));
    }
}

/// Nothing is refused here.
pub(super) fn in_much_memory<M: Mallocer>() {
    seeds::<M>(1 << 30, 4000);
}

/// Large sizes are refused here, and small ones now and then.
pub(super) fn in_little_memory<M: Mallocer>() {
    seeds::<M>(1 << 20, 4000);
}

/// Most requests are refused here.
pub(super) fn in_hardly_any_memory<M: Mallocer>() {
    seeds::<M>(64 << 10, 3000);
}
