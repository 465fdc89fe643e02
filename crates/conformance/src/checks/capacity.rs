//! Capacity is a promise: never exceeded, refused with figures, and never lost.

use mallocer_core::{AllocError, Budget, Mallocer};

use super::{layout, open, open_in};
use crate::ledger::{Claim, Ledger};
use crate::random::Random;

const CAPACITY: usize = 1 << 20;

/// Allocates until refused for want of capacity; the ledger looks at heap and
/// capacity at every step. Returns what is held then, in bytes.
fn fill<M: Mallocer>(ledger: &mut Ledger<'_, M>, sizes: impl Fn(usize) -> usize) -> usize {
    loop {
        let size = sizes(ledger.len());
        match ledger.alloc(layout(size, 8)) {
            Ok(()) => {}
            Err(AllocError::Capacity { .. }) => {
                // Everything allocated before is intact.
                ledger.full_audit();
                return ledger.claims().iter().map(Claim::slab).sum();
            }
            Err(error) => panic!("{size} bytes are refused, but not for capacity: {error:?}"),
        }
    }
}

fn filled<M: Mallocer>(capacity: usize, size: usize) {
    let heap = open::<M>(capacity);
    let mut ledger = Ledger::new(&heap);
    let held = fill(&mut ledger, |_| size);
    assert!(
        held >= capacity / 2,
        "chunks of {size} bytes are refused at {held} bytes, below half of the capacity \
         {capacity}: {}",
        heap.info()
    );
    // After a free it goes on, wherever the chunk was.
    for index in [0, ledger.len() / 2, ledger.len() - 1] {
        ledger.free(index);
        if let Err(error) = ledger.alloc(layout(size, 8)) {
            panic!("{size} bytes are refused although as much was just freed: {error}");
        }
    }
    ledger.free_all_shuffled(&mut Random::new(8));
}

/// Chunks of one byte, until refused.
pub(super) fn of_tiny_chunks<M: Mallocer>() {
    filled::<M>(CAPACITY / 8, 1);
}

/// Chunks of 16 and 100 bytes, until refused.
pub(super) fn of_small_chunks<M: Mallocer>() {
    filled::<M>(CAPACITY / 4, 16);
    filled::<M>(CAPACITY, 100);
}

/// Chunks of a few KiB, until refused.
pub(super) fn of_medium_chunks<M: Mallocer>() {
    filled::<M>(4 * CAPACITY, 1000);
    filled::<M>(4 * CAPACITY, 4097);
    filled::<M>(4 * CAPACITY, 20_000);
}

/// Chunks of which only a few fit, until refused.
pub(super) fn of_large_chunks<M: Mallocer>() {
    filled::<M>(16 * CAPACITY, 100_000);
    filled::<M>(16 * CAPACITY, 3 * CAPACITY / 2);
    filled::<M>(16 * CAPACITY, 9 * CAPACITY);
}

/// Chunks of all sizes, until refused a hundred times in a row.
pub(super) fn of_mixed_chunks<M: Mallocer>() {
    let heap = open::<M>(8 * CAPACITY);
    let mut ledger = Ledger::new(&heap);
    let mut random = Random::new(9);
    for _ in 0..3 {
        let mut refusals = 0;
        while refusals < 100 {
            let limit = random.pick(&[64, 64, 1000, 1000, 30_000, 500_000]);
            match ledger.alloc(layout(random.within(0, limit), 1 << random.below(6))) {
                Ok(()) => refusals = 0,
                Err(_) => refusals += 1,
            }
        }
        ledger.full_audit();
        for _ in 0..ledger.len() / 2 {
            ledger.free(random.below(ledger.len()));
        }
    }
    ledger.free_all();
}

/// Filling, freeing and filling again gives as much each time: refusals take
/// nothing.
pub(super) fn filled_again_and_again<M: Mallocer>() {
    let heap = open::<M>(CAPACITY);
    let mut ledger = Ledger::new(&heap);
    let first = fill(&mut ledger, |_| 200);
    for round in 1..6 {
        ledger.free_all();
        let held = fill(&mut ledger, |_| 200);
        assert!(
            held >= first / 10 * 9,
            "the heap holds {first} bytes at first, but {held} in round {round}"
        );
    }
    ledger.free_all();
}

