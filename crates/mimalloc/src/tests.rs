//! What is special to this backend; what all backends promise is in the conformance
//! suite.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use mallocer_core::{AllocError, Config, ConfigError, Mallocer};

use crate::{Mimalloc, SharedMimalloc};

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
        mod alone { $(#[test] fn $test() { super::$test::<crate::Mimalloc>(); })* }
        mod shared { $(#[test] fn $test() { super::$test::<crate::SharedMimalloc>(); })* }
    };
}

on_both! {
    chunks_have_the_size_of_their_class
    chunks_are_aligned
    capacity_is_exact
    statistics_add_up
    release_leaves_nothing_behind
    chunks_mapped_apart_end_with_the_heap
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
    for (size, align, len) in [(0, 1, 8), (1, 16, 16), (9, 8, 16), (96, 8, 96), (97, 16, 112)] {
        let chunk = heap.try_alloc(layout(size, align)).unwrap();
        assert_eq!(chunk.len(), len, "{size} bytes aligned to {align}");
        // SAFETY: freed once.
        unsafe { heap.free(chunk.cast()) };
    }
    for &slab in heap.slabs() {
        let chunk = heap.try_alloc_slab(slab).unwrap();
        assert_eq!(chunk.len(), slab);
        // SAFETY: freed once.
        unsafe { heap.free(chunk.cast()) };
    }
    assert_eq!(heap.info().heap, 0);
}

fn chunks_are_aligned<M: Mallocer>() {
    let heap: M = open(1 << 30);
    for align in (0..=22).map(|shift| 1 << shift) {
        let mut held = Vec::new();
        for size in [0, 1, 24, 100, 5000, 70_000, 600_000] {
            let chunk = heap.try_alloc_zeroed(layout(size, align)).unwrap();
            assert!(chunk.addr().get().is_multiple_of(align) && chunk.len() >= size);
            check(chunk, 0);
            fill(chunk, size);
            held.push((size, chunk));
        }
        let alloc: usize = held.iter().map(|(_, chunk)| chunk.len()).sum();
        let mut by_slab = 0;
        heap.each_slab_use(&mut |slab| by_slab += slab.alloc);
        assert_eq!((heap.info().alloc, by_slab), (alloc, alloc), "aligned to {align}");
        for (size, chunk) in held {
            check(chunk, size);
            // SAFETY: freed once.
            unsafe { heap.free_sized(chunk.cast(), layout(size, align)) };
        }
        heap.each_slab_use(&mut |slab| panic!("{slab} though all is freed"));
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

fn statistics_add_up<M: Mallocer>() {
    let heap: M = open(1 << 30);
    for n in 0..1000 {
        fill(heap.try_alloc(layout(96, 8)).unwrap(), n);
    }
    let large = heap.try_alloc(layout(3_000_000, 8)).unwrap();
    let mut slabs = Vec::new();
    heap.each_slab_use(&mut |slab| slabs.push((slab.slab, slab.chunks, slab.alloc)));
    assert_eq!(slabs, [(96, 1000, 96_000), (large.len(), 1, large.len())]);
    assert_eq!(heap.info().alloc, 96_000 + large.len());
}

/// Tests that read the memory of the whole process, one after another.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resident memory and address space of the process, in bytes.
fn memory() -> (usize, usize) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let mut pages = statm.split(' ').map(|pages| pages.parse::<usize>().unwrap() * 4096);
    let space = pages.next().unwrap();
    (pages.next().unwrap(), space)
}

fn release_leaves_nothing_behind<M: Mallocer>() {
    let _alone = alone();
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
            first = memory().0;
        }
    }
    // Other tests run meanwhile; a leak of 100 rounds would be 900 MB.
    assert!(memory().0 < first + (300 << 20), "{first} bytes became {}", memory().0);
    let budget = heap.budget().clone();
    heap.try_alloc(layout(100, 8)).unwrap();
    drop(heap);
    assert_eq!(budget.used(), 0);
}

/// mimalloc forgets these when a heap is destroyed: they are not in its arenas.
fn chunks_mapped_apart_end_with_the_heap<M: Mallocer>() {
    let _alone = alone();
    for (size, align) in [(3 << 30, 8), (40 << 20, 1 << 20), (300 << 10, 1 << 20), (100, 8 << 20)] {
        let mut first = 0;
        for round in 0..40 {
            let heap: M = open(1 << 40);
            let chunk = heap.try_alloc(layout(size, align)).unwrap().cast::<u8>();
            // SAFETY: the chunk is held and at least so long.
            unsafe { chunk.write_bytes(1, size.min(4096)) };
            if round == 3 {
                first = memory().1;
            }
        }
        let grown = memory().1.saturating_sub(first);
        // Other tests run meanwhile.
        let leak = 36 * size.max(align);
        assert!(grown < leak / 2 + (1 << 30), "{size} aligned to {align}: {grown} bytes remain");
    }
}

#[test]
fn ten_thousand_heaps_at_once() {
    let heaps: Vec<Mimalloc> = (0..10_000).map(|_| open(1 << 20)).collect();
    let used: Vec<_> = heaps.iter().step_by(100).collect();
    for (n, heap) in used.iter().enumerate() {
        fill(heap.try_alloc(layout(n, 8)).unwrap(), n);
    }
}

#[test]
fn settings_are_checked() {
    let mut config = Config::default();
    config.capacity = 7;
    assert!(matches!(
        Mimalloc::open(&config).err(),
        Some(ConfigError::CapacityTooSmall { minimum: 8, .. })
    ));
    config.capacity = (1 << 40) + 1;
    assert!(matches!(Mimalloc::open(&config).err(), Some(ConfigError::CapacityTooLarge { .. })));
}

/// A chunk on its way between threads, with what it was filled with.
struct Sent(usize, NonNull<[u8]>);
// SAFETY: the chunk is used by one thread at a time.
unsafe impl Send for Sent {}

/// Allocates, and frees what others have allocated.
fn work(heap: &SharedMimalloc, pool: &Mutex<Vec<Sent>>, seed: usize, rounds: usize) {
    let mut random = seed | 1;
    for n in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if !random.is_multiple_of(3) {
            let size = if random.is_multiple_of(199) { random % 2_000_000 } else { random % 2000 };
            let chunk = heap.try_alloc(layout(size, 8)).unwrap();
            fill(chunk, n);
            pool.lock().unwrap().push(Sent(n, chunk));
        } else {
            let mut pool = pool.lock().unwrap();
            let count = pool.len();
            let sent = (count > 0).then(|| pool.swap_remove(random % count));
            drop(pool);
            if let Some(Sent(seed, chunk)) = sent {
                check(chunk, seed);
                // SAFETY: freed once.
                unsafe { heap.free(chunk.cast()) };
            }
        }
    }
}

