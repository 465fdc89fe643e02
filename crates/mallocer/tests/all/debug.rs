//! Heaps around heaps are heaps, and do what they say.

use std::alloc::Layout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use mallocer::debug::{Counted, Traced};
use mallocer::{Arena, Config, Dynamic, Mallocer, SharedArena, SharedDynamic};
use mallocer_conformance::{check, check_shared};

#[test]
fn a_counted_heap_conforms() {
    check::<Counted<Dynamic>>();
    check_shared::<Counted<SharedDynamic>>();
}

#[test]
fn a_traced_heap_conforms() {
    check::<Traced<Dynamic>>();
    check_shared::<Traced<SharedDynamic>>();
}

#[test]
fn what_is_done_is_counted() {
    let arena = Arena::<Counted<Dynamic>>::builder().capacity(1 << 20).build().unwrap();
    let chunks: Vec<_> = (1..=10).map(|size| arena.alloc(layout(size * 100))).collect();
    let granted: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    let counts = arena.heap().counts();
    assert_eq!((counts.allocs, counts.requested, counts.refused), (10, 5500, 0));
    assert_eq!(
        (counts.granted, counts.live, counts.peak),
        (granted as u64, granted as u64, granted as u64)
    );
    for chunk in &chunks[1..] {
        // SAFETY: the chunk is the arena's, and freed once.
        unsafe { arena.free(chunk.cast()) };
    }
    assert!(arena.try_alloc(layout(2 << 20)).is_err());
    // SAFETY: the chunk is the arena's, and used only as returned.
    let moved = unsafe { arena.realloc(chunks[0].cast(), layout(30_000)) };
    let counts = arena.heap().counts();
    assert_eq!((counts.frees, counts.refused, counts.moved), (10, 1, 1));
    assert_eq!((counts.live, counts.peak.max(granted as u64)), (moved.len() as u64, counts.peak));
    assert!(counts.to_string().starts_with("11 allocs, 10 frees, 1 moved"), "{counts}");
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// What a panic says.
fn told(act: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(act)).expect_err("it must panic");
    payload.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn every_backend_catches_what_it_does_not_know_when_it_is_traced() {
    for &backend in mallocer::Backend::compiled() {
        let inner = SharedDynamic::open_backend(backend, &Config::default()).unwrap();
        let arena = SharedArena::from_heap(Traced::around(inner));
        let chunk = arena.alloc(layout(100));
        let start = chunk.cast::<u8>();
        // SAFETY: the chunk is live; what is wrong about the calls is refused before anything
        // is done.
        unsafe {
            assert!((0..chunk.len()).all(|at| start.add(at).read() == 0xA5));
            let inside = told(|| arena.free(start.add(8)));
            assert!(inside.contains("inside a chunk"), "{inside}");
            let large = told(|| arena.free_sized(start, layout(5000)));
            assert!(large.contains("the size is wrong"), "{large}");
            let mut local = 0u64;
            let foreign = told(|| arena.free(NonNull::from(&mut local).cast()));
            assert!(foreign.contains("did not hand it out"), "{foreign}");
            arena.free(start);
            let twice = told(|| arena.free(start));
            assert!(twice.contains("did not hand it out"), "{twice}");
        }
        assert!(arena.heap().held().is_empty());
        assert_eq!(arena.heap().inner().info().alloc, 0);
    }
}
