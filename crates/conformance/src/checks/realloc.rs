//! A reallocated chunk keeps its contents; one that cannot be stays as it was.

use mallocer_core::{AllocError, Mallocer};

use super::{granted, layout, open};
use crate::ledger::Ledger;
use crate::random::Random;

/// From any size to any size, contents up to the smaller one are kept.
pub(super) fn contents_to_the_smaller_size<M: Mallocer>() {
    const SIZES: [usize; 12] =
        [0, 1, 7, 16, 100, 1000, 1024, 5000, 40_000, 200_000, 1 << 20, 3_000_001];
    let heap = open::<M>(1 << 28);
    let mut ledger = Ledger::new(&heap);
    for old in SIZES {
        for new in SIZES {
            // Neighbours, so that growing in place would run into something.
            for _ in 0..3 {
                granted(format_args!("{old} bytes"), ledger.alloc(layout(old, 8)));
            }
            let answer = ledger.realloc(1, layout(new, 8));
            granted(format_args!("{old} bytes made {new}"), answer);
            ledger.free_all();
        }
    }
}

/// Arrays that grow by half, again and again, several side by side.
pub(super) fn growth_chains<M: Mallocer>() {
    let heap = open::<M>(1 << 28);
    let mut ledger = Ledger::new(&heap);
    for size in [1, 10, 24] {
        granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 8)));
    }
    while ledger.claims()[2].layout().size() < 4 << 20 {
        for index in 0..3 {
            let size = ledger.claims()[index].layout().size();
            let larger = size + size / 2 + 1;
            let answer = ledger.realloc(index, layout(larger, 8));
            granted(format_args!("{size} bytes made {larger}"), answer);
        }
    }
    ledger.free_all();
}

/// Arrays that shrink, down to nothing.
pub(super) fn shrink_chains<M: Mallocer>() {
    let heap = open::<M>(1 << 28);
    let mut ledger = Ledger::new(&heap);
    for first in [2 << 20, 70_000, 1000] {
        granted(format_args!("{first} bytes"), ledger.alloc(layout(first, 8)));
        let mut size = first;
        while size > 0 {
            size = size * 2 / 3;
            let answer = ledger.realloc(ledger.len() - 1, layout(size, 8));
            granted(format_args!("a chunk shrunk to {size} bytes"), answer);
        }
    }
    ledger.free_all();
}

/// The alignment asked of a reallocation is that of the chunk it returns.
pub(super) fn alignment_changes<M: Mallocer>() {
    let heap = open::<M>(1 << 28);
    let mut ledger = Ledger::new(&heap);
    let mut random = Random::new(6);
    for _ in 0..40 {
        let align = 1 << random.below(13);
        let size = random.within(0, 3000);
        granted(format_args!("{size} bytes"), ledger.alloc(layout(size, align)));
    }
    for _ in 0..2000 {
        let index = random.below(ledger.len());
        let align = 1 << random.below(13);
        let size = random.within(0, 3000);
        let answer = ledger.realloc(index, layout(size, align));
        granted(format_args!("{size} bytes aligned to {align}"), answer);
    }
    ledger.free_all();
}

/// A reallocation that is refused leaves the chunk where and as it was.
pub(super) fn failure_keeps_the_chunk<M: Mallocer>() {
    let heap = open::<M>(1 << 22);
    let mut ledger = Ledger::new(&heap);
    for size in [16, 500, 70_000] {
        granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 8)));
    }
    for index in 0..3 {
        for size in [(1 << 22) + 1, 1 << 30, isize::MAX as usize - 7] {
            let address = ledger.claims()[index].address();
            let alloc = heap.info().alloc;
            // The ledger looks at the chunk's contents after the refusal.
            let answer = ledger.realloc(index, layout(size, 8));
            assert!(answer.is_err(), "{size} bytes are granted in a heap of {} bytes", 1 << 22);
            assert_eq!(ledger.claims()[index].address(), address);
            assert_eq!(heap.info().alloc, alloc, "a refused reallocation changes alloc");
        }
    }
    // In a heap that is full, growing fails for want of capacity.
    while ledger.alloc(layout(1000, 8)).is_ok() {}
    let answer = ledger.realloc(0, layout(1 << 20, 8));
    assert!(
        matches!(answer, Err(AllocError::Capacity { .. })),
        "growing a chunk to 1 MiB in a full heap gives {answer:?}"
    );
    ledger.free_all();
}

/// Resizing in place never moves, never loses contents, and never lies about the
/// length.
pub(super) fn resize_in_place<M: Mallocer>() {
    let heap = open::<M>(1 << 28);
    let mut ledger = Ledger::new(&heap);
    let mut random = Random::new(7);
    for size in [1, 16, 100, 1000, 10_000, 100_000, 1 << 20] {
        for _ in 0..3 {
            granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 8)));
        }
    }
    let stays = |ledger: &mut Ledger<'_, M>, index: usize| {
        let (size, len) = (ledger.claims()[index].layout().size(), ledger.claims()[index].len());
        assert!(
            ledger.resize_in_place(index, len),
            "a chunk of {len} bytes ({size} asked) does not hold {len} bytes in place"
        );
    };
    for index in 0..ledger.len() {
        stays(&mut ledger, index);
    }
    for _ in 0..1000 {
        let index = random.below(ledger.len());
        let len = ledger.claims()[index].len();
        ledger.resize_in_place(index, random.within(0, 2 * len));
        stays(&mut ledger, index);
    }
    let address = ledger.claims()[0].address();
    assert!(!ledger.resize_in_place(0, 1 << 30), "{address:#x} holds 1 GiB in a heap of 256 MiB");
    ledger.free_all();
}