/// The scenario of the gate: heaps are dropped while the threads that used them are still
/// ending, others are made meanwhile, and chunks are freed by other threads than have
/// allocated them. Without the gate, mimalloc 3.3.2 crashes within a second.
#[test]
fn threads_come_and_go_while_heaps_are_destroyed() {
    thread::scope(|scope| {
        for me in 0..3 {
            scope.spawn(move || {
                for round in 0..60 {
                    let heap: SharedMimalloc = open(1 << 30);
                    let pool = Mutex::new(Vec::new());
                    thread::scope(|scope| {
                        for worker in 0..4 {
                            let (heap, pool) = (&heap, &pool);
                            let seed = (me * 1000 + round) * 31 + worker * 7919 + 1;
                            scope.spawn(move || work(heap, pool, seed, 400));
                        }
                    });
                    if round % 3 == 0 {
                        // SAFETY: nobody uses the chunks any more, nor the heap.
                        unsafe { heap.release() };
                        fill(heap.try_alloc(layout(1000, 8)).unwrap(), 1);
                    } else {
                        let left = pool.into_inner().unwrap();
                        let alloc: usize = left.iter().map(|sent| sent.1.len()).sum();
                        assert_eq!(heap.info().alloc, alloc);
                        let (mut chunks, mut by_slab) = (0, 0);
                        heap.each_slab_use(&mut |slab| {
                            chunks += slab.chunks;
                            by_slab += slab.alloc;
                        });
                        assert_eq!((chunks, by_slab), (left.len(), alloc));
                    }
                }
            });
        }
    });
}

/// Threads that live on while the heaps they have used are destroyed, more of them than a
/// thread knows at a time.
#[test]
fn threads_outlive_heaps() {
    let made = AtomicUsize::new(0);
    let current: Mutex<Vec<std::sync::Arc<SharedMimalloc>>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while made.load(Relaxed) < 300 {
                    let heaps = current.lock().unwrap().clone();
                    for heap in &heaps {
                        let chunk = heap.try_alloc(layout(100, 8)).unwrap();
                        fill(chunk, 3);
                        check(chunk, 3);
                        // SAFETY: freed once.
                        unsafe { heap.free(chunk.cast()) };
                    }
                }
            });
        }
        for n in 0..300 {
            let heap = std::sync::Arc::new(open::<SharedMimalloc>(1 << 20));
            let mut current = current.lock().unwrap();
            current.push(heap);
            let gone = (current.len() > 12).then(|| current.remove(n % 12));
            drop(current);
            drop(gone);
            made.fetch_add(1, Relaxed);
        }
    });
}

/// A thread-local variable that allocates and drops its heap when the thread ends, after
/// the gate has seen the thread leave.
#[test]
fn threads_may_allocate_to_the_very_end() {
    struct Last(SharedMimalloc);
    impl Drop for Last {
        fn drop(&mut self) {
            for n in 0..100 {
                let chunk = self.0.try_alloc(layout(n * 50, 8)).unwrap();
                fill(chunk, n);
                check(chunk, n);
            }
            LAST.fetch_add(1, Relaxed);
        }
    }
    static LAST: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static FIRST_MADE: Last = Last(open(1 << 20));
    }
    for _ in 0..200 {
        thread::spawn(|| {
            // Registered before the gate's own, so dropped after it.
            FIRST_MADE.with(|last| {
                fill(last.0.try_alloc(layout(100, 8)).unwrap(), 1);
            });
        })
        .join()
        .unwrap();
    }
    assert_eq!(LAST.load(Relaxed), 200);
}
