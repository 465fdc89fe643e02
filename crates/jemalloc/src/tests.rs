//! What is special to this backend; what all backends promise is in the conformance
//! suite.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::mpsc;
use std::thread;

use mallocer_core::{AllocError, Config, ConfigError, Mallocer};

use crate::{Jemalloc, SharedJemalloc};

fn open<M: Mallocer>(capacity: usize) -> M {
    let mut config = Config::default();
    config.capacity = capacity;
    M::open(&config).unwrap()
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Runs a test on both forms.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod alone { $(#[test] fn $test() { super::$test::<crate::Jemalloc>(); })* }
        mod shared { $(#[test] fn $test() { super::$test::<crate::SharedJemalloc>(); })* }
    };
}

on_both! {
    chunks_have_the_size_of_their_class
    capacity_is_exact
    large_chunks_grow_where_they_are
    a_sized_free_may_follow_any_resize
    statistics_come_from_the_library
    release_leaves_nothing_behind
}

fn fill(chunk: NonNull<[u8]>, seed: usize) {
    // SAFETY: chunks are valid for writes of their whole length.
    unsafe { chunk.cast::<u8>().write_bytes(seed as u8, chunk.len()) }
}

fn check(chunk: NonNull<[u8]>, seed: usize) {
    // SAFETY: the chunk is filled to its end, and nobody writes to it.
    let bytes = unsafe { chunk.as_ref() };
    assert!(bytes.iter().all(|&byte| byte == seed as u8), "chunk {seed} is damaged");
}

fn chunks_have_the_size_of_their_class<M: Mallocer>() {
    let heap: M = open(1 << 30);
    for (size, align, len) in [
        (0, 1, 8),
        (1, 16, 16),
        (9, 8, 16),
        (96, 8, 96),
        (100, 64, 128),
        (100, 4096, 4096),
        (100, 1 << 20, 16384),
        (32_768, 8, 32_768),
        (32_769, 8, 36_864),
    ] {
        let chunk = heap.try_alloc_zeroed(layout(size, align)).unwrap();
        assert_eq!(chunk.len(), len, "{size} bytes aligned to {align}");
        assert!(chunk.addr().get().is_multiple_of(align));
        check(chunk, 0);
        assert_eq!(heap.info().alloc, len);
        // SAFETY: the chunk is held, then freed once.
        unsafe {
            assert_eq!(heap.chunk_len(chunk.cast()), len);
            heap.free_sized(chunk.cast(), layout(size, align));
        }
        assert_eq!(heap.info().heap, 0);
    }
    for &slab in heap.slabs() {
        let chunk = heap.try_alloc_slab(slab).unwrap();
        assert_eq!(chunk.len(), slab);
        // SAFETY: freed once.
        unsafe { heap.free(chunk.cast()) };
    }
}

fn capacity_is_exact<M: Mallocer>() {
    let heap: M = open(1 << 20);
    let mut held: Vec<_> =
        (0..1 << 13).map(|_| heap.try_alloc(layout(128, 8)).unwrap().cast()).collect();
    let refusal = heap.try_alloc(layout(1, 1)).unwrap_err();
    assert_eq!(refusal, AllocError::Capacity { requested: 8, used: 1 << 20, limit: 1 << 20 });
    // SAFETY: each is freed once; a refused realloc leaves its chunk as it is.
    unsafe {
        assert!(heap.try_realloc(held[0], layout(129, 8)).is_err());
        heap.free(held.pop().unwrap());
        let last = heap.try_alloc(layout(100, 8)).unwrap();
        assert_eq!(last.len(), 112);
        assert!(heap.try_realloc(last.cast(), layout(200, 8)).is_err());
        assert_eq!(heap.info().heap, (1 << 20) - 16);
    }
}

fn large_chunks_grow_where_they_are<M: Mallocer>() {
    let heap: M = open(1 << 30);
    let chunk = heap.try_alloc(layout(1 << 20, 8)).unwrap();
    fill(chunk, 3);
    // SAFETY: the chunk is held, and bytes past its length are not used.
    unsafe {
        // jemalloc maps more than the first chunk of an arena takes.
        let grown = (1 << 20) + 65_536;
        assert_eq!(heap.resize_in_place(chunk.cast(), grown), Some(grown));
        assert_eq!(heap.chunk_len(chunk.cast()), grown);
        assert_eq!(heap.info().alloc, grown);
        check(chunk, 3);
        assert_eq!(heap.resize_in_place(chunk.cast(), 1 << 30), None, "the capacity refuses");
        assert_eq!(heap.resize_in_place(chunk.cast(), 100_000), Some(102_400));
        assert_eq!(heap.resize_in_place(chunk.cast(), 100), None, "small chunks lie elsewhere");
        assert_eq!(heap.info().alloc, 102_400);
        heap.free(chunk.cast());
    }
    assert_eq!(heap.info().heap, 0);
}

/// `free_sized` trusts the class of the size, so no resize may leave a chunk in another.
fn a_sized_free_may_follow_any_resize<M: Mallocer>() {
    let heap: M = open(1 << 30);
    let sizes = [1, 60, 100, 112, 120, 500, 9000, 20_000, 100_000, 1 << 20, 3 << 20];
    for from in sizes {
        for to in sizes {
            for (old, new) in [(8, 8), (8, 64), (64, 8), (8, 4096), (65536, 65536)] {
                let mut chunk = heap.try_alloc(layout(from, old)).unwrap();
                fill(chunk, 9);
                let kept = chunk.len().min(to);
                // SAFETY: what is returned is used instead, and freed once, with the
                // layout that was asked for last.
                unsafe {
                    chunk = heap.try_realloc(chunk.cast(), layout(to, new)).unwrap();
                    check(NonNull::slice_from_raw_parts(chunk.cast(), kept), 9);
                    let last = match heap.resize_in_place(chunk.cast(), from) {
                        Some(_) => from,
                        None => to,
                    };
                    assert_eq!(heap.info().alloc, heap.chunk_len(chunk.cast()));
                    heap.free_sized(chunk.cast(), layout(last, new));
                }
                assert_eq!(heap.info().heap, 0, "{from} aligned to {old}, {to} to {new}");
            }
        }
    }
}

fn statistics_come_from_the_library<M: Mallocer>() {
    let heap: M = open(1 << 30);
    for n in 0..1000 {
        fill(heap.try_alloc(layout(96, 8)).unwrap(), n);
    }
    fill(heap.try_alloc(layout(3_000_000, 8)).unwrap(), 1);
    let mut slabs = Vec::new();
    heap.each_slab_use(&mut |slab| slabs.push(slab));
    let [small, large] = &slabs[..] else { panic!("{slabs:?}") };
    assert_eq!((small.slab, small.chunks, small.alloc), (96, 1000, 96_000));
    // 128 chunks of 96 bytes in three OS pages each.
    assert_eq!((small.pools, small.heap), (8, 8 * 3 * 4096));
    assert_eq!((large.slab, large.chunks), (3_002_368, 1));
    assert!(heap.info().overhead > 10_000);
}

/// Resident memory of the process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn release_leaves_nothing_behind<M: Mallocer>() {
    let heap: M = open(1 << 30);
    let mut first = 0;
    for round in 0..100 {
        for n in 0..20_000 {
            fill(heap.try_alloc(layout(100 + n % 200, 8)).unwrap(), 1);
        }
        fill(heap.try_alloc(layout(5 << 20, 8)).unwrap(), 1);
        // SAFETY: no chunk is used any more, on one thread.
        unsafe { heap.release() };
        assert_eq!((heap.info().heap, heap.info().alloc), (0, 0));
        heap.each_slab_use(&mut |slab| panic!("{slab} after release"));
        if round == 1 {
            first = resident();
        }
    }
    // Other tests run meanwhile; a leak of 100 rounds would be 900 MB.
    assert!(resident() < first + (200 << 20), "{first} bytes became {}", resident());
    let budget = heap.budget().clone();
    heap.try_alloc(layout(100, 8)).unwrap();
    drop(heap);
    assert_eq!(budget.used(), 0);
}

#[test]
fn arenas_come_and_go_by_the_ten_thousand() {
    for n in 0..10_000 {
        let heap: Jemalloc = open(1 << 20);
        fill(heap.try_alloc(layout(n % 3000, 8)).unwrap(), n);
    }
}

#[test]
fn settings_are_checked() {
    let mut config = Config::default();
    config.capacity = 7;
    assert!(matches!(
        Jemalloc::open(&config).err(),
        Some(ConfigError::CapacityTooSmall { minimum: 8, .. })
    ));
    config.capacity = (1 << 40) + 1;
    assert!(matches!(Jemalloc::open(&config).err(), Some(ConfigError::CapacityTooLarge { .. })));
}

/// More threads than tcaches: chunks pass from thread to thread while statistics are
/// read, and threads come and go.
#[test]
fn threads_share_a_heap() {
    struct Sent(usize, NonNull<[u8]>);
    // SAFETY: the chunk is used by the receiver alone.
    unsafe impl Send for Sent {}

    let heap: SharedJemalloc = open(64 << 20);
    thread::scope(|scope| {
        let heap = &heap;
        for me in 0..6 {
            let (sender, receiver) = mpsc::sync_channel::<Sent>(64);
            scope.spawn(move || {
                for n in 0..5_000 {
                    let size = if n % 1000 == 0 { 200_000 } else { n * 31 % 3000 };
                    let chunk = heap.try_alloc(layout(size, 8)).unwrap();
                    fill(chunk, n + me);
                    sender.send(Sent(n + me, chunk)).unwrap();
                }
            });
            scope.spawn(move || {
                for Sent(seed, chunk) in receiver {
                    check(chunk, seed);
                    // SAFETY: reallocated or not, freed once.
                    unsafe {
                        if seed % 5 == 0 {
                            let moved = heap.try_realloc(chunk.cast(), layout(4000, 8)).unwrap();
                            heap.free_sized(moved.cast(), layout(4000, 8));
                        } else {
                            heap.free(chunk.cast());
                        }
                    }
                }
            });
        }
        for _ in 0..30 {
            heap.each_slab_use(&mut |slab| assert!(slab.alloc <= slab.heap));
            scope.spawn(move || {
                let chunk = heap.try_alloc(layout(10, 8)).unwrap();
                // SAFETY: freed once.
                unsafe { heap.free(chunk.cast()) };
            });
        }
    });
    assert_eq!((heap.info().heap, heap.info().alloc), (0, 0));
    heap.each_slab_use(&mut |slab| assert_eq!(slab.chunks, 0, "{slab}"));
}
