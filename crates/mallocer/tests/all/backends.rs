//! Heaps chosen at run time, fixed at compile time, and opened elsewhere.

use mallocer::{Arena, Backend, Dynamic, Mallocer, SharedArena, SharedDynamic};

use crate::bytes;

fn check_fixed<M: Mallocer, S: Mallocer + Send + Sync>(backend: Backend) {
    let arena = Arena::<M>::builder().capacity(8 << 20).build().unwrap();
    let shared = SharedArena::<S>::builder().capacity(8 << 20).parent(&arena).build().unwrap();
    assert_eq!((arena.backend_name(), shared.backend_name()), (backend.name(), backend.name()));
    let child = arena.child().capacity(1 << 20).build().unwrap();
    let chunk = child.alloc(bytes(1000));
    assert!(chunk.len() >= 1000 && arena.info().nested >= 1000);

    // Whether the backend is chosen at run time or at compile time, it is the same one.
    let chosen = Arena::builder().backend(backend).capacity(8 << 20).build().unwrap();
    assert_eq!(chosen.slabs(), arena.slabs());
    assert_eq!(chosen.alloc(bytes(1000)).len(), arena.alloc(bytes(1000)).len());
    assert_eq!(chosen.heap().backend(), backend);
    assert_eq!(format!("{:?}", chosen.heap()), format!("Dynamic({backend})"));
    let debug = format!("{shared:?}");
    assert!(debug.starts_with(&format!("SharedArena({backend}: capacity 8 MiB")), "{debug}");
}

#[test]
fn a_backend_is_the_same_at_run_time_and_at_compile_time() {
    #[cfg(feature = "flist")]
    check_fixed::<mallocer::Flist, mallocer::SharedFlist>(Backend::Flist);
    #[cfg(feature = "malloc")]
    check_fixed::<mallocer::Malloc, mallocer::SharedMalloc>(Backend::Malloc);
    #[cfg(feature = "jemalloc")]
    check_fixed::<mallocer::Jemalloc, mallocer::SharedJemalloc>(Backend::Jemalloc);
    #[cfg(feature = "mimalloc")]
    check_fixed::<mallocer::Mimalloc, mallocer::SharedMimalloc>(Backend::Mimalloc);
    if let Ok(backend) = Backend::preferred() {
        check_fixed::<Dynamic, SharedDynamic>(backend);
    }
}

#[test]
fn an_arena_takes_a_heap_that_is_open_already() {
    for &backend in Backend::compiled() {
        let mut config = mallocer::Config::default();
        config.capacity = 4 << 20;
        let heap = Dynamic::open_backend(backend, &config).unwrap();
        let arena = Arena::from_heap(heap);
        assert_eq!((arena.backend_name(), arena.info().capacity), (backend.name(), 4 << 20));
        let child = arena.child().build().unwrap();
        assert_eq!(child.info().capacity, 4 << 20);
        child.alloc(bytes(100));
        assert!(arena.info().nested >= 100, "{backend}");
        let heap = SharedDynamic::open_backend(backend, &config).unwrap();
        assert_eq!(SharedArena::from_heap(heap).backend_name(), backend.name());
    }
}

/// The suite calls every method of the trait, so this also holds the dispatch to it.
#[test]
#[cfg(any(feature = "flist", feature = "malloc", feature = "jemalloc", feature = "mimalloc"))]
fn a_heap_chosen_at_run_time_conforms() {
    mallocer_conformance::check::<Dynamic>();
    mallocer_conformance::check_shared::<SharedDynamic>();
}
