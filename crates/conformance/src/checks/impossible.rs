//! What no heap can give is an error, and leaves the heap fine.

use core::alloc::Layout;

use mallocer_core::{AllocError, Mallocer};

use super::{layout, open};
use crate::ledger::Ledger;

const CAPACITY: usize = 16 << 20;

/// Layouts too large for any heap of 16 MiB, up to the largest there is.
fn layouts() -> impl Iterator<Item = Layout> {
    let most = isize::MAX as usize;
    let sizes = [
        CAPACITY + 1,
        1 << 31,
        1 << 32,
        1 << 40,
        (1 << 40) + 1,
        1 << 47,
        1 << 48,
        most / 2 + 1,
        most - 65_536,
        most - 4095,
        most - 8,
        most,
    ];
    let aligns = [1, 8, 16, 64, 4096];
    // The largest sizes are no layouts at the largest alignments.
    sizes.into_iter().flat_map(move |size| {
        aligns.into_iter().filter_map(move |align| Layout::from_size_align(size, align).ok())
    })
}

/// A heap with some chunks in it, whose ledger is still right afterwards.
fn around<M: Mallocer>(work: impl FnOnce(&M, &mut Ledger<'_, M>)) {
    let heap = open::<M>(CAPACITY);
    let mut ledger = Ledger::new(&heap);
    for size in [1, 100, 5000, 100_000] {
        ledger.alloc(layout(size, 8)).expect("a heap of 16 MiB holds a few chunks");
    }
    work(&heap, &mut ledger);
    ledger.full_audit();
    for size in [1, 100, 5000, 100_000, 1 << 20] {
        ledger.alloc(layout(size, 8)).expect("a refusal leaves the heap as it was");
    }
    ledger.free_all();
}

/// Sizes that overflow when they are rounded are refused.
pub(super) fn sizes<M: Mallocer>() {
    around::<M>(|heap, ledger| {
        for layout in layouts() {
            let before = heap.info();
            assert!(ledger.alloc(layout).is_err(), "{layout:?} is granted");
            assert!(ledger.alloc_zeroed(layout).is_err(), "{layout:?} is granted, and zero");
            assert_eq!(heap.info().alloc, before.alloc, "{layout:?} is refused but changes alloc");
        }
        for slab in [CAPACITY + 1, isize::MAX as usize, isize::MAX as usize + 1, usize::MAX] {
            assert!(heap.try_alloc_slab(slab).is_err(), "a chunk from slab {slab} is granted");
        }
    });
}

/// Alignments that nobody serves are refused. One that is served goes back at once:
/// a C library's chunk may hold all that its alignment skipped, which is anything up to
/// the whole of the capacity.
pub(super) fn alignments<M: Mallocer>() {
    around::<M>(|_, ledger| {
        for shift in 25..=62 {
            for size in [0, 1, 100] {
                let held = ledger.len();
                let answer = ledger.alloc(layout(size, 1 << shift));
                if answer.is_ok() {
                    ledger.free(held);
                }
                if shift >= 48 {
                    assert!(answer.is_err(), "an alignment of 2^{shift} is granted");
                }
                if let Err(error) = answer {
                    let named = matches!(
                        error,
                        AllocError::Alignment { .. }
                            | AllocError::Capacity { .. }
                            | AllocError::AboveLargestSlab { .. }
                            | AllocError::System { .. }
                    );
                    assert!(named, "an alignment of 2^{shift} gives {error:?}");
                }
            }
        }
    });
}

/// Reallocating to them is refused, too, and resizing in place says no.
pub(super) fn reallocations<M: Mallocer>() {
    around::<M>(|_, ledger| {
        for layout in layouts() {
            for index in 0..4 {
                assert!(ledger.realloc(index, layout).is_err(), "a chunk is made {layout:?}");
            }
        }
        for size in layouts().filter(|layout| layout.align() == 8).map(|layout| layout.size()) {
            for index in 0..4 {
                assert!(
                    !ledger.resize_in_place(index, size),
                    "a chunk holds {size} bytes in a heap of {CAPACITY}"
                );
            }
        }
    });
}
