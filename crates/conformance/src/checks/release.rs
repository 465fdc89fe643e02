//! Release gives back everything at once, and the heap goes on.

use mallocer_core::{Budget, Mallocer};

use super::{granted, layout, open, open_in};
use crate::ledger::Ledger;
use crate::random::Random;

fn work<M: Mallocer>(ledger: &mut Ledger<'_, M>, random: &mut Random, count: usize) {
    for _ in 0..count {
        let limit = random.pick(&[32, 200, 200, 1000, 10_000]);
        let size = random.within(0, limit);
        granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 8)));
        if random.below(3) == 0 {
            ledger.free(random.below(ledger.len()));
        }
    }
}

/// After a release nothing is handed out, and the heap serves again.
pub(super) fn empties_the_heap<M: Mallocer>() {
    let heap = open::<M>(1 << 28);
    let mut ledger = Ledger::new(&heap);
    let mut random = Random::new(10);
    for _ in 0..3 {
        work(&mut ledger, &mut random, 3000);
        granted(format_args!("5 MiB"), ledger.alloc(layout(5 << 20, 4096)));
        assert!(heap.info().alloc > 5 << 20);
        // SAFETY: the ledger is the only book of this heap, on the only thread.
        unsafe { ledger.release() };
    }
    work(&mut ledger, &mut random, 1000);
    ledger.free_all();
}

/// A heap that never gave anything, or has everything back, can be released.
pub(super) fn of_an_empty_heap<M: Mallocer>() {
    let heap = open::<M>(1 << 24);
    let mut ledger = Ledger::new(&heap);
    for _ in 0..3 {
        // SAFETY: as above.
        unsafe { ledger.release() };
        // SAFETY: as above.
        unsafe { ledger.release() };
        granted(format_args!("100 bytes"), ledger.alloc(layout(100, 8)));
        ledger.free_all();
    }
}

/// A hundred times filled and released: a heap that lost a little each time would
/// run out.
pub(super) fn a_hundred_times<M: Mallocer>() {
    let root = Budget::new(4 << 20);
    let heap = open_in::<M>(&root, 4 << 20);
    let mut ledger = Ledger::new(&heap);
    let mut random = Random::new(11);
    for _ in 0..100 {
        work(&mut ledger, &mut random, 200);
        granted(format_args!("1 MiB"), ledger.alloc(layout(1 << 20, 8)));
        // SAFETY: as above.
        unsafe { ledger.release() };
        assert_eq!(root.used(), 0, "the parent's budget keeps bytes of a released heap");
    }
}

/// A release of the parent does not touch what its child has handed out.
pub(super) fn spares_children<M: Mallocer>() {
    let parent = open::<M>(1 << 26);
    let child = open_in::<M>(parent.budget(), 1 << 24);
    let mut parents = Ledger::new(&parent);
    let mut children = Ledger::new(&child);
    let mut random = Random::new(12);
    work(&mut parents, &mut random, 500);
    work(&mut children, &mut random, 500);
    // SAFETY: as above; the child's chunks are not the parent's.
    unsafe { parents.release() };
    assert_eq!(
        parent.info().nested,
        child.budget().used(),
        "nested is not what the child has taken, after the parent is released"
    );
    children.full_audit();
    work(&mut parents, &mut random, 500);
    work(&mut children, &mut random, 500);
    // SAFETY: as above.
    unsafe { children.release() };
    parents.full_audit();
    assert_eq!(parent.info().nested, 0, "nested is not 0 after the child is released");
    parents.free_all();
}

/// Dropping a heap refunds all that it took, whether or not its chunks were freed.
pub(super) fn by_drop_refunds_the_parent<M: Mallocer>() {
    let root = Budget::new(64 << 20);
    let mut random = Random::new(13);
    for round in 0..100 {
        let heap = open_in::<M>(&root, 32 << 20);
        let mut ledger = Ledger::new(&heap);
        work(&mut ledger, &mut random, 50);
        granted(format_args!("1 MiB"), ledger.alloc(layout(1 << 20, 8)));
        assert!(root.used() >= 1 << 20, "the heap takes 1 MiB, but its parent gives {root:?}");
        if round % 2 == 0 {
            ledger.free_all();
        }
        drop(heap);
        assert_eq!(root.used(), 0, "the parent's budget keeps bytes of a heap that is gone");
    }
}

/// A child goes on when the heap it was nested in is gone.
pub(super) fn children_outlive_their_parent<M: Mallocer>() {
    let parent = open::<M>(1 << 24);
    let child = open_in::<M>(parent.budget(), 1 << 24);
    let mut ledger = Ledger::new(&child);
    let mut random = Random::new(14);
    work(&mut ledger, &mut random, 500);
    drop(parent);
    ledger.full_audit();
    work(&mut ledger, &mut random, 500);
    ledger.free_all();
}