/// A thousand refusals take nothing from the budget.
pub(super) fn refusals_cost_nothing<M: Mallocer>() {
    let root = Budget::new(16 * CAPACITY);
    let heap = open_in::<M>(&root, CAPACITY);
    let mut ledger = Ledger::new(&heap);
    fill(&mut ledger, |_| 5000);
    let before = (heap.budget().used(), root.used());
    for _ in 0..1000 {
        assert!(ledger.alloc(layout(CAPACITY, 8)).is_err(), "1 MiB is granted in a full heap");
    }
    let after = (heap.budget().used(), root.used());
    assert!(
        after <= before,
        "a thousand refusals change what is charged here and above from {before:?} to {after:?}"
    );
    ledger.free_all();
}

/// Memory that chunks of one size have filled, and left, serves other sizes.
pub(super) fn serves_other_sizes_afterwards<M: Mallocer>() {
    let heap = open::<M>(CAPACITY);
    let mut ledger = Ledger::new(&heap);
    for size in [64, 1000, 200_000, 100, CAPACITY / 2, 5000] {
        let held = fill(&mut ledger, |_| size);
        assert!(
            held >= CAPACITY / 2,
            "chunks of {size} bytes are refused at {held} bytes, after all others were freed, \
             below half of the capacity: {}",
            heap.info()
        );
        ledger.free_all();
    }
}

/// A child whose own capacity is larger is refused by its parent, with the
/// parent's figures.
pub(super) fn of_the_parent<M: Mallocer>() {
    let parent = open::<M>(4 * CAPACITY);
    let mut parents = Ledger::new(&parent).with_limit(4 * CAPACITY);
    for size in [16, 100, 70_000] {
        parents.alloc(layout(size, 8)).expect("a heap of 4 MiB holds a few chunks");
    }
    let before = parent.budget().used();
    {
        let child = open_in::<M>(parent.budget(), 1 << 30);
        let mut children = Ledger::new(&child).with_limit(4 * CAPACITY);
        let held = fill(&mut children, |_| 1000);
        assert!(held >= 2 * CAPACITY, "the child is refused at {held} bytes of 4 MiB");
        let Err(AllocError::Capacity { limit, .. }) = children.alloc(layout(1 << 20, 8)) else {
            panic!("1 MiB fits into a child whose parent is full");
        };
        assert_eq!(limit, 4 * CAPACITY, "the refusal does not name the parent's capacity");
        let info = parent.info();
        assert_eq!(info.nested, child.budget().used(), "nested is not what the child has taken");
        parents.full_audit();
        children.free(0);
        children.alloc(layout(1000, 8)).expect("after a free it goes on");
        children.free_all();
    }
    assert_eq!(parent.budget().used(), before, "a dropped child keeps some of its parent");
    assert_eq!(parent.info().nested, 0, "nested is not 0 without children");
    parents.free_all();
}

/// A grandchild draws on all above it, and each may refuse.
pub(super) fn of_grandparents<M: Mallocer>() {
    let (large, small) = (8 * CAPACITY, 2 * CAPACITY);
    for [first, second, third] in
        [[small, large, large], [large, small, large], [large, large, small]]
    {
        let root = Budget::new(first);
        let middle = open_in::<M>(&root, second);
        let leaf = open_in::<M>(middle.budget(), third);
        let mut ledger = Ledger::new(&leaf).with_limit(small);
        fill(&mut ledger, |_| 500);
        for budget in [&root, middle.budget(), leaf.budget()] {
            assert!(
                budget.used() >= CAPACITY && budget.used() <= small,
                "a leaf filled to a limit of {small} bytes shows as {budget:?}"
            );
        }
        drop(ledger);
        drop(leaf);
        drop(middle);
        assert_eq!(root.used(), 0, "the root keeps bytes of heaps that are gone");
    }
}

/// Two heaps on one budget: what one gives back, the other can have.
pub(super) fn shared_by_siblings<M: Mallocer>() {
    let parent = Budget::new(2 * CAPACITY);
    let one = open_in::<M>(&parent, 1 << 30);
    let other = open_in::<M>(&parent, 1 << 30);
    let mut ones = Ledger::new(&one).with_limit(2 * CAPACITY);
    let mut others = Ledger::new(&other).with_limit(2 * CAPACITY);
    others.alloc(layout(100, 8)).expect("a budget of 2 MiB holds one chunk");
    fill(&mut ones, |_| 1000);
    assert!(others.alloc(layout(CAPACITY, 8)).is_err(), "1 MiB is granted from a full budget");
    // SAFETY: `ones` is the only book of this heap, on the only thread.
    unsafe { ones.release() };
    others.alloc(layout(CAPACITY, 8)).expect("the other heap is released");
    others.full_audit();
    others.free_all();
}
