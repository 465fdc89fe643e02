//! The method set.

use std::alloc::Layout;
use std::ptr;

use mallocer::AllocError;

use crate::{bytes, each_arena, fill, holds, panic_message};

#[test]
fn a_chunk_is_at_least_what_was_asked_and_counts_until_freed() {
    each_arena!(|Kind, backend| {
        let arena = Kind::builder().backend(backend).capacity(64 << 20).build().unwrap();
        assert_eq!(arena.backend_name(), backend.name());
        let mut held = Vec::new();
        for size in [0, 1, 7, 8, 67, 100, 1024, 5000, 70_000, 1 << 20] {
            let chunk = arena.alloc(bytes(size));
            assert!(chunk.len() >= size.max(1), "{backend}: {} bytes for {size}", chunk.len());
            fill(chunk, held.len() as u8);
            held.push(chunk);
        }
        let info = arena.info();
        let sum: usize = held.iter().map(|chunk| chunk.len()).sum();
        assert!(info.alloc >= sum && info.alloc <= info.heap && info.heap <= info.capacity);
        assert_eq!(info.capacity, 64 << 20);
        let uses = arena.utilization();
        assert!(uses.is_sorted_by_key(|slab| slab.slab));
        assert_eq!(uses.iter().map(|slab| slab.chunks).sum::<usize>(), held.len(), "{backend}");
        for (at, &chunk) in held.iter().enumerate() {
            assert!(holds(chunk, at as u8));
            // SAFETY: the chunk is held.
            unsafe {
                assert_eq!(arena.chunk_len(chunk.cast()), chunk.len());
                assert!(arena.slab_size(chunk.cast()) >= chunk.len());
                arena.free(chunk.cast());
            }
        }
        assert_eq!(arena.info().alloc, 0, "{backend}");
    });
}

#[test]
fn chunks_are_aligned_and_zeroed_as_asked() {
    each_arena!(|Kind, backend| {
        let arena = Kind::builder().backend(backend).capacity(64 << 20).build().unwrap();
        for align in (0..13).map(|shift| 1 << shift) {
            for size in [1, 40, 4096] {
                let layout = Layout::from_size_align(size, align).unwrap();
                let dirty = arena.alloc(layout);
                fill(dirty, 0xff);
                assert!(dirty.cast::<u8>().addr().get().is_multiple_of(align), "{backend}");
                // SAFETY: the chunk is held; its layout is the one it was asked with.
                unsafe { arena.free_sized(dirty.cast(), layout) };
                let zeroed = arena.alloc_zeroed(layout);
                assert!(zeroed.cast::<u8>().addr().get().is_multiple_of(align), "{backend}");
                assert!(holds(zeroed, 0), "{backend}: {layout:?}");
                // SAFETY: as above; the size is the largest that fits.
                unsafe {
                    let whole = Layout::from_size_align(zeroed.len(), align).unwrap();
                    arena.free_sized(zeroed.cast(), whole);
                }
            }
        }
        assert_eq!(arena.info().alloc, 0, "{backend}");
    });
}

#[test]
fn a_slab_can_be_asked_by_its_size() {
    each_arena!(|Kind, backend| {
        let arena = Kind::builder().backend(backend).capacity(64 << 20).build().unwrap();
        let slabs: Vec<usize> = arena.slabs().iter().copied().take(20).collect();
        assert!(slabs.is_sorted() && slabs[0] > 0);
        for &slab in &slabs {
            let chunk = arena.alloc_slab(slab);
            // SAFETY: the chunk is held.
            unsafe {
                let size = arena.slab_size(chunk.cast());
                // The C library gives more where the rest of a block is too small to keep.
                let more = backend == mallocer::Backend::Malloc && size > slab;
                assert!(size == slab || more, "{backend}: {size} from slab {slab}");
                arena.free_ptr(chunk.as_ptr().cast());
            }
        }
        let absent = slabs[4] + 1;
        let (below, above) = (slabs[4], slabs[5]);
        assert_eq!(
            arena.try_alloc_slab(absent),
            Err(AllocError::NoSuchSlab { requested: absent, below, above }),
            "{backend}"
        );
        let message = panic_message(|| arena.alloc_slab(absent));
        assert_eq!(message, arena.try_alloc_slab(absent).unwrap_err().to_string());
    });
}

#[test]
fn reallocation_keeps_contents_and_alignment() {
    each_arena!(|Kind, backend| {
        let arena = Kind::builder().backend(backend).capacity(64 << 20).build().unwrap();
        let mut size = 1;
        let mut chunk = arena.alloc(bytes(size));
        fill(chunk, 0xa5);
        for (new, align) in [
            (10, 1),
            (11, 64),
            (900, 8),
            (70_000, 4096),
            (5_000_000, 16),
            (5_000_001, 1),
            (40_000, 128),
            (3, 1),
        ] {
            let layout = Layout::from_size_align(new, align).unwrap();
            // SAFETY: the chunk is held, and only what is returned is used afterwards.
            chunk = unsafe { arena.realloc(chunk.cast(), layout) };
            assert!(chunk.len() >= new && chunk.cast::<u8>().addr().get().is_multiple_of(align));
            let kept = ptr::NonNull::slice_from_raw_parts(chunk.cast(), size.min(new));
            assert!(holds(kept, 0xa5), "{backend}: {size} to {new} bytes");
            fill(chunk, 0xa5);
            size = new;
        }
        // SAFETY: as above; the alignment is the last one asked for.
        unsafe { arena.free_sized(chunk.cast(), bytes(3)) };
        assert_eq!(arena.info().alloc, 0, "{backend}");
    });
}

