//! What both forms of the heap promise.

use std::alloc::Layout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::mpsc;
use std::thread;

use mallocer_core::{AllocError, Config, ConfigError, Mallocer};

use crate::{Malloc, SharedMalloc};

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
        mod alone { $(#[test] fn $test() { super::$test::<crate::Malloc>(); })* }
        mod shared { $(#[test] fn $test() { super::$test::<crate::SharedMalloc>(); })* }
    };
}

on_both! {
    chunks_keep_their_contents_and_do_not_overlap
    alignments_up_to_a_mebibyte
    capacity_refuses_and_goes_on
    sizes_beyond_reason_are_errors
    realloc_keeps_contents_and_budget
    zeroed_chunks_are_zero_to_the_end
    slabs_serve_chunks_of_their_size
    statistics_add_up
    release_leaves_nothing_behind
    misuse_is_caught
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

fn chunks_keep_their_contents_and_do_not_overlap<M: Mallocer>() {
    let heap: M = open(1 << 28);
    let mut held = Vec::new();
    for n in 0..20_000_usize {
        let size = if n % 500 == 0 { n * 50 } else { n * 7919 % 2000 };
        let chunk = heap.try_alloc(layout(size, 8)).unwrap();
        assert!(chunk.len() >= size);
        fill(chunk, n);
        held.push((n, chunk));
        if n % 3 == 0 {
            let (seed, chunk) = held.swap_remove(n * 31 % held.len());
            check(chunk, seed);
            // SAFETY: freed once.
            unsafe { heap.free(chunk.cast()) };
        }
    }
    held.sort_unstable_by_key(|(_, chunk)| chunk.addr());
    for pair in held.windows(2) {
        assert!(pair[0].1.addr().get() + pair[0].1.len() <= pair[1].1.addr().get());
    }
    for (seed, chunk) in held {
        check(chunk, seed);
        // SAFETY: freed once.
        unsafe { heap.free_sized(chunk.cast(), layout(chunk.len(), 8)) };
    }
    assert_eq!((heap.info().heap, heap.info().alloc), (0, 0));
}

fn alignments_up_to_a_mebibyte<M: Mallocer>() {
    let heap: M = open(1 << 28);
    for align in (0..=20).map(|shift| 1 << shift) {
        for size in [0, 1, 100, 5000, 300_000] {
            for zeroed in [false, true] {
                let layout = layout(size, align);
                let chunk = if zeroed {
                    heap.try_alloc_zeroed(layout).unwrap()
                } else {
                    heap.try_alloc(layout).unwrap()
                };
                assert!(chunk.addr().get().is_multiple_of(align) && chunk.len() >= size);
                if zeroed {
                    check(chunk, 0);
                }
                fill(chunk, 1);
                // SAFETY: freed once, with its layout.
                unsafe { heap.free_sized(chunk.cast(), layout) };
            }
        }
    }
    assert_eq!(heap.info().heap, 0);
}

fn capacity_refuses_and_goes_on<M: Mallocer>() {
    const CAPACITY: usize = 1 << 20;
    for size in [1, 100, 1000, 100_000, 300_000] {
        let heap: M = open(CAPACITY);
        let mut held = Vec::new();
        let refusal = loop {
            match heap.try_alloc(layout(size, 8)) {
                Ok(chunk) => {
                    fill(chunk, held.len());
                    held.push(chunk);
                }
                Err(refusal) => break refusal,
            }
            assert!(heap.budget().used() <= CAPACITY);
        };
        let AllocError::Capacity { requested, used, limit } = refusal else {
            panic!("{refusal}");
        };
        assert!(requested >= size && used + requested > limit && limit == CAPACITY);
        assert_eq!(used, heap.info().heap);
        for (seed, &chunk) in held.iter().enumerate() {
            check(chunk, seed);
        }
        let last = held.pop().unwrap();
        // SAFETY: freed once.
        unsafe { heap.free(last.cast()) };
        heap.try_alloc(layout(size, 8)).unwrap();
    }
}

fn sizes_beyond_reason_are_errors<M: Mallocer>() {
    let heap: M = open(1 << 40);
    for size in [isize::MAX as usize - 15, isize::MAX as usize / 2, (1 << 40) - 4, 1 << 40] {
        assert!(heap.try_alloc(layout(size, 1)).is_err());
        assert!(heap.try_alloc_zeroed(layout(size, 16)).is_err());
        let chunk = heap.try_alloc(layout(100, 8)).unwrap();
        fill(chunk, 5);
        // SAFETY: the chunk is held; a refusal leaves it as it is.
        unsafe {
            assert!(heap.try_realloc(chunk.cast(), layout(size, 1)).is_err());
            check(chunk, 5);
            heap.free(chunk.cast());
        }
    }
    assert!(heap.try_alloc(layout(1, 1 << 62)).is_err());
    assert_eq!(heap.info().heap, 0);
}

fn realloc_keeps_contents_and_budget<M: Mallocer>() {
    let heap: M = open(8 << 20);
    let sizes = [1, 30, 2000, 100, 70_000, 500_000, 3_000_000, 400_000, 5000, 5100, 3];
    for align in [1, 16, 64, 4096] {
        let mut chunk = heap.try_alloc(layout(10, align)).unwrap();
        fill(chunk, 7);
        for size in sizes {
            let kept = chunk.len().min(size);
            // SAFETY: the chunk is replaced by what is returned.
            chunk = unsafe { heap.try_realloc(chunk.cast(), layout(size, align)).unwrap() };
            assert!(chunk.len() >= size && chunk.addr().get().is_multiple_of(align));
            check(NonNull::slice_from_raw_parts(chunk.cast(), kept), 7);
            fill(chunk, 7);
            assert_eq!(heap.info().alloc, chunk.len());
        }
        // SAFETY: as above.
        unsafe {
            assert!(heap.try_realloc(chunk.cast(), layout(9 << 20, align)).is_err());
            check(chunk, 7);
            heap.free(chunk.cast());
        }
        assert_eq!(heap.info().heap, 0);
    }
}

fn zeroed_chunks_are_zero_to_the_end<M: Mallocer>() {
    let heap: M = open(1 << 28);
    for round in 0..3 {
        let mut held = Vec::new();
        for n in 0..2000_usize {
            let chunk = heap.try_alloc_zeroed(layout(n * n % 9000 + round, 8)).unwrap();
            check(chunk, 0);
            fill(chunk, 0xff);
            held.push(chunk);
        }
        for chunk in held {
            // SAFETY: freed once.
            unsafe { heap.free(chunk.cast()) };
        }
    }
}

fn slabs_serve_chunks_of_their_size<M: Mallocer>() {
    let heap: M = open(1 << 28);
    for &slab in heap.slabs().iter().take(200).chain(heap.slabs().last()) {
        let chunk = heap.try_alloc_slab(slab).unwrap();
        // glibc gives 16 bytes more when splitting would leave too little.
        assert!(chunk.len() == slab || chunk.len() == slab + 16);
        // SAFETY: the chunk is held, then freed once.
        unsafe {
            assert_eq!(heap.slab_size(chunk.cast()), chunk.len());
            heap.free(chunk.cast());
        }
    }
    let refusal = heap.try_alloc_slab(25).unwrap_err();
    assert_eq!(refusal, AllocError::NoSuchSlab { requested: 25, below: 24, above: 40 });
}

fn statistics_add_up<M: Mallocer>() {
    let heap: M = open(1 << 28);
    let child = heap.budget().child(1 << 20);
    child.charge(4096).unwrap();
    let chunks: Vec<_> = (0..1000).map(|n| heap.try_alloc(layout(n, 8)).unwrap()).collect();
    let info = heap.info();
    assert_eq!(info.alloc, chunks.iter().map(|chunk| chunk.len()).sum());
    assert_eq!((info.nested, info.heap), (4096, info.alloc + 8000 + 4096));
    assert!(info.overhead > 0 && info.heap <= info.capacity);
    let (mut count, mut alloc, mut used, mut before) = (0, 0, 0, 0);
    heap.each_slab_use(&mut |slab| {
        assert!(slab.slab > before, "slabs ascend");
        before = slab.slab;
        count += slab.chunks;
        alloc += slab.alloc;
        used += slab.heap;
    });
    assert_eq!((count, alloc, used), (1000, info.alloc, info.heap - 4096));
    child.refund(4096);
}

/// Resident memory of the process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn release_leaves_nothing_behind<M: Mallocer>() {
    let mut first = 0;
    let heap: M = open(1 << 30);
    for round in 0..100 {
        for n in 0..20_000 {
            fill(heap.try_alloc(layout(100 + n % 200, 8)).unwrap(), 1);
        }
        fill(heap.try_alloc(layout(5 << 20, 8)).unwrap(), 1);
        // SAFETY: no chunk is used any more, on one thread.
        unsafe { heap.release() };
        assert_eq!((heap.info().heap, heap.info().alloc), (0, 0));
        if round == 1 {
            first = resident();
        }
    }
    // Other tests run meanwhile; a leak of 100 rounds would be 800 MB.
    assert!(resident() < first + (200 << 20), "{first} bytes became {}", resident());
    let budget = heap.budget().clone();
    heap.try_alloc(layout(100, 8)).unwrap();
    drop(heap);
    assert_eq!(budget.used(), 0);
}

fn misuse_is_caught<M: Mallocer>() {
    let heap: M = open(1 << 20);
    let other: M = open(1 << 20);
    let whole = heap.try_alloc(layout(100, 8)).unwrap();
    let (chunk, slab) = (whole.cast::<u8>(), format!("slab {}", whole.len()));
    let foreign = Box::new([0_u64; 4]);
    let message = |misuse: &dyn Fn()| {
        let panic = catch_unwind(AssertUnwindSafe(misuse)).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    };
    // SAFETY: each of these calls is a misuse that is caught before it does harm.
    unsafe {
        let text = message(&|| heap.free(chunk.add(16)));
        assert!(text.contains("inside a chunk") && text.contains("+ 16"), "{text}");
        let text = message(&|| heap.free(chunk.add(3)));
        assert!(text.contains("inside a chunk") && text.contains(&slab), "{text}");
        let text = message(&|| other.free(chunk));
        assert!(text.contains("this arena did not hand it out"), "{text}");
        let text = message(&|| heap.free(NonNull::from(&*foreign).cast()));
        assert!(text.contains("this arena did not hand it out"), "{text}");
        let text = message(&|| heap.free_sized(chunk, layout(whole.len() + 1, 8)));
        assert!(text.contains("size is wrong"), "{text}");
        let align = 1 << (chunk.addr().get().trailing_zeros() + 1);
        let text = message(&|| heap.free_sized(chunk, layout(100, align)));
        assert!(text.contains("alignment is wrong"), "{text}");
        heap.free(chunk);
        for operation in ["free", "free_sized", "chunk_len", "realloc"] {
            let text = message(&|| match operation {
                "free" => heap.free(chunk),
                "free_sized" => heap.free_sized(chunk, layout(100, 8)),
                "chunk_len" => drop(heap.chunk_len(chunk)),
                _ => drop(heap.try_realloc(chunk, layout(10, 8))),
            });
            assert!(text.contains("freed twice") && text.contains(operation), "{text}");
        }
    }
    assert_eq!(heap.info().heap, 0);
}

#[test]
fn settings_are_checked() {
    let mut config = Config::default();
    config.capacity = 31;
    assert!(matches!(
        Malloc::open(&config).err(),
        Some(ConfigError::CapacityTooSmall { minimum: 32, .. })
    ));
    config.capacity = (1 << 40) + 1;
    assert!(matches!(Malloc::open(&config).err(), Some(ConfigError::CapacityTooLarge { .. })));
}

/// Producers hand chunks to consumers who check and free them, while one thread reads
/// statistics and others come and go.
#[test]
fn threads_share_a_heap() {
    let heap: SharedMalloc = open(64 << 20);
    struct Sent(usize, NonNull<[u8]>);
    // SAFETY: the chunk is used by the receiver alone.
    unsafe impl Send for Sent {}
    thread::scope(|scope| {
        let heap = &heap;
        for me in 0..3 {
            let (sender, receiver) = mpsc::sync_channel::<Sent>(64);
            scope.spawn(move || {
                for n in 0..10_000 {
                    let size = if n % 1000 == 0 { 200_000 } else { n * 31 % 3000 };
                    let chunk = heap.try_alloc(layout(size, 8)).unwrap();
                    fill(chunk, n + me);
                    sender.send(Sent(n + me, chunk)).unwrap();
                }
            });
            scope.spawn(move || {
                for Sent(seed, chunk) in receiver {
                    check(chunk, seed);
                    // SAFETY: freed or reallocated once.
                    unsafe {
                        let chunk = if seed % 5 == 0 {
                            heap.try_realloc(chunk.cast(), layout(4000, 8)).unwrap()
                        } else {
                            chunk
                        };
                        heap.free(chunk.cast());
                    }
                }
            });
        }
        for _ in 0..50 {
            let mut alloc = 0;
            heap.each_slab_use(&mut |slab| alloc += slab.alloc);
            assert!(alloc <= 64 << 20);
            scope.spawn(move || {
                let chunk = heap.try_alloc(layout(10, 8)).unwrap();
                // SAFETY: freed once.
                unsafe { heap.free(chunk.cast()) };
            });
        }
    });
    assert_eq!((heap.info().heap, heap.info().alloc), (0, 0));
}
