//! Arenas that draw on the budget of other arenas.
//!
//! A backend may draw some bytes ahead of its chunks, and give them back before
//! anything is refused. They count for the parent, and not in the child's own heap.

use std::alloc::Layout;

use mallocer::{AllocError, Arena, Backend, Budget, SharedArena};

use crate::{bytes, each_arena, fill};

const MIB: usize = 1 << 20;

#[test]
fn a_childs_heap_counts_in_its_parent_and_returns_when_it_is_dropped() {
    each_arena!(|Kind, backend| {
        let parent = Kind::builder().backend(backend).capacity(64 * MIB).build().unwrap();
        fill(parent.alloc(bytes(MIB)), 1);
        let before = parent.info();
        assert_eq!(before.nested, 0);

        let child = parent.child().capacity(32 * MIB).build().unwrap();
        assert_eq!(child.backend_name(), backend.name());
        for _ in 0..8 {
            fill(child.alloc(bytes(MIB)), 2);
        }
        let (inner, outer) = (child.info(), parent.info());
        assert!(inner.heap >= 8 * MIB && inner.alloc >= 8 * MIB && inner.nested == 0, "{inner}");
        assert_eq!(outer.nested, child.budget().used(), "{backend}");
        assert_eq!(outer.heap, before.heap + outer.nested, "{backend}");
        let ahead = outer.nested - inner.heap;
        assert!(ahead <= MIB, "{backend}: {ahead} bytes ahead");
        assert_eq!(outer.alloc, before.alloc, "{backend}");

        drop(child);
        let after = parent.info();
        assert_eq!((after.heap, after.nested), (before.heap, 0), "{backend}");
    });
}

#[test]
fn the_parents_capacity_refuses_the_child() {
    each_arena!(|Kind, backend| {
        let parent = Kind::builder().backend(backend).capacity(16 * MIB).build().unwrap();
        let child = parent.child().capacity(1 << 40).build().unwrap();
        let mut held = Vec::new();
        let refusal = loop {
            match child.try_alloc(bytes(MIB / 2)) {
                Ok(chunk) => held.push(chunk),
                Err(refusal) => break refusal,
            }
            assert!(parent.info().heap <= 16 * MIB, "{backend}");
        };
        let AllocError::Capacity { used, limit, .. } = refusal else { panic!("{refusal}") };
        assert!(limit == 16 * MIB && used <= limit, "{backend}: {refusal}");
        assert!(held.len() >= 24, "{backend}: only {} chunks fit", held.len());
        assert!(parent.try_alloc(bytes(12 * MIB)).is_err(), "{backend}: the child has it");

        // What the child gives back, the parent can take.
        child.release();
        parent.try_alloc(bytes(12 * MIB)).unwrap();
    });
}

#[test]
fn a_childs_own_capacity_leaves_the_rest_to_its_parent() {
    each_arena!(|Kind, backend| {
        let parent = Kind::builder().backend(backend).capacity(16 * MIB).build().unwrap();
        let child = parent.child().capacity(2 * MIB).build().unwrap();
        while let Ok(chunk) = child.try_alloc(bytes(10_000)) {
            fill(chunk, 3);
        }
        assert!(child.info().heap <= 2 * MIB, "{backend}: {}", child.info());
        parent.try_alloc(bytes(8 * MIB)).unwrap();
    });
}

#[test]
fn grandchildren_count_on_every_level() {
    each_arena!(|Kind, backend| {
        let root = Kind::builder().backend(backend).capacity(64 * MIB).build().unwrap();
        let middle = root.child().build().unwrap();
        let leaf = middle.child().build().unwrap();
        assert_eq!(leaf.info().capacity, root.info().capacity, "settings are inherited");
        fill(leaf.alloc(bytes(4 * MIB)), 1);
        let taken = leaf.budget().used();
        assert!(taken >= leaf.info().heap && leaf.info().heap >= 4 * MIB, "{backend}");
        assert_eq!((middle.info().nested, root.info().nested), (taken, taken), "{backend}");

        // A level that goes leaves what its children hold to those above it.
        drop(middle);
        assert_eq!(root.info().nested, taken, "{backend}");
        let refused = leaf.try_alloc(bytes(64 * MIB));
        assert!(matches!(refused, Err(AllocError::Capacity { .. })), "{backend}");
        drop(leaf);
        assert_eq!((root.info().heap, root.info().nested), (0, 0), "{backend}");
    });
}

#[test]
fn any_arena_or_budget_can_be_the_parent_of_any_other() {
    let budget = Budget::new(64 * MIB);
    for &outer in Backend::compiled() {
        for &inner in Backend::compiled() {
            let parent = SharedArena::builder().backend(outer).parent(&budget).build().unwrap();
            let child = Arena::builder().backend(inner).parent(&parent).build().unwrap();
            let shared = SharedArena::builder().backend(inner).parent(&child).build().unwrap();
            let chunk = shared.alloc(Layout::new::<[u64; 1000]>());
            assert!(chunk.len() >= 8000);
            let taken = shared.budget().used();
            assert!(taken >= shared.info().heap && shared.info().heap >= 8000);
            assert_eq!(child.info().nested, taken, "{inner} in {outer}");
            assert_eq!(parent.info().nested, taken, "{inner} in {outer}");
            assert_eq!(budget.used(), taken, "{inner} in {outer}");
        }
        assert_eq!(budget.used(), 0, "{outer}");
    }
}

#[test]
fn a_reset_parent_keeps_what_its_children_took() {
    each_arena!(|Kind, backend| {
        let parent = Kind::builder().backend(backend).capacity(64 * MIB).build().unwrap();
        let child = parent.child().build().unwrap();
        fill(parent.alloc(bytes(MIB)), 1);
        let chunk = child.alloc(bytes(MIB));
        fill(chunk, 2);
        // SAFETY: no chunk of the parent is used afterwards.
        unsafe { parent.reset() };
        assert_eq!(parent.info().nested, child.budget().used(), "{backend}");
        assert!(parent.info().nested >= MIB && parent.info().alloc == 0, "{backend}");
        assert!(crate::holds(chunk, 2), "{backend}");
    });
}