#[test]
fn resizing_in_place_stays_within_the_chunk() {
    each_arena!(|Kind, backend| {
        let arena = Kind::builder().backend(backend).capacity(64 << 20).build().unwrap();
        let chunk = arena.alloc(bytes(1000));
        fill(chunk, 9);
        // SAFETY: the chunk is held.
        unsafe {
            let len = arena.resize_in_place(chunk.cast(), chunk.len());
            assert!(len >= Some(chunk.len()), "{backend}");
            assert_eq!(arena.resize_in_place(chunk.cast(), 1 << 30), None, "{backend}");
            assert!(holds(chunk, 9));
            arena.free(chunk.cast());
        }
    });
}

#[test]
fn capacity_is_a_promise_and_a_refusal_leaves_everything_as_it_was() {
    each_arena!(|Kind, backend| {
        let capacity = 4 << 20;
        let arena = Kind::builder().backend(backend).capacity(capacity).build().unwrap();
        let mut held = Vec::new();
        let refusal = loop {
            match arena.try_alloc(bytes(3000)) {
                Ok(chunk) => {
                    fill(chunk, held.len() as u8);
                    held.push(chunk);
                }
                Err(refusal) => break refusal,
            }
            assert!(arena.info().heap <= capacity, "{backend}: {}", arena.info());
        };
        let AllocError::Capacity { requested, used, limit } = refusal else {
            panic!("{backend}: {refusal}");
        };
        assert_eq!(limit, capacity, "{backend}");
        assert!(used <= limit && requested + used > limit, "{backend}: {refusal}");
        assert!(held.len() >= capacity / 3000 / 2, "{backend}: only {} chunks fit", held.len());
        assert_eq!(panic_message(|| arena.alloc(bytes(3000))), refusal.to_string());

        // SAFETY: the chunk is held, and not used afterwards.
        unsafe { arena.free(held[0].cast()) };
        held[0] = arena.try_alloc(bytes(3000)).unwrap();
        fill(held[0], 0);
        assert!(held.iter().enumerate().all(|(at, &chunk)| holds(chunk, at as u8)), "{backend}");
    });
}

#[test]
fn a_null_pointer_is_a_misuse() {
    each_arena!(|Kind, backend| {
        let arena = Kind::builder().backend(backend).capacity(1 << 20).build().unwrap();
        // SAFETY: a null pointer is caught.
        let message = panic_message(|| unsafe { arena.free_ptr(ptr::null_mut()) });
        assert_eq!(message, "mallocer: misuse in free(0x0): the pointer is null", "{backend}");
    });
}

#[test]
#[cfg(feature = "flist")]
fn a_chunk_freed_twice_is_a_misuse_on_flist() {
    each_arena!(|Kind, backend| {
        if backend != mallocer::Backend::Flist {
            continue;
        }
        let arena = Kind::builder().backend(backend).capacity(1 << 20).build().unwrap();
        let chunk = arena.alloc(bytes(100)).cast();
        // SAFETY: the second free is caught before anything is touched.
        let message = panic_message(|| unsafe {
            arena.free(chunk);
            arena.free(chunk);
        });
        let expected = format!("mallocer: misuse in free({:#x}", chunk.addr());
        assert!(message.starts_with(&expected), "{message}");
        assert!(message.contains("freed twice; chunk"), "{message}");
    });
}

#[test]
fn a_reset_gives_everything_back_and_the_arena_goes_on() {
    each_arena!(|Kind, backend| {
        let arena = Kind::builder().backend(backend).capacity(16 << 20).build().unwrap();
        for round in 0..5 {
            for size in [16, 300, 40_000, 3 << 20] {
                for _ in 0..3 {
                    fill(arena.alloc(bytes(size)), round);
                }
            }
            assert!(arena.info().alloc > 9 << 20, "{backend}");
            // SAFETY: no chunk is used afterwards.
            unsafe { arena.reset() };
            assert_eq!(arena.info().alloc, 0, "{backend}");
            assert!(arena.utilization().iter().all(|slab| slab.chunks == 0), "{backend}");
        }
    });
}

#[test]
fn a_release_refunds_the_whole_budget() {
    each_arena!(|Kind, backend| {
        let arena = Kind::builder().backend(backend).capacity(16 << 20).build().unwrap();
        let budget = arena.budget().clone();
        for size in [16, 300, 40_000, 3 << 20] {
            fill(arena.alloc(bytes(size)), 1);
        }
        assert!(budget.used() > 3 << 20 && budget.used() <= budget.capacity());
        arena.release();
        assert_eq!(budget.used(), 0, "{backend}");
    });
}

#[test]
fn purging_an_arena_keeps_what_is_held() {
    each_arena!(|Kind, backend| {
        let arena = Kind::builder().backend(backend).capacity(64 << 20).build().unwrap();
        let chunks: Vec<_> = (0..200).map(|_| arena.alloc(bytes(100_000))).collect();
        for (at, &chunk) in chunks.iter().enumerate() {
            fill(chunk, at as u8);
        }
        for &chunk in &chunks[100..] {
            // SAFETY: the chunk is held, and not used afterwards.
            unsafe { arena.free(chunk.cast()) };
        }
        let before = arena.info();
        let purged = arena.purge();
        let after = arena.info();
        assert_eq!(after.alloc, before.alloc, "{backend}");
        assert!(after.heap <= before.heap && purged <= 64 << 20, "{backend}: {purged} purged");
        // What the other libraries give back, they do not count, or it is not part of the heap.
        #[cfg(feature = "flist")]
        if backend == mallocer::Backend::Flist {
            assert_eq!(purged, before.heap - after.heap);
            assert!(purged >= 100 * 100_000, "only {purged} bytes of what is free");
        }
        for (at, &chunk) in chunks[..100].iter().enumerate() {
            assert!(holds(chunk, at as u8), "{backend}");
        }
    });
}
